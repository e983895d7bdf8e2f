//! Sign-in by another service: a provider that writes its own answers, and every way in which a sign-in must not be believed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Form, State};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header;
use sha2::{Digest, Sha256};
use waystation::app::elsewhere::Elsewhere;
use waystation::base::secret::Secret;
use waystation::upstream::oidc::{Config as Known, Provider};

use super::door::{Answer, Client, WORD, set_up};
use super::*;

/// What the provider does.
#[derive(Debug, Default)]
struct Will {
    base: String,
    /// Codes that it gave out: challenge, nonce, redirect.
    codes: BTreeMap<String, (String, String, String)>,
    /// What it claims beside what must be there; null leaves one out.
    claims: BTreeMap<&'static str, Value>,
    asked: u32,
}

#[derive(Clone)]
struct Service {
    will: Arc<Mutex<Will>>,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

async fn document(State(service): State<Service>) -> axum::Json<Value> {
    let base = service.will.lock().unwrap().base.clone();
    axum::Json(json!({
        "issuer": base,
        "authorization_endpoint": format!("{base}/authorize?tenant=site"),
        "token_endpoint": format!("{base}/token"),
    }))
}

/// The token endpoint of RFC 6749 with RFC 7636, by these documents and not by the program's code.
async fn token(
    State(service): State<Service>,
    headers: http::HeaderMap,
    Form(form): Form<BTreeMap<String, String>>,
) -> (http::StatusCode, axum::Json<Value>) {
    let mut will = service.will.lock().unwrap();
    will.asked += 1;
    let refuse = |word: &str| (http::StatusCode::BAD_REQUEST, axum::Json(json!({ "error": word })));
    let basic = format!("Basic {}", STANDARD.encode("way%3Astation:s+e%26cret"));
    if headers[header::AUTHORIZATION] != basic.as_str() {
        return refuse("invalid_client");
    }
    let Some((challenge, nonce, redirect)) = will.codes.remove(&form["code"]) else { return refuse("invalid_grant") };
    let shown = URL_SAFE_NO_PAD.encode(Sha256::digest(form["code_verifier"].as_bytes()));
    if form["grant_type"] != "authorization_code" || shown != challenge || form["redirect_uri"] != redirect {
        return refuse("invalid_grant");
    }
    let mut claims = json!({
        "iss": will.base, "aud": "way:station", "sub": "8271", "iat": now(), "exp": now() + 300, "nonce": nonce,
        "preferred_username": "Anna",
    });
    for (name, value) in &will.claims {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(*name);
        } else {
            claims[*name] = value.clone();
        }
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let token = format!("{}.{}.c2ln", part(&json!({ "alg": "RS256" })), part(&claims));
    (http::StatusCode::OK, axum::Json(json!({ "id_token": token, "access_token": "x", "token_type": "Bearer" })))
}

impl Service {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let service = Self { will: Arc::new(Mutex::new(Will { base, ..Will::default() })) };
        let router = axum::Router::new()
            .route("/.well-known/openid-configuration", get(document))
            .route("/token", post(token))
            .with_state(service.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        service
    }

    fn plane(&self) -> Plane {
        let http = waystation::upstream::Config {
            proxy: waystation::upstream::Proxy::default(),
            extra_ca: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(10),
            patience: Duration::from_secs(10),
            node: "test".to_owned(),
            hops_max: 1,
            own_addresses: Vec::new(),
        };
        let issuer = self.will.lock().unwrap().base.clone();
        let (client, secret) = ("way:station".to_owned(), Secret::new("s e&cret".to_owned()));
        let provider = Provider::new(Known { issuer, client, secret, http }).unwrap();
        Plane::with(Some(Arc::new(Elsewhere(provider))))
    }

    fn claim(&self, name: &'static str, value: Value) {
        self.will.lock().unwrap().claims.insert(name, value);
    }

    fn asked(&self) -> u32 {
        self.will.lock().unwrap().asked
    }

    /// A person signs in at the provider: what the browser brings back of the address that it was sent to.
    fn consent(&self, address: &str) -> (String, String) {
        let url = url::Url::parse(address).unwrap();
        let asked: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let base = self.will.lock().unwrap().base.clone();
        assert!(address.starts_with(&format!("{base}/authorize?tenant=site&")), "{address}");
        let fixed = [("response_type", "code"), ("client_id", "way:station"), ("code_challenge_method", "S256")];
        for (name, value) in fixed {
            assert_eq!(asked[name], value);
        }
        assert!(asked["scope"].split(' ').any(|scope| scope == "openid"));
        let code = format!("code of {}", asked["state"]);
        let given = (asked["code_challenge"].clone(), asked["nonce"].clone(), asked["redirect_uri"].clone());
        self.will.lock().unwrap().codes.insert(code.clone(), given);
        (asked["state"].clone(), code)
    }
}

/// The cookie that an answer sets under this name.
fn set_cookie(answer: &Answer, name: &str) -> String {
    let lines = answer.headers.get_all(header::SET_COOKIE).iter().map(|line| line.to_str().unwrap());
    let found = lines.filter_map(|line| line.split(';').next()).find(|pair| pair.starts_with(&format!("{name}=")));
    found.unwrap_or_else(|| panic!("{name}: {:?}", answer.headers)).to_owned()
}

/// Goes to the provider; the browser as it is then, with state and code.
async fn there(plane: &Plane, service: &Service, browser: &Client, query: &str) -> (Client, String, String) {
    let sent = browser.get(plane, &format!("/sign-in/oidc{query}")).await;
    assert_eq!(sent.status, 303, "{}", sent.body);
    let (state, code) = service.consent(sent.header("location"));
    let way = set_cookie(&sent, "waystation-way");
    let cookie = if browser.cookie.is_empty() { way } else { format!("{}; {way}", browser.cookie) };
    (Client { cookie, ..browser.clone() }, state, code)
}

async fn back(plane: &Plane, browser: &Client, state: &str, code: &str) -> Answer {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("state", state)
        .append_pair("code", code)
        .finish();
    browser.with("accept", "text/html").get(plane, &format!("/sign-in/oidc/back?{query}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_service_vouches_for_comes_in_as_the_account_of_that_name() {
    let service = Service::start().await;
    let plane = service.plane();
    set_up(&plane).await;
    let page = Client::default().with("accept", "text/html").get(&plane, "/sign-in?next=/missing%3Fa%3Db").await;
    assert!(page.body.contains("href=\"/sign-in/oidc?next=%2Fmissing%3Fa%3Db\""), "{}", page.body);

    let (browser, state, code) = there(&plane, &service, &Client::default(), "?next=%2Fmissing%3Fa%3Db").await;
    let came = back(&plane, &browser, &state, &code).await;
    assert_eq!((came.status, came.header("location")), (303, "/missing?a=b"), "{}", came.body);
    let session = Client { cookie: set_cookie(&came, "waystation"), ..Client::default() };
    let me = session.get(&plane, "/api/v1/session").await.json();
    assert_eq!((me["name"].as_str(), me["role"].as_str()), (Some("anna"), Some("administrator")));
    // Once.
    assert_eq!(back(&plane, &browser, &state, &code).await.status, 502);
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_lets_nobody_in() {
    let service = Service::start().await;
    let plane = service.plane();
    set_up(&plane).await;
    let nobody = Client::default();

    // Another browser, no browser, another state: the code is not even shown to the provider.
    let (browser, state, code) = there(&plane, &service, &nobody, "").await;
    let (other, ..) = there(&plane, &service, &nobody, "").await;
    for (browser, state) in [(&other, state.as_str()), (&nobody, &state), (&browser, "made up")] {
        assert_eq!(back(&plane, browser, state, &code).await.status, 502);
    }
    assert_eq!(service.asked(), 0);
    // Whoever tried with another browser has ended the way.
    assert_eq!(back(&plane, &browser, &state, &code).await.status, 502);
    assert_eq!(service.asked(), 0);

    for (name, value, says) in [
        ("nonce", json!("another"), "of another sign-in"),
        ("nonce", Value::Null, "of another sign-in"),
        ("iss", json!("https://other.example.org"), "another issuer"),
        ("aud", json!("other"), "another client"),
        ("exp", json!(now() - 600), "has ended"),
        ("preferred_username", Value::Null, "claims no preferred_username"),
        ("preferred_username", json!("<b>anna"), "cannot be an account"),
    ] {
        service.claim(name, value.clone());
        let (browser, state, code) = there(&plane, &service, &nobody, "").await;
        let answer = back(&plane, &browser, &state, &code).await;
        assert!(
            answer.status == 502 && answer.body.contains(says),
            "{name} {value}: {} {}",
            answer.status,
            answer.body
        );
        assert!(!answer.body.contains("<b>anna"));
        service.will.lock().unwrap().claims.clear();
    }
    // No account: that is decided here.
    service.claim("preferred_username", json!("olga"));
    let (browser, state, code) = there(&plane, &service, &nobody, "").await;
    let answer = back(&plane, &browser, &state, &code).await;
    assert!(answer.status == 403 && answer.body.contains("no account of that name"), "{}", answer.body);
    // The person said no.
    let answer = nobody.get(&plane, "/sign-in/oidc/back?error=access_denied&state=x").await;
    assert!(answer.status == 502 && answer.body.contains("access_denied"), "{}", answer.body);
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_anew_stands_for_the_password_once_more() {
    let service = Service::start().await;
    let plane = service.plane();
    let anna = set_up(&plane).await;
    assert_eq!(Client::sign_in(&plane, "anna", WORD).await.get(&plane, "/api/v1/session").await.status, 200);

    // A provider that did not ask anew, or asked somebody else, proves nothing.
    for (name, value) in
        [("auth_time", Value::Null), ("auth_time", json!(now() - 3600)), ("preferred_username", json!("olga"))]
    {
        service.claim("auth_time", json!(now()));
        service.claim(name, value);
        let (browser, state, code) = there(&plane, &service, &anna, "?anew=true").await;
        let answer = back(&plane, &browser, &state, &code).await;
        assert!(answer.status == 502 && answer.body.contains("anew"), "{name}: {}", answer.body);
        service.will.lock().unwrap().claims.clear();
    }
    service.claim("auth_time", json!(now()));
    let sent = anna.get(&plane, "/sign-in/oidc?anew=true&next=%2Fendpoints").await;
    assert!(sent.header("location").contains("prompt=login") && sent.header("location").contains("max_age=0"));
    let (browser, state, code) = there(&plane, &service, &anna, "?anew=true&next=%2Fendpoints").await;
    let came = back(&plane, &browser, &state, &code).await;
    assert_eq!((came.status, came.header("location")), (303, "/endpoints"), "{}", came.body);
    // The former session is over.
    assert_eq!(anna.get(&plane, "/api/v1/session").await.status, 401);
    let session = Client { cookie: set_cookie(&came, "waystation"), ..Client::default() };
    assert_eq!(session.get(&plane, "/api/v1/session").await.status, 200);
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_service_there_is_no_such_way() {
    let plane = Plane::new();
    set_up(&plane).await;
    let page = Client::default().with("accept", "text/html").get(&plane, "/sign-in").await;
    assert!(!page.body.contains("/sign-in/oidc"));
    assert_eq!(Client::default().get(&plane, "/sign-in/oidc").await.status, 404);
    plane.close().await;
}
