//! `compliance policy show|set|unset`: what the endpoints of a group must keep to.

use crate::admin::view::compliance::{GroupPolicies, GroupPolicy, Policy, PolicyRequest};
use crate::cli::fail::Fail;
use crate::cli::node::{Node, segment};
use crate::cli::print::{Grid, Out, add, printable};
use crate::cli::verbs::compliance::{Parts, PolicyVerb, Terms};

const POLICIES: &str = "/api/v1/compliance/policies";

pub(super) async fn run(node: &Node, verb: PolicyVerb, out: Out) -> Result<(), Fail> {
    let at = |group: &str| format!("{POLICIES}/{}", segment(group));
    let policy: GroupPolicy = match verb {
        PolicyVerb::Show { group: None } => {
            let all: GroupPolicies = node.get(POLICIES).await?;
            return out.both(&all, table);
        }
        PolicyVerb::Show { group: Some(group) } => node.get(&at(&group)).await?,
        PolicyVerb::Set { group, terms } => {
            let Terms { severity, missing_days, scan_days, restart_days } = terms;
            let asked = PolicyRequest { severity, missing_days, scan_days, restart_days, clear: vec![] };
            node.post(&at(&group), &asked).await?
        }
        PolicyVerb::Unset { group, parts } => match cleared(parts) {
            clear if clear.is_empty() => node.delete(&at(&group)).await?,
            clear => node.post(&at(&group), &PolicyRequest { clear, ..PolicyRequest::default() }).await?,
        },
    };
    out.both(&policy, one)
}

fn cleared(parts: Parts) -> Vec<String> {
    let all = [
        ("severity", parts.severity),
        ("missing_days", parts.missing_days),
        ("scan_days", parts.scan_days),
        ("restart_days", parts.restart_days),
    ];
    all.into_iter().filter(|(_, named)| *named).map(|(field, _)| field.to_owned()).collect()
}

fn level(severity: &str) -> String {
    if severity == "any" { "any update".to_owned() } else { format!("{severity} or worse") }
}

/// A policy in one line.
pub(super) fn terms(policy: &Policy) -> String {
    format!(
        "nothing missing for more than {} days ({}), a scan within {} days, no restart pending for more than {}",
        policy.missing_days,
        level(&policy.severity),
        policy.scan_days,
        policy.restart_days
    )
}

/// What holds, with a star where the group itself says it.
fn table(all: &GroupPolicies) -> String {
    let mut grid = Grid::new(&["group", "severity", ">missing days", ">scan days", ">restart days", "by"]);
    let starred = |text: String, own: bool| if own { format!("{text} *") } else { text };
    for row in &all.rows {
        let (policy, own) = (&row.policy, &row.own);
        grid.row([
            printable(&row.group),
            starred(policy.severity.clone(), own.severity.is_some()),
            starred(policy.missing_days.to_string(), own.missing_days.is_some()),
            starred(policy.scan_days.to_string(), own.scan_days.is_some()),
            starred(policy.restart_days.to_string(), own.restart_days.is_some()),
            row.by.as_deref().map_or_else(|| "-".to_owned(), printable),
        ]);
    }
    let mut text = grid.text();
    text.push_str("* said by the group itself; the rest comes from above\n");
    text
}

fn one(policy: &GroupPolicy) -> String {
    let mut text = format!("{}\n", printable(&policy.group));
    let by = |group: &str| if group == "all" { "[compliance]".to_owned() } else { printable(group) };
    let holds = &policy.policy;
    let missing = format!("nothing missing for more than {} days ({})", holds.missing_days, level(&holds.severity));
    let mut grid = Grid::new(&["", "said by"]);
    grid.row([missing, by(&policy.missing_by)]);
    grid.row([format!("a scan within {} days", holds.scan_days), by(&policy.scan_by)]);
    grid.row([format!("no restart pending for more than {} days", holds.restart_days), by(&policy.restart_by)]);
    add(&mut text, format_args!("{}", grid.text()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::compliance::OwnPolicy;

    #[test]
    fn what_a_group_says_itself_is_told_apart_from_what_comes_from_above() {
        let policy = Policy { severity: "any".into(), missing_days: 30, scan_days: 3, restart_days: 7 };
        let row = GroupPolicy {
            id: "i".into(),
            group: "Contoso/Berlin".into(),
            policy,
            own: OwnPolicy { scan_days: Some(3), ..OwnPolicy::default() },
            missing_by: "all".into(),
            scan_by: "Contoso/Berlin".into(),
            restart_by: "Contoso".into(),
            by: Some("ann".into()),
            at: None,
        };
        let told = one(&row);
        assert!(told.contains("more than 30 days (any update)  [compliance]"), "{told}");
        assert!(told.contains("a scan within 3 days") && told.contains("more than 7 days"), "{told}");
        let told = table(&GroupPolicies { rows: vec![row] });
        assert!(told.contains("3 *") && !told.contains("30 *"), "{told}");
        let parts = Parts { severity: false, missing_days: true, scan_days: false, restart_days: true };
        assert_eq!(cleared(parts), ["missing_days", "restart_days"]);
    }
}
