//! Defects: what in memory contradicts the runtime's rules.

use serde::Serialize;

/// How many defects are kept with their details; later ones are only counted.
pub const DEFECTS_KEPT: usize = 64;

/// One contradiction between memory and the rules of Go's runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Defect {
    /// A stable short name, `count-mismatch` for example.
    pub code: &'static str,
    /// Where it was seen.
    #[serde(serialize_with = "crate::metrics::hex")]
    pub address: u64,
    /// What the runtime's rules or the map's own header say.
    pub expected: String,
    /// What memory holds.
    pub found: String,
    /// What was left out of the figures because of it; empty when nothing was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub skipped: String,
}

/// The defects of one walk: the first [`DEFECTS_KEPT`] whole, the rest counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defects {
    kept: Vec<Defect>,
    total: u64,
}

impl Defects {
    /// Records a defect.
    pub fn push(
        &mut self,
        code: &'static str,
        address: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
        skipped: impl Into<String>,
    ) {
        self.add(Defect {
            code,
            address,
            expected: expected.into(),
            found: found.into(),
            skipped: skipped.into(),
        });
    }

    /// Records a defect that was met elsewhere.
    pub fn add(&mut self, defect: Defect) {
        self.total += 1;
        if self.kept.len() < DEFECTS_KEPT {
            self.kept.push(defect);
        }
    }

    /// The defects kept with their details, in the order they were met.
    #[must_use]
    pub fn kept(&self) -> &[Defect] {
        &self.kept
    }

    /// How many there were in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}
