//! The JSON documents: one line each.
//!
//! A document of millions of rows is never built whole: rows are written in
//! chunks through the caller's writer, whose error ends the work.

use std::borrow::Borrow;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::metrics::{BucketRow, Entry, HeatCell, Stats};

use super::sanitize::hazardous;

/// What is written at once: bytes.
const CHUNK: usize = 64 * 1024;

/// Escapes in strings what a terminal would obey, so that a document that is
/// only looked at does no harm; its value stays the same.
#[derive(Debug, Clone, Copy)]
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut kept = 0;
        for (at, c) in fragment.char_indices().filter(|(_, c)| hazardous(*c)) {
            writer.write_all(fragment.get(kept..at).unwrap_or_default().as_bytes())?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            kept = at + c.len_utf8();
        }
        writer.write_all(fragment.get(kept..).unwrap_or_default().as_bytes())
    }
}

/// Any value as JSON on one line, without a line end.
///
/// The models of this crate cannot fail to serialise; what could becomes
/// `null`.
#[must_use]
pub fn to_json<T: Serialize + ?Sized>(value: &T) -> String {
    let mut bytes = Vec::with_capacity(256);
    append(&mut bytes, value);
    String::from_utf8(bytes).unwrap_or_else(|_| "null".to_owned())
}

/// Any value as JSON on one line, without a line end, as it is made.
///
/// # Errors
/// What the writer says.
pub(crate) fn write_json<T: Serialize + ?Sized>(
    writer: &mut dyn Write,
    value: &T,
) -> io::Result<()> {
    value
        .serialize(&mut Serializer::with_formatter(writer, Harmless))
        .map_err(io::Error::from)
}

/// [`to_json`] behind what is there already.
fn append<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) {
    let before = bytes.len();
    if value
        .serialize(&mut Serializer::with_formatter(&mut *bytes, Harmless))
        .is_err()
    {
        bytes.truncate(before);
        bytes.extend_from_slice(b"null");
    }
}

/// The document of `go-map-stats -json`: one line.
#[must_use]
pub fn stats_json(stats: &Stats) -> String {
    let mut text = to_json(stats);
    text.push('\n');
    text
}

/// A document with a head and a long list, written row by row.
pub struct JsonRows<'w, E> {
    write: &'w mut dyn FnMut(&str) -> Result<(), E>,
    chunk: Vec<u8>,
    first: bool,
}

impl<E> std::fmt::Debug for JsonRows<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JsonRows")
            .field("pending", &self.chunk.len())
            .finish_non_exhaustive()
    }
}

impl<'w, E> JsonRows<'w, E> {
    /// Begins a `gomapscope.buckets/1` document; rows are [`BucketRow`].
    pub fn buckets(
        stats: &Stats,
        heat: Option<&[HeatCell]>,
        write: &'w mut dyn FnMut(&str) -> Result<(), E>,
    ) -> Self {
        let mut chunk = head(stats, "gomapscope.buckets/1");
        if let Some(heat) = heat {
            chunk.extend_from_slice(b",\"heat\":");
            append(&mut chunk, heat);
        }
        chunk.extend_from_slice(b",\"bucket_list\":[");
        Self {
            write,
            chunk,
            first: true,
        }
    }

    /// Begins a `gomapscope.entries/1` document; rows are [`Entry`].
    pub fn entries(stats: &Stats, write: &'w mut dyn FnMut(&str) -> Result<(), E>) -> Self {
        let mut chunk = head(stats, "gomapscope.entries/1");
        chunk.extend_from_slice(b",\"entries\":[");
        Self {
            write,
            chunk,
            first: true,
        }
    }

    /// Begins a document of the fields of `head`, an object, and a list named `list`.
    pub fn begin<T: Serialize>(
        head: &T,
        list: &'static str,
        write: &'w mut dyn FnMut(&str) -> Result<(), E>,
    ) -> Self {
        let mut chunk = Vec::with_capacity(CHUNK + 4096);
        append(&mut chunk, head);
        chunk.pop();
        chunk.push(b',');
        append(&mut chunk, list);
        chunk.extend_from_slice(b":[");
        Self {
            write,
            chunk,
            first: true,
        }
    }

    /// Adds one row.
    ///
    /// # Errors
    ///
    /// What the writer returned; the document is then incomplete.
    pub fn row<T: Serialize>(&mut self, row: &T) -> Result<(), E> {
        if !self.first {
            self.chunk.push(b',');
        }
        self.first = false;
        append(&mut self.chunk, row);
        if self.chunk.len() >= CHUNK {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), E> {
        // The bytes are those of whole strings: nothing is ever replaced.
        (self.write)(&String::from_utf8_lossy(&self.chunk))?;
        self.chunk.clear();
        Ok(())
    }

    /// Ends the document with the fields of `tail`, an object, too.
    ///
    /// # Errors
    ///
    /// What the writer returned.
    pub fn finish_with<T: Serialize>(mut self, tail: &T, truncated: bool) -> Result<(), E> {
        self.chunk.extend_from_slice(b"],\"truncated\":");
        append(&mut self.chunk, &truncated);
        let mut fields = Vec::new();
        append(&mut fields, tail);
        self.chunk.push(b',');
        // The object without its opening brace.
        self.chunk
            .extend_from_slice(fields.get(1..).unwrap_or_default());
        self.chunk.push(b'\n');
        self.flush()
    }

    /// Ends the document; `truncated` says that there were more rows.
    ///
    /// # Errors
    ///
    /// What the writer returned.
    pub fn finish(mut self, truncated: bool) -> Result<(), E> {
        self.chunk.extend_from_slice(b"],\"truncated\":");
        append(&mut self.chunk, &truncated);
        self.chunk.extend_from_slice(b"}\n");
        self.flush()
    }
}

/// Writes the document of `go-map-buckets -json`.
///
/// # Errors
///
/// What the writer returned.
pub fn buckets_json<E, R: Borrow<BucketRow>>(
    stats: &Stats,
    rows: impl IntoIterator<Item = R>,
    heat: Option<&[HeatCell]>,
    truncated: bool,
    write: &mut dyn FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let mut document = JsonRows::buckets(stats, heat, write);
    for row in rows {
        document.row(row.borrow())?;
    }
    document.finish(truncated)
}

/// Writes the document of `go-map-entries -json`.
///
/// # Errors
///
/// What the writer returned.
pub fn entries_json<E, R: Borrow<Entry>>(
    stats: &Stats,
    rows: impl IntoIterator<Item = R>,
    truncated: bool,
    write: &mut dyn FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let mut document = JsonRows::entries(stats, write);
    for row in rows {
        document.row(row.borrow())?;
    }
    document.finish(truncated)
}

/// The fields of `stats` under another schema, the closing brace left off.
fn head(stats: &Stats, schema: &'static str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(CHUNK + 4096);
    append(
        &mut bytes,
        &Stats {
            schema,
            ..stats.clone()
        },
    );
    bytes.pop();
    bytes
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::report::testing;

    fn entry(key: &str) -> Entry {
        Entry {
            key: key.to_owned(),
            elem: "1".to_owned(),
            address: 0xc000,
        }
    }

    fn document(stats: &Stats, rows: &[Entry], truncated: bool) -> String {
        let mut text = String::new();
        let done: Result<(), Infallible> =
            entries_json(stats, rows, truncated, &mut |chunk: &str| {
                text.push_str(chunk);
                Ok(())
            });
        done.unwrap();
        text
    }

    #[test]
    fn stats_are_one_line_with_the_names_of_the_schema() {
        let text = stats_json(&testing::growing());
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.ends_with("}\n"));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["schema"], "gomapscope.stats/1");
        assert_eq!(value["type"], "map[string]int");
        assert_eq!(value["address"], "0xc000012120");
        assert_eq!(value["classic"]["B"], 8);
        assert_eq!(value["buckets"]["severity"], "severe");
        assert_eq!(
            value["buckets"]["chain_lengths"],
            serde_json::json!([254, 1, 1])
        );
        assert!(value.get("swiss").is_none());
    }

    #[test]
    fn a_list_follows_the_head() {
        let stats = testing::small();
        let value: Value =
            serde_json::from_str(&document(&stats, &[entry("\"a\""), entry("2")], false)).unwrap();
        assert_eq!(value["schema"], "gomapscope.entries/1");
        assert_eq!(value["len"], 3);
        assert_eq!(value["entries"][0]["key"], "\"a\"");
        assert_eq!(value["entries"][1]["address"], "0xc000");
        assert_eq!(value["truncated"], false);

        let row = BucketRow {
            index: 0,
            address: 16,
            kind: "group",
            table: None,
            parent: None,
            marks: "LLLEEEEE".to_owned(),
            live: 3,
            tombstones: 0,
            chain: None,
        };
        let mut text = String::new();
        let cells = [HeatCell {
            buckets: 1,
            live: 3,
            slots: 8,
            ..HeatCell::default()
        }];
        let done: Result<(), Infallible> =
            buckets_json(&stats, [row], Some(&cells), true, &mut |chunk: &str| {
                text.push_str(chunk);
                Ok(())
            });
        done.unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["schema"], "gomapscope.buckets/1");
        assert_eq!(value["bucket_list"][0]["marks"], "LLLEEEEE");
        assert_eq!(value["heat"][0]["live"], 3);
        assert_eq!(value["truncated"], true);
        assert_eq!(text.matches('\n').count(), 1);
    }

    #[test]
    fn rows_are_written_in_chunks_and_an_error_stops_them() {
        let stats = testing::small();
        let mut sizes = Vec::new();
        let done: Result<(), Infallible> = entries_json(
            &stats,
            (0..20_000).map(|i| entry(&i.to_string())),
            false,
            &mut |chunk| {
                sizes.push(chunk.len());
                Ok(())
            },
        );
        done.unwrap();
        assert!(sizes.len() > 5);
        assert!(sizes.iter().all(|size| *size < CHUNK + 1024), "{sizes:?}");

        let mut calls = 0;
        let stopped = entries_json(&stats, std::iter::repeat(entry("1")), false, &mut |_| {
            calls += 1;
            Err("interrupted")
        });
        assert_eq!(stopped, Err("interrupted"));
        assert_eq!(calls, 1);
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let text = to_json("\x1b[2J\u{9b}\u{202e}\u{e0041}\x7fé");
        assert_eq!(text, "\"\\u001b[2J\\u009b\\u202e\\udb40\\udc41\\u007fé\"");
    }

    proptest! {
        #[test]
        fn any_text_keeps_its_value(text in any::<String>()) {
            let json = to_json(&text);
            prop_assert!(!json.chars().any(hazardous));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn any_model_is_a_document(stats in testing::any_stats(), keys in any::<Vec<String>>()) {
            prop_assert!(serde_json::from_str::<Value>(&stats_json(&stats)).is_ok());
            let rows: Vec<Entry> = keys.iter().map(|key| entry(key)).collect();
            let value: Value = serde_json::from_str(&document(&stats, &rows, true)).unwrap();
            prop_assert_eq!(value["entries"].as_array().map(Vec::len), Some(rows.len()));
        }
    }
}
