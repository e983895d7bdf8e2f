//! The rooms that speak with a sync service: the runs of the catalog with what goes on beside them, and the way to tell a WSUS server
//! to fetch files.

use std::sync::Arc;

use crate::app::AppError;
use crate::app::above::Parent;
use crate::app::config::keys::Typed;
use crate::app::config::rooms;
use crate::base::time::Clock;
use crate::chain::node::Chain;
use crate::model::filter::Selection;
use crate::model::settings::{Raw, Settings};
use crate::pace::Governor;
use crate::store::Store;
use crate::store::catalog::UpstreamKind;
use crate::sync::{Chosen, Extras, Runner, Teller};
use crate::upstream;
use crate::upstream::hook::Hook;
use crate::upstream::wsus::Wsus;

/// The runs of the catalog; `None` where the upstream is a parent, and this node has none.
pub(super) async fn runner(
    typed: &Typed,
    id: &str,
    store: &Store,
    governor: &Governor,
    chosen: Chosen,
    clock: &Arc<dyn Clock>,
    below: Option<&Chain>,
) -> Result<Option<Runner>, AppError> {
    let runner = match (rooms::sync(typed, id)?, below) {
        (Some((kind, config)), _) => {
            let address = config.url.clone();
            let wsus = conversation(kind, config, governor).await?;
            let extras = extras(typed, id, kind, governor).await?;
            Runner::with(kind, &address, wsus, store.clone(), chosen, Arc::clone(clock), extras)
        }
        (None, Some(chain)) => {
            let Ok(Some(id_of_chain)) = chain.chain().await else { return Ok(None) };
            let address = format!("chain {id_of_chain}");
            let teller = extras(typed, id, UpstreamKind::Parent, governor).await?.teller;
            let above = Arc::new(Parent(chain.clone()));
            Runner::below(address, above, store.clone(), chosen, Arc::clone(clock), teller)
        }
        (None, None) => return Ok(None),
    };
    if let Err(error) = runner.begin().await {
        // A store that takes nothing new has no runs either.
        tracing::warn!(%error, "runs of the catalog that were cut off cannot be marked so");
    }
    Ok(Some(runner))
}

/// The way to tell the WSUS server above to fetch files that a client waits for; `None` below anything else.
pub(super) async fn lazy(typed: &Typed, id: &str, governor: &Governor) -> Result<Option<Wsus>, AppError> {
    match rooms::lazy(typed, id)? {
        Some(config) => conversation(UpstreamKind::Wsus, config, governor).await.map(Some),
        None => Ok(None),
    }
}

/// Opens a conversation with a sync service.
async fn conversation(
    kind: UpstreamKind,
    config: upstream::wsus::Config,
    governor: &Governor,
) -> Result<Wsus, AppError> {
    let governor = governor.clone();
    // Reads the files of authorities.
    let opening = tokio::task::spawn_blocking(move || Wsus::new(config, &governor));
    let opened = opening.await.map_err(|error| AppError::System {
        what: "preparing the synchronisation",
        source: std::io::Error::other(error.to_string()),
    })?;
    opened.map_err(|error| {
        let key = if kind == UpstreamKind::Microsoft { "sync.microsoft" } else { "upstream.url" };
        crate::app::ConfigError::one(key, error.to_string()).into()
    })
}

/// What a runner has beside the upstream. Reads files of authorities and of the secret.
async fn extras(typed: &Typed, id: &str, kind: UpstreamKind, governor: &Governor) -> Result<Extras, AppError> {
    let lane = rooms::definitions(typed);
    let reference = if kind == UpstreamKind::Wsus { Some(rooms::microsoft(typed, id)?) } else { None };
    let (hook, node, governor) = (rooms::hook(typed, id)?, rooms::node_name(typed), governor.clone());
    let opening = tokio::task::spawn_blocking(move || {
        let config = |key: &str, error: String| crate::app::ConfigError::one(key, error);
        let microsoft = reference.map(|reference| Wsus::new(reference, &governor)).transpose();
        let microsoft = microsoft.map_err(|error| config("sync.microsoft", error.to_string()))?;
        let hook = hook.map(Hook::new).transpose().map_err(|error| config("sync.webhook", error.to_string()))?;
        Ok::<_, crate::app::ConfigError>((microsoft, hook))
    });
    let (microsoft, hook) = opening.await.map_err(|error| AppError::System {
        what: "preparing the synchronisation",
        source: std::io::Error::other(error.to_string()),
    })??;
    if let Some(hook) = hook.as_ref().filter(|hook| hook.is_plain()) {
        tracing::warn!(
            host = hook.label(),
            "[sync] webhook is told of runs over plain HTTP: who can read the wire reads it"
        );
    }
    let teller = hook.map(|hook| Teller { hook, node });
    let prune_beyond = typed.sync.prune_beyond_filters.0;
    Ok(Extras { microsoft, definitions: lane.enabled.then_some(lane), teller, prune_beyond, page: None })
}

/// What of Microsoft's catalog is wanted, as `[filters]` says now; what is not said there is as it is shipped.
pub(super) fn selection(settings: &Settings) -> Selection {
    let list = |key: &str| match settings.get(key)?.value() {
        Raw::List(items) => Some(items.clone()),
        Raw::Text(item) => Some(vec![item.clone()]),
        _ => None,
    };
    let shipped = Selection::default();
    Selection {
        products: list("filters.products").unwrap_or(shipped.products),
        classifications: list("filters.classifications").unwrap_or(shipped.classifications),
        languages: list("filters.languages").unwrap_or(shipped.languages),
    }
}
