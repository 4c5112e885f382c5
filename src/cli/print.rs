//! Results on standard output, for people as tables or for programs as one JSON document; notes and progress on
//! standard error, and only to a terminal.

use super::failure::Failure;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// For whom to print.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Output {
    /// Tables and sentences.
    People,
    /// One JSON document.
    Programs,
}

impl Output {
    /// Prints a result: as JSON, or in the words that `people` makes of it.
    pub(super) fn result<T: Serialize>(self, result: &T, people: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        match self {
            Self::People => say(&people(result)),
            Self::Programs => say(&serde_json::to_string_pretty(result).expect("a wire type is plain JSON")),
        }
    }
}

/// Writes to standard output; a reader who went away is not a failure of ours to report at length.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    let text = text.trim_end_matches('\n');
    writeln!(std::io::stdout().lock(), "{text}").map_err(|e| Failure::Failed(format!("standard output: {e}")))
}

/// A remark for whoever watches.
pub(super) fn note(text: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("{text}");
    }
}

/// A table with a header line.
pub(super) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.map(str::to_uppercase));
    for row in rows {
        table.add_row(row);
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Lines of `name  value`; absent values are left out.
pub(super) fn record(fields: &[(&str, Option<String>)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines = fields.iter().filter_map(|(name, value)| Some(format!("{name:width$}  {}", value.as_ref()?)));
    lines.collect::<Vec<_>>().join("\n")
}

/// A number as people read it: `1,204,881`.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// So many of something: `1 object`, `38 objects`.
pub(super) fn counted(n: u64, what: &str) -> String {
    format!("{} {what}{}", count(n), if n == 1 { "" } else { "s" })
}

/// A progress bar on standard error; on anything but a terminal it draws nothing.
pub(super) fn progress(of: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {msg} {wide_bar} {pos}/{len}").expect("a template of ours");
    ProgressBar::new(0).with_style(style).with_prefix(of.to_owned())
}

/// Asks a question on the terminal; `None` where there is no terminal to ask on.
pub(super) fn ask(question: &str) -> Option<String> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return None;
    }
    eprint!("{question} ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok()?;
    Some(answer.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_their_nouns_agree() {
        let told = [0, 1, 12, 999, 1000, 38_041, 1_204_881].map(count);
        assert_eq!(told, ["0", "1", "12", "999", "1,000", "38,041", "1,204,881"]);
        assert_eq!([0, 1, 2].map(|n| counted(n, "object")), ["0 objects", "1 object", "2 objects"]);
    }

    #[test]
    fn tables_and_records_line_up() {
        let text = table(["id", "state"], [["a".into(), "ACTIVE".into()], ["longer".into(), "PURGED".into()]]);
        assert_eq!(text.lines().next().unwrap().split_whitespace().collect::<Vec<_>>(), ["ID", "STATE"]);
        let columns: Vec<_> = text.lines().skip(1).map(|l| l.find(['A', 'P'])).collect();
        assert!(columns[0].is_some() && columns[0] == columns[1], "{text}");
        assert_eq!(
            record(&[("id", Some("7".into())), ("gone", None), ("state", Some("x".into()))]),
            "id     7\nstate  x"
        );
    }
}
