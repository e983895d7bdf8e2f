//! Listening sockets: bind with clear errors, accept without giving up.
//!
//! A [`Bound`] is made before there is a runtime (so that a node can say early what it cannot have, and can give up
//! rights after binding); a server takes it over.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::net::Shared;
use crate::net::config::Config;
use crate::net::connection;
use crate::net::counters::Reason;
use crate::net::error::Error;
use crate::net::guard::limit_unsent;

/// Connections that the kernel holds until they are accepted: a fleet that wakes at once. The kernel lowers it to its
/// own limit (`net.core.somaxconn`).
const BACKLOG: i32 = 1024;

/// How long to wait where the process or the machine has no descriptors or memory left: connections end meanwhile.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How often at most that is written to the log.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// A socket that is bound and listens.
#[derive(Debug)]
pub struct Bound {
    listener: StdTcpListener,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
}

impl Bound {
    /// Listens on a TCP address. Port 0 lets the system choose. An IPv6 address means IPv6 only, so that `0.0.0.0` and
    /// `[::]` can stand side by side whatever the system's default is.
    pub fn tcp(address: SocketAddr) -> Result<Self, Error> {
        bind_tcp(address).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => Error::AddressInUse { address },
            io::ErrorKind::PermissionDenied => Error::AddressForbidden { address },
            io::ErrorKind::AddrNotAvailable => Error::AddressForeign { address },
            _ => Error::Listen { address, source },
        })
    }

    /// Speaks TLS on it.
    #[must_use]
    pub fn with_tls(mut self, config: Arc<ServerConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// The address, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn into_listener(self) -> Result<Listener, Error> {
        // Outside of a runtime tokio would panic.
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::Register(io::Error::other("not called in a runtime")));
        }
        let listener = TcpListener::from_std(self.listener).map_err(Error::Register)?;
        Ok(Listener { listener, tls: self.tls.map(TlsAcceptor::from) })
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
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
    Ok(Bound { listener, address, tls: None })
}

/// A listening socket in a runtime.
pub(crate) struct Listener {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

/// Accepts until the server stops.
pub(crate) async fn accept_all(listener: Listener, shared: Arc<Shared>) {
    let mut complained: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.drain.stop().raised() => return,
            accepted = listener.listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => take_in(stream, remote, listener.tls.as_ref(), &shared),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                shared.counters.accept_errors.inc();
                if complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
                    complained = Some(Instant::now());
                    tracing::warn!(%error, "cannot accept connections; raise the limit of open files (LimitNOFILE)");
                }
                tokio::select! {
                    () = shared.drain.stop().raised() => return,
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

fn take_in(stream: TcpStream, remote: SocketAddr, tls: Option<&TlsAcceptor>, shared: &Arc<Shared>) {
    let config = shared.config.load_full();
    let seat = match shared.census.admit(&config, remote.ip()) {
        Ok(seat) => seat,
        Err(reason) => {
            shared.counters.refuse(reason);
            tracing::debug!(client = %remote, reason = reason.as_str(), "connection turned away");
            complain(reason, remote.ip().to_canonical(), &config, shared);
            return;
        }
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(client = %remote, %error, "connection broke while it was accepted");
        return;
    }
    limit_unsent(&stream, config.unsent_bytes_max);
    shared.counters.accepted.inc();
    let run = connection::run(stream, remote, tls.cloned(), shared.clone(), config, seat);
    shared.drain.spawn(run);
}

/// Tells the administrator what a client cannot: that it was turned away, and what to do where that is wrong.
fn complain(reason: Reason, client: IpAddr, config: &Config, shared: &Shared) {
    let client = if reason == Reason::Client { client } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    if !shared.told.is_news(client, Instant::now()) {
        return;
    }
    if reason == Reason::Client {
        tracing::warn!(
            %client, limit = config.connections_per_client_max,
            "connections turned away: the client has as many as it may have (limits.connections_per_client); where it \
             stands for many machines, as a gateway or a proxy does, name it in limits.exempt"
        );
    } else {
        tracing::warn!(
            limit = config.connections_max,
            "connections turned away: as many are open as there may be (for clients that is limits.connections)"
        );
    }
}
