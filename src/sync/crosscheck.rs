//! Comparing a catalog that came over plain HTTP with Microsoft's own, over TLS. Update metadata carries no signature: who can change
//! it between a WSUS and this node can make endpoints run whatever he likes.
//!
//! 1. What is held and proven by nobody is gathered; where there is nothing, nobody is asked.
//! 2. Microsoft's lists are asked: categories and detectoids, then all updates.
//! 3. What is in neither is told and left as it is: publishing one's own updates is what a WSUS may be for. A revision above
//!    Microsoft's newest is nobody's that Microsoft has published: refused.
//! 4. The documents of the others are asked for in pages of bounded size and compared, byte for byte as text. The same document is
//!    vouched for; another one is refused, with what is different, and so are the bundles that contain it.
//! 5. A revision that Microsoft does not give out any more is counted, and left as it is: nothing is known of it.
//!
//! Each page is committed before the next one is asked for; a comparison that is stopped keeps what it found, and the next one goes
//! on with what is doubtful still.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufReader};

use crate::model::update::{File, Identity, Update, UpdateId};
use crate::store::catalog::{Compared, Counts, Doubtful};
use crate::sync::error::Error;
use crate::sync::plan;
use crate::sync::progress::Step;
use crate::sync::read::{self, Tee};
use crate::sync::run::Work;
use crate::upstream::wsus::{Document, Wanted, Wsus};
use crate::wire::wsusss::updates::Form;
use crate::wire::{cabinet, fragments};

/// Revisions that are asked for and committed together.
const PAGE: usize = 1_000;

/// How much of a document is read at a time.
const BUFFER: usize = 64 << 10;

/// Differences that a reason names.
const NAMED_MAX: usize = 3;

/// What became of one document of Microsoft's.
enum Verdict {
    /// It is the same.
    Agrees(Doubtful),
    /// It is another one; what it says.
    Differs(Identity, Box<Update>),
    /// It cannot be read, though it came over TLS.
    Unknown(Identity, String),
}

/// Steps 1 to 5.
pub(in crate::sync) async fn compare(work: &mut Work<'_>, microsoft: &Wsus) -> Result<(), Error> {
    work.board.step(Step::Asking, 0);
    let doubtful = doubtful(work).await?;
    if doubtful.is_empty() {
        return Ok(());
    }
    let at_once = work.until_stopped(microsoft.config(None)).await?.updates_max;
    let mut listed: HashMap<UpdateId, u32> = HashMap::new();
    for (step, categories) in [(Step::ListingCategories, true), (Step::ListingUpdates, false)] {
        work.board.step(step, 0);
        let wanted = Wanted { categories, ..Wanted::default() };
        let (named, _) = work.until_stopped(microsoft.revisions(&wanted, Vec::new())).await?;
        listed.extend(plan::highest(named));
    }
    work.board.step(Step::Comparing, doubtful.len() as u64);
    for page in doubtful.chunks(PAGE) {
        let mut asked = BTreeMap::new();
        let mut absent = Vec::new();
        for one in page {
            match listed.get(&one.identity.id) {
                None => absent.push(one.identity),
                Some(newest) if one.identity.revision > *newest => {
                    let why = format!("Microsoft's newest revision of it is {newest}");
                    refuse(work, one.identity, why).await?;
                    work.board.done(1);
                }
                Some(_) => drop(asked.insert(one.identity, *one)),
            }
        }
        for identity in &absent {
            work.board
                .remark(*identity, "Microsoft does not have it: somebody published it on the upstream".to_owned());
        }
        work.board.compared(Compared { absent: absent.len() as u64, ..Compared::default() });
        work.board.done(absent.len() as u64);
        documents(work, microsoft, at_once, asked).await?;
    }
    Ok(())
}

/// Step 1.
async fn doubtful(work: &Work<'_>) -> Result<Vec<Doubtful>, Error> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (found, next) = work.until_stopped(work.catalog.doubtful(after)).await?;
        all.extend(found);
        match next {
            Some(_) => after = next,
            None => return Ok(all),
        }
    }
}

/// Step 4 for a page, and step 5.
async fn documents(
    work: &Work<'_>,
    microsoft: &Wsus,
    at_once: u32,
    mut asked: BTreeMap<Identity, Doubtful>,
) -> Result<(), Error> {
    let ids: Vec<Identity> = asked.keys().copied().collect();
    let mut coming = microsoft.documents(&ids, at_once);
    loop {
        let batch = match work.until_stopped(coming.next()).await {
            Ok(Some(batch)) => batch,
            Ok(None) => break,
            Err(error) => {
                coming.stop().await;
                return Err(error);
            }
        };
        let came: Vec<(Document, Doubtful)> = batch
            .documents
            .into_iter()
            .filter_map(|document| asked.remove(&document.identity).map(|doubtful| (document, doubtful)))
            .collect();
        let bytes = came.iter().map(|(document, _)| document.content.len()).sum();
        work.count(Counts { bytes, ..Counts::default() }).await?;
        let done = came.len() as u64;
        let judging = tokio::task::spawn_blocking(move || came.iter().map(judge).collect::<Vec<_>>());
        let verdicts = judging.await.map_err(|error| Error::Broken(format!("comparing broke off: {error}")))?;
        let mut agreed = Vec::new();
        for verdict in verdicts {
            match verdict {
                Verdict::Agrees(one) => agreed.push(one),
                Verdict::Differs(identity, theirs) => {
                    let why = match work.catalog.number(identity).await? {
                        Some(number) => work.catalog.revision(number).await?,
                        None => None,
                    };
                    // One that went meanwhile needs no judgement.
                    let Some(ours) = why else { continue };
                    refuse(work, identity, difference(&ours.update, &theirs)).await?;
                }
                Verdict::Unknown(identity, why) => unknown(work, identity, &why),
            }
        }
        let agreed = work.catalog.vouch_for(agreed).await?;
        work.board.compared(Compared { agreed, ..Compared::default() });
        for refused in batch.refused {
            if asked.remove(&refused.identity).is_some() {
                unknown(work, refused.identity, &refused.why);
                work.board.done(1);
            }
        }
        work.board.done(done);
    }
    Ok(())
}

fn unknown(work: &Work<'_>, identity: Identity, why: &str) {
    work.board.compared(Compared { unknown: 1, ..Compared::default() });
    work.board
        .remark(identity, format!("Microsoft does not give this revision out, so that nothing is known of it: {why}"));
}

/// Refuses a revision and the bundles that contain it: whoever installs those installs it too.
async fn refuse(work: &Work<'_>, identity: Identity, why: String) -> Result<(), Error> {
    let mut seen = BTreeSet::from([identity]);
    let mut next = vec![(identity, format!("it is not what Microsoft publishes: {why}"))];
    while let Some((identity, reason)) = next.pop() {
        tracing::warn!(%identity, reason, "an update is refused");
        work.catalog.refuse(identity, reason.clone()).await?;
        work.board.refuse(identity, reason);
        work.board.compared(Compared { differed: 1, ..Compared::default() });
        work.count(Counts { refused: 1, ..Counts::default() }).await?;
        let parents = work.catalog.parents(identity).await?;
        for parent in work.catalog.summaries(parents).await? {
            if seen.insert(parent.identity) && !parent.refused {
                let reason = format!("it bundles {identity}, which is not what Microsoft publishes");
                next.push((parent.identity, reason));
            }
        }
    }
    Ok(())
}

/// Reads a document of Microsoft's and holds it against the digest of ours. Blocks.
fn judge((document, doubtful): &(Document, Doubtful)) -> Verdict {
    let mut digest = blake3::Hasher::new();
    let derived = match document.form {
        Form::Text => {
            let stream = BufReader::with_capacity(BUFFER, document.content.reader());
            fragments::derive(Tee::new(stream, &mut digest), &mut io::sink(), &mut io::sink())
        }
        Form::Cabinet => {
            let read = cabinet::read_text(document.content.reader(), cabinet::UNPACKED_BYTES_MAX, |stream| {
                fragments::derive(Tee::new(stream, &mut digest), &mut io::sink(), &mut io::sink())
            });
            match read {
                Ok(derived) => derived,
                Err(error) => return Verdict::Unknown(document.identity, error.to_string()),
            }
        }
    };
    match derived {
        Err(error) => Verdict::Unknown(document.identity, error.to_string()),
        Ok(_) if digest.finalize().as_bytes() == doubtful.digest.as_bytes() => Verdict::Agrees(*doubtful),
        Ok(derived) => Verdict::Differs(document.identity, Box::new(derived.update)),
    }
}

/// What is different, in words: digests first, since they say what would have been run.
fn difference(ours: &Update, theirs: &Update) -> String {
    let mut said = Vec::new();
    let by_sha1 =
        |update: &Update| -> BTreeMap<_, File> { read::files(update).map(|file| (file.sha1, file.clone())).collect() };
    let (own, right) = (by_sha1(ours), by_sha1(theirs));
    for (sha1, file) in &own {
        match right.get(sha1) {
            None => said.push(format!("Microsoft's has no file {sha1} ({})", file.name)),
            Some(known) if known.sha256 != file.sha256 => said.push(format!("file {sha1} has another SHA-256")),
            Some(known) if known.size != file.size => said.push(format!("file {sha1} has another size")),
            Some(_) => {}
        }
    }
    for sha1 in right.keys().filter(|sha1| !own.contains_key(sha1)) {
        said.push(format!("it lacks file {sha1}"));
    }
    for (is_other, what) in [
        (ours.identity != theirs.identity, "its identity"),
        (ours.title() != theirs.title(), "its title"),
        (ours.publication != theirs.publication, "whether it is expired"),
        (ours.supersedes != theirs.supersedes, "what it supersedes"),
        (ours.prerequisites != theirs.prerequisites, "its prerequisites"),
        (!ours.members().eq(theirs.members()), "what it bundles"),
    ] {
        if is_other {
            said.push(format!("{what} differs"));
        }
    }
    if said.is_empty() {
        return "its text differs, as in its rules or in how it is installed".to_owned();
    }
    let more = said.len().saturating_sub(NAMED_MAX);
    said.truncate(NAMED_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{}{more}", said.join("; "))
}
