//! What was measured, round by round, and how it is shown: medians, spread, ratios, as a Markdown table and as JSON.

use std::fmt::Write as _;
use std::ops::Range;

use serde_json::{Value, json};

/// What a row must reach.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    /// The node's figure over the peer's is at least this.
    RatioAtLeast(f64),
    /// The node's figure over the peer's is at most this.
    RatioAtMost(f64),
    /// The node's figure is at least this.
    AtLeast(f64),
    /// The node's figure is at most this.
    AtMost(f64),
    /// The node's figure is at most this in every turn: a promise, which one turn breaks.
    EachAtMost(f64),
}

/// What a measure is worth where the load's core may have been full: its figures say then what the load can, and not what the
/// servers can.
pub(crate) enum Decided {
    /// By the row's own figures: neither load was full.
    ByItself,
    /// By these figures in its place, and by their bound.
    By { what: String, node: Vec<f64>, peer: Vec<f64>, bound: Wanted },
}

/// One thing measured: a figure a round for the node, and for its peers where there are any.
pub(crate) struct Row {
    pub(crate) scenario: String,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) node: Vec<f64>,
    /// Those beside it; what is wanted is wanted beside the first.
    pub(crate) peers: Vec<(String, Vec<f64>)>,
    pub(crate) wanted: Option<Wanted>,
    /// Which measure decides, where another one could.
    pub(crate) decided: Option<Decided>,
}

/// Whether what is wanted was reached.
struct Verdict {
    /// What is wanted, in words, and by which measure that was decided.
    wanted: String,
    /// The measure that decided, where another one could have.
    by: Option<String>,
    met: bool,
}

/// All rows, and what must be said beside them.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    pub(crate) notes: Vec<String>,
}

/// The median; 0 of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The value that `share` (0 to 1) of `values` do not exceed; 0 of nothing.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(at.max(1) - 1).copied().unwrap_or(0.0)
}

/// The rounds' ratios, node over peer: drift between rounds falls out of them.
fn ratios(node: &[f64], peer: &[f64]) -> Vec<f64> {
    node.iter().zip(peer).filter(|(_, peer)| **peer != 0.0).map(|(node, peer)| node / peer).collect()
}

/// The median of [`ratios`].
fn ratio(node: &[f64], peer: &[f64]) -> Option<f64> {
    let ratios = ratios(node, peer);
    (!ratios.is_empty()).then(|| median(&ratios))
}

impl Wanted {
    fn text(self) -> String {
        match self {
            Self::RatioAtLeast(bound) => format!("≥ {bound} ×"),
            Self::RatioAtMost(bound) => format!("≤ {bound} ×"),
            Self::AtLeast(bound) => format!("≥ {}", figure(bound)),
            Self::AtMost(bound) => format!("≤ {}", figure(bound)),
            Self::EachAtMost(bound) => format!("≤ {} in each turn", figure(bound)),
        }
    }

    /// Whether these figures reach it; nothing where they cannot say.
    fn is_met(self, node: &[f64], peer: &[f64]) -> Option<bool> {
        let (value, ratio) = ((!node.is_empty()).then(|| median(node))?, ratio(node, peer));
        Some(match self {
            Self::RatioAtLeast(bound) => ratio? >= bound,
            Self::RatioAtMost(bound) => ratio? <= bound,
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
            Self::EachAtMost(bound) => node.iter().all(|value| *value <= bound),
        })
    }
}

impl Row {
    /// What is wanted, in words, and whether it was reached.
    fn verdict(&self) -> Option<Verdict> {
        let wanted = self.wanted?;
        let peer = self.peers.first().map_or(&[][..], |(_, peer)| peer);
        Some(match &self.decided {
            None => Verdict { wanted: wanted.text(), by: None, met: wanted.is_met(&self.node, peer)? },
            Some(Decided::ByItself) => Verdict {
                wanted: format!("{}; load not full: by itself", wanted.text()),
                by: Some(self.what.clone()),
                met: wanted.is_met(&self.node, peer)?,
            },
            Some(Decided::By { what, node, peer, bound }) => Verdict {
                wanted: format!("{}; load full: {} {what}", wanted.text(), bound.text()),
                by: Some(what.clone()),
                met: bound.is_met(node, peer)?,
            },
        })
    }
}

/// A figure with about three digits that matter, thousands apart.
fn figure(value: f64) -> String {
    let size = value.abs();
    if size >= 1000.0 {
        let digits = format!("{value:.0}");
        let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
        let mut out = String::from(sign);
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        out
    } else if value.fract().abs() < 1e-9 || size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// Median and, of several rounds, the lowest and the highest.
fn spread(values: &[f64]) -> String {
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(*at), high.max(*at)));
    match values.len() {
        0 => "–".into(),
        1 => figure(values[0]),
        _ => format!("{} ({} to {})", figure(median(values)), figure(low), figure(high)),
    }
}

impl Table {
    /// One more row.
    pub(crate) fn push(
        &mut self,
        scenario: &str,
        what: &str,
        unit: &'static str,
        node: Vec<f64>,
        peers: impl IntoIterator<Item = (&'static str, Vec<f64>)>,
        wanted: Option<Wanted>,
    ) {
        let peers = peers
            .into_iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(name, values)| (name.to_owned(), values))
            .collect();
        self.rows.push(Row { scenario: scenario.into(), what: what.into(), unit, node, peers, wanted, decided: None });
    }

    /// Says of the last row which measure decides whether it is met.
    pub(crate) fn decide(&mut self, decided: Decided) {
        if let Some(row) = self.rows.last_mut() {
            row.decided = Some(decided);
        }
    }

    /// Something that must be said beside the figures.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        println!("note: {text}");
        self.notes.push(text);
    }

    /// As Markdown. Ratios are the node's figure over the peer's.
    pub(crate) fn markdown(&self, rows: Range<usize>) -> String {
        let mut out = String::from(
            "| scenario | measure | node | beside it | ratio | wanted | met |\n|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows[rows] {
            let join = |cells: Vec<String>| if cells.is_empty() { "–".into() } else { cells.join("; ") };
            let peers = join(row.peers.iter().map(|(name, values)| format!("{name} {}", spread(values))).collect());
            let over = |(_, values): &(String, Vec<f64>)| spread(&ratios(&row.node, values));
            let ratios = join(row.peers.iter().map(over).collect());
            let unit = if row.unit.is_empty() { String::new() } else { format!(", {}", row.unit) };
            let (wanted, met) = match row.verdict() {
                Some(Verdict { wanted, met, .. }) => (wanted, if met { "yes" } else { "**no**" }),
                None => ("–".into(), "–"),
            };
            // Writing to a string does not fail.
            let _ = writeln!(
                out,
                "| {} | {}{unit} | {} | {peers} | {ratios} | {wanted} | {met} |",
                row.scenario,
                row.what,
                spread(&row.node)
            );
        }
        out
    }

    /// For programs: every round's figure.
    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let peers: Vec<Value> = row
                    .peers
                    .iter()
                    .map(|(name, values)| {
                        json!({ "name": name, "rounds": values, "median": median(values), "ratio": ratio(&row.node, values), "ratios": ratios(&row.node, values) })
                    })
                    .collect();
                let verdict = row.verdict();
                json!({
                    "scenario": row.scenario,
                    "measure": row.what,
                    "unit": row.unit,
                    "node": { "rounds": row.node, "median": median(&row.node) },
                    "peers": peers,
                    "wanted": verdict.as_ref().map(|verdict| &verdict.wanted),
                    "decided by": verdict.as_ref().and_then(|verdict| verdict.by.as_ref()),
                    "met": verdict.as_ref().map(|verdict| verdict.met),
                })
            })
            .collect();
        json!({ "rows": rows, "notes": self.notes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_percentiles_and_figures() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0]) - 2.5).abs() < 1e-9);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!((percentile(&hundred, 0.99) - 99.0).abs() < 1e-9);
        assert!((percentile(&hundred, 0.0) - 1.0).abs() < 1e-9);
        assert_eq!(figure(1_234_567.0), "1,234,567");
        assert_eq!(figure(-1000.0), "-1,000");
        assert_eq!(figure(12.34), "12.3");
        assert_eq!(figure(0.5), "0.50");
    }

    #[test]
    fn the_ratio_is_taken_round_by_round() {
        let mut table = Table::default();
        table.push(
            "s",
            "m",
            "u",
            vec![2.0, 30.0, 4.0],
            Some(("p", vec![1.0, 10.0, 2.0])),
            Some(Wanted::RatioAtLeast(2.0)),
        );
        assert!((ratio(&table.rows[0].node, &[1.0, 10.0, 2.0]).unwrap() - 2.0).abs() < 1e-9);
        let text = table.markdown(0..1);
        assert!(text.contains("| 2 (2 to 3) | ≥ 2 × | yes |"), "{text}");
    }

    #[test]
    fn a_promise_is_broken_by_one_turn() {
        let mut table = Table::default();
        for wanted in [Wanted::AtMost(8.0), Wanted::EachAtMost(8.0)] {
            table.push("s", "connections", "", vec![8.0, 9.0, 8.0], None, Some(wanted));
        }
        let text = table.markdown(0..2);
        let ends: Vec<&str> = text.lines().skip(2).map(|line| line.rsplit('|').nth(1).unwrap().trim()).collect();
        assert_eq!(ends, ["yes", "**no**"]);
        assert!(text.contains("≤ 8 in each turn"));
    }

    #[test]
    fn another_measure_decides_where_it_is_told_to() {
        let mut table = Table::default();
        let by = |node: f64| Decided::By {
            what: "for each server CPU-second".into(),
            node: vec![node],
            peer: vec![10.0],
            bound: Wanted::RatioAtLeast(1.6),
        };
        for decided in [Decided::ByItself, by(5.0), by(17.0)] {
            table.push("s", "throughput", "", vec![3.0], Some(("p", vec![1.0])), Some(Wanted::RatioAtLeast(2.0)));
            table.decide(decided);
        }
        let text = table.markdown(0..3);
        let ends = [
            "| ≥ 2 ×; load not full: by itself | yes |",
            "| ≥ 2 ×; load full: ≥ 1.6 × for each server CPU-second | **no** |",
            "| ≥ 2 ×; load full: ≥ 1.6 × for each server CPU-second | yes |",
        ];
        for (line, end) in text.lines().skip(2).zip(ends) {
            assert!(line.ends_with(end), "{line}");
        }
        let json = table.json();
        assert_eq!(json["rows"][0]["decided by"], "throughput");
        assert_eq!(json["rows"][1]["decided by"], "for each server CPU-second");
        assert_eq!(json["rows"][1]["met"], false);
    }
}
