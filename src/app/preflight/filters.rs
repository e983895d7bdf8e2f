//! Filters of the catalog that do nothing, or that cannot be judged yet.

use crate::app::config::keys::Typed;
use crate::app::config::kinds::word::UpstreamKind;
use crate::app::config::rooms;
use crate::app::preflight::{Found, is_shipped};
use crate::model::filter::{Error, Tree};
use crate::model::report::Verdict;
use crate::model::settings::Settings;

/// Tells of filters that somebody wrote and that are without effect, wrong, or not known before there is a catalog.
pub(super) fn written(typed: &Typed, settings: &Settings, found: &mut Found) {
    if ["filters.products", "filters.classifications", "filters.languages"].iter().all(|key| is_shipped(settings, key))
    {
        return;
    }
    if typed.upstream.kind != UpstreamKind::Microsoft {
        found.warn(
            "filters",
            "filters",
            "they are set and have no effect: of a WSUS or a parent all that it offers is taken",
            "choose there what is wanted",
        );
        return;
    }
    let (_, wrong) = rooms::filters(typed).in_force(&Tree::new([]));
    for error in wrong {
        match &error {
            Error::Unknown { what, text, .. } => found.add(
                Verdict::Note,
                "filters",
                "filters",
                format!("whether there is a {what} called {text:?} only a synchronised catalog can tell"),
                "`waystation filters list` of a running node says what it found",
            ),
            error => found.warn("filters", "filters", error.to_string(), "correct it: that entry is left out"),
        }
    }
}
