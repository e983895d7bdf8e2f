//! What the chain asks of the node that it is in: what it says of itself, its endpoints, its settings, and what it can be told to do.

use std::future::Future;
use std::pin::Pin;

use crate::model::chain::below::{Actual, Heartbeat, Told};
use crate::model::deployment::Endpoint;
use crate::model::settings::Raw;

/// Something that takes its time.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Something that a node may be told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Synchronise now.
    SyncStart,
    /// Stop the run under way.
    SyncStop,
    /// Bring the files of wanted updates now.
    Prefetch,
    /// Read all that is held, and compare.
    Verify,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::SyncStart, Self::SyncStop, Self::Prefetch, Self::Verify];

    /// Its word in a record.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::SyncStart => "sync-start",
            Self::SyncStop => "sync-stop",
            Self::Prefetch => "prefetch",
            Self::Verify => "verify",
        }
    }

    /// The one with this word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.word() == word)
    }
}

/// A node, as the chain sees it.
pub trait Host: Send + Sync + 'static {
    /// What it is called.
    fn name(&self) -> String;

    /// What it says of itself; the chain adds what it knows.
    fn heartbeat(&self) -> Doing<'_, Heartbeat>;

    /// Its endpoints, those behind `after`, in the order of their ids; none at the end. An error is in words.
    fn endpoints(&self, after: Option<Endpoint>) -> Doing<'_, Result<Vec<(Endpoint, Told)>, String>>;

    /// Its settings: those that are not as shipped, and those that are locked.
    fn settings(&self) -> Doing<'_, Vec<Actual>>;

    /// The names of all settings that it has, secrets too.
    fn keys(&self) -> Vec<String>;

    /// Whether a setting with this name is a secret.
    fn is_secret(&self, key: &str) -> bool;

    /// The value of a setting in the form that it has there, where it can be one; else why not, in words.
    fn read(&self, key: &str, value: Raw) -> Result<Raw, String>;

    /// Sets it, or lets what stands beneath hold again. Says what came of it, or why not.
    fn set(&self, key: String, value: Option<Raw>, by: String) -> Doing<'_, Result<String, String>>;

    /// Does something. Says what came of it, or why not.
    fn order(&self, verb: Verb, by: String) -> Doing<'_, Result<String, String>>;
}
