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
