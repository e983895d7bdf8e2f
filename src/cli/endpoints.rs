//! `endpoints list|show|admit|bind|forget`: the machines that scan against the node.

use crate::admin::view::endpoints::{BindRequest, Claims, Endpoint, Endpoints, EndpointsRequest, Ordered, Whole};
use crate::app::Loaded;
use crate::cli::csv;
use crate::cli::fail::Fail;
use crate::cli::node::{Node, segment};
use crate::cli::print::{Grid, Out, add};
use crate::cli::size;
use crate::cli::updates::{PAGE, SHORT};
use crate::cli::verbs::endpoints::{EndpointsVerb, Sieve};

/// Events that are shown to people; the JSON has more.
const EVENTS_SHOWN: usize = 20;

const NONE: &str =
    "no machine has scanned against this node yet: point some at it (`WUServer`), see docs/ENDPOINTS.md\n";

pub(in crate::cli) fn run(loaded: &Loaded, verb: EndpointsVerb, out: Out) -> Result<(), Fail> {
    if let EndpointsVerb::List(sieve) = &verb
        && sieve.csv
        && out.is_json()
    {
        return Err(Fail::usage("--csv and --json cannot both be printed", "leave one of them out"));
    }
    super::with(Node::any(loaded, false)?, async |node| match verb {
        EndpointsVerb::List(sieve) => list(node, &sieve, out).await,
        EndpointsVerb::Show { endpoint } => {
            let whole: Whole = node.get(&format!("/api/v1/endpoints/{}", segment(&endpoint))).await?;
            out.both(&whole, one)
        }
        EndpointsVerb::Admit { endpoints } => {
            let told: Ordered = node.post("/api/v1/endpoints/admit", &EndpointsRequest { endpoints }).await?;
            out.both(&told, admitted)
        }
        EndpointsVerb::Bind { endpoint, name } => {
            let whole: Whole = node.post("/api/v1/endpoints/bind", &BindRequest { endpoint, name }).await?;
            out.both(&whole, one)
        }
        EndpointsVerb::Forget { endpoints } => {
            let told: Ordered = node.post("/api/v1/endpoints/forget", &EndpointsRequest { endpoints }).await?;
            out.both(&told, forgotten)
        }
    })
}

/// The query string, page and limit left out.
fn query(sieve: &Sieve) -> String {
    let mut query = String::new();
    let unseen = sieve.unseen.map(|days| days.to_string());
    for (key, value) in [
        ("text", sieve.filter.as_deref()),
        ("held", sieve.held.then_some("true")),
        ("contested", sieve.contested.then_some("true")),
        ("clones", sieve.clones.then_some("true")),
        ("roaming", sieve.roaming.then_some("true")),
        ("unseen_days", unseen.as_deref()),
        ("group", sieve.group.as_deref()),
    ] {
        if let Some(value) = value {
            add(&mut query, format_args!("&{key}={}", segment(value)));
        }
    }
    query
}

async fn list(node: &Node, sieve: &Sieve, out: Out) -> Result<(), Fail> {
    let (query, limit) = (query(sieve), sieve.limit);
    let mut after = sieve.after.clone();
    let mut all = Endpoints::default();
    loop {
        let wanted = if limit == 0 { PAGE } else { limit.saturating_sub(all.rows.len()).clamp(1, PAGE) };
        let behind = after.take().map(|after| format!("&after={}", segment(&after))).unwrap_or_default();
        let page: Endpoints = node.get(&format!("/api/v1/endpoints?limit={wanted}{query}{behind}")).await?;
        after.clone_from(&page.next);
        all.rows.extend(page.rows);
        (all.total, all.known, all.next) = (page.total, page.known, page.next);
        if after.is_none() || (limit > 0 && all.rows.len() >= limit) {
            break;
        }
    }
    if sieve.csv {
        if all.known == 0 {
            out.warn(NONE.trim_end());
        }
        return out.raw(table(&all.rows));
    }
    out.both(&all, people)
}

fn named(row: &Endpoint) -> String {
    if row.name.is_empty() { row.id.clone() } else { row.name.clone() }
}

/// What became of it, in a word or two.
fn state(row: &Endpoint) -> String {
    let contested = match (row.clones, row.contests) {
        (true, _) => ", clones",
        (false, 0) => "",
        (false, _) => ", contested",
    };
    format!("{}{contested}", row.state)
}

fn place(row: &Endpoint) -> String {
    let roaming = if row.roaming { ", roaming" } else { "" };
    format!("{}{roaming}", row.address)
}

fn people(all: &Endpoints) -> String {
    if all.known == 0 {
        return NONE.to_owned();
    }
    if all.rows.is_empty() {
        return format!("none fits of {}\n", size::counted(all.known, "endpoint"));
    }
    let mut grid = Grid::new(&["endpoint", "name", "system", "state", "last heard of", "last scan", "address"]);
    for row in &all.rows {
        grid.row([
            row.id.chars().take(SHORT).collect(),
            named(row),
            row.os.clone(),
            state(row),
            row.last.to_string(),
            row.last_scan.map_or_else(|| "-".to_owned(), |at| at.to_string()),
            place(row),
        ]);
    }
    let mut text = grid.text();
    if let Some(next) = &all.next {
        let (shown, total) = (size::count(all.rows.len() as u64), size::count(all.total));
        add(&mut text, format_args!("{shown} of {total}; the next ones with --after '{next}', all with --limit 0\n"));
    }
    let count = |is: fn(&Endpoint) -> bool| all.rows.iter().filter(|row| is(row)).count() as u64;
    let held = count(|row| row.state == "held");
    if held > 0 {
        let (held, wait) = (size::counted(held, "endpoint"), if held == 1 { "waits" } else { "wait" });
        add(&mut text, format_args!("{held} {wait} to be let in: `waystation endpoints admit NAME`\n"));
    }
    if count(|row| row.contests > 0) > 0 {
        text.push_str("contested: another machine came with the id, and is not served; `waystation endpoints show NAME` tells which\n");
    }
    text
}

fn admitted(told: &Ordered) -> String {
    let mut grid = Grid::new(&["endpoint", "name", "state"]);
    for row in &told.rows {
        grid.row([row.id.chars().take(SHORT).collect(), named(row), state(row)]);
    }
    let mut text = grid.text();
    let same = (told.rows.len() as u64).saturating_sub(told.changed);
    if same > 0 {
        let (endpoints, was) = (size::counted(same, "endpoint"), if same == 1 { "was" } else { "were" });
        add(&mut text, format_args!("{endpoints} {was} let in already\n"));
    }
    if told.changed > 0 {
        text.push_str("served from their next scan on: an agent that was told no comes again by itself within hours\n");
    }
    text
}

fn forgotten(told: &Ordered) -> String {
    told.rows.iter().fold(String::new(), |mut text, row| {
        add(&mut text, format_args!("forgot {} ({})\n", named(row), row.id));
        text
    })
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// One endpoint for people.
fn one(whole: &Whole) -> String {
    let short = &whole.short;
    let mut grid = Grid::new(&["", ""]);
    let mut row = |key: &str, value: String| grid.row([key.to_owned(), value]);
    row("name", or_dash(&short.name));
    row("id", short.id.clone());
    row("system", format!("{} ({})", short.os, short.version));
    row("machine", or_dash(format!("{} {}", short.maker, short.model).trim()));
    let firmware: Vec<&str> = whole.firmware.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    row("firmware", or_dash(&firmware.join(", ")));
    row("architecture", or_dash(&short.architecture));
    row("agent", or_dash(&short.agent));
    if !short.targets.is_empty() {
        row("groups by its own word", short.targets.join("; "));
    }
    row("state", state_at_length(short));
    let site = if short.roaming { ", outside the site: roaming" } else { ", on site" };
    row("address", format!("{}{site}", short.address));
    row("first seen", short.first.to_string());
    row("last heard of", short.last.to_string());
    row("last registered", whole.registered.to_string());
    for (key, at) in
        [("last scan", short.last_scan), ("last asked for files", whole.last_files), ("last report", short.last_report)]
    {
        row(key, at.map_or_else(|| "never".to_owned(), |at| at.to_string()));
    }
    if let Some(says) = whole.says_it_has {
        row("says it has", claims(says));
    }
    let mut text = grid.text();
    contests(&mut text, whole);
    history(&mut text, whole);
    text
}

/// What it says it downloaded or installed, by what stands behind that.
fn claims(says: Claims) -> String {
    let Claims { corroborated, from_its_address, self_reported } = says;
    match corroborated.saturating_add(from_its_address).saturating_add(self_reported) {
        0 => "no update".to_owned(),
        all => format!(
            "{}: {} corroborated by bytes that were sent to it, {} by bytes sent to its address, {} self-reported only (`waystation \
             compliance show`)",
            size::counted(all, "update"),
            size::count(corroborated),
            size::count(from_its_address),
            size::count(self_reported)
        ),
    }
}

fn state_at_length(short: &Endpoint) -> String {
    if short.state == "held" {
        return "held: it is not served until `waystation endpoints admit` lets it in".to_owned();
    }
    short.state.clone()
}

fn contests(text: &mut String, whole: &Whole) {
    if whole.contested_by.is_empty() {
        return;
    }
    text.push_str("\nother machines came with this id, and are not served:\n");
    let mut grid = Grid::new(&["name", "machine", "address", "first", "last", ""]);
    for other in &whole.contested_by {
        grid.row([
            or_dash(&other.name),
            or_dash(format!("{} {}", other.maker, other.model).trim()),
            other.address.clone(),
            other.first.to_string(),
            other.last.to_string(),
            if other.clone { "comes in turns with it: a clone" } else { "" }.to_owned(),
        ]);
    }
    text.push_str(&grid.text());
    let name = named(&whole.short);
    if whole.contested_by.iter().any(|other| !other.clone) {
        add(
            text,
            format_args!(
                "where one of them is this machine under a new name or with other hardware: `waystation endpoints bind {name} MACHINE`\n"
            ),
        );
    }
    if whole.short.clones {
        text.push_str("a clone needs an id of its own: `waystation endpoints bind --help` tells how\n");
    }
}

fn history(text: &mut String, whole: &Whole) {
    if whole.history.is_empty() {
        return;
    }
    text.push_str("\nhistory, the newest first:\n");
    let mut grid = Grid::new(&["", "", ""]);
    for event in whole.history.iter().rev().take(EVENTS_SHOWN) {
        grid.row([event.at.to_string(), event.kind.replace('-', " "), event.text.clone()]);
    }
    text.push_str(&grid.text());
    let rest = whole.history.len().saturating_sub(EVENTS_SHOWN);
    if rest > 0 {
        add(text, format_args!("and {}, with --json\n", size::counted(rest as u64, "older event")));
    }
}

/// All rows as CSV.
fn table(rows: &[Endpoint]) -> String {
    let mut text = String::new();
    csv::row(
        &mut text,
        [
            "id",
            "name",
            "system",
            "version",
            "server",
            "maker",
            "model",
            "architecture",
            "agent",
            "targets",
            "address",
            "roaming",
            "state",
            "contests",
            "clones",
            "first",
            "last",
            "last_scan",
            "last_report",
        ],
    );
    for row in rows {
        let or_empty = |at: Option<crate::admin::view::Time>| at.map(|at| at.to_string()).unwrap_or_default();
        csv::row(
            &mut text,
            [
                row.id.clone(),
                row.name.clone(),
                row.os.clone(),
                row.version.clone(),
                row.server.map(|server| server.to_string()).unwrap_or_default(),
                row.maker.clone(),
                row.model.clone(),
                row.architecture.clone(),
                row.agent.clone(),
                row.targets.join("; "),
                row.address.clone(),
                row.roaming.to_string(),
                row.state.clone(),
                row.contests.to_string(),
                row.clones.to_string(),
                row.first.to_string(),
                row.last.to_string(),
                or_empty(row.last_scan),
                or_empty(row.last_report),
            ],
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::Time;
    use crate::admin::view::endpoints::{Contest, Event};
    use crate::base::time::Timestamp;

    fn endpoint(name: &str) -> Endpoint {
        let at = Time(Timestamp::from_ms(1_700_000_000_000));
        Endpoint {
            id: "e1da06a3-5601-43c9-bac3-52d5db701494".to_owned(),
            name: name.to_owned(),
            os: "Windows 11 24H2".to_owned(),
            version: "10.0.26100".to_owned(),
            server: Some(false),
            maker: "M".to_owned(),
            model: "1".to_owned(),
            architecture: "AMD64".to_owned(),
            agent: "1507.1.2.0".to_owned(),
            targets: vec![],
            address: "10.0.0.1".to_owned(),
            roaming: true,
            state: "held".to_owned(),
            contests: 1,
            clones: false,
            first: at,
            last: at,
            last_scan: None,
            last_report: None,
        }
    }

    #[test]
    fn a_list_says_what_is_to_be_done() {
        let all = Endpoints { rows: vec![endpoint("pc1")], total: 1, known: 3, next: None };
        let told = people(&all);
        assert!(told.contains("e1da06a3  pc1   Windows 11 24H2  held, contested"), "{told}");
        assert!(told.contains("10.0.0.1, roaming") && told.contains("1 endpoint waits to be let in"), "{told}");
        assert!(people(&Endpoints { known: 3, ..Endpoints::default() }).contains("none fits of 3 endpoints"));
        assert!(people(&Endpoints::default()).contains("WUServer"));
    }

    #[test]
    fn one_endpoint_says_who_contests_it_and_what_happened() {
        let at = Time(Timestamp::from_ms(1_700_000_000_000));
        let other = |name: &str, clone| Contest {
            name: name.to_owned(),
            maker: "M".to_owned(),
            model: "2".to_owned(),
            address: "10.0.0.2".to_owned(),
            first: at,
            last: at,
            times: 2,
            clone,
        };
        let event = Event { at, kind: "first-seen".to_owned(), text: "\"pc1\" from 10.0.0.1".to_owned() };
        let mut whole = Whole {
            short: endpoint("pc1"),
            firmware: [String::new(), "1.2".to_owned(), String::new()],
            registered: at,
            last_files: None,
            contested_by: vec![other("pc2", false)],
            history: vec![event; EVENTS_SHOWN + 3],
            says_it_has: Some(Claims { corroborated: 2, from_its_address: 1, self_reported: 1_000 }),
        };
        let told = one(&whole);
        assert!(told.contains("held: it is not served until") && told.contains("endpoints bind pc1 MACHINE"), "{told}");
        assert!(told.contains("first seen") && told.contains("and 3 older events, with --json"), "{told}");
        assert!(!told.contains("a clone needs"), "{told}");
        assert!(told.contains("1,003 updates: 2 corroborated") && told.contains(" 1,000 self-reported only"), "{told}");
        whole.contested_by = vec![other("pc2", true)];
        whole.short.clones = true;
        let told = one(&whole);
        assert!(told.contains("a clone needs an id of its own") && !told.contains("bind pc1 MACHINE"), "{told}");
    }

    #[test]
    fn a_name_is_no_formula_in_csv() {
        let text = table(&[endpoint("=1+1")]);
        assert!(text.starts_with("id,name,system,version,"), "{text}");
        assert!(
            text.contains(",\"'=1+1\",Windows 11 24H2,10.0.26100,false,M,1,AMD64,1507.1.2.0,,10.0.0.1,true,held,1,"),
            "{text}"
        );
    }
}
