//! Roof: the verbs. What people and scripts type, turned into questions to the running node, or into work on the data
//! directory itself where no node runs.
//!
//! A verb goes this way:
//!
//! 1. [`args`] makes a value of the command line, or teaches what it could have been;
//! 2. the configuration says where the data directory is;
//! 3. [`node`] decides who answers: the node on `control.sock`, or the same handlers over the directory;
//! 4. the verb asks, follows a job if it started one ([`follow`]), and hands values of `admin::view` to [`print`];
//! 5. what went wrong is one line what, one line what to do next, and an exit code ([`fail`]).

mod access;
pub mod approvals;
pub mod args;
pub mod bandwidth;
mod compliance;
pub mod config;
pub mod content;
mod csv;
mod decide;
pub mod downstream;
mod endpoints;
pub mod fail;
pub mod fetch;
pub mod filters;
pub mod follow;
pub mod global;
pub mod groups;
pub mod jobs;
mod listener;
pub mod node;
pub mod nodes;
pub mod plan;
pub mod print;
pub mod question;
mod refused;
mod remote;
mod rules;
mod shown;
pub mod size;
pub mod status;
pub mod store;
mod subtree;
pub mod sync;
pub mod tls;
pub mod updates;
mod upstream;
pub mod verbs;

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::app::{self, Flags, Loaded, Remote};
use crate::cli::args::{Cli, Verb};
use crate::cli::fail::{FAILED, Fail, USAGE};
use crate::cli::global::Global;
use crate::cli::node::Node;
use crate::cli::print::Out;
use crate::cli::verbs::StoreVerb;

/// Runs the command line `args`, the program's name first, and returns the process's exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and are no failure. A closed terminal cannot be told anything.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let out = Out::new(cli.global.json);
    match dispatch(cli, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => {
            // Zero: who read it went away, and has heard enough. Empty: it was told already.
            if fail.code != 0 && !fail.what.is_empty() {
                out.fail(&fail);
            }
            ExitCode::from(fail.code)
        }
    }
}

fn dispatch(cli: Cli, out: Out) -> Result<(), Fail> {
    let flags = flags(&cli.global);
    if flags.remote.is_some() && is_of_here(&cli.verb) {
        let next = "leave --node out, and run it on the node's own machine";
        return Err(Fail::usage("this is done on the machine itself, and not over --node", next));
    }
    match cli.verb {
        Verb::Completions { shell } => completions(shell, out),
        Verb::Man { to } => man(to.as_deref(), out),
        Verb::Config(verb) => config::run(verb, &flags, out),
        Verb::CheckConfig => config::check(&flags, out),
        Verb::Serve => Ok(app::serve(load(&flags)?)?),
        // Nobody who runs it needs a node, and so nobody needs to hear of a configuration.
        Verb::Version => status::version(app::load_leniently(&flags).ok().as_ref(), out),
        Verb::Health => status::health(&reach(&flags, out)?, out),
        Verb::Status { watch } => status::run(&reach(&flags, out)?, watch, out),
        Verb::Fetch(fetch) => fetch::run(&reach(&flags, out)?, &fetch, out),
        Verb::Explain { url } => question::explain(&reach(&flags, out)?, &url, out),
        Verb::Doctor { urls } => question::doctor(&reach(&flags, out)?, &urls, out),
        Verb::Content(verb) => content::run(&reach(&flags, out)?, verb, out),
        Verb::Import(import) => store::import(&reach(&flags, out)?, &import, out),
        Verb::Backup { file } => store::backup(&reach(&flags, out)?, &file, out),
        Verb::Restore { file } => store::restore(&load(&flags)?, &file, out),
        Verb::Store(rebuild @ StoreVerb::Rebuild { .. }) => store::run(&load(&flags)?, rebuild, out),
        Verb::Store(verb) => store::run(&reach(&flags, out)?, verb, out),
        Verb::Tls(verb) => tls::run(&load(&flags)?, verb, out),
        Verb::Bandwidth(verb) => bandwidth::run(&reach(&flags, out)?, &verb, out),
        Verb::Sync(verb) => sync::run(&reach(&flags, out)?, &verb, out),
        Verb::Endpoints(verb) => endpoints::run(&reach(&flags, out)?, verb, out),
        Verb::Updates(verb) => updates::run(&reach(&flags, out)?, verb, out),
        Verb::Downstream(verb) => downstream::run(&reach(&flags, out)?, verb, out),
        Verb::Nodes(verb) => nodes::run(&reach(&flags, out)?, verb, out),
        Verb::Leave => subtree::leave(&reach(&flags, out)?, out),
        Verb::Join { token_file } => nodes::join(&reach(&flags, out)?, &token_file, out),
        Verb::Groups(verb) => groups::run(&reach(&flags, out)?, verb, out),
        Verb::Approvals(verb) => approvals::run(&reach(&flags, out)?, verb, out),
        Verb::Rules(verb) => rules::run(&reach(&flags, out)?, verb, out),
        Verb::Plan(plan) => plan::run(&reach(&flags, out)?, &plan, out),
        Verb::Prefetch(verb) => plan::prefetch(&reach(&flags, out)?, &verb, out),
        Verb::Upstream(verb) => upstream::run(&reach(&flags, out)?, verb, out),
        Verb::Filters(verb) => filters::run(&reach(&flags, out)?, verb, out),
        Verb::Compliance(verb) => compliance::run(&reach(&flags, out)?, verb, out),
        Verb::Accounts(verb) => access::accounts(&reach(&flags, out)?, verb, out),
        Verb::Tokens(verb) => access::tokens(&reach(&flags, out)?, verb, out),
        Verb::Audit(verb) => access::audit(&reach(&flags, out)?, &verb, out),
        Verb::Jobs(verb) => jobs::run(&reach(&flags, out)?, &verb, out),
    }
}

/// Whether a verb works on files of this machine, or starts something on it.
fn is_of_here(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::Serve
            | Verb::CheckConfig
            | Verb::Config(_)
            | Verb::Restore { .. }
            | Verb::Store(StoreVerb::Rebuild { .. })
            | Verb::Tls(_)
            | Verb::Import(_)
            | Verb::Backup { .. }
    )
}

fn flags(global: &Global) -> Flags {
    Flags {
        config: global.config.clone(),
        data: global.data.clone(),
        set: global.set.clone(),
        log: global.log.clone(),
        log_format: global.log_format,
        remote: global.node.clone().map(|url| Remote {
            url,
            token_file: global.node_token.clone(),
            ca: global.node_ca.clone(),
        }),
    }
}

fn completions(shell: clap_complete::Shell, out: Out) -> Result<(), Fail> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "waystation", &mut script);
    out.raw(String::from_utf8_lossy(&script))
}

/// The same words as `--help`: what a verb does is written once.
fn man(to: Option<&Path>, out: Out) -> Result<(), Fail> {
    let mut command = Cli::command().name("waystation");
    let Some(folder) = to else {
        let mut page = Vec::new();
        // Writing to memory does not fail.
        let _ = clap_mangen::Man::new(command).render(&mut page);
        return out.raw(String::from_utf8_lossy(&page));
    };
    command.build();
    clap_mangen::generate_to(command, folder).map_err(|error| {
        Fail::new(
            format!("the pages cannot be written to {}: {error}", folder.display()),
            "name a folder that is there and that you may write to",
        )
    })
}

/// Runs `verb` against `node`, and ends the work on a data directory properly whatever comes of it.
fn with<V>(node: Node, verb: impl AsyncFnOnce(&Node) -> Result<V, Fail>) -> Result<V, Fail> {
    block_on(async {
        let done = verb(&node).await;
        let closed = node.close().await;
        let done = done?;
        closed.map(|()| done)
    })
}

/// Reads the configuration, for what is started from it or acts on the data directory by itself.
fn load(flags: &Flags) -> Result<Loaded, Fail> {
    may_enter(flags)?;
    Ok(app::load(flags)?)
}

/// Reads the configuration to find the running node by it. One that has errors since the node was started must not keep
/// an operator from looking at it; where no node runs, what is done on the directory itself refuses it.
fn reach(flags: &Flags, out: Out) -> Result<Loaded, Fail> {
    may_enter(flags)?;
    let loaded = app::load_leniently(flags)?;
    if let Some(first) = loaded.broken().and_then(|broken| broken.problems.first()) {
        let more = loaded.broken().map_or(0, |broken| broken.problems.len() - 1);
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        let data = loaded.data_dir().display();
        out.warn(&format!(
            "no node would start from this configuration: {}: {}{more}; asking the node that runs on {data}, if \
             one does",
            first.place, first.what
        ));
    }
    Ok(loaded)
}

/// A directory that this user may not enter, or that is none, is told as that, and not as a wrong file in it.
fn may_enter(flags: &Flags) -> Result<(), Fail> {
    let Some(data) = &flags.data else { return Ok(()) };
    match std::fs::read_dir(data).map_err(|error| error.kind()) {
        // It does not mend itself, so that a service is not to be started again and again.
        Err(io::ErrorKind::PermissionDenied) => Err(Fail::config(
            format!("{} may not be entered by this user", data.display()),
            "run the command as root (sudo) or as the user that the node runs as",
        )),
        Err(io::ErrorKind::NotADirectory) => {
            Err(Fail::config(format!("{} is no directory", data.display()), "name the data directory with --data"))
        }
        _ => Ok(()),
    }
}

/// The runtime of one verb. The node's own runtimes are made by `serve`.
fn block_on<V>(verb: impl Future<Output = Result<V, Fail>>) -> Result<V, Fail> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error: io::Error| Fail::new(format!("no threads can be started: {error}"), ""))?;
    runtime.block_on(verb)
}

/// The node that answers questions about origins; only a running one can.
fn running(loaded: &Loaded) -> Result<Node, Fail> {
    Node::running(loaded)
}

/// A verb that found something wrong and has printed it already.
fn found_wrong(what: &str) -> Fail {
    Fail { what: what.to_owned(), next: String::new(), code: FAILED }
}
