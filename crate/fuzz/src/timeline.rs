//! Several files on one clock.

use std::cell::RefCell;

use gomapscope_core::timeline::{Builder, Format, Input, SourceKind, kind_of, read, text, write};

use crate::check;
use crate::scratch::Scratch;

/// Files of one input at most.
const FILES: usize = 4;

thread_local! {
    static SCRATCH: RefCell<Vec<Scratch>> =
        RefCell::new((0..FILES).map(|_| Scratch::new()).collect());
}

/// What stands between two files. The byte behind it says what the user calls the next one.
pub(crate) const BETWEEN: &[u8] = b"\n--\n";

const KINDS: [SourceKind; 6] = [
    SourceKind::Snapshot,
    SourceKind::Events,
    SourceKind::Ring,
    SourceKind::Trace,
    SourceKind::Heap,
    SourceKind::Cpu,
];

/// Files, each with a byte before it for its kind.
pub(crate) fn run(data: &[u8]) {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut inputs = Vec::new();
        let mut rest = data;
        for file in scratch.iter_mut() {
            let [kind, bytes @ ..] = rest else {
                break;
            };
            let next = bytes
                .windows(BETWEEN.len())
                .position(|part| part == BETWEEN);
            let end = next.unwrap_or(bytes.len());
            let path = file.hold(&bytes[..end]).display().to_string();
            inputs.push(Input {
                kind: KINDS.get(usize::from(*kind)).copied(),
                path,
            });
            rest = bytes.get(end + BETWEEN.len()..).unwrap_or_default();
        }
        for input in &inputs {
            if let Err(reason) = kind_of(&input.path) {
                check::error(reason);
            }
        }
        let mut builder = Builder::new();
        if let Err(reason) = read(&mut builder, &inputs, &mut |_| true) {
            return check::error(reason);
        }
        let timeline = builder.finish();
        let styles = [check::WIDE, check::NARROW];
        for style in &styles[check::ways(data, 2)] {
            check::text(&text(&timeline, None, style), *style);
        }
        let formats = [
            Format::Json,
            Format::Html,
            Format::Perfetto,
            Format::Chrome,
            Format::Pprof,
        ];
        for format in formats[check::ways(data, 5)].iter().copied() {
            let mut bytes = Vec::new();
            write(&timeline, format, &mut bytes).unwrap();
            match format {
                Format::Json | Format::Chrome => {
                    check::json(&String::from_utf8(bytes).unwrap());
                }
                Format::Html => {
                    let page = String::from_utf8(bytes).unwrap();
                    assert!(page.ends_with("</html>\n"));
                }
                _ => assert!(timeline.sources.is_empty() || bytes.len() < 1 << 24),
            }
        }
    });
}
