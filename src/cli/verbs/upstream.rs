//! The verbs of what stands above: `upstream ...`.

use clap::{Args, Subcommand, ValueHint};

/// `upstream ...`
#[derive(Debug, Subcommand)]
pub enum UpstreamVerb {
    /// Show who is asked now, who after a restart, and from whom the catalog came
    #[command(after_help = "\
Examples:
  waystation upstream show
  waystation upstream show --json | jq .after_restart")]
    Show,
    /// Choose another one; the next start of the node takes it
    #[command(after_help = "\
Examples:
  waystation upstream set wsus http://wsus.site.example:8530
  waystation upstream set wsus https://wsus.site.example:8531 --proxy none
  waystation upstream set microsoft

Kept in the store with who and when, beneath the configuration: what the file,
the environment or a flag sets cannot be changed here. Test it first:
`waystation upstream test` takes the same. Content stays, and so does the
catalog, until the first run from the new upstream has ended well; then what
that one does not have goes. Of a WSUS server everything is taken that it has,
whatever the filters say. What comes over plain HTTP is unauthenticated.")]
    Set(Choice),
    /// Take back what was set; the configuration or the default holds again
    #[command(after_help = "\
Examples:
  waystation upstream reset")]
    Reset,
    /// Test the way to it, and say what to do about what is wrong
    #[command(after_help = "\
Examples:
  waystation upstream test
  waystation upstream test wsus http://wsus.site.example:8530

Looks at what `waystation doctor` looks at, of the upstream alone: its sync
service, and its content where that comes from it. Where another one is set for
the next start, its sync service is tested too. With a kind and a URL that one
is tested, and nothing is changed. Exits with 1 if something does not work.")]
    Test {
        /// microsoft or wsus [default: what is set]
        #[arg(value_name = "KIND", value_parser = ["microsoft", "wsus"])]
        kind: Option<String>,
        /// The base URL of the WSUS server
        #[arg(value_name = "URL", value_hint = ValueHint::Url, requires = "kind")]
        url: Option<String>,
        /// Another way out than the one that is set: none, global ([proxy]), or the URL of a proxy
        #[arg(long, value_name = "PROXY", requires = "kind")]
        proxy: Option<String>,
    },
}

/// Who is to be asked.
#[derive(Debug, Args)]
pub struct Choice {
    /// microsoft or wsus
    #[arg(value_name = "KIND", value_parser = ["microsoft", "wsus"])]
    pub kind: String,
    /// The base URL of the WSUS server, such as http://wsus.site.example:8530
    #[arg(value_name = "URL", value_hint = ValueHint::Url, required_if_eq("kind", "wsus"))]
    pub url: Option<String>,
    /// How it is asked: none (directly), global (through [proxy]), or the URL of a proxy [default: as it is set]
    #[arg(long, value_name = "PROXY")]
    pub proxy: Option<String>,
}
