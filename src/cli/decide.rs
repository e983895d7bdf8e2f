//! `updates approve|decline|reset`: decisions for all endpoints.

use crate::admin::view::policy::{DecideRequest, Decided};
use crate::cli::fail::Fail;
use crate::cli::node::Node;
use crate::cli::print::{Grid, Out, add};
use crate::cli::size;
use crate::cli::updates::{SHORT, doubt, marked};
use crate::cli::verbs::catalog::Deciding;

/// What is to be done: the last part of the address, and what it is called once it is done.
pub(in crate::cli) async fn run(
    node: &Node,
    verb: &str,
    given: Deciding,
    all_files: bool,
    out: Out,
) -> Result<(), Fail> {
    let request = DecideRequest { updates: given.updates, why: given.why.unwrap_or_default(), all_files };
    let decided: Decided = node.post(&format!("/api/v1/updates/{verb}"), &request).await?;
    out.both(&decided, |decided| people(verb, decided))
}

fn people(verb: &str, decided: &Decided) -> String {
    let mut grid = Grid::new(&["update", "decision", "files", "title"]);
    for row in &decided.rows {
        let files = row.files.as_ref().map_or("-", |files| match files.wants.as_str() {
            "everything" => "wanted",
            "asked" => "when asked for",
            _ => "not wanted",
        });
        grid.row([
            row.id.chars().take(SHORT).collect(),
            row.decision.clone().unwrap_or_else(|| "-".to_owned()),
            files.to_owned(),
            marked(row.title.clone(), row.unauthenticated),
        ]);
    }
    let mut text = grid.text();
    doubt(&mut text, decided.rows.iter().any(|row| row.unauthenticated));
    let same = (decided.rows.len() as u64).saturating_sub(decided.changed);
    if same > 0 {
        let (updates, was) = (size::counted(same, "update"), if same == 1 { "was" } else { "were" });
        match verb {
            "approve" => add(&mut text, format_args!("{updates} {was} approved already\n")),
            "decline" => add(&mut text, format_args!("{updates} {was} declined already\n")),
            _ => add(&mut text, format_args!("nothing had been decided of {updates}\n")),
        }
    }
    let less = decided.rows.iter().filter(|row| row.less).count() as u64;
    if less > 0 {
        let was = if less == 1 { "was" } else { "were" };
        add(
            &mut text,
            format_args!(
                "{} {was} approved with all files before, and not any more: --all-files has them fetched again\n",
                size::counted(less, "update")
            ),
        );
    }
    // One reason is enough where all have the same.
    let mut told = std::collections::BTreeSet::new();
    for files in decided.rows.iter().filter_map(|row| row.files.as_ref()).filter(|files| files.wants != "everything") {
        if told.insert(&files.why) {
            let what = if files.wants == "asked" { "when asked for" } else { "not wanted" };
            add(&mut text, format_args!("files {what}: {}\n", files.why));
        }
    }
    for note in &decided.notes {
        add(&mut text, format_args!("{note}\n"));
    }
    if decided.changed > 0 && !decided.effect.is_empty() {
        add(&mut text, format_args!("{}\n", decided.effect));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::policy::{DecidedUpdate, FilesWanted};

    #[test]
    fn it_is_told_what_becomes_of_the_files_and_why_once() {
        let row = |id: &str, wants: &str, why: &str| DecidedUpdate {
            id: id.repeat(9),
            title: "T".to_owned(),
            unauthenticated: wants == "everything",
            decision: Some("approved".to_owned()),
            less: wants == "everything",
            waits: Vec::new(),
            files: Some(FilesWanted { wants: wants.to_owned(), why: why.to_owned() }),
        };
        let rows =
            vec![row("a", "everything", "x"), row("b", "nothing", "the policy"), row("c", "nothing", "the policy")];
        let decided = |effect: &str, note: &str| Decided {
            changed: 2,
            rows: rows.clone(),
            effect: effect.to_owned(),
            notes: vec![note.to_owned()],
        };
        let told = people("approve", &decided("takes effect at the next scan", "until its licence is accepted"));
        assert!(told.ends_with("until its licence is accepted\ntakes effect at the next scan\n"), "{told}");
        assert_eq!((told.matches("T *\n").count(), told.matches("* unauthenticated: ").count()), (1, 1), "{told}");
        assert!(told.contains("aaaaaaaa  approved  wanted") && !told.contains(": x"), "{told}");
        assert_eq!(told.matches("files not wanted: the policy").count(), 1, "{told}");
        assert!(told.contains("1 update was approved already"), "{told}");
        assert!(told.contains("1 update was approved with all files before, and not any more"), "{told}");
        assert!(people("reset", &decided("", "")).contains("nothing had been decided of 1 update\n"));
    }
}
