//! What of the catalog is wanted, set while the node runs; the next synchronisation goes by it.

use std::sync::Arc;

use crate::admin::bandwidth::Changing;
use crate::app::run_time::RunTime;
use crate::jobs::Jobs;

/// Sets a key of `[filters]` at run time, as the control plane calls it.
pub(crate) fn changing(settings: Arc<RunTime>, jobs: Jobs) -> Changing {
    Arc::new(move |name, value, by| {
        let (settings, jobs) = (Arc::clone(&settings), jobs.clone());
        Box::pin(async move {
            let path = format!("filters.{name}");
            let changed = settings.change(&path, value, &by, |_| Ok(()), |()| {}).await;
            // What is wanted of files is so within the filters.
            if changed.is_ok() {
                jobs.content_changed();
            }
            changed
        })
    })
}
