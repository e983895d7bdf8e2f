//! Settings of the catalog's synchronisation and of what is fetched for it that are taken, and do nothing or something else than they
//! seem to.

use crate::app::config::keys::Typed;
use crate::app::config::kinds::word::UpstreamKind;
use crate::app::config::rooms;
use crate::app::preflight::Found;
use crate::model::report::Verdict;
use crate::model::settings::{Layer, Settings};

/// The ports at which a WSUS server listens as installed.
const PLAIN: u16 = 8530;
const TLS: u16 = 8531;

/// Tells of all of them.
pub(super) fn notes(typed: &Typed, settings: &Settings, found: &mut Found) {
    let mut note = |check: &str, key: &str, seen: String, advice: &str| {
        found.add(Verdict::Note, check, key, seen, advice);
    };
    let is_said = |key: &str| settings.get(key).is_some_and(|setting| setting.origin().layer != Layer::Default);
    let below_wsus = typed.upstream.kind == UpstreamKind::Wsus;

    if below_wsus
        && let Some(url) = typed.upstream.url.0.first()
        && let Ok(parsed) = url::Url::parse(url)
    {
        let (scheme, port) = (parsed.scheme().to_owned(), parsed.port());
        let other = match (scheme.as_str(), port) {
            ("http", Some(TLS)) => {
                Some((TLS, "TLS is spoken", "write https:// before it, or the port of plain HTTP (8530)"))
            }
            ("https", Some(PLAIN)) => {
                Some((PLAIN, "plain HTTP is spoken", "write the port of TLS (8531), or http:// before it"))
            }
            _ => None,
        };
        if let Some((port, spoken, advice)) = other {
            let seen = format!("{scheme} at port {port}, where {spoken} on a WSUS server as it is installed");
            note("upstream", "upstream.url", seen, advice);
        }
    }
    if is_said("sync.microsoft") && typed.sync.microsoft.0.is_none() {
        let seen = "it is empty: Microsoft's own address is asked all the same".to_owned();
        note("microsoft", "sync.microsoft", seen, "take it out, or name the mirror that is to be asked");
    }
    if below_wsus && typed.sync.microsoft.0.as_deref().is_some_and(|url| url.starts_with("http://")) {
        let seen =
            "it is asked over plain HTTP, which proves nothing: `waystation sync crosscheck` refuses it".to_owned();
        note("microsoft", "sync.microsoft", seen, "name it by https://, or take it out");
    }
    if typed.upstream.kind != UpstreamKind::Microsoft && typed.sync.prune_beyond_filters.0 {
        let seen =
            "it has no effect: filters are of use with Microsoft's catalog alone, and nothing lies beyond them here";
        note("no-effect", "sync.prune_beyond_filters", seen.to_owned(), "take it out");
    }
    if is_said("definitions.keep") && !typed.definitions.enabled.0 {
        let seen = "it has no effect: the lane is off, so that all definition updates of the filters are kept; the next run brings back those that the lane let go of".to_owned();
        note("no-effect", "definitions.keep", seen, "set definitions.enabled = true, or take it out");
    }
    let policy = rooms::content(typed);
    if is_said("content.severity") && !policy.has_level() {
        let seen = format!("it has no effect: nothing goes by it with the policy {:?}", policy.choice.mode.word());
        note("no-effect", "content.severity", seen, "set content.policy = \"severity\", or take it out");
    }
    if typed.sync.webhook.0.is_none() && typed.sync.webhook_secret_file.0.is_some() {
        let seen = "it has no effect: there is no webhook whose events it could sign".to_owned();
        note("webhook", "sync.webhook_secret_file", seen, "set sync.webhook, or take it out");
    }
}
