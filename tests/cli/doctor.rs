//! `doctor`: what it tests where nothing is named, and what it makes of sync services.

use std::collections::BTreeSet;

use upstream_sim::{Character, Options, Sim};

use super::*;
use crate::authority::Authority;

fn sim(character: Character) -> Sim {
    Sim::start(Options { character, updates: 20, file_scale: 0.02, ..Options::default() }).unwrap()
}

/// Findings of one host, by check: verdict, what was seen, what to do.
fn of<'a>(told: &'a Value, subject: &str, check: &str) -> (&'a str, &'a str, &'a str) {
    let findings = told["findings"].as_array().unwrap();
    let fits = |finding: &&Value| finding["subject"] == *subject && finding["check"] == *check;
    let found: Vec<&Value> = findings.iter().filter(fits).collect();
    assert_eq!(found.len(), 1, "{subject} {check} in {told}");
    let text = |key: &str| found[0][key].as_str().unwrap();
    (text("verdict"), text("seen"), text("advice"))
}

/// The host and port of a URL.
fn host(url: &str) -> &str {
    url.split("://").nth(1).unwrap().trim_end_matches('/')
}

/// What `doctor` finds, and whether all of it works.
fn told(site: &Site, urls: &[&str]) -> (Option<i32>, Value) {
    let output = run(site.data.path(), &[&["doctor", "--json"], urls].concat());
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn below_a_wsus_it_asks_the_sync_service_and_takes_a_missing_file_for_no_fault() {
    let above = sim(Character::Wsus);
    let url = format!("upstream.url={}", above.url());
    // Nobody listens there: what only a comparison would ask is noted, and is no failure.
    let nobody = "sync.microsoft=https://127.0.0.1:9";
    // On the list of origins too, and tested once all the same: `of` below wants each check once.
    let listed = format!("origins.allow={}", above.address());
    let args = ["--set", "upstream.kind=wsus", "--set", &url, "--set", nobody, "--set", &listed];
    let site = Site::with(&args).await;
    let (code, told) = told(&site, &[]);
    assert_eq!(code, Some(0), "{told}");
    let url = above.url();
    let wsus = host(&url);
    let subjects: BTreeSet<&str> =
        told["findings"].as_array().unwrap().iter().map(|finding| finding["subject"].as_str().unwrap()).collect();
    let origin = site.origin.address().to_string();
    assert_eq!(subjects, BTreeSet::from([wsus, origin.as_str(), "127.0.0.1:9"]), "nobody else: {told}");
    assert_eq!(of(&told, wsus, "sync").0, "good", "{told}");
    let (verdict, seen, advice) = of(&told, wsus, "answer");
    assert!(verdict == "good" && seen.contains("404") && seen.contains("reached") && advice.is_empty(), "{told}");
    // Once, though content and the sync service lie there both.
    assert_eq!(of(&told, wsus, "connect").0, "good");
    let (verdict, _, advice) = of(&told, "127.0.0.1:9", "connect");
    assert!(verdict == "note" && advice.contains("only `waystation sync crosscheck`"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_wsus_is_called_that_and_its_content_is_tested_all_the_same() {
    let above = Origin::start().await;
    above.put("/SelfUpdate/wuident.cab", Object::made(200_000, 3));
    let url = format!("upstream.url={}", above.url(""));
    let nobody = "sync.microsoft=https://127.0.0.1:9";
    let site = Site::with(&["--set", "upstream.kind=wsus", "--set", &url, "--set", nobody]).await;
    let (code, told) = told(&site, &[]);
    let subject = above.address().to_string();
    let (verdict, seen, advice) = of(&told, &subject, "sync");
    assert!(code == Some(1) && verdict == "bad", "{told}");
    assert!(seen.contains("no sync service") && advice.contains("[upstream] url"), "{told}");
    assert_eq!((of(&told, &subject, "range").0, of(&told, &subject, "body").0), ("good", "good"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_service_that_is_named_is_tested_as_one() {
    let above = sim(Character::Microsoft);
    let microsoft = format!("sync.microsoft={}", above.url());
    let site = Site::with(&["--set", &microsoft]).await;
    let (code, told) = told(&site, &[&above.url()]);
    let url = above.url();
    assert_eq!((code, of(&told, host(&url), "sync").0), (Some(0), "good"), "{told}");
    let checks: Vec<_> = told["findings"].as_array().unwrap().iter().map(|finding| finding["check"].clone()).collect();
    assert_eq!(checks, ["dns", "connect", "sync"], "no content is asked for: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_tls_believes_is_said_of_a_sync_service_too() {
    let authority = Authority::new("Site CA");
    let above = Origin::start_tls(authority.server(&["127.0.0.1"])).await;
    let microsoft = format!("sync.microsoft={}", above.url(""));
    let site = Site::with(&["--set", &microsoft]).await;
    let subject = above.address().to_string();
    let (code, untrusted) = told(&site, &[&above.url("/")]);
    let (verdict, _, advice) = of(&untrusted, &subject, "tls");
    assert!(code == Some(1) && verdict == "bad" && advice.contains("extra_ca"), "{untrusted}");
    drop(site);
    let extra = format!("upstream.extra_ca={}", authority.pem().display());
    let site = Site::with(&["--set", &microsoft, "--set", &extra]).await;
    let (_, trusted) = told(&site, &[&above.url("/")]);
    assert_eq!((of(&trusted, &subject, "tls").0, of(&trusted, &subject, "sync").0), ("good", "bad"), "{trusted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheme_that_is_not_spoken_at_the_port_is_one_finding_with_its_remedy() {
    let authority = Authority::new("Site CA");
    let tls = Origin::start_tls(authority.server(&["127.0.0.1"])).await;
    let wsus = sim(Character::Wsus);
    let plain = wsus.url().replace("http://", "https://");
    for (url, check) in [(plain, "tls"), (tls.url("").replace("https://", "http://"), "answer")] {
        let (of_url, nobody) = (format!("upstream.url={url}"), "sync.microsoft=https://127.0.0.1:9");
        let site = Site::with(&["--set", "upstream.kind=wsus", "--set", &of_url, "--set", nobody]).await;
        let (code, told) = told(&site, &[]);
        let (verdict, _, advice) = of(&told, host(&url), check);
        assert!(code == Some(1) && verdict == "bad", "{told}");
        assert!(advice.contains("scheme or the port") && advice.contains("[upstream] url"), "{told}");
        let bad = told["findings"].as_array().unwrap().iter().filter(|finding| finding["verdict"] == "bad").count();
        assert_eq!(bad, 1, "once, and no other remedy beside it: {told}");
    }
}
