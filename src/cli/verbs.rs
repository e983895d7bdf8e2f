//! The verbs that have verbs or much to say of their own.

pub mod access;
pub mod approvals;
pub mod catalog;
pub mod compliance;
pub mod content;
pub mod downstream;
pub mod endpoints;
pub mod nodes;
pub mod rules;
pub mod sync;
pub mod tls;
pub mod upstream;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use crate::base::digest::Sha256;
use crate::cli::size;

/// `config ...`
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Print a commented configuration file with every key at its default
    #[command(after_help = "\
Examples:
  waystation config template > /var/lib/waystation/waystation.toml")]
    Template,
    /// Print the reference of all keys as Markdown
    #[command(after_help = "\
Examples:
  waystation config reference | less")]
    Reference,
    /// Show every setting, its value, where that comes from, and what waits for a restart
    #[command(after_help = "\
Examples:
  waystation config show
  waystation config show --filter store.
  waystation config show --json

Of a running node the values in force are shown; below each stands, behind an
arrow, another one that the file, the environment or its flags give by now, and
whether a reload or only a restart takes it.")]
    Show {
        /// Only keys with this text in them
        #[arg(long, value_name = "TEXT")]
        filter: Option<String>,
        /// Only what is not at its default
        #[arg(long)]
        changed: bool,
    },
}

/// `bandwidth ...`
#[derive(Debug, Subcommand)]
pub enum BandwidthVerb {
    /// Show which rule holds for each class now, until when, and what comes then
    #[command(after_help = "\
Examples:
  waystation bandwidth show
  waystation bandwidth show --json | jq '.classes[] | {class, bytes_per_s}'")]
    Show,
    /// Set the rules of a class; they hold at once and after a restart
    #[command(after_help = "\
Examples:
  waystation bandwidth set upstream '20 Mbit/s'
  waystation bandwidth set prefetch '08:00-18:00 Mon-Fri: paused' '22:00-06:00: unlimited' '50 Mbit/s'
  waystation bandwidth set definitions '10 Mbit/s'
  waystation bandwidth set networks '10.0.0.0/8 each /24: 20 Mbit/s'
  waystation bandwidth set timezone Europe/Vienna

The first rule whose window covers the time holds, so that one without a window
stands last. Rates: 20 Mbit/s, 2.5 MB/s, 512 KiB/s, unlimited; for prefetch,
sync and definitions also paused. What the configuration file, the environment
or a flag sets cannot be changed here.")]
    Set {
        /// upstream, sync, prefetch, definitions, demand, clients, nodes, networks, timezone or give_way
        #[arg(value_name = "KEY")]
        key: String,
        /// The rules, in the order in which they are looked at
        #[arg(value_name = "RULE", required = true)]
        rules: Vec<String>,
    },
    /// Take back what was set; the configuration or the default holds again
    #[command(after_help = "\
Examples:
  waystation bandwidth clear prefetch")]
    Clear {
        /// upstream, sync, prefetch, definitions, demand, clients, nodes, networks, timezone or give_way
        #[arg(value_name = "KEY")]
        key: String,
    },
}

/// `fetch ...`
#[derive(Debug, Args)]
pub struct Fetch {
    /// What to fetch
    #[arg(value_name = "URL", value_hint = ValueHint::Url, required_unless_present = "from")]
    pub urls: Vec<String>,
    /// The SHA-256 that the one URL must turn out to have; once that is held it judges the URL from then on
    #[arg(long, value_name = "HEX", conflicts_with = "from")]
    pub sha256: Option<Sha256>,
    /// Read URLs from a file, one a line; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub from: Option<PathBuf>,
    /// Pin what was fetched, so that it is never evicted
    #[arg(long)]
    pub pin: bool,
    /// Ask the origins whether what is held is still current, fresh or not, and fill what has changed
    #[arg(long, conflicts_with = "sha256")]
    pub refresh: bool,
    /// Start the job, print its number, and do not wait for it
    #[arg(long)]
    pub detach: bool,
}

/// `import ...`
#[derive(Debug, Args)]
pub struct Import {
    /// Files and directories
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// Take the files themselves: they are gone from where they were
    #[arg(long = "move")]
    pub take: bool,
    /// The SHA-256 that the one file must have, else nothing is kept
    #[arg(long, value_name = "HEX")]
    pub sha256: Option<Sha256>,
    /// The address that clients ask for the one file; needs a running node
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,
}

/// `store ...`
#[derive(Debug, Subcommand)]
pub enum StoreVerb {
    /// Read payloads against their proofs; what is bad goes to quarantine or is mended
    #[command(after_help = "\
Examples:
  waystation store verify
  waystation store verify --repair --rate 50MiB
  waystation store verify http://dl.example.org/tool.iso

With --repair only the 64 KiB groups that are bad are fetched again, where a
source is known; it needs a running node. What went to quarantine is seen with
`waystation content quarantine list`.")]
    Verify {
        /// Only this payload [default: all]
        #[arg(value_name = "DIGEST|URL")]
        name: Option<String>,
        /// Mend what is bad
        #[arg(long)]
        repair: bool,
        /// Bytes a second to read at most, such as 50MiB [default: no limit]
        #[arg(long, value_name = "SIZE", value_parser = size::parse)]
        rate: Option<u64>,
        /// Start the job, print its number, and do not wait for it
        #[arg(long)]
        detach: bool,
    },
    /// Make a new index out of the proofs beside the payloads; no node may run
    #[command(after_help = "\
Examples:
  waystation store rebuild

For an index that is lost or damaged and has no backup: where it opens, --force
is needed. Reads no payload.
Names that were learnt after a payload was published, pins, settings and the
account are gone with the old index, which is kept beside the new one.")]
    Rebuild {
        /// Make a new one although the index opens
        #[arg(long)]
        force: bool,
    },
}

/// `jobs ...`
#[derive(Debug, Subcommand)]
pub enum JobsVerb {
    /// List the jobs that run, and the last hundred that ran
    #[command(after_help = "\
Examples:
  waystation jobs list")]
    List,
    /// Show one job with all its lines
    #[command(after_help = "\
Examples:
  waystation jobs show 3
  waystation jobs show 3 --follow")]
    Show {
        /// Its number
        id: u64,
        /// Stay and show the progress until it has ended
        #[arg(long)]
        follow: bool,
    },
    /// Stop a job; what it has done stays done
    #[command(after_help = "\
Examples:
  waystation jobs stop 3")]
    Stop {
        /// Its number
        id: u64,
    },
}
