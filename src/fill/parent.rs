//! What comes from the node above, and what from where it is published.
//!
//! 1. The parent is asked for what has a published digest, by that digest: there are no addresses there.
//! 2. Where the authority has signed the BLAKE3 of such a file, that goes with it, so that each group is checked as it comes.
//! 3. What breaks out at this site, by its host or by the updates that have it, comes from where it is published.
//! 4. The other side stays behind for when the first one fails, where that is allowed.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::base::digest::{Blake3, Digest, Sha1, Sha256};
use crate::model::origin::split;
use crate::model::payload::{Location, Published, Standing};
use crate::upstream::above;

/// What is found out meanwhile.
pub type Asking<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the authority signed of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// As it was published.
    pub sha256: Option<Sha256>,
    /// As the authority computed it.
    pub blake3: Blake3,
    /// Its length.
    pub size: u64,
}

/// Looks a file up among what the authority signed.
pub type LookUp = Arc<dyn Fn(Sha1) -> Asking<Option<Signed>> + Send + Sync>;
/// Whether the updates that have a file break out here.
pub type BreaksOut = Arc<dyn Fn(Sha1) -> Asking<bool> + Send + Sync>;

/// The node above, and what is taken from it.
#[derive(Clone)]
pub struct Parent {
    /// See [`LookUp`].
    pub signed: LookUp,
    /// See [`BreaksOut`].
    pub breaks_out: BreaksOut,
    /// Hosts, or ends of names behind `*`, whose files come from there.
    pub direct_hosts: Vec<String>,
    /// Whether the other side may be asked where the first one fails.
    pub failover: bool,
}

impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parent").field("direct_hosts", &self.direct_hosts).finish_non_exhaustive()
    }
}

impl Parent {
    /// The places in the order in which they are asked. `published` is what they would be without a parent, `listed` the SHA-1 under which
    /// the catalog has the file.
    pub(super) async fn places(
        &self,
        expected: Option<Published>,
        listed: Option<Sha1>,
        published: Vec<Location>,
    ) -> Vec<Location> {
        let Some(expected) = expected else { return published };
        let sha1 = expected.sha1.or(listed);
        let signed = match sha1 {
            Some(sha1) => (self.signed)(sha1).await,
            None => None,
        };
        // Another file with this SHA-1 is another file.
        let signed = signed.filter(|signed| match (signed.sha256, expected.sha256) {
            (Some(signed), Some(expected)) => signed == expected,
            _ => true,
        });
        let asked = match (expected.sha256, expected.sha1, expected.blake3) {
            (Some(sha256), ..) => Digest::Sha256(sha256),
            (_, Some(sha1), _) => Digest::Sha1(sha1),
            (.., Some(blake3)) => Digest::Blake3(blake3),
            (None, None, None) => return published,
        };
        let up = above::place(&asked, signed.map(|signed| (signed.blake3, signed.size)));
        let breaks_out = published.iter().any(|place| self.is_direct(&place.url))
            || match sha1 {
                Some(sha1) => (self.breaks_out)(sha1).await,
                None => false,
            };
        order(breaks_out, self.failover, up, published)
    }

    fn is_direct(&self, url: &str) -> bool {
        let Some((_, host, ..)) = split(url) else { return false };
        self.direct_hosts.iter().any(|entry| match entry.strip_prefix('*') {
            Some(end) => host.as_str().ends_with(end) && host.as_str().len() > end.len(),
            None => host.as_str() == entry,
        })
    }
}

fn order(breaks_out: bool, failover: bool, up: Location, mut published: Vec<Location>) -> Vec<Location> {
    match (breaks_out, failover) {
        (false, true) => published.insert(0, up),
        (false, false) => {
            // What the configuration names as upstream stays: somebody wrote it there.
            published.retain(|place| place.standing == Standing::Upstream);
            published.insert(0, up);
        }
        (true, true) => published.push(up),
        (true, false) if published.is_empty() => published.push(up),
        (true, false) => {}
    }
    published
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::payload::Authority;

    fn parent(failover: bool, breaks_out: bool) -> Parent {
        let signed = Signed { sha256: Some(Sha256::new([2; 32])), blake3: Blake3::new([3; 32]), size: 4 };
        Parent {
            signed: Arc::new(move |sha1| Box::pin(async move { (sha1 == Sha1::new([1; 20])).then_some(signed) })),
            breaks_out: Arc::new(move |_| Box::pin(async move { breaks_out })),
            direct_hosts: vec!["definitions.example.org".into(), "*.store.example.net".into()],
            failover,
        }
    }

    fn published(url: &str) -> Vec<Location> {
        vec![Location { url: url.to_owned(), standing: Standing::Allowed }]
    }

    async fn urls(parent: &Parent, expected: Option<Published>, url: &str) -> Vec<String> {
        let listed = Some(Sha1::new([1; 20]));
        let places = parent.places(expected, listed, published(url)).await;
        places
            .into_iter()
            .map(|place| place.url.replace(&"02".repeat(32), "02").replace(&"03".repeat(32), "03"))
            .collect()
    }

    #[tokio::test]
    async fn the_parent_comes_first_but_for_what_breaks_out() {
        let expected = Some(Published::one(Digest::Sha256(Sha256::new([2; 32])), Authority::Catalog));
        let (up, there) = ("node://parent/sha256/02?blake3=03&size=4", "http://dl.example.org/a.cab");
        assert_eq!(urls(&parent(true, false), expected, there).await, [up, there]);
        assert_eq!(urls(&parent(false, false), expected, there).await, [up]);
        assert_eq!(urls(&parent(true, true), expected, there).await, [there, up]);
        assert_eq!(urls(&parent(false, true), expected, there).await, [there]);
        for there in ["http://definitions.example.org/a", "https://a.store.example.net/a"] {
            assert_eq!(urls(&parent(true, false), expected, there).await, [there, up]);
        }
        for there in ["http://x.definitions.example.org/a", "https://store.example.net/a"] {
            assert_eq!(urls(&parent(true, false), expected, there).await, [up, there]);
        }
        // Nothing is published of it: the parent cannot be asked for an address.
        assert_eq!(urls(&parent(false, false), None, there).await, [there]);
        // The authority signed another file with that SHA-1.
        let other = Some(Published::one(Digest::Sha256(Sha256::new([9; 32])), Authority::Catalog));
        let places = urls(&parent(true, false), other, there).await;
        assert!(places[0].starts_with("node://parent/sha256/0909") && !places[0].contains("blake3"), "{places:?}");
    }

    #[test]
    fn what_the_configuration_names_stays() {
        let named = Location { url: "http://node.example".into(), standing: Standing::Upstream };
        let up = above::place(&Digest::Sha1(Sha1::new([1; 20])), None);
        assert_eq!(order(false, false, up.clone(), vec![named.clone()]), [up, named]);
    }
}
