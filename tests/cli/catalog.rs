//! The verbs of the catalog: `updates ..` with and without a node, `filters ..` over a restart.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use waystation::base::disk::RealDisk;
use waystation::base::time::SystemClock;
use waystation::store::{Config, Store};

use super::*;
use crate::made_catalog::{id, import, updates};

/// Puts a catalog into a data directory on which no node runs.
pub(crate) async fn stock(data: &Path, from_wsus: bool) {
    let config = Config {
        path: data.to_owned(),
        max_size: 1 << 30,
        min_free: 0,
        unproven: Duration::from_hours(24),
        index_cache: 1 << 20,
        open_payloads: 16,
        io_threads: 2,
    };
    let (store, _) = Store::open(config, Arc::new(RealDisk), Arc::new(SystemClock)).unwrap();
    import(&store.catalog(), updates(b"some bytes"), from_wsus).await;
    store.close().await.unwrap();
}

pub(crate) fn well(data: &Path, args: &[&str]) -> String {
    let output = run(data, args);
    assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

pub(crate) fn ill(data: &Path, args: &[&str]) -> String {
    let output = run(data, args);
    assert!(!output.status.success(), "{args:?}: {}", text(&output.stdout));
    text(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_are_listed_searched_and_shown_without_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    stock(data, false).await;
    let listed = well(data, &["updates", "list"]);
    let line = |text: &str, part: &str| text.lines().find(|line| line.contains(part)).unwrap_or_default().to_owned();
    let row = line(&listed, "(KB5031234)");
    assert!(row.starts_with("00000010  5031234  2026-01-13  critical   Hotfixes"), "{listed}");
    assert!(!listed.contains("00000011") && !listed.contains("plain HTTP"), "{listed}");
    let found = well(data, &["updates", "search", "cumulative", "paper", "--state", "superseded"]);
    assert!(found.contains("KB5030001") && !found.contains("KB5031234"), "{found}");
    let some = well(data, &["updates", "list", "--limit", "2"]);
    let place = some.split("--after ").nth(1).and_then(|rest| rest.split(',').next()).unwrap().to_owned();
    assert!(some.contains("2 of 5;"), "{some}");
    let rest = well(data, &["updates", "list", "--after", &place]);
    assert!(!rest.contains("00000015") && rest.contains("00000010") && !rest.contains("--after"), "{rest}");
    assert!(well(data, &["updates", "search", "nowhere"]).contains("nothing fits among 11 updates"));
    let error = ill(data, &["updates", "list", "--product", "Papr"]);
    assert!(error.contains("did you mean \"Paper\"?") && error.contains("filters list --available"), "{error}");

    let shown = well(data, &["updates", "show", "KB5031234"]);
    for part in [
        "Contoso > Desk > Paper",
        "CVE-2026-0001",
        "restart     always",
        "can be removed again",
        "licence",
        "supersedes (2):",
        "(not in the catalog)",
        "bundles (2):",
        "1 file, 10 B, none held:",
        "windows-x64.cab",
    ] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    let whole: Value = serde_json::from_str(&well(data, &["updates", "show", "00000010", "--json"])).unwrap();
    assert_eq!((&whole["id"], &whole["files_held"]), (&id(0x10).to_string().into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_is_for_spreadsheets_and_runs_nothing_there() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    stock(data, true).await;
    let csv = well(data, &["updates", "list", "--hidden", "--limit", "0", "--csv"]);
    assert_eq!(csv.matches("\r\n").count(), 12, "{csv}");
    assert!(csv.starts_with("id,revision,kb,title,created,severity,"), "{csv}");
    assert!(csv.contains(",\"'=SUM(A1), \"\"Pen\"\" driver update\",2026-01-13T00:00:19Z,"), "{csv}");
    assert!(csv.contains(",\"'=part of an update\","), "{csv}");
    let bundle = csv.lines().find(|line| line.contains("(KB5031234)")).unwrap_or_default();
    assert!(bundle.contains(",software,true,1,10,true,"), "what a bundle weighs with its parts: {bundle}");
    let output = run(data, &["updates", "list", "--csv", "--json"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let listed = well(data, &["updates", "list"]);
    assert!(
        listed.contains("published *") && listed.contains("* unauthenticated: it came over plain HTTP"),
        "{listed}"
    );
    assert!(well(data, &["updates", "show", "KB5031234"]).contains("unauthenticated"));
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_set_by_name_kept_by_id_and_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    stock(data, false).await;
    let mut node = NodeProcess::start(data, &[]);
    let names = |filters: &Value, key: &str| {
        let entries = filters[key]["entries"].as_array().unwrap();
        entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let shipped = node.json(&["filters", "list"]);
    assert!(names(&shipped, "products").contains(&"Windows 11".to_owned()), "{shipped}");
    assert!(!names(&shipped, "classifications").contains(&"Drivers".to_owned()), "{shipped}");
    assert_eq!(shipped["products"]["set"]["layer"], "default");

    let set = node.json(&["filters", "set", "products", "paper", "Contoso > Pen"]);
    assert_eq!(names(&set, "products"), ["Paper", "Pen"]);
    let from = set["products"]["set"]["from"].as_str().unwrap();
    assert!(from.starts_with("run time, by ") && from.contains(", at 20"), "{from}");
    assert_eq!(set["products"]["set"]["value"], serde_json::json!([id(3).to_string(), id(4).to_string()]));
    node.json(&["filters", "set", "classifications", "--add", "Hotfixes"]);
    assert_eq!(names(&node.json(&["filters", "set", "languages", "German", "en"]), "languages"), ["German", "English"]);
    let listed = well(data, &["filters", "list"]);
    assert!(listed.contains("; set at run time by ") && !listed.contains("set by run time"), "{listed}");
    let listed = well(data, &["filters", "list", "--available", "--filter", "pap"]);
    assert_eq!(listed, "[ ] Contoso\n[ ]   Desk\n[x]     Paper\n");

    let both = ["filters", "set", "products", "--add", "Desk", "--remove", "paper", "--remove", "pen"];
    assert_eq!(names(&node.json(&both), "products"), ["Desk"]);
    node.json(&["filters", "set", "products", "paper", "pen"]);
    assert_eq!(run(data, &["filters", "set", "products", "paper", "--add", "pen"]).status.code(), Some(2));
    let error = ill(data, &["filters", "set", "products", "--remove", "Contoso"]);
    assert!(
        error.contains("is not among the products") && error.contains("filters list` shows what is chosen"),
        "{error}"
    );

    let error = ill(data, &["filters", "set", "products", "--add", "Papr", "Hotfixes"]);
    assert!(error.contains("did you mean \"Paper\"?") && error.contains("\"Hotfixes\" is a classification"), "{error}");
    let error = ill(data, &["filters", "set", "products", "--remove", "paper", "pen"]);
    assert!(error.contains("no products are chosen"), "{error}");
    assert_eq!(
        names(&node.json(&["filters", "list"]), "products"),
        ["Paper", "Pen"],
        "what was refused changed nothing"
    );

    node.signal(Signal::TERM);
    assert!(node.ended().success());
    // The file's word counts more, and what stands there wrong is told; below a WSUS all of it counts nothing.
    std::fs::write(
        data.join("waystation.toml"),
        "[upstream]\nkind = \"wsus\"\nurl = \"http://127.0.0.1:9\"\n[filters]\nclassifications = [\"Hotfixes\", \"Hotfixs\"]\n",
    )
    .unwrap();
    let node = NodeProcess::start(data, &[]);
    let listed = well(data, &["filters", "list"]);
    assert!(listed.starts_with("these filters have no effect here: the upstream is a WSUS"), "{listed}");
    let available = well(data, &["filters", "list", "--available"]);
    assert!(available.starts_with("these filters have no effect here: the upstream is a WSUS"), "{available}");
    assert!(well(data, &["filters", "set", "languages", "de"]).starts_with("these filters have no effect here"));
    assert!(listed.contains("waystation.toml:5, locked):\n  Hotfixes\n  left out: no classification"), "{listed}");
    assert_eq!(names(&node.json(&["filters", "list"]), "products"), ["Paper", "Pen"]);
    assert!(ill(data, &["filters", "set", "classifications", "Hotfixes"]).contains("locked by waystation.toml:5"));
    let reset = well(data, &["filters", "reset"]);
    assert!(reset.starts_with("taken back: products, languages\n"), "{reset}");
    assert_eq!(names(&node.json(&["filters", "list"]), "products"), names(&shipped, "products"));
    assert!(well(data, &["filters", "reset", "products"]).starts_with("nothing was set at run time"));
}

#[test]
fn an_empty_catalog_says_how_to_fill_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let _node = NodeProcess::start(data, &[]);
    for args in [&["updates", "list"][..], &["updates", "search", "x", "--severity", "critical"], &["filters", "list"]]
    {
        assert!(well(data, args).contains("waystation sync start"), "{args:?}");
    }
    assert!(ill(data, &["updates", "show", "KB5031234"]).contains("waystation sync start"));
    let job = ill(data, &["jobs", "show", "99"]);
    assert!(job.contains("none over a restart") && job.contains("waystation sync history"), "{job}");
    let csv = run(data, &["updates", "list", "--csv"]);
    assert!(csv.status.success() && text(&csv.stdout).lines().count() == 1, "{csv:?}");
    assert!(text(&csv.stderr).starts_with("warning: the catalog is empty"), "{csv:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_lost_index_nobody_says_that_nothing_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    stock(data, false).await;
    std::fs::remove_file(data.join("node.redb")).unwrap();
    let _node = NodeProcess::start(data, &[]);
    for verb in [
        &["updates", "list"][..],
        &["updates", "search", "paper"],
        &["updates", "show", "KB5031234"],
        &["filters", "list"],
        &["plan"],
        &["prefetch", "status"],
        &["sync", "status"],
        &["sync", "history"],
        &["sync", "start"],
        &["groups", "list"],
        &["endpoints", "list"],
        &["approvals", "list"],
        &["compliance", "summary"],
    ] {
        let error = ill(data, verb);
        assert!(error.contains("READ-ONLY") && error.contains("waystation restore FILE"), "{verb:?}: {error}");
        assert!(!error.contains("sync start") && !error.contains("goes on from there"), "{verb:?}: {error}");
    }
    let status = well(data, &["status"]);
    assert!(status.contains("READ-ONLY") && status.contains("the index is missing or damaged"), "{status}");
    assert!(!status.contains("begin with"), "{status}");
    well(data, &["content", "list"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_knows_beginnings_and_what_cannot_be_found_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    stock(data, false).await;
    let found = well(data, &["updates", "search", "KB50312"]);
    assert!(found.contains("(KB5031234)") && !found.contains("(KB5031111)"), "{found}");
    let found = well(data, &["updates", "search", "kb5031", "paper"]);
    assert!(found.contains("(KB5031234)") && found.contains("for Paper (KB5031111)"), "{found}");
    assert!(!found.contains("for Pen"), "{found}");
    assert!(well(data, &["updates", "list", "--kb", "KB50312"]).contains("nothing fits"), "--kb wants it whole");
    assert_eq!(run(data, &["updates", "search", ""]).status.code(), Some(2));
    let error = ill(data, &["updates", "list", "--from", "2026-10-01", "--until", "2026-01-01"]);
    assert!(error.contains("is after until") && error.contains("next: give the earlier day as from"), "{error}");
    assert!(well(data, &["updates", "list", "--from", "2026-01-13", "--until", "2026-01-13"]).contains("(KB5031234)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_are_approved_and_declined_and_a_plan_says_what_that_comes_to() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    stock(data, false).await;
    // Without a node too; what becomes of the files only a node can say.
    let told = well(data, &["updates", "approve", "KB5031111", "--why", "tested"]);
    assert!(told.contains("00000014  approved  -") && told.contains("00000015  approved  -"), "{told}");
    well(data, &["updates", "reset", "KB5031111"]);
    assert!(ill(data, &["plan"]).contains("waystation serve"));

    let mut node = NodeProcess::start(data, &[]);
    let plan = well(data, &["plan"]);
    assert!(plan.contains("policy   approved") && plan.contains("wanted   0 files, 0 B of 0 updates"), "{plan}");
    let told = well(data, &["updates", "approve", "KB5031234", "--why", "tested on the pilot ring"]);
    assert!(told.contains("00000010  approved  wanted"), "{told}");
    assert!(well(data, &["updates", "approve", "00000010"]).contains("1 update was approved already"));
    // By the number alone, as tables and CSV have it.
    assert!(well(data, &["updates", "show", "5031234"]).contains("2026-01 Cumulative"));
    let listed = well(data, &["updates", "list", "--decision", "approved"]);
    assert!(listed.contains("(KB5031234)") && !listed.contains("for Pen"), "{listed}");
    assert!(!well(data, &["updates", "list", "--decision", "declined,none"]).contains("(KB5031234)"));
    let plan = well(data, &["plan"]);
    for part in
        ["1 file, 10 B of 1 update", "of 1 update not all parts are in the catalog", "Hotfixes", "Paper", "100 Mbit/s"]
    {
        assert!(plan.contains(part), "{part:?} in {plan}");
    }
    let shown = well(data, &["updates", "show", "KB5031234"]);
    assert!(
        shown.contains("decision    approved by ") && shown.contains("files are fetched ahead: it was approved"),
        "{shown}"
    );
    let listed = well(data, &["updates", "list"]);
    let line = |part: &str| listed.lines().find(|line| line.contains(part)).unwrap_or_default().to_owned();
    assert!(line("(KB5031234)").contains("published   approved"), "{listed}");
    assert!(line("(KB5030001)").contains("superseded  declined automatically"), "{listed}");
    assert!(line("driver update").contains("expired     declined automatically"), "{listed}");
    assert!(line("for Pen").contains("published   -"), "{listed}");
    // What is hidden in a bundle is decided with it; all or none are.
    let error = ill(data, &["updates", "decline", "KB5031111", &id(0x11).to_string()]);
    assert!(
        error.contains("cannot be approved or declined by itself") && error.contains("2026-01 Cumulative"),
        "{error}"
    );
    assert!(well(data, &["updates", "show", &id(0x14).to_string()]).contains("nobody has approved it"));
    // One that is superseded already is approved by whoever knows that.
    assert!(well(data, &["updates", "approve", "KB5030001"]).contains("00000012  approved  wanted"));

    let told = well(data, &["updates", "decline", "5031234"]);
    assert!(told.contains("declined  not wanted") && told.contains("files not wanted: it was declined"), "{told}");
    assert!(well(data, &["plan"]).contains("wanted   0 files"));
    well(data, &["updates", "reset", "KB5031234", "KB5030001"]);

    // The pointer to a list stands where that list has something.
    let left = well(data, &["updates", "list", "--left-to-endpoints"]);
    assert!(
        left.starts_with("with the policy approved nothing is left to endpoints: it wants files of no update"),
        "{left}"
    );
    assert!(!left.contains("--hidden"), "{left}");

    // What another policy would want, of what the filters find.
    well(data, &["filters", "set", "products", "Paper"]);
    well(data, &["filters", "set", "classifications", "Hotfixes"]);
    let plan = node.json(&["plan", "--policy", "severity", "--severity", "critical"]);
    assert_eq!(
        (&plan["wanted"]["files"], &plan["is_set"], &plan["agreement"]),
        (&1.into(), &false.into(), &"not-needed".into())
    );
    let plan = well(data, &["plan", "--policy", "all"]);
    assert!(plan.contains("all (as it would be: another one is set)") && plan.contains("policy = \"all\""), "{plan}");
    let error = ill(data, &["plan", "--confirm"]);
    assert!(error.contains("nothing to confirm") && error.contains("next: set [content] policy = \"all\""), "{error}");
    let error = ill(data, &["updates", "list", "--from", "yesterday"]);
    assert!(error.contains("next: write a day as 2026-01-31"), "{error}");
    // A level that nothing goes by is refused, and what is set is not called anything else.
    for given in [&["plan", "--severity", "low"][..], &["plan", "--policy", "approved", "--severity", "low"]] {
        let error = ill(data, given);
        assert!(error.contains("waystation plan --policy severity --severity low"), "{error}");
    }
    assert!(!well(data, &["plan", "--policy", "approved"]).contains("not set"));
    node.signal(Signal::TERM);
    assert!(node.ended().success());

    let node = NodeProcess::start(data, &["--set", "content.policy=all", "--set", "content.rules=Drivers: metadata"]);
    let plan = well(data, &["plan"]);
    assert!(plan.contains("confirmed  no:") && plan.contains("waystation plan --confirm"), "{plan}");
    assert!(plan.contains("left out: ") || plan.contains("rules      Drivers: metadata"), "{plan}");
    let status = well(data, &["status"]);
    assert!(
        status.contains("policy all, and a rule: no files are wanted") && status.contains("is not confirmed"),
        "{status}"
    );
    let plan = well(data, &["plan", "--confirm"]);
    assert!(plan.contains("confirmed  1 file, 10 B by ") && plan.contains("is on its way"), "{plan}");
    assert!(plan.contains("1 file, 10 B of 2 updates"), "what is agreed to is shown: {plan}");
    // Filters that are set while the node runs reach the plan that it keeps, and they are other terms.
    well(data, &["filters", "set", "classifications", "Drivers"]);
    let end = std::time::Instant::now() + Duration::from_mins(1);
    while node.json(&["prefetch", "status"])["waits"].is_null() {
        assert!(std::time::Instant::now() < end, "the prefetch does not hear of it");
    }
    well(data, &["filters", "set", "classifications", "Hotfixes"]);
    let plan = well(data, &["plan", "--policy", "severity"]);
    assert!(plan.contains("not set"), "{plan}");
    assert!(well(data, &["plan"]).contains("confirmed  1 file, 10 B by "), "these are the terms that were agreed to");
    let state = node.json(&["prefetch", "status"]);
    assert_eq!(
        (&state["wanted"]["bytes"], &state["missing"]["files"], &state["waits"]),
        (&10.into(), &1.into(), &Value::Null)
    );
    assert!(well(data, &["sync", "status"]).contains("1 file, 10 B wanted, 1 file, 10 B missing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_means_nothing_is_told_by_whoever_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    stock(data, false).await;
    let rules = ["--set", "content.policy=severity", "--set", "content.rules=Hotfix: metadata"];
    let node = NodeProcess::start(data, &rules);
    let warned = node.logged("a rule of content.rules is left out");
    assert!(warned.contains("Hotfix: metadata") && warned.contains("did you mean"), "{warned}");
    for verb in [&["prefetch", "status"][..], &["sync", "status"], &["status"], &["plan"]] {
        let told = well(data, verb).split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["Hotfix: metadata", "did you mean \"Hotfixes\"", "nothing is fetched ahead by itself"] {
            assert!(told.contains(part), "{verb:?}: {part} in {told}");
        }
    }
    // What the running node knows of its catalog is what other settings are held against.
    let free = ["check-config", "--set", "listen.http=127.0.0.1:0", "--set", "listen.control=127.0.0.1:0"];
    let told = well(data, &[&free[..], &rules].concat());
    assert!(told.contains("did you mean \"Hotfixes\""), "{told}");
    let right = well(data, &[&free[..], &["--set", "content.rules=Hotfixes: metadata"]].concat());
    assert!(!right.contains("did you mean"), "{right}");
    drop(node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_former_settings_is_told_no_more_from_a_reload_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    stock(data, false).await;
    let write = |rule: &str| {
        let file = format!("[content]\npolicy = \"severity\"\nrules = [\"{rule}: metadata\"]\n");
        std::fs::write(data.join("waystation.toml"), file).unwrap();
    };
    write("Hotfix");
    let node = NodeProcess::start(data, &[]);
    node.logged("a rule of content.rules is left out");
    assert!(well(data, &["plan"]).contains("Hotfix: metadata"));
    write("Hotfixez");
    node.signal(Signal::HUP);
    node.logged("reloaded");
    let state = node.json(&["prefetch", "status"]);
    let told = format!("{} {}", state["waits"], state["notes"]);
    assert!(!told.contains("Hotfix: metadata"), "{told}");
    assert!(told.contains("Hotfixez: metadata") || told.contains("is being counted anew"), "{told}");
}
