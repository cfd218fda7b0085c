//! The Go release and experiments, from the build info blob.
//!
//! Format: debug/buildinfo (Go 1.18 and later): 14 bytes of magic, pointer
//! size, flags; with flag 2 the version string follows inline at offset 32,
//! length-prefixed. Older blobs hold pointers instead.

use object::{Object, ObjectSection};

use super::{Elf, section_data};

const MAGIC: &[u8] = b"\xff Go buildinf:";

/// A toolchain's version string, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoVersion {
    /// As the toolchain wrote it: `go1.25.5 X:noswissmap`.
    pub text: String,
    /// `None` for a development version.
    pub release: Option<Release>,
    /// The experiments behind `X:`.
    pub experiments: Vec<String>,
}

/// `go1.MINOR.PATCH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// 27 of 1.27.3.
    pub minor: u16,
    /// 3 of 1.27.3.
    pub patch: u16,
}

impl GoVersion {
    /// Takes a version string apart. The experiments follow ` X:` up to Go 1.25
    /// and `-X:` from 1.26 on (issue 75953).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            return None;
        }
        let marker = text.find(" X:").or_else(|| text.find("-X:"));
        let experiments = marker
            .and_then(|at| text.get(at + 3..))
            .and_then(|rest| rest.split_whitespace().next())
            .map(|list| list.split(',').map(str::to_owned).collect())
            .unwrap_or_default();
        let number = |part: &str| {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            part.get(..digits)?.parse().ok()
        };
        let release = text.strip_prefix("go1.").and_then(|rest| {
            let mut parts = rest.split('.');
            let minor = number(parts.next()?)?;
            Some(Release {
                minor,
                patch: parts.next().and_then(number).unwrap_or(0),
            })
        });
        Some(Self {
            text: text.to_owned(),
            release,
            experiments,
        })
    }

    /// The release without experiments: `go1.25.5`.
    #[must_use]
    pub fn short(&self) -> &str {
        let end = self.text.find(" X:").or_else(|| self.text.find("-X:"));
        end.and_then(|end| self.text.get(..end))
            .unwrap_or(&self.text)
    }
}

/// The version in the file's build info section.
pub(super) fn read(file: &Elf<'_>) -> Option<GoVersion> {
    let blob = section_data(file, ".go.buildinfo");
    let flags = *blob.get(15)?;
    if !blob.starts_with(MAGIC) {
        return None;
    }
    if flags & 2 != 0 {
        return GoVersion::parse(&inline_string(blob.get(32..)?)?);
    }
    // Before the inline form: a pointer to a Go string header.
    let size = usize::from(*blob.get(14)?);
    let word = |bytes: &[u8]| {
        crate::memory::Abi {
            pointer_size: size as u8,
            big_endian: flags & 1 != 0,
        }
        .uint_at(bytes, 0, size)
    };
    let header = at_address(file, word(blob.get(16..)?)?, 2 * size)?;
    let text = at_address(
        file,
        word(&header)?,
        usize::try_from(word(header.get(size..)?)?).ok()?,
    )?;
    GoVersion::parse(std::str::from_utf8(&text).ok()?)
}

fn inline_string(bytes: &[u8]) -> Option<String> {
    let mut len: usize = 0;
    for (index, byte) in bytes.iter().enumerate().take(4) {
        len |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let text = bytes.get(index + 1..)?.get(..len)?;
            return Some(std::str::from_utf8(text).ok()?.to_owned());
        }
    }
    None
}

fn at_address(file: &Elf<'_>, address: u64, len: usize) -> Option<Vec<u8>> {
    file.sections().find_map(|section| {
        section
            .data_range(address, len as u64)
            .ok()
            .flatten()
            .map(<[u8]>::to_vec)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_apart() {
        let plain = GoVersion::parse("go1.27.3").unwrap();
        assert_eq!(
            plain.release,
            Some(Release {
                minor: 27,
                patch: 3
            })
        );
        assert!(plain.experiments.is_empty());
        let old = GoVersion::parse("go1.25.5 X:noswissmap,synctest").unwrap();
        assert_eq!(old.experiments, ["noswissmap", "synctest"]);
        assert_eq!(old.short(), "go1.25.5");
        let new = GoVersion::parse("go1.27.3-X:mapsplitgroup").unwrap();
        assert_eq!(new.experiments, ["mapsplitgroup"]);
        assert_eq!(new.short(), "go1.27.3");
        let candidate = GoVersion::parse("go1.26rc1").unwrap();
        assert_eq!(
            candidate.release,
            Some(Release {
                minor: 26,
                patch: 0
            })
        );
        let devel = GoVersion::parse("devel go1.28-abcdef Mon").unwrap();
        assert_eq!(devel.release, None);
        assert_eq!(GoVersion::parse("\u{1b}[31m"), None);
    }
}
