//! The life of a node as a process: start, readiness, reload, drain, and what stops a start.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::node_process::{NodeProcess, get, verb};

/// The value of a setting as the running node says it, and where it comes from.
fn setting(node: &NodeProcess, key: &str) -> (serde_json::Value, String) {
    let shown = node.json(&["config", "show", "--filter", key]);
    let rows = shown.as_array().unwrap();
    let row = rows.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("no {key} in {shown}"));
    (row["value"].clone(), row["place"].as_str().unwrap().to_owned())
}

#[test]
fn it_serves_without_configuration_and_drains_on_sigterm() {
    let data = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let mut node = NodeProcess::start(data.path(), &[]);
        assert!(get(node.address("http"), "/nothing/here").starts_with("HTTP/1.1 404 "), "round {round}");
        assert!(get(node.address("control"), "/readyz").starts_with("HTTP/1.1 200 "), "round {round}");
        let metrics = get(node.address("control"), "/metrics");
        assert!(metrics.contains("waystation_ready 1"), "round {round}");
        // Two connections to the control listener: the question before, and this one.
        assert!(metrics.contains("waystation_control_connections_accepted_total 2"), "{metrics}");
        assert!(verb(&node.data, &["health"]).status.success(), "round {round}");
        node.told(|text| text.contains("WATCHDOG=1"));
        node.signal(Signal::TERM);
        assert!(node.told(|text| text.contains("STOPPING=1")).contains("EXTEND_TIMEOUT_USEC="));
        assert_eq!(node.ended().code(), Some(0), "round {round}");
        assert!(!data.path().join("control.sock").exists(), "round {round}");
    }
}

#[test]
fn a_reload_applies_what_it_can_and_names_the_rest() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("waystation.toml");
    fs::write(&file, "[origins]\nallow = []\n").unwrap();
    let mut node = NodeProcess::start(data.path(), &[]);
    let control = node.address("control");
    let mut early = TcpStream::connect(node.address("http")).unwrap();
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let entry = origin.local_addr().unwrap();
    let target = format!("/x?cacheHostOrigin={entry}");
    let refused = get(node.address("http"), &target);
    assert!(!refused.starts_with("HTTP/1.1 200 "), "{refused}");

    fs::write(
        &file,
        format!(
            "[origins]\nallow = [\"{entry}\"]\n\n[fill]\nverify = \"strict\"\n\n[log]\nlevel = \"debug\"\n\n\
             [limits]\nidle = \"1 s\"\n"
        ),
    )
    .unwrap();
    node.signal(Signal::HUP);
    assert!(node.told(|text| text.contains("RELOADING=1")).contains("MONOTONIC_USEC="));
    node.told(|text| text.contains("READY=1"));
    assert!(node.logged("taken only by the next start").contains("fill.verify"));
    let (level, place) = setting(&node, "log.level");
    assert_eq!((level.as_str(), place.as_str()), (Some("debug"), "waystation.toml:8"));

    // Who comes now is closed after the idle time of now; who was there keeps the one of then.
    let mut idle = TcpStream::connect(node.address("http")).unwrap();
    idle.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "the new idle time does not hold");
    early.set_nonblocking(true).unwrap();
    assert_eq!(early.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "a reload cut a connection");

    // The origin that is on the list now is asked.
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = origin.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        String::from_utf8(head).unwrap()
    });
    assert!(get(node.address("http"), &target).starts_with("HTTP/1.1 404 "));
    let head = serving.join().unwrap();
    assert!(head.contains("/x"), "{head}");

    // A file with errors changes nothing.
    fs::write(&file, "[origins]\nalow = []\n").unwrap();
    node.signal(Signal::HUP);
    node.told(|text| text.contains("READY=1"));
    let told = node.logged("not reloaded; what ran before goes on");
    assert!(told.contains("did you mean \\\"allow\\\"?"), "{told}");
    let settings = get(control, "/api/v1/settings");
    let settings: serde_json::Value = serde_json::from_str(settings.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let rows = settings.as_array().or_else(|| settings["settings"].as_array()).unwrap();
    let level = rows.iter().find(|row| row["key"] == "log.level").unwrap();
    assert_eq!((&level["value"], &level["place"]), (&"debug".into(), &"waystation.toml:8".into()));
    node.signal(Signal::INT);
    assert_eq!(node.ended().code(), Some(0));
}

/// A file that was broken since the start keeps nobody from the node that runs, and nothing else is done by it.
#[test]
fn bandwidth_rules_are_set_at_run_time_and_outlive_a_restart() {
    let class = |bandwidth: &serde_json::Value, word: &str| {
        let classes = bandwidth["classes"].as_array().unwrap();
        classes.iter().find(|class| class["class"] == word).unwrap_or_else(|| panic!("no {word}")).clone()
    };
    let data = tempfile::tempdir().unwrap();
    let mut node = NodeProcess::start(data.path(), &["--set", "bandwidth.timezone=CET-1"]);
    let refused = |rules: &[&str]| {
        let output = verb(data.path(), &[&["bandwidth", "set"], rules].concat());
        assert!(!output.status.success(), "{rules:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };

    let set = node.json(&["bandwidth", "set", "prefetch", "00:00-12:00: paused", "daily: 50 Mbit/s"]);
    let prefetch = class(&set, "prefetch");
    assert!(prefetch["until"].is_string() && prefetch["limit"] != "unlimited", "{prefetch}");
    node.json(&["bandwidth", "set", "clients", "8 Mbit/s"]);
    let (value, place) = setting(&node, "bandwidth.prefetch");
    assert_eq!(value, serde_json::json!(["00:00-12:00: paused", "daily: 50 Mbit/s"]));
    assert!(place.starts_with("run time, by "), "{place}");
    assert!(get(node.address("control"), "/metrics").contains("waystation_bandwidth_limit{class=\"clients\"} 1000000"));
    let status = verb(&node.data, &["status"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("clients: 8 Mbit/s, always"), "{status:?}");

    assert!(refused(&["clients", "paused"]).contains("cannot be paused"));
    assert!(refused(&["clients", "fast"]).contains("\"fast\" is no rate"));
    assert!(refused(&["uploads", "8 Mbit/s"]).contains("no setting"));
    assert!(refused(&["timezone", "UTC"]).contains("locked"));

    // The file's word counts more, from a reload on; what was set at run time waits beneath it.
    fs::write(data.path().join("waystation.toml"), "[bandwidth]\nclients = \"80 Mbit/s\"\n").unwrap();
    node.signal(Signal::HUP);
    node.told(|text| text.contains("RELOADING=1"));
    node.told(|text| text.contains("READY=1"));
    let shown = node.json(&["bandwidth", "show"]);
    let clients = class(&shown, "clients");
    assert_eq!((&clients["bytes_per_s"], &clients["set"]["locked"]), (&10_000_000.into(), &true.into()));
    assert_eq!(class(&shown, "prefetch")["then"], prefetch["then"], "a reload forgets nothing");
    assert!(refused(&["clients", "8 Mbit/s"]).contains("waystation.toml:2"));

    node.signal(Signal::TERM);
    assert_eq!(node.ended().code(), Some(0));
    fs::remove_file(data.path().join("waystation.toml")).unwrap();
    let node = NodeProcess::start(data.path(), &[]);
    let shown = node.json(&["bandwidth", "show"]);
    assert_eq!(class(&shown, "clients")["bytes_per_s"], 1_000_000);
    assert_eq!(class(&shown, "prefetch")["set"]["value"], value);
    let cleared = node.json(&["bandwidth", "clear", "clients"]);
    assert_eq!(class(&cleared, "clients")["limit"], "unlimited");
    assert_eq!(setting(&node, "bandwidth.clients").1, "");

    // People are told what was taken back, and where a value comes from that has no class.
    let told = |args: &[&str]| {
        let output = verb(data.path(), &[&["bandwidth"], args].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(told(&["clear", "clients"]).starts_with("clients: nothing was set at run time"));
    let set = told(&["set", "give_way", "false"]);
    let line = |text: &str, key: &str| text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    assert!(line(&set, "give_way").contains("false") && line(&set, "give_way").contains("run time, by "), "{set}");
    assert!(line(&set, "timezone").ends_with("default"), "{set}");
    assert_eq!(setting(&node, "bandwidth.give_way").0, false);
    assert_eq!(node.json(&["bandwidth", "show"])["give_way_set"]["value"], false);
    let cleared = told(&["clear", "give_way"]);
    assert!(cleared.starts_with("give_way: taken back is what was set (run time, by "), "{cleared}");
}

#[test]
fn a_broken_file_does_not_hide_a_running_node() {
    let data = tempfile::tempdir().unwrap();
    let mut node = NodeProcess::start(data.path(), &[]);
    for broken in ["[store]\nmax_sise = \"1 GiB\"\n", "[listen]\nhttp = = 3\n", "[tls]\ncert = \"a.pem\"\n", "\u{1}"] {
        fs::write(data.path().join("waystation.toml"), broken).unwrap();
        for args in [&["status"][..], &["health"], &["jobs", "list"], &["content", "list"]] {
            let output = verb(data.path(), args);
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{broken:?} {args:?}: {told}");
            assert!(told.starts_with("warning: no node would start from this configuration: "), "{told}");
            assert_eq!(told.lines().count(), 1, "{told}");
        }
        for args in [&["check-config"][..], &["config", "show"], &["tls", "show"], &["serve"]] {
            assert_eq!(verb(data.path(), args).status.code(), Some(78), "{broken:?} {args:?}");
        }
    }
    let output = verb(data.path(), &["status", "--json"]);
    let warning: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(warning["warning"].as_str().unwrap().contains("not TOML"), "{warning}");
    node.signal(Signal::TERM);
    assert_eq!(node.ended().code(), Some(0));

    // Without a node the settings themselves would be acted upon.
    let output = verb(data.path(), &["content", "list"]);
    assert_eq!(output.status.code(), Some(78), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let data = tempfile::tempdir().unwrap();
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let entry = origin.local_addr().unwrap();
    let mut node =
        NodeProcess::start(data.path(), &["--set", &format!("origins.allow={entry}"), "--set", "limits.drain=1 h"]);
    let mut client = TcpStream::connect(node.address("http")).unwrap();
    write!(client, "GET /x?cacheHostOrigin={entry} HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
    // The request is under way once the origin, which never answers, was asked.
    let _asked = origin.accept().unwrap();
    node.signal(Signal::TERM);
    node.told(|text| text.contains("STOPPING=1"));
    assert!(get(node.address("control"), "/readyz").starts_with("HTTP/1.1 503 "), "still ready while draining");
    assert!(TcpStream::connect(client.peer_addr().unwrap()).is_err(), "still accepting while draining");
    let before = Instant::now();
    node.signal(Signal::TERM);
    assert_eq!(node.ended().code(), Some(130));
    assert!(before.elapsed() < Duration::from_secs(10), "it took {:?}", before.elapsed());
}

#[test]
fn an_answer_under_way_outlives_the_first_signal() {
    let data = tempfile::tempdir().unwrap();
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let entry = origin.local_addr().unwrap();
    let mut node = NodeProcess::start(data.path(), &["--set", &format!("origins.allow={entry}")]);
    let address = node.address("http");
    let target = format!("/x.cab?cacheHostOrigin={entry}");
    let client = std::thread::spawn(move || get(address, &target));
    let (mut asked, _) = origin.accept().unwrap();
    node.signal(Signal::TERM);
    node.told(|text| text.contains("STOPPING=1"));
    let mut head = [0; 4096];
    let read = asked.read(&mut head).unwrap();
    assert!(read > 0);
    asked.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    assert!(client.join().unwrap().starts_with("HTTP/1.1 404 "));
    assert_eq!(node.ended().code(), Some(0));
}

#[test]
fn two_nodes_do_not_share_a_directory_or_a_port() {
    let data = tempfile::tempdir().unwrap();
    let mut first = NodeProcess::start(data.path(), &[]);
    let mut second = NodeProcess::spawn(data.path(), &[]);
    assert_eq!(second.ended().code(), Some(75));
    let told = second.logged("another waystation process uses this data directory");
    assert!(told.contains(&format!("`waystation status --data {}`", data.path().display())), "{told}");
    assert!(verb(data.path(), &["health"]).status.success(), "the second one disturbed the first");

    let other = tempfile::tempdir().unwrap();
    let taken = format!("listen.http={}", first.address("http"));
    let mut third = NodeProcess::spawn(other.path(), &["--set", &taken]);
    assert_eq!(third.ended().code(), Some(69));
    third.logged("something else listens there");
    assert!(!third.rest().iter().any(|line| line.contains("listens there")), "told twice");
    first.signal(Signal::TERM);
    assert_eq!(first.ended().code(), Some(0));
}

#[test]
fn a_node_without_a_socket_is_found_by_its_listener() {
    let data = tempfile::tempdir().unwrap();
    // What is no file cannot be replaced by the socket, like anything on a file system that is read-only.
    fs::create_dir_all(data.path().join("control.sock/x")).unwrap();
    let control = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let control = format!("listen.control={control}");
    let mut node = NodeProcess::start(data.path(), &["--set", &control]);
    node.logged("no control socket");
    for args in [&["health"][..], &["status"], &["jobs", "list"], &["explain", "http://dl.example.org/a"]] {
        let output = verb(data.path(), &[args, &["--set", &control]].concat());
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let told = |data: &std::path::Path, args: &[&str]| {
        let output = verb(data, args);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, order) = told(data.path(), &["fetch", "http://dl.example.org/a", "--set", &control]);
    assert!(code == Some(1) && order.contains("no control socket"), "{order}");
    // Who cannot be asked there is told all the same that it runs.
    let (code, silent) = told(data.path(), &["health", "--set", "listen.control="]);
    assert!(code == Some(69) && silent.contains("has no control socket"), "{silent}");
    // It is not the node of another directory.
    let other = tempfile::tempdir().unwrap();
    let (code, elsewhere) = told(other.path(), &["health", "--set", &control]);
    assert!(code == Some(69) && elsewhere.contains("no node is running"), "{elsewhere}");
    node.signal(Signal::TERM);
    assert_eq!(node.ended().code(), Some(0));
}

#[test]
fn a_start_that_cannot_go_well_says_why() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("store");
    for (args, code) in [
        (&["--set", "store.path=/proc/waystation"][..], 74),
        (&["--set", "upstream.extra_ca=none.pem"], 78),
        (&["--set", "tls.cert=none.pem", "--set", "tls.key=none.key"], 69),
        (&["--set", "origins.allow=user@host"], 78),
    ] {
        // The flag for the directory stands behind, so this one is about the others.
        let target = if args[1].starts_with("store.path") { std::path::Path::new("/proc/waystation") } else { &path };
        let mut node = NodeProcess::spawn(target, args);
        assert_eq!(node.ended().code(), Some(code), "{args:?}");
    }
    // The thing is named, and what to do about it.
    fs::create_dir_all(&path).unwrap();
    let (drafts, missing) = (path.join("drafts"), ["--set", "tls.cert=none.pem", "--set", "tls.key=none.key"]);
    let mut node = NodeProcess::spawn(&path, &missing);
    assert_eq!(node.ended().code(), Some(69));
    node.logged("none.pem: there is no such file; correct its name in [tls]");
    fs::remove_dir(&drafts).unwrap();
    fs::write(&drafts, "").unwrap();
    let mut node = NodeProcess::spawn(&path, &[]);
    assert_eq!(node.ended().code(), Some(74));
    node.logged(&format!("{} must be a directory and is a file: move it away", drafts.display()));
    if rustix::process::geteuid().is_root() {
        let foreign = data.path().join("foreign");
        fs::create_dir(&foreign).unwrap();
        std::os::unix::fs::chown(&foreign, Some(12_345), None).unwrap();
        let mut node = NodeProcess::spawn(&foreign, &[]);
        assert_eq!(node.ended().code(), Some(78));
        node.logged("it belongs to user 12345");
        assert_eq!(fs::read_dir(&foreign).unwrap().count(), 0, "files of another owner appeared");
        // One on which a node works is not to be started, but asked.
        let lock = fs::File::create(foreign.join("lock")).unwrap();
        lock.lock().unwrap();
        let mut node = NodeProcess::spawn(&foreign, &[]);
        assert_eq!(node.ended().code(), Some(78));
        node.logged(&format!(
            "a node runs there already: ask it with `waystation status --data {}`",
            foreign.display()
        ));
    } else {
        eprintln!("not tried: a directory of another user can only be made by root");
    }
}

/// Everything below `path`, the path itself included, belongs to `user`.
fn owned_by(path: &std::path::Path, user: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let below = || fs::read_dir(path).unwrap().all(|entry| owned_by(&entry.unwrap().path(), user));
    let facts = fs::symlink_metadata(path).unwrap();
    facts.uid() == user && (!facts.is_dir() || below())
}

fn give(path: &std::path::Path, user: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(user)).unwrap();
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

#[test]
fn root_works_on_a_directory_as_its_owner() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tried: a directory of another user can only be made by root");
        return;
    }
    let base = tempfile::tempdir().unwrap();
    // Its owner must come to it.
    fs::set_permissions(base.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let data = base.path().join("data");
    let mut node = NodeProcess::start(&data, &[]);
    node.signal(Signal::TERM);
    assert_eq!(node.ended().code(), Some(0));
    give(&data, 12_345);
    let rebuild = &["store", "rebuild", "--force"];
    for args in [&["content", "list"][..], &["store", "verify"], &["tls", "csr", "node.example"], rebuild] {
        let output = verb(&data, args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(owned_by(&data, 12_345), "{args:?} left a file of another owner");
    }
}

#[test]
fn what_is_refused_is_recorded_like_all_else() {
    let data = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(data.path(), &["--set", "log.level=info"]);
    let ask = |request: String| {
        let mut stream = TcpStream::connect(node.address("http")).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.to_lowercase()
    };
    let rest = "Host: node\r\nConnection: close\r\n";
    let long = ask(format!("GET /{} HTTP/1.1\r\n{rest}\r\n", "x".repeat(9000)));
    let posted = ask(format!("POST /x HTTP/1.1\r\n{rest}Content-Length: 99999999999\r\n\r\n"));
    for (answer, status) in [(long, "414"), (posted, "405")] {
        assert!(answer.starts_with(&format!("http/1.1 {status} ")) && answer.contains("cache-status: "), "{answer}");
        node.logged(&format!("\"status\":{status}"));
    }
    // The record's own words stay readable.
    ask("GET /x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".into());
    let line = node.logged("\"host\":\"evil.example\"");
    let record: serde_json::Value = serde_json::from_str(&line).unwrap();
    let why = record["why"].as_str().unwrap();
    assert!(why.contains("'evil.example'") && !why.contains("\\x22"), "{line}");
}

#[test]
fn a_start_that_takes_long_can_be_stopped() {
    let data = tempfile::tempdir().unwrap();
    // Opening it waits for a writer, for ever.
    let certificate = data.path().join("certificate.pem");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &certificate,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let certificate = certificate.display();
    let (cert, key) = (format!("tls.cert={certificate}"), format!("tls.key={certificate}"));
    let mut node = NodeProcess::spawn(&data.path().join("store"), &["--set", &cert, "--set", &key]);
    node.logged("store open");
    let before = Instant::now();
    node.signal(Signal::TERM);
    assert_eq!(node.ended().code(), Some(0));
    assert!(before.elapsed() < Duration::from_secs(10), "it took {:?}", before.elapsed());
    node.logged("stopped while starting");
}

#[test]
fn who_waits_for_a_first_byte_is_answered_before_the_cut() {
    let data = tempfile::tempdir().unwrap();
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let entry = origin.local_addr().unwrap();
    let mut node =
        NodeProcess::start(data.path(), &["--set", &format!("origins.allow={entry}"), "--set", "limits.drain=4 s"]);
    let address = node.address("http");
    let target = format!("/x.cab?cacheHostOrigin={entry}");
    let client = std::thread::spawn(move || get(address, &target));
    // The origin is asked, and never answers.
    let _asked = origin.accept().unwrap();
    node.signal(Signal::TERM);
    node.told(|text| text.contains("STOPPING=1"));
    let answer = client.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.to_lowercase().contains("retry-after: "), "{answer}");
    assert_eq!(node.ended().code(), Some(0));
}
