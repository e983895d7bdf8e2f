//! The verbs of the chain: `nodes ...`.

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};

/// `nodes ...`
#[derive(Debug, Subcommand)]
pub enum NodesVerb {
    /// Show this node in its chain, and the nodes below it with their fingerprints
    #[command(after_help = "\
Examples:
  waystation nodes list
  waystation nodes list --json | jq -r '.rows[] | [.name, .fingerprint] | @tsv'")]
    List,
    /// Make a token with which a node can join below this one
    #[command(after_help = "\
Examples:
  waystation nodes invite Berlin > berlin.token
  waystation nodes invite Berlin --ttl-hours 2 --from 10.1.0.0/16
  waystation nodes invite Lab --approve

The first invitation makes this node an authority, unless it follows one: it
signs what nodes below take from it. The token is printed alone, what to do
next beside it. It works once, for one name, until it ends.")]
    Invite {
        /// What the node is to be called
        #[arg(value_name = "NAME")]
        name: String,
        /// How long the token is good
        #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=720))]
        ttl_hours: u64,
        /// The network that the node comes from
        #[arg(long, value_name = "CIDR")]
        from: Option<String>,
        /// Nobody has to compare its fingerprint
        #[arg(long)]
        approve: bool,
    },
    /// Let a node in that waits: compare its fingerprint first
    #[command(after_help = "\
Examples:
  waystation nodes list
  waystation nodes approve Berlin")]
    Approve {
        /// Name or id
        #[arg(value_name = "NODE")]
        name: String,
    },
    /// Turn a node away, at once; it can be invited again
    #[command(after_help = "\
Examples:
  waystation nodes revoke Berlin")]
    Revoke {
        /// Name or id
        #[arg(value_name = "NODE")]
        name: String,
    },
    /// The root key of the chain, which belongs offline
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation nodes rootkey export /media/usb/root.key"
    )]
    Rootkey(RootkeyVerb),
}

/// `nodes rootkey ...`
#[derive(Debug, Subcommand)]
pub enum RootkeyVerb {
    /// Write the root key to a new file, and forget it on this node
    #[command(after_help = "\
Examples:
  waystation nodes rootkey export /media/usb/root.key

Keep the file offline. Who has it can sign for the whole chain; without it a
restored authority cannot begin a new epoch.")]
    Export {
        /// A file that is not there yet
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}
