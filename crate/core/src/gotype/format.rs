//! Go's spelling of basic values.

use std::fmt::Write;

/// `strconv.Quote`: the bytes of a Go string as a Go string literal.
pub fn go_quote(bytes: &[u8], out: &mut String) {
    out.push('"');
    // Most strings are made of nothing that needs a second look.
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if let (true, Ok(text)) = (bytes.iter().all(plain), std::str::from_utf8(bytes)) {
        out.push_str(text);
        out.push('"');
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{b}' => out.push_str("\\v"),
                ' '..='~' => out.push(c),
                c if c < ' ' || c == '\u{7f}' => write_to(out, format_args!("\\x{:02x}", c as u32)),
                c if is_print(c) => out.push(c),
                c if (c as u32) < 0x10000 => write_to(out, format_args!("\\u{:04x}", c as u32)),
                c => write_to(out, format_args!("\\U{:08x}", c as u32)),
            }
        }
        for byte in chunk.invalid() {
            write_to(out, format_args!("\\x{byte:02x}"));
        }
    }
    out.push('"');
}

/// Go's unicode.IsPrint: letters, marks, numbers, punctuation, symbols.
/// Rust's debug escaping draws the same line, but only tells through a string.
fn is_print(c: char) -> bool {
    let mut text = [0; 8];
    let len = 1 + c.len_utf8();
    text[0] = b'a';
    c.encode_utf8(&mut text[1..]);
    std::str::from_utf8(&text[..len])
        .is_ok_and(|text| text.escape_debug().count() == 2 && !is_bidi_control(c))
}

/// Characters that reorder what follows them on a terminal. Go prints some of them raw
/// only because they are letters of no script; they never are here.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `strconv.FormatFloat(value, 'g', -1, bits)`, given the shortest digits in
/// Rust's exponent form (`format!("{:e}", value)`).
fn from_exponent_form(text: &str) -> String {
    let (sign, text) = text
        .strip_prefix('-')
        .map_or(("", text), |rest| ("-", rest));
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return format!("{sign}{text}");
    };
    let Ok(exponent) = exponent.parse::<i32>() else {
        return format!("{sign}{text}");
    };
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    // internal/strconv fmtEFG: %e is used if the exponent is less than -4 or
    // not less than 6, when the precision is the shortest possible.
    if !(-4..6).contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let (mark, exponent) = if exponent < 0 {
            ('-', -exponent)
        } else {
            ('+', exponent)
        };
        return format!("{sign}{first}{point}{rest}e{mark}{exponent:02}");
    }
    if exponent < 0 {
        let zeros = "0".repeat((-exponent - 1) as usize);
        return format!("{sign}0.{zeros}{digits}");
    }
    let whole = (exponent + 1) as usize;
    if digits.len() <= whole {
        let zeros = "0".repeat(whole - digits.len());
        return format!("{sign}{digits}{zeros}");
    }
    let (head, tail) = digits.split_at(whole);
    format!("{sign}{head}.{tail}")
}

/// A float of `size` (4 or 8) bytes as Go prints it with `%v`.
#[must_use]
pub fn go_float(bits: u64, size: u64) -> String {
    let value = if size == 4 {
        f64::from(f32::from_bits(bits as u32))
    } else {
        f64::from_bits(bits)
    };
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    if size == 4 {
        from_exponent_form(&format!("{:e}", f32::from_bits(bits as u32)))
    } else {
        from_exponent_form(&format!("{value:e}"))
    }
}

fn write_to(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quote(bytes: &[u8]) -> String {
        let mut out = String::new();
        go_quote(bytes, &mut out);
        out
    }

    // Expected values are what Go 1.27's strconv.Quote prints, but for the
    // direction marks, which never reach a terminal raw.
    #[test]
    fn strings_are_quoted_as_go_does() {
        assert_eq!(quote(b"plain"), r#""plain""#);
        assert_eq!(
            quote(b"a\"b\\c\n\t\x07\x1b[31m\x7f"),
            r#""a\"b\\c\n\t\a\x1b[31m\x7f""#
        );
        assert_eq!(quote("é☺\u{1F600}".as_bytes()), "\"é☺\u{1F600}\"");
        assert_eq!(quote(b"\xff\xfe ok"), r#""\xff\xfe ok""#);
        assert_eq!(
            quote("\u{a0}\u{200b}\u{feff}".as_bytes()),
            r#""\u00a0\u200b\ufeff""#
        );
        assert_eq!(
            quote("\u{e000}\u{10ffff}".as_bytes()),
            r#""\ue000\U0010ffff""#
        );
        assert_eq!(quote("e\u{301}".as_bytes()), "\"e\u{301}\"");
        assert_eq!(quote("\u{202e}".as_bytes()), r#""\u202e""#);
    }

    // Expected values are what Go's strconv.FormatFloat(x, 'g', -1, 64) prints.
    #[test]
    fn floats_are_spelled_as_go_does() {
        let cases: [(f64, &str); 14] = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (1.5, "1.5"),
            (100_000.0, "100000"),
            (1_000_000.0, "1e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e100, "1e+100"),
            (-2.5e-7, "-2.5e-07"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(go_float(value.to_bits(), 8), expected);
        }
        assert_eq!(go_float(u64::from(0.1_f32.to_bits()), 4), "0.1");
        assert_eq!(go_float(u64::from(3.4e38_f32.to_bits()), 4), "3.4e+38");
    }
}
