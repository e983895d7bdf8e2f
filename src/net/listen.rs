//! Listening sockets: bind with clear errors, accept without giving up.
//!
//! A [`Bound`] is made before there is a runtime (so that a node can say early what it cannot have, and can give up
//! rights after binding); a server takes it over.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustls::ServerConfig;
use socket2::{Domain, SockAddr, SockRef, Socket as RawSocket, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::net::Shared;
use crate::net::connection::{self, NOWHERE};
use crate::net::error::Error;
use crate::net::guard::Socket;

/// Connections that the kernel holds until they are accepted: a fleet that wakes at once. The kernel lowers it to its
/// own limit (`net.core.somaxconn`).
const BACKLOG: i32 = 1024;

/// How long to wait where the process or the machine has no descriptors or memory left: connections end meanwhile.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How often at most that is written to the log.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// The longest path that a Unix socket's address holds, without the NUL at its end (unix(7)).
const UNIX_PATH_BYTES_MAX: usize = 107;

/// A socket that is bound and listens.
#[derive(Debug)]
pub struct Bound {
    kind: Kind,
    tls: Option<Arc<ServerConfig>>,
}

#[derive(Debug)]
enum Kind {
    Tcp(StdTcpListener, SocketAddr),
    Unix(StdUnixListener, SocketFile),
}

impl Bound {
    /// Listens on a TCP address. Port 0 lets the system choose. An IPv6 address means IPv6 only, so that `0.0.0.0` and
    /// `[::]` can stand side by side whatever the system's default is.
    pub fn tcp(address: SocketAddr) -> Result<Self, Error> {
        bind_tcp(address).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => Error::AddressInUse { address },
            io::ErrorKind::PermissionDenied => Error::AddressForbidden { address },
            _ => Error::Listen { address, source },
        })
    }

    /// Listens on the Unix socket `path`, which only our own user may connect to (mode 0600 from its first moment on).
    ///
    /// What a dead node left there is removed; a live one is [`Error::SocketInUse`]; what is no socket is left alone. A
    /// mount that cannot be written is [`Error::SocketReadOnly`], so that the caller can go on without. The file goes
    /// when the server ends.
    pub fn unix(path: &Path) -> Result<Self, Error> {
        let fail = |source: io::Error| match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem => Error::SocketReadOnly { path: path.into() },
            _ => Error::Socket { path: path.into(), source },
        };
        remove_stale(path, fail)?;
        let (listener, file) = bind_unix(path).map_err(fail)?;
        Ok(Self { kind: Kind::Unix(listener, file), tls: None })
    }

    /// Speaks TLS on it.
    #[must_use]
    pub fn with_tls(mut self, config: Arc<ServerConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// The address, with the port that the system chose; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp(_, address) => Some(*address),
            Kind::Unix(..) => None,
        }
    }

    pub(crate) fn into_listener(self) -> Result<Listener, Error> {
        let tls = self.tls.map(TlsAcceptor::from);
        // Outside of a runtime tokio would panic.
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::Register(io::Error::other("not called in a runtime")));
        }
        Ok(match self.kind {
            Kind::Tcp(listener, _) => {
                Listener::Tcp { listener: TcpListener::from_std(listener).map_err(Error::Register)?, tls }
            }
            Kind::Unix(listener, file) => {
                let listener = UnixListener::from_std(listener).map_err(Error::Register)?;
                Listener::Unix { listener, tls, _file: file }
            }
        })
    }
}

/// Connects to a Unix socket, however long its path is: the CLI's way to the running node.
pub fn connect_unix(path: &Path) -> io::Result<StdUnixStream> {
    let way = Way::to(path)?;
    StdUnixStream::connect(&way.path)
}

fn bind_tcp(address: SocketAddr) -> io::Result<Bound> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Old connections in TIME-WAIT must not keep a restarted node from its port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = StdTcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok(Bound { kind: Kind::Tcp(listener, address), tls: None })
}

/// A path to a socket that fits into a socket address: the path itself, or one through the open directory.
struct Way {
    path: PathBuf,
    /// Kept open as long as the path is used.
    _directory: Option<rustix::fd::OwnedFd>,
}

impl Way {
    fn to(path: &Path) -> io::Result<Self> {
        if path.as_os_str().as_bytes().len() <= UNIX_PATH_BYTES_MAX {
            return Ok(Self { path: path.into(), _directory: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
        };
        let directory = rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _directory: Some(directory) })
    }
}

fn remove_stale(path: &Path, fail: impl Fn(io::Error) -> Error + Copy) -> Result<(), Error> {
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(error)),
    };
    if !meta.file_type().is_socket() {
        return Err(fail(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something that is no socket is there; move it away",
        )));
    }
    if connect_unix(path).is_ok() {
        return Err(Error::SocketInUse { path: path.into() });
    }
    std::fs::remove_file(path).map_err(fail)
}

fn bind_unix(path: &Path) -> io::Result<(StdUnixListener, SocketFile)> {
    let way = Way::to(path)?;
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    // Linux gives the new file the mode of the socket less the umask, so that there is no moment in which others may
    // connect; the umask itself belongs to the whole process and is left alone.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(&way.path)?)?;
    // Elsewhere, and where the umask took too much, this does it.
    std::fs::set_permissions(&way.path, std::fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    let meta = std::fs::symlink_metadata(&way.path)?;
    let file = SocketFile { path: path.into(), id: (meta.dev(), meta.ino()) };
    Ok((StdUnixListener::from(std::os::fd::OwnedFd::from(socket)), file))
}

/// The file of a Unix socket; removed when it is dropped, unless another took its place meanwhile.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.id)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "socket file not removed");
        }
    }
}

/// A listening socket in a runtime.
pub(crate) enum Listener {
    Tcp { listener: TcpListener, tls: Option<TlsAcceptor> },
    // The file is kept for its end: dropping it removes the name.
    Unix { listener: UnixListener, tls: Option<TlsAcceptor>, _file: SocketFile },
}

impl Listener {
    async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp { listener, .. } => {
                let (stream, remote) = listener.accept().await?;
                Ok((Socket::Tcp(stream), Some(remote)))
            }
            Self::Unix { listener, .. } => Ok((Socket::Unix(listener.accept().await?.0), None)),
        }
    }

    fn tls(&self) -> Option<&TlsAcceptor> {
        match self {
            Self::Tcp { tls, .. } | Self::Unix { tls, .. } => tls.as_ref(),
        }
    }
}

/// Accepts until the server stops.
pub(crate) async fn accept_all(listener: Listener, shared: Arc<Shared>) {
    let mut complained: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.drain.stop().cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, remote)) => take_in(socket, remote, listener.tls(), &shared),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                shared.counters.accept_errors.inc();
                if complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
                    complained = Some(Instant::now());
                    tracing::warn!(%error, "cannot accept connections; raise the limit of open files (LimitNOFILE)");
                }
                tokio::select! {
                    () = shared.drain.stop().cancelled() => return,
                    () = tokio::time::sleep(BACK_OFF) => {}
                }
            }
        }
    }
}

/// The connection broke while it waited to be accepted: the next one may be fine. Network errors that were pending on
/// the new socket come out of accept(2) too.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
    )
}

fn take_in(socket: Socket, remote: Option<SocketAddr>, tls: Option<&TlsAcceptor>, shared: &Arc<Shared>) {
    let config = shared.config.load_full();
    let seat = match shared.census.admit(&config, remote.map(|remote| remote.ip())) {
        Ok(seat) => seat,
        Err(reason) => {
            shared.counters.refuse(reason);
            tracing::debug!(client = ?remote, reason = reason.as_str(), "connection turned away");
            return;
        }
    };
    if let Socket::Tcp(stream) = &socket
        && let Err(error) = prepare(stream, config.unsent_bytes_max)
    {
        tracing::debug!(client = ?remote, %error, "connection broke while it was accepted");
        return;
    }
    shared.counters.accepted.inc();
    let run = connection::run(socket, remote.unwrap_or(NOWHERE), tls.cloned(), shared.clone(), config, seat);
    shared.drain.spawn(run);
}

fn prepare(stream: &tokio::net::TcpStream, unsent_bytes_max: u32) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // Linux alone has it; elsewhere a slow reader costs a whole send buffer.
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_notsent_lowat(unsent_bytes_max)?;
    Ok(())
}
