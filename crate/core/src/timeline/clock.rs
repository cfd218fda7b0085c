//! Whose clock it is, what wall time means on it, and how clocks that are another's are
//! brought onto it.

use std::ffi::OsStr;
use std::path::Path;

use super::model::{Subject, Wall};
use crate::report::sanitize;

/// Releases that changed the format of traces (internal/trace/version), and the newest one
/// whose traces are known.
const FORMATS: [u32; 7] = [11, 19, 21, 22, 23, 25, 26];
const NEWEST: u32 = 27;

/// Wall clocks of one process that are further apart are of different boots or machines; a
/// clock that is being set right is slewed by less (adjtimex(2)).
const APART_NS: u64 = 1_000_000_000;

/// Two readings of a clock one after the other lie that far apart.
const READ_NS: u64 = 100;

/// Collections whose times must fit, to match two lists of them.
const FITS: usize = 3;

/// How far a collection's end in a trace may be from where the heap's books have it.
pub(super) const JITTER_NS: u64 = 50_000;

/// What a source says of its process.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Claim<'a> {
    pub(super) pid: Option<u64>,
    pub(super) started: Option<u64>,
    pub(super) boot_id: Option<&'a str>,
    pub(super) go_version: Option<&'a str>,
    pub(super) program: Option<&'a str>,
    /// What Go's linker identifies the executable by.
    pub(super) build_id: Option<&'a str>,
    /// What the linker's note for others, as profiles have it, identifies it by.
    pub(super) note_id: Option<&'a str>,
    pub(super) arch: Option<&'a str>,
}

/// The process that all sources must be of, as those before told.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub(super) subject: Subject,
    started: Option<u64>,
    build_id: Option<String>,
    note_id: Option<String>,
    /// Who told.
    by: String,
}

impl Identity {
    /// Whether a source can be of this process; then what it says is added.
    ///
    /// # Errors
    /// Why it is of another: a phrase.
    pub(super) fn admit(&mut self, claim: &Claim<'_>, path: &str) -> Result<(), String> {
        let subject = &mut self.subject;
        let by = &self.by;
        if let (Some(known), Some(told)) = (&subject.boot_id, claim.boot_id)
            && known != told
        {
            return Err(format!(
                "it is of another boot of the machine than {by}: their monotonic clocks do not \
                 compare"
            ));
        }
        if let (Some(known), Some(told)) = (subject.pid, claim.pid)
            && known != told
        {
            return Err(format!("it is of process {told}, {by} of process {known}"));
        }
        if let (Some(known), Some(told)) = (self.started, claim.started)
            && known != told
        {
            return Err(format!(
                "it is of another process than {by}: the number is the same, not the start"
            ));
        }
        if let (Some(known), Some(told)) = (&subject.go_version, claim.go_version)
            && bare(known) != bare(told)
        {
            return Err(format!(
                "it is of a program by {told}, {by} of one by {known}"
            ));
        }
        self.same_program(claim)?;
        let (subject, by) = (&mut self.subject, &self.by);
        if let (Some(known), Some(told)) = (&subject.arch, claim.arch)
            && known != told
        {
            return Err(format!(
                "it is of a program for {told}, {by} of one for {known}"
            ));
        }
        let own = |text: Option<&str>| text.map(str::to_owned);
        self.build_id = self.build_id.take().or_else(|| own(claim.build_id));
        self.note_id = self.note_id.take().or_else(|| own(claim.note_id));
        subject.boot_id = subject.boot_id.take().or_else(|| own(claim.boot_id));
        subject.pid = subject.pid.or(claim.pid);
        subject.go_version = subject.go_version.take().or_else(|| own(claim.go_version));
        subject.program = subject.program.take().or_else(|| own(claim.program));
        subject.arch = subject.arch.take().or_else(|| own(claim.arch));
        self.started = self.started.or(claim.started);
        // A text says nothing of its process: what others contradict is not from there.
        if self.by.is_empty() && *claim != Claim::default() {
            path.clone_into(&mut self.by);
        }
        Ok(())
    }
}

impl Identity {
    /// Whether a source can be of the same executable: by what the linker identifies it by,
    /// else by its name.
    fn same_program(&self, claim: &Claim<'_>) -> Result<(), String> {
        let by = &self.by;
        let ids = [
            (&self.build_id, claim.build_id),
            (&self.note_id, claim.note_id),
        ];
        let mut same = false;
        for (known, told) in ids {
            if let (Some(known), Some(told)) = (known, told) {
                if known != told {
                    return Err(format!(
                        "it is of another program than {by}: its build ID is {}, not {}",
                        sanitize(told, true),
                        sanitize(known, true)
                    ));
                }
                same = true;
            }
        }
        // One process is of one program, under whatever name.
        same |= self.subject.pid.is_some() && self.subject.pid == claim.pid;
        let names = self.subject.program.as_deref().zip(claim.program);
        match names.filter(|(known, told)| !same && !named_alike(known, told)) {
            Some((known, told)) => Err(format!(
                "it is of another program than {by}: of {}, not {}",
                sanitize(told, true),
                sanitize(known, true)
            )),
            None => Ok(()),
        }
    }

    /// Whether the headline of a trace can be of this process: traces tell no more than the
    /// release whose format they have (`go 1.23 trace` of Go 1.23 and 1.24).
    ///
    /// # Errors
    /// Why it is of another: a phrase.
    pub(super) fn admit_trace(&self, version: u32, releases: &str) -> Result<(), String> {
        let Some(known) = self.subject.go_version.as_deref() else {
            return Ok(());
        };
        let minor = bare(known)
            .strip_prefix("go1.")
            .map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        let Some(minor) = minor.flatten().and_then(|minor| minor.parse::<u32>().ok()) else {
            return Ok(());
        };
        // What a release writes that is newer than these, nobody knows.
        let writes = FORMATS.iter().rev().find(|format| **format <= minor);
        match writes {
            Some(writes) if minor <= NEWEST && *writes != version => Err(format!(
                "it is of a program by {releases}, {} of one by {known}",
                self.by
            )),
            _ => Ok(()),
        }
    }
}

/// Whether two paths can be of one executable: a container's may be elsewhere here, and a link
/// may lead to it.
fn named_alike(one: &str, other: &str) -> bool {
    let base = |path: &Path| path.file_name().map(OsStr::to_owned);
    let (one, other) = (Path::new(one), Path::new(other));
    let real = |path: &Path| path.canonicalize().ok().and_then(|path| base(&path));
    let (near, far) = (base(one), base(other));
    near == far
        || [(real(one), &far), (real(other), &near)]
            .into_iter()
            .any(|(real, named)| real.is_some() && real == *named)
        || real(one).is_some_and(|one| Some(one) == real(other))
}

/// A version without its experiments: not every source names those.
fn bare(version: &str) -> &str {
    version.split_whitespace().next().unwrap_or_default()
}

/// Wall minus monotonic, by those who read both clocks.
#[derive(Debug, Default)]
pub(super) struct Walls {
    best: Option<Wall>,
    /// How far apart the offsets are.
    least: i64,
    most: i64,
}

impl Walls {
    /// Adds a reading of both clocks; `error_ns` within which they were read.
    ///
    /// # Errors
    /// When it cannot be of the same boot: a phrase.
    pub(super) fn add(
        &mut self,
        source: usize,
        mono_ns: u64,
        wall_ns: u64,
        error_ns: u64,
    ) -> Result<(), String> {
        let offset = i128::from(wall_ns) - i128::from(mono_ns);
        let Ok(offset_ns) = i64::try_from(offset) else {
            return Err("its clocks are no times of this century".to_owned());
        };
        let found = Wall {
            offset_ns,
            error_ns: error_ns.max(READ_NS),
            source,
        };
        let Some(best) = &mut self.best else {
            (self.least, self.most) = (offset_ns, offset_ns);
            self.best = Some(found);
            return Ok(());
        };
        let apart = offset_ns.abs_diff(best.offset_ns);
        if apart > APART_NS {
            return Err(format!(
                "its wall clock less its monotonic clock is {} ms off that of the others: it is \
                 of another boot or machine, or the clock was set in between",
                apart / 1_000_000
            ));
        }
        self.least = self.least.min(offset_ns);
        self.most = self.most.max(offset_ns);
        if found.error_ns < best.error_ns {
            *best = found;
        }
        Ok(())
    }

    /// The closest reading; its error covers what the others say.
    pub(super) fn best(&self) -> Option<Wall> {
        let best = self.best?;
        let apart = self.most.abs_diff(best.offset_ns);
        let apart = apart.max(self.least.abs_diff(best.offset_ns));
        Some(Wall {
            error_ns: best.error_ns.max(apart),
            ..best
        })
    }
}

/// A wall clock time as a monotonic one; `None` for a time before the boot.
pub(super) fn mono(wall_ns: i64, wall: &Wall) -> Option<u64> {
    u64::try_from(i128::from(wall_ns) - i128::from(wall.offset_ns)).ok()
}

/// How two lists of the same collections fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fit {
    /// What to add to the first list's times.
    pub(super) offset_ns: i64,
    /// How far the worst of them is off then.
    pub(super) error_ns: u64,
    /// How many were in both.
    pub(super) matched: usize,
}

/// Matches the ends of collections as two clocks have them, by the times between them. Both
/// lists are ascending and without gaps. `None` where no way to lay one over the other fits,
/// or more than one does.
pub(super) fn fit(own: &[u64], other: &[i64]) -> Option<Fit> {
    let mut found: Option<Fit> = None;
    let (n, m) = (own.len(), other.len());
    // `shift`: which of `other` the first of `own` is, less `n`.
    for shift in 0..n.checked_add(m)? {
        let mine = own.iter().skip(n.saturating_sub(shift));
        let theirs = other.iter().skip(shift.saturating_sub(n));
        let pairs: Vec<(u64, i64)> = mine.copied().zip(theirs.copied()).collect();
        if pairs.len() < FITS {
            continue;
        }
        let mut offsets: Vec<i128> = pairs
            .iter()
            .map(|(own, other)| i128::from(*other) - i128::from(*own))
            .collect();
        offsets.sort_unstable();
        let (first, last) = (*offsets.first()?, *offsets.last()?);
        let middle = *offsets.get(offsets.len() / 2)?;
        let worst = u64::try_from((last - middle).max(middle - first)).ok()?;
        if worst > JITTER_NS {
            continue;
        }
        let fit = Fit {
            offset_ns: i64::try_from(middle).ok()?,
            error_ns: worst,
            matched: pairs.len(),
        };
        match &found {
            // Collections at equal distances fit wherever they are laid.
            Some(_) => return None,
            None => found = Some(fit),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_fit_in_one_place_or_none() {
        let own = [1000, 5_001_000, 7_003_000, 19_000_000, 19_500_000];
        let at = |shift: i64| -> Vec<i64> { own.iter().map(|t| *t as i64 + shift).collect() };
        let mut other = vec![100_000, 40_000_000];
        other.extend(at(1_000_000_000));
        other.push(3_000_000_000);
        let found = fit(&own, &other).unwrap();
        assert_eq!(
            (found.offset_ns, found.error_ns, found.matched),
            (1_000_000_000, 0, 5)
        );
        // A microsecond of jitter is told.
        other[4] += 900;
        assert_eq!(fit(&own, &other).unwrap().error_ns, 900);
        // A part of it is enough, two are not.
        assert_eq!(fit(&own[..3], &other).unwrap().matched, 3);
        assert_eq!(fit(&own[..2], &other), None);
        assert_eq!(fit(&own, &[1, 2, 3, 400_000_000]), None);
        assert_eq!(fit(&own, &[]), None);
        // At equal distances nothing can be told.
        let even: Vec<u64> = (0..9).map(|n| n * 2_000_000_000).collect();
        let wall: Vec<i64> = (0..9).map(|n| n * 2_000_000_000 + 77).collect();
        assert_eq!(fit(&even, &wall), None);
        assert_eq!(fit(&[u64::MAX; 4], &[i64::MIN; 4]), None);
    }

    #[test]
    fn the_closest_reading_counts_and_others_widen_its_error() {
        let mut walls = Walls::default();
        walls
            .add(3, 1_000, 1_700_000_000_000_000_000, 5_000)
            .unwrap();
        walls.add(4, 2_000, 1_700_000_000_000_001_900, 400).unwrap();
        let best = walls.best().unwrap();
        assert_eq!((best.source, best.error_ns), (4, 900));
        assert_eq!(mono(1_700_000_000_000_001_900, &best), Some(2_000));
        assert_eq!(mono(5, &best), None);
        let said = walls
            .add(5, 1_000, 1_700_000_007_000_000_000, 10)
            .unwrap_err();
        assert!(said.contains("another boot"), "{said}");
        assert!(walls.add(6, 0, u64::MAX, 10).is_err());
        assert_eq!(walls.best().unwrap().source, 4);
    }

    #[test]
    fn sources_of_another_program_are_told() {
        let of = |program, build_id, note_id| Claim {
            program: Some(program),
            build_id,
            note_id,
            ..Claim::default()
        };
        let mut identity = Identity::default();
        identity.admit(&Claim::default(), "heap.txt").unwrap();
        identity
            .admit(&of("/a/leak", Some("go1"), None), "s.json")
            .unwrap();
        // A profile has an identity of another kind: the name tells, wherever the file is.
        identity
            .admit(&of("/b/leak", None, Some("n1")), "heap")
            .unwrap();
        for (claim, word) in [
            (of("/a/other", None, None), "of /a/other, not /a/leak"),
            (of("/a/other", None, Some("n2")), "build ID is n2, not n1"),
            (of("/a/leak", None, Some("n2")), "build ID is n2, not n1"),
            (of("/a/leak", Some("go2"), None), "build ID is go2, not go1"),
        ] {
            let said = identity.admit(&claim, "c").unwrap_err();
            assert!(said.contains(word), "{said}");
            assert!(said.contains("than s.json"), "{said}");
        }
        // The same executable by another name.
        identity
            .admit(&of("/a/copy", None, Some("n1")), "c")
            .unwrap();
        identity.admit(&Claim::default(), "text").unwrap();
    }

    #[test]
    fn a_link_is_no_other_program() {
        let folder = std::env::temp_dir().join(format!("clock-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (file, link) = (folder.join("prog"), folder.join("link"));
        std::fs::write(&file, b"").unwrap();
        std::fs::remove_file(&link).ok();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let (link, own) = (link.to_str().unwrap(), file.to_str().unwrap());
        assert!(named_alike(link, own) && named_alike(own, link));
        assert!(named_alike(link, "/elsewhere/prog"));
        assert!(!named_alike(link, "/elsewhere/third"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_trace_tells_its_release_at_least() {
        let mut identity = Identity::default();
        assert!(identity.admit_trace(22, "go1.22").is_ok());
        for (known, version, fits) in [
            ("go1.24.11 X:noswissmap", 23, true),
            ("go1.27.3", 26, true),
            ("go1.27rc1", 26, true),
            ("go1.21.13", 21, true),
            ("go1.20", 19, true),
            ("go1.24.11", 22, false),
            ("go1.27.3", 25, false),
            ("go1.40", 25, true),
            ("devel go1.28-abc", 22, true),
        ] {
            identity.subject.go_version = Some(known.to_owned());
            let said = identity.admit_trace(version, "go1.x");
            assert_eq!(said.is_ok(), fits, "{known} {version}: {said:?}");
        }
    }

    #[test]
    fn sources_of_another_process_are_told() {
        let mut identity = Identity::default();
        let first = Claim {
            pid: Some(7),
            boot_id: Some("a"),
            go_version: Some("go1.24.1 X:noswissmap"),
            ..Claim::default()
        };
        identity.admit(&first, "a.json").unwrap();
        identity.admit(&Claim::default(), "b").unwrap();
        let same = Claim {
            go_version: Some("go1.24.1"),
            ..first.clone()
        };
        identity.admit(&same, "b").unwrap();
        for (claim, word) in [
            (
                Claim {
                    pid: Some(8),
                    ..first.clone()
                },
                "process 8, a.json of process 7",
            ),
            (
                Claim {
                    boot_id: Some("b"),
                    ..first.clone()
                },
                "another boot",
            ),
            (
                Claim {
                    go_version: Some("go1.24.2"),
                    ..first.clone()
                },
                "go1.24.2",
            ),
        ] {
            let said = identity.admit(&claim, "c").unwrap_err();
            assert!(said.contains(word), "{said}");
        }
    }
}
