//! `nodes show|config|sync|content|reparent`, `compliance nodes` and `leave`: one node below, and what is told of all.

use std::collections::BTreeMap;

use crate::admin::view::nodes::{Node as Row, Tally};
use crate::admin::view::subtree::{ByNode, ConfigRequest, Endpoints, Left, Order, OrderRequest, Shown};
use crate::app::Loaded;
use crate::cli::fail::Fail;
use crate::cli::node::{Node, segment};
use crate::cli::print::{Grid, Out, add, printable};
use crate::cli::size;
use crate::model::settings::Raw;

const NODES: &str = "/api/v1/nodes";

/// A name, below that of the node that it reports to.
pub(super) fn indented(row: &Row) -> String {
    format!("{}{}", "  ".repeat(row.path.len().saturating_sub(1)), printable(&row.name))
}

pub(super) async fn show(node: &Node, name: &str, out: Out) -> Result<(), Fail> {
    let shown: Shown = node.get(&format!("{NODES}/{}", segment(name))).await?;
    out.both(&shown, told)
}

pub(super) async fn config(
    node: &Node,
    name: &str,
    (settings, unset, fingerprint): (Vec<String>, Vec<String>, Option<String>),
    out: Out,
) -> Result<(), Fail> {
    if settings.is_empty() && unset.is_empty() {
        let shown: Shown = node.get(&format!("{NODES}/{}", segment(name))).await?;
        return out.both(&shown, settings_told);
    }
    let mut changes: BTreeMap<String, Option<Raw>> = unset.into_iter().map(|key| (key, None)).collect();
    for setting in settings {
        let (key, value) = setting.split_once('=').ok_or_else(|| {
            Fail::usage(
                format!("{setting:?} is no KEY=VALUE"),
                "for example sync.enabled=true; --unset KEY takes it back",
            )
        })?;
        changes.insert(key.trim().to_owned(), Some(read(value)));
    }
    let request = ConfigRequest { settings: changes, fingerprint };
    let shown: Shown = node.post(&format!("{NODES}/{}/config", segment(name)), &request).await?;
    out.both(&shown, settings_told)
}

/// A switch and a number are ones; all else is text, which the node reads as its setting wants it.
fn read(value: &str) -> Raw {
    match value {
        "true" => Raw::Switch(true),
        "false" => Raw::Switch(false),
        _ => value.parse().map_or_else(|_| Raw::Text(value.to_owned()), Raw::Number),
    }
}

pub(super) async fn order(node: &Node, name: &str, verb: &str, token: Option<String>, out: Out) -> Result<(), Fail> {
    let request = OrderRequest { verb: verb.to_owned(), token };
    let order: Order = node.post(&format!("{NODES}/{}/orders", segment(name)), &request).await?;
    out.both(&order, |order| {
        format!(
            "order {} goes out; `waystation nodes show {}` tells what came of it, until {} at the latest\n",
            order.number,
            printable(name),
            order.until
        )
    })
}

pub(super) async fn compliance(
    node: &Node,
    name: Option<&str>,
    after: Option<String>,
    limit: u32,
    out: Out,
) -> Result<(), Fail> {
    let Some(name) = name else {
        let by: ByNode = node.get("/api/v1/compliance/nodes").await?;
        return out.both(&by, by_node);
    };
    let after = after.map(|after| format!("&after={}", segment(&after))).unwrap_or_default();
    let page: Endpoints = node.get(&format!("{NODES}/{}/endpoints?limit={limit}{after}", segment(name))).await?;
    out.both(&page, endpoints)
}

/// `leave`.
pub(in crate::cli) fn leave(loaded: &Loaded, out: Out) -> Result<(), Fail> {
    super::with(super::running(loaded)?, async |node| {
        let left: Left = node.post(&format!("{NODES}/leave"), &()).await?;
        out.both(&left, |left| format!("{}\n", left.note))
    })
}

fn cells(tally: &Tally) -> [String; 6] {
    let Tally { endpoints, compliant, missing, failed, restart, unscanned } = *tally;
    [endpoints, compliant, missing, failed, restart, unscanned].map(|count| count.to_string())
}

fn by_node(by: &ByNode) -> String {
    let mut grid =
        Grid::new(&["node", "status", ">endpoints", ">compliant", ">missing", ">failed", ">restart", ">not scanned"]);
    for row in &by.rows {
        grid.row([indented(row), row.status.clone()].into_iter().chain(cells(&row.endpoints)));
    }
    grid.row(["all".to_owned(), String::new()].into_iter().chain(cells(&by.all)));
    grid.text()
}

fn endpoints(page: &Endpoints) -> String {
    if page.rows.is_empty() {
        return "that node has told of no endpoint\n".to_owned();
    }
    let mut grid = Grid::new(&["name", "system", "compliant", "missing", "installed", "failed", "last heard", "id"]);
    for row in &page.rows {
        let many = |state: &str| row.states.get(state).copied().unwrap_or(0).to_string();
        let heard = row.contact.map_or_else(|| "-".to_owned(), |at| at.to_string());
        let compliant = if row.compliant { "yes" } else { "no" }.to_owned();
        let (name, system) = (printable(&row.name), printable(&row.system));
        let missing = row.missing.to_string();
        grid.row([name, system, compliant, missing, many("installed"), many("failed"), heard, row.id.clone()]);
    }
    let mut text = grid.text();
    if let Some(next) = &page.next {
        add(&mut text, format_args!("there may be more: --after {next}\n"));
    }
    text
}

fn told(shown: &Shown) -> String {
    let (row, beat) = (&shown.node, &shown.heartbeat);
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            add(&mut text, format_args!("{name:<11} {}\n", printable(&value)));
        }
    };
    line("node", format!("{} ({})", row.name, row.node));
    line("path", row.path.join(" / "));
    line("status", row.status.clone());
    line("standing", row.standing.clone());
    line("fingerprint", row.fingerprint.clone());
    line("version", row.version.clone());
    line("heard", row.heard.map(|at| at.to_string()).unwrap_or_default());
    line("upstream", format!("{} {}", beat.upstream, beat.mode).trim().to_owned());
    let as_of = beat.as_of.map(|at| at.to_string()).unwrap_or_default();
    line("feed", beat.state.as_ref().map(|state| format!("{state} {as_of}").trim().to_owned()).unwrap_or_default());
    line("at", beat.position.clone().unwrap_or_default());
    let synced = beat.synced.map(|at| at.to_string()).unwrap_or_default();
    line("synced", format!("{synced} {}", beat.synced_how).trim().to_owned());
    line("held", format!("{} in {} payloads", size::bytes(beat.held), beat.payloads));
    line("disk", format!("{} free, {} may be used", size::bytes(beat.free), size::bytes(beat.disk)));
    let hits = beat.hits_permille.map(|hits| format!("{}.{} %", hits / 10, hits % 10)).unwrap_or_default();
    line("hit ratio", hits);
    line("saved", size::bytes(beat.sent.saturating_sub(beat.fetched)));
    line("below", shown.below.join(", "));
    for alarm in &beat.alarms {
        line("alarm", alarm.clone());
    }
    for error in &beat.errors {
        line("error", error.clone());
    }
    let mut grid = Grid::new(&[">endpoints", ">compliant", ">missing", ">failed", ">restart", ">not scanned"]);
    grid.row(cells(&row.endpoints));
    text.push('\n');
    text.push_str(&grid.text());
    if !shown.orders.is_empty() {
        let mut grid = Grid::new(&["order", "what", "by", "at", "came of it"]);
        for order in &shown.orders {
            let came = order.answer.as_ref();
            let came = came.map_or_else(|| "-".to_owned(), |said| format!("{}: {}", said.outcome, said.text));
            let (verb, by) = (printable(&order.verb), printable(&order.by));
            grid.row([order.number.to_string(), verb, by, order.at.to_string(), printable(&came)]);
        }
        text.push('\n');
        text.push_str(&grid.text());
    }
    text.push('\n');
    text.push_str(&settings_told(shown));
    text
}

fn settings_told(shown: &Shown) -> String {
    let mut grid = Grid::new(&["setting", "value there", "from", "wished", "came of it"]);
    let wished: BTreeMap<&str, _> = shown.wished.iter().map(|wish| (wish.key.as_str(), wish)).collect();
    let mut keys: Vec<&str> = wished.keys().copied().collect();
    keys.extend(shown.settings.iter().map(|one| one.key.as_str()).filter(|key| !wished.contains_key(key)));
    keys.sort_unstable();
    for key in keys {
        let is = shown.settings.iter().find(|one| one.key == key);
        let value = is.map_or_else(|| "-".to_owned(), |one| one.value.to_string());
        let from = is.map_or_else(
            || "-".to_owned(),
            |one| {
                let locked = if one.locked { ", locked" } else { "" };
                let waits = one.waits.as_ref().map(|waits| format!("; {waits}")).unwrap_or_default();
                format!("{}{locked}{waits}", one.place)
            },
        );
        let wish = wished.get(key);
        let wished = wish.map_or_else(
            || "-".to_owned(),
            |wish| wish.value.as_ref().map_or_else(|| "(secret)".to_owned(), ToString::to_string),
        );
        let came = wish.map_or_else(
            || "-".to_owned(),
            |wish| {
                wish.answer
                    .as_ref()
                    .map_or_else(|| "nothing yet".to_owned(), |said| format!("{}: {}", said.outcome, said.text))
            },
        );
        grid.row([key.to_owned(), value, from, wished, came].map(|cell| printable(&cell)));
    }
    if grid.is_empty() {
        return "all settings are as shipped, as far as it told, and none is wished of it\n".to_owned();
    }
    grid.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::subtree::Wished;
    use crate::model::chain::below::{Actual, Answer};

    #[test]
    fn what_is_locked_and_what_came_of_a_wish_is_shown() {
        let mut shown = Shown::default();
        assert!(settings_told(&shown).contains("as shipped"));
        let (key, place) = ("store.path".to_owned(), "w.toml:3".to_owned());
        shown.settings.push(Actual { key: key.clone(), value: "/data".into(), place, locked: true, waits: None });
        let answer = Answer { outcome: "refused".into(), text: "fixed\u{1b}".into(), ..Answer::default() };
        shown.wished.push(Wished { key, value: Some("/x".into()), answer: Some(answer), ..Wished::default() });
        shown.wished.push(Wished { key: "proxy.password".into(), ..Wished::default() });
        let text = settings_told(&shown);
        for part in ["locked", "refused: fixed", "(secret)", "nothing yet"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains('\u{1b}'));
        assert!(told(&shown).contains("ENDPOINTS"));
        assert_eq!((read("true"), read("7"), read("6h")), (Raw::Switch(true), Raw::Number(7), Raw::from("6h")));
    }

    #[test]
    fn nodes_stand_below_the_one_that_they_report_to() {
        let node = |name: &str, path: &[&str]| Row {
            name: name.into(),
            path: path.iter().map(ToString::to_string).collect(),
            ..Row::default()
        };
        let by = ByNode { rows: vec![node("a", &["a"]), node("b", &["a", "b"])], ..ByNode::default() };
        assert!(by_node(&by).lines().any(|line| line.starts_with("  b")), "{}", by_node(&by));
    }
}
