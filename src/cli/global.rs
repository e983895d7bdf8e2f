//! The flags that every verb understands.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::app::LogFormat;

/// Flags that every verb understands.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The data directory [default: /var/lib/waystation for root, else ~/.local/share/waystation]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Everywhere")]
    pub data: Option<PathBuf>,
    /// The configuration file [default: waystation.toml in the data directory, if it is there]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Everywhere")]
    pub config: Option<PathBuf>,
    /// Set one key above everything else, e.g. store.max_size="50 GiB"; may be given several times
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = pair, help_heading = "Everywhere")]
    pub set: Vec<(String, String)>,
    /// Ask the node at this address instead of the one here, such as https://ws.example:6202
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url, help_heading = "Everywhere")]
    pub node: Option<String>,
    /// The file with the token for --node
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "node", help_heading = "Everywhere")]
    pub node_token: Option<PathBuf>,
    /// Believe only certificates that one in this PEM file signed, such as the node's site CA
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "node", help_heading = "Everywhere")]
    pub node_ca: Option<PathBuf>,
    /// Print JSON for scripts instead of tables for people
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub json: bool,
    /// What is logged to standard error: error, warn, info, debug, trace, or directives such as waystation::fill=debug
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Everywhere")]
    pub log: Option<String>,
    /// How log lines look: auto, human or json
    #[arg(long, global = true, value_name = "FORMAT", value_parser = log_format, help_heading = "Everywhere")]
    pub log_format: Option<LogFormat>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as section.key=value".to_owned()),
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err("write auto, human or json".to_owned()),
    }
}
