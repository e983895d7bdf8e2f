//! From the catalog's values to the words of the API. Pure.

use crate::admin::present;
use crate::admin::updates::state_word;
use crate::admin::view::updates as view;
use crate::admin::view::{Time, policy};
use crate::model::filter::Tree;
use crate::model::payload::Class;
use crate::model::policy::{Decision, Word, Written};
use crate::model::relations::Target;
use crate::model::update::{self, CategoryKind, Impact, Kind, Publication, Reboot, Severity, UpdateId};
use crate::store::catalog::{Standing, State, Summary, Upstream, UpstreamKind, Weight};

/// How the catalog stands.
pub(super) fn catalog(standing: &Standing) -> view::Catalog {
    let told = |upstream: &Upstream| {
        let kind = match upstream.kind {
            UpstreamKind::Microsoft => "microsoft",
            UpstreamKind::Wsus => "wsus",
            UpstreamKind::Parent => "parent",
        };
        format!("{kind} {}", upstream.address).trim_end().to_owned()
    };
    view::Catalog {
        updates: standing.updates,
        upstream: standing.upstream.as_ref().map(told),
        unauthenticated: standing.upstream.as_ref().is_some_and(|upstream| upstream.unauthenticated),
        arriving: standing.arriving.as_ref().map(told),
    }
}

/// An update as lists show it.
pub(super) fn short(
    summary: Summary,
    state: State,
    decision: Option<String>,
    weight: Weight,
    tree: &Tree,
) -> view::Update {
    let named = |wanted: &dyn Fn(CategoryKind) -> bool| {
        let known = summary.categories.iter().filter_map(|id| tree.get(*id)).filter(|category| wanted(category.kind));
        known.map(|category| category.name.clone()).collect::<Vec<_>>()
    };
    let classification = named(&|kind| kind == CategoryKind::Classification).into_iter().next();
    let products = named(&|kind| kind == CategoryKind::Product);
    view::Update {
        id: summary.identity.id.to_string(),
        revision: summary.identity.revision,
        kind: kind(summary.kind).to_owned(),
        title: summary.title,
        kbs: summary.kbs,
        severity: severity(summary.severity).to_owned(),
        classification,
        products,
        created: summary.created.map(Time),
        state: state_word(state).to_owned(),
        decision,
        deployable: summary.deployable,
        files: weight.files,
        bytes: weight.bytes,
        unauthenticated: summary.unauthenticated,
    }
}

/// What holds for an update: a person's decision, or the automatic one; where there is none for all endpoints, whether it is approved for
/// some.
pub(super) fn decision(said: Option<&Decision>, for_some: bool, state: State, policy: &Written) -> Option<String> {
    let stands = said.is_some_and(|said| said.though_superseded);
    let declined = match state {
        State::Expired => policy.decline_expired,
        State::Superseded => policy.decline_superseded && !stands,
        State::Refused | State::Current => false,
    };
    match (said.map(|said| said.word), declined) {
        (Some(word @ Word::Declined), _) | (Some(word), false) => Some(word.word().to_owned()),
        // A person's word is told, and what it comes to.
        (Some(word @ Word::Approved), true) => Some(format!("{}, but {}", word.word(), super::state_word(state))),
        (None, true) => Some("declined automatically".to_owned()),
        (None, false) => for_some.then(|| "approved for some".to_owned()),
    }
}

/// A decision of a person.
pub(super) fn said(said: Decision) -> policy::Decision {
    let Decision { word, all_files, by, at, why, .. } = said;
    policy::Decision { word: word.word().to_owned(), all_files, by, at: Time(at), why }
}

/// What an update is shown as: the first that fits, as a search has it.
pub(super) fn state(summary: &Summary, is_superseded: bool) -> State {
    match (summary.refused, summary.publication, is_superseded) {
        (true, _, _) => State::Refused,
        (false, Publication::Expired, _) => State::Expired,
        (false, Publication::Published, true) => State::Superseded,
        (false, Publication::Published, false) => State::Current,
    }
}

/// Another update that is held.
pub(super) fn reference(short: &Summary) -> view::Reference {
    view::Reference {
        id: short.identity.id.to_string(),
        revision: Some(short.identity.revision),
        title: Some(short.title.clone()),
        expired: short.publication == Publication::Expired,
        unauthenticated: short.unauthenticated,
    }
}

/// Another update that is not held.
pub(super) fn not_held(target: Target) -> view::Reference {
    let (id, revision) = match target {
        Target::Revision(identity) => (identity.id, Some(identity.revision)),
        Target::Newest(id) => (id, None),
    };
    view::Reference { id: id.to_string(), revision, title: None, expired: false, unauthenticated: false }
}

/// A category with its path.
pub(super) fn category(id: UpdateId, tree: &Tree) -> view::Category {
    let known = tree.get(id);
    view::Category {
        id: id.to_string(),
        kind: known.map_or("unknown", |category| category_kind(category.kind)).to_owned(),
        path: known.map_or_else(|| id.to_string(), |_| tree.path(id)),
    }
}

/// Words in one language.
pub(super) fn texts(text: update::Text) -> view::Words {
    view::Words { language: text.language, title: text.title, description: text.description }
}

/// A licence.
pub(super) fn eula(eula: &update::Eula) -> view::Eula {
    let language = |file: &update::EulaFile| match file.region.as_str() {
        "" => file.language.clone(),
        region => format!("{}/{region}", file.language),
    };
    view::Eula { id: eula.id.to_string(), languages: eula.files.iter().map(language).collect() }
}

/// A file, and the class of its payload where that is held.
pub(super) fn file(file: &update::File, class: Option<Class>, urls: Vec<String>) -> view::File {
    view::File {
        name: file.name.clone(),
        size: file.size,
        sha1: file.sha1.to_string(),
        sha256: file.sha256.map(|sha256| sha256.to_string()),
        patching: file.patching.clone(),
        held: class.map_or("no", present::class).to_owned(),
        urls,
    }
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Software => "software",
        Kind::Driver => "driver",
        Kind::Detectoid => "detectoid",
        Kind::Category(kind) => category_kind(kind),
    }
}

/// The word for what a category is.
pub(in crate::admin) const fn category_kind(kind: CategoryKind) -> &'static str {
    match kind {
        CategoryKind::Company => "company",
        CategoryKind::Family => "family",
        CategoryKind::Product => "product",
        CategoryKind::Classification => "classification",
        CategoryKind::Other => "folder",
    }
}

/// The word for a severity.
pub(in crate::admin) const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Unspecified => "unspecified",
        Severity::Low => "low",
        Severity::Moderate => "moderate",
        Severity::Important => "important",
        Severity::Critical => "critical",
    }
}

pub(super) const fn reboot(reboot: Reboot) -> &'static str {
    match reboot {
        Reboot::Never => "never",
        Reboot::CanRequest => "can-request",
        Reboot::Always => "always",
    }
}

pub(super) const fn impact(impact: Impact) -> &'static str {
    match impact {
        Impact::Minor => "minor",
        Impact::Normal => "normal",
        Impact::Exclusive => "exclusive",
    }
}
