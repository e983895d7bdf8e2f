//! Bringing the graph into memory, and keeping it as the catalog is.
//!
//! 1. The clock of the change log is taken; then all revisions are walked, in short snapshots, and the numbers that are past.
//! 2. What changed from that clock on is read again, so that it does not matter which of the changes a snapshot had seen.
//! 3. Later only the last step is repeated. Where the log has forgotten what went since, or the catalog is another than it was,
//!    everything is read anew.

use crate::fleet::error::Error;
use crate::fleet::graph::Graph;
use crate::store::catalog::{Catalog, Change};

/// Lines of the change log that are read at a time; their revisions are unpacked in one snapshot.
const LINES: usize = 2_000;

/// The graph of the whole catalog.
pub async fn load(catalog: &Catalog) -> Result<Graph, Error> {
    let mut graph = Graph::default();
    let clock = catalog.standing().await?.clock;
    let mut after = None;
    loop {
        let (found, next) = catalog.related_step(after).await?;
        for related in &found {
            graph.insert(related);
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    let mut after = None;
    loop {
        let (found, next) = catalog.past_step(after).await?;
        for (number, identity) in found {
            graph.insert_past(number, identity.id);
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    graph.set_clock(clock);
    // What went meanwhile cannot be forgotten yet: it was just written.
    follow(catalog, &mut graph).await?;
    Ok(graph)
}

/// Brings a graph up to what is committed. Says whether it could; where not, it must be loaded anew.
pub async fn follow(catalog: &Catalog, graph: &mut Graph) -> Result<bool, Error> {
    let (from, mut after) = (graph.clock(), (graph.clock(), u32::MAX));
    loop {
        let page = catalog.changes(after.0, after.1, LINES).await?;
        if page.floor > from || page.clock < from {
            return Ok(false);
        }
        let held = page.changes.iter().filter(|change| change.held).map(|change| change.number).collect();
        let found = catalog.related(held).await?;
        // What comes before what goes: an update that both name as a prerequisite is no leaf in between.
        for related in &found {
            graph.insert(related);
        }
        for Change { at, number, held } in &page.changes {
            if !held {
                graph.remove(*number, *at);
            }
        }
        if !page.more {
            graph.set_clock(page.clock);
            return Ok(true);
        }
        // A page may have decisions alone.
        after = page.next;
    }
}
