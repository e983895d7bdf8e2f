//! `control.sock`: the command line's way to the running node. Whoever can open it may do everything, so only root and
//! the node's own user can.
//!
//! It is bound inside a directory of its own that nobody else can enter, made 0600 there, and then renamed to its place:
//! there is no moment at which another user could open it, and what an earlier process left behind is replaced. All
//! through `/proc/self/fd`, since the path of a data directory may be longer than the 107 bytes of a socket's address.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{Access, Caller, Handles, router};

/// The socket's name in the data directory.
pub const NAME: &str = "control.sock";

/// Command lines that are served at once; more wait in the backlog.
const CONNECTIONS_MAX: usize = 64;

/// A command line that says nothing for this long is gone.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);

/// How long to wait after an accept that failed.
const REST: Duration = Duration::from_millis(100);

/// How long a stopping node waits for answers that are under way.
const GRACE: Duration = Duration::from_secs(5);

/// A bound socket. Dropping it takes the name away.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Binds `<data>/control.sock`. Must be called inside a runtime. Fails on a read-only file system: the node then runs
    /// without it, and says so.
    pub fn bind(data: &Path) -> io::Result<Self> {
        let room = data.join(format!(".control-{}", std::process::id()));
        sweep(&room)?;
        DirBuilder::new().mode(0o700).create(&room)?;
        let bound = bind_inside(&room, data);
        // Empty by now, whether it was bound or not.
        let _ = fs::remove_file(room.join(NAME));
        let swept = fs::remove_dir(&room);
        let listener = bound?;
        swept?;
        Ok(Self { listener, path: data.join(NAME) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves until `cancel`, then finishes the answers that are under way.
    pub async fn serve(self, handles: Handles, cancel: CancellationToken) {
        let router = router::router(handles, Access::Full);
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => break,
                Some(_ended) = tasks.join_next() => continue,
                accepted = self.listener.accept(), if tasks.len() < CONNECTIONS_MAX => accepted,
            };
            match accepted {
                Ok((stream, _)) => drop(tasks.spawn(connection(stream, router.clone(), cancel.clone()))),
                // Out of file handles, or a peer that is gone already: neither is mended by hurry.
                Err(error) => {
                    tracing::warn!(%error, "a command line could not be taken in");
                    tokio::time::sleep(REST).await;
                }
            }
        }
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            tracing::warn!("some command lines were cut off by the shutdown");
            tasks.shutdown().await;
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // It may be gone, or the next process's already; both are fine, since only one node has the data directory.
        let _ = fs::remove_file(&self.path);
    }
}

/// Takes away what a process of the same number left when it was killed amid [`Socket::bind`]: in a container every node
/// has the same number. What else may be in there stays, and is an error.
fn sweep(room: &Path) -> io::Result<()> {
    for removed in [fs::remove_file(room.join(NAME)), fs::remove_dir(room)] {
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn bind_inside(room: &Path, data: &Path) -> io::Result<UnixListener> {
    let handle = File::open(room)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", handle.as_raw_fd()));
    let listener = UnixListener::bind(&short)?;
    fs::set_permissions(room.join(NAME), Permissions::from_mode(0o600))?;
    fs::rename(room.join(NAME), data.join(NAME))?;
    Ok(listener)
}

async fn connection(stream: UnixStream, router: Router, cancel: CancellationToken) {
    // The mode of the socket has let it in already; this is for the record.
    let caller = match stream.peer_cred() {
        Ok(cred) if cred.uid() == 0 => "root".to_owned(),
        Ok(cred) => format!("uid {}", cred.uid()),
        Err(_) => "control.sock".to_owned(),
    };
    let router = router.layer(axum::Extension(Caller(caller)));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX).max_buf_size(64 << 10);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = cancel.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a command line went away");
    }
}
