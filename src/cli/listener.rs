//! The control listener of a node that could make no socket: found by the configuration, and believed only where it is
//! the node of this data directory, since any other may have the address.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::admin::view::Status;

/// How long each step may take: on the same machine it is there at once, and a health check has 5 s in all.
const STEP_MAX: Duration = Duration::from_secs(1);

/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Whether what answers at `control` is the node that works on `data`. Blocks for a few seconds at most, and only where
/// something listens that does not answer.
pub(super) fn is_of(control: SocketAddr, data: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    status(control).is_some_and(|status| whole(Path::new(&status.node.data)) == whole(data))
}

/// What it says of itself. HTTP/1.0, so that the answer ends with the connection and has no chunks.
fn status(control: SocketAddr) -> Option<Status> {
    let mut stream = TcpStream::connect_timeout(&control, STEP_MAX).ok()?;
    stream.set_read_timeout(Some(STEP_MAX)).ok()?;
    stream.set_write_timeout(Some(STEP_MAX)).ok()?;
    stream.write_all(b"GET /api/v1/status HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).ok()?;
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    serde_json::from_slice(&answer[body..]).ok()
}
