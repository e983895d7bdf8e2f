//! What is said of the catalog and does nothing, means nothing, or cannot be judged yet: filters, rules of the content policy, schedules
//! of lanes that are off.

use crate::app::config::keys::Typed;
use crate::app::config::kinds::word::UpstreamKind;
use crate::app::config::rooms;
use crate::app::preflight::{Found, is_shipped};
use crate::model::filter::{Error, Tree};
use crate::model::report::Verdict;
use crate::model::settings::{Layer, Settings};

/// Tells of filters that somebody wrote and that are without effect, wrong, or not known before there is a catalog. `catalog` has the
/// categories of the one that there is.
pub(super) fn written(typed: &Typed, settings: &Settings, catalog: Option<&Tree>, found: &mut Found) {
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
    let (_, wrong) = rooms::filters(typed).in_force(catalog.unwrap_or(&Tree::new([])));
    for error in wrong {
        match &error {
            // Languages are the protocol's, and known without one.
            Error::Unknown { what, text, .. } if catalog.is_none() && *what != "language" => found.add(
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

/// Tells of rules of the content policy that name no classification: they are left out, and what one of them would have kept out is
/// fetched or, more likely, nothing is before it is corrected.
pub(super) fn rules(typed: &Typed, catalog: Option<&Tree>, found: &mut Found) {
    const KEY: &str = "content.rules";
    let (_, wrong) = rooms::content(typed).in_force(catalog.unwrap_or(&Tree::new([])));
    for wrong in wrong {
        let advice = if wrong.keeps_out {
            "correct it: it would keep out what comes without it, so that nothing is fetched ahead by itself"
        } else {
            "correct it: it is left out"
        };
        match &wrong.error {
            // A new catalog may have it; what is all but one that every catalog has is a slip of the pen.
            Error::Unknown { text, near, .. } if catalog.is_none() && near.names().is_empty() => found.add(
                Verdict::Note,
                "rules",
                KEY,
                format!("whether there is a classification called {text:?} only a synchronised catalog can tell"),
                "`waystation plan` of a running node says which rules it leaves out",
            ),
            _ => found.warn("rules", KEY, wrong.to_string(), advice),
        }
    }
}

/// Tells of entries of the scope of detection that name nothing: they are left out, and where nothing is left nothing is detected.
pub(super) fn detection(typed: &Typed, catalog: Option<&Tree>, found: &mut Found) {
    let (_, wrong) = rooms::detection(typed).in_force(catalog.unwrap_or(&Tree::new([])));
    for error in wrong {
        let key = match &error {
            Error::Unknown { what, .. } if *what == "classification" => "scan.detect_classifications",
            _ => "scan.detect_products",
        };
        match &error {
            Error::Unknown { what, text, near, .. } if catalog.is_none() && near.names().is_empty() => found.add(
                Verdict::Note,
                "detection",
                key,
                format!("whether there is a {what} called {text:?} only a synchronised catalog can tell"),
                "the log of a running node says what it leaves out",
            ),
            _ => found.warn("detection", key, error.to_string(), "correct it: it is left out"),
        }
    }
}

/// Tells of what is on and cannot work as it stands, or is heard by others.
pub(super) fn runs(typed: &Typed, found: &mut Found) {
    if typed.definitions.enabled.0 && !typed.sync.enabled.0 {
        let seen = "the lane of definition updates adds to a catalog, and no schedule brings that one";
        found.add(
            Verdict::Note,
            "definitions",
            "definitions.enabled",
            seen.to_owned(),
            "set sync.enabled = true with a schedule, or run `waystation sync start` by hand before",
        );
    }
    if typed.sync.webhook.0.as_deref().is_some_and(|url| url.starts_with("http://")) {
        let seen = "it is told of runs over plain HTTP: who can read the wire reads it";
        found.add(Verdict::Note, "plain-http", "sync.webhook", seen.to_owned(), "name it by https:// where it can be");
    }
}

/// Tells of a schedule that somebody wrote where nobody said that it is on.
pub(super) fn schedules(settings: &Settings, found: &mut Found) {
    let is_said = |key: &str| settings.get(key).is_some_and(|setting| setting.origin().layer != Layer::Default);
    for section in ["sync", "definitions"] {
        let (schedule, enabled) = (format!("{section}.schedule"), format!("{section}.enabled"));
        if is_said(&schedule) && !is_said(&enabled) {
            let seen = format!("it is set, and {enabled} is not: no run begins by itself");
            found.add(Verdict::Note, "schedule", &schedule, seen, format!("set {enabled} = true"));
        }
    }
}
