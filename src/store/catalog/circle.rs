//! Updates that need or contain themselves: no endpoint could ever install them.
//!
//! Circles over several updates are not looked for: a bundle names revisions, of which a later one may lead out again, and a detectoid or
//! category has tens of thousands of dependents to walk through. They are held, every walk ends in them, and what is told of such an update
//! says that it is circular.

use crate::model::update::Update;

/// Why an update could not be installed since it needs or contains itself.
pub(super) fn circle(update: &Update) -> Option<&'static str> {
    let id = update.identity.id;
    if update.prerequisites.iter().any(|clause| clause.any_of == [id]) {
        return Some("it is its own prerequisite");
    }
    update.members().any(|member| member.id == id).then_some("it bundles itself")
}
