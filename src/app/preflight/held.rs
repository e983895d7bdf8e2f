//! What is held: the index and the content as a start would find them. Looks, and changes nothing.

use std::io::ErrorKind;

use crate::app::config::keys::Typed;
use crate::app::preflight::Found;
use crate::base::disk::RealDisk;
use crate::model::report::Verdict;
use crate::store::{self, Survey, survey};

const CHECK: &str = "store";

/// Whether a start would find all that it knows of. A running node (`runs`) writes its index, which is not read under it; `asked` says that
/// it gave the categories of its catalog.
pub(super) fn store(typed: &Typed, runs: bool, asked: bool, found: &mut Found) {
    let path = &typed.store.path.0;
    let subject = path.display().to_string();
    if !path.is_dir() {
        return;
    }
    if runs {
        let content = path.join("content");
        if content.is_dir() {
            let seen = if asked {
                "a node runs on this data directory, so that its index was not read; it was asked for the names of its catalog, and for \
                 nothing else"
            } else {
                "a node runs on this data directory, so that its index was not read"
            };
            found.add(Verdict::Skipped, CHECK, &subject, seen, "`waystation health` asks it");
        } else {
            found.warn(
                CHECK,
                &content.display().to_string(),
                "a node runs, and the directory of its payloads is not there",
                "see whether everything is mounted, then restart the node: nothing that is not open can be served",
            );
        }
        return;
    }
    match survey(path, &RealDisk) {
        Ok(Survey::New) => {}
        Ok(Survey::Whole { payloads }) => {
            let noun = if payloads == 1 { "payload" } else { "payloads" };
            found.good(CHECK, &subject, format!("the index knows {payloads} {noun}"));
        }
        Ok(Survey::Stunted { why }) => found.warn(
            CHECK,
            &subject,
            why,
            "do it before the start: a node that starts on it serves what it finds, keeps nothing new, and is not ready",
        ),
        Err(store::Error::Io(error)) if error.kind() == ErrorKind::PermissionDenied => {
            found.add(Verdict::Skipped, CHECK, &subject, "it cannot be read by this user", "check as the node's user");
        }
        Err(error) => found.bad(CHECK, &subject, error.to_string(), "a node does not start on it as it is"),
    }
}
