//! What the chain of the audit log shows, and that it is written whole.

use super::*;
use crate::store::accounts::tests::open;

fn entry(text: &str) -> Entry {
    Entry { at: Timestamp::from_ms(5), who: "anna".into(), what: text.into(), outcome: 200, ..Entry::default() }
}

async fn tampered(change: impl FnOnce(&WriteTransaction) + Send + 'static) -> Checked {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let accounts = store.accounts();
    for number in 1..=5 {
        assert_eq!(accounts.record(entry(&format!("change {number}"))).await.unwrap(), number);
    }
    let whole = accounts.check().await.unwrap();
    assert_eq!((whole.entries, whole.span, whole.broken), (5, Some((1, 5)), None));
    let change = move |tx: &WriteTransaction| {
        change(tx);
        Ok(())
    };
    accounts.core.writer.change(Room::Frees, change).await.unwrap();
    let checked = accounts.check().await.unwrap();
    store.close().await.unwrap();
    checked
}

#[tokio::test]
async fn what_is_changed_taken_out_or_cut_off_is_found() {
    let checked = tampered(|tx| {
        let mut log = tx.open_table(AUDIT).unwrap();
        let row = log.get(3).unwrap().unwrap().value().to_vec();
        let (hash, row) = split(&row).unwrap();
        let mut known: EntryRow = decode("audit-log.1", row).unwrap();
        known.who = "eve".into();
        log.insert(3, [hash.as_slice(), &encode(&known).unwrap()].concat().as_slice()).unwrap();
    });
    assert!(checked.await.broken.unwrap().contains("entry 3"));
    let checked = tampered(|tx| drop(tx.open_table(AUDIT).unwrap().remove(2).unwrap()));
    assert!(checked.await.broken.unwrap().contains("2 to 2 are missing"));
    let checked = tampered(|tx| drop(tx.open_table(AUDIT).unwrap().remove(5).unwrap()));
    assert!(checked.await.broken.unwrap().contains("behind number 4"));
    let checked = tampered(|tx| tx.open_table(AUDIT).unwrap().retain(|_, _| false).unwrap());
    assert!(checked.await.broken.is_some());
    let checked = tampered(|tx| drop(tx.open_table(AUDIT).unwrap().insert(3, b"x".as_slice()).unwrap()));
    assert!(checked.await.broken.is_some());
}

#[tokio::test]
async fn it_is_read_by_page_and_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.accounts().check().await.unwrap(), Checked::default());
    for number in 1..=3 {
        store.accounts().record(entry(&format!("change {number}"))).await.unwrap();
    }
    let long = Entry { asked: "ä".repeat(TEXT_MAX), ..entry("long") };
    store.accounts().record(long).await.unwrap();
    store.close().await.unwrap();
    let store = open(dir.path());
    let found = store.accounts().entries(None, 2).await.unwrap();
    assert_eq!(found.iter().map(|row| row.number).collect::<Vec<_>>(), [4, 3]);
    assert!(found[0].entry.as_ref().unwrap().asked.ends_with("ä ..."));
    let rest = store.accounts().entries(Some(3), 10).await.unwrap();
    assert_eq!(rest.iter().map(|row| row.number).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(rest[0].entry, Some(entry("change 2")));
    let checked = store.accounts().check().await.unwrap();
    assert_eq!((checked.broken, checked.head), (None, found[0].hash));
}
