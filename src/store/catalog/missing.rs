//! What is named and not held: prerequisites, and members of bundles. Nothing lists them, so whoever synchronises must ask for them by
//! himself.

use std::collections::BTreeSet;

use crate::model::update::{Identity, UpdateId};
use crate::store::catalog::look::ANSWER_MAX;
use crate::store::catalog::tables::{
    ARRIVING, DEPENDENTS, GENERATION, Guid, IDENTITIES, IdKey, LongKey, NUMBERS, PARENTS, REVISIONS, STATE, ShownRow,
    UPDATES, UPSTREAM, UpdateRow, UpstreamRow, id_key, identity_of, long_key, number, of_id_key, of_long_key, read,
};
use crate::store::core::Core;
use crate::store::error::Error;
use crate::store::tables::decode;

impl Core {
    /// Updates that current revisions name as prerequisites and of which the upstream of now has sent nothing, in order, at most
    /// 10,000: those that are not held, and those that are held from a former upstream alone. One step for each update that is named:
    /// a real catalog has some thousand.
    pub(crate) fn missing_prerequisites(&self) -> Result<Vec<UpdateId>, Error> {
        self.index.read(|tx| {
            let (Some(dependents), Some(updates), Some(numbers)) =
                (read(tx, DEPENDENTS)?, read(tx, UPDATES)?, read(tx, NUMBERS)?)
            else {
                return Ok(vec![]);
            };
            let generation = number(&numbers, GENERATION)?;
            let mut missing = Vec::new();
            let mut from = id_key(&[0; 16], 0);
            while let Some(row) = dependents.range::<&IdKey>(&from..)?.next() {
                let (id, _) = of_id_key(row?.0.value());
                let held: Option<UpdateRow> =
                    updates.get(&id)?.map(|row| decode("catalog-updates.1", row.value())).transpose()?;
                if held.is_none_or(|held| held.generation < generation) {
                    missing.push(UpdateId::new(id));
                    if missing.len() >= ANSWER_MAX {
                        break;
                    }
                }
                let last = id_key(&id, u32::MAX);
                // The first key behind all of this id; there is none behind the last id of all.
                let Some(next) = next(&last) else { break };
                from = next;
            }
            Ok(missing)
        })
    }

    /// Revisions that bundles of the upstream of now name and that are not held as well as it could send them, in order. One step for
    /// each revision that is named.
    pub(crate) fn missing_members(&self) -> Result<Vec<Identity>, Error> {
        self.index.read(|tx| {
            let (Some(parents), Some(identities), Some(revisions), Some(updates), Some(numbers), Some(state)) = (
                read(tx, PARENTS)?,
                read(tx, IDENTITIES)?,
                read(tx, REVISIONS)?,
                read(tx, UPDATES)?,
                read(tx, NUMBERS)?,
                read(tx, STATE)?,
            ) else {
                return Ok(vec![]);
            };
            let generation = number(&numbers, GENERATION)?;
            let source: Option<UpstreamRow> = (state.get(ARRIVING)?.or(state.get(UPSTREAM)?))
                .map(|row| decode("catalog-state.1", row.value()))
                .transpose()?;
            let proves = source.is_some_and(|upstream| !upstream.unauthenticated);
            // Id of a held revision, and whether it came over a connection that proves nothing.
            let held = |number: u32| -> Result<Option<(Guid, bool)>, Error> {
                let Some(row) = revisions.get(number)? else { return Ok(None) };
                let row: ShownRow<'_> = decode("catalog-revisions.1", row.value())?;
                Ok(Some((row.id, row.unauthenticated)))
            };
            let mut missing = Vec::new();
            let mut from = long_key(&[0; 20], 0);
            while let Some(row) = parents.range::<&LongKey>(&from..)?.next() {
                let member: IdKey = first(row?.0.value());
                let own = identities.get(&member)?.map(|number| number.value());
                let is_held = match own {
                    Some(own) => held(own)?.is_some_and(|(_, unauthenticated)| !(unauthenticated && proves)),
                    None => false,
                };
                if !is_held {
                    for row in parents.range::<&LongKey>(&long_key(&member, 0)..=&long_key(&member, u32::MAX))? {
                        let namer = of_long_key(row?.0.value());
                        let Some((id, _)) = held(namer)? else { continue };
                        let update: Option<UpdateRow> =
                            updates.get(&id)?.map(|row| decode("catalog-updates.1", row.value())).transpose()?;
                        // What a former upstream bundled this one may not have.
                        if Some(namer) != own && update.is_some_and(|update| update.generation == generation) {
                            missing.push(identity_of(&member));
                            break;
                        }
                    }
                }
                let Some(next) = next(&member) else { break };
                from = long_key(&next, 0);
            }
            Ok(missing)
        })
    }
}

impl Core {
    /// How many of these updates another held one needs, which bundles it or names it as a prerequisite, and is not one of them.
    pub(crate) fn needed(&self, ids: &[UpdateId]) -> Result<u64, Error> {
        let own: BTreeSet<&Guid> = ids.iter().map(UpdateId::bytes).collect();
        self.index.read(|tx| {
            let (Some(parents), Some(dependents), Some(revisions)) =
                (read(tx, PARENTS)?, read(tx, DEPENDENTS)?, read(tx, REVISIONS)?)
            else {
                return Ok(0);
            };
            let is_another = |number: u32| -> Result<bool, Error> {
                let Some(row) = revisions.get(number)? else { return Ok(false) };
                let row: ShownRow<'_> = decode("catalog-revisions.1", row.value())?;
                Ok(!own.contains(&row.id))
            };
            let mut needed = 0;
            'ids: for id in &own {
                let (low, high) = (id_key(id, 0), id_key(id, u32::MAX));
                for row in parents.range::<&LongKey>(&long_key(&low, 0)..=&long_key(&high, u32::MAX))? {
                    if is_another(of_long_key(row?.0.value()))? {
                        needed += 1;
                        continue 'ids;
                    }
                }
                for row in dependents.range::<&IdKey>(&low..=&high)? {
                    if is_another(of_id_key(row?.0.value()).1)? {
                        needed += 1;
                        continue 'ids;
                    }
                }
            }
            Ok(needed)
        })
    }
}

/// The member of a key of [`PARENTS`].
fn first(key: &LongKey) -> IdKey {
    let mut member = [0; 20];
    member.copy_from_slice(&key[..20]);
    member
}

/// The key behind this one.
fn next(key: &IdKey) -> Option<IdKey> {
    let mut next = *key;
    for byte in next.iter_mut().rev() {
        let (more, carried) = byte.overflowing_add(1);
        *byte = more;
        if !carried {
            return Some(next);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_behind_the_last_of_an_id_is_the_first_of_the_next() {
        let (mut one, mut two) = ([7; 16], [7; 16]);
        (one[15], two[15]) = (0xff, 0);
        two[14] = 8;
        assert_eq!(next(&id_key(&one, u32::MAX)), Some(id_key(&two, 0)));
        assert_eq!(next(&id_key(&[0xff; 16], u32::MAX)), None);
    }
}
