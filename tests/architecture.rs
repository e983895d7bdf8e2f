//! Holds the house to its plan: who may import whom, how large a file may be, and what every file must say first.
//!
//! The table below is the import table of `docs/ARCHITECTURE.md`. Paths are read out of the source as text: every
//! `crate::room` and `crate::{room, ..}` outside comments and strings counts, tests included.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Room, floor, and the rooms it may import. `admin::view` stands for that one module.
const TABLE: &[(&str, u8, &[&str])] = &[
    ("base", 0, &[]),
    ("model", 1, &["base"]),
    ("wire", 1, &["base", "model"]),
    ("pace", 1, &["base"]),
    ("store", 2, &["base", "model"]),
    ("net", 2, &["base", "pace"]),
    ("upstream", 2, &["base", "model", "wire", "pace"]),
    ("fill", 3, &["base", "model", "pace", "store", "upstream"]),
    ("sync", 3, &["base", "model", "wire", "store", "upstream"]),
    ("fleet", 3, &["base", "model", "store"]),
    ("keep", 3, &["base", "model", "store"]),
    ("chain", 4, &["base", "model", "wire", "store", "upstream", "fleet"]),
    ("jobs", 5, &["base", "model", "pace", "store", "fill", "sync", "fleet", "keep", "chain"]),
    ("serve", 6, &["base", "model", "wire", "store", "net", "fill", "fleet", "chain"]),
    ("admin", 6, &["base", "model", "pace", "store", "net", "fleet", "chain", "jobs"]),
    (
        "app",
        7,
        &[
            "base", "model", "wire", "pace", "store", "net", "upstream", "fill", "sync", "fleet", "keep", "chain",
            "jobs", "serve", "admin",
        ],
    ),
    ("cli", 8, &["app", "admin::view", "base", "model"]),
];

/// Lines of a source file, its tests left out, beyond which a sibling is missing.
const LINES_MAX: usize = 600;

/// The one file that may contain `unsafe`.
const UNSAFE: &str = "store/blob.rs";
const UNSAFE_TESTS: &str = "store/blob/os/tests.rs";

/// What the top level holds; anything else is a leftover of somebody's work, except what `.gitignore` names.
const TOP: &[&str] = &[
    ".ci",
    ".dockerignore",
    ".git",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "benches",
    "clippy.toml",
    "docs",
    "rustfmt.toml",
    "src",
    "target",
    "tests",
    "tools",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// The source with comments and the insides of string and character literals blanked, line breaks kept.
fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    let blank = |out: &mut String, text: &str| out.extend(text.chars().filter(|c| *c == '\n'));
    while at < bytes.len() {
        let rest = &source[at..];
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = hashes + 2;
            rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len())
        } else if rest.starts_with('"') {
            let mut end = 1;
            while end < rest.len() && rest.as_bytes()[end] != b'"' {
                end += if rest.as_bytes()[end] == b'\\' { 2 } else { 1 };
            }
            (end + 1).min(rest.len())
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            let width = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..width]);
            at += width;
            continue;
        };
        blank(&mut out, &rest[..skip]);
        at += skip;
    }
    out
}

fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// Stands for a glob of the crate's root, which names every room at once; no table allows it.
const EVERYTHING: &str = "*";
/// Stands for another name of the crate's root, under which any room can be named unseen; no table allows it.
const RENAMED: &str = "crate as";

/// Whether what follows a name gives it another one.
fn is_renamed(rest: &str) -> bool {
    let after = rest.trim_start();
    after.len() < rest.len() && after.strip_prefix("as").is_some_and(|name| name.starts_with(char::is_whitespace))
}

/// What `crate::` paths name, two segments deep where the second is plain: `store`, `admin::view`.
fn imports(code: &str) -> BTreeSet<String> {
    fn ident(text: &str) -> &str {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        &text[..end]
    }
    fn path(text: &str) -> Option<String> {
        if text.starts_with('*') {
            return Some(EVERYTHING.to_owned());
        }
        let first = ident(text);
        if first.is_empty() {
            return None;
        }
        let second = text[first.len()..].strip_prefix("::").map(ident).unwrap_or_default();
        Some(if second.is_empty() { first.to_owned() } else { format!("{first}::{second}") })
    }
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate") {
        let word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
        if word && is_renamed(&code[at + "crate".len()..]) || code[..at].trim_end().ends_with("extern") {
            found.insert(RENAMED.to_owned());
        }
    }
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0usize;
            let mut start = true;
            for (offset, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    c if start && depth == 0 && !c.is_whitespace() => {
                        start = false;
                        found.extend(path(&group[offset..]));
                    }
                    _ => {}
                }
            }
        } else {
            found.extend(path(rest));
        }
    }
    found
}

/// The rooms that `super::` paths reach by climbing up to the crate's root.
fn climbs(file: &str, code: &str) -> BTreeSet<String> {
    fn word(c: char) -> bool {
        c.is_alphanumeric() || c == '_'
    }
    let mut floors = file.split('/').count();
    if file.ends_with("/mod.rs") {
        floors -= 1;
    }
    // One entry an open brace: whether it opened a module.
    let mut open = Vec::new();
    let mut found = BTreeSet::new();
    let mut at = 0;
    while let Some(c) = code[at..].chars().next() {
        let rest = &code[at..];
        let fresh = !code[..at].ends_with(|c| word(c) || c == ':');
        if fresh && rest.starts_with("super") {
            let mut path = rest;
            let mut climbed = 0;
            while let Some(after) = path.strip_prefix("super::") {
                path = after;
                climbed += 1;
            }
            let renamed = path.strip_prefix("super").is_some_and(is_renamed);
            let root = floors + open.iter().filter(|module| **module).count();
            if renamed && climbed + 1 == root {
                found.insert(RENAMED.to_owned());
            }
            if climbed > 0 && climbed == root {
                found.extend(imports(&format!("crate::{path}")));
            }
            at += (rest.len() - path.len()).max("super".len());
            continue;
        }
        match c {
            '{' => {
                let before = code[..at].trim_end().trim_end_matches(word).trim_end();
                open.push(before.ends_with("mod") && !before.trim_end_matches("mod").ends_with(word));
            }
            '}' => drop(open.pop()),
            _ => {}
        }
        at += c.len_utf8();
    }
    found
}

/// Lines of a source file without the tests at its foot; a line that names a file of tests is like any other.
fn lines(source: &str) -> usize {
    let all: Vec<_> = source.lines().collect();
    let foot =
        all.windows(2).position(|two| two[0] == "#[cfg(test)]" && two[1].starts_with("mod ") && two[1].ends_with('{'));
    foot.unwrap_or(all.len())
}

#[test]
fn the_table_has_no_way_up_and_no_cycle() {
    let floors: BTreeMap<_, _> = TABLE.iter().map(|(room, floor, _)| (*room, *floor)).collect();
    for (room, floor, allowed) in TABLE {
        for other in *allowed {
            let below = floors[other.split("::").next().unwrap()];
            assert!(
                below < *floor || (below, *floor) == (0, 1) || below == 1 && *floor == 1,
                "{room} -> {other} goes up"
            );
            assert_ne!(room, other);
        }
    }
    // Floor 1 has one edge within the floor (wire -> model); it must stay one-way.
    let wire = TABLE.iter().find(|(room, ..)| *room == "wire").unwrap().2;
    let model = TABLE.iter().find(|(room, ..)| *room == "model").unwrap().2;
    assert!(wire.contains(&"model") && !model.contains(&"wire"));
}

#[test]
fn every_room_imports_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (file, source) in sources() {
        let room = file.split('/').next().unwrap().trim_end_matches(".rs");
        if room == "lib" {
            continue;
        }
        let code = code_only(&source);
        if room == "main" {
            let strange: Vec<_> = code
                .match_indices("waystation::")
                .map(|(at, _)| &code[at + 12..])
                .filter(|rest| !rest.starts_with("cli"))
                .collect();
            assert!(strange.is_empty(), "main.rs may use waystation::cli only");
            continue;
        }
        let Some((_, _, allowed)) = TABLE.iter().find(|(name, ..)| *name == room) else {
            wrong.push(format!("{file}: there is no room {room} in the table"));
            continue;
        };
        for import in imports(&code).into_iter().chain(climbs(&file, &code)) {
            let top = import.split("::").next().unwrap();
            if top != room && !allowed.contains(&top) && !allowed.contains(&import.as_str()) {
                wrong.push(format!("{file}: {room} may not import {import}"));
            }
        }
        if code.contains("super::super::super") {
            wrong.push(format!("{file}: a path that climbs three floors hides what it imports; write crate::room::.."));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_file_is_short_and_says_what_it_is() {
    let mut wrong = Vec::new();
    for (file, source) in sources() {
        let lines = lines(&source);
        if lines > LINES_MAX {
            wrong.push(format!("{file}: {lines} lines without tests, at most {LINES_MAX}: a sibling is missing"));
        }
        if !source.starts_with("//!") {
            wrong.push(format!("{file}: no //! head"));
        }
        if file.contains("util") || file.contains("helper") || file.contains("common") {
            wrong.push(format!("{file}: name it for the noun it serves"));
        }
        for mark in ["TODO", "FIXME", "XXX"] {
            if source.contains(mark) {
                wrong.push(format!("{file}: {mark} belongs in a decision or an issue"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_crate_root_re_exports_nothing_and_unsafe_stands_in_one_file() {
    for (file, source) in sources() {
        let code = code_only(&source);
        if file == "lib.rs" {
            assert!(!code.contains("use "), "lib.rs declares rooms and nothing else");
        }
        if file != UNSAFE && file != UNSAFE_TESTS {
            let words: BTreeSet<_> = code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            assert!(!words.contains("unsafe"), "{file}: unsafe stands in {UNSAFE} only");
            assert!(!words.contains("unsafe_code"), "{file}: the lint is lifted in {UNSAFE} only");
        }
    }
}

#[test]
fn the_reader_of_paths_reads_what_is_there() {
    let code = code_only(
        "use crate::{base::digest, model::{self, name}, store};\n// crate::cli\nlet s = \"crate::app \\\" crate::net\"; crate::admin::view::Status; r#\"crate::serve\"#; '\"'; crate::pace",
    );
    let found = imports(&code);
    let expected: BTreeSet<String> =
        ["admin::view", "base::digest", "model", "pace", "store"].into_iter().map(String::from).collect();
    assert_eq!(found.iter().map(|p| p.trim_end_matches("::").to_owned()).collect::<BTreeSet<_>>(), expected);
}

#[test]
fn the_root_has_one_name_and_is_never_taken_whole() {
    let found = |code| imports(&code_only(code)).into_iter().collect::<Vec<_>>();
    assert_eq!(found("use crate::*;"), [EVERYTHING]);
    assert_eq!(found("use crate::{*, base::time};"), [EVERYTHING, "base::time"]);
    assert_eq!(found("use crate as house; fn f() { house::net::go() }"), [RENAMED]);
    assert_eq!(found("use {std::io, crate as house};"), [RENAMED]);
    assert_eq!(found("extern crate self as house;"), [RENAMED]);
    assert_eq!(found("use crate::{self as house};"), ["self"]);
    assert_eq!(found("use crate::base::disk as place; let x = crates as u8;"), ["base::disk"]);
    let climbed = |file, code| climbs(file, code).into_iter().collect::<Vec<_>>();
    assert_eq!(climbed("store/mod.rs", "use super::*;"), [EVERYTHING]);
    assert_eq!(climbed("store/blob.rs", "use super::super::{*};"), [EVERYTHING]);
    assert_eq!(climbed("store/mod.rs", "use super as house;"), [RENAMED]);
    assert_eq!(climbed("store/blob.rs", "use super::super as house;"), [RENAMED]);
    // The room itself may be named as one likes, and tests may take all that they test.
    assert_eq!(climbed("store/blob.rs", "use super as room; mod tests { use super::*; }"), [""; 0]);
    assert_eq!(climbed("cli.rs", "pub(super) fn f() {} mod tests { use super::*; }"), [""; 0]);
}

#[test]
fn the_reader_of_climbing_paths_counts_modules() {
    let room = |file, code| climbs(file, code).into_iter().collect::<Vec<_>>();
    assert_eq!(room("store/mod.rs", "use super::fill::gate;"), ["fill::gate"]);
    assert_eq!(room("store/blob.rs", "use super::cache; fn f() { super::super::net::go() }"), ["net::go"]);
    assert_eq!(
        room("store/blob.rs", "mod os { use super::super::cache; mod tests { use super::super::super::pace; } }"),
        [""; 0]
    );
    assert_eq!(
        room("net/tls/ca.rs", "mod tests { use super::super::super::super::{serve, jobs::board}; }"),
        ["jobs::board", "serve"]
    );
    assert_eq!(room("cli.rs", "struct Model { x: u8 } use super::app;"), ["app"]);
}

#[test]
fn tests_in_a_file_of_their_own_do_not_end_the_count() {
    assert_eq!(lines("//! a\n#[cfg(test)]\nmod tests;\nfn f() {}\n#[cfg(test)]\nmod tests {\n}\n"), 4);
}

/// A system call that no group of systemd's has is refused by the unit unless it is named there.
#[test]
fn the_unit_allows_the_system_calls_of_the_unsafe_file() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let unit = fs::read_to_string(top.join("docs/systemd/waystation.service")).unwrap();
    let mut allowed: BTreeSet<_> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("SystemCallFilter="))
        .flat_map(str::split_whitespace)
        .collect();
    // `systemd-analyze syscall-filter @system-service` has these.
    allowed.extend(["fcntl", "getrusage"]);
    // No system call: what the process was told when it was started.
    allowed.extend(["sysconf"]);
    let code = code_only(&fs::read_to_string(root().join(UNSAFE)).unwrap());
    let mut calls = 0;
    for (at, _) in code.match_indices("libc::") {
        let name = code[at + 6..].split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
        if code[at + 6 + name.len()..].starts_with('(') {
            calls += 1;
            assert!(allowed.contains(name), "{name} is called, but no SystemCallFilter= line of the unit names it");
        }
    }
    assert!(calls > 0, "nothing was looked at");
}

/// The root certificate of Microsoft's sync service is not one that the system believes. The client that fetches payloads, the probes
/// of origins and the webhook are made without it.
#[test]
fn only_the_client_of_the_sync_service_believes_the_root_that_ships() {
    let naming = |what: &str| -> BTreeSet<String> {
        sources().into_iter().filter(|(_, source)| source.contains(what)).map(|(file, _)| file).collect()
    };
    let only = |file: &str| BTreeSet::from([file.to_owned()]);
    assert_eq!(naming("microsoft-root-ca"), only("upstream/wsus/trust.rs"));
    let both: BTreeSet<String> = ["upstream/client.rs", "upstream/wsus/trust.rs"].map(str::to_owned).into();
    assert_eq!(naming("ByName::microsoft("), both);
    let (_, client) = sources().into_iter().find(|(file, _)| file == "upstream/client.rs").unwrap();
    let before = client.split("ByName::microsoft(").next().unwrap();
    assert_eq!(client.matches("ByName::microsoft(").count(), 1);
    assert!(before.rsplit("fn ").next().unwrap().starts_with("for_sync("), "another client believes it");
    let users = naming("for_sync(");
    assert!(users.iter().all(|file| file == "upstream/client.rs" || file.starts_with("upstream/wsus/")), "{users:?}");
}

#[test]
fn the_top_level_holds_only_what_belongs_there() {
    // Only with a history beside it: an unpacked archive may lie among other things.
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !top.join(".git").exists() {
        return;
    }
    let ignored = fs::read_to_string(top.join(".gitignore")).unwrap();
    let strays: Vec<String> = fs::read_dir(top)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !TOP.contains(&name.as_str()))
        .filter(|name| !ignored.lines().any(|line| line.trim_matches('/') == name))
        .collect();
    assert!(strays.is_empty(), "at the top level: {strays:?}; list it in TOP or .gitignore, or take it away");
}
