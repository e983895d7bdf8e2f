//! The command line from outside: what it teaches, how it fails, and what scripts get from it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where by panicking")]

use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Output;

use clap::{CommandFactory, Parser};
use rustix::process::Signal;
use serde_json::Value;
use sha2::{Digest, Sha256};
use waystation::base::span::Span;
use waystation::cli::args::Cli;

use crate::node_process::{NodeProcess, program, verb as run};
use crate::origin::{Fault, Object, Origin};

#[path = "cli/access.rs"]
mod access;
#[path = "cli/approvals.rs"]
mod approvals;
#[path = "support/authority.rs"]
mod authority;
#[path = "cli/catalog.rs"]
mod catalog;
#[path = "cli/content.rs"]
mod content;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/drawn.rs"]
mod drawn;
#[path = "cli/endpoints.rs"]
mod endpoints;
#[path = "support/made_catalog.rs"]
mod made_catalog;
#[allow(dead_code, reason = "other tests use other parts of it")]
#[path = "support/node_process.rs"]
mod node_process;
#[path = "support/origin.rs"]
mod origin;
#[path = "cli/paused.rs"]
mod paused;
#[path = "cli/preflight.rs"]
mod preflight;
#[path = "cli/rules.rs"]
mod rules;
#[path = "cli/sync.rs"]
mod sync;
#[path = "cli/upstream.rs"]
mod upstream;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn walk(command: &clap::Command, path: &str, each: &mut dyn FnMut(&str, &clap::Command)) {
    for verb in command.get_subcommands() {
        let path = format!("{path} {}", verb.get_name());
        each(&path, verb);
        walk(verb, &path, each);
    }
}

/// The words of a line up to the first operator of the shell.
fn shell_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote): (Vec<String>, Option<String>, Option<char>) = (Vec::new(), None, None);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '>' | '|' | '&') if word.is_none() => return words,
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_teaches_with_an_example_that_parses() {
    let command = Cli::command();
    let mut seen = 0;
    walk(&command, "waystation", &mut |path, verb| {
        seen += 1;
        assert!(verb.get_about().is_some(), "{path} says nothing of itself");
        let after = verb.get_after_help().unwrap_or_else(|| panic!("{path} has no example")).to_string();
        assert!(after.starts_with("Examples:\n  "), "{path}: {after}");
        // Prose is for a terminal of 80 columns; examples and tables stand as they are.
        for line in after.lines().filter(|line| !line.starts_with("  ")) {
            assert!(line.chars().count() <= 80, "{path}: {line:?} is too wide");
        }
        let mut own = 0;
        for line in
            after.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| line.starts_with("waystation "))
        {
            let line = line.replace("$SHA256", &"ab".repeat(32)).replace("$(date +%F)", "2026-01-31");
            let words = shell_words(&line);
            own += u32::from(line.starts_with(path));
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{path}: the example {line:?} does not parse: {error}");
            }
        }
        assert!(own > 0, "{path}: none of its examples is of itself");
        for arg in verb.get_arguments() {
            assert!(arg.get_help().is_some(), "{path}: {} says nothing of itself", arg.get_id());
        }
    });
    assert!(seen > 30, "only {seen} verbs were looked at");
}

#[test]
fn help_is_a_verb_too() {
    let told = Cli::try_parse_from(["waystation", "help", "content", "unbind"]).unwrap_err();
    assert!(!told.use_stderr() && told.to_string().contains("Take back the digest"), "{told}");
}

#[test]
fn a_misspelt_verb_is_a_usage_error_with_a_hint() {
    let data = tempfile::tempdir().unwrap();
    let output = run(data.path(), &["statsu"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("status"), "{}", text(&output.stderr));
    let output = run(data.path(), &["fetch"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn without_a_node_the_error_says_how_to_start_one() {
    let data = tempfile::tempdir().unwrap();
    for args in [
        &["status"][..],
        &["health"],
        &["fetch", "http://dl.example.org/a"],
        &["explain", "http://dl.example.org/a"],
        &["doctor"],
        &["jobs", "list"],
        &["store", "verify", "--repair"],
    ] {
        let output = run(data.path(), args);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(69), "{args:?}: {error}");
        assert!(error.starts_with("error: ") && error.contains("waystation serve"), "{args:?}: {error}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    let output = run(data.path(), &["status", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(value["code"], 69);
    assert!(value["next"].as_str().unwrap().contains("waystation serve"));
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "asking made something");
}

#[test]
fn completions_and_version_need_nothing() {
    let data = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = run(data.path(), &["completions", shell]);
        assert!(output.status.success() && text(&output.stdout).contains("check-config"), "{shell}");
    }
    let page = run(data.path(), &["man"]);
    assert!(page.status.success() && text(&page.stdout).starts_with(".ie"), "{}", text(&page.stdout));
    let folder = data.path().join("man1");
    let refused = run(data.path(), &["man", "--to", folder.to_str().unwrap()]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("a folder that is there"));
    std::fs::create_dir(&folder).unwrap();
    assert!(run(data.path(), &["man", "--to", folder.to_str().unwrap()]).status.success());
    let page = std::fs::read_to_string(folder.join("waystation-approvals-set.1")).unwrap();
    assert!(page.contains("approvals") && page.contains("deadline"), "{page}");
    let output = run(data.path(), &["version", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((value["command"].as_str(), value["node"].is_null()), (Some(env!("CARGO_PKG_VERSION")), true));
}

/// How a verb ends that finds no store, a directory that is none, or one that is another user's, by the table of `--help`.
#[test]
#[allow(clippy::print_stderr, reason = "what was not tried is told")]
fn a_directory_that_cannot_be_worked_on_ends_every_verb_with_the_same_code() {
    let data = tempfile::tempdir().unwrap();
    let (file, none) = (data.path().join("file"), data.path().join("none"));
    std::fs::write(&file, "").unwrap();
    let verbs = [
        &["content", "list"][..],
        &["store", "verify"],
        &["backup", "b"],
        &["restore", "b"],
        &["import", "b"],
        &["tls", "csr"],
    ];
    for args in verbs {
        let output = run(&none, args);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(66), "{args:?}: {error}");
        assert!(
            error.contains("there is no store in") && error.contains("\n next: name the right"),
            "{args:?}: {error}"
        );
        assert!(!none.exists(), "{args:?} made it");
        assert_eq!(error.contains("while it is empty"), args[0] == "restore", "{args:?}: {error}");
    }
    let more = [&["serve"][..], &["status"]];
    for args in verbs.into_iter().chain(more) {
        let output = run(&file, args);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{args:?}: {error}");
        assert!(error.contains("file is no directory"), "{args:?}: {error}");
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tried: a directory of another user can only be made by root");
        return;
    }
    std::fs::set_permissions(data.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    for args in verbs.into_iter().chain(more) {
        match program(data.path(), args).uid(65_534).gid(65_534).output() {
            Ok(output) => {
                let error = text(&output.stderr);
                assert_eq!(output.status.code(), Some(78), "{args:?}: {error}");
                assert!(error.contains("may not be entered by this user"), "{args:?}: {error}");
            }
            Err(error) => eprintln!("not tried: others may not run the program where it lies: {error}"),
        }
    }
    let help = text(&run(data.path(), &["--help"]).stdout);
    for code in ["66", "69", "71", "74", "75", "78", "130"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(code)), "{code} in {help}");
    }
}

#[test]
fn a_wrong_configuration_has_its_own_exit_code() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("waystation.toml"), "[store]\nmax_sise = \"1 GiB\"\n").unwrap();
    let output = run(data.path(), &["check-config"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{error}");
    assert!(error.contains("max_sise") && error.contains("max_size"), "{error}");
}

#[test]
fn check_config_says_what_would_run_and_how_well() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(
        data.path().join("waystation.toml"),
        "[fill]\nverify = \"strict\"\ncomplete = \"demand\"\n[proxy]\nurl = \"http://proxy:3128\"\n",
    )
    .unwrap();
    // A node of this machine may have the ports that are shipped.
    let mut args = vec!["check-config", "--set", "limits.idle=60 s"];
    for set in ["listen.http=127.0.0.1:0", "listen.https=127.0.0.1:0", "listen.control=127.0.0.1:0"] {
        args.extend(["--set", set]);
    }
    let output = run(data.path(), &args);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}{}", text(&output.stderr));
    let line = |key: &str| told.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    for (key, value, from) in [
        ("fill.verify", "\"strict\"", "waystation.toml:2"),
        ("proxy.url", "\"http://proxy:3128\"", "waystation.toml:5"),
        ("limits.idle", "\"60 s\"", "flag for limits.idle"),
        ("store.path", data.path().to_str().unwrap(), "--data"),
    ] {
        assert!(line(key).contains(value) && line(key).contains(from), "{key} in:\n{told}");
    }
    assert_eq!((line("fill.complete"), line("fill.extent")), (String::new(), String::new()), "defaults in:\n{told}");
    assert!(told.contains("delivery-optimization"), "{told}");

    let output = run(data.path(), &["check-config", "--json", "--set", "listen.https=127.0.0.1:3698"]);
    assert_eq!(output.status.code(), Some(78), "two listeners on one port");
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = value["settings"].as_array().unwrap().iter().find(|row| row["key"] == "fill.verify").unwrap();
    assert_eq!((row["place"].as_str(), row["layer"].as_str()), (Some("waystation.toml:2"), Some("file")));
    assert!(value["findings"].as_array().unwrap().iter().any(|finding| finding["verdict"] == "bad"), "{value}");
    assert!(value["file"].as_str().unwrap().ends_with("waystation.toml"));
}

#[test]
fn check_config_refuses_a_name_that_the_site_ca_may_not_sign_for_as_serve_does() {
    let data = tempfile::tempdir().unwrap();
    let create = run(data.path(), &["tls", "ca", "create", "--for", "site.example", "--for", "localhost"]);
    assert!(create.status.success(), "{}", text(&create.stderr));
    let told = text(&create.stdout);
    assert!(told.contains("No name of the node lies in site.example"), "{told}");
    assert!(told.contains("\n[advertise]\nnames = [\"patches.site.example\"]\n"), "{told}");
    assert!(!told.contains("lies in localhost"), "{told}");
    assert_eq!(text(&create.stderr), "");
    let wide = run(data.path(), &["tls", "ca", "create", "--for", "com", "--for", "lan", "--replace"]);
    let told = text(&wide.stderr);
    assert!(wide.status.success() && told.starts_with("warning: ") && told.contains("below com;"), "{told}");
    assert!(!told.contains("below lan"), "{told}");
    let output = run(data.path(), &["check-config", "--json", "--set", "listen.http=127.0.0.1:0"]);
    let told = text(&output.stdout);
    assert!(told.contains("may sign for all names below com"), "{told}");
    let named = ["--replace", "--set", "advertise.names=site.example"];
    let again = run(data.path(), &[&["tls", "ca", "create", "--for", "site.example"][..], &named].concat());
    assert!(again.status.success() && !text(&again.stdout).contains("No name"), "{}", text(&again.stdout));
    let finding = |args: &[&str]| {
        let ports = ["--set", "listen.http=127.0.0.1:0", "--set", "listen.control=127.0.0.1:0"];
        let output = run(data.path(), &[&["check-config", "--json"], &ports[..], args].concat());
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        let all = value["findings"].as_array().unwrap();
        let one = all.iter().find(|finding| finding["check"] == "site-ca").unwrap().clone();
        (output.status.code(), one)
    };
    let https = ["--set", "listen.https=127.0.0.1:0", "--set"];
    let (code, good) = finding(&[&https[..], &["advertise.names=patches.site.example"]].concat());
    assert_eq!((code, good["verdict"].as_str()), (Some(0), Some("good")), "{good}");
    for key in ["advertise.names", "advertise.external"] {
        let outside = format!("{key}=patches.other.example");
        let (code, bad) = finding(&[&https[..], &[&outside]].concat());
        assert_eq!((code, bad["verdict"].as_str()), (Some(78), Some("bad")), "{bad}");
        assert!(bad["seen"].as_str().unwrap().contains("not for patches.other.example"), "{bad}");
        assert!(bad["advice"].as_str().unwrap().contains("tls ca create --for DOMAIN --replace"), "{bad}");
        let mut node = NodeProcess::spawn(data.path(), &["--set", &outside]);
        assert_eq!(node.ended().code(), Some(78));
    }
    // Who listens for no TLS signs nothing.
    let (code, note) = finding(&["--set", "listen.https=", "--set", "advertise.names=patches.other.example"]);
    assert_eq!((code, note["verdict"].as_str()), (Some(0), Some("note")), "{note}");
}

/// A running node whose allow-list has the origin on it.
struct Site {
    origin: Origin,
    data: tempfile::TempDir,
    node: NodeProcess,
}

impl Site {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(args: &[&str]) -> Self {
        let (origin, data) = (Origin::start().await, tempfile::tempdir().unwrap());
        let allow = format!("origins.allow={}", origin.entry());
        let node = NodeProcess::start(data.path(), &[&["--set", &allow], args].concat());
        Self { origin, data, node }
    }

    /// Runs a verb that must go well; what it printed.
    fn well(&self, args: &[&str]) -> String {
        let output = run(self.data.path(), args);
        assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs a verb that must fail with this code; what it said.
    fn ill(&self, code: i32, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = run(self.data.path(), args);
        assert_eq!(status.code(), Some(code), "{args:?}: {}{}", text(&stdout), text(&stderr));
        text(&stderr)
    }

    fn json(&self, args: &[&str]) -> Value {
        self.node.json(args)
    }

    fn stop(&mut self) {
        self.node.signal(Signal::TERM);
        assert!(self.node.ended().success());
    }
}

fn sha256(bytes: &[u8]) -> String {
    waystation::base::digest::Sha256::new(Sha256::digest(bytes).into()).to_string()
}

/// The names of an object's fields.
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_is_held_shown_pinned_and_removed() {
    let site = Site::new().await;
    let object = Object::made(3 << 20, 7);
    let digest = sha256(&object.all());
    site.origin.put("/a.cab", object);
    site.origin.put("/b.cab", Object::made(1000, 8));
    let (a, b) = (site.origin.url("/a.cab"), site.origin.url("/b.cab"));

    assert_eq!(site.json(&["explain", &a])["content"], Value::Null);
    assert!(site.well(&["fetch", &a, "--sha256", &digest, "--pin"]).contains("1 held"));
    assert_eq!(site.origin.sent("/a.cab"), 3 << 20, "more or less than the whole left the origin");
    let explained = site.json(&["explain", &a]);
    assert_eq!((explained["state"].as_str(), explained["content"]["class"].as_str()), (Some("held"), Some("proven")));
    assert_eq!(explained["content"]["sha256"], digest.as_str());

    // A list, one of them wrong: the others are fetched, and the exit code tells.
    let list = site.data.path().join("list");
    std::fs::write(&list, format!("# two\n{b} {}\n{}\n{a}\n", "00".repeat(32), site.origin.url("/none"))).unwrap();
    let output = run(site.data.path(), &["fetch", "--json", "--from", list.to_str().unwrap()]);
    let job: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), job["state"].as_str()), (Some(1), Some("failed")), "{job}");
    let states: Vec<_> = job["lines"].as_array().unwrap().iter().map(|line| line["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["failed", "failed", "done"], "{job}");
    assert_eq!((&job["lines"][0]["class"], &job["lines"][2]["outcome"]), (&Value::Null, &"held".into()), "{job}");
    assert_eq!(site.origin.sent("/a.cab"), 3 << 20, "what was held was fetched again");

    let rows = site.json(&["content", "list"])["rows"].clone();
    assert_eq!(rows.as_array().unwrap().len(), 1, "what did not match is held: {rows}");
    let beginning = &rows[0]["blake3"].as_str().unwrap()[..16];
    assert!(site.well(&["content", "list"]).contains(beginning));
    assert_eq!(site.json(&["content", "show", beginning]), site.json(&["content", "show", &a]));
    let error = site.ill(1, &["content", "remove", &a]);
    assert!(error.contains("pinned") && error.contains("content unpin"), "{error}");
    site.well(&["content", "unpin", beginning]);
    site.well(&["content", "remove", &digest]);
    for (name, told) in [
        (a.as_str(), "nothing is held"),
        ("00112233445566aa", "nothing is held as 00112233445566aa"),
        ("00112233", "nothing is held as 00112233"),
        ("0011223", "too short"),
        ("bffae324bffae324bffae324bffae324bffae324", "ask by another one"),
    ] {
        let error = site.ill(1, &["content", "show", name]);
        assert!(error.contains(told), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repair_fetches_the_bad_group_alone() {
    let site = Site::new().await;
    let object = Object::made(3 << 20, 9);
    site.origin.put("/a.cab", object.clone());
    let a = site.origin.url("/a.cab");
    site.well(&["fetch", &a, "--sha256", &sha256(&object.all())]);
    let blake3 = site.json(&["content", "show", &a])["blake3"].as_str().unwrap().to_owned();
    let path = site.data.path().join("content").join(&blake3[..2]).join(&blake3);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let at = (1 << 20) + 5;
    file.write_all_at(&[!object.bytes(Span::at(at, 1))[0]], at).unwrap();

    assert!(site.well(&["store", "verify", "--repair"]).contains("the payload was bad and is mended"));
    let again = site.origin.sent("/a.cab") - (3 << 20);
    assert!((1..=1 << 20).contains(&again), "{again} bytes were fetched again for one bad group");
    assert_eq!(std::fs::read(&path).unwrap(), object.all());
    assert!(site.well(&["store", "verify", &a, "--rate", "1GiB"]).contains("1 payload is as its proof says"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_mended_now_is_withheld_and_mended_later() {
    let site = Site::with(&["--set", "upstream.patience=1 s"]).await;
    let place = |blake3: &str| site.data.path().join("content").join(&blake3[..2]).join(blake3);
    let flip = |blake3: &str, at: u64| {
        let path = place(blake3);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[!byte[0]], at).unwrap();
    };
    let outside = tempfile::tempdir().unwrap();
    let import = |bytes: &[u8]| {
        let file = outside.path().join("file");
        std::fs::write(&file, bytes).unwrap();
        site.well(&["import", file.to_str().unwrap()]);
        site.json(&["content", "show", &sha256(bytes)])["blake3"].as_str().unwrap().to_owned()
    };
    // The only one that is held, and nobody knows a place for it.
    flip(&import(b"the only one"), 0);
    let put_away = site.ill(1, &["store", "verify", "--repair"]);
    assert!(put_away.contains("`waystation content quarantine list`"), "{put_away}");

    let object = Object::made(3 << 20, 19);
    site.origin.put("/a.cab", object.clone());
    let a = site.origin.url("/a.cab");
    site.well(&["fetch", &a, "--sha256", &sha256(&object.all())]);
    let blake3 = site.json(&["content", "show", &a])["blake3"].as_str().unwrap().to_owned();
    flip(&blake3, 1 << 20);
    site.origin.always("/a.cab", [Fault::Status(503)]);
    let withheld = site.ill(1, &["store", "verify", "--repair"]);
    assert!(withheld.contains("`waystation doctor`") && !withheld.contains("quarantine"), "{withheld}");
    // Another one that nobody knows a place for.
    let lonely = import(b"by hand");
    flip(&lonely, 0);

    let told = run(site.data.path(), &["store", "verify", "--repair"]);
    assert_eq!(told.status.code(), Some(1));
    let (lines, error) = (text(&told.stdout) + &text(&told.stderr), text(&told.stderr));
    assert!(lines.contains("in quarantine, and no address of it is known: import the file again"), "{lines}");
    assert!(error.contains("\n next: what was put away is in `waystation content quarantine list`"), "{error}");
    assert!(place(&blake3).exists(), "the good groups are kept");
    assert!(!place(&lonely).exists(), "what cannot be mended is in quarantine");
    assert_eq!(site.json(&["content", "show", &a])["blake3"].as_str(), Some(blake3.as_str()));
    site.origin.always("/a.cab", []);
    let before = site.origin.sent("/a.cab");
    assert!(site.well(&["store", "verify", "--repair"]).contains("the payload was bad and is mended"));
    let again = site.origin.sent("/a.cab") - before;
    assert!((1..=1 << 20).contains(&again), "{again} bytes were fetched again for one bad group");
    assert_eq!(std::fs::read(place(&blake3)).unwrap(), object.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_hangs_is_seen_and_stopped() {
    let site = Site::new().await;
    site.origin.put("/slow.cab", Object::made(8 << 20, 1));
    site.origin.limit(1000);
    let url = site.origin.url("/slow.cab");
    let id = site.json(&["fetch", "--detach", &url])["job"].to_string();
    site.origin.wait_for(1).await;
    let status = site.json(&["status"]);
    assert_eq!(status["jobs"][0]["id"].to_string(), id);
    assert!(site.well(&["jobs", "list"]).contains("running"));
    site.well(&["jobs", "stop", &id]);
    // Following it to its end is waiting for the stop.
    let error = site.ill(1, &["jobs", "show", &id, "--follow"]);
    assert!(error.contains("stopped"), "{error}");
    let job = site.json(&["jobs", "show", &id]);
    assert_eq!((job["state"].as_str(), job["lines"][0]["state"].as_str()), (Some("stopped"), Some("stopped")));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_keeps_its_shape() {
    let site = Site::new().await;
    let status = site.json(&["status"]);
    assert_eq!(
        keys(&status),
        [
            "bandwidth",
            "content",
            "day",
            "flights",
            "health",
            "hours",
            "jobs",
            "listening",
            "newcomer",
            "node",
            "scrub",
            "store",
            "total",
            "upstream"
        ]
    );
    assert_eq!(keys(&status["node"]), ["data", "epoch", "id", "started_at", "uptime_s", "version"]);
    assert_eq!(
        keys(&status["total"]),
        ["answered", "fetched", "hit_ratio", "hits", "refused", "requests", "saved", "sent"]
    );
    let settings = site.json(&["config", "show"]);
    let allow = settings.as_array().unwrap().iter().find(|row| row["key"] == "origins.allow").unwrap();
    assert_eq!(keys(allow), ["help", "key", "layer", "locked", "place", "value"]);
    assert_eq!((allow["locked"].as_bool(), allow["layer"].as_str()), (Some(true), Some("flag")));
    site.origin.put("/a.cab", Object::made(70_000, 2));
    let findings = site.json(&["doctor", &site.origin.url("/a.cab")])["findings"].clone();
    assert_eq!(keys(&findings[0]), ["advice", "check", "seen", "subject", "verdict"]);
    assert_eq!(site.json(&["version"])["node"], env!("CARGO_PKG_VERSION"));
    assert_eq!(site.json(&["health"])["ready"], true);
    let certificates = site.json(&["tls", "show"]);
    assert_eq!(certificates["self_made"], true);
    assert_eq!(
        keys(&certificates["served"][0]),
        ["fingerprint", "issuer", "key_type", "names", "not_after", "not_before", "serial", "subject"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_node_the_directory_says_the_same() {
    let mut site = Site::new().await;
    site.origin.put("/a.cab", Object::made(100_000, 3));
    let a = site.origin.url("/a.cab");
    site.well(&["fetch", "--pin", &a]);
    let backup = site.data.path().join("backup.redb");
    site.well(&["backup", backup.to_str().unwrap()]);
    for args in [&["restore", backup.to_str().unwrap()][..], &["store", "rebuild"]] {
        let error = site.ill(1, args);
        assert!(error.contains("a node is running") && error.contains("stop it"), "{error}");
    }
    let shown = site.json(&["content", "show", &a]);
    site.stop();

    assert_eq!(site.json(&["content", "show", &a])["blake3"], shown["blake3"]);
    assert_eq!(keys(&site.json(&["content", "show", &a])), keys(&shown));
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("file");
    std::fs::write(&file, b"by hand").unwrap();
    site.well(&["import", "--move", file.to_str().unwrap(), "--sha256", &sha256(b"by hand")]);
    assert!(!file.exists());
    assert!(site.well(&["store", "verify"]).contains("2 payloads"));
    site.well(&["content", "unpin", &a]);
    site.well(&["content", "remove", &a]);
    assert_eq!(site.json(&["content", "list"])["rows"].as_array().unwrap().len(), 1);
    let restored = site.json(&["restore", backup.to_str().unwrap()]);
    assert_eq!((&restored["epoch"], &restored["dropped_count"]), (&2.into(), &1.into()), "{restored}");
    assert_eq!(restored["dropped"][0]["names"][0].as_str(), a.strip_prefix("http://"), "{restored}");
    assert_eq!(
        (&restored["dropped_pinned"], &restored["dropped"][0]["pinned"]),
        (&1.into(), &true.into()),
        "{restored}"
    );
    assert!(std::path::Path::new(restored["old_index"].as_str().unwrap()).exists(), "{restored}");
    let again = site.well(&["restore", backup.to_str().unwrap()]);
    assert!(again.contains("not there any more: 1\n") && again.contains("/a.cab ("), "{again}");
    assert!(again.contains(", pinned)") && again.contains("fetch --pin"), "{again}");
    let index = std::fs::read(site.data.path().join("node.redb")).unwrap();
    let refused = site.ill(1, &["store", "rebuild"]);
    assert!(refused.contains("--force") && refused.contains("pins"), "{refused}");
    assert_eq!(std::fs::read(site.data.path().join("node.redb")).unwrap(), index, "it was rebuilt all the same");
    let rebuilt = site.json(&["store", "rebuild", "--force"]);
    assert_eq!(std::fs::read(rebuilt["old_index"].as_str().unwrap()).unwrap(), index);
    assert_eq!((rebuilt["payloads"].as_u64(), rebuilt["epoch"].as_u64()), (Some(1), Some(4)), "{rebuilt}");
    assert_eq!(site.json(&["content", "show", &sha256(b"by hand")])["size"], 7);
    site.ill(69, &["store", "verify", "--repair"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_asked_for_imported_and_served() {
    let site = Site::new().await;
    assert!(site.well(&["tls", "ca", "export"]).starts_with("-----BEGIN CERTIFICATE-----"));
    let before = site.json(&["tls", "ca", "show"])["fingerprint"].clone();
    let request = site.well(&["tls", "csr", "node.site.example"]);
    assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"), "{request}");
    let refused = site.ill(1, &["tls", "csr"]);
    assert!(refused.contains("still waits") && refused.contains("--replace"), "{refused}");
    assert_eq!(site.json(&["tls", "show"])["pending"][0]["kind"], "ECDSA");
    let authority = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::Issuer::new(params, authority);
    let signed = rcgen::CertificateSigningRequestParams::from_pem(&request).unwrap().signed_by(&issuer).unwrap();
    let path = site.data.path().join("signed.pem");
    std::fs::write(&path, signed.pem()).unwrap();
    let imported = site.json(&["tls", "import", path.to_str().unwrap()]);
    // By the time that the verb has ended, and not at the node's next look at its files.
    assert_eq!(imported["running_node"]["serves"][0], imported["certificate"]["fingerprint"], "{imported}");
    assert_eq!(imported["certificate"]["names"][0], "node.site.example");
    assert!(!imported["uncovered"].as_array().unwrap().is_empty(), "{imported}");
    let shown = site.json(&["tls", "show"]);
    assert_eq!(
        (shown["self_made"].as_bool(), &shown["served"][0]["names"][0]),
        (Some(false), &"node.site.example".into())
    );
    assert!(shown["pending"].as_array().unwrap().is_empty(), "{shown}");
    let refused = site.ill(1, &["tls", "ca", "create", "--for", "site.example"]);
    assert!(refused.contains("--replace"), "{refused}");
    assert_eq!(site.json(&["tls", "ca", "show"])["fingerprint"], before, "it was replaced all the same");
    let key = std::fs::read(site.data.path().join("tls/site-ca.key")).unwrap();
    let made = site.json(&["tls", "ca", "create", "--for", "site.example", "--replace"]);
    assert_ne!(made["fingerprint"], before);
    assert_eq!(made["in_use"], false, "an imported certificate is served: {made}");
    let said = site.well(&["tls", "ca", "show"]);
    assert!(said.contains("site.example") && said.contains("tls forget"), "{said}");
    let kept = std::fs::read_dir(site.data.path().join("tls")).unwrap().map(|entry| entry.unwrap().path());
    let kept: Vec<_> = kept.filter(|path| path.to_string_lossy().contains("site-ca.key.old-")).collect();
    assert_eq!(std::fs::read(&kept[0]).unwrap(), key);
    let gone = site.json(&["tls", "forget"]);
    assert_eq!(gone["forgotten"], true);
    assert_ne!(gone["running_node"]["serves"][0], imported["certificate"]["fingerprint"], "{gone}");
    assert_eq!(site.json(&["tls", "forget"])["forgotten"], false);
    assert_eq!(site.json(&["tls", "show"])["self_made"], true);
    assert_eq!(site.json(&["tls", "ca", "show"])["in_use"], true);
    let error = site.ill(2, &["tls", "csr", "not a name"]);
    assert!(error.contains("not a name") && error.contains("next: "), "{error}");
    let error = site.ill(1, &["tls", "import", "/nonexistent.pem"]);
    assert!(error.contains("/nonexistent.pem") && error.contains("next: "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_origin_fails_the_fetch_and_doctor_says_why() {
    let site = Site::new().await;
    site.origin.put("/a.cab", Object::made(100_000, 3));
    site.origin.always("/a.cab", [Fault::Status(403)]);
    let a = site.origin.url("/a.cab");
    let error = site.ill(1, &["fetch", &a]);
    assert!(error.starts_with(&format!("error: {a}: ")) && error.contains("403"), "the line alone: {error}");
    assert!(error.contains("\n next: the origin refuses this node") && !error.contains("FAILED"), "{error}");
    let output = run(site.data.path(), &["doctor", &a]);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("answered 403\n") && told.contains("-> the origin or a proxy before it refuses"), "{told}");
    let told = site.well(&["doctor", &site.origin.url("/")]);
    assert!(told.contains("it answered 404: reached"), "{told}");
    let output = run(site.data.path(), &["doctor", "http://unknown.example/a.cab"]);
    assert!(text(&output.stdout).contains("-> add the host to [origins] allow"), "{}", text(&output.stdout));
    let error = site.ill(1, &["fetch", "http://unknown.example/a.cab"]);
    assert!(error.contains("allow-list") && error.contains("[origins] allow") && !error.contains("doctor"), "{error}");
    assert!(error.starts_with(r#"error: http://unknown.example/a.cab: host "unknown.example" is not on"#), "{error}");
    let told = site.well(&["explain", "http://unknown.example/a.cab"]);
    assert!(
        told.contains("none matches: host \"unknown.example\"") && told.contains("\nnext     add the host"),
        "{told}"
    );
    let told = site.json(&["explain", "http://unknown.example/a.cab"]);
    assert!(told["next"].as_str().unwrap().contains("[origins] allow"), "{told}");
    let told = site.json(&["explain", "/Content/AB/1.cab"]);
    assert!(told["next"].as_str().unwrap().contains("cacheHostOrigin=HOST"), "{told}");
    let both = site.ill(1, &["fetch", &a, "http://unknown.example/a.cab"]);
    assert!(
        both.contains(&format!("FAILED {a}: ")) && both.contains("error: 2 of 2 failed\n next: the lines"),
        "{both}"
    );

    // Where a job does not even begin, the next step is told too.
    let data = site.data.path();
    let error = site.ill(1, &["import", "/nonexistent"]);
    assert!(error.contains("/nonexistent: ") && error.contains("\n next: name files"), "{error}");
    let taken = data.join("store-id");
    let error = site.ill(1, &["backup", taken.to_str().unwrap()]);
    assert!(error.contains("is there already") && error.contains("\n next: name a new file"), "{error}");
    let error = site.ill(1, &["jobs", "show", "99"]);
    assert!(error.contains("\n next: `waystation jobs list`"), "{error}");
    let output = run(site.data.path(), &["doctor", "--json", "http://127.0.0.1:9/a"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_of_another_file_is_not_bound() {
    let site = Site::new().await;
    let (a, b) = (Object::made(200_000, 1), Object::made(100_000, 2));
    let (sha_a, sha_b) = (sha256(&a.all()), sha256(&b.all()));
    site.origin.put("/a.iso", a);
    site.origin.put("/b.iso", b);
    let (url_a, url_b) = (site.origin.url("/a.iso"), site.origin.url("/b.iso"));
    site.well(&["fetch", &url_a, "--sha256", &sha_a]);

    // Held under another address: the origin is asked for the length, and tells another one.
    let error = site.ill(1, &["fetch", &url_b, "--sha256", &sha_a, "--pin"]);
    assert!(error.contains("200000 bytes") && error.contains("100000 bytes"), "{error}");
    let told = site.ill(1, &["content", "show", &url_b]);
    assert!(told.contains("nothing is held"), "{told}");
    assert_eq!(site.json(&["content", "show", &url_a])["pinned"], Value::Null);

    // What is held under the address already stays when a wrong digest is given for it, whoever has it.
    site.well(&["fetch", &url_b]);
    for wrong in [sha_a.clone(), "00".repeat(32)] {
        site.ill(1, &["fetch", &url_b, "--sha256", &wrong]);
        let shown = site.json(&["content", "show", &url_b]);
        assert_eq!(shown["sha256"], sha_b.as_str(), "{shown}");
        assert!(site.ill(1, &["content", "unbind", &url_b]).contains("no digest is bound"));
    }
    assert_eq!(site.json(&["status"])["store"]["payloads_count"], 2);

    // The right one is bound to what is held, and can be taken back.
    assert!(site.well(&["fetch", &url_b, "--sha256", &sha_b]).contains("1 held"));
    assert_eq!(site.json(&["content", "show", &url_b])["class"], "proven");
    assert_eq!(site.json(&["content", "unbind", &url_b])["digests"][0], format!("sha256-{sha_b}").as_str());
    assert!(site.ill(1, &["content", "show", &url_b]).contains("nothing is held"));
    assert_eq!(site.json(&["content", "show", &sha_b])["sha256"], sha_b.as_str());
    site.well(&["fetch", &url_b, "--sha256", &sha_b]);
    let told = site.well(&["content", "unbind", &url_b]);
    assert!(told.contains("fetched anew") && told.contains(&format!("content show sha256-{sha_b}")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_is_bound_and_what_is_removed_is_bound_still() {
    let site = Site::new().await;
    let (old, new) = (Object::made(50_000, 3), Object::made(60_000, 4));
    let (sha_old, sha_new) = (sha256(&old.all()), sha256(&new.all()));
    site.origin.put("/x.iso", old);
    let url = site.origin.url("/x.iso");
    site.well(&["fetch", &url, "--sha256", &sha_old]);
    site.origin.put("/x.iso", new);
    site.well(&["fetch", &url, "--sha256", &sha_new]);
    assert_eq!(site.json(&["content", "show", &url])["sha256"], sha_new.as_str());
    assert_eq!(
        site.json(&["content", "show", &sha_old])["sha256"],
        sha_old.as_str(),
        "the old version was thrown away"
    );

    // Removed and changed at the origin: the operator's word stands until it is taken back.
    let said = site.well(&["content", "remove", &url]);
    assert!(said.contains("removed") && said.contains("is bound still"), "{said}");
    let third = Object::made(70_000, 5);
    let sha_third = sha256(&third.all());
    site.origin.put("/x.iso", third);
    site.ill(1, &["fetch", &url]);
    assert!(site.ill(1, &["content", "show", &url]).contains("nothing is held"));
    site.well(&["content", "unbind", &url]);
    site.well(&["fetch", &url]);
    assert_eq!(site.json(&["content", "show", &url])["sha256"], sha_third.as_str());

    // An origin that is gone cannot be asked: the operator's word counts, and is told to be alone.
    site.origin.always("/y.iso", [Fault::Status(403)]);
    let y = site.origin.url("/y.iso");
    let output = run(site.data.path(), &["fetch", &y, "--sha256", &sha_third]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("bound without asking"), "{}", text(&output.stderr));
    assert_eq!(site.json(&["content", "show", &y])["sha256"], sha_third.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_backup_is_told_as_that() {
    let mut site = Site::new().await;
    let data = site.data.path().to_owned();
    site.stop();
    let file = data.join("no-backup");
    std::fs::write(&file, "no index at all").unwrap();
    for path in ["/nonexistent.redb", file.to_str().unwrap()] {
        let error = site.ill(66, &["restore", path]);
        assert!(error.contains(path) && error.contains("`waystation backup` wrote"), "{error}");
    }
    assert!(site.well(&["content", "list"]).contains("nothing is held"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_verification_is_listed_with_its_reason_and_thrown_out() {
    let mut site = Site::new().await;
    assert!(site.well(&["content", "quarantine", "list"]).contains("nothing is in quarantine"));
    site.origin.put("/a.cab", Object::made(300_000, 4));
    let url = site.origin.url("/a.cab");
    site.ill(1, &["fetch", &url, "--sha256", &"00".repeat(32)]);
    let listed = site.json(&["content", "quarantine", "list"]);
    let one = &listed.as_array().unwrap()[0];
    assert_eq!(one["name"], format!("sha256-{}", "00".repeat(32)), "{one}");
    assert!(one["why"].as_str().unwrap().contains(&sha256(&Object::made(300_000, 4).all())), "{one}");
    assert!(one["allocated"].as_u64().unwrap() >= 300_000, "{one}");
    assert_eq!(one["address"], url.strip_prefix("http://").unwrap(), "{one}");
    let file = site.data.path().join("quarantine").join(one["id"].as_str().unwrap());
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 300_000);
    assert!(site.well(&["content", "quarantine", "list"]).contains(one["id"].as_str().unwrap()));
    // The same without the node.
    site.stop();
    assert_eq!(site.json(&["content", "quarantine", "list"]), listed);
    let gone = site.json(&["content", "quarantine", "empty"]);
    assert_eq!((&gone["count"], &gone["bytes"]), (&1.into(), &one["allocated"]));
    assert!(std::fs::read_dir(site.data.path().join("quarantine")).unwrap().next().is_none());
    assert_eq!(site.json(&["content", "quarantine", "list"]), serde_json::json!([]));
    assert!(site.well(&["content", "quarantine", "empty"]).contains("was empty"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_file_is_answered_under_the_address_it_is_given() {
    let mut site = Site::new().await;
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("tool.iso");
    std::fs::write(&path, b"by hand").unwrap();
    let file = path.to_str().unwrap();
    let ask = |site: &Site, path: &str| {
        let target = format!("{path}?cacheHostOrigin={}", site.origin.address());
        node_process::get(site.node.address("http"), &target)
    };
    let url = site.origin.url("/tool.iso");
    let line = site.json(&["import", file, "--url", &url])["lines"][0].clone();
    assert_eq!((&line["class"], &line["outcome"]), (&"unproven".into(), &"taken".into()), "{line}");
    assert_eq!(line["sha256"], sha256(b"by hand"), "{line}");
    let told = line["text"].clone();
    assert!(told.as_str().unwrap().contains("/tool.iso: the origin is asked from"), "{told}");
    let answer = ask(&site, "/tool.iso");
    assert!(answer.contains("waystation; hit") && answer.ends_with("by hand"), "{answer}");
    assert_eq!(site.json(&["explain", &url])["content"]["class"], "unproven");

    // With its digest the address is bound: whatever the origin has there is refused.
    let bound = site.origin.url("/bound.iso");
    site.well(&["import", file, "--url", &bound, "--sha256", &sha256(b"by hand")]);
    assert!(ask(&site, "/bound.iso").contains("waystation; hit; detail=proven"));
    assert_eq!(site.json(&["content", "unbind", &bound])["digests"][0], format!("sha256-{}", sha256(b"by hand")));
    assert!(site.origin.log().is_empty(), "the origin was asked");

    let second = files.path().join("second");
    std::fs::write(&second, b"another").unwrap();
    site.well(&["import", second.to_str().unwrap(), "--url", &url]);
    assert!(ask(&site, "/tool.iso").ends_with("another"), "the newer import does not count");
    for (args, why) in [
        (&["import", file, second.to_str().unwrap(), "--url", &url][..], "one file"),
        (&["import", file, "--url", "http://nobody.example/a"], "allow-list"),
        (&["import", file, "--url", "/sha256/00"], "/sha256/00"),
    ] {
        let error = site.ill(1, args);
        assert!(error.contains(why), "{args:?}: {error}");
    }
    site.stop();
    site.ill(69, &["import", file, "--url", &url]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_asks_the_origin_and_fills_what_has_changed() {
    let site = Site::new().await;
    let (one, two) = (Object::made(200_000, 1).etag("\"1\""), Object::made(150_000, 2).etag("\"2\""));
    site.origin.put("/latest.iso", one.clone().header("Cache-Control", "max-age=86400"));
    let url = site.origin.url("/latest.iso");
    let refresh = || site.json(&["fetch", "--refresh", &url])["lines"][0]["text"].as_str().unwrap().to_owned();
    assert!(refresh().starts_with("filled"), "what is not held is filled");
    let asked = site.origin.log().len();
    // Fresh for a day: nobody else would ask.
    site.well(&["fetch", &url]);
    assert_eq!(site.origin.log().len(), asked);
    assert!(refresh().contains("the origin says that it is current"));
    assert_eq!(site.origin.log().len(), asked + 1);
    site.origin.put("/latest.iso", two.clone().header("Cache-Control", "max-age=86400"));
    assert!(refresh().contains("the origin had another version"));
    assert_eq!(site.json(&["content", "show", &url])["sha256"], sha256(&two.all()));
    site.origin.always("/latest.iso", [Fault::Status(404)]);
    let output = run(site.data.path(), &["fetch", "--refresh", &url]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(site.json(&["content", "show", &url])["sha256"], sha256(&two.all()), "what is held stays");
    site.well(&["fetch", &url, "--sha256", &sha256(&two.all())]);
    assert!(refresh().contains("a digest is known for it"), "what is bound needs no asking");
    site.ill(2, &["fetch", "--refresh", &url, "--sha256", &sha256(&two.all())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_say_what_is_in_force_and_what_waits() {
    let site = Site::new().await;
    let row = |key: &str| site.json(&["config", "show", "--filter", key])[0].clone();
    assert_eq!(row("fill.verify").get("next"), None);
    std::fs::write(
        site.data.path().join("waystation.toml"),
        "[fill]\nverify = \"strict\"\n[limits]\nidle = \"60 s\"\n",
    )
    .unwrap();
    let (verify, idle) = (row("fill.verify"), row("limits.idle"));
    assert_eq!((verify["value"].as_str(), verify["next"]["value"].as_str()), (Some("stream"), Some("strict")));
    assert_eq!((&verify["next"]["when"], &verify["next"]["place"]), (&"restart".into(), &"waystation.toml:2".into()));
    assert_eq!((idle["value"].as_str(), idle["next"]["when"].as_str()), (Some("75 s"), Some("reload")));
    site.node.signal(Signal::HUP);
    site.node.logged("reloaded");
    let (verify, idle) = (row("fill.verify"), row("limits.idle"));
    assert_eq!((verify["value"].as_str(), verify["next"]["when"].as_str()), (Some("stream"), Some("restart")));
    assert_eq!((idle["value"].as_str(), idle.get("next")), (Some("60 s"), None));
    let told = site.well(&["config", "show", "--changed"]);
    assert!(told.contains("-> \"strict\" after a restart (waystation.toml:2)"), "{told}");
}

/// Who reads a word of the program finds it in the glossary.
#[test]
fn the_glossary_has_the_words_that_are_printed() {
    use waystation::model::outcome::{Detail, Outcome};
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/GLOSSARY.md");
    let glossary = std::fs::read_to_string(path).unwrap();
    let outcomes = [Outcome::Hit, Outcome::Miss, Outcome::Partial, Outcome::Stale, Outcome::Refused].map(Outcome::word);
    let details = [Detail::Proven, Detail::Unproven, Detail::Streaming, Detail::Passed].map(Detail::word);
    let classes = waystation::pace::Class::ALL.map(waystation::pace::Class::word);
    let others = ["flight", "epoch", "tag", "piece", "pin", "draft", "quarantine", "collapsed", "cacheHostOrigin"];
    for word in outcomes.iter().chain(&details).chain(&classes).chain(&others) {
        let row = glossary.lines().any(|line| line.split('|').nth(1).is_some_and(|cell| cell.contains(word)));
        assert!(row, "{word} has no row in the glossary");
    }
    let steps = glossary.lines().find(|line| line.starts_with("| step |")).unwrap();
    for step in ["opening", "asking", "known", "filling", "paused", "proving", "publishing"] {
        assert!(steps.contains(step), "{step} is no step in the glossary");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let data = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = node_process::program(data.path(), &["config", "reference"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

#[test]
fn forgetting_a_certificate_waits_for_who_works_on_the_directory() {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("tls")).unwrap();
    let disk = waystation::base::disk::RealDisk;
    let held = waystation::net::tls::lock::hold(&disk, &data.path().join("tls")).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| tell.send(run(data.path(), &["tls", "forget"])).unwrap());
        told.recv_timeout(std::time::Duration::from_millis(500)).expect_err("it did not wait");
        drop(held);
        let output = told.recv_timeout(std::time::Duration::from_mins(1)).unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_says_which_settings_do_nothing() {
    let site = Site::with(&["--set", "upstream.direct_hosts=dl.example"]).await;
    let line = site.node.logged("no effect");
    assert!(line.contains("upstream.direct_hosts") && line.contains("WARN"), "{line}");
}
