//! What an endpoint that comes from another server holds of what this one delivers (MS-WUSP 3.1.5.4, RefreshCache): it keeps the
//! metadata and learns the numbers of this server. What is not told it throws away and gets anew.

use std::collections::HashMap;

use crate::fleet::error::Error;
use crate::fleet::scan::CACHED_MAX;
use crate::fleet::view::{Entry, View};
use crate::model::deployment::Action;
use crate::model::update::Identity;

/// Those of the revisions that are delivered, in the order asked for, each once. Parts of bundles are left out, as WSUS servers do: the
/// agent was never seen to take them.
pub fn refresh(view: &View, held: &[Identity]) -> Result<Vec<Entry>, Error> {
    if held.len() > CACHED_MAX {
        return Err(Error::Long { list: "globalIDs", many: held.len(), max: CACHED_MAX });
    }
    let delivered = view.entries().iter().filter(|entry| entry.action != Action::Bundle);
    let mut delivered: HashMap<Identity, &Entry> = delivered.map(|entry| (entry.identity, entry)).collect();
    Ok(held.iter().filter_map(|identity| delivered.remove(identity)).copied().collect())
}
