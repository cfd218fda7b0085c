//! Core files: headers, notes, memory.

use gomapscope_core::memory::{CoreFile, Memory};

use crate::{check, scratch};

/// A whole file.
pub(crate) fn run(data: &[u8]) {
    scratch::file(data, |path| {
        let mut core = match CoreFile::open(path) {
            Ok(core) => core,
            Err(error) => return check::error(error),
        };
        let held: Vec<_> = core.held().collect();
        let mut end = 0;
        for span in &held {
            assert!(span.len > 0 && span.start >= end, "ascending, apart");
            end = span.start + (span.len - 1);
        }
        assert!(held.len() * 32 <= data.len());
        for span in held.iter().take(8) {
            let mut bytes = vec![0; span.len.min(64) as usize];
            // Nothing beyond the file's end is held.
            core.read(span.start, &mut bytes).expect("what is held");
            let _ = core.read(span.start.wrapping_sub(8), &mut bytes);
            let _ = core.read(span.end().wrapping_sub(8), &mut bytes);
        }
        assert!(core.threads().len() * 112 <= data.len());
        for thread in core.threads() {
            let _ = (
                thread.register("pc"),
                thread.register("sp"),
                thread.registers().count(),
            );
        }
        assert!(core.mapped_files().len() <= data.len());
        let _ = (core.program(), core.ran(path), core.bias(0x40_1000));
        match core.set_executable(path, 0) {
            Ok(()) => {
                for address in [0, 0x40_0000, u64::MAX] {
                    let _ = core.read(address, &mut [0; 16]);
                }
            }
            Err(error) => check::error(error),
        }
    });
}
