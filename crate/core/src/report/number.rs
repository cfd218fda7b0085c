//! Numbers as people read them.

/// `1234567` as `1,234,567`.
#[must_use]
pub fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that leaves one to four digits: `512 B`, `61.0 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for next in units {
        // 1023.96 KiB would print as 1024.0 KiB.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// `part` of `whole` in percent; of nothing, `0 %`.
#[must_use]
pub fn percent_of(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return "0 %".to_owned();
    }
    if part == whole {
        return "100 %".to_owned();
    }
    between(part as f64 / whole as f64)
}

/// A share (0 to 1) in percent with one decimal. `0 %` and `100 %` mean
/// exactly that: what is only near them prints as `<0.1 %` and `99.9 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    if share == 0.0 {
        "0 %".to_owned()
    } else if share == 1.0 {
        "100 %".to_owned()
    } else if share.is_finite() {
        between(share)
    } else {
        "? %".to_owned()
    }
}

/// For a share that is neither 0 nor 1, though it may round to them.
fn between(share: f64) -> String {
    let value = share * 100.0;
    if value > 0.0 && value < 0.1 {
        "<0.1 %".to_owned()
    } else if value < 100.0 && value > 99.9 || value == 100.0 {
        "99.9 %".to_owned()
    } else {
        format!("{value:.1} %")
    }
}

/// `1 table`, `2 tables`.
pub(crate) fn count(value: u64, noun: &str) -> String {
    match value {
        1 => format!("1 {noun}"),
        _ if noun.ends_with("ry") => {
            format!(
                "{} {}ies",
                thousands(value),
                noun.strip_suffix('y').unwrap_or(noun)
            )
        }
        _ => format!("{} {noun}s", thousands(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn thousands_are_grouped() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_048_576, "1,048,576"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(thousands(value), text);
        }
    }

    #[test]
    fn sizes_have_one_decimal_and_four_digits_at_most() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (63_963_136, "61.0 MiB"),
            (1 << 40, "1.0 TiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn percent_never_says_all_or_none_wrongly() {
        for (part, whole, text) in [
            (0, 10, "0 %"),
            (0, 0, "0 %"),
            (10, 10, "100 %"),
            (1, 1_000_000, "<0.1 %"),
            (999_999, 1_000_000, "99.9 %"),
            (u64::MAX - 1, u64::MAX, "99.9 %"),
            (1, 8, "12.5 %"),
            (1, 3, "33.3 %"),
            (3, 2, "150.0 %"),
        ] {
            assert_eq!(percent_of(part, whole), text, "{part} of {whole}");
        }
        assert_eq!(percent(0.999_999), "99.9 %");
        assert_eq!(percent(0.000_01), "<0.1 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(f64::NAN), "? %");
    }

    #[test]
    fn counts_agree_with_their_noun() {
        assert_eq!(count(1, "group"), "1 group");
        assert_eq!(count(0, "entry"), "0 entries");
        assert_eq!(count(1200, "key"), "1,200 keys");
    }

    proptest! {
        #[test]
        fn percent_of_is_exact_at_its_ends(part in any::<u64>(), whole in any::<u64>()) {
            let text = percent_of(part, whole);
            prop_assert_eq!(text == "0 %", part == 0 || whole == 0);
            prop_assert_eq!(text == "100 %", part == whole && whole != 0);
            prop_assert!(part >= whole || !text.starts_with("100"));
        }

        #[test]
        fn a_size_is_short(bytes in any::<u64>()) {
            prop_assert!(size(bytes).len() <= 10);
        }
    }
}
