//! An upstream for tests and tours: a server that speaks MS-WSUSSS from templates of its own, as Microsoft's service or as a
//! WSUS server, and serves a generated catalog with the bytes of its files.
//!
//! Nothing here is shared with the node: requests are read and answers written by this crate alone, so that what both
//! understand is the protocol. The catalog follows from a seed; documents and files are made when they are asked for, so that
//! 100,000 updates take about 100 MB.
//!
//! 1. [`Sim::start`] makes the catalog, listens, and serves on threads of its own until it is dropped.
//! 2. A node synchronises with [`Sim::url`]; tests compare it with [`Sim::state`] and [`Sim::identities`].
//! 3. [`Sim::advance`] publishes a month; [`Sim::fault`] lets something go wrong; [`Sim::log`] tells what was asked.
//!
//! The same can be done over HTTP under `/_sim/`.

mod answers;
mod body;
mod cabinet;
mod clock;
mod content;
mod control;
mod document;
mod faults;
mod files;
mod guid;
mod listing;
mod log;
mod lzx;
mod names;
mod options;
mod random;
mod reports;
mod request;
mod rules;
mod server;
mod service;
mod shared;
mod sick;
mod state;
mod world;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use http::Method;
use serde_json::Value;
use tokio::sync::watch;

pub use crate::options::{Blobs, Character, Options};

use crate::shared::Shared;

/// A running simulator. Dropped, it stops and lets go of its address.
pub struct Sim {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Sim {
    /// Makes the catalog and listens. Fails where it cannot listen or write its log.
    pub fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared::new(options, listener.local_addr()?)?);
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            // Documents are written and digests counted there: as many at once as there are workers asking, and a few more.
            .max_blocking_threads(16)
            .thread_name("upstream-sim")
            .enable_all()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("upstream-sim".to_owned()).spawn(move || {
            runtime.block_on(server::run(listener, served, stopped));
            runtime.shutdown_background();
        })?;
        Ok(Self { shared, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// What to set as the upstream's address.
    pub fn url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// Publishes months; the number of months published since the first catalog.
    pub fn advance(&self, months: u32) -> i32 {
        self.shared.advance(months)
    }

    /// Counts of what a node with these filters should hold: `{"products": [..], "classifications": [..], "languages": [..]}`,
    /// `{}` for everything. An unknown filter is told as `{"error": ..}`.
    pub fn state(&self, filter: &Value) -> Value {
        control::answer(&self.shared, &Method::GET, "state", filter).1
    }

    /// Every revision that a node with these filters should hold, as an array.
    pub fn identities(&self, filter: &Value) -> Value {
        control::answer(&self.shared, &Method::GET, "identities", filter).1
    }

    /// Every deployable update that a node with these filters should hold, with its files and what a content policy goes by.
    pub fn deployable(&self, filter: &Value) -> Value {
        control::answer(&self.shared, &Method::GET, "deployable", filter).1
    }

    /// The document of a revision as it would travel, uncompressed; none where there is no such revision.
    pub fn document(&self, id: &str, revision: u32) -> Option<String> {
        let identity = (guid::Guid::read(id)?, revision);
        let scale = self.shared.options.file_scale;
        self.shared.world().document(&self.shared.files, scale, &identity).map(|document| document.text)
    }

    /// Orders a fault: `{"fault": "server-busy", "count": 2}`; the error says what is wrong with the order.
    pub fn fault(&self, order: &Value) -> Result<(), String> {
        let order = faults::Order::read(order)?;
        shared::lock(&self.shared.faults).add(order);
        Ok(())
    }

    /// Forgets all faults ordered and dealt so far; who was sick is well.
    pub fn clear_faults(&self) {
        shared::lock(&self.shared.faults).clear();
    }

    /// What is ordered, who is sick, how often each fault was dealt.
    pub fn faults(&self) -> Value {
        shared::lock(&self.shared.faults).report()
    }

    /// What was asked, with the last `lines` requests.
    pub fn log(&self, lines: usize) -> Value {
        shared::lock(&self.shared.log).report(lines)
    }

    /// Forgets what was asked.
    pub fn reset_log(&self) {
        shared::lock(&self.shared.log).reset();
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told so itself.
            let _ = thread.join();
        }
    }
}

/// All kinds of faults: name and what each does.
pub fn fault_kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    faults::KINDS.iter().map(|(name, _, _, about)| (*name, *about))
}
