//! Words and lines from the target: names, releases, values, what a terminal is shown.

use gomapscope_core::binary::GoVersion;
use gomapscope_core::gotype::{go_quote, short_name};
use gomapscope_core::pprof;
use gomapscope_core::report::{sanitize, size, thousands};
use gomapscope_core::timeline::Format;

use crate::check;

/// Any text.
pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for unicode in [true, false] {
        let clean = sanitize(&text, unicode);
        assert!(!clean.chars().any(char::is_control));
        assert!(unicode || clean.is_ascii());
        assert_eq!(sanitize(&clean, unicode), clean, "it passes a second time");
    }
    let mut quoted = String::new();
    go_quote(data, &mut quoted);
    assert!(quoted.starts_with('"') && quoted.ends_with('"') && quoted.len() >= 2);
    assert!(!quoted.chars().any(char::is_control));

    let short = short_name(&text, |path| path.rsplit('/').next().map(str::to_owned));
    assert!(short.len() <= 2 * text.len() + 16, "{short}");
    let _ = short_name(&text, |_| None);
    if let Some(version) = GoVersion::parse(&text) {
        assert!(text.contains(version.short()));
    }
    if let Err(reason) = Format::of(&text) {
        check::error(reason);
    }
    let _ = (
        pprof::is_runtime(&text),
        pprof::is_allocator(&text),
        pprof::operation(&text),
    );
    let _ = pprof::linked_from_runtime(&text);
    if let Some(word) = data.first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        assert!(size(word).is_ascii());
        assert_eq!(thousands(word).replace(',', ""), word.to_string());
    }
}
