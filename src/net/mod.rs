//! Sockets: listeners, TLS, connections, response bodies. Knows bytes, not patches.
//!
//! The way of a connection, and where each step lives:
//! 1. [`listen`] binds a socket and accepts, backing off where the process has no descriptors left.
//! 2. [`census`] counts it, in all and per client, and turns away what is too many; [`told`] keeps the log of that short.
//! 3. [`guard`] wraps the socket: it counts bytes into the connection's [`pulse`] and notes when the client does not take
//!    them.
//! 4. [`tls`] shakes hands where the listener is a TLS one; ALPN chooses HTTP/2 or HTTP/1.1.
//! 5. [`connection`] lets hyper read requests, gives each to the [`Handler`] and judges by the pulse whether the client
//!    is idle or too slow.
//! 6. [`body`] hands the answer's bytes on, window by window and only while few of them are out (`outflow`), and cuts the
//!    connection rather than end short.
//! 7. [`drain`] ends it all within a grace period: no new connections, idle ones closed, the rest finished or cut.
//!
//! What holds: a response with a length never ends well with fewer bytes; mapped bytes go to the socket without a copy
//! in user space; every task that is spawned here is awaited by [`Server::drain`] or ended when the server is dropped;
//! nothing here knows a runtime by name, so that planes can have runtimes of their own; a connection keeps the
//! limits that it began with, and [`Server::set_config`] gives new ones to those that come after.

pub mod body;
pub mod census;
pub mod config;
pub mod connection;
pub mod counters;
pub mod drain;
pub mod error;
pub mod guard;
pub mod listen;
mod outflow;
pub mod pulse;
pub mod tls;
pub mod told;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response};

pub use crate::net::body::{Body, Cut, Frames};
pub use crate::net::config::Config;
pub use crate::net::counters::Counters;
pub use crate::net::error::Error;
pub use crate::net::listen::Bound;

use crate::net::census::Census;
use crate::net::drain::{Drain, Drained};
use crate::net::told::Told;

/// Where a request came in.
///
/// IPv4 addresses mapped into IPv6 are given as IPv4.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The client.
    pub remote: SocketAddr,
    /// Our own end.
    pub local: SocketAddr,
    /// Over TLS.
    pub secure: bool,
}

/// What answers requests.
///
/// Every request whose head can be read and fits [`Config::header_bytes_max`] gets here; of others [`Handler::unread`] is
/// told, so that none is answered without being recorded; but for a head over HTTP/2 that is more than four times too long,
/// which the HTTP/2 library refuses by itself, and tells nobody.
/// Its target may be that long, and its body may be of any length: the body may be ignored, and is to be read with a limit,
/// as [`body::collect`] has one.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. The future is dropped when the client leaves.
    fn handle(
        self: Arc<Self>,
        peer: Peer,
        request: Request<hyper::body::Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

    /// Is told of a request that was refused with `status` because its head could not be read. Called on a reactor thread.
    fn unread(&self, _peer: Peer, _status: u16, _why: &str) {}
}

/// What all connections of a server share.
pub(crate) struct Shared {
    /// In force for connections that begin now; each keeps those that it began with.
    pub(crate) config: ArcSwap<Config>,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) counters: Counters,
    pub(crate) census: Census,
    /// Clients that were told in the log to have too many connections.
    pub(crate) told: Told,
    pub(crate) drain: Drain,
}

/// Listeners at work. Dropped without [`Server::drain`] it stops at once and cuts every connection.
pub struct Server {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// Starts to accept on every one of `listeners`, in the runtime that this is called in.
    ///
    /// Fails where a listener cannot be registered with that runtime, or where it is called outside of one.
    pub fn start(
        config: Config,
        listeners: Vec<Bound>,
        handler: Arc<dyn Handler>,
        counters: Counters,
    ) -> Result<Self, Error> {
        let addresses = listeners.iter().map(Bound::address).collect();
        let shared = Arc::new(Shared {
            config: ArcSwap::from_pointee(config),
            handler,
            counters,
            census: Census::default(),
            told: Told::default(),
            drain: Drain::new(),
        });
        let server = Self { shared, addresses };
        for bound in listeners {
            let listener = bound.into_listener()?;
            server.shared.drain.spawn(listen::accept_all(listener, server.shared.clone()));
        }
        Ok(server)
    }

    /// The addresses that are listened on, with the ports that the system chose where port 0 was asked for, in the
    /// order in which the listeners were given.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Puts other limits in force for connections that begin from now on. None is closed because there are fewer places
    /// now: new ones are turned away until enough have left.
    pub fn set_config(&self, config: Config) {
        self.shared.config.store(Arc::new(config));
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.shared.census.open()
    }

    /// Stops accepting, closes idle connections, lets answers under way finish for `grace`, then cuts what is left.
    /// Returns when every task of this server has ended.
    pub async fn drain(self, grace: Duration) -> Drained {
        self.shared.drain.finish(grace, || self.shared.census.open()).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.drain.cut_now();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
