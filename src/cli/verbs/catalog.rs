//! The verbs of the catalog: `updates ...` and `filters ...`.

use clap::{Args, Subcommand};

/// `updates ...`
#[derive(Debug, Subcommand)]
pub enum UpdatesVerb {
    /// List updates, the newest first
    #[command(after_help = "\
Examples:
  waystation updates list
  waystation updates list --severity important --classification 'Security Updates' --from 2026-01-01
  waystation updates list --product Windows --state published --limit 0 --csv > updates.csv
  waystation updates list --state expired,superseded --json
  waystation updates list --state refused
  waystation updates list --decision approved,declined
  waystation updates list --left-to-endpoints

`refused` stands alone: it lists what was not taken, too, with the reason;
`waystation sync retry` asks for it again. --decision goes by what people
decided: what was declined automatically is found by --state expired,superseded.")]
    List(Sieve),
    /// Search for updates by words of their titles, or by KB
    #[command(after_help = "\
Examples:
  waystation updates search cumulative x64 'Windows 11'
  waystation updates search KB5031234
  waystation updates search defender --kind software --limit 10

Each word must stand somewhere in the title, as a part of a word too; case does
not count. A word like KB5031234, or a beginning of it of four digits or more
(KB5031), finds what names such an article, wherever its title has it; --kb
wants it whole. The flags of `updates list` hold here too.")]
    Search {
        /// Words, all of which must be found
        #[arg(value_name = "WORD", required = true)]
        words: Vec<String>,
        /// What else must fit.
        #[command(flatten)]
        sieve: Sieve,
    },
    /// Show one update: what it is for, what it supersedes, its files and which of them are held
    #[command(after_help = "\
Examples:
  waystation updates show 3b6f8c2d-51e0-4a7b-9d42-6c1e7f2e90a5
  waystation updates show 3b6f8c2d
  waystation updates show KB5031234
  waystation updates show 3b6f8c2d-51e0-4a7b-9d42-6c1e7f2e90a5/201 --json

An update is named by its id, the first 8 digits of it or more (as lists show
them), a knowledge base article (KB5031234 or 5031234) that no other update
names, or its id with a slash and a revision where another one than the newest
is meant. Of a name that means several all are told. Files, restart
and size are those of all that it bundles.")]
    Show {
        /// Id, beginning of an id, id/revision, or KB
        #[arg(value_name = "ID|KB")]
        update: String,
    },
    /// Approve updates for all endpoints: their files are fetched ahead
    #[command(after_help = "\
Examples:
  waystation updates approve KB5031234
  waystation updates approve 5031234
  waystation updates approve 3b6f8c2d 7c1f2e90 --why 'tested on the pilot ring'
  waystation updates approve KB5031234 --all-files

A KB stands for all updates that name it and can be approved by themselves;
bundles are approved as wholes. Either all that are named are approved, or none.
Of a bundle with express, PSF or UUP files endpoints fetch a small part, so that
these come when asked for; --all-files has all of them fetched. An update that
something supersedes later is declined automatically
(content.decline_superseded), unless it is approved again then. With
content.policy \"metadata\" no files are fetched, approved or not.")]
    Approve {
        /// What is approved.
        #[command(flatten)]
        what: Deciding,
        /// Fetch the files too that endpoints read in parts: express, PSF and UUP
        #[arg(long)]
        all_files: bool,
    },
    /// Decline updates for all endpoints: their files are not fetched ahead, whatever the policy is
    #[command(after_help = "\
Examples:
  waystation updates decline KB5031234 --why 'breaks the label printer'

Payloads that are held stay until room is needed. `waystation updates reset`
takes it back.")]
    Decline(Deciding),
    /// Take decisions back: the content policy holds again
    #[command(after_help = "\
Examples:
  waystation updates reset KB5031234 3b6f8c2d")]
    Reset(Deciding),
}

/// What is decided.
#[derive(Debug, Args)]
pub struct Deciding {
    /// Ids, beginnings of ids, or KBs
    #[arg(value_name = "ID|KB", required = true)]
    pub updates: Vec<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
}

/// `plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Count what this policy would want, instead of the one that is set
    #[arg(
        long,
        value_name = "POLICY",
        value_parser = ["metadata", "approved", "asked", "severity", "all"],
        conflicts_with = "confirm"
    )]
    pub policy: Option<String>,
    /// The least severity for --policy severity (or where content.policy is that), instead of content.severity
    #[arg(
        long,
        value_name = "LEVEL",
        value_parser = ["low", "moderate", "important", "critical"],
        conflicts_with = "confirm"
    )]
    pub severity: Option<String>,
    /// Show what the policy "all" wants, and agree to that, so that it is fetched
    #[arg(long)]
    pub confirm: bool,
}

/// `prefetch ...`
#[derive(Debug, Subcommand)]
pub enum PrefetchVerb {
    /// Fetch now what the content policy wants and is missing, and show how it goes
    #[command(after_help = "\
Examples:
  waystation prefetch start
  waystation prefetch start --detach

It begins by itself after a run of the catalog, after a decision or a change of
[content] or [filters], and at the start of the node. One that is started here
also fetches again what came before and did not match what is published.
Ctrl-C stops it, as `prefetch stop` does: what has arrived stays.")]
    Start {
        /// Start the job, print its number, and do not wait for it
        #[arg(long)]
        detach: bool,
    },
    /// Stop it; none begins by itself until you start one, decide something or change what is wanted
    #[command(after_help = "\
Examples:
  waystation prefetch stop

What has arrived stays. None begins by itself until `waystation prefetch start`,
a decision (`updates approve`, `plan --confirm`), a change of [content] or
[filters], or a restart of the node.

To hold it for hours of the day, pause its class of bandwidth:
  waystation bandwidth set prefetch '08:00-18:00 Mon-Fri: paused' unlimited")]
    Stop,
    /// Agree to the size of updates that endpoints miss and that are larger than content.detected_ask_above
    #[command(after_help = "\
Examples:
  waystation prefetch status
  waystation prefetch confirm KB5031234
  waystation prefetch confirm 3b6f8c2d

Where [content] detected is set, updates come that endpoints report as missing.
Large ones wait for this; it shows their size once more and agrees to it. They
come at once, and count against the day's budget. `waystation updates approve`
approves one for installation, and has its files come too.")]
    Confirm {
        /// An id, the beginning of one, or a KB
        update: String,
    },
    /// Show how much is wanted, held and missing, and the job under way
    #[command(after_help = "\
Examples:
  waystation prefetch status
  waystation prefetch status --json | jq .missing.bytes

It names files that came whole and did not match what is published: these are
fetched again once the catalog says something else of them, or by
`waystation prefetch start`. What else did not come, and why, stands in the
lines of the last job:
  waystation jobs show 12")]
    Status,
}

/// Which updates are listed, and how.
#[derive(Clone, Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub struct Sieve {
    /// Only those that name this knowledge base article, such as KB5031234
    #[arg(long, value_name = "KB")]
    pub kb: Option<String>,
    /// Only those at least this severe
    #[arg(long, value_name = "LEVEL", value_parser = ["low", "moderate", "important", "critical"])]
    pub severity: Option<String>,
    /// Only those of this classification, by name or id
    #[arg(long, value_name = "NAME|ID")]
    pub classification: Option<String>,
    /// Only those for this product, or for a product of this family or company, by name, path or id
    #[arg(long, value_name = "NAME|ID")]
    pub product: Option<String>,
    /// Only those in one of these states: published, expired, superseded; or refused, which `list` takes alone
    #[arg(
        long,
        value_name = "STATE",
        value_delimiter = ',',
        value_parser = ["published", "expired", "superseded", "refused"]
    )]
    pub state: Vec<String>,
    /// Only those of which people decided so: approved, declined, or none
    #[arg(
        long,
        value_name = "DECISION",
        value_delimiter = ',',
        value_parser = ["approved", "declined", "none"]
    )]
    pub decision: Vec<String>,
    /// Only these kinds: software, driver; with detectoid or category also what nobody approves
    #[arg(
        long,
        value_name = "KIND",
        value_delimiter = ',',
        value_parser = ["software", "driver", "detectoid", "category"]
    )]
    pub kind: Vec<String>,
    /// Only those made on this day (2026-01-31, UTC) or later
    #[arg(long, value_name = "DAY")]
    pub from: Option<String>,
    /// Only those made on this day or earlier
    #[arg(long, value_name = "DAY")]
    pub until: Option<String>,
    /// Also what cannot be approved by itself: parts of bundles, detectoids, categories
    #[arg(long)]
    pub hidden: bool,
    /// Only those that the filters do not find: they stayed when the filters were narrowed
    #[arg(long)]
    pub beyond: bool,
    /// Those with express, PSF or UUP files, of which the content policy leaves the files to endpoints: these read parts of them. Stands alone
    #[arg(long)]
    pub left_to_endpoints: bool,
    /// Rows to show at most; 0 for all
    #[arg(long, value_name = "ROWS", default_value_t = 100)]
    pub limit: usize,
    /// Go on behind a page that was shown before, as that said
    #[arg(long, value_name = "PLACE")]
    pub after: Option<String>,
    /// Print CSV for spreadsheets (RFC 4180); texts that a spreadsheet would take for a formula get a ' before them
    #[arg(long)]
    pub csv: bool,
}

/// `filters ...`
#[derive(Debug, Subcommand)]
pub enum FiltersVerb {
    /// List what of Microsoft's catalog is wanted, or what there is to choose from
    #[command(after_help = "\
Examples:
  waystation filters list
  waystation filters list --available
  waystation filters list --available --filter server
  waystation filters list --json

An update is wanted when it has one of the products and one of the
classifications. With a WSUS or a parent above the node the filters have no
effect: all that those offer is taken.")]
    List {
        /// List the product tree and the classifications of the catalog, and the languages; what is chosen has a mark
        #[arg(long)]
        available: bool,
        /// Of what is available only names with this text in them, and what they stand below
        #[arg(long, value_name = "TEXT", requires = "available")]
        filter: Option<String>,
    },
    /// Choose products, classifications or languages; the next synchronisation goes by it
    #[command(after_help = "\
Examples:
  waystation filters set products 'Windows 11' 'Windows Server 2019'
  waystation filters set products --add 'Microsoft > Windows'
  waystation filters set classifications --remove 'Feature Packs' --remove Tools
  waystation filters set products --add 'Windows 11' --remove 'Windows 10'
  waystation filters set languages de en
  waystation filters set languages all

Names in any case, ids, or paths where a name is not unique. A family or company
stands for all its products, those that come later too. Kept in the store with
who and when; what the configuration file, the environment or a flag sets cannot
be changed here.")]
    Set {
        /// products, classifications or languages
        #[arg(value_name = "KEY", value_parser = ["products", "classifications", "languages"])]
        key: String,
        /// What is wanted, in the place of what is chosen
        #[arg(value_name = "NAME|ID", required_unless_present_any = ["add", "remove"], conflicts_with_all = ["add", "remove"])]
        values: Vec<String>,
        /// Add these to what is chosen; may stand several times
        #[arg(long, value_name = "NAME|ID", num_args = 1..)]
        add: Vec<String>,
        /// Take these out of what is chosen; may stand several times, and beside --add
        #[arg(long, value_name = "NAME|ID", num_args = 1..)]
        remove: Vec<String>,
    },
    /// Take back what was set; the configuration or the default holds again
    #[command(after_help = "\
Examples:
  waystation filters reset
  waystation filters reset products")]
    Reset {
        /// products, classifications or languages [default: all three]
        #[arg(value_name = "KEY", value_parser = ["products", "classifications", "languages"])]
        key: Option<String>,
    },
}
