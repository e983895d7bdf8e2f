//! `import`, `backup`, `restore`, `store verify|rebuild`: the store as a whole.

use std::path::{Path, PathBuf};

use crate::admin::view::{BackupRequest, ImportRequest, Started, VerifyRequest};
use crate::app::{self, AppError, Loaded};
use crate::cli::fail::Fail;
use crate::cli::node::Node;
use crate::cli::print::{Out, add, printable};
use crate::cli::verbs::{Import, StoreVerb};
use crate::cli::{follow, size};
use crate::model::name::Name;

/// Entries that a restore dropped which are named to a person.
const DROPPED_SHOWN: usize = 10;

pub(in crate::cli) fn run(loaded: &Loaded, verb: StoreVerb, out: Out) -> Result<(), Fail> {
    match verb {
        StoreVerb::Verify { name, repair, rate, detach } => {
            let node = if repair { Node::running(loaded)? } else { Node::any(loaded, false)? };
            let request = VerifyRequest { only: name, repair, rate };
            super::with(node, async |node| {
                let started: Started = node.post("/api/v1/store/verify", &request).await?;
                follow::started(node, started, detach, out).await
            })
        }
        StoreVerb::Rebuild { force } => rebuild(loaded, force, out),
    }
}

pub(in crate::cli) fn import(loaded: &Loaded, import: &Import, out: Out) -> Result<(), Fail> {
    let paths = import.paths.iter().map(|path| text(&absolute(path)?)).collect::<Result<Vec<_>, _>>()?;
    let request = ImportRequest {
        paths,
        take: import.take,
        sha256: import.sha256.map(|digest| digest.to_string()),
        url: import.url.clone(),
    };
    // An address is mapped by the running node's rules, as its clients' requests are.
    let node = if import.url.is_some() { Node::running(loaded)? } else { Node::any(loaded, true)? };
    super::with(node, async |node| {
        let started: Started = node.post("/api/v1/content/import", &request).await?;
        follow::started(node, started, false, out).await
    })
}

pub(in crate::cli) fn backup(loaded: &Loaded, file: &Path, out: Out) -> Result<(), Fail> {
    let request = BackupRequest { to: text(&absolute(file)?)? };
    super::with(Node::any(loaded, false)?, async |node| {
        let started: Started = node.post("/api/v1/store/backup", &request).await?;
        follow::started(node, started, false, out).await
    })
}

pub(in crate::cli) fn restore(loaded: &Loaded, file: &Path, out: Out) -> Result<(), Fail> {
    Node::none(loaded)?;
    let restored = match app::alone::restore(loaded, &absolute(file)?) {
        Err(AppError::NoStore { path }) => {
            let path = path.display();
            return Err(Fail::no_store(
                format!("there is no store in {path}"),
                format!(
                    "name the right data directory with --data; on a new disk make it first (`mkdir {path}`, owned by the \
                     user that the node runs as), and restore into it while it is empty, before the first start"
                ),
            ));
        }
        restored => restored?,
    };
    // What was pinned first: somebody wanted that kept.
    let mut dropped: Vec<_> = restored.dropped.iter().collect();
    dropped.sort_by_key(|gone| !gone.pinned);
    let listed: Vec<_> = dropped
        .iter()
        .map(|gone| {
            let names: Vec<_> = gone.names.iter().map(Name::shown).collect();
            serde_json::json!({
                "blake3": gone.blake3.to_string(), "size": gone.size, "names": names, "pinned": gone.pinned,
            })
        })
        .collect();
    let value = serde_json::json!({
        "epoch": restored.epoch, "payloads": restored.payloads, "dropped_count": restored.dropped_count,
        "dropped_pinned": restored.dropped_pinned, "dropped": listed, "old_index": restored.old_index,
    });
    out.both(&value, |_| {
        let mut text = format!(
            "the index is restored with {} payloads, and the store's epoch is {} now; start the node with `waystation \
             serve`\n",
            size::count(restored.payloads),
            restored.epoch
        );
        if restored.dropped_count > 0 {
            let count = size::count(restored.dropped_count);
            add(&mut text, format_args!("entries dropped, since their payloads are not there any more: {count}\n"));
            for gone in dropped.iter().take(DROPPED_SHOWN) {
                let name = gone.names.first();
                let name = name.map_or_else(|| format!("blake3-{}", gone.blake3), |name| printable(&name.shown()));
                let pinned = if gone.pinned { ", pinned" } else { "" };
                add(&mut text, format_args!("  {name} ({}{pinned})\n", size::bytes(gone.size)));
            }
            let more = restored.dropped_count.saturating_sub(DROPPED_SHOWN as u64);
            if more > 0 {
                add(&mut text, format_args!("  and {} more: --json names them\n", size::count(more)));
            }
            if restored.dropped_pinned > 0 {
                add(
                    &mut text,
                    format_args!(
                        "of these {} were pinned, and their pins are gone with them: `waystation fetch --pin` brings both \
                         back\n",
                        size::count(restored.dropped_pinned)
                    ),
                );
            }
        }
        if let Some(old) = &restored.old_index {
            add(
                &mut text,
                format_args!("the index that was there is kept: {}: delete it when all is well\n", old.display()),
            );
        }
        text
    })
}

fn rebuild(loaded: &Loaded, force: bool, out: Out) -> Result<(), Fail> {
    Node::none(loaded)?;
    if !force && app::alone::index_opens(loaded)? {
        return Err(Fail::new(
            "the index opens, and a new one would be without pins, settings, the account and names learnt later",
            "leave it as it is; where the node's log or `waystation health` says that it is damaged all the same, add --force",
        ));
    }
    let bars = out.progress();
    // A spinner has a thread of its own, and the switch to the directory's owner comes before any.
    let mut bar = None;
    let rebuilt = app::alone::rebuild(loaded, &mut |found| {
        let bar = bar.get_or_insert_with(|| bars.spinner("reading proofs"));
        bar.set_message(format!("reading proofs: {}", size::count(found)));
    })?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let list = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    let (bad, bare) = (list(&rebuilt.bad_proofs), list(&rebuilt.without_proof));
    let value = serde_json::json!({
        "payloads": rebuilt.payloads, "epoch": rebuilt.epoch, "bad_proofs": bad, "without_proof": bare,
        "old_index": rebuilt.old_index,
    });
    out.both(&value, |_| {
        let mut text = format!(
            "{} in the new index; the store's epoch is {} now\n",
            match rebuilt.payloads {
                1 => "1 payload is".to_owned(),
                many => format!("{} payloads are", size::count(many)),
            },
            rebuilt.epoch
        );
        for (paths, what) in [(&bad, "its proof is damaged"), (&bare, "it has no proof")] {
            for path in paths {
                add(&mut text, format_args!("left out: {path}: {what}; `waystation import` takes it in again\n"));
            }
        }
        text.push_str(
            "gone are pins, settings, the account, names that were learnt after a payload was published, and all that was \
             noted of names: digests that `fetch --sha256` bound (give them again), places to fetch from, versions\n",
        );
        if let Some(old) = &rebuilt.old_index {
            add(
                &mut text,
                format_args!(
                    "the old index is kept: {}\nto have it back, stop the node and rename it to node.redb; else delete it\n",
                    old.display()
                ),
            );
        }
        text
    })
}

/// The node stands in another directory, so paths travel absolute. Links are left as they are.
fn absolute(path: &Path) -> Result<PathBuf, Fail> {
    std::path::absolute(path).map_err(|error| Fail::usage(format!("{}: {error}", path.display()), "name a path"))
}

fn text(path: &Path) -> Result<String, Fail> {
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => {
            Err(Fail::usage(format!("{} is no UTF-8", path.display()), "rename it, or name the directory above it"))
        }
    }
}
