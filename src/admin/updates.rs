//! `/api/v1/updates`: what the catalog knows, searched and shown.
//!
//! 1. [`ask`] reads what is searched for, and names what it does not know with what may have been meant.
//! 2. The catalog searches; [`words`] turns what it finds into the words of [`view`].
//! 3. What people and the content policy decided stands beside it; [`decide`] takes decisions.
//! 4. One update is found by whatever a person has of it ([`find`]), and shown with all that hangs on it: each list bounded,
//!    since a cumulative update supersedes hundreds and an upgrade has thousands of files.

pub mod ask;
pub mod decide;
pub(in crate::admin) mod find;
pub mod refused;
pub(in crate::admin) mod words;

pub(in crate::admin) use self::refused::meant as refused_meant;
pub(in crate::admin) use self::words::category_kind;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use crate::admin::Handles;
use crate::admin::error::Problem;
use crate::admin::extract::{Asked, Named};
use crate::admin::updates::ask::Ask;
use crate::admin::view::updates as view;
use crate::base::digest::Digest;
use crate::model::filter::Tree;
use crate::model::name::Name;
use crate::model::policy::{Decision, is_read_in_parts};
use crate::model::relations::{Target, Whole};
use crate::model::update::{File, UpdateId};
use crate::store::catalog::{Catalog, FileDigest, Hit, Revision, State as Shown, Summary, Weight};

/// Updates that are listed of each relation. What has more is of interest as a number.
const RELATED_MAX: usize = 500;

/// Files that are listed, and looked up in the store.
const FILES_MAX: usize = 2000;

/// Files that are looked up in one turn: the data plane needs the store's threads for look-ups too.
const STRIDE: usize = 50;

/// What to do about a catalog in which nothing stands.
pub(super) const EMPTY: &str = "the catalog is empty until it has been synchronised: `waystation sync start` does it, `waystation sync status` \
     tells how far it is";

/// `GET /api/v1/updates`.
pub async fn list(State(handles): State<Arc<Handles>>, Asked(ask): Asked<Ask>) -> Result<Json<view::Updates>, Problem> {
    let catalog = handles.store.catalog();
    let tree = catalog.tree().await?;
    if ask.is_left()? {
        return left_to_endpoints(&handles, ask.rows(), &tree).await.map(Json);
    }
    let mut query = ask.query(&tree)?;
    if ask.is_beyond() {
        let known = handles.jobs.beyond_filters().await?;
        let (_, wanted) = known.ok_or_else(|| {
            let title = "no filters count here: what is above this node says what there is, or none is above it";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, "`waystation filters list` tells why")
        })?;
        query.beyond = Some(Arc::new(wanted));
    }
    let page = catalog.search(query).await?;
    let standing = catalog.standing().await?;
    let policy = handles.jobs.content_policy();
    let ids: Vec<UpdateId> = page.hits.iter().map(|hit| hit.summary.identity.id).collect();
    let for_some = handles.store.approvals().approved(Vec::clone(&ids)).await?;
    let decisions = catalog.decisions(ids).await?;
    let weights = catalog.weights(page.hits.iter().map(|hit| hit.summary.identity).collect()).await?;
    let row = |(((hit, said), for_some), weight): (((Hit, Option<Decision>), bool), Weight)| {
        let decision = words::decision(said.as_ref(), for_some, hit.state, &policy);
        words::short(hit.summary, hit.state, decision, weight, &tree)
    };
    Ok(Json(view::Updates {
        rows: page.hits.into_iter().zip(decisions).zip(for_some).zip(weights).map(row).collect(),
        total: page.total,
        next: page.next.map(ask::cursor),
        catalog: words::catalog(&standing),
    }))
}

/// Updates that the content policy leaves to endpoints, as it counts them now: in the order of the plan, on one page.
async fn left_to_endpoints(handles: &Handles, rows: usize, tree: &Tree) -> Result<view::Updates, Problem> {
    let (catalog, plan) = (handles.store.catalog(), handles.jobs.plan(None).await?);
    let targets = plan.in_parts_ids.iter().take(rows).map(|id| Target::Newest(*id)).collect();
    let shorts: Vec<Summary> = catalog.shorts(targets).await?.into_iter().flatten().collect();
    let ids: Vec<_> = shorts.iter().map(|short| short.identity.id).collect();
    let for_some = handles.store.approvals().approved(ids.clone()).await?;
    let (decisions, superseded) = (catalog.decisions(ids.clone()).await?, catalog.are_superseded(ids).await?);
    let weights = catalog.weights(shorts.iter().map(|short| short.identity).collect()).await?;
    let policy = handles.jobs.content_policy();
    let mut rows = Vec::with_capacity(shorts.len());
    let told = shorts.into_iter().zip(decisions).zip(superseded).zip(for_some).zip(weights);
    for ((((short, said), superseded), for_some), weight) in told {
        let state = words::state(&short, superseded);
        let decision = words::decision(said.as_ref(), for_some, state, &policy);
        rows.push(words::short(short, state, decision, weight, tree));
    }
    Ok(view::Updates {
        rows,
        total: plan.in_parts.updates,
        next: None,
        catalog: words::catalog(&catalog.standing().await?),
    })
}

/// `GET /api/v1/updates/{id, id/revision, the beginning of an id, or KB and digits}`.
pub async fn show(
    State(handles): State<Arc<Handles>>,
    Named(name): Named<String>,
) -> Result<Json<view::Whole>, Problem> {
    let catalog = handles.store.catalog();
    let number = find::number(&catalog, &name).await?;
    let (number, found) = if let Some(found) = catalog.revision(number).await? {
        (number, found)
    } else {
        // It was replaced since it was found: what replaced it has the same name.
        let number = find::number(&catalog, &name).await?;
        (number, catalog.revision(number).await?.ok_or_else(|| find::absent(&name))?)
    };
    let Revision { summary, update } = found;
    let tree = catalog.tree().await?;
    let identity = summary.identity;
    let whole = catalog.whole(identity).await?;

    let superseding = catalog.superseded_by(identity.id).await?;
    let superseded_by = held(&catalog, superseding).await?;
    let bundled_by = held(&catalog, catalog.parents(identity).await?).await?;
    let supersedes = update.supersedes.iter().map(|id| Target::Newest(*id)).collect();
    let supersedes = pointed(&catalog, supersedes).await?.0;
    let members = whole.revisions.iter().skip(1).chain(&whole.missing).map(|member| Target::Revision(*member));
    let (bundles, from_nobody) = pointed(&catalog, members.collect()).await?;
    let refused = if summary.refused { catalog.refusal(identity).await?.map(|row| row.reason) } else { None };
    let state = words::state(&summary, superseded_by.count > 0);
    let (all_files, files_held) = files(&handles, &whole.files).await?;

    let said = catalog.decisions(vec![identity.id]).await?.pop().flatten();
    let for_some = handles.store.approvals().approved(vec![identity.id]).await?.pop().unwrap_or_default();
    let decision = words::decision(said.as_ref(), for_some, state, &handles.jobs.content_policy());
    let in_parts = whole.files.iter().any(|file| is_read_in_parts(file, &update.handler));
    let wanted = handles.jobs.verdict(number).await?.map(|verdict| decide::files_of(verdict, in_parts));
    let current = summary.current;
    let unauthenticated = summary.unauthenticated || from_nobody;
    let weight = Weight { files: whole.files.len() as u64, bytes: whole.bytes };
    let short = view::Update { unauthenticated, ..words::short(summary, state, decision, weight, &tree) };
    let Whole { circular, cut, reboot, impact, asks_user, needs_network, removable, bytes, .. } = whole;
    Ok(Json(view::Whole {
        short,
        current,
        categories: update.categories().map(|id| words::category(id, &tree)).collect(),
        eula: update.eula.as_ref().map(words::eula),
        texts: update.texts.into_iter().map(words::texts).collect(),
        bulletins: update.bulletins,
        cves: update.cves,
        more_info: update.more_info,
        support: update.support,
        languages: update.languages,
        refused,
        decided: said.map(words::said),
        files_wanted: wanted,
        superseded_by,
        supersedes,
        bundled_by,
        bundles,
        circular,
        cut,
        all_files,
        all_bytes: bytes,
        files_held,
        reboot: words::reboot(reboot).to_owned(),
        impact: words::impact(impact).to_owned(),
        asks_user,
        needs_network,
        removable,
    }))
}

/// The first of some revisions that are held.
async fn held(catalog: &Catalog, mut numbers: Vec<u32>) -> Result<view::First<view::Reference>, Problem> {
    let count = numbers.len() as u64;
    numbers.truncate(RELATED_MAX);
    let rows = catalog.summaries(numbers).await?.iter().map(words::reference).collect();
    Ok(view::First { count, rows })
}

/// The first of what relations point to, held or not; and whether any of those came from who proves nothing.
async fn pointed(catalog: &Catalog, mut targets: Vec<Target>) -> Result<(view::First<view::Reference>, bool), Problem> {
    let count = targets.len() as u64;
    targets.truncate(RELATED_MAX);
    let shorts: Vec<Option<Summary>> = catalog.shorts(targets.clone()).await?;
    let from_nobody = shorts.iter().flatten().any(|short| short.unauthenticated);
    let rows = targets.into_iter().zip(&shorts).map(|(target, short)| match short {
        Some(short) => words::reference(short),
        None => words::not_held(target),
    });
    Ok((view::First { count, rows: rows.collect() }, from_nobody))
}

/// The first files with whether their payloads are held, and how many of them are.
async fn files(handles: &Handles, files: &[File]) -> Result<(view::First<view::File>, u64), Problem> {
    let (mut rows, mut many) = (Vec::new(), 0);
    let shown: Vec<&File> = files.iter().take(FILES_MAX).collect();
    for stretch in shown.chunks(STRIDE) {
        // A turn for each stretch. It is never closed.
        let _turn = handles.turns.listing.acquire().await;
        for file in stretch {
            // A payload is not found under a SHA-1 that nobody has looked at yet, so the stronger digest comes first.
            let names = file.sha256.map(Digest::Sha256).into_iter().chain([Digest::Sha1(file.sha1)]);
            let mut class = None;
            for name in names.map(Name::Digest) {
                class = handles.store.show(&name).await?.map(|listed| listed.payload.class);
                if class.is_some() {
                    break;
                }
            }
            many += u64::from(class.is_some());
            let known = handles.store.catalog().files(FileDigest::Sha1(file.sha1)).await?;
            let urls = known.into_iter().flat_map(|known| known.urls).collect();
            rows.push(words::file(file, class, urls));
        }
    }
    Ok((view::First { count: files.len() as u64, rows }, many))
}

/// What an update is shown as.
const fn state_word(state: Shown) -> &'static str {
    match state {
        Shown::Refused => "refused",
        Shown::Expired => "expired",
        Shown::Superseded => "superseded",
        Shown::Current => "published",
    }
}
