//! `upstream ..`: chosen while the node runs, tested, and taken by the next start.

use upstream_sim::{Character, Options, Sim};

use super::catalog::{ill, stock, well};
use super::*;

fn sim() -> Sim {
    Sim::start(Options { character: Character::Wsus, updates: 20, file_scale: 0.02, ..Options::default() }).unwrap()
}

/// What was found of one check.
fn verdict<'a>(told: &'a Value, check: &str) -> Option<&'a str> {
    let findings = told["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["check"] == *check).and_then(|finding| finding["verdict"].as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_chosen_while_the_node_runs_and_taken_by_the_next_start() {
    let (dir, wsus, nobody) = (tempfile::tempdir().unwrap(), sim(), "sync.microsoft=https://127.0.0.1:9");
    let data = dir.path();
    stock(data, false).await;
    let mut node = NodeProcess::start(data, &["--set", nobody]);
    let shown = well(data, &["upstream", "show"]);
    assert!(shown.contains("microsoft at https://127.0.0.1:9") && !shown.contains("after a restart"), "{shown}");

    // Tested before it is chosen; the one that is asked now does not answer.
    let tested: Value =
        serde_json::from_str(&well(data, &["upstream", "test", "wsus", &wsus.url(), "--json"])).unwrap();
    assert_eq!((verdict(&tested, "connect"), verdict(&tested, "sync")), (Some("good"), Some("good")), "{tested}");
    let output = run(data, &["upstream", "test", "--json"]);
    let tested: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), verdict(&tested, "connect")), (Some(1), Some("bad")), "{tested}");
    assert_eq!(node.json(&["upstream", "show"])["after_restart"], Value::Null, "a test changes nothing");

    // What no start would take is refused, and changes nothing.
    for (args, part) in [
        (&["wsus", "ftp://wsus"][..], "upstream.url"),
        (&["wsus", "http://wsus:8530/ServerSyncWebService"], "named by scheme, host and port"),
        (&["microsoft", "http://wsus"], "Microsoft's address is known"),
        (&["wsus", "http://wsus", "--proxy", "gopher://p"], "upstream.proxy"),
    ] {
        let error = ill(data, &[&["upstream", "set"], args].concat());
        assert!(error.contains(part) && error.contains("next: "), "{args:?}: {error}");
    }
    assert_eq!(run(data, &["upstream", "set", "wsus"]).status.code(), Some(2));
    assert_eq!(node.json(&["upstream", "show"])["after_restart"], Value::Null);

    let set = node.json(&["upstream", "set", "wsus", &format!("{}/", wsus.url()), "--proxy", "none"]);
    let later = serde_json::json!({
        "kind": "wsus", "address": wsus.url(), "unauthenticated": true, "proxy": "none"
    });
    assert_eq!((&set["now"]["kind"], &set["after_restart"]), (&"microsoft".into(), &later));
    let shown = well(data, &["upstream", "show"]);
    for part in ["after a restart", "plain HTTP: not authenticated", "run time, by ", "restart the node", "sync start"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // Both are tested while one waits.
    let tested: Value = serde_json::from_slice(&run(data, &["upstream", "test", "--json"]).stdout).unwrap();
    assert_eq!((verdict(&tested, "connect"), verdict(&tested, "sync")), (Some("bad"), Some("good")), "{tested}");
    let free = ["check-config", "--set", "listen.http=127.0.0.1:0", "--set", "listen.control=127.0.0.1:0"];
    let checked = well(data, &free);
    assert!(checked.contains("set at run time") && checked.contains(&wsus.url()), "{checked}");

    node.signal(Signal::TERM);
    assert!(node.ended().success());
    let mut node = NodeProcess::start(data, &["--set", nobody]);
    let shown = node.json(&["upstream", "show"]);
    assert_eq!((&shown["now"], &shown["after_restart"]), (&later, &Value::Null));
    assert_eq!(shown["held_from"]["kind"], "microsoft", "what is held stays");
    assert!(well(data, &["updates", "list"]).contains("(KB5031234)"));
    let tested: Value = serde_json::from_str(&well(data, &["upstream", "test", "--json"])).unwrap();
    assert_eq!((verdict(&tested, "sync"), verdict(&tested, "answer")), (Some("good"), Some("good")), "{tested}");
    well(data, &["sync", "start"]);
    let shown = node.json(&["upstream", "show"]);
    assert_eq!((&shown["held_from"]["kind"], &shown["held_from"]["unauthenticated"]), (&"wsus".into(), &true.into()));
    assert!(!well(data, &["updates", "list", "--limit", "0"]).contains("(KB5031234)"), "the new one does not have it");

    let reset = node.json(&["upstream", "reset"]);
    assert_eq!((&reset["now"]["kind"], &reset["after_restart"]["kind"]), (&"wsus".into(), &"microsoft".into()));
    node.signal(Signal::TERM);
    assert!(node.ended().success());
    // What a file says cannot be changed here.
    std::fs::write(data.join("waystation.toml"), "[upstream]\nkind = \"microsoft\"\n").unwrap();
    let _node = NodeProcess::start(data, &["--set", nobody]);
    let error = ill(data, &["upstream", "set", "wsus", &wsus.url()]);
    assert!(error.contains("upstream.kind is locked by waystation.toml:2") && error.contains("restart"), "{error}");
}
