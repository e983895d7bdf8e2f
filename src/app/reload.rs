//! SIGHUP: the configuration is read again, and what can change while the node runs is changed; all of it or nothing.

use std::sync::Arc;

use crate::app::build::Node;
use crate::app::config::rooms;
use crate::app::logs::Logs;
use crate::app::{Loaded, load};
use crate::model::settings::{Effect, Layer, Settings};

/// Reads the configuration again and applies what can change while running. A file with errors changes nothing.
/// `started` is what the node began with, by which all runs that a reload does not change.
pub(super) fn configuration(node: &Node, loaded: &mut Loaded, started: &Settings, logs: &Logs) {
    let mut new = match load(&loaded.flags) {
        Ok(new) => new,
        Err(error) => {
            for problem in error.problems {
                tracing::error!(place = problem.place, what = problem.what, "not reloaded; what ran before goes on");
            }
            return;
        }
    };
    // With what was set since the start.
    let running = node.settings.load_full();
    for layer in [Layer::Local, Layer::Parent] {
        new.layered.settings.keep_layer(layer, &running);
    }
    let typed = match new.typed() {
        Ok(typed) => typed,
        Err(error) => {
            tracing::error!(%error, "not reloaded; what ran before goes on");
            return;
        }
    };
    let pace = match rooms::pace(&typed) {
        Ok(pace) => pace,
        Err(error) => {
            tracing::error!(%error, "not reloaded; what ran before goes on");
            return;
        }
    };
    // The allow-list can still be refused, so it comes first: all changes or none.
    if let Err(error) = node.allow.replace(&typed.origins.allow.0) {
        tracing::error!(%error, "origins.allow is refused; nothing is reloaded, what ran before goes on");
        return;
    }
    node.content.set_config(rooms::net(&typed, &node.pace.governor));
    node.pace.governor.set_config(pace);
    if let Err(error) = logs.set_level(&typed.log.level.0) {
        tracing::warn!(error, "the level of the log stays as it is");
    }
    let (live, later) = news(new.settings(), &running, started);
    if !later.is_empty() {
        tracing::warn!(keys = later.join(", "), "changed since the start, but taken only by the next start");
    }
    tracing::info!(keys = live.join(", "), "reloaded");
    let content = live.iter().any(|key| key.starts_with("content.") || key.starts_with("filters."));
    node.settings.store(Arc::new(new.settings().clone()));
    if content {
        node.jobs.content_changed();
    }
    *loaded = new;
}

/// The keys that change now, and those that wait for the next start. What is live runs as it was read last, anything else as
/// it was at the start, whatever files were read since.
fn news<'a>(new: &'a Settings, last: &'a Settings, started: &'a Settings) -> (Vec<&'a str>, Vec<&'a str>) {
    let keys = |than: &'a Settings, live: bool| {
        new.changed(than).filter(|(_, new)| (new.effect() == Effect::Live) == live).map(|(key, _)| key).collect()
    };
    (keys(last, true), keys(started, false))
}

/// Has the certificate's files loaded now, whatever their times say; they are looked at every few seconds anyway.
pub(super) async fn certificate(node: &Node) {
    let Some(tls) = node.certificate.as_ref().map(|certificate| Arc::clone(&certificate.tls)) else { return };
    match tokio::task::spawn_blocking(move || tls.reload_anyway()).await {
        Ok(Ok(true)) => tracing::info!("certificate loaded"),
        Ok(Ok(false)) => {}
        Ok(Err(error)) => tracing::error!(%error, "the new certificate is not used, the old one stays"),
        Err(error) => tracing::error!(%error, "looking for a new certificate failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::Setting;

    #[test]
    fn what_waits_for_the_next_start_is_told_by_what_runs() {
        let with = |complete: &str, level: &str| {
            let mut settings = Settings::default();
            for (key, value, effect) in
                [("fill.complete", complete, Effect::Restart), ("log.level", level, Effect::Live)]
            {
                settings.define(key, Setting::new(value.into(), effect));
            }
            settings
        };
        let started = with("demand", "info");
        let first = with("always", "debug");
        assert_eq!(news(&first, &started, &started), (vec!["log.level"], vec!["fill.complete"]));
        // It still does not run, and is said again.
        assert_eq!(news(&first, &first, &started), (vec![], vec!["fill.complete"]));
        // It is as it runs again.
        assert_eq!(news(&with("demand", "debug"), &first, &started), (vec![], vec![]));
    }
}
