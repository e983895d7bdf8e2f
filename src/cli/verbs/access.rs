//! The verbs of who may come in: `accounts ...`, `tokens ...`, `audit ...`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// `accounts ...`
#[derive(Debug, Subcommand)]
pub enum AccountsVerb {
    /// List who may sign in, with role, groups and last sign-in
    #[command(after_help = "\
Examples:
  waystation accounts list
  waystation accounts list --json | jq -r '.rows[] | [.name, .role] | @tsv'")]
    List,
    /// Make an account
    #[command(after_help = "\
Examples:
  waystation accounts add anna --role administrator
  waystation accounts add olga --role operator --group Contoso
  waystation accounts add ivo --role auditor --password-file ivo.txt

The password is asked for, or read from a file (- is standard input), its first
line alone. An auditor sees everything and changes nothing, an operator does the
daily work, an administrator also has accounts and settings. Bound to groups it
sees and changes the endpoints of these and of the groups below them alone.")]
    Add {
        /// Letters, digits and . _ - @
        #[arg(value_name = "NAME")]
        name: String,
        /// administrator, operator or auditor
        #[arg(long, value_name = "ROLE", default_value = "auditor")]
        role: String,
        /// A group to bind it to, by name, path or id; may be given several times
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// The password.
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Change role or groups of an account
    #[command(after_help = "\
Examples:
  waystation accounts set olga --role administrator
  waystation accounts set olga --group Contoso --group Fabrikam
  waystation accounts set olga --everywhere")]
    Set {
        /// The account
        #[arg(value_name = "NAME")]
        name: String,
        /// administrator, operator or auditor
        #[arg(long, value_name = "ROLE")]
        role: Option<String>,
        /// A group to bind it to, in the place of those that it is bound to; may be given several times
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// Take the bound away
        #[arg(long, conflicts_with = "groups")]
        everywhere: bool,
    },
    /// Set another password; all sessions of the account end
    #[command(after_help = "\
Examples:
  waystation accounts password anna
  pwgen 24 1 | tee anna.txt | waystation accounts password anna --password-file -

The way back in where a password was lost: over the control socket nobody asks
for the old one. A wait after too many attempts ends too.")]
    Password {
        /// The account
        #[arg(value_name = "NAME")]
        name: String,
        /// The password.
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Remove an account with its sessions and tokens
    #[command(after_help = "\
Examples:
  waystation accounts remove olga")]
    Remove {
        /// The account
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Write a new one-time code for the first account, good for 15 minutes
    #[command(after_help = "\
Examples:
  waystation accounts setup-code

The file can be read by root and the node's own user. There is none once an
account was made.")]
    SetupCode,
}

/// Where a password comes from.
#[derive(Debug, Args)]
pub struct PasswordArgs {
    /// Read the password from the first line of a file; - is standard input [default: ask]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub password_file: Option<PathBuf>,
}

/// `tokens ...`
#[derive(Debug, Subcommand)]
pub enum TokensVerb {
    /// List tokens: whose they are, what for, until when, last used
    #[command(after_help = "\
Examples:
  waystation tokens list")]
    List,
    /// Make a token for scripts, and print it this once
    #[command(after_help = "\
Examples:
  waystation tokens make reports --account anna --scope '*:read' > reports.token
  waystation tokens make approver --account olga --scope approvals:write --scope endpoints:read --days 30
  waystation --node https://ws.example:6202 --node-token reports.token --node-ca site-ca.pem status

Scopes are AREA:read or AREA:write; areas are status, content, catalog,
endpoints, approvals, nodes, settings, accounts, audit, and * for all of them.
What a person is asked for the password again needs the scope confirmed too.
A token never does more than its account, and goes with it.")]
    Make {
        /// What to know it by
        #[arg(value_name = "NAME")]
        name: String,
        /// Whose it is; needed over the control socket
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// What it is for; may be given several times
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<String>,
        /// At most the account's [default: the account's]
        #[arg(long, value_name = "ROLE")]
        role: Option<String>,
        /// A group to bind it to; may be given several times
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// How many days it is good
        #[arg(long, value_name = "DAYS", default_value_t = 90)]
        days: u64,
    },
    /// Revoke a token, at once
    #[command(after_help = "\
Examples:
  waystation tokens list
  waystation tokens revoke 3f9c2a71b0de")]
    Revoke {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// `audit ...`
#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// Show what was changed, by whom, the newest first
    #[command(after_help = "\
Examples:
  waystation audit list
  waystation audit list --limit 500 --before 1200
  waystation audit list --json | jq -r '.rows[] | [.at, .who, .what, .before, .after] | @tsv'")]
    List {
        /// Entries
        #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=500))]
        limit: u64,
        /// Only entries of lower numbers
        #[arg(long, value_name = "NUMBER")]
        before: Option<u64>,
    },
    /// Check that the log is what was written: exits with 1 where it is not
    #[command(after_help = "\
Examples:
  waystation audit check
  waystation audit check --json | jq -r .head

Each entry carries a hash over itself and the entry before it. Note the last
hash somewhere else from time to time: whoever can write the index could make a
whole new log, and only a hash that was noted shows that.")]
    Check,
}
