//! What the kernel's ring buffers hold, by the kernel's own descriptions of it
//! (`events/header_page`, `events/*/*/format`; kernel/trace/ring_buffer.c).

use super::UprobeError;

/// A page claims to be at most this large.
const PAGE_MAX: usize = 1 << 24;

/// A field of a page or of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) offset: usize,
    /// Bytes, all elems of an array together.
    pub(super) size: usize,
}

/// Where an event's fields are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) id: u16,
    fields: Vec<Field>,
}

impl Format {
    /// From the text of a `format` file named `path`.
    pub(super) fn parse(path: &str, text: &str) -> Result<Self, UprobeError> {
        let id = text
            .lines()
            .find_map(|line| line.strip_prefix("ID: ")?.trim().parse().ok());
        Ok(Self {
            id: id.ok_or_else(|| unknown(path, "no ID"))?,
            fields: fields(text),
        })
    }

    pub(super) fn field(&self, path: &str, name: &str) -> Result<&Field, UprobeError> {
        self.fields
            .iter()
            .find(|field| field.name == name)
            .ok_or_else(|| unknown(path, &format!("no field {name}")))
    }
}

fn unknown(path: &str, what: &str) -> UprobeError {
    UprobeError::Unknown(format!("{path} has {what}"))
}

/// `field:unsigned long caller[8]; offset:16; size:64; signed:0;`
fn fields(text: &str) -> Vec<Field> {
    text.lines()
        .filter_map(|line| {
            let mut parts = line.trim().strip_prefix("field:")?.split(';');
            let declaration = parts.next()?;
            let declaration = declaration.split('[').next()?;
            let name = declaration.split_whitespace().next_back()?.to_owned();
            let mut number = |key: &str| {
                let part = parts.next()?.trim();
                part.strip_prefix(key)?.parse::<usize>().ok()
            };
            let offset = number("offset:")?;
            let size = number("size:")?;
            (offset.checked_add(size)? <= PAGE_MAX).then_some(Field { name, offset, size })
        })
        .collect()
}

/// A number of 1, 2, 4 or 8 bytes in the byte order of this machine, on which the kernel runs.
pub(super) fn number(data: &[u8], offset: usize, size: usize) -> Option<u64> {
    let bytes = data.get(offset..offset.checked_add(size)?)?;
    Some(match size {
        1 => u64::from(*bytes.first()?),
        2 => u64::from(u16::from_ne_bytes(bytes.try_into().ok()?)),
        4 => u64::from(u32::from_ne_bytes(bytes.try_into().ok()?)),
        8 => u64::from_ne_bytes(bytes.try_into().ok()?),
        _ => return None,
    })
}

/// How pages are laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageFormat {
    commit: Field,
    data: usize,
    /// Bytes of a page.
    pub(super) size: usize,
}

/// In a page's commit: events before it were lost, and their number follows the data.
const MISSED: u64 = 1 << 31;
const MISSED_STORED: u64 = 1 << 30;

/// Bits of the header of an event (`struct ring_buffer_event`).
const DELTA_SHIFT: u32 = 27;
const DELTA_MASK: u32 = (1 << DELTA_SHIFT) - 1;
const PADDING: u32 = 29;
const TIME_EXTEND: u32 = 30;
const TIME_STAMP: u32 = 31;
/// An absolute time lacks these bits.
const TIME_MSB: u64 = 0xf8 << 56;

/// What is told of events lost before a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missed {
    Nothing,
    /// So many.
    Events(u64),
    /// Some.
    Unknown,
}

impl PageFormat {
    /// From the text of `events/header_page`.
    pub(super) fn parse(path: &str, text: &str) -> Result<Self, UprobeError> {
        let fields = fields(text);
        let field = |name: &str| {
            fields
                .iter()
                .find(|field| field.name == name)
                .cloned()
                .ok_or_else(|| unknown(path, &format!("no field {name}")))
        };
        let timestamp = field("timestamp")?;
        let commit = field("commit")?;
        let data = field("data")?;
        if (timestamp.offset, timestamp.size) != (0, 8) || !matches!(commit.size, 4 | 8) {
            return Err(unknown(path, "an unknown page header"));
        }
        Ok(Self {
            size: data.offset + data.size,
            commit,
            data: data.offset,
        })
    }

    /// Hands the events of a page, oldest first, to `each`: the time in nanoseconds and the
    /// record. `Err` tells where the page contradicts itself; what stood before was handed on.
    pub(super) fn decode(
        &self,
        page: &[u8],
        each: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<Missed, usize> {
        let mut time = number(page, 0, 8).ok_or(0_usize)?;
        let commit = number(page, self.commit.offset, self.commit.size).ok_or(0_usize)?;
        let len = (commit & !(MISSED | MISSED_STORED) & u64::from(u32::MAX)) as usize;
        let end = self.data.checked_add(len).ok_or(0_usize)?;
        let records = page.get(..end).ok_or(self.commit.offset)?;
        let missed = match (commit & MISSED != 0, commit & MISSED_STORED != 0) {
            (false, _) => Missed::Nothing,
            (true, true) => number(page, end, 8).map_or(Missed::Unknown, Missed::Events),
            (true, false) => Missed::Unknown,
        };
        let mut at = self.data;
        while at < end {
            let word = |offset: usize| number(records, offset, 4).map(|word| word as u32);
            let header = word(at).ok_or(at)?;
            let (kind, delta) = (header & 31, u64::from(header >> 5));
            match kind {
                PADDING => {
                    if delta == 0 {
                        break;
                    }
                    // A record that was discarded.
                    time = time.wrapping_add(delta);
                    at = (at + 4).saturating_add(word(at + 4).ok_or(at)? as usize);
                }
                TIME_EXTEND | TIME_STAMP => {
                    let high = u64::from(word(at + 4).ok_or(at)?);
                    let value = (high << DELTA_SHIFT) + (delta & u64::from(DELTA_MASK));
                    if kind == TIME_EXTEND {
                        time = time.wrapping_add(value);
                    } else {
                        let whole = value | (time & TIME_MSB);
                        // The bits that lack went on since.
                        time = if whole < time {
                            whole.wrapping_add(1 << 59)
                        } else {
                            whole
                        };
                    }
                    at += 8;
                }
                _ => {
                    time = time.wrapping_add(delta);
                    let (start, next) = if kind == 0 {
                        let len = word(at + 4).ok_or(at)? as usize;
                        (at + 8, (at + 4).saturating_add(len.max(4)))
                    } else {
                        (at + 4, at + 4 + kind as usize * 4)
                    };
                    each(time, records.get(start..next).ok_or(at)?);
                    at = next;
                }
            }
        }
        Ok(missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A page of Linux 6.18 on amd64, and what the kernel's own text (`trace`) shows of it.
    const PAGE: &[u8] = include_bytes!("recorded/ring.page");
    const TEXT: &str = include_str!("recorded/ring.txt");
    const HEADER: &str = include_str!("recorded/header_page");
    const PROBE: &str = include_str!("recorded/probe.format");
    const STACK: &str = include_str!("recorded/user_stack.format");
    const TASK: &str = include_str!("recorded/newtask.format");

    fn header() -> PageFormat {
        PageFormat::parse("header_page", HEADER).unwrap()
    }

    /// The page as the kernel gives it, with zeros behind the data.
    fn page() -> Vec<u8> {
        let mut page = PAGE.to_vec();
        page.resize(header().size, 0);
        page
    }

    type Records = Vec<(u64, Vec<u8>)>;

    fn decode(page: &[u8]) -> (Records, Result<Missed, usize>) {
        let mut records = Vec::new();
        let outcome = header().decode(page, &mut |time, data| records.push((time, data.to_vec())));
        (records, outcome)
    }

    #[test]
    fn a_page_says_what_the_kernel_says() {
        let probe = Format::parse("probe", PROBE).unwrap();
        let stack = Format::parse("stack", STACK).unwrap();
        let (records, outcome) = decode(&page());
        assert_eq!(outcome, Ok(Missed::Nothing));
        let mut shown = String::new();
        for (time, data) in &records {
            let get = |format: &Format, name: &str| {
                let field = format.field("", name).unwrap();
                number(data, field.offset, field.size).unwrap()
            };
            // As the kernel rounds.
            let micros = (time + 500) / 1000;
            let pid = get(&probe, "common_pid");
            let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
            let head = format!("assigns-{pid} {seconds}.{micros:06}:");
            let id = number(data, 0, 2).unwrap();
            if id == u64::from(probe.id) {
                let [ip, a0, a1, a2] =
                    ["__probe_ip", "a0", "a1", "a2"].map(|name| get(&probe, name));
                shown += &format!("{head} p0: ({ip:#x}) a0={a0:#x} a1={a1:#x} a2={a2:#x}\n");
            } else {
                assert_eq!(id, u64::from(stack.id));
                shown += &format!("{head} <user stack trace>\n");
                let frames = stack.field("", "caller").unwrap();
                for at in (frames.offset..frames.offset + frames.size).step_by(8) {
                    match number(data, at, 8).unwrap() {
                        0 => break,
                        frame => shown += &format!("=> <{frame:016x}>\n"),
                    }
                }
            }
        }
        let truth: String = TEXT
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                // Without the CPU and the flags.
                match words.as_slice() {
                    [task, _, _, rest @ ..] if task.starts_with("assigns-") => {
                        format!("{task} {}\n", rest.join(" "))
                    }
                    words => format!("{}\n", words.join(" ")),
                }
            })
            .collect();
        assert_eq!(shown, truth);
        assert!(records.len() >= 30);
        // It holds a pause of 0.3 s, longer than 27 bits of nanoseconds.
        assert!(
            records
                .windows(2)
                .any(|pair| pair[1].0 - pair[0].0 > 1 << 27)
        );
    }

    #[test]
    fn formats() {
        let task = Format::parse("task", TASK).unwrap();
        let flags = task.field("", "clone_flags").unwrap();
        assert_eq!((flags.offset, flags.size), (32, 8));
        let comm = task.field("", "comm").unwrap();
        assert_eq!((comm.offset, comm.size), (12, 16));
        assert!(task.field("task", "nothing").is_err());
        assert!(Format::parse("task", "name: x\n").is_err());
        assert!(PageFormat::parse("header_page", "").is_err());
        assert_eq!(header().size, 4096);
        let hostile = "\tfield:u64 a;\toffset:99999999999;\tsize:8;\n\tfield:u64 b;\tsize:8;\n";
        assert!(fields(hostile).is_empty());
    }

    #[test]
    fn lost_events() {
        let len = PAGE.len() - 16;
        let with = |flags: u64, count: u64| {
            let mut page = page();
            page[8..16].copy_from_slice(&(len as u64 | flags).to_ne_bytes());
            page[PAGE.len()..PAGE.len() + 8].copy_from_slice(&count.to_ne_bytes());
            decode(&page)
        };
        let (records, outcome) = with(MISSED, 7);
        assert_eq!(outcome, Ok(Missed::Unknown));
        assert_eq!(records, decode(&page()).0);
        assert_eq!(with(MISSED | MISSED_STORED, 7).1, Ok(Missed::Events(7)));
    }

    #[test]
    fn other_records() {
        let record = |words: &[u32]| {
            let mut page: Vec<u8> = 1_u64.to_ne_bytes().to_vec();
            page.extend((words.len() as u64 * 4).to_ne_bytes());
            page.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
            page
        };
        let header = |kind: u32, delta: u32| kind | delta << 5;
        // A discarded record of two words, then one of one word, then one with its length
        // before it, then nothing more.
        let page = record(&[
            header(PADDING, 10),
            8,
            0,
            header(1, 20),
            42,
            header(0, 30),
            8,
            43,
            header(PADDING, 0),
            99,
        ]);
        let (records, outcome) = decode(&page);
        assert_eq!(outcome, Ok(Missed::Nothing));
        let word = |word: u32| word.to_ne_bytes().to_vec();
        assert_eq!(records, [(31, word(42)), (61, word(43))]);
        // An absolute time.
        let page = record(&[header(TIME_STAMP, 5), 1, header(1, 1), 7]);
        assert_eq!(decode(&page).0, [((1 << DELTA_SHIFT) + 6, word(7))]);
        // Its upper bits come from the page.
        let mut page = record(&[header(TIME_STAMP, 5), 1, header(1, 1), 7]);
        page[..8].copy_from_slice(&(1_u64 << 59 | 9).to_ne_bytes());
        let expected = (1 << 59) + (1 << DELTA_SHIFT) + 6;
        assert_eq!(decode(&page).0, [(expected, word(7))]);
    }

    #[test]
    fn damaged_pages_end_early() {
        let page = page();
        assert!(decode(&[]).1.is_err());
        assert!(decode(&page[..15]).1.is_err());
        assert!(decode(&page[..200]).1.is_err(), "shorter than it says");
        let whole = decode(&page).0;
        // Whatever single word is wrong, it ends, and what stood before stays.
        for at in (16..PAGE.len() - 4).step_by(4) {
            for word in [0, u32::MAX, PADDING | 32, TIME_EXTEND] {
                let mut damaged = page.clone();
                damaged[at..at + 4].copy_from_slice(&word.to_ne_bytes());
                let (records, _) = decode(&damaged);
                let before = records
                    .iter()
                    .zip(&whole)
                    .take_while(|(a, b)| a == b)
                    .count();
                assert!(before * 88 + 200 > at - 16, "{before} before {at}");
            }
        }
    }
}
