//! What can go wrong while asking: one enum for those who asked, and the causes of single attempts behind it.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::upstream::resolve::{NoName, Refusal};

/// How much of a library's own words goes into a message.
const WORDS_CHARS_MAX: usize = 200;

/// Whose fault it is that an ask failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The origin answered what it should not have, or what cannot be helped from here.
    Origin,
    /// The way there: name service, network, proxy, TLS, or an origin that is down. It may pass.
    Path,
    /// What was asked for: not allowed by this node's rules, or a loop.
    Asker,
    /// This node's configuration.
    Us,
}

/// Why an ask failed, retries included. No text carries a query string: it may be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 401, 403, 404, 410 and other refusals: the origin's last word for this object.
    #[error("{host} answered {status}")]
    Status {
        /// Who answered.
        host: String,
        /// What it answered.
        status: u16,
        /// The lines of `WWW-Authenticate` of a 401, which whoever passes it on must keep (RFC 9110, 11.6.1); else none.
        challenges: Vec<String>,
    },
    /// Everything that may pass: refused, timeout, stall, 429, 5xx, truncated, TLS, proxy. Retries are over.
    #[error("{host} cannot be asked: {why}")]
    Unavailable {
        /// Who was asked.
        host: String,
        /// The last attempt's cause and what to do next.
        why: String,
        /// When asking again makes sense, where the origin said so or is being backed off from.
        retry_after: Option<Duration>,
    },
    /// It was not asked at all: it failed again and again and is left alone for a moment. Says nothing of this object.
    #[error("{host} is left alone for a moment: {why}")]
    Resting {
        /// Who would have been asked.
        host: String,
        /// What it did at last.
        why: String,
        /// When it is asked again.
        retry_after: Duration,
    },
    /// Another length or another version than the pinned one.
    #[error("{host} changed the object: {why}")]
    Changed {
        /// Who was asked.
        host: String,
        /// What differs.
        why: String,
    },
    /// Content-Range that does not fit what was asked, more bytes than announced, a content coding nobody asked for.
    #[error("{host} lied: {why}")]
    Lied {
        /// Who was asked.
        host: String,
        /// What does not fit.
        why: String,
    },
    /// The request has been at this node before: the way leads in a circle. Another node says so by 508.
    #[error("{host} is not asked: {why}")]
    Looped {
        /// Who would have been asked.
        host: String,
        /// Where the circle shows.
        why: String,
    },
    /// Not on the allow-list, a private address, too many redirects, too many hops.
    #[error("{host} may not be asked: {why}")]
    NotAllowed {
        /// Who would have been asked.
        host: String,
        /// The rule, and how to change it.
        why: String,
    },
    /// The configuration cannot be used: a proxy URL, a CA file, a node name. Only from [`crate::upstream::Upstream::new`].
    #[error("{what} cannot be used: {why}")]
    Config {
        /// The key or file.
        what: String,
        /// What is wrong and what would be right.
        why: String,
    },
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Blame {
        match self {
            Self::Status { .. } | Self::Changed { .. } | Self::Lied { .. } => Blame::Origin,
            Self::Unavailable { .. } | Self::Resting { .. } => Blame::Path,
            Self::NotAllowed { .. } | Self::Looped { .. } => Blame::Asker,
            Self::Config { .. } => Blame::Us,
        }
    }

    /// Whether the same question can have another answer later. Nobody but this room repeats it by itself.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Resting { .. } | Self::Changed { .. } => true,
            Self::Status { .. }
            | Self::Lied { .. }
            | Self::NotAllowed { .. }
            | Self::Looped { .. }
            | Self::Config { .. } => false,
        }
    }
}

/// What ended one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The name does not resolve.
    Name(String),
    /// The name service says that there is no such name.
    NoName(String),
    /// Nobody listens there.
    Refused,
    /// No connection, for another reason.
    Connect(String),
    /// No connection in time.
    ConnectSlow(Duration),
    /// Connected, but no answer in time.
    Silent(Duration),
    /// The body stopped coming.
    Stalled { after: Duration, at: u64 },
    /// The connection ended too early: before the answer, or in its body at this position of the object.
    Cut { at: Option<u64>, words: String },
    /// 408, 425, 429 or 5xx, but for 508: the circle that it tells of stays one.
    Busy { status: u16, retry_after: Option<Duration> },
    /// The certificate is signed by nobody that is trusted here.
    Issuer,
    /// Any other trouble with TLS.
    Tls(String),
    /// What answers a TLS handshake speaks something else.
    NoTls,
    /// What answers a request over plain HTTP speaks something else.
    NoHttp,
    /// The proxy wants credentials, or other ones.
    ProxyCredentials { proxy: String },
    /// The proxy cannot be reached or does not let this through.
    Proxy { proxy: String, words: String },
    /// The attempt was given up because the patience had run out.
    Impatient(Duration),
    /// Resuming would mix versions.
    NoResume { at: u64 },
    /// See [`Error::Status`].
    Status(u16),
    /// 401, see [`Error::Status`], with the lines of its `WWW-Authenticate`.
    Unauthorized(Vec<String>),
    /// See [`Error::Changed`].
    Changed(String),
    /// See [`Error::Lied`].
    Lied(String),
    /// See [`Error::NotAllowed`].
    NotAllowed(String),
}

/// One failed attempt: who was asked (the hop that failed), and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) host: String,
    pub(super) cause: Cause,
    /// The first hop had answered, be it with a redirect to where this happened.
    pub(super) answered: bool,
}

impl Cause {
    pub(super) fn at(self, host: &str) -> Failure {
        Failure { host: host.to_owned(), cause: self, answered: false }
    }

    /// Whether another attempt may do better.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Name(_)
            | Self::NoName(_)
            | Self::Refused
            | Self::Connect(_)
            | Self::ConnectSlow(_)
            | Self::Silent(_)
            | Self::Stalled { .. }
            | Self::Cut { .. }
            | Self::Busy { .. }
            | Self::Issuer
            | Self::Tls(_)
            | Self::NoTls
            | Self::NoHttp
            | Self::Proxy { .. }
            | Self::Impatient(_) => true,
            Self::ProxyCredentials { .. }
            | Self::NoResume { .. }
            | Self::Status(_)
            | Self::Unauthorized(_)
            | Self::Changed(_)
            | Self::Lied(_)
            | Self::NotAllowed(_) => false,
        }
    }

    /// Whether the host cannot be asked for anything. All else may be the trouble of one object: a slow backend behind one
    /// path, a file that cannot be read to its end.
    pub(super) fn is_hosts(&self) -> bool {
        match self {
            Self::Name(_)
            | Self::NoName(_)
            | Self::Refused
            | Self::Connect(_)
            | Self::ConnectSlow(_)
            | Self::Issuer
            | Self::Tls(_)
            | Self::NoTls
            | Self::NoHttp
            | Self::ProxyCredentials { .. }
            | Self::Proxy { .. } => true,
            Self::Silent(_)
            | Self::Stalled { .. }
            | Self::Cut { .. }
            | Self::Busy { .. }
            | Self::Impatient(_)
            | Self::NoResume { .. }
            | Self::Status(_)
            | Self::Unauthorized(_)
            | Self::Changed(_)
            | Self::Lied(_)
            | Self::NotAllowed(_) => false,
        }
    }

    /// What it shows of a host that was asked over https: that it speaks TLS, that no TLS connection to it can be had, or
    /// neither.
    pub(super) fn shows_tls(&self) -> Option<bool> {
        match self {
            Self::Busy { .. } | Self::Status(_) | Self::Unauthorized(_) | Self::Changed(_) | Self::Lied(_) => {
                Some(true)
            }
            Self::Refused | Self::Connect(_) | Self::ConnectSlow(_) | Self::Issuer | Self::Tls(_) | Self::NoTls => {
                Some(false)
            }
            Self::Name(_)
            | Self::NoName(_)
            | Self::Silent(_)
            | Self::Stalled { .. }
            | Self::Cut { .. }
            | Self::ProxyCredentials { .. }
            | Self::Proxy { .. }
            | Self::NoHttp
            | Self::Impatient(_)
            | Self::NoResume { .. }
            | Self::NotAllowed(_) => None,
        }
    }

    /// How long the origin asked to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The status that ended the attempt, if one did.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Busy { status, .. } | Self::Status(status) => Some(*status),
            Self::Unauthorized(_) => Some(401),
            Self::ProxyCredentials { .. } => Some(407),
            _ => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(words) => write!(f, "its name does not resolve ({words}); check this node's name server"),
            Self::NoName(words) => write!(
                f,
                "there is no such name ({words}); check how it is written, and whether this node's name server knows it"
            ),
            Self::Refused => f.write_str(
                "the connection was refused; check that it is up and that a firewall lets this node through",
            ),
            Self::Connect(words) => write!(f, "no connection ({words}); check routes and firewall"),
            Self::ConnectSlow(time) => {
                write!(f, "no connection within {time:?}; a firewall that drops packets in silence looks like this")
            }
            Self::Silent(time) => write!(f, "no answer within {time:?}"),
            Self::Stalled { after, at } => write!(f, "the body stopped at byte {at} for {after:?}"),
            Self::Cut { at: Some(at), words } => write!(f, "the transfer was cut at byte {at} ({words})"),
            Self::Cut { at: None, words } => write!(f, "the connection ended before an answer ({words})"),
            Self::Busy { status, .. } | Self::Status(status) => write!(f, "it answered {status}"),
            Self::Unauthorized(_) => f.write_str("it answered 401"),
            Self::Issuer => f.write_str(
                "its certificate is from an unknown issuer; if a proxy inspects TLS on the way, \
                 add the inspecting proxy's CA to [upstream] extra_ca",
            ),
            Self::Tls(words) => {
                write!(f, "TLS failed ({words}); check the clock, the name and what inspects TLS on the way")
            }
            Self::NoTls => f.write_str(
                "it does not speak TLS at this port: write http:// where that is meant, or the port at which it does (8531 of a WSUS)",
            ),
            Self::NoHttp => f.write_str(
                "what it answers is no HTTP; a port that wants TLS looks like this: write https:// then, or the port of plain HTTP",
            ),
            Self::ProxyCredentials { proxy } => write!(
                f,
                "the proxy {proxy} asks for credentials or refuses those given; set [proxy] username and password_file \
                 (Basic only: for NTLM or Kerberos put a local relay in between)"
            ),
            Self::Proxy { proxy, words } => {
                write!(
                    f,
                    "it cannot be reached through the proxy {proxy} ({words}); check the proxy's address where it is set: [proxy] url, or [sync] proxy"
                )
            }
            Self::Impatient(time) => write!(f, "no answer before the patience of {time:?} ended"),
            Self::NoResume { at } => write!(
                f,
                "the transfer was cut at byte {at}, and without Range, a strong entity tag or a known digest the rest cannot \
                 be told from another version's; ask again from the start"
            ),
            Self::Changed(why) | Self::Lied(why) | Self::NotAllowed(why) => f.write_str(why),
        }
    }
}

impl From<Failure> for Error {
    fn from(Failure { host, cause, .. }: Failure) -> Self {
        match cause {
            Cause::Status(status) => Self::Status { host, status, challenges: Vec::new() },
            Cause::Unauthorized(challenges) => Self::Status { host, status: 401, challenges },
            Cause::Changed(why) => Self::Changed { host, why },
            Cause::Lied(why) => Self::Lied { host, why },
            Cause::NotAllowed(why) => Self::NotAllowed { host, why },
            passing => Self::Unavailable { host, why: passing.to_string(), retry_after: passing.retry_after() },
        }
    }
}

/// Reads the cause out of the client library's error: by type where it shows its types, by its words where not.
pub(super) fn cause_of(error: reqwest::Error, proxy: Option<&str>, connect_timeout: Duration) -> Cause {
    // The URL in it carries the query.
    let error = error.without_url();
    let mut words = Vec::new();
    let mut refused = false;
    let mut no_name = false;
    let mut unread = false;
    let mut link: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(cause) = link {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return Cause::NotAllowed(refusal.to_string());
        }
        if let Some(tls) = tls_in(cause) {
            return tls_cause(tls);
        }
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        no_name |= cause.downcast_ref::<NoName>().is_some();
        unread |= cause.downcast_ref::<hyper::Error>().is_some_and(is_other_protocol);
        refused |= kind == Some(io::ErrorKind::ConnectionRefused);
        let said = cause.to_string();
        if words.last() != Some(&said) {
            words.push(said);
        }
        link = cause.source();
    }
    // What resolves names says the same at each step.
    if (no_name || error.is_dns())
        && let Some(last) = words.pop()
    {
        let last = last.rsplit_once("failed to lookup address information: ").map_or(last.as_str(), |(_, why)| why);
        words = vec![last.to_owned()];
    }
    let words: String = words.join(": ").chars().take(WORDS_CHARS_MAX).collect();
    if let Some(proxy) = proxy {
        let credentials = ["proxy authorization required", "credentials not accepted", "user/pass authentication"];
        if credentials.iter().any(|sign| words.contains(sign)) {
            return Cause::ProxyCredentials { proxy: proxy.to_owned() };
        }
        if error.is_connect() {
            return Cause::Proxy { proxy: proxy.to_owned(), words };
        }
    }
    if no_name {
        Cause::NoName(words)
    } else if error.is_dns() {
        Cause::Name(words)
    } else if refused {
        Cause::Refused
    } else if unread {
        Cause::NoHttp
    } else if error.is_connect() && error.is_timeout() {
        Cause::ConnectSlow(connect_timeout)
    } else if error.is_connect() {
        Cause::Connect(words)
    } else {
        Cause::Cut { at: None, words }
    }
}

/// Whether an answer does not even begin as one of HTTP does. All else that cannot be read may be one object's.
fn is_other_protocol(error: &hyper::Error) -> bool {
    error.is_parse() && error.to_string().contains("HTTP version")
}

/// The TLS library's error in another one. An `io::Error` hides what it carries from `source`, and may carry another.
fn tls_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut error = error;
    while let Some(carried) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        error = carried;
    }
    error.downcast_ref()
}

fn tls_cause(error: &rustls::Error) -> Cause {
    match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => Cause::Issuer,
        rustls::Error::InvalidMessage(_) => Cause::NoTls,
        other => Cause::Tls(other.to_string().chars().take(WORDS_CHARS_MAX).collect()),
    }
}
