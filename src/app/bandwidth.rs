//! Bandwidth rules that are set while the node runs, and in force at once.

use std::sync::Arc;

use crate::admin::bandwidth::{Changing, Refused};
use crate::app::config::keys::Typed;
use crate::app::config::rooms;
use crate::app::run_time::RunTime;
use crate::model::settings::Raw;
use crate::pace::Governor;

/// What a change needs.
#[derive(Debug)]
pub(crate) struct Changer {
    pub(crate) settings: Arc<RunTime>,
    pub(crate) governor: Governor,
}

impl Changer {
    /// Sets `bandwidth.{name}` for `by`, or, with `None`, lets what stands beneath it hold again.
    pub(crate) async fn change(&self, name: &str, value: Option<Raw>, by: &str) -> Result<(), Refused> {
        let path = format!("bandwidth.{name}");
        let judge = |typed: &Typed| rooms::pace(typed).map_err(|error| error.to_string());
        self.settings.change(&path, value, by, judge, |config| self.governor.set_config(config)).await
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
