//! Command lines: what is typed, and TAB.

use gomapscope_core::command::{complete, definitions, help_text, parse};

use crate::check;

/// A byte for the command, a byte for the cursor, the line.
pub(crate) fn run(data: &[u8]) {
    let [which, cursor, line @ ..] = data else {
        return;
    };
    let line = String::from_utf8_lossy(line);
    let all = definitions();
    let definition = &all[usize::from(*which) % all.len()];
    match parse(definition.name, &line) {
        Ok(request) => {
            assert_eq!(request.command, definition.command);
            // A request tells only of what was typed; a word may have been abbreviated.
            let typed: usize = request.expressions.iter().map(String::len).sum();
            assert!(typed <= line.len() + 16, "{request:?}");
        }
        Err(error) => {
            let text = error.to_string();
            assert!(
                text.lines().count() == 1 || line.contains(['\n', '\r']),
                "{text}"
            );
            check::error(text);
        }
    }
    assert!(parse(&line, "").is_err() || all.iter().any(|one| one.name == line));

    let at = usize::from(*cursor) % (line.len() + 1);
    let at = (0..=at)
        .rev()
        .find(|at| line.is_char_boundary(*at))
        .unwrap_or(0);
    let (before, _) = line.split_at(at);
    // gdb's word ends at the cursor and begins behind one of its break characters.
    let breaks = |c: char| c.is_whitespace() || "-=,:/\"'".contains(c);
    let begin = before.rfind(breaks).map_or(0, |at| {
        at + before[at..].chars().next().map_or(0, char::len_utf8)
    });
    for word in [&before[begin..], ""] {
        for found in complete(definition.name, before, word)
            .into_iter()
            .flatten()
        {
            assert!(
                found.starts_with(word),
                "{found:?} for {word:?} of {before:?}"
            );
            assert!(!found.chars().any(char::is_control));
        }
    }
    if line.is_empty() {
        assert!(help_text(definition).is_ascii());
    }
}
