//! The allow-list in force. It can be replaced while it is asked: a question sees the old list or the new one, whole.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::model::origin::allow::{Listed, Permit};
use crate::model::origin::{Host, OriginError};

/// The origins that may be asked.
#[derive(Default)]
pub struct AllowList {
    listed: ArcSwap<Listed>,
    /// How often it was replaced.
    replaced: AtomicU64,
}

impl AllowList {
    /// The shipped list and then `entries` on top: `*.host`, `host`, `https://host`, `host:port`, `!host` removes.
    pub fn new(entries: &[String]) -> Result<Self, OriginError> {
        Ok(Self { listed: ArcSwap::from_pointee(Listed::new(entries)?), replaced: AtomicU64::default() })
    }

    /// The shipped list with other entries on top, from now on and for all who share this one. What cannot be read
    /// changes nothing.
    pub fn replace(&self, entries: &[String]) -> Result<(), OriginError> {
        self.listed.store(Listed::new(entries)?.into());
        self.replaced.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Another number after each replacement. An answer is of the list of this number or of a later one, where the number was
    /// asked for first.
    pub fn revision(&self) -> u64 {
        self.replaced.load(Ordering::Acquire)
    }

    /// The permit for `host`; `port` where the asker named one (`None`: the entry's, else 80).
    ///
    /// Naming 80 or 443 is naming none where the entry has its scheme's own port: a client writes the port under which
    /// it reached this node, and what the origin is asked with is the entry's business.
    pub fn permit(&self, host: &Host, port: Option<u16>) -> Option<Permit> {
        self.listed.load().permit(host, port)
    }

    /// The permit for exactly this scheme, host and port: what a redirect or a location in a catalog leads to. An entry
    /// without scheme and port lets `https` through at 443 too; none lets `http` through where it says `https`.
    pub fn admits(&self, https: bool, host: &Host, port: u16) -> Option<Permit> {
        self.listed.load().admits(https, host, port)
    }

    /// What `check-config` should warn of: two entries of one host, entries that remove nothing, ...
    pub fn warnings(&self) -> Vec<String> {
        self.listed.load().warnings()
    }

    /// The configured hosts that are let through by name or literally, each with every scheme and port that an entry gives
    /// it, as `scheme://host[:port]`: what `doctor` tests where nothing else is said.
    pub fn configured_hosts(&self) -> Vec<String> {
        self.listed.load().configured_hosts()
    }
}

impl Clone for AllowList {
    /// A list of its own: replacing one leaves the other.
    fn clone(&self) -> Self {
        Self { listed: ArcSwap::new(self.listed.load_full()), replaced: AtomicU64::default() }
    }
}

impl fmt::Debug for AllowList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.listed.load().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_list_is_the_new_one_for_all_and_a_bad_one_changes_nothing() {
        let entries = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>();
        let list = AllowList::new(&entries(&["a.example"])).unwrap();
        let (a, b) = (Host::parse("a.example").unwrap(), Host::parse("b.example").unwrap());
        assert!(list.permit(&a, None).is_some() && list.permit(&b, None).is_none());
        list.replace(&entries(&["b.example", "user@c"])).unwrap_err();
        assert!(list.permit(&a, None).is_some() && list.permit(&b, None).is_none());
        list.replace(&entries(&["b.example"])).unwrap();
        assert!(list.permit(&a, None).is_none() && list.permit(&b, None).is_some());
    }
}
