//! Prerequisites that are named and not held: nothing lists them, so whoever synchronises must ask for them by himself.

use crate::model::update::UpdateId;
use crate::store::catalog::look::ANSWER_MAX;
use crate::store::catalog::tables::{DEPENDENTS, IdKey, UPDATES, id_key, of_id_key, read};
use crate::store::core::Core;
use crate::store::error::Error;

impl Core {
    /// Updates that current revisions name as prerequisites and of which no revision is held, in order, at most 10,000. One step
    /// for each update that is named: a real catalog has some thousand.
    pub(crate) fn missing_prerequisites(&self) -> Result<Vec<UpdateId>, Error> {
        self.index.read(|tx| {
            let (Some(dependents), Some(updates)) = (read(tx, DEPENDENTS)?, read(tx, UPDATES)?) else {
                return Ok(vec![]);
            };
            let mut missing = Vec::new();
            let mut from = id_key(&[0; 16], 0);
            while let Some(row) = dependents.range::<&IdKey>(&from..)?.next() {
                let (id, _) = of_id_key(row?.0.value());
                if updates.get(&id)?.is_none() {
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
