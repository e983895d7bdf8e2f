//! `compliance show`: one endpoint with all that it told, and what this node saw of it.

use crate::admin::view::compliance::{Stands, Whole};
use crate::cli::compliance::{day, whole as moment};
use crate::cli::csv;
use crate::cli::print::{Grid, add};
use crate::cli::size;
use crate::cli::updates::{SHORT, doubt, marked, said};

/// What the words of evidence mean.
const LEGEND: &str = "\
evidence: corroborated, this node sent files of the update to its address while nobody else was there;
from its address, others were there too; self-reported, its word alone: it may have had the files before,
or from elsewhere. None of it proves that anything was installed
";

pub(super) fn one(whole: &Whole) -> String {
    let short = &whole.short;
    let mut text = String::new();
    let name = short.name.as_deref().unwrap_or("not registered here");
    add(&mut text, format_args!("{name} ({})\n", short.id));
    let compliant = if short.compliant { "compliant" } else { "not compliant" };
    add(&mut text, format_args!("{}, {compliant}, by what it says of itself\n", short.verdict));
    for reason in &short.reasons {
        add(&mut text, format_args!("  {reason}\n"));
    }
    if short.policies.iter().any(|group| group != "all") {
        add(&mut text, format_args!("held against the policies of {}\n", short.policies.join(", ")));
    }
    add(&mut text, format_args!("last scan: {}\n", short.scanned.map_or("never".to_owned(), |at| at.to_string())));
    if let (Some(at), Some(error)) = (short.scan_failed, &short.scan_error) {
        add(&mut text, format_args!("a scan failed: {at} with {error}\n"));
    }
    if let Some(since) = short.restart_since {
        add(&mut text, format_args!("a restart is pending since {since}\n"));
    }
    let mut grid = Grid::new(&[
        "update",
        "kb",
        "severity",
        "state",
        "since",
        "missing since",
        "eula",
        "error",
        "evidence",
        "title",
    ]);
    for row in &whole.states {
        grid.row([
            row.update.chars().take(SHORT).collect(),
            if row.kbs.is_empty() { "-".to_owned() } else { row.kbs.join(" ") },
            said(&row.severity),
            row.state.clone(),
            day(Some(row.changed)),
            day(row.missing_since),
            row.eula.clone(),
            row.error.clone().unwrap_or_else(|| "-".to_owned()),
            evidence(row),
            marked(row.title.clone().unwrap_or_else(|| row.update.clone()), row.unauthenticated),
        ]);
    }
    if !grid.is_empty() {
        add(&mut text, format_args!("\n{}", grid.text()));
    }
    if whole.states.iter().any(|row| row.evidence.is_some()) {
        text.push_str(LEGEND);
    }
    let mut grid = Grid::new(&["when", "update", "from", "to", "error", "title"]);
    for row in &whole.history {
        grid.row([
            row.at.to_string(),
            row.update.chars().take(SHORT).collect(),
            row.from.clone(),
            row.to.clone(),
            row.error.clone().unwrap_or_else(|| "-".to_owned()),
            marked(row.title.clone().unwrap_or_else(|| row.update.clone()), row.unauthenticated),
        ]);
    }
    if !grid.is_empty() {
        add(&mut text, format_args!("\n{}", grid.text()));
    }
    doubt(
        &mut text,
        whole.states.iter().any(|row| row.unauthenticated) || whole.history.iter().any(|row| row.unauthenticated),
    );
    text
}

/// What stands behind what it says of an update, with how much of it was sent and when.
fn evidence(row: &Stands) -> String {
    let Some(word) = &row.evidence else { return "-".to_owned() };
    let word = match word.as_str() {
        "self-reported" => "self-reported only".to_owned(),
        word => word.replace("from-its-address", "from its address"),
    };
    match row.sent_bytes {
        0 => word,
        bytes => format!("{word}: {} by {}", size::bytes(bytes), day(row.sent_last)),
    }
}

/// All updates that it told of.
pub(super) fn states_csv(whole: &Whole) -> String {
    let mut text = String::new();
    let heads = [
        "endpoint",
        "name",
        "update",
        "kb",
        "title",
        "severity",
        "state",
        "changed",
        "missing_since",
        "error",
        "eula",
        "evidence",
        "sent_files",
        "sent_bytes",
        "sent_first",
        "sent_last",
        "unauthenticated",
    ];
    csv::row(&mut text, heads);
    for row in &whole.states {
        let cells = [
            whole.short.id.clone(),
            whole.short.name.clone().unwrap_or_default(),
            row.update.clone(),
            row.kbs.join(" "),
            row.title.clone().unwrap_or_default(),
            row.severity.clone(),
            row.state.clone(),
            moment(Some(row.changed)),
            moment(row.missing_since),
            row.error.clone().unwrap_or_default(),
            row.eula.clone(),
            row.evidence.clone().unwrap_or_default(),
            row.sent_files.to_string(),
            row.sent_bytes.to_string(),
            moment(row.sent_first),
            moment(row.sent_last),
            row.unauthenticated.to_string(),
        ];
        csv::row(&mut text, cells);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_a_state_is_told_with_its_size_and_day() {
        let of = |update: &str, state: &str, evidence: Option<&str>, bytes: u64| {
            let at = (bytes > 0).then_some("2026-11-20T10:00:00Z");
            serde_json::json!({
                "update": update, "title": "T", "kbs": ["1"], "severity": "critical", "state": state,
                "changed": "2026-11-21T10:00:00Z", "missing_since": null, "error": null, "eula": "none",
                "evidence": evidence, "unauthenticated": true, "sent_files": u64::from(bytes > 0), "sent_bytes": bytes, "sent_first": at, "sent_last": at,
            })
        };
        let whole: Whole = serde_json::from_value(serde_json::json!({
            "id": "i", "name": "=1", "verdict": "missing", "compliant": true, "reasons": [], "scanned": null,
            "scan_failed": null, "scan_error": null, "restart_since": null, "missing": 1, "critical": 1, "important": 0,
            "moderate": 0, "low": 0, "unspecified": 0, "failed": 0, "self_reported": true, "history": [],
            "states": [
                of("a", "installed", Some("corroborated"), 3 << 20), of("b", "downloaded", Some("from-its-address"), 1 << 20),
                of("c", "installed", Some("self-reported"), 0), of("d", "not-installed", None, 0),
            ],
        }))
        .unwrap();
        let told = one(&whole);
        for part in
            ["corroborated: 3.00 MiB by 2026-11-20", "from its address: 1.00 MiB by 2026-11-20", "self-reported only  "]
        {
            assert!(told.contains(part), "{told}");
        }
        assert!(told.contains(LEGEND) && told.contains("T *\n") && told.contains("\n* unauthenticated"), "{told}");
        let lines: Vec<String> = states_csv(&whole).lines().map(str::to_owned).collect();
        let (first, last) = (&lines[1], &lines[4]);
        assert!(
            first.starts_with("i,\"'=1\",a,1,T,critical,installed,") && first.contains(",corroborated,1,3145728,"),
            "{first}"
        );
        assert!(last.ends_with(",none,,0,0,,,true"), "{last}");
    }
}
