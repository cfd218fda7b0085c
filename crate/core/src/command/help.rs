//! `help CMD` and the README's table, from the definitions.

use std::fmt::Write as _;

use super::definition::{Definition, OptionDefinition, definitions};

/// Where help text is folded; gdb shows docstrings as they are.
const HELP_WIDTH: usize = 78;

/// The docstring of a command, in gdb's own form: a sentence, the usage line,
/// paragraphs, options, examples, notes.
#[must_use]
pub fn help_text(definition: &Definition) -> String {
    let mut text = format!("{}\n\nUsage: {}\n", definition.summary, definition.usage());
    for paragraph in definition.about {
        text.push('\n');
        fold(&mut text, paragraph, 0);
    }
    if !definition.options.is_empty() {
        text.push_str("\nOptions:\n");
        for (position, option) in definition.options.iter().enumerate() {
            if position > 0 {
                text.push('\n');
            }
            let _ = writeln!(text, "  {}", spelled(option));
            fold(&mut text, option.help, 4);
        }
    }
    if !definition.examples.is_empty() {
        text.push_str("\nExamples:\n");
        for example in definition.examples {
            let _ = writeln!(text, "  {}", example.line);
            fold(&mut text, example.shows, 4);
        }
    }
    for note in definition.notes {
        text.push('\n');
        fold(&mut text, note, 0);
    }
    // gdb adds the last line end itself.
    text.truncate(text.trim_end().len());
    text
}

/// The commands as a Markdown table, one row each.
#[must_use]
pub fn markdown_table() -> String {
    let mut text = String::from("| command | what it answers | options |\n|---|---|---|\n");
    for definition in definitions() {
        let operand = definition.operand.placeholder();
        let head = if operand.is_empty() {
            definition.name.to_owned()
        } else {
            format!("{} {operand}", definition.name)
        };
        let options: Vec<String> = definition
            .options
            .iter()
            .map(|option| code(&spelled(option)))
            .collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            code(&head),
            escape(definition.summary),
            options.join(", ")
        );
    }
    text
}

/// `-only empty|full|…`.
fn spelled(option: &OptionDefinition) -> String {
    match option.value.placeholder() {
        Some(placeholder) => format!("-{} {placeholder}", option.name),
        None => format!("-{}", option.name),
    }
}

fn code(text: &str) -> String {
    format!("`{}`", escape(text))
}

/// A `|` ends a table cell even between backquotes.
fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Appends a paragraph folded between words; the texts are ASCII.
fn fold(text: &mut String, paragraph: &str, indent: usize) {
    let mut column = 0;
    for word in paragraph.split_whitespace() {
        if column == 0 {
            let _ = write!(text, "{:indent$}", "");
            column = indent;
        } else if column + 1 + word.len() > HELP_WIDTH {
            let _ = write!(text, "\n{:indent$}", "");
            column = indent;
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += word.len();
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::definition;

    #[test]
    fn help_follows_gdb() {
        for definition in definitions() {
            let text = help_text(definition);
            let mut lines = text.lines();
            assert_eq!(lines.next(), Some(definition.summary));
            assert_eq!(lines.next(), Some(""));
            assert!(
                lines
                    .next()
                    .unwrap()
                    .starts_with(&format!("Usage: {}", definition.name))
            );
            for option in definition.options {
                assert!(text.contains(&format!("\n  -{}", option.name)), "{text}");
            }
            assert!(text.is_ascii());
            for line in text.lines() {
                assert!(line.len() <= 80, "{line}");
                assert_eq!(line, line.trim_end());
            }
            assert!(!text.ends_with('\n'));
        }
    }

    #[test]
    fn help_of_stats_in_full() {
        let text = help_text(definition("go-map-layout").unwrap());
        assert_eq!(
            text,
            "Show one bucket of a Go map as the runtime lays it out.\n\
             \n\
             Usage: go-map-layout [OPTION]... [--] EXPR|TYPE\n\
             \n\
             Offsets, sizes, padding, bytes per slot, and which keys or elems are stored\n\
             indirectly (those over 128 bytes).\n\
             \n\
             EXPR is any gdb expression whose value is a Go map; TYPE is the name of a map\n\
             type, as Go or gdb spells it.\n\
             \n\
             Options:\n\
             \x20 -json\n\
             \x20   Print one JSON document and nothing else.\n\
             \n\
             \x20 -type TYPE\n\
             \x20   The map's Go type, for an EXPR that is only an address. Quote a type that\n\
             \x20   holds spaces.\n\
             \n\
             Examples:\n\
             \x20 go-map-layout main.cache\n\
             \x20   The bucket or group of that map's type.\n\
             \x20 go-map-layout map[string]bool\n\
             \x20   What a set written as map[string]bool costs per slot.\n\
             \n\
             A bucket is a unit of 8 slots: a main or overflow bucket of a classic map (Go\n\
             1.23 and older), a group of a Swiss map (Go 1.24 and newer)."
        );
    }

    #[test]
    fn the_markdown_table_has_every_command_and_option() {
        let table = markdown_table();
        assert_eq!(table.lines().count(), definitions().len() + 2);
        for definition in definitions() {
            assert!(table.contains(&format!("`{}", definition.name)));
            for option in definition.options {
                assert!(table.contains(&format!("`-{}", option.name)));
            }
        }
        assert!(table.contains("`-only empty\\|full\\|overflow\\|tombstone\\|old`"));
        for line in table.lines() {
            assert_eq!(line.replace("\\|", "").matches('|').count(), 4, "{line}");
        }
    }
}
