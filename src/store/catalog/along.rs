//! Looking up many keys of a table that come in its order: a list of all that there is names its rows one after the other.

use std::cmp::Ordering;

use crate::store::error::Error;

/// Rows that are stepped over before it is better to look for the next one from the root of its tree.
const STEPS: usize = 16;

/// Looks up keys that come in the order of the table, going along with it instead of beginning at its root for each.
pub(crate) struct Along<'t, K: redb::Key + 'static, V: redb::Value + 'static> {
    table: &'t redb::ReadOnlyTable<K, V>,
    rows: Option<redb::Range<'static, K, V>>,
    /// The first row that is not before the last key.
    ahead: Option<(redb::AccessGuard<'static, K>, redb::AccessGuard<'static, V>)>,
}

impl<'t, const N: usize, V: redb::Value + 'static> Along<'t, &'static [u8; N], V> {
    pub(crate) fn of(table: &'t redb::ReadOnlyTable<&'static [u8; N], V>) -> Self {
        Self { table, rows: None, ahead: None }
    }

    /// What `get` makes of the value of `key`, which is not before the last one that was looked for.
    pub(crate) fn find<T>(
        &mut self,
        key: &[u8; N],
        get: impl FnOnce(V::SelfType<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut steps = 0;
        loop {
            match &self.ahead {
                Some((ahead, value)) => match ahead.value().cmp(key) {
                    Ordering::Equal => return get(value.value()).map(Some),
                    Ordering::Greater => return Ok(None),
                    Ordering::Less => {}
                },
                // Behind the last row.
                None if self.rows.is_some() => return Ok(None),
                None => {}
            }
            let rows = match &mut self.rows {
                Some(rows) if steps < STEPS => rows,
                rows => rows.insert(self.table.range::<&[u8; N]>(key..)?),
            };
            self.ahead = rows.next().transpose()?;
            steps += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use redb::backends::InMemoryBackend;
    use redb::{Database, ReadableDatabase, TableDefinition};

    const TABLE: TableDefinition<'static, &[u8; 4], u32> = TableDefinition::new("t");

    proptest::proptest! {
        #[test]
        fn going_along_finds_what_looking_up_finds(
            held: BTreeSet<u16>, mut keys in proptest::collection::vec(0_u32..70_000, 0..300)
        ) {
            let db = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
            let tx = db.begin_write().unwrap();
            for key in &held {
                tx.open_table(TABLE).unwrap().insert(&u32::from(*key).to_be_bytes(), u32::from(*key) + 1).unwrap();
            }
            drop(tx.open_table(TABLE).unwrap());
            tx.commit().unwrap();
            let tx = db.begin_read().unwrap();
            let table = tx.open_table(TABLE).unwrap();
            // Some that are there, some next to them, each now and then twice, in order.
            keys.extend(held.iter().step_by(2).flat_map(|key| [u32::from(*key), u32::from(*key), u32::from(*key) + 1]));
            keys.sort_unstable();
            let mut along = Along::of(&table);
            for key in keys {
                let found = along.find(&key.to_be_bytes(), Ok).unwrap();
                let is_held = u16::try_from(key).is_ok_and(|key| held.contains(&key));
                proptest::prop_assert_eq!(found, is_held.then_some(key + 1));
            }
        }
    }
}
