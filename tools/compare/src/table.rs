//! What was measured, round by round, and how it is shown: medians, spread, ratios, as a Markdown table and as JSON.

use std::fmt::Write as _;

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

impl Row {
    /// The median of the rounds' ratios, node over `peer`: drift between rounds falls out of it.
    fn ratio(&self, peer: &[f64]) -> Option<f64> {
        let ratios: Vec<f64> =
            self.node.iter().zip(peer).filter(|(_, peer)| **peer != 0.0).map(|(node, peer)| node / peer).collect();
        (!ratios.is_empty()).then(|| median(&ratios))
    }

    /// What is wanted, in words, and whether it was reached.
    fn verdict(&self) -> Option<(String, bool)> {
        let ratio = self.peers.first().and_then(|(_, peer)| self.ratio(peer));
        let node = median(&self.node);
        if self.node.is_empty() {
            return None;
        }
        Some(match self.wanted? {
            Wanted::RatioAtLeast(bound) => (format!("≥ {bound} ×"), ratio? >= bound),
            Wanted::RatioAtMost(bound) => (format!("≤ {bound} ×"), ratio? <= bound),
            Wanted::AtLeast(bound) => (format!("≥ {}", figure(bound)), node >= bound),
            Wanted::AtMost(bound) => (format!("≤ {}", figure(bound)), node <= bound),
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
        self.rows.push(Row { scenario: scenario.into(), what: what.into(), unit, node, peers, wanted });
    }

    /// Something that must be said beside the figures.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        println!("note: {text}");
        self.notes.push(text);
    }

    /// As Markdown. Ratios are the node's figure over the peer's.
    pub(crate) fn markdown(&self, from: usize) -> String {
        let mut out = String::from(
            "| scenario | measure | node | beside it | ratio | wanted | met |\n|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows[from..] {
            let join = |cells: Vec<String>| if cells.is_empty() { "–".into() } else { cells.join("; ") };
            let peers = join(row.peers.iter().map(|(name, values)| format!("{name} {}", spread(values))).collect());
            let ratio = |(_, values): &(String, Vec<f64>)| row.ratio(values).map_or("–".into(), figure);
            let ratios = join(row.peers.iter().map(ratio).collect());
            let unit = if row.unit.is_empty() { String::new() } else { format!(", {}", row.unit) };
            let (wanted, met) = match row.verdict() {
                Some((wanted, met)) => (wanted, if met { "yes" } else { "**no**" }),
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
                        json!({ "name": name, "rounds": values, "median": median(values), "ratio": row.ratio(values) })
                    })
                    .collect();
                let verdict = row.verdict();
                json!({
                    "scenario": row.scenario,
                    "measure": row.what,
                    "unit": row.unit,
                    "node": { "rounds": row.node, "median": median(&row.node) },
                    "peers": peers,
                    "wanted": verdict.as_ref().map(|(wanted, _)| wanted),
                    "met": verdict.map(|(_, met)| met),
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
        assert!((table.rows[0].ratio(&[1.0, 10.0, 2.0]).unwrap() - 2.0).abs() < 1e-9);
        assert!(table.markdown(0).contains("| 2 | ≥ 2 × | yes |"));
    }
}
