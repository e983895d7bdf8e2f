//! The rounds of a scan (MS-WUSP 3.1.5.6, 3.1.5.7, 3.1.5.4, 3.1.5.12): categories, updates, what this server calls updates of another.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::fleet::category::{self, Preferred};
use crate::fleet::refresh;
use crate::fleet::scan::{self, Answer, Page};
use crate::fleet::view::Entry;
use crate::model::deployment::{Action as Ordered, Endpoint};
use crate::model::update::UpdateId;
use crate::serve::client::Scans;
use crate::serve::client::cookie::Ticket;
use crate::serve::client::error::Error;
use crate::serve::client::handshake::{FOREIGN, Need};
use crate::serve::client::route::{Asked, Said};
use crate::wire::soap::Version;
use crate::wire::wusp::deployment::{Action, Deployment};
use crate::wire::wusp::info::RefreshCache;
use crate::wire::wusp::offer::{self, Offer, Offered, Refreshed, Rest};
use crate::wire::wusp::sync::{StartCategoryScan, SyncPrinterCatalog, SyncUpdates};
use crate::wire::wusp::{FaultCode, answer};

/// From this version on an agent may be told three further elements of a deployment (2.2.2.2.4).
const WITH_ZEROS: (u16, u16) = (1, 8);

/// From this version on an agent may be told that there are no drivers.
const WITH_DRIVERS: (u16, u16) = (1, 7);

/// From this build on, Windows 10 1903, agents know updates that their user may install ([`Action::OptionalInstall`]). The version of the
/// protocol that came with it is not known, and an agent may drop the whole answer for a word that it does not know.
const WITH_OPTIONAL: u32 = 18_362;

/// What an agent of that build is told to do. One that cannot offer an update to its user detects it: to install it at once is not what was
/// said. A build that was not told is taken for an old one.
fn action(action: Ordered, build: u32) -> Action {
    match action {
        Ordered::OptionalInstall if build < WITH_OPTIONAL => Action::PreDeploymentCheck,
        Ordered::Evaluate => Action::Evaluate,
        Ordered::Bundle => Action::Bundle,
        Ordered::Block | Ordered::PreDeploymentCheck => Action::PreDeploymentCheck,
        Ordered::Uninstall => Action::Uninstall,
        Ordered::OptionalInstall => Action::OptionalInstall,
        Ordered::Install => Action::Install,
    }
}

/// What an agent is told of a revision; `None` where its number is beyond what the protocol has.
fn offered(entry: &Entry, ticket: &Ticket, build: u32) -> Option<Offered> {
    let deployment = entry.deployment();
    Some(Offered {
        id: i32::try_from(entry.number).ok()?,
        deployment: Deployment {
            id: i32::try_from(deployment.id).ok()?,
            action: action(deployment.action, build),
            deadline: deployment.deadline,
            is_assigned: true,
            changed: deployment.changed.begin(),
            priority: None,
            hardware_ids: Vec::new(),
            with_zeros: ticket.protocol >= WITH_ZEROS,
        },
        is_leaf: entry.is_leaf,
    })
}

/// The build of the system of whoever asks.
fn build(asked: &Asked) -> u32 {
    asked.seat.as_ref().map_or(0, |seat| seat.build)
}

/// Numbers that this server may have given out; the others are told to be forgotten.
fn numbers(given: &[i32], strangers: &mut Vec<i32>) -> Vec<u32> {
    let known = |number: &i32| {
        let known = u32::try_from(*number);
        if known.is_err() {
            strangers.push(*number);
        }
        known.ok()
    };
    given.iter().filter_map(known).collect()
}

/// Which categories a scan is for, and whose it is, as a number.
fn hashed(categories: &[UpdateId], whose: u64) -> u64 {
    let mut sorted = categories.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut hasher = DefaultHasher::new();
    (sorted, whose).hash(&mut hasher);
    hasher.finish()
}

fn signed(numbers: &[u32]) -> impl Iterator<Item = i32> + '_ {
    numbers.iter().filter_map(|number| i32::try_from(*number).ok())
}

impl Scans {
    /// To `StartCategoryScan`, which has no cookie.
    pub(super) async fn categories(&self, version: Version, request: StartCategoryScan) -> Result<Said, Error> {
        let known = self.known().await?;
        let Preferred { preferred, in_error } = self
            .work(move || {
                let asked: Vec<(i32, UpdateId)> =
                    request.categories.iter().map(|wanted| (wanted.group, wanted.category)).collect();
                category::preferred(&asked, |id| known.graph.category(id))
            })
            .await??;
        Ok(Said::Whole(answer::category_scan(version, &preferred, &in_error)))
    }

    /// To `SyncUpdates`.
    pub(super) async fn sync(
        self: &Arc<Self>,
        version: Version,
        request: SyncUpdates,
        asked: &mut Asked,
    ) -> Result<Said, Error> {
        let mut ticket = self.admit(request.cookie.as_ref(), Need::Mapping, asked)?;
        // Who holds nothing has nothing to map; it stays foreign all the same, since a first question may leave out what is held.
        if ticket.foreign && !(request.installed.is_empty() && request.cached.is_empty()) {
            return Err(Error::refused(FaultCode::ServerChanged, FOREIGN));
        }
        if request.skip_software {
            let answer = scan::drivers(&scan::Request { mark: ticket.mark, ..scan::Request::default() });
            return self.say(version, &ticket, &answer, &[], false, asked).await;
        }
        if !request.devices.is_empty() {
            return Err(Error::parameter("parameters.SystemSpec", "devices belong to the question about drivers"));
        }
        let whoever = Endpoint(ticket.client());
        let (known, whose) = self.catalogs.current_of(&self.texts, whoever).await?;
        if ticket.mark > known.clock() {
            // Nobody but this server makes marks: it was set back.
            return Err(Error::refused(FaultCode::ServerChanged, "the cookie is of a later state of this server"));
        }
        // A system that was renewed knows more words than before.
        let told_as = whose.number() ^ u64::from(build(asked) < WITH_OPTIONAL);
        if ticket.whose != told_as {
            // It was told what holds for others: all that it holds is told anew.
            (ticket.whose, ticket.mark, ticket.part) = (told_as, 0, None);
        }
        let part = (!request.categories.is_empty()).then(|| hashed(&request.categories, ticket.whose));
        let mark = match (part, ticket.part) {
            // In a scan for categories changes of what it leaves out are not told, so that the mark of all stays.
            (Some(part), Some((of, mark))) if of == part => mark.max(ticket.mark),
            _ => ticket.mark,
        };
        let (catalogs, now, two_groups) = (Arc::clone(&self.catalogs), self.now(), request.two_groups);
        let (answer, strangers) = self
            .work(move || {
                let scope = catalogs.scope(&known, &whose, &request.categories, now)?;
                let mut strangers = Vec::new();
                let installed = numbers(&request.installed, &mut strangers);
                let cached = numbers(&request.cached, &mut strangers);
                let asked = scan::Request { installed: &installed, cached: &cached, mark, two_groups };
                let answer = scan::software(&scope.view, scope.whole.as_deref(), &asked, Page::of(&scope.view))?;
                Ok::<_, Error>((answer, strangers))
            })
            .await??;
        ticket.part = part.map(|part| (part, answer.mark));
        if part.is_none() {
            ticket.mark = answer.mark;
        }
        self.say(version, &ticket, &answer, &strangers, two_groups, asked).await
    }

    /// Writes the answer of a scan.
    async fn say(
        &self,
        version: Version,
        ticket: &Ticket,
        answer: &Answer,
        strangers: &[i32],
        two_groups: bool,
        asked: &mut Asked,
    ) -> Result<Said, Error> {
        let build = build(asked);
        let numbers: Vec<u32> = answer.new.iter().map(|entry| entry.number).collect();
        let bytes: u64 = answer.new.iter().map(|entry| u64::from(entry.core)).sum();
        asked.room.expect(usize::try_from(bytes).unwrap_or(usize::MAX), &self.large).await?;
        let cores = self.texts.cores(&numbers, &mut asked.room).await?;
        let mut offer = Offer::updates(version);
        let mut sent = 0;
        for (entry, core) in answer.new.iter().zip(cores) {
            // What has no core fragment, or a number that no agent takes, nobody could evaluate.
            if let (Some(offered), Some(core)) = (offered(entry, ticket, build), core) {
                offer.revision(&offered, core);
                sent += 1;
            } else {
                tracing::warn!(number = entry.number, update = %entry.identity, "a revision cannot be offered");
            }
        }
        self.counters.revisions(sent);
        let rest = Rest {
            out_of_scope: signed(&answer.out_of_scope).chain(strangers.iter().copied()).collect(),
            changed: answer.changed.iter().filter_map(|entry| offered(entry, ticket, build)).collect(),
            // Where nothing of it could be offered the next answer would be this one once more.
            is_truncated: answer.truncated && (sent > 0 || answer.new.is_empty() || !answer.changed.is_empty()),
            cookie: self.cookie(ticket)?,
            deployed_out_of_scope: Some(signed(&answer.deployed_out_of_scope).collect::<Vec<_>>())
                .filter(|list| two_groups && !list.is_empty()),
            no_drivers: (ticket.protocol >= WITH_DRIVERS).then_some(answer.no_driver_sync),
        };
        Ok(Said::Parts(offer.finish(&rest)))
    }

    /// To `SyncPrinterCatalog`: this server has no drivers.
    pub(super) fn printers(
        &self,
        version: Version,
        request: &SyncPrinterCatalog,
        asked: &mut Asked,
    ) -> Result<Said, Error> {
        let ticket = self.admit(request.cookie.as_ref(), Need::Registered, asked)?;
        let rest = Rest {
            out_of_scope: Vec::new(),
            changed: Vec::new(),
            is_truncated: false,
            cookie: self.cookie(&ticket)?,
            deployed_out_of_scope: None,
            no_drivers: (ticket.protocol >= WITH_DRIVERS).then_some(true),
        };
        Ok(Said::Parts(Offer::printers(version).finish(&rest)))
    }

    /// To `RefreshCache`.
    pub(super) async fn refresh(
        &self,
        version: Version,
        request: RefreshCache,
        asked: &mut Asked,
    ) -> Result<Said, Error> {
        let ticket = self.admit(request.cookie.as_ref(), Need::Mapping, asked)?;
        let session = ticket.session;
        let (catalogs, now, build) = (Arc::clone(&self.catalogs), self.now(), build(asked));
        let (known, whose) = catalogs.current_of(&self.texts, Endpoint(ticket.client())).await?;
        let found = self
            .work(move || {
                let scope = catalogs.scope(&known, &whose, &[], now)?;
                let found = refresh::refresh(&scope.view, &request.updates)?;
                let refreshed = found.iter().filter_map(|entry| {
                    Some(Refreshed { identity: entry.identity, offered: offered(entry, &ticket, build)? })
                });
                Ok::<_, Error>(offer::refreshed(version, &refreshed.collect::<Vec<_>>()))
            })
            .await??;
        self.members.mapped(session);
        Ok(Said::Whole(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_does_not_know_optional_installs_detects_them() {
        assert_eq!(action(Ordered::OptionalInstall, WITH_OPTIONAL), Action::OptionalInstall);
        for build in [0, 14_393, 17_763] {
            assert_eq!(action(Ordered::OptionalInstall, build), Action::PreDeploymentCheck);
            assert_eq!(action(Ordered::Install, build), Action::Install);
        }
    }

    #[test]
    fn numbers_that_were_never_given_out_are_strangers() {
        let mut strangers = Vec::new();
        assert_eq!(numbers(&[1, -5, i32::MAX, i32::MIN], &mut strangers), [1, 0x7fff_ffff]);
        assert_eq!(strangers, [-5, i32::MIN]);
        let id = |byte| UpdateId::new([byte; 16]);
        assert_eq!(hashed(&[id(1), id(2)], 7), hashed(&[id(2), id(1), id(1)], 7));
        assert_ne!(hashed(&[id(1)], 7), hashed(&[id(2)], 7));
        assert_ne!(hashed(&[id(1)], 7), hashed(&[id(1)], 8));
    }
}
