//! What the node sent stands beside what endpoints say they have, through the API.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::approvals::machine;
use super::*;
use crate::made_catalog::{file, id, import, updates};
use waystation::admin::compliance::Reported;
use waystation::base::digest::Digest;
use waystation::base::time::{Clock, Timestamp};
use waystation::fleet::compliance::Compliance;
use waystation::fleet::compliance::told::{Told, What};
use waystation::model::compliance::{Policy, State};
use waystation::model::deployment::Endpoint;
use waystation::model::update::UpdateId;
use waystation::store::fleet::{Contact, Mark};

const BYTES: &[u8] = b"some bytes";

fn endpoint(at: u8) -> Endpoint {
    Endpoint(UpdateId::new([at; 16]))
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

/// The mark of the file of the bundle, by its SHA-1 and by its SHA-256.
fn marks() -> [Mark; 2] {
    let of = file(BYTES);
    [Digest::Sha1(of.sha1), Digest::Sha256(of.sha256.unwrap())].map(|digest| Mark::of(&Name::Digest(digest)).unwrap())
}

async fn evidence(plane: &Plane, at: u8) -> Value {
    let whole = plane.get(&format!("/api/v1/compliance/endpoints/{}", endpoint(at).0)).await;
    let row = whole["states"].as_array().unwrap().iter().find(|row| row["update"] == id(0x10).to_string()).unwrap();
    json!([row["evidence"], row["sent_files"], row["sent_bytes"]])
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_were_sent_stand_behind_what_an_endpoint_says_it_has() {
    let mut plane = Plane::new();
    let compliance = Compliance::new(&plane.handles.store);
    plane.handles.reported = Reported::new(compliance.clone(), Arc::new(Policy::default));
    let store = plane.handles.store.clone();
    import(&store.catalog(), updates(BYTES), false).await;
    // The first is alone at its address, the next two share one, the fourth was sent nothing.
    for (at, place) in [(1, 1), (2, 2), (3, 2), (4, 4)] {
        machine(&plane, at, &format!("pc{at}.site.example"), [10, 0, 0, place], &[]).await;
    }
    let now = SystemClock.now();
    let says = async |at: u8, state: State| {
        let all: BTreeMap<_, _> = [(id(0x10), state), (id(0x15), State::NotInstalled)].into();
        let told = Told { at: u32::try_from(SystemClock.now().ms() / 1000).unwrap(), what: What::Snapshot(all.into()) };
        compliance.report(endpoint(at), vec![told]).await.unwrap();
    };
    for (at, state) in [(1, State::Installed), (2, State::Downloaded), (3, State::NotInstalled), (4, State::Installed)]
    {
        says(at, state).await;
    }
    let (fleet, [by_sha1, by_sha256]) = (store.fleet(), marks());
    assert_eq!(evidence(&plane, 1).await, json!(["self-reported", 0, 0]));
    store.served(address(1), by_sha1, 4, now);
    // What nobody was heard of from, and what is no file of the catalog, leaves nothing.
    store.served(address(9), by_sha1, 10, now);
    store.served(address(1), Mark::Sha1([9; 20]), 10, now);
    store.served("::ffff:10.0.0.2".parse().unwrap(), by_sha256, 10, now);
    fleet.keep_sent().await.unwrap();
    assert_eq!(evidence(&plane, 1).await, json!(["self-reported", 1, 4]), "too little of it was sent");
    assert_eq!(fleet.sent_to(endpoint(1)).await.unwrap().own.len(), 1);
    store.served(address(1), by_sha256, 1, Timestamp::from_ms(now.ms() + 5_000));
    fleet.keep_sent().await.unwrap();
    assert_eq!(evidence(&plane, 1).await, json!(["corroborated", 1, 5]));
    assert_eq!(evidence(&plane, 2).await, json!(["from-its-address", 1, 10]), "it may have been for the other one");
    assert_eq!(evidence(&plane, 3).await, json!([null, 0, 0]), "it says that it has not got it");
    assert_eq!(evidence(&plane, 4).await, json!(["self-reported", 0, 0]));
    let short = plane.get("/api/v1/endpoints/pc2").await;
    assert_eq!(short["says_it_has"], json!({ "corroborated": 0, "from_its_address": 1, "self_reported": 0 }));
    let whole = plane.get("/api/v1/compliance/endpoints/pc1").await;
    assert!(whole["states"][1]["sent_first"].as_str() < whole["states"][1]["sent_last"].as_str(), "{whole}");

    // Who moves takes its own along; what was sent to an address of several stays there. From then on each is alone.
    fleet.heard(endpoint(1), address(7), Contact::Scan, SystemClock.now());
    fleet.heard(endpoint(2), address(8), Contact::Scan, SystemClock.now());
    fleet.keep_sent().await.unwrap();
    assert_eq!(evidence(&plane, 1).await, json!(["corroborated", 1, 5]));
    assert_eq!(evidence(&plane, 2).await, json!(["self-reported", 0, 0]));
    says(3, State::PendingRestart).await;
    assert_eq!(evidence(&plane, 3).await, json!(["from-its-address", 1, 10]));
    store.served(address(2), by_sha1, 6, SystemClock.now());
    fleet.keep_sent().await.unwrap();
    assert_eq!(evidence(&plane, 3).await, json!(["corroborated", 1, 6]));

    // What is not written yet is at the end; an endpoint that is forgotten leaves nothing behind.
    let before = fleet.sent_to(endpoint(1)).await.unwrap().own[0].bytes;
    store.served(address(7), by_sha1, 100, SystemClock.now());
    plane.handles.jobs.close().await;
    store.close().await.unwrap();
    drop((store, fleet, compliance));
    let Plane { handles, data, .. } = plane;
    drop(handles);
    let config = store::Config {
        path: data.path().to_owned(),
        max_size: 1 << 30,
        min_free: 0,
        unproven: Duration::from_hours(24),
        index_cache: 1 << 20,
        open_payloads: 16,
        io_threads: 2,
    };
    let opening = move || Store::open(config, Arc::new(RealDisk), Arc::new(SystemClock));
    let (store, _) = tokio::task::spawn_blocking(opening).await.unwrap().unwrap();
    let own = store.fleet().sent_to(endpoint(1)).await.unwrap().own;
    assert_eq!((own.len(), own[0].bytes), (1, before + 100));
    store.served(address(7), by_sha1, 100, SystemClock.now());
    assert!(store.fleet().forget(endpoint(1)).await.unwrap());
    store.fleet().keep_sent().await.unwrap();
    assert_eq!(store.fleet().sent_to(endpoint(1)).await.unwrap().own, []);
    store.close().await.unwrap();
}
