//! The conversation with an upstream sync service, Microsoft's or a WSUS server's (MS-WSUSSS 3.2), as its client.
//!
//! 1. [`session`] authorizes (`GetAuthConfig`, `GetAuthorizationCookie`, `GetCookie`) when a question needs a cookie, and does
//!    so anew before it ends or when it is refused; the question under way is then asked again, nothing before it is.
//! 2. [`Wsus::config`]: limits and languages.
//! 3. [`Wsus::revisions`] ([`list`]): which revisions there are, handed on name by name.
//! 4. [`Wsus::documents`] ([`documents`]): their documents, in batches, by several workers; [`spool`] keeps them meanwhile.
//! 5. [`Wsus::download_files`] ([`files`]): asks a server to fetch files that it does not have yet.
//! 6. [`Wsus::probe`] ([`probe`]): the path tests of `doctor`.
//!
//! Each of them is made of exchanges ([`ask`]), whose bodies come through a [`pipe`] to a decoder on a thread that may block;
//! [`patience`] says what is repeated and how often, [`troubles`] what was and what is waited for, [`error`] what is told in
//! the end. [`trust`] is whom TLS believes.
//!
//! What holds:
//! - No body is held. A worker holds less than 2 MiB of what came, 4 MiB of documents and 4 MiB of addresses and digests of
//!   the batch at hand, and asks again once that has been taken and dropped. With 4 workers that is 40 MiB at the worst,
//!   however large documents are; what is beyond lies in a file without a name in [`Config::spool`]. Real answers end at 2 MB.
//! - Dropping a future or [`Documents`] ends everything that it began; [`Wsus::drained`] returns when it has ended.
//! - Bytes flow in the bandwidth class [`Config::class`], and nothing is asked while that is paused.
//! - No redirect is followed: what the configuration names is asked, and nothing else.
//! - Anchors are handed out and taken back as they came; keeping them is the caller's business, after its commit.

mod ask;
mod documents;
mod error;
mod files;
mod list;
mod patience;
mod pipe;
mod probe;
mod rollup;
mod session;
mod spool;
mod troubles;
pub(super) mod trust;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::Client;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::base::digest::Sha1;
use crate::base::time::Timestamp;
use crate::model::origin::Host;
use crate::model::update::{Identity, UpdateId};
use crate::pace::{Class, Governor, Lane};
use crate::upstream::client;
use crate::upstream::proxy::Through;
use crate::upstream::wsus::documents::Proof;
use crate::upstream::wsus::patience::Tries;
use crate::upstream::wsus::session::{Pool, Visitor};
use crate::upstream::wsus::troubles::{Silent, Troubles};
use crate::wire::wsusss::Method;
use crate::wire::wsusss::config::{ConfigData, GetConfigData};
use crate::wire::wsusss::method::{REPORTING_PATH, SERVER_SYNC_PATH};
use crate::wire::wsusss::rollup::{RollupConfiguration, Server};
use crate::wire::wsusss::values::Time;

pub use documents::{Batch, Before, Document, Documents, Refused, Turn};
pub use error::Error;
pub use list::{Listed, Names, Pick, Wanted};
pub use patience::Patience;
pub use spool::{Content, Reader};
pub use troubles::{Silence, Waiting};

/// Microsoft's sync service.
pub const MICROSOFT_URL: &str = "https://sws.update.microsoft.com";

/// Workers at most: real servers take four without complaint, and each costs memory.
pub const PARALLEL_MAX: usize = 16;

/// Revisions that are asked for at once at most, whatever the server says: real ones say 100.
pub const BATCH_MAX: usize = 1000;

/// Revisions that are asked for at once where the server says 0.
const BATCH_UNTOLD: usize = 100;

/// The longest account name: that of a DNS name.
const ACCOUNT_NAME_MAX: usize = 255;

/// What a conversation is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Scheme, host and port of the server: [`MICROSOFT_URL`], `http://wsus:8530`. It is allowed as named, wherever its name
    /// leads.
    pub url: String,
    /// The name that this node has for the server: real ones want it in the form of a DNS name.
    pub account_name: String,
    /// The id that this node made for itself.
    pub account_id: UpdateId,
    /// Proxy, roots, connect and stall timeouts of this upstream. Patience and hops do not count here.
    pub http: crate::upstream::Config,
    /// How long the server may think before an answer begins. Microsoft's takes minutes for a list. For what it has at hand, such as
    /// cookies, three stall timeouts, and for documents six, where that is less. People see after one stall timeout that nothing comes.
    pub answer_timeout: Duration,
    /// What is repeated, and how often.
    pub patience: Patience,
    /// Workers that ask for documents, 1 to [`PARALLEL_MAX`].
    pub parallel: usize,
    /// Revisions asked for at once, 1 to [`BATCH_MAX`], where the server does not take fewer.
    pub batch_max: usize,
    /// The bandwidth class of all that is asked: the run's own, or that of what a client waits for.
    pub class: Class,
    /// A folder on a disk with room for documents that are too large for memory, for as long as they are under way.
    pub spool: PathBuf,
}

impl Config {
    /// What is usual for everything but who asks whom and how.
    pub fn new(
        url: &str,
        account_name: &str,
        account_id: UpdateId,
        http: crate::upstream::Config,
        spool: PathBuf,
    ) -> Self {
        Self {
            url: url.to_owned(),
            account_name: account_name.to_owned(),
            account_id,
            http,
            answer_timeout: Duration::from_mins(5),
            patience: Patience::default(),
            parallel: 4,
            batch_max: 100,
            class: Class::Sync,
            spool,
        }
    }
}

/// A sync service that can be asked. Clones share connections and cookies.
#[derive(Clone, Debug)]
pub struct Wsus {
    core: Arc<Core>,
}

/// What every question needs.
#[derive(Debug)]
struct Core {
    config: Config,
    client: Client,
    root: Url,
    sync_url: Url,
    reporting_url: Url,
    /// The host as messages name it: with its port unless 80 or 443.
    label: String,
    /// The proxy, where it is asked through one.
    proxy: Option<Through>,
    lane: Lane,
    cookies: Pool,
    proof: Proof,
    troubles: Troubles,
    tasks: TaskTracker,
}

impl Wsus {
    /// Reads the files of certificates and builds the client. Blocks for the files; opens no connection.
    ///
    /// # Errors
    /// [`Error::Config`] names what cannot be used.
    pub fn new(config: Config, governor: &Governor) -> Result<Self, Error> {
        let refuse = |what: &str, why: &str| Err(Error::Config { what: what.to_owned(), why: why.to_owned() });
        let Ok(root) = Url::parse(&config.url) else {
            return refuse("the upstream's url", "it is no URL; write it like http://wsus.example.org:8530");
        };
        if !matches!(root.scheme(), "http" | "https") {
            return refuse("the upstream's url", "it begins with neither http:// nor https://");
        }
        if !root.username().is_empty() || root.password().is_some() {
            return refuse("the upstream's url", "it carries a user; these services know none");
        }
        if !matches!(root.path(), "" | "/") || root.query().is_some() || root.fragment().is_some() {
            return refuse(
                "the upstream's url",
                "it has a path; give scheme, host and port, the services' paths are known",
            );
        }
        let host = match Host::parse(root.host_str().unwrap_or_default()) {
            Ok(host) => host,
            Err(error) => return refuse("the upstream's url", &error.to_string()),
        };
        let name = &config.account_name;
        if name.is_empty() || name.len() > ACCOUNT_NAME_MAX || name.chars().any(char::is_control) {
            return refuse("the account name", "it is empty or too long; give this node's DNS name");
        }
        let http = |error: crate::upstream::Error| match error {
            crate::upstream::Error::Config { what, why } => Error::Config { what, why },
            other => Error::Config { what: "the upstream".to_owned(), why: other.to_string() },
        };
        let port = root.port_or_known_default().unwrap_or(80);
        let through = Through::new(&config.http.proxy).map_err(http)?.filter(|through| through.takes(&host, port));
        let client = client::for_sync(&config.http, through.as_ref()).map_err(http)?;
        let Ok(sync_url) = root.join(SERVER_SYNC_PATH) else {
            return refuse("the upstream's url", "the service's path cannot be joined to it");
        };
        let Ok(reporting_url) = root.join(REPORTING_PATH) else {
            return refuse("the upstream's url", "the service's path cannot be joined to it");
        };
        let label = if matches!(port, 80 | 443) { host.to_string() } else { format!("{host}:{port}") };
        let core = Core {
            client,
            root,
            sync_url,
            reporting_url,
            label,
            proxy: through,
            lane: governor.lane(config.class),
            cookies: Pool::default(),
            proof: Proof::default(),
            troubles: Troubles::default(),
            tasks: TaskTracker::new(),
            config,
        };
        Ok(Self { core: Arc::new(core) })
    }

    /// Whether what it says is authenticated by TLS. What came over plain HTTP must be marked so wherever it shows.
    pub fn is_authenticated(&self) -> bool {
        self.core.root.scheme() == "https"
    }

    /// The server as messages name it.
    pub fn label(&self) -> &str {
        &self.core.label
    }

    /// Gets a cookie, or sees that there is one: whether the server can be asked at all.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn authorize(&self) -> Result<(), Error> {
        Visitor::new(&self.core).cookie().await.map(drop)
    }

    /// Limits and languages (3.1.4.4): all languages without an anchor, those that changed with one.
    ///
    /// # Errors
    /// [`Error::ServerChanged`] where the anchor is not known; all others end the run.
    pub async fn config(&self, anchor: Option<&str>) -> Result<ConfigData, Error> {
        let mut tries = Tries::new(&self.core, Method::GetConfigData).anchored(anchor.is_some());
        let mut visitor = Visitor::new(&self.core);
        let anchor = anchor.map(str::to_owned);
        visitor.ask(&mut tries, |cookie| GetConfigData { cookie: Some(cookie), anchor: anchor.clone() }).await
    }

    /// Which revisions there are (3.1.4.5), into `names`, on a thread that may block; the list is begun anew where it breaks
    /// off. It gets `names` back with what the list said beside.
    ///
    /// # Errors
    /// [`Error::ServerChanged`] where it is another server than before; all others end the run.
    pub async fn revisions<N: Names>(&self, wanted: &Wanted, names: N) -> Result<(N, Listed), Error> {
        list::revisions(&self.core, wanted, names).await
    }

    /// Their documents (3.1.4.6): `at_once` is `updates_max` of the configuration. Asks from now on; call
    /// [`Documents::next`]. Must be called inside of a runtime.
    pub fn documents(&self, ids: &[Identity], at_once: u32, before: Before) -> Documents {
        let told = usize::try_from(at_once).unwrap_or(BATCH_MAX);
        let told = if told == 0 { BATCH_UNTOLD } else { told };
        Documents::begin(&self.core, ids, told.min(self.core.config.batch_max).clamp(1, BATCH_MAX), before)
    }

    /// Tells the server how this node stands, and servers below it, each behind the one above it (3.2.4.5); `now` is this node's clock. Returns
    /// what the server wants to be told: computers are not, whatever that says.
    ///
    /// # Errors
    /// Why it could not be told, or not all of it.
    pub async fn roll_up(&self, now: Time, servers: Vec<Server>) -> Result<RollupConfiguration, Error> {
        rollup::roll_up(&self.core, now, servers).await
    }

    /// Asks the server to fetch these files (3.1.4.11); it answers at once and fetches in its own time. Returns those that it
    /// does not know.
    ///
    /// # Errors
    /// Why the others could not be asked for.
    pub async fn download_files(&self, digests: &[Sha1]) -> Result<Vec<Sha1>, Error> {
        files::download_files(&self.core, digests).await
    }

    /// What went wrong since it was made and was got over or not, by kind.
    pub fn troubles(&self) -> BTreeMap<&'static str, u64> {
        self.core.troubles.counts()
    }

    /// A question on which the server has said nothing for longer than the stall timeout.
    pub fn silence(&self) -> Option<Silence> {
        self.core.troubles.silence()
    }

    /// What is waited for before a question is asked again; `None` where answers come.
    pub fn waiting(&self) -> Option<Waiting> {
        self.core.troubles.waiting()
    }

    /// Whether bytes flow in the bandwidth class `definitions` from now on, or in `sync` as usual.
    pub fn flow_for_definitions(&self, is: bool) {
        self.core.lane.set(if is { Class::Definitions } else { Class::Sync });
    }

    /// Whether nothing may flow for a whole run now, and something may for definition updates.
    pub fn is_paused_but_for_definitions(&self) -> bool {
        self.is_paused() && !self.core.lane.would_be_paused(Class::Definitions)
    }

    /// Whether nothing may flow for a whole run now.
    pub fn is_paused(&self) -> bool {
        self.core.lane.would_be_paused(Class::Sync)
    }

    /// A conversation begins for which a person waits, or nobody: what does not pass by itself is told a person within seconds, as long
    /// as the server has said nothing.
    pub fn begins(&self, attended: bool) {
        self.core.troubles.begins(attended);
    }

    /// How many tasks are at work for it, workers and decoders.
    pub fn tasks(&self) -> usize {
        self.core.tasks.len()
    }

    /// Returns when no task is at work for it. Asking nothing meanwhile is the caller's business.
    pub async fn drained(&self) {
        self.core.tasks.close();
        self.core.tasks.wait().await;
    }
}

impl Core {
    /// The server says nothing to a question that it was asked at `since`; for as long as the mark is held people see it.
    fn is_silent(&self, method: Method, since: Instant, until: Instant) -> Silent<'_> {
        let (now, wall) = (Instant::now(), Timestamp::from(SystemTime::now()));
        let before = u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or_default();
        let silence = Silence {
            host: self.label.clone(),
            method,
            since: Timestamp::from_ms(wall.ms().saturating_sub(before)),
            until: wall.after(until.saturating_duration_since(now)),
        };
        if self.troubles.is_news(now) {
            tracing::warn!(host = self.label, %method, "{silence}");
        }
        self.troubles.silent(silence)
    }

    /// The proxy as messages name it, where it is asked through one.
    fn proxy_label(&self) -> Option<&str> {
        self.proxy.as_ref().map(|through| through.label.as_str())
    }

    /// The address that `GetAuthConfig` names: relative to the root, or at least of the same server.
    fn service(&self, told: &str) -> Result<Url, String> {
        let shown = || told.chars().take(80).collect::<String>();
        let url = self.root.join(told.trim()).map_err(|_| format!("{:?} is no address of a service", shown()))?;
        if url.origin() == self.root.origin() && url.username().is_empty() && url.password().is_none() {
            Ok(url)
        } else {
            Err(format!("it sends this node to another server for its cookie ({:?}), which is not done", shown()))
        }
    }
}
