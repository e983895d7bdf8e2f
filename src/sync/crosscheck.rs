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
//! 6. Where the text alone differs, it is put aside until all pages are through. If that is most of what was compared, then it is the
//!    comparison that is wrong, with somebody who writes all documents anew: it fails, and none of these is refused. Else all are.
//! 7. A revision that Microsoft does not give out any more is held against its newest of the same update: with a file or member that
//!    this one has not it is refused. Otherwise it is counted and left as it is: not much is known of it.
//!
//! Of each page that is refused which differs in what matters, and what agrees is committed behind that, before the next one is asked
//! for; a comparison that is stopped keeps what it found, and the next one goes on with what is doubtful still.
//!
//! [`difference`]: crate::sync::difference

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::update::{Identity, Publication, Update, UpdateId};
use crate::store::catalog::{Compared, Counts, Doubtful, Offered};
use crate::sync::difference::{Difference, Sample, unlike};
use crate::sync::error::Error;
use crate::sync::judge::{Came, Judged, Verdict, judge, sense_of};
use crate::sync::ledger::{Ledger, Said};
use crate::sync::plan;
use crate::sync::progress::Step;
use crate::sync::run::Work;
use crate::upstream::wsus::{Before, Wanted, Wsus};
use crate::wire::fragments::Sense;

/// Revisions that are asked for and committed together.
pub(in crate::sync) const PAGE: usize = 1_000;

/// Revisions that are named where a comparison comes to nothing.
const EXAMPLES: usize = 5;

/// The newest revision of an update that Microsoft has, and what of lower ones it is asked for.
#[derive(Default)]
struct Newest {
    /// The one that is held and counts, and whether somebody has vouched for that.
    behind: Option<(Identity, bool)>,
    /// Held ones that Microsoft does not give out, and why not.
    unknown: Vec<(Identity, String)>,
}

/// What a page asks Microsoft for, and what came of it so far.
#[derive(Default)]
struct Page {
    /// What is compared.
    asked: BTreeMap<Identity, Doubtful>,
    newest: BTreeMap<Identity, Newest>,
    /// What Microsoft does not give out, and why not.
    unknown: Vec<(Identity, String)>,
    /// Held ones that the newest withdraws.
    withdrawn: BTreeSet<Identity>,
    /// The same as Microsoft's. Vouched for when the page is through: what bundles one that differs is refused with it, and what the
    /// newest withdraws nobody vouches for.
    agreed: Vec<Doubtful>,
    /// What differs in what matters, and how.
    differing: Vec<(Identity, String)>,
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
    let mut ledger = Ledger::new(Sample { same, ..Sample::default() });
    let looked_at: Vec<Offered> = offered.into_iter().filter(|one| !one.proven || is_behind(one)).collect();
    work.board.step(Step::Comparing, looked_at.len() as u64);
    for some in looked_at.chunks(work.shared.page.max(1)) {
        let mut page = Page::default();
        for one in some {
            let identity = one.revision.identity;
            match newest(one) {
                None => {
                    let why = "Microsoft does not have it: somebody published it on the upstream";
                    ledger.leave(work, identity, Said::Absent, why.to_owned());
                    work.board.done(1);
                }
                Some(newest) if identity.revision > newest => {
                    let why = format!("it is not what Microsoft publishes: its newest revision there is {newest}");
                    ledger.refuse(work, identity, why, false).await?;
                    // No list names it any more: what was refused came in its place.
                    work.catalog.ask_for(Identity { revision: newest, ..identity }).await?;
                    work.board.done(1);
                }
                Some(newest) => {
                    if is_behind(one) {
                        let newest = Identity { revision: newest, ..identity };
                        page.newest.entry(newest).or_default().behind = Some((identity, one.proven));
                    }
                    if !one.proven {
                        page.asked.insert(identity, one.revision);
                    }
                }
            }
        }
        let ids: Vec<Identity> = page.asked.keys().copied().collect();
        documents(work, microsoft, at_once, &ids, &mut page, &mut ledger).await?;
        let left_out = std::mem::take(&mut page.asked).into_keys();
        page.unknown.extend(left_out.map(|identity| (identity, "it is in none of the answers".to_owned())));
        for (identity, why) in std::mem::take(&mut page.unknown) {
            match listed.get(&identity.id).copied().filter(|newest| *newest > identity.revision) {
                Some(revision) => {
                    let newest = page.newest.entry(Identity { revision, ..identity }).or_default();
                    newest.unknown.push((identity, why));
                }
                None => unknown(work, &mut ledger, identity, &why),
            }
        }
        let ids: Vec<Identity> = page.newest.keys().copied().collect();
        documents(work, microsoft, at_once, &ids, &mut page, &mut ledger).await?;
        settle(work, page, &mut ledger).await?;
    }
    decide(work, microsoft, ledger).await
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

/// Steps 5 and 7 for a page but for what is refused.
async fn documents(
    work: &Work<'_>,
    microsoft: &Wsus,
    at_once: u32,
    ids: &[Identity],
    page: &mut Page,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut coming = microsoft.documents(ids, at_once, Before::Unknown);
    loop {
        let batch = match work.until_stopped(coming.next()).await {
            Ok(Some(batch)) => batch,
            Ok(None) => return Ok(()),
            Err(error) => {
                coming.stop().await;
                // What was found stays, but for what may be withdrawn; what differs is found again.
                let behind: BTreeSet<Identity> =
                    page.newest.values().filter_map(|newest| newest.behind).map(|(held, _)| held).collect();
                page.agreed.retain(|one| !behind.contains(&one.identity));
                vouch(work, ledger, std::mem::take(&mut page.agreed)).await?;
                return Err(error);
            }
        };
        let bytes = batch.documents.iter().map(|document| document.content.len()).sum();
        work.count(Counts { bytes, ..Counts::default() }).await?;
        let mut came = Vec::new();
        for document in batch.documents {
            let asked = page.asked.remove(&document.identity);
            let is_newest = page.newest.contains_key(&document.identity);
            came.push(Came { document, asked, is_newest });
        }
        let judging = tokio::task::spawn_blocking(move || came.iter().map(judge).collect::<Vec<_>>());
        let judged = judging.await.map_err(|error| Error::Broken(format!("comparing broke off: {error}")))?;
        let mut done = 0;
        for Judged { verdict, newest } in judged {
            if let Some(newest) = newest {
                hold_against(work, page, ledger, &newest).await?;
            }
            let Some(verdict) = verdict else { continue };
            done += 1;
            match verdict {
                Verdict::Agrees(one) => {
                    ledger.sample.same += 1;
                    page.agreed.push(one);
                }
                Verdict::Differs(identity, theirs, sense) => {
                    let Some(difference) = differs(work, identity, &theirs, sense.as_ref()).await? else { continue };
                    if let Some(shown) = difference.text_alone() {
                        ledger.put_aside(identity, shown);
                    } else {
                        ledger.sample.more += 1;
                        let why = format!("it is not what Microsoft publishes: {}", difference.in_words());
                        page.differing.push((identity, why));
                    }
                }
                Verdict::Unknown(identity, why) => page.unknown.push((identity, why)),
            }
        }
        for refused in batch.refused {
            if page.asked.remove(&refused.identity).is_some() {
                page.unknown.push((refused.identity, refused.why));
                done += 1;
            }
        }
        work.board.done(done);
    }
}

/// Step 7 for one update, and whether Microsoft withdraws it.
async fn hold_against(work: &Work<'_>, page: &mut Page, ledger: &mut Ledger, newest: &Update) -> Result<(), Error> {
    let Some(asked) = page.newest.get_mut(&newest.identity) else { return Ok(()) };
    if newest.publication == Publication::Expired {
        page.withdrawn.extend(asked.behind.map(|(held, _)| held));
    }
    let revision = newest.identity.revision;
    for (identity, why) in std::mem::take(&mut asked.unknown) {
        let Some(number) = work.catalog.number(identity).await? else { continue };
        let Some(ours) = work.catalog.revision(number).await? else { continue };
        if let Some(what) = unlike(&ours.update, newest) {
            page.differing.push((
                identity,
                format!(
                    "it is unlike what Microsoft publishes: this revision is not given out there, and of revision {revision}, the newest, \
                     it differs: {what}; have the upstream synchronise, so that revision {revision} comes"
                ),
            ));
            continue;
        }
        let text = format!(
            "Microsoft does not give this revision out ({why}); its files and members are those of revision {revision}, the newest, \
             and of the rest nothing is known: have the upstream synchronise, so that revision {revision} comes"
        );
        ledger.leave(work, identity, Said::Unknown, text);
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

/// Step 4 for a page, what is refused of it, and behind that what is vouched for.
async fn settle(work: &Work<'_>, page: Page, ledger: &mut Ledger) -> Result<(), Error> {
    for (newest, asked) in page.newest {
        // Where the newest is not given out either.
        for (identity, why) in asked.unknown {
            unknown(work, ledger, identity, &why);
        }
        let Some((held, proven)) = asked.behind else { continue };
        let revision = newest.revision;
        let text = match (page.withdrawn.contains(&held), proven) {
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
        work.board.remark(held, text);
        work.board.compared(Compared { behind: 1, ..Compared::default() });
        if proven {
            work.board.done(1);
        }
    }
    let (withdrawn, agreed): (Vec<Doubtful>, Vec<Doubtful>) =
        page.agreed.into_iter().partition(|one| page.withdrawn.contains(&one.identity));
    work.board.compared(Compared { withdrawn: withdrawn.len() as u64, ..Compared::default() });
    for (identity, why) in page.differing {
        ledger.refuse(work, identity, why, false).await?;
    }
    vouch(work, ledger, agreed).await
}

/// Step 6, when all pages are through.
async fn decide(work: &Work<'_>, microsoft: &Wsus, mut ledger: Ledger) -> Result<(), Error> {
    let (aside, beyond) = ledger.take_aside();
    let sample = ledger.sample;
    if sample.is_another_rendering() {
        for (identity, shown) in aside.into_iter().take(EXAMPLES) {
            work.board.remark(identity, format!("{}; it is not refused for that", shown.in_words()));
        }
        return Err(Error::Rendering {
            host: microsoft.label().to_owned(),
            text: sample.text,
            more: sample.more,
            all: sample.all(),
        });
    }
    for (identity, shown) in aside {
        if work.cancel.is_cancelled() {
            return Err(Error::Stopped);
        }
        if !ledger.is_refused(identity) {
            let why = format!("it is not what Microsoft publishes: {}", shown.in_words());
            ledger.refuse(work, identity, why, true).await?;
        }
    }
    if beyond > 0 {
        work.board.note(format!("{beyond} more differ in their text alone, and are left for the next comparison"));
    }
    Ok(())
}

async fn vouch(work: &Work<'_>, ledger: &mut Ledger, agreed: Vec<Doubtful>) -> Result<(), Error> {
    ledger.agreed(agreed.iter().map(|one| one.identity));
    let agreed = work.catalog.vouch_for(agreed).await?;
    work.board.compared(Compared { agreed, ..Compared::default() });
    Ok(())
}

/// Nothing is known of it, not even by Microsoft's newest.
fn unknown(work: &Work<'_>, ledger: &mut Ledger, identity: Identity, why: &str) {
    let text = format!(
        "Microsoft does not give this revision out, so that nothing is known of it: {why}; have the upstream synchronise, and compare \
         again"
    );
    ledger.leave(work, identity, Said::Unknown, text);
}
