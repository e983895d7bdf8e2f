//! Rules through the API.

use super::*;
use crate::made_catalog::{id, import, updates};

async fn ok(plane: &Plane, method: Method, path: &str, body: Value) -> Value {
    let (status, told) = plane.json(method, path, body).await;
    assert_eq!(status, 200, "{path}: {told}");
    told
}

async fn stocked() -> Plane {
    let plane = Plane::new();
    import(&plane.handles.store.catalog(), updates(b"some bytes"), false).await;
    for body in [json!({ "name": "Contoso" }), json!({ "name": "Pilot", "below": "Contoso" })] {
        ok(&plane, Method::POST, "/api/v1/groups", body).await;
    }
    plane
}

const RULES: &str = "/api/v1/rules";

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_made_looked_at_run_and_removed() {
    let plane = stocked().await;
    let asked = json!({
        "name": "Hot fixes",
        "rings": [{ "group": "Pilot" }, { "group": "contoso", "after_days": 3 }, { "group": "all" }],
        "like": { "classifications": ["hotfixes"], "products": ["Desk", "Pen"], "deadline_days": 2, "enabled": false },
    });
    let told = ok(&plane, Method::POST, RULES, asked).await;
    let rule = &told["rule"];
    assert_eq!((&rule["state"], &rule["due"], &rule["stop_percent"]), (&json!("off"), &json!(3), &json!(10)));
    assert_eq!((&rule["classifications"], &rule["products"]), (&json!(["Hotfixes"]), &json!(["Desk", "Pen"])));
    let rings: Vec<(&str, u64)> = (rule["rings"].as_array().unwrap().iter())
        .map(|ring| (ring["group"].as_str().unwrap(), ring["after_days"].as_u64().unwrap()))
        .collect();
    assert_eq!(rings, [("Contoso/Pilot", 0), ("Contoso", 3), ("all", 7)]);
    assert!(told["effect"].as_str().unwrap().contains("rules enable"), "{told}");
    assert!(told["notes"][0].as_str().unwrap().contains("servers"), "{told}");
    let small = "0 machines are established (first seen 7 days ago or more, and served) in the rings before ring 2, and its sample is 10";
    for told in [told.clone(), plane.get(RULES).await, plane.get("/api/v1/rules/hot").await] {
        assert!(told["notes"].to_string().contains(small), "{told}");
    }

    // What it would do, and when each ring follows; nothing is done.
    assert_eq!(plane.get("/api/v1/rule-preview").await["rows"], json!([]), "it is off");
    let preview = plane.get("/api/v1/rule-preview?rule=hot").await;
    assert_eq!(preview["total"], 3, "{preview}");
    assert!(preview["effect"].as_str().unwrap().contains("next scan"), "{preview}");
    let row = &preview["rows"][0];
    assert_eq!((&row["step"], &row["group"]), (&json!("due"), &json!("Contoso/Pilot")), "{row}");
    let expected: Vec<&str> =
        row["rings"].as_array().unwrap().iter().map(|ring| ring["expected"].as_str().unwrap()).collect();
    let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let days = |from: &str, to: &str| time(to).duration_since(time(from)).as_hours() / 24;
    assert_eq!((days(expected[0], expected[1]), days(expected[1], expected[2])), (3, 7), "{row}");
    assert_eq!(plane.get("/api/v1/approvals").await["rows"], json!([]));
    assert_eq!(plane.get("/api/v1/rule-preview?rule=hot&limit=1").await["rows"].as_array().unwrap().len(), 1);

    let set = async |body: Value| ok(&plane, Method::POST, "/api/v1/rules/hot%20fixes", body).await;
    let told = set(json!({ "like": { "enabled": true } })).await;
    assert!(told["effect"].as_str().unwrap().contains("next scan"), "{told}");
    let ran = ok(&plane, Method::POST, "/api/v1/rule-runs", json!({})).await;
    assert_eq!((&ran["state"], &ran["result"]), (&json!("done"), &json!("3 approvals")), "{ran}");
    assert_eq!(ran["rows"].as_array().unwrap().len(), 3);
    assert!(ran["effect"].as_str().unwrap().contains("next scan"), "{ran}");
    assert!(ran["notes"].to_string().contains("license accept"), "{ran}");
    let approvals = plane.get("/api/v1/approvals?group=Pilot").await;
    for row in approvals["rows"].as_array().unwrap() {
        assert_eq!((&row["by"], &row["why"]), (&json!("rule Hot fixes"), &json!("ring 1 of 3")), "{row}");
        assert!(row["deadline"].is_string(), "{row}");
    }
    let ran = ok(&plane, Method::POST, "/api/v1/rule-runs", json!({ "rule": "hot" })).await;
    assert_eq!((&ran["result"], &ran["rows"]), (&json!("nothing was due"), &json!([])));

    // Somebody takes one back: it is held, which is told, and let go on.
    ok(
        &plane,
        Method::POST,
        "/api/v1/approvals/withdraw",
        json!({ "updates": [id(0x14).to_string()], "groups": ["Pilot"] }),
    )
    .await;
    let shown = plane.get("/api/v1/rules/hot").await;
    let held = (shown["rows"].as_array().unwrap().iter()).find(|row| row["step"] == "held").unwrap();
    assert_eq!(held["update"], id(0x14).to_string());
    assert!(held["why"].as_str().unwrap().contains("rules resume"), "{held}");
    let waits = (shown["rows"].as_array().unwrap().iter()).find(|row| row["step"] == "not-offered").unwrap();
    assert_eq!(waits["waits"], json!(["licence"]));
    assert_eq!(plane.get(RULES).await["rows"][0]["state"], "held");
    let events: Vec<&str> =
        shown["history"].as_array().unwrap().iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["released", "enabled", "added"]);
    let resume = async |body: Value| plane.json(Method::POST, "/api/v1/rules/hot/resume", body).await;
    let (status, told) = resume(json!({ "updates": [id(0x15).to_string()] })).await;
    assert_eq!(status, 422, "{told}");
    let (status, told) = resume(json!({})).await;
    assert_eq!((status.as_u16(), &told["held"]), (200, &json!([id(0x14).to_string()])), "{told}");
    assert!(told["effect"].as_str().unwrap().contains("next scan"), "{told}");
    assert_eq!(resume(json!({})).await.0, 422);

    let told = set(json!({ "name": "Fixes", "like": { "no_stop": true, "severity": "important" } })).await;
    assert_eq!((&told["rule"]["name"], &told["rule"]["stop_percent"]), (&json!("Fixes"), &Value::Null));
    assert!(told["notes"].to_string().contains("stops at no failures"), "{told}");
    let told = ok(&plane, Method::DELETE, "/api/v1/rules/fixes", Value::Null).await;
    assert!(told["effect"].as_str().unwrap().contains("stays approved"), "{told}");
    assert_eq!(plane.get(RULES).await["rows"], json!([]));
    let lines = plane.get("/api/v1/rule-history").await["rows"].clone();
    assert_eq!((&lines[0]["event"], &lines[0]["rule"]), (&json!("removed"), &json!("Fixes")));
    assert!(lines[1]["text"].as_str().unwrap().contains("it was called \"Hot fixes\""), "{lines}");
    assert_eq!(plane.get("/api/v1/approvals").await["rows"].as_array().unwrap().len(), 2);
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_made_rules_are_there_and_what_cannot_be_one_is_refused_in_words_that_help() {
    let plane = stocked().await;
    let ready = plane.get("/api/v1/rule-ready-made").await;
    let words: Vec<&str> = ready["rows"].as_array().unwrap().iter().map(|row| row["word"].as_str().unwrap()).collect();
    assert_eq!(words, ["patch-tuesday", "definitions"]);
    let rings = json!([{ "group": "Pilot" }, { "group": "all" }]);
    let add = async |body: Value| ok(&plane, Method::POST, RULES, body).await["rule"].clone();
    let rule = add(json!({ "ready_made": "patch-tuesday", "rings": rings })).await;
    assert_eq!((&rule["name"], &rule["rings"][1]["after_days"]), (&json!("Patch Tuesday"), &json!(7)));
    assert_eq!(rule["classifications"], json!(["Security Updates", "Update Rollups", "Critical Updates"]));
    let rule =
        add(json!({ "ready_made": "definitions", "rings": rings, "name": "D", "like": { "enabled": false } })).await;
    assert_eq!((&rule["name"], &rule["rings"][1]["after_days"]), (&json!("D"), &json!(0)));
    assert_eq!(rule["state"], "off");

    for (method, path, body, status, why) in [
        (Method::POST, RULES, json!({ "name": "x", "rings": [] }), 422, "no rings"),
        (Method::POST, RULES, json!({ "name": "x", "rings": [{ "group": "Nowhere" }] }), 422, "no group is called"),
        (Method::POST, RULES, json!({ "name": "d", "rings": rings }), 422, "already"),
        (Method::POST, RULES, json!({ "rings": rings }), 422, "cannot be the name of a rule"),
        (Method::POST, RULES, json!({ "ready_made": "x", "rings": rings }), 400, "patch-tuesday, definitions"),
        (
            Method::POST,
            RULES,
            json!({ "name": "x", "rings": [{ "group": "all" }, { "group": "all" }] }),
            422,
            "names a group twice",
        ),
        (
            Method::POST,
            RULES,
            json!({ "name": "x", "rings": rings, "like": { "classifications": ["Hotfix"] } }),
            422,
            "did you mean",
        ),
        (
            Method::POST,
            RULES,
            json!({ "name": "x", "rings": rings, "like": { "products": ["Nothing"] } }),
            422,
            "no product",
        ),
        (Method::POST, RULES, json!({ "name": "x", "rings": rings, "like": { "severity": "bad" } }), 400, "severity"),
        (
            Method::POST,
            RULES,
            json!({ "name": "x", "rings": rings, "like": { "stop_percent": 100 } }),
            422,
            "write 0 to 99 percent",
        ),
        (
            Method::POST,
            RULES,
            json!({ "name": "x", "rings": rings, "like": { "stop_percent": 1, "no_stop": true } }),
            400,
            "not both",
        ),
        (Method::POST, "/api/v1/rules/patch", json!({ "rings": [] }), 422, "it can have 1 to 8"),
        (Method::POST, "/api/v1/rules/nobody", json!({}), 404, "no rule is called"),
        (Method::DELETE, "/api/v1/rules/nobody", Value::Null, 404, "no rule is called"),
        (Method::POST, "/api/v1/rule-runs", json!({ "rule": "d" }), 422, "switched off"),
        (Method::POST, "/api/v1/rules/patch/resume", json!({}), 422, "neither stopped nor held"),
    ] {
        let (told, problem) = plane.json(method, path, body.clone()).await;
        assert_eq!(told.as_u16(), status, "{path} {body}: {problem}");
        let text = format!("{} {}", problem["title"], problem["detail"]);
        assert!(text.contains(why), "{path} {body}: {text}");
    }
    assert_eq!(plane.get(RULES).await["rows"].as_array().unwrap().len(), 2, "of what is refused nothing is kept");
    plane.close().await;
}
