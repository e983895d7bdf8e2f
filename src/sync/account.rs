//! What a WSUS server above is told at the end of a run: how this node stands, and the WSUS servers below it (MS-WSUSSS 3.2.4.5).

use crate::base::time::Timestamp;
use crate::sync::Awaited;
use crate::upstream::wsus::Wsus;
use crate::wire::wsusss::rollup::Server;
use crate::wire::wsusss::values::Time;

/// Who knows how this node stands.
pub trait Account: Send + Sync {
    /// This node, whose catalog was synchronised at this time, and then the servers below it, each behind the one above it.
    fn servers(&self, synchronised: Timestamp) -> Awaited<'_, Result<Vec<Server>, String>>;
}

/// Tells it. What comes of it changes nothing of the run: an error is for its history.
pub(in crate::sync) async fn tell(wsus: &Wsus, account: &dyn Account, now: Timestamp) -> Result<(), String> {
    let servers = account.servers(now).await?;
    let told = wsus.roll_up(Time::new(now), servers).await.map_err(|error| error.to_string())?;
    tracing::debug!(upstream = wsus.label(), server = %told.server, detailed = told.is_detailed, "the server above knows how this node stands");
    Ok(())
}
