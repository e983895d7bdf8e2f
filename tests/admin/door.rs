//! The way in over the listener: set-up, sign-in, sessions, tokens, and what keeps others out.

use http::header;

use super::*;
use waystation::admin::door::{Door, Via};
use waystation::base::secret::Secret;

pub(super) const WORD: &str = "correct horse battery";

/// A browser, or a script.
#[derive(Clone, Default)]
pub(super) struct Client {
    pub(super) cookie: String,
    pub(super) csrf: String,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) from: Option<&'static str>,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: http::HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Client {
    pub(super) fn with(&self, name: &'static str, value: &str) -> Self {
        let mut client = self.clone();
        client.fields.push((name, value.to_owned()));
        client
    }

    pub(super) fn from(from: &'static str) -> Self {
        Self { from: Some(from), ..Self::default() }
    }

    pub(super) fn token(secret: &str) -> Self {
        Self::from("192.0.2.7").with("authorization", &format!("Bearer {secret}"))
    }

    pub(super) async fn ask(&self, plane: &Plane, method: Method, path: &str, body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost:6202");
        if !self.cookie.is_empty() {
            request = request.header(header::COOKIE, &self.cookie);
        }
        if !self.csrf.is_empty() {
            request = request.header("x-csrf-token", &self.csrf);
        }
        for (name, value) in &self.fields {
            request = request.header(*name, value);
        }
        let mut request = request.body(axum::body::Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(peer(self.from.unwrap_or("127.0.0.1")));
        let response = router::router(plane.handles.clone(), Access::ReadOnly).oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Answer { status, headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub(super) async fn get(&self, plane: &Plane, path: &str) -> Answer {
        self.ask(plane, Method::GET, path, "").await
    }

    pub(super) async fn post(&self, plane: &Plane, path: &str, body: Value) -> Answer {
        self.ask(plane, Method::POST, path, &body.to_string()).await
    }

    /// Signs in, and keeps what a browser keeps.
    pub(super) async fn sign_in(plane: &Plane, name: &str, password: &str) -> Self {
        let answer =
            Self::default().post(plane, "/api/v1/session", json!({ "name": name, "password": password })).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        Self::of(&answer)
    }

    pub(super) fn of(answer: &Answer) -> Self {
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        Self { cookie, csrf: answer.json()["csrf"].as_str().unwrap().to_owned(), ..Self::default() }
    }
}

/// Makes the first account with the code of the file.
pub(super) async fn set_up(plane: &Plane) -> Client {
    plane.handles.door.renew_code().await.unwrap().unwrap();
    let code = std::fs::read_to_string(plane.data.path().join("setup-code")).unwrap();
    let asked = json!({ "code": code.trim(), "name": "Anna", "password": WORD });
    let answer = Client::default().post(plane, "/api/v1/setup", asked).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    Client::of(&answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_account_needs_the_code_and_takes_it_away() {
    use std::os::unix::fs::PermissionsExt;
    let plane = Plane::new();
    let (door, file) = (plane.handles.door.clone(), plane.data.path().join("setup-code"));
    let (path, _) = door.renew_code().await.unwrap().unwrap();
    assert_eq!(
        (path.as_path(), std::fs::metadata(&file).unwrap().permissions().mode() & 0o777),
        (file.as_path(), 0o600)
    );
    let first = std::fs::read_to_string(&file).unwrap();
    let set_up_with = async |code: &str, password: &str| {
        let asked = json!({ "code": code, "name": "anna", "password": password });
        Client::default().post(&plane, "/api/v1/setup", asked).await
    };
    assert_eq!(set_up_with("AAAAA-AAAAA-AAAAA-AAAAA", WORD).await.status, 403);
    door.renew_code().await.unwrap().unwrap();
    assert_eq!(set_up_with(first.trim(), WORD).await.status, 403, "the one before is void");
    let code = std::fs::read_to_string(&file).unwrap();
    assert_eq!(set_up_with(code.trim(), "short").await.status, 422);
    let answer = set_up_with(code.trim().to_lowercase().as_str(), WORD).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["role"], "administrator");
    assert!(!file.exists(), "it is taken away");
    assert_eq!(set_up_with(code.trim(), WORD).await.status, 403, "once");
    assert!(door.renew_code().await.unwrap().is_none() && !file.exists());
    // What this machine could look at before nobody can who does not sign in.
    for (path, expected) in [("/api/v1/jobs", 401), ("/api/v1/status", 200), ("/metrics", 200), ("/healthz", 200)] {
        assert_eq!(Client::default().get(&plane, path).await.status, expected, "{path}");
    }
    for path in ["/api/v1/status", "/metrics"] {
        assert_eq!(Client::from("192.0.2.1").get(&plane, path).await.status, 401, "{path}");
        let proxied = Client::default().with("x-forwarded-for", "192.0.2.1");
        assert_eq!(proxied.get(&plane, path).await.status, 401, "{path}: through a proxy of this machine");
    }
    let challenge = Client::default().get(&plane, "/api/v1/jobs").await;
    assert!(challenge.header("www-authenticate").starts_with("Bearer"));
    let page = Client::default().with("accept", "text/html").get(&plane, "/confirm?next=/x").await;
    assert_eq!((page.status, page.header("location")), (303, "/sign-in?next=%2Fconfirm%3Fnext%3D%2Fx"));
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_a_new_id_each_time_and_ends() {
    let plane = Plane::new();
    set_up(&plane).await;
    let fixed = Client { cookie: format!("waystation={}", "A".repeat(43)), ..Client::default() };
    let asked = json!({ "name": "anna", "password": WORD });
    let answer = fixed.post(&plane, "/api/v1/session", asked.clone()).await;
    let set = answer.header("set-cookie").to_owned();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax") && set.contains("Path=/"), "{set}");
    assert!(!set.contains(&"A".repeat(43)), "an id that the browser brought along is not taken");
    assert_eq!(fixed.get(&plane, "/api/v1/jobs").await.status, 401);
    let (one, two) = (Client::of(&answer), Client::sign_in(&plane, "ANNA", WORD).await);
    assert_ne!(one.cookie, two.cookie);
    assert_eq!(one.get(&plane, "/api/v1/session").await.json()["name"], "anna");

    // The password once more: the same session under a new id.
    let proved = one.post(&plane, "/api/v1/session/confirm", json!({ "password": WORD })).await;
    assert_eq!(proved.status, 200, "{}", proved.body);
    assert_eq!(one.get(&plane, "/api/v1/jobs").await.status, 401, "the old id");
    let one = Client::of(&proved);
    assert_eq!(one.post(&plane, "/api/v1/session/confirm", json!({ "password": "another one" })).await.status, 401);

    let gone = one.ask(&plane, Method::DELETE, "/api/v1/session", "").await;
    assert!(gone.status == 200 && gone.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(one.get(&plane, "/api/v1/jobs").await.status, 401);
    assert_eq!(two.get(&plane, "/api/v1/jobs").await.status, 200, "another session goes on");
    let changed = json!({ "old": WORD, "new": "another long password" });
    let three = two.post(&plane, "/api/v1/session/password", changed).await;
    assert_eq!(three.status, 200, "{}", three.body);
    assert_eq!(two.get(&plane, "/api/v1/jobs").await.status, 401);
    assert_eq!(Client::of(&three).get(&plane, "/api/v1/jobs").await.status, 200);
    assert_eq!(Client::default().post(&plane, "/api/v1/session", asked).await.status, 401, "the old password");
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_ends_sessions_proofs_and_codes() {
    use waystation::base::time::{Clock, Timestamp};
    #[derive(Debug)]
    struct Hand(std::sync::atomic::AtomicU64);
    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_ms(self.0.load(std::sync::atomic::Ordering::Relaxed))
        }
    }
    let plane = Plane::new();
    let hand = Arc::new(Hand(1_800_000_000_000.into()));
    let later = |minutes: u64| {
        hand.0.fetch_add(minutes * 60_000, std::sync::atomic::Ordering::Relaxed);
    };
    let mut config = waystation::admin::door::Config::new(plane.data.path().to_owned());
    config.cost = (8, 1, 1);
    let door = Door::new(config, &plane.handles.store, hand.clone());
    let read = || std::fs::read_to_string(plane.data.path().join("setup-code")).unwrap();
    let from = "192.0.2.1".parse().unwrap();
    let word = Secret::new(WORD.to_owned());
    door.renew_code().await.unwrap();
    later(15);
    assert!(door.set_up(read().trim(), "anna", &word, from).await.is_err(), "15 minutes");
    door.renew_code().await.unwrap();
    later(14);
    let first = door.set_up(read().trim(), "anna", &word, from).await.unwrap();
    assert!(first.identity.is_proved && first.identity.via == Via::Session);
    later(10);
    let seen = door.session(first.id.expose()).await.unwrap().unwrap();
    assert!(!seen.is_proved, "ten minutes after the password");
    // Used every 20 minutes it goes on for 12 hours.
    for _ in 0..35 {
        later(20);
        assert!(door.session(first.id.expose()).await.unwrap().is_some());
    }
    later(20);
    assert!(door.session(first.id.expose()).await.unwrap().is_none(), "12 hours");
    let second = door.sign_in("anna", &word, from).await.unwrap();
    later(30);
    assert!(door.session(second.id.expose()).await.unwrap().is_none(), "unused for half an hour");
    for wrong in ["", "x", &"A".repeat(43), &"A".repeat(4300), "../../etc/passwd"] {
        assert!(door.session(wrong).await.unwrap().is_none() && door.token(wrong).await.unwrap().is_none());
    }
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_browser_comes_from_a_page_of_its_session() {
    let plane = Plane::new();
    let client = set_up(&plane).await;
    let change = async |client: &Client| client.post(&plane, "/api/v1/prefetch/stop", json!({})).await.status;
    assert_ne!(change(&client).await, 403);
    assert_eq!(change(&Client { csrf: String::new(), ..client.clone() }).await, 403);
    let other = Client::sign_in(&plane, "anna", WORD).await;
    assert_eq!(change(&Client { csrf: other.csrf.clone(), ..client.clone() }).await, 403, "of another session");
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost:8080"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        assert_eq!(change(&client.with(name, value)).await, 403, "{name}: {value}");
    }
    let own = client.with("origin", "http://localhost:6202").with("sec-fetch-site", "same-origin");
    assert_ne!(change(&own).await, 403);
    assert_eq!(change(&client.with("host", "evil.example")).await, 421, "two names are no name");
    // A page of another site cannot sign somebody in either.
    let asked = json!({ "name": "anna", "password": WORD });
    let elsewhere = Client::default().with("origin", "https://evil.example");
    assert_eq!(elsewhere.post(&plane, "/api/v1/session", asked).await.status, 403);
    let answer = client.get(&plane, "/api/v1/jobs").await;
    let policy = answer.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(
        (answer.header("x-frame-options"), answer.header("cache-control"), answer.header("x-content-type-options")),
        ("DENY", "no-store", "nosniff")
    );
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_down_and_tells_nothing() {
    let plane = Plane::new();
    set_up(&plane).await;
    let guess = async |name: &str, from: &'static str| {
        Client::from(from).post(&plane, "/api/v1/session", json!({ "name": name, "password": "wrong password" })).await
    };
    let (known, unknown) = (guess("anna", "192.0.2.1").await, guess("nobody", "192.0.2.1").await);
    assert_eq!((known.status, &known.body), (401, &unknown.body));
    for _ in 0..9 {
        assert_eq!(guess("anna", "192.0.2.2").await.status, 401);
    }
    let late = guess("anna", "192.0.2.3").await;
    assert_eq!(late.status, 429, "{}", late.body);
    assert!(!late.header("retry-after").is_empty());
    let right = json!({ "name": "anna", "password": WORD });
    assert_eq!(Client::from("192.0.2.3").post(&plane, "/api/v1/session", right.clone()).await.status, 429);
    // Whoever has the machine sets another password, and the wait is over.
    let (status, _) = plane.json(Method::POST, "/api/v1/accounts/anna", json!({ "password": WORD })).await;
    assert_eq!(status, 200);
    assert_eq!(Client::from("192.0.2.3").post(&plane, "/api/v1/session", right).await.status, 200);
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_what_it_was_made_for_and_no_more() {
    let plane = Plane::new();
    let anna = set_up(&plane).await;
    let make = async |client: &Client, asked: Value| client.post(&plane, "/api/v1/tokens", asked).await;
    let answer = make(&anna, json!({ "name": "reports", "scopes": ["content:read", "status:read"], "days": 1 })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let (secret, id) = (answer.json()["secret"].as_str().unwrap().to_owned(), answer.json()["token"]["id"].clone());
    let reader = Client::token(&secret);
    for (path, expected) in [
        ("/api/v1/content", 200),
        ("/api/v1/status", 200),
        ("/metrics", 200),
        ("/api/v1/endpoints", 403),
        ("/api/v1/audit", 403),
    ] {
        assert_eq!(reader.get(&plane, path).await.status, expected, "{path}");
    }
    assert_eq!(reader.post(&plane, "/api/v1/fetch", json!({ "items": [] })).await.status, 403);
    assert_eq!(make(&reader, json!({ "name": "x", "scopes": ["*:write"] })).await.status, 403);
    for wrong in [
        json!({ "name": "", "scopes": ["*:read"] }),
        json!({ "name": "x", "scopes": [] }),
        json!({ "name": "x", "scopes": ["all"] }),
        json!({ "name": "x", "scopes": ["*:read"], "days": 0 }),
    ] {
        assert_eq!(make(&anna, wrong.clone()).await.status, 422, "{wrong}");
    }
    // What needs the password once more a token does only where it was made for it.
    let word = async |scopes: &[&str]| {
        let answer = make(&anna, json!({ "name": "x", "scopes": scopes })).await;
        Client::token(answer.json()["secret"].as_str().unwrap())
    };
    let upstream = json!({ "kind": "microsoft" });
    let (plain, confirmed) = (word(&["*:write"]).await, word(&["*:write", "confirmed"]).await);
    let refused = plain.post(&plane, "/api/v1/upstream", upstream.clone()).await;
    assert!(refused.status == 403 && refused.body.contains("confirmed"), "{}", refused.body);
    assert_ne!(confirmed.post(&plane, "/api/v1/upstream", upstream).await.status, 403);

    let gone = anna.ask(&plane, Method::DELETE, &format!("/api/v1/tokens/{}", id.as_str().unwrap()), "").await;
    assert_eq!(gone.status, 200, "{}", gone.body);
    for secret in [secret.as_str(), "wsk_", "", "x y", &"wsk_".repeat(999)] {
        assert_eq!(Client::token(secret).get(&plane, "/api/v1/content").await.status, 401, "{secret}");
    }
    let basic = Client::from("192.0.2.7").with("authorization", "Basic YTpi");
    assert_eq!(basic.get(&plane, "/api/v1/content").await.status, 401);
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_in_the_audit_log() {
    let plane = Plane::new();
    let anna = set_up(&plane).await;
    let made = anna.post(&plane, "/api/v1/groups", json!({ "name": "Contoso" })).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let olga = json!({ "name": "olga", "role": "operator", "password": "olga has a long one" });
    assert_eq!(anna.post(&plane, "/api/v1/accounts", olga).await.status, 200);
    assert_eq!(anna.post(&plane, "/api/v1/accounts/olga", json!({ "role": "auditor" })).await.status, 200);
    assert_eq!(anna.post(&plane, "/api/v1/groups", json!({ "name": "a/b" })).await.status, 422);
    let (status, _) = plane.json(Method::POST, "/api/v1/groups/Contoso", json!({ "name": "Fabrikam" })).await;
    assert_eq!(status, 200);
    let log = anna.get(&plane, "/api/v1/audit").await;
    let rows = log.json()["rows"].as_array().unwrap().clone();
    let seen: Vec<_> = rows.iter().map(|row| (row["who"].as_str().unwrap(), row["what"].as_str().unwrap())).collect();
    assert_eq!(
        seen,
        [
            ("somebody", "POST /api/v1/groups/{name}"),
            ("anna", "POST /api/v1/accounts/{name}"),
            ("anna", "POST /api/v1/accounts"),
            ("anna", "POST /api/v1/groups"),
            ("anna", "POST /api/v1/setup"),
        ],
        "what was refused changed nothing"
    );
    let of = |row: usize, field: &str| rows[row][field].as_str().unwrap();
    assert!(of(0, "before").contains("Contoso") && !of(0, "before").contains("Fabrikam"));
    assert!(of(0, "after").contains("Fabrikam"));
    assert!(of(1, "before").contains("operator") && of(1, "after").contains("auditor"), "{rows:?}");
    assert_eq!((of(3, "from"), of(0, "from")), ("127.0.0.1", ""));
    for secret in [WORD, "olga has a long one"] {
        assert!(!log.body.contains(secret));
    }
    let checked = anna.get(&plane, "/api/v1/audit/check").await.json();
    assert_eq!((&checked["whole"], &checked["entries"]), (&json!(true), &json!(5)), "{checked}");
    assert_eq!(checked["head"], rows[0]["hash"]);
    plane.close().await;
}
