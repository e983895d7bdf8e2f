//! What can end a conversation with a sync service, and what is wrong with a single exchange of it.

use std::time::Duration;

use crate::upstream::Blame;
use crate::upstream::error::Cause;
use crate::wire::error::Error as WireError;
use crate::wire::wsusss::Method;

/// Why a question to a sync service has no answer, repeats included. No text carries a cookie.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be used. Only from [`crate::upstream::wsus::Wsus::new`].
    #[error("{what} cannot be used: {why}")]
    Config {
        /// The key or file.
        what: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// It cannot be reached, is busy, or its answers break off. The repeats are over; later it may do.
    #[error("{host} cannot be asked for {method}: {why}")]
    Unavailable {
        /// Who was asked.
        host: String,
        /// For what.
        method: Method,
        /// The last attempt's cause and what to do next.
        why: String,
        /// When asking again makes sense, where it said so.
        retry_after: Option<Duration>,
    },
    /// It refuses, and asking again at once will not help.
    #[error("{host} refuses {method}: {why}")]
    Refused {
        /// Who was asked.
        host: String,
        /// For what.
        method: Method,
        /// Its fault or status, and what to do next.
        why: String,
        /// It says so of a bad hour too, as while its database restarts: a later run may find it well.
        may_pass: bool,
    },
    /// It gives out cookies and refuses them, again and again.
    #[error("{host} does not take the cookie that it gave for {method}: {why}")]
    Unauthorized {
        /// Who was asked.
        host: String,
        /// For what.
        method: Method,
        /// Its last fault, and what to look at.
        why: String,
    },
    /// It is another server than before, was set back, or does not know the anchor: all anchors (configuration, revisions,
    /// deployments) are void, and everything is to be listed again.
    #[error("{host} is not what it was ({method}: {why}); its anchors are to be forgotten and everything listed again")]
    ServerChanged {
        /// Who was asked.
        host: String,
        /// For what.
        method: Method,
        /// Its fault.
        why: String,
    },
    /// What it answers is no message of the protocol, or one beyond all limits.
    #[error("{host} answers {method} with what cannot be used: {why}")]
    Unusable {
        /// Who was asked.
        host: String,
        /// For what.
        method: Method,
        /// What is wrong with it.
        why: String,
    },
    /// What came could not be kept: the caller's sink, or the folder for large documents.
    #[error("what came could not be kept: {why}")]
    NotKept {
        /// What failed.
        why: String,
    },
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Blame {
        match self {
            Self::Config { .. } | Self::NotKept { .. } => Blame::Us,
            Self::Unavailable { .. } => Blame::Path,
            Self::Refused { .. } | Self::Unauthorized { .. } | Self::ServerChanged { .. } | Self::Unusable { .. } => {
                Blame::Origin
            }
        }
    }

    /// Whether the same question can have another answer later. This room has repeated what it may; a later run may do better.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Unauthorized { .. } | Self::Unusable { .. } | Self::NotKept { .. } => true,
            Self::Refused { may_pass, .. } => *may_pass,
            Self::Config { .. } | Self::ServerChanged { .. } => false,
        }
    }
}

/// What is wrong with one exchange.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The way there, or an HTTP status.
    Path(Cause),
    /// Something else than SOAP: a portal or a proxy on the way speaks in its place.
    NoSoap(String),
    /// The body broke off or cannot be read.
    Answer(WireError),
    /// It could not be kept here.
    NotKept(String),
    /// The bandwidth class may not flow for now.
    Paused,
}

impl Trouble {
    /// Whether an answer had begun, and what came after its head is what is wrong: then fewer documents at once may do.
    pub(super) fn is_answers(&self) -> bool {
        match self {
            Self::Answer(_) => true,
            Self::Path(cause) => matches!(cause, Cause::Cut { at: Some(_), .. } | Cause::Stalled { .. }),
            Self::NoSoap(_) | Self::NotKept(_) | Self::Paused => false,
        }
    }
}

impl Trouble {
    /// Whether it does not look as if asking again would help: there is no such name, nobody listens, or who listens says nothing or
    /// speaks something else.
    pub(super) fn is_hopeless(&self) -> bool {
        match self {
            Self::Path(cause) => matches!(
                cause,
                Cause::NoName(_)
                    | Cause::Refused
                    | Cause::Silent(_)
                    | Cause::Issuer
                    | Cause::Tls(_)
                    | Cause::NoTls
                    | Cause::NoHttp
                    | Cause::Proxy { .. }
            ),
            Self::NoSoap(_) => true,
            Self::Answer(_) | Self::NotKept(_) | Self::Paused => false,
        }
    }

    /// Whether the server took the question and said nothing, or nothing more: a connection that stands open and brings nothing.
    pub(super) fn hangs(&self) -> bool {
        matches!(self, Self::Path(Cause::Silent(_) | Cause::Stalled { .. }))
    }

    /// What a person is told of it.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Path(cause) => cause.to_string(),
            Self::NoSoap(why) | Self::NotKept(why) => why.clone(),
            Self::Answer(error) => error.to_string(),
            Self::Paused => "its bandwidth class is paused".to_owned(),
        }
    }

    /// Whether there was no answer at all where one was due: the server or a gateway on the way may have had too much to do with
    /// what was asked for, so that fewer documents at once may do. One that says that it is busy is waited for instead.
    pub(super) fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::Path(
                Cause::Silent(_) | Cause::Cut { at: None, .. } | Cause::Busy { status: 408 | 500 | 502 | 504, .. }
            )
        )
    }
}

impl From<WireError> for Trouble {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Write(error) => Self::NotKept(error.to_string()),
            other => Self::Answer(other),
        }
    }
}
