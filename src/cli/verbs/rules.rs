//! The verbs of rules: `rules ...`.

use clap::{Args, Subcommand};

/// `rules ...`
#[derive(Debug, Subcommand)]
pub enum RulesVerb {
    /// List the rules, with how many updates each is at
    #[command(after_help = "\
Examples:
  waystation rules list
  waystation rules list --json
  waystation rules list --csv > rules.csv

stopped  too many machines failed with some updates: `rules show` tells which
held     somebody said something else for a ring of some updates
broken   a group of its rings was removed: it does nothing")]
    List {
        /// Print CSV for spreadsheets (RFC 4180)
        #[arg(long)]
        csv: bool,
    },
    /// Show a rule: what it takes, its rings, the updates that it is at, what happened to it
    #[command(after_help = "\
Examples:
  waystation rules show 'Patch Tuesday'
  waystation rules show patch --limit 0
  waystation rules show patch --json

Updates that all rings have are counted and not listed. Failed and installed
are told of established machines, in the rings that have the update: those that
were first seen 7 days ago or more.")]
    Show {
        /// Its name, or the beginning of it
        #[arg(value_name = "RULE")]
        rule: String,
        /// Updates to show at most; 0 for all
        #[arg(long, value_name = "ROWS", default_value_t = 50)]
        limit: usize,
        /// Print its updates as CSV for spreadsheets (RFC 4180)
        #[arg(long)]
        csv: bool,
    },
    /// Add a rule
    #[command(after_help = "\
Examples:
  waystation rules add Servers --product 'Windows Server 2019' --ring Lab --ring 'Contoso/Servers:14'
  waystation rules add Urgent --classification 'Security Updates' --severity critical --ring Pilot --ring all:2
  waystation rules add Office --product Office --ring Pilot:3 --ring all:7 --deadline-days 5

It approves each update for its first ring when that is so many days old, and
for each further one so many days after the ring before it was offered it.
Rings say how many days behind a colon; without, the first one has 0 and the
others 7.

Upgrades and drivers are in no rule that does not name them (--classification
Upgrades). A rule says nothing for a ring for which a person said something:
what is approved, declined or withdrawn by hand stays. With several rings it
goes no further with an update where more than 10 percent of at least 10
established machines failed, unless --stop-percent, --stop-sample or --no-stop
say otherwise. What it approves takes effect at the next scan of each endpoint;
--disabled and `waystation rules preview` tell before what that would be.")]
    Add {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        /// A group, and days behind a colon; several, in the order in which they get updates
        #[arg(long, value_name = "GROUP[:DAYS]", required = true)]
        ring: Vec<String>,
        /// What it is like.
        #[command(flatten)]
        like: RuleLike,
        /// Switched off: it does nothing yet
        #[arg(long)]
        disabled: bool,
    },
    /// Change a rule
    #[command(after_help = "\
Examples:
  waystation rules set Servers --stop-percent 5
  waystation rules set Servers --ring Lab --ring Pilot:3 --ring all:10
  waystation rules set Servers --severity any --newest-days 0
  waystation rules set Servers --all-products

What is not named stays. Rings, classifications and products that are given
take the place of all that it has. What it approved already stays as it is.")]
    Set {
        /// Its name, or the beginning of it
        #[arg(value_name = "RULE")]
        rule: String,
        /// Another name
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// A group, and days behind a colon; all rings that it is to have
        #[arg(long, value_name = "GROUP[:DAYS]")]
        ring: Vec<String>,
        /// What is to be another one.
        #[command(flatten)]
        like: RuleLike,
        /// All classifications but upgrades and drivers
        #[arg(long, conflicts_with = "classification")]
        all_classifications: bool,
        /// All products
        #[arg(long, conflicts_with = "product")]
        all_products: bool,
    },
    /// Remove a rule; what it approved stays approved
    #[command(after_help = "\
Examples:
  waystation rules remove Servers

`waystation approvals withdraw` takes back what it approved. To have it do
nothing for a while, `waystation rules disable` is enough.")]
    Remove {
        /// Its name, or the beginning of it
        #[arg(value_name = "RULE")]
        rule: String,
    },
    /// Switch a rule on
    #[command(after_help = "\
Examples:
  waystation rules enable Servers")]
    Enable {
        /// Its name, or the beginning of it
        #[arg(value_name = "RULE")]
        rule: String,
    },
    /// Switch a rule off: it approves nothing more, and what it approved stays
    #[command(after_help = "\
Examples:
  waystation rules disable Servers")]
    Disable {
        /// Its name, or the beginning of it
        #[arg(value_name = "RULE")]
        rule: String,
    },
    /// Tell what the rules would approve now, for whom, and when each ring follows; changes nothing
    #[command(after_help = "\
Examples:
  waystation rules preview
  waystation rules preview Servers
  waystation rules preview --limit 0 --csv > preview.csv

Without a rule those that are on are told of; a rule that is named also where
it is off. Dates of later rings hold if nothing fails and nobody says
otherwise.")]
    Preview {
        /// Its name, or the beginning of it
        #[arg(value_name = "RULE")]
        rule: Option<String>,
        /// Updates to show at most; 0 for all
        #[arg(long, value_name = "ROWS", default_value_t = 50)]
        limit: usize,
        /// Print CSV for spreadsheets (RFC 4180)
        #[arg(long)]
        csv: bool,
    },
    /// Approve what is due now, without waiting for the node to do so
    #[command(after_help = "\
Examples:
  waystation rules run
  waystation rules run Servers

A running node does so by itself: after each run of the catalog, when rules,
groups, reviews or licences change, when a ring is due, and once an hour.")]
    Run {
        /// Its name, or the beginning of it [default: all that are on]
        #[arg(value_name = "RULE")]
        rule: Option<String>,
    },
    /// Have a rule go on with what it stopped at by failures, or was held at by what somebody said
    #[command(after_help = "\
Examples:
  waystation rules resume 'Patch Tuesday'
  waystation rules resume 'Patch Tuesday' KB5031234

With what was stopped by failures it goes on until more machines fail than did
by now. With what is held it goes on past the ring for which somebody said
something else: that ring stays as they left it.")]
    Resume {
        /// Its name, or the beginning of it
        #[arg(value_name = "RULE")]
        rule: String,
        /// Only these updates: ids, beginnings of ids, or KBs [default: all with which it goes no further]
        #[arg(value_name = "ID|KB")]
        updates: Vec<String>,
    },
    /// Tell what happened to rules, those that are gone too: who changed them, what they did
    #[command(after_help = "\
Examples:
  waystation rules history
  waystation rules history --limit 1000 --csv > history.csv")]
    History {
        /// Lines to show at most; 0 for all
        #[arg(long, value_name = "ROWS", default_value_t = 50)]
        limit: usize,
        /// Print CSV for spreadsheets (RFC 4180)
        #[arg(long)]
        csv: bool,
    },
    /// List rules that need not be written, or add one of them for the rings that are named
    #[command(after_help = "\
Examples:
  waystation rules ready-made
  waystation rules ready-made patch-tuesday --ring Pilot --ring Contoso:7 --ring all:14
  waystation rules ready-made definitions --ring all
  waystation rules ready-made patch-tuesday --ring Pilot --ring all --name 'Clients' --deadline-days 3

What is given takes the place of what the ready-made rule has; afterwards it is
a rule like others (`waystation rules set`).")]
    ReadyMade {
        /// Which one [default: list them]
        #[arg(value_name = "WORD", requires = "ring")]
        which: Option<String>,
        /// A group, and days behind a colon; several, in the order in which they get updates
        #[arg(long, value_name = "GROUP[:DAYS]", requires = "which")]
        ring: Vec<String>,
        /// Another name than its own
        #[arg(long, value_name = "NAME", requires = "which")]
        name: Option<String>,
        /// What is to be another one.
        #[command(flatten)]
        like: RuleLike,
        /// Switched off: it does nothing yet
        #[arg(long, requires = "which")]
        disabled: bool,
    },
}

/// What a rule is like.
#[derive(Debug, Args)]
pub struct RuleLike {
    /// Only updates of this classification: name or id; several are possible
    #[arg(long, value_name = "NAME")]
    pub classification: Vec<String>,
    /// Only updates for this product, family or company: name, path or id; several are possible
    #[arg(long, value_name = "NAME")]
    pub product: Vec<String>,
    /// Only of this severity and worse
    #[arg(long, value_name = "SEVERITY", value_parser = ["any", "low", "moderate", "important", "critical"])]
    pub severity: Option<String>,
    /// Only what is not older than so many days when the rule begins with it; 0 for any age
    #[arg(long, value_name = "DAYS")]
    pub newest_days: Option<u32>,
    /// It goes no further with an update where more than so many of a hundred machines failed
    #[arg(long, value_name = "PERCENT")]
    pub stop_percent: Option<u8>,
    /// Of at least so many established machines that tried it
    #[arg(long, value_name = "MACHINES")]
    pub stop_sample: Option<u32>,
    /// It stops at no failures
    #[arg(long, conflicts_with_all = ["stop_percent", "stop_sample"])]
    pub no_stop: bool,
    /// To be installed so many days after a ring gets it, whatever happens then; 0 for no deadline
    #[arg(long, value_name = "DAYS")]
    pub deadline_days: Option<u32>,
}
