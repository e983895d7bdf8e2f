//! The one place that writes to the terminal: tables and lines for people on standard output, JSON for scripts, what went
//! wrong on standard error, and progress bars. A reader that goes away (`| head`) ends the program quietly.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::cli::fail::Fail;

/// What is printed, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    json: bool,
}

impl Out {
    /// For scripts, or for people.
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a script reads it.
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// One line, or several.
    pub fn line(self, text: impl AsRef<str>) -> Result<(), Fail> {
        put(text.as_ref(), true)
    }

    /// Text as it is.
    pub fn raw(self, text: impl AsRef<str>) -> Result<(), Fail> {
        put(text.as_ref(), false)
    }

    /// A value as JSON.
    pub fn json(self, value: &impl Serialize) -> Result<(), Fail> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Fail::new(error.to_string(), ""))?;
        put(&text, true)
    }

    /// JSON for scripts, else what `people` makes of it.
    pub fn both<T: Serialize>(self, value: &T, people: impl FnOnce(&T) -> String) -> Result<(), Fail> {
        if self.json { self.json(value) } else { put(people(value).trim_end(), true) }
    }

    /// An error: one line what, one line what to do next. For scripts both in one JSON object, on standard error too.
    pub fn fail(self, fail: &Fail) {
        let text = if self.json {
            let value = serde_json::json!({"error": fail.what, "next": fail.next, "code": fail.code});
            value.to_string()
        } else if fail.next.is_empty() {
            format!("error: {}", fail.what)
        } else {
            format!("error: {}\n next: {}", fail.what, fail.next)
        };
        self.aside(&text);
    }

    /// What should be heard of and stops nothing: one line on standard error, for scripts as a JSON object.
    pub fn warn(self, text: &str) {
        let text = text.replace('\n', ", ");
        let line =
            if self.json { serde_json::json!({ "warning": text }).to_string() } else { format!("warning: {text}") };
        self.aside(&line);
    }

    /// A line for people on standard error, beside the output proper.
    pub fn aside(self, text: &str) {
        // Nothing can be told to someone who has closed standard error.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Takes away what stands on the screen, before the same is shown again.
    pub fn clear(self) {
        if !self.json && io::stdout().is_terminal() {
            // Only a screen that is going away can fail to be cleared.
            let _ = Term::stdout().clear_screen();
        }
    }

    /// Progress on standard error; nothing where a script reads or nobody looks.
    pub fn progress(self) -> Bars {
        let target = if self.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(5) };
        Bars { all: MultiProgress::with_draw_target(target), seen: !self.json && io::stderr().is_terminal() }
    }
}

fn put(text: &str, end: bool) -> Result<(), Fail> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| if end { out.write_all(b"\n") } else { Ok(()) });
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Fail::unheard()),
        written => written.map_err(|error| Fail::new(format!("standard output cannot be written: {error}"), "")),
    }
}

/// Several bars.
#[derive(Debug)]
pub struct Bars {
    all: MultiProgress,
    seen: bool,
}

impl Bars {
    /// Whether anyone sees them.
    pub fn are_seen(&self) -> bool {
        self.seen
    }

    /// A bar of bytes; without a total there is nothing to fill.
    pub fn bytes(&self, total: Option<u64>) -> ProgressBar {
        match total {
            Some(total) => {
                self.bar(total, "  {msg} {bytes:>10} of {total_bytes:<10} [{bar:16}] {binary_bytes_per_sec} {eta}")
            }
            None => self.bar(0, "  {msg} {bytes:>10}"),
        }
    }

    /// A bar of items.
    pub fn items(&self, total: u64) -> ProgressBar {
        self.bar(total, "{prefix} {pos} of {len} [{bar:16}] {elapsed}  {msg}")
    }

    /// How many characters of a name fit beside a bar of bytes.
    pub fn name_width(&self) -> usize {
        // What the bar itself takes: sizes, rate and time.
        const BAR: usize = 68;
        let columns = Term::stderr().size_checked().map_or(80, |(_, columns)| usize::from(columns));
        columns.saturating_sub(BAR).max(16)
    }

    /// A sign of life, for what cannot tell how far it is.
    pub fn spinner(&self, text: &str) -> ProgressBar {
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = self.all.add(ProgressBar::new_spinner().with_style(style).with_message(text.to_owned()));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    fn bar(&self, total: u64, template: &str) -> ProgressBar {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.all.add(ProgressBar::new(total).with_style(style.progress_chars("=> ")))
    }

    /// A line above the bars that stays.
    pub fn line(&self, text: &str) {
        // Standard error may be closed; the same is in the job's record.
        let _ = if self.seen { self.all.println(text) } else { writeln!(io::stderr(), "{text}") };
    }
}

/// A table for people: as wide as the terminal, or as it wants to be where there is none.
#[derive(Debug)]
pub struct Grid {
    table: Table,
    right: Vec<usize>,
}

impl Grid {
    /// With these heads; those that begin with `>` are of columns of numbers, which stand at the right.
    pub fn new(heads: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        if let Some((_, columns)) = Term::stdout().size_checked() {
            table.set_width(columns);
        }
        let right = heads.iter().enumerate().filter(|(_, head)| head.starts_with('>')).map(|(at, _)| at).collect();
        let mut grid = Self { table, right };
        if heads.iter().any(|head| !head.is_empty()) {
            let cells = grid.cells(heads.iter().map(|head| head.trim_start_matches('>').to_uppercase()));
            grid.table.set_header(cells);
        }
        grid
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = self.cells(cells);
        self.table.add_row(cells);
    }

    fn cells(&self, texts: impl IntoIterator<Item = String>) -> Vec<Cell> {
        let cells = texts.into_iter().enumerate().map(|(at, text)| {
            let align = if self.right.contains(&at) { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(printable(&text)).set_alignment(align)
        });
        cells.collect()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.table.row_count() == 0
    }

    /// The text, without blanks at the ends of lines.
    pub fn text(&self) -> String {
        self.table.trim_fmt().lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).fold(
            String::new(),
            |mut text, line| {
                text.push_str(line.trim_end());
                text.push('\n');
                text
            },
        )
    }
}

/// Adds to a text.
pub fn add(text: &mut String, more: fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = text.write_fmt(more);
}

/// Names come from strangers' requests: what would steer a terminal is not passed on.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_aligns_and_steers_no_terminal() {
        let mut grid = Grid::new(&["name", ">size"]);
        grid.row(["a\u{1b}[2Jb".to_owned(), "1 B".to_owned()]);
        grid.row(["c".to_owned(), "100 MiB".to_owned()]);
        let text = grid.text();
        assert!(!text.contains('\u{1b}'), "{text:?}");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].ends_with("    1 B") && lines[2].ends_with("100 MiB"), "{text}");
        assert_eq!(lines[0].find("SIZE").map(|at| at + 4), lines[2].find("MiB").map(|at| at + 3));
    }
}
