//! Entries that wait for their place in the feed: what is wished of single nodes. They are published as they stand, then taken off the list;
//! one that comes twice after a crash says what is live already, and changes nothing.

use crate::chain::below::wish::{OUT, entry};
use crate::chain::error::Error;
use crate::chain::publish::Publisher;
use crate::chain::records::Made;

impl Publisher {
    /// Publishes what waits.
    pub(super) async fn queued(&mut self) -> Result<(), Error> {
        let rows = self.store.documents(OUT).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let entries = rows.iter().filter_map(|(_, row)| entry(row)).collect();
        self.say(Made { entries, ..Made::default() }).await?;
        self.store.set_documents(rows.into_iter().map(|(key, _)| (key, None)).collect()).await?;
        Ok(())
    }
}
