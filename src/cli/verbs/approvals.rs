//! The verbs of approvals: `groups ...` and `approvals ...`.

use clap::{Args, Subcommand};

/// `groups ...`
#[derive(Debug, Subcommand)]
pub enum GroupsVerb {
    /// List the groups as a tree, with how many endpoints are in each
    #[command(after_help = "\
Examples:
  waystation groups list
  waystation groups list --json
  waystation groups list --csv > groups.csv

`all` is the root: what is approved for it holds everywhere. `unassigned` has
the endpoints that are in no other group.")]
    List {
        /// Print CSV for spreadsheets (RFC 4180)
        #[arg(long)]
        csv: bool,
    },
    /// Add a group
    #[command(after_help = "\
Examples:
  waystation groups add Contoso --level company --review on
  waystation groups add Berlin --below Contoso --level site --rule 'subnet 10.1.0.0/16'
  waystation groups add Pilot --below Contoso/Berlin --test on
  waystation groups add Kiosks --rule 'name KIOSK-*'

An endpoint is in the groups that somebody put it in (`waystation groups
move-endpoint`); else in those that its policy names (client-side targeting:
several with ; between them); else in those whose rules fit: every rule for its
name, of subnets the narrowest; else it is unassigned. Of several groups the
strongest approval counts.")]
    Add {
        /// Its name: no slash, no semicolon
        #[arg(value_name = "NAME")]
        name: String,
        /// What it is like.
        #[command(flatten)]
        like: GroupLike,
    },
    /// Change a group: its name, its place, its rules
    #[command(after_help = "\
Examples:
  waystation groups change Pilot --name 'Pilot ring'
  waystation groups change Contoso/Berlin --below Fabrikam
  waystation groups change Kiosks --rule 'name KIOSK-*' --rule 'name POS-*'
  waystation groups change Kiosks --no-rules
  waystation groups change Contoso --review on

What is not named stays. Rules that are given take the place of all that it has.")]
    Change {
        /// Name, path (Contoso/Berlin/Pilot) or id
        #[arg(value_name = "GROUP")]
        group: String,
        /// Another name
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// What is to be another one.
        #[command(flatten)]
        like: GroupLike,
        /// Take all its rules away
        #[arg(long, conflicts_with = "rule")]
        no_rules: bool,
    },
    /// Remove a group that has none below it, with all that was approved for it
    #[command(after_help = "\
Examples:
  waystation groups remove Contoso/Berlin/Pilot

Endpoints that were put into it are in the group above it from then on; those
that were in it by their own word or a rule are where they are without it. The
answer says how many are where, and which rules it was a ring of.")]
    Remove {
        /// Name, path or id
        #[arg(value_name = "GROUP")]
        group: String,
    },
    /// Put endpoints into groups by hand, or let them be where they are by themselves
    #[command(after_help = "\
Examples:
  waystation groups move-endpoint PC-0042 --to Contoso/Berlin/Pilot
  waystation groups move-endpoint PC-0042 PC-0043 --to Pilot --to Kiosks
  waystation groups move-endpoint PC-0042 --back

Each is in the groups that are named and in no other one, whatever its policy or
a rule says, until --back.")]
    MoveEndpoint {
        /// DNS names, with or without the domain, or the ids of their agents
        #[arg(value_name = "ENDPOINT", required = true)]
        endpoints: Vec<String>,
        /// The groups that they are in from now on
        #[arg(long, value_name = "GROUP", required_unless_present = "back")]
        to: Vec<String>,
        /// Back to where their own policy or a rule has them
        #[arg(long, conflicts_with = "to")]
        back: bool,
    },
}

/// What a group is like.
#[derive(Debug, Args)]
pub struct GroupLike {
    /// The group that it stands below; `all` for none
    #[arg(long, value_name = "GROUP")]
    pub below: Option<String>,
    /// What it stands for
    #[arg(long, value_name = "LEVEL", value_parser = ["company", "site", "group"])]
    pub level: Option<String>,
    /// What is under review is tried out in it, and below it: on or off
    #[arg(long, value_name = "ON|OFF", value_parser = on_or_off)]
    pub test: Option<bool>,
    /// What is approved takes effect in it, and below it, only as far as its review lets it: on or off
    #[arg(long, value_name = "ON|OFF", value_parser = on_or_off)]
    pub review: Option<bool>,
    /// Endpoints that are in it by themselves: 'subnet 10.1.0.0/16', or 'name KIOSK-*'
    #[arg(long, value_name = "RULE")]
    pub rule: Vec<String>,
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("it is on or off".to_owned()),
    }
}

/// `approvals ...`
#[derive(Debug, Subcommand)]
pub enum ApprovalsVerb {
    /// List what was approved, or declined, for whom, by whom and until when
    #[command(after_help = "\
Examples:
  waystation approvals list
  waystation approvals list --update KB5031234
  waystation approvals list --group Contoso/Berlin
  waystation approvals list --endpoint PC-0042 --json
  waystation approvals list --limit 0 --csv > approvals.csv

What `waystation updates approve` and `decline` decided for all endpoints is
among it. What a group inherits is not repeated for it.")]
    List {
        /// Only of this update: its id, the beginning of it, or its KB
        #[arg(long, value_name = "ID|KB", conflicts_with = "after")]
        update: Option<String>,
        /// Only for this group itself
        #[arg(long, value_name = "GROUP")]
        group: Option<String>,
        /// Only for this endpoint itself
        #[arg(long, value_name = "ENDPOINT", conflicts_with = "group")]
        endpoint: Option<String>,
        /// Rows to show at most; 0 for all
        #[arg(long, value_name = "ROWS", default_value_t = 100)]
        limit: usize,
        /// Go on behind a page that was shown before, as that said
        #[arg(long, value_name = "PLACE")]
        after: Option<String>,
        /// Print CSV for spreadsheets (RFC 4180)
        #[arg(long)]
        csv: bool,
    },
    /// Approve updates for groups or single endpoints
    #[command(after_help = "\
Examples:
  waystation approvals set KB5031234 --group Pilot
  waystation approvals set KB5031234 --group Contoso --deadline 2026-02-01
  waystation approvals set KB5031234 --endpoint PC-0042 --action uninstall
  waystation approvals set KB5031234 --group Kiosks --action not-approved
  waystation approvals set KB5031234 --group all --deadline 2026-02-01T18:00:00Z

install           it is installed
optional-install  it is offered, and installed if the user wants it
uninstall         it is removed, where it can be
detect-only       it is looked for and reported, and not installed
not-approved      whatever a group above says, it is not approved here

What is said for an endpoint counts before its groups, and what is said for a
group holds for all below it until something nearer says otherwise. A decline
(`waystation updates decline`) is above all of it. Without --deadline the
endpoint installs it when its own policy has it do so; by one it does so at that
time whatever happens then, servers too. A bare day ends at midnight in UTC,
wherever the node and the endpoint are. A deadline does not run as long as a
licence or a review holds the update back: it is later by that. It takes effect
at the next scan of each endpoint.")]
    Set {
        /// Ids, beginnings of ids, or KBs
        #[arg(value_name = "ID|KB", required = true)]
        updates: Vec<String>,
        /// For whom.
        #[command(flatten)]
        whom: Whom,
        /// What is to be done
        #[arg(
            long,
            value_name = "ACTION",
            default_value = "install",
            value_parser = ["install", "optional-install", "uninstall", "detect-only", "not-approved"]
        )]
        action: String,
        /// Until when: a day (its end, UTC), or a time with its zone
        #[arg(long, value_name = "DAY|TIME")]
        deadline: Option<String>,
        /// Fetch the files too that endpoints read in parts: express, PSF and UUP
        #[arg(long)]
        all_files: bool,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// Withdraw what was said: what a group above says counts again
    #[command(after_help = "\
Examples:
  waystation approvals withdraw KB5031234 --group Pilot
  waystation approvals withdraw KB5031234 --everywhere

--everywhere takes back each approval of it, for groups, endpoints and all. A
decline is taken back by `waystation updates reset`.")]
    Withdraw {
        /// Ids, beginnings of ids, or KBs
        #[arg(value_name = "ID|KB", required = true)]
        updates: Vec<String>,
        /// For whom.
        #[command(flatten)]
        whom: Whom,
        /// For everybody
        #[arg(long, conflicts_with_all = ["group", "endpoint"])]
        everywhere: bool,
    },
    /// Say how far the review of updates has come, where groups ask for one
    #[command(after_help = "\
Examples:
  waystation approvals review KB5031234 --state in-test
  waystation approvals review KB5031234 --state released --why 'a week in the lab'

Where a group, or one above it, asks for a review (`waystation groups change
Contoso --review on`), what is approved takes effect there once that lets it:
held       nowhere; so is what nobody reviewed
in-test    in groups that are there for trying out (--test on), and below them
released   everywhere

A deadline that was said before is later by as long as the review held the
update back; the answer says by when it is to be installed.")]
    Review {
        /// Ids, beginnings of ids, or KBs
        #[arg(value_name = "ID|KB", required = true)]
        updates: Vec<String>,
        /// held, in-test or released
        #[arg(long, value_name = "STATE", value_parser = ["held", "in-test", "released"])]
        state: String,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// See which approved updates wait for a licence, and accept it
    #[command(
        subcommand,
        alias = "licence",
        after_help = "\
Examples:
  waystation approvals license list
  waystation approvals license accept KB5031234"
    )]
    License(LicenseVerb),
}

/// For whom something is said.
#[derive(Debug, Args)]
pub struct Whom {
    /// For this group and what stands below it: name, path or id; all for all endpoints, unassigned for those in no group
    #[arg(long, value_name = "GROUP")]
    pub group: Vec<String>,
    /// For this endpoint alone: its DNS name, with or without the domain, or the id of its agent
    #[arg(long, value_name = "ENDPOINT")]
    pub endpoint: Vec<String>,
}

/// `approvals license ...`
#[derive(Debug, Subcommand)]
pub enum LicenseVerb {
    /// List licences that approved updates wait for, and those that were accepted
    #[command(after_help = "\
Examples:
  waystation approvals license list
  waystation approvals license list --json")]
    List,
    /// Accept the licences of updates for all endpoints
    #[command(after_help = "\
Examples:
  waystation approvals license accept KB5031234
  waystation approvals license accept --id 3b6f8c2d-51e0-4a7b-9d42-6c1e7f2e90a5

Until its licence is accepted an update is detected and not offered, whatever is
approved. Who accepted it and when is kept; it cannot be taken back. The texts
lie with the update: `waystation updates show` names their languages.")]
    Accept {
        /// Updates, whose licences are accepted: ids, beginnings of ids, or KBs
        #[arg(value_name = "ID|KB", required_unless_present = "id")]
        updates: Vec<String>,
        /// Ids of licences
        #[arg(long, value_name = "ID")]
        id: Vec<String>,
    },
}
