//! Files by closed ranges of 1 MiB in any order over several connections, as Delivery Optimization does.

use std::sync::Arc;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use crate::agent::Agent;
use crate::core::File;
use crate::fault::Failure;
use crate::guid::Guid;
use crate::machine::mixed;
use crate::trust::Trust;
use crate::wire::{Server, Wire};

const PIECE: u64 = 1 << 20;

/// Connections for one file.
const CONNECTIONS: u64 = 4;

/// What the files on their way take in memory, all machines of a process together, in KiB. A file is held until its digests are counted,
/// since its ranges come in any order; one that is larger than all this is not downloaded.
pub(crate) const ROOM_KIB: u32 = 512 << 10;

impl Agent {
    /// Downloads the files of these updates; how many, and of how many bytes.
    pub(crate) async fn download(&mut self, parts: &[Guid]) -> Result<(u64, u64), Failure> {
        let revisions: Vec<(Guid, u32)> = {
            let newest = self.state.newest();
            parts.iter().filter_map(|id| newest.get(id).map(|(_, held)| (*id, held.core.revision))).collect()
        };
        let mut wanted: Vec<File> = revisions.iter().filter_map(|key| self.files.get(key)).flatten().cloned().collect();
        wanted.sort_by_key(|file| file.sha1);
        wanted.dedup_by_key(|file| file.sha1);
        let mut bytes = 0;
        for file in &wanted {
            let url = self.locate(file.sha1, false).await?;
            match self.fetch(&url, file).await {
                Ok(()) => {}
                // It may have moved.
                Err(Failure::Status { status: 404 | 410, .. }) => {
                    let url = self.locate(file.sha1, true).await?;
                    self.fetch(&url, file).await?;
                }
                Err(failure) => return Err(failure),
            }
            bytes += file.size;
        }
        Ok((wanted.len() as u64, bytes))
    }

    async fn fetch(&self, url: &str, file: &File) -> Result<(), Failure> {
        let kib = u32::try_from(file.size.div_ceil(1024)).ok().filter(|kib| *kib <= ROOM_KIB);
        let kib = kib
            .ok_or_else(|| Failure::File(format!("{} has {} bytes, too many to be simulated", file.name, file.size)))?;
        // It is never closed; without it the file would only not wait.
        let _room = self.room().acquire_many(kib).await;
        fetch(url, file, self.machine().seed, self.server().trust()).await
    }
}

async fn fetch(url: &str, file: &File, seed: u64, trust: Option<&Trust>) -> Result<(), Failure> {
    let place = url.find("://").and_then(|at| url.get(at + 3..)?.find('/').map(|slash| at + 3 + slash));
    let (host, path) = place.and_then(|at| url.split_at_checked(at)).unwrap_or((url, "/"));
    let (host, path, trust) = (host.to_owned(), Arc::<str>::from(path), trust.cloned());
    // A name may have to be looked up.
    let server = tokio::task::spawn_blocking(move || Server::find(&host, trust.as_ref())).await;
    let server = server.map_err(|error| Failure::Network(error.to_string()))?.map_err(Failure::File)?;
    let pieces = shuffled(file.size.div_ceil(PIECE), seed);
    let mut tasks = JoinSet::new();
    for lane in 0..CONNECTIONS.min(pieces.len() as u64) {
        let own: Vec<u64> = pieces.iter().copied().skip(lane as usize).step_by(CONNECTIONS as usize).collect();
        let (server, path, size) = (server.clone(), Arc::clone(&path), file.size);
        tasks.spawn(async move {
            let mut wire = Wire::new(server);
            let mut found = Vec::new();
            for piece in own {
                let from = piece * PIECE;
                let to = (from + PIECE).min(size) - 1;
                found.push((piece, wire.range(&path, from, to, size).await?));
            }
            Ok::<_, Failure>(found)
        });
    }
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.extend(done.map_err(|error| Failure::Network(error.to_string()))??);
    }
    all.sort_by_key(|(piece, _)| *piece);
    let file = file.clone();
    let checked = tokio::task::spawn_blocking(move || {
        let (mut sha1, mut sha256) = (Sha1::new(), Sha256::new());
        for (_, bytes) in &all {
            sha1.update(bytes);
            sha256.update(bytes);
        }
        let (sha1, sha256): ([u8; 20], [u8; 32]) = (sha1.finalize().into(), sha256.finalize().into());
        match (sha1 == file.sha1, sha256 == file.sha256) {
            (true, true) => Ok(()),
            (false, _) => Err(Failure::File(format!("{} does not have its SHA-1", file.name))),
            (_, false) => Err(Failure::File(format!("{} does not have its SHA-256", file.name))),
        }
    });
    checked.await.map_err(|error| Failure::Network(error.to_string()))?
}

/// The numbers below `count` in an order that follows from the seed.
fn shuffled(count: u64, seed: u64) -> Vec<u64> {
    let mut all: Vec<u64> = (0..count).collect();
    all.sort_by_key(|piece| mixed(&[seed, count, *piece]));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_shuffled_and_none_is_lost() {
        let mut one = shuffled(50, 1);
        assert!(one != shuffled(50, 2) && !one.is_sorted());
        one.sort_unstable();
        assert_eq!(one, (0..50).collect::<Vec<_>>());
    }
}
