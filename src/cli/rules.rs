//! `rules list|show|add|set|remove|enable|disable|preview|run|resume|history|ready-made`.

mod tables;

use crate::admin::view::rules::{
    AddRequest, At, ChangeRequest, Changed, History, Like, Line, Ran, ReadyMade, ResumeRequest, Resumed, RingRequest,
    Rule, Rules, RunRequest, Shown,
};
use crate::app::Loaded;
use crate::cli::fail::Fail;
use crate::cli::node::{Node, segment};
use crate::cli::print::{Grid, Out, add, printable};
use crate::cli::rules::tables::{lines_table, rules_table, updates_table};
use crate::cli::size;
use crate::cli::updates::{SHORT, doubt, marked};
use crate::cli::verbs::rules::{RuleLike, RulesVerb};

const RULES: &str = "/api/v1/rules";

/// The most that is asked for at once.
const ALL: usize = 10_000;

pub(in crate::cli) fn run(loaded: &Loaded, verb: RulesVerb, out: Out) -> Result<(), Fail> {
    let is_csv = matches!(
        verb,
        RulesVerb::List { csv: true }
            | RulesVerb::Show { csv: true, .. }
            | RulesVerb::Preview { csv: true, .. }
            | RulesVerb::History { csv: true, .. }
    );
    if is_csv && out.is_json() {
        return Err(Fail::usage("--csv and --json cannot both be printed", "leave one of them out"));
    }
    super::with(Node::any(loaded, false)?, async |node| match verb {
        RulesVerb::List { csv } => {
            let rules: Rules = node.get(RULES).await?;
            if csv { out.raw(rules_table(&rules.rows)) } else { out.both(&rules, list) }
        }
        RulesVerb::Show { rule, limit, csv } => {
            let shown: Shown = node.get(&format!("{}?limit={}", path(&rule), wanted(limit))).await?;
            if csv { out.raw(updates_table(&shown.rows)) } else { out.both(&shown, one) }
        }
        RulesVerb::Preview { rule, limit, csv } => {
            let only = rule.map(|rule| format!("&rule={}", segment(&rule))).unwrap_or_default();
            let shown: Shown = node.get(&format!("/api/v1/rule-preview?limit={}{only}", wanted(limit))).await?;
            if csv { out.raw(updates_table(&shown.rows)) } else { out.both(&shown, previewed) }
        }
        RulesVerb::Add { name, ring, like, disabled } => {
            let like = Like { enabled: Some(!disabled), ..like_of(like) };
            let asked = AddRequest { name: Some(name), ready_made: None, rings: rings(&ring), like };
            out.both(&node.post::<Changed>(RULES, &asked).await?, changed)
        }
        RulesVerb::Set { rule, name, ring, like, all_classifications, all_products } => {
            let mut like = like_of(like);
            like.classifications = like.classifications.or(all_classifications.then(Vec::new));
            like.products = like.products.or(all_products.then(Vec::new));
            let rings = (!ring.is_empty()).then(|| rings(&ring));
            set(node, &rule, &ChangeRequest { name, rings, like }, out).await
        }
        RulesVerb::Enable { rule } => switch(node, &rule, true, out).await,
        RulesVerb::Disable { rule } => switch(node, &rule, false, out).await,
        RulesVerb::Remove { rule } => out.both(&node.delete::<Changed>(&path(&rule)).await?, changed),
        RulesVerb::Run { rule } => out.both(&node.post::<Ran>("/api/v1/rule-runs", &RunRequest { rule }).await?, ran),
        RulesVerb::Resume { rule, updates } => {
            let asked = ResumeRequest { updates };
            out.both(&node.post::<Resumed>(&format!("{}/resume", path(&rule)), &asked).await?, resumed)
        }
        RulesVerb::History { limit, csv } => {
            let history: History = node.get(&format!("/api/v1/rule-history?limit={}", wanted(limit))).await?;
            if csv { out.raw(lines_table(&history.rows)) } else { out.both(&history, happened) }
        }
        RulesVerb::ReadyMade { which: None, .. } => {
            out.both(&node.get::<ReadyMade>("/api/v1/rule-ready-made").await?, ready_made)
        }
        RulesVerb::ReadyMade { which, ring, name, like, disabled } => {
            let like = Like { enabled: disabled.then_some(false), ..like_of(like) };
            let asked = AddRequest { name, ready_made: which, rings: rings(&ring), like };
            out.both(&node.post::<Changed>(RULES, &asked).await?, changed)
        }
    })
}

async fn set(node: &Node, rule: &str, asked: &ChangeRequest, out: Out) -> Result<(), Fail> {
    out.both(&node.post::<Changed>(&path(rule), asked).await?, changed)
}

async fn switch(node: &Node, rule: &str, enabled: bool, out: Out) -> Result<(), Fail> {
    let like = Like { enabled: Some(enabled), ..Like::default() };
    set(node, rule, &ChangeRequest { like, ..ChangeRequest::default() }, out).await
}

fn path(rule: &str) -> String {
    format!("{RULES}/{}", segment(rule))
}

const fn wanted(limit: usize) -> usize {
    if limit == 0 || limit > ALL { ALL } else { limit }
}

/// Rings as people write them; a colon that no number follows belongs to the name.
fn rings(texts: &[String]) -> Vec<RingRequest> {
    let ring = |text: &String| {
        let days = text.rsplit_once(':').and_then(|(group, days)| Some((group, days.trim().parse().ok()?)));
        match days {
            Some((group, days)) => RingRequest { group: group.to_owned(), after_days: Some(days) },
            None => RingRequest { group: text.clone(), after_days: None },
        }
    };
    texts.iter().map(ring).collect()
}

fn like_of(like: RuleLike) -> Like {
    let RuleLike { classification, product, severity, newest_days, stop_percent, stop_sample, no_stop, deadline_days } =
        like;
    Like {
        classifications: (!classification.is_empty()).then_some(classification),
        products: (!product.is_empty()).then_some(product),
        severity,
        newest_days,
        stop_percent,
        stop_sample,
        no_stop,
        deadline_days,
        enabled: None,
    }
}

fn days(many: u32) -> String {
    size::counted(u64::from(many), "day")
}

/// The rings in one line: `Pilot, Contoso after 7 days`.
fn rings_told(rule: &Rule) -> String {
    let ring = |ring: &crate::admin::view::rules::Ring| match ring.after_days {
        0 => printable(&ring.group),
        many => format!("{} after {}", printable(&ring.group), days(many)),
    };
    rule.rings.iter().map(ring).collect::<Vec<_>>().join(", ")
}

/// What it takes, in one line.
fn takes_told(rule: &Rule) -> String {
    let named = |names: &[String], all: &str| {
        if names.is_empty() { all.to_owned() } else { printable(&names.join(", ")) }
    };
    let mut text = named(&rule.classifications, "all but upgrades and drivers");
    if !rule.products.is_empty() {
        add(&mut text, format_args!("; for {}", named(&rule.products, "")));
    }
    if let Some(severity) = &rule.severity {
        add(&mut text, format_args!("; {severity} and worse"));
    }
    if let Some(newest) = rule.newest_days {
        add(&mut text, format_args!("; not older than {}", days(newest)));
    }
    text
}

fn list(rules: &Rules) -> String {
    if rules.rows.is_empty() {
        return "there is no rule: `waystation rules ready-made` shows some that need not be written, `waystation rules add` makes one\n"
            .to_owned();
    }
    let mut grid = Grid::new(&["rule", "state", "due", "waiting", "stopped", "held", "done", "rings", "takes"]);
    for row in &rules.rows {
        grid.row([
            printable(&row.name),
            row.state.clone(),
            size::count(row.due),
            size::count(row.waiting),
            size::count(row.stopped),
            size::count(row.held),
            size::count(row.done),
            rings_told(row),
            takes_told(row),
        ]);
    }
    let mut text = grid.text();
    if let Some(failed) = &rules.failed {
        add(&mut text, format_args!("the last run did not end well: {}\n", printable(failed)));
    }
    if rules.rows.iter().any(|row| row.stopped + row.held > 0) {
        text.push_str("rules go no further with some updates: `waystation rules show` tells why\n");
    }
    if rules.rows.iter().any(|row| row.state == "broken") {
        text.push_str(
            "a group of a rule was removed, so that it does nothing: `waystation rules set RULE --ring ..`\n",
        );
    }
    text.push_str(&notes(&rules.notes));
    if let (Some(looked), Some(next)) = (rules.looked_at, rules.next_at) {
        add(&mut text, format_args!("looked at {looked}; again at {next} at the latest\n"));
    }
    text
}

fn told(rule: &Rule) -> String {
    let mut text = format!("{} ({})\n", printable(&rule.name), rule.state);
    add(&mut text, format_args!("takes     {}\n", takes_told(rule)));
    add(&mut text, format_args!("rings     {}\n", rings_told(rule)));
    match (rule.stop_percent, rule.stop_sample) {
        (Some(percent), Some(sample)) => add(
            &mut text,
            format_args!("stops     where more than {percent} % of at least {sample} established machines failed\n"),
        ),
        _ => text.push_str("stops     at no failures\n"),
    }
    match rule.deadline_days {
        Some(many) => add(&mut text, format_args!("deadline  {} after a ring gets it\n", days(many))),
        None => text.push_str("deadline  none\n"),
    }
    text
}

/// When something is, to the minute.
fn moment(time: crate::admin::view::Time) -> String {
    let text = time.to_string();
    text.get(..16).map_or_else(|| text.clone(), |minute| minute.replace('T', " "))
}

fn grid(rows: &[At], with_rule: bool) -> String {
    let mut head = vec!["update", "kb", "step", "what comes", "installed", "failed", "title"];
    if with_rule {
        head.insert(0, "rule");
    }
    let mut grid = Grid::new(&head);
    for row in rows {
        let mut cells = vec![
            row.update.chars().take(SHORT).collect(),
            if row.kbs.is_empty() { "-".to_owned() } else { row.kbs.join(" ") },
            row.step.clone(),
            rings_of(row),
            size::count(u64::from(row.installed)),
            size::count(u64::from(row.failed)),
            marked(if row.title.is_empty() { row.update.clone() } else { printable(&row.title) }, row.unauthenticated),
        ];
        if with_rule {
            cells.insert(0, printable(&row.rule));
        }
        grid.row(cells);
    }
    let mut text = grid.text();
    doubt(&mut text, rows.iter().any(|row| row.unauthenticated));
    text
}

/// Each ring with when it got an update, or gets it.
fn rings_of(row: &At) -> String {
    let ring = |ring: &crate::admin::view::rules::RingAt| {
        let group = printable(&ring.group);
        match (ring.since, ring.expected) {
            (Some(since), _) => format!("{group} has it since {}", moment(since)),
            (None, Some(at)) => format!("{group} {}", moment(at)),
            (None, None) => group,
        }
    };
    row.rings.iter().map(ring).collect::<Vec<_>>().join(", ")
}

/// What does not go on by itself, in a line each.
fn reasons(rows: &[At]) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| matches!(row.step.as_str(), "held" | "stopped" | "not-offered")) {
        let kb = row.kbs.first().map_or_else(|| row.update.chars().take(SHORT).collect(), |kb| format!("KB{kb}"));
        add(&mut text, format_args!("{kb}: {}\n", printable(&row.why)));
    }
    text
}

fn more(shown: &Shown) -> String {
    let rows = shown.rows.len() as u64;
    if rows < shown.total {
        format!("{} of {} shown; all with --limit 0\n", size::count(rows), size::count(shown.total))
    } else {
        String::new()
    }
}

fn notes(notes: &[String]) -> String {
    notes.iter().fold(String::new(), |mut text, note| {
        add(&mut text, format_args!("note: {}\n", printable(note)));
        text
    })
}

fn one(shown: &Shown) -> String {
    let mut text = shown.rules.iter().map(told).collect::<String>();
    if let Some(rule) = shown.rules.first() {
        add(&mut text, format_args!("made      {} by {}\n", rule.made_at, printable(&rule.made_by)));
        add(&mut text, format_args!("changed   {} by {}\n", rule.at, printable(&rule.by)));
        add(&mut text, format_args!("done      {}\n\n", size::counted(rule.done, "update")));
    }
    if shown.rows.is_empty() {
        text.push_str("it is at no update now\n");
    } else {
        text.push_str(&grid(&shown.rows, false));
        text.push_str(&reasons(&shown.rows));
    }
    text.push_str(&more(shown));
    if !shown.history.is_empty() {
        add(&mut text, format_args!("\n{}", lines(&shown.history, false)));
    }
    text.push_str(&notes(&shown.notes));
    add(&mut text, format_args!("{}\n", shown.effect));
    text
}

fn previewed(shown: &Shown) -> String {
    let mut text = String::new();
    if shown.rows.is_empty() {
        text.push_str(if shown.rules.iter().any(|rule| rule.enabled) || shown.rules.len() == 1 {
            "nothing would be approved, and nothing waits for its day\n"
        } else {
            "no rule is switched on: `waystation rules list` shows them; name one to see what it would do\n"
        });
    } else {
        text.push_str(&grid(&shown.rows, shown.rules.len() > 1));
        let due: u64 =
            shown.rules.iter().filter(|rule| rule.enabled || shown.rules.len() == 1).map(|rule| rule.due).sum();
        add(&mut text, format_args!("{} would be approved for a ring now\n", size::counted(due, "update")));
        text.push_str(&reasons(&shown.rows));
    }
    text.push_str(&more(shown));
    text.push_str(&notes(&shown.notes));
    add(&mut text, format_args!("nothing was changed; {}\n", shown.effect));
    text
}

fn changed(changed: &Changed) -> String {
    let mut text = changed.rule.as_ref().map_or_else(|| "removed\n".to_owned(), told);
    if let Some(rule) = changed.rule.as_ref().filter(|rule| rule.enabled) {
        let (due, waiting) = (size::counted(rule.due, "update"), size::counted(rule.waiting, "update"));
        add(&mut text, format_args!("now       {due} due for a ring, {waiting} waiting\n"));
    }
    text.push_str(&notes(&changed.notes));
    add(&mut text, format_args!("{}\n", changed.effect));
    text
}

fn ran(ran: &Ran) -> String {
    let mut text = String::new();
    if !ran.rows.is_empty() {
        let mut grid = Grid::new(&["update", "what was done"]);
        for row in &ran.rows {
            grid.row([printable(&row.update), printable(&row.text)]);
        }
        text.push_str(&grid.text());
    }
    if ran.state == "running" {
        add(&mut text, format_args!("it goes on: `waystation jobs show {} --follow`\n", ran.job));
    } else {
        add(&mut text, format_args!("{}: {}\n", ran.state, printable(&ran.result)));
    }
    text.push_str(&notes(&ran.notes));
    if !ran.rows.is_empty() {
        add(&mut text, format_args!("{}\n", ran.effect));
    }
    text
}

fn resumed(resumed: &Resumed) -> String {
    let mut text = String::new();
    let counted = |many: usize| size::counted(many as u64, "update");
    if !resumed.stopped.is_empty() {
        add(&mut text, format_args!("it goes on with {} that failures had stopped\n", counted(resumed.stopped.len())));
    }
    if !resumed.held.is_empty() {
        let many = counted(resumed.held.len());
        add(&mut text, format_args!("it goes on with {many} past a ring for which somebody said something else\n"));
    }
    add(&mut text, format_args!("{}\n", resumed.effect));
    text
}

fn lines(rows: &[Line], with_rule: bool) -> String {
    let mut head = vec!["at", "event", "by", "more"];
    if with_rule {
        head.insert(1, "rule");
    }
    let mut grid = Grid::new(&head);
    for row in rows {
        let text = if row.text.is_empty() { "-".to_owned() } else { printable(&row.text) };
        let mut cells = vec![row.at.to_string(), row.event.clone(), printable(&row.by), text];
        if with_rule {
            cells.insert(1, printable(&row.rule));
        }
        grid.row(cells);
    }
    grid.text()
}

fn happened(history: &History) -> String {
    if history.rows.is_empty() { "nothing happened to any rule\n".to_owned() } else { lines(&history.rows, true) }
}

fn ready_made(ready: &ReadyMade) -> String {
    let mut text = String::new();
    for row in &ready.rows {
        add(&mut text, format_args!("{} ({:?})\n  {}\n", row.word, row.name, row.about));
    }
    text.push_str("`waystation rules ready-made WORD --ring GROUP --ring GROUP:DAYS` adds one\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::Time;
    use crate::admin::view::rules::{Ring, RingAt};
    use crate::base::time::Timestamp;

    #[test]
    fn a_ring_is_a_group_and_days() {
        let texts = ["Pilot", "Contoso/Berlin: 7", "all:0", "Room: blue"].map(str::to_owned);
        let read: Vec<(String, Option<u32>)> =
            rings(&texts).into_iter().map(|ring| (ring.group, ring.after_days)).collect();
        let ring = |group: &str, days| (group.to_owned(), days);
        assert_eq!(
            read,
            [ring("Pilot", None), ring("Contoso/Berlin", Some(7)), ring("all", Some(0)), ring("Room: blue", None)]
        );
    }

    #[test]
    fn a_rule_is_told_with_its_rings_and_what_stands_in_the_way() {
        let ring = |group: &str, after_days| Ring { group: group.to_owned(), after_days, ..Ring::default() };
        let rule = Rule {
            name: "=R".to_owned(),
            enabled: true,
            state: "stopped".to_owned(),
            severity: Some("important".to_owned()),
            newest_days: Some(60),
            rings: vec![ring("Pilot", 0), ring("all", 7)],
            stop_percent: Some(10),
            stop_sample: Some(10),
            stopped: 1,
            ..Rule::default()
        };
        let rules = Rules { rows: vec![rule.clone()], ..Rules::default() };
        let text = list(&rules);
        assert!(text.contains("Pilot, all after 7 days") && text.contains("rules show"), "{text}");
        assert!(text.contains("all but upgrades and drivers; important and worse; not older than 60 days"), "{text}");
        assert!(rules_table(&rules.rows).contains("'=R"), "{}", rules_table(&rules.rows));
        assert!(list(&Rules::default()).contains("ready-made"));
        let at = |ms| Some(Time(Timestamp::from_ms(ms)));
        let row = At {
            rule: "R".to_owned(),
            update: "0fa1201d-4330-4fa8-8ae9-b877473b6441".to_owned(),
            kbs: vec!["5031234".to_owned()],
            step: "stopped".to_owned(),
            why: "stopped before ring 2 of 2: 2 of 10 established machines failed".to_owned(),
            rings: vec![
                RingAt { group: "Pilot".to_owned(), since: at(1_768_262_400_000), expected: None },
                RingAt { group: "all".to_owned(), since: None, expected: at(1_768_867_200_000) },
            ],
            ..At::default()
        };
        let shown = Shown {
            rules: vec![rule],
            rows: vec![row],
            total: 3,
            effect: "at the next scan".to_owned(),
            notes: vec!["mind this".to_owned()],
            ..Shown::default()
        };
        let text = one(&shown);
        assert!(text.contains("Pilot has it since 2026-01-13 00:00, all 2026-01-20 00:00"), "{text}");
        assert!(text.contains("KB5031234: stopped before ring 2") && text.contains("1 of 3 shown"), "{text}");
        assert!(text.contains("note: mind this\n") && text.ends_with("at the next scan\n"), "{text}");
        let text = previewed(&shown);
        assert!(text.contains("nothing was changed; at the next scan"), "{text}");
        assert_eq!(updates_table(&shown.rows).matches("\r\n").count(), 2);
    }
}
