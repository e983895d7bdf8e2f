//! What comes since endpoints miss it, through the API: what waits is shown, and a person agrees to its size.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::approvals::ok;
use super::*;
use crate::made_catalog::{id, import, updates};
use waystation::base::time::{Clock, Timestamp};
use waystation::fill::{self, Fill};
use waystation::fleet::compliance::Compliance;
use waystation::fleet::compliance::told::{Told, What};
use waystation::jobs::drawn::Draws;
use waystation::model::compliance::State;
use waystation::model::deployment::Endpoint;
use waystation::model::drawn::Terms;
use waystation::model::filter::Selection;
use waystation::model::origin::AllowList;
use waystation::model::update::{Severity, UpdateId};
use waystation::pace::Governor;
use waystation::store::catalog::UpstreamKind;
use waystation::store::fleet::{Bios, Os, Registration};
use waystation::sync::Runner;
use waystation::upstream::wsus::{self, Wsus};
use waystation::upstream::{self, Upstream};

/// Nobody answers there.
const NOWHERE: &str = "http://127.0.0.1:9";

/// Jobs that know a catalog and could ask its upstream, which none of these does.
pub(crate) fn jobs(plane: &Plane, terms: Terms) -> Jobs {
    let store = plane.handles.store.clone();
    let http = upstream::Config {
        proxy: upstream::Proxy::default(),
        extra_ca: Vec::new(),
        connect_timeout: Duration::from_secs(1),
        stall_timeout: Duration::from_secs(1),
        patience: Duration::from_secs(1),
        node: "ws-test".into(),
        hops_max: 4,
        own_addresses: Vec::new(),
    };
    let who = "0fa1201d-4330-4fa8-8ae9-b877473b6441".parse().unwrap();
    let way = wsus::Config::new(NOWHERE, "node.example.org", who, http.clone(), plane.files.path().to_owned());
    let wsus = Wsus::new(way, &Governor::default()).unwrap();
    let chosen = Arc::new(Selection::default);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let runner = Runner::new(UpstreamKind::Wsus, NOWHERE, wsus, store.clone(), chosen, Arc::clone(&clock));
    let allow = Arc::new(AllowList::new(&["127.0.0.1:9".to_owned()]).unwrap());
    let source = Arc::new(Upstream::new(http, Arc::clone(&allow)).unwrap());
    let fill = Fill::new(fill::Config::default(), store.clone(), source, allow, Arc::clone(&clock));
    let config = Config { drawn: Draws(Arc::new(move || terms)), ..Config::default() };
    Jobs::with_catalog(config, store, fill, runner, clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_yes_is_shown_and_confirmed() {
    let mut plane = Plane::new();
    let store = plane.handles.store.clone();
    import(&store.catalog(), updates(b"some bytes"), true).await;
    let off = plane.raw(Access::Full, Method::GET, "/api/v1/prefetch/detected", "").await;
    assert!(off.0 == 409 && off.1.contains("content.detected is off"), "{off:?}");
    let terms = Terms { least: Some(Severity::Critical), daily: 1_000, ask_above: 5 };
    plane.handles.jobs = jobs(&plane, terms);
    let reports = Compliance::new(&store);
    plane.handles.jobs.judge_by(reports.clone());

    let endpoint = Endpoint(UpdateId::new([1; 16]));
    let long_ago = Timestamp::from_ms(SystemClock.now().ms() - 10 * 86_400_000);
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
        address: IpAddr::from([10, 0, 0, 1]),
        at: long_ago,
    };
    plane.handles.endpoints.registry().registered(told).await.unwrap();
    let says = async |at: Timestamp, states: &[(u32, State)]| {
        let all: BTreeMap<_, _> = states.iter().map(|(of, state)| (id(*of), *state)).collect();
        let told = Told { at: u32::try_from(at.ms() / 1000).unwrap(), what: What::Snapshot(all.into()) };
        reports.report(endpoint, vec![told]).await.unwrap();
    };
    let path = "/api/v1/prefetch/detected?update=KB5031234";
    assert_eq!(plane.get(path).await["updates"], json!([]), "nobody has reported yet");
    says(long_ago, &[(0x10, State::NotInstalled)]).await;
    let waits = plane.get(path).await["updates"][0].clone();
    for (key, value) in [
        ("id", json!(id(0x10).to_string())),
        ("severity", json!("critical")),
        ("endpoints", json!(1)),
        ("bytes", json!(10)),
        ("state", json!("waits-for-confirmation")),
        ("confirmed_by", Value::Null),
    ] {
        assert_eq!(waits[key], value, "{key}");
    }
    // Asked again and again it is the same, until somebody tells something else.
    assert_eq!(plane.get(path).await["updates"][0], waits);
    let state = plane.get("/api/v1/prefetch").await;
    assert_eq!(state["detected"]["waits_for_confirmation"], json!({ "updates": 1, "bytes": 10 }));

    let confirm = async |update: &str, bytes: u64| {
        let body = json!({ "update": update, "bytes": bytes });
        plane.json(Method::POST, "/api/v1/prefetch/confirm", body).await
    };
    let update = id(0x10).to_string();
    for (update, bytes, status, part) in [
        ("KB5031234", 10, 400, "is no id"),
        (update.as_str(), 9, 409, "10 bytes"),
        (&id(0x15).to_string(), 10, 409, "does not wait"),
    ] {
        let (got, problem) = confirm(update, bytes).await;
        assert!(got == status && problem["title"].as_str().unwrap().contains(part), "{problem}");
    }
    let read = plane.raw(Access::ReadOnly, Method::POST, "/api/v1/prefetch/confirm", "{}").await;
    assert!(read.0.is_client_error(), "{read:?}");
    assert_eq!(plane.get(path).await["updates"][0]["state"], "waits-for-confirmation", "nothing was agreed to");
    let (status, agreed) = confirm(&update, 10).await;
    assert_eq!((status.as_u16(), &agreed["state"]), (200, &json!("comes")), "{agreed}");
    assert!(agreed["confirmed_by"].is_string(), "{agreed}");
    let told = plane.get("/api/v1/prefetch").await["detected"].clone();
    assert_eq!((&told["comes"]["updates"], &told["spent"]), (&json!(1), &json!(10)), "{told}");
    let (status, _) = confirm(&update, 10).await;
    assert_eq!(status, 409, "it waits for nobody any more");

    // Who has it misses it no more; what is declined is missed by nobody.
    says(SystemClock.now(), &[(0x10, State::Installed)]).await;
    assert_eq!(plane.get(path).await["updates"], json!([]));
    says(SystemClock.now(), &[(0x10, State::NotInstalled)]).await;
    assert_eq!(plane.get(path).await["updates"].as_array().unwrap().len(), 1);
    ok(&plane, Method::POST, "/api/v1/updates/decline", json!({ "updates": ["KB5031234"] })).await;
    reports.look_now(|_| ()).await.unwrap();
    assert_eq!(plane.get(path).await["updates"], json!([]));
    plane.close().await;
}
