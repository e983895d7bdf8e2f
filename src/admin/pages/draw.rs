//! Numbers as pictures and as people read them. Pictures are SVG within the page; what they show stands in them as text too.

use crate::admin::view::{self, Time, compliance::BySeverity};
use crate::base::size;

/// Width of a picture, in its own units.
pub const WIDTH: u64 = 480;
/// Where bars begin, behind their names.
pub const LEFT: u64 = 110;
/// Room behind the longest bar, for its number.
const RIGHT: u64 = 80;
/// Height of a line.
pub const LINE: u64 = 30;

/// A horizontal bar with its name and number.
pub struct Bar {
    /// What it stands for.
    pub name: String,
    /// Its number, as text.
    pub text: String,
    /// The class that colours it.
    pub class: String,
    /// How long it is.
    pub width: u64,
    /// Where its line begins.
    pub top: u64,
    /// Where a click leads; empty for nowhere.
    pub to: String,
}

/// Bars under each other; the largest fills the width.
pub fn bars(rows: impl IntoIterator<Item = (String, u64, String, String)>) -> Vec<Bar> {
    let rows: Vec<_> = rows.into_iter().collect();
    let most = rows.iter().map(|row| row.1).max().unwrap_or(0).max(1);
    let draw = |(at, (name, number, class, to)): (usize, (String, u64, String, String))| Bar {
        name,
        text: number.to_string(),
        class,
        width: scaled(number, most, WIDTH - LEFT - RIGHT),
        top: at as u64 * LINE,
        to,
    };
    rows.into_iter().enumerate().map(draw).collect()
}

/// `number` of `most`, of a length; what is there at all is seen.
fn scaled(number: u64, most: u64, length: u64) -> u64 {
    let long = (u128::from(number) * u128::from(length) / u128::from(most.max(1))) as u64;
    if number > 0 { long.max(2) } else { 0 }
}

/// Missing patches by severity.
pub fn severities(rows: &[BySeverity]) -> Vec<Bar> {
    bars(rows.iter().map(|row| {
        let to = format!("/missing?severity={}", row.severity);
        (row.severity.clone(), row.updates, format!("bar-{}", row.severity), to)
    }))
}

/// An upright bar of two: the one before the other.
pub struct Hour {
    /// Where it begins.
    pub left: u64,
    /// Height and top of what was sent.
    pub sent: (u64, u64),
    /// Height and top of what was fetched.
    pub fetched: (u64, u64),
    /// All of it in words.
    pub told: String,
}

/// Height of the picture of hours.
pub const TALL: u64 = 120;

/// Bytes sent and fetched, hour by hour.
pub fn hours(rows: &[view::Hour]) -> Vec<Hour> {
    let most = rows.iter().map(|row| row.traffic.sent.max(row.traffic.fetched)).max().unwrap_or(0).max(1);
    let step = WIDTH / (rows.len() as u64).max(1);
    let of = |bytes: u64| {
        let high = scaled(bytes, most, TALL);
        (high, TALL - high)
    };
    let draw = |(at, row): (usize, &view::Hour)| Hour {
        left: at as u64 * step,
        sent: of(row.traffic.sent),
        fetched: of(row.traffic.fetched),
        told: format!(
            "{}: sent {}, fetched {}",
            row.at,
            size::bytes(row.traffic.sent),
            size::bytes(row.traffic.fetched)
        ),
    };
    rows.iter().enumerate().map(draw).collect()
}

/// A part of a whole, in percent.
pub fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 { 0 } else { (u128::from(part) * 100 / u128::from(whole)) as u64 }
}

/// A time, or that there was none.
pub fn time(at: Option<&Time>) -> String {
    at.map_or_else(|| "never".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_seen_and_nothing_is_wider_than_the_picture() {
        let row = |number| ("x".to_owned(), number, String::new(), String::new());
        let drawn = bars([row(u64::MAX), row(1), row(0)]);
        assert_eq!(drawn.iter().map(|bar| bar.width).collect::<Vec<_>>(), [WIDTH - LEFT - RIGHT, 2, 0]);
        assert!(bars([]).is_empty());
        assert_eq!((percent(1, 0), percent(1, 3), percent(u64::MAX, u64::MAX)), (0, 33, 100));
    }
}
