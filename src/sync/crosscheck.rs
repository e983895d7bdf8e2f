//! Comparing a catalog that came over plain HTTP with Microsoft's own, over TLS. Update metadata carries no signature: who can change
//! it between a WSUS and this node can make endpoints run whatever he likes.
//!
//! 1. What is held and offered is gathered; where there is nothing, nobody is asked.
//! 2. Microsoft's lists are asked: categories and detectoids, then all updates.
//! 3. What nobody has vouched for and is in neither is told and left as it is: publishing one's own updates is what a WSUS may be for.
//!    A revision above Microsoft's newest is nobody's that Microsoft has published: refused.
//! 4. Where Microsoft's newest is above what counts here, somebody keeps it back, or is late: counted and told, whoever has vouched for
//!    what is held. That newest is asked for too: what it withdraws nobody vouches for.
//! 5. The documents of what nobody has vouched for are asked for in pages of bounded size and compared, byte for byte as text. The same
//!    document is vouched for. Another one is refused, with what is different ([`difference`]), and so are the bundles that contain it.
//! 6. Before any of a page is refused it is seen whether most of what was compared differs in its text alone. Then it is the comparison
//!    that is wrong, with somebody who writes all documents anew: it ends, and nothing is refused for its text.
//! 7. A revision that Microsoft does not give out any more is counted, and left as it is: nothing is known of it.
//!
//! What agrees is committed as it comes, the rest of a page before the next one is asked for; a comparison that is stopped keeps what it
//! found, and the next one goes on with what is doubtful still.
//!
//! [`difference`]: crate::sync::difference

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufReader, Read};

use tokio::sync::mpsc;

use crate::model::update::{Identity, Publication, Update, UpdateId};
use crate::store::catalog::{Compared, Counts, Doubtful, Offered, Part, Text};
use crate::sync::difference::{Difference, Sample};
use crate::sync::error::Error;
use crate::sync::plan;
use crate::sync::progress::Step;
use crate::sync::read::Tee;
use crate::sync::run::Work;
use crate::upstream::wsus::{Document, Wanted, Wsus};
use crate::wire::fragments::Sense;
use crate::wire::wsusss::updates::Form;
use crate::wire::{cabinet, fragments};

/// Revisions that are asked for and committed together.
const PAGE: usize = 1_000;

/// How much of a document is read at a time.
const BUFFER: usize = 64 << 10;

/// Pieces of a long text, half a mebibyte each, that wait for who reads them.
const PIECES: usize = 2;

/// Revisions that are named where a comparison comes to nothing.
const EXAMPLES: usize = 5;

/// What became of one document of Microsoft's.
enum Verdict {
    /// It is the same.
    Agrees(Doubtful),
    /// It is another one; what it says, and what its rules mean as far as that can be read.
    Differs(Identity, Box<Update>, Option<Sense>),
    /// It cannot be read, though it came over TLS.
    Unknown(Identity, String),
}

/// What a page asks Microsoft for, and what came of it so far.
#[derive(Default)]
struct Page {
    /// What is compared.
    asked: BTreeMap<Identity, Doubtful>,
    /// Microsoft's newest revisions, each with the lower one that is held, and whether somebody has vouched for that.
    newest: BTreeMap<Identity, (Identity, bool)>,
    /// Held ones that the newest withdraws.
    withdrawn: BTreeSet<Identity>,
    /// The same there, and not vouched for before the newest is known.
    behind: Vec<Doubtful>,
    /// The same as Microsoft's. Vouched for when the page is through: what bundles one that differs is refused with it.
    agreed: Vec<Doubtful>,
    differing: Vec<(Identity, Difference)>,
}

/// Steps 1 to 7.
pub(in crate::sync) async fn compare(work: &mut Work<'_>, microsoft: &Wsus) -> Result<(), Error> {
    work.board.step(Step::Asking, 0);
    let offered = offered(work).await?;
    if offered.is_empty() {
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
    let newest = |one: &Offered| listed.get(&one.revision.identity.id).copied();
    let is_behind = |one: &Offered| one.current && newest(one) > Some(one.revision.identity.revision);
    // What was vouched for before agreed then.
    let same = offered.iter().filter(|one| one.proven).count() as u64;
    let mut sample = Sample { same, ..Sample::default() };
    let looked_at: Vec<Offered> = offered.into_iter().filter(|one| !one.proven || is_behind(one)).collect();
    work.board.step(Step::Comparing, looked_at.len() as u64);
    for some in looked_at.chunks(PAGE) {
        let mut page = Page::default();
        for one in some {
            let identity = one.revision.identity;
            match newest(one) {
                None => {
                    let why = "Microsoft does not have it: somebody published it on the upstream";
                    work.board.remark(identity, why.to_owned());
                    work.board.compared(Compared { absent: 1, ..Compared::default() });
                    work.board.done(1);
                }
                Some(newest) if identity.revision > newest => {
                    let why = format!("it is not what Microsoft publishes: its newest revision there is {newest}");
                    refuse(work, identity, why, false).await?;
                    work.board.done(1);
                }
                Some(newest) => {
                    if is_behind(one) {
                        page.newest.insert(Identity { revision: newest, ..identity }, (identity, one.proven));
                    }
                    if !one.proven {
                        page.asked.insert(identity, one.revision);
                    }
                }
            }
        }
        documents(work, microsoft, at_once, &mut page, &mut sample).await?;
        settle(work, microsoft, page, &sample).await?;
    }
    Ok(())
}

/// Step 1.
async fn offered(work: &Work<'_>) -> Result<Vec<Offered>, Error> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (found, next) = work.until_stopped(work.catalog.offered(after)).await?;
        all.extend(found);
        match next {
            Some(_) => after = next,
            None => return Ok(all),
        }
    }
}

/// Step 5 for a page but for what is refused, and step 7.
async fn documents(
    work: &Work<'_>,
    microsoft: &Wsus,
    at_once: u32,
    page: &mut Page,
    sample: &mut Sample,
) -> Result<(), Error> {
    let ids: BTreeSet<Identity> = page.asked.keys().chain(page.newest.keys()).copied().collect();
    let ids: Vec<Identity> = ids.into_iter().collect();
    let behind: BTreeSet<Identity> = page.newest.values().map(|(held, _)| *held).collect();
    let mut coming = microsoft.documents(&ids, at_once);
    loop {
        let batch = match work.until_stopped(coming.next()).await {
            Ok(Some(batch)) => batch,
            Ok(None) => break,
            Err(error) => {
                coming.stop().await;
                // What was found stays; what differs is found again.
                vouch(work, std::mem::take(&mut page.agreed)).await?;
                return Err(error);
            }
        };
        let bytes = batch.documents.iter().map(|document| document.content.len()).sum();
        work.count(Counts { bytes, ..Counts::default() }).await?;
        let came: Vec<(Document, Option<Doubtful>, Option<Identity>)> = batch
            .documents
            .into_iter()
            .map(|document| {
                let asked = page.asked.remove(&document.identity);
                let held = page.newest.get(&document.identity).map(|(held, _)| *held);
                (document, asked, held)
            })
            .collect();
        let judging = tokio::task::spawn_blocking(move || came.iter().map(judge).collect::<Vec<_>>());
        let judged = judging.await.map_err(|error| Error::Broken(format!("comparing broke off: {error}")))?;
        let mut done = 0;
        for (verdict, withdrawn) in judged {
            page.withdrawn.extend(withdrawn);
            let Some(verdict) = verdict else { continue };
            done += 1;
            match verdict {
                Verdict::Agrees(one) => {
                    sample.same += 1;
                    let kept = if behind.contains(&one.identity) { &mut page.behind } else { &mut page.agreed };
                    kept.push(one);
                }
                Verdict::Differs(identity, theirs, sense) => {
                    if let Some(difference) = differs(work, identity, &theirs, sense.as_ref()).await? {
                        sample.text += u64::from(difference.is_text_alone());
                        sample.more += u64::from(!difference.is_text_alone());
                        page.differing.push((identity, difference));
                    }
                }
                Verdict::Unknown(identity, why) => unknown(work, identity, &why),
            }
        }
        for refused in batch.refused {
            if page.asked.remove(&refused.identity).is_some() {
                unknown(work, refused.identity, &refused.why);
                done += 1;
            }
        }
        work.board.done(done);
    }
    Ok(())
}

/// What is different in what is held; nothing where that went meanwhile, which needs no judgement.
async fn differs(
    work: &Work<'_>,
    identity: Identity,
    theirs: &Update,
    sense: Option<&Sense>,
) -> Result<Option<Difference>, Error> {
    let Some(number) = work.catalog.number(identity).await? else { return Ok(None) };
    let Some(ours) = work.catalog.revision(number).await? else { return Ok(None) };
    let own = work.until_stopped(sense_of(work, number)).await?;
    Ok(Some(Difference::between(&ours.update, theirs, own.as_ref().zip(sense))))
}

/// What the rules of a held document mean; nothing where it cannot be read.
async fn sense_of(work: &Work<'_>, number: u32) -> Result<Option<Sense>, Error> {
    let broke = |error: tokio::task::JoinError| Error::Broken(format!("comparing broke off: {error}"));
    match work.catalog.text(number, Part::Document).await? {
        None => Ok(None),
        Some(Text::Whole(bytes)) => {
            let reading = tokio::task::spawn_blocking(move || fragments::sense(bytes.as_ref()).ok());
            reading.await.map_err(broke)
        }
        Some(Text::Long(mut text)) => {
            let (sender, pieces) = mpsc::channel(PIECES);
            let stream = BufReader::with_capacity(BUFFER, Pieces { pieces, at: io::Cursor::default() });
            let reading = tokio::task::spawn_blocking(move || fragments::sense(stream).ok());
            while let Some(piece) = text.next().await? {
                // A reader that is gone has what it wants, or cannot read it.
                if sender.send(piece).await.is_err() {
                    break;
                }
            }
            drop(sender);
            reading.await.map_err(broke)
        }
    }
}

/// A long text of the catalog, on a thread that may block.
struct Pieces {
    pieces: mpsc::Receiver<bytes::Bytes>,
    at: io::Cursor<bytes::Bytes>,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.at.read(into)?;
            if count > 0 || into.is_empty() {
                return Ok(count);
            }
            match self.pieces.blocking_recv() {
                Some(piece) => self.at = io::Cursor::new(piece),
                None => return Ok(0),
            }
        }
    }
}

/// Steps 4 and 6 for a page, and what is refused of it.
async fn settle(work: &Work<'_>, microsoft: &Wsus, page: Page, sample: &Sample) -> Result<(), Error> {
    for (newest, (held, proven)) in &page.newest {
        let revision = newest.revision;
        let is_withdrawn = page.withdrawn.contains(held);
        let text = match (is_withdrawn, proven) {
            (true, false) => format!(
                "Microsoft withdraws it with revision {revision}, and revision {} is held: nobody vouches for it",
                held.revision
            ),
            (true, true) => {
                format!("Microsoft withdraws it with revision {revision}, and revision {} is held", held.revision)
            }
            (false, _) => format!(
                "Microsoft has revision {revision}, and revision {} is held: the upstream is behind, or somebody keeps the newer one \
                 back",
                held.revision
            ),
        };
        work.board.remark(*held, text);
        work.board.compared(Compared { behind: 1, ..Compared::default() });
        if *proven {
            work.board.done(1);
        }
    }
    let (withdrawn, mut agreed): (Vec<Doubtful>, Vec<Doubtful>) =
        page.behind.into_iter().partition(|one| page.withdrawn.contains(&one.identity));
    work.board.compared(Compared { withdrawn: withdrawn.len() as u64, ..Compared::default() });
    agreed.extend(page.agreed);
    let rendering = sample.is_another_rendering();
    let mut examples = 0;
    for (identity, difference) in page.differing {
        if rendering && difference.is_text_alone() {
            examples += 1;
            if examples <= EXAMPLES {
                work.board.remark(identity, format!("{}; it is not refused for that", difference.in_words()));
            }
            continue;
        }
        let text_alone = difference.is_text_alone();
        let why = format!("it is not what Microsoft publishes: {}", difference.in_words());
        refuse(work, identity, why, text_alone).await?;
    }
    vouch(work, agreed).await?;
    if rendering {
        return Err(Error::Rendering {
            host: microsoft.label().to_owned(),
            text: sample.text,
            more: sample.more,
            all: sample.all(),
        });
    }
    Ok(())
}

async fn vouch(work: &Work<'_>, agreed: Vec<Doubtful>) -> Result<(), Error> {
    let agreed = work.catalog.vouch_for(agreed).await?;
    work.board.compared(Compared { agreed, ..Compared::default() });
    Ok(())
}

fn unknown(work: &Work<'_>, identity: Identity, why: &str) {
    work.board.compared(Compared { unknown: 1, ..Compared::default() });
    work.board
        .remark(identity, format!("Microsoft does not give this revision out, so that nothing is known of it: {why}"));
}

/// Refuses a revision and the bundles that contain it: whoever installs those installs it too.
async fn refuse(work: &Work<'_>, identity: Identity, why: String, text_alone: bool) -> Result<(), Error> {
    let mut seen = BTreeSet::from([identity]);
    let mut next = vec![(identity, why)];
    while let Some((identity, reason)) = next.pop() {
        tracing::warn!(%identity, reason, "an update is refused");
        work.catalog.refuse(identity, reason.clone()).await?;
        work.board.refuse(identity, reason);
        work.board.compared(Compared { differed: 1, text: u64::from(text_alone), ..Compared::default() });
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

/// Reads a document of Microsoft's and holds it against the digest of ours, where it is compared; and says which held revision it
/// withdraws, where it is a newer one. Blocks.
fn judge(came: &(Document, Option<Doubtful>, Option<Identity>)) -> (Option<Verdict>, Option<Identity>) {
    let (document, asked, held) = came;
    let mut digest = blake3::Hasher::new();
    let read = read_through(document, |stream| {
        fragments::derive(Tee::new(stream, &mut digest), &mut io::sink(), &mut io::sink())
            .map_err(|error| error.to_string())
    });
    let update = match read {
        Ok(derived) => derived.update,
        Err(why) => return (asked.map(|_| Verdict::Unknown(document.identity, why)), None),
    };
    let withdrawn = held.filter(|_| update.publication == Publication::Expired);
    let verdict = asked.map(|doubtful| {
        if digest.finalize().as_bytes() == doubtful.digest.as_bytes() {
            return Verdict::Agrees(doubtful);
        }
        // What cannot be read twice was read once.
        let sense = read_through(document, |stream| fragments::sense(stream).map_err(|error| error.to_string()));
        Verdict::Differs(document.identity, Box::new(update), sense.ok())
    });
    (verdict, withdrawn)
}

/// The text of a document, in whichever form it came. Blocks.
fn read_through<T>(
    document: &Document,
    read: impl FnOnce(&mut dyn io::BufRead) -> Result<T, String>,
) -> Result<T, String> {
    match document.form {
        Form::Text => read(&mut BufReader::with_capacity(BUFFER, document.content.reader())),
        Form::Cabinet => {
            let unpacked = cabinet::read_text(document.content.reader(), cabinet::UNPACKED_BYTES_MAX, |mut stream| {
                read(&mut stream)
            });
            unpacked.map_err(|error| error.to_string())?
        }
    }
}
