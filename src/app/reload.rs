//! SIGHUP: the configuration is read again, and what can change while the node runs is changed; all of it or nothing.

use std::sync::Arc;

use crate::app::build::Node;
use crate::app::config::rooms;
use crate::app::logs::Logs;
use crate::app::{Loaded, load};
use crate::model::settings::{Effect, Layer};

/// Reads the configuration again and applies what can change while running. A file with errors changes nothing.
pub(super) fn configuration(node: &Node, loaded: &mut Loaded, logs: &Logs) {
    let mut new = match load(&loaded.flags) {
        Ok(new) => new,
        Err(error) => {
            for problem in error.problems {
                tracing::error!(place = problem.place, what = problem.what, "not reloaded");
            }
            tracing::error!("the configuration has errors and is not used; what ran before goes on");
            return;
        }
    };
    for layer in [Layer::Local, Layer::Parent] {
        new.layered.settings.keep_layer(layer, loaded.settings());
    }
    let typed = match new.typed() {
        Ok(typed) => typed,
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
    node.content.set_config(rooms::net(&typed));
    if let Err(error) = logs.set_level(&typed.log.level.0) {
        tracing::warn!(error, "the level of the log stays as it is");
    }
    let (live, later): (Vec<_>, Vec<_>) = new
        .settings()
        .changed(loaded.settings())
        .map(|(key, setting)| (key.to_owned(), setting.effect()))
        .partition(|(_, effect)| *effect == Effect::Live);
    let names = |keys: Vec<(String, Effect)>| keys.into_iter().map(|(key, _)| key).collect::<Vec<_>>().join(", ");
    if !later.is_empty() {
        tracing::warn!(keys = names(later), "changed, but taken only by the next start");
    }
    tracing::info!(keys = names(live), "reloaded");
    node.settings.store(Arc::new(new.settings().clone()));
    *loaded = new;
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
