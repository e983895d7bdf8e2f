//! Endpoints through the API: found, sifted, let in, bound and forgotten.

use waystation::base::time::{Clock, Timestamp};
use waystation::fleet::registry::Registered;
use waystation::model::deployment::Endpoint;
use waystation::model::update::UpdateId;
use waystation::store::fleet::{Bios, Contact, Os, Registration};

use super::*;

const DAY: u64 = 86_400_000;

fn endpoint(of: u8) -> Endpoint {
    Endpoint(UpdateId::new([of; 16]))
}

fn machine(of: u8, name: &str, address: &str, at: Timestamp) -> Registration {
    Registration {
        endpoint: endpoint(of),
        name: name.into(),
        os: Os { major: 10, build: 26_100, product: if of.is_multiple_of(2) { 3 } else { 1 }, ..Os::default() },
        maker: "Maker".into(),
        model: "Model 1".into(),
        bios: Bios { name: "Firmware".into(), version: "1.0".into(), date: "2025-01-01".into() },
        architecture: "AMD64".into(),
        client_version: "1507.2601.30012.0".into(),
        targets: vec!["Pilot".into()],
        address: address.parse().unwrap(),
        at,
    }
}

/// Three that are served, one of them gone for long, and one that is held.
async fn stock(plane: &Plane) {
    let registry = plane.handles.endpoints.registry();
    let now = SystemClock.now();
    let old = Timestamp::from_ms(now.ms() - 40 * DAY);
    let come = async |told| registry.registered(told).await.unwrap();
    assert_eq!(come(machine(1, "pc1.site.example", "10.0.0.1", now)).await, Registered::Accepted);
    assert_eq!(come(machine(2, "SRV1.site.example", "192.0.2.7", now)).await, Registered::Accepted);
    assert_eq!(come(machine(3, "pc1.other.example", "10.0.0.3", old)).await, Registered::Accepted);
    assert_eq!(come(machine(4, "new.site.example", "10.9.0.1", now)).await, Registered::Held);
    registry.contact(endpoint(1), "10.0.0.1".parse().unwrap(), Contact::Scan, now);
}

fn names(page: &Value) -> Vec<&str> {
    page["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_found_by_what_is_known_of_them() {
    let plane = Plane::new();
    assert_eq!(plane.get("/api/v1/endpoints").await, json!({ "rows": [], "total": 0, "known": 0, "next": null }));
    stock(&plane).await;
    let found = async |query: &str| plane.get(&format!("/api/v1/endpoints?{query}")).await;
    let all = found("").await;
    assert_eq!(names(&all), ["new.site.example", "pc1.other.example", "pc1.site.example", "SRV1.site.example"]);
    assert_eq!(names(&found("text=pc1%20windows").await), ["pc1.other.example", "pc1.site.example"]);
    assert_eq!(names(&found("text=server%202025").await), ["new.site.example", "SRV1.site.example"]);
    assert_eq!(names(&found("held=true").await), ["new.site.example"]);
    assert_eq!(names(&found("roaming=true").await), ["SRV1.site.example"]);
    assert_eq!(names(&found("roaming=false&text=site.example").await), ["new.site.example", "pc1.site.example"]);
    assert_eq!(names(&found("unseen_days=30").await), ["pc1.other.example"]);
    assert_eq!(names(&found("contested=true").await), [""; 0]);
    let row = &found("text=pc1.site").await["rows"][0];
    for (key, value) in [
        ("id", json!("01010101-0101-0101-0101-010101010101")),
        ("os", json!("Windows 11 24H2")),
        ("version", json!("10.0.26100")),
        ("server", json!(false)),
        ("address", json!("10.0.0.1")),
        ("roaming", json!(false)),
        ("state", json!("admitted")),
        ("targets", json!(["Pilot"])),
        ("last_report", Value::Null),
    ] {
        assert_eq!(row[key], value, "{key}");
    }
    assert!(row["last_scan"].is_string(), "what is gathered and not written yet counts: {row}");

    // Pages have each once, whatever case the names have.
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = found(&format!("limit=1{after}")).await;
        assert_eq!((&page["total"], &page["known"]), (&json!(4), &json!(4)));
        seen.extend(names(&page).iter().map(ToString::to_string));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={}", next.replace('/', "%2F"));
    }
    assert_eq!(seen, names(&all));
    for (query, part) in
        [("limit=0", "limit"), ("after=x", "`next`"), ("heldd=1", "heldd"), ("unseen_days=99999999", "over")]
    {
        let (status, problem) = plane.json(Method::GET, &format!("/api/v1/endpoints?{query}"), Value::Null).await;
        assert_eq!(status, 400, "{problem}");
        assert!(problem["title"].as_str().unwrap().contains(part), "{problem}");
    }
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_meant_by_its_name_or_the_beginning_of_its_id() {
    let plane = Plane::new();
    stock(&plane).await;
    for name in ["srv1", "SRV1.SITE.example", "02020202", "02020202-0202-0202-0202-020202020202"] {
        let whole = plane.get(&format!("/api/v1/endpoints/{name}")).await;
        assert_eq!(whole["name"], "SRV1.site.example", "{name}");
        assert_eq!(whole["firmware"], json!(["Firmware", "1.0", "2025-01-01"]));
        assert_eq!(whole["history"][0]["kind"], "first-seen");
    }
    let (status, problem) = plane.json(Method::GET, "/api/v1/endpoints/pc1", Value::Null).await;
    assert_eq!(status, 422);
    let title = problem["title"].as_str().unwrap();
    assert!(title.contains("can mean several endpoints") && title.contains("pc1.other.example"), "{problem}");
    assert!(title.contains("01010101-0101-0101-0101-010101010101"), "an id says which: {problem}");
    for name in ["nobody", "0202020", "ffffffff-0202-0202-0202-020202020202", "site.example"] {
        let (status, problem) = plane.json(Method::GET, &format!("/api/v1/endpoints/{name}"), Value::Null).await;
        assert_eq!(status, 404, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("endpoints list"), "{problem}");
    }
    // A name is what a machine says: who takes the id of another for one, or its name without the domain, is not meant alone.
    let registry = plane.handles.endpoints.registry();
    for (of, name) in [(5, "02020202"), (6, "srv1")] {
        registry.registered(machine(of, name, "10.0.0.9", SystemClock.now())).await.unwrap();
    }
    for name in ["02020202", "srv1"] {
        let forget = json!({ "endpoints": [name] });
        for (method, path, body) in [
            (Method::GET, format!("/api/v1/endpoints/{name}"), Value::Null),
            (Method::GET, format!("/api/v1/compliance/endpoints/{name}"), Value::Null),
            (Method::GET, format!("/api/v1/compliance/missing?endpoint={name}"), Value::Null),
            (Method::POST, "/api/v1/endpoints/forget".to_owned(), forget),
            (Method::POST, "/api/v1/groups/place".to_owned(), json!({ "endpoints": [name], "groups": [] })),
        ] {
            let (status, problem) = plane.json(method, &path, body).await;
            assert_eq!(status, 422, "{path}: {problem}");
            assert!(problem["title"].as_str().unwrap().contains("02020202-0202"), "{path}: {problem}");
        }
    }
    let whole = plane.get("/api/v1/endpoints/02020202-0202-0202-0202-020202020202").await;
    assert_eq!(whole["name"], "SRV1.site.example", "an id is what decides");
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_let_in_bind_and_forget() {
    let plane = Plane::new();
    stock(&plane).await;
    let registry = plane.handles.endpoints.registry().clone();
    let order =
        async |verb: &str, body: Value| plane.json(Method::POST, &format!("/api/v1/endpoints/{verb}"), body).await;
    // All or none.
    let (status, problem) = order("admit", json!({ "endpoints": ["new", "nobody"] })).await;
    assert_eq!(status, 404, "{problem}");
    assert!(!registry.seat(endpoint(4)).unwrap().is_served);
    let (status, told) = order("admit", json!({ "endpoints": ["new", "04040404", "srv1"] })).await;
    assert_eq!(
        (status.as_u16(), &told["changed"], told["rows"].as_array().unwrap().len()),
        (200, &json!(1), 2),
        "{told}"
    );
    assert_eq!(told["rows"][0]["state"], "admitted");
    assert!(registry.seat(endpoint(4)).unwrap().is_served, "whoever asks next sees it");

    // Somebody else's machine under the id of pc1.site.example.
    let other = machine(1, "renamed.site.example", "10.0.0.8", SystemClock.now());
    let before = registry.seat(endpoint(1)).unwrap();
    assert_eq!(registry.registered(other.clone()).await.unwrap(), Registered::Contested);
    assert_eq!(registry.seat(endpoint(1)).unwrap(), before, "a contest changes nothing of what is known");
    let listed = plane.get("/api/v1/endpoints?contested=true").await;
    assert_eq!((names(&listed), &listed["rows"][0]["contests"]), (vec!["pc1.site.example"], &json!(1)));
    let bind = json!({ "endpoint": "pc1.site.example", "name": "nobody" });
    let (status, problem) = order("bind", bind).await;
    assert_eq!(status, 422);
    assert!(problem["detail"].as_str().unwrap().contains("renamed.site.example"), "{problem}");
    let bind = json!({ "endpoint": "pc1.site.example", "name": "Renamed.site.example" });
    let (status, whole) = order("bind", bind).await;
    assert_eq!((status.as_u16(), &whole["name"]), (200, &json!("renamed.site.example")), "{whole}");
    assert_eq!(whole["history"].as_array().unwrap().last().unwrap()["kind"], "bound");
    assert_ne!(registry.seat(endpoint(1)).unwrap().machine, before.machine);
    assert_eq!(registry.registered(other).await.unwrap(), Registered::Accepted);

    let (status, told) = order("forget", json!({ "endpoints": ["renamed"] })).await;
    assert_eq!((status.as_u16(), &told["changed"]), (200, &json!(1)), "{told}");
    assert!(registry.seat(endpoint(1)).is_none());
    assert_eq!(plane.get("/api/v1/endpoints").await["known"], 3);
    for (verb, body) in [("admit", json!({ "endpoints": [] })), ("forget", json!({})), ("forget", json!({ "x": 1 }))] {
        let (status, _) = order(verb, body).await;
        assert!(status.is_client_error());
    }
    // Who may only look cannot.
    let (status, _) =
        plane.raw(Access::ReadOnly, Method::POST, "/api/v1/endpoints/forget", "{\"endpoints\":[\"srv1\"]}").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, _) = plane.raw(Access::ReadOnly, Method::GET, "/api/v1/endpoints/srv1", "").await;
    assert_eq!(status, StatusCode::OK);
    plane.close().await;
}
