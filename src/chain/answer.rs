//! A parent answers: what it has applied, for one of the nodes below it. Each answer is made of one snapshot of the store.

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use crate::chain::child::{Ask, Mark};
use crate::chain::error::Error;
use crate::chain::verify;
use crate::model::chain::hash::ChainId;
use crate::model::chain::ids::{NodeId, Position};
use crate::model::chain::record::Entry;
use crate::store::Store;
use crate::store::feed::{Audiences, Piece};
use crate::wire::peer::frame::{End, Frame, split};
use crate::wire::peer::raw::{FEED, Writer};
use crate::wire::peer::signed::{Checkpoint, Stamp, Vouch};

/// Bytes of contents in an answer: it is made in memory.
const BYTES: usize = 8 << 20;
/// Entries of the log in an answer.
const ENTRIES: usize = 65_536;
/// The longest that an answer is waited for.
pub const WAIT_MAX: Duration = Duration::from_secs(55);

/// What a parent says to a question of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Frames.
    Frames(Bytes),
    /// Frames that say that the cursor is not known: the word for it is `behind` or `fork`.
    Conflict(&'static str, Bytes),
    /// This node does not serve that chain.
    OtherChain,
    /// There is nothing to show yet.
    NotYet,
}

/// A question of a child.
#[derive(Clone, Debug)]
pub struct Question {
    /// Of which chain.
    pub chain: ChainId,
    /// What.
    pub ask: Ask,
    /// The child has no cursor yet: it is told to take a snapshot.
    pub is_new: bool,
    /// The highest checkpoint that the child has verified.
    pub shows: Option<Checkpoint>,
    /// How long to wait where there is nothing.
    pub wait: Duration,
    /// For whom contents are given.
    pub audiences: Audiences,
}

/// What a node serves to those below.
#[derive(Clone, Debug)]
pub struct Answerer {
    store: Store,
    chain: ChainId,
    /// From the authority down to this node; looked at with each answer.
    path: watch::Receiver<Vec<NodeId>>,
    /// Changes with each publication.
    moved: watch::Receiver<u64>,
}

/// What is shown, as values.
struct Shown {
    vouch: Vouch,
    checkpoint: Checkpoint,
    stamp: Option<Stamp>,
}

impl Answerer {
    /// Of this store. `path` leads to this node, `moved` changes with what is shown.
    pub fn new(store: Store, chain: ChainId, path: watch::Receiver<Vec<NodeId>>, moved: watch::Receiver<u64>) -> Self {
        Self { store, chain, path, moved }
    }

    /// Answers, as soon as there is something or the time is over.
    pub async fn answer(&self, question: Question) -> Result<Answer, Error> {
        if question.chain != self.chain {
            return Ok(Answer::OtherChain);
        }
        let until = Instant::now() + question.wait.min(WAIT_MAX);
        let mut moved = self.moved.clone();
        loop {
            moved.borrow_and_update();
            let (answer, is_news) = self.now(&question).await?;
            if is_news || Instant::now() >= until {
                return Ok(answer);
            }
            // Whoever publishes is gone when the node ends.
            if !matches!(tokio::time::timeout_at(until, moved.changed()).await, Ok(Ok(()))) {
                return Ok(self.now(&question).await?.0);
            }
        }
    }

    /// What there is now, and whether it is worth not to wait.
    async fn now(&self, question: &Question) -> Result<(Answer, bool), Error> {
        let feed = self.store.feed();
        let audiences = question.audiences.clone();
        let piece = match &question.ask {
            Ask::Feed(mark) => feed.tail(mark.position.sequence, ENTRIES, BYTES, audiences).await?,
            Ask::Snapshot { after, bare, .. } => feed.page(*after, BYTES, *bare, audiences).await?,
            Ask::Contents(keys) => feed.contents(keys.clone(), audiences).await?,
        };
        let path = self.path.borrow().clone();
        let Some(piece) = piece.filter(|_| !path.is_empty()) else { return Ok((Answer::NotYet, true)) };
        let read = |error: crate::wire::error::Error| Error::Kept(error.to_string());
        let shown = Shown {
            vouch: Vouch::read(piece.show.vouch.clone().into()).map_err(read)?,
            checkpoint: Checkpoint::read(piece.show.checkpoint.clone().into()).map_err(read)?,
            stamp: piece.show.stamp.clone().map(|bytes| Stamp::read(bytes.into())).transpose().map_err(read)?,
        };
        let mut frames = vec![Frame::Head { path, again: 0 }, Frame::Vouch(shown.vouch.clone())];
        let (end, conflict, is_news) = match &question.ask {
            Ask::Feed(_) if question.is_new => (End::Snapshot, None, true),
            Ask::Feed(mark) => tail(question, mark, piece, &shown, &mut frames),
            Ask::Snapshot { base, .. } => page(*base, piece, &shown, &mut frames),
            Ask::Contents(_) => {
                put(piece.entries, &mut frames, Frame::Contents);
                (End::All, None, true)
            }
        };
        if end == End::All {
            frames.extend(shown.stamp.map(Frame::Stamp));
        }
        frames.push(Frame::End(end));
        let mut writer = Writer::new(FEED);
        for frame in &frames {
            frame.write(&mut writer)?;
        }
        let bytes = writer.take();
        Ok(match conflict {
            Some(word) => (Answer::Conflict(word, bytes), true),
            None => (Answer::Frames(bytes), is_news),
        })
    }
}

/// Entries in frames that hold them.
fn put(mut entries: Vec<Entry>, frames: &mut Vec<Frame>, mut frame: impl FnMut(Vec<Entry>) -> Frame) {
    while !entries.is_empty() {
        let rest = entries.split_off(split(&entries).max(1).min(entries.len()));
        frames.push(frame(std::mem::replace(&mut entries, rest)));
    }
}

fn tail(
    question: &Question,
    mark: &Mark,
    piece: Piece,
    shown: &Shown,
    frames: &mut Vec<Frame>,
) -> (End, Option<&'static str>, bool) {
    let (here, at) = (shown.checkpoint.position, mark.position);
    if at.epoch < here.epoch {
        return (End::Snapshot, None, true);
    }
    if at > here {
        frames.push(Frame::Checkpoint(shown.checkpoint.clone()));
        return (End::All, Some("behind"), true);
    }
    match piece.link {
        None => return (End::Snapshot, None, true),
        Some(link) if link != mark.link => {
            frames.push(Frame::Checkpoint(shown.checkpoint.clone()));
            return (End::All, Some("fork"), true);
        }
        Some(_) => {}
    }
    let (mut first, any) = (at.sequence + 1, !piece.entries.is_empty());
    put(piece.entries, frames, |entries| {
        let begins = first;
        first += entries.len() as u64;
        Frame::Tail { first: begins, entries }
    });
    // Of what the child has shown of itself only what its authority signed counts.
    let known = question.shows.as_ref().filter(|known| verify::checkpoint(&shown.vouch, known).is_ok());
    let is_older = known
        .is_none_or(|known| (known.position, known.serial) < (here, shown.checkpoint.serial) || known.position < at);
    if piece.more {
        let between = piece.checkpoint.and_then(|bytes| Checkpoint::read(bytes.into()).ok());
        frames.extend(between.filter(|between| between.serial == shown.vouch.serial).map(Frame::Checkpoint));
        return (End::More, None, true);
    }
    if any || is_older {
        frames.push(Frame::Checkpoint(shown.checkpoint.clone()));
    }
    (End::All, None, any || is_older)
}

fn page(
    base: Option<Position>,
    piece: Piece,
    shown: &Shown,
    frames: &mut Vec<Frame>,
) -> (End, Option<&'static str>, bool) {
    let here = shown.checkpoint.position;
    match base {
        Some(base) if base.epoch != here.epoch || base < piece.floor.0 => return (End::Snapshot, None, true),
        Some(base) if base > here => return (End::All, Some("behind"), true),
        Some(_) => {}
        None => frames.push(Frame::Checkpoint(shown.checkpoint.clone())),
    }
    put(piece.entries, frames, Frame::Page);
    (if piece.more { End::More } else { End::Last }, None, true)
}
