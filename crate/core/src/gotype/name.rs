//! Go's two spellings of a type name: DWARF writes full import paths, the
//! runtime and `%T` write package names.

/// Go's spelling of the DWARF type name `full`: import paths become package
/// names, except inside the brackets of an instantiated generic type, where
/// the runtime keeps the paths too (cmd/compile/internal/types/fmt.go).
///
/// `package` looks up the name of the package with an import path; without an
/// answer the path's last element stands for it.
pub fn short_name(full: &str, package: impl Fn(&str) -> Option<String>) -> String {
    if !full.contains('/') && !full.contains("struct {") {
        return full.to_owned();
    }
    let mut out = String::with_capacity(full.len());
    let mut rest = full;
    while let Some(first) = rest.chars().next() {
        if first == '"' || first == '`' {
            // A struct tag: copy to its closing quote.
            let end = tag_end(rest);
            let (tag, tail) = rest.split_at(end);
            out.push_str(tag);
            rest = tail;
        } else if is_path(first) {
            let end = rest.find(|c| !is_path(c)).unwrap_or(rest.len());
            let (token, tail) = rest.split_at(end);
            rest = tail;
            if is_field_name(&out, rest) {
                // The linker qualifies unexported fields with their package.
                out.push_str(token.rsplit('.').next().unwrap_or(token));
                continue;
            }
            out.push_str(&short_token(token, &package));
            if rest.starts_with('[') && token != "map" && token != "func" && token != "chan" {
                let end = bracket_end(rest);
                let (arguments, tail) = rest.split_at(end);
                out.push_str(arguments);
                rest = tail;
            }
        } else {
            out.push(first);
            rest = rest.split_at(first.len_utf8()).1;
        }
    }
    out
}

/// Whether a token between `before` and `after` names a field of a struct, as
/// against an embedded type, which stands alone or before its tag.
fn is_field_name(before: &str, after: &str) -> bool {
    let Some(opening) = before.trim_end().chars().next_back() else {
        return false;
    };
    let inside = match opening {
        '{' => before.trim_end().ends_with("struct {"),
        ';' => true,
        _ => false,
    };
    let mut next = after.trim_start().chars();
    inside
        && after.starts_with(' ')
        && next
            .next()
            .is_some_and(|c| !matches!(c, '}' | ';' | '"' | '`'))
}

/// A spelling for comparing names that people type with names in the file:
/// no space but between two words, and no aliases.
pub(super) fn comparable(name: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let class = |c: char| (is_word(c), c.is_whitespace());
        let end = rest
            .find(|c| class(c) != class(first))
            .unwrap_or(rest.len());
        let (token, tail) = rest.split_at(end);
        rest = tail;
        if first.is_whitespace() {
            if out.ends_with(is_word) && rest.starts_with(is_word) {
                out.push(' ');
            }
        } else {
            out.push_str(match token {
                "any" => "interface{}",
                "byte" => "uint8",
                "rune" => "int32",
                other => other,
            });
        }
    }
    out
}

fn is_path(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '~' | '%' | '$' | '@' | '+' | '·')
}

fn short_token(token: &str, package: &impl Fn(&str) -> Option<String>) -> String {
    let Some(slash) = token.rfind('/') else {
        return token.to_owned();
    };
    let (_, last) = token.split_at(slash + 1);
    // `...` and `<-` never hold a slash; the name follows the last dot, and
    // dots inside the path's last element are written %2e.
    let Some(dot) = last.find('.') else {
        return last.to_owned();
    };
    let (path, name) = token.split_at(slash + 1 + dot);
    match package(&unescape(path)) {
        Some(package) => format!("{package}{name}"),
        None => last.to_owned(),
    }
}

/// Undoes cmd/internal/objabi.PathToPrefix.
fn unescape(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (head, tail) = rest.split_at(at);
        out.push_str(head);
        match tail
            .get(1..3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
        {
            Some(byte) => {
                out.push(char::from(byte));
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push('%');
                rest = tail.get(1..).unwrap_or_default();
            }
        }
    }
    out + rest
}

fn bracket_end(text: &str) -> usize {
    let mut depth = 0_usize;
    for (index, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return index + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

fn tag_end(text: &str) -> usize {
    let mut chars = text.char_indices();
    let quote = chars.next().map_or('"', |(_, c)| c);
    while let Some((index, c)) = chars.next() {
        if c == '\\' && quote == '"' {
            chars.next();
        } else if c == quote {
            return index + c.len_utf8();
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(name: &str) -> String {
        short_name(name, |path| {
            (path == "gopkg.in/yaml.v3").then(|| "yaml".to_owned())
        })
    }

    #[test]
    fn import_paths_become_package_names() {
        assert_eq!(
            short("map[string]net/http.Header"),
            "map[string]http.Header"
        );
        assert_eq!(short("*example.com/a-b/c.T"), "*c.T");
        assert_eq!(short("[]net/url.Values"), "[]url.Values");
        assert_eq!(short("func(net/url.Values) a/b.C"), "func(url.Values) b.C");
        assert_eq!(
            short("map[gopkg.in/yaml%2ev3.Kind]int"),
            "map[yaml.Kind]int"
        );
        assert_eq!(short("chan<- a/b.C"), "chan<- b.C");
        assert_eq!(short("main.T"), "main.T");
    }

    #[test]
    fn type_arguments_keep_their_paths() {
        assert_eq!(
            short("map[x/y.K]main.Pair[int,a/b.T]"),
            "map[y.K]main.Pair[int,a/b.T]"
        );
        assert_eq!(short("x/y.G[map[string]a/b.T]"), "y.G[map[string]a/b.T]");
    }

    #[test]
    fn fields_lose_their_package() {
        assert_eq!(
            short("struct { main.a map[x/y.K]int; x/y.b int; C x/y.D; x/y.E }"),
            "struct { a map[y.K]int; b int; C y.D; y.E }"
        );
        assert_eq!(
            short("struct { main.T \"tag\" }"),
            "struct { main.T \"tag\" }"
        );
        assert_eq!(
            short("func(struct { main.a int }) x/y.T"),
            "func(struct { a int }) y.T"
        );
    }

    #[test]
    fn struct_tags_are_left_alone() {
        assert_eq!(
            short(r#"struct { A x/y.T "json:\"a/b.c\"" }"#),
            r#"struct { A y.T "json:\"a/b.c\"" }"#
        );
    }

    #[test]
    fn typed_names_compare_with_those_in_the_file() {
        assert_eq!(
            comparable("map[string]any"),
            comparable("map[string]interface {}")
        );
        assert_eq!(
            comparable("map[ string ] int"),
            comparable("map[string]int")
        );
        assert_eq!(comparable("map[byte]rune"), comparable("map[uint8]int32"));
        assert_ne!(comparable("map[string]int8"), comparable("map[string]int"));
        assert_eq!(comparable("map[chan int]int"), "map[chan int]int");
    }
}
