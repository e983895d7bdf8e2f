//! An agent: the conversation of one machine with its server, from the first GetConfig to the last report.
//!
//! 1. [`Agent::scan`] makes ready what a call needs (config, cookie, registration), asks in rounds, then once for drivers, and tells
//!    what the machine needs.
//! 2. [`Agent::install`] downloads what is approved and installs it in pretence.
//! 3. [`Agent::report`] sends the events that both left behind.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::core::{File, Fragments, digest, files};
use crate::download::ROOM_KIB;
use crate::fault::Failure;
use crate::guid::Guid;
use crate::machine::{Machine, Question, mixed};
use crate::state::{Action, State, Verdict};
use crate::templates::{self, Cookie, Event, Held};
use crate::wire::{Server, Wire};
use crate::xml::Element;

/// Rounds after which a real agent gives up (0x80244010).
const ROUNDS: u32 = 200;

/// Faults that are taken as the protocol says within one scan; more of them, and the server never has enough.
const RECOVERIES: u32 = 8;

/// Events in one batch; a real agent sends what it has, a few dozen.
const BATCH: usize = 100;

/// What agents of one process share.
#[derive(Clone)]
pub struct Common {
    pub(crate) fragments: Arc<Fragments>,
    /// Room for files on their way, in KiB.
    pub(crate) room: Arc<Semaphore>,
    /// First wait after ServerBusy; it doubles.
    pub busy: Duration,
    /// The group that machines say they belong to.
    pub group: Option<String>,
    /// How machines tell of restarts and failures.
    pub tells: Tells,
}

/// How machines tell of restarts and failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tells {
    /// As the specification has it: snapshots have all lists, and a restart is told at once.
    #[default]
    All,
    /// As recorded agents do: snapshots have the lists `U` and `V` alone, with what waits for a restart among what is needed.
    AsRecorded,
    /// The same, and a restart is told after the next snapshot, as where its batch had to be sent again.
    Late,
    /// The same, and no restart is ever told.
    Never,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            fragments: Arc::default(),
            room: Arc::new(Semaphore::new(ROOM_KIB as usize)),
            busy: Duration::from_secs(1),
            group: None,
            tells: Tells::All,
        }
    }
}

/// What a scan came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Answers of SyncUpdates, the one for drivers counted.
    pub rounds: u32,
    /// Revisions that came, that went, and whose deployment changed.
    pub new: usize,
    /// Revisions that went out of scope.
    pub gone: usize,
    /// Revisions whose deployment changed.
    pub changed: usize,
    /// Faults that were taken as the protocol says.
    pub recovered: u32,
    /// What the machine needs and has.
    pub verdict: Verdict,
    /// What is to be installed of what the machine needs: approved, and not merely looked for.
    pub ordered: BTreeSet<Guid>,
    /// Until when, of those that have a deadline: in ISO 8601, as it was told.
    pub deadlines: BTreeMap<Guid, String>,
}

/// What an installation came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installation {
    /// Files and bytes that came and were what their update says.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Updates installed, some of them waiting for a restart.
    pub installed: usize,
    /// Updates that were taken away.
    pub removed: usize,
    /// Updates that failed, and why.
    pub failed: Vec<(Guid, String)>,
}

struct Config {
    changed: String,
    register: bool,
    service: String,
    plug_in: String,
    extended: usize,
}

/// One machine's agent; it keeps its state from scan to scan.
pub struct Agent {
    machine: Machine,
    server: Server,
    pub(crate) wire: Wire,
    common: Common,
    config: Option<Config>,
    cookie: Option<Cookie>,
    /// Whether the cookie may be named as the old one.
    old: Option<Cookie>,
    registered: bool,
    /// Whether the server's ids of what is held must be asked for.
    renumber: bool,
    recovered: u32,
    busy: u32,
    pub(crate) state: State,
    pub(crate) files: HashMap<(Guid, u32), Vec<File>>,
    pub(crate) locations: HashMap<[u8; 20], String>,
    pending: BTreeSet<Guid>,
    failed: BTreeSet<Guid>,
    events: Vec<Event>,
    /// Told after the next snapshot.
    late: Vec<Event>,
    serial: u64,
}

impl Agent {
    /// A machine that has never talked to this server.
    pub fn new(machine: Machine, server: Server, common: Common) -> Self {
        Self {
            wire: Wire::new(server.clone()),
            machine,
            server,
            common,
            config: None,
            cookie: None,
            old: None,
            registered: false,
            renumber: false,
            recovered: 0,
            busy: 0,
            state: State::default(),
            files: HashMap::new(),
            locations: HashMap::new(),
            pending: BTreeSet::new(),
            failed: BTreeSet::new(),
            events: Vec::new(),
            late: Vec::new(),
            serial: 0,
        }
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn room(&self) -> &Semaphore {
        &self.common.room
    }

    /// What was installed in pretence since the machine first talked to this server: parts, not what contains them.
    pub fn pretended(&self) -> BTreeSet<Guid> {
        self.state.pretended.iter().copied().collect()
    }

    /// Revisions held.
    pub fn held(&self) -> usize {
        self.state.held.len()
    }

    /// Bytes of answers as they came, files left out.
    pub fn received(&self) -> u64 {
        self.wire.received
    }

    /// Updates that wait for a restart.
    pub fn pending(&self) -> &BTreeSet<Guid> {
        &self.pending
    }

    /// What the machine needs and has now, of what it was sent.
    pub fn verdict(&self) -> Verdict {
        self.state.verdict()
    }

    /// Updates that are needed, and whose last installation failed.
    pub fn failed(&self) -> &BTreeSet<Guid> {
        &self.failed
    }

    /// Scans: rounds of SyncUpdates until nothing more can follow, then the pass for drivers, then what is said about what is needed.
    pub async fn scan(&mut self) -> Result<Scan, Failure> {
        (self.recovered, self.busy) = (0, 0);
        let scanned = self.rounds().await;
        match &scanned {
            Ok(scan) => {
                self.note(147, None, 0, vec![scan.verdict.needed.len().to_string()], Vec::new());
                self.snapshot(&scan.verdict);
            }
            Err(failure) => {
                let result = failure.result();
                self.note(148, None, result, vec![format!("0x{:08X}", result.cast_unsigned())], Vec::new());
            }
        }
        scanned
    }

    async fn rounds(&mut self) -> Result<Scan, Failure> {
        let mut scan = Scan::default();
        for driver_pass in [false, true] {
            loop {
                if scan.rounds >= ROUNDS {
                    return Err(Failure::Rounds(ROUNDS));
                }
                scan.rounds += 1;
                let answer = self
                    .ask(|agent, cookie| {
                        let (installed, other, drivers) = agent.state.lists();
                        let held = Held { installed: &installed, other: &other, drivers: &drivers, driver_pass };
                        templates::sync_updates(cookie, &agent.machine, agent.server.url(), &held)
                    })
                    .await?;
                let result = answer.child("SyncUpdatesResult").ok_or_else(|| missing("SyncUpdatesResult"))?;
                let changes =
                    self.state.take(result, &self.machine, &self.common.fragments).map_err(Failure::Answer)?;
                scan.new += changes.new;
                scan.gone += changes.gone;
                scan.changed += changes.changed;
                self.cookie = Some(cookie(result.child("NewCookie"))?);
                if driver_pass || !changes.again {
                    break;
                }
            }
        }
        scan.verdict = self.state.verdict();
        scan.ordered = self.state.with(Action::Install, &scan.verdict.needed);
        scan.deadlines = self.state.deadlines(&scan.ordered);
        self.extend(&scan.verdict).await?;
        scan.recovered = self.recovered;
        Ok(scan)
    }

    /// Calls a method with all that it needs made ready, and again after faults from which the protocol knows a way.
    async fn ask(&mut self, call: impl Fn(&Self, &Cookie) -> templates::Call) -> Result<Element, Failure> {
        loop {
            let answered = match self.ready().await {
                Ok(cookie) => {
                    let call = call(self, &cookie);
                    self.wire.call(&call).await
                }
                Err(failure) => Err(failure),
            };
            match answered {
                Ok(answer) => return Ok(answer),
                Err(failure) => self.recover(failure).await?,
            }
        }
    }

    /// What a fault asks for (MS-WUSP section 3.1.4): forget what it says is of no use any more.
    async fn recover(&mut self, failure: Failure) -> Result<(), Failure> {
        match failure.code() {
            Some("InvalidCookie" | "ServerChanged") => {
                (self.config, self.cookie, self.old) = (None, None, None);
                self.renumber = true;
            }
            Some("ConfigChanged") => {
                self.config = None;
                self.old = self.cookie.take();
            }
            Some("CookieExpired" | "InvalidAuthorizationCookie") => self.old = self.cookie.take(),
            Some("RegistrationRequired") => {
                self.registered = false;
                if let Some(config) = &mut self.config {
                    config.register = true;
                }
            }
            Some("RegistrationNotRequired") => self.registered = true,
            Some("FileLocationChanged" | "FileLocationsChanged") => self.locations.clear(),
            Some("ServerBusy") => {
                tokio::time::sleep(self.common.busy * (1 << self.busy.min(6))).await;
                self.busy += 1;
            }
            _ => return Err(failure),
        }
        self.recovered += 1;
        if self.recovered > RECOVERIES { Err(failure) } else { Ok(()) }
    }

    /// Gets whatever is not there: config, cookie, registration, new ids.
    async fn ready(&mut self) -> Result<Cookie, Failure> {
        let config = match self.config.take() {
            Some(config) => config,
            None => config(&self.wire.call(&templates::get_config()).await?)?,
        };
        let config = self.config.insert(config);
        let kept = self.cookie.take().filter(|cookie| !is_over(&cookie.expiration));
        let cookie = if let Some(cookie) = kept {
            cookie
        } else {
            let call =
                templates::get_authorization_cookie(&config.service, &self.machine, self.common.group.as_deref());
            let answer = self.wire.call(&call).await?;
            let data = answer.down(&["GetAuthorizationCookieResult", "CookieData"]);
            let data = data.ok_or_else(|| missing("CookieData"))?.text.trim();
            let call = templates::get_cookie(&config.plug_in, data, self.old.as_ref(), &config.changed, &now());
            cookie(self.wire.call(&call).await?.child("GetCookieResult"))?
        };
        self.cookie = Some(cookie.clone());
        if config.register && !self.registered {
            self.wire.call(&templates::register_computer(&cookie, &self.machine)).await?;
            self.registered = true;
        }
        if self.renumber && !self.state.held.is_empty() {
            let held: Vec<_> = self.state.held.values().map(|held| (held.core.id, held.core.revision)).collect();
            let answer = self.wire.call(&templates::refresh_cache(&cookie, &held)).await?;
            let none = Element::default();
            self.state.renumber(answer.child("RefreshCacheResult").unwrap_or(&none)).map_err(Failure::Answer)?;
        }
        self.renumber = false;
        Ok(cookie)
    }

    /// Asks for the files of all that is needed and of its parts, where that is not known.
    async fn extend(&mut self, verdict: &Verdict) -> Result<(), Failure> {
        let mut wanted: Vec<(Guid, u32)> = Vec::new();
        {
            let newest = self.state.newest();
            for id in verdict.needed.iter().flat_map(|id| std::iter::once(*id).chain(self.state.parts(*id))) {
                let Some((_, held)) = newest.get(&id) else { continue };
                let key = (id, held.core.revision);
                if !self.files.contains_key(&key) {
                    wanted.push(key);
                }
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        let most = self.config.as_ref().map_or(50, |config| config.extended).clamp(1, 50);
        for batch in wanted.chunks(most) {
            let answer = self
                .ask(|agent, cookie| {
                    let newest = agent.state.newest();
                    let ids: Vec<i32> = batch.iter().filter_map(|(id, _)| newest.get(id).map(|(id, _)| *id)).collect();
                    templates::get_extended_update_info(cookie, &agent.machine, agent.server.url(), &ids)
                })
                .await?;
            let result = answer.child("GetExtendedUpdateInfoResult");
            self.take_extended(result.ok_or_else(|| missing("GetExtendedUpdateInfoResult"))?)?;
            // What the server said nothing of has no files; it is not asked for again.
            for key in batch {
                self.files.entry(*key).or_default();
            }
        }
        Ok(())
    }

    fn take_extended(&mut self, result: &Element) -> Result<(), Failure> {
        for one in result.child("Updates").into_iter().flat_map(|list| list.all("Update")) {
            let id: Option<i32> = one.text_of("ID").and_then(|text| text.parse().ok());
            let held = id.and_then(|id| self.state.held.get(&id));
            let held = held.ok_or_else(|| Failure::Answer("more is said of a revision that is not held".to_owned()))?;
            let key = (held.core.id, held.core.revision);
            let extended = one.child("Xml").map(|xml| xml.text.as_str());
            if let Some(text) = extended.filter(|text| text.trim_start().starts_with("<ExtendedProperties")) {
                self.files.insert(key, files(text).map_err(Failure::Answer)?);
            }
        }
        self.take_locations(result)
    }

    fn take_locations(&mut self, result: &Element) -> Result<(), Failure> {
        for one in result.child("FileLocations").into_iter().flat_map(|list| list.all("FileLocation")) {
            let sha1 = one.text_of("FileDigest").and_then(digest).ok_or_else(|| missing("FileDigest"))?;
            let url = one.text_of("Url").ok_or_else(|| missing("Url"))?;
            self.locations.insert(sha1, url.to_owned());
        }
        Ok(())
    }

    /// Where a file lies; asked for again where `anew`, or where it is not known.
    pub(crate) async fn locate(&mut self, sha1: [u8; 20], anew: bool) -> Result<String, Failure> {
        use base64::Engine as _;
        if anew || !self.locations.contains_key(&sha1) {
            let text = base64::engine::general_purpose::STANDARD.encode(sha1);
            let digests = [text];
            let answer = self.ask(|_, cookie| templates::get_file_locations(cookie, &digests)).await?;
            let result = answer.child("GetFileLocationsResult").ok_or_else(|| missing("GetFileLocationsResult"))?;
            self.take_locations(result)?;
            if let Some(new) = result.child("NewCookie") {
                self.cookie = Some(cookie(Some(new))?);
            }
        }
        let found = self.locations.get(&sha1).cloned();
        found.ok_or_else(|| Failure::Answer("a file has no location".to_owned()))
    }

    /// Downloads what is approved and needed, installs it in pretence, and takes away what is to go.
    pub async fn install(&mut self) -> Installation {
        (self.recovered, self.busy) = (0, 0);
        let mut done = Installation::default();
        let verdict = self.state.verdict();
        let revisions: BTreeMap<Guid, u32> =
            self.state.newest().into_iter().map(|(id, (_, held))| (id, held.core.revision)).collect();
        for id in self.state.with(Action::Install, &verdict.needed) {
            let Some(revision) = revisions.get(&id).copied() else { continue };
            self.install_one(id, revision, &mut done).await;
        }
        for id in self.state.with(Action::Uninstall, &verdict.installed) {
            let Some(revision) = revisions.get(&id).copied() else { continue };
            self.state.removed.extend(self.state.parts(id));
            self.note(222, Some((id, revision)), 0, vec![id.to_string()], Vec::new());
            done.removed += 1;
        }
        let verdict = self.state.verdict();
        self.snapshot(&verdict);
        done
    }

    async fn install_one(&mut self, id: Guid, revision: u32, done: &mut Installation) {
        let parts = self.state.parts(id);
        match self.download(&parts).await {
            Ok((count, bytes)) => {
                done.files += count;
                done.bytes += bytes;
                self.note(162, Some((id, revision)), 0, vec![id.to_string()], vec![format!("B={bytes}")]);
            }
            Err(failure) => {
                let result = failure.result();
                self.note(161, Some((id, revision)), result, vec![id.to_string()], Vec::new());
                done.failed.push((id, failure.to_string()));
                self.failed.insert(id);
                return;
            }
        }
        self.note(181, Some((id, revision)), 0, vec![id.to_string()], Vec::new());
        if self.machine.truth(Question::Fails, id) {
            let result = 0x8007_0643_u32.cast_signed();
            self.note(182, Some((id, revision)), result, vec!["0x80070643".to_owned(), id.to_string()], Vec::new());
            done.failed.push((id, "the installer ended with 0x80070643, as this machine's seed has it".to_owned()));
            self.failed.insert(id);
            return;
        }
        self.failed.remove(&id);
        self.state.pretended.extend(parts);
        done.installed += 1;
        if self.machine.truth(Question::Restart, id) {
            self.pending.insert(id);
            self.note(201, Some((id, revision)), 0x0024_0005, vec![id.to_string()], Vec::new());
        } else {
            self.note(183, Some((id, revision)), 0, vec![id.to_string()], Vec::new());
        }
    }

    /// Restarts the machine: what waited for it is installed.
    pub fn restart(&mut self) {
        for id in std::mem::take(&mut self.pending) {
            self.note(202, Some((id, 0)), 0, vec![id.to_string()], Vec::new());
            let told = if matches!(self.common.tells, Tells::Late | Tells::Never) { self.events.pop() } else { None };
            if self.common.tells == Tells::Late {
                self.late.extend(told);
            }
        }
    }

    /// The event that says all of the machine's state at once.
    fn snapshot(&mut self, verdict: &Verdict) {
        self.failed.retain(|id| verdict.needed.contains(id));
        let list = |tag: &str, ids: Vec<&Guid>| {
            let ids: Vec<String> = ids.iter().map(|id| id.to_string().to_uppercase()).collect();
            (!ids.is_empty()).then(|| format!("{tag}={}", ids.join(";")))
        };
        if self.common.tells != Tells::All || !self.machine.lists_all {
            let waits = |id: &&Guid| self.pending.contains(*id);
            let needed = verdict.needed.iter().chain(verdict.installed.iter().filter(waits)).collect();
            let installed = verdict.installed.iter().filter(|id| !waits(id)).collect();
            let misc = [list("U", needed), list("V", installed)].into_iter().flatten().collect();
            self.note(156, None, 0, Vec::new(), misc);
            return;
        }
        let failed = |id: &&Guid| self.failed.contains(*id);
        // What has a list of its own is in no other one.
        let waits = |id: &&Guid| self.pending.contains(*id);
        let misc = [
            list("U", verdict.needed.iter().filter(|id| !failed(id)).collect()),
            list("V", verdict.installed.iter().filter(|id| !waits(id)).collect()),
            list("W", verdict.installed.iter().filter(waits).collect()),
            list("g", verdict.needed.iter().filter(failed).collect()),
        ];
        self.note(156, None, 0, Vec::new(), misc.into_iter().flatten().collect());
    }

    fn note(&mut self, number: u32, update: Option<(Guid, u32)>, result: i32, strings: Vec<String>, misc: Vec<String>) {
        self.serial += 1;
        let id = |salt| mixed(&[self.machine.seed, salt, self.serial, Timestamp::now().as_nanosecond() as u64]);
        let instance = Guid::made(id(31), id(32));
        self.events.push(Event { instance, number, update, result, strings, misc, at: now() });
    }

    /// Sends all events; how many. What could not be sent is kept for the next time.
    pub async fn report(&mut self) -> Result<usize, Failure> {
        (self.recovered, self.busy) = (0, 0);
        let has_snapshot = self.events.iter().any(|event| event.number == 156);
        let mut sent = self.send().await?;
        if has_snapshot {
            self.events.append(&mut self.late);
            sent += self.send().await?;
        }
        Ok(sent)
    }

    async fn send(&mut self) -> Result<usize, Failure> {
        let mut sent = 0;
        while !self.events.is_empty() {
            let batch: Vec<Event> = self.events.iter().take(BATCH).cloned().collect();
            let answer =
                self.ask(|agent, cookie| templates::report_event_batch(cookie, &agent.machine, &now(), &batch)).await?;
            if answer.text_of("ReportEventBatchResult") != Some("true") {
                return Err(Failure::Answer("ReportEventBatch was not answered with true".to_owned()));
            }
            self.events.drain(..batch.len().min(self.events.len()));
            sent += batch.len();
        }
        Ok(sent)
    }
}

fn missing(what: &str) -> Failure {
    Failure::Answer(format!("there is no {what}"))
}

/// Now in ISO 8601 with milliseconds.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Whether a time has passed; one that cannot be read has not.
fn is_over(time: &str) -> bool {
    time.parse::<Timestamp>().is_ok_and(|time| time <= Timestamp::now())
}

fn cookie(element: Option<&Element>) -> Result<Cookie, Failure> {
    let element = element.ok_or_else(|| missing("cookie"))?;
    let text = |name| element.text_of(name).map(str::to_owned).ok_or_else(|| missing(name));
    Ok(Cookie { expiration: text("Expiration")?, data: text("EncryptedData")? })
}

fn config(answer: &Element) -> Result<Config, Failure> {
    let result = answer.child("GetConfigResult").ok_or_else(|| missing("GetConfigResult"))?;
    let plug_in = result.down(&["AuthInfo", "AuthPlugInInfo"]).ok_or_else(|| missing("AuthPlugInInfo"))?;
    // Without them modern agents fail with 0x8024402A.
    let properties = result.child("Properties").ok_or_else(|| missing("Properties"))?;
    let property = |name: &str| {
        let found = properties.all("ConfigurationProperty").find(|property| property.text_of("Name") == Some(name));
        found.and_then(|property| property.text_of("Value"))
    };
    let text = |within: &Element, name: &str| within.text_of(name).map(str::to_owned).ok_or_else(|| missing(name));
    Ok(Config {
        changed: text(result, "LastChange")?,
        register: result.text_of("IsRegistrationRequired") == Some("true"),
        service: text(plug_in, "ServiceUrl")?,
        plug_in: text(plug_in, "PlugInID")?,
        extended: property("MaxExtendedUpdatesPerRequest").and_then(|text| text.parse().ok()).unwrap_or(50),
    })
}
