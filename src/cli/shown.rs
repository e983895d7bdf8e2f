//! `updates show`: one update with all that hangs on it, for people.

use crate::admin::view::updates::{First, Reference, Whole};
use crate::cli::print::{Grid, add};
use crate::cli::size;
use crate::cli::updates::{SHORT, said};

/// Files, and updates of each relation, that are shown to people; the JSON has more.
const SHOWN_MAX: usize = 20;

/// One update for people.
pub(in crate::cli) fn one(whole: &Whole) -> String {
    let short = &whole.short;
    let mut grid = Grid::new(&["", ""]);
    let mut row = |key: &str, value: String| grid.row([key.to_owned(), value]);
    row("title", if short.title.is_empty() { "-".to_owned() } else { short.title.clone() });
    let revision = if whole.current { "" } else { ", not the newest" };
    row("id", format!("{}, revision {}{revision}", short.id, short.revision));
    let part = if short.deployable { "" } else { ", cannot be approved by itself" };
    row("kind", format!("{}{part}", short.kind));
    row("state", state(whole));
    for (at, text) in decision(whole).into_iter().enumerate() {
        row(if at == 0 { "decision" } else { "" }, text);
    }
    if short.unauthenticated {
        row("", "unauthenticated: it, or a part of it, came over plain HTTP; nothing proves who said it. A file that is held as proven has the \
             SHA-1 by which it was asked for; that the update has this file is not proven".to_owned());
    }
    if let Some(created) = short.created {
        row("made", created.to_string());
    }
    row("severity", said(&short.severity));
    let lists = [
        ("kb", short.kbs.iter().map(|kb| format!("KB{kb}")).collect::<Vec<_>>()),
        ("bulletins", whole.bulletins.clone()),
        ("cves", whole.cves.clone()),
        ("languages", whole.languages.clone()),
    ];
    for (key, list) in lists {
        if !list.is_empty() {
            row(key, list.join(", "));
        }
    }
    for (at, category) in whole.categories.iter().enumerate() {
        row(if at == 0 { "categories" } else { "" }, format!("{}: {}", category.kind, category.path));
    }
    if let Some(text) = whole.texts.first().filter(|text| !text.description.is_empty()) {
        row("for", text.description.clone());
    }
    if whole.texts.len() > 1 {
        let others: Vec<&str> = whole.texts.iter().map(|text| text.language.as_str()).collect();
        row("described in", others.join(", "));
    }
    if let Some(eula) = &whole.eula {
        row("licence", format!("must be accepted ({}); its text is in {}", eula.id, eula.languages.join(", ")));
    }
    row("restart", restart(&whole.reboot).to_owned());
    let mut ways = vec![match whole.impact.as_str() {
        "minor" => "hardly gets in the way",
        "exclusive" => "nothing else may be installed with it",
        _ => "installed as usual",
    }];
    for (is, word) in [
        (whole.asks_user, "may ask the user something"),
        (whole.needs_network, "needs the network"),
        (whole.removable, "can be removed again"),
    ] {
        if is {
            ways.push(word);
        }
    }
    row("installing", ways.join(", "));
    for (key, value) in [("more", &whole.more_info), ("help", &whole.support)] {
        if let Some(value) = value {
            row(key, value.clone());
        }
    }
    let mut text = grid.text();
    if whole.circular {
        text.push_str("it bundles itself: nothing below can be relied upon\n");
    }
    if whole.cut {
        text.push_str("it bundles more than is gathered: files and bytes are those of the first parts\n");
    }
    related(&mut text, "superseded by", &whole.superseded_by);
    related(&mut text, "supersedes", &whole.supersedes);
    related(&mut text, "bundles", &whole.bundles);
    related(&mut text, "is part of", &whole.bundled_by);
    files(&mut text, whole);
    text
}

fn state(whole: &Whole) -> String {
    match (whole.short.state.as_str(), &whole.refused) {
        ("refused", Some(why)) => format!("refused, and not offered: {why}"),
        ("expired", _) => "expired: its publisher withdrew it, nobody should install it any more".to_owned(),
        ("superseded", _) => "superseded: something newer does the same".to_owned(),
        (state, _) => state.to_owned(),
    }
}

/// What was decided, and what that means for its files.
fn decision(whole: &Whole) -> Vec<String> {
    let mut lines = Vec::new();
    match (&whole.decided, &whole.short.decision) {
        (Some(said), now) => {
            let files = if said.all_files { ", with all its files" } else { "" };
            let why = if said.why.is_empty() { String::new() } else { format!(": {}", said.why) };
            lines.push(format!("{}{files} by {} at {}{why}", said.word, said.by, said.at));
            lines.extend(now.iter().filter(|now| **now != said.word).cloned());
        }
        (None, Some(now)) => lines.push(now.clone()),
        (None, None) => {}
    }
    if let Some(files) = &whole.files_wanted {
        let what = match files.wants.as_str() {
            "everything" => "files are fetched ahead",
            "asked" => "files are fetched when asked for",
            _ => "files are not fetched ahead",
        };
        lines.push(format!("{what}: {}", files.why));
    }
    lines
}

fn restart(word: &str) -> &'static str {
    match word {
        "always" => "always",
        "can-request" => "perhaps",
        _ => "never",
    }
}

fn related(text: &mut String, what: &str, list: &First<Reference>) {
    if list.count == 0 {
        return;
    }
    let mut grid = Grid::new(&["", "", ""]);
    for row in list.rows.iter().take(SHOWN_MAX) {
        let title = match (&row.title, row.expired) {
            (None, _) => "(not in the catalog)".to_owned(),
            (Some(title), true) => format!("{title} (expired)"),
            (Some(title), false) => title.clone(),
        };
        let title = if row.unauthenticated { format!("{title} *") } else { title };
        // What is not held is found nowhere by the first digits.
        let id = if row.title.is_some() { row.id.chars().take(SHORT).collect() } else { row.id.clone() };
        grid.row([String::new(), id, title]);
    }
    add(text, format_args!("\n{what} ({}):\n{}", size::count(list.count), grid.text()));
    left_out(text, list.count);
}

fn left_out(text: &mut String, count: u64) {
    let more = count.saturating_sub(SHOWN_MAX as u64);
    if more > 0 {
        add(text, format_args!("  and {} more, of which --json tells\n", size::count(more)));
    }
}

fn files(text: &mut String, whole: &Whole) {
    let all = &whole.all_files;
    if all.count == 0 {
        text.push_str("\nno files\n");
        return;
    }
    let mut grid = Grid::new(&["held", ">size", "file", "digest"]);
    for file in all.rows.iter().take(SHOWN_MAX) {
        let digest = match &file.sha256 {
            Some(sha256) => format!("sha256-{sha256}"),
            None => format!("sha1-{}", file.sha1),
        };
        grid.row([file.held.clone(), size::bytes(file.size), file.name.clone(), digest]);
    }
    let (count, bytes) = (size::counted(all.count, "file"), size::bytes(whole.all_bytes));
    let looked_at = all.rows.len() as u64;
    let held = match (whole.files_held, all.count == looked_at) {
        (0, true) => "none held".to_owned(),
        (held, true) if held == all.count => "all held".to_owned(),
        (held, true) => format!("{} held", size::count(held)),
        (held, false) => format!("{} of the first {} held", size::count(held), size::count(looked_at)),
    };
    add(text, format_args!("\n{count}, {bytes}, {held}:\n{}", grid.text()));
    left_out(text, all.count);
    let mut places = Grid::new(&["file", "address"]);
    for file in all.rows.iter().take(SHOWN_MAX) {
        for url in &file.urls {
            places.row([file.name.clone(), url.clone()]);
        }
    }
    if !places.is_empty() {
        add(text, format_args!("\naddresses, as the catalog says:\n{}", places.text()));
    }
}
