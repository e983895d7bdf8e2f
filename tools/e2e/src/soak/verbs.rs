//! An operator who cannot leave the command line alone: verbs in a seeded order against a node that is being killed.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::bytes::Dice;
use crate::node::Line;
use crate::soak::clients::Field;
use crate::soak::world::wrong;

/// How verbs ended.
#[derive(Default)]
pub(super) struct Ended {
    pub well: AtomicU64,
    /// With an error that says why: the node was being killed, the origin failed, nothing of that name is held.
    pub refused: AtomicU64,
}

/// One verb after another until the soak ends; it returns what must never be.
pub(super) fn live(field: &Field<'_>, line: &Line, folder: &Path, ended: &Ended, seed: u64) -> io::Result<()> {
    let mut dice = Dice::new(seed);
    let backup = folder.join(format!("backup-{seed}.redb"));
    while !field.stop.load(Ordering::SeqCst) {
        if field.quiet.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        field.busy.fetch_add(1, Ordering::SeqCst);
        let result = once(field, line, &backup.to_string_lossy(), ended, &mut dice);
        field.busy.fetch_sub(1, Ordering::SeqCst);
        let _ = std::fs::remove_file(&backup);
        result?;
        std::thread::sleep(Duration::from_millis(dice.below(400)));
    }
    Ok(())
}

fn once(field: &Field<'_>, line: &Line, backup: &str, ended: &Ended, dice: &mut Dice) -> io::Result<()> {
    let thing = &field.things[dice.below(field.things.len() as u64) as usize];
    let url = thing.url();
    let words: Vec<&str> = match dice.below(20) {
        0..5 if !thing.changes => vec!["fetch", &url, "--sha256", &thing.sha256],
        0..6 => vec!["fetch", &url],
        6 => vec!["fetch", &url, "--detach"],
        7 => vec!["store", "verify"],
        8 => vec!["store", "verify", "--repair", "--rate", "64MiB"],
        9..11 => vec!["backup", backup],
        11 => vec!["content", "pin", &url],
        12..14 => vec!["content", "unpin", &url],
        14 => vec!["content", "remove", &url],
        15 => vec!["content", "list", "--limit", "0", "--json"],
        16 => vec!["status"],
        17 => vec!["explain", &url],
        18 => vec!["jobs"],
        _ => vec!["content", "show", &url],
    };
    let out = line.run(&words)?;
    let said = String::from_utf8_lossy(&out.stderr);
    match out.status.code() {
        _ if said.contains("panicked") => Err(wrong(format!("waystation {}: {said}", words.join(" ")))),
        Some(0) => {
            ended.well.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        Some(1..=99) if !said.trim().is_empty() => {
            ended.refused.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        _ => Err(wrong(format!("waystation {} ended with {} and said {said:?}", words.join(" "), out.status))),
    }
}
