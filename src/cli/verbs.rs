//! The verbs that have verbs or much to say of their own.

pub mod catalog;

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
  waystation bandwidth set networks '10.0.0.0/8 each /24: 20 Mbit/s'
  waystation bandwidth set timezone Europe/Vienna

The first rule whose window covers the time holds, so that one without a window
stands last. Rates: 20 Mbit/s, 2.5 MB/s, 512 KiB/s, unlimited; for prefetch and
sync also paused. What the configuration file, the environment or a flag sets
cannot be changed here.")]
    Set {
        /// upstream, sync, prefetch, demand, clients, nodes, networks, timezone or give_way
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
        /// upstream, sync, prefetch, demand, clients, nodes, networks, timezone or give_way
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

/// `content ...`
#[derive(Debug, Subcommand)]
pub enum ContentVerb {
    /// List payloads
    #[command(after_help = "\
Examples:
  waystation content list
  waystation content list --filter windowsupdate --limit 1000
  waystation content list --class unproven --json")]
    List {
        /// Only those with this text in a name or digest
        #[arg(long, value_name = "TEXT")]
        filter: Option<String>,
        /// Only those of this class
        #[arg(long, value_parser = ["proven", "unproven"])]
        class: Option<String>,
        /// Only pinned ones
        #[arg(long)]
        pinned: bool,
        /// Rows to show at most; 0 for all
        #[arg(long, value_name = "ROWS", default_value_t = 100)]
        limit: usize,
    },
    /// Show one payload with all its names
    #[command(after_help = "\
Examples:
  waystation content show $SHA256
  waystation content show http://dl.example.org/tool.iso")]
    Show(Which),
    /// Keep a payload whatever happens
    #[command(after_help = "\
Examples:
  waystation content pin http://dl.example.org/tool.iso")]
    Pin(Which),
    /// Let a pinned payload be evicted again
    #[command(after_help = "\
Examples:
  waystation content unpin http://dl.example.org/tool.iso")]
    Unpin(Which),
    /// Remove a payload from the store, with all its names
    #[command(after_help = "\
Examples:
  waystation content remove http://dl.example.org/tool.iso

Whoever is being served keeps getting it; the next one that asks has it
fetched anew. All names of the payload go with it (`content show` lists them).
What `fetch --sha256` bound to them stays bound, and is told: `content unbind`
takes it back. Pinned payloads stay.")]
    Remove(Which),
    /// What failed verification: see it with the reason, or throw it out
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation content quarantine list
  waystation content quarantine empty"
    )]
    Quarantine(QuarantineVerb),
    /// Take back the digest that `fetch --sha256` bound to an address
    #[command(after_help = "\
Examples:
  waystation content unbind http://dl.example.org/tool.iso

From then on the origin's word counts there again: the next one that asks for
the address has it fetched anew. What was answered under the address stays in
the store, pinned or not, under its digest and its other names.")]
    Unbind {
        /// The address
        #[arg(value_name = "URL", value_hint = ValueHint::Url)]
        url: String,
    },
}

/// `content quarantine ...`
#[derive(Debug, Subcommand)]
pub enum QuarantineVerb {
    /// List what is in quarantine: since when, how large, what it was, and why it is there
    #[command(after_help = "\
Examples:
  waystation content quarantine list
  waystation content quarantine list --json

The files lie in the directory quarantine of the data directory under the
numbers shown, as evidence: nothing is served from there. They go by themselves
after 30 days, and earlier where they are more than 64 or take more than a
twentieth of store.max_size.")]
    List,
    /// Throw out everything in quarantine
    #[command(after_help = "\
Examples:
  waystation content quarantine empty")]
    Empty,
}

/// One payload.
#[derive(Debug, Args)]
pub struct Which {
    /// A digest in hex (BLAKE3, or at least 8 of its first digits, as lists show it; SHA-256; SHA-1), or an address that
    /// points to it
    #[arg(value_name = "DIGEST|URL")]
    pub name: String,
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

/// `tls ...`
#[derive(Debug, Subcommand)]
pub enum TlsVerb {
    /// Show the certificate that endpoints see, who issued it, and until when it is good
    #[command(after_help = "\
Examples:
  waystation tls show
  waystation tls show --json")]
    Show,
    /// Make a key and print a signing request for your own CA
    #[command(after_help = "\
Examples:
  waystation tls csr patches.site.example > node.csr
  waystation tls import node.pem

The key stays in the data directory; `tls import` of the signed certificate
finds it there. While it waits (`tls show` says so) another request of the kind
is made with --replace alone, which forgets it. Without names those of
[advertise] names are used.")]
    Csr {
        /// Names and addresses that endpoints use
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Make an RSA key, for a CA whose templates know nothing else
        #[arg(long)]
        rsa: bool,
        /// Forget the request that still waits: the answer to it can be imported no more
        #[arg(long)]
        replace: bool,
    },
    /// Put a certificate in place: PEM (with its chain and, if it is not from `tls csr`, its key) or PFX
    #[command(after_help = "\
Examples:
  waystation tls import node.pem
  waystation tls import node.pem --key node.key
  waystation tls import node.pfx --password-file pfx.pass

A running node is told, and takes it up without dropping a connection.")]
    Import {
        /// The certificate
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Its key, where that is in a file of its own
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        key: Option<PathBuf>,
        /// A file with the PFX's password in its first line
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        password_file: Option<PathBuf>,
    },
    /// Forget the imported certificate: the one from the site CA is served again
    #[command(after_help = "\
Examples:
  waystation tls forget

A certificate that the configuration names stays: take the keys out of [tls].")]
    Forget,
    /// The site CA, which issues the node's certificate where you have no CA of your own
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation tls ca show
  waystation tls ca export > site-ca.pem
  waystation tls ca create --for site.example"
    )]
    Ca(CaVerb),
}

/// `tls ca ...`
#[derive(Debug, Subcommand)]
pub enum CaVerb {
    /// Show the site CA: fingerprint, the domains it may sign for, until when it is good
    #[command(after_help = "\
Examples:
  waystation tls ca show")]
    Show,
    /// Make a new site CA for these domains, and a new certificate from it
    #[command(after_help = "\
Examples:
  waystation tls ca create --for site.example
  waystation tls ca create --for site.example --for lab.example --replace

Name your own domain: a warning tells where a single label may be a top-level
one. Where there is one already --replace is needed: endpoints that trust the old one
must be given the new one (`waystation tls ca export`). The old files are kept
in the directory tls of the data directory, with .old- and the time behind.")]
    Create {
        /// A domain that it may sign for, with all below it; beside them stand the networks that this machine is in
        #[arg(long = "for", value_name = "DOMAIN", required = true)]
        domains: Vec<String>,
        /// Put it in the place of the one that is there
        #[arg(long)]
        replace: bool,
    },
    /// Print the site CA's certificate as PEM, for group policy and trust stores
    #[command(after_help = "\
Examples:
  waystation tls ca export > site-ca.pem
  certutil -addstore -f Root site-ca.pem          (on a Windows machine; group policy does it for all)")]
    Export,
}

/// `sync ...`
#[derive(Debug, Subcommand)]
pub enum SyncVerb {
    /// Start a run now, and show how it goes until it has ended
    #[command(after_help = "\
Examples:
  waystation sync start
  waystation sync start --detach && waystation sync status

The first run lists everything that is wanted and fetches its documents, which
takes from minutes to an hour; the next ones fetch what has changed. Files that
the content policy wants are fetched after it (`waystation plan`). Ctrl-C stops the run: what it has committed
stays, and the next one goes on from there. An update that cannot be used is
refused with the reason, and the run goes on.")]
    Start {
        /// Start the run, print its job's number, and do not wait for it
        #[arg(long)]
        detach: bool,
    },
    /// Stop the run, or the comparison, that is under way; what it has committed stays
    #[command(after_help = "\
Examples:
  waystation sync stop

The history says who stopped it.")]
    Stop,
    /// Compare a catalog that came from a WSUS over plain HTTP with Microsoft's own, and refuse what differs
    #[command(after_help = "\
Examples:
  waystation sync crosscheck
  waystation sync crosscheck --detach && waystation sync status

Update metadata is not signed: who can change it between the WSUS and this node
can make endpoints run what he likes. Every revision that nobody vouches for is
held against Microsoft's over TLS. The same document: it is authenticated from
now on, and its digests prove payloads. Another one: it is refused with what
differs, with the bundles that contain it, and is not offered. What Microsoft
does not have (somebody published it on the WSUS) is told and left as it is.
Asks [sync] microsoft; everything that is listed there is asked for once, which
takes some minutes. Ctrl-C stops it: what it found stays, and the next one goes
on with what is left.")]
    Crosscheck {
        /// Start it, print its job's number, and do not wait for it
        #[arg(long)]
        detach: bool,
    },
    /// Ask the upstream for refused updates again
    #[command(after_help = "\
Examples:
  waystation sync retry
  waystation sync retry 3b6f8c2d-51e0-4a7b-9d42-6c1e7f2e90a5
  waystation sync retry --later

Without ids all that were not taken; an update that is held and was refused
afterwards (by a comparison) only by its id, since it is offered again then.
`waystation updates list --state refused` shows them with their reasons. What
cannot be used still is refused again.")]
    Retry {
        /// Ids of updates, as the list of what is refused shows them
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// Leave the asking to the next run, instead of starting one
        #[arg(long)]
        later: bool,
    },
    /// Try who is told of runs ([sync] webhook)
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation sync webhook test"
    )]
    Webhook(WebhookVerb),
    /// Show the upstream, the run under way with its expected end, the last run and the next one
    #[command(after_help = "\
Examples:
  waystation sync status
  waystation sync status --json | jq '.last | {outcome, reason}'")]
    Status,
    /// List the runs, newest first: how each ended, why, and what it did
    #[command(after_help = "\
Examples:
  waystation sync history
  waystation sync history --limit 5 --json
  waystation sync history --before 120

successful  everything was fetched and committed
failed      it could not go on; the reason stands below the table
stopped     somebody stopped it, or the node was told to stop: who stands below
cut off     the node ended under it
expired     updates that their publisher withdrew in this run
files       files of the updates that came
wanted      what the content policy wanted of all files when it had ended
refused     updates that were not taken (`waystation updates list --state
            refused`)
pruned      updates that only a former upstream had, and definition updates
            beyond those that are kept
errors      of the upstream, those that asking again got over among them
definitions a run of the lane of definition updates
crosscheck  a comparison with Microsoft's catalog
*           from an upstream that nothing authenticates (plain HTTP)

The last thousand runs are kept.")]
    History {
        /// Runs to show at most
        #[arg(long, value_name = "RUNS", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Only runs before the one with this number
        #[arg(long, value_name = "RUN")]
        before: Option<u64>,
    },
}

/// `sync webhook ...`
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum WebhookVerb {
    /// Tell it that this is a test, now and once, and show what it answers
    #[command(after_help = "\
Examples:
  waystation sync webhook test

The event is called `test`; it is signed as the others are. See docs/SYNC.md
for the body and for how the signature is checked.")]
    Test,
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
