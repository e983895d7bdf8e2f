//! `updates list|search|show`: what the catalog knows; one update is told by `shown`, `approve|decline|reset` are in `decide`.

use crate::admin::view::policy::Plan;
use crate::admin::view::updates::{Catalog, Update, Updates, Whole};
use crate::app::Loaded;
use crate::cli::csv;
use crate::cli::decide;
use crate::cli::fail::Fail;
use crate::cli::node::{Node, segment};
use crate::cli::print::{Grid, Out, add};
use crate::cli::verbs::catalog::{Sieve, UpdatesVerb};
use crate::cli::{refused, shown, size};

/// Rows that are asked for at a time: the most that a page has.
pub(in crate::cli) const PAGE: usize = 500;

/// Digits of an id that lists show.
pub(in crate::cli) const SHORT: usize = 8;

/// What to do about an empty catalog.
const EMPTY: &str = "the catalog is empty: begin with `waystation sync start`\n";

const UNAUTHENTICATED: &str = "* unauthenticated: it came over plain HTTP, so that nothing proves who said it, and its digests prove no payload\n";

/// A title with the star of what is unauthenticated.
pub(in crate::cli) fn marked(title: String, unauthenticated: bool) -> String {
    if unauthenticated { title + " *" } else { title }
}

/// What the star means, below a table that has one.
pub(in crate::cli) fn doubt(text: &mut String, has_star: bool) {
    if has_star {
        text.push_str(UNAUTHENTICATED);
    }
}

pub(in crate::cli) fn run(loaded: &Loaded, verb: UpdatesVerb, out: Out) -> Result<(), Fail> {
    let is_both = |sieve: &Sieve| sieve.csv && out.is_json();
    if let UpdatesVerb::List(sieve) | UpdatesVerb::Search { sieve, .. } = &verb
        && is_both(sieve)
    {
        return Err(Fail::usage("--csv and --json cannot both be printed", "leave one of them out"));
    }
    if let UpdatesVerb::Search { words, .. } = &verb
        && words.iter().all(|word| word.trim().is_empty())
    {
        return Err(Fail::usage("there is nothing to search for", "give a word, or use `waystation updates list`"));
    }
    super::with(Node::any(loaded, false)?, async |node| match verb {
        UpdatesVerb::List(sieve) if refused::is_meant(&sieve) => refused::list(node, &sieve, out).await,
        UpdatesVerb::List(sieve) => list(node, "", &sieve, out).await,
        UpdatesVerb::Search { words, sieve } => list(node, &words.join(" "), &sieve, out).await,
        UpdatesVerb::Show { update } => {
            let whole: Whole = node.get(&format!("/api/v1/updates/{}", segment(&update))).await?;
            out.both(&whole, shown::one)
        }
        UpdatesVerb::Approve { what, all_files } => decide::run(node, "approve", what, all_files, out).await,
        UpdatesVerb::Decline(what) => decide::run(node, "decline", what, false, out).await,
        UpdatesVerb::Reset(what) => decide::run(node, "reset", what, false, out).await,
    })
}

/// The query string, page and limit left out.
pub(in crate::cli) fn query(words: &str, sieve: &Sieve) -> String {
    let mut query = String::new();
    let states = (!sieve.state.is_empty()).then(|| sieve.state.join(","));
    let decisions = (!sieve.decision.is_empty()).then(|| sieve.decision.join(","));
    let kinds = (!sieve.kind.is_empty()).then(|| sieve.kind.join(","));
    for (key, value) in [
        ("text", (!words.is_empty()).then_some(words)),
        ("kb", sieve.kb.as_deref()),
        ("severity", sieve.severity.as_deref()),
        ("classification", sieve.classification.as_deref()),
        ("product", sieve.product.as_deref()),
        ("state", states.as_deref()),
        ("decision", decisions.as_deref()),
        ("kind", kinds.as_deref()),
        ("from", sieve.from.as_deref()),
        ("until", sieve.until.as_deref()),
        ("hidden", sieve.hidden.then_some("true")),
        ("beyond", sieve.beyond.then_some("true")),
        ("left_to_endpoints", sieve.left_to_endpoints.then_some("true")),
    ] {
        if let Some(value) = value {
            add(&mut query, format_args!("&{key}={}", segment(value)));
        }
    }
    query
}

async fn list(node: &Node, words: &str, sieve: &Sieve, out: Out) -> Result<(), Fail> {
    let (query, limit) = (query(words, sieve), sieve.limit);
    let mut after = sieve.after.clone();
    let mut all: Option<Updates> = None;
    loop {
        let have = all.as_ref().map_or(0, |all| all.rows.len());
        let wanted = if limit == 0 { PAGE } else { limit.saturating_sub(have).clamp(1, PAGE) };
        let behind = after.take().map(|after| format!("&after={}", segment(&after))).unwrap_or_default();
        let page: Updates = node.get(&format!("/api/v1/updates?limit={wanted}{query}{behind}")).await?;
        after.clone_from(&page.next);
        let all = match &mut all {
            Some(all) => {
                all.rows.extend(page.rows);
                all.next = page.next;
                all
            }
            None => all.insert(page),
        };
        if after.is_none() || (limit > 0 && all.rows.len() >= limit) {
            break;
        }
    }
    let Some(all) = all else { return Ok(()) };
    if sieve.csv {
        if all.catalog.updates == 0 {
            out.warn(EMPTY.trim_end());
        }
        return out.raw(table(&all.rows));
    }
    let nothing_left = sieve.left_to_endpoints && all.rows.is_empty() && all.catalog.updates > 0 && !out.is_json();
    if nothing_left {
        let plan: Plan = node.get("/api/v1/plan").await?;
        return out.line(none_left(&plan));
    }
    out.both(&all, |all| people(all, !query.is_empty()))
}

/// What is said where the policy leaves nothing to endpoints.
fn none_left(plan: &Plan) -> String {
    let policy = &plan.policy;
    let level = if policy.mode == "severity" { format!(" {}", policy.severity) } else { String::new() };
    let rules = if policy.rules.is_empty() { "" } else { " and its rules" };
    let wanted = match plan.updates {
        0 => "it wants files of no update".to_owned(),
        many => format!("none of the {} that it wants has express, PSF or UUP files", size::counted(many, "update")),
    };
    format!(
        "with the policy {}{level}{rules} nothing is left to endpoints: {wanted}; `waystation plan --policy all` counts what another \
         policy would leave",
        policy.mode
    )
}

fn people(all: &Updates, is_sifted: bool) -> String {
    if all.catalog.updates == 0 {
        return match &all.catalog.arriving {
            Some(from) => {
                format!(
                    "the catalog is empty: no run from {from} has brought any of it yet; `waystation sync status` shows whether one is \
                     under way, and `waystation sync start` begins one\n"
                )
            }
            None => EMPTY.to_owned(),
        };
    }
    if all.rows.is_empty() {
        let hidden = "what cannot be approved by itself is shown with --hidden";
        if let Some(from) = all.catalog.arriving.as_ref().filter(|_| !is_sifted) {
            return format!(
                "no updates have come yet: the first run from {from} is under way or was cut off; `waystation sync status` tells, and \
                 `waystation sync start` goes on where it was\n"
            );
        }
        return if is_sifted {
            let all = size::counted(all.catalog.updates, "update");
            format!("nothing fits among {all}, parts of them, categories and detectoids; {hidden}\n")
        } else {
            format!("there is nothing that can be approved by itself; {hidden}\n")
        };
    }
    let mut grid = Grid::new(&["update", "kb", "made", "severity", "classification", "state", "decision", "title"]);
    for row in &all.rows {
        grid.row([
            row.id.chars().take(SHORT).collect(),
            if row.kbs.is_empty() { "-".to_owned() } else { row.kbs.join(" ") },
            made(row).unwrap_or_else(|| "-".to_owned()),
            said(&row.severity),
            row.classification.clone().unwrap_or_else(|| "-".to_owned()),
            if row.unauthenticated { format!("{} *", row.state) } else { row.state.clone() },
            row.decision.clone().unwrap_or_else(|| "-".to_owned()),
            if row.title.is_empty() { row.id.clone() } else { row.title.clone() },
        ]);
    }
    let mut text = grid.text();
    doubt(&mut text, all.rows.iter().any(|row| row.unauthenticated));
    if let Some(next) = &all.next {
        let (shown, total) = (size::count(all.rows.len() as u64), size::count(all.total));
        add(&mut text, format_args!("{shown} of {total}; the next ones with --after {next}, all with --limit 0\n"));
    }
    changing(&mut text, &all.catalog);
    text
}

/// Tells that what is shown is not all: the first run is on its way, or the upstream has been changed and this is of the one before.
fn changing(text: &mut String, catalog: &Catalog) {
    match (&catalog.arriving, &catalog.upstream) {
        (Some(arriving), Some(upstream)) => {
            add(
                text,
                format_args!("this is the catalog of {upstream}; that of {arriving} has not arrived whole yet\n"),
            );
        }
        (Some(arriving), None) => {
            let told = "what has come so far: the first run from";
            add(text, format_args!("{told} {arriving} has not ended well yet (`waystation sync status`)\n"));
        }
        _ => {}
    }
}

/// The day on which it was made.
fn made(row: &Update) -> Option<String> {
    row.created.map(|time| time.to_string().chars().take(10).collect())
}

/// A dash for what the vendor did not say.
pub(in crate::cli) fn said(severity: &str) -> String {
    if severity == "unspecified" { "-".to_owned() } else { severity.to_owned() }
}

/// All rows as CSV.
fn table(rows: &[Update]) -> String {
    let mut text = String::new();
    csv::row(
        &mut text,
        [
            "id",
            "revision",
            "kb",
            "title",
            "created",
            "severity",
            "classification",
            "products",
            "state",
            "kind",
            "deployable",
            "files",
            "bytes",
            "unauthenticated",
            "decision",
        ],
    );
    for row in rows {
        csv::row(
            &mut text,
            [
                row.id.clone(),
                row.revision.to_string(),
                row.kbs.join(" "),
                row.title.clone(),
                row.created.map(|time| time.to_string()).unwrap_or_default(),
                row.severity.clone(),
                row.classification.clone().unwrap_or_default(),
                row.products.join("; "),
                row.state.clone(),
                row.kind.clone(),
                row.deployable.to_string(),
                row.files.to_string(),
                row.bytes.to_string(),
                row.unauthenticated.to_string(),
                row.decision.clone().unwrap_or_default(),
            ],
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(id: &str, title: &str) -> Update {
        Update {
            id: id.to_owned(),
            revision: 1,
            kind: "software".to_owned(),
            title: title.to_owned(),
            kbs: vec!["5031234".to_owned()],
            severity: "unspecified".to_owned(),
            classification: None,
            products: vec!["a".to_owned(), "b".to_owned()],
            created: None,
            state: "published".to_owned(),
            decision: Some("approved".to_owned()),
            deployable: true,
            files: 2,
            bytes: 3,
            unauthenticated: true,
        }
    }

    fn found(rows: Vec<Update>, updates: u64) -> Updates {
        let catalog = Catalog { updates, upstream: None, unauthenticated: true, arriving: None };
        Updates { total: rows.len() as u64, rows, next: None, catalog }
    }

    #[test]
    fn an_empty_catalog_says_what_to_do_and_a_narrow_question_does_not() {
        assert!(people(&found(vec![], 0), true).contains("waystation sync start"));
        let told = people(&found(vec![], 7), true);
        assert!(told.contains("nothing fits among 7 updates") && !told.contains("sync start"), "{told}");
        let mut begun = found(vec![], 7);
        begun.catalog.arriving = Some("microsoft at h".to_owned());
        let told = people(&begun, false);
        assert!(
            told.contains("was cut off") && told.contains("sync start` goes on") && !told.contains("hidden"),
            "{told}"
        );
    }

    #[test]
    fn what_nobody_vouches_for_is_marked_and_explained() {
        let told = people(&found(vec![update("0fa1201d-4330-4fa8-8ae9-b877473b6441", "T")], 1), false);
        assert!(told.contains("0fa1201d ") && told.contains("published *") && told.contains("plain HTTP"), "{told}");
    }

    #[test]
    fn a_title_is_no_formula_in_csv() {
        let text = table(&[update("i", "=HYPERLINK(\"http://x\")")]);
        let mut lines = text.split("\r\n");
        assert!(lines.next().is_some_and(|head| head.starts_with("id,revision,kb,title,")));
        assert_eq!(
            lines.next(),
            Some(
                "i,1,5031234,\"'=HYPERLINK(\"\"http://x\"\")\",,unspecified,,\"a; b\",published,software,true,2,3,true,approved"
            )
        );
    }
}
