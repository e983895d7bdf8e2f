//! Settings that are changed while the node runs: checked, kept in the store's local layer with who and when, and shown among
//! the settings.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::admin::bandwidth::Refused;
use crate::app::config::keys::{self, Typed};
use crate::base::time::Clock;
use crate::model::settings::{LOCAL_DOCUMENTS, Layer, Origin, Raw, Recorded, Settings};
use crate::store::Store;

/// What a change needs.
#[derive(Debug)]
pub(crate) struct RunTime {
    store: Store,
    settings: Arc<ArcSwap<Settings>>,
    clock: Arc<dyn Clock>,
    /// One at a time, so that what is in the store is what is in force.
    turn: Mutex<()>,
}

impl RunTime {
    pub(crate) fn new(store: Store, settings: Arc<ArcSwap<Settings>>, clock: Arc<dyn Clock>) -> Self {
        Self { store, settings, clock, turn: Mutex::new(()) }
    }

    /// Sets the key at `path` for `by`, or, with `None`, lets what stands beneath it hold again. `judge` may still refuse
    /// what all settings then are; what it makes of them `take` puts in force once the change is kept.
    pub(crate) async fn change<T>(
        &self,
        path: &str,
        value: Option<Raw>,
        by: &str,
        judge: impl FnOnce(&Typed) -> Result<T, String>,
        take: impl FnOnce(T),
    ) -> Result<(), Refused> {
        let _turn = self.turn.lock().await;
        let now = self.settings.load();
        now.may_set(path, Layer::Local)?;
        if let (Some(key), Some(value)) = (keys::key(path), &value) {
            key.check(value).map_err(Refused::Value)?;
        }
        let recorded = value.map(|value| Recorded { value, by: by.to_owned(), at: self.clock.now() });
        let apply = |settings: &Settings| -> Result<Settings, Refused> {
            let mut settings = settings.clone();
            match &recorded {
                Some(recorded) => {
                    let origin = Origin::recorded(Layer::Local, recorded.by.clone(), recorded.at);
                    settings.set(path, origin, recorded.value.clone())?;
                }
                None => settings.clear(path, Layer::Local),
            }
            Ok(settings)
        };
        // All that can be refused is refused before anything is written.
        let typed = Typed::read(&apply(&now)?).map_err(|error| Refused::Value(error.to_string()))?;
        let judged = judge(&typed).map_err(Refused::Value)?;
        let document = recorded.as_ref().map(serde_json::to_vec).transpose();
        let document = document.map_err(|error| Refused::Value(error.to_string()))?;
        self.store.set_document(&format!("{LOCAL_DOCUMENTS}{path}"), document).await?;
        // A reload may have come in between: its other keys stay.
        self.settings.rcu(|settings| apply(settings).map_or_else(|_| Arc::clone(settings), Arc::new));
        take(judged);
        tracing::info!(key = path, by, "a setting was changed at run time");
        Ok(())
    }
}
