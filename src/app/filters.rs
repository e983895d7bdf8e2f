//! What of the catalog is wanted, set while the node runs; the next synchronisation goes by it.

use std::sync::Arc;

use crate::admin::bandwidth::Changing;
use crate::app::run_time::RunTime;

/// Sets a key of `[filters]` at run time, as the control plane calls it.
pub(crate) fn changing(settings: Arc<RunTime>) -> Changing {
    Arc::new(move |name, value, by| {
        let settings = Arc::clone(&settings);
        Box::pin(async move {
            let path = format!("filters.{name}");
            settings.change(&path, value, &by, |_| Ok(()), |()| {}).await
        })
    })
}
