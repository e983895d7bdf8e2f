//! `prefetch confirm`: a person agrees to the size of what comes since endpoints miss it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use waystation::base::disk::RealDisk;
use waystation::base::time::{Clock, SystemClock};
use waystation::fleet::compliance::Compliance;
use waystation::fleet::compliance::told::{Told, What};
use waystation::fleet::registry::{Admission, Registry};
use waystation::model::compliance::State;
use waystation::model::deployment::Endpoint;
use waystation::model::update::UpdateId;
use waystation::store::fleet::{Bios, Os, Registration};
use waystation::store::{Config, Store};

use super::*;
use crate::catalog::{ill, stock, well};
use crate::made_catalog::id;

/// An endpoint that is known for ten days reports that it misses the critical update.
async fn misses(data: &Path) {
    let config = Config {
        path: data.to_owned(),
        max_size: 1 << 30,
        min_free: 0,
        unproven: Duration::from_hours(24),
        index_cache: 1 << 20,
        open_payloads: 16,
        io_threads: 2,
    };
    let opening = move || Store::open(config, Arc::new(RealDisk), Arc::new(SystemClock)).unwrap();
    let (store, _) = tokio::task::spawn_blocking(opening).await.unwrap();
    let endpoint = Endpoint(UpdateId::new([1; 16]));
    let at = waystation::base::time::Timestamp::from_ms(SystemClock.now().ms() - 10 * 86_400_000);
    let told = Registration {
        endpoint,
        name: "pc1.example".into(),
        os: Os::default(),
        maker: String::new(),
        model: String::new(),
        bios: Bios::default(),
        architecture: String::new(),
        client_version: String::new(),
        targets: vec![],
        address: [10, 0, 0, 1].into(),
        at,
    };
    Registry::new(store.fleet(), Admission::default()).registered(told).await.unwrap();
    let all: BTreeMap<_, _> = [(id(0x10), State::NotInstalled)].into();
    let told = Told { at: u32::try_from(at.ms() / 1000).unwrap(), what: What::Snapshot(all.into()) };
    Compliance::new(&store).report(endpoint, vec![told]).await.unwrap();
    store.fleet().keep_states().await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_confirmed_by_its_article_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    stock(data, false).await;
    misses(data).await;
    let detected = ["--set", "content.detected=critical", "--set", "content.detected_ask_above=5 B"];
    let node = NodeProcess::start(data, &detected);
    // What lies beyond the filters comes for nobody.
    let told = well(data, &["prefetch", "status"]);
    assert!(told.contains("let in 0 updates") && !told.contains("prefetch confirm"), "{told}");
    node.json(&["filters", "set", "products", "paper"]);
    node.json(&["filters", "set", "classifications", "Hotfixes"]);
    let told = well(data, &["prefetch", "status"]);
    assert!(told.contains("1 update, 10 B wait for `waystation prefetch confirm`"), "{told}");
    let wrong = ill(data, &["prefetch", "confirm", "KB5031111"]);
    assert!(wrong.contains("nothing of KB5031111 waits") && wrong.contains("prefetch status"), "{wrong}");
    let told = well(data, &["prefetch", "confirm", "KB5031234"]);
    assert!(told.contains("comes, confirmed by ") && told.contains("on its way"), "{told}");
    let state = node.json(&["prefetch", "status"])["detected"].clone();
    assert_eq!((&state["comes"]["updates"], &state["waits_for_confirmation"]["updates"]), (&1.into(), &0.into()));
    let again = ill(data, &["prefetch", "confirm", "KB5031234"]);
    assert!(again.contains("nothing of KB5031234 waits to be confirmed"), "{again}");
    // What a new machine has to evaluate is told once there are machines.
    let status = well(data, &["status"]);
    assert!(
        status.contains("a new machine  evaluates ") && status.contains("of the 200 that an agent makes"),
        "{status}"
    );
    let newcomer = node.json(&["status"])["newcomer"].clone();
    assert!(newcomer["updates"].as_u64() > Some(0) && newcomer["near_limit"] == false, "{newcomer}");
    drop(node);
    // Without a word of it nothing comes for this reason.
    let _node = NodeProcess::start(data, &[]);
    let off = ill(data, &["prefetch", "confirm", "KB5031234"]);
    assert!(off.contains("content.detected is off"), "{off}");
}
