//! One Go source file that is edited at known statements.

use super::InstrumentError;

/// What is done at a statement.
#[derive(Debug, Clone, Copy)]
pub(super) enum Edit {
    /// Nothing: the statement must be there.
    Require,
    /// Code before it, on the same line.
    Before(&'static str),
    /// Code behind it, on the same line.
    After(&'static str),
}

/// An edit and where it belongs. Code stays on the statement's line, so that every line
/// keeps its number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patch {
    /// The beginning of the line that declares the function or type.
    pub head: &'static str,
    /// The statement without comment; one that ends in `…` names its beginning.
    pub statement: &'static str,
    /// What is done there.
    pub edit: Edit,
    /// How often the statement stands there.
    pub count: usize,
}

/// A file of GOROOT, or what an overlay puts in its place.
#[derive(Debug)]
pub(super) struct Source {
    /// Relative to `GOROOT/src`.
    pub name: String,
    /// Its text, edited so far.
    pub text: String,
}

/// The statement of a line, without indentation and comment.
fn statement(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code).trim()
}

fn fits(line: &str, wanted: &str) -> bool {
    let found = statement(line);
    match wanted.strip_suffix('…') {
        Some(start) => found.starts_with(start),
        None => found == wanted,
    }
}

impl Source {
    /// The lines of a declaration that ends with a line of one bracket.
    fn declaration(&self, head: &str) -> Option<std::ops::Range<usize>> {
        let start = self
            .text
            .match_indices(head)
            .map(|(at, _)| at)
            .find(|at| *at == 0 || self.text.as_bytes().get(at - 1) == Some(&b'\n'))?;
        let len = self.text.get(start..)?.find("\n}")?;
        Some(start..start + len)
    }

    fn refuse(&self, head: &str, reason: String) -> InstrumentError {
        InstrumentError::Anchor {
            file: self.name.clone(),
            function: head.trim_end_matches(['(', '{', ' ']).to_owned(),
            reason,
        }
    }

    fn body(&self, head: &str) -> Result<std::ops::Range<usize>, InstrumentError> {
        self.declaration(head)
            .ok_or_else(|| self.refuse(head, "it is not there".to_owned()))
    }

    /// What stands between two statements of a function, both left out.
    pub fn between(&self, head: &str, from: &str, to: &str) -> Result<String, InstrumentError> {
        let range = self.body(head)?;
        let body = self.text.get(range).unwrap_or_default();
        let mut lines = body.lines().skip_while(|line| !fits(line, from));
        if lines.next().is_none() {
            return Err(self.refuse(head, format!("`{from}` is not there")));
        }
        let mut kept = String::new();
        for line in lines {
            if fits(line, to) {
                return Ok(kept);
            }
            kept.push_str(line);
            kept.push('\n');
        }
        Err(self.refuse(head, format!("`{to}` does not follow `{from}`")))
    }

    /// The type of a parameter, as in `func newTable(typ *abi.MapType,`.
    pub fn parameter(&self, head: &str) -> Result<String, InstrumentError> {
        let range = self.body(head)?;
        let rest = self
            .text
            .get(range.start + head.len()..range.end)
            .unwrap_or_default();
        match rest.split_once([',', ')']) {
            Some((kind, _)) if !kind.contains(['\n', ' ']) => Ok(kind.to_owned()),
            _ => Err(self.refuse(head, "its parameters are others".to_owned())),
        }
    }

    /// Whether a declaration begins so.
    pub fn declares(&self, head: &str) -> bool {
        self.declaration(head).is_some()
    }

    /// Applies one edit at all its places.
    pub fn apply(&mut self, patch: &Patch) -> Result<(), InstrumentError> {
        let range = self.body(patch.head)?;
        let body = self.text.get(range.clone()).unwrap_or_default();
        let mut edited = String::with_capacity(body.len() + 256);
        let mut found = 0;
        for line in body.split_inclusive('\n') {
            if !fits(line, patch.statement) {
                edited.push_str(line);
                continue;
            }
            found += 1;
            let code = statement(line);
            let indent = line.len() - line.trim_start().len();
            let (lead, rest) = line.split_at(indent);
            let tail = rest.get(code.len()..).unwrap_or_default();
            edited.push_str(lead);
            match patch.edit {
                Edit::Require => edited.push_str(code),
                Edit::Before(text) => {
                    edited.push_str(text);
                    edited.push_str("; ");
                    edited.push_str(code);
                }
                Edit::After(text) => {
                    edited.push_str(code);
                    edited.push_str("; ");
                    edited.push_str(text);
                }
            }
            edited.push_str(tail);
        }
        if found != patch.count {
            let wanted = patch.statement.trim_end_matches('…');
            return Err(self.refuse(
                patch.head,
                format!(
                    "`{wanted}` is there {found} times, not {} times",
                    patch.count
                ),
            ));
        }
        self.text.replace_range(range, &edited);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source {
            name: "runtime/x.go".to_owned(),
            text: "package x\n\nfunc other(h int) {\n\ta = 1\n}\n\nfunc f(t *T, h int) {\n\
                   \tfrom()\n\trule()\n\tif b {\n\t\ta = 1 // the first\n\t}\n\ta = 1\n}\n"
                .to_owned(),
        }
    }

    fn patch(statement: &'static str, edit: Edit, count: usize) -> Patch {
        Patch {
            head: "func f(",
            statement,
            edit,
            count,
        }
    }

    #[test]
    fn lines_and_comments_stay() {
        let mut source = source();
        let lines = source.text.lines().count();
        source
            .apply(&patch("a = 1", Edit::After("hook(t)"), 2))
            .unwrap();
        source
            .apply(&patch("if b…", Edit::Before("look()"), 1))
            .unwrap();
        assert_eq!(source.text.lines().count(), lines);
        assert!(source.text.contains("\t\ta = 1; hook(t) // the first\n"));
        assert!(source.text.contains("\tlook(); if b {\n"));
        assert!(source.text.contains("func other(h int) {\n\ta = 1\n}"));
    }

    #[test]
    fn what_does_not_match_is_refused_by_name() {
        let mut source = source();
        let error = source
            .apply(&patch("a = 1", Edit::Require, 3))
            .unwrap_err()
            .to_string();
        assert!(error.contains("runtime/x.go"), "{error}");
        assert!(error.contains("func f"), "{error}");
        assert!(error.contains("`a = 1` is there 2 times"), "{error}");
        assert!(source.between("func g(", "a", "b").is_err());
        assert_eq!(source.parameter("func f(t ").unwrap(), "*T");
        assert_eq!(
            source.between("func f(", "from()", "if b {").unwrap(),
            "\trule()\n"
        );
    }
}
