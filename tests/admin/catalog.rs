//! The catalog through the API: searched, shown, and the filters beside it.

use super::*;
use crate::made_catalog::{file, id, identity, import, updates};

fn ids(page: &Value) -> Vec<String> {
    let rows = page["rows"].as_array().unwrap();
    rows.iter().map(|row| row["id"].as_str().unwrap()[6..8].to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_catalog_is_told_as_that() {
    let plane = Plane::new();
    let page = plane.get("/api/v1/updates").await;
    assert_eq!((&page["rows"], &page["catalog"]["updates"]), (&json!([]), &json!(0)));
    let (status, problem) = plane.json(Method::GET, "/api/v1/updates/KB5031234", Value::Null).await;
    assert_eq!((status.as_u16(), problem["title"].as_str()), (404, Some("the catalog is empty")));
    assert!(problem["detail"].as_str().unwrap().contains("waystation sync start"), "{problem}");
    // What a new node knows by heart can be searched for and chosen from.
    assert_eq!(plane.get("/api/v1/updates?product=windows%2011").await["total"], 0);
    let available = plane.get("/api/v1/filters/available").await;
    assert!(available.as_array().unwrap().iter().any(|row| row["name"] == "Windows 11"), "{available}");
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_are_found_by_all_that_is_said_of_them() {
    let plane = Plane::new();
    let catalog = plane.handles.store.catalog();
    import(&catalog, updates(b"some bytes"), false).await;
    catalog.refuse(identity(0x14, 200), "differs from Microsoft's".into()).await.unwrap();
    let found = async |query: &str| {
        let page = plane.get(&format!("/api/v1/updates?{query}")).await;
        assert_eq!(page["total"], page["rows"].as_array().unwrap().len(), "{query}: {page}");
        ids(&page)
    };
    assert_eq!(found("").await, ["15", "14", "13", "12", "10"], "the newest first, hidden ones left out");
    assert_eq!(found("text=cumulative%20paper").await, ["12", "10"]);
    assert_eq!(found("text=KB5031234").await, ["10"]);
    assert_eq!(found("kb=5031234&hidden=true").await, ["11", "10"]);
    assert_eq!(found("severity=important").await, ["12", "10"]);
    assert_eq!(found("severity=critical").await, ["10"]);
    assert_eq!(found("classification=hotfixes&product=pen").await, ["14", "13"]);
    assert_eq!(found("product=desk").await, ["15", "12", "10"], "a family stands for its products");
    assert_eq!(found("product=Contoso").await, ["15", "14", "13", "12", "10"]);
    assert_eq!(found("product=Contoso%20%3E%20Desk%20%3E%20Paper&state=published").await, ["15", "10"]);
    assert_eq!(found("state=expired,superseded").await, ["13", "12"]);
    assert_eq!(found("state=refused").await, ["14"]);
    assert_eq!(found("from=2026-01-13&until=2026-01-13").await.len(), 5);
    assert_eq!(found("from=2026-01-14").await.len(), 0);
    assert_eq!(found("from=2026-01-13T00:00:21Z").await, ["15"]);
    assert_eq!(found("until=2026-01-13T00:00:17Z").await, ["10"]);
    assert_eq!(found("kind=category").await, ["05", "04", "03", "02", "01"]);
    // What people decided, and what they did not.
    for (verb, name) in [("approve", "5031234"), ("decline", "KB5031111")] {
        let asked = json!({ "updates": [name] });
        let (status, told) = plane.json(Method::POST, &format!("/api/v1/updates/{verb}"), asked).await;
        assert_eq!(status, 200, "{told}");
    }
    assert_eq!(found("decision=approved").await, ["10"]);
    assert_eq!(found("decision=declined").await, ["15", "14"]);
    assert_eq!(found("decision=none").await, ["13", "12"]);
    assert_eq!(found("decision=approved,none&text=cumulative").await, ["12", "10"]);
    let row = plane.get("/api/v1/updates?kb=KB5031234").await["rows"][0].clone();
    assert_eq!(
        (&row["classification"], &row["products"], &row["severity"], &row["state"], &row["unauthenticated"]),
        (&json!("Hotfixes"), &json!(["Paper"]), &json!("critical"), &json!("published"), &json!(false))
    );
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_weighs_what_its_parts_weigh_and_each_file_once() {
    use waystation::model::update::{Members, Update};
    let plane = Plane::new();
    let mut all = updates(b"some bytes");
    let find = |all: &[Update], at| all.iter().position(|update| update.identity == identity(at, 200)).unwrap();
    // A second part with the file of the first and one more; the file of a licence counts nowhere.
    let part = all[find(&all, 0x11)].clone();
    let second =
        Update { identity: identity(0x16, 200), files: vec![file(b"some bytes"), file(b"a language")], ..part };
    let at = find(&all, 0x10);
    all[at].bundles.push(Members { any_of: vec![second.identity] });
    // So many that one snapshot does not do for a page of them.
    let like = all[find(&all, 0x10)].clone();
    let many = (0..400).map(|at| Update {
        identity: identity(0x1000 + at, 200),
        kbs: vec!["7000001".into()],
        supersedes: vec![],
        ..like.clone()
    });
    all.insert(0, second);
    all.extend(many.collect::<Vec<_>>());
    import(&plane.handles.store.catalog(), all, false).await;
    let page = plane.get("/api/v1/updates?kb=KB7000001&limit=500").await;
    let rows = page["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 400);
    assert!(rows.iter().all(|row| (&row["files"], &row["bytes"]) == (&json!(2), &json!(20))), "{page}");
    let part = plane.get("/api/v1/updates?hidden=true&text=part").await;
    let weight = |row: &Value| (row["files"].as_u64().unwrap(), row["bytes"].as_u64().unwrap());
    let weights: std::collections::BTreeSet<_> = part["rows"].as_array().unwrap().iter().map(weight).collect();
    assert_eq!(weights, [(1, 10), (2, 20)].into());
    let shown = plane.get(&format!("/api/v1/updates/{}", id(0x10))).await;
    assert_eq!(
        (&shown["files"], &shown["bytes"], &shown["all_files"]["count"], &shown["all_bytes"]),
        (&json!(2), &json!(20), &json!(2), &json!(20))
    );
    let old = plane.get("/api/v1/updates/KB5030001").await;
    assert_eq!((&old["files"], &old["bytes"]), (&json!(0), &json!(0)));
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_every_update_once() {
    let plane = Plane::new();
    import(&plane.handles.store.catalog(), updates(b"some bytes"), false).await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = plane.get(&format!("/api/v1/updates?limit=2&hidden=true{after}")).await;
        assert_eq!(page["total"], 11);
        seen.extend(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, ["15", "14", "13", "12", "11", "10", "05", "04", "03", "02", "01"]);
    for query in ["limit=0", "limit=501", "after=x", "nonsense=1", "state=gone", "decision=perhaps", "from=2026-13-01"]
    {
        let (status, _) = plane.json(Method::GET, &format!("/api/v1/updates?{query}"), Value::Null).await;
        assert_eq!(status, 400, "{query}");
    }
    let (status, problem) = plane.json(Method::GET, "/api/v1/updates?product=Papers", Value::Null).await;
    assert_eq!(status, 422, "{problem}");
    assert!(problem["title"].as_str().unwrap().contains("did you mean \"Paper\"?"), "{problem}");
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_shown_with_all_that_hangs_on_it() {
    let plane = Plane::new();
    import(&plane.handles.store.catalog(), updates(b"some bytes"), false).await;
    let shown = plane.get("/api/v1/updates/KB5031234").await;
    assert_eq!(shown["all_files"]["rows"][0]["held"], "no");
    let content = plane.import("a", b"some bytes").await;
    // By the beginning of its id, the id, and the id with a revision: the same.
    let full = id(0x10).to_string();
    for name in [full[..8].to_owned(), full.clone(), format!("{full}%2F200"), full.to_uppercase()] {
        let again = plane.get(&format!("/api/v1/updates/{name}")).await;
        assert_eq!((&again["id"], &again["files_held"]), (&shown["id"], &json!(1)), "{name}");
    }
    let shown = plane.get(&format!("/api/v1/updates/{full}")).await;
    let held = &shown["all_files"]["rows"][0];
    assert_eq!(
        (&held["held"], &held["sha256"], &held["sha1"], &shown["all_bytes"]),
        (&json!("proven"), &json!(content.sha256), &json!(file(b"some bytes").sha1.to_string()), &json!(10))
    );
    assert_eq!((&shown["reboot"], &shown["removable"]), (&json!("always"), &json!(true)), "as its part has it");
    let paths: Vec<_> =
        shown["categories"].as_array().unwrap().iter().map(|category| category["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["Contoso > Desk > Paper", "Hotfixes"]);
    assert_eq!(shown["texts"][0]["description"], "About 2026-01 Cumulative Update for Paper (KB5031234).");
    assert_eq!((&shown["cves"], &shown["eula"]["languages"]), (&json!(["CVE-2026-0001"]), &json!(["en"])));
    // What is not held is told with its id alone.
    let (parts, older) = (&shown["bundles"], &shown["supersedes"]);
    assert_eq!((&parts["count"], &parts["rows"][0]["title"]), (&json!(2), &json!("=part of an update")));
    assert_eq!((&parts["rows"][1]["title"], &parts["rows"][1]["revision"]), (&Value::Null, &json!(1)));
    assert_eq!(older["rows"][0]["title"], "2025-12 Cumulative Update for Paper (KB5030001)");
    assert_eq!(older["rows"][1]["id"], id(0x98).to_string());
    let old = plane.get("/api/v1/updates/KB5030001").await;
    assert_eq!((&old["state"], &old["superseded_by"]["rows"][0]["id"]), (&json!("superseded"), &json!(full)));
    let part = plane.get(&format!("/api/v1/updates/{}", id(0x11))).await;
    assert_eq!((&part["deployable"], &part["bundled_by"]["rows"][0]["id"]), (&json!(false), &json!(full)));
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_none_or_several_is_told_apart() {
    let plane = Plane::new();
    let catalog = plane.handles.store.catalog();
    import(&catalog, updates(b"some bytes"), false).await;
    let ill = async |name: &str| {
        let (status, problem) = plane.json(Method::GET, &format!("/api/v1/updates/{name}"), Value::Null).await;
        (status.as_u16(), format!("{} | {}", problem["title"], problem["detail"]))
    };
    let (status, told) = ill("KB5031111").await;
    assert!(status == 422 && told.contains(&id(0x14).to_string()) && told.contains("for Paper"), "{told}");
    assert_eq!(ill("KB9999999").await.0, 404);
    assert_eq!(ill(&id(0x77).to_string()).await.0, 404);
    assert_eq!(ill(&format!("{}%2F1", id(0x10))).await.0, 404);
    assert_eq!(ill("000000a").await.0, 422, "too short for a beginning");
    assert_eq!(ill("0000001").await.0, 404, "the number of an article that nothing names");
    assert_eq!(ill("rather%20not").await.0, 422);
    catalog.refuse(identity(0x77, 5), "half a document".into()).await.unwrap();
    let (status, told) = ill(&format!("{}%2F5", id(0x77))).await;
    assert!(status == 404 && told.contains("half a document"), "{told}");
    catalog.refuse(identity(0x10, 200), "differs".into()).await.unwrap();
    let shown = plane.get(&format!("/api/v1/updates/{}", id(0x10))).await;
    assert_eq!((&shown["state"], &shown["refused"]), (&json!("refused"), &json!("differs")));
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn digits_alone_are_an_article_or_an_id_whichever_there_is() {
    let plane = Plane::new();
    let mut all = updates(b"some bytes");
    // An article whose number is the beginning of another update's id.
    all.iter_mut().find(|update| update.identity == identity(0x12, 200)).unwrap().kbs.push("00000010".into());
    import(&plane.handles.store.catalog(), all, false).await;
    assert_eq!(plane.get("/api/v1/updates/5031234").await["id"], id(0x10).to_string());
    assert_eq!(plane.get("/api/v1/updates/00000014").await["id"], id(0x14).to_string());
    let (status, problem) = plane.json(Method::GET, "/api/v1/updates/00000010", Value::Null).await;
    let told = problem["title"].as_str().unwrap();
    assert!(status == 422 && told.contains(&id(0x10).to_string()) && told.contains(&id(0x12).to_string()), "{told}");
    let (status, problem) = plane.json(Method::GET, "/api/v1/updates/5031111", Value::Null).await;
    assert!(status == 422 && problem["title"].as_str().unwrap().contains("for Paper"), "{problem}");
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_without_an_address_are_called_as_the_catalog_calls_them() {
    let plane = Plane::new();
    let content = plane.import("a", b"some bytes").await;
    let other = plane.import("b", b"other bytes").await;
    assert_eq!(plane.get(&format!("/api/v1/content/{}", content.sha256)).await["file"], Value::Null);
    import(&plane.handles.store.catalog(), updates(b"some bytes"), false).await;
    assert_eq!(plane.get(&format!("/api/v1/content/{}", content.sha256)).await["file"], "windows-x64.cab");
    let rows = async |query: &str| {
        let page = plane.get(&format!("/api/v1/content?{query}")).await;
        page["rows"].as_array().unwrap().iter().map(|row| row["sha256"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(rows("").await.len(), 2);
    assert_eq!(rows("filter=windows-X64").await, [content.sha256]);
    assert_eq!(rows(&format!("filter={}", &other.sha256[..12])).await, [other.sha256]);
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_listed_held_or_not() {
    let plane = Plane::new();
    let catalog = plane.handles.store.catalog();
    import(&catalog, updates(b"some bytes"), false).await;
    // Those that the import itself did not take.
    let before = catalog.standing().await.unwrap().refused;
    for (at, revision, why) in [(0x10, 200, "differs"), (0x77, 5, "half a document"), (0x78, 1, "no base64")] {
        catalog.refuse(identity(at, revision), why.into()).await.unwrap();
    }
    let page = plane.get("/api/v1/updates/refused?limit=2").await;
    let rows = page["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &page["total"]), (2, &json!(before + 3)), "{page}");
    assert_eq!((&rows[0]["reason"], &rows[0]["held"]), (&json!("differs"), &json!(true)));
    assert!(rows[0]["title"].as_str().unwrap().contains("KB5031234") && rows[0]["at"].is_string(), "{page}");
    assert_eq!((&rows[1]["held"], &rows[1]["title"], &rows[1]["revision"]), (&json!(false), &Value::Null, &json!(5)));
    let next = page["next"].as_str().unwrap().replace('/', "%2F");
    let page = plane.get(&format!("/api/v1/updates/refused?after={next}")).await;
    assert_eq!((page["rows"].as_array().unwrap().len() as u64, &page["next"]), (before + 1, &Value::Null));
    assert_eq!(page["rows"][0]["reason"], "no base64");
    let (status, _) = plane.json(Method::GET, "/api/v1/updates/refused?after=x", Value::Null).await;
    assert_eq!(status, 400);
    // What is refused makes nothing superfluous, until it is pardoned.
    let state = async || plane.get("/api/v1/updates/KB5030001").await["state"].clone();
    assert_eq!(state().await, "published");
    assert!(catalog.pardon(identity(0x10, 200)).await.unwrap());
    assert_eq!(state().await, "superseded");
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_over_plain_http_is_marked() {
    let plane = Plane::new();
    import(&plane.handles.store.catalog(), updates(b"some bytes"), true).await;
    let page = plane.get("/api/v1/updates").await;
    assert_eq!(page["catalog"]["upstream"], "wsus http://wsus:8530");
    assert_eq!(page["catalog"]["unauthenticated"], true);
    assert!(page["rows"].as_array().unwrap().iter().all(|row| row["unauthenticated"] == true), "{page}");
    let shown = plane.get("/api/v1/updates/KB5031234").await;
    assert_eq!(
        (&shown["unauthenticated"], &shown["bundles"]["rows"][0]["unauthenticated"]),
        (&json!(true), &json!(true))
    );
    let asked = json!({ "updates": ["KB5031234"] });
    let (status, decided) = plane.json(Method::POST, "/api/v1/updates/approve", asked).await;
    assert_eq!((status.as_u16(), &decided["rows"][0]["unauthenticated"]), (200, &json!(true)), "{decided}");
    let approvals = plane.get("/api/v1/approvals").await;
    assert_eq!(approvals["rows"][0]["unauthenticated"], true, "{approvals}");
    assert_eq!(plane.get("/api/v1/filters").await["unauthenticated"], true);
    let available = plane.get("/api/v1/filters/available").await;
    let row = available.as_array().unwrap().iter().find(|row| row["name"] == "Contoso").unwrap();
    assert_eq!(row["unauthenticated"], true);
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_follows_the_catalog() {
    let plane = Plane::new();
    let catalog = plane.handles.store.catalog();
    let names = async || {
        let rows = plane.get("/api/v1/filters/available").await;
        let rows = rows.as_array().unwrap().iter();
        let own = rows.filter(|row| row["path"].as_str().unwrap().starts_with("Contoso"));
        own.map(|row| format!("{} {}", row["depth"], row["name"].as_str().unwrap())).collect::<Vec<_>>()
    };
    assert!(names().await.is_empty());
    import(&catalog, updates(b"some bytes"), false).await;
    assert_eq!(names().await, ["0 Contoso", "1 Desk", "2 Paper", "1 Pen"]);
    // Without a node nothing can be kept as set at run time, and it is said so.
    let body = json!({ "values": ["Paper"] });
    let (status, problem) = plane.json(Method::POST, "/api/v1/filters/products", body).await;
    assert!(status == 422 && problem["detail"].as_str().unwrap().contains("waystation.toml"), "{problem}");
    let (status, problem) = plane.json(Method::POST, "/api/v1/filters/vendors", json!({ "values": ["x"] })).await;
    assert_eq!(status, 404, "{problem}");
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_has_a_bound_and_tells_of_every_update() {
    use waystation::model::update::Update;
    let plane = Plane::new();
    let made = updates(b"some bytes");
    let like = made.iter().find(|update| update.kbs == ["5031111"]).unwrap().clone();
    let many = |kb: &str, from: u32, count: u32| {
        let (like, kb) = (like.clone(), kb.to_owned());
        (from..from + count)
            .map(move |at| Update { identity: identity(at, 1), kbs: vec![kb.clone()], ..like.clone() })
            .collect::<Vec<_>>()
    };
    let all = [made, many("7000001", 0x1000, 4_998), many("7000002", 0x8000, 3)].concat();
    import(&plane.handles.store.catalog(), all, false).await;
    let decide = async |kbs: &[&str]| {
        let body = json!({ "updates": kbs, "why": "a month of a large site" });
        plane.json(Method::POST, "/api/v1/updates/approve", body).await
    };
    let (status, problem) = decide(&["KB7000001", "KB7000002"]).await;
    let title = problem["title"].as_str().unwrap();
    assert!(status == 422 && title.contains("5001") && title.contains("none is decided"), "{problem}");
    let (_, shown) = plane.json(Method::GET, &format!("/api/v1/updates/{}", id(0x1000)), Value::Null).await;
    assert_eq!(shown["decided"], Value::Null, "{shown}");
    let (status, decided) = decide(&["KB7000001"]).await;
    assert_eq!((status.as_u16(), &decided["changed"]), (200, &json!(4_998)));
    assert_eq!(decided["rows"].as_array().unwrap().len(), 4_998);
    plane.close().await;
}
