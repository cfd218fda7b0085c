//! Files that the user asked for: written whole beside their place and then given their
//! name, or in their place where they must survive their writer; and never over another
//! file unless that was asked for, too.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// A path as typed, with `~/` replaced as a shell does.
#[must_use]
pub fn expanded(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// Whether a file may be written: so that no long search ends in a refusal.
///
/// # Errors
/// Why not, in one line.
pub fn may_write(path: &str, force: bool) -> Result<PathBuf, String> {
    let expanded = expanded(path);
    match fs::symlink_metadata(&expanded) {
        Ok(found) if found.is_dir() => Err(format!("{path} is a directory")),
        // A device or a pipe would be replaced by a file, not written to.
        Ok(found) if !found.is_file() && !found.is_symlink() => {
            Err(format!("{path} is not a regular file"))
        }
        Ok(_) if !force => Err(taken(path)),
        Ok(_) | Err(_) => match expanded.parent() {
            Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
                Err(format!("{path} cannot be written: no such directory"))
            }
            _ => Ok(expanded),
        },
    }
}

/// Opens a file in its own place: what is written is there even if its writer is killed.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] for a file that is there, unless `force` empties it.
pub fn in_place(path: &Path, force: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    options.open(path)
}

/// What to say of a file that must not be overwritten.
#[must_use]
pub fn taken(path: impl Display) -> String {
    format!("{path} exists: -force overwrites it")
}

/// A file that does not have its name yet; dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct NewFile {
    /// As typed.
    path: String,
    place: PathBuf,
    /// Where it is until it is kept.
    beside: PathBuf,
    force: bool,
    /// `None` once it is closed.
    output: Option<Output>,
}

#[derive(Debug)]
enum Output {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

impl NewFile {
    /// A file that is to be called `path`; `gzip` compresses it.
    ///
    /// # Errors
    /// Why it cannot be written, in one line.
    pub fn create(path: &str, force: bool, gzip: bool) -> Result<Self, String> {
        let place = may_write(path, force)?;
        let mut beside = place.clone().into_os_string();
        beside.push(format!(".{}.tmp", std::process::id()));
        let beside = PathBuf::from(beside);
        let file = in_place(&beside, false).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("{} is in the way: remove it", beside.display())
            }
            _ => format!("{path} cannot be written: {error}"),
        })?;
        let file = BufWriter::new(file);
        Ok(Self {
            path: path.to_owned(),
            place,
            beside,
            force,
            output: Some(if gzip {
                Output::Gzip(Box::new(GzEncoder::new(file, Compression::default())))
            } else {
                Output::Plain(file)
            }),
        })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// Why they cannot be written, in one line.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let done = match &mut self.output {
            Some(Output::Plain(file)) => file.write_all(bytes),
            Some(Output::Gzip(file)) => file.write_all(bytes),
            None => Ok(()),
        };
        done.map_err(|error| self.failed(&error))
    }

    /// Gives the file its name; returns its size in bytes.
    ///
    /// # Errors
    /// Why not, in one line; nothing is left behind then.
    pub fn keep(mut self) -> Result<u64, String> {
        let closed = match self.output.take() {
            Some(Output::Plain(file)) => file.into_inner().map_err(io::IntoInnerError::into_error),
            Some(Output::Gzip(file)) => file
                .finish()
                .and_then(|file| file.into_inner().map_err(io::IntoInnerError::into_error)),
            None => return Ok(0),
        };
        closed
            .and_then(|file| {
                file.sync_all()?;
                let size = file.metadata()?.len();
                self.name()?;
                Ok(size)
            })
            .map_err(|error| self.failed(&error))
    }

    fn name(&self) -> io::Result<()> {
        if self.force {
            return fs::rename(&self.beside, &self.place);
        }
        // Unlike a rename, a link never replaces what came into being meanwhile.
        match fs::hard_link(&self.beside, &self.place) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                // A file system without links.
                fs::rename(&self.beside, &self.place)
            }
            other => other,
        }
    }

    fn failed(&self, error: &io::Error) -> String {
        let path = &self.path;
        match error.kind() {
            io::ErrorKind::AlreadyExists => taken(path),
            _ => format!("{path} cannot be written: {error}"),
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Renamed, it is gone already.
        let _ = fs::remove_file(&self.beside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &str, force: bool, bytes: &[u8]) -> Result<u64, String> {
        let mut file = NewFile::create(path, force, path.ends_with(".gz"))?;
        file.write(bytes)?;
        file.keep()
    }

    #[test]
    fn a_file_is_not_overwritten() {
        let folder = std::env::temp_dir().join(format!("save-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for name in ["a.json", "a.json.gz"] {
            let path = folder.join(name);
            let name = path.to_str().unwrap();
            write(name, false, b"one").unwrap();
            assert!(write(name, false, b"two").unwrap_err().contains("-force"));
            write(name, true, b"two").unwrap();
            // What came into being meanwhile is kept, too.
            let other = format!("{name}.new");
            let file = NewFile::create(&other, false, false).unwrap();
            fs::write(&other, b"meanwhile").unwrap();
            assert!(file.keep().unwrap_err().contains("-force"));
            assert_eq!(fs::read(&other).unwrap(), b"meanwhile");
            fs::remove_file(&other).unwrap();
            assert!(may_write(&format!("{name}/x/y"), true).is_err());
        }
        assert_eq!(fs::read(folder.join("a.json")).unwrap(), b"two");
        // What is written in its place is no other.
        let place = folder.join("a.json");
        let refused = in_place(&place, false).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        in_place(&place, true).unwrap().write_all(b"two").unwrap();
        // Nothing is left of a file that was not kept.
        drop(NewFile::create(folder.join("b").to_str().unwrap(), false, false).unwrap());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        assert!(may_write(folder.to_str().unwrap(), true).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
