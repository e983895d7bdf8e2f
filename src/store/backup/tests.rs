//! Which tables a backup carries, and that each of their rows comes back.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadableDatabase, TableHandle, WriteTransaction};

use super::*;
use crate::base::digest::Blake3;
use crate::base::disk::RealDisk;
use crate::store::config::Config;
use crate::store::entries::create_tables;
use crate::store::layout::Layout;
use crate::store::restore::restore;
use crate::store::shelves;
use crate::store::tables::{META_ID, PayloadRow, QuarantineRow, encode};

/// Tables that no backup has, and why not.
const LEFT_OUT: [(&str, &str); 11] = [
    ("fleet-keys.1", "keys of cookies: who finds a copy that lies about must not be able to open any, or to make some"),
    ("below-nodes.1", TOLD_AGAIN),
    ("below-items.1", TOLD_AGAIN),
    ("below-log.1", TOLD_AGAIN),
    ("below-gone.1", TOLD_AGAIN),
    ("below-counts.1", TOLD_AGAIN),
    ("below-updates.1", TOLD_AGAIN),
    ("below-numbers.1", TOLD_AGAIN),
    ("below-children.1", TOLD_AGAIN),
    ("below-state.1", TOLD_AGAIN),
    ("access-sessions.1", "a sign-in of then: a restore must not bring back one that ended since"),
];

const TOLD_AGAIN: &str = "nodes below tell all of it again";

/// What a restore empties: it was under way when the backup was made.
const OF_ANOTHER_TIME: [&str; 4] = ["intents.1", "doomed.1", "drafts.1", "pieces.1"];

/// Rows that a restore reads, so that only true ones do.
const TRUE_ROWS: [&str; 3] = ["meta.1", "payloads.1", "quarantine.1"];

/// Rows that are put into each of the other tables.
const ROWS: u8 = 5;

/// The rows of each table by its name, as bytes.
type Rows = BTreeMap<String, Vec<(Vec<u8>, Vec<u8>)>>;

/// Gathers names.
#[derive(Default)]
struct Names(Vec<String>);

impl Visit for Names {
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<(), Error> {
        self.0.push(definition.name().to_owned());
        Ok(())
    }
}

/// Puts rows into each table: they mean nothing, and are of the table's own types.
struct Fill<'a>(&'a WriteTransaction);

/// Bytes of a key or value, text that every type can be made of.
fn made<T: Value>(word: &str, row: u8) -> Vec<u8> {
    let len = T::fixed_width().unwrap_or(word.len() + 1);
    [b'a' + row].into_iter().chain(word.bytes().cycle()).take(len).collect()
}

impl Visit for Fill<'_> {
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<(), Error> {
        let name = definition.name();
        if !TRUE_ROWS.contains(&name) {
            let mut table = self.0.open_table(definition)?;
            for row in 0..ROWS {
                let (key, value) = (made::<K>(name, row), made::<V>(name, ROWS + row));
                table.insert(K::from_bytes(&key), V::from_bytes(&value))?;
            }
        }
        Ok(())
    }
}

/// Reads all of them.
struct Read<'a>(&'a ReadTransaction, Rows);

impl Visit for Read<'_> {
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<(), Error> {
        let mut rows = Vec::new();
        for row in self.0.open_table(definition)?.iter()? {
            let (key, value) = row?;
            rows.push((K::as_bytes(&key.value()).as_ref().to_vec(), V::as_bytes(&value.value()).as_ref().to_vec()));
        }
        self.1.insert(definition.name().to_owned(), rows);
        Ok(())
    }
}

fn rows(db: &Database) -> Rows {
    let tx = db.begin_read().unwrap();
    let mut read = Read(&tx, Rows::new());
    carried(&mut read).unwrap();
    read.1
}

fn table_names(db: &Database) -> BTreeSet<String> {
    db.begin_read().unwrap().list_tables().unwrap().map(|table| table.name().to_owned()).collect()
}

fn carried_names() -> BTreeSet<String> {
    let mut names = Names::default();
    carried(&mut names).unwrap();
    let all: BTreeSet<_> = names.0.iter().cloned().collect();
    assert_eq!(all.len(), names.0.len(), "a table is named twice: {:?}", names.0);
    all
}

/// Definitions of tables in the sources of a directory.
fn defined(dir: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count += defined(&path);
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            let is_one =
                |line: &&str| !line.starts_with(' ') && line.contains("const ") && line.contains(": TableDefinition<");
            count += text.lines().filter(is_one).count();
        }
    }
    count
}

#[test]
fn every_table_is_in_a_backup_or_left_out_for_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let db = index::create(&dir.path().join("node.redb"), 0).unwrap();
    let tx = db.begin_write().unwrap();
    create_tables(&tx).unwrap();
    tx.commit().unwrap();
    let there = table_names(&db);
    let mut known = carried_names();
    for (name, why) in LEFT_OUT {
        assert!(known.insert(name.to_owned()), "{name} is in a backup, and should not be: {why}");
    }
    assert_eq!(known, there, "what `carried` names and what is left out (left) is not what an index has (right)");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    assert_eq!(defined(&source), there.len(), "a table is defined that no new index has");
}

#[test]
fn every_row_comes_back_and_no_key_of_cookies_does() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let layout = Layout::new(&data);
    let (held, doubted) = (Blake3::new([3; 32]), 7);
    for path in [layout.shelf(&held), layout.quarantine()] {
        std::fs::create_dir_all(path).unwrap();
    }
    std::fs::write(layout.payload(&held), b"bytes").unwrap();
    std::fs::write(layout.quarantined(doubted, ""), b"other").unwrap();
    let id = *b"a store's number";
    identity::write(&RealDisk, &layout, &id).unwrap();
    let db = index::create(&layout.index(), 0).unwrap();
    shelves::put_meta(&db, &id, 3).unwrap();
    // Random enough to be found among all other bytes.
    let secret = blake3::hash(b"a key of cookies");
    let tx = db.begin_write().unwrap();
    {
        carried(&mut Fill(&tx)).unwrap();
        let payload = PayloadRow {
            size: 5,
            sha1: [1; 20],
            sha256: [2; 32],
            class: 1,
            authority: 1,
            sha1_state: 1,
            published_at: 9,
            expires_at: None,
            allocated: 4096,
        };
        tx.open_table(PAYLOADS).unwrap().insert(held.as_bytes(), encode(&payload).unwrap().as_slice()).unwrap();
        let row = QuarantineRow { at: 8, allocated: 4096, why: "it differs".into() };
        tx.open_table(QUARANTINE).unwrap().insert(doubted, encode(&row).unwrap().as_slice()).unwrap();
        let key = fleet::KeyRow { key: *secret.as_bytes(), made: 1, until: None };
        tx.open_table(fleet::KEYS).unwrap().insert(1, encode(&key).unwrap().as_slice()).unwrap();
    }
    tx.commit().unwrap();
    let before = rows(&db);
    for (name, rows) in &before {
        let least = if TRUE_ROWS.contains(&name.as_str()) { 1 } else { usize::from(ROWS) };
        assert!(rows.len() >= least, "{name} is empty, so that nothing is shown of it");
    }

    let backup = dir.path().join("backup");
    copy(&RealDisk, &db.begin_read().unwrap(), &backup, &|| true).unwrap();
    db.close().unwrap();
    let has_key = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(32).any(|window| window == secret.as_bytes())
    };
    assert!(has_key(&layout.index()) && !has_key(&backup));
    let copied = index::look(&backup, 0).unwrap();
    assert_eq!(table_names(&copied), carried_names());
    assert_eq!(rows(&copied), before);
    drop(copied);

    // A whole index that somebody names instead of a backup brings no key either.
    let raw = dir.path().join("raw");
    std::fs::copy(layout.index(), &raw).unwrap();
    for from in [backup, raw] {
        let told = restore(&Config::small(&data), &RealDisk, &from).unwrap();
        assert_eq!((told.payloads, told.dropped_count), (1, 0));
        assert!(!has_key(&layout.index()), "{}", from.display());
        let db = index::look(&layout.index(), 0).unwrap();
        assert_eq!(shelves::meta(&db).unwrap(), (id, told.epoch));
        let after = rows(&db);
        assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
        for (name, rows) in after {
            let was = &before[&name];
            match name.as_str() {
                "meta.1" => {
                    let ids = |rows: &[(Vec<u8>, Vec<u8>)]| {
                        rows.iter().filter(|(key, _)| key == META_ID.as_bytes()).cloned().collect::<Vec<_>>()
                    };
                    assert_eq!((rows.len(), ids(&rows)), (was.len(), ids(was)));
                }
                // Sums are made anew of what lies there.
                "totals.1" => assert!(was.iter().all(|row| rows.contains(row)), "{rows:?}"),
                name if OF_ANOTHER_TIME.contains(&name) => assert!(rows.is_empty(), "{name}: {rows:?}"),
                name => assert_eq!(&rows, was, "{name}"),
            }
        }
    }
}
