//! The verbs of the catalog's runs: `sync ...`.

use clap::Subcommand;

/// `sync ...`
#[derive(Debug, Subcommand)]
pub enum SyncVerb {
    /// Start a run now, and show how it goes until it has ended
    #[command(after_help = "\
Examples:
  waystation sync start
  waystation sync start --detach && waystation sync status
  waystation sync start --definitions

The first run lists everything that is wanted and fetches its documents, which
takes from minutes to an hour; the next ones fetch what has changed. Files that
the content policy wants are fetched after it (`waystation plan`). Ctrl-C stops
the run: what it has committed stays, and the next one goes on from there. An
update that cannot be used is refused with the reason, and the run goes on.

--definitions is a run of the lane of definition updates, whether its schedule
is on ([definitions] enabled) or not: of Microsoft only they are asked for, and
a whole run must have come before. A WSUS gives everything as one list.")]
    Start {
        /// Ask for definition updates alone
        #[arg(long)]
        definitions: bool,
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
does not have (somebody published it on the WSUS) is told and left as it is; so
is what Microsoft has in a newer revision. Where most documents differ in their
text alone, the comparison fails and refuses none of these: somebody on the way
writes documents anew. `waystation sync retry --compared` takes refusals back.
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
  waystation sync retry --compared

Without ids all that were not taken. An update that is held and was refused
afterwards, by a comparison, is taken back by its id, or with all others of its
kind by --compared: it is offered again, until the next comparison refuses it
again. `waystation updates list --state refused` shows them with their reasons.
What cannot be used still is refused again.")]
    Retry {
        /// Ids of updates, as the list of what is refused shows them
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// Take back all that comparisons with Microsoft's catalog refused
        #[arg(long, conflicts_with = "ids")]
        compared: bool,
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
expired     updates that can be approved and came as withdrawn by their
            publisher in this run, and were not before
superseded  updates that can be approved, are not expired, and that something
            newer supersedes since this run, those that came so among them;
            the first run's two numbers are those of `updates list --state`
files       files of the updates that came
wanted      what the content policy wanted of all files when it had ended
refused     updates that were not taken (`waystation updates list --state
            refused`)
pruned      updates that only a former upstream had, definition updates
            beyond those that are kept, and what the filters do not find
            where prune_beyond_filters is on
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
