//! `filters list|set|reset`: what of Microsoft's catalog is wanted.

use crate::admin::view::bandwidth::Set;
use crate::admin::view::filters::{Available, Chosen, Filters, How, SetRequest};
use crate::app::Loaded;
use crate::cli::fail::Fail;
use crate::cli::node::segment;
use crate::cli::print::{Out, add, printable};
use crate::cli::size;
use crate::cli::verbs::catalog::FiltersVerb;

/// What the mark at a name means, and what is said of the list as a whole.
const UNAUTHENTICATED: &str =
    "* unauthenticated: names of the catalog came over plain HTTP, and nothing proves who said them\n";

const KEYS: [&str; 3] = ["products", "classifications", "languages"];

pub(in crate::cli) fn run(loaded: &Loaded, verb: FiltersVerb, out: Out) -> Result<(), Fail> {
    super::with(super::running(loaded)?, async |node| match verb {
        FiltersVerb::List { available: false, .. } => {
            let filters: Filters = node.get("/api/v1/filters").await?;
            out.both(&filters, people)
        }
        FiltersVerb::List { available: true, filter } => {
            let all: Vec<Available> = node.get("/api/v1/filters/available").await?;
            let shown = sifted(all, filter.as_deref());
            let filters: Filters = node.get("/api/v1/filters").await?;
            out.both(&shown, |shown| tree(shown, &filters))
        }
        FiltersVerb::Set { key, values, add, remove } => {
            let asked = match (add.is_empty(), remove.is_empty()) {
                (false, _) => SetRequest { values: add, how: How::Add, remove },
                (true, false) => SetRequest { values: remove, how: How::Remove, remove: Vec::new() },
                (true, true) => SetRequest { values, how: How::Replace, remove },
            };
            let path = format!("/api/v1/filters/{}", segment(&key));
            let filters: Filters = node.post(&path, &asked).await?;
            if let (true, Some(why)) = (out.is_json(), &filters.without_effect) {
                out.warn(&format!("it is kept and has no effect here: {}", printable(why)));
            }
            out.both(&filters, people)
        }
        FiltersVerb::Reset { key } => {
            let before: Filters = node.get("/api/v1/filters").await?;
            let key = key.map(|key| format!("/{}", segment(&key))).unwrap_or_default();
            let after: Filters = node.delete(&format!("/api/v1/filters{key}")).await?;
            out.both(&after, |after| format!("{}\n{}", taken_back(&before, after), people(after)))
        }
    })
}

/// What was set at run time and is not any more.
fn taken_back(before: &Filters, after: &Filters) -> String {
    let is_local = |filters: &Filters, key: &str| filters.key(key).is_some_and(|list| list.set.layer == "local");
    let gone: Vec<&str> = KEYS.into_iter().filter(|key| is_local(before, key) && !is_local(after, key)).collect();
    if gone.is_empty() {
        return "nothing was set at run time, so that there is nothing to take back\n".to_owned();
    }
    format!("taken back: {}\n", gone.join(", "))
}

/// That the filters do nothing, where they do not.
fn without_effect(filters: &Filters) -> String {
    match &filters.without_effect {
        Some(why) => format!("these filters have no effect here: {}\n\n", printable(why)),
        None => String::new(),
    }
}

fn people(filters: &Filters) -> String {
    let mut text = without_effect(filters);
    let products = size::counted(filters.products_count, "product");
    list(&mut text, "products", &format!("{products} with those of families and companies"), &filters.products);
    let many = size::count(filters.classifications.entries.len() as u64);
    list(&mut text, "classifications", &many, &filters.classifications);
    let many = match filters.languages.entries.len() {
        0 => "all".to_owned(),
        many => size::count(many as u64),
    };
    list(&mut text, "languages", &many, &filters.languages);
    text.push_str(&beyond(filters));
    text.push_str(&known(filters));
    if filters.unauthenticated {
        text.push_str(UNAUTHENTICATED);
    }
    text
}

/// What is held that they do not find.
fn beyond(filters: &Filters) -> String {
    let Some(many) = filters.beyond.filter(|many| *many > 0) else { return String::new() };
    let (approved, needed) = (filters.beyond_approved, filters.beyond_needed);
    let mut text = format!("beyond them: {} of the catalog", size::counted(many, "update"));
    let mut stay = Vec::new();
    if let Some(needed) = needed.filter(|needed| *needed > 0) {
        stay.push(format!("others need {}", if needed == many { "all".to_owned() } else { size::count(needed) }));
    }
    if approved > 0 {
        stay.push(format!(
            "somebody approved {}",
            if approved == many { "all".to_owned() } else { size::count(approved) }
        ));
    }
    if !stay.is_empty() {
        add(&mut text, format_args!(", of which {}", stay.join(" and ")));
    }
    let goes = needed.map(|needed| many.saturating_sub(approved + needed));
    match (goes, filters.prunes) {
        (Some(0), _) => text.push_str("; they stay for that"),
        (Some(goes), true) => add(
            &mut text,
            format_args!(
                "; the next whole run lets go of {} (prune_beyond_filters)",
                if goes == many { "them".to_owned() } else { size::count(goes) }
            ),
        ),
        (None, true) => text.push_str(
            "; the next whole run lets go of those that nobody approved and that no other needs (prune_beyond_filters)",
        ),
        (_, false) => text.push_str(
            "; former filters found the others, and `prune_beyond_filters` in [sync] lets go of what nobody needs",
        ),
    }
    text.push_str("; `waystation updates list --beyond` shows which\n\n");
    text
}

/// What can be said of the catalog that names are looked up in.
fn known(filters: &Filters) -> String {
    match filters.catalog_categories {
        0 => "the catalog is empty, so that few products are known: `waystation sync start` brings the others\n"
            .to_owned(),
        _ => "`waystation filters list --available` shows what there is to choose from\n".to_owned(),
    }
}

fn list(text: &mut String, key: &str, many: &str, list: &Chosen) {
    let locked = if list.set.locked { ", locked" } else { "" };
    add(text, format_args!("{key} ({many}; {}{locked}):\n", printable(&set_by(&list.set))));
    for entry in &list.entries {
        let kind = match entry.kind.as_str() {
            "product" | "classification" => String::new(),
            "language" => format!(" ({})", entry.id),
            "unknown" => " (not in the catalog yet)".to_owned(),
            kind => format!(" ({kind}: all its products)"),
        };
        add(text, format_args!("  {}{kind}\n", printable(&entry.name)));
    }
    for wrong in &list.wrong {
        add(text, format_args!("  left out: {}\n", printable(wrong)));
    }
    text.push('\n');
}

/// Who set a list: the place in a file that says so, a person, or nobody.
fn set_by(set: &Set) -> String {
    match (set.layer.as_str(), set.from.strip_prefix("run time, by ")) {
        ("default", _) => "as shipped".to_owned(),
        (_, Some(person)) => format!("set at run time by {person}"),
        (_, None) => format!("set by {}", set.from),
    }
}

/// Those with the text in their names, and what they stand below.
fn sifted(all: Vec<Available>, filter: Option<&str>) -> Vec<Available> {
    let Some(wanted) = filter.map(str::to_lowercase) else { return all };
    let mut shown: Vec<Available> = Vec::new();
    // Those above the one at hand, in order.
    let mut above: Vec<Available> = Vec::new();
    for row in all {
        let depth = usize::try_from(row.depth).unwrap_or(usize::MAX);
        above.truncate(depth);
        let is_named = |text: &str| text.to_lowercase().contains(&wanted);
        if is_named(&row.name) || (row.kind == "language" && row.id == wanted) {
            let missing: Vec<Available> = above.iter().filter(|parent| !shown.contains(parent)).cloned().collect();
            shown.extend(missing);
            shown.push(row.clone());
        }
        above.push(row);
    }
    shown
}

fn tree(rows: &[Available], filters: &Filters) -> String {
    if rows.is_empty() {
        return format!("nothing is called so\n{}", known(filters));
    }
    let mut text = without_effect(filters);
    let mut within = "";
    for row in rows {
        let part = match row.kind.as_str() {
            "classification" => "classifications",
            "language" => "languages",
            _ => "",
        };
        if part != within {
            within = part;
            if !text.is_empty() && !text.ends_with("\n\n") {
                text.push('\n');
            }
            add(&mut text, format_args!("{part}:\n"));
        }
        let depth = usize::try_from(row.depth).unwrap_or(0).min(16);
        let mark = if row.chosen { "x" } else { " " };
        let short = if part == "languages" { format!(" ({})", row.id) } else { String::new() };
        let doubt = if row.unauthenticated { " *" } else { "" };
        add(
            &mut text,
            format_args!("[{mark}] {:indent$}{}{short}{doubt}\n", "", printable(&row.name), indent = 2 * depth),
        );
    }
    if rows.iter().any(|row| row.unauthenticated) {
        text.push('\n');
        text.push_str(UNAUTHENTICATED);
    }
    for wrong in filters.wrong() {
        add(&mut text, format_args!("left out: {}\n", printable(wrong)));
    }
    if filters.catalog_categories == 0 {
        add(&mut text, format_args!("\n{}", known(filters)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, depth: u32) -> Available {
        Available {
            id: name.to_owned(),
            name: name.to_owned(),
            kind: "product".to_owned(),
            depth,
            path: name.to_owned(),
            chosen: depth == 2,
            unauthenticated: false,
        }
    }

    #[test]
    fn what_lies_beyond_is_told_with_what_becomes_of_it() {
        let none = || Chosen { entries: vec![], wrong: vec![], set: Set::default() };
        let told = |many, approved, needed, prunes| {
            let filters = Filters {
                products: none(),
                classifications: none(),
                languages: none(),
                products_count: 0,
                without_effect: None,
                catalog_categories: 9,
                beyond: Some(many),
                beyond_approved: approved,
                beyond_needed: needed,
                prunes,
                unauthenticated: false,
            };
            beyond(&filters).replace("; `waystation updates list --beyond` shows which\n\n", "")
        };
        assert_eq!(told(0, 0, Some(0), true), "");
        let need = "beyond them: 8 updates of the catalog, of which others need all; they stay for that";
        assert_eq!((told(8, 0, Some(8), true), told(8, 0, Some(8), false)), (need.to_owned(), need.to_owned()));
        assert_eq!(
            told(12, 1, Some(8), true),
            "beyond them: 12 updates of the catalog, of which others need 8 and somebody approved 1; the next whole run lets go of 3 \
             (prune_beyond_filters)"
        );
        assert_eq!(
            told(12, 0, Some(0), true),
            "beyond them: 12 updates of the catalog; the next whole run lets go of them (prune_beyond_filters)"
        );
        assert!(told(12, 0, Some(9), false).contains("others need 9; former filters found the others"));
        assert!(told(90_000, 0, None, true).contains("lets go of those that nobody approved and that no other needs"));
    }

    #[test]
    fn what_fits_is_shown_below_what_it_stands_below() {
        let all =
            vec![row("C", 0), row("F", 1), row("Paper", 2), row("Pen", 2), row("G", 1), row("Lamp", 2), row("D", 0)];
        let names = |filter| sifted(all.clone(), Some(filter)).into_iter().map(|row| row.name).collect::<Vec<_>>();
        assert_eq!(names("P"), ["C", "F", "Paper", "Pen", "G", "Lamp"]);
        assert_eq!(names("lamp"), ["C", "G", "Lamp"]);
        assert_eq!(names("d"), ["D"]);
        assert_eq!(sifted(all.clone(), None).len(), 7);
    }
}
