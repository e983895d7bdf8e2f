//! The verbs of what is held: `content ...`.

use clap::{Args, Subcommand, ValueHint};

/// `content ...`
#[derive(Debug, Subcommand)]
pub enum ContentVerb {
    /// List payloads
    #[command(after_help = "\
Examples:
  waystation content list
  waystation content list --filter windowsupdate --limit 1000
  waystation content list --class unproven --json

NAME is an address that clients ask for, else what the catalog calls the file.
USED is when a client last asked for it, to the minute; - where none has since
it came: what is fetched ahead is not used by that. --filter looks at the
addresses, the catalog's name of the file and the digests of each payload.")]
    List {
        /// Only those with this text in an address, in the catalog's name of the file, or in a digest
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
