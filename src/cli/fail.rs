//! How a verb fails: what is wrong, what to do next, and the exit code.

use crate::admin::view;
use crate::app::{AppError, ConfigError};

/// Why a verb did not do what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fail {
    /// What is wrong, in one line; empty where it was told already.
    pub what: String,
    /// What to do next; empty where `what` says it all.
    pub next: String,
    /// The exit code, see below.
    pub code: u8,
}

/// It failed.
pub const FAILED: u8 = 1;
/// The command line cannot be understood.
pub const USAGE: u8 = 2;
/// There is no store where one was looked for (`EX_NOINPUT`).
pub const NO_STORE: u8 = 66;
/// No node is running, and the command needs one (`EX_UNAVAILABLE`).
pub const NO_NODE: u8 = 69;
/// The configuration is wrong, or the data directory is another user's (`EX_CONFIG`, which systemd is told not to start again
/// after).
pub const CONFIG: u8 = 78;

impl Fail {
    /// It failed.
    pub fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what: what.into(), next: next.into(), code: FAILED }
    }

    /// The command line asks for what cannot be.
    pub fn usage(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what: what.into(), next: next.into(), code: USAGE }
    }

    /// No node is running.
    pub fn no_node(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what: what.into(), next: next.into(), code: NO_NODE }
    }

    /// No node is running, and there is no store to work on without one.
    pub fn no_store(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what: what.into(), next: next.into(), code: NO_STORE }
    }

    /// Nobody reads what is printed any more (`| head`): the verb ends there, and there is nothing to complain of.
    pub const fn unheard() -> Self {
        Self { what: String::new(), next: String::new(), code: 0 }
    }

    /// The configuration is wrong, or the data directory is another user's or none.
    pub fn config(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what: what.into(), next: next.into(), code: CONFIG }
    }
}

impl From<view::Problem> for Fail {
    fn from(problem: view::Problem) -> Self {
        Self::new(problem.title, problem.detail)
    }
}

impl From<ConfigError> for Fail {
    fn from(error: ConfigError) -> Self {
        Self::config(error.to_string(), "correct it, then look with `waystation check-config`")
    }
}

impl From<AppError> for Fail {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Config(error) => error.into(),
            AppError::NoStore { path } => Self::no_store(
                format!("there is no store in {}", path.display()),
                "name the right data directory with --data, or start a node there once with `waystation serve`",
            ),
            told @ AppError::Told(_) => Self { what: String::new(), next: String::new(), code: told.exit_code() },
            error => {
                // What to do stands in the text of each of these already.
                Self { what: error.to_string(), next: String::new(), code: error.exit_code() }
            }
        }
    }
}
