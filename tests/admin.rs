//! The control plane end to end: a real store in a directory of the test, real jobs, and the API as a client sees it,
//! through the router and over `control.sock`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where by panicking")]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use waystation::admin::socket::Socket;
use waystation::admin::{Access, Handles, NodeFacts, Turns, router, view};
use waystation::base::disk::{Disk, DiskFile, Facts, RealDisk};
use waystation::base::time::SystemClock;
use waystation::fleet::registry::{Admission, Admit};
use waystation::fleet::roster::Roster;
use waystation::jobs::{Config, Jobs};
use waystation::model::name::{Name, OriginKey};
use waystation::model::payload::{Alias, Validators};
use waystation::store::{self, Store};

#[path = "admin/approvals.rs"]
mod approvals;
#[path = "admin/catalog.rs"]
mod catalog;
#[path = "admin/compliance.rs"]
mod compliance;
#[path = "admin/door.rs"]
mod door;
#[path = "admin/drawn.rs"]
mod drawn;
#[path = "admin/elsewhere.rs"]
mod elsewhere;
#[path = "admin/endpoints.rs"]
mod endpoints;
#[path = "admin/evidence.rs"]
mod evidence;
#[path = "support/made_catalog.rs"]
mod made_catalog;
#[path = "admin/pages.rs"]
mod pages;
#[path = "admin/rights.rs"]
mod rights;
#[path = "admin/rules.rs"]
mod rules;

struct Plane {
    handles: Handles,
    data: tempfile::TempDir,
    files: tempfile::TempDir,
}

/// A disk on which nothing outside of the data directory can be deleted.
#[derive(Debug)]
struct Keeping(std::path::PathBuf);

impl Disk for Keeping {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.create(path)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.open(path)
    }
    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.open_write(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        if path.starts_with(&self.0) { RealDisk.unlink(path) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }
    fn seal(&self, path: &Path) -> io::Result<()> {
        RealDisk.seal(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<(std::path::PathBuf, Facts)>> {
        RealDisk.list(path)
    }
    fn facts(&self, path: &Path) -> io::Result<Option<Facts>> {
        RealDisk.facts(path)
    }
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.copy(from, to)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(path)
    }
}

impl Plane {
    fn new() -> Self {
        Self::with(None)
    }

    fn with(foreign: Option<Arc<dyn waystation::admin::door::foreign::Foreign>>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = store::Config {
            path: data.path().to_owned(),
            max_size: 1 << 30,
            min_free: 0,
            unproven: Duration::from_hours(24),
            index_cache: 1 << 20,
            open_payloads: 16,
            io_threads: 2,
        };
        let clock = Arc::new(SystemClock);
        let (store, opened) = Store::open(config, Arc::new(Keeping(data.path().to_owned())), clock.clone()).unwrap();
        let setting = view::Setting {
            key: "store.max_size".to_owned(),
            value: "1 GiB".into(),
            layer: "flag".to_owned(),
            place: "--set".to_owned(),
            locked: true,
            help: String::new(),
            next: None,
        };
        let node = NodeFacts {
            version: "1.2.3",
            id: "an id".to_owned(),
            epoch: opened.epoch,
            data: data.path().to_owned(),
            started_at: waystation::base::time::Timestamp::from_ms(0),
            listening: Vec::new(),
            draining: AtomicBool::new(false),
        };
        let site = vec!["10.0.0.0/8".parse().unwrap()];
        let hold =
            Admission { otherwise: Admit::Accept, networks: vec![("10.9.0.0/16".parse().unwrap(), Admit::Hold)] };
        let endpoints = Roster::new(waystation::fleet::registry::Registry::new(store.fleet(), hold), site);
        let compliance = waystation::fleet::compliance::Compliance::new(&store);
        let policy = Arc::new(waystation::model::compliance::Policy::default);
        let mut door = waystation::admin::door::Config::new(data.path().to_owned());
        (door.cost, door.foreign) = ((8, 1, 1), foreign);
        let door = waystation::admin::door::Door::new(door, &store, clock.clone());
        let handles = Handles {
            reported: waystation::admin::compliance::Reported::new(compliance, policy),
            jobs: Jobs::offline(Config::default(), store.clone(), clock.clone()),
            store,
            settings: Arc::new(move || vec![setting.clone()]),
            registry: Arc::new(Registry::default()),
            node: Arc::new(node),
            clock,
            turns: Turns::default(),
            tls: None,
            bandwidth: waystation::admin::bandwidth::Bandwidth::default(),
            filters: None,
            above: None,
            chain: None,
            door,
            endpoints,
        };
        Self { handles, data, files: tempfile::tempdir().unwrap() }
    }

    async fn raw(&self, access: Access, method: Method, path: &str, body: &str) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let mut request = request.body(axum::body::Body::from(body.to_owned())).unwrap();
        if access == Access::ReadOnly {
            request.extensions_mut().insert(peer("127.0.0.1"));
        }
        let response = router::router(self.handles.clone(), access).oneshot(request).await.unwrap();
        let (status, body) = (response.status(), response.into_body().collect().await.unwrap().to_bytes());
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn json(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, text) = self.raw(Access::Full, method, path, &body).await;
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}")))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, value) = self.json(Method::GET, path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    /// Starts a job and waits for its end.
    async fn job(&self, path: &str, body: Value) -> view::Job {
        let (status, value) = self.json(Method::POST, path, body).await;
        assert_eq!(status, 202, "{path}: {value}");
        let job = self.get(&format!("/api/v1/jobs/{}?wait=30", value["job"])).await;
        let job: view::Job = serde_json::from_value(job).unwrap();
        assert!(!job.is_running(), "{job:?}");
        job
    }

    /// Writes a file and imports it; returns its payload.
    async fn import(&self, name: &str, bytes: &[u8]) -> view::Content {
        let path = self.files.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let sha256 = sha256_of(bytes);
        let job = self.job("/api/v1/content/import", json!({ "paths": [path], "sha256": sha256 })).await;
        assert_eq!(job.state, "done", "{job:?}");
        serde_json::from_value(self.get(&format!("/api/v1/content/sha256-{sha256}")).await).unwrap()
    }

    async fn close(self) {
        self.handles.jobs.close().await;
        self.handles.store.close().await.unwrap();
    }
}

/// A connection from there to this machine's loopback.
fn peer(from: &str) -> waystation::net::Peer {
    let remote = std::net::SocketAddr::new(from.parse().unwrap(), 40_000);
    waystation::net::Peer { remote, local: "127.0.0.1:6202".parse().unwrap(), secure: false }
}

fn sha256_of(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    waystation::base::digest::Sha256::new(Sha256::digest(bytes).into()).to_string()
}

fn payload_file(data: &Path, content: &view::Content) -> std::path::PathBuf {
    data.join("content").join(&content.blake3[..2]).join(&content.blake3)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_is_imported_found_pinned_and_removed() {
    let plane = Plane::new();
    let content = plane.import("a", b"some bytes").await;
    assert_eq!((content.size, content.class.as_str()), (10, "proven"));
    for name in [&content.blake3, &content.sha256, &content.sha1, &content.blake3[..12].to_owned()] {
        let shown = plane.get(&format!("/api/v1/content/{name}")).await;
        assert_eq!(shown["blake3"], content.blake3.as_str(), "{name}");
    }
    let path = format!("/api/v1/content/{}", content.blake3);
    let (status, pinned) = plane.json(Method::POST, &format!("{path}/pin"), Value::Null).await;
    assert_eq!((status, pinned["pinned"]["by"].as_str()), (StatusCode::OK, Some("somebody")));
    let (status, problem) = plane.json(Method::DELETE, &path, Value::Null).await;
    assert_eq!(status, 409, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("unpin"), "{problem}");
    plane.json(Method::POST, &format!("{path}/unpin"), Value::Null).await;
    let (status, _) = plane.json(Method::DELETE, &path, Value::Null).await;
    assert_eq!(status, 200);
    let (status, problem) = plane.json(Method::GET, &path, Value::Null).await;
    assert_eq!((status, problem["status"].as_u64()), (StatusCode::NOT_FOUND, Some(404)));
    assert!(!payload_file(plane.data.path(), &content).exists());
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_of_the_reference_is_there() {
    let plane = Plane::new();
    for (method, path, _) in router::ADDRESSES {
        let method: Method = method.parse().unwrap();
        let (_, body) = plane.raw(Access::Full, method.clone(), &path.replace("{id}", "1"), "{}").await;
        assert!(!body.contains("there is nothing at") && !body.contains("means nothing at"), "{method} {path}: {body}");
    }
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_digest_goes_by_itself_alone() {
    use waystation::base::digest::Digest;
    use waystation::model::name::{Name, OriginKey};
    use waystation::model::payload::{Alias, Authority, Published, Validators};
    let plane = Plane::new();
    let content = plane.import("a", b"some bytes").await;
    let published = Published::one(Digest::Sha256(content.sha256.parse().unwrap()), Authority::Operator);
    let store = &plane.handles.store;
    let bind = async |key: &str| {
        let name = Name::Origin(OriginKey::new(key).unwrap());
        store.expect(&name, published, Vec::new()).await.unwrap();
        let validators = Validators::default();
        let alias = Alias { tag: "t".to_owned(), last_modified: None, validators, freshness: None };
        store.alias(content.blake3.parse().unwrap(), name.clone(), alias).await.unwrap();
        name
    };
    let (one, two) = (bind("h.example/one").await, bind("h.example/two").await);
    let unbind = "/api/v1/content/http%3A%2F%2Fh.example%2Fone/unbind";
    let (status, told) = plane.json(Method::POST, unbind, Value::Null).await;
    assert_eq!((status, told["digests"][0].as_str()), (StatusCode::OK, Some(&*format!("sha256-{}", content.sha256))));
    assert!(store.note(&one).await.unwrap().expected.is_none() && store.show(&one).await.unwrap().is_none());
    let (status, problem) = plane.json(Method::POST, unbind, Value::Null).await;
    assert_eq!((status, problem["status"].as_u64()), (StatusCode::NOT_FOUND, Some(404)), "{problem}");
    assert!(store.note(&two).await.unwrap().expected.is_some() && store.show(&two).await.unwrap().is_some());
    let (status, told) = plane.json(Method::DELETE, &format!("/api/v1/content/{}", content.sha256), Value::Null).await;
    assert_eq!((status.as_u16(), &told["still_bound"]), (200, &json!(["h.example/two"])), "{told}");
    let kept = store.note(&two).await.unwrap().expected;
    assert_eq!(kept.and_then(|kept| kept.sha256), published.sha256, "removing a payload took the operator's word back");
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_deleted_is_taken_in_all_the_same() {
    let plane = Plane::new();
    let (path, other) = (plane.files.path().join("a"), plane.files.path().join("b"));
    std::fs::write(&path, b"some bytes").unwrap();
    // With a second name it is copied and then deleted, since it could be written by that name.
    std::fs::hard_link(&path, &other).unwrap();
    let job = plane.job("/api/v1/content/import", json!({ "paths": [path], "move": true })).await;
    assert_eq!((job.state.as_str(), job.lines[0].state.as_str()), ("done", "done"), "{job:?}");
    assert!(job.lines[0].text.contains("delete it by hand") && path.exists(), "{job:?}");
    assert_eq!(plane.get("/api/v1/status").await["store"]["payloads_count"], 1);
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_needs_its_directory() {
    let plane = Plane::new();
    let job = plane.job("/api/v1/store/backup", json!({ "to": plane.files.path().join("none/x.redb") })).await;
    assert!(job.result.as_deref().unwrap_or_default().contains("no directory"), "{job:?}");
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_filters_show_every_payload_once() {
    let plane = Plane::new();
    let mut all = Vec::new();
    for number in 0..7_u8 {
        all.push(plane.import("file", &vec![number; 100 + usize::from(number)]).await.blake3);
    }
    all.sort();
    for limit in [1, 2, 3, 7, 8] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = plane.get(&format!("/api/v1/content?limit={limit}{after}")).await;
            let rows = page["rows"].as_array().unwrap();
            assert!(rows.len() <= limit);
            seen.extend(rows.iter().map(|row| row["blake3"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(seen, all, "pages of {limit}");
    }
    let digest = &all[3][10..40];
    let found = plane.get(&format!("/api/v1/content?filter={}", digest.to_uppercase())).await;
    assert_eq!(found["rows"].as_array().unwrap().len(), 1);
    assert_eq!(plane.get("/api/v1/content?class=unproven").await["rows"], json!([]));
    assert_eq!(plane.get("/api/v1/content?pinned=true").await["rows"], json!([]));
    for wrong in ["limit=0", "limit=1001", "class=good", "after=xyz", "limt=1"] {
        let (status, problem) = plane.json(Method::GET, &format!("/api/v1/content?{wrong}"), Value::Null).await;
        assert_eq!(status, 400, "{wrong}: {problem}");
    }
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_digest_keeps_nothing_and_the_job_says_so() {
    let plane = Plane::new();
    let path = plane.files.path().join("a");
    std::fs::write(&path, b"some bytes").unwrap();
    let body = json!({ "paths": [path], "move": true, "sha256": "00".repeat(32) });
    let job = plane.job("/api/v1/content/import", body).await;
    assert_eq!(job.state, "failed");
    assert!(job.lines[0].text.contains(&sha256_of(b"some bytes")), "{job:?}");
    assert!(path.exists(), "the file was taken though it was refused");
    assert_eq!(plane.get("/api/v1/content").await["rows"], json!([]));
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_puts_a_flipped_bit_into_quarantine() {
    let plane = Plane::new();
    let good = plane.import("good", &vec![1; 300_000]).await;
    let bad = plane.import("bad", &vec![2; 300_000]).await;
    let job = plane.job("/api/v1/store/verify", json!({})).await;
    assert_eq!((job.state.as_str(), job.progress.done, job.lines.len()), ("done", 2, 0), "{job:?}");

    // Behind the store's back, as a bad disk would.
    let file = payload_file(plane.data.path(), &bad);
    let mut permissions = std::fs::metadata(&file).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    std::fs::set_permissions(&file, permissions).unwrap();
    let handle = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&handle, &[3], 200_000).unwrap();

    let only = plane.job("/api/v1/store/verify", json!({ "only": good.sha256 })).await;
    assert_eq!((only.state.as_str(), only.progress.bytes), ("done", 300_000));
    let job = plane.job("/api/v1/store/verify", json!({ "rate": 1 << 30 })).await;
    assert_eq!((job.state.as_str(), job.result.as_deref()), ("failed", Some("1 of 2 failed")), "{job:?}");
    assert!(job.lines[0].item.ends_with(&bad.blake3) && job.lines[0].text.contains("quarantine"), "{job:?}");
    let (status, _) = plane.json(Method::GET, &format!("/api/v1/content/{}", bad.blake3), Value::Null).await;
    assert_eq!(status, 404);
    assert!(std::fs::read_dir(plane.data.path().join("quarantine")).unwrap().count() > 0);
    assert_eq!(plane.job("/api/v1/store/verify", json!({})).await.state, "done");
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_written_once_and_a_stopped_job_is_no_failure() {
    let plane = Plane::new();
    plane.import("a", &vec![7; 4 << 20]).await;
    let to = plane.files.path().join("backup.redb");
    let job = plane.job("/api/v1/store/backup", json!({ "to": to })).await;
    assert_eq!(job.state, "done", "{job:?}");
    assert_eq!(job.progress.bytes, std::fs::metadata(&to).unwrap().len());
    let again = plane.job("/api/v1/store/backup", json!({ "to": to })).await;
    assert!(again.state == "failed" && again.result.unwrap().contains("not overwritten"));
    let (status, problem) = plane.json(Method::POST, "/api/v1/store/backup", json!({ "to": "relative" })).await;
    assert_eq!(status, 422, "{problem}");

    // One byte a second would take 48 days; it is stopped long before.
    let (_, started) = plane.json(Method::POST, "/api/v1/store/verify", json!({ "rate": 1 })).await;
    let id = started["job"].as_u64().unwrap();
    let (status, problem) = plane.json(Method::POST, "/api/v1/store/verify", json!({})).await;
    assert_eq!(status, 409, "{problem}");
    plane.json(Method::POST, &format!("/api/v1/jobs/{id}/stop"), Value::Null).await;
    let job = plane.get(&format!("/api/v1/jobs/{id}?wait=30")).await;
    assert_eq!(job["state"], "stopped", "{job}");
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_only_means_reads_only() {
    let plane = Plane::new();
    for (method, path) in [
        (Method::POST, "/api/v1/fetch"),
        (Method::POST, "/api/v1/store/verify"),
        (Method::POST, "/api/v1/store/backup"),
        (Method::POST, "/api/v1/content/import"),
        (Method::POST, "/api/v1/content/x/pin"),
        (Method::DELETE, "/api/v1/content/x"),
        (Method::DELETE, "/api/v1/quarantine"),
        (Method::POST, "/api/v1/tls/reload"),
        (Method::POST, "/api/v1/jobs/1/stop"),
    ] {
        let (status, text) = plane.raw(Access::ReadOnly, method.clone(), path, "{}").await;
        assert_eq!(status, 403, "{method} {path}: {text}");
        assert!(text.contains("on the node's machine"), "{text}");
    }
    for path in ["/healthz", "/readyz", "/metrics", "/api/v1/status", "/api/v1/jobs", "/api/v1/settings"] {
        let (status, text) = plane.raw(Access::ReadOnly, Method::GET, path, "").await;
        assert_eq!(status, 200, "{path}: {text}");
    }
    let request = |host: &str, site: &str| {
        let request = Request::builder().uri("/api/v1/status").header("host", host).header("sec-fetch-site", site);
        let mut request = request.body(axum::body::Body::empty()).unwrap();
        request.extensions_mut().insert(peer("127.0.0.1"));
        request
    };
    for (host, site, expected) in
        [("localhost", "none", 200), ("rebound.example", "same-origin", 421), ("127.0.0.1:6202", "cross-site", 403)]
    {
        let router = router::router(plane.handles.clone(), Access::ReadOnly);
        assert_eq!(router.oneshot(request(host, site)).await.unwrap().status(), expected, "{host} {site}");
    }
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_looks_sees_no_signed_query() {
    let plane = Plane::new();
    let file = plane.files.path().join("a");
    std::fs::write(&file, b"some bytes").unwrap();
    let key = OriginKey::new("dl.example/a.cab?P1=17&P4=c2VjcmV0").unwrap();
    let alias = Alias { tag: "t".to_owned(), last_modified: None, validators: Validators::default(), freshness: None };
    plane.handles.store.import(file, false, None, vec![(Name::Origin(key), alias)]).await.unwrap();
    let blake3 = blake3::hash(b"some bytes").to_string();

    for path in ["/api/v1/content".to_owned(), format!("/api/v1/content/blake3-{blake3}")] {
        let (status, seen) = plane.raw(Access::ReadOnly, Method::GET, &path, "").await;
        assert_eq!(status, 200, "{seen}");
        assert!(seen.contains("dl.example/a.cab?P1=***&P4=***") && !seen.contains("c2VjcmV0"), "{seen}");
        let (_, seen) = plane.raw(Access::Full, Method::GET, &path, "").await;
        assert!(seen.contains("P4=c2VjcmV0"), "over the socket a name is what opens it: {seen}");
    }
    for (filter, looking, all) in [("c2Vj", 0, 1), ("a.cab", 1, 1)] {
        for (access, expected) in [(Access::ReadOnly, looking), (Access::Full, all)] {
            let (_, seen) = plane.raw(access, Method::GET, &format!("/api/v1/content?filter={filter}"), "").await;
            let page: view::Page<view::Content> = serde_json::from_str(&seen).unwrap();
            assert_eq!(page.rows.len(), expected, "{filter} {access:?}");
        }
    }
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dear_questions_take_turns() {
    let plane = Plane::new();
    plane.import("a", b"some bytes").await;
    let listing = || plane.raw(Access::Full, Method::GET, "/api/v1/content?filter=x", "");
    let turn = plane.handles.turns.listing.acquire().await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), listing()).await;
    assert!(early.is_err(), "it waits for its turn: {early:?}");
    drop(turn);
    assert_eq!(listing().await.0, 200);

    // The plane of this test has no way out, so that what is let through is told so.
    let doctor = |access, meant: bool| {
        let mut request = Request::builder().uri("/api/v1/doctor").header("host", "localhost");
        if meant {
            request = request.header("x-waystation", "1");
        }
        let router = router::router(plane.handles.clone(), access);
        let mut request = request.body(axum::body::Body::empty()).unwrap();
        request.extensions_mut().insert(peer("127.0.0.1"));
        async move { router.oneshot(request).await.unwrap().status() }
    };
    assert_eq!(doctor(Access::ReadOnly, false).await, 403);
    assert_eq!(doctor(Access::ReadOnly, true).await, 422);
    assert_eq!(doctor(Access::Full, false).await, 422);
    let turn = plane.handles.turns.doctor.acquire().await.unwrap();
    assert_eq!(doctor(Access::ReadOnly, true).await, 409);
    assert_eq!(doctor(Access::Full, false).await, 409);
    drop(turn);
    assert_eq!(doctor(Access::Full, false).await, 422);
    plane.close().await;
}

#[tokio::test]
async fn no_question_reads_the_configuration_on_its_reactor() {
    let mut plane = Plane::new();
    let (settings, threads) = (Arc::clone(&plane.handles.settings), Arc::new(std::sync::Mutex::new(Vec::new())));
    let seen = Arc::clone(&threads);
    plane.handles.settings = Arc::new(move || {
        seen.lock().unwrap().push(std::thread::current().id());
        settings()
    });
    for path in ["/api/v1/settings", "/api/v1/bandwidth", "/api/v1/status"] {
        plane.get(path).await;
    }
    // This runtime has one thread, and that is ours.
    let threads = threads.lock().unwrap().clone();
    assert_eq!(threads.len(), 3);
    assert!(threads.iter().all(|thread| *thread != std::thread::current().id()), "{threads:?}");
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_metrics_and_readiness_tell_the_same() {
    let plane = Plane::new();
    plane.import("a", &[1; 1000]).await;
    plane.handles.store.ledger().add(store::Tally { requests: 4, hits: 3, sent: 4000, fetched: 1000, refused: 0 });
    let status: view::Status = serde_json::from_value(plane.get("/api/v1/status").await).unwrap();
    assert_eq!((status.node.version.as_str(), status.health.state.as_str()), ("1.2.3", "ready"));
    assert_eq!((status.store.payloads_count, status.hours.len()), (1, 24));
    assert_eq!((status.total.hit_ratio, status.total.saved), (Some(0.75), 3000));
    assert_eq!(status.day, status.total);
    let (_, text) = plane.raw(Access::Full, Method::GET, "/metrics", "").await;
    for line in [
        "waystation_ready 1",
        "waystation_store_objects{what=\"payloads\"} 1",
        "waystation_account_requests_total{what=\"hit\"} 3",
        "waystation_jobs{kind=\"import\",state=\"done\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    plane.handles.node.drain();
    let (status, text) = plane.raw(Access::ReadOnly, Method::GET, "/readyz", "").await;
    assert_eq!((status.as_u16(), text.contains("draining")), (503, true), "{text}");
    assert_eq!(plane.raw(Access::ReadOnly, Method::GET, "/healthz", "").await.0, 200);
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_understood_is_a_problem_with_advice() {
    let plane = Plane::new();
    let large = format!("{{\"items\":[{}]}}", " ".repeat(waystation::admin::BODY_BYTES_MAX));
    for (method, path, body, expected) in [
        (Method::POST, "/api/v1/fetch", "{", 400),
        (Method::POST, "/api/v1/fetch", "{\"itmes\":[]}", 400),
        (Method::POST, "/api/v1/fetch", large.as_str(), 413),
        (Method::POST, "/api/v1/fetch", "{\"items\":[]}", 422),
        (Method::POST, "/api/v1/fetch", "{\"items\":[{\"url\":\"http://h/a\",\"sha256\":\"12\"}]}", 400),
        (Method::POST, "/api/v1/fetch", "{\"items\":[{\"url\":\"http://h/a\"}]}", 422),
        (Method::GET, "/api/v1/explain?url=http://h/a", "", 422),
        (Method::GET, "/api/v1/explain", "", 400),
        (Method::GET, "/api/v1/doctor?host=h", "", 400),
        (Method::GET, "/api/v1/jobs/9", "", 404),
        (Method::GET, "/api/v1/jobs/x", "", 400),
        (Method::GET, "/api/v1/content/%ff", "", 400),
        (Method::GET, "/api/v1/nothing", "", 404),
        (Method::PATCH, "/api/v1/status", "", 405),
        (Method::POST, "/api/v1/content/import", "{\"paths\":[\"/nonexistent\"],\"sha256\":1}", 400),
    ] {
        let (status, text) = plane.raw(Access::Full, method.clone(), path, body).await;
        assert_eq!(status.as_u16(), expected, "{method} {path}: {text}");
        let problem: view::Problem = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"));
        assert_eq!(problem.status, expected);
        assert!(!problem.title.is_empty() && !problem.detail.is_empty(), "{path}: {text}");
    }
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_private_and_works_under_a_long_path() {
    use std::os::unix::fs::PermissionsExt;

    let plane = Plane::new();
    let long = plane.data.path().join("a".repeat(120));
    std::fs::create_dir(&long).unwrap();
    // What an earlier process left behind.
    std::fs::write(long.join("control.sock"), b"").unwrap();
    // And one of our own number that was killed amid binding, as it happens in containers.
    let room = long.join(format!(".control-{}", std::process::id()));
    std::fs::create_dir(&room).unwrap();
    std::fs::write(room.join("control.sock"), b"").unwrap();
    let socket = Socket::bind(&long).unwrap();
    let mode = std::fs::metadata(long.join("control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(&long).unwrap().count(), 1, "something was left beside the socket");

    let cancel = CancellationToken::new();
    let serving = tokio::spawn(socket.serve(plane.handles.clone(), cancel.clone()));
    let directory = std::fs::File::open(&long).unwrap();
    let path = format!("/proc/self/fd/{}/control.sock", std::os::fd::AsRawFd::as_raw_fd(&directory));
    let stream = tokio::net::UnixStream::connect(path).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let driving = tokio::spawn(connection);
    let request = Request::builder().method(Method::POST).uri("/api/v1/store/verify").header("host", "x");
    let response = sender.send_request(request.body(Full::new(bytes::Bytes::new())).unwrap()).await.unwrap();
    assert_eq!(response.status(), 202, "the socket may do everything");
    drop(response);
    let job = plane.handles.jobs.wait(1, Duration::from_secs(30)).await.unwrap();
    assert_eq!(job.by, whoami());

    cancel.cancel();
    serving.await.unwrap();
    driving.await.unwrap().unwrap();
    assert!(!long.join("control.sock").exists(), "the name outlives the node");
    plane.close().await;
}

fn whoami() -> String {
    match rustix::process::getuid().as_raw() {
        0 => "root".to_owned(),
        uid => format!("uid {uid}"),
    }
}
