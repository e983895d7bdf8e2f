//! What a simulator is told when it starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Whom it plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Character {
    /// Microsoft's sync service: catalog only, the files lie at absolute addresses on its content server.
    Microsoft,
    /// A WSUS server: the files lie under /Content once somebody asked for them.
    Wsus,
}

/// How documents above 5,120 bytes of UTF-16 travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Blobs {
    /// MSZIP cabinets.
    Mszip,
    /// LZX cabinets, window 21, as real servers send.
    Lzx,
    /// LZX, MSZIP and stored LZX by turns, chosen by the id.
    Mixed,
    /// As text, always.
    Plain,
}

/// All of it. The same options make the same catalog.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whom it plays.
    pub character: Character,
    /// Software and drivers in the first catalog, hidden ones counted.
    pub updates: usize,
    /// What everything follows from.
    pub seed: u64,
    /// Months to publish before the start.
    pub months: u32,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What stands before `/c/msdownload/..` in `MUUrl`; none: itself as Microsoft, Microsoft's host as WSUS.
    pub mu_url: Option<String>,
    /// How long cookies last; none: one hour as Microsoft, four as WSUS.
    pub cookie: Option<Duration>,
    /// Updates with documents of 10 to 47 MB.
    pub huge: u32,
    /// File sizes are multiplied by this.
    pub file_scale: f64,
    /// How large documents travel.
    pub blobs: Blobs,
    /// Where each request is noted as a line of JSON.
    pub log: Option<PathBuf>,
    /// How long a file stays missing after DownloadFiles named it.
    pub lazy: Duration,
    /// Whether a WSUS has all files from the start.
    pub eager: bool,
    /// Whether an update is listed whatever the anchor says only where its product and its classification are both named with `Delta`
    /// false. By default one of them is enough. Nobody has recorded which of the two real servers do.
    pub strict_delta: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            character: Character::Microsoft,
            updates: 2_000,
            seed: 1,
            months: 0,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            mu_url: None,
            cookie: None,
            huge: 0,
            file_scale: 1.0,
            blobs: Blobs::Mixed,
            log: None,
            lazy: Duration::ZERO,
            eager: false,
            strict_delta: false,
        }
    }
}
