//! The verbs of what endpoints reported: `compliance ...`.

use clap::{Args, Subcommand};

/// `compliance ...`
#[derive(Debug, Subcommand)]
pub enum ComplianceVerb {
    /// Show how many endpoints miss updates, are up to date, have not scanned, keep to the policy
    #[command(after_help = "\
Examples:
  waystation compliance summary
  waystation compliance summary --group Contoso/Berlin
  waystation compliance summary --json | jq .not_compliant
  waystation compliance summary --csv")]
    Summary {
        /// Only endpoints of this group and of those below it: name, path or id
        #[arg(long, value_name = "GROUP")]
        group: Option<String>,
        /// As CSV
        #[arg(long)]
        csv: bool,
    },
    /// List endpoints with what they miss, and why they do not keep to the policy
    #[command(after_help = "\
Examples:
  waystation compliance endpoints
  waystation compliance endpoints --not-compliant --limit 0 --csv > not-compliant.csv
  waystation compliance endpoints --group Contoso/Berlin --restart
  waystation compliance endpoints --update KB5031234
  waystation compliance endpoints --update KB5031234 --state failed")]
    Endpoints(Machines),
    /// List the updates that endpoints reported, with how many have each in which state
    #[command(after_help = "\
Examples:
  waystation compliance updates
  waystation compliance updates --classification 'Security Updates' --csv > states.csv")]
    Updates(Patches),
    /// List updates that are missing somewhere, and are neither superseded nor declined
    #[command(after_help = "\
Examples:
  waystation compliance missing --severity critical
  waystation compliance missing --age 30 --restart not-required
  waystation compliance missing --endpoint pc17.site.example
  waystation compliance missing --group Contoso --severity important --csv
  waystation compliance missing --product 'Windows 11' --eula required --json")]
    Missing(Patches),
    /// Show what the endpoints of the nodes below come to, or list those of one node
    #[command(after_help = "\
Examples:
  waystation compliance nodes
  waystation compliance nodes Berlin --limit 500
  waystation compliance nodes --json | jq '.rows[] | {name, endpoints}'")]
    Nodes {
        /// Name or id of a node: its endpoints
        #[arg(value_name = "NODE")]
        name: Option<String>,
        /// The endpoint behind which the page begins
        #[arg(long, value_name = "ID", requires = "name")]
        after: Option<String>,
        /// Endpoints of a page
        #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show one endpoint: its verdict with the reasons, all its updates, what became of them
    #[command(after_help = "\
Examples:
  waystation compliance show pc17.site.example
  waystation compliance show e1da06a3-5601-43c9-bac3-52d5db701494 --json
  waystation compliance show pc17.site.example --csv

Beside what it says of itself stands what this node saw of it: whether bytes of
the update's files were sent to its address.")]
    Show {
        /// Its client id, or the name that it registered with (the first part of it, where no other has the same)
        #[arg(value_name = "ENDPOINT")]
        endpoint: String,
        /// The states of its updates, as CSV
        #[arg(long)]
        csv: bool,
    },
    /// See and change what the endpoints of a group must keep to
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation compliance policy show
  waystation compliance policy show Contoso/Berlin
  waystation compliance policy set Servers --severity critical --missing-days 7
  waystation compliance policy unset Servers

What a group says holds for all below it, each part by itself, until something
nearer says otherwise. What holds for all endpoints is [compliance] in the
configuration. An endpoint in several groups keeps to the policies of all of
them; why one does not, and by whose policy, `waystation compliance show` says."
    )]
    Policy(PolicyVerb),
}

/// `compliance policy ...`
#[derive(Debug, Subcommand)]
pub enum PolicyVerb {
    /// Show what holds for a group and which group says it; without one, all groups that say something
    #[command(after_help = "\
Examples:
  waystation compliance policy show
  waystation compliance policy show Contoso/Berlin --json")]
    Show {
        /// Name, path or id; `all` or `unassigned` for those two
        #[arg(value_name = "GROUP")]
        group: Option<String>,
    },
    /// Say what the endpoints of a group, and of those below it, must keep to
    #[command(after_help = "\
Examples:
  waystation compliance policy set Servers --severity critical --missing-days 7
  waystation compliance policy set Contoso/Berlin --scan-days 3 --restart-days 2

What is not named stays as it is. It takes effect on the next question.")]
    Set {
        /// Name, path or id; `unassigned` for the endpoints in no group
        #[arg(value_name = "GROUP")]
        group: String,
        /// What it says.
        #[command(flatten)]
        terms: Terms,
    },
    /// Let what a group says come from above again: all of it, or what is named
    #[command(after_help = "\
Examples:
  waystation compliance policy unset Servers
  waystation compliance policy unset Servers --scan-days")]
    Unset {
        /// Name, path or id
        #[arg(value_name = "GROUP")]
        group: String,
        /// Which parts.
        #[command(flatten)]
        parts: Parts,
    },
}

/// What a group says.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Terms {
    /// The least severity of updates that may not be missing for long: any, low, moderate, important or critical
    #[arg(long, value_name = "WORD", value_parser = ["any", "low", "moderate", "important", "critical"])]
    pub severity: Option<String>,
    /// Days that such an update may be missing
    #[arg(long, value_name = "DAYS")]
    pub missing_days: Option<u32>,
    /// Days that may pass between scans
    #[arg(long, value_name = "DAYS")]
    pub scan_days: Option<u32>,
    /// Days that a restart may be pending
    #[arg(long, value_name = "DAYS")]
    pub restart_days: Option<u32>,
}

/// Parts of a policy; none named: all.
#[derive(Clone, Copy, Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line, and any of them go together")]
pub struct Parts {
    /// The least severity
    #[arg(long)]
    pub severity: bool,
    /// Days that an update may be missing
    #[arg(long)]
    pub missing_days: bool,
    /// Days that may pass between scans
    #[arg(long)]
    pub scan_days: bool,
    /// Days that a restart may be pending
    #[arg(long)]
    pub restart_days: bool,
}

/// Which endpoints, and how they are printed.
#[derive(Clone, Debug, Args)]
pub struct Machines {
    /// not-scanned, missing or up-to-date
    #[arg(long, value_name = "WORD", value_parser = ["not-scanned", "missing", "up-to-date"])]
    pub verdict: Option<String>,
    /// Only those that keep to the policy
    #[arg(long, conflicts_with = "not_compliant")]
    pub compliant: bool,
    /// Only those that do not
    #[arg(long)]
    pub not_compliant: bool,
    /// Only those on which a restart is pending
    #[arg(long)]
    pub restart: bool,
    /// Only those that miss this update, by id or KB, or have it in --state
    #[arg(long, value_name = "ID|KB")]
    pub update: Option<String>,
    /// not-installed, downloaded, installed, failed, pending-restart; with --update also unknown and not-applicable
    #[arg(long, value_name = "WORD")]
    pub state: Option<String>,
    /// Only those of this group and of those below it: name, path or id
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// How they are printed.
    #[command(flatten)]
    pub printed: Printed,
}

/// Which updates, and how they are printed.
#[derive(Clone, Debug, Args)]
pub struct Patches {
    /// Only of this endpoint, by client id or name
    #[arg(long, value_name = "ENDPOINT")]
    pub endpoint: Option<String>,
    /// Counted on endpoints of this group and of those below it alone: name, path or id
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// low, moderate, important or critical, and what is worse
    #[arg(long, value_name = "WORD")]
    pub severity: Option<String>,
    /// Only of this classification
    #[arg(long, value_name = "NAME|ID", visible_alias = "category")]
    pub classification: Option<String>,
    /// Only for this product, or for those of this family or company
    #[arg(long, value_name = "NAME|ID")]
    pub product: Option<String>,
    /// Only those that want a restart, never want one, or may want one
    #[arg(long, value_name = "WORD", value_parser = ["not-required", "required", "may-require"])]
    pub restart: Option<String>,
    /// Only those with a licence that must still be accepted, with accepted ones, or without
    #[arg(long, value_name = "WORD", value_parser = ["required", "accepted", "none"])]
    pub eula: Option<String>,
    /// Only those made so many days ago or earlier
    #[arg(long, value_name = "DAYS")]
    pub age: Option<u64>,
    /// How they are printed.
    #[command(flatten)]
    pub printed: Printed,
}

/// How rows are printed.
#[derive(Clone, Debug, Args)]
pub struct Printed {
    /// Go on behind a page that was shown before, as that said
    #[arg(long, value_name = "PLACE")]
    pub after: Option<String>,
    /// Rows at most; 0 for all
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub limit: usize,
    /// As CSV
    #[arg(long)]
    pub csv: bool,
}
