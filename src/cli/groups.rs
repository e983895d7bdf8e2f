//! `groups list|add|change|remove|move-endpoint`.

use crate::admin::view::groups::{AddRequest, ChangeRequest, Changed, Group, Groups, PlaceRequest, Placed};
use crate::app::Loaded;
use crate::cli::csv;
use crate::cli::fail::Fail;
use crate::cli::node::{Node, segment};
use crate::cli::print::{Grid, Out, add, printable};
use crate::cli::size;
use crate::cli::verbs::approvals::{GroupLike, GroupsVerb};

const GROUPS: &str = "/api/v1/groups";

pub(in crate::cli) fn run(loaded: &Loaded, verb: GroupsVerb, out: Out) -> Result<(), Fail> {
    if matches!(verb, GroupsVerb::List { csv: true }) && out.is_json() {
        return Err(Fail::usage("--csv and --json cannot both be printed", "leave one of them out"));
    }
    super::with(Node::any(loaded, false)?, async |node| match verb {
        GroupsVerb::List { csv } => {
            let groups: Groups = node.get(GROUPS).await?;
            if csv { out.raw(table(&groups.rows)) } else { out.both(&groups, tree) }
        }
        GroupsVerb::Add { name, like } => {
            let GroupLike { below, level, test, review, rule } = like;
            let (test, review) = (test.unwrap_or(false), review.unwrap_or(false));
            let asked = AddRequest { name, below, level, test, review, rules: rule };
            let changed: Changed = node.post(GROUPS, &asked).await?;
            out.both(&changed, told)
        }
        GroupsVerb::Change { group, name, like, no_rules } => {
            let GroupLike { below, level, test, review, rule } = like;
            let rules = (no_rules || !rule.is_empty()).then_some(rule);
            let asked = ChangeRequest { name, below, level, test, review, rules, revision: None };
            let changed: Changed = node.post(&format!("{GROUPS}/{}", segment(&group)), &asked).await?;
            out.both(&changed, told)
        }
        GroupsVerb::Remove { group } => {
            let changed: Changed = node.delete(&format!("{GROUPS}/{}", segment(&group))).await?;
            out.both(&changed, told)
        }
        GroupsVerb::MoveEndpoint { endpoints, to, back: _ } => {
            let placed: Placed = node.post(&format!("{GROUPS}/place"), &PlaceRequest { endpoints, groups: to }).await?;
            out.both(&placed, placed_at)
        }
    })
}

/// What a group is there for.
fn notes(group: &Group) -> String {
    let mut notes: Vec<String> = Vec::new();
    notes.extend(group.test.then(|| "test".to_owned()));
    notes.extend(group.review.then(|| "review".to_owned()));
    notes.extend(group.rules.iter().map(|rule| printable(rule)));
    if notes.is_empty() { "-".to_owned() } else { notes.join(", ") }
}

fn tree(groups: &Groups) -> String {
    let mut grid = Grid::new(&["group", "level", "endpoints", "with those below", "notes"]);
    for row in &groups.rows {
        let depth = usize::try_from(row.depth).unwrap_or(0).min(16);
        let name = if row.level == "fixed" { &row.path } else { &row.name };
        grid.row([
            format!("{:indent$}{}", "", printable(name), indent = 2 * depth),
            if row.level == "fixed" { "-".to_owned() } else { row.level.clone() },
            size::count(row.endpoints),
            size::count(row.endpoints_below),
            notes(row),
        ]);
    }
    let mut text = grid.text();
    if groups.endpoints == 0 {
        text.push_str("no endpoint has registered yet\n");
    }
    if groups.rows.len() <= 2 {
        text.push_str("`waystation groups add` makes the first group; until then all endpoints are treated alike\n");
    }
    text
}

fn table(rows: &[Group]) -> String {
    let mut text = String::new();
    let head = ["id", "path", "level", "test", "review", "rules", "endpoints", "endpoints_below", "by", "at"];
    csv::row(&mut text, head);
    for row in rows {
        csv::row(
            &mut text,
            [
                row.id.clone(),
                row.path.clone(),
                row.level.clone(),
                row.test.to_string(),
                row.review.to_string(),
                row.rules.join("; "),
                row.endpoints.to_string(),
                row.endpoints_below.to_string(),
                row.by.clone().unwrap_or_default(),
                row.at.map(|at| at.to_string()).unwrap_or_default(),
            ],
        );
    }
    text
}

fn told(changed: &Changed) -> String {
    let mut text = match &changed.group {
        Some(group) => format!("{} ({}; {})\n", printable(&group.path), group.level, notes(group)),
        None => "removed, with what was approved for it\n".to_owned(),
    };
    for note in &changed.notes {
        add(&mut text, format_args!("note: {}\n", printable(note)));
    }
    add(&mut text, format_args!("{}\n", changed.effect));
    text
}

fn placed_at(placed: &Placed) -> String {
    let mut grid = Grid::new(&["endpoint", "groups", "why"]);
    for row in &placed.rows {
        grid.row([printable(&row.name), printable(&row.groups.join(", ")), row.how.clone()]);
    }
    let mut text = grid.text();
    let same = (placed.rows.len() as u64).saturating_sub(placed.moved);
    if same > 0 {
        let was = if same == 1 { "was" } else { "were" };
        add(&mut text, format_args!("{} {was} put there already\n", size::counted(same, "endpoint")));
    }
    for note in &placed.notes {
        add(&mut text, format_args!("note: {}\n", printable(note)));
    }
    add(&mut text, format_args!("{}\n", placed.effect));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_indented_and_tells_what_groups_are_for() {
        let row = |path: &str, depth, level: &str| Group {
            path: path.to_owned(),
            name: path.rsplit('/').next().unwrap_or_default().to_owned(),
            depth,
            level: level.to_owned(),
            ..Group::default()
        };
        let pilot = Group { test: true, rules: vec!["name kiosk-*".to_owned()], ..row("Contoso/Pilot", 2, "group") };
        let rows = vec![row("all", 0, "fixed"), row("Contoso", 1, "company"), pilot, row("unassigned", 1, "fixed")];
        let told = tree(&Groups { rows: rows.clone(), endpoints: 3 });
        assert!(told.contains("\n  Contoso  ") && told.contains("\n    Pilot"), "{told}");
        assert!(told.contains("test, name kiosk-*") && !told.contains("groups add"), "{told}");
        assert!(tree(&Groups { rows: vec![], endpoints: 0 }).contains("waystation groups add"));
        assert!(table(&rows).contains(",Contoso/Pilot,group,true,false,name kiosk-*,0,0,,\r\n"), "{}", table(&rows));
    }
}
