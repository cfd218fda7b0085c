//! Event files: JSON Lines, gzipped where the name ends in `.gz`.
//!
//! The first line is the [`Header`], then come events, and in a file that was closed
//! the last line is the [`Ending`]. Lines are written whole, so that a file whose
//! writer was killed lacks its end and nothing else.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::Event;
use crate::save::{self, NewFile};

/// The schema of the first line.
pub const SCHEMA: &str = "gomapscope.events/1";

/// A line longer than this is none of ours.
const LINE_MAX: u64 = 16 << 20;

/// One instant on two clocks, and how far they may be apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// `CLOCK_MONOTONIC`.
    pub t_mono_ns: u64,
    /// Nanoseconds since 1970.
    pub t_wall_ns: u64,
    /// They were read within so many nanoseconds.
    pub error_ns: u64,
}

/// The kernel's name for this boot; `None` where there is no such thing.
#[must_use]
pub fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let name = text.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

impl Clock {
    /// The wall time of a monotonic one, by this anchor.
    #[must_use]
    pub fn wall(&self, mono: u64) -> u64 {
        if mono >= self.t_mono_ns {
            self.t_wall_ns.saturating_add(mono - self.t_mono_ns)
        } else {
            self.t_wall_ns.saturating_sub(self.t_mono_ns - mono)
        }
    }
}

/// The first line: where the events come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`SCHEMA`].
    pub schema: String,
    /// `break`, `watch`, `uprobe` or `ring`.
    pub engine: String,
    /// `go1.27.3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub go_version: Option<String>,
    /// `amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// `swiss` or `classic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// The executable's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u64>,
    /// The kernel's name for the boot whose monotonic clock it is (random(4)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// When recording began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// What is recorded: words of [`super::Op`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
    /// The maps that are recorded, as they were asked for; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maps: Vec<String>,
    /// The functions of the runtime at which events are taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<String>,
    /// Sentences on what is not seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The last line of a file that was closed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// Why recording ended.
    pub end: String,
    /// Events in the file.
    pub events: u64,
    /// What the engine could not record.
    pub lost: u64,
    /// Hits that were the same call once more (a signal came between) and are left out.
    pub duplicates: u64,
    /// Hits left out on request (`-every`, `-rate`, maps not asked for).
    #[serde(default)]
    pub left_out: u64,
    /// What a hit cost the program, on average, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_ns: Option<u64>,
    /// When recording ended, `CLOCK_MONOTONIC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t_mono_ns: Option<u64>,
}

/// Why an event file cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventFileError {
    /// The file is there already.
    #[error("{}", save::taken(.0.display()))]
    Exists(PathBuf),
    /// The system refuses.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// A file that is written whole or not at all cannot be written: a sentence with its name.
    #[error("{0}")]
    Refused(String),
    /// The first line is none of ours.
    #[error("{0} holds no events of gomapscope: {1}")]
    Foreign(PathBuf, String),
    /// A line in the middle is damaged.
    #[error("{path}, line {line} (byte {offset}): {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// Where the line begins, in the unpacked text.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
}

enum Sink {
    Plain(File),
    Packed(Box<GzEncoder<File>>),
    /// It gets its name when it is whole.
    Whole(NewFile),
}

/// Writes one event file, line by line.
pub struct EventWriter {
    path: PathBuf,
    sink: Option<Sink>,
    line: Vec<u8>,
    events: u64,
    unflushed: usize,
}

impl std::fmt::Debug for EventWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventWriter")
            .field("path", &self.path)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

/// Packed text is handed to the system when so much of it waits.
const PORTION: usize = 64 << 10;

impl EventWriter {
    /// Begins a file with its header.
    ///
    /// # Errors
    /// When the file exists and `force` is not set, or cannot be written.
    pub fn create(path: &Path, force: bool, header: &Header) -> Result<Self, EventFileError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => EventFileError::Exists(path.to_owned()),
            _ => EventFileError::Io(path.to_owned(), error),
        };
        let file = save::in_place(path, force).map_err(failed)?;
        let packed = path.extension().is_some_and(|end| end == "gz");
        let sink = if packed {
            Sink::Packed(Box::new(GzEncoder::new(file, Compression::fast())))
        } else {
            Sink::Plain(file)
        };
        Self::begin(path, sink, header)
    }

    /// The same of what is known already: the file is there when [`EventWriter::finish`] has
    /// returned, whole, or not at all, and one that it replaces stays till then.
    ///
    /// # Errors
    /// As [`EventWriter::create`].
    pub fn create_whole(path: &str, force: bool, header: &Header) -> Result<Self, EventFileError> {
        let place = Path::new(path);
        let packed = place.extension().is_some_and(|end| end == "gz");
        let file = NewFile::create(path, force, packed).map_err(EventFileError::Refused)?;
        Self::begin(place, Sink::Whole(file), header)
    }

    fn begin(path: &Path, sink: Sink, header: &Header) -> Result<Self, EventFileError> {
        let mut writer = Self {
            path: path.to_owned(),
            sink: Some(sink),
            line: Vec::new(),
            events: 0,
            unflushed: 0,
        };
        writer.put(header, true)?;
        Ok(writer)
    }

    /// The file's name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Events written so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Adds one event. A plain file has the whole line when this returns; a packed one
    /// has it after [`EventWriter::flush`].
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn event(&mut self, event: &Event) -> Result<(), EventFileError> {
        self.put(event, false)?;
        self.events += 1;
        Ok(())
    }

    /// Adds many events by few writes.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn events_of<'e>(
        &mut self,
        events: impl IntoIterator<Item = &'e Event>,
    ) -> Result<(), EventFileError> {
        self.line.clear();
        for event in events {
            self.render(event)?;
            self.events += 1;
            if self.line.len() >= PORTION {
                self.write_line(false)?;
                self.line.clear();
            }
        }
        self.write_line(false)
    }

    /// Hands everything to the system: a reader sees it from now on.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> Result<(), EventFileError> {
        self.unflushed = 0;
        let path = &self.path;
        match &mut self.sink {
            Some(Sink::Packed(packed)) => packed
                .flush()
                .map_err(|error| EventFileError::Io(path.clone(), error)),
            _ => Ok(()),
        }
    }

    /// Writes the last line and closes the file. Afterwards nothing can be added.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(&mut self, ending: &Ending) -> Result<(), EventFileError> {
        if self.sink.is_none() {
            return Ok(());
        }
        self.put(ending, false)?;
        match self.sink.take() {
            Some(Sink::Packed(packed)) => packed
                .finish()
                .map(|_| ())
                .map_err(|error| EventFileError::Io(self.path.clone(), error)),
            Some(Sink::Whole(file)) => file.keep().map(drop).map_err(EventFileError::Refused),
            _ => Ok(()),
        }
    }

    fn render(&mut self, value: &impl Serialize) -> Result<(), EventFileError> {
        serde_json::to_writer(&mut self.line, value)
            .map_err(|error| EventFileError::Io(self.path.clone(), error.into()))?;
        self.line.push(b'\n');
        Ok(())
    }

    fn put(&mut self, value: &impl Serialize, flush: bool) -> Result<(), EventFileError> {
        self.line.clear();
        self.render(value)?;
        self.write_line(flush)
    }

    fn write_line(&mut self, flush: bool) -> Result<(), EventFileError> {
        let path = &self.path;
        let failed = |error| EventFileError::Io(path.clone(), error);
        match &mut self.sink {
            // One write: the system keeps whole lines whatever happens to us.
            Some(Sink::Plain(file)) => file.write_all(&self.line).map_err(failed),
            Some(Sink::Packed(packed)) => {
                packed.write_all(&self.line).map_err(failed)?;
                self.unflushed += self.line.len();
                if flush || self.unflushed >= PORTION {
                    self.unflushed = 0;
                    packed.flush().map_err(failed)?;
                }
                Ok(())
            }
            Some(Sink::Whole(file)) => file.write(&self.line).map_err(EventFileError::Refused),
            None => Err(failed(io::Error::other("the file is closed already"))),
        }
    }
}

/// One line of an event file behind its header.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// An event.
    Event(Box<Event>),
    /// The last line.
    Ending(Ending),
}

/// How a file ends.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// It was closed.
    Closed(Ending),
    /// It stops after a whole line, without the last one: the writer was killed or is
    /// at work still.
    Open,
    /// It stops in the middle of a line, which begins at this byte of the unpacked text.
    Cut(u64),
}

/// Reads an event file line by line; nothing of it is kept.
pub struct EventReader {
    path: PathBuf,
    input: Box<dyn BufRead>,
    header: Header,
    line: u64,
    offset: u64,
    end: Option<End>,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for EventReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventReader")
            .field("path", &self.path)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

/// What the next line of a file is.
enum Raw {
    Whole,
    Cut,
    Nothing,
}

impl EventReader {
    /// Opens a file and reads its first line.
    ///
    /// # Errors
    /// When it cannot be read, or is no event file.
    pub fn open(path: &Path) -> Result<Self, EventFileError> {
        let failed = |error| EventFileError::Io(path.to_owned(), error);
        let mut file = BufReader::new(File::open(path).map_err(failed)?);
        let packed = file.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
        let input: Box<dyn BufRead> = if packed {
            Box::new(BufReader::new(MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        Self::of(path, input)
    }

    fn of(path: &Path, input: Box<dyn BufRead>) -> Result<Self, EventFileError> {
        let mut reader = Self {
            path: path.to_owned(),
            input,
            header: Header::default(),
            line: 0,
            offset: 0,
            end: None,
            bytes: Vec::new(),
        };
        let foreign = |reason: String| EventFileError::Foreign(path.to_owned(), reason);
        match reader.raw()? {
            Raw::Whole => {}
            Raw::Cut => return Err(foreign("its first line is not whole".to_owned())),
            Raw::Nothing => return Err(foreign("it is empty".to_owned())),
        }
        let header: Header = serde_json::from_slice(&reader.bytes)
            .map_err(|error| foreign(format!("its first line is no header ({error})")))?;
        if header.schema != SCHEMA {
            return Err(foreign(format!(
                "its schema is {:?}, not {SCHEMA}",
                header.schema
            )));
        }
        reader.header = header;
        Ok(reader)
    }

    /// The first line.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How the file ends; `None` before the end was read.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The next event; `None` at the end, which [`EventReader::end`] then tells.
    ///
    /// # Errors
    /// When a line that is not the last is damaged, or the file cannot be read.
    pub fn next_event(&mut self) -> Result<Option<Event>, EventFileError> {
        if self.end.is_some() {
            return Ok(None);
        }
        let begin = self.offset;
        match self.raw()? {
            Raw::Nothing => self.end = Some(End::Open),
            Raw::Cut => self.end = Some(End::Cut(begin)),
            Raw::Whole => {
                let damaged = |reason: serde_json::Error| EventFileError::Damaged {
                    path: self.path.clone(),
                    line: self.line,
                    offset: begin,
                    reason: reason.to_string(),
                };
                // The line is looked through once for what is no text, not string by string.
                let event = match std::str::from_utf8(&self.bytes) {
                    Ok(text) => serde_json::from_str::<Event>(text),
                    Err(_) => serde_json::from_slice(&self.bytes),
                };
                match event {
                    Ok(event) => return Ok(Some(event)),
                    Err(reason) => {
                        let ending = serde_json::from_slice::<Ending>(&self.bytes);
                        self.end = Some(End::Closed(ending.map_err(|_| damaged(reason))?));
                    }
                }
            }
        }
        Ok(None)
    }

    fn raw(&mut self) -> Result<Raw, EventFileError> {
        self.bytes.clear();
        self.line += 1;
        let read = self
            .input
            .as_mut()
            .take(LINE_MAX)
            .read_until(b'\n', &mut self.bytes);
        match read {
            Ok(0) => Ok(Raw::Nothing),
            Ok(len) => {
                self.offset += len as u64;
                if self.bytes.last() == Some(&b'\n') {
                    self.bytes.pop();
                    Ok(Raw::Whole)
                } else if len as u64 == LINE_MAX {
                    Err(EventFileError::Damaged {
                        path: self.path.clone(),
                        line: self.line,
                        offset: self.offset - len as u64,
                        reason: "the line is too long".to_owned(),
                    })
                } else {
                    Ok(Raw::Cut)
                }
            }
            // gzip without its end: the writer was killed.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                if self.bytes.is_empty() {
                    Ok(Raw::Nothing)
                } else {
                    Ok(Raw::Cut)
                }
            }
            Err(error) => Err(EventFileError::Io(self.path.clone(), error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Op;
    use super::*;

    fn header() -> Header {
        Header {
            schema: SCHEMA.to_owned(),
            engine: "break".to_owned(),
            pid: Some(7),
            ..Header::default()
        }
    }

    fn event(seq: u64) -> Event {
        Event {
            capacity: Some(16),
            block: Some(0xc000_0000_0000_0001),
            stack: vec![super::super::Frame {
                function: "main.\u{1b}[31mf\n".to_owned(),
                file: "/a b.go".to_owned(),
                line: 7,
                inlined: true,
            }],
            labels: [("k".to_owned(), "\0v\"".to_owned())].into(),
            ..Event::new(seq, Op::GrowSameSize, 0xffff_ffff_ffff_fff0)
        }
    }

    fn write(path: &Path, events: u64, close: bool) {
        let mut writer = EventWriter::create(path, false, &header()).unwrap();
        for seq in 1..=events {
            writer.event(&event(seq)).unwrap();
        }
        writer.flush().unwrap();
        if close {
            let ending = Ending {
                end: "stop".to_owned(),
                events,
                ..Ending::default()
            };
            writer.finish(&ending).unwrap();
        }
    }

    fn read(path: &Path) -> (Vec<Event>, End) {
        let mut reader = EventReader::open(path).unwrap();
        assert_eq!(reader.header(), &header());
        let mut events = Vec::new();
        while let Some(event) = reader.next_event().unwrap() {
            events.push(event);
        }
        (events, reader.end().unwrap().clone())
    }

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("events-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&path).ok();
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn what_was_written_is_read_plain_and_packed() {
        let folder = folder("round");
        for name in ["a.jsonl", "a.jsonl.gz"] {
            let path = folder.join(name);
            write(&path, 3, true);
            let (events, end) = read(&path);
            assert_eq!(events, (1..=3).map(event).collect::<Vec<_>>());
            let End::Closed(ending) = end else {
                panic!("{end:?}")
            };
            assert_eq!((ending.end.as_str(), ending.events), ("stop", 3));
        }
        std::fs::remove_dir_all(folder).ok();
    }

    #[test]
    fn a_file_cut_at_any_byte_keeps_its_whole_lines() {
        let folder = folder("cut");
        let whole = folder.join("whole.jsonl");
        write(&whole, 2, true);
        let bytes = std::fs::read(&whole).unwrap();
        let first = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let cut = folder.join("cut.jsonl");
        for len in first..bytes.len() {
            std::fs::write(&cut, &bytes[..len]).unwrap();
            let (events, end) = read(&cut);
            let lines = bytes[first..len].iter().filter(|b| **b == b'\n').count();
            assert_eq!(events.len(), lines);
            let at_line = bytes[len - 1] == b'\n';
            assert_eq!(matches!(end, End::Open), at_line, "{len}");
            assert_eq!(matches!(end, End::Cut(_)), !at_line, "{len}");
        }
        for len in 0..first {
            std::fs::write(&cut, &bytes[..len]).unwrap();
            assert!(matches!(
                EventReader::open(&cut),
                Err(EventFileError::Foreign(..))
            ));
        }
        std::fs::remove_dir_all(folder).ok();
    }

    #[test]
    fn a_packed_file_of_a_killed_writer_keeps_what_was_flushed() {
        let folder = folder("packed");
        let whole = folder.join("whole.jsonl.gz");
        write(&whole, 50, false);
        let bytes = std::fs::read(&whole).unwrap();
        let (events, _) = read(&whole);
        assert_eq!(events.len(), 50);
        let cut = folder.join("cut.jsonl.gz");
        std::fs::write(&cut, &bytes[..bytes.len() - 40]).unwrap();
        let (events, end) = read(&cut);
        assert!(events.len() < 50);
        assert!(!matches!(end, End::Closed(_)));
        std::fs::remove_dir_all(folder).ok();
    }

    #[test]
    fn damage_in_the_middle_names_its_place() {
        let folder = folder("damage");
        let path = folder.join("a.jsonl");
        write(&path, 2, true);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let broken = format!("{}\n{{\"seq\":1,\n{}\n", lines[0], lines[2]);
        std::fs::write(&path, &broken).unwrap();
        let mut reader = EventReader::open(&path).unwrap();
        let error = reader.next_event().unwrap_err().to_string();
        assert!(
            error.contains(&format!("line 2 (byte {})", lines[0].len() + 1)),
            "{error}"
        );
        std::fs::remove_dir_all(folder).ok();
    }

    #[test]
    fn files_are_not_overwritten_unasked() {
        let folder = folder("exists");
        let path = folder.join("a.jsonl");
        write(&path, 1, true);
        assert!(matches!(
            EventWriter::create(&path, false, &header()),
            Err(EventFileError::Exists(_))
        ));
        assert!(EventWriter::create(&path, true, &header()).is_ok());
        std::fs::remove_dir_all(folder).ok();
    }
}
