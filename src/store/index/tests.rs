//! What happens to readers while the index is opened anew.

use std::cell::Cell;

use redb::ReadableTableMetadata;

use super::*;
use crate::base::disk::RealDisk;
use crate::store::medium;
use crate::store::tables::TOTALS;

fn opened(dir: &tempfile::TempDir) -> Index {
    let path = dir.path().join("node.redb");
    Index::open(&path, medium::file(path.clone()), Access::Create, 0, None).unwrap()
}

fn full_disk() -> Error {
    Error::Redb(Box::new(redb::Error::Io(io::ErrorKind::StorageFull.into())))
}

fn filled(dir: &tempfile::TempDir) -> Index {
    let index = opened(dir);
    let fill = |tx: &WriteTransaction| {
        crate::store::entries::create_tables(tx)?;
        let mut totals = tx.open_table(TOTALS)?;
        for at in 0..2000_u64 {
            totals.insert(format!("{at:0>60}").as_str(), at)?;
        }
        Ok(())
    };
    index.write(fill).unwrap();
    index.close().unwrap();
    // Opened anew, so that nothing of it is in memory.
    opened(dir)
}

#[test]
fn a_snapshot_of_a_handle_that_was_given_up_answers_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let index = filled(&dir);
    let rounds = Cell::new(0);
    let sum = index.read(|tx| {
        rounds.set(rounds.get() + 1);
        if rounds.get() == 1 {
            // The disk is full for whoever writes meanwhile; the index is opened again, and there is room.
            assert!(matches!(index.fail(0, &full_disk()), Error::Full { .. }));
        }
        let totals = tx.open_table(TOTALS)?;
        let mut sum = 0;
        for row in redb::ReadableTable::iter(&totals)? {
            sum += row?.1.value();
        }
        Ok((sum, totals.len()?))
    });
    assert_eq!(sum.unwrap(), (1999 * 1000, 2000));
    assert_eq!(rounds.get(), 2, "the old snapshot was believed");
    assert_eq!(index.health(), Health::Ready);
}

#[test]
fn look_ups_share_a_snapshot_until_something_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let index = filled(&dir);
    let put = |value: u8| {
        index.write(|tx| {
            tx.open_table(ALIASES)?.insert(&b"a name"[..], &[value][..])?;
            Ok(())
        })
    };
    let look = || {
        index.look_up(|names| {
            let value = names.aliases.get(&b"a name"[..])?.map(|row| row.value().to_vec());
            Ok((value, std::ptr::from_ref(names).addr(), names.at))
        })
    };
    let (none, first, _) = look().unwrap();
    assert_eq!((none, look().unwrap().1), (None, first), "the same one again");
    for value in 0..3 {
        put(value).unwrap();
        assert!(index.names.load().is_none(), "a snapshot from before a commit is kept");
        assert_eq!(look().unwrap().0, Some(vec![value]));
    }
    // One that was taken before a commit and put down after it.
    let old = index.names.load_full().unwrap();
    put(7).unwrap();
    index.names.store(Some(Arc::clone(&old)));
    let (value, _, at) = look().unwrap();
    assert_eq!(value, Some(vec![7]));
    assert_ne!(at, old.at);
    // An index that is opened anew has none of the one before.
    let before = index.names.load_full().unwrap();
    index.fail(0, &full_disk());
    assert!(index.names.load().is_none());
    index.names.store(Some(before));
    let (value, _, again) = look().unwrap();
    assert_eq!(value, Some(vec![7]));
    assert_ne!(again, at);
    drop(old);
    index.close().unwrap();
    look().unwrap_err();
    assert!(index.names.load().is_none());
}

#[test]
fn a_copy_of_a_handle_that_was_given_up_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let index = filled(&dir);
    let to = dir.path().join("copy");
    let asked = Cell::new(false);
    let copied = index.copy(&RealDisk, &to, &|| {
        if !asked.replace(true) {
            index.fail(0, &full_disk());
        }
        true
    });
    let Err(Error::Unavailable { why }) = copied else { panic!("{copied:?}") };
    assert!(why.contains("once more"), "{why}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "it left something");
    index.copy(&RealDisk, &to, &|| true).unwrap();
}

#[test]
fn health_is_told_while_the_index_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.redb");
    let file = medium::file(path.clone());
    let (arrived, arrival) = std::sync::mpsc::channel();
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let medium: Medium = Arc::new(move |access| {
        if access == Access::Read {
            arrived.send(()).map_err(io::Error::other)?;
            gate.lock().unwrap().recv().map_err(io::Error::other)?;
        }
        file(access)
    });
    let index = Index::open(&path, medium, Access::Create, 1 << 20, None).unwrap();
    std::thread::scope(|scope| {
        let failing = scope.spawn(|| index.fail(0, &Error::Redb(Box::new(redb::Error::Corrupted("x".into())))));
        arrival.recv().unwrap();
        // A reactor may ask now.
        assert!(matches!(index.health(), Health::ReadOnly { .. }));
        release.send(()).unwrap();
        assert!(matches!(failing.join().unwrap(), Error::Unavailable { .. }));
    });
}
