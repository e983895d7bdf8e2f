//! `approvals list|set|withdraw|review|license`.

use crate::admin::view::approvals::{
    AcceptRequest, Accepted, Approval, Approvals, LicencedUpdate, Licences, ReviewRequest, Said, SetRequest,
    WithdrawRequest,
};
use crate::app::Loaded;
use crate::cli::csv;
use crate::cli::fail::Fail;
use crate::cli::node::{Node, segment};
use crate::cli::print::{Grid, Out, add, printable};
use crate::cli::size;
use crate::cli::updates::{PAGE, SHORT, doubt, marked};
use crate::cli::verbs::approvals::{ApprovalsVerb, LicenseVerb};

const APPROVALS: &str = "/api/v1/approvals";
const LICENCES: &str = "/api/v1/licences";

pub(in crate::cli) fn run(loaded: &Loaded, verb: ApprovalsVerb, out: Out) -> Result<(), Fail> {
    if matches!(verb, ApprovalsVerb::List { csv: true, .. }) && out.is_json() {
        return Err(Fail::usage("--csv and --json cannot both be printed", "leave one of them out"));
    }
    super::with(Node::any(loaded, false)?, async |node| match verb {
        ApprovalsVerb::List { update, group, endpoint, limit, after, csv } => {
            let mut query = String::new();
            for (key, value) in [("update", update), ("group", group), ("endpoint", endpoint)] {
                if let Some(value) = value {
                    add(&mut query, format_args!("&{key}={}", segment(&value)));
                }
            }
            let all = list(node, &query, limit, after).await?;
            if csv { out.raw(table(&all.rows)) } else { out.both(&all, |all| people(all, !query.is_empty())) }
        }
        ApprovalsVerb::Set { updates, whom, action, deadline, all_files, why } => {
            let (groups, endpoints) = (whom.group, whom.endpoint);
            let (action, why) = (Some(action), why.unwrap_or_default());
            let asked = SetRequest { updates, groups, endpoints, action, deadline, all_files, why };
            let said: Said = node.post(APPROVALS, &asked).await?;
            out.both(&said, |said| told(said, "approved so"))
        }
        ApprovalsVerb::Withdraw { updates, whom, everywhere } => {
            let asked = WithdrawRequest { updates, groups: whom.group, endpoints: whom.endpoint, everywhere };
            let said: Said = node.post(&format!("{APPROVALS}/withdraw"), &asked).await?;
            out.both(&said, |said| told(said, "withdrawn"))
        }
        ApprovalsVerb::Review { updates, state, why } => {
            let asked = ReviewRequest { updates, state: state.clone(), why: why.unwrap_or_default() };
            let said: Said = node.post(&format!("{APPROVALS}/review"), &asked).await?;
            out.both(&said, |said| told(said, &state))
        }
        ApprovalsVerb::License(LicenseVerb::List) => {
            let licences: Licences = node.get(LICENCES).await?;
            out.both(&licences, licences_told)
        }
        ApprovalsVerb::License(LicenseVerb::Accept { updates, id }) => {
            let asked = AcceptRequest { updates, licences: id };
            let accepted: Accepted = node.post(&format!("{LICENCES}/accept"), &asked).await?;
            out.both(&accepted, |accepted| {
                let many = accepted.licences.len() as u64;
                let before = many.saturating_sub(accepted.accepted);
                let mut text = format!("{} accepted for all endpoints", size::counted(accepted.accepted, "licence"));
                if before > 0 {
                    add(&mut text, format_args!("; {} had been before", size::count(before)));
                }
                text.push('\n');
                for note in &accepted.notes {
                    add(&mut text, format_args!("note: {}\n", printable(note)));
                }
                add(&mut text, format_args!("{}\n", accepted.effect));
                text
            })
        }
    })
}

async fn list(node: &Node, query: &str, limit: usize, mut after: Option<String>) -> Result<Approvals, Fail> {
    let mut all = Approvals::default();
    loop {
        let have = all.rows.len();
        let wanted = if limit == 0 { PAGE } else { limit.saturating_sub(have).clamp(1, PAGE) };
        let behind = after.take().map(|after| format!("&after={}", segment(&after))).unwrap_or_default();
        let page: Approvals = node.get(&format!("{APPROVALS}?limit={wanted}{query}{behind}")).await?;
        all.rows.extend(page.rows);
        all.next.clone_from(&page.next);
        after = page.next;
        if after.is_none() || (limit > 0 && all.rows.len() >= limit) {
            return Ok(all);
        }
    }
}

fn title(title: Option<&String>, id: &str) -> String {
    title.filter(|title| !title.is_empty()).map_or_else(|| id.to_owned(), |title| printable(title))
}

fn people(all: &Approvals, is_sifted: bool) -> String {
    if all.rows.is_empty() {
        return if is_sifted {
            "nothing was said of that\n".to_owned()
        } else {
            "nothing is approved or declined: `waystation approvals set` does it for groups, `waystation updates approve` for all\n"
                .to_owned()
        };
    }
    let mut grid = Grid::new(&["update", "kb", "for", "action", "deadline", "review", "by", "title"]);
    for row in &all.rows {
        let target = match row.target.as_str() {
            "endpoint" => format!("{} (endpoint)", printable(&row.target_name)),
            _ => printable(&row.target_name),
        };
        grid.row([
            row.update.chars().take(SHORT).collect(),
            if row.kbs.is_empty() { "-".to_owned() } else { row.kbs.join(" ") },
            target,
            row.action.clone(),
            row.deadline.map_or_else(|| "-".to_owned(), |deadline| deadline.to_string()),
            row.review.clone().unwrap_or_else(|| "-".to_owned()),
            printable(&row.by),
            marked(title(row.title.as_ref(), &row.update), row.unauthenticated),
        ]);
    }
    let mut text = grid.text();
    doubt(&mut text, all.rows.iter().any(|row| row.unauthenticated));
    if let Some(next) = &all.next {
        let shown = size::count(all.rows.len() as u64);
        add(&mut text, format_args!("{shown} shown; the next ones with --after {next}, all with --limit 0\n"));
    }
    text
}

fn table(rows: &[Approval]) -> String {
    let mut text = String::new();
    let head = [
        "update",
        "kb",
        "title",
        "target",
        "target_id",
        "target_name",
        "action",
        "deadline",
        "all_files",
        "review",
        "by",
        "at",
        "why",
        "unauthenticated",
    ];
    csv::row(&mut text, head);
    for row in rows {
        csv::row(
            &mut text,
            [
                row.update.clone(),
                row.kbs.join(" "),
                row.title.clone().unwrap_or_default(),
                row.target.clone(),
                row.target_id.clone(),
                row.target_name.clone(),
                row.action.clone(),
                row.deadline.map(|deadline| deadline.to_string()).unwrap_or_default(),
                row.all_files.to_string(),
                row.review.clone().unwrap_or_default(),
                row.by.clone(),
                row.at.to_string(),
                row.why.clone(),
                row.unauthenticated.to_string(),
            ],
        );
    }
    text
}

fn told(said: &Said, what: &str) -> String {
    let mut grid = Grid::new(&["update", "waits for", "title"]);
    for row in &said.rows {
        let waits = if row.waits.is_empty() { "-".to_owned() } else { row.waits.join(", ") };
        grid.row([row.id.chars().take(SHORT).collect(), waits, marked(printable(&row.title), row.unauthenticated)]);
    }
    let mut text = grid.text();
    doubt(&mut text, said.rows.iter().any(|row| row.unauthenticated));
    match said.changed {
        0 => add(&mut text, format_args!("nothing changed: it was {what} already\n")),
        many => add(&mut text, format_args!("{} changed\n", size::counted(many, "word"))),
    }
    for note in &said.notes {
        add(&mut text, format_args!("note: {}\n", printable(note)));
    }
    if said.changed > 0 {
        add(&mut text, format_args!("{}\n", said.effect));
    }
    text
}

fn licences_told(licences: &Licences) -> String {
    if licences.rows.is_empty() {
        return "no approved update needs a licence\n".to_owned();
    }
    let mut grid = Grid::new(&["licence", "accepted", "updates", "the first of them"]);
    for row in &licences.rows {
        let accepted = match (&row.by, row.at) {
            (Some(by), Some(at)) => format!("{at} by {}", printable(by)),
            _ => "no".to_owned(),
        };
        let named = |update: &LicencedUpdate| marked(title(Some(&update.title), &update.id), update.unauthenticated);
        let first = row.updates.first().map_or_else(|| "-".to_owned(), named);
        grid.row([row.id.clone(), accepted, size::count(row.updates.len() as u64), first]);
    }
    let mut text = grid.text();
    doubt(&mut text, licences.rows.iter().filter_map(|row| row.updates.first()).any(|update| update.unauthenticated));
    if licences.rows.iter().any(|row| row.by.is_none()) {
        text.push_str("updates wait for a licence: they are detected and not offered until `waystation approvals license accept`\n");
    }
    if licences.cut {
        text.push_str("more updates are approved than were looked at\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::approvals::{Licence, SaidOf};

    #[test]
    fn what_was_said_is_told_with_what_it_waits_for_and_when_it_counts() {
        let row = |waits: &[&str]| SaidOf {
            id: "0fa1201d-4330-4fa8-8ae9-b877473b6441".to_owned(),
            title: "T".to_owned(),
            waits: waits.iter().map(|word| (*word).to_owned()).collect(),
            unauthenticated: true,
        };
        let said = Said {
            changed: 1,
            rows: vec![row(&["licence"]), row(&[])],
            effect: "at the next scan".to_owned(),
            notes: vec!["mind this".to_owned()],
        };
        let text = told(&said, "approved so");
        assert!(text.contains("T *\n") && text.contains("\n* unauthenticated"), "{text}");
        assert!(text.contains("0fa1201d  licence") && text.contains("note: mind this"), "{text}");
        assert!(text.contains("1 word changed\n") && text.ends_with("at the next scan\n"), "{text}");
        let text = told(&Said { changed: 0, ..said }, "approved so");
        assert!(text.contains("it was approved so already") && !text.contains("next scan"), "{text}");
    }

    #[test]
    fn approvals_are_told_for_whom() {
        let row = Approval {
            update: "0fa1201d-4330-4fa8-8ae9-b877473b6441".to_owned(),
            title: Some("=T".to_owned()),
            target: "endpoint".to_owned(),
            target_name: "pc7".to_owned(),
            action: "uninstall".to_owned(),
            ..Approval::default()
        };
        let all = Approvals { rows: vec![row], next: Some("x".to_owned()) };
        let text = people(&all, false);
        assert!(text.contains("pc7 (endpoint)  uninstall") && text.contains("--after x"), "{text}");
        assert!(table(&all.rows).contains(",\"'=T\",endpoint,,pc7,uninstall,,false,"), "{}", table(&all.rows));
        assert!(people(&Approvals::default(), false).contains("approvals set"));
        let waiting = Licences { rows: vec![Licence { id: "l".to_owned(), ..Licence::default() }], cut: false };
        assert!(licences_told(&waiting).contains("license accept"));
    }
}
