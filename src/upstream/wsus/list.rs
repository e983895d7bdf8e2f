//! Which revisions there are (MS-WSUSSS 3.1.4.5): what is asked for, and the list as it comes, name by name.
//!
//! 1. The list is asked for until one comes whole.
//! 2. A server refuses an anchor that it cannot read in the same words as a filter that it does not like. It is asked once more
//!    without the anchor: a list that comes then is the whole one, and nothing else need be forgotten.
//! 3. A list with items that cannot be read may have been spoilt on its way, and is asked for once more. Where that is no better,
//!    what it names is of use, but its anchor is not: the next list would not name what could not be read.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::update::{Identity, UpdateId};
use crate::upstream::wsus::Core;
use crate::upstream::wsus::ask::{exchange, settle};
use crate::upstream::wsus::error::{Error, Trouble};
use crate::upstream::wsus::patience::{Step, Tries};
use crate::upstream::wsus::pipe::Pipe;
use crate::upstream::wsus::session::Visitor;
use crate::wire::soap::{Fault, Limits};
use crate::wire::wsusss::authorize::Cookie;
use crate::wire::wsusss::revisions::{self, Filter, GetRevisionIdList, IdAndDelta, LanguageAndDelta, Listed as Item};
use crate::wire::wsusss::{Answer, FaultCode, Method, Reaction, reaction};

/// Items of a list that cannot be read and are told of in words; the others are only counted.
const BAD_TOLD_MAX: usize = 20;

/// One id of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick<T> {
    /// The id.
    pub id: T,
    /// It was not in the filter of the run that the anchor is of: everything of it is listed, not only what changed.
    pub is_new: bool,
}

/// What is to be listed. The services answer nothing where products are given without classifications or the other way
/// round, and everything where both are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Categories, classifications and detectoids, instead of software and drivers.
    pub categories: bool,
    /// What the last list of this kind gave, once everything that it named was committed.
    pub anchor: Option<String>,
    /// Products; none: all.
    pub products: Option<Vec<Pick<UpdateId>>>,
    /// Classifications; none: all.
    pub classifications: Option<Vec<Pick<UpdateId>>>,
    /// Languages by Windows' number (LCID); none: all.
    pub languages: Option<Vec<Pick<i32>>>,
}

impl Wanted {
    /// Whether anything is asked for of which the anchor says nothing.
    fn has_new(&self) -> bool {
        let ids = |picks: &Option<Vec<Pick<UpdateId>>>| picks.iter().flatten().any(|pick| pick.is_new);
        ids(&self.products) || ids(&self.classifications) || self.languages.iter().flatten().any(|pick| pick.is_new)
    }

    /// Which list is there and has nothing in it.
    fn empty(&self) -> Option<&'static str> {
        if self.products.as_ref().is_some_and(Vec::is_empty) {
            return Some("the list of products");
        }
        self.classifications.as_ref().is_some_and(Vec::is_empty).then_some("the list of classifications")
    }

    /// As it is asked. `Delta` only with an anchor, and not for what the anchor knows nothing of; `Get63LanguageOnly` is
    /// false and always there, since Microsoft's service wants it said.
    fn filter(&self) -> Filter {
        let anchored = self.anchor.is_some();
        let delta = |is_new: bool| anchored && !is_new;
        let ids = |picks: Option<&[Pick<UpdateId>]>| -> Option<Vec<IdAndDelta>> {
            Some(picks?.iter().map(|pick| IdAndDelta { id: pick.id, delta: delta(pick.is_new) }).collect())
        };
        let languages = self.languages.as_ref().map(|picks| {
            picks.iter().map(|pick| LanguageAndDelta { id: pick.id, delta: delta(pick.is_new) }).collect()
        });
        Filter {
            dss_protocol_version: None,
            anchor: self.anchor.clone(),
            config: self.categories,
            get_63_languages_only: Some(false),
            categories: ids(self.products.as_deref()),
            classifications: ids(self.classifications.as_deref()),
            languages,
        }
    }
}

/// Takes the names while they come, on a thread that may block. A list may have hundreds of thousands.
pub trait Names: Send + 'static {
    /// The list begins, maybe once more: what came before is void.
    fn begin(&mut self);

    /// A revision. One id may come with several of them, and one revision more than once.
    ///
    /// # Errors
    /// Why it cannot be kept: the list is given up.
    fn name(&mut self, identity: Identity) -> io::Result<()>;
}

/// Keeps them all, 20 bytes each.
impl Names for Vec<Identity> {
    fn begin(&mut self) {
        self.clear();
    }

    fn name(&mut self, identity: Identity) -> io::Result<()> {
        self.push(identity);
        Ok(())
    }
}

/// What a list said beside its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// For the next run. It may be kept only once everything that the list named is committed. Where items could not be read it is
    /// the one that was sent, as far as that says anything of what is listed now, so that they are named again.
    pub anchor: Option<String>,
    /// How many names came.
    pub count: u64,
    /// How many items were none.
    pub bad: u64,
    /// What was wrong with the first of those.
    pub bad_told: Vec<String>,
}

/// See [`crate::upstream::wsus::Wsus::revisions`].
pub(super) async fn revisions<N: Names>(core: &Core, wanted: &Wanted, mut names: N) -> Result<(N, Listed), Error> {
    if let Some(what) = wanted.empty() {
        // Two empty lists are as none to some servers, and one is as nothing: neither is what anybody means.
        return Err(Error::Config {
            what: what.to_owned(),
            why: "none are chosen: choose some, or take everything".into(),
        });
    }
    let mut wanted = wanted.clone();
    let (has_new, mut is_second) = (wanted.has_new(), false);
    let mut tries = Tries::new(core, Method::GetRevisionIdList).anchored(wanted.anchor.is_some());
    let mut visitor = Visitor::new(core);
    loop {
        let cookie = visitor.cookie().await?;
        let (back, outcome) = once(core, cookie, wanted.filter(), names).await;
        let Some(back) = back else {
            let why = match outcome {
                Err(Trouble::NotKept(why)) => why,
                _ => "the sink was lost".to_owned(),
            };
            return Err(Error::NotKept { why });
        };
        names = back;
        match outcome {
            Ok(Answer::Done(listed)) if listed.bad == 0 => return Ok((names, listed)),
            // Step 3.
            Ok(Answer::Done(mut listed)) => {
                let why = listed.bad_told.first().map_or("", String::as_str);
                tracing::debug!(
                    host = core.label,
                    items = listed.bad,
                    why,
                    is_second,
                    "a list has items that are none"
                );
                if is_second {
                    listed.anchor = wanted.anchor.take().filter(|_| !has_new);
                    return Ok((names, listed));
                }
                is_second = true;
            }
            // Step 2.
            Ok(Answer::Fault(fault)) if wanted.anchor.is_some() && is_of_filter(&fault) => {
                tracing::warn!(host = core.label, %fault, "the anchor or the filter is refused; the whole list is asked for");
                wanted.anchor = None;
                tries = Tries::new(core, Method::GetRevisionIdList);
            }
            Ok(Answer::Fault(fault)) => match visitor.refusal(&mut tries, &fault).await? {
                Step::Again | Step::Reauthorize => {}
                Step::Bisect => return Err(tries.refused(fault.to_string())),
            },
            Err(trouble) => tries.failed(trouble).await?,
        }
    }
}

/// Whether what is refused is the filter, of which the anchor is a part.
fn is_of_filter(fault: &Fault) -> bool {
    let code = fault.detail.as_ref().and_then(|detail| FaultCode::of(&detail.code));
    code == Some(FaultCode::InvalidParameters) && reaction(Method::GetRevisionIdList, fault) == Reaction::ResetAnchors
}

/// Some categories that the server has, by one attempt at their list; else what it did instead. They were published once for
/// all and no server is without them.
pub(super) async fn some_categories(core: &Core, cookie: Cookie, count: usize) -> Result<Vec<Identity>, String> {
    let filter = Wanted { categories: true, ..Wanted::default() }.filter();
    match once(core, cookie, filter, First { names: Vec::new(), count }).await {
        (Some(first), Ok(Answer::Done(_))) => Ok(first.names),
        (_, Ok(Answer::Done(_))) => Err("the sink was lost".to_owned()),
        (_, Ok(Answer::Fault(fault))) => Err(fault.to_string()),
        (_, Err(trouble)) => Err(trouble.in_words()),
    }
}

/// Keeps the first ones alone.
struct First {
    names: Vec<Identity>,
    count: usize,
}

impl Names for First {
    fn begin(&mut self) {
        self.names.clear();
    }

    fn name(&mut self, identity: Identity) -> io::Result<()> {
        if self.names.len() < self.count {
            self.names.push(identity);
        }
        Ok(())
    }
}

/// One attempt. The sink comes back, unless the thread that had it panicked.
async fn once<N: Names>(
    core: &Core,
    cookie: Cookie,
    filter: Filter,
    names: N,
) -> (Option<N>, Result<Answer<Listed>, Trouble>) {
    let call = GetRevisionIdList { cookie: Some(cookie), filter };
    // Shared, so that it comes back also where nothing was ever asked.
    let shelf = Arc::new(Mutex::new(Some(names)));
    let taken = Arc::clone(&shelf);
    let decode = move |pipe: Pipe| {
        let Some(mut names) = lock(&taken).take() else {
            return Err(Trouble::NotKept("the sink is in use".to_owned()));
        };
        let read = read(pipe, &mut names);
        *lock(&taken) = Some(names);
        read
    };
    let outcome = match exchange(core, &core.sync_url, &call, decode).await {
        Ok((decoded, broken)) => settle(decoded, broken),
        Err(trouble) => Err(trouble),
    };
    let names = lock(&shelf).take();
    (names, outcome)
}

fn lock<N>(shelf: &Mutex<Option<N>>) -> MutexGuard<'_, Option<N>> {
    // The option is whole between any two calls.
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<N: Names>(pipe: Pipe, names: &mut N) -> Result<Answer<Listed>, Trouble> {
    names.begin();
    let mut list = match revisions::open(pipe, Limits::STREAM)? {
        Answer::Done(list) => list,
        Answer::Fault(fault) => return Ok(Answer::Fault(fault)),
    };
    let mut listed = Listed::default();
    while let Some(item) = list.next_item()? {
        match item {
            Item::Revision(identity) => {
                listed.count += 1;
                names.name(identity).map_err(|error| Trouble::NotKept(error.to_string()))?;
            }
            Item::Bad(error) => {
                listed.bad += 1;
                if listed.bad_told.len() < BAD_TOLD_MAX {
                    listed.bad_told.push(error.to_string());
                }
            }
        }
    }
    listed.anchor = list.anchor().map(str::to_owned);
    Ok(Answer::Done(listed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_anchor_knows_is_asked_as_a_delta() {
        let id = |byte| UpdateId::new([byte; 16]);
        let picks = vec![Pick { id: id(1), is_new: false }, Pick { id: id(2), is_new: true }];
        let mut wanted = Wanted {
            products: Some(picks.clone()),
            classifications: Some(picks),
            languages: Some(vec![Pick { id: 1033, is_new: false }, Pick { id: 1031, is_new: true }]),
            ..Wanted::default()
        };
        let deltas = |filter: &Filter| {
            let ids = filter.categories.iter().chain(&filter.classifications).flatten().map(|id| id.delta);
            ids.chain(filter.languages.iter().flatten().map(|id| id.delta)).collect::<Vec<_>>()
        };
        assert_eq!(deltas(&wanted.filter()), [false; 6]);
        wanted.anchor = Some("1,2026-10-04 16:09:27.371".to_owned());
        let filter = wanted.filter();
        assert_eq!(deltas(&filter), [true, false, true, false, true, false]);
        assert_eq!((filter.get_63_languages_only, filter.config), (Some(false), false));
    }
}
