//! Whether the server is well: it is asked for something that it has given before.
//!
//! A server says the same of a revision that it cannot give and of a moment in which it can give none: its database restarts, a
//! gateway on the way cuts what passes. Only what else it gives at that moment tells one from the other.
//!
//! 1. The smallest document of the last answer is asked for once more.
//! 2. Where it has none, or does not give it, categories are listed and some of them asked for: they are the same everywhere.
//! 3. One that answers nothing at all, or whose answer stands still, is asked no further: what it has at hand comes at once from one
//!    that is well.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::update::Identity;
use crate::upstream::wsus::Core;
use crate::upstream::wsus::ask::{at_hand, exchange_within, settle};
use crate::upstream::wsus::documents::Batch;
use crate::upstream::wsus::documents::worker::read;
use crate::upstream::wsus::error::{Error, Trouble};
use crate::upstream::wsus::list::some_categories;
use crate::upstream::wsus::session::Visitor;
use crate::upstream::wsus::spool::Spool;
use crate::wire::wsusss::updates::GetUpdateData;
use crate::wire::wsusss::{Answer, Method, Reaction, reaction};

/// Categories that are asked for, one by one.
const CATEGORIES: usize = 3;

/// A revision that the server gave, if there was one.
#[derive(Debug, Default)]
pub(in crate::upstream::wsus) struct Proof(Mutex<Option<Identity>>);

impl Proof {
    fn lock(&self) -> MutexGuard<'_, Option<Identity>> {
        // Whole between any two calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the smallest that came: it costs the least to ask for again.
    pub(super) fn keep(&self, batch: &Batch) {
        if let Some(least) = batch.documents.iter().min_by_key(|document| document.content.len()) {
            *self.lock() = Some(least.identity);
        }
    }
}

/// Whether it gives anything just now, besides `but`: what it says instead where it does not.
///
/// # Errors
/// Where there is no cookie to be had, or what came cannot be kept.
pub(super) async fn weakness(
    core: &Core,
    visitor: &mut Visitor<'_>,
    but: &[Identity],
) -> Result<Option<String>, Error> {
    let known = core.proof.lock().filter(|known| !but.contains(known));
    if let Some(known) = known {
        match gives(core, visitor, known).await? {
            Ok(()) => return Ok(None),
            // Step 3.
            Err(Not { why, hangs: true }) => return Ok(Some(why)),
            Err(_) => {}
        }
    }
    // What is known may have gone from the server.
    let cookie = visitor.cookie().await?;
    let categories = match some_categories(core, cookie, CATEGORIES + but.len()).await {
        Ok(categories) => categories,
        Err(why) => return Ok(Some(why)),
    };
    let mut weakness = "it lists nothing else that could be asked for".to_owned();
    for identity in categories.into_iter().filter(|identity| !but.contains(identity)).take(CATEGORIES) {
        match gives(core, visitor, identity).await? {
            Ok(()) => {
                *core.proof.lock() = Some(identity);
                return Ok(None);
            }
            Err(Not { why, hangs: true }) => return Ok(Some(why)),
            Err(Not { why, .. }) => weakness = why,
        }
    }
    Ok(Some(weakness))
}

/// What a server does instead of giving something.
struct Not {
    why: String,
    /// It says nothing, or nothing more.
    hangs: bool,
}

/// Whether the server gives this one, or what it does instead. Nothing is repeated but what says nothing of it.
async fn gives(core: &Core, visitor: &mut Visitor<'_>, identity: Identity) -> Result<Result<(), Not>, Error> {
    let not = |why| Not { why, hangs: false };
    let mut renewed = false;
    loop {
        let call = GetUpdateData { cookie: Some(visitor.cookie().await?), updates: vec![identity] };
        let asked = HashSet::from([identity]);
        let spool = Spool::new(core.config.spool.clone());
        let decode = move |pipe| read(pipe, &asked, spool);
        let outcome = match exchange_within(core, &core.sync_url, &call, at_hand(core), decode).await {
            Ok((decoded, broken)) => settle(decoded, broken),
            Err(trouble) => Err(trouble),
        };
        return Ok(match outcome {
            Ok(Answer::Done(taken)) if !taken.batch.documents.is_empty() => Ok(()),
            Ok(Answer::Done(taken)) => Err(not(taken.why)),
            Ok(Answer::Fault(fault))
                if !renewed && reaction(Method::GetUpdateData, &fault) == Reaction::Reauthorize =>
            {
                renewed = true;
                visitor.forget();
                continue;
            }
            Ok(Answer::Fault(fault)) => Err(not(fault.to_string())),
            Err(Trouble::Paused) => continue,
            Err(Trouble::NotKept(why)) => return Err(Error::NotKept { why }),
            Err(trouble) => Err(Not { why: trouble.in_words(), hangs: trouble.hangs() }),
        });
    }
}
