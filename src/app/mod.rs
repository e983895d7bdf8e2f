//! The roof: configuration -> build -> run -> drain. The only place that knows every room.
//!
//! 1. [`load`] reads file, environment and flags ([`config`]); nothing is started, nothing is made.
//! 2. [`check`] holds that against the machine ([`machine`], [`preflight`]).
//! 3. [`serve`] starts the log ([`logs`]), raises what limits may be raised, and makes the two planes' runtimes;
//! 4. [`build`] opens the store, lays the run-time settings beneath the file, and puts the rooms together;
//! 5. [`banner`] says where the node is and how to point Windows at it;
//! 6. [`run`] waits for signals, tells systemd ([`notify`]), reloads ([`reload`]), and at last drains: not ready, accept no more, let
//!    answers finish, checkpoint the fills, close the store.
//!
//! Without a node the command line works on the data directory itself, by [`alone`] over [`open_offline`]; certificates are
//! kept in files that a running node watches, so that [`tls`] needs none.

mod above;
mod account;
pub mod alone;
pub(crate) mod bandwidth;
pub(crate) mod banner;
pub(crate) mod build;
pub(crate) mod config;
pub mod elsewhere;
pub(crate) mod error;
pub(crate) mod filters;
pub(crate) mod host;
pub(crate) mod logs;
pub(crate) mod machine;
pub(crate) mod nodes;
mod notify;
pub(crate) mod offline;
mod parent;
pub(crate) mod preflight;
pub(crate) mod reload;
pub(crate) mod run;
pub(crate) mod run_time;
pub(crate) mod settings;
pub mod tls;
pub(crate) mod upstream;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::app::config::keys::Typed;
use crate::app::config::kinds::Kind;
use crate::app::config::kinds::network::Address;
use crate::app::config::layers::Errors;
use crate::app::config::{layers, rooms, template};
pub use crate::app::error::{AppError, ConfigError, Problem};
pub use crate::app::logs::{LogFormat, Logs};
use crate::app::machine::Machine;
use crate::base::time::{Clock, SystemClock};
use crate::model::filter::Tree;
use crate::model::report::{Finding, Verdict};
use crate::model::settings::{Layer, Settings};
use crate::store::Store;

/// What the command line says of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// The file; else `waystation.toml` in the data directory, if it is there.
    pub config: Option<PathBuf>,
    /// The data directory: `store.path`.
    pub data: Option<PathBuf>,
    /// `section.key` and its value, in order. A list's items may come one by one.
    pub set: Vec<(String, String)>,
    /// `log.level`
    pub log: Option<String>,
    /// `log.format`
    pub log_format: Option<LogFormat>,
    /// A node elsewhere, which verbs ask instead of the one here.
    pub remote: Option<Remote>,
}

/// A node elsewhere.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Its control listener: scheme, host and port.
    pub url: String,
    /// The file with the token.
    pub token_file: Option<PathBuf>,
    /// Certificates of those who may have signed the node's, in the place of the system's.
    pub ca: Option<PathBuf>,
}

/// What the layers outside the node say together: read, checked, and not yet acted upon.
#[derive(Clone, Debug)]
pub struct Loaded {
    flags: Flags,
    layered: layers::Layered,
}

/// Reads file, environment and flags; the run-time layers need the store and come with [`serve`].
pub fn load(flags: &Flags) -> Result<Loaded, ConfigError> {
    load_with(flags, std::env::vars_os())
}

/// As [`load`], with another environment.
pub fn load_with(
    flags: &Flags,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, ConfigError> {
    let layered = layers::read(flags, variables, Errors::Refused)?;
    let loaded = Loaded { flags: flags.clone(), layered };
    rooms::consistent(&loaded.typed()?).map_err(|error| error.placed(loaded.settings()))?;
    Ok(loaded)
}

/// As [`load`], for what only needs to find a running node: errors of the file are no obstacle to that, and are found in
/// [`Loaded::broken`]. What acts on the settings themselves refuses such a value later.
pub fn load_leniently(flags: &Flags) -> Result<Loaded, ConfigError> {
    load_leniently_with(flags, std::env::vars_os())
}

/// As [`load_leniently`], with another environment.
pub fn load_leniently_with(
    flags: &Flags,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, ConfigError> {
    let layered = layers::read(flags, variables, Errors::Kept)?;
    let mut loaded = Loaded { flags: flags.clone(), layered };
    if loaded.layered.broken.is_none() {
        let wrong = loaded.typed().and_then(|typed| rooms::consistent(&typed)).err();
        loaded.layered.broken = wrong.map(|wrong| wrong.placed(loaded.settings()));
    }
    Ok(loaded)
}

impl Loaded {
    /// The node elsewhere that is meant, if one is.
    pub fn remote(&self) -> Option<&Remote> {
        self.flags.remote.as_ref()
    }

    /// The data directory, absolute. It may not exist yet.
    pub fn data_dir(&self) -> &Path {
        &self.layered.data
    }

    /// The command line's way to the node that runs on this data directory.
    pub fn control_socket(&self) -> PathBuf {
        self.layered.data.join("control.sock")
    }

    /// Where a node of this configuration answers questions over TCP, if it does.
    pub fn control_address(&self) -> Option<SocketAddr> {
        let raw = self.layered.settings.get("listen.control")?.value();
        let address = Address::read(raw).ok()?.0?;
        let here = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Some(SocketAddr::new(here, address.port()))
    }

    /// Whether a process works on the data directory, as far as this machine tells.
    pub fn is_in_use(&self) -> bool {
        machine::is_locked(&self.layered.data.join("lock"))
    }

    /// The file that was read, if there was one.
    pub fn file(&self) -> Option<&Path> {
        self.layered.file.as_deref()
    }

    /// What is in force, and where each value comes from.
    pub fn settings(&self) -> &Settings {
        &self.layered.settings
    }

    /// What is wrong with the configuration, if it was read with [`load_leniently`] and has errors.
    pub fn broken(&self) -> Option<&ConfigError> {
        self.layered.broken.as_ref()
    }

    /// The settings in their kinds. Never out of a configuration with errors: what it lacks would be taken for a default.
    pub(crate) fn typed(&self) -> Result<Typed, ConfigError> {
        match &self.layered.broken {
            Some(broken) => Err(broken.clone()),
            None => Typed::read(&self.layered.settings),
        }
    }

    /// Lays documents of a run-time layer beneath the file.
    pub(crate) fn record(&mut self, layer: Layer, documents: Vec<(String, Vec<u8>)>) -> Vec<Problem> {
        layers::record(&mut self.layered.settings, layer, documents)
    }
}

/// Runs the node; returns when it has drained. [`AppError::exit_code`] is for the process.
pub fn serve(loaded: Loaded) -> Result<(), AppError> {
    run::serve(loaded)
}

/// What would not work or will hurt, without starting anything. Ports are bound for a moment, unless a node `runs` on the
/// data directory; `catalog` has the categories that it knows, where it told them.
pub fn check(loaded: &Loaded, runs: bool, catalog: Option<&Tree>) -> Vec<Finding> {
    let machine = Machine::look(loaded.data_dir(), SystemClock.now());
    let bad = |subject: String, check: &str, seen: String| Finding {
        subject,
        check: check.into(),
        verdict: Verdict::Bad,
        seen,
        advice: "correct it, then check again".into(),
    };
    match loaded.typed() {
        Ok(typed) => {
            let mut findings = preflight::findings(&typed, loaded.settings(), &machine, runs, catalog);
            let (proxy, sync_proxy) = (rooms::proxy(&typed), rooms::sync_proxy(&typed));
            // Its own secret alone: what it shares with all else is told there.
            let secret = rooms::hook_secret(&typed);
            let read = [("proxy", proxy.err()), ("proxy", sync_proxy.err()), ("webhook", secret.err())];
            let problems = read.into_iter().filter_map(|(check, error)| error.map(|error| (check, error)));
            let problems = problems.flat_map(|(check, error)| {
                error.placed(loaded.settings()).problems.into_iter().map(move |problem| (check, problem))
            });
            for (check, problem) in problems {
                let finding = bad(problem.place, check, problem.what);
                // Where the catalog's proxy is that of all else it is one trouble.
                if !findings.contains(&finding) {
                    findings.push(finding);
                }
            }
            findings
        }
        Err(error) => vec![bad("settings".into(), "settings", error.to_string())],
    }
}

/// The commented template of the file.
pub fn template() -> String {
    template::template()
}

/// The reference of all settings: `docs/CONFIGURATION.md`.
pub fn reference() -> String {
    template::reference()
}

/// Opens the store where no node runs: under its lock, as its owner. Must be called before any other thread is started.
pub fn open_offline(loaded: &Loaded) -> Result<Store, AppError> {
    offline::open(loaded)
}
