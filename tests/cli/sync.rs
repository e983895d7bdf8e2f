//! The verbs around a run of the catalog, at a node with a simulated WSUS above it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::json;
use upstream_sim::{Character, Options, Sim};

use super::*;
use crate::node_process::program;

/// Takes every post; hands on its body.
fn listener() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, heard) = channel();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut reader = BufReader::new(socket.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() <= 2 {
                    break;
                }
                if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            reader.get_mut().write_all(b"HTTP/1.1 204 No\r\nConnection: close\r\n\r\n").unwrap();
            if sender.send(serde_json::from_slice(&body).unwrap()).is_err() {
                return;
            }
        }
    });
    (url, heard)
}

#[test]
fn a_run_is_followed_told_and_explained() {
    let sim = Sim::start(Options { character: Character::Wsus, updates: 120, file_scale: 0.02, ..Options::default() })
        .unwrap();
    sim.fault(&json!({ "fault": "bad-base64", "count": 1 })).unwrap();
    let (url, heard) = listener();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    std::fs::write(data.join("hook-secret"), "between us\n").unwrap();
    std::fs::set_permissions(data.join("hook-secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(
        data.join("waystation.toml"),
        format!(
            "[upstream]\nkind = \"wsus\"\nurl = \"{}\"\n[sync]\nmicrosoft = \"{0}\"\nwebhook = \"{url}\"\n\
             webhook_secret_file = \"hook-secret\"\n[definitions]\nenabled = true\n",
            sim.url()
        ),
    )
    .unwrap();
    let node = NodeProcess::start(data, &[]);
    node.logged("[sync] webhook is told of runs over plain HTTP");
    let well = |args: &[&str]| {
        let output = run(data, args);
        assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    };
    let ran = well(&["sync", "start"]);
    assert!(ran.contains("1 update refused: `waystation updates list --state refused`"), "{ran}");
    assert!(ran.contains("`waystation sync retry`"), "{ran}");
    let next = || heard.recv_timeout(Duration::from_mins(1)).unwrap();
    assert_eq!((next()["event"].as_str(), next()["event"].as_str()), (Some("sync-started"), Some("sync-succeeded")));

    // What was not taken: shown with when and why, and asked for again.
    let listed = well(&["updates", "list", "--state", "refused"]);
    assert!(listed.contains("base64") && listed.contains("sync retry") && listed.contains("2026-"), "{listed}");
    let refused = node.json(&["updates", "list", "--state", "refused"]);
    let id = refused["rows"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!((&refused["total"], &refused["rows"][0]["held"]), (&json!(1), &json!(false)), "{refused}");
    let csv = well(&["updates", "list", "--state", "refused", "--csv"]);
    assert!(csv.starts_with("id,revision,since,held,") && csv.contains(&id), "{csv}");
    let output = run(data, &["updates", "list", "--state", "refused", "--kb", "KB1"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let error = text(&run(data, &["sync", "retry", "deadbeef"]).stderr);
    assert!(error.contains("next: `waystation updates list --state refused`"), "{error}");
    let output = run(data, &["sync", "retry", "0fa1201d-4330-4fa8-8ae9-b877473b6441"]);
    assert!(text(&output.stderr).contains("none of these is refused"), "{}", text(&output.stderr));
    sim.clear_faults();
    let retried = well(&["sync", "retry", &id]);
    assert!(
        retried.contains("1 update refused no more; the next run asks for 1") && retried.contains("1 new"),
        "{retried}"
    );
    assert_eq!(well(&["updates", "list", "--state", "refused"]), "nothing is refused\n");
    assert!(well(&["sync", "retry"]).contains("nothing is refused, so that"));
    assert!(well(&["sync", "retry", "--compared"]).contains("nothing is refused, so that"));
    let output = run(data, &["sync", "retry", "--compared", &id]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert_eq!((next()["event"].as_str(), next()["event"].as_str()), (Some("sync-started"), Some("sync-succeeded")));

    // A comparison that would prove nothing, and a test of the webhook.
    let output = run(data, &["sync", "crosscheck"]);
    let error = text(&output.stderr);
    assert!(!output.status.success() && error.contains("plain HTTP"), "{error}");
    assert!(error.contains("next: correct [sync] microsoft") && !error.contains("try again"), "{error}");
    // A run of the other lane by hand; below a WSUS it is one like the others.
    assert!(well(&["sync", "start", "--definitions"]).contains("0 new"));
    assert_eq!(node.json(&["sync", "history"])["runs"][0]["kind"], "definitions");
    assert_eq!((next()["event"].as_str(), next()["event"].as_str()), (Some("sync-started"), Some("sync-succeeded")));
    assert!(well(&["sync", "webhook", "test"]).contains("answered 204"));
    assert_eq!(next()["event"], "test");
    let status = well(&["sync", "status"]);
    for part in ["not authenticated", "definitions  next run at", "crosscheck", "webhook", "127.0.0.1:"] {
        assert!(status.contains(part), "{part:?} in {status}");
    }
    let history = well(&["sync", "history"]);
    let head = history.lines().next().unwrap().to_lowercase();
    assert!(["expired", "refused", "pruned"].iter().all(|word| head.contains(word)), "{head}");
    assert!(!head.contains("withdrawn") && !head.contains("gone"), "{head}");
    assert!(history.contains(" *\n") && history.contains("* plain HTTP"), "{history}");
    // Marked wherever it shows.
    assert!(well(&["filters", "list", "--available"]).contains("* unauthenticated"));
    assert!(well(&["filters", "list"]).contains("* unauthenticated"));
    assert_eq!(node.json(&["filters", "list"])["unauthenticated"], true);

    // A run that may not flow says so.
    well(&["bandwidth", "set", "sync", "paused"]);
    let mut started = program(data, &["sync", "start"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let line = BufReader::new(started.stderr.take().unwrap()).lines().next().unwrap().unwrap();
    assert!(line.contains("bandwidth.sync is paused, always"), "{line}");
    let end = std::time::Instant::now() + Duration::from_mins(1);
    let paused = "waits: bandwidth.sync is paused, always (`waystation bandwidth show`)";
    while !well(&["sync", "status"]).contains(paused) {
        assert!(std::time::Instant::now() < end, "{}", well(&["sync", "status"]));
    }
    let job = node.json(&["jobs", "list"])[0].clone();
    assert_eq!(job["progress"]["waits"], paused, "{job}");
    assert!(well(&["jobs", "list"]).contains(paused), "{job}");
    assert!(well(&["jobs", "show", &job["id"].to_string()]).contains(paused), "{job}");
    well(&["sync", "stop"]);
    assert!(!started.wait().unwrap().success());
    well(&["bandwidth", "clear", "sync"]);
    assert_eq!((next()["event"].as_str(), next()["event"].as_str()), (Some("sync-started"), Some("sync-stopped")));

    // A busy one above: told within seconds, by whoever follows it and by the status; and who stopped it.
    sim.fault(&json!({ "fault": "server-busy", "method": "GetConfigData", "count": 1_000 })).unwrap();
    let mut started = program(data, &["sync", "start"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(started.stderr.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    assert!(line.contains("asking for") && line.contains("again in") && line.contains(" of 7): "), "{line}");
    assert!(well(&["sync", "status"]).contains("again in"));
    let error = text(&run(data, &["sync", "start"]).stderr);
    assert!(error.contains("is running already") && error.contains("--follow` shows how it goes"), "{error}");
    well(&["sync", "stop"]);
    assert!(!started.wait().unwrap().success());
    let history = node.json(&["sync", "history"]);
    let last = &history["runs"][0];
    assert_eq!((&last["outcome"], &last["kind"]), (&json!("stopped"), &json!("catalog")), "{last}");
    let by = last["by"].as_str().filter(|by| !by.is_empty()).unwrap();
    let why = format!("stopped by {by}; what was committed stays, and the next run goes on from there");
    assert_eq!(last["reason"], json!(why), "{last}");
    assert!(last["troubles"]["busy"].as_u64() >= Some(1) && last["counts"]["errors"].as_u64() >= Some(1), "{last}");
    assert!(well(&["sync", "history"]).contains("errors of the upstream: "));
    assert_eq!((next()["event"].as_str(), next()["event"].as_str()), (Some("sync-started"), Some("sync-stopped")));
}

#[test]
fn a_run_tells_of_filters_that_mean_nothing() {
    let sim =
        Sim::start(Options { character: Character::Microsoft, updates: 60, file_scale: 0.02, ..Options::default() })
            .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let filters = "[filters]\nproducts = [\"Windows 11\", \"Windwos 10\"]\n";
    std::fs::write(data.join("waystation.toml"), format!("[sync]\nmicrosoft = \"{}\"\n{filters}", sim.url())).unwrap();
    let _node = NodeProcess::start(data, &[]);
    let started = run(data, &["sync", "start"]);
    let error = text(&started.stderr);
    assert!(started.status.success(), "{error}");
    assert!(error.contains("warning: left out of the filters: no product is called \"Windwos 10\""), "{error}");
    for verb in [&["filters", "list"][..], &["filters", "list", "--available"]] {
        let told = text(&run(data, verb).stdout);
        assert!(told.contains("left out: no product is called \"Windwos 10\""), "{verb:?}: {told}");
    }
    let error = text(&run(data, &["sync", "crosscheck"]).stderr);
    assert!(error.contains("next: `waystation sync status` shows from whom"), "{error}");
    let error = text(&run(data, &["sync", "webhook", "test"]).stderr);
    assert!(error.contains("next: set webhook and webhook_secret_file in [sync]"), "{error}");
}

/// The real death of a process, of which the store alone has to make something.
#[test]
fn a_node_that_is_killed_in_the_middle_of_a_run_goes_on_where_it_was() {
    let sim = Sim::start(Options { character: Character::Wsus, updates: 800, file_scale: 0.02, ..Options::default() })
        .unwrap();
    // Slow enough that there is a middle.
    sim.fault(&json!({ "fault": "slow", "method": "GetUpdateData", "delay_ms": 100, "count": 1_000_000 })).unwrap();
    let wanted = sim.identities(&json!({})).as_array().unwrap().len() as u64;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let toml = format!("[upstream]\nkind = \"wsus\"\nurl = \"{}\"\n[sync]\nparallel = 1\n", sim.url());
    std::fs::write(data.join("waystation.toml"), toml).unwrap();
    let mut held = 0;
    for kills in 0..4 {
        let mut node = NodeProcess::start(data, &[]);
        let status = node.json(&["sync", "status"]);
        assert!(status["updates"].as_u64() >= Some(held), "kill {kills}: what was committed stays: {status}");
        if kills > 0 {
            let last = &node.json(&["sync", "history"])["runs"][0];
            assert_eq!(last["outcome"], "cut off", "kill {kills}: {last}");
        }
        node.json(&["sync", "start", "--detach"]);
        let before = status["updates"].as_u64().unwrap();
        loop {
            let status = node.json(&["sync", "status"]);
            held = status["updates"].as_u64().unwrap();
            assert!(!status["running"].is_null(), "kill {kills}: it is in the middle: {status}");
            if held >= before + 60 {
                break;
            }
        }
        node.signal(Signal::KILL);
        assert!(!node.ended().success());
    }
    let node = NodeProcess::start(data, &[]);
    sim.clear_faults();
    let output = run(data, &["sync", "start"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(node.json(&["sync", "status"])["updates"], wanted);
    // At most what was under way at each death is asked for again: a batch of 100 of the one worker.
    let asked = &sim.log(0)["updates"];
    let again = asked["asked"].as_u64().unwrap() - asked["distinct_asked"].as_u64().unwrap();
    assert!(again <= 4 * 100, "{again} were asked for again");
    let outcomes: Vec<Value> =
        node.json(&["sync", "history"])["runs"].as_array().unwrap().iter().map(|run| run["outcome"].clone()).collect();
    assert_eq!(outcomes, ["successful", "cut off", "cut off", "cut off", "cut off"]);
}

#[test]
fn a_webhook_wants_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &["check-config", "--set", "sync.webhook=https://hooks.example.org/x"]);
    assert!(!output.status.success());
    assert!(
        text(&output.stdout).contains("webhook_secret_file") || text(&output.stderr).contains("webhook_secret_file")
    );
}

/// Takes connections and requests, and never says a word: a server that hangs, or one whose machine stands still.
fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for socket in listener.incoming() {
            held.push(socket.unwrap());
        }
    });
    url
}

#[test]
fn a_service_that_takes_questions_and_never_answers_is_told_of_and_given_up() {
    let url = silent();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    std::fs::write(
        data.join("waystation.toml"),
        format!(
            "[upstream]\nkind = \"wsus\"\nurl = \"{url}\"\nstall_timeout = \"1 s\"\npatience = \"2 s\"\n[sync]\nenabled = false\n"
        ),
    )
    .unwrap();
    let node = NodeProcess::start(data, &[]);
    let begun = std::time::Instant::now();
    let mut started = program(data, &["sync", "start"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let told = BufReader::new(started.stderr.take().unwrap()).lines().map_while(Result::ok);
    let (tell, lines) = channel();
    let reading = std::thread::spawn(move || told.for_each(|line| drop(tell.send(line))));
    let host = url.strip_prefix("http://").unwrap();
    let silence = format!("nothing comes: {host} was asked for GetAuthConfig at 20");
    let says = |text: &str| {
        for part in [silence.as_str(), "and has said nothing; it has until 20", "then it is asked again"] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
    };
    says(&lines.recv_timeout(Duration::from_mins(1)).unwrap());
    // The log at once, and no more often than once a minute.
    says(&node.logged("nothing comes"));
    let end = std::time::Instant::now() + Duration::from_mins(1);
    for args in [&["sync", "status"][..], &["jobs", "list"], &["jobs", "show", "1"]] {
        // Between two attempts it is said that it is asked again.
        let mut seen = text(&run(data, args).stdout);
        while !seen.contains(&silence) && std::time::Instant::now() < end {
            assert!(
                seen.contains("asking for GetAuthConfig again in") || seen.contains("asking the upstream"),
                "{seen}"
            );
            seen = text(&run(data, args).stdout);
        }
        says(&seen);
    }
    // What is wanted is not known yet, and nobody is sent to start what is under way.
    let seen = text(&run(data, &["prefetch", "status"]).stdout);
    assert!(seen.contains("the catalog is on its way (job 1)") && !seen.contains("begin with"), "{seen}");
    // Three attempts of three seconds, though patience would have been over before.
    let mut all = Vec::new();
    while let Ok(line) = lines.recv_timeout(Duration::from_mins(1)) {
        all.push(line);
    }
    reading.join().unwrap();
    assert_eq!(started.wait().unwrap().code(), Some(1), "{all:?}");
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(8) && took < Duration::from_secs(40), "{took:?}");
    let why = format!("{host} cannot be asked for GetAuthConfig: no answer within 3s");
    assert!(all.iter().any(|line| line.contains(&why)), "{all:?}");
    let last = node.json(&["sync", "history"])["runs"][0].clone();
    assert!(last["outcome"] == "failed" && last["reason"].as_str().unwrap().starts_with(&why), "{last}");
    node.logged("a run of the catalog failed");

    // A schedule that is changed meanwhile counts from the next start on, which is said.
    let file = data.join("waystation.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    assert!(!text(&run(data, &["sync", "status"]).stdout).contains("was set since"));
    std::fs::write(&file, format!("{before}schedule = \"daily 05:00\"\n")).unwrap();
    let seen = text(&run(data, &["sync", "status"]).stdout);
    let changed =
        "sync.schedule = \"daily 05:00\" was set since the node was started, and counts from its next start on";
    assert!(seen.contains(changed), "{seen}");
    let checked = text(&run(data, &["check-config"]).stdout);
    assert!(checked.contains("and takes \"daily 05:00\" with its next start"), "{checked}");
}
