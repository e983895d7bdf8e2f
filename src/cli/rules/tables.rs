//! The lists of rules as CSV.

use crate::admin::view::rules::{At, Line, Ring, Rule};
use crate::cli::csv;
use crate::cli::rules::rings_of;

fn stop_told(rule: &Rule) -> String {
    match (rule.stop_percent, rule.stop_sample) {
        (Some(percent), Some(sample)) => format!("above {percent} % of {sample}"),
        _ => "-".to_owned(),
    }
}

pub(super) fn rules_table(rows: &[Rule]) -> String {
    let mut text = String::new();
    let head = [
        "rule",
        "enabled",
        "state",
        "due",
        "waiting",
        "stopped",
        "held",
        "done",
        "rings",
        "classifications",
        "products",
        "severity",
        "newest_days",
        "stop",
        "deadline_days",
        "by",
        "at",
    ];
    csv::row(&mut text, head);
    let number = |many: Option<u32>| many.map(|many| many.to_string()).unwrap_or_default();
    for row in rows {
        let ring = |ring: &Ring| format!("{}:{}", ring.group, ring.after_days);
        csv::row(
            &mut text,
            [
                row.name.clone(),
                row.enabled.to_string(),
                row.state.clone(),
                row.due.to_string(),
                row.waiting.to_string(),
                row.stopped.to_string(),
                row.held.to_string(),
                row.done.to_string(),
                row.rings.iter().map(ring).collect::<Vec<_>>().join("; "),
                row.classifications.join("; "),
                row.products.join("; "),
                row.severity.clone().unwrap_or_default(),
                number(row.newest_days),
                stop_told(row),
                number(row.deadline_days),
                row.by.clone(),
                row.at.to_string(),
            ],
        );
    }
    text
}

pub(super) fn updates_table(rows: &[At]) -> String {
    let mut text = String::new();
    let head = [
        "rule",
        "update",
        "kb",
        "title",
        "step",
        "group",
        "rings",
        "installed",
        "failed",
        "waits",
        "why",
        "unauthenticated",
    ];
    csv::row(&mut text, head);
    for row in rows {
        csv::row(
            &mut text,
            [
                row.rule.clone(),
                row.update.clone(),
                row.kbs.join(" "),
                row.title.clone(),
                row.step.clone(),
                row.group.clone(),
                rings_of(row),
                row.installed.to_string(),
                row.failed.to_string(),
                row.waits.join(" "),
                row.why.clone(),
                row.unauthenticated.to_string(),
            ],
        );
    }
    text
}

pub(super) fn lines_table(rows: &[Line]) -> String {
    let mut text = String::new();
    csv::row(&mut text, ["at", "rule", "event", "by", "text"]);
    for row in rows {
        csv::row(
            &mut text,
            [row.at.to_string(), row.rule.clone(), row.event.clone(), row.by.clone(), row.text.clone()],
        );
    }
    text
}
