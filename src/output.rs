//! What commands print: tables for people, JSON for scripts.

use std::{
    borrow::Cow,
    io::{ErrorKind, Write},
    ops::Range,
};

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use serde::{Deserialize, Serialize};

/// Writes to stdout, for people: see [`harmless`]. Nobody there to read the rest (`longshore jobs | head`) is fine.
pub fn print(text: &str) -> anyhow::Result<()> {
    line(&harmless(text)).map(|_| ())
}

/// A text as it may be shown on a terminal, which takes control characters for commands: errors, logs and what jobs tell are
/// anybody's. What was overwritten (a program's progress) stands on lines of its own.
pub fn harmless(text: &str) -> Cow<'_, str> {
    let commands = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(commands) {
        return text.into();
    }
    text.replace("\r\n", "\n").replace('\r', "\n").replace(commands, "\u{FFFD}").into()
}

/// The same for what goes on for ever; false: nobody is there to read it.
pub fn line(text: &str) -> anyhow::Result<bool> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("could not write to the standard output"),
        written => Ok(written.is_ok()),
    }
}

/// Writes JSON on one line.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string(value).context("could not write the answer as JSON")?).map(|_| ())
}

/// A list in the form that the API gives it.
#[derive(Debug, Serialize, Deserialize)]
pub struct List<T> {
    /// What was found.
    pub items: Vec<T>,
    /// Where the next page begins; null: there is none.
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    /// All there is.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }
}

/// A table without lines, easy on `awk`.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    table
}

/// Puts numbers below one another.
pub fn align_right(table: &mut Table, columns: Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// The lines of a table, without the blanks at their ends.
pub fn lines(table: &Table) -> String {
    let text = table.to_string();
    text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect::<Vec<_>>().join("\n")
}

/// A time to the second, in UTC as everywhere in Longshore.
pub fn time(time: Timestamp) -> String {
    time.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Trunc)).unwrap_or(time).to_string()
}

/// The beginning of a text, on one line.
pub fn shortened(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most { line } else { line.chars().take(most - 1).chain(['…']).collect() }
}

/// A whole number with its thousands set apart: `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_threes() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_terminal_is_given_no_commands() {
        assert!(matches!(harmless("über\tal\nles"), Cow::Borrowed(_)));
        assert_eq!(harmless("\u{1b}]0;mine\u{7} 10%\r20%\r\n\u{9b}31m"), "\u{FFFD}]0;mine\u{FFFD} 10%\n20%\n\u{FFFD}31m");
    }

    #[test]
    fn long_texts_are_cut_at_characters() {
        assert_eq!(shortened("über\n alles", 20), "über alles");
        assert_eq!(shortened("überall", 4), "übe…");
    }
}
