//! TAB completion of options and their values.

use super::definition::{Definition, Operand, Value, definition};
use super::parse::{Look, look, resolve, token_end};

/// Completes the last word of a command's argument.
///
/// `line` is the argument up to the cursor, `word` the end of it that gdb
/// replaces. `Some` lists what may stand for `word`, sorted, perhaps nothing;
/// `None` says that an expression stands there, which gdb completes itself.
#[must_use]
pub fn complete(command: &str, line: &str, word: &str) -> Option<Vec<String>> {
    let Some(definition) = definition(command) else {
        return Some(Vec::new());
    };
    let (before, token) = scan(definition, line);
    let candidates = match before {
        Before::Value(Value::Choice(words) | Value::Choices(words)) => {
            words.iter().map(|&word| word.to_owned()).collect()
        }
        Before::Value(Value::Count) => vec!["unlimited".to_owned()],
        Before::Value(Value::Type) | Before::Expression => {
            return expression(definition, word);
        }
        Before::Value(_) => Vec::new(),
        Before::Start(given) => {
            if let (false, Operand::Word(words)) = (token.starts_with('-'), definition.operand) {
                return Some(words_for(words, token, word));
            }
            if !token.starts_with('-') && definition.operand != Operand::None {
                return None;
            }
            let dashes = if token.starts_with("--") { "--" } else { "-" };
            definition
                .options
                .iter()
                .filter(|option| !given.contains(&option.name))
                .map(|option| format!("{dashes}{}", option.name))
                .collect()
        }
    };
    // gdb may take only the end of the token as the word, `js` of `-js`: what
    // stands before it must then not come again.
    let candidates: Vec<&str> = candidates.iter().map(String::as_str).collect();
    Some(words_for(&candidates, token, word))
}

/// The words that go on as `token` begins, from where gdb's word begins.
fn words_for(words: &[&str], token: &str, word: &str) -> Vec<String> {
    let kept = token.strip_suffix(word).unwrap_or_default();
    let mut list: Vec<String> = words
        .iter()
        .filter(|candidate| candidate.starts_with(token))
        .filter_map(|candidate| candidate.strip_prefix(kept))
        .map(str::to_owned)
        .collect();
    list.sort_unstable();
    list
}

fn expression(definition: &Definition, word: &str) -> Option<Vec<String>> {
    match definition.operand {
        Operand::None => Some(Vec::new()),
        Operand::Word(words) => Some(words_for(words, word, word)),
        _ => None,
    }
}

/// What the token under the cursor is, by what stands before it.
enum Before {
    /// The value of an option.
    Value(Value),
    /// Part of an expression, after `--`.
    Expression,
    /// An option or an expression; these options were given.
    Start(Vec<&'static str>),
}

/// Goes through the whole tokens before the cursor; returns the last one,
/// which is empty after a space.
fn scan<'a>(definition: &Definition, line: &'a str) -> (Before, &'a str) {
    let mut given = Vec::new();
    let mut at = 0;
    let mut wanted: Option<Value> = None;
    loop {
        let rest = line.get(at..).unwrap_or_default();
        let Some(skipped) = rest.find(|c: char| !c.is_whitespace()) else {
            return (wanted.map_or(Before::Start(given), Before::Value), "");
        };
        let start = at + skipped;
        let (end, _) = token_end(line, start);
        let token = line.get(start..end).unwrap_or_default();
        if end >= line.len() {
            return (wanted.map_or(Before::Start(given), Before::Value), token);
        }
        at = end;
        if wanted.take().is_some() {
            continue;
        }
        match look(token) {
            Look::End => return (Before::Expression, ""),
            Look::Expression => {}
            Look::Option { name, value } => {
                if let Ok(option) = resolve(definition, token, name) {
                    given.push(option.name);
                    if option.value != Value::Flag && value.is_none() {
                        wanted = Some(option.value);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(command: &str, line: &str, word: &str) -> Option<String> {
        complete(command, line, word).map(|list| list.join(" "))
    }

    #[test]
    fn option_names() {
        let of = |line: &str, word: &str| list("go-map-buckets", line, word);
        assert_eq!(
            of("-", "-").unwrap(),
            "-all -heat -json -limit -only -range -type"
        );
        assert_eq!(of("-l", "-l").unwrap(), "-limit");
        assert_eq!(of("-js", "js").unwrap(), "json");
        assert_eq!(of("--j", "--j").unwrap(), "--json");
        assert_eq!(of("-json -j", "-j").unwrap(), "");
        assert_eq!(of("main.m -o", "-o").unwrap(), "-only");
        assert_eq!(of("-x", "-x").unwrap(), "");
    }

    #[test]
    fn option_values() {
        let of = |line: &str, word: &str| list("go-map-buckets", line, word);
        assert_eq!(
            of("-only ", "").unwrap(),
            "empty full old overflow tombstone"
        );
        assert_eq!(of("m -only o", "o").unwrap(), "old overflow");
        assert_eq!(of("-limit ", "").unwrap(), "unlimited");
        assert_eq!(of("-range ", "").unwrap(), "");
        assert_eq!(of("-type map", "map"), None);
    }

    #[test]
    fn kinds_are_words() {
        let of = |line: &str, word: &str| list("go-map-pprof", line, word);
        assert_eq!(of("", "").unwrap(), "block goroutine heap mutex");
        assert_eq!(of("-json m", "m").unwrap(), "mutex");
        assert_eq!(of("-- h", "h").unwrap(), "heap");
        assert_eq!(of("-c", "-c").unwrap(), "-contention");
        assert_eq!(of("x", "x").unwrap(), "");
    }

    #[test]
    fn expressions_are_left_to_gdb() {
        let of = |line: &str, word: &str| list("go-map-stats", line, word);
        assert_eq!(of("", ""), None);
        assert_eq!(of("main.", "main."), None);
        assert_eq!(of("-json main.", "main."), None);
        assert_eq!(of("-- -", "-"), None);
        assert_eq!(of("m[a -", "a"), None);
        assert_eq!(of("'unclosed -j", "-j"), None);
        assert_eq!(list("go-map", "", "").unwrap(), "-json");
        assert_eq!(list("go-map", "x", "x").unwrap(), "");
        assert_eq!(list("nothing", "", "").unwrap(), "");
    }

    proptest! {
        #[test]
        fn any_line_completes(line in any::<String>(), word in any::<String>()) {
            for definition in crate::command::definitions() {
                let _ = complete(definition.name, &line, &word);
            }
        }

        #[test]
        fn candidates_extend_the_word(line in "[-a-z =]{0,12}") {
            let word = line.rsplit(' ').next().unwrap_or_default();
            for definition in crate::command::definitions() {
                for candidate in complete(definition.name, &line, word).unwrap_or_default() {
                    prop_assert!(candidate.starts_with(word), "{} {}", word, candidate);
                }
            }
        }
    }
}
