//! `compliance summary|endpoints|updates|missing|show`: how updates stand on endpoints, as these reported.

mod policy;
mod show;

use std::fmt::Display;

use serde::de::DeserializeOwned;

use crate::admin::view::Time;
use crate::admin::view::compliance::{Endpoint, Endpoints, Newcomer, Summary, Update, Updates, Whole};
use crate::app::Loaded;
use crate::cli::csv;
use crate::cli::fail::Fail;
use crate::cli::node::{Node, segment};
use crate::cli::print::{Grid, Out, add};
use crate::cli::size;
use crate::cli::updates::{PAGE, SHORT, doubt, marked, said};
use crate::cli::verbs::compliance::{ComplianceVerb, Machines, Patches, Printed};

const NOBODY: &str = "no endpoint has reported yet: point WUServer and WUStatusServer of some at this node, see \
                      docs/COMPLIANCE.md\n";

pub(in crate::cli) fn run(loaded: &Loaded, verb: ComplianceVerb, out: Out) -> Result<(), Fail> {
    let csv = match &verb {
        ComplianceVerb::Endpoints(Machines { printed, .. })
        | ComplianceVerb::Updates(Patches { printed, .. })
        | ComplianceVerb::Missing(Patches { printed, .. }) => printed.csv,
        ComplianceVerb::Summary { csv, .. } | ComplianceVerb::Show { csv, .. } => *csv,
        ComplianceVerb::Policy(_) | ComplianceVerb::Nodes { .. } => false,
    };
    if csv && out.is_json() {
        return Err(Fail::usage("--csv and --json cannot both be printed", "leave one of them out"));
    }
    super::with(Node::any(loaded, false)?, async |node| match verb {
        ComplianceVerb::Summary { group, .. } => {
            let of = group.map(|group| format!("?group={}", segment(&group))).unwrap_or_default();
            let summary: Summary = node.get(&format!("/api/v1/compliance{of}")).await?;
            if csv { out.raw(summary_csv(&summary)) } else { out.both(&summary, people) }
        }
        ComplianceVerb::Endpoints(which) => {
            let query = machines(&which);
            let all: Endpoints = pages(node, "endpoints", &query, &which.printed).await?;
            if csv {
                out.raw(endpoints_csv(&all.rows))
            } else {
                out.both(&all, |all| endpoints(all, !query.is_empty()))
            }
        }
        ComplianceVerb::Updates(which) => updates(node, "updates", &which, out).await,
        ComplianceVerb::Missing(which) => updates(node, "missing", &which, out).await,
        ComplianceVerb::Show { endpoint, .. } => {
            let whole: Whole = node.get(&format!("/api/v1/compliance/endpoints/{}", segment(&endpoint))).await?;
            if csv { out.raw(show::states_csv(&whole)) } else { out.both(&whole, show::one) }
        }
        ComplianceVerb::Nodes { name, after, limit } => {
            crate::cli::subtree::compliance(node, name.as_deref(), after, limit, out).await
        }
        ComplianceVerb::Policy(verb) => policy::run(node, verb, out).await,
    })
}

/// The query string, page and limit left out.
fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
    let mut query = String::new();
    for (key, value) in pairs {
        if let Some(value) = value {
            add(&mut query, format_args!("&{key}={}", segment(&value)));
        }
    }
    query
}

fn machines(which: &Machines) -> String {
    let compliant = if which.compliant { Some("true") } else { which.not_compliant.then_some("false") };
    query([
        ("verdict", which.verdict.clone()),
        ("compliant", compliant.map(str::to_owned)),
        ("restart", which.restart.then(|| "true".to_owned())),
        ("update", which.update.clone()),
        ("state", which.state.clone()),
        ("group", which.group.clone()),
    ])
}

fn patches(which: &Patches) -> String {
    query([
        ("endpoint", which.endpoint.clone()),
        ("group", which.group.clone()),
        ("severity", which.severity.clone()),
        ("classification", which.classification.clone()),
        ("product", which.product.clone()),
        ("restart", which.restart.clone()),
        ("eula", which.eula.clone()),
        ("age", which.age.map(|days| days.to_string())),
    ])
}

/// What comes in pages.
trait Paged: DeserializeOwned + Default {
    fn many(&self) -> usize;
    fn next(&self) -> Option<String>;
    fn add(&mut self, page: Self);
}

macro_rules! paged {
    ($($page:ty),+) => {$(
        impl Paged for $page {
            fn many(&self) -> usize {
                self.rows.len()
            }
            fn next(&self) -> Option<String> {
                self.next.clone()
            }
            fn add(&mut self, page: Self) {
                self.rows.extend(page.rows);
                (self.total, self.next) = (page.total, page.next);
            }
        }
    )+};
}

paged!(Endpoints, Updates);

async fn pages<T: Paged>(node: &Node, what: &str, query: &str, printed: &Printed) -> Result<T, Fail> {
    let (mut all, mut after) = (T::default(), printed.after.clone());
    loop {
        let wanted = if printed.limit == 0 { PAGE } else { printed.limit.saturating_sub(all.many()).clamp(1, PAGE) };
        let behind = after.take().map(|after| format!("&after={}", segment(&after))).unwrap_or_default();
        all.add(node.get(&format!("/api/v1/compliance/{what}?limit={wanted}{query}{behind}")).await?);
        after = all.next();
        if after.is_none() || printed.limit > 0 && all.many() >= printed.limit {
            return Ok(all);
        }
    }
}

fn day(time: Option<Time>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| time.to_string().chars().take(10).collect())
}

fn whole(time: Option<Time>) -> String {
    time.map(|time| time.to_string()).unwrap_or_default()
}

fn people(summary: &Summary) -> String {
    if summary.endpoints == 0 {
        let nobody = if summary.group.is_some() { "no endpoint is in that group\n" } else { NOBODY };
        return format!("{nobody}{}", newcomer(summary));
    }
    let mut grid = Grid::new(&["", ">", ""]);
    let mut terms = policy::terms(&summary.policy);
    if summary.group_policies > 0 {
        terms.push_str("; groups with a policy of their own: `waystation compliance policy show`");
    }
    for (what, many, more) in [
        ("endpoints", summary.endpoints, String::new()),
        ("up to date", summary.up_to_date, String::new()),
        ("missing updates", summary.missing, "`waystation compliance missing` lists these".to_owned()),
        ("not scanned", summary.not_scanned, "they never told what a scan found".to_owned()),
        ("with a failed installation", summary.failed, String::new()),
        ("with a restart pending", summary.restart_pending, String::new()),
        ("compliant", summary.compliant, terms),
        (
            "not compliant",
            summary.not_compliant,
            "`waystation compliance endpoints --not-compliant` says why".to_owned(),
        ),
    ] {
        grid.row([what.to_owned(), size::count(many), more]);
    }
    let mut text = grid.text();
    let mut grid = Grid::new(&["severity", ">endpoints", ">updates", ">missing in all"]);
    for row in summary.by_severity.iter().filter(|row| row.missing > 0) {
        grid.row([
            row.severity.clone(),
            size::count(row.endpoints),
            size::count(row.updates),
            size::count(row.missing),
        ]);
    }
    if !grid.is_empty() {
        add(&mut text, format_args!("\n{}", grid.text()));
    }
    text.push_str("\nall of it is what endpoints say of themselves\n");
    text.push_str(&newcomer(summary));
    text
}

/// What to do where a first scan is near what an agent does at all.
pub(in crate::cli) const NEAR_LIMIT: &str = "that is near the limit, with prerequisites beside: narrow scan.detect_days, \
                                             scan.detect_products or scan.detect_classifications, or decline what nobody wants";

/// What a new machine has to evaluate.
pub(in crate::cli) fn evaluates(newcomer: &Newcomer) -> String {
    format!(
        "evaluates {} ({}), in {} of the {} that an agent makes, and one more for each level of prerequisites",
        size::counted(newcomer.updates, "update"),
        size::bytes(newcomer.bytes),
        size::counted(newcomer.rounds, "round"),
        newcomer.rounds_max
    )
}

/// The same as lines, and whether that is near what an agent does at all.
fn newcomer(summary: &Summary) -> String {
    let Some(newcomer) = &summary.newcomer else { return String::new() };
    let mut text = format!("a new machine {}\n", evaluates(newcomer));
    if newcomer.near_limit {
        add(&mut text, format_args!("{NEAR_LIMIT}\n"));
    }
    text
}

fn summary_csv(summary: &Summary) -> String {
    let mut text = String::new();
    csv::row(&mut text, ["what", "endpoints", "updates", "missing"]);
    for (what, many) in [
        ("endpoints", summary.endpoints),
        ("up-to-date", summary.up_to_date),
        ("missing", summary.missing),
        ("not-scanned", summary.not_scanned),
        ("failed", summary.failed),
        ("restart-pending", summary.restart_pending),
        ("compliant", summary.compliant),
        ("not-compliant", summary.not_compliant),
    ] {
        csv::row(&mut text, [what.to_owned(), many.to_string(), String::new(), String::new()]);
    }
    for row in &summary.by_severity {
        let counts = [row.endpoints, row.updates, row.missing].map(|many| many.to_string());
        csv::row(&mut text, [format!("severity-{}", row.severity)].into_iter().chain(counts));
    }
    text
}

/// How to get the rows that are not shown.
fn more(text: &mut String, shown: usize, total: u64, next: Option<&str>) {
    if let Some(next) = next {
        let (shown, total) = (size::count(shown as u64), size::count(total));
        add(text, format_args!("{shown} of {total}; the next ones with --after '{next}', all with --limit 0\n"));
    }
}

fn endpoints(all: &Endpoints, is_sifted: bool) -> String {
    if all.rows.is_empty() {
        return if is_sifted { "no endpoint fits\n".to_owned() } else { NOBODY.to_owned() };
    }
    let heads = [
        "endpoint",
        "verdict",
        "compliant",
        ">missing",
        ">critical",
        ">important",
        ">failed",
        "scanned",
        "restart",
        "why",
    ];
    let mut grid = Grid::new(&heads);
    for row in &all.rows {
        grid.row([
            row.name.clone().unwrap_or_else(|| row.id.clone()),
            row.verdict.clone(),
            if row.compliant { "yes" } else { "no" }.to_owned(),
            row.missing.to_string(),
            row.critical.to_string(),
            row.important.to_string(),
            row.failed.to_string(),
            day(row.scanned),
            if row.restart_since.is_some() { day(row.restart_since) } else { "-".to_owned() },
            row.reasons.join("; "),
        ]);
    }
    let mut text = grid.text();
    more(&mut text, all.rows.len(), all.total, all.next.as_deref());
    text
}

fn endpoints_csv(rows: &[Endpoint]) -> String {
    let mut text = String::new();
    let heads = [
        "id",
        "name",
        "verdict",
        "compliant",
        "reasons",
        "scanned",
        "scan_failed",
        "scan_error",
        "restart_since",
        "missing",
        "critical",
        "important",
        "moderate",
        "low",
        "unspecified",
        "failed",
        "policies",
    ];
    csv::row(&mut text, heads);
    for row in rows {
        let cells: [&dyn Display; 7] =
            [&row.missing, &row.critical, &row.important, &row.moderate, &row.low, &row.unspecified, &row.failed];
        let begin = [
            row.id.clone(),
            row.name.clone().unwrap_or_default(),
            row.verdict.clone(),
            row.compliant.to_string(),
            row.reasons.join("; "),
            whole(row.scanned),
            whole(row.scan_failed),
            row.scan_error.clone().unwrap_or_default(),
            whole(row.restart_since),
        ];
        let cells = cells.iter().map(ToString::to_string).chain([row.policies.join("; ")]);
        csv::row(&mut text, begin.into_iter().chain(cells));
    }
    text
}

async fn updates(node: &Node, what: &str, which: &Patches, out: Out) -> Result<(), Fail> {
    let query = patches(which);
    let all: Updates = pages(node, what, &query, &which.printed).await?;
    if which.printed.csv {
        return out.raw(updates_csv(&all.rows));
    }
    out.both(&all, |all| patched(all, what == "missing", !query.is_empty()))
}

fn patched(all: &Updates, missing: bool, is_sifted: bool) -> String {
    if all.rows.is_empty() {
        return match (is_sifted, missing) {
            (true, _) => "no update fits\n".to_owned(),
            (false, true) => "nothing is missing, as far as endpoints have reported\n".to_owned(),
            (false, false) => NOBODY.to_owned(),
        };
    }
    let heads = if missing {
        vec![
            "update",
            "kb",
            "severity",
            "classification",
            "made",
            "restart",
            "eula",
            ">endpoints",
            ">failed",
            "since",
            "title",
        ]
    } else {
        vec![
            "update",
            "kb",
            "severity",
            ">needed",
            ">downloaded",
            ">failed",
            ">installed",
            ">restart",
            ">no use",
            ">unknown",
            "title",
        ]
    };
    let mut grid = Grid::new(&heads);
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    for row in &all.rows {
        let begin = [
            row.id.chars().take(SHORT).collect(),
            if row.kbs.is_empty() { "-".to_owned() } else { row.kbs.join(" ") },
            said(&row.severity),
        ];
        let rest = if missing {
            vec![
                or_dash(&row.classification),
                day(row.created),
                or_dash(&row.restart),
                row.eula.clone(),
                row.missing.to_string(),
                row.failed.to_string(),
                day(row.missing_since),
            ]
        } else {
            [
                row.not_installed,
                row.downloaded,
                row.failed,
                row.installed,
                row.pending_restart,
                row.not_applicable,
                row.unknown,
            ]
            .map(|many| many.to_string())
            .to_vec()
        };
        let title = row.title.clone().unwrap_or_else(|| format!("{} (in the catalog no more)", row.id));
        grid.row(begin.into_iter().chain(rest).chain([marked(title, row.unauthenticated)]));
    }
    let mut text = grid.text();
    doubt(&mut text, all.rows.iter().any(|row| row.unauthenticated));
    more(&mut text, all.rows.len(), all.total, all.next.as_deref());
    text
}

fn updates_csv(rows: &[Update]) -> String {
    let mut text = String::new();
    let heads = [
        "id",
        "kb",
        "title",
        "severity",
        "classification",
        "products",
        "created",
        "age_days",
        "restart",
        "eula",
        "counts",
        "missing",
        "missing_since",
        "not_installed",
        "downloaded",
        "failed",
        "installed",
        "pending_restart",
        "not_applicable",
        "unknown",
        "unauthenticated",
    ];
    csv::row(&mut text, heads);
    for row in rows {
        let begin = [
            row.id.clone(),
            row.kbs.join(" "),
            row.title.clone().unwrap_or_default(),
            row.severity.clone(),
            row.classification.clone().unwrap_or_default(),
            row.products.join("; "),
            whole(row.created),
            row.age_days.map(|days| days.to_string()).unwrap_or_default(),
            row.restart.clone().unwrap_or_default(),
            row.eula.clone(),
            row.counts.to_string(),
            row.missing.to_string(),
            whole(row.missing_since),
        ];
        let counts = [
            row.not_installed,
            row.downloaded,
            row.failed,
            row.installed,
            row.pending_restart,
            row.not_applicable,
            row.unknown,
        ];
        let end = row.unauthenticated.to_string();
        csv::row(&mut text, begin.into_iter().chain(counts.map(|many| many.to_string())).chain([end]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_become_a_query_and_empty_answers_say_what_to_do() {
        let printed = Printed { after: None, limit: 50, csv: false };
        let which = Machines {
            verdict: None,
            compliant: false,
            not_compliant: true,
            restart: true,
            update: Some("KB 1".into()),
            state: None,
            group: Some("Contoso/Berlin".into()),
            printed,
        };
        assert_eq!(machines(&which), "&compliant=false&restart=true&update=KB%201&group=Contoso%2FBerlin");
        assert!(endpoints(&Endpoints::default(), false).contains("WUStatusServer"));
        assert_eq!(endpoints(&Endpoints::default(), true), "no endpoint fits\n");
        assert!(patched(&Updates::default(), true, false).contains("nothing is missing"));
    }

    #[test]
    fn a_name_is_no_formula_in_csv() {
        let row: Endpoint = serde_json::from_value(serde_json::json!({
            "id": "i", "name": "=1+1", "verdict": "missing", "compliant": false, "reasons": ["a", "b"], "scanned": null,
            "scan_failed": null, "scan_error": null, "restart_since": null, "missing": 3, "critical": 2, "important": 1,
            "moderate": 0, "low": 0, "unspecified": 0, "failed": 1
        }))
        .unwrap();
        let text = endpoints_csv(&[row]);
        assert_eq!(text.lines().nth(1), Some("i,\"'=1+1\",missing,false,\"a; b\",,,,,3,2,1,0,0,0,1,"));
    }
}
