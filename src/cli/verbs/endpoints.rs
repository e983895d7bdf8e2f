//! The verbs of endpoints: `endpoints ...`.

use clap::{Args, Subcommand};

/// `endpoints ...`
#[derive(Debug, Subcommand)]
pub enum EndpointsVerb {
    /// List the machines that scan against the node, by name
    #[command(after_help = "\
Examples:
  waystation endpoints list
  waystation endpoints list --filter 'server 2025'
  waystation endpoints list --unseen 30
  waystation endpoints list --group Contoso/Berlin
  waystation endpoints list --held --json | jq -r '.rows[].id'
  waystation endpoints list --limit 0 --csv > endpoints.csv

Systems are named by their build, since agents say \"Windows 10\" on Windows 11
too; a build that this version does not know is shown by its number. An
endpoint is roaming when it was last heard of from outside scan.site_networks;
where none are named, all are on site. A contested one has an id that another
machine came with: `waystation endpoints show` tells which.")]
    List(Sieve),
    /// Show one endpoint: what it is, when it was heard of, who contests its id, what happened to it
    #[command(after_help = "\
Examples:
  waystation endpoints show pc1.site.example
  waystation endpoints show pc1
  waystation endpoints show e1da06a3 --json

An endpoint is named by its name, with its domain or without, by its id, or by
the first 8 digits of the id or more. Of a name that means several all are told.")]
    Show {
        /// Name, id, or beginning of the id
        #[arg(value_name = "NAME|ID")]
        endpoint: String,
    },
    /// Let endpoints in that are held: they are served from their next scan on
    #[command(after_help = "\
Examples:
  waystation endpoints admit pc1 pc2.site.example
  waystation endpoints list --held --limit 0 --json | jq -r '.rows[].id' | xargs waystation endpoints admit

Where scan.unknown (or scan.unknown_networks) is \"hold\", a machine that scans
for the first time is known and not served until it is let in. Its agent was
told no, and comes again at its next detection, which can take hours; on the
machine itself it is begun with `usoclient StartScan` (or, on older ones,
`wuauclt /detectnow`). Either all that are named are let in, or none.")]
    Admit {
        /// Names, ids, or beginnings of ids
        #[arg(value_name = "NAME|ID", required = true)]
        endpoints: Vec<String>,
    },
    /// Say that an id belongs to another machine that came with it: it was renamed, or got other hardware
    #[command(after_help = "\
Examples:
  waystation endpoints list --contested
  waystation endpoints show pc1
  waystation endpoints bind pc1 pc2.site.example

An id belongs to the machine that came with it first, told by its name, maker
and model. Another one with the same id is not served, since it would get what
was approved for the first. Where it is the same machine under a new name, bind
the id to it: what is known, approved and reported stays with the id. Where
`show` says that both come in turns they are clones of one image: give one of
them an id of its own instead. On it, stop the service wuauserv, delete the
values SusClientId and SusClientIdValidation below
HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\WindowsUpdate, start the
service, and run `wuauclt /resetauthorization /detectnow`.")]
    Bind {
        /// The endpoint: name, id, or beginning of the id
        #[arg(value_name = "NAME|ID")]
        endpoint: String,
        /// The name of the machine that the id belongs to from now on
        #[arg(value_name = "MACHINE")]
        name: String,
    },
    /// Forget endpoints with all that is kept of them; one that scans again is new
    #[command(after_help = "\
Examples:
  waystation endpoints forget pc1
  waystation endpoints list --unseen 180 --limit 0 --json | jq -r '.rows[].id' | xargs waystation endpoints forget

Its history goes with it. One that scans again has to be let in as any other
that was never seen (scan.unknown).")]
    Forget {
        /// Names, ids, or beginnings of ids
        #[arg(value_name = "NAME|ID", required = true)]
        endpoints: Vec<String>,
    },
}

/// Which endpoints are listed, and how.
#[derive(Clone, Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line, and any of them go together")]
pub struct Sieve {
    /// Only those with these words in what is known of them: name, id, system, maker, model, address, agent, groups
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Only those that wait to be let in
    #[arg(long)]
    pub held: bool,
    /// Only those whose id another machine came with
    #[arg(long)]
    pub contested: bool,
    /// Only those of which two machines live under one id
    #[arg(long)]
    pub clones: bool,
    /// Only those that were last heard of from outside the site
    #[arg(long)]
    pub roaming: bool,
    /// Only those that were not heard of for so many days
    #[arg(long, value_name = "DAYS")]
    pub unseen: Option<u32>,
    /// Only those of this group and of those below it: name, path or id
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
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
