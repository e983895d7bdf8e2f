//! What comes since endpoints miss it: in `prefetch status`, and `prefetch confirm`.

use crate::admin::view::policy::{ConfirmDetected, Detected, DetectedSum, DetectedUpdate};
use crate::cli::fail::Fail;
use crate::cli::node::Node;
use crate::cli::print::{Grid, Out, add as write, printable};
use crate::cli::size;
use crate::cli::updates::{doubt, marked};

/// Updates that are shown to people; the JSON has all.
const SHOWN_MAX: usize = 20;

const WAITS: &str = "waits-for-confirmation";

fn sum(sum: DetectedSum) -> String {
    format!("{}, {}", size::counted(sum.updates, "update"), size::bytes(sum.bytes))
}

/// In one line.
pub(super) fn line(of: &Detected) -> String {
    let mut text = format!(
        "missing on endpoints ({} and worse): let in {}, with {} of {} of the day",
        of.severity,
        size::counted(of.comes.updates, "update"),
        size::bytes(of.spent),
        size::bytes(of.daily)
    );
    if of.waits_for_budget.updates > 0 {
        write(&mut text, format_args!("; {} wait for another day", sum(of.waits_for_budget)));
    }
    if of.waits_for_confirmation.updates > 0 {
        let what = sum(of.waits_for_confirmation);
        write(&mut text, format_args!("; {what} wait for `waystation prefetch confirm`"));
    }
    text
}

fn grid(updates: &[DetectedUpdate]) -> String {
    let mut grid = Grid::new(&["missing on endpoints", "severity", ">endpoints", ">to fetch", "state", "title"]);
    for update in updates.iter().take(SHOWN_MAX) {
        let by = update.confirmed_by.as_ref().map(|by| format!(", confirmed by {by}")).unwrap_or_default();
        grid.row([
            update.id.clone(),
            update.severity.clone(),
            size::count(update.endpoints),
            size::bytes(update.bytes),
            printable(&format!("{}{by}", update.state)),
            marked(printable(&update.title), update.unauthenticated),
        ]);
    }
    let mut text = grid.text();
    doubt(&mut text, updates.iter().take(SHOWN_MAX).any(|update| update.unauthenticated));
    if updates.len() > SHOWN_MAX {
        write(&mut text, format_args!("and {} more, of which --json tells\n", updates.len() - SHOWN_MAX));
    }
    text
}

/// As a table, where there are any.
pub(super) fn add(text: &mut String, of: Option<&Detected>) {
    if let Some(of) = of.filter(|of| !of.updates.is_empty()) {
        write(text, format_args!("\n{}", grid(&of.updates)));
    }
}

/// Shows what of these waits, and agrees to it.
pub(super) async fn confirm(node: &Node, name: &str, out: Out) -> Result<(), Fail> {
    let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("update", name).finish();
    let found: Detected = node.get(&format!("/api/v1/prefetch/detected?{query}")).await?;
    let waiting: Vec<DetectedUpdate> = found.updates.into_iter().filter(|update| update.state == WAITS).collect();
    if waiting.is_empty() {
        let title = format!("nothing of {name} waits to be confirmed");
        return Err(Fail::new(title, "`waystation prefetch status` tells what does"));
    }
    let mut agreed = Vec::with_capacity(waiting.len());
    for update in waiting {
        let seen = ConfirmDetected { update: update.id, bytes: update.bytes };
        let one: DetectedUpdate = node.post("/api/v1/prefetch/confirm", &seen).await?;
        agreed.push(one);
    }
    out.both(&agreed, |agreed| format!("{}on its way: `waystation prefetch status`", grid(agreed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_told_with_what_to_do() {
        let none = DetectedSum::default();
        let two = DetectedSum { updates: 2, bytes: 3 << 30 };
        let of = |waits_for_budget, waits_for_confirmation| Detected {
            severity: "critical".to_owned(),
            daily: 2 << 30,
            spent: 1 << 30,
            comes: DetectedSum { updates: 1, bytes: 0 },
            waits_for_budget,
            waits_for_confirmation,
            ..Detected::default()
        };
        let told = line(&of(none, none));
        assert_eq!(
            told,
            "missing on endpoints (critical and worse): let in 1 update, with 1.00 GiB of 2.00 GiB of the day"
        );
        let told = line(&of(two, two));
        assert!(told.contains("; 2 updates, 3.00 GiB wait for another day; 2 updates, 3.00 GiB wait for `"), "{told}");
        let update = DetectedUpdate { id: "x".to_owned(), state: WAITS.to_owned(), ..DetectedUpdate::default() };
        let mut text = String::new();
        add(&mut text, Some(&Detected { updates: vec![update; 21], ..of(none, two) }));
        assert!(text.contains(WAITS) && text.ends_with("and 1 more, of which --json tells\n"), "{text}");
    }
}
