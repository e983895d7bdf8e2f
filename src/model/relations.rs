//! How updates hang together: what one consists of and needs, through any number of steps; what that comes to for the one who
//! approves it; what made it superfluous. Pure: whoever calls gives a look-up.
//!
//! Prerequisites name an update and mean its highest revision; bundles name a revision (MS-WUSP 3.1.1). Either may run in a circle in
//! a catalog that somebody wrote in bad faith, and a circle of prerequisites can never be installed: it is reported.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::ops::{ControlFlow, Deref};

use serde::{Deserialize, Serialize};

use crate::base::digest::Sha1;
use crate::model::update::{File, Identity, Impact, Reboot, Update, UpdateId};

/// The largest closure that is followed. The whole of a real catalog that is not declined has some 5,000 revisions.
pub const CLOSURE_MAX: usize = 100_000;

/// Revisions that [`whole`] gathers. The largest real bundles have some hundreds, and each is unpacked for one person's look.
pub const WHOLE_REVISIONS_MAX: usize = 5_000;

/// Files that [`whole`] gathers. Upgrades have some thousands.
pub const WHOLE_FILES_MAX: usize = 50_000;

/// What a relation points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Target {
    /// One revision.
    Revision(Identity),
    /// The highest revision of an update.
    Newest(UpdateId),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revision(identity) => identity.fmt(f),
            Self::Newest(id) => id.fmt(f),
        }
    }
}

/// Which relations are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// What an update consists of.
    Bundles,
    /// What must be there before it, its categories among that.
    Prerequisites,
    /// Both: all that an endpoint must know to judge an update.
    Both,
}

/// What is reached from somewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closure {
    /// Each revision once, the beginnings among them, none before one that leads to it.
    pub found: Vec<Identity>,
    /// What the look-up does not know, each once.
    pub missing: BTreeSet<Target>,
    /// The first circle that was met: each leads to the next, the last to the first.
    pub circle: Option<Vec<Identity>>,
}

/// Why a closure was given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error<E> {
    /// It is larger than the limit.
    #[error("more than {max} updates hang together")]
    Large {
        /// The limit.
        max: usize,
    },
    /// The look-up failed.
    #[error("{0}")]
    Lookup(E),
}

/// Follows relations from `roots` and shows each update that is reached to `visit`, once. At most `max` revisions, else
/// [`Error::Large`].
pub fn closure<U, E>(
    roots: impl IntoIterator<Item = Target>,
    follow: Follow,
    max: usize,
    look: impl FnMut(Target) -> Result<Option<U>, E>,
    mut visit: impl FnMut(&Update),
) -> Result<Closure, Error<E>>
where
    U: Deref<Target = Update>,
{
    let visit = |update: &Update| {
        visit(update);
        ControlFlow::Continue(())
    };
    let (closure, is_cut) = walk(roots, follow, max, look, visit).map_err(Error::Lookup)?;
    if is_cut { Err(Error::Large { max }) } else { Ok(closure) }
}

/// The same, up to `max` revisions and until `visit` has seen enough; whether either came to pass.
fn walk<U, E>(
    roots: impl IntoIterator<Item = Target>,
    follow: Follow,
    max: usize,
    mut look: impl FnMut(Target) -> Result<Option<U>, E>,
    mut visit: impl FnMut(&Update) -> ControlFlow<()>,
) -> Result<(Closure, bool), E>
where
    U: Deref<Target = Update>,
{
    let mut closure = Closure::default();
    // What a target was found to be, so that each is looked up once.
    let mut known: HashMap<Target, Identity> = HashMap::new();
    let mut done: HashSet<Identity> = HashSet::new();
    // The way from a root to where we are; what is left to follow of each step. The same as a set.
    let mut way: Vec<(Identity, Vec<Target>)> = Vec::new();
    let mut on_way: HashSet<Identity> = HashSet::new();
    for root in roots {
        let mut next = Some(root);
        while let Some(target) = next {
            let identity = match known.get(&target) {
                Some(identity) => Some(*identity),
                None if closure.missing.contains(&target) => None,
                None => match look(target)? {
                    None => {
                        closure.missing.insert(target);
                        None
                    }
                    Some(update) => {
                        let identity = update.identity;
                        known.insert(target, identity);
                        if done.insert(identity) {
                            if closure.found.len() >= max {
                                return Ok((closure, true));
                            }
                            closure.found.push(identity);
                            if visit(&update).is_break() {
                                return Ok((closure, true));
                            }
                            way.push((identity, targets(&update, follow)));
                            on_way.insert(identity);
                            None
                        } else {
                            Some(identity)
                        }
                    }
                },
            };
            // What was met before closes a circle if it lies on the way.
            if let Some(identity) = identity
                && closure.circle.is_none()
                && on_way.contains(&identity)
                && let Some(at) = way.iter().position(|(step, _)| *step == identity)
            {
                closure.circle = way.get(at..).map(|circle| circle.iter().map(|(step, _)| *step).collect());
            }
            next = None;
            while let Some((_, left)) = way.last_mut() {
                next = left.pop();
                if next.is_some() {
                    break;
                }
                if let Some((step, _)) = way.pop() {
                    on_way.remove(&step);
                }
            }
        }
    }
    Ok((closure, false))
}

/// What an update points to, last first.
fn targets(update: &Update, follow: Follow) -> Vec<Target> {
    let bundles = update.members().map(Target::Revision);
    let prerequisites =
        update.prerequisites.iter().flat_map(|clause| clause.any_of.iter().copied()).map(Target::Newest);
    let mut targets: Vec<Target> = match follow {
        Follow::Bundles => bundles.collect(),
        Follow::Prerequisites => prerequisites.collect(),
        Follow::Both => bundles.chain(prerequisites).collect(),
    };
    targets.reverse();
    targets
}

/// An update with all that it consists of: what a person who approves it wants to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is an answer of its own, and none excludes another")]
pub struct Whole {
    /// All its revisions, itself first.
    pub revisions: Vec<Identity>,
    /// Revisions that it consists of and that are not known.
    pub missing: Vec<Identity>,
    /// Whether it consists of itself; then nothing here can be relied upon.
    pub circular: bool,
    /// It has more than [`WHOLE_REVISIONS_MAX`] revisions or [`WHOLE_FILES_MAX`] files: what is told is of those that were met first.
    pub cut: bool,
    /// What most of its parts want: a restart that one wants, all want.
    pub reboot: Reboot,
    /// How much its worst part gets in the way.
    pub impact: Impact,
    /// Whether a part may ask the user something.
    pub asks_user: bool,
    /// Whether a part needs the network.
    pub needs_network: bool,
    /// Whether all parts that install something can be removed; false where none does.
    pub removable: bool,
    /// Licences that must be accepted before it is installed: its own and those of its parts, each once.
    pub eulas: Vec<UpdateId>,
    /// The files of all parts, each content once; of several names the first.
    pub files: Vec<File>,
    /// Length of all files together, in bytes. An endpoint fetches part of them: of alternatives one, of others ranges.
    pub bytes: u64,
}

/// What the revision `root` comes to with all that it bundles, within limits. `look` gives a revision.
///
/// # Errors
/// The look-up's.
pub fn whole<U, E>(root: Identity, mut look: impl FnMut(Identity) -> Result<Option<U>, E>) -> Result<Whole, E>
where
    U: Deref<Target = Update>,
{
    let mut whole = Whole { impact: Impact::Minor, ..Whole::default() };
    let mut contents: HashSet<Sha1> = HashSet::new();
    let (mut installing, mut removable) = (0_usize, 0_usize);
    let (closure, is_cut) = walk(
        [Target::Revision(root)],
        Follow::Bundles,
        WHOLE_REVISIONS_MAX,
        |target| match target {
            Target::Revision(identity) => look(identity),
            // Bundles name revisions only.
            Target::Newest(_) => Ok(None),
        },
        |update| {
            let installs = !update.handler.is_empty() || !update.files.is_empty();
            whole.reboot = whole.reboot.max(update.reboot);
            // A bundle says of itself what is the default; what counts is what its parts say.
            if installs || update.bundles.is_empty() {
                whole.impact = whole.impact.max(update.impact);
            }
            whole.asks_user |= update.asks_user;
            whole.needs_network |= update.needs_network;
            if let Some(eula) = &update.eula
                && !whole.eulas.contains(&eula.id)
            {
                whole.eulas.push(eula.id);
            }
            installing += usize::from(installs);
            removable += usize::from(installs && update.removable);
            for file in &update.files {
                if !contents.insert(file.sha1) {
                    continue;
                }
                if whole.files.len() >= WHOLE_FILES_MAX {
                    return ControlFlow::Break(());
                }
                whole.bytes = whole.bytes.saturating_add(file.size);
                whole.files.push(file.clone());
            }
            ControlFlow::Continue(())
        },
    )?;
    whole.revisions = closure.found;
    whole.missing = closure
        .missing
        .into_iter()
        .filter_map(|target| match target {
            Target::Revision(identity) => Some(identity),
            Target::Newest(_) => None,
        })
        .collect();
    whole.circular = closure.circle.is_some();
    whole.cut = is_cut;
    // What was not looked at may be what stays.
    whole.removable = !is_cut && installing > 0 && removable == installing;
    Ok(whole)
}

#[cfg(test)]
#[path = "relations/tests.rs"]
mod tests;
