//! What can be started: one type for each kind of job, and the checks that need nothing but the request itself.

use std::path::PathBuf;

use crate::base::digest::{Blake3, Sha256};
use crate::jobs::address::Address;
use crate::jobs::error::Error;

/// Addresses in one fetch job: bounds the record of the job and the memory of whoever lists it.
pub const FETCH_MAX: usize = 10_000;

/// Paths in one import job, before directories are walked.
pub const IMPORT_MAX: usize = 10_000;

/// The kinds of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Fills payloads ahead of time.
    Fetch,
    /// Reads payloads against their proofs because somebody asked.
    Verify,
    /// The same, because its time has come.
    Scrub,
    /// Takes files of the administrator's in.
    Import,
    /// Copies the index.
    Backup,
    /// Brings the catalog up to what the upstream has.
    Sync,
    /// Brings files that the content policy wants.
    Prefetch,
    /// Holds the catalog against Microsoft's.
    Crosscheck,
    /// Approves what the rules say.
    Rules,
}

impl Kind {
    /// The word for logs, metrics and the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Verify => "verify",
            Self::Scrub => "scrub",
            Self::Import => "import",
            Self::Backup => "backup",
            Self::Sync => "sync",
            Self::Prefetch => "prefetch",
            Self::Crosscheck => "crosscheck",
            Self::Rules => "rules",
        }
    }
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Work {
    /// See [`Fetch`].
    Fetch(Fetch),
    /// See [`Verify`].
    Verify(Verify),
    /// See [`Import`].
    Import(Import),
    /// See [`Backup`].
    Backup(Backup),
    /// One run of the catalog's synchronisation.
    Sync,
    /// Bring what the content policy wants and is not held.
    Prefetch,
    /// One of its lane of definition updates.
    Definitions,
    /// A comparison of the catalog with Microsoft's.
    Crosscheck,
    /// Have the rules approve what is due.
    Rules {
        /// Only the rule with this number; else all.
        rule: Option<u32>,
    },
}

/// Fill these ahead of time.
#[derive(Clone, Debug, Default)]
pub struct Fetch {
    /// What to fill, in order.
    pub items: Vec<FetchItem>,
    /// Pin what was filled, so that eviction leaves it alone.
    pub pin: bool,
    /// Ask the origins whether what is held is still what they have, and fill what is not.
    pub refresh: bool,
}

/// One address, and what it must turn out to be.
#[derive(Clone, Debug)]
pub struct FetchItem {
    /// The URL, or a path of one of the digest forms.
    pub address: String,
    /// The digest that the operator says it has; from now on it judges whatever comes from that address.
    pub sha256: Option<Sha256>,
}

/// Read payloads against their proofs.
#[derive(Clone, Debug, Default)]
pub struct Verify {
    /// Only this one; else all.
    pub only: Option<Blake3>,
    /// Mend what is bad: refetch the bad groups, or quarantine where no source is known. Without it what is bad is told
    /// and quarantined.
    pub repair: bool,
    /// Bytes a second to read at most; `None` for as fast as the disk gives.
    pub rate: Option<u64>,
    /// The clock started it, not a person.
    pub scheduled: bool,
}

/// Take files in.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// Files, or directories that are walked (symbolic links are not followed). Absolute.
    pub paths: Vec<PathBuf>,
    /// Take the files themselves instead of copies: they are gone from where they were.
    pub take: bool,
    /// What the one file must turn out to be.
    pub sha256: Option<Sha256>,
    /// The address that the one file is to be answered under.
    pub address: Option<String>,
}

/// Copy the index.
#[derive(Clone, Debug)]
pub struct Backup {
    /// The new file; absolute. One that is there already is not overwritten.
    pub to: PathBuf,
}

impl Work {
    /// The kind of job that this makes.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Fetch(_) => Kind::Fetch,
            Self::Verify(Verify { scheduled: true, .. }) => Kind::Scrub,
            Self::Verify(_) => Kind::Verify,
            Self::Import(_) => Kind::Import,
            Self::Backup(_) => Kind::Backup,
            Self::Sync | Self::Definitions => Kind::Sync,
            Self::Crosscheck => Kind::Crosscheck,
            Self::Prefetch => Kind::Prefetch,
            Self::Rules { .. } => Kind::Rules,
        }
    }

    /// What two jobs cannot be in at once: two readers of the whole disk, two of one payload, two writers of a copy.
    pub(in crate::jobs) fn lane(&self) -> Option<String> {
        match self {
            Self::Fetch(_) | Self::Import(_) => None,
            Self::Verify(Verify { only: Some(blake3), .. }) => Some(format!("verify {blake3}")),
            Self::Verify(_) => Some("verify".to_owned()),
            Self::Backup(_) => Some("backup".to_owned()),
            // They write the same catalog, and the history has one of them at a time.
            Self::Sync | Self::Definitions | Self::Crosscheck => Some("sync".to_owned()),
            Self::Prefetch => Some("prefetch".to_owned()),
            Self::Rules { .. } => Some("rules".to_owned()),
        }
    }

    /// Whether it cannot do without an origin.
    pub(in crate::jobs) const fn needs_origins(&self) -> bool {
        // An address is mapped as clients' requests are, which only a node with its rules can.
        matches!(
            self,
            Self::Fetch(_)
                | Self::Prefetch
                | Self::Verify(Verify { repair: true, .. })
                | Self::Import(Import { address: Some(_), .. })
        )
    }

    /// One line for people: what it does.
    pub fn title(&self) -> String {
        match self {
            Self::Fetch(work) => match work.items.as_slice() {
                [one] => Address::redact(&one.address),
                many => format!("{} addresses", many.len()),
            },
            Self::Verify(work) => match work.only {
                Some(blake3) => format!("payload {blake3}"),
                None => "all payloads".to_owned(),
            },
            Self::Import(work) => match work.paths.as_slice() {
                [one] => one.display().to_string(),
                many => format!("{} paths", many.len()),
            },
            Self::Backup(work) => work.to.display().to_string(),
            Self::Sync => "the catalog".to_owned(),
            Self::Prefetch => "what the content policy wants".to_owned(),
            Self::Definitions => "definition updates".to_owned(),
            Self::Crosscheck => "the catalog, compared with Microsoft's".to_owned(),
            Self::Rules { .. } => "what the rules approve".to_owned(),
        }
    }

    pub(in crate::jobs) fn check(&self) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::Input(what));
        match self {
            Self::Fetch(work) if work.items.is_empty() => refuse("nothing to fetch: give at least one URL".to_owned()),
            Self::Fetch(work) if work.items.len() > FETCH_MAX => {
                refuse(format!("{} addresses are too many for one job: give at most {FETCH_MAX}", work.items.len()))
            }
            Self::Fetch(work) if work.refresh && work.items.iter().any(|item| item.sha256.is_some()) => {
                refuse("where a digest is known there is nothing to ask again: give no digest to a refresh".to_owned())
            }
            Self::Fetch(work) => work.items.iter().try_for_each(|item| Address::parse(&item.address).map(drop)),
            Self::Verify(Verify { rate: Some(0), .. }) => {
                refuse("a rate of 0 bytes a second would never end: give at least 1".to_owned())
            }
            Self::Verify(_)
            | Self::Sync
            | Self::Definitions
            | Self::Crosscheck
            | Self::Prefetch
            | Self::Rules { .. } => Ok(()),
            Self::Import(work) if work.paths.is_empty() => {
                refuse("nothing to import: give at least one path".to_owned())
            }
            Self::Import(work) if work.paths.len() > IMPORT_MAX => {
                refuse(format!("{} paths are too many for one job: give at most {IMPORT_MAX}", work.paths.len()))
            }
            Self::Import(work) if work.sha256.is_some() && work.paths.len() != 1 => {
                refuse("one SHA-256 can only be meant for one file: import the files one by one".to_owned())
            }
            Self::Import(work) => {
                if let Some(address) = &work.address {
                    if work.paths.len() != 1 {
                        return refuse(
                            "one URL can only be meant for one file: import the files one by one".to_owned(),
                        );
                    }
                    Address::parse(address)?;
                }
                work.paths.iter().try_for_each(|path| absolute(path))
            }
            Self::Backup(work) => absolute(&work.to),
        }
    }
}

fn absolute(path: &std::path::Path) -> Result<(), Error> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(Error::Input(format!(
        "{} is relative, and the node stands in another directory: give an absolute path",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(addresses: &[&str]) -> Work {
        let items = addresses.iter().map(|text| FetchItem { address: (*text).to_owned(), sha256: None }).collect();
        Work::Fetch(Fetch { items, pin: false, refresh: false })
    }

    #[test]
    fn what_can_never_work_is_refused_at_once() {
        assert!(fetch(&["http://dl.example.org/a"]).check().is_ok());
        for work in [
            fetch(&[]),
            fetch(&["ftp://dl.example.org/a"]),
            fetch(&vec!["http://h/a"; FETCH_MAX + 1]),
            Work::Verify(Verify { rate: Some(0), ..Verify::default() }),
            Work::Import(Import::default()),
            Work::Import(Import { paths: vec!["relative".into()], ..Import::default() }),
            Work::Import(Import {
                paths: vec!["/a".into(), "/b".into()],
                sha256: Some(Sha256::new([0; 32])),
                ..Import::default()
            }),
            Work::Import(Import {
                paths: vec!["/a".into(), "/b".into()],
                address: Some("http://h/a".to_owned()),
                ..Import::default()
            }),
            Work::Fetch(Fetch {
                items: vec![FetchItem { address: "http://h/a".to_owned(), sha256: Some(Sha256::new([0; 32])) }],
                refresh: true,
                pin: false,
            }),
            Work::Backup(Backup { to: "x.redb".into() }),
        ] {
            assert!(work.check().is_err(), "{}", work.title());
        }
    }

    #[test]
    fn a_title_shows_no_signed_query() {
        assert_eq!(fetch(&["http://h/a?P1=1&P4=secret"]).title(), "http://h/a?…");
    }
}
