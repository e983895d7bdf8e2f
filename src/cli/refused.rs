//! `updates list --state refused`: what was not taken, or is held and not offered, with the reason. It is no search: what was
//! not taken has no title, product or date.

use crate::admin::view::updates::RefusedPage;
use crate::cli::csv;
use crate::cli::fail::Fail;
use crate::cli::node::{Node, segment};
use crate::cli::print::{Grid, Out, add};
use crate::cli::size;
use crate::cli::updates::{PAGE, query};
use crate::cli::verbs::catalog::Sieve;

/// The state that is asked for elsewhere.
const REFUSED: &str = "refused";

const LIST: &str = "`waystation updates list --state refused` lists all of it, with --limit, --after, --csv and --json; \
                    `waystation updates search` finds among what is held";

/// Whether the sieve asks for it.
pub(in crate::cli) fn is_meant(sieve: &Sieve) -> bool {
    sieve.state.iter().any(|state| state == REFUSED)
}

/// What was not taken or is not offered, with the reason.
pub(in crate::cli) async fn list(node: &Node, sieve: &Sieve, out: Out) -> Result<(), Fail> {
    let others = Sieve { state: Vec::new(), ..sieve.clone() };
    if sieve.state.len() > 1 || !query("", &others).is_empty() {
        return Err(Fail::usage(
            "what is refused is not sifted: of what was not taken neither title nor product is known",
            LIST,
        ));
    }
    let limit = sieve.limit;
    let mut after = sieve.after.clone();
    let mut all = RefusedPage::default();
    loop {
        let wanted = if limit == 0 { PAGE } else { limit.saturating_sub(all.rows.len()).clamp(1, PAGE) };
        let behind = after.take().map(|after| format!("&after={}", segment(&after))).unwrap_or_default();
        let page: RefusedPage = node.get(&format!("/api/v1/updates/refused?limit={wanted}{behind}")).await?;
        after.clone_from(&page.next);
        all.rows.extend(page.rows);
        (all.total, all.next) = (page.total, page.next);
        if after.is_none() || (limit > 0 && all.rows.len() >= limit) {
            break;
        }
    }
    if sieve.csv {
        let mut text = String::new();
        csv::row(&mut text, ["id", "revision", "since", "held", "stays", "title", "reason"]);
        for row in &all.rows {
            csv::row(
                &mut text,
                [
                    row.id.clone(),
                    row.revision.to_string(),
                    row.at.to_string(),
                    row.held.to_string(),
                    row.stays.to_string(),
                    row.title.clone().unwrap_or_default(),
                    row.reason.clone(),
                ],
            );
        }
        return out.raw(text);
    }
    out.both(&all, put_away)
}

fn put_away(all: &RefusedPage) -> String {
    if all.rows.is_empty() {
        return "nothing is refused\n".to_owned();
    }
    let mut grid = Grid::new(&["update", ">revision", "since", "held", "reason"]);
    for row in &all.rows {
        grid.row([
            // Whole: what is not held is found by nothing less.
            row.id.clone(),
            row.revision.to_string(),
            row.at.to_string(),
            if row.held { "yes, not offered" } else { "no" }.to_owned(),
            match &row.title {
                Some(title) if !title.is_empty() => format!("{title}: {}", row.reason),
                _ => row.reason.clone(),
            },
        ]);
    }
    let mut text = grid.text();
    if let Some(next) = &all.next {
        let (shown, total) = (size::count(all.rows.len() as u64), size::count(all.total));
        add(&mut text, format_args!("{shown} of {total}; the next ones with --after {next}, all with --limit 0\n"));
    }
    text.push_str("`waystation sync retry [ID..]` asks the upstream for them again\n");
    text
}
