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
    /// Show one node: how it does, its settings, what is wished of it, its endpoints in numbers
    #[command(after_help = "\
Examples:
  waystation nodes show Berlin
  waystation nodes show Berlin --json | jq .heartbeat.alarms")]
    Show {
        /// Name or id
        #[arg(value_name = "NODE")]
        name: String,
    },
    /// Forget a node with all that it told; refused while something names it
    #[command(after_help = "\
Examples:
  waystation nodes remove Berlin

A node that goes on reporting is turned away. Its invitation is of no use any
more.")]
    Remove {
        /// Name or id
        #[arg(value_name = "NODE")]
        name: String,
    },
    /// Show a node's settings, or wish other ones of it
    #[command(after_help = "\
Examples:
  waystation nodes config Berlin
  waystation nodes config Berlin 'sync.schedule=daily 03:00' 'bandwidth.upstream=20 Mbit/s'
  waystation nodes config Berlin proxy.password=hunter2
  waystation nodes config Berlin --unset sync.schedule

At the top of the chain alone. What a file or the environment fixes on the node
stays, and is shown as locked; the node says what came of each wish. A secret
is sealed to the node; where the node reports to another one its fingerprint,
as `waystation nodes list` shows it on the node itself, is needed once.")]
    Config {
        /// Name or id
        #[arg(value_name = "NODE")]
        name: String,
        /// section.key=value
        #[arg(value_name = "KEY=VALUE")]
        settings: Vec<String>,
        /// Take a wish back: what stands beneath holds again
        #[arg(long, value_name = "KEY")]
        unset: Vec<String>,
        /// The node's fingerprint, as it stands there
        #[arg(long, value_name = "HEX")]
        fingerprint: Option<String>,
    },
    /// Have a node synchronise now, or stop
    #[command(after_help = "\
Examples:
  waystation nodes sync Berlin start
  waystation nodes sync Berlin stop")]
    Sync {
        /// Name or id
        #[arg(value_name = "NODE")]
        name: String,
        /// start or stop
        #[arg(value_name = "WHAT", value_parser = ["start", "stop"])]
        what: String,
    },
    /// Have a node bring the files of wanted updates now, or verify what it holds
    #[command(after_help = "\
Examples:
  waystation nodes content Berlin prefetch
  waystation nodes content Berlin verify")]
    Content {
        /// Name or id
        #[arg(value_name = "NODE")]
        name: String,
        /// prefetch or verify
        #[arg(value_name = "WHAT", value_parser = ["prefetch", "verify"])]
        what: String,
    },
    /// Have a node join another parent of the chain
    #[command(after_help = "\
Examples:
  ssh region waystation nodes invite Berlin --approve > berlin.token
  waystation nodes reparent Berlin --token-file berlin.token

The token is sealed to the node.")]
    Reparent {
        /// Name or id
        #[arg(value_name = "NODE")]
        name: String,
        /// The file with the other parent's token; - is standard input
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        token_file: PathBuf,
    },
    /// The root key of the chain, which belongs offline
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation nodes rootkey export /media/usb/root.key"
    )]
    Rootkey(RootkeyVerb),
    /// Begin a new epoch of the feed, after a restore or where the feed key was stolen
    #[command(after_help = "\
Examples:
  waystation nodes epoch --rootkey /media/usb/root.key

At the top of the chain. Nodes below compare all they have with what is signed
in the new epoch, and fetch what differs. A fresh node that was set up in the
place of a lost authority becomes the authority of the same chain by this;
nodes below reach it once it answers at the old address, or by a new token.")]
    Epoch {
        /// The file that `rootkey export` wrote; it is read, and not kept
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        rootkey: PathBuf,
    },
    /// The key that signs the feed
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation nodes feedkey rotate --rootkey /media/usb/root.key"
    )]
    Feedkey(FeedkeyVerb),
}

/// `nodes feedkey ...`
#[derive(Debug, Subcommand)]
pub enum FeedkeyVerb {
    /// Sign with a new feed key from now on; nodes below take it with their next answer
    #[command(after_help = "\
Examples:
  waystation nodes feedkey rotate --rootkey /media/usb/root.key

For one that was stolen, begin a new epoch instead: `waystation nodes epoch`.")]
    Rotate {
        /// The file that `rootkey export` wrote; it is read, and not kept
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        rootkey: PathBuf,
    },
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
