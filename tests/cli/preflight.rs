//! What `check-config` says of a data directory, held against what a start then does.

use std::path::Path;

use serde_json::Value;

use crate::node_process::{NodeProcess, program, verb as run};
use crate::origin::Object;
use crate::{Site, sha256, text};

/// Its exit code, and the finding of one check.
fn found(data: &Path, check: &str, args: &[&str]) -> (Option<i32>, Value) {
    let free = ["check-config", "--json", "--set", "listen.http=127.0.0.1:0", "--set", "listen.control=127.0.0.1:0"];
    let output = run(data, &[&free[..], args].concat());
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let one = value["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == check).cloned();
    (output.status.code(), one.unwrap_or_default())
}

#[test]
fn a_secret_of_the_webhook_that_ends_a_start_is_bad_before_it() {
    use std::os::unix::fs::PermissionsExt;
    let data = tempfile::tempdir().unwrap();
    let secret = data.path().join("hook.secret");
    let of = format!("sync.webhook_secret_file={}", secret.display());
    let hook = ["--set", "listen.https=127.0.0.1:0", "--set", "sync.webhook=http://127.0.0.1:9/", "--set", &of];
    let bad = || {
        let (code, finding) = found(data.path(), "webhook", &hook);
        assert_eq!((code, finding["verdict"].as_str()), (Some(78), Some("bad")), "{finding}");
        assert!(finding["seen"].as_str().unwrap().contains("hook.secret"), "{finding}");
    };
    bad();
    std::fs::write(&secret, "a secret").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    bad();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(found(data.path(), "webhook", &hook), (Some(0), Value::Null));
    assert_eq!(found(data.path(), "plain-http", &hook).1["verdict"], "note", "who can read the wire reads it");
    let bare = [&hook[..2], &hook[4..]].concat();
    assert_eq!(found(data.path(), "webhook", &bare).1["subject"], "sync.webhook_secret_file", "nobody is told");
    // A lane that adds to a catalog which nothing brings.
    let lane = ["--set", "listen.https=127.0.0.1:0", "--set", "definitions.enabled=true"];
    assert_eq!(found(data.path(), "definitions", &lane).1["verdict"], "note");
    let both = [&lane[..], &["--set", "sync.enabled=true"]].concat();
    assert_eq!(found(data.path(), "definitions", &both).1, Value::Null);
}

#[test]
fn what_does_nothing_or_stands_still_for_ever_is_noted() {
    let data = tempfile::tempdir().unwrap();
    let noted = |check: &str, subject: &str, sets: &[&str]| {
        let args: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
        let (code, finding) = found(data.path(), check, &args);
        assert_eq!((code, finding["subject"].as_str()), (Some(0), Some(subject)), "{sets:?}: {finding}");
        finding["seen"].as_str().unwrap().to_owned()
    };
    let https = "listen.https=127.0.0.1:0";
    assert!(noted("bandwidth", "bandwidth.sync", &[https, "bandwidth.sync=paused"]).contains("no run"));
    assert_eq!(found(data.path(), "bandwidth", &["--set", "bandwidth.sync=Sat: paused"]).1, Value::Null);
    // A run that begins in a pause waits for its end; at other hours it does not.
    let noon = [https, "bandwidth.timezone=UTC", "bandwidth.sync=08:00-18:00: paused", "sync.enabled=true"];
    let at = |schedule| [&noon[..], &[schedule]].concat();
    let seen = noted("schedule", "sync.schedule", &at("sync.schedule=daily 12:00"));
    assert!(seen.starts_with("each of its runs begins while bandwidth.sync is paused, and waits: that of "), "{seen}");
    assert!(seen.contains(" until ") && seen.contains(" 18:00 (UTC)"), "{seen}");
    let weekly = ["bandwidth.sync=08:00-18:00 Mon: paused", "sync.schedule=daily 12:00"];
    let seen = noted(
        "schedule",
        "sync.schedule",
        &[https, "bandwidth.timezone=UTC", "sync.enabled=true", weekly[0], weekly[1]],
    );
    assert!(seen.starts_with("4 of its next 28 runs begin while"), "{seen}");
    let args: Vec<&str> = at("sync.schedule=daily 20:00").into_iter().flat_map(|set| ["--set", set]).collect();
    assert_eq!(found(data.path(), "schedule", &args).1, Value::Null);
    noted("no-effect", "definitions.keep", &[https, "definitions.keep=3"]);
    let lane = ["--set", "definitions.keep=3", "--set", "definitions.enabled=true"];
    assert_eq!(found(data.path(), "no-effect", &lane).1, Value::Null);
    noted("no-effect", "content.severity", &[https, "content.severity=important"]);
    let severe = ["--set", "content.severity=important", "--set", "content.policy=severity"];
    assert_eq!(found(data.path(), "no-effect", &severe).1, Value::Null);
    noted("microsoft", "sync.microsoft", &[https, "sync.microsoft="]);
    let german = run(data.path(), &["check-config", "--set", https, "--set", "filters.languages=deutsch"]);
    assert_eq!(german.status.code(), Some(78));
    assert!(text(&german.stderr).contains("did you mean \"de (German)\""), "{}", text(&german.stderr));

    let wsus = |url: &'static str| [https, "upstream.kind=wsus", url];
    let http = "upstream.url=http://wsus.example:8530";
    assert!(noted("upstream", "upstream.url", &wsus("upstream.url=http://wsus.example:8531")).contains("8531"));
    assert!(noted("upstream", "upstream.url", &wsus("upstream.url=https://wsus.example:8530")).contains("8530"));
    let good = ["--set", "upstream.kind=wsus", "--set", http];
    assert_eq!(found(data.path(), "upstream", &good).1, Value::Null);
    let more = |set: &'static str| [&wsus(http)[..], &[set]].concat();
    noted("no-effect", "sync.prune_beyond_filters", &more("sync.prune_beyond_filters=true"));
    noted("microsoft", "sync.microsoft", &more("sync.microsoft=http://mirror.example"));
}

#[test]
fn room_that_must_stay_free_and_is_not_there_is_blamed_on_who_asks_for_it() {
    let data = tempfile::tempdir().unwrap();
    let (_, finding) = found(data.path(), "space", &["--set", "store.min_free=100000 TiB"]);
    assert_eq!((finding["verdict"].as_str(), finding["subject"].as_str()), (Some("warning"), Some("store.min_free")));
    let advice = finding["advice"].as_str().unwrap();
    assert!(advice.starts_with("lower store.min_free") && !advice.contains("max_size"), "{finding}");
}

#[test]
fn a_damaged_site_ca_is_bad_only_where_a_start_would_end() {
    let data = tempfile::tempdir().unwrap();
    let create = ["tls", "ca", "create", "--for", "site.example"];
    let names = ["--set", "advertise.names=patches.site.example"];
    let https = [&["--set", "listen.https=127.0.0.1:0"][..], &names].concat();
    assert!(run(data.path(), &[&create[..], &names].concat()).status.success());
    std::fs::write(data.path().join("tls/site-ca.key"), "nothing").unwrap();

    let (code, finding) = found(data.path(), "site-ca", &https);
    assert_eq!((code, finding["verdict"].as_str()), (Some(0), Some("warning")), "{finding}");
    assert!(finding["advice"].as_str().unwrap().contains("is served till then"), "{finding}");
    drop(NodeProcess::start(data.path(), &names));
    let refused = run(data.path(), &[&create[..], &names].concat());
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    for part in ["is damaged", "holds no usable key", "is served until", "--replace makes another CA", "other names"] {
        assert!(said.contains(part), "{part} in {said}");
    }

    let leaf = data.path().join("tls/leaf.pem");
    let kept = std::fs::read(&leaf).unwrap();
    // A leaf that cannot be read is none.
    for left in [None, Some(&b"nothing"[..])] {
        std::fs::remove_file(&leaf).unwrap();
        if let Some(left) = left {
            std::fs::write(&leaf, left).unwrap();
        }
        let (code, finding) = found(data.path(), "site-ca", &https);
        assert_eq!((code, finding["verdict"].as_str()), (Some(78), Some("bad")), "{finding}");
        let mut node = NodeProcess::spawn(data.path(), &names);
        assert!(!node.ended().success());
        std::fs::write(&leaf, &kept).unwrap();
    }
    std::fs::remove_file(&leaf).unwrap();
    // Who listens for no TLS needs none.
    let (code, finding) = found(data.path(), "site-ca", &["--set", "listen.https="]);
    assert_eq!((code, finding["verdict"].as_str()), (Some(0), Some("warning")), "{finding}");
    let replaced = run(data.path(), &[&create[..], &["--replace"], &names].concat());
    assert!(replaced.status.success(), "{}", text(&replaced.stderr));
    assert_eq!(found(data.path(), "site-ca", &https).1["verdict"], "good");
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_not_there_is_said_before_the_start_as_after_it() {
    let mut site = Site::new().await;
    let object = Object::made(100_000, 7);
    let digest = sha256(&object.all());
    site.origin.put("/a.cab", object);
    site.well(&["fetch", &site.origin.url("/a.cab"), "--sha256", &digest]);
    let data = site.data.path().to_owned();
    let (content, elsewhere) = (data.join("content"), data.join("elsewhere"));
    std::fs::rename(&content, &elsewhere).unwrap();
    let (_, running) = found(&data, "store", &[]);
    assert_eq!(running["verdict"], "warning", "under a running node: {running}");
    std::fs::rename(&elsewhere, &content).unwrap();
    assert_eq!(found(&data, "store", &[]).1["verdict"], "skipped");
    site.stop();

    let https = ["--set", "listen.https=127.0.0.1:0"];
    let (code, whole) = found(&data, "store", &https);
    assert_eq!((code, whole["verdict"].as_str()), (Some(0), Some("good")), "{whole}");
    assert!(whole["seen"].as_str().unwrap().ends_with(" 1 payload"), "{whole}");

    // A mount that is not there, an index that is not: the check says what the started node says of its health.
    let index = data.join("node.redb");
    for (path, part) in [(&content, "has no payloads"), (&index, "it is missing")] {
        std::fs::rename(path, &elsewhere).unwrap();
        let before = entries(&data);
        let (code, finding) = found(&data, "store", &https);
        assert_eq!((code, finding["verdict"].as_str()), (Some(0), Some("warning")), "{finding}");
        assert!(finding["seen"].as_str().unwrap().contains(part), "{finding}");
        assert_eq!(entries(&data), before, "the check made something");
        let mut node = NodeProcess::start(&data, &[]);
        let health = program(&data, &["health"]).output().unwrap();
        let told = format!("{}{}", text(&health.stdout), text(&health.stderr));
        assert!(!health.status.success() && told.contains(part), "{told}");
        node.signal(rustix::process::Signal::TERM);
        assert!(node.ended().success());
        if path.is_dir() {
            std::fs::remove_dir(path).unwrap();
        }
        std::fs::rename(&elsewhere, path).unwrap();
    }

    // What a start ends with.
    std::fs::write(data.join("store-id"), "x").unwrap();
    let (code, bad) = found(&data, "store", &https);
    assert_eq!((code, bad["verdict"].as_str()), (Some(78), Some("bad")), "{bad}");
    let mut node = NodeProcess::spawn(&data, &[]);
    assert!(!node.ended().success());
}

/// What lies in a directory, by name.
fn entries(path: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}
