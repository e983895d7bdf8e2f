//! A node as far as held payloads need one, and the request that Delivery Optimization makes for a range, for the benches
//! that ask for some.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use waystation::base::digest::{Digest, Sha256};
use waystation::base::disk::RealDisk;
use waystation::base::time::SystemClock;
use waystation::fill::{self, Ask, Fill};
use waystation::model::origin::AllowList;
use waystation::model::payload::{Alias, Authority, Published, Validators};
use waystation::net::{self, Bound, Server};
use waystation::serve::{self, Face};
use waystation::store::{self, Store};
use waystation::upstream::{self, Upstream};

const PATH: &str = "/filestreamingservice/files/1f6b6f6e-2a5b-4b0e-9d5c-7f0a3c1f9e21";
const QUERY: &str = "P1=1790003600&P2=404&P3=2&P4=Jh5W4nq0m3sHk8VvY0b7c2LrT6e9xZ1dQwUoGpAiFsN5tCyR3uKaE8jBzM4lXvD7gHfS2oWq9iPn\
                     T1yJ6rVbQ%3d%3d&cacheHostOrigin=msedge.b.tlu.dl.delivery.mp.microsoft.com";

/// A node as far as held payloads need one.
pub(crate) struct Node {
    /// Listens on a free port of the loopback.
    pub(crate) server: Server,
    /// Where the payloads are.
    pub(crate) store: Store,
    fill: Fill,
}

impl Node {
    /// Opens the store below `data`, or makes it, and serves it under the limits of `limits`.
    pub(crate) async fn start(data: &Path, limits: net::Config) -> Self {
        let config = store::Config {
            path: data.join("store"),
            max_size: 4 << 30,
            min_free: 0,
            unproven: Duration::from_hours(24),
            index_cache: 16 << 20,
            open_payloads: 64,
            io_threads: 4,
        };
        let opening = move || Store::open(config, Arc::new(RealDisk), Arc::new(SystemClock));
        let (store, _) = tokio::task::spawn_blocking(opening).await.unwrap().unwrap();
        let config = upstream::Config {
            proxy: upstream::Proxy::default(),
            extra_ca: Vec::new(),
            connect_timeout: Duration::from_secs(2),
            stall_timeout: Duration::from_secs(5),
            patience: Duration::from_secs(5),
            node: "bench".into(),
            hops_max: 5,
            own_addresses: Vec::new(),
        };
        let allow = Arc::new(AllowList::new(&[]).unwrap());
        let source = Arc::new(Upstream::new(config, Arc::clone(&allow)).unwrap());
        let config = fill::Config {
            complete: fill::Complete::Always,
            verify: fill::Verify::Stream,
            extent: 8 << 20,
            connections_per_host: 4,
            upstream: None,
            upstream_is_wsus: false,
            silence: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(2),
        };
        let fill = Fill::new(config, store.clone(), source, allow, Arc::new(SystemClock));
        let (clock, suspect) = (Arc::new(SystemClock), Box::new(|suspicion| panic!("{suspicion:?}")));
        let face = Face::new(serve::Config::default(), fill.clone(), store.clone(), clock, suspect);
        let bound = Bound::tcp(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let server = Server::start(limits, vec![bound], Arc::new(face), net::Counters::default()).unwrap();
        Self { server, store, fill }
    }

    /// Takes the payload in, proven, under the name that a request for it leads to.
    pub(crate) async fn hold(&self, file: PathBuf, sha256: Sha256) {
        let address = self.server.addresses()[0].to_string();
        let ask = Ask { host: Some(&address), path: PATH, query: Some(QUERY), via: None };
        let name = self.fill.locate(&ask).unwrap().name;
        let alias = Alias {
            tag: format!("sha256-{sha256}"),
            last_modified: Some("Wed, 02 Sep 2026 08:30:53 GMT".into()),
            validators: Validators::default(),
            freshness: None,
        };
        let expected = Published::one(Digest::Sha256(sha256), Authority::Catalog);
        self.store.import(file, true, Some(expected), vec![(name, alias)]).await.unwrap();
    }

    /// Ends it in order.
    pub(crate) async fn stop(self) {
        self.server.drain(Duration::from_secs(1)).await;
        self.fill.close().await;
        self.store.close().await.unwrap();
    }
}

/// The request for `len` bytes from `start` on.
pub(crate) fn request(address: &str, start: usize, len: usize) -> String {
    format!(
        "GET {PATH}?{QUERY} HTTP/1.1\r\nHost: {address}\r\nConnection: Keep-Alive\r\nAccept: */*\r\n\
         User-Agent: Microsoft-Delivery-Optimization/10.0\r\nMS-CV: wp0wVbPZWUqjLx6o.2.1.4.2.9\r\n\
         Range: bytes={start}-{}\r\n\r\n",
        start + len - 1
    )
}
