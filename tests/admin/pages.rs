//! The console's pages: what they show, to whom, and that nothing that a machine says of itself becomes markup.

use super::approvals::machine;
use super::compliance::Site;
use super::door::{Answer, Client, WORD, set_up};
use super::*;

/// The most that a page may weigh.
const PAGE_BYTES_MAX: usize = 150_000;

async fn page(plane: &Plane, client: &Client, path: &str) -> Answer {
    let answer = client.with("accept", "text/html").get(plane, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    assert!(answer.header("content-type").starts_with("text/html"), "{path}");
    assert!(answer.body.len() < PAGE_BYTES_MAX, "{path}: {} bytes", answer.body.len());
    // Nothing that the policy of the pages would have browsers refuse.
    for wrong in ["<style", " style=", " onclick=", "javascript:", "<script>", "http://cdn", "https://cdn"] {
        assert!(!answer.body.contains(wrong), "{path} has {wrong}");
    }
    assert!(
        answer.body.contains("<h1>") && answer.body.contains("<title>") && answer.body.contains("lang=\"en\""),
        "{path}"
    );
    answer
}

fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

async fn send(plane: &Plane, client: &Client, path: &str, fields: &[(&str, &str)]) -> Answer {
    let client = client.with("content-type", "application/x-www-form-urlencoded").with("accept", "text/html");
    client.ask(plane, Method::POST, path, &form(fields)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_led_from_set_up_to_the_dashboard() {
    let plane = Plane::new();
    let nobody = Client::default();
    let led = async |path: &str| nobody.with("accept", "text/html").get(&plane, path).await;
    assert_eq!(led("/").await.header("location"), "/dashboard");
    assert_eq!(led("/sign-in").await.header("location"), "/set-up");
    let asked = page(&plane, &nobody, "/set-up").await;
    assert!(asked.body.contains("setup-code"));
    plane.handles.door.renew_code().await.unwrap();
    let code = std::fs::read_to_string(plane.data.path().join("setup-code")).unwrap();
    let fields = |again| [("code", code.trim()), ("name", "<i>anna"), ("password", WORD), ("again", again)];
    let differ = send(&plane, &nobody, "/set-up", &fields("another")).await;
    assert!(differ.status == 422 && differ.body.contains("&#60;i&#62;anna") && !differ.body.contains("<i>anna"));
    let mut right = fields(WORD);
    right[1] = ("name", "anna");
    let made = send(&plane, &nobody, "/set-up", &right).await;
    assert_eq!((made.status, made.header("location")), (303, "/dashboard"), "{}", made.body);
    let cookie = made.header("set-cookie").split(';').next().unwrap().to_owned();
    let anna = Client { cookie, ..Client::default() };
    assert!(page(&plane, &anna, "/dashboard").await.body.contains("Missing patches by severity"));

    let out = led("/missing?severity=critical").await;
    assert_eq!((out.status, out.header("location")), (303, "/sign-in?next=%2Fmissing%3Fseverity%3Dcritical"));
    let wrong = send(&plane, &nobody, "/sign-in", &[("name", "anna"), ("password", "no"), ("next", "/missing")]).await;
    assert!(
        wrong.status == 401
            && wrong.body.contains("the name or the password is wrong")
            && wrong.body.contains("value=\"/missing\"")
    );
    for (next, place) in
        [("/missing", "/missing"), ("//evil.example", "/dashboard"), ("https://evil.example", "/dashboard")]
    {
        let signed = send(&plane, &nobody, "/sign-in", &[("name", "anna"), ("password", WORD), ("next", next)]).await;
        assert_eq!((signed.status, signed.header("location")), (303, place));
    }
    // Forms carry the token of their page.
    let csrf = Client::of(
        &Client::default().post(&plane, "/api/v1/session", json!({ "name": "anna", "password": WORD })).await,
    );
    let signed = Client { csrf: String::new(), ..csrf.clone() };
    assert_eq!(send(&plane, &signed, "/sign-out", &[]).await.status, 403);
    assert_eq!(send(&plane, &signed, "/sign-out", &[("csrf", &csrf.csrf)]).await.header("location"), "/sign-in");
    assert_eq!(signed.get(&plane, "/api/v1/jobs").await.status, 401);
    let asset = page(&plane, &anna, "/dashboard").await.body;
    let style = asset.split("href=\"").find(|part| part.starts_with("/assets/")).unwrap().split('"').next().unwrap();
    let asset = nobody.get(&plane, style).await;
    assert!(asset.status == 200 && asset.header("cache-control").contains("immutable"));
    assert_eq!(nobody.get(&plane, "/assets/..%2F..%2Fetc%2Fpasswd").await.status, 404);
    let lost = led("/nothing").await;
    assert!(lost.status == 404 && lost.body.contains("<h1>Not done"));
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_what_is_missing_and_approve_it() {
    let site = Site::new().await;
    let plane = &site.plane;
    let evil = "<script>alert(1)</script>\"'&.site.example";
    machine(plane, 9, evil, [10, 1, 0, 9], &[]).await;
    let anna = set_up(plane).await;
    let board = page(plane, &anna, "/dashboard").await.body;
    assert!(board.contains("critical") && board.contains("5 <small>endpoints"), "{board}");
    let list = page(plane, &anna, "/missing").await.body;
    let id = list.split("href=\"/updates/").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let only = page(plane, &anna, "/missing?severity=critical&classification=&group=&age=").await.body;
    assert!(
        only.contains("<option selected>critical</option>")
            && only.matches("href=\"/updates/").count() < list.matches("href=\"/updates/").count()
    );
    let wrong = anna.with("accept", "text/html").get(plane, "/missing?severity=%3Cb%3E").await;
    assert!(wrong.status == 400 && !wrong.body.contains("<b>"), "{}", wrong.body);

    for path in ["/endpoints", "/endpoints?text=script", "/endpoints/09090909-0909-0909-0909-090909090909"] {
        let body = page(plane, &anna, path).await.body;
        assert!(body.contains("&#60;script&#62;alert(1)") && !body.contains("<script>alert"), "{path}");
    }
    let one = page(plane, &anna, &format!("/updates/{id}")).await.body;
    assert!(one.contains("Approve") && one.contains("Missing on"), "{one}");
    let path = format!("/updates/{id}/approve");
    let fields = [
        ("csrf", anna.csrf.as_str()),
        ("group", "Contoso"),
        ("action", "install"),
        ("deadline", ""),
        ("why", "a test"),
    ];
    let done = send(plane, &Client { csrf: String::new(), ..anna.clone() }, &path, &fields).await;
    assert_eq!((done.status, done.header("location")), (303, &*format!("/updates/{id}?said=1")), "{}", done.body);
    assert_eq!(plane.get(&format!("/api/v1/approvals?update={id}")).await["rows"][0]["why"], "a test");
    let log = anna.get(plane, "/api/v1/audit").await.json();
    assert_eq!(
        (&log["rows"][0]["what"], &log["rows"][0]["who"]),
        (&json!("POST /updates/{name}/approve"), &json!("anna"))
    );
    assert!(
        log["rows"][0]["after"].as_str().unwrap().contains("a test")
            && !log["rows"][0]["before"].as_str().unwrap().contains("a test")
    );
    assert!(!log.to_string().contains(&anna.csrf), "the token of a page is not written down");

    // Who only looks has no form, and what is not their business is not shown.
    anna.post(plane, "/api/v1/accounts", json!({ "name": "ivo", "role": "auditor", "password": WORD })).await;
    let ivo = Client::sign_in(plane, "ivo", WORD).await;
    assert!(!page(plane, &ivo, &format!("/updates/{id}")).await.body.contains("name=\"action\""));
    assert_eq!(send(plane, &ivo, &path, &fields).await.status, 403);
    site.plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_bound_to_groups_sees_and_changes_those_alone() {
    let site = Site::new().await;
    let plane = &site.plane;
    let anna = set_up(plane).await;
    let asked = json!({ "name": "olga", "role": "operator", "groups": ["Berlin"], "password": WORD });
    assert_eq!(anna.post(plane, "/api/v1/accounts", asked).await.status, 200);
    let olga = Client::sign_in(plane, "olga", WORD).await;
    let names = |answer: &Answer| -> Vec<String> {
        assert_eq!(answer.status, 200, "{}", answer.body);
        let json = answer.json();
        let rows = json["rows"].as_array().unwrap().iter();
        rows.map(|row| row["name"].as_str().unwrap_or_default().split('.').next().unwrap().to_owned()).collect()
    };
    for path in [
        "/api/v1/endpoints",
        "/api/v1/compliance/endpoints",
        "/api/v1/endpoints?group=Contoso",
        "/api/v1/compliance/endpoints?group=all",
    ] {
        let mut seen = names(&olga.get(plane, path).await);
        seen.sort();
        assert_eq!(seen, ["pc1", "pc2"], "{path}");
    }
    assert_eq!(names(&olga.get(plane, "/api/v1/groups").await), ["Berlin"]);
    let all = olga.get(plane, "/api/v1/endpoints").await.json();
    assert_eq!((&all["total"], &all["known"]), (&json!(2), &json!(2)), "how many others there are is not told");
    let summary = olga.get(plane, "/api/v1/compliance").await.json();
    assert_eq!((&summary["endpoints"], &summary["failed"], &summary["not_scanned"]), (&json!(2), &json!(0), &json!(0)));
    let missing = olga.get(plane, "/api/v1/compliance/missing").await.json();
    let many: u64 = missing["rows"].as_array().unwrap().iter().map(|row| row["missing"].as_u64().unwrap()).sum();
    assert_eq!(many, 3, "{missing}");
    // What is outside is not there, by name, id or beginning.
    for name in ["pc3.site.example", "pc3", "03030303-0303-0303-0303-030303030303", "nobody"] {
        for path in ["/api/v1/endpoints", "/api/v1/compliance/endpoints"] {
            let found = olga.get(plane, &format!("{path}/{name}")).await;
            assert_eq!((found.status, found.body.contains("pc3.site")), (404, false), "{path}/{name}: {}", found.body);
        }
    }
    assert_eq!(olga.get(plane, "/api/v1/endpoints/pc1").await.status, 200);
    assert_eq!(olga.get(plane, "/api/v1/compliance/missing?endpoint=pc3").await.status, 404);
    let board = page(plane, &olga, "/dashboard").await.body;
    assert!(board.contains("2 <small>endpoints"), "{board}");
    assert!(!page(plane, &olga, "/endpoints").await.body.contains("pc3"));

    let update = plane.get("/api/v1/compliance/missing").await["rows"][0]["id"].clone();
    let approve = async |target: Value| {
        let mut asked = json!({ "updates": [update], "action": "install" });
        asked.as_object_mut().unwrap().extend(target.as_object().unwrap().clone());
        olga.post(plane, "/api/v1/approvals", asked).await.status
    };
    assert_eq!(approve(json!({ "groups": ["Berlin"] })).await, 200);
    assert_eq!(approve(json!({ "endpoints": ["pc1"] })).await, 200);
    for outside in [
        json!({ "groups": ["Contoso"] }),
        json!({ "groups": ["all"] }),
        json!({ "groups": ["Berlin", "unassigned"] }),
        json!({ "endpoints": ["pc3"] }),
    ] {
        assert_eq!(approve(outside.clone()).await, 403, "{outside}");
    }
    let withdraw = async |body: Value| olga.post(plane, "/api/v1/approvals/withdraw", body).await.status;
    assert_eq!(withdraw(json!({ "updates": [update], "everywhere": true })).await, 403);
    assert_eq!(withdraw(json!({ "updates": [update], "groups": ["Berlin"] })).await, 200);
    let place = async |endpoints: Value, groups: Value| {
        olga.post(plane, "/api/v1/groups/place", json!({ "endpoints": endpoints, "groups": groups })).await.status
    };
    assert_eq!(place(json!(["pc3"]), json!(["Berlin"])).await, 403, "nobody draws machines of others to themselves");
    assert_eq!(place(json!(["pc1"]), json!(["Contoso"])).await, 403);
    assert_eq!(place(json!(["pc1"]), json!([])).await, 403);
    let below = olga.post(plane, "/api/v1/groups", json!({ "name": "Mitte", "below": "Berlin" })).await;
    assert_eq!(below.status, 200, "{}", below.body);
    assert_eq!(place(json!(["pc1"]), json!(["Mitte"])).await, 200);
    for outside in [
        json!({ "name": "x" }),
        json!({ "name": "x", "below": "Contoso" }),
        json!({ "name": "x", "below": "Berlin", "rules": ["subnet 10.0.0.0/8"] }),
    ] {
        assert_eq!(olga.post(plane, "/api/v1/groups", outside.clone()).await.status, 403, "{outside}");
    }
    for path in ["/api/v1/approvals", "/api/v1/rules", "/api/v1/nodes", "/api/v1/settings", "/api/v1/audit"] {
        assert_eq!(olga.get(plane, path).await.status, 403, "{path}");
    }
    site.plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn synchronisation_is_started_and_a_node_invited_from_pages() {
    let mut plane = Plane::new();
    let nowhere = waystation::model::drawn::Terms { least: None, daily: 0, ask_above: 0 };
    plane.handles.jobs = super::drawn::jobs(&plane, nowhere);
    let config = waystation::chain::node::Config {
        data: plane.data.path().to_owned(),
        addresses: vec!["hq.example:6203".into()],
        version: "test".into(),
        catalog: false,
        replica: false,
        report_every: Duration::from_mins(1),
    };
    let (store, disk) = (plane.handles.store.clone(), Arc::new(waystation::base::disk::RealDisk));
    plane.handles.chain =
        Some(waystation::chain::node::Chain::open(config, store, disk, Arc::new(SystemClock)).await.unwrap());
    let anna = set_up(&plane).await;
    let token = [("csrf", anna.csrf.as_str())];
    let form = Client { csrf: String::new(), ..anna.clone() };
    let seen = page(&plane, &anna, "/sync").await.body;
    assert!(seen.contains("None is under way") && seen.contains("action=\"/sync/start\""), "{seen}");
    assert_eq!(send(&plane, &form, "/sync/start", &[]).await.status, 403, "a form of another site");
    let begun = send(&plane, &form, "/sync/start", &token).await;
    assert_eq!((begun.status, begun.header("location")), (303, "/sync"), "{}", begun.body);
    let stopped = send(&plane, &form, "/sync/stop", &token).await;
    assert_eq!((stopped.status, stopped.header("location")), (303, "/sync"));
    let wrong = [token[0], ("key", "products"), ("add", "<b>Nothing")];
    let wrong = send(&plane, &form, "/sync/filters", &wrong).await;
    assert!(wrong.status >= 400 && !wrong.body.contains("<b>Nothing"), "{}", wrong.body);

    assert!(page(&plane, &anna, "/nodes").await.body.contains("None yet"));
    let asked = [token[0], ("name", "Berlin"), ("hours", "2"), ("from", ""), ("approve", "on")];
    let invited = send(&plane, &form, "/nodes/invite", &asked).await;
    assert!(invited.status == 200 && invited.body.contains("waystation join --token-file"), "{}", invited.body);
    let word = invited.body.split("readonly value=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(word.len() > 40, "{word}");
    let log = anna.get(&plane, "/api/v1/audit").await.body;
    assert!(log.contains("POST /nodes/invite") && !log.contains(word), "the token is written down nowhere");
    let bad = [token[0], ("name", "Bonn"), ("hours", "soon")];
    assert_eq!(send(&plane, &form, "/nodes/invite", &bad).await.status, 400);
    assert!(send(&plane, &form, "/nodes/nobody/revoke", &token).await.status >= 400);

    anna.post(&plane, "/api/v1/accounts", json!({ "name": "ivo", "role": "auditor", "password": WORD })).await;
    let ivo = Client::sign_in(&plane, "ivo", WORD).await;
    for path in ["/sync", "/nodes"] {
        assert!(!page(&plane, &ivo, path).await.body.contains("<button>"), "{path}");
    }
    for path in ["/sync/start", "/sync/stop", "/sync/test", "/nodes/invite"] {
        assert_eq!(send(&plane, &ivo, path, &[("name", "x")]).await.status, 403, "{path}");
    }
    plane.close().await;
}
