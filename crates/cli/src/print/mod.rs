//! What commands show on a terminal: aligned, coloured there and plain when piped.

pub(crate) mod audit;
pub(crate) mod diagnosis;
pub(crate) mod listing;
pub(crate) mod monitors;
pub(crate) mod paths;
pub(crate) mod plan;
pub(crate) mod races;
pub(crate) mod timeline;
pub(crate) mod tree;

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use serde_json::Value;

/// Dim: what is there for reference.
pub(crate) const DIM: Style = Style::new().dimmed();
/// Bold: what names a thing.
pub(crate) const NAME: Style = Style::new().bold();
/// Red: errors.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// Green: fine.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Yellow: to be taken with care.
pub(crate) const CARE: Style = AnsiColor::Yellow.on_default();

/// A text in a style.
pub(crate) fn styled(style: Style, text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!("{style}{text}{style:#}")
}

/// Prints a JSON value, in one piece.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn json(value: &Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)
}

/// Prints text whose colours are dropped where standard output is no terminal.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn text(text: &str) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A duration in nanoseconds, with three or four digits that matter.
pub(crate) fn nanoseconds(ns: f64) -> String {
    let size = ns.abs();
    if size < 1e3 {
        format!("{ns:.0} ns")
    } else if size < 1e6 {
        format!("{:.1} µs", ns / 1e3)
    } else if size < 1e9 {
        format!("{:.2} ms", ns / 1e6)
    } else {
        format!("{:.2} s", ns / 1e9)
    }
}

/// A member's text; empty where it is absent or null.
pub(crate) fn member<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

/// The text with everything that could drive a terminal made visible: it came from a network.
pub(crate) fn printable(text: &str) -> String {
    if text.chars().any(char::is_control) {
        text.escape_debug().to_string()
    } else {
        text.to_owned()
    }
}

/// A table: columns padded to their widest cell, styles not counted.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Vec<(Style, String)>>,
}

impl Table {
    /// A table with this head.
    pub(crate) fn new(head: &[&str]) -> Self {
        let row = head.iter().map(|title| (DIM, (*title).to_owned()));
        Self {
            rows: vec![row.collect()],
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<(Style, String)>) {
        let cells = cells.into_iter();
        self.rows.push(
            cells
                .map(|(style, text)| (style, printable(&text)))
                .collect(),
        );
    }

    /// The table as lines.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|(_, text)| text.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            for (column, (style, text)) in row.iter().enumerate() {
                out.push_str(&styled(*style, text));
                if column + 1 < row.len() {
                    let pad = widths[column] - text.chars().count() + 2;
                    out.extend(std::iter::repeat_n(' ', pad));
                }
            }
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_shows_control_characters() {
        let mut table = Table::new(&["a", "b"]);
        table.row(vec![(NAME, "long".into()), (GOOD, "\u{1b}[2J".into())]);
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(plain, "a     b\nlong  \\u{1b}[2J\n");
    }

    #[test]
    fn durations_keep_the_digits_that_matter() {
        assert_eq!(nanoseconds(950.0), "950 ns");
        assert_eq!(nanoseconds(12_345.0), "12.3 µs");
        assert_eq!(nanoseconds(12_345_678.0), "12.35 ms");
    }
}
