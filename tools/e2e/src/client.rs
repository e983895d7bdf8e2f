//! Windows clients: many keep-alive connections, shuffled closed 1 MiB ranges, each file checked at the end.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;

use crate::bytes::{Dice, Object};
use crate::http::Connection;

pub(crate) const PIECE: u64 = 1 << 20;

/// What one client saw.
#[derive(Default, Debug)]
pub(crate) struct Seen {
    pub pieces: u64,
    pub bytes: u64,
}

/// One client: pulls the given pieces of the objects (`(object, piece)`) over `connections` keep-alive connections in
/// shuffled order, and holds every byte against what the origin has.
pub(crate) fn pull(
    node: SocketAddr,
    origin: SocketAddr,
    objects: &[Object],
    mut pieces: Vec<(usize, u64)>,
    connections: usize,
    seed: u64,
) -> io::Result<Seen> {
    Dice::new(seed).shuffle(&mut pieces);
    let queue = Mutex::new(pieces);
    let seen = Mutex::new(Seen::default());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| -> io::Result<()> {
                    let mut connection = Connection::open(node)?;
                    loop {
                        let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
                        let Some((index, piece)) = next else { return Ok(()) };
                        let object = &objects[index];
                        let bytes = one(&mut connection, origin, object, piece)?;
                        let mut seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        seen.pieces += 1;
                        seen.bytes += bytes;
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| io::Error::other("a client panicked"))??;
        }
        Ok::<_, io::Error>(())
    })?;
    Ok(seen.into_inner().unwrap_or_default())
}

fn one(connection: &mut Connection, origin: SocketAddr, object: &Object, piece: u64) -> io::Result<u64> {
    let target = crate::node::Node::target(origin, &object.path);
    let first = piece * PIECE;
    let last = (first + PIECE).min(object.size).saturating_sub(1);
    let range = (object.size > 0).then_some((first, last));
    let wanted = if range.is_some() { 206 } else { 200 };
    let mut at = first;
    let head = connection.get(&target, range, |head, bytes| {
        if head.status != wanted {
            let said = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]);
            return Err(io::Error::other(format!("{target}: answered with {}: {}", head.status, said.trim())));
        }
        if !object.matches(at, bytes) {
            return Err(io::Error::other(format!("{}: wrong bytes at {at} of an answer {}", object.path, head.status)));
        }
        at += bytes.len() as u64;
        Ok(())
    })?;
    let fits = match range {
        None => head.status == 200 && at == 0,
        Some((first, last)) => {
            let span = format!("bytes {first}-{last}/{}", object.size);
            head.status == 206 && head.header("content-range") == Some(&span) && at == last + 1
        }
    };
    if !fits || head.header("content-encoding").is_some() || head.header("etag").is_none() {
        return Err(io::Error::other(format!("{target}: an answer that Windows would not take: {head:?}, {at}")));
    }
    Ok(at - first)
}

/// All pieces of all objects; an empty object has one.
pub(crate) fn all_pieces(objects: &[Object]) -> Vec<(usize, u64)> {
    objects
        .iter()
        .enumerate()
        .flat_map(|(index, object)| (0..object.size.div_ceil(PIECE).max(1)).map(move |piece| (index, piece)))
        .collect()
}
