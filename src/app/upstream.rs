//! What stands above, chosen while the node runs: the next start goes by it. It is refused where that start would refuse it.

use std::sync::Arc;

use crate::admin::bandwidth::Refused;
use crate::admin::upstream::{Above, Changes};
use crate::app::config::keys::{self, Typed};
use crate::app::config::rooms;
use crate::app::run_time::RunTime;
use crate::model::report::Finding;
use crate::model::settings::{Layer, Origin};
use crate::pace::Governor;
use crate::upstream::wsus::Wsus;

/// The ways to change and to test it, as the control plane calls them; `id` is that of the store.
pub(crate) fn above(settings: Arc<RunTime>, id: String, governor: Governor) -> Above {
    let (asked, own, speed) = (Arc::clone(&settings), id.clone(), governor.clone());
    Above {
        changing: Arc::new(move |changes, by| {
            let (settings, id, governor) = (Arc::clone(&settings), id.clone(), governor.clone());
            Box::pin(async move {
                let judge = |typed: Typed| async move { conversation(typed, id, governor).await.map(drop) };
                settings.change_all(changes, &by, judge).await
            })
        }),
        testing: Arc::new(move |changes| {
            let (settings, id, governor) = (Arc::clone(&asked), own.clone(), speed.clone());
            Box::pin(async move { test(&settings, changes, id, governor).await })
        }),
    }
}

async fn test(settings: &RunTime, changes: Changes, id: String, governor: Governor) -> Result<Vec<Finding>, Refused> {
    let mut would = settings.now();
    for (key, value) in changes {
        match value {
            Some(value) => {
                if let Some(key) = keys::key(key) {
                    key.check(&value).map_err(Refused::Value)?;
                }
                // On top of all: it is asked for, wherever else something is set.
                would.set(key, Origin::place(Layer::Flag, "the test"), value)?;
            }
            None => would.clear(key, Layer::Local),
        }
    }
    let typed = Typed::read(&would).map_err(|error| Refused::Value(error.to_string()))?;
    match conversation(typed, id, governor).await.map_err(Refused::Value)? {
        Some(wsus) => Ok(wsus.probe().await),
        None => Ok(Vec::new()),
    }
}

/// The conversation that a node of these settings would have with its sync service; none below a parent. Reads files of authorities.
async fn conversation(typed: Typed, id: String, governor: Governor) -> Result<Option<Wsus>, String> {
    let opening = tokio::task::spawn_blocking(move || {
        rooms::consistent(&typed).map_err(|error| error.to_string())?;
        let Some((_, config)) = rooms::sync(&typed, &id).map_err(|error| error.to_string())? else { return Ok(None) };
        Wsus::new(config, &governor).map(Some).map_err(|error| error.to_string())
    });
    opening.await.map_err(|error| format!("the look at the upstream broke off: {error}"))?
}
