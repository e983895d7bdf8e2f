//! What this node sent of the files of updates that an endpoint says it has, beside what it says.

use std::collections::HashMap;

use crate::admin::Handles;
use crate::admin::error::Problem;
use crate::fleet::compliance::ask::{self, Stands};
use crate::fleet::compliance::board::Board;
use crate::fleet::compliance::evidence::{Behind, Evidence, claims_files, evidence};
use crate::model::deployment::Endpoint;
use crate::model::update::UpdateId;
use crate::store::catalog::Summary;

/// By update, of those that it says it has: what stands behind that. Nothing for what the catalog does not have any more.
pub(super) async fn of(
    handles: &Handles,
    endpoint: Endpoint,
    stands: &[Stands],
    shorts: &HashMap<UpdateId, Summary>,
) -> Result<HashMap<UpdateId, Evidence>, Problem> {
    let claimed = stands.iter().filter(|one| claims_files(one.state));
    let claimed: Vec<&Summary> = claimed.filter_map(|one| shorts.get(&one.update)).collect();
    let sent = handles.store.fleet().sent_to(endpoint).await?;
    if sent.own.is_empty() && sent.place.is_empty() {
        let none = evidence(&[], &sent);
        return Ok(claimed.into_iter().map(|short| (short.identity.id, none)).collect());
    }
    let roots = claimed.iter().map(|short| short.identity).collect();
    let files = handles.store.catalog().files_of(roots).await?;
    let one = |(short, files): (&Summary, Vec<_>)| (short.identity.id, evidence(&files, &sent));
    Ok(claimed.into_iter().zip(files).map(one).collect())
}

/// How many updates an endpoint says it has, and behind how many of them stands more than its word.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::admin) struct Count {
    pub(in crate::admin) sent: u64,
    pub(in crate::admin) place: u64,
    pub(in crate::admin) word: u64,
}

/// The count of an endpoint.
pub(in crate::admin) async fn count(handles: &Handles, endpoint: Endpoint) -> Result<Count, Problem> {
    let look = move |board: &Board| board.row(endpoint).map(|row| ask::stands(board, row)).unwrap_or_default();
    let stands: Vec<Stands> = handles.reported.look(look).await?;
    let ids = stands.iter().filter(|one| claims_files(one.state)).map(|one| one.update);
    let shorts = super::shorts(&handles.store.catalog(), ids.collect()).await?;
    let found = of(handles, endpoint, &stands, &shorts).await?;
    let many = |behind| found.values().filter(|one| one.behind == behind).count() as u64;
    Ok(Count { sent: many(Behind::Sent), place: many(Behind::SentToPlace), word: many(Behind::Word) })
}
