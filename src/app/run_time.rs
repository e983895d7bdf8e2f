//! Settings that are changed while the node runs: checked, kept in the store's local layer with who and when, and shown among
//! the settings.

use std::future::Future;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::admin::bandwidth::Refused;
use crate::app::config::keys::{self, Typed};
use crate::base::time::Clock;
use crate::model::settings::{LOCAL_DOCUMENTS, Layer, Origin, Raw, Recorded, SettingError, Settings};
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

    /// What holds, with what waits for the next start.
    pub(crate) fn now(&self) -> Settings {
        Settings::clone(&self.settings.load())
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
        let (changes, typed) = self.prepare(vec![(path.to_owned(), value)], by)?;
        let judged = judge(&typed).map_err(Refused::Value)?;
        self.keep(changes, by).await?;
        take(judged);
        Ok(())
    }

    /// The same of several keys at once, all or none, where the judgement takes its time and nothing is taken before the next start.
    pub(crate) async fn change_all<J>(
        &self,
        changes: Vec<(&'static str, Option<Raw>)>,
        by: &str,
        judge: impl FnOnce(Typed) -> J + Send,
    ) -> Result<(), Refused>
    where
        J: Future<Output = Result<(), String>> + Send,
    {
        let _turn = self.turn.lock().await;
        let changes = changes.into_iter().map(|(path, value)| (path.to_owned(), value)).collect();
        let (changes, typed) = self.prepare(changes, by)?;
        judge(typed).await.map_err(Refused::Value)?;
        self.keep(changes, by).await
    }

    /// Refuses all that can be refused before anything is written: what was asked for as it is kept, and what all settings then are.
    fn prepare(&self, changes: Vec<(String, Option<Raw>)>, by: &str) -> Result<(Vec<Changed>, Typed), Refused> {
        let now = self.settings.load();
        let mut prepared = Vec::with_capacity(changes.len());
        for (path, value) in changes {
            now.may_set(&path, Layer::Local)?;
            if let (Some(key), Some(value)) = (keys::key(&path), &value) {
                key.check(value).map_err(Refused::Value)?;
            }
            let recorded = value.map(|value| Recorded { value, by: by.to_owned(), at: self.clock.now() });
            prepared.push(Changed { path, recorded });
        }
        let typed = Typed::read(&apply(&now, &prepared)?).map_err(|error| Refused::Value(error.to_string()))?;
        Ok((prepared, typed))
    }

    /// Writes them in one go, and puts them among the settings.
    async fn keep(&self, changes: Vec<Changed>, by: &str) -> Result<(), Refused> {
        let document = |changed: &Changed| {
            let value = changed.recorded.as_ref().map(serde_json::to_vec).transpose();
            Ok((format!("{LOCAL_DOCUMENTS}{}", changed.path), value?))
        };
        let documents: Result<Vec<_>, serde_json::Error> = changes.iter().map(document).collect();
        let documents = documents.map_err(|error| Refused::Value(error.to_string()))?;
        self.store.set_documents(documents).await?;
        // A reload may have come in between: its other keys stay.
        self.settings.rcu(|settings| apply(settings, &changes).map_or_else(|_| Arc::clone(settings), Arc::new));
        for changed in &changes {
            tracing::info!(key = changed.path, by, "a setting was changed at run time");
        }
        Ok(())
    }
}

/// A key with what is kept of it; without anything what stands beneath it holds.
struct Changed {
    path: String,
    recorded: Option<Recorded>,
}

/// The settings as they are with these.
fn apply(settings: &Settings, changes: &[Changed]) -> Result<Settings, SettingError> {
    let mut settings = settings.clone();
    for Changed { path, recorded } in changes {
        match recorded {
            Some(recorded) => {
                let origin = Origin::recorded(Layer::Local, recorded.by.clone(), recorded.at);
                settings.set(path, origin, recorded.value.clone())?;
            }
            None => settings.clear(path, Layer::Local),
        }
    }
    Ok(settings)
}
