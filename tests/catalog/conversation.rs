//! The conversation with a sync service, end to end: the simulator in both characters and with every fault that it has for
//! calls, over real sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use upstream_sim::{Blobs, Character, Options, Sim};
use waystation::base::digest::Sha1;
use waystation::base::secret::Secret;
use waystation::base::time::SystemClock;
use waystation::model::update::{Identity, UpdateId};
use waystation::pace::{Class, Config as Rules, Governor};
use waystation::upstream::wsus::{
    Before, Config, Document, Documents, Error, Listed, Names, Patience, Pick, Wanted, Wsus,
};
use waystation::upstream::{Blame, Proxy};
use waystation::wire::cabinet;
use waystation::wire::wsusss::Method;
use waystation::wire::wsusss::updates::Form;

use crate::proxy::{Kind, Proxy as Scripted};

/// Longer than anything takes here on a busy machine.
const SOON: Duration = Duration::from_mins(1);

fn options(character: Character) -> Options {
    Options { character, updates: 150, file_scale: 0.02, ..Options::default() }
}

fn sim(character: Character) -> Sim {
    Sim::start(options(character)).unwrap()
}

pub(crate) fn config(url: &str, spool: PathBuf) -> Config {
    let http = waystation::upstream::Config {
        proxy: Proxy::default(),
        extra_ca: Vec::new(),
        connect_timeout: Duration::from_secs(5),
        stall_timeout: Duration::from_secs(10),
        patience: SOON,
        node: "ws-test".to_owned(),
        hops_max: 4,
        own_addresses: Vec::new(),
    };
    let id = "0fa1201d-4330-4fa8-8ae9-b877473b6441".parse().unwrap();
    let patience = Patience { attempts_max: 4, first: Duration::from_millis(5), longest: Duration::from_millis(20) };
    Config { patience, answer_timeout: SOON, ..Config::new(url, "node.example.org", id, http, spool) }
}

/// A client of it, and the folder that must outlive it.
fn client(sim: &Sim) -> (Wsus, TempDir) {
    client_with(sim, |_| ())
}

fn client_with(sim: &Sim, change: impl FnOnce(&mut Config)) -> (Wsus, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&sim.url(), folder.path().to_owned());
    change(&mut config);
    (Wsus::new(config, &Governor::default()).unwrap(), folder)
}

async fn list(wsus: &Wsus, categories: bool) -> (Vec<Identity>, Listed) {
    let wanted = Wanted { categories, ..Wanted::default() };
    wsus.revisions(&wanted, Vec::new()).await.unwrap()
}

#[derive(Debug, Default)]
struct Everything {
    documents: BTreeMap<Identity, Document>,
    refused: BTreeMap<Identity, String>,
    urls: BTreeSet<Sha1>,
    batches: usize,
}

impl Everything {
    fn came(&self) -> BTreeSet<Identity> {
        self.documents.keys().copied().collect()
    }
}

async fn all(wsus: &Wsus, ids: &[Identity], at_once: u32) -> Result<Everything, Error> {
    let mut found = Everything::default();
    let mut documents = wsus.documents(ids, at_once, Before::Unknown);
    while let Some(batch) = timeout(SOON, documents.next()).await.expect("it goes on")? {
        found.batches += 1;
        for document in batch.documents {
            let before = found.documents.insert(document.identity, document);
            assert!(before.is_none(), "twice: {before:?}");
        }
        for refused in batch.refused {
            assert!(found.refused.insert(refused.identity, refused.why).is_none(), "{:?}", refused.identity);
        }
        found.urls.extend(batch.urls.iter().map(|url| url.digest));
    }
    assert!(documents.next().await.unwrap().is_none(), "the end stays the end");
    Ok(found)
}

fn text(document: &Document) -> String {
    let mut bytes = Vec::new();
    match document.form {
        Form::Text => {
            document.content.reader().read_to_end(&mut bytes).unwrap();
        }
        Form::Cabinet => {
            cabinet::unpack_text(document.content.reader(), &mut bytes, cabinet::UNPACKED_BYTES_MAX).unwrap();
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn set(ids: &[Identity]) -> BTreeSet<Identity> {
    ids.iter().copied().collect()
}

fn count(sim: &Sim, what: &str, name: &str) -> u64 {
    sim.log(0)[what][name].as_u64().unwrap_or_default()
}

/// Cuts answers in their middle; slowed, since the simulator would otherwise break off before the first byte has left.
fn cut(sim: &Sim, method: &str, count: u32) {
    for kind in ["truncated-body", "slow"] {
        sim.fault(&json!({ "fault": kind, "method": method, "count": count, "bytes_per_second": 400_000 })).unwrap();
    }
}

fn is_document_fault(kind: &str) -> bool {
    matches!(
        kind,
        "unknown-id"
            | "crashes-server"
            | "bad-cabinet"
            | "cabinet-bomb"
            | "bad-base64"
            | "half-document"
            | "wrong-identity"
            | "cyclic-bundle"
            | "cyclic-prerequisite"
            | "bad-digest"
            | "lying-size"
            | "deep-xml"
            | "many-attributes"
            | "altered-title"
            | "altered-digest"
            | "altered-rules"
            | "rewritten"
            | "withheld"
            | "entity-bomb"
    )
}

fn is_content_fault(kind: &str) -> bool {
    kind.starts_with("content-") || kind == "wrong-digest"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_characters_give_their_whole_catalog() {
    for character in [Character::Microsoft, Character::Wsus] {
        let sim = sim(character);
        let (wsus, folder) = client(&sim);
        assert!(!wsus.is_authenticated(), "plain HTTP");
        let limits = wsus.config(None).await.unwrap();
        assert_eq!(limits.catalog_only, character == Character::Microsoft);
        assert!(limits.updates_max == 100 && !limits.languages.is_empty(), "{limits:?}");
        let (categories, first) = list(&wsus, true).await;
        let (updates, second) = list(&wsus, false).await;
        assert_eq!((first.count, second.count), (categories.len() as u64, updates.len() as u64));
        assert!(first.anchor.is_some() && second.anchor.is_some() && first.bad + second.bad == 0);

        let ids: Vec<Identity> = categories.into_iter().chain(updates).collect();
        let held: BTreeSet<UpdateId> = ids.iter().map(|identity| identity.id).collect();
        let wanted: BTreeSet<UpdateId> = sim.identities(&json!({})).as_array().unwrap().iter().map(id_of).collect();
        assert_eq!(held, wanted);

        let found = all(&wsus, &ids, limits.updates_max).await.unwrap();
        assert_eq!(found.came(), set(&ids));
        assert!(found.refused.is_empty(), "{:?}", found.refused);
        let files: BTreeSet<Sha1> = found.documents.values().flat_map(|document| document.files.clone()).collect();
        assert!(!files.is_empty() && files == found.urls, "{} files, {} addresses", files.len(), found.urls.len());
        let forms = |form| found.documents.values().filter(|document| document.form == form).count();
        assert!(forms(Form::Text) > 0 && forms(Form::Cabinet) > 0);
        for (identity, document) in &found.documents {
            let text = text(document).to_ascii_lowercase();
            assert!(text.contains(&identity.id.to_string()), "{identity}: {text:.200}");
        }
        // One authorization for all that was asked in turn, one more for each worker at most; nothing was asked twice.
        assert!((1..=4).contains(&count(&sim, "methods", "GetCookie")), "{}", sim.log(0)["methods"]);
        assert_eq!(sim.log(0)["updates"]["asked_more_than_once"], 0);
        assert_eq!(sim.log(0)["faults"], json!({}));
        wsus.drained().await;
        assert_eq!(wsus.tasks(), 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

fn id_of(value: &Value) -> UpdateId {
    value["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_run_is_told_what_changed() {
    let sim = sim(Character::Wsus);
    let (wsus, _folder) = client(&sim);
    let limits = wsus.config(None).await.unwrap();
    let (before, listed) = list(&wsus, false).await;
    let wanted = Wanted { anchor: listed.anchor, ..Wanted::default() };
    let (nothing, _) = wsus.revisions(&wanted, Vec::new()).await.unwrap();
    assert_eq!(nothing, []);
    sim.advance(1);
    let (changed, later) = wsus.revisions(&wanted, Vec::new()).await.unwrap();
    assert!(!changed.is_empty() && changed.len() < before.len(), "{} of {}", changed.len(), before.len());
    assert!(later.anchor > wanted.anchor);
    let again = wsus.config(limits.anchor.as_deref()).await.unwrap();
    assert!(again.languages.is_empty());

    // A product that the anchor knows nothing of comes whole, others as a delta.
    let products: Vec<Identity> = list(&wsus, true).await.0;
    let pick = |is_new| Some(products.iter().map(|product| Pick { id: product.id, is_new }).collect::<Vec<_>>());
    let of = |is_new| Wanted {
        products: pick(is_new),
        classifications: pick(false),
        anchor: later.anchor.clone(),
        ..Wanted::default()
    };
    let (delta, _) = wsus.revisions(&of(false), Vec::new()).await.unwrap();
    let (whole, _) = wsus.revisions(&of(true), Vec::new()).await.unwrap();
    assert!(delta.is_empty() && !whole.is_empty(), "{} and {}", delta.len(), whole.len());

    // An anchor that the server does not take is left out, and the list comes whole.
    let wrong = Wanted { anchor: Some("garbage".to_owned()), ..Wanted::default() };
    let (whole, listed) = wsus.revisions(&wrong, Vec::new()).await.unwrap();
    assert!(whole.len() > before.len() && listed.anchor > later.anchor, "{listed:?}");
    let error = wsus.config(Some("garbage")).await.unwrap_err();
    assert!(matches!(error, Error::ServerChanged { method: Method::GetConfigData, .. }), "{error}");
}

/// What a fault of one call leads to.
enum Ends {
    /// Everything comes.
    Well,
    Changed,
    Refused,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_call_has_its_reaction() {
    let sim = sim(Character::Microsoft);
    let (wsus, _folder) = client(&sim);
    let ids = list(&wsus, false).await.0;
    for (kind, _) in upstream_sim::fault_kinds() {
        let ends = match kind {
            "expired-cookie"
            | "invalid-cookie"
            | "invalid-authorization-cookie"
            | "server-busy"
            | "internal-server-error"
            | "http-503"
            | "too-many-at-once"
            | "drop"
            | "truncated-body"
            | "not-xml"
            | "half-answer"
            | "slow"
            | "short-answer"
            | "duplicate-items"
            | "stray-items"
            | "skewed-clock"
            | "spoilt-identity"
            | "duplicate-identities" => Ends::Well,
            "server-changed" | "another-server" => Ends::Changed,
            "invalid-parameters" | "incompatible-protocol" | "plain-fault" => Ends::Refused,
            // A faithful server's answer to whoever asks late: see the comparison with Microsoft.
            "outdated" => continue,
            kind => {
                assert!(is_document_fault(kind) || is_content_fault(kind), "what becomes of {kind}?");
                continue;
            }
        };
        let method = match kind {
            "invalid-authorization-cookie" | "incompatible-protocol" | "skewed-clock" => "GetCookie",
            "duplicate-identities" => "GetRevisionIdList",
            _ => "GetUpdateData",
        };
        sim.clear_faults();
        sim.reset_log();
        // One worker, so that what the others have at hand does not blur the counts.
        let (wsus, _folder) = client_with(&sim, |config| config.parallel = 1);
        sim.fault(&json!({ "fault": kind, "method": method, "delay_ms": 20, "bytes_per_second": 4_000_000 })).unwrap();
        if kind == "duplicate-identities" {
            let (twice, _) = list(&wsus, false).await;
            assert!(twice.len() == 2 * ids.len() && set(&twice) == set(&ids), "names are handed on as they come");
        }
        let outcome = all(&wsus, &ids, 100).await;
        match (ends, outcome) {
            (Ends::Well, Ok(found)) => {
                assert_eq!(found.came(), set(&ids), "{kind}");
                assert!(found.refused.is_empty(), "{kind}: {:?}", found.refused);
            }
            (Ends::Changed, Err(Error::ServerChanged { method: Method::GetUpdateData, .. })) => {}
            (Ends::Refused, Err(error @ Error::Refused { .. })) => {
                // A later run may find a service well that said nothing but that it fails.
                assert_eq!(error.is_retryable(), kind == "plain-fault", "{error}");
                assert_eq!(error.fault(), Blame::Origin, "{error}");
            }
            (_, outcome) => panic!("{kind}: {outcome:?}"),
        }
        // Whoever asks again begins with a new cookie, since the old one would be refused again.
        if kind == "another-server" {
            assert_eq!(all(&wsus, &ids, 100).await.unwrap().came(), set(&ids), "{kind}");
            assert_eq!(count(&sim, "methods", "GetAuthConfig"), 2);
            continue;
        }
        // A new cookie where the old one was refused, and only there.
        let renewed = matches!(kind, "expired-cookie" | "invalid-cookie" | "invalid-authorization-cookie");
        assert_eq!(count(&sim, "methods", "GetAuthConfig"), 1 + u64::from(renewed), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_on_without_end_is_not_repeated_without_end() {
    let sim = sim(Character::Wsus);
    let (wsus, _folder) = client(&sim);
    let ids = list(&wsus, false).await.0;
    let mut seen = Vec::new();
    for (kind, method) in [
        ("server-busy", "GetUpdateData"),
        ("http-503", "GetConfigData"),
        ("drop", "GetUpdateData"),
        ("not-xml", "GetUpdateData"),
        ("invalid-cookie", "GetUpdateData"),
        ("invalid-authorization-cookie", "GetCookie"),
        ("truncated-body", "GetRevisionIdList"),
        ("half-answer", "GetAuthorizationCookie"),
    ] {
        sim.clear_faults();
        sim.reset_log();
        let (wsus, _folder) = client_with(&sim, |config| {
            config.parallel = 1;
            // The simulator wants a second between two of these.
            config.patience.attempts_max = if kind == "http-503" { 2 } else { 4 };
        });
        sim.fault(&json!({ "fault": kind, "method": method, "count": 100_000 })).unwrap();
        let error = match method {
            "GetConfigData" => wsus.config(None).await.unwrap_err(),
            "GetRevisionIdList" => wsus.revisions(&Wanted::default(), Vec::new()).await.unwrap_err(),
            _ => all(&wsus, &ids, 100).await.unwrap_err(),
        };
        let asked = count(&sim, "methods", method);
        // Where nothing comes it is also seen whether anything else does.
        assert!((2..=8).contains(&asked), "{kind}: asked {asked} times");
        assert!(error.is_retryable(), "{kind}: {error}");
        seen.push((kind, error));
    }
    for (kind, error) in seen {
        match (kind, &error) {
            ("invalid-cookie" | "invalid-authorization-cookie", Error::Unauthorized { .. })
            | ("not-xml", Error::Unusable { .. })
            | ("server-busy" | "http-503" | "drop" | "truncated-body" | "half-answer", Error::Unavailable { .. }) => {}
            _ => panic!("{kind}: {error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_are_renewed_in_mid_run_and_nothing_is_asked_again() {
    let sim = Sim::start(Options { cookie: Some(Duration::from_secs(2)), ..options(Character::Microsoft) }).unwrap();
    let (wsus, _folder) = client_with(&sim, |config| config.parallel = 2);
    let ids = list(&wsus, false).await.0;
    // Slow enough that the run outlasts several cookies.
    sim.fault(&json!({ "fault": "slow", "method": "GetUpdateData", "count": 100_000, "delay_ms": 600 })).unwrap();
    let found = all(&wsus, &ids, 12).await.unwrap();
    assert_eq!(found.came(), set(&ids));
    let log = sim.log(0);
    assert!(log["methods"]["GetAuthConfig"].as_u64().unwrap() >= 3, "{}", log["methods"]);
    assert_eq!(log["updates"]["asked_more_than_once"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_old_cookies_cost_one_refusal_each() {
    let sim = sim(Character::Wsus);
    let (wsus, _folder) = client_with(&sim, |config| config.parallel = 6);
    let ids = list(&wsus, false).await.0;
    all(&wsus, &ids, 10).await.unwrap();
    // All that lie in the pool are void at once; more of them than one question may be refused.
    sim.fault(&json!({ "fault": "expired-cookie", "method": "GetConfigData" })).unwrap();
    wsus.config(None).await.unwrap();
    assert_eq!(all(&wsus, &ids, 10).await.unwrap().came(), set(&ids));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_revisions_that_spoil_a_batch_are_found_and_the_others_come() {
    let sim = sim(Character::Wsus);
    let (wsus, _folder) = client(&sim);
    let ids = list(&wsus, false).await.0;
    let (unknown, broken) = (set(&[ids[7], ids[8], ids[140]]), ids[60]);
    let named: Vec<String> = unknown.iter().map(|identity| identity.id.to_string()).collect();
    sim.fault(&json!({ "fault": "unknown-id", "ids": named })).unwrap();
    sim.fault(&json!({ "fault": "bad-base64", "ids": [broken.id.to_string()] })).unwrap();
    sim.reset_log();
    let found = all(&wsus, &ids, 100).await.unwrap();
    let refused: BTreeSet<Identity> = found.refused.keys().copied().collect();
    assert_eq!(refused, &unknown | &set(&[broken]));
    assert_eq!(found.came(), &set(&ids) - &refused);
    for identity in &unknown {
        let why = &found.refused[identity];
        assert!(why.contains("InternalServerError") && why.contains("127.0.0.1"), "{why}");
    }
    assert!(found.refused[&broken].contains("base64"), "{}", found.refused[&broken]);
    // Halving 100 seven times, twice two questions a time, and twice the last, with a control in between; the two neighbours
    // share most of it.
    assert!(count(&sim, "methods", "GetUpdateData") <= 50, "{}", sim.log(0)["methods"]);

    // One that is unknown only for a moment comes.
    sim.clear_faults();
    sim.fault(&json!({ "fault": "unknown-id", "ids": [ids[3].id.to_string()], "times": 1 })).unwrap();
    assert_eq!(all(&wsus, &ids[3..4], 100).await.unwrap().came(), set(&ids[3..4]));

    // One that was spoilt on its way comes when it is asked for once more.
    sim.fault(&json!({ "fault": "bad-base64", "ids": [broken.id.to_string()], "times": 1 })).unwrap();
    assert_eq!(all(&wsus, &ids[50..70], 100).await.unwrap().came(), set(&ids[50..70]));

    // One that no server has.
    let nobodys = Identity { id: UpdateId::new([9; 16]), revision: 1 };
    let found = all(&wsus, &[ids[0], nobodys, ids[0]], 100).await.unwrap();
    assert_eq!((found.came(), found.refused.len()), (set(&ids[..1]), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_everything_is_not_asked_for_everything() {
    let sim = Sim::start(Options { updates: 600, ..options(Character::Wsus) }).unwrap();
    let (wsus, _folder) = client_with(&sim, |config| config.parallel = 1);
    let ids = list(&wsus, false).await.0;
    sim.fault(&json!({ "fault": "internal-server-error", "method": "GetUpdateData", "count": 1_000_000 })).unwrap();
    let error = all(&wsus, &ids, 100).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { method: Method::GetUpdateData, .. }), "{error}");
    assert!(error.to_string().contains("what it gave before"), "{error}");
    assert!(count(&sim, "methods", "GetUpdateData") < 30, "{}", sim.log(0)["methods"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_gives_a_few_of_many_alone_is_given_up_and_nothing_is_refused() {
    let sim = Sim::start(Options { updates: 600, ..options(Character::Wsus) }).unwrap();
    let (wsus, _folder) = client(&sim);
    let ids = list(&wsus, false).await.0;
    let named: Vec<String> = ids.iter().map(|identity| identity.id.to_string()).collect();
    sim.fault(&json!({ "fault": "unknown-id", "ids": named, "count": 1_000_000 })).unwrap();
    let mut documents = wsus.documents(&ids, 20, Before::Unknown);
    let error = loop {
        match timeout(SOON, documents.next()).await.unwrap() {
            Ok(Some(batch)) => assert!(batch.refused.is_empty(), "{:?}", batch.refused),
            Ok(None) => panic!("it comes to an end"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Refused { method: Method::GetUpdateData, .. }), "{error}");
    assert!(documents.finish().await.iter().all(|batch| batch.refused.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moment_of_weakness_is_no_refusal() {
    let sim = sim(Character::Wsus);
    let ids = list(&client(&sim).0, false).await.0;
    for kind in ["internal-server-error", "drop", "truncated-body"] {
        // Long enough that the batch is halved down to one, and that one is asked for more than once.
        let (wsus, _folder) = client_with(&sim, |config| config.parallel = 1);
        let count = if kind == "internal-server-error" { 12 } else { 3 };
        sim.fault(&json!({ "fault": kind, "method": "GetUpdateData", "count": count })).unwrap();
        let found = all(&wsus, &ids, 100).await.unwrap();
        assert_eq!((found.came(), found.refused.len()), (set(&ids), 0), "{kind}: {:?}", found.refused);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_has_no_time_for_at_once_is_asked_in_halves() {
    let sim = sim(Character::Wsus);
    let ids = list(&client(&sim).0, false).await.0;
    for status in [0, 500, 504] {
        let (wsus, _folder) = client_with(&sim, |config| config.parallel = 1);
        sim.reset_log();
        sim.fault(&json!({ "fault": "too-many-at-once", "most": 30, "status": status, "count": 100_000 })).unwrap();
        let found = all(&wsus, &ids, 100).await.unwrap();
        assert_eq!((found.came(), found.refused.len()), (set(&ids), 0), "{status}");
        // Twice for 100 and for 50, with a control each, and no more of that size for now.
        assert!(count(&sim, "methods", "GetUpdateData") <= 14, "{status}: {}", sim.log(0)["methods"]);
        sim.clear_faults();
    }
    // One that brings the server down is the only one that does not come.
    let (wsus, _folder) = client_with(&sim, |config| config.parallel = 1);
    sim.fault(&json!({ "fault": "crashes-server", "ids": [ids[60].id.to_string()] })).unwrap();
    let found = all(&wsus, &ids, 100).await.unwrap();
    assert_eq!(found.came(), &set(&ids) - &set(&ids[60..61]));
    assert!(found.refused[&ids[60]].contains("does not answer"), "{:?}", found.refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_asks_for_more_before_what_came_is_taken() {
    let sim = sim(Character::Wsus);
    let (wsus, _folder) = client_with(&sim, |config| config.parallel = 3);
    let ids = list(&wsus, false).await.0;
    let mut documents = wsus.documents(&ids, 5, Before::Unknown);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(timeout(SOON, documents.next()).await.unwrap().unwrap().unwrap());
    }
    assert!(timeout(Duration::from_millis(300), documents.next()).await.is_err(), "three workers, three batches");
    assert_eq!(count(&sim, "methods", "GetUpdateData"), 3);
    held.pop();
    assert!(timeout(SOON, documents.next()).await.unwrap().unwrap().is_some());
    // What came is there still when it is ended.
    held.clear();
    timeout(SOON, async {
        // All three have asked and are at rest: without a decoder, and for longer than the way of an answer takes.
        let mut at_rest = 0;
        while at_rest < 100 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let rests = count(&sim, "methods", "GetUpdateData") == 7 && wsus.tasks() == 3;
            at_rest = if rests { at_rest + 1 } else { 0 };
        }
    })
    .await
    .unwrap();
    assert_eq!(documents.finish().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_always_break_off_are_asked_in_halves() {
    let sim = sim(Character::Wsus);
    let (wsus, _folder) = client_with(&sim, |config| config.parallel = 1);
    let ids = list(&wsus, false).await.0;
    // The whole batch three times, then its first half comes.
    cut(&sim, "GetUpdateData", 3);
    let found = all(&wsus, &ids[..40], 100).await.unwrap();
    assert_eq!(found.came(), set(&ids[..40]));
    assert_eq!((found.batches, count(&sim, "methods", "GetUpdateData")), (2, 5));

    // Half of what is asked for, time and again: each answer is asked for what the one before left out.
    sim.reset_log();
    sim.fault(&json!({ "fault": "short-answer", "method": "GetUpdateData", "count": 3 })).unwrap();
    let found = all(&wsus, &ids[..40], 100).await.unwrap();
    assert_eq!(found.came(), set(&ids[..40]));
    assert_eq!((found.batches, count(&sim, "methods", "GetUpdateData")), (4, 4));
}

/// Counts beginnings, and can fail.
#[derive(Debug, Default)]
struct Counting {
    begun: u32,
    names: Vec<Identity>,
    full_at: Option<usize>,
}

impl Names for Counting {
    fn begin(&mut self) {
        self.begun += 1;
        self.names.clear();
    }

    fn name(&mut self, identity: Identity) -> std::io::Result<()> {
        if self.full_at == Some(self.names.len()) {
            return Err(std::io::Error::other("no more room"));
        }
        self.names.push(identity);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_with_items_that_are_none_gives_no_anchor() {
    let sim = sim(Character::Wsus);
    let (wsus, _folder) = client(&sim);
    let (whole, first) = list(&wsus, false).await;
    sim.advance(1);
    let since = Wanted { anchor: first.anchor.clone(), ..Wanted::default() };
    for (wanted, kept) in [(Wanted::default(), None), (since, first.anchor.clone())] {
        // Once on its way: it is asked for again.
        sim.fault(&json!({ "fault": "spoilt-identity", "method": "GetRevisionIdList" })).unwrap();
        let (names, listed) = wsus.revisions(&wanted, Vec::new()).await.unwrap();
        assert!(listed.bad == 0 && listed.anchor > first.anchor, "{listed:?}");
        // Twice: what can be read is of use, but the next run must be told of the rest.
        sim.fault(&json!({ "fault": "spoilt-identity", "method": "GetRevisionIdList", "count": 2 })).unwrap();
        let (fewer, listed) = wsus.revisions(&wanted, Vec::new()).await.unwrap();
        assert_eq!((fewer.len(), listed.bad, listed.anchor), (names.len() - 1, 1, kept));
    }
    // With a product that the former anchor knows nothing of, that one is of no use.
    let products: Vec<_> = list(&wsus, true).await.0.iter().map(|one| Pick { id: one.id, is_new: true }).collect();
    let of = |is_new| Some(products.iter().map(|pick| Pick { is_new, ..*pick }).collect());
    let wanted = Wanted { anchor: first.anchor, products: of(true), classifications: of(false), ..Wanted::default() };
    sim.fault(&json!({ "fault": "spoilt-identity", "method": "GetRevisionIdList", "count": 2 })).unwrap();
    let (names, listed) = wsus.revisions(&wanted, Vec::new()).await.unwrap();
    assert!(listed.anchor.is_none() && !names.is_empty() && names.len() < whole.len() * 2, "{listed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_breaks_off_begins_anew() {
    let sim = sim(Character::Microsoft);
    let (wsus, _folder) = client(&sim);
    let whole = list(&wsus, false).await.0;
    for kind in ["truncated-body", "half-answer", "expired-cookie", "server-busy"] {
        if kind == "truncated-body" {
            cut(&sim, "GetRevisionIdList", 1);
        } else {
            sim.fault(&json!({ "fault": kind, "method": "GetRevisionIdList" })).unwrap();
        }
        let (names, listed) = wsus.revisions(&Wanted::default(), Counting::default()).await.unwrap();
        assert_eq!((names.names == whole, names.begun, listed.count), (true, 2, whole.len() as u64), "{kind}");
    }
    let full = Counting { full_at: Some(10), ..Counting::default() };
    let error = wsus.revisions(&Wanted::default(), full).await.unwrap_err();
    assert!(error.to_string().contains("no more room") && error.fault() == Blame::Us, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent_is_asked_again() {
    let sim = sim(Character::Wsus);
    let ids = list(&client(&sim).0, false).await.0;
    let (wsus, _folder) = client_with(&sim, |config| {
        config.answer_timeout = Duration::from_secs(2);
        config.http.stall_timeout = Duration::from_millis(700);
        config.parallel = 1;
    });
    for order in [
        json!({ "fault": "slow", "method": "GetUpdateData", "delay_ms": 30_000 }),
        // One byte a second.
        json!({ "fault": "slow", "method": "GetUpdateData", "bytes_per_second": 1 }),
        // Never long without a byte, and for hours to come.
        json!({ "fault": "slow", "method": "GetUpdateData", "bytes_per_second": 20 }),
    ] {
        sim.reset_log();
        sim.fault(&order).unwrap();
        let found = all(&wsus, &ids[..20], 100).await.unwrap();
        assert_eq!((found.came(), count(&sim, "methods", "GetUpdateData")), (set(&ids[..20]), 2), "{order}");
    }
}

/// Three attempts, and one question in between for something that it gave before: nothing that would take longer, such as a list, and no
/// halves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_in_mid_documents_is_given_up_soon() {
    let sim = sim(Character::Wsus);
    let ids = list(&client(&sim).0, false).await.0;
    for hang in [json!({ "delay_ms": 600_000 }), json!({ "bytes_per_second": 1 })] {
        let (wsus, _folder) = client_with(&sim, |config| {
            config.answer_timeout = SOON;
            config.http.stall_timeout = Duration::from_millis(300);
            config.parallel = 1;
        });
        sim.clear_faults();
        sim.reset_log();
        let mut order = json!({ "fault": "slow", "method": "GetUpdateData", "after": 2, "count": 1_000 });
        for (key, value) in hang.as_object().unwrap() {
            order[key] = value.clone();
        }
        sim.fault(&order).unwrap();
        let error = timeout(SOON, all(&wsus, &ids[..100], 25)).await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Unavailable { method: Method::GetUpdateData, .. }), "{error}");
        assert!(error.to_string().contains("what it gave before it does not give now either"), "{error}");
        let asked = (count(&sim, "methods", "GetUpdateData"), count(&sim, "methods", "GetRevisionIdList"));
        assert_eq!(asked, (2 + 3 + 1, 0), "{order}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gives_up_leaves_no_task_behind() {
    let sim = sim(Character::Wsus);
    let (wsus, folder) = client(&sim);
    let ids = list(&wsus, false).await.0;
    let slow = json!({ "fault": "slow", "method": "GetUpdateData", "count": 100_000, "bytes_per_second": 200 });
    sim.fault(&slow).unwrap();
    let begin = async || -> Documents {
        let documents = wsus.documents(&ids, 20, Before::Unknown);
        // Four workers, each with a decoder that waits for bytes.
        timeout(SOON, async {
            while wsus.tasks() < 8 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
        .unwrap();
        documents
    };
    drop(begin().await);
    timeout(SOON, wsus.drained()).await.unwrap();
    assert_eq!(wsus.tasks(), 0);

    let mut documents = begin().await;
    timeout(SOON, documents.stop()).await.unwrap();
    assert!(documents.next().await.unwrap().is_none());
    timeout(SOON, wsus.drained()).await.unwrap();

    // A list that is given up while it comes.
    sim.clear_faults();
    sim.fault(&json!({ "fault": "slow", "method": "GetRevisionIdList", "bytes_per_second": 200 })).unwrap();
    let wanted = Wanted::default();
    let listing = wsus.revisions(&wanted, Vec::new());
    assert!(timeout(Duration::from_millis(300), listing).await.is_err());
    timeout(SOON, wsus.drained()).await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // It can be asked afterwards.
    assert_eq!(list(&wsus, false).await.0, ids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_document_lies_on_the_disk_meanwhile() {
    let options = Options { updates: 40, huge: 1, blobs: Blobs::Plain, ..options(Character::Wsus) };
    let sim = Sim::start(options).unwrap();
    let (wsus, folder) = client(&sim);
    let ids = list(&wsus, false).await.0;
    let found = all(&wsus, &ids, 100).await.unwrap();
    assert_eq!(found.came(), set(&ids));
    let (identity, huge) = found.documents.iter().max_by_key(|(_, document)| document.content.len()).unwrap();
    assert!(huge.content.len() > 8 << 20 && huge.content.is_spooled(), "{} bytes", huge.content.len());
    let text = text(huge);
    assert!(text.len() as u64 == huge.content.len() && text.trim_end().ends_with("Update>"));
    assert!(text[..2000].to_ascii_lowercase().contains(&identity.id.to_string()), "{text:.2000}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "files have no names");

    // Where it cannot be kept, that is told, and not taken for the server's fault.
    let (wsus, _folder) = client_with(&sim, |config| config.spool = PathBuf::from("/nonexistent"));
    let error = all(&wsus, &[*identity], 100).await.unwrap_err();
    assert!(matches!(error, Error::NotKept { .. }) && error.to_string().contains("/nonexistent"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_a_server_has_not_fetched_are_asked_for() {
    let sim = sim(Character::Wsus);
    let (wsus, _folder) = client(&sim);
    let ids = list(&wsus, false).await.0;
    let found = all(&wsus, &ids, 100).await.unwrap();
    let mut digests: Vec<Sha1> = found.urls.iter().copied().take(120).collect();
    assert_eq!(wsus.download_files(&digests).await.unwrap(), []);
    let nobodys = [Sha1::new([7; 20]), Sha1::new([8; 20])];
    digests.extend(nobodys);
    let unknown = wsus.download_files(&digests).await.unwrap();
    assert_eq!(unknown.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(nobodys));
    assert!((1..=2).contains(&count(&sim, "faults", "FileDigestsMissing")));
    assert_eq!(wsus.download_files(&[]).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_is_counted_in_its_class() {
    let sim = sim(Character::Wsus);
    let folder = tempfile::tempdir().unwrap();
    let governor = Governor::default();
    let wsus = Wsus::new(config(&sim.url(), folder.path().to_owned()), &governor).unwrap();
    list(&wsus, false).await;
    let sent = sim.log(0)["bytes"].as_u64().unwrap();
    assert!(governor.counters().bytes(Class::Sync) >= sent, "{sent}");
    assert_eq!(governor.counters().bytes(Class::Demand), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_leads_through_the_proxy() {
    let sim = sim(Character::Wsus);
    for (kind, scheme) in [(Kind::Http, "http"), (Kind::Socks, "socks5h")] {
        let proxy = Scripted::start(kind, Some(("user", "pass"))).await;
        proxy.route("wsus.example.org", sim.address());
        for (password, is_right) in [("pass", true), ("wrong", false)] {
            let folder = tempfile::tempdir().unwrap();
            let mut config = config("http://wsus.example.org:8530", folder.path().to_owned());
            config.http.proxy = Proxy {
                url: Some(format!("{scheme}://{}", proxy.address())),
                username: Some("user".to_owned()),
                password: Some(Secret::new(password.to_owned())),
                no_proxy: Vec::new(),
            };
            let wsus = Wsus::new(config, &Governor::default()).unwrap();
            match wsus.revisions(&Wanted::default(), Vec::new()).await {
                Ok((names, _)) => assert!(is_right && !names.is_empty()),
                Err(error) => {
                    assert!(!is_right && matches!(error, Error::Unavailable { .. }), "{scheme}: {error}");
                    assert!(error.to_string().contains("asks for credentials or refuses those given"), "{error}");
                }
            }
        }
        assert!(proxy.log().len() >= 2, "{:?}", proxy.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_asked_while_the_class_is_paused() {
    let sim = sim(Character::Wsus);
    let folder = tempfile::tempdir().unwrap();
    let paused = Rules::default().with(Class::Sync, &["paused"]).unwrap();
    let governor = Governor::new(paused.clone(), Arc::new(SystemClock));
    let stop = CancellationToken::new();
    let running = tokio::spawn(governor.clone().run(stop.clone()));
    timeout(SOON, async {
        while !governor.is_paused(Class::Sync) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .unwrap();
    let wsus = Wsus::new(config(&sim.url(), folder.path().to_owned()), &governor).unwrap();
    let wanted = Wanted::default();
    let mut listing = std::pin::pin!(wsus.revisions(&wanted, Counting::default()));
    assert!(timeout(Duration::from_millis(300), &mut listing).await.is_err());
    assert_eq!(sim.log(0)["requests"], 0);

    // Once more in the middle of the answer: it is given up, and asked for anew when bytes may flow.
    sim.fault(&json!({ "fault": "slow", "method": "GetRevisionIdList", "bytes_per_second": 200 })).unwrap();
    governor.set_config(Rules::default());
    let meanwhile = async {
        while count(&sim, "methods", "GetRevisionIdList") == 0 || wsus.tasks() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        governor.set_config(paused);
        while wsus.tasks() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        governor.set_config(Rules::default());
    };
    let (names, ()) = timeout(SOON, async { tokio::join!(listing, meanwhile) }).await.unwrap();
    let (names, listed) = names.unwrap();
    assert_eq!((names.begun, names.names.len() as u64), (2, listed.count));
    stop.cancel();
    running.await.unwrap();
}

/// Answers every request with this, and closes.
async fn scripted(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !String::from_utf8_lossy(&request).contains("Envelope>") {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let length = answer.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
            let whole = answer.replacen("\r\n", &format!("\r\nContent-Length: {length}\r\nConnection: close\r\n"), 1);
            // Whoever went away sees nothing.
            let _ = stream.write_all(whole.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    url
}

#[tokio::test]
async fn strange_servers_are_told_in_words() {
    const ELSEWHERE: &str = concat!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n",
        r#"<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>"#,
        r#"<GetAuthConfigResponse xmlns="http://www.microsoft.com/SoftwareDistribution"><GetAuthConfigResult>"#,
        "<LastChange>2006-06-07T20:41:50.883Z</LastChange><AuthInfo><AuthPlugInInfo><PlugInID>DssTargeting</PlugInID>",
        "<ServiceUrl>http://elsewhere.example/auth.asmx</ServiceUrl></AuthPlugInInfo></AuthInfo></GetAuthConfigResult>",
        "</GetAuthConfigResponse></soap:Body></soap:Envelope>",
    );
    for (answer, words) in [
        ("HTTP/1.1 404 Not Found\r\n\r\n", "answered 404; this is no WSUS: there is no sync service at this address"),
        ("HTTP/1.1 501 Unsupported method\r\n\r\n", "answered 501; this is no WSUS"),
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", "check its access rules"),
        (
            "HTTP/1.1 302 Found\r\nLocation: https://portal.example/login?user=secret\r\n\r\n",
            "leads to https://portal.example;",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n<html>", "cannot be used"),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", "a sign-in page or a proxy on the way"),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", "this is no WSUS: it answers with \"text/html\""),
        (ELSEWHERE, "another server for its cookie"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let wsus = Wsus::new(config(&scripted(answer).await, folder.path().to_owned()), &Governor::default()).unwrap();
        let error = timeout(SOON, wsus.authorize()).await.unwrap().unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains("secret"), "{answer:.30}: {error}");
    }
}

#[tokio::test]
async fn nobody_there_is_no_refusal() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let folder = tempfile::tempdir().unwrap();
    let wsus = Wsus::new(config(&url, folder.path().to_owned()), &Governor::default()).unwrap();
    let error = wsus.authorize().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { method: Method::GetAuthConfig, .. }), "{error}");
    assert!(error.to_string().contains("refused") && error.fault() == Blame::Path && error.is_retryable(), "{error}");
}

/// What is tried again for as long as the patience lasts where nobody looks on ends soon where a person waits, unless the server has
/// said something before.
#[tokio::test]
async fn who_waits_for_what_is_hopeless_learns_it_soon() {
    let folder = tempfile::tempdir().unwrap();
    let client = |url: &str| {
        let mut config = config(url, folder.path().to_owned());
        config.patience.attempts_max = 9;
        Wsus::new(config, &Governor::default()).unwrap()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let html = scripted("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>").await;
    for (url, kind) in [(nobody.as_str(), "not reached"), (html.as_str(), "no soap")] {
        for (attended, attempts) in [(true, 3), (false, 9)] {
            let wsus = client(url);
            wsus.begins(attended);
            timeout(SOON, wsus.authorize()).await.unwrap().unwrap_err();
            assert_eq!(wsus.troubles(), BTreeMap::from([(kind, attempts)]), "{url}, attended: {attended}");
        }
    }
    // What passes is waited for by everybody.
    let busy = scripted("HTTP/1.1 503 Busy\r\n\r\n").await;
    let wsus = client(&busy);
    wsus.begins(true);
    timeout(SOON, wsus.authorize()).await.unwrap().unwrap_err();
    assert_eq!(wsus.troubles(), BTreeMap::from([("busy", 9)]));
    // A server that has spoken comes back, as after a restart.
    let sim = sim(Character::Wsus);
    let wsus = client(&sim.url());
    wsus.begins(true);
    wsus.config(None).await.unwrap();
    drop(sim);
    timeout(SOON, wsus.config(None)).await.unwrap().unwrap_err();
    assert_eq!(wsus.troubles().values().sum::<u64>(), 9, "{:?}", wsus.troubles());
}

#[tokio::test]
async fn a_port_that_speaks_something_else_is_told_as_that() {
    // Plain HTTP where TLS is asked for.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut some = [0; 1024];
            let _ = stream.read(&mut some).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
        }
    });
    // TLS where plain HTTP is asked for.
    let authority = crate::authority::Authority::new("a test's authority");
    let acceptor = tokio_rustls::TlsAcceptor::from(authority.server(&["127.0.0.1"]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    let folder = tempfile::tempdir().unwrap();
    for (url, words) in [
        (format!("https://{plain}"), "it does not speak TLS at this port: write http://"),
        (format!("http://{tls}"), "a port that wants TLS looks like this: write https://"),
    ] {
        let wsus = Wsus::new(config(&url, folder.path().to_owned()), &Governor::default()).unwrap();
        let error = timeout(SOON, wsus.authorize()).await.unwrap().unwrap_err();
        assert!(error.to_string().contains(words), "{url}: {error}");
        assert_eq!(wsus.troubles().keys().copied().collect::<Vec<_>>(), ["tls"]);
    }
}

#[tokio::test]
async fn a_name_that_is_not_there_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = config("http://nobody.invalid:8530", folder.path().to_owned());
    let wsus = Wsus::new(config, &Governor::default()).unwrap();
    let error = timeout(SOON, wsus.authorize()).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("name") && !error.contains("dns error") && !error.contains("client error"), "{error}");
}

#[tokio::test]
async fn an_upstream_that_cannot_be_one_is_refused_at_the_start() {
    for (url, words) in [
        ("wsus.example.org", "it is no URL"),
        ("ftp://wsus.example.org", "neither http:// nor https://"),
        ("http://user:pass@wsus.example.org", "it carries a user"),
        ("http://wsus.example.org/ServerSyncWebService/ServerSyncWebService.asmx", "it has a path"),
    ] {
        let error = Wsus::new(config(url, PathBuf::new()), &Governor::default()).unwrap_err();
        assert!(error.to_string().contains(words) && error.fault() == Blame::Us, "{url}: {error}");
        assert!(!error.to_string().contains("pass@"), "{error}");
    }
    let microsoft = config(waystation::upstream::wsus::MICROSOFT_URL, PathBuf::new());
    let wsus = Wsus::new(microsoft, &Governor::default()).unwrap();
    assert!(wsus.is_authenticated() && wsus.label() == "sws.update.microsoft.com");
    let mut nameless = config("http://wsus.example.org:8530", PathBuf::new());
    nameless.account_name = String::new();
    assert!(Wsus::new(nameless, &Governor::default()).unwrap_err().to_string().contains("account name"));
}
