//! The verbs of WSUS servers below: `downstream ...`.

use clap::Subcommand;

/// `downstream ...`
#[derive(Debug, Subcommand)]
pub enum DownstreamVerb {
    /// List WSUS servers below, with how they and their computers stand
    #[command(after_help = "\
Examples:
  waystation downstream list
  waystation downstream list --json | jq '.servers[] | {name, standing}'

A server tells of itself, and of servers below it, at the end of each of its
synchronisations (roll-up). Nothing proves what it tells: the protocol has no
secret in it. Which may ask at all says [downstream] networks.")]
    List,
    /// Forget a server that is gone
    #[command(after_help = "\
Examples:
  waystation downstream forget wsus.branch.example

It comes back when it tells of itself again.")]
    Forget {
        /// Its name or id
        #[arg(value_name = "SERVER")]
        server: String,
    },
}
