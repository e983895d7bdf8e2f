//! Updates that would need or contain themselves: no endpoint could ever install them.
//!
//! Whichever revision closes a circle of bundles is refused: the bundle, or the member that names it, as they come. A circle of
//! prerequisites over several updates is not looked for, since a detectoid or category has tens of thousands of dependents to walk
//! through: it is held, every walk ends in it, and what is told of such an update says that it is circular.

use std::collections::BTreeSet;

use redb::ReadableTable;

use crate::model::update::{Update, UpdateId};
use crate::store::catalog::tables::{Guid, LongKey, Tables, id_key, long_key, of_long_key};
use crate::store::error::Error;

/// Bundles around an update that are looked through: real ones are in one or two.
const AROUND_MAX: usize = 1_000;

impl Tables<'_> {
    /// Why an update could not be installed since it needs or contains itself.
    pub(super) fn circle(&self, update: &Update) -> Result<Option<String>, Error> {
        let id = update.identity.id;
        if update.prerequisites.iter().any(|clause| clause.any_of.contains(&id)) {
            return Ok(Some("it is its own prerequisite".to_owned()));
        }
        let members: BTreeSet<Guid> = update.members().map(|member| *member.id.bytes()).collect();
        if members.contains(id.bytes()) {
            return Ok(Some("it bundles itself".to_owned()));
        }
        if members.is_empty() {
            return Ok(None);
        }
        let (mut seen, mut around) = (BTreeSet::from([*id.bytes()]), vec![*id.bytes()]);
        while let Some(one) = around.pop() {
            let (low, high) = (long_key(&id_key(&one, 0), 0), long_key(&id_key(&one, u32::MAX), u32::MAX));
            for row in self.parents.range::<&LongKey>(&low..=&high)? {
                let Some(bundle) = self.revision(of_long_key(row?.0.value()))? else { continue };
                if bundle.refused {
                    continue;
                }
                if members.contains(&bundle.id) {
                    let bundle = UpdateId::new(bundle.id);
                    return Ok(Some(format!("it bundles {bundle}, which is held and bundles it")));
                }
                if seen.len() < AROUND_MAX && seen.insert(bundle.id) {
                    around.push(bundle.id);
                }
            }
        }
        Ok(None)
    }
}
