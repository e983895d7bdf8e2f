//! Bandwidth rules that are set while the node runs: checked, kept in the store's local layer with who and when, shown among
//! the settings, and in force at once.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::admin::bandwidth::{Changing, Refused};
use crate::app::config::keys::{self, Typed};
use crate::app::config::rooms;
use crate::base::time::Clock;
use crate::model::settings::{LOCAL_DOCUMENTS, Layer, Origin, Raw, Recorded, Settings};
use crate::pace::Governor;
use crate::store::Store;

/// What a change needs.
#[derive(Debug)]
pub(crate) struct Changer {
    pub(crate) store: Store,
    pub(crate) settings: Arc<ArcSwap<Settings>>,
    pub(crate) governor: Governor,
    pub(crate) clock: Arc<dyn Clock>,
    /// One at a time, so that what is in the store is what is in force.
    pub(crate) turn: Mutex<()>,
}

impl Changer {
    /// Sets `bandwidth.{name}` for `by`, or, with `None`, lets what stands beneath it hold again.
    pub(crate) async fn change(&self, name: &str, value: Option<Raw>, by: &str) -> Result<(), Refused> {
        let _turn = self.turn.lock().await;
        let path = format!("bandwidth.{name}");
        let now = self.settings.load();
        now.may_set(&path, Layer::Local)?;
        if let (Some(key), Some(value)) = (keys::key(&path), &value) {
            key.check(value).map_err(Refused::Value)?;
        }
        let recorded = value.map(|value| Recorded { value, by: by.to_owned(), at: self.clock.now() });
        let apply = |settings: &Settings| -> Result<Settings, Refused> {
            let mut settings = settings.clone();
            match &recorded {
                Some(recorded) => {
                    let origin = Origin::recorded(Layer::Local, recorded.by.clone(), recorded.at);
                    settings.set(&path, origin, recorded.value.clone())?;
                }
                None => settings.clear(&path, Layer::Local),
            }
            Ok(settings)
        };
        // All that can be refused is refused before anything is written.
        let typed = Typed::read(&apply(&now)?).map_err(|error| Refused::Value(error.to_string()))?;
        let config = rooms::pace(&typed).map_err(|error| Refused::Value(error.to_string()))?;
        let document = recorded.as_ref().map(serde_json::to_vec).transpose();
        let document = document.map_err(|error| Refused::Value(error.to_string()))?;
        self.store.set_document(&format!("{LOCAL_DOCUMENTS}{path}"), document).await?;
        // A reload may have come in between: its other keys stay.
        self.settings.rcu(|settings| apply(settings).map_or_else(|_| Arc::clone(settings), Arc::new));
        self.governor.set_config(config);
        tracing::info!(key = path, by, "bandwidth rules changed");
        Ok(())
    }

    /// As the control plane calls it.
    pub(crate) fn changing(self) -> Changing {
        let changer = Arc::new(self);
        Arc::new(move |name, value, by| {
            let changer = Arc::clone(&changer);
            Box::pin(async move { changer.change(&name, value, &by).await })
        })
    }
}
