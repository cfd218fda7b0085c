//! Traces written here, whole, cut and damaged.

use std::io::Write as _;

use proptest::prelude::*;

use super::*;
use crate::events::Frame;

/// A trace that is being written.
#[derive(Clone)]
struct Writer(Vec<u8>);

fn numbers(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        let mut value = *value;
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    out
}

/// An event and its arguments.
fn event(kind: u8, arguments: &[u64]) -> Vec<u8> {
    [vec![kind], numbers(arguments)].concat()
}

fn text(kind: u8, id: u64, text: &[u8]) -> Vec<u8> {
    [event(kind, &[id, text.len() as u64]), text.to_vec()].concat()
}

impl Writer {
    fn new(version: u32) -> Self {
        let mut header = format!("go 1.{version} trace").into_bytes();
        header.resize(16, 0);
        Self(header)
    }

    fn batch(&mut self, generation: u64, thread: u64, time: u64, events: &[Vec<u8>]) {
        self.experiment(None, generation, thread, time, events);
    }

    fn experiment(
        &mut self,
        experiment: Option<u8>,
        generation: u64,
        thread: u64,
        time: u64,
        events: &[Vec<u8>],
    ) {
        let data = events.concat();
        match experiment {
            None => self.0.push(1),
            Some(number) => self.0.extend([49, number]),
        }
        let size = data.len() as u64;
        self.0.extend(numbers(&[generation, thread, time, size]));
        self.0.extend(data);
    }

    fn end(&mut self) {
        self.0.push(52);
    }
}

const FREQUENCY: u64 = 15_625_000;
const NOBODY: u64 = u64::MAX;

/// Two generations of Go 1.26: two threads whose events mingle, every table, the
/// AllocFree experiment.
fn sample() -> Vec<u8> {
    let mut out = Writer::new(26);
    for generation in [1, 2] {
        let at = generation * 10_000;
        out.batch(
            generation,
            NOBODY,
            at,
            &[
                vec![50],
                event(8, &[FREQUENCY]),
                event(51, &[5, (at + 5) * 64, 1_700_000_000, 9]),
            ],
        );
        out.experiment(
            Some(1),
            generation,
            NOBODY,
            at,
            &[vec![1], numbers(&[0xc0_0000_0000, 8192, 8, 2048])],
        );
        out.batch(
            generation,
            11,
            at + 10,
            &[
                event(25, &[0, 7, 11, 2]),
                event(26, &[1, 1, 1]),
                event(27, &[5]),
                event(29, &[4, generation, 0]),
                // 576 bytes a slot; objects with a header stand 8 behind it.
                event(129, &[1, 3, 1, 27 << 1 << 1]),
                event(132, &[1, (3 * 8192 + 576 + 8) / 8, 1]),
                event(37, &[8, 4_000_000]),
            ],
        );
        out.batch(
            generation,
            12,
            at + 11,
            &[
                event(16, &[0, 9, 1]),
                event(44, &[2, 3, 2, 3, 1]),
                event(20, &[1, 1, 0]),
                event(44, &[20, 0, 2, 3, 0]),
                event(30, &[30, generation]),
                event(133, &[1, (3 * 8192 + 576) / 8]),
            ],
        );
        out.batch(
            generation,
            NOBODY,
            at,
            &[
                vec![4],
                text(5, 1, b"GC sweep termination"),
                text(5, 2, b"map-lifecycle"),
                text(5, 3, "größer".as_bytes()),
                text(5, 4, b"main.grow"),
                text(5, 1 << 40, b"/src/\xff.go"),
            ],
        );
        out.batch(
            generation,
            NOBODY,
            at,
            &[vec![2], event(3, &[1, 1, 0x46_6943, 4, 1 << 40, 12])],
        );
        out.experiment(
            Some(1),
            generation,
            NOBODY,
            at,
            &[
                vec![0],
                numbers(&[1, 0x4a_0000, 544, 8, 18]),
                b"map.group[int]bool".to_vec(),
            ],
        );
        out.end();
    }
    out.0
}

/// A trace of Go 1.21: two processors.
fn old() -> Vec<u8> {
    let mut out = Writer::new(21);
    let short = |kind: u8, values: &[u64]| {
        let count = values.len() as u8 - 1;
        [vec![kind | count << 6], numbers(values)].concat()
    };
    let long = |kind: u8, values: &[u64]| {
        let values = numbers(values);
        [vec![kind | 3 << 6], numbers(&[values.len() as u64]), values].concat()
    };
    out.0.extend(short(1, &[1, 1000]));
    out.0.extend(short(14, &[0, 5, 1]));
    out.0.extend(text(37, 1, b"order"));
    let log = [long(48, &[10, 0, 1, 1]), numbers(&[2]), b"hi".to_vec()].concat();
    out.0.extend(&log);
    out.0.extend(short(1, &[0, 990]));
    out.0.extend(short(9, &[1, 2]));
    out.0.extend(short(10, &[3]));
    out.0.extend(short(33, &[100, 12_345]));
    out.0.extend(short(1, &[1, 1200]));
    out.0.extend(&log);
    out.0.extend(short(2, &[1_000_000_000]));
    out.0.extend(long(3, &[1, 1, 0x40_0000, 1, 1, 3]));
    out.0
}

/// Facts as text.
#[derive(Default)]
struct All {
    facts: Vec<String>,
    frames: Vec<Frame>,
    last: u64,
}

impl Sink for All {
    fn fact(&mut self, fact: &Fact<'_>, stack: &dyn Fn(u32) -> Vec<Frame>) -> bool {
        assert!(self.last <= fact.t_ns(), "{fact:?} comes too late");
        self.last = fact.t_ns();
        self.facts.push(format!("{fact:?}"));
        for number in [0, 1, u32::MAX] {
            self.frames.extend(stack(number));
        }
        true
    }
}

fn read_all(bytes: &[u8]) -> (All, Result<Outcome, TraceError>) {
    let mut all = All::default();
    let outcome = read(bytes, &mut |_| true, &mut all);
    (all, outcome)
}

#[test]
fn generations_are_merged_and_attributed() {
    let bytes = sample();
    let (all, outcome) = read_all(&bytes);
    let outcome = outcome.unwrap();
    assert_eq!((outcome.generations, outcome.version), (2, 26));
    assert_eq!(outcome.bytes, bytes.len() as u64);
    assert_eq!(outcome.events, 26);
    assert!(!outcome.incomplete && outcome.cut.is_none(), "{outcome:?}");
    assert_eq!(outcome.clock, Clock::Monotonic);
    let t = |ticks: u64| (10_000 + ticks) * 64;
    let log = |ticks, goid, task, stack| {
        format!(
            "Log {{ t_ns: {}, goid: {goid}, task: {task}, category: \"map-lifecycle\", \
             message: \"größer\", stack: {stack} }}",
            t(ticks)
        )
    };
    let expected = [
        format!(
            "Clock {{ t_ns: {}, mono_ns: {}, wall_ns: 1700000000000000009 }}",
            t(5),
            t(5)
        ),
        format!(
            "Begin {{ t_ns: {}, lane: StopTheWorld, reason: \"GC sweep termination\", goid: 7 }}",
            t(11)
        ),
        log(13, 9, 3, 1),
        format!("End {{ t_ns: {}, lane: StopTheWorld }}", t(16)),
        format!(
            "Begin {{ t_ns: {}, lane: Gc, reason: \"\", goid: 7 }}",
            t(20)
        ),
        format!(
            "Alloc {{ t_ns: {}, goid: 7, address: {}, slot: Some(576), \
             type_name: \"map.group[int]bool\", type_size: 544, existed: false }}",
            t(22),
            0xc0_0000_0000_u64 + 3 * 8192 + 576
        ),
        format!("HeapAlloc {{ t_ns: {}, bytes: 4000000 }}", t(30)),
        log(34, 0, 0, 0),
        format!("End {{ t_ns: {}, lane: Gc }}", t(64)),
        format!(
            "Free {{ t_ns: {}, address: {} }}",
            t(65),
            0xc0_0000_0000_u64 + 3 * 8192 + 576
        ),
    ];
    assert_eq!(all.facts[..expected.len()], expected);
    assert_eq!(all.facts.len(), 2 * expected.len());
    assert_eq!(all.frames[0].function, "main.grow");
    assert_eq!(all.frames[0].file, "/src/\u{fffd}.go");
    assert_eq!(all.frames[0].line, 12);
}

#[test]
fn old_traces_are_merged_and_attributed() {
    let (all, outcome) = read_all(&old());
    let outcome = outcome.unwrap();
    assert!(!outcome.incomplete, "{outcome:?}");
    assert_eq!((outcome.clock, outcome.events), (Clock::Own, 6));
    let log = |t: u64| {
        format!(
            "Log {{ t_ns: {t}, goid: 5, task: 0, category: \"order\", message: \"hi\", stack: 1 }}"
        )
    };
    assert_eq!(
        all.facts,
        [
            "Begin { t_ns: 991, lane: StopTheWorld, reason: \"GC sweep termination\", goid: 0 }"
                .to_owned(),
            "End { t_ns: 994, lane: StopTheWorld }".to_owned(),
            log(1010),
            "HeapAlloc { t_ns: 1094, bytes: 12345 }".to_owned(),
            log(1210),
        ]
    );
    assert_eq!(all.frames[0].function, "order");
}

#[test]
fn packed_files_are_read_alike() {
    let bytes = sample();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&bytes).unwrap();
    let packed = packer.finish().unwrap();
    let (plain, _) = read_all(&bytes);
    let (all, outcome) = read_all(&packed);
    assert_eq!(all.facts, plain.facts);
    assert!(!outcome.unwrap().incomplete);
    // Cut: what could be unpacked is told, and that it is not all.
    let (_, outcome) = read_all(&packed[..packed.len() - 12]);
    assert!(outcome.is_err() || outcome.is_ok_and(|outcome| outcome.incomplete));
}

#[test]
fn every_cut_is_noticed() {
    for bytes in [sample(), old()] {
        let (whole, _) = read_all(&bytes);
        for length in 0..bytes.len() {
            let (all, outcome) = read_all(&bytes[..length]);
            let Ok(outcome) = outcome else {
                assert!(length < 16, "{length}");
                continue;
            };
            // Between two generations, or at the header's end, a file may end; one of
            // Go 1.21 lacks at least its stacks.
            // Names stand behind the events that need them, and may be missing.
            let named = |fact: &&String| !fact.contains(": \"\"") || fact.contains("lane: Gc");
            for fact in all.facts.iter().filter(named) {
                assert!(whole.facts.contains(fact), "{length}: {fact}");
            }
            if outcome.incomplete {
                let cut = outcome.cut.as_ref();
                assert!(
                    cut.is_some() || !outcome.notes.is_empty(),
                    "{length}: {outcome:?}"
                );
                assert!(cut.is_none_or(|cut| cut.offset <= length as u64));
            } else {
                assert!(
                    all.facts.len() * 2 == whole.facts.len()
                        || all.facts.is_empty()
                        || whole.facts == all.facts,
                    "{length}: {outcome:?}"
                );
            }
        }
    }
}

#[test]
fn sizes_are_capped_before_anything_is_allocated() {
    let mut huge = Writer::new(26);
    huge.0.push(1);
    huge.0.extend(numbers(&[1, 1, 1, u64::MAX]));
    let (_, outcome) = read_all(&huge.0);
    let cut = outcome.unwrap().cut.unwrap();
    assert_eq!(cut.offset, 16);
    assert!(cut.why.contains("18446744073709551615 bytes"), "{cut:?}");
    let mut huge = Writer::new(21);
    huge.0.extend(text(37, 1, b""));
    huge.0.pop();
    huge.0.extend(numbers(&[u64::MAX]));
    assert!(read_all(&huge.0).1.unwrap().cut.is_some());
}

#[test]
fn other_files_are_refused() {
    for (bytes, expected) in [
        (&b""[..], "empty"),
        (b"go 1.2", "ends"),
        (b"\x7fELF", "not an execution trace"),
        (b"go 1.26 trace\0\0x", "not an execution trace"),
        (b"go 1.99 trace\0\0\0", "Go 1.99"),
        (b"go 1.5 trace\0\0\0\0", "Go 1.5,"),
        (
            b"{\"schema\":\"gomapscope.events/1\"}",
            "not an execution trace",
        ),
    ] {
        let why = read_all(bytes).1.unwrap_err().to_string();
        assert!(why.contains(expected), "{why}");
        assert!(!why.contains('\n'));
    }
}

#[test]
fn the_reader_can_be_stopped() {
    struct One;
    impl Sink for One {
        fn fact(&mut self, _: &Fact<'_>, _: &dyn Fn(u32) -> Vec<Frame>) -> bool {
            false
        }
    }
    for bytes in [sample(), old()] {
        let outcome = read(&bytes[..], &mut |_| true, &mut One).unwrap();
        assert!(outcome.interrupted);
        assert_eq!(outcome.generations, 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damage_does_no_harm(
        new in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = if new { sample() } else { old() };
        for (index, value) in changes {
            let length = bytes.len();
            bytes[16 + index.index(length - 16)] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(16 + cut.index(bytes.len() - 16));
        }
        let (_, outcome) = read_all(&bytes);
        let outcome = outcome.unwrap();
        for note in &outcome.notes {
            prop_assert!(!note.contains(char::is_control));
        }
    }

    #[test]
    fn rubbish_does_no_harm(
        version in prop::sample::select(vec![11_u32, 19, 21, 22, 23, 25, 26]),
        rubbish in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut out = Writer::new(version);
        out.0.extend(rubbish);
        prop_assert!(read_all(&out.0).1.is_ok());
    }
}
