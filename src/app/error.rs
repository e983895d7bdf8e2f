//! What can go wrong between the command line and a running node, and with which code the process then ends.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::app::config::kinds::shown;
use crate::model::settings::{Layer, Settings};
use crate::{net, store, upstream};

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `waystation.toml:12`, a variable, a flag, a key.
    pub place: String,
    /// What is wrong there and what would be right.
    pub what: String,
}

/// Everything that is wrong with the configuration, so that one look mends all of it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ConfigError {
    /// Never empty in an error that is returned.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// The same, each problem of a key at the place where the key was set.
    #[must_use]
    pub(crate) fn placed(mut self, settings: &Settings) -> Self {
        for problem in &mut self.problems {
            let Some(setting) = settings.get(&problem.place) else { continue };
            let origin = setting.origin();
            if origin.layer != Layer::Default {
                problem.what = format!("{} is {}: {}", problem.place, shown(setting.value()), problem.what);
                problem.place = origin.to_string();
            }
        }
        self
    }

    /// One problem alone.
    pub fn one(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { problems: vec![Problem { place: place.into(), what: what.into() }] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}: {}", problem.place, problem.what)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Why the node did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No data directory where a command expects one.
    #[error("there is no store in {}: start a node there once, or name another directory with --data", path.display())]
    NoStore {
        /// The data directory.
        path: PathBuf,
    },
    /// What should be put in the place of the index is no backup of this store.
    #[error("{what}")]
    Backup {
        /// Which file, what is wrong with it, and what would be right, in the store's words.
        what: String,
    },
    /// The data directory cannot be made or used.
    #[error("the data directory {} cannot be used: {why}", path.display())]
    Data {
        /// The data directory.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// The data directory belongs to somebody else.
    #[error("the data directory {} is not ours: {why}", path.display())]
    Owner {
        /// The data directory.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// The store could not be opened or closed.
    #[error("store: {0}")]
    Store(#[from] store::Error),
    /// Sockets and certificates.
    #[error("{0}")]
    Net(#[from] net::Error),
    /// The client for origins could not be made.
    #[error("upstream: {0}")]
    Upstream(#[from] upstream::Error),
    /// Threads, signals, the log, the last commit.
    #[error("the machine fails the node at {what}: {source}")]
    System {
        /// Which step.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// What ended a node whose log has told it already, in the form that whoever reads that log can take apart.
    #[error("{0}")]
    Told(Box<AppError>),
    /// A second signal came while draining.
    #[error("stopped at once by a second signal; downloads go on from their last checkpoint")]
    Interrupted,
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The one who configured or called.
    Operator,
    /// The machine: disk, ports, threads.
    Machine,
    /// Nobody's: it was asked for.
    Nobody,
}

impl AppError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Told(error) => error.fault(),
            Self::Config(_) | Self::NoStore { .. } | Self::Backup { .. } | Self::Owner { .. } | Self::Upstream(_) => {
                Fault::Operator
            }
            Self::Store(error) if error.fault() == store::Fault::Operator => Fault::Operator,
            Self::Data { .. } | Self::Store(_) | Self::Net(_) | Self::System { .. } => Fault::Machine,
            Self::Interrupted => Fault::Nobody,
        }
    }

    /// Whether the same start may go well a moment later; a wrong configuration never does.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Told(error) => error.is_retryable(),
            Self::Store(error) => error.is_retryable(),
            other => other.fault() == Fault::Machine,
        }
    }

    /// The code that the process ends with, by the custom of sysexits.h: systemd does not start again after 78.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Told(error) => error.exit_code(),
            Self::Config(_)
            | Self::Owner { .. }
            | Self::Upstream(_)
            | Self::Store(store::Error::Owner { .. })
            | Self::Net(
                net::Error::Certificate(_)
                | net::Error::Pending { .. }
                | net::Error::NameOutside { .. }
                | net::Error::BadName { .. }
                | net::Error::Pfx(_),
            ) => 78,
            Self::NoStore { .. } | Self::Backup { .. } => 66,
            Self::Store(store::Error::Locked { .. }) => 75,
            Self::Data { .. } | Self::Store(_) => 74,
            Self::Net(_) => 69,
            Self::System { .. } => 71,
            Self::Interrupted => 130,
        }
    }
}
