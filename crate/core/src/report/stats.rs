//! The text of `go-map-stats`: answer first, then evidence, then what to do.

use crate::command::parse;
use crate::metrics::{Buckets, LayoutFacts, NextGrowth, Severity, Stats};

use super::number::{count, percent, percent_of, size, thousands};
use super::style::{Line, Role, Style};

/// Where the facts of a row begin: two spaces, the label, the gap.
const LABEL: usize = 12;
/// Where what follows `Next: ` begins.
const NEXT: usize = 6;
/// Defects shown; `-json` lists more.
const DEFECTS: usize = 8;
/// Chain lengths shown one by one; longer chains are summed.
const CHAINS: usize = 6;
/// From this share of the slots on, tombstones are the verdict.
const MANY_TOMBSTONES: f64 = 0.2;
/// From this share of free slots on, the spans of a map are worth a line.
const FRAGMENTED: f64 = 0.1;
/// A map that allocates no more than this is not worth a rebuild: bytes.
const SMALL: u64 = 1024;

/// What the verdict is about; decides the sentence and the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Nil,
    NeverUsed,
    Unreadable,
    Growing,
    EmptyButHolds,
    Small,
    MostlyEmpty,
    Tombstones,
    Chains,
    Light,
    Healthy,
}

/// The text of `go-map-stats`.
#[must_use]
pub fn stats(stats: &Stats, style: &Style) -> String {
    let mut text = String::new();
    let page = Page { stats, style };
    let case = page.case();
    page.head(&mut text);
    page.verdict(case, &mut text);
    let rows = page.rows();
    if !rows.is_empty() {
        text.push('\n');
    }
    for (label, facts) in rows {
        page.row(label, &facts, &mut text);
    }
    page.defects(&mut text);
    page.notes(&mut text);
    text.push('\n');
    page.next(case, &mut text);
    text
}

/// The line that says why figures are not whole, and where to read more;
/// empty when they are. It ends every answer that is not `go-map-stats`.
#[must_use]
pub fn reservation(stats: &Stats, style: &Style) -> String {
    let page = Page { stats, style };
    let mut text = String::new();
    if let Some(why) = page.flaw() {
        let mut line = page.line().with(Role::Highlight, &why);
        line.push(
            Role::Plain,
            &format!(": see {}.", command(stats, "go-map-stats", "")),
        );
        line.fold(style, 0, 2, &mut text);
    }
    text
}

/// A command's name as it is typed: `go-map-stats`, or `gomapscope stats -core FILE`.
pub(super) fn command_name(console: Option<&str>, name: &str) -> String {
    match (console, name.strip_prefix("go-map-")) {
        (Some(again), Some(short)) => format!("gomapscope {short} {}", again.trim_end()),
        _ => name.to_owned(),
    }
}

/// `name EXPR options`, ready to be typed.
pub(super) fn command(stats: &Stats, name: &str, options: &str) -> String {
    let typed = command_name(stats.console.as_deref(), name);
    let mut expression = stats.expression.trim().to_owned();
    // An address alone does not say what it points to.
    let given = expression.is_empty() || stats.layout.source == "given";
    if expression.is_empty() {
        expression = format!("{:#x}", stats.address);
    }
    let mut options = options.to_owned();
    if given {
        options = format!("{options} -type '{}'", stats.type_name)
            .trim()
            .to_owned();
    }
    let whole = parse(name, &expression).is_ok_and(|read| read.expressions == [expression.clone()]);
    let plain = |c: char| c.is_alphanumeric() || "_./%".contains(c);
    if stats.console.is_some() && !expression.chars().all(plain) {
        // A shell reads it before we do.
        expression = format!("'{}'", expression.replace('\'', "'\\''"));
    }
    if !whole {
        // Part of the expression would be taken for an option.
        let gap = if options.is_empty() { "" } else { " " };
        format!("{typed} {options}{gap}-- {expression}")
    } else if options.is_empty() {
        format!("{typed} {expression}")
    } else {
        format!("{typed} {expression} {options}")
    }
}

/// `from DWARF`: where a layout is known from.
pub(super) fn source(layout: &LayoutFacts) -> String {
    match layout.source {
        "dwarf" => "from DWARF".to_owned(),
        other => format!("from {other}"),
    }
}

/// `group` or `bucket`.
pub(super) fn unit(stats: &Stats) -> &'static str {
    if stats.family == "swiss" {
        "group"
    } else {
        "bucket"
    }
}

struct Page<'a> {
    stats: &'a Stats,
    style: &'a Style,
}

impl Page<'_> {
    fn line(&self) -> Line {
        Line::new(self.style)
    }

    fn plain(&self, text: &str) -> Line {
        self.line().with(Role::Plain, text)
    }

    fn growing(&self) -> Option<&crate::metrics::ClassicShape> {
        self.stats
            .classic
            .as_ref()
            .filter(|classic| classic.growth != "none")
    }

    fn case(&self) -> Case {
        let stats = self.stats;
        let (slots, bytes) = (&stats.slots, &stats.bytes);
        let holes = slots.hole_density.unwrap_or(0.0);
        if stats.address == 0 {
            Case::Nil
        } else if slots.capacity == 0 {
            if stats.len == 0 && stats.exact {
                Case::NeverUsed
            } else {
                Case::Unreadable
            }
        } else if self.growing().is_some() {
            Case::Growing
        } else if bytes.allocated <= SMALL {
            Case::Small
        } else if stats.len == 0 && slots.live == 0 && bytes.reclaimable > 0 {
            Case::EmptyButHolds
        } else if bytes.reclaimable > 0
            && (stats.buckets.severity == Some(Severity::Severe)
                || holes >= 0.5 && bytes.reclaimable >= bytes.allocated / 2)
        {
            Case::MostlyEmpty
        } else if slots.tombstones as f64 >= MANY_TOMBSTONES * slots.capacity as f64 {
            Case::Tombstones
        } else if stats.buckets.overflow.saturating_mul(2) > stats.buckets.main {
            Case::Chains
        } else if bytes.reclaimable > 0
            && matches!(
                stats.buckets.severity,
                Some(Severity::Light | Severity::Severe)
            )
        {
            Case::Light
        } else {
            Case::Healthy
        }
    }

    /// `main.m  map[string]int  len 3   swiss, go1.27.3 amd64`; what does not
    /// fit beside the type goes below it.
    fn head(&self, text: &mut String) {
        let stats = self.stats;
        let mut name = self.line();
        if !stats.expression.trim().is_empty() {
            name.push(Role::Title, stats.expression.trim());
            name.space(2);
        }
        name.push(Role::Plain, &stats.type_name);
        let mut facts = self.plain(&format!("len {}", thousands(stats.len)));
        facts.space(3);
        facts.push(Role::Metadata, stats.family);
        if let Some(version) = &stats.go_version {
            facts.push(Role::Metadata, &format!(", {version}"));
        }
        if let Some(arch) = &stats.arch {
            facts.push(Role::Metadata, &format!(" {arch}"));
        }
        let columns = self.style.columns();
        if name.width() + 2 + facts.width() <= columns {
            name.space(2);
            name.append(&facts);
            name.render(self.style, text);
        } else {
            name.fold(self.style, 0, 2, text);
            let mut line = self.line();
            line.space(2);
            line.append(&facts);
            line.render(self.style, text);
        }
    }

    /// Why the figures are not whole; `None` when they are.
    fn flaw(&self) -> Option<String> {
        let stats = self.stats;
        let defects = stats.defects_total.max(stats.defects.len() as u64);
        if stats.interrupted {
            Some("Interrupted, figures cover only what was read".to_owned())
        } else if !stats.exact {
            let mut why = Vec::new();
            if defects > 0 {
                why.push(count(defects, "defect"));
            }
            if stats.writing {
                why.push("a write is in progress".to_owned());
            }
            if stats.racing {
                why.push("racing with other threads".to_owned());
            }
            if why.is_empty() {
                why.push("a part was left out".to_owned());
            }
            Some(format!("Not exact ({})", why.join(", ")))
        } else if defects > 0 {
            Some(format!("Exact, but with {}", count(defects, "defect")))
        } else {
            None
        }
    }

    fn verdict(&self, case: Case, text: &mut String) {
        let stats = self.stats;
        let mut line = self.line();
        let mut sentence = self.sentence(case);
        if let Some(flaw) = self.flaw() {
            line.push(Role::Highlight, &flaw);
            line.push(Role::Plain, "; ");
            // One sentence: what follows begins small.
            if let Some(first) = sentence.get(..1) {
                let small = first.to_ascii_lowercase();
                sentence.replace_range(..1, &small);
            }
        }
        line.push(Role::Plain, &sentence);
        if let Some(severity) = stats.buckets.severity.filter(|_| stats.slots.capacity > 0) {
            let role = match severity {
                Severity::Healthy => Role::Healthy,
                Severity::Light => Role::Light,
                Severity::Severe => Role::Severe,
            };
            line.space(2);
            if case == Case::Growing {
                // The new buckets are empty until the old ones have moved.
                line.push(Role::Metadata, &format!("{} for now", severity.word()));
            } else {
                line.push(role, severity.word());
            }
        }
        line.fold(self.style, 0, 2, text);
    }

    fn sentence(&self, case: Case) -> String {
        let stats = self.stats;
        let (slots, bytes, buckets) = (&stats.slots, &stats.bytes, &stats.buckets);
        let units = format!("{}s", unit(stats));
        let gain = format!(
            "{} of {} ({})",
            size(bytes.reclaimable),
            size(bytes.allocated),
            percent_of(bytes.reclaimable, bytes.allocated)
        );
        let rebuild = if bytes.reclaimable == 0 {
            "a rebuild would give back nothing".to_owned()
        } else {
            format!("a rebuild would give back {gain}")
        };
        match case {
            Case::Nil => "Nil map: it holds no memory, reads find nothing, \
                          and a write to it panics."
                .to_owned(),
            Case::NeverUsed => {
                "Never used: only the header exists, the first insert allocates the storage."
                    .to_owned()
            }
            Case::Unreadable => format!(
                "Unreadable: the header says {}, but no slot could be read.",
                count(stats.len, "entry")
            ),
            Case::Growing => {
                let Some(classic) = self.growing() else {
                    return String::new();
                };
                let kind = if classic.growth == "double" {
                    "Doubling"
                } else {
                    "Same-size growth"
                };
                format!(
                    "{kind} in progress: {} of {} old buckets evacuated ({}), \
                     emptiness is transient until writes have moved the rest.",
                    thousands(classic.evacuated),
                    thousands(classic.old_buckets),
                    percent_of(classic.evacuated, classic.old_buckets)
                )
            }
            Case::EmptyButHolds => {
                let why = if slots.tombstones > 0 {
                    "its entries were deleted"
                } else {
                    "it was cleared, or made larger than needed"
                };
                format!(
                    "Empty but holds {}: {why}, and Go never shrinks a map; \
                     a fresh one would give back {} ({}).",
                    size(bytes.allocated),
                    size(bytes.reclaimable),
                    percent_of(bytes.reclaimable, bytes.allocated)
                )
            }
            Case::Small if bytes.allocated == 0 => {
                "Small, and nothing of it is on the heap.".to_owned()
            }
            Case::Small => {
                let gain = match bytes.reclaimable {
                    0 => "nothing".to_owned(),
                    reclaimable => format!("no more than {}", size(reclaimable)),
                };
                format!("Small: {} in all, {gain} to gain.", size(bytes.allocated))
            }
            Case::MostlyEmpty => {
                // Severe by its buckets, while half of the slots may be live.
                let word = if slots.hole_density.unwrap_or(0.0) >= 0.5 {
                    "Mostly empty".to_owned()
                } else {
                    format!("Many empty {units}")
                };
                format!("{word}: {rebuild}.")
            }
            Case::Tombstones => {
                let effect = if stats.family == "swiss" {
                    "lookups step over them and they bring the next growth nearer"
                } else {
                    "lookups step over them until inserts reuse them"
                };
                format!(
                    "Heavy with tombstones: {} of the slots are deleted entries, {effect}; \
                     {rebuild}.",
                    percent_of(slots.tombstones, slots.capacity)
                )
            }
            Case::Chains => format!(
                "Heavy with overflow: {} on {}, the longest chain has {}; {rebuild}.",
                count(buckets.overflow, "overflow bucket"),
                count(buckets.main, "main bucket"),
                thousands(longest(buckets))
            ),
            Case::Light => format!(
                "A little empty: {} of the {units} hold no entry; {rebuild}.",
                percent(buckets.empty_density.unwrap_or(0.0))
            ),
            Case::Healthy => {
                let empty = match buckets.empty {
                    0 => format!("none of the {units} is empty"),
                    _ => format!(
                        "{} of the {units} are empty",
                        percent(buckets.empty_density.unwrap_or(0.0))
                    ),
                };
                format!(
                    "{}: {} of the slots are in use, {empty}; {rebuild}.",
                    self.healthy_word(),
                    percent_of(slots.live, slots.capacity)
                )
            }
        }
    }

    /// The first word when there is nothing to do, in agreement with the
    /// severity that ends the sentence.
    fn healthy_word(&self) -> &'static str {
        match self.stats.buckets.severity {
            Some(Severity::Light | Severity::Severe) => "Roomy, as it must be for this len",
            _ => "Healthy",
        }
    }

    fn rows(&self) -> Vec<(&'static str, Vec<Line>)> {
        let stats = self.stats;
        let mut rows = Vec::new();
        if stats.slots.capacity > 0 {
            rows.push(("slots", self.slots()));
            rows.push((
                if stats.family == "swiss" {
                    "groups"
                } else {
                    "buckets"
                },
                self.buckets(),
            ));
            if stats.buckets.chain_lengths.is_some() && stats.buckets.overflow > 0 {
                rows.push(("chains", self.chains()));
            }
        }
        if let Some(swiss) = stats.swiss.as_ref().filter(|swiss| swiss.tables > 0) {
            let mut facts = match swiss.table_capacities.as_slice() {
                [(capacity, _)] => {
                    vec![self.plain(&format!(
                        "{} of {} slots{}",
                        thousands(swiss.tables),
                        thousands(*capacity),
                        if swiss.tables == 1 { "" } else { " each" }
                    ))]
                }
                capacities => {
                    let list: Vec<String> = capacities
                        .iter()
                        .map(|(capacity, tables)| {
                            format!("{} of {}", thousands(*tables), thousands(*capacity))
                        })
                        .collect();
                    let total = thousands(swiss.tables);
                    if list.is_empty() {
                        vec![self.plain(&total)]
                    } else {
                        vec![self.plain(&format!("{total}: {} slots", list.join(", ")))]
                    }
                }
            };
            facts.push(self.plain(&format!(
                "directory {} (depth {})",
                thousands(swiss.dir_len),
                swiss.global_depth
            )));
            facts.push(self.plain(&format!("growth left {}", thousands(swiss.growth_left))));
            rows.push(("tables", facts));
        }
        if let Some(facts) = self.growth() {
            rows.push(("growth", facts));
        }
        if let Some(next) = &stats.next_growth
            && stats.slots.capacity > 0
        {
            rows.push(("load", vec![self.load(next)]));
        }
        if stats.bytes.allocated > 0 {
            rows.push(("bytes", self.bytes()));
            rows.push(("rebuild", self.rebuild()));
            if let Some(spans) = self.spans() {
                rows.push(("spans", vec![spans]));
            }
        }
        if stats.address != 0 {
            rows.push(("where", self.place()));
        }
        rows.push(("layout", self.layout()));
        rows
    }

    fn slots(&self) -> Vec<Line> {
        let stats = self.stats;
        let slots = &stats.slots;
        let mut facts = Vec::new();
        let old_live = slots.old_live.unwrap_or(0);
        facts.push(self.plain(&format!(
            "{} live of {}",
            thousands(slots.live.saturating_sub(old_live)),
            thousands(slots.capacity)
        )));
        if let Some(holes) = slots.hole_density {
            facts.push(self.plain(&format!("holes {}", percent(holes))));
        }
        facts.push(self.plain(&format!("empty {}", thousands(slots.empty))));
        let mut tombstones = format!("tombstones {}", thousands(slots.tombstones));
        if slots.tombstones > 0 {
            tombstones.push_str(&format!(
                " ({})",
                percent_of(slots.tombstones, slots.capacity)
            ));
        }
        facts.push(self.plain(&tombstones));
        if let Some(old) = slots.old {
            facts.push(self.plain(&format!(
                "old {}, {} live",
                thousands(old),
                thousands(old_live)
            )));
        }
        if slots.live != stats.len {
            facts.push(self.line().with(
                Role::Highlight,
                &format!(
                    "header says {}, counted {}",
                    thousands(stats.len),
                    thousands(slots.live)
                ),
            ));
        }
        facts
    }

    fn buckets(&self) -> Vec<Line> {
        let stats = self.stats;
        let buckets = &stats.buckets;
        let mut facts = Vec::new();
        if buckets.overflow > 0 {
            facts.push(self.plain(&format!(
                "{} = {} main + {} overflow",
                thousands(buckets.count),
                thousands(buckets.main),
                thousands(buckets.overflow)
            )));
        } else {
            facts.push(self.plain(&thousands(buckets.count)));
        }
        let mut empty = format!("empty {}", thousands(buckets.empty));
        if let Some(density) = buckets.empty_density
            && buckets.empty > 0
        {
            empty.push_str(&format!(" ({})", percent(density)));
        }
        facts.push(self.plain(&empty));
        facts.push(self.plain(&format!("full {}", thousands(buckets.full))));
        if let Some(classic) = &stats.classic {
            if classic.prealloc > 0 {
                facts.push(self.plain(&format!(
                    "{} overflow preallocated",
                    thousands(classic.prealloc)
                )));
            }
            if classic.overflow_outside > 0 {
                facts.push(self.plain(&format!(
                    "{} overflow allocated one by one",
                    thousands(classic.overflow_outside)
                )));
            }
        }
        facts
    }

    /// `longest 3   main buckets with 0 overflow: 3,900, 1: 150, 2: 40, 3+: 6`.
    fn chains(&self) -> Vec<Line> {
        let buckets = &self.stats.buckets;
        let lengths = buckets.chain_lengths.as_deref().unwrap_or_default();
        let mut histogram = Vec::new();
        for (length, &mains) in lengths.iter().enumerate().take(CHAINS) {
            if mains > 0 {
                histogram.push(format!("{length}: {}", thousands(mains)));
            }
        }
        let more: u64 = lengths
            .iter()
            .skip(CHAINS)
            .fold(0, |sum, &n| sum.saturating_add(n));
        if more > 0 {
            histogram.push(format!("{CHAINS}+: {}", thousands(more)));
        }
        let mut facts = vec![
            self.plain(&format!("longest {}", thousands(longest(buckets)))),
            self.plain(&format!(
                "main buckets by overflow {}",
                histogram.join("  ")
            )),
        ];
        if let Some(classic) = &self.stats.classic
            && classic.noverflow != buckets.overflow
            && classic.growth == "none"
        {
            // The runtime only estimates the count of large maps.
            facts.push(self.plain(&format!(
                "header estimates {}",
                thousands(classic.noverflow)
            )));
        }
        facts
    }

    fn growth(&self) -> Option<Vec<Line>> {
        let stats = self.stats;
        let next = stats.next_growth.as_ref()?;
        let cost = format!("allocates {}", size(next.cost));
        let what = match next.kind {
            "allocate" => {
                return Some(vec![self.plain(&format!("first insert {cost}"))]);
            }
            "in-progress" => {
                let mut facts = Vec::new();
                if let Some(classic) = self.growing() {
                    let left = classic.old_buckets.saturating_sub(classic.evacuated);
                    facts.push(self.plain(&format!(
                        "{}, {} left to move",
                        if classic.growth == "double" {
                            "doubling"
                        } else {
                            "same-size"
                        },
                        count(left, "old bucket")
                    )));
                    facts.push(self.plain("each write moves one or two"));
                }
                facts.push(self.plain(&format!("next {}", fits(next))));
                if next.cost > 0 {
                    facts.push(self.plain(&cost));
                }
                return Some(facts);
            }
            "double" => "doubles".to_owned(),
            "same-size" => "same-size, to shorten chains".to_owned(),
            "to-table" => "becomes a table".to_owned(),
            "table-double" | "table-split" => {
                let verb = if next.kind == "table-double" {
                    "doubles"
                } else {
                    "splits"
                };
                match next.table {
                    Some(table) if next.at_most <= next.fits => {
                        format!("table {} {verb}", thousands(table))
                    }
                    _ => format!("a table {verb}"),
                }
            }
            other => other.to_owned(),
        };
        let mut facts = vec![self.plain(&format!("{what} {}", fits(next)))];
        if let Some(table) = next.table
            && next.at_most > next.fits
        {
            facts.push(self.plain(&format!("nearest: table {}", thousands(table))));
        }
        if next.cost > 0 {
            facts.push(self.plain(&cost));
        }
        Some(facts)
    }

    fn load(&self, next: &NextGrowth) -> Line {
        if self.stats.family == "swiss" {
            self.plain(&format!(
                "{} of the slots, grows at {}",
                percent(next.load_factor),
                percent(next.max_load_factor)
            ))
        } else {
            self.plain(&format!(
                "{} entries per main bucket, grows above {}",
                decimals(next.load_factor),
                decimals(next.max_load_factor)
            ))
        }
    }

    /// The parts add up to the whole: allocated = holes + live + rest.
    fn bytes(&self) -> Vec<Line> {
        let bytes = &self.stats.bytes;
        let allocated = size(bytes.allocated);
        let parts = bytes.holes.saturating_add(bytes.live);
        let mut facts = Vec::new();
        if bytes.storage == 0 {
            facts.push(self.plain(&format!("{allocated} allocated, the header")));
        } else if let Some(rest) = bytes.allocated.checked_sub(parts) {
            facts.push(self.plain(&format!(
                "{allocated} allocated = {} holes + {} live + {} rest",
                size(bytes.holes),
                size(bytes.live),
                size(rest)
            )));
            facts.push(self.plain(match (&self.stats.classic, self.growing()) {
                (Some(_), Some(_)) => "(rest: old and spare buckets, tophash, headers, rounding)",
                (Some(_), None) => "(rest: spare buckets, tophash, headers, rounding)",
                _ => "(rest: control words, directory, headers, rounding)",
            }));
        } else {
            // Not all of the blocks were found: no sum.
            facts.push(self.plain(&format!("{allocated} allocated")));
            facts.push(self.plain(&format!("{} holes", size(bytes.holes))));
            facts.push(self.plain(&format!("{} live", size(bytes.live))));
        }
        if bytes.allocated_from == "size classes" {
            facts.push(self.plain("(from size classes)"));
        }
        facts
    }

    /// How full the spans are where a map's blocks lie among others: free slots there
    /// go back to the heap only with the last block.
    fn spans(&self) -> Option<Line> {
        let stats = self.stats;
        let spans = stats
            .bytes
            .spans
            .filter(|spans| spans.free as f64 >= FRAGMENTED * spans.slots as f64)?;
        let scattered = match (&stats.classic, &stats.swiss) {
            (Some(classic), _) => classic.overflow_outside > 0,
            (_, Some(swiss)) => swiss.tables > 1,
            _ => false,
        };
        let (verb, own) = match spans.spans {
            1 => ("holds", "1 span".to_owned()),
            many => ("hold", format!("{} spans", thousands(many))),
        };
        (scattered && spans.free > 0).then(|| {
            self.plain(&format!(
                "{own} {verb} its blocks: {} of {} slots are free",
                thousands(spans.free),
                thousands(spans.slots)
            ))
        })
    }

    fn rebuild(&self) -> Vec<Line> {
        let bytes = &self.stats.bytes;
        let mut facts = vec![self.plain(&format!(
            "{} for a fresh map of {}",
            size(bytes.rebuild),
            count(self.stats.len, "entry")
        ))];
        facts.push(match bytes.reclaimable {
            0 => self.plain("reclaimable 0 B"),
            reclaimable => self.plain(&format!(
                "reclaimable {} ({})",
                size(reclaimable),
                percent_of(reclaimable, bytes.allocated)
            )),
        });
        facts
    }

    fn place(&self) -> Vec<Line> {
        let stats = self.stats;
        let address = |address: u64| self.line().with(Role::Address, &format!("{address:#x}"));
        let mut header = self.plain("header ");
        header.append(&address(stats.address));
        let Some(place) = &stats.addresses else {
            return vec![header];
        };
        let mut blocks = self.plain(&format!(
            "{} over {} at ",
            count(place.blocks, "block"),
            size(place.span)
        ));
        blocks.append(&address(place.low));
        let mut pages = format!(
            "{} (min {})",
            count(place.pages, "page"),
            thousands(place.min_pages)
        );
        if let Some(resident) = place.resident_pages {
            pages.push_str(&format!(", {} resident", thousands(resident)));
        }
        vec![blocks, self.plain(&pages), header]
    }

    fn layout(&self) -> Vec<Line> {
        let stats = self.stats;
        let layout = &stats.layout;
        let mut facts = vec![self.plain(&format!(
            "slot {}, {} {}",
            size(layout.slot_size),
            unit(stats),
            size(layout.bucket_size)
        ))];
        let indirect = match (layout.indirect_key, layout.indirect_elem) {
            (true, true) => Some("keys and elems"),
            (true, false) => Some("keys"),
            (false, true) => Some("elems"),
            (false, false) => None,
        };
        if let Some(indirect) = indirect {
            facts.push(self.plain(&format!("{indirect} behind pointers")));
        }
        facts.push(self.plain(&source(layout)));
        facts
    }

    /// Writes a label and its facts, as many on a line as fit.
    fn row(&self, label: &str, facts: &[Line], text: &mut String) {
        const GAP: usize = 3;
        let columns = self.style.columns();
        let indent = LABEL.min(columns / 3);
        let room = columns - indent;
        let mut line = self.line();
        line.space(2);
        line.push(Role::Metadata, label);
        let padding = indent.saturating_sub(line.width()).max(1);
        line.space(padding);
        let mut used = 0;
        for fact in facts.iter().flat_map(|fact| fact.wrap(room, 0)) {
            if used > 0 {
                if used + GAP + fact.width() > room {
                    line.render(self.style, text);
                    line = self.line();
                    line.space(indent);
                    used = 0;
                } else {
                    line.space(GAP);
                    used += GAP;
                }
            }
            line.append(&fact);
            used += fact.width();
        }
        line.render(self.style, text);
    }

    fn defects(&self, text: &mut String) {
        let stats = self.stats;
        let total = stats.defects_total.max(stats.defects.len() as u64);
        if total == 0 {
            return;
        }
        text.push('\n');
        let title = count(total, "defect");
        self.line()
            .with(Role::Highlight, &title)
            .render(self.style, text);
        let mut shown = 0;
        for defect in stats.defects.iter().take(DEFECTS) {
            shown += 1;
            let mut line = self.line();
            line.space(2);
            line.push(Role::Title, defect.code);
            line.push(Role::Plain, " at ");
            line.push(Role::Address, &format!("{:#x}", defect.address));
            line.push(
                Role::Plain,
                &format!(": expected {}, found {}", defect.expected, defect.found),
            );
            if !defect.skipped.is_empty() {
                line.push(Role::Plain, &format!("; skipped {}", defect.skipped));
            }
            line.fold(self.style, 2, 2, text);
        }
        if total > shown {
            let listed = (stats.defects.len() as u64).saturating_sub(shown);
            let hint = match listed {
                0 => String::new(),
                listed => format!(" (-json lists {} of them)", thousands(listed)),
            };
            let more = format!("+{} more{hint}", thousands(total - shown));
            self.plain(&more).fold(self.style, 2, 2, text);
        }
    }

    fn notes(&self, text: &mut String) {
        let stats = self.stats;
        let mut notes: Vec<&str> = Vec::new();
        if stats.writing {
            notes.push("a write is in progress: counts may be off by one entry");
        }
        notes.extend(stats.notes.iter().map(String::as_str));
        if !notes.is_empty() {
            text.push('\n');
        }
        for note in notes {
            let mut line = self.line();
            line.push(Role::Metadata, "Note: ");
            line.push(Role::Plain, note);
            line.fold(self.style, 0, 6, text);
        }
    }

    fn next(&self, case: Case, text: &mut String) {
        let stats = self.stats;
        let run = |name, options| command(stats, name, options);
        let (before, step) = if stats.interrupted {
            (
                "let it finish, or look at a part: ",
                run("go-map-buckets", "-range 0:64"),
            )
        } else if stats.racing {
            (
                "stop all threads (interrupt -a) and repeat: ",
                run("go-map-stats", ""),
            )
        } else if !stats.exact && stats.writing {
            (
                "let the write end (finish, or continue) and repeat: ",
                run("go-map-stats", ""),
            )
        } else if !stats.exact {
            (
                "see which entries are readable: ",
                run("go-map-entries", "-limit 16"),
            )
        } else {
            match case {
                Case::Nil => ("stop where a map is assigned to it: ", {
                    let expression = stats.expression.trim();
                    if expression.is_empty() {
                        "where".to_owned()
                    } else {
                        format!("watch {expression}")
                    }
                }),
                Case::NeverUsed => ("see what a slot will cost: ", run("go-map-layout", "")),
                Case::Unreadable => ("check the type: ", run("go-map-layout", "")),
                Case::Growing => (
                    "see what is left to move: ",
                    run("go-map-buckets", "-only old"),
                ),
                Case::EmptyButHolds => (
                    "assign a fresh map where it is purged; see what was left behind: ",
                    run("go-map-buckets", "-heat"),
                ),
                Case::MostlyEmpty => (
                    "copy it into a fresh map after the purge; see where entries are left: ",
                    run("go-map-buckets", "-heat"),
                ),
                Case::Tombstones => (
                    "see where deletes left them: ",
                    run("go-map-buckets", "-only tombstone"),
                ),
                Case::Chains => ("see the chains: ", run("go-map-buckets", "-only overflow")),
                Case::Light => (
                    "see which are empty: ",
                    run("go-map-buckets", "-only empty"),
                ),
                Case::Small => ("see what it holds: ", run("go-map-entries", "")),
                Case::Healthy => ("see what a slot costs: ", run("go-map-layout", "")),
            }
        };
        let mut line = self.plain("Next: ");
        line.push(Role::Plain, before);
        let step = self.line().with(Role::Title, &step);
        let columns = self.style.columns();
        if line.width() + step.width() > columns && step.width() + NEXT <= columns {
            // A command is easier to copy when it stands on one line.
            line.fold(self.style, 0, NEXT, text);
            line = step;
            line.fold(self.style, NEXT, 0, text);
        } else {
            line.append(&step);
            line.fold(self.style, 0, NEXT, text);
        }
    }
}

/// Overflow buckets on the longest chain.
fn longest(buckets: &Buckets) -> u64 {
    buckets
        .chain_lengths
        .as_deref()
        .unwrap_or_default()
        .iter()
        .rposition(|&mains| mains > 0)
        .map_or(0, |length| length as u64)
}

/// `after 96 more keys`, `after 96 to 504,086 more keys`.
fn fits(next: &NextGrowth) -> String {
    if next.at_most > next.fits {
        format!(
            "after {} to {} more keys",
            thousands(next.fits),
            thousands(next.at_most)
        )
    } else if next.fits == 0 {
        "with the next new key".to_owned()
    } else if next.fits == 1 {
        "after 1 more key".to_owned()
    } else {
        format!("after {} more keys", thousands(next.fits))
    }
}

/// At most two decimals, none that are zero.
fn decimals(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::display_width;
    use crate::report::testing::{self, ASCII, PLAIN, WIDE, check, golden};

    #[test]
    fn the_text_of_each_case() {
        golden("stats-nil", &stats(&testing::nil(), &PLAIN));
        golden("stats-never-used", &stats(&testing::never_used(), &PLAIN));
        golden("stats-small", &stats(&testing::small(), &PLAIN));
        golden("stats-severe", &stats(&testing::severe(), &PLAIN));
        golden("stats-severe-wide", &stats(&testing::severe(), &WIDE));
        golden("stats-growing", &stats(&testing::growing(), &PLAIN));
        golden("stats-growing-ascii", &stats(&testing::growing(), &ASCII));
        golden("stats-damaged", &stats(&testing::damaged(), &PLAIN));
        golden("stats-interrupted", &stats(&testing::interrupted(), &PLAIN));
        golden("stats-healthy", &stats(&testing::healthy(), &PLAIN));
    }

    #[test]
    fn every_style_holds() {
        for model in testing::all() {
            check(|style| stats(&model, style));
        }
    }

    /// The first words of the verdict.
    fn verdict(model: &Stats) -> String {
        let text = stats(model, &WIDE);
        text.lines().nth(1).unwrap_or_default().to_owned()
    }

    #[test]
    fn the_verdict_follows_the_figures() {
        let mut model = testing::severe();
        model.len = 0;
        model.slots.live = 0;
        let said = verdict(&model);
        assert!(
            said.starts_with("Empty but holds 25.1 MiB: its entries were deleted"),
            "{said}"
        );
        model.slots.tombstones = 0;
        assert!(verdict(&model).contains("it was cleared, or made larger"));

        let mut model = testing::healthy();
        model.slots.tombstones = 300;
        let said = verdict(&model);
        assert!(
            said.starts_with("Heavy with tombstones: 29.3 % of the slots"),
            "{said}"
        );

        let mut model = testing::growing();
        model.classic.as_mut().unwrap().growth = "none";
        model.bytes.reclaimable = 0;
        model.buckets.overflow = 200;
        model.buckets.chain_lengths = Some(vec![100, 110, 45, 0, 0, 0, 0, 1, 2]);
        let text = stats(&model, &WIDE);
        assert!(
            text.contains("Heavy with overflow: 200 overflow buckets on 256 main"),
            "{text}"
        );
        assert!(text.contains("the longest chain has 8;"), "{text}");
        assert!(
            text.contains("0: 100  1: 110  2: 45  6+: 3   header"),
            "{text}"
        );

        let mut model = testing::healthy();
        model.buckets.severity = Some(Severity::Light);
        model.buckets.empty = 10;
        model.buckets.empty_density = Some(10.0 / 128.0);
        assert!(verdict(&model).starts_with("Roomy, as it must be for this len: "));
        model.bytes.reclaimable = 5000;
        assert!(verdict(&model).starts_with("A little empty: 7.8 % of the groups hold no entry"));

        let mut model = testing::healthy();
        model.exact = false;
        model.slots.capacity = 0;
        let said = verdict(&model);
        assert_eq!(
            said,
            "Not exact (a part was left out); unreadable: the header says 700 entries, \
             but no slot could be read."
        );
    }

    #[test]
    fn bytes_without_a_sum_show_none() {
        let mut model = testing::severe();
        model.bytes.allocated = 1 << 20;
        let text = stats(&model, &WIDE);
        assert!(
            text.contains("1.0 MiB allocated   24.0 MiB holes   28.2 KiB live\n"),
            "{text}"
        );
    }

    #[test]
    fn the_next_command_can_be_typed() {
        let mut model = testing::healthy();
        model.expression = "0xc000012120".to_owned();
        model.layout.source = "given";
        let text = stats(&model, &WIDE);
        assert!(
            text.ends_with("go-map-layout 0xc000012120 -type 'map[string]int'\n"),
            "{text}"
        );
        model.expression = "a -b".to_owned();
        let text = stats(&model, &WIDE);
        assert!(
            text.ends_with("go-map-layout -type 'map[string]int' -- a -b\n"),
            "{text}"
        );
        model.expression = String::new();
        assert!(stats(&model, &WIDE).starts_with("map[string]int  len 700   swiss"));
        for model in testing::all() {
            let text = stats(&model, &WIDE);
            let last = text.lines().last().unwrap_or_default();
            let step = last.rsplit(": ").next().unwrap_or_default();
            if let Some((name, argument)) = step.split_once(' ')
                && name.starts_with("go-map")
            {
                assert!(crate::command::parse(name, argument).is_ok(), "{step}");
            } else {
                assert_eq!(step, "watch main.m");
            }
        }
    }

    proptest! {
        #[test]
        fn any_model_renders(
            mut model in testing::any_stats(),
            width in 1_usize..210,
            unicode in any::<bool>(),
        ) {
            let style = Style { width, color: false, unicode };
            let text = stats(&model, &style);
            for line in text.lines() {
                prop_assert!(display_width(line) <= width, "{}", line);
                prop_assert!(!line.chars().any(char::is_control));
                prop_assert!(unicode || line.is_ascii());
            }
            model.defects.clear();
            let colored = stats(&model, &Style { color: true, ..style });
            prop_assert_eq!(testing::strip_sgr(&colored), stats(&model, &style));
        }
    }
}
