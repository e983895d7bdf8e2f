//! A file that more revisions have than are looked at.

use std::sync::Arc;

use super::*;
use crate::base::disk::RealDisk;
use crate::base::time::SystemClock;
use crate::model::update::{File, Kind, Update, UpdateId};
use crate::store::catalog::{Batch, Incoming};
use crate::store::{Config, Store};

#[tokio::test]
async fn what_too_many_have_to_be_looked_at_is_taken_to_be_offered() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::small(&dir.path().join("data"));
    let (store, _) = Store::open(config, Arc::new(RealDisk), Arc::new(SystemClock)).unwrap();
    let catalog = store.catalog();
    let sha1 = Sha1::new([1; 20]);
    let file = File {
        sha1,
        sha256: None,
        name: "file.cab".into(),
        size: 10,
        modified: None,
        patching: "SelfContained".into(),
        encrypted: false,
    };
    let identity = |at: u8| Identity { id: UpdateId::new([at; 16]), revision: 1 };
    let incoming = |at: u8| {
        let update = Update { files: vec![file.clone()], ..Update::new(identity(at), Kind::Software) };
        let text = format!("<Update id=\"{}\"/>", update.identity);
        Incoming {
            document: text.clone().into(),
            cabinet: false,
            core: text.clone().into(),
            extended: text.into(),
            localized: vec![],
            urls: vec![],
            update,
        }
    };
    let updates = (1..=10).map(incoming).collect();
    let applied = catalog.import(Batch { set: "all".into(), updates, ..Batch::default() }).await.unwrap();
    assert_eq!(applied.new, 10, "{applied:?}");
    let core = Arc::clone(&catalog.core);
    let by_nobody =
        |most: usize| core.catalog_write(Room::Adds, move |t, _| t.is_offered_by_none_of(&sha1, most)).unwrap().0;
    for at in [1, 2, 3, 8, 9, 10] {
        core.refuse(identity(at), "it differs".into()).unwrap();
    }
    assert!(!by_nobody(5), "those in the middle are seen");
    assert!(!by_nobody(3), "all that are looked at are refused, and others are not looked at");
    for at in 4..=7 {
        core.refuse(identity(at), "it differs".into()).unwrap();
    }
    assert!(by_nobody(5), "all are looked at");
    assert!(!by_nobody(4), "two are not");
    store.close().await.unwrap();
}
