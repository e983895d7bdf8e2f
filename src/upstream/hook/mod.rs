//! Telling somebody by HTTP that something happened: signed JSON, posted to one address that an administrator set.
//!
//! 1. [`Hook::tell`] puts an event into a queue and returns at once: whoever has something to tell never waits for who listens.
//! 2. One task ([`Hook::start`]) takes them in order and posts each, with a signature ([`sign`]) over the time and the body.
//! 3. What may pass (no connection, 408, 425, 429, 5xx) is tried again with back-off, with the same id, so that who listens can
//!    tell a repetition; what is refused for good is given up and logged.
//! 4. [`Hook::close`] lets the task try once more what is left, for a short time, and waits for its end.
//!
//! The address is asked as it was set, wherever its name leads, through the proxy of the upstream where that takes it; no redirect is
//! followed. What the log tells of it is its host: paths of such addresses are often secrets.

mod sign;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::Client;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::model::origin::Host;
use crate::upstream::client;
use crate::upstream::error::{Cause, Error, cause_of};
use crate::upstream::head::retry_after;
use crate::upstream::proxy::Through;
use crate::upstream::retry::{bounded, jitter};

pub use sign::signature;

/// Which kind of event it is.
pub const EVENT: HeaderName = HeaderName::from_static("waystation-event");
/// The id of the event, the same at each attempt.
pub const DELIVERY: HeaderName = HeaderName::from_static("waystation-delivery");
/// When this attempt was made, seconds since 1970.
pub const TIMESTAMP: HeaderName = HeaderName::from_static("waystation-timestamp");
/// `v1=` and the hexadecimal HMAC-SHA-256 over the timestamp, a full stop and the body.
pub const SIGNATURE: HeaderName = HeaderName::from_static("waystation-signature");

/// Events that wait. A run has two, and there are some twenty runs a day: more than two weeks of silence.
const QUEUE_MAX: usize = 256;

/// How long one attempt may take, from the connection to the end of the answer.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);

/// How much of an answer is read; who tests a hook wants to see it.
const ANSWER_MAX: usize = 2 << 10;

/// How long the task may go on with what is left when the node ends.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How often and how long an event is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Attempts, the first one counted.
    pub attempts_max: u32,
    /// The wait before the second one; each further one doubles it, with jitter.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl Default for Patience {
    /// About an hour: longer than the update of a receiver takes.
    fn default() -> Self {
        Self { attempts_max: 14, first: Duration::from_secs(1), longest: Duration::from_mins(10) }
    }
}

/// What a hook is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to post.
    pub url: String,
    /// What bodies are signed with.
    pub secret: Secret,
    /// Proxy, roots and connect timeout.
    pub http: crate::upstream::Config,
    /// See [`Patience`].
    pub patience: Patience,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// No other event has it.
    pub id: String,
    /// A word for it.
    pub kind: &'static str,
    /// JSON.
    pub body: Vec<u8>,
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status, where there was an answer.
    pub status: Option<u16>,
    /// The beginning of its body, or why there is none.
    pub text: String,
    /// How long it took.
    pub took: Duration,
}

impl Answer {
    /// Whether it was taken.
    pub fn is_taken(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// How far who listens has been told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Events that are not told yet, the one under way among them.
    pub waiting: usize,
    /// When one was taken last.
    pub told: Option<Timestamp>,
    /// The last attempt that failed, where none was taken since.
    pub failed: Option<Failed>,
    /// When the next attempt is made, where one waits for it.
    pub next: Option<Timestamp>,
    /// Events that were given up, since the node began.
    pub lost: u64,
    /// When the last of these was, and why.
    pub given_up: Option<Failed>,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub why: String,
}

/// An attempt that failed, and what is to be done about it.
struct Failure {
    answer: Answer,
    may_pass: bool,
    retry_after: Option<Duration>,
}

/// Somebody who is told. Clones are the same.
#[derive(Clone, Debug)]
pub struct Hook {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    client: Client,
    url: Url,
    label: String,
    proxy: Option<String>,
    sender: mpsc::Sender<Event>,
    /// Until the task takes it.
    queue: Mutex<Option<mpsc::Receiver<Event>>>,
    tasks: TaskTracker,
    closing: CancellationToken,
    /// Set when it is being closed: when the last words must be said.
    deadline: OnceLock<Instant>,
    standing: Mutex<Standing>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Whole between any two calls.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hook {
    /// Reads the files of certificates and builds the client. Blocks for the files; opens no connection.
    ///
    /// # Errors
    /// [`Error::Config`] names what cannot be used.
    pub fn new(config: Config) -> Result<Self, Error> {
        let refuse = |why: &str| Err(Error::Config { what: "the webhook's url".to_owned(), why: why.to_owned() });
        let Ok(url) = Url::parse(&config.url) else {
            return refuse("it is no URL; write it like https://hooks.example.org/waystation");
        };
        if !matches!(url.scheme(), "http" | "https") {
            return refuse("it begins with neither http:// nor https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse(
                "it carries a user, which would go over the wire with each event; the signature proves who asks",
            );
        }
        let host = match Host::parse(url.host_str().unwrap_or_default()) {
            Ok(host) => host,
            Err(error) => return refuse(&error.to_string()),
        };
        let port = url.port_or_known_default().unwrap_or(80);
        let through = Through::new(&config.http.proxy)?.filter(|through| through.takes(&host, port));
        let client = client::for_named(&config.http, through.as_ref())?;
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let label = if matches!(port, 80 | 443) { host.to_string() } else { format!("{host}:{port}") };
        let proxy = through.map(|through| through.label);
        let (queue, tasks) = (Mutex::new(Some(queue)), TaskTracker::new());
        let (closing, standing) = (CancellationToken::new(), Mutex::default());
        let deadline = OnceLock::new();
        let shared = Shared { config, client, url, label, proxy, sender, queue, tasks, closing, deadline, standing };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Its host, as messages name it.
    pub fn label(&self) -> &str {
        &self.shared.label
    }

    /// Whether who listens on the way can read what is told, and change the answer.
    pub fn is_plain(&self) -> bool {
        self.shared.url.scheme() == "http"
    }

    /// Begins to deliver; once is enough. Must be called inside of a runtime.
    pub fn start(&self) {
        if let Some(queue) = lock(&self.shared.queue).take() {
            self.shared.tasks.spawn(deliver(Arc::clone(&self.shared), queue));
        }
    }

    /// How far who listens has been told. Of attempts of [`Hook::try_once`] only one that was taken counts: it works again.
    pub fn standing(&self) -> Standing {
        lock(&self.shared.standing).clone()
    }

    /// Step 1. What finds no room is lost, and the log says so.
    pub fn tell(&self, event: Event) {
        // Before it can be told.
        lock(&self.shared.standing).waiting += 1;
        if let Err(error) = self.shared.sender.try_send(event) {
            let host = self.shared.label.as_str();
            let why = if matches!(error, mpsc::error::TrySendError::Full(_)) {
                "too many waited already"
            } else {
                "the node was shutting down"
            };
            self.shared.lost(why);
            tracing::warn!(host, why, "an event is not told to the webhook");
        }
    }

    /// One attempt, outside of the queue: for who wants to see whether it works.
    pub async fn try_once(&self, event: &Event) -> Answer {
        match attempt(&self.shared, event).await {
            Ok(answer) => {
                lock(&self.shared.standing).failed = None;
                answer
            }
            Err(failure) => failure.answer,
        }
    }

    /// Step 4. Who gives up waiting may wait again.
    pub async fn close(&self) {
        self.shared.deadline.get_or_init(|| Instant::now() + LAST_WORDS);
        self.shared.closing.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Shared {
    /// How long the last words may still take, whatever they are.
    fn left(&self) -> Duration {
        self.deadline.get().map_or(LAST_WORDS, |at| at.saturating_duration_since(Instant::now()))
    }

    /// The event under way waits no more: it was taken.
    fn taken(&self) {
        let mut standing = lock(&self.standing);
        standing.waiting = standing.waiting.saturating_sub(1);
        (standing.told, standing.failed, standing.next) = (Some(SystemTime::now().into()), None, None);
    }

    /// An event waits no more: it was given up, for this reason. When the next attempt is made is that of another one, and stays.
    fn lost(&self, why: &str) {
        let mut standing = lock(&self.standing);
        standing.waiting = standing.waiting.saturating_sub(1);
        standing.lost += 1;
        standing.given_up = Some(Failed { at: Timestamp::from(SystemTime::now()), why: why.to_owned() });
    }

    /// An attempt failed, and another one is made after this time, or none.
    fn failed(&self, why: &str, wait: Option<Duration>) {
        let now = Timestamp::from(SystemTime::now());
        let mut standing = lock(&self.standing);
        standing.failed = Some(Failed { at: now, why: why.to_owned() });
        standing.next = wait.map(|wait| now.after(wait));
    }
}

/// Steps 2 to 4, until the hook is closed.
async fn deliver(shared: Arc<Shared>, mut queue: mpsc::Receiver<Event>) {
    loop {
        tokio::select! {
            biased;
            () = shared.closing.cancelled() => break,
            event = queue.recv() => match event {
                Some(event) => one(&shared, &event).await,
                None => return,
            },
        }
    }
    queue.close();
    while let Ok(event) = queue.try_recv() {
        if !matches!(timeout(shared.left(), attempt(&shared, &event)).await, Ok(Ok(_))) {
            tracing::warn!(
                host = shared.label,
                event = event.kind,
                id = event.id,
                "an event was not told before the end"
            );
        }
    }
}

/// Step 3 for one event. A hook that is being closed has one more attempt, as long as the last words may take.
async fn one(shared: &Shared, event: &Event) {
    let Patience { attempts_max, first, longest } = shared.config.patience;
    let (host, kind, id) = (shared.label.as_str(), event.kind, event.id.as_str());
    for number in 1..=attempts_max.max(1) {
        let is_last = number >= attempts_max || shared.closing.is_cancelled();
        let closed = async {
            shared.closing.cancelled().await;
            sleep(shared.left()).await;
        };
        let attempted = async {
            tokio::select! {
                ended = timeout(ATTEMPT_MAX, attempt(shared, event)) => ended.ok(),
                () = closed => None,
            }
        };
        let failure = match attempted.await {
            Some(Ok(answer)) => {
                shared.taken();
                tracing::debug!(host, event = kind, id, status = answer.status, "told the webhook");
                return;
            }
            Some(Err(failure)) => failure,
            None => Failure {
                answer: Answer { status: None, text: "no answer in time".to_owned(), took: ATTEMPT_MAX },
                may_pass: true,
                retry_after: None,
            },
        };
        let Failure { answer, may_pass, retry_after } = failure;
        let why = said(&answer);
        if !may_pass || is_last {
            shared.failed(&why, None);
            shared.lost(&why);
            tracing::warn!(host, event = kind, id, attempts = number, why, "an event could not be told to the webhook");
            return;
        }
        let back_off = first.saturating_mul(1 << (number - 1).min(16)).min(longest);
        let wait = jitter(back_off).max(bounded(retry_after).unwrap_or_default());
        shared.failed(&why, Some(wait));
        if number == 1 {
            tracing::warn!(host, event = kind, id, why, "the webhook is not told yet; it is tried again");
        } else {
            tracing::debug!(host, event = kind, id, attempt = number, why, "told the webhook again soon");
        }
        tokio::select! {
            () = shared.closing.cancelled() => {}
            () = sleep(wait) => {}
        }
    }
}

fn said(answer: &Answer) -> String {
    match answer.status {
        Some(status) => format!("it answered {status}"),
        None => answer.text.clone(),
    }
}

/// One post. `Ok` is an answer of 2xx.
async fn attempt(shared: &Shared, event: &Event) -> Result<Answer, Failure> {
    let begun = Instant::now();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let fields = match fields(shared, event, now) {
        Ok(fields) => fields,
        Err(text) => {
            let answer = Answer { status: None, text, took: Duration::ZERO };
            return Err(Failure { answer, may_pass: false, retry_after: None });
        }
    };
    let posting = shared.client.post(shared.url.clone()).headers(fields).body(event.body.clone()).send();
    let response = match timeout(ATTEMPT_MAX, posting).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            let cause = cause_of(error, shared.proxy.as_deref(), shared.config.http.connect_timeout);
            let answer = Answer { status: None, text: cause.to_string(), took: begun.elapsed() };
            return Err(Failure { answer, may_pass: cause.may_pass(), retry_after: None });
        }
        Err(_) => {
            let cause = Cause::Silent(ATTEMPT_MAX);
            let answer = Answer { status: None, text: cause.to_string(), took: begun.elapsed() };
            return Err(Failure { answer, may_pass: true, retry_after: None });
        }
    };
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers(), SystemTime::now());
    let left = ATTEMPT_MAX.saturating_sub(begun.elapsed());
    let text = timeout(left, beginning(response)).await.unwrap_or_default();
    let answer = Answer { status: Some(status), text, took: begun.elapsed() };
    if answer.is_taken() {
        return Ok(answer);
    }
    let may_pass = matches!(status, 408 | 425 | 429 | 500..=599);
    Err(Failure { answer, may_pass, retry_after })
}

/// The first of the body, as far as it is text.
async fn beginning(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(ANSWER_MAX);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn fields(shared: &Shared, event: &Event, now: u64) -> Result<HeaderMap, String> {
    let signature = signature(&shared.config.secret, now, &event.body).ok_or("this build has no HMAC-SHA-256")?;
    let mut fields = HeaderMap::new();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(EVENT, HeaderValue::from_static(event.kind));
    for (name, value) in [(DELIVERY, event.id.clone()), (TIMESTAMP, now.to_string()), (SIGNATURE, signature)] {
        let value = HeaderValue::from_str(&value).map_err(|_| format!("{name} cannot be written"))?;
        fields.insert(name, value);
    }
    Ok(fields)
}
