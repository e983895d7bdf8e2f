//! Files that came whole and were not what is published. They would be so again: a file of 5 GB with a wrong published digest, or behind
//! a proxy that rewrites it, must not cost the link 5 GB with every job. Who begins a prefetch by hand has them tried again; one that
//! begins by itself does so where what the catalog says of the file has changed, or where it can be had. Kept in memory: a restart
//! tries each once more.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::digest::Sha1;
use crate::base::time::Timestamp;
use crate::store::catalog::{Upstream, WantedFile};

/// Files that are remembered; the oldest make room. Where more do not match, the catalog or the way to the files is wrong as a whole.
const REMEMBERED: usize = 1_000;
/// Bytes of a name and of a reason.
const TEXT_MAX: usize = 300;

/// A file that came whole and was not what is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatched {
    /// Its name.
    pub name: String,
    /// Its digest, as published.
    pub sha1: Sha1,
    /// Which digest did not match, and what came instead.
    pub why: String,
    /// When that was.
    pub at: Timestamp,
}

/// What the catalog says of a file and of where it can be had, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jobs) struct Mark(u64);

impl Mark {
    pub(in crate::jobs) fn of(file: &WantedFile, upstream: &Upstream) -> Self {
        // Addresses come in the order in which they were heard of, which says nothing of the file.
        let mut urls: Vec<&str> = file.urls.iter().map(String::as_str).collect();
        urls.sort_unstable();
        let what = (file.file.sha1.as_bytes(), file.file.sha256.map(|sha256| *sha256.as_bytes()), file.file.size);
        let mut hasher = DefaultHasher::new();
        (what, file.unauthenticated, urls, &upstream.address).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// All that are remembered.
#[derive(Debug, Default)]
pub(in crate::jobs) struct Mismatches(Mutex<HashMap<Sha1, (Mark, Mismatched)>>);

impl Mismatches {
    fn all(&self) -> MutexGuard<'_, HashMap<Sha1, (Mark, Mismatched)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This one did not match.
    pub(in crate::jobs) fn remember(&self, mark: Mark, file: &WantedFile, why: &str, now: Timestamp) {
        let cut = |text: &str| text.get(..text.floor_char_boundary(TEXT_MAX)).unwrap_or_default().to_owned();
        let sha1 = file.file.sha1;
        let what = Mismatched { name: cut(&file.file.name), sha1, why: cut(why), at: now };
        let mut all = self.all();
        if all.len() >= REMEMBERED
            && !all.contains_key(&sha1)
            && let Some(oldest) = all.values().min_by_key(|(_, what)| what.at).map(|(_, what)| what.sha1)
        {
            all.remove(&oldest);
        }
        all.insert(sha1, (mark, what));
    }

    /// This one came, or is to be tried again.
    pub(in crate::jobs) fn forget(&self, sha1: &Sha1) {
        self.all().remove(sha1);
    }

    /// What is remembered of a file of which the catalog still says the same.
    pub(in crate::jobs) fn known(&self, file: &WantedFile, upstream: &Upstream) -> Option<Mismatched> {
        let all = self.all();
        let (mark, what) = all.get(&file.file.sha1)?;
        (*mark == Mark::of(file, upstream)).then(|| what.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::update::File;
    use crate::store::catalog::UpstreamKind;

    fn file(at: u16) -> WantedFile {
        let mut sha1 = [0; 20];
        sha1[..2].copy_from_slice(&at.to_be_bytes());
        WantedFile {
            file: File {
                sha1: Sha1::new(sha1),
                sha256: None,
                name: "é".repeat(400),
                size: 5,
                modified: None,
                patching: String::new(),
                encrypted: false,
            },
            in_parts: false,
            urls: vec!["http://a/1".to_owned(), "http://b/1".to_owned()],
            unauthenticated: false,
            held: false,
        }
    }

    #[test]
    fn it_holds_as_long_as_the_catalog_says_the_same_and_no_more_than_so_many() {
        let address = "http://wsus:8530".to_owned();
        let upstream = Upstream { kind: UpstreamKind::Wsus, address, unauthenticated: true };
        let all = Mismatches::default();
        let remember = |one: &WantedFile, at: u64| {
            all.remember(Mark::of(one, &upstream), one, "sha256-1 and not sha256-2", Timestamp::from_ms(at));
        };
        let one = file(1);
        remember(&one, 1);
        let known = all.known(&one, &upstream).unwrap();
        assert!(known.name.len() == TEXT_MAX && known.why.contains("not sha256-2"), "{known:?}");
        let turned = WantedFile { urls: one.urls.iter().rev().cloned().collect(), ..one.clone() };
        assert!(all.known(&turned, &upstream).is_some(), "the order of its addresses says nothing");
        let elsewhere = WantedFile { urls: vec!["http://c/1".to_owned()], ..one.clone() };
        let other = WantedFile { file: File { size: 6, ..one.file.clone() }, ..one.clone() };
        let proven = WantedFile { unauthenticated: true, ..one.clone() };
        for changed in [elsewhere, other, proven] {
            assert_eq!(all.known(&changed, &upstream), None, "{changed:?}");
        }
        let moved = Upstream { address: "https://wsus:8531".to_owned(), ..upstream.clone() };
        assert_eq!(all.known(&one, &moved), None);
        for at in 2..=1_001 {
            remember(&file(at), at.into());
        }
        assert_eq!((all.known(&one, &upstream), all.all().len()), (None, REMEMBERED), "the oldest made room");
        all.forget(&file(2).file.sha1);
        assert!(all.known(&file(2), &upstream).is_none() && all.known(&file(3), &upstream).is_some());
    }
}
