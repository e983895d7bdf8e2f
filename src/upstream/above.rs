//! Content from the node above: where it lies there, and what proves it.
//!
//! 1. A place there is `node://parent/<kind>/<hex>`, with `?blake3=<hex>&size=<bytes>` where the authority signed that of the file; which address that is today, and how it is spoken to, the chain says.
//! 2. Of what is asked for by a signed BLAKE3 the parent is asked for the part of the hash tree that the range needs, in blocks of 16 MiB. It
//!    must make that BLAKE3, so that nobody is believed.
//! 3. Whole groups are asked for, and each is held against its leaf before a byte of it is handed out (`verified`).
//! 4. Where the parent has no proof, since it is itself still filling, it counts as any origin: digests judge at the end.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::{Registry, Unit};
use quick_cache::sync::Cache;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::base::digest::{Blake3, Digest};
use crate::base::limits::GROUP;
use crate::base::span::Span;
use crate::model::payload::{Location, Standing};
use crate::upstream::body::Body;
use crate::upstream::error::{Cause, Failure};
use crate::upstream::peer::Parent;
use crate::upstream::retry::{Next, Trying};
use crate::upstream::verified::Verified;
use crate::upstream::{Answer, Ask, Core, Error, Method, Pinned, failed, put};
use crate::wire::peer::slice::{self, Slice, group, groups};

/// What stands before a place at the parent.
const PREFIX: &str = "node://parent/";
const SIGNED: &str = "?blake3=";
const OF: &str = "&size=";
/// How messages and health name it.
pub(super) const LABEL: &str = "parent";
/// Groups whose leaves are asked for together: 16 MiB of a payload, 8 KiB of leaves.
pub(super) const BLOCK: u64 = 256;
/// Blocks that are remembered: 8 MiB of memory, 16 GiB of payloads.
const BLOCKS_MAX: usize = 1024;
/// Checked groups that are remembered, since only a part of each was wanted: 4 MiB.
const GROUPS: usize = 64;
/// For how long it is believed that the parent has no proof of something.
const WITHOUT: Duration = Duration::from_secs(5);
/// Payloads without a proof that are remembered.
const WITHOUT_MAX: usize = 1024;
/// How long the parent may take to find a part of a proof.
const PROOF_TIME: Duration = Duration::from_secs(15);

/// The way to the parent of now; `None` while there is none.
pub type Ways = watch::Receiver<Option<Arc<Parent>>>;

/// What is counted of content from the parent.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes that were held against a signed BLAKE3 and fit.
    pub verified: Counter,
    /// Groups that did not fit.
    pub bad: Counter,
    /// Parts of hash trees that were fetched.
    pub proofs: Counter,
    /// Times that the parent had no proof.
    pub without: Counter,
}

impl Counters {
    /// Enters all of them.
    pub fn register(&self, registry: &mut Registry) {
        let of = |counter: &Counter| counter.clone();
        let help = "Bytes from the parent that were checked against a signed BLAKE3 before they were used";
        registry.register_with_unit("verified", help, Unit::Bytes, of(&self.verified));
        registry.register("bad_groups", "Groups from the parent that are not what the authority signed", of(&self.bad));
        registry.register("proofs", "Parts of hash trees that the parent gave", of(&self.proofs));
        registry.register("without_proof", "Questions for which the parent had no proof yet", of(&self.without));
    }
}

/// The node above, as content is asked of it.
pub(super) struct Above {
    ways: Ways,
    slices: Cache<(Blake3, u64), Arc<Slice>>,
    without: Cache<Blake3, Instant>,
    /// Of which a part was wanted: the rest is asked for next.
    pub(super) groups: Cache<(Blake3, u64), Bytes>,
    pub(super) counters: Arc<Counters>,
    turn: AtomicU64,
}

impl fmt::Debug for Above {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Above")
    }
}

/// Where the parent has what has this digest, and the BLAKE3 and size that the authority signed for it.
pub fn place(digest: &Digest, signed: Option<(Blake3, u64)>) -> Location {
    let (kind, hex) = match digest {
        Digest::Blake3(digest) => ("blake3", digest.to_string()),
        Digest::Sha256(digest) => ("sha256", digest.to_string()),
        Digest::Sha1(digest) => ("sha1", digest.to_string()),
    };
    let signed = signed.map(|(blake3, size)| format!("{SIGNED}{blake3}{OF}{size}")).unwrap_or_default();
    Location { url: format!("{PREFIX}{kind}/{hex}{signed}"), standing: Standing::Upstream }
}

/// Whether a place is at the parent.
pub fn is_place(url: &str) -> bool {
    url.starts_with(PREFIX)
}

/// The BLAKE3 that a place at the parent names, and the size that was signed with it.
fn blake3_of(url: &str) -> Option<(Blake3, Option<u64>)> {
    let rest = url.strip_prefix(PREFIX)?;
    match rest.split_once(SIGNED).and_then(|(_, signed)| signed.split_once(OF)) {
        Some((hex, size)) => Some((hex.parse().ok()?, Some(size.parse().ok()?))),
        None => Some((rest.strip_prefix("blake3/")?.parse().ok()?, None)),
    }
}

impl Above {
    pub(super) fn new(ways: Ways) -> Self {
        let (slices, without) = (Cache::new(BLOCKS_MAX), Cache::new(WITHOUT_MAX));
        Self { ways, slices, without, groups: Cache::new(GROUPS), counters: Arc::default(), turn: AtomicU64::new(0) }
    }

    /// The way to the parent, and at which of its addresses it is asked now.
    pub(super) fn way(&self) -> Result<(Arc<Parent>, String), Failure> {
        let parent = self.ways.borrow().clone();
        let none = || Cause::NotAllowed("this node has no parent, or does not know the way to it yet".into()).at(LABEL);
        let parent = parent.ok_or_else(none)?;
        let count = parent.addresses().len().max(1) as u64;
        let at = usize::try_from(self.turn.load(Ordering::Relaxed) % count).unwrap_or(0);
        let address = parent.authority(at).ok_or_else(none)?;
        Ok((parent, address))
    }

    /// It does not answer there: another address is next.
    pub(super) fn next_address(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }
}

/// The address of a place at the parent.
pub(super) fn resolved(url: &str, authority: &str) -> Option<String> {
    let rest = url.strip_prefix(PREFIX)?;
    let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
    Some(format!("https://{authority}/peer/v1/content/{rest}"))
}

/// The block of groups that one is in.
pub(super) async fn block(
    core: &Arc<Core>,
    above: &Above,
    blake3: Blake3,
    at: u64,
) -> Result<Option<Arc<Slice>>, Error> {
    let first = at / BLOCK * BLOCK;
    if let Some(known) = above.slices.get(&(blake3, first)) {
        return Ok(Some(known));
    }
    if above.without.get(&blake3).is_some_and(|until| Instant::now() < until) {
        return Ok(None);
    }
    let host = core.book.host(LABEL);
    let mut turn = host.turn().map_err(|(left, last)| Error::Resting {
        host: LABEL.to_owned(),
        why: format!("it failed again and again; at last: {last}"),
        retry_after: left,
    })?;
    let mut trying = Trying::of_node(core.config.patience);
    let bytes = loop {
        let failure = match once(above, blake3, first).await {
            Ok(bytes) => break bytes,
            Err(failure) => failure,
        };
        turn.looked(failure.cause.is_hosts());
        match trying.failed(&failure) {
            Next::At(at) => sleep_until(at).await,
            Next::Enough => return Err(failed(&host, failure)),
        }
    };
    let Some(bytes) = bytes else {
        above.counters.without.inc();
        above.without.insert(blake3, Instant::now() + WITHOUT);
        return Ok(None);
    };
    let fits = |slice: &Slice| {
        let end = first.saturating_add(BLOCK).min(groups(slice.size()));
        slice.groups() == (first..end) && slice.root() == Some(blake3)
    };
    if let Some(slice) = Slice::read(bytes).ok().filter(fits) {
        above.counters.proofs.inc();
        let slice = Arc::new(slice);
        above.slices.insert((blake3, first), Arc::clone(&slice));
        return Ok(Some(slice));
    }
    let why = format!("the part of the hash tree that it gave is not of {blake3}: what it sends cannot be checked");
    Err(failed(&host, Cause::Lied(why).at(LABEL)))
}

/// One attempt; `None`: it has no proof.
async fn once(above: &Above, blake3: Blake3, first: u64) -> Result<Option<Bytes>, Failure> {
    let (parent, _) = above.way()?;
    let path = format!("/peer/v1/proof/{blake3}?group={first}&count={BLOCK}");
    let asking = async {
        let reply = parent.get(&path, HeaderMap::new()).await?;
        let status = reply.status;
        Ok::<_, Error>((status, reply.collect(slice::BYTES_MAX).await?))
    };
    match timeout(PROOF_TIME, asking).await {
        Err(_) => Err(Cause::Silent(PROOF_TIME).at(LABEL)),
        Ok(Err(error)) => Err(Cause::Connect(error.to_string()).at(LABEL)),
        Ok(Ok((200, bytes))) => Ok(Some(bytes)),
        Ok(Ok((404, _))) => Ok(None),
        Ok(Ok((status @ (429 | 500..), _))) => Err(Cause::Busy { status, retry_after: None }.at(LABEL)),
        Ok(Ok((status, _))) => Err(Cause::Status(status).at(LABEL)),
    }
}

/// Asks the parent: steps 2 to 4 of the head.
pub(super) async fn ask(core: &Arc<Core>, above: &Arc<Above>, ask: Ask) -> Result<Answer, Error> {
    let asked = blake3_of(&ask.location.url).filter(|_| ask.method == Method::Get && ask.revalidate.is_none());
    let Some((blake3, signed)) = asked else { return put(core, ask).await };
    let wanted = ask.span.unwrap_or(Span::new(0, u64::MAX));
    let Some(first) = block(core, above, blake3, wanted.start() / GROUP).await? else { return put(core, ask).await };
    let size = first.size();
    // A slice does not prove the size of the whole: that was signed, too.
    if let Some(signed) = signed.filter(|signed| *signed != size) {
        let why = format!("it says that {blake3} has {size} bytes, and the authority signed {signed}");
        return Err(failed(&core.book.host(LABEL), Cause::Lied(why).at(LABEL)));
    }
    if let Some(pinned) = ask.pinned.as_ref().filter(|pinned| pinned.size != size) {
        let why = format!("it has {size} bytes there, and {} were pinned", pinned.size);
        return Err(Error::Changed { host: LABEL.to_owned(), why });
    }
    let wanted = wanted.intersect(&Span::new(0, size));
    if wanted.is_empty() {
        // An empty object, or a range beyond the end: its own answer says which.
        return put(core, ask).await;
    }
    let last = group((wanted.end() - 1) / GROUP, size);
    let mut wide = Span::new(wanted.start() / GROUP * GROUP, last.end());
    let validators = ask.pinned.as_ref().map(|pinned| pinned.validators.clone());
    let ready = validators.as_ref().and_then(|_| above.groups.get(&(blake3, wanted.start() / GROUP)));
    let validators = validators.unwrap_or_default();
    let mut verified = Verified::new(Arc::clone(core), Arc::clone(above), blake3, first, wanted);
    if let Some(ready) = ready {
        wide = Span::new(wide.start() + ready.len() as u64, wide.end());
        verified.begin_with(ready);
        if wide.is_empty() {
            let (total, headers) = (Some(size), Vec::new());
            return Ok(Answer {
                status: 206,
                span: wanted,
                total,
                validators,
                headers,
                body: Body::verified(verified),
            });
        }
    }
    let pinned = Some(Pinned { size, validators, digest_known: true });
    let answer = put(core, Ask { span: Some(wide), pinned, ..ask }).await?;
    if answer.span.start() != wide.start() || answer.span.end() < wide.end() {
        let why = format!("asked for {wide:?}, it answers {:?}", answer.span);
        return Err(failed(&core.book.host(LABEL), Cause::Lied(why).at(LABEL)));
    }
    verified.go_on_with(answer.body);
    Ok(Answer { status: 206, span: wanted, total: Some(size), body: Body::verified(verified), ..answer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_a_digest_and_is_resolved() {
        let blake3 = Blake3::new([7; 32]);
        let there = place(&Digest::Blake3(blake3), None);
        assert!(is_place(&there.url) && !is_place("https://parent/blake3/07"));
        assert_eq!(blake3_of(&there.url), Some((blake3, None)));
        let url = resolved(&there.url, "hq.example:6203").unwrap();
        assert!(url.starts_with("https://hq.example:6203/peer/v1/content/blake3/0707"), "{url}");
        let sha1 = Digest::Sha1(crate::base::digest::Sha1::new([1; 20]));
        assert_eq!((blake3_of(&place(&sha1, None).url), resolved("http://a/b", "c")), (None, None));
        let signed = place(&sha1, Some((blake3, 7))).url;
        assert_eq!(blake3_of(&signed), Some((blake3, Some(7))));
        assert!(
            resolved(&signed, "a:1")
                .unwrap()
                .ends_with("/peer/v1/content/sha1/0101010101010101010101010101010101010101")
        );
    }
}
