//! Groups, approvals, reviews and licences through the API.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::made_catalog::{id, import, updates};
use waystation::base::time::{Clock, Timestamp};
use waystation::fleet::registry::{Admission, Registry};
use waystation::model::deployment::Endpoint;
use waystation::model::update::UpdateId;
use waystation::store::fleet::{Bios, Os, Registration};

pub(crate) async fn ok(plane: &Plane, method: Method, path: &str, body: Value) -> Value {
    let (status, told) = plane.json(method, path, body).await;
    assert_eq!(status, 200, "{path}: {told}");
    told
}

pub(crate) async fn refused(plane: &Plane, method: Method, path: &str, body: Value) -> String {
    let (status, told) = plane.json(method, path, body).await;
    assert_eq!(status, 422, "{path}: {told}");
    format!("{} {}", told["title"].as_str().unwrap(), told["detail"].as_str().unwrap())
}

/// A machine registers.
pub(crate) async fn machine(plane: &Plane, at: u8, name: &str, address: [u8; 4], targets: &[&str]) -> String {
    machine_for(plane, at, name, address, targets, 1).await
}

/// One that is for this: 1 a client, 2 a domain controller, 3 another server.
async fn machine_for(plane: &Plane, at: u8, name: &str, address: [u8; 4], targets: &[&str], product: u32) -> String {
    let endpoint = UpdateId::new([at; 16]);
    let told = Registration {
        endpoint: Endpoint(endpoint),
        name: name.into(),
        os: Os { major: 10, build: 26_100, product, ..Os::default() },
        maker: "M".into(),
        model: "O".into(),
        bios: Bios::default(),
        architecture: "x64".into(),
        client_version: "1".into(),
        targets: targets.iter().map(|name| (*name).to_owned()).collect(),
        address: IpAddr::V4(Ipv4Addr::from(address)),
        at: SystemClock.now(),
    };
    let registry = Registry::new(plane.handles.store.fleet(), Admission::default());
    registry.registered(told).await.unwrap();
    endpoint.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_a_tree_and_endpoints_are_where_hand_word_or_rule_has_them() {
    let plane = Plane::new();
    let add = async |body: Value| ok(&plane, Method::POST, "/api/v1/groups", body).await["group"].clone();
    let contoso = add(json!({ "name": "Contoso", "level": "company", "review": true })).await;
    assert_eq!(
        (&contoso["path"], &contoso["level"], &contoso["review"]),
        (&json!("Contoso"), &json!("company"), &json!(true))
    );
    add(json!({ "name": "Berlin", "below": "contoso", "level": "site", "rules": ["subnet 10.1.2.3/16"] })).await;
    let pilot = add(json!({ "name": "Pilot", "below": "Contoso/Berlin", "test": true })).await;
    assert_eq!((&pilot["path"], &pilot["depth"]), (&json!("Contoso/Berlin/Pilot"), &json!(3)));
    add(json!({ "name": "Kiosks", "rules": ["name KIOSK-*"] })).await;
    let seven = machine(&plane, 7, "pc7.site.example", [10, 1, 0, 7], &[]).await;
    machine(&plane, 8, "kiosk-8.site.example", [10, 9, 0, 8], &[]).await;
    machine(&plane, 9, "pc9.site.example", [10, 1, 0, 9], &["Pilot"]).await;
    machine(&plane, 10, "pc10", [192, 0, 2, 1], &["Nowhere"]).await;
    let counts = async || {
        let groups = plane.get("/api/v1/groups").await;
        let rows = groups["rows"].as_array().unwrap().iter();
        rows.map(|row| {
            let count = |key: &str| row[key].as_u64().unwrap();
            (row["path"].as_str().unwrap().to_owned(), count("endpoints"), count("endpoints_below"))
        })
        .collect::<Vec<_>>()
    };
    let row = |path: &str, own, below| (path.to_owned(), own, below);
    let expected = [
        row("all", 0, 4),
        row("Contoso", 0, 2),
        row("Contoso/Berlin", 1, 2),
        row("Contoso/Berlin/Pilot", 1, 1),
        row("Kiosks", 1, 1),
        row("unassigned", 1, 1),
    ];
    assert_eq!(counts().await, expected);
    // By hand before all of it, by name or by id; and back.
    let place = async |endpoints: Value, groups: Value| {
        ok(&plane, Method::POST, "/api/v1/groups/place", json!({ "endpoints": endpoints, "groups": groups })).await
    };
    let placed = place(json!(["PC9", seven]), json!(["Kiosks", "Contoso/Berlin"])).await;
    assert_eq!(placed["moved"], 2);
    assert!(placed["effect"].as_str().unwrap().contains("next scan"), "{placed}");
    for row in placed["rows"].as_array().unwrap() {
        assert_eq!(row["how"], "by-hand", "{placed}");
        assert_eq!(row["groups"].as_array().unwrap().len(), 2, "{placed}");
    }
    assert_eq!(counts().await[4], row("Kiosks", 3, 3));
    assert_eq!(counts().await[0], row("all", 0, 4), "who is in two groups is one endpoint");
    let placed = place(json!(["pc9.site.example"]), json!([])).await;
    assert_eq!((&placed["moved"], &placed["rows"][0]["how"]), (&json!(1), &json!("by-itself")));
    // A group is changed in what is given.
    let change =
        async |name: &str, body: Value| ok(&plane, Method::POST, &format!("/api/v1/groups/{name}"), body).await;
    let changed = change("Contoso%2FBerlin", json!({ "name": "Bonn", "rules": [] })).await["group"].clone();
    assert_eq!(
        (&changed["path"], &changed["rules"], &changed["level"]),
        (&json!("Contoso/Bonn"), &json!([]), &json!("site"))
    );
    let changed =
        change(pilot["id"].as_str().unwrap(), json!({ "below": "all", "test": false })).await["group"].clone();
    assert_eq!((&changed["path"], &changed["test"]), (&json!("Pilot"), &json!(false)));
    // Of two people the second is told, and changes nothing.
    let seen = changed["revision"].clone();
    let asked = |name: &str| json!({ "name": name, "revision": seen });
    change("Pilot", asked("Trial")).await;
    let told = refused(&plane, Method::POST, "/api/v1/groups/Trial", asked("Probe")).await;
    assert!(told.contains("was changed meanwhile"), "{told}");
    change("Trial", json!({ "name": "Pilot" })).await;
    // A group that goes tells where its endpoints are now, and which rules it was a ring of.
    let rule =
        json!({ "name": "Fixes", "rings": [{ "group": "Pilot" }, { "group": "all" }], "like": { "enabled": false } });
    ok(&plane, Method::POST, "/api/v1/rules", rule).await;
    let told = ok(&plane, Method::DELETE, "/api/v1/groups/Pilot", Value::Null).await;
    let notes = told["notes"].as_array().unwrap();
    assert_eq!(notes[0], "1 endpoint in it by their own word or a rule is in unassigned now", "{told}");
    assert!(notes[1].as_str().unwrap().contains("the rule \"Fixes\" does nothing any more"), "{told}");
    ok(&plane, Method::DELETE, "/api/v1/rules/Fixes", Value::Null).await;
    change("Contoso%2FBonn", json!({ "below": "Contoso" })).await;
    let below = json!({ "name": "Hand", "below": "Contoso/Bonn" });
    ok(&plane, Method::POST, "/api/v1/groups", below).await;
    place(json!(["pc9.site.example"]), json!(["Hand"])).await;
    let told = ok(&plane, Method::DELETE, "/api/v1/groups/Hand", Value::Null).await;
    assert_eq!(told["notes"], json!(["1 endpoint put into it by hand is in Contoso/Bonn now"]));
    place(json!(["pc9.site.example"]), json!([])).await;
    // What cannot be is refused in words that help.
    for (method, path, body, why) in [
        (Method::POST, "/api/v1/groups", json!({ "name": "a/b" }), "no slash"),
        (Method::POST, "/api/v1/groups", json!({ "name": "kiosks" }), "beside it already"),
        (Method::POST, "/api/v1/groups", json!({ "name": "x", "below": "Nowhere" }), "groups list"),
        (Method::POST, "/api/v1/groups", json!({ "name": "x", "rules": ["net 10.0.0.0/8"] }), "write a rule as"),
        (
            Method::POST,
            "/api/v1/groups/Kiosks",
            json!({ "level": "company", "below": "Contoso" }),
            "cannot stand there",
        ),
        (Method::DELETE, "/api/v1/groups/Contoso", Value::Null, "groups below it"),
        (Method::DELETE, "/api/v1/groups/all", Value::Null, "stay as they are"),
        (
            Method::POST,
            "/api/v1/groups/place",
            json!({ "endpoints": ["pc7"], "groups": ["all"] }),
            "nobody is put into all",
        ),
        (Method::POST, "/api/v1/groups/place", json!({ "endpoints": [], "groups": [] }), "no endpoint is named"),
    ] {
        let told = refused(&plane, method, path, body).await;
        assert!(told.contains(why), "{path}: {told}");
    }
    let unknown = json!({ "endpoints": ["pc77"], "groups": ["Kiosks"] });
    let (status, told) = plane.json(Method::POST, "/api/v1/groups/place", unknown).await;
    assert!(status == 404 && told["title"].as_str().unwrap().contains("has not registered"), "{told}");
    machine(&plane, 11, "pc7.other.example", [10, 1, 0, 7], &[]).await;
    let told =
        refused(&plane, Method::POST, "/api/v1/groups/place", json!({ "endpoints": ["pc7"], "groups": [] })).await;
    assert!(told.contains("can mean several endpoints"), "{told}");
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn something_is_said_for_some_listed_and_withdrawn() {
    let plane = Plane::new();
    import(&plane.handles.store.catalog(), updates(b"some bytes"), false).await;
    let seven = machine(&plane, 7, "pc7.site.example", [10, 1, 0, 7], &[]).await;
    for (name, body) in
        [("Contoso", json!({ "name": "Contoso", "review": true })), ("Pilot", json!({ "name": "Pilot" }))]
    {
        ok(&plane, Method::POST, "/api/v1/groups", body).await;
        assert!(!name.is_empty());
    }
    let set = async |body: Value| ok(&plane, Method::POST, "/api/v1/approvals", body).await;
    // For a group, with a deadline: a day is until its end.
    let said =
        set(json!({ "updates": ["KB5031111"], "groups": ["Pilot"], "deadline": "2099-01-31", "why": "tested" })).await;
    assert_eq!((&said["changed"], said["rows"].as_array().unwrap().len(), &said["notes"]), (&json!(2), 2, &json!([])));
    assert!(said["effect"].as_str().unwrap().contains("next scan"), "{said}");
    // Servers are told by their role, whatever they are called: those that are in the group, and nobody else.
    machine(&plane, 21, "server-room-pc", [10, 7, 0, 1], &["Pilot"]).await;
    machine_for(&plane, 22, "pc22", [10, 7, 0, 2], &["Pilot"], 3).await;
    machine_for(&plane, 23, "pc23", [10, 7, 0, 3], &["Pilot"], 2).await;
    machine_for(&plane, 24, "pc24", [10, 7, 0, 4], &["Contoso"], 3).await;
    let notes = async |body: Value| {
        let said = set(body).await;
        let notes = said["notes"].as_array().unwrap().iter();
        notes.map(|note| note.as_str().unwrap().to_owned()).filter(|note| note.contains("server")).collect::<Vec<_>>()
    };
    let dated = |to: &str, whom: &str| json!({ "updates": ["KB5031111"], to: [whom], "deadline": "2099-01-31", "why": "tested" });
    let told = notes(dated("groups", "Pilot")).await;
    assert!(told.len() == 1 && told[0].starts_with("2 servers among them (pc22, pc23)"), "{told:?}");
    assert_eq!(notes(dated("endpoints", "server-room-pc")).await, [""; 0]);
    assert_eq!(notes(dated("endpoints", "pc24")).await.len(), 1);
    assert_eq!(notes(json!({ "updates": ["KB5031111"], "groups": ["Pilot"] })).await, [""; 0], "there is no deadline");
    for endpoint in ["server-room-pc", "pc24"] {
        let body = json!({ "updates": ["KB5031111"], "endpoints": [endpoint] });
        ok(&plane, Method::POST, "/api/v1/approvals/withdraw", body).await;
    }
    set(dated("groups", "Pilot")).await;
    // What stands in the way is told.
    let said = set(
        json!({ "updates": ["5031234"], "groups": ["Contoso"], "endpoints": ["pc7"], "action": "optional-install" }),
    )
    .await;
    assert_eq!(said["rows"][0]["waits"], json!(["licence", "review"]));
    assert_eq!(said["notes"].as_array().unwrap().len(), 2, "{said}");
    let gone = id(0x13).to_string();
    let said = set(json!({ "updates": [gone, "KB5030001"], "groups": ["all"] })).await;
    let waits =
        |said: &Value| said["rows"].as_array().unwrap().iter().map(|row| row["waits"].clone()).collect::<Vec<_>>();
    assert_eq!(waits(&said), [json!(["expired", "review"]), json!(["superseded", "review"])]);
    ok(&plane, Method::POST, "/api/v1/updates/decline", json!({ "updates": ["KB5030001"] })).await;
    let said = set(json!({ "updates": ["KB5030001"], "groups": ["Pilot"] })).await;
    assert_eq!(waits(&said), [json!(["declined", "superseded"])]);
    // What is said for all does not take a decline back.
    let said = set(json!({ "updates": ["KB5030001"], "groups": ["all"], "action": "detect-only" })).await;
    assert_eq!((&said["changed"], waits(&said)), (&json!(0), vec![json!(["declined", "review"])]));
    assert!(said["notes"][0].as_str().unwrap().contains("updates reset"), "{said}");

    let list = async |query: &str| {
        let page = plane.get(&format!("/api/v1/approvals?{query}")).await;
        let rows = page["rows"].as_array().unwrap().clone();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        rows.iter()
            .map(|row| format!("{} {} {}", &text(row, "update")[6..8], text(row, "target_name"), text(row, "action")))
            .collect::<Vec<_>>()
    };
    let all = [
        "10 Contoso optional-install",
        "10 pc7.site.example optional-install",
        "12 Pilot install",
        "12 all declined",
        "13 all install",
        "14 Pilot install",
        "15 Pilot install",
    ];
    let mut found = list("").await;
    found.sort();
    assert_eq!(found, all);
    assert_eq!(list("update=KB5031234&group=Contoso").await, [all[0]]);
    assert_eq!(list(&format!("endpoint={seven}")).await, [all[1]]);
    assert_eq!(list("group=all").await.len(), 2);
    let (mut pages, mut after) = (Vec::new(), String::new());
    loop {
        let page = plane.get(&format!("/api/v1/approvals?limit=2{after}")).await;
        pages.extend(page["rows"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(pages.len(), 7);
    let dated = pages.iter().find(|row| row["update"].as_str().unwrap().starts_with("00000014")).unwrap();
    assert_eq!((&dated["deadline"], &dated["why"]), (&json!("2099-02-01T00:00:00Z"), &json!("tested")));
    // The list of updates says so too.
    let decisions = plane.get("/api/v1/updates?kb=KB5031111").await;
    assert_eq!(decisions["rows"][0]["decision"], "approved for some");
    assert_eq!(plane.get("/api/v1/updates?decision=approved").await["total"], 4);

    // Withdrawn from one, and from everybody; a decline stays.
    let withdraw = async |body: Value| ok(&plane, Method::POST, "/api/v1/approvals/withdraw", body).await;
    assert_eq!(withdraw(json!({ "updates": ["KB5031111"], "groups": ["Pilot"] })).await["changed"], 2);
    assert_eq!(withdraw(json!({ "updates": ["KB5031111"], "groups": ["Pilot"] })).await["changed"], 0);
    assert_eq!(
        withdraw(json!({ "updates": ["KB5031234", "KB5030001", gone], "everywhere": true })).await["changed"],
        4
    );
    assert_eq!(list("").await, ["12 all declined"]);

    let past = Timestamp::from_ms(SystemClock.now().ms() - 1000).to_string();
    for (body, why) in [
        (json!({ "updates": ["KB5031234"], "groups": ["Pilot"], "deadline": past }), "has passed; choose a later one"),
        (json!({ "updates": ["KB5030001"], "groups": ["Pilot"], "action": "uninstall" }), "cannot be removed again"),
        (
            json!({ "updates": ["KB5031234"], "groups": ["Pilot"], "action": "detect-only", "deadline": "2099-01-01" }),
            "has no deadline",
        ),
        (json!({ "updates": ["KB5031234"] }), "for whom"),
        (json!({ "updates": [], "groups": ["Pilot"] }), "no update is named"),
        (json!({ "updates": ["KB5031234"], "groups": ["Pilott"] }), "no group is called"),
        (json!({ "updates": ["KB5031234"], "endpoints": ["pc77"] }), "has not registered"),
        (json!({ "updates": ["KB77777"], "groups": ["Pilot"] }), ""),
    ] {
        let (status, told) = plane.json(Method::POST, "/api/v1/approvals", body).await;
        let is_nowhere = why.is_empty() || why == "has not registered";
        assert_eq!(status, if is_nowhere { 404 } else { 422 }, "{told}");
        assert!(told["title"].as_str().unwrap().contains(why), "{why}: {told}");
    }
    assert_eq!(list("").await, ["12 all declined"], "of what is refused nothing is kept");
    ok(
        &plane,
        Method::POST,
        "/api/v1/approvals",
        json!({ "updates": ["KB5031234"], "groups": ["Pilot"], "action": "uninstall" }),
    )
    .await;
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn licences_and_reviews_are_acts_of_their_own() {
    let plane = Plane::new();
    import(&plane.handles.store.catalog(), updates(b"some bytes"), false).await;
    let licences = async || plane.get("/api/v1/licences").await["rows"].clone();
    assert_eq!(licences().await, json!([]));
    ok(&plane, Method::POST, "/api/v1/updates/approve", json!({ "updates": ["KB5031234"] })).await;
    let waiting = licences().await;
    let eula = id(0x50).to_string();
    assert_eq!((&waiting[0]["id"], &waiting[0]["by"]), (&json!(eula), &Value::Null));
    assert!(waiting[0]["updates"][0]["title"].as_str().unwrap().contains("KB5031234"), "{waiting}");
    let told = refused(&plane, Method::POST, "/api/v1/licences/accept", json!({ "updates": ["KB5030001"] })).await;
    assert!(told.contains("needs no licence"), "{told}");
    let accept = async |body: Value| ok(&plane, Method::POST, "/api/v1/licences/accept", body).await;
    let accepted = accept(json!({ "updates": ["KB5031234"] })).await;
    assert_eq!((&accepted["accepted"], &accepted["licences"]), (&json!(1), &json!([eula])));
    assert_eq!(accept(json!({ "licences": [eula] })).await["accepted"], 0);
    assert!(licences().await[0]["by"].is_string());

    let review = async |state: &str| {
        let body = json!({ "updates": ["KB5031234"], "state": state, "why": "a week in the lab" });
        plane.json(Method::POST, "/api/v1/approvals/review", body).await
    };
    let (status, told) = review("released").await;
    assert_eq!((status.as_u16(), &told["changed"]), (200, &json!(1)));
    assert!(told["notes"][0].as_str().unwrap().contains("no group asks for a review"), "{told}");
    ok(&plane, Method::POST, "/api/v1/groups", json!({ "name": "Contoso", "review": true })).await;
    let (_, told) = review("in-test").await;
    assert!(told["notes"][0].as_str().unwrap().contains("it counts in Contoso"), "{told}");
    assert_eq!(plane.get("/api/v1/approvals").await["rows"][0]["review"], "in-test");
    // What was said with a deadline while the review, and another licence, held it.
    let group = json!({ "updates": ["KB5031234"], "groups": ["Contoso"], "deadline": "2099-01-01T00:00:00Z" });
    let told = ok(&plane, Method::POST, "/api/v1/approvals", group).await;
    assert!(told["notes"].to_string().contains("the deadline does not run"), "{told}");
    let (_, told) = review("released").await;
    let note = told["notes"][1].as_str().unwrap();
    assert!(note.starts_with("KB5031234 is to be done in Contoso by 2099-01-01T00:00:0"), "{told}");
    assert!(note.contains("Z; 2099-01-01T00:00:00") && note.contains("it is later by as long as"), "{told}");
    let (_, told) = review("held").await;
    assert_eq!(told["notes"].as_array().unwrap().len(), 1, "{told}");
    assert_eq!(review("perhaps").await.0, 400);
    // Whatever else brings a deadline into force tells of it: a group that ceases to ask, a decline that is taken back, an endpoint
    // that comes into the group, a word that is withdrawn below it.
    let is_told = |told: &Value| {
        let notes = told["notes"].as_array().unwrap();
        notes
            .iter()
            .filter(|note| note.as_str().unwrap().starts_with("KB5031234 is to be done in Contoso by 2099"))
            .count()
    };
    let post = async |path: &str, body: Value| ok(&plane, Method::POST, path, body).await;
    assert_eq!(is_told(&post("/api/v1/groups/Contoso", json!({ "review": true })).await), 0, "it goes on asking");
    assert_eq!(is_told(&post("/api/v1/groups/Contoso", json!({ "review": false })).await), 1);
    let named = json!({ "updates": ["KB5031234"] });
    assert_eq!(is_told(&post("/api/v1/updates/decline", named.clone()).await), 0);
    assert_eq!(is_told(&post("/api/v1/updates/reset", named).await), 1);
    machine(&plane, 9, "pc9.site.example", [10, 1, 0, 9], &[]).await;
    let into = json!({ "endpoints": ["pc9"], "groups": ["Contoso"] });
    assert_eq!(is_told(&post("/api/v1/groups/place", into.clone()).await), 1);
    assert_eq!(is_told(&post("/api/v1/groups/place", into).await), 0, "it was there");
    post("/api/v1/groups", json!({ "name": "Berlin", "below": "Contoso" })).await;
    let berlin = json!({ "updates": ["KB5031234"], "groups": ["Contoso/Berlin"] });
    let not = json!({ "updates": ["KB5031234"], "groups": ["Contoso/Berlin"], "action": "not-approved" });
    post("/api/v1/approvals", not).await;
    assert_eq!(is_told(&post("/api/v1/approvals/withdraw", berlin).await), 1);
    plane.close().await;
}
