//! The command line as a type: the verbs, the flags that all of them have, and an example for each.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::cli::global::Global;
use crate::cli::verbs::access::{AccountsVerb, AuditVerb, TokensVerb};
use crate::cli::verbs::approvals::{ApprovalsVerb, GroupsVerb};
use crate::cli::verbs::catalog::{FiltersVerb, PlanArgs, PrefetchVerb, UpdatesVerb};
use crate::cli::verbs::compliance::ComplianceVerb;
use crate::cli::verbs::content::ContentVerb;
use crate::cli::verbs::downstream::DownstreamVerb;
use crate::cli::verbs::endpoints::EndpointsVerb;
use crate::cli::verbs::nodes::NodesVerb;
use crate::cli::verbs::rules::RulesVerb;
use crate::cli::verbs::sync::SyncVerb;
use crate::cli::verbs::tls::TlsVerb;
use crate::cli::verbs::upstream::UpstreamVerb;
use crate::cli::verbs::{BandwidthVerb, ConfigVerb, Fetch, Import, JobsVerb, StoreVerb};

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   failed; standard error says why
  2   the command line cannot be understood
  66  there is no store, or no backup, where one was looked for
  69  no node is running, and the command needs one; of serve: it cannot listen
  71  the machine refuses threads, signals or the log
  74  the store, or the disk below it, cannot be used
  75  another process uses the data directory: try again when it has ended
  78  the configuration is wrong, or the data directory is another user's or none
  130 stopped at once by a second signal

Begin with:
  waystation serve                       run a node in the foreground
  waystation status                      how it is doing
  waystation explain URL                 what it would do with an address
  waystation COMMAND --help              examples for every command";

/// A patch content cache: keeps each payload once, proves it, and serves it to every machine of the site.
#[derive(Debug, Parser)]
#[command(name = "waystation", version, after_help = EXIT_CODES, propagate_version = false, max_term_width = 110)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Flags that every verb understands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a node in the foreground until it is told to stop
    #[command(after_help = "\
Examples:
  waystation serve
  waystation serve --data /srv/waystation
  waystation serve --set listen.http=0.0.0.0:80 --set store.max_size=\"200 GiB\"

Works without any configuration. SIGTERM or Ctrl-C ends it once the answers
under way are done; SIGHUP reads the configuration again. See what it could be
told with `waystation config template`.")]
    Serve,

    /// Check the configuration and the machine without starting anything
    #[command(after_help = "\
Examples:
  waystation check-config
  waystation check-config --config /etc/waystation.toml --json

Prints what differs from the defaults and where each value comes from, then what
was found. Ports are bound for a moment, unless a node runs on the data
directory; certificates, keys and CA files are loaded. What was set at run time
is kept in the store: where a node runs, it is shown and not checked, since that
was done when it was set. Exits with 0 if a node would run (warnings included),
with 78 if it would not.")]
    CheckConfig,

    /// Print the configuration: a template, a reference, or what is in force
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation config template > /var/lib/waystation/waystation.toml
  waystation config show"
    )]
    Config(ConfigVerb),

    /// Show how the node is doing: health, store, bytes saved, flights, origins
    #[command(after_help = "\
Examples:
  waystation status
  waystation status --watch
  waystation status --json | jq .day.saved

answered   requests that were not refused
hits       of these, those for which nobody was asked; an answer of which a
           part was still on its way is none. The ratio is hits by answered
refused    no rule matches, or what was asked for could not be had
sent       bytes that clients got
fetched    bytes that came from origins, for clients or ahead of them
saved      sent less fetched, never below 0: what is fetched ahead counts
           against it until clients ask for it")]
    Status {
        /// Show it again every two seconds until Ctrl-C
        #[arg(long)]
        watch: bool,
    },

    /// Fill payloads ahead of time, before the first endpoint asks
    #[command(after_help = "\
Examples:
  waystation fetch http://download.windowsupdate.com/d/msdownload/update/software/x.msu
  waystation fetch https://dl.example.org/tool.iso --sha256 $SHA256 --pin
  waystation fetch --from urls.txt
  waystation fetch --refresh https://dl.example.org/latest.iso

A file for --from has one URL a line, with its SHA-256 behind it where one is
known; lines that begin with # are left out; - reads standard input.

A digest is bound to its URL once its payload is held: whatever else comes from
there later is refused, until `waystation content unbind URL`. Where the payload
is held already, the origin is asked for the length, and nothing is bound if
that is another one. A fetch that fails binds nothing and changes nothing.

With --refresh each origin is asked again, with the validators that it gave,
whether what is held is still what it has, even where that is fresh. Another
version is filled; what was held is answered until it is there.

Ctrl-C stops the job: no further payload is begun, and those that are under way
are filled by the node meanwhile. What has arrived is not fetched again. Needs a
running node.")]
    Fetch(Fetch),

    /// Say what the node would do with an address, and what is held of it
    #[command(after_help = "\
Examples:
  waystation explain http://download.windowsupdate.com/c/msdownload/update/x.cab
  waystation explain 'http://node:3698/filestreamingservice/files/1?P1=2&cacheHostOrigin=a.example'
  waystation explain /sha256/$SHA256

Needs a running node, whose rules and store it tells of.")]
    Explain {
        /// The address as a client asks it: a URL, or a path of one of the digest forms
        #[arg(value_name = "URL", value_hint = ValueHint::Url)]
        url: String,
    },

    /// Test the way to the origins, and say what to do about what is wrong
    #[command(after_help = "\
Examples:
  waystation doctor
  waystation doctor http://download.windowsupdate.com/mscomtest/wuidt.gif

Looks at name resolution, ranges, altered or compressed bodies, TLS, proxies,
the clock and the packet size. Without addresses it tests the upstream, its sync
service, the hosts that [origins] allow names, and five of Microsoft's, one of
each family; below a WSUS only what is configured, and Microsoft's sync service
where `waystation sync crosscheck` would ask it. Of a sync service that is named
(https://sws.update.microsoft.com) that is tested, and no content. Exits with 1
if something does not work.

Needs a running node, whose way to the origins it tests; before the first start
`waystation check-config` looks at what can be seen without one.")]
    Doctor {
        /// Addresses to test [default: what is configured, its sync service, and five hosts of Microsoft's]
        #[arg(value_name = "URL", value_hint = ValueHint::Url)]
        urls: Vec<String>,
    },

    /// Look at what is held, and at what failed verification; pin or remove it
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation content list --filter .msu
  waystation content show http://download.windowsupdate.com/d/x.msu
  waystation content pin $SHA256
  waystation content quarantine list"
    )]
    Content(ContentVerb),

    /// Take files that are there already into the store
    #[command(after_help = "\
Examples:
  waystation import /media/usb/updates
  waystation import big.esd --sha256 $SHA256
  waystation import --move /srv/old-cache
  waystation import tool.iso --url https://dl.example.org/tool.iso

Files are copied (sharing their blocks where the file system can), directories
are walked, symbolic links are not followed. Imported files are answered under
their digests, and under an address once a digest is known for it.

A file that somebody has open for writing is copied as it is, with --move too,
and then stays where it is.

With --url clients that ask that address are answered with the file. With
--sha256 beside it the address is bound to that digest, as by `fetch --sha256`;
without, the origin is asked in time whether it has another version.")]
    Import(Import),

    /// Copy the index to a file while the node runs
    #[command(after_help = "\
Examples:
  waystation backup /backup/waystation-$(date +%F).redb

The copy has the index and no payload: names, digests, pins, bandwidth settings,
the account. Of a payload that is lost too nothing can be brought back: restore
drops its entry and its pin, and says so. Not in it are waystation.toml and the
directory tls with the site CA: copy those beside it.")]
    Backup {
        /// The file to write; it must not be there yet
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },

    /// Put a backup of the index in place; no node may run
    #[command(after_help = "\
Examples:
  waystation restore /backup/waystation-2026-01-31.redb

The index that was there is kept beside the new one. The store's epoch goes up,
so that clients see that something went back in time. Entries whose payloads are
not there are dropped with their pins, and told.

On a new disk make the data directory, owned by the user that the node runs as,
and restore into it while it is empty: a node that was started there first has
made another store, and the backup is refused.")]
    Restore {
        /// A file that `waystation backup` wrote
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },

    /// Verify or rebuild the store
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation store verify --repair --rate 50MiB
  waystation store rebuild"
    )]
    Store(StoreVerb),

    /// Look after the certificate that endpoints see
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation tls show
  waystation tls ca export > site-ca.pem
  waystation tls csr patches.site.example > node.csr"
    )]
    Tls(TlsVerb),

    /// See and change how fast bytes may flow, while the node runs
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation bandwidth show
  waystation bandwidth set prefetch '08:00-18:00 Mon-Fri: 5 Mbit/s' unlimited
  waystation bandwidth set networks '10.1.0.0/16: 50 Mbit/s' '10.2.0.0/16 each /24: 20 Mbit/s'
  waystation bandwidth clear prefetch"
    )]
    Bandwidth(BandwidthVerb),

    /// See, choose and test what stands above: Microsoft, or a WSUS server
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation upstream show
  waystation upstream test wsus http://wsus.site.example:8530
  waystation upstream set wsus http://wsus.site.example:8530
  waystation upstream set microsoft"
    )]
    Upstream(UpstreamVerb),

    /// Fetch the catalog of updates from above, and see how that went
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation sync start
  waystation sync status
  waystation sync history
  waystation sync stop

The catalog says which updates there are, what they consist of and which digests
their files have. It comes from Microsoft, of which `[filters]` says what is
wanted, or from a WSUS server, of which everything is taken (`waystation
upstream set`, or [upstream] kind and url). [sync] schedule says when runs begin
by themselves, once enabled = true stands there too:
  daily 02:00                   every 4 hours from 00:30
  weekly Tue, Fri 22:15         monthly 15 03:00
  monthly last 03:00            monthly second Tuesday + 3 days 03:00
Of a day that a month does not have, such as 31 in February, the last one is
meant."
    )]
    Sync(SyncVerb),

    /// Look at what the catalog knows: updates, what they mend, what they supersede, their files
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation updates list --severity critical
  waystation updates search cumulative x64
  waystation updates show KB5031234
  waystation updates approve KB5031234"
    )]
    Updates(UpdatesVerb),

    /// List the machines that scan against the node, let them in, tell clones apart, forget them
    #[command(subcommand)]
    #[command(after_help = "\
Examples:
  waystation endpoints list --unseen 30
  waystation endpoints show pc1
  waystation endpoints admit pc1
  waystation endpoints bind pc1 pc2.site.example")]
    Endpoints(EndpointsVerb),
    /// See and change the groups that endpoints are in
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation groups list
  waystation groups add Contoso --level company
  waystation groups add Pilot --below Contoso --test on
  waystation groups move-endpoint PC-0042 --to Pilot"
    )]
    Groups(GroupsVerb),

    /// See the WSUS servers below this node, and how their computers stand
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation downstream list
  waystation downstream forget wsus.branch.example"
    )]
    Downstream(DownstreamVerb),

    /// Invite nodes below this one, let them in, see how all stand, and tell them what to do
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation nodes invite Berlin
  waystation nodes approve Berlin
  waystation nodes list"
    )]
    Nodes(NodesVerb),

    /// Who may sign in: list, add, change, remove; set a password that was lost
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation accounts setup-code
  waystation accounts add olga --role operator --group Contoso
  waystation accounts password anna"
    )]
    Accounts(AccountsVerb),

    /// Tokens with which scripts come in
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation tokens make reports --account anna --scope '*:read' > reports.token
  waystation tokens list"
    )]
    Tokens(TokensVerb),

    /// What was changed, by whom, and whether that log is whole
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation audit list
  waystation audit check"
    )]
    Audit(AuditVerb),

    /// Join a parent node with the token that it gave
    #[command(after_help = "\
Examples:
  waystation join --token-file berlin.token
  ssh hq waystation nodes invite Berlin --json | jq -r .token | waystation join --token-file -

The node's fingerprint is printed; somebody compares it with what `waystation
nodes list` shows on the parent, and lets the node in there (`waystation nodes
approve`). Once the parent's feed was verified the upstream of this node is the
parent, from its next start on.")]
    Join {
        /// The file with the token; - is standard input
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        token_file: PathBuf,
    },

    /// Leave the parent node, or give up a join that waits
    #[command(after_help = "\
Examples:
  waystation leave

The parent is told, and shows this node as uninstalled. What is held stays. The
upstream is then what it was before, from the next start on.")]
    Leave,

    /// Approve updates for groups and single endpoints, review them, accept their licences
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation approvals set KB5031234 --group Pilot
  waystation approvals set KB5031234 --group all --deadline 2026-02-01
  waystation approvals list --update KB5031234
  waystation approvals license accept KB5031234"
    )]
    Approvals(ApprovalsVerb),

    /// Have updates approved by themselves, ring by ring: a pilot first, the others some days later
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation rules ready-made patch-tuesday --ring Pilot --ring Contoso:7
  waystation rules preview
  waystation rules list
  waystation rules resume 'Patch Tuesday'"
    )]
    Rules(RulesVerb),

    /// Count which files the content policy wants: size, room, time; agree to the policy "all"
    #[command(after_help = "\
Examples:
  waystation plan
  waystation plan --policy severity --severity important
  waystation plan --policy all --json | jq .missing
  waystation plan --confirm

[content] says which files of updates are fetched before an endpoint asks:
metadata   none
approved   those of updates that were approved (`waystation updates approve`)
asked      these, and files that endpoints have asked for, or ones like them
severity   these, and those of updates at least as severe as content.severity
all        everything in the filters, once --confirm has agreed to it; asked for
           again where that grows by half, and by 10 GiB, and under another
           policy, other rules or other filters. A rule with \"all\" waits too
Expired and superseded updates are declined automatically. Of bundles with
express, PSF or UUP files only what endpoints ask for is fetched. Needs a
running node.")]
    Plan(PlanArgs),

    /// Fetch what the content policy wants, stop that, or see how far it is
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation prefetch status
  waystation prefetch start
  waystation prefetch confirm KB5031234
  waystation prefetch stop"
    )]
    Prefetch(PrefetchVerb),

    /// See and change what of Microsoft's catalog is wanted
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation filters list
  waystation filters list --available
  waystation filters set products --add 'Windows Server 2019'
  waystation filters reset"
    )]
    Filters(FiltersVerb),

    /// See how updates stand on endpoints, by what these reported, and which keep to the policy
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation compliance summary
  waystation compliance missing --severity critical
  waystation compliance endpoints --not-compliant
  waystation compliance show pc17.site.example

All of it is what endpoints say of themselves. [compliance] in the configuration
says what they are held against."
    )]
    Compliance(ComplianceVerb),

    /// See and stop long work
    #[command(
        subcommand,
        after_help = "\
Examples:
  waystation jobs list
  waystation jobs show 3
  waystation jobs stop 3"
    )]
    Jobs(JobsVerb),

    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  waystation completions bash > /etc/bash_completion.d/waystation
  waystation completions zsh > ~/.zfunc/_waystation")]
    Completions {
        /// Which shell
        shell: Shell,
    },

    /// Write man pages: that of the program to standard output, or one for each verb into a folder
    #[command(after_help = "\
Examples:
  waystation man | man -l -
  waystation man --to /usr/local/share/man/man1")]
    Man {
        /// A folder that is there; pages in it that have these names are replaced
        #[arg(long, value_name = "FOLDER")]
        to: Option<PathBuf>,
    },

    /// Print the version of this program, and that of the running node where it is another one
    #[command(after_help = "\
Examples:
  waystation version
  waystation version --json")]
    Version,

    /// Ask the running node whether it is ready, for container and balancer checks
    #[command(after_help = "\
Examples:
  waystation health && echo ready
  HEALTHCHECK CMD [\"waystation\", \"health\"]

Exits with 0 if it is ready, 1 if it runs but is not, 69 if no node runs.")]
    Health,
}
