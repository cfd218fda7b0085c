//! Execution traces: their events, and what is told of them.

use gomapscope_core::answer::{TraceFailure, TraceWanted, answer_trace};
use gomapscope_core::events::Frame;
use gomapscope_core::exectrace::{Fact, Sink, read};

use crate::{check, scratch};

/// Sees that facts come in the order of time and stacks are bounded.
#[derive(Default)]
struct Watch {
    facts: u64,
    stacks: u64,
}

impl Sink for Watch {
    fn fact(&mut self, fact: &Fact<'_>, stack: &dyn Fn(u32) -> Vec<Frame>) -> bool {
        self.facts += 1;
        let _ = fact.t_ns();
        if let Fact::Log { stack: number, .. } = fact
            && self.stacks < 64
        {
            self.stacks += 1;
            assert!(stack(*number).len() <= 1 << 12);
        }
        true
    }
}

/// A whole trace, of any version.
pub(crate) fn run(data: &[u8]) {
    let mut watch = Watch::default();
    match read(data, &mut |_| true, &mut watch) {
        Ok(outcome) => {
            let packed = data.starts_with(&[0x1f, 0x8b]);
            assert!(packed || outcome.bytes <= data.len() as u64);
            assert!(packed || outcome.events <= data.len() as u64);
            assert!(
                watch.facts <= 4 * outcome.events + 64,
                "{} facts",
                watch.facts
            );
            for note in &outcome.notes {
                check::error(note);
            }
        }
        Err(error) => {
            assert_eq!(watch.facts, 0);
            check::error(error);
        }
    }
    let ways = check::ways(data, 4);
    if ways.start == 3 {
        return;
    }
    scratch::file(data, |path| {
        let path = path.display().to_string();
        let all = [(true, None), (false, None), (false, Some(0xc000_0000))];
        for (json, map) in all
            .into_iter()
            .enumerate()
            .filter(|(way, _)| ways.contains(way))
            .map(|(_, one)| one)
        {
            let wanted = TraceWanted {
                json,
                map,
                ..TraceWanted::default()
            };
            let mut text = String::new();
            let mut write = |portion: &str| {
                text.push_str(portion);
                Ok::<(), ()>(())
            };
            match answer_trace(&path, &wanted, &check::WIDE, &mut |_| true, &mut write) {
                Ok(()) if json => {
                    check::json(&text);
                }
                Ok(()) => check::text(&text, check::WIDE),
                Err(TraceFailure::Said(why)) => check::error(why),
                Err(TraceFailure::Write(())) => unreachable!("nothing fails to be written"),
            }
        }
    });
}
