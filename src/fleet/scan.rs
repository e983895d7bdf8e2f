//! The answer to one request for updates (MS-WUSP 3.1.5.7, SyncUpdates), as a pure function of a view and the request.
//!
//! 1. Lists beyond their limits are refused.
//! 2. Needed is what is in the view and of which every clause holds by what the client says is installed.
//! 3. New is what is needed and not held; out of scope is what is held and not needed, unknown numbers among it; changed is what is both
//!    and was told otherwise when the client was told last ([`Request::mark`]).
//! 4. New ones come page by page, those that are no leaves first; changed ones in the order of their stamps, a stamp whole, so that the
//!    mark is never ahead of what was told. To be told twice does no harm.
//!    A revision whose place another one takes leaves the scope with the page that brings that one.
//! 5. There is more (`truncated`) while new or changed ones are left. The agent asks again of itself after a page with something that is
//!    no leaf. It is also told to ask again when something that it took for a leaf is none any more, or when a leaf comes that is a part of
//!    a bundle which others need: only then it names the one, or the bundle, as installed, and gets what depends on it in this scan and
//!    not in the one of tomorrow. Both follow from what came with this page, so that they cannot go on for ever.

use crate::fleet::bits::Bits;
use crate::fleet::error::Error;
use crate::fleet::order::weight;
use crate::fleet::view::{Entry, View};

/// Entries of the list of what is installed and no leaf. Agents send 90; a WSUS server takes 400, and 800 where its administrator says so.
/// A catalog has 4,000 updates that are no leaves. Each entry is a look-up for each request.
pub const INSTALLED_MAX: usize = 10_000;
/// Entries of the list of what else is held. A real catalog that is not declined has 5,300 for one system; a body of MB is read, and each entry
/// looked up.
pub const CACHED_MAX: usize = 100_000;
/// Categories of one request; as many as the protocol takes in a category scan.
pub const CATEGORIES_MAX: usize = crate::fleet::category::REQUESTED_MAX;

/// Updates of a page. A WSUS server sends 30; the agent took 200 and needed a third of the rounds.
const UPDATES: usize = 200;
/// Bytes of Core fragments of a page; escaped, and with what stands around them, they are a third more. The agent took 1.1 MB.
const BYTES: u64 = 1_500_000;
/// The agent gives up after 200 rounds: no view is cut into more pages than this by count, nor by bytes.
const PAGES: u64 = 40;
/// What a page counts beside the Core fragment of each update.
const AROUND: u64 = 500;

/// How much one answer brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Updates, new and changed each.
    pub updates: usize,
    /// Bytes of Core fragments of new ones, one at least.
    pub bytes: u64,
}

impl Page {
    /// The page for a view: large enough that a fresh client needs 120 rounds at most, and as many as its prerequisites are deep, however
    /// much is delivered.
    pub fn of(view: &View) -> Self {
        let many = view.entries().len();
        let bytes = view.core_bytes() + AROUND * many as u64;
        Self {
            updates: UPDATES.max(many.div_ceil(PAGES as usize)),
            // Two pages that follow each other have more than one page may have.
            bytes: BYTES.max(bytes.div_ceil(PAGES)),
        }
    }
}

/// Rounds after which an agent gives up a scan, as seen of real ones (0x80244010).
pub const ROUNDS_MAX: u64 = 200;

/// What a machine that comes for the first time must evaluate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Newcomer {
    /// Revisions.
    pub updates: u64,
    /// Bytes of their metadata.
    pub bytes: u64,
    /// Rounds that it takes at most to bring them; what their prerequisites make it wait for comes beside, a round for each level.
    pub rounds: u64,
}

impl Newcomer {
    /// Of a view.
    pub fn of(view: &View) -> Self {
        let (page, (many, bytes)) = (Page::of(view), weight(view));
        let around = bytes.saturating_add(AROUND.saturating_mul(many as u64));
        // A page ends where it has so many updates, or where the next one would be too many bytes; of those two that follow each other
        // have more than one page may have.
        let rounds = (many.div_ceil(page.updates.max(1)) as u64)
            .saturating_add(around.div_ceil(page.bytes.max(1)).saturating_mul(2).saturating_sub(1));
        Self { updates: many as u64, bytes, rounds }
    }

    /// Whether that is more than half of what an agent does before it gives up: what prerequisites cost comes beside.
    pub fn is_near_limit(&self) -> bool {
        self.rounds.saturating_mul(2) > ROUNDS_MAX
    }
}

/// What a client tells of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// What is installed of what is no leaf.
    pub installed: &'a [u32],
    /// What else is held.
    pub cached: &'a [u32],
    /// The logical clock up to which it was told of all changes: [`Answer::mark`] of the last answer; 0 where that is not known.
    pub mark: u64,
    /// In a scan for categories: it wants what was delivered and is not of these categories in a list of its own.
    pub two_groups: bool,
}

/// What is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Revisions that it does not hold, with their metadata.
    pub new: Vec<Entry>,
    /// Numbers that it holds and is to forget.
    pub out_of_scope: Vec<u32>,
    /// The same, of what is delivered to it but not part of a scan for categories.
    pub deployed_out_of_scope: Vec<u32>,
    /// Revisions that it holds and of which something changed but their metadata.
    pub changed: Vec<Entry>,
    /// There is more.
    pub truncated: bool,
    /// What it was told of changes up to now, for its next cookie.
    pub mark: u64,
    /// It need not ask for drivers. As WSUS servers have it: so in a scan for categories and in the answer about drivers itself.
    pub no_driver_sync: bool,
}

/// The answer to a request about drivers: there are none. Endpoints have theirs from Windows Update itself.
pub fn drivers(request: &Request<'_>) -> Answer {
    Answer { mark: request.mark, no_driver_sync: true, ..Answer::default() }
}

fn check(list: &'static str, of: &[u32], max: usize) -> Result<(), Error> {
    if of.len() > max { Err(Error::Long { list, many: of.len(), max }) } else { Ok(()) }
}

/// The answer about software. In a scan for categories `view` is the part of `whole` that has to do with them ([`View::only`]), else there
/// is no `whole`.
pub fn software(view: &View, whole: Option<&View>, request: &Request<'_>, page: Page) -> Result<Answer, Error> {
    check("InstalledNonLeafUpdateIDs", request.installed, INSTALLED_MAX)?;
    check("OtherCachedUpdateIDs", request.cached, CACHED_MAX)?;
    let needed = view.needed(request.installed.iter().copied());
    let mut held = Bits::new(view.entries().len());
    let mut answer = Answer { no_driver_sync: whole.is_some(), ..Answer::default() };
    let still = whole.map(|whole| (whole, whole.needed(request.installed.iter().copied())));
    let mut unneeded = Vec::new();
    for number in request.installed.iter().chain(request.cached) {
        match view.find(*number) {
            Some(at) if needed.has(at) => drop(held.add(at)),
            _ => unneeded.push(*number),
        }
    }
    let mut sent = Bits::new(view.entries().len());
    let mut bytes = 0;
    for at in view.order() {
        if !needed.has(*at) || held.has(*at) {
            continue;
        }
        let Some(entry) = view.at(*at) else { continue };
        let more = u64::from(entry.core) + AROUND;
        let is_full = answer.new.len() >= page.updates || bytes + more > page.bytes;
        if is_full && !answer.new.is_empty() {
            answer.truncated = true;
            break;
        }
        bytes += more;
        sent.add(*at);
        answer.new.push(*entry);
    }
    unneeded.sort_unstable();
    unneeded.dedup();
    for number in unneeded {
        // Until what takes its place is sent it stays, or what depends on it would go, and come again.
        let is_awaited = |at: u32| needed.has(at) && !held.has(at) && !sent.has(at);
        if view.stands_for(number).is_some_and(is_awaited) {
            continue;
        }
        let is_delivered = request.two_groups
            && still.as_ref().is_some_and(|(whole, needed)| whole.find(number).is_some_and(|at| needed.has(at)));
        let list = if is_delivered { &mut answer.deployed_out_of_scope } else { &mut answer.out_of_scope };
        list.push(number);
    }
    let mut changed: Vec<Entry> =
        held.iter().filter_map(|at| view.at(at)).filter(|entry| entry.stamp > request.mark).copied().collect();
    changed.sort_unstable_by_key(|entry| (entry.stamp, entry.number));
    answer.mark = view.clock();
    if let Some(next) = changed.get(page.updates.max(1)).map(|entry| entry.stamp) {
        // A stamp goes as a whole, and one at least.
        let first = changed.first().map_or(next, |entry| entry.stamp);
        let until = if first == next { next } else { next.saturating_sub(1) };
        let told = changed.partition_point(|entry| entry.stamp <= until);
        if told < changed.len() {
            changed.truncate(told);
            answer.truncated = true;
            answer.mark = until;
        }
    }
    answer.truncated |= changed.iter().any(|entry| !entry.is_leaf && entry.leaf_stamp > request.mark);
    answer.truncated |= answer.new.iter().any(|entry| entry.decides);
    answer.changed = changed;
    Ok(answer)
}
