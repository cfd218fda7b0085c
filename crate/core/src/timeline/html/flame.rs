//! The tree of wasted bytes: type, holder, frames of the allocation from the outside in,
//! component.

use std::collections::HashMap;
use std::rc::Rc;

use serde::Serialize;

use crate::events::Frame;
use crate::timeline::Waste;

/// Rows that get their whole way into the tree; the rest is one node a type.
const ROWS: usize = 20_000;
/// Nodes of the page; what is smaller than all of them is summed up beside its siblings.
const NODES: usize = 2_500;
/// Frames of a stack, those nearest to the allocation.
const FRAMES: usize = 24;

/// What a node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    All,
    Type,
    Holder,
    Frame,
    Component,
    Rest,
}

/// A node, behind its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// The parent's index; the root's own.
    pub parent: usize,
    pub kind: Kind,
    pub name: String,
    /// With its children.
    pub bytes: u64,
    /// Of a leaf: how many maps.
    pub maps: u64,
}

/// The tree, cut to a size a page can hold; the bytes of the root are the sum of all rows.
pub(super) fn tree(waste: &[Waste], stacks: &[Rc<[Frame]>]) -> Vec<Node> {
    if waste.is_empty() {
        return Vec::new();
    }
    let mut nodes = vec![Node {
        parent: 0,
        kind: Kind::All,
        name: "all".to_owned(),
        bytes: 0,
        maps: 0,
    }];
    let mut known: HashMap<(usize, Kind, String), usize> = HashMap::new();
    let mut child = |nodes: &mut Vec<Node>, parent: usize, kind: Kind, name: String| {
        *known
            .entry((parent, kind, name))
            .or_insert_with_key(|(_, _, name)| {
                nodes.push(Node {
                    parent,
                    kind,
                    name: name.clone(),
                    bytes: 0,
                    maps: 0,
                });
                nodes.len() - 1
            })
    };
    let mut order: Vec<&Waste> = waste.iter().filter(|row| row.bytes > 0).collect();
    order.sort_by_key(|row| std::cmp::Reverse(row.bytes));
    for (rank, row) in order.iter().enumerate() {
        let mut at = child(&mut nodes, 0, Kind::Type, row.type_name.to_string());
        if rank < ROWS {
            let holder = row.holder.as_deref().unwrap_or("(holder not known)");
            at = child(&mut nodes, at, Kind::Holder, holder.to_owned());
            match row.stack.and_then(|stack| stacks.get(stack)) {
                Some(frames) => {
                    for frame in frames.iter().take(FRAMES).rev() {
                        at = child(&mut nodes, at, Kind::Frame, frame_text(frame));
                    }
                }
                None => {
                    at = child(&mut nodes, at, Kind::Frame, "(stack not known)".to_owned());
                }
            }
        } else {
            at = child(&mut nodes, at, Kind::Rest, "(smaller ones)".to_owned());
        }
        at = child(&mut nodes, at, Kind::Component, row.component.to_owned());
        nodes[at].bytes = nodes[at].bytes.saturating_add(row.bytes);
        nodes[at].maps = nodes[at].maps.saturating_add(row.maps);
    }
    // Children stand behind their parents, so one way back sums them up.
    for index in (1..nodes.len()).rev() {
        let (bytes, parent) = (nodes[index].bytes, nodes[index].parent);
        nodes[parent].bytes = nodes[parent].bytes.saturating_add(bytes);
    }
    cut(nodes)
}

/// The largest nodes; each parent that lost children has one more that holds their sum.
fn cut(nodes: Vec<Node>) -> Vec<Node> {
    if nodes.len() <= NODES {
        return nodes;
    }
    // A parent is not smaller than its children and stands before them: whoever is kept, its
    // parent is.
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by(|&a, &b| nodes[b].bytes.cmp(&nodes[a].bytes).then(a.cmp(&b)));
    let mut keep = vec![false; nodes.len()];
    for &index in order.iter().take(NODES) {
        keep[index] = true;
    }
    let mut kept: Vec<Node> = Vec::with_capacity(NODES * 2);
    // Where a node went; a lost node's children are lost with it.
    let mut place: Vec<Option<usize>> = Vec::with_capacity(nodes.len());
    let mut rests: HashMap<usize, usize> = HashMap::new();
    let mut lost: HashMap<usize, u64> = HashMap::new();
    for (index, node) in nodes.into_iter().enumerate() {
        let parent = if index == 0 {
            Some(0)
        } else {
            place[node.parent]
        };
        let Some(parent) = parent else {
            place.push(None);
            continue;
        };
        if keep[index] {
            place.push(Some(kept.len()));
            kept.push(Node { parent, ..node });
            continue;
        }
        place.push(None);
        let rest = *rests.entry(parent).or_insert_with(|| {
            kept.push(Node {
                parent,
                kind: Kind::Rest,
                name: String::new(),
                bytes: 0,
                maps: 0,
            });
            kept.len() - 1
        });
        kept[rest].bytes = kept[rest].bytes.saturating_add(node.bytes);
        let count = lost.entry(rest).or_default();
        *count += 1;
        kept[rest].name = format!("({count} smaller)");
    }
    kept
}

/// `main.fill server.go:31`.
pub(super) fn frame_text(frame: &Frame) -> String {
    let file = frame.file.rsplit('/').next().unwrap_or_default();
    match (file.is_empty(), frame.line) {
        (true, _) => frame.function.clone(),
        (false, 0) => format!("{} {file}", frame.function),
        (false, line) => format!("{} {file}:{line}", frame.function),
    }
}
