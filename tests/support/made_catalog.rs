//! A small catalog with what views look at: a product tree, a bundle with a hidden part and a file, a chain of supersedence, a
//! withdrawn update, one in quarantine.
#![allow(dead_code, reason = "not every test that includes this uses all of it")]

use waystation::base::digest::{Sha1, Sha256};
use waystation::base::time::Timestamp;
use waystation::model::update::{
    CategoryKind, Clause, Eula, EulaFile, File, Identity, Kind, Members, Publication, Reboot, Severity, Text, Update,
    UpdateId,
};
use waystation::store::catalog::{Batch, Catalog, Incoming, Upstream, UpstreamKind};

/// 2026-01-13, a second Tuesday.
pub(crate) const DAY: u64 = 1_768_262_400_000;

/// The GUID whose first block says which it is.
pub(crate) fn id(at: u32) -> UpdateId {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&at.to_be_bytes());
    UpdateId::new(bytes)
}

pub(crate) fn identity(at: u32, revision: u32) -> Identity {
    Identity { id: id(at), revision }
}

fn named(at: u32, kind: Kind, title: &str, categories: &[u32]) -> Update {
    let clause = |category: &u32| Clause { any_of: vec![id(*category)], is_category: true };
    Update {
        texts: vec![Text { language: "en".into(), title: title.into(), description: format!("About {title}.") }],
        prerequisites: categories.iter().map(clause).collect(),
        created: Some(Timestamp::from_ms(DAY + u64::from(at) * 1000)),
        ..Update::new(identity(at, 200), kind)
    }
}

/// The file of the bundle, whose content are these bytes.
pub(crate) fn file(bytes: &[u8]) -> File {
    use sha2::Digest as _;
    File {
        sha1: Sha1::new(sha1::Sha1::digest(bytes).into()),
        sha256: Some(Sha256::new(sha2::Sha256::digest(bytes).into())),
        name: "windows-x64.cab".into(),
        size: bytes.len() as u64,
        modified: None,
        patching: "SelfContained".into(),
        encrypted: false,
    }
}

/// The updates: 1 to 5 are categories, 0x10 a bundle that supersedes 0x12 and has the part 0x11 with a file of `bytes`.
pub(crate) fn updates(bytes: &[u8]) -> Vec<Update> {
    use CategoryKind::{Classification, Company, Family, Product};
    let category = |at, kind, title: &str, parents: &[u32]| named(at, Kind::Category(kind), title, parents);
    let bundle = Update {
        kbs: vec!["5031234".into()],
        cves: vec!["CVE-2026-0001".into()],
        severity: Severity::Critical,
        deployable: true,
        bundles: vec![Members { any_of: vec![identity(0x11, 200)] }, Members { any_of: vec![identity(0x99, 1)] }],
        supersedes: vec![id(0x12), id(0x98)],
        eula: Some(Eula {
            id: id(0x50),
            files: vec![EulaFile { language: "en".into(), region: String::new(), file: file(b"licence") }],
        }),
        languages: vec!["en".into()],
        ..named(0x10, Kind::Software, "2026-01 Cumulative Update for Paper (KB5031234)", &[3, 5])
    };
    let part = Update {
        handler: "Cbs".into(),
        reboot: Reboot::Always,
        removable: true,
        files: vec![file(bytes)],
        kbs: vec!["5031234".into()],
        ..named(0x11, Kind::Software, "=part of an update", &[])
    };
    let old = Update {
        kbs: vec!["5030001".into()],
        severity: Severity::Important,
        deployable: true,
        ..named(0x12, Kind::Software, "2025-12 Cumulative Update for Paper (KB5030001)", &[3, 5])
    };
    let gone = Update {
        publication: Publication::Expired,
        deployable: true,
        ..named(0x13, Kind::Software, "=SUM(A1), \"Pen\" driver update", &[4, 5])
    };
    let twin = Update {
        kbs: vec!["5031111".into()],
        deployable: true,
        ..named(0x14, Kind::Software, "Update for Pen (KB5031111)", &[4, 5])
    };
    let other = Update {
        kbs: vec!["5031111".into()],
        deployable: true,
        ..named(0x15, Kind::Software, "Update for Paper (KB5031111)", &[3, 5])
    };
    vec![
        category(1, Company, "Contoso", &[]),
        category(2, Family, "Desk", &[1]),
        category(3, Product, "Paper", &[2]),
        category(4, Product, "Pen", &[1]),
        category(5, Classification, "Hotfixes", &[]),
        part,
        old,
        bundle,
        gone,
        twin,
        other,
    ]
}

fn incoming(update: Update) -> Incoming {
    let document = format!("<Update id=\"{}\"/>", update.identity);
    Incoming {
        document: document.clone().into(),
        cabinet: false,
        core: document.clone().into(),
        extended: document.clone().into(),
        localized: vec![("en".into(), document.into())],
        urls: vec![],
        update,
    }
}

/// Takes one more in beside what is held, from the upstream that was begun with.
pub(crate) async fn take(catalog: &Catalog, update: Update) {
    catalog.open_list("more".into(), "an anchor".into()).await.unwrap();
    catalog.list("more".into(), vec![update.identity]).await.unwrap();
    catalog.close_list("more".into()).await.unwrap();
    let applied = catalog
        .import(Batch { set: "more".into(), updates: vec![incoming(update)], ..Batch::default() })
        .await
        .unwrap();
    assert_eq!((applied.new, applied.refused.len()), (1, 0), "{applied:?}");
}

/// Takes these in from Microsoft, or from a WSUS over plain HTTP, as a run does.
pub(crate) async fn import(catalog: &Catalog, updates: Vec<Update>, from_wsus: bool) {
    let upstream = if from_wsus {
        Upstream { kind: UpstreamKind::Wsus, address: "http://wsus:8530".into(), unauthenticated: true }
    } else {
        let address = "https://sws.update.microsoft.com".into();
        Upstream { kind: UpstreamKind::Microsoft, address, unauthenticated: false }
    };
    catalog.begin_upstream(upstream).await.unwrap();
    // What the bundle names and nobody has.
    catalog.refuse(identity(0x99, 1), "it is not to be had".into()).await.unwrap();
    let named = updates.iter().map(|update| update.identity).collect();
    catalog.open_list("all".into(), "an anchor".into()).await.unwrap();
    catalog.list("all".into(), named).await.unwrap();
    catalog.close_list("all".into()).await.unwrap();
    let many = updates.len() as u64;
    let updates = updates.into_iter().map(incoming).collect();
    let applied = catalog.import(Batch { set: "all".into(), updates, ..Batch::default() }).await.unwrap();
    assert_eq!((applied.new, applied.refused.len()), (many, 0), "{applied:?}");
    catalog.settle_upstream().await.unwrap();
}
