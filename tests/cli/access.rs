//! Accounts, tokens and a node elsewhere, as the command line has them.

use crate::node_process::{NodeProcess, get, verb};

const WORD: &str = "correct horse battery";

fn says(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_token_reaches_a_node_elsewhere_over_tls() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = data.path();
    let node = NodeProcess::start(
        data,
        &[
            "--set",
            "listen.control=0.0.0.0:0",
            "--set",
            "advertise.names=127.0.0.1",
            "--set",
            "advertise.names=localhost",
        ],
    );
    assert!(data.join("setup-code").exists());
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let word = file("word", &format!("{WORD}\nnot this line\n"));
    let made = verb(data, &["accounts", "add", "anna", "--role", "administrator", "--password-file", &word]);
    assert!(made.status.success(), "{}", says(&made));
    assert!(!data.join("setup-code").exists(), "nobody needs the code any more");
    let short = verb(data, &["accounts", "password", "anna", "--password-file", &file("short", "short\n")]);
    assert!(!short.status.success() && says(&short).contains("12 characters"), "{}", says(&short));
    assert!(!verb(data, &["accounts", "remove", "anna"]).status.success(), "the last administrator");

    let make = |name: &str, scope: &str| {
        let made = verb(data, &["tokens", "make", name, "--account", "anna", "--scope", scope]);
        assert!(made.status.success(), "{}", says(&made));
        file(name, &String::from_utf8(made.stdout).unwrap())
    };
    let (reader, ruler) = (make("reader", "*:read"), make("ruler", "*:write"));
    let ca = data.join("tls/site-ca.pem").display().to_string();
    let url = format!("https://127.0.0.1:{}", node.address("control").port());
    let elsewhere = |token: &str, ca: &str, rest: &[&str]| {
        let to = ["--node", &url, "--node-token", token, "--node-ca", ca];
        verb(files.path(), &[&to, rest].concat())
    };
    let status = elsewhere(&reader, &ca, &["status", "--json"]);
    assert!(status.status.success(), "{}", says(&status));
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["node"]["data"], data.display().to_string());
    let refused = elsewhere(&reader, &ca, &["groups", "add", "Pilot"]);
    assert!(!refused.status.success() && says(&refused).contains("endpoints:write"), "{}", says(&refused));
    let added = elsewhere(&ruler, &ca, &["groups", "add", "Pilot"]);
    assert!(added.status.success(), "{}", says(&added));
    let wrong = elsewhere(&file("none", "wsk_nothing"), &ca, &["groups", "list"]);
    assert!(!wrong.status.success() && says(&wrong).contains("the token is wrong"), "{}", says(&wrong));
    // Another CA's word, and no TLS at all.
    let other = rcgen_ca();
    let stranger = elsewhere(&reader, &file("other.pem", &other), &["status"]);
    assert!(!stranger.status.success() && says(&stranger).contains("--node-ca"), "{}", says(&stranger));
    let plain = get(node.address("control"), "/healthz");
    assert!(!plain.starts_with("HTTP/1.1 200"), "plain HTTP is not spoken off the loopback: {plain}");
    let here = elsewhere(&ruler, &ca, &["check-config"]);
    assert_eq!(here.status.code(), Some(2), "{}", says(&here));

    let log = node.json(&["audit", "list"]);
    let rows = log["rows"].as_array().unwrap();
    assert!(
        rows.iter()
            .any(|row| row["what"] == "POST /api/v1/groups" && row["who"].as_str().unwrap().starts_with("anna (token")),
        "{log}"
    );
    assert!(!log.to_string().contains(WORD));
    assert_eq!(node.json(&["audit", "check"])["whole"], true);
    let gone = elsewhere(&ruler, &ca, &["tokens", "revoke", rows_id(&node, "ruler").as_str()]);
    assert!(gone.status.success(), "{}", says(&gone));
    assert!(!elsewhere(&ruler, &ca, &["groups", "list"]).status.success());
}

fn rows_id(node: &NodeProcess, name: &str) -> String {
    let tokens = node.json(&["tokens", "list"]);
    let found = tokens["rows"].as_array().unwrap().iter().find(|row| row["name"] == name);
    found.unwrap()["id"].as_str().unwrap().to_owned()
}

fn rcgen_ca() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&key).unwrap().pem()
}

#[test]
fn without_a_node_accounts_are_kept_all_the_same() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(NodeProcess::start(data.path(), &[]));
    let word = files.path().join("word");
    std::fs::write(&word, WORD).unwrap();
    let word = word.display().to_string();
    let made = verb(data.path(), &["accounts", "add", "anna", "--role", "administrator", "--password-file", &word]);
    assert!(made.status.success(), "{}", says(&made));
    let node = NodeProcess::start(data.path(), &[]);
    assert_eq!(node.json(&["accounts", "list"])["rows"][0]["name"], "anna");
    assert!(!data.path().join("setup-code").exists());
    let head = get(node.address("control"), "/api/v1/jobs");
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    let log = node.json(&["audit", "list"]);
    assert!(log["rows"][0]["who"].as_str().unwrap().contains("uid"), "{log}");
}
