//! The timeline as one HTML file that needs nothing else: no server, no network, no other file.
//!
//! What is large is made small here, before it is written, and the page says how: series
//! become spans with first, last, least and greatest value, events are counted by bins and the
//! weightiest kept one by one. The browser only draws.
//!
//! Two libraries are vendored, each with its licence: uPlot (timelines; 51 KB) and d3-hierarchy
//! (the arithmetic of the flame graph; 15 KB). Both set styles by CSSOM and text by
//! `textContent`, so that the page forbids everything else to itself: its policy allows these
//! scripts and this style by their hashes, and no string ever becomes HTML.

mod data;
mod flame;
mod thin;

use std::io::{self, BufWriter, Write};

use base64::Engine as _;
use serde::Serialize as _;
use sha2::{Digest as _, Sha256};

use super::Timeline;
use data::Page;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = concat!(
    include_str!("vendor/uPlot.min.css"),
    "\n",
    include_str!("style.css")
);
const SCRIPT: &str = concat!(
    include_str!("vendor/uPlot.iife.min.js"),
    "\n",
    include_str!("vendor/d3-hierarchy.min.js"),
    "\n",
    include_str!("app.js")
);
/// Their licences travel with them.
const LICENCES: &str = concat!(
    "uPlot\n\n",
    include_str!("vendor/uPlot.LICENSE"),
    "\n\nd3-hierarchy\n\n",
    include_str!("vendor/d3-hierarchy.LICENSE")
);

/// Writes the page. A timeline of nothing gives a page that says so.
///
/// # Errors
///
/// Whatever `out` fails with.
pub fn page(timeline: &Timeline, out: &mut dyn Write) -> io::Result<()> {
    let page = Page::new(timeline);
    let mut out = BufWriter::with_capacity(1 << 16, out);
    let mut rest = TEMPLATE;
    while let Some((text, marker, tail)) = next_marker(rest) {
        out.write_all(text.as_bytes())?;
        match marker {
            "policy" => out.write_all(policy().as_bytes())?,
            "title" => out.write_all(escape(page.title()).as_bytes())?,
            "style" => out.write_all(STYLE.as_bytes())?,
            "script" => out.write_all(SCRIPT.as_bytes())?,
            "licences" => out.write_all(escape(LICENCES).as_bytes())?,
            "data" => {
                let mut json = serde_json::Serializer::with_formatter(&mut out, InHtml);
                page.serialize(&mut json).map_err(io::Error::from)?;
            }
            _ => {}
        }
        rest = tail;
    }
    out.write_all(rest.as_bytes())?;
    out.flush()
}

/// The text before the next `{{marker}}`, its name, and what follows.
fn next_marker(text: &str) -> Option<(&str, &str, &str)> {
    let (before, after) = text.split_once("{{")?;
    let (marker, rest) = after.split_once("}}")?;
    Some((before, marker, rest))
}

/// What the page may do: run this script, use this style.
fn policy() -> String {
    let hash = |text: &str| base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; base-uri 'none'; \
         form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        hash(SCRIPT),
        hash(STYLE)
    )
}

/// Text between tags or in a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// JSON that no HTML parser takes for anything else.
struct InHtml;

impl serde_json::ser::Formatter for InHtml {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut begin = 0;
        for (at, c) in fragment.char_indices() {
            let escape = match c {
                '<' => "\\u003c",
                '>' => "\\u003e",
                '&' => "\\u0026",
                '\u{2028}' => "\\u2028",
                '\u{2029}' => "\\u2029",
                _ => continue,
            };
            writer.write_all(&fragment.as_bytes()[begin..at])?;
            writer.write_all(escape.as_bytes())?;
            begin = at + c.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[begin..])
    }
}

#[cfg(test)]
mod tests;
