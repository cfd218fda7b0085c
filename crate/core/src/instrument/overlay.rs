//! The file that `go build -overlay` reads, and the directory around it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::InstrumentError;

const FILE: &str = "overlay.json";
/// The go command passes directories over whose names begin so.
const SOURCES: &str = "_src";

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    #[serde(rename = "Replace", default)]
    replace: BTreeMap<String, String>,
}

/// An overlay that is in use already; by default an empty one.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    file: PathBuf,
    /// Absolute paths; an empty one takes the file out of the build.
    replace: BTreeMap<PathBuf, PathBuf>,
}

/// What an overlay makes of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing.
    Original,
    /// Another file stands for it.
    Replaced(PathBuf),
    /// It is not there.
    Removed,
}

/// Without `.` and `..`, as the go command takes paths of an overlay.
fn clean(path: &Path) -> PathBuf {
    let mut found = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                found.pop();
            }
            other => found.push(other),
        }
    }
    found
}

fn absolute(path: &Path) -> Result<PathBuf, InstrumentError> {
    std::path::absolute(path)
        .map(|path| clean(&path))
        .map_err(|error| InstrumentError::Io(path.to_owned(), error))
}

impl Overlay {
    /// Reads what the user has.
    pub fn read(file: &Path) -> Result<Self, InstrumentError> {
        let bytes = fs::read(file).map_err(|error| InstrumentError::Io(file.to_owned(), error))?;
        let document: Document = serde_json::from_slice(&bytes)
            .map_err(|error| InstrumentError::Overlay(file.to_owned(), error.to_string()))?;
        let mut replace = BTreeMap::new();
        for (from, to) in document.replace {
            let to = match to.is_empty() {
                true => PathBuf::new(),
                false => absolute(Path::new(&to))?,
            };
            replace.insert(absolute(Path::new(&from))?, to);
        }
        Ok(Self {
            file: file.to_owned(),
            replace,
        })
    }

    /// Where it was read from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// How many files it replaces.
    pub fn len(&self) -> usize {
        self.replace.len()
    }

    /// What it makes of a file, however its path is spelled.
    pub fn place(&self, path: &Path) -> Place {
        let Some((_, to)) = self.entry(path) else {
            return Place::Original;
        };
        match to.as_os_str().is_empty() {
            true => Place::Removed,
            false => Place::Replaced(to.clone()),
        }
    }

    fn entry(&self, path: &Path) -> Option<(&PathBuf, &PathBuf)> {
        let path = clean(path);
        if let Some(found) = self.replace.get_key_value(&path) {
            return Some(found);
        }
        let name = path.file_name()?;
        let real = fs::canonicalize(path.parent()?).ok()?;
        self.replace.iter().find(|(from, _)| {
            from.file_name() == Some(name)
                && from
                    .parent()
                    .and_then(|parent| fs::canonicalize(parent).ok())
                    .is_some_and(|parent| parent == real)
        })
    }

    /// Writes a directory with this overlay and `files` in it: all of it, or nothing.
    /// Returns the file for `go build -overlay`.
    pub fn write(
        &self,
        target: &Path,
        root: &Path,
        files: &[(PathBuf, String)],
    ) -> Result<PathBuf, InstrumentError> {
        let mut replace: BTreeMap<String, String> = BTreeMap::new();
        let text = |path: &Path| {
            path.to_str().map(str::to_owned).ok_or_else(|| {
                let reason = io::Error::other("an overlay cannot hold this path: not UTF-8");
                InstrumentError::Io(path.to_owned(), reason)
            })
        };
        for (from, to) in &self.replace {
            replace.insert(text(from)?, text(to)?);
        }
        let mut parts = vec![];
        for (path, source) in files {
            let inside = path.strip_prefix(root).unwrap_or(path);
            let name = text(inside)?.replace('/', "__");
            if let Some((from, _)) = self.entry(path) {
                replace.remove(&text(from)?);
            }
            replace.insert(text(path)?, text(&target.join(SOURCES).join(&name))?);
            parts.push((name, source));
        }
        let document = serde_json::to_string_pretty(&Document { replace })
            .map_err(|error| InstrumentError::Overlay(target.to_owned(), error.to_string()))?;
        let scratch = beside(target, "new");
        let written = (|| -> io::Result<()> {
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::create_dir(&scratch)?;
            fs::create_dir(scratch.join(SOURCES))?;
            for (name, source) in &parts {
                fs::write(scratch.join(SOURCES).join(name), source)?;
            }
            fs::write(scratch.join(FILE), document + "\n")?;
            replace_directory(&scratch, target)
        })();
        if let Err(error) = written {
            let _ = fs::remove_dir_all(&scratch);
            return Err(InstrumentError::Io(target.to_owned(), error));
        }
        Ok(target.join(FILE))
    }
}

fn beside(target: &Path, word: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{word}.{}", std::process::id()));
    target.with_file_name(name)
}

fn replace_directory(new: &Path, target: &Path) -> io::Result<()> {
    if fs::symlink_metadata(target).is_err() || fs::remove_dir(target).is_ok() {
        return fs::rename(new, target);
    }
    let old = beside(target, "old");
    fs::rename(target, &old)?;
    if let Err(error) = fs::rename(new, target) {
        let _ = fs::rename(&old, target);
        return Err(error);
    }
    fs::remove_dir_all(old)
}

/// The absolute path of the directory to write, if it may be written.
pub(super) fn prepare(directory: &Path, force: bool) -> Result<PathBuf, InstrumentError> {
    let target = absolute(directory)?;
    let entries = match fs::read_dir(&target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(target),
        Err(error) => return Err(InstrumentError::Io(target, error)),
    };
    let mut ours = false;
    let mut others = false;
    for entry in entries {
        let name = match entry {
            Ok(entry) => entry.file_name(),
            Err(error) => return Err(InstrumentError::Io(target, error)),
        };
        match name == FILE || name == SOURCES {
            true => ours = true,
            false => others = true,
        }
    }
    // What is not ours is never removed, whatever is asked.
    if others || (ours && !target.join(SOURCES).join(MARK).is_file()) {
        return Err(InstrumentError::Foreign(target));
    }
    match ours && !force {
        true => Err(InstrumentError::Exists(target)),
        false => Ok(target),
    }
}

/// A file that every overlay of ours has.
const MARK: &str = "runtime__zz_gomapscope.go";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_as_the_go_command_does() {
        let overlay = Overlay {
            file: PathBuf::new(),
            replace: [
                (PathBuf::from("/go/src/a.go"), PathBuf::from("/x/a.go")),
                (PathBuf::from("/go/src/b.go"), PathBuf::new()),
            ]
            .into(),
        };
        let place = |path: &str| overlay.place(Path::new(path));
        assert_eq!(
            place("/go/./src/x/../a.go"),
            Place::Replaced("/x/a.go".into())
        );
        assert_eq!(place("/go/src/b.go"), Place::Removed);
        assert_eq!(place("/go/src/c.go"), Place::Original);
    }
}
