//! What stands between an approval and its effect: withdrawn, superseded, declined, a licence, a review.

use std::collections::BTreeSet;

use crate::admin::Handles;
use crate::admin::error::Problem;
use crate::model::deployment::{Action, Review, Said, Target};
use crate::model::policy::Word;
use crate::model::update::{Publication, UpdateId};
use crate::store::approvals::Tree;
use crate::store::catalog::Summary;

/// What is known of an update that is needed before and after something is said of it.
pub(in crate::admin) struct Known {
    /// It, in short.
    pub(in crate::admin) short: Summary,
    /// The licences that it and its parts ask for.
    pub(in crate::admin) eulas: Vec<UpdateId>,
}

const NOTES: [(&str, &str); 5] = [
    ("declined", "what is declined is declined for everybody: nothing is offered until `waystation updates reset`"),
    ("expired", "what its publisher has withdrawn is not offered, whatever is approved"),
    ("superseded", "something newer does the same as what is superseded: it is offered beside it, as approved"),
    (
        "licence",
        "until its licence is accepted an update is detected and not offered: `waystation approvals license accept`",
    ),
    (
        "review",
        "where a group asks for a review it takes effect once that lets it: `waystation approvals review`, in-test for groups that \
         are there for trying out, released for all",
    ),
];

/// For each update the words of what it waits for, and for each such word a sentence with the next step.
pub(in crate::admin) async fn of(
    handles: &Handles,
    tree: &Tree,
    known: &[Known],
    targets: &[Target],
    said: Said,
) -> Result<(Vec<Vec<&'static str>>, Vec<String>), Problem> {
    let (catalog, approvals) = (handles.store.catalog(), handles.store.approvals());
    let ids: Vec<UpdateId> = known.iter().map(|one| one.short.identity.id).collect();
    let decisions = catalog.decisions(ids.clone()).await?;
    let superseded = catalog.are_superseded(ids.clone()).await?;
    let released: BTreeSet<UpdateId> = approvals
        .reviews(ids)
        .await?
        .into_iter()
        .filter_map(|step| (step.reviewed.review == Review::Released).then_some(step.update))
        .collect();
    let accepted: BTreeSet<UpdateId> = approvals.licences().await?.into_iter().map(|one| one.eula).collect();
    let asks_review = targets.iter().any(|target| match target {
        Target::Group(group) => tree.groups.below(*group).into_iter().any(|group| tree.groups.asks_review(group)),
        // It may be in a group that does.
        Target::Endpoint(_) => tree.groups.iter().any(|node| node.asks_review),
    });
    let is_install = matches!(said, Said::Do { action: Action::Install | Action::OptionalInstall, .. });
    let is_done = matches!(said, Said::Do { .. });
    let mut rows = Vec::with_capacity(known.len());
    let mut all = BTreeSet::new();
    for ((one, decision), superseded) in known.iter().zip(decisions).zip(superseded) {
        let licence = one.eulas.iter().any(|eula| !accepted.contains(eula));
        let waits: Vec<&'static str> = [
            ("declined", decision.is_some_and(|decision| decision.word == Word::Declined)),
            ("expired", one.short.publication == Publication::Expired),
            ("superseded", superseded && is_install),
            ("licence", licence && is_install),
            ("review", is_done && asks_review && !released.contains(&one.short.identity.id)),
        ]
        .into_iter()
        .filter_map(|(word, is_so)| is_so.then_some(word))
        .collect();
        all.extend(waits.iter().copied());
        rows.push(waits);
    }
    let notes = NOTES.into_iter().filter(|(word, _)| all.contains(word)).map(|(_, note)| note.to_owned()).collect();
    Ok((rows, notes))
}
