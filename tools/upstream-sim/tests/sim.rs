//! The simulator over real sockets: its answers beside recorded ones, its rules, its months, its faults.
//!
//! Recorded exchanges are read from `$WAYSTATION_RECORDED`, by default `../shared/protocol/data` beside the project; where
//! they are absent the comparison is skipped and says so.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests say what they expect by failing")]
#![allow(clippy::print_stderr, reason = "a skipped comparison says so")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use quick_xml::NsReader;
use quick_xml::events::Event;
use quick_xml::name::ResolveResult;
use serde_json::{Value, json};
use sha1::Digest as _;
use upstream_sim::{Blobs, Character, Options, Sim};

const SYNC: &str = "/ServerSyncWebService/ServerSyncWebService.asmx";
const AUTH: &str = "/DssAuthWebService/DssAuthWebService.asmx";
const NS: &str = "http://www.microsoft.com/SoftwareDistribution";

/// Status, headers, body of an answer; an error where the connection broke.
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn http(sim: &Sim, method: &str, path: &str, headers: &str, body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(sim.address()).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        sim.address(),
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut all = Vec::new();
    // A broken connection shows as a body that is too short.
    let _ = stream.read_to_end(&mut all);
    let end = all.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&all[..end]).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let headers: BTreeMap<String, String> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let body = all.split_off(end + 4);
    let length: Option<usize> = headers.get("content-length").and_then(|text| text.parse().ok());
    if method != "HEAD" && length.is_some_and(|length| length != body.len()) {
        return None;
    }
    Some(Answer { status, headers, body })
}

fn get(sim: &Sim, path: &str, headers: &str) -> Answer {
    http(sim, "GET", path, headers, "").expect("a whole answer")
}

fn soap(inside: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>{inside}</soap:Body></soap:Envelope>"#
    )
}

/// A client that knows just enough.
struct Client<'a> {
    sim: &'a Sim,
    cookie: String,
}

/// The texts of all elements of a name.
fn texts(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open).skip(1).map(|part| part.split(&close).next().unwrap().to_owned()).collect()
}

impl<'a> Client<'a> {
    fn new(sim: &'a Sim) -> Self {
        let mut client = Self { sim, cookie: String::new() };
        client.log_in();
        client
    }

    fn log_in(&mut self) {
        let body = soap(&format!(
            r#"<GetAuthorizationCookie xmlns="{NS}/Server/DssAuthWebService"><accountName>probe.example</accountName><accountGuid>6f1c2f6e-3f0b-4d3a-9b1e-0d2f6a1c5e12</accountGuid></GetAuthorizationCookie>"#
        ));
        let answer = http(self.sim, "POST", AUTH, "", &body).unwrap();
        let data = &texts(answer.text(), "CookieData")[0];
        let answer = self.call_raw("GetCookie", &format!(
            "<authCookies><AuthorizationCookie><PlugInId>DssTargeting</PlugInId><CookieData>{data}</CookieData></AuthorizationCookie></authCookies><protocolVersion>1.20</protocolVersion>"
        )).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.cookie = format!(
            "<cookie><Expiration>{}</Expiration><EncryptedData>{}</EncryptedData></cookie>",
            texts(answer.text(), "Expiration")[0],
            texts(answer.text(), "EncryptedData")[0]
        );
    }

    fn call_raw(&self, method: &str, inside: &str) -> Option<Answer> {
        let body = soap(&format!(r#"<{method} xmlns="{NS}">{inside}</{method}>"#));
        http(self.sim, "POST", SYNC, "Content-Type: text/xml; charset=utf-8\r\n", &body)
    }

    fn call(&self, method: &str, inside: &str) -> Answer {
        self.call_raw(method, &format!("{}{inside}", self.cookie)).expect("a whole answer")
    }

    /// The error code of a call, empty where it went well.
    fn code(&self, method: &str, inside: &str) -> String {
        let answer = self.call(method, inside);
        texts(answer.text(), "ErrorCode").pop().unwrap_or_default()
    }

    /// Anchor and identities.
    fn list(&self, config: bool, anchor: &str, filter: &str) -> (String, Vec<(String, u32)>) {
        let anchor = if anchor.is_empty() { String::new() } else { format!("<Anchor>{anchor}</Anchor>") };
        let answer = self.call("GetRevisionIdList", &format!(
            "<filter>{anchor}<GetConfig>{config}</GetConfig><Get63LanguageOnly>false</Get63LanguageOnly>{filter}</filter>"
        ));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let ids = texts(answer.text(), "UpdateID").into_iter();
        let found = ids.zip(texts(answer.text(), "RevisionNumber").iter().map(|text| text.parse().unwrap())).collect();
        (texts(answer.text(), "Anchor").remove(0), found)
    }

    fn ids(of: &[(String, u32)]) -> String {
        let one = |(id, revision): &(String, u32)| {
            format!(
                "<UpdateIdentity><UpdateID>{id}</UpdateID><RevisionNumber>{revision}</RevisionNumber></UpdateIdentity>"
            )
        };
        let all = of.iter().map(one).collect::<Vec<_>>().concat();
        format!("<updateIds>{all}</updateIds>")
    }

    /// Documents by identity, asked for until all are there.
    fn documents(&self, of: &[(String, u32)]) -> BTreeMap<(String, u32), String> {
        let mut found = BTreeMap::new();
        let mut wanted: Vec<(String, u32)> = of.to_vec();
        while !wanted.is_empty() {
            let batch = &wanted[..wanted.len().min(100)];
            let answer = self.call("GetUpdateData", &Self::ids(batch));
            assert_eq!(answer.status, 200, "{}", answer.text());
            let before = found.len();
            found.extend(documents(answer.text()));
            assert!(found.len() > before, "no progress");
            wanted.retain(|identity| !found.contains_key(identity));
        }
        found
    }
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// The documents of a GetUpdateData answer.
fn documents(xml: &str) -> Vec<((String, u32), String)> {
    let mut found = Vec::new();
    for item in texts(xml, "ServerSyncUpdateData") {
        let identity = (texts(&item, "UpdateID").remove(0), texts(&item, "RevisionNumber")[0].parse().unwrap());
        let text = if let Some(text) = texts(&item, "XmlUpdateBlob").pop() {
            assert!(!item.contains("XmlUpdateBlobCompressed"));
            unescape(&text)
        } else {
            let bytes = BASE64.decode(&texts(&item, "XmlUpdateBlobCompressed")[0]).unwrap();
            let mut blob = Vec::new();
            let mut cabinet = cab::Cabinet::new(Cursor::new(bytes)).unwrap();
            cabinet.read_file("blob").unwrap().read_to_end(&mut blob).unwrap();
            let units: Vec<u16> = blob.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
            String::from_utf16(&units).unwrap()
        };
        found.push((identity, text));
    }
    found
}

/// Every element as depth, namespace, name; neighbours that say the same are one.
fn shape(xml: &str) -> Vec<(usize, String, String)> {
    let mut reader = NsReader::from_str(xml);
    let mut found: Vec<(usize, String, String)> = Vec::new();
    let mut depth = 0;
    loop {
        let (namespace, event) = reader.read_resolved_event().expect("it is XML");
        let namespace = match namespace {
            ResolveResult::Bound(namespace) => String::from_utf8_lossy(namespace.as_ref().as_bytes()).into_owned(),
            _ => String::new(),
        };
        match event {
            Event::Start(start) => {
                found.push((
                    depth,
                    namespace,
                    String::from_utf8_lossy(start.local_name().as_ref().as_bytes()).into_owned(),
                ));
                depth += 1;
            }
            Event::Empty(start) => {
                found.push((
                    depth,
                    namespace,
                    String::from_utf8_lossy(start.local_name().as_ref().as_bytes()).into_owned(),
                ));
            }
            Event::End(_) => depth -= 1,
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0);
    // A list of a thousand has the shape of a list of one.
    let mut seen = BTreeSet::new();
    found.retain(|element| seen.insert(element.clone()));
    found
}

fn recorded(file: &str) -> Option<String> {
    let root = std::env::var_os("WAYSTATION_RECORDED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/protocol/data")),
        PathBuf::from,
    );
    let path = root.join("wsusss/exchanges").join(file);
    let found = std::fs::read_to_string(&path).ok();
    if found.is_none() {
        eprintln!("skipped: {} is not there", path.display());
    }
    found
}

fn small(character: Character) -> Options {
    Options { character, updates: 400, file_scale: 0.02, ..Options::default() }
}

const DEFENDER: &str = "8c3fcc84-7410-4a95-8b89-a166a0190486";
const DEFINITIONS: &str = "e0789628-ce08-4437-be74-2495b842f43b";
const SECURITY: &str = "0fa1201d-4330-4fa8-8ae9-b877473b6441";
const WINDOWS_11: &str = "72e7624a-5b00-45d2-b92f-e561c0a6a160";
const WINDOWS: &str = "6964aab4-c5b5-43bd-a17d-ffb4346a8e1d";

fn filter(products: &[(&str, bool)], classes: &[(&str, bool)]) -> String {
    let list = |name: &str, all: &[(&str, bool)]| {
        let one = |(id, delta): &(&str, bool)| format!("<IdAndDelta><Id>{id}</Id><Delta>{delta}</Delta></IdAndDelta>");
        let inside = all.iter().map(one).collect::<Vec<_>>().concat();
        if all.is_empty() { String::new() } else { format!("<{name}>{inside}</{name}>") }
    };
    format!("{}{}", list("Categories", products), list("Classifications", classes))
}

#[test]
fn answers_have_the_elements_order_and_namespaces_of_recorded_ones() {
    let sim = Sim::start(Options { blobs: Blobs::Mszip, ..small(Character::Wsus) }).unwrap();
    let client = Client::new(&sim);
    let all = client.list(false, "", "").1;
    let documents = client.documents(&all);
    let with_file = |text: &String| text.contains("<upd:Files>");
    let long = documents.iter().find(|(_, text)| with_file(text) && text.len() > 3_000).unwrap().0.clone();
    let short = documents.iter().find(|(_, text)| !with_file(text) && text.len() < 2_500).unwrap().0.clone();
    let body = |answer: Answer| answer.text().to_owned();
    let authorization = soap(&format!(
        r#"<GetAuthorizationCookie xmlns="{NS}/Server/DssAuthWebService"><accountName>a.b</accountName><accountGuid>6f1c2f6e-3f0b-4d3a-9b1e-0d2f6a1c5e12</accountGuid></GetAuthorizationCookie>"#
    ));
    let data = texts(http(&sim, "POST", AUTH, "", &authorization).unwrap().text(), "CookieData").remove(0);
    let auth_cookies = format!(
        "<authCookies><AuthorizationCookie><PlugInId>DssTargeting</PlugInId><CookieData>{data}</CookieData></AuthorizationCookie></authCookies><protocolVersion>1.20</protocolVersion>"
    );
    let defender = filter(&[(DEFENDER, false)], &[(DEFINITIONS, false)]);
    let listing = |inside: &str| body(client.call("GetRevisionIdList", &format!("<filter>{inside}</filter>")));
    let answers = [
        ("000001", body(client.call_raw("GetAuthConfig", "").unwrap())),
        ("000002", body(http(&sim, "POST", AUTH, "", &authorization).unwrap())),
        ("000003", body(client.call_raw("GetCookie", &auth_cookies).unwrap())),
        ("000004", body(client.call("GetConfigData", "<configAnchor>9438,2026-10-04 16:09:27.167</configAnchor>"))),
        ("000005", body(client.call("GetConfigData", ""))),
        ("000006", listing("<GetConfig>true</GetConfig>")),
        ("000007", listing(&format!("<GetConfig>false</GetConfig>{}", filter(&[(DEFENDER, false)], &[])))),
        ("000009", listing(&format!("<GetConfig>false</GetConfig>{defender}"))),
        ("000014", body(client.call("GetUpdateData", &Client::ids(std::slice::from_ref(&long))))),
        ("000015", body(client.call("GetUpdateData", &Client::ids(std::slice::from_ref(&short))))),
        (
            "000017",
            body(client.call("GetUpdateData", &Client::ids(&[("00000000-0000-0000-0000-000000000001".to_owned(), 1)]))),
        ),
        ("000018", listing("<Anchor>garbage</Anchor><GetConfig>false</GetConfig>")),
        ("000019", body(client.call_raw("GetRevisionIdList", "<filter><GetConfig>true</GetConfig></filter>").unwrap())),
    ];
    for (exchange, answer) in answers {
        let Some(real) = recorded(&format!("{exchange}/response.body")) else { continue };
        assert_eq!(shape(&answer), shape(&real), "{exchange}\n{answer}");
        for name in ["ErrorCode", "Message", "Method", "faultcode", "faultstring", "PlugInID", "ServiceUrl"] {
            assert_eq!(texts(&answer, name), texts(&real, name), "{exchange} {name}");
        }
        if exchange == "000005" {
            for name in ["LanguageID", "ShortLanguage", "LongLanguage", "Enabled"] {
                assert_eq!(texts(&answer, name), texts(&real, name), "{name}");
            }
        }
    }
}

#[test]
fn documents_are_xml_of_the_real_shape() {
    let sim = Sim::start(Options { updates: 3_000, file_scale: 0.001, ..small(Character::Microsoft) }).unwrap();
    let client = Client::new(&sim);
    let config = client.list(true, "", "").1;
    let all = client.list(false, "", "").1;
    assert_eq!(all.len(), 3_000);
    let mut documents = client.documents(&config);
    let categories = documents.values().filter(|text| text.contains(r#"UpdateType="Category""#)).count();
    assert!(config.iter().filter(|(_, revision)| *revision == 1).count() > 30, "ids are listed in two revisions");
    assert!(categories > 80);
    let classifications: BTreeSet<&(String, u32)> = documents
        .iter()
        .filter(|(_, text)| text.contains("UpdateClassification"))
        .map(|(identity, _)| identity)
        .collect();
    assert_eq!(classifications.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len(), 19);
    let software = client.documents(&all);
    let mut sizes: Vec<usize> = software.values().map(String::len).collect();
    sizes.sort_unstable();
    let median = sizes[sizes.len() / 2];
    assert!((4_500..8_000).contains(&median), "median {median}");
    let large = sizes.iter().filter(|size| **size >= 95_000).count();
    assert!((sizes.len() / 300..sizes.len() / 50).contains(&large), "{large} large");
    for word in [
        "<upd:SupersededUpdates>",
        "<upd:BundledUpdates><upd:AtLeastOne>",
        "<upd:BundledUpdates><upd:UpdateIdentity",
        r#"PublicationState="Expired""#,
        r#"MsrcSeverity="Critical""#,
        "<upd:EulaFile ",
        r#"UpdateType="Driver""#,
        "WindowsDriverMetaData",
        "OSInstaller",
        "cbs:CbsData",
        r#"PatchingType="Express""#,
        "HIDDEN: ",
        "<upd:Language>ja</upd:Language>",
        "CbsPackageApplicabilityMetadata",
        "AlwaysRequiresReboot",
    ] {
        assert!(software.values().any(|text| text.contains(word)), "no document has {word}");
    }
    documents.extend(software);
    for ((id, revision), text) in &documents {
        let shape = shape(text);
        assert_eq!(shape[0].2, "Update");
        let children: Vec<&str> =
            shape.iter().filter(|(depth, ..)| *depth == 1).map(|(_, _, name)| name.as_str()).collect();
        let order = [
            "UpdateIdentity",
            "Properties",
            "LocalizedPropertiesCollection",
            "Relationships",
            "ApplicabilityRules",
            "Files",
            "HandlerSpecificData",
        ];
        let places: Vec<usize> =
            children.iter().map(|name| order.iter().position(|known| known == name).expect("a known part")).collect();
        assert!(places.is_sorted(), "{id} {children:?}");
        let own = format!(r#"RevisionNumber="{revision}""#);
        let head = &text[..text.find("<upd:Properties").unwrap()];
        assert!(head.to_lowercase().contains(id.as_str()) && head.contains(&own), "{head}");
    }
    // Whatever a bundle names is there.
    let named: Vec<(String, u32)> = documents
        .values()
        .filter_map(|text| text.split("<upd:BundledUpdates>").nth(1)?.split("</upd:BundledUpdates>").next())
        .flat_map(|part| part.split("UpdateID=\"").skip(1))
        .map(|one| (one[..36].to_owned(), one.split('"').nth(2).unwrap().parse().unwrap()))
        .collect();
    assert!(named.len() > 1_000);
    for identity in &named {
        assert!(documents.contains_key(identity), "{identity:?}");
    }
}

#[test]
fn the_same_seed_makes_the_same_catalog_and_another_another() {
    let read = |seed| {
        let sim = Sim::start(Options { seed, months: 2, ..small(Character::Microsoft) }).unwrap();
        let client = Client::new(&sim);
        let all = client.list(false, "", "").1;
        let answer = client.call("GetUpdateData", &Client::ids(&all[..40])).text().to_owned();
        (all, answer.replace(&sim.address().to_string(), "here"), sim.state(&json!({})))
    };
    let (one, two, other) = (read(5), read(5), read(6));
    assert_eq!(one, two);
    assert_ne!(one.0, other.0);
}

#[test]
fn product_and_classification_must_both_be_named() {
    let sim = Sim::start(small(Character::Microsoft)).unwrap();
    let client = Client::new(&sim);
    let count = |products: &[(&str, bool)], classes: &[(&str, bool)]| {
        client.list(false, "", &filter(products, classes)).1.len()
    };
    assert_eq!(count(&[(WINDOWS_11, false)], &[]), 0);
    assert_eq!(count(&[], &[(SECURITY, false)]), 0);
    assert_eq!(count(&[(DEFENDER, false)], &[(SECURITY, false)]), 0);
    let (one, family) =
        (count(&[(WINDOWS_11, false)], &[(SECURITY, false)]), count(&[(WINDOWS, false)], &[(SECURITY, false)]));
    assert!(0 < one && one < family, "{one} {family}");
    assert_eq!(client.list(false, "", "").1.len(), 400);
    let state = sim.state(&json!({ "products": [WINDOWS_11], "classifications": [SECURITY] }));
    assert_eq!(state["listed"], one);
    let missing = format!(
        "<filter><GetConfig>false</GetConfig>{}</filter>",
        filter(&[(WINDOWS_11, false)], &[(SECURITY, false)])
    );
    assert_eq!(client.code("GetRevisionIdList", &missing), "InvalidParameters", "Get63LanguageOnly is wanted");
    let disorder = "<filter><Get63LanguageOnly>false</Get63LanguageOnly><GetConfig>false</GetConfig></filter>";
    assert_eq!(client.code("GetRevisionIdList", disorder), "InvalidParameters");
}

#[test]
fn a_delta_tells_what_changed_and_whole_lists_are_told_again_on_demand() {
    let sim = Sim::start(small(Character::Microsoft)).unwrap();
    let client = Client::new(&sim);
    let both = |delta| filter(&[(WINDOWS_11, delta)], &[(SECURITY, delta)]);
    let (anchor, whole) = client.list(false, "", &both(false));
    assert_eq!(client.list(false, &anchor, &both(true)).1, []);
    assert_eq!(client.list(false, &anchor, &both(false)).1, whole);
    assert_eq!(client.list(false, "9,2036-01-01 00:00:00.000", "").1, []);
    let (all_anchor, all) = client.list(false, "", "");
    let (config_anchor, config) = client.list(true, "", "");
    let mut held: BTreeMap<String, u32> = all.into_iter().collect();
    let (mut all_anchor, mut seen_expired) = (all_anchor, false);
    for month in 1..=3 {
        assert_eq!(sim.advance(1), month);
        let (next, changed) = client.list(false, &all_anchor, "");
        assert!(!changed.is_empty() && changed.len() < 100, "{}", changed.len());
        assert!(next.split(',').nth(1) > all_anchor.split(',').nth(1), "anchors go on");
        seen_expired |= client.documents(&changed).values().any(|text| text.contains(r#"PublicationState="Expired""#));
        for (id, revision) in changed {
            assert!(held.insert(id, revision).is_none_or(|old| old < revision));
        }
        all_anchor = next;
    }
    assert!(seen_expired);
    let mut now: Vec<(String, u32)> = client.list(false, "", "").1;
    now.sort();
    assert_eq!(held.into_iter().collect::<Vec<_>>(), now, "deltas lead to what the whole list says");
    assert_eq!(sim.state(&json!({}))["updates"]["total"], now.len());
    let changed = client.list(true, &config_anchor, "").1;
    assert!(!changed.is_empty() && changed.len() < config.len() / 2);
    let grown = client.list(false, &anchor, &both(true)).1.len();
    let again = client.list(false, &anchor, &filter(&[(WINDOWS_11, true)], &[(SECURITY, false)])).1.len();
    assert!(again >= whole.len() && grown < again, "{grown} {again}");
}

#[test]
fn limits_and_refusals_are_those_of_real_servers() {
    let sim = Sim::start(Options { huge: 1, ..small(Character::Wsus) }).unwrap();
    let client = Client::new(&sim);
    let all = client.list(false, "", "").1;
    assert_eq!(client.code("GetUpdateData", &Client::ids(&all[..101])), "InvalidParameters");
    let mut wrong = all[..3].to_vec();
    wrong[1].1 = 999;
    assert_eq!(client.code("GetUpdateData", &Client::ids(&wrong)), "InternalServerError");
    let twice = vec![all[0].clone(), all[0].clone()];
    assert_eq!(documents(client.call("GetUpdateData", &Client::ids(&twice)).text()).len(), 2);
    let short = client.call("GetUpdateData", &Client::ids(&all[all.len() - 100..]));
    assert!(documents(short.text()).len() < 100, "the huge one leaves no room");
    let mut old = Client::new(&sim);
    sim.fault(&json!({ "fault": "expired-cookie" })).unwrap();
    assert_eq!(old.code("GetConfigData", ""), "InvalidCookie");
    assert_eq!(client.code("GetConfigData", ""), "InvalidCookie", "all cookies are gone");
    old.log_in();
    assert_eq!(old.code("GetConfigData", ""), "");
    let version = |version: &str| {
        let answer =
            client.call_raw("GetCookie", &format!("<authCookies /><protocolVersion>{version}</protocolVersion>"));
        texts(answer.unwrap().text(), "ErrorCode").pop()
    };
    assert_eq!(version("2.0").as_deref(), Some("IncompatibleProtocolVersion"));
    assert_eq!(version("1.20").as_deref(), Some("InvalidAuthorizationCookie"));
    let digests = |text: &str| format!("<fileDigestList><base64Binary>{text}</base64Binary></fileDigestList>");
    assert_eq!(old.code("DownloadFiles", &digests(&BASE64.encode([7; 20]))), "FileDigestsMissing");
    assert_eq!(old.code("DownloadFiles", &digests("***")), "InvalidParameters");
    let soap12 = soap(r#"<GetAuthConfig xmlns="http://www.microsoft.com/SoftwareDistribution" />"#)
        .replace("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope");
    let answer = http(&sim, "POST", SYNC, "", &soap12).unwrap();
    assert!(answer.text().contains("http://www.w3.org/2003/05/soap-envelope"));
    assert!(answer.headers["content-type"].starts_with("application/soap+xml"));
}

/// A file as a document names it: SHA-1, SHA-256 (both raw), size, name.
fn file_of(text: &str) -> Option<(Vec<u8>, Vec<u8>, usize, String)> {
    let part = text.split("<upd:File ").nth(1)?;
    let value = |name: &str| part.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned();
    let sha256 = part.split("Algorithm=\"SHA256\">").nth(1)?.split('<').next()?;
    Some((
        BASE64.decode(value("Digest")).unwrap(),
        BASE64.decode(sha256).unwrap(),
        value("Size").parse().unwrap(),
        value("FileName"),
    ))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

#[test]
fn files_have_the_bytes_that_their_digests_say_wherever_they_lie() {
    let microsoft = Sim::start(small(Character::Microsoft)).unwrap();
    let client = Client::new(&microsoft);
    let all = client.list(false, "", "").1;
    let answer = client.call("GetUpdateData", &Client::ids(&all[all.len() - 60..]));
    let urls: BTreeMap<String, String> =
        texts(answer.text(), "FileDigest").into_iter().zip(texts(answer.text(), "MUUrl")).collect();
    let mut checked = 0;
    for (_, text) in documents(answer.text()) {
        let Some((sha1, sha256, size, _)) = file_of(&text) else { continue };
        let url = &urls[&BASE64.encode(&sha1)];
        let path = url.strip_prefix(&microsoft.url()).expect("an absolute address of its own");
        let whole = get(&microsoft, path, "");
        assert_eq!((whole.status, whole.body.len()), (200, size));
        assert_eq!(sha1::Sha1::digest(&whole.body).as_slice(), sha1);
        assert_eq!(sha2::Sha256::digest(&whole.body).as_slice(), sha256);
        let part = get(&microsoft, path, "Range: bytes=10-29\r\n");
        assert_eq!((part.status, part.body.as_slice()), (206, &whole.body[10..30]));
        assert_eq!(part.headers["content-range"], format!("bytes 10-29/{size}"));
        let last = get(&microsoft, path, "Range: bytes=-7\r\n");
        assert_eq!(last.body, whole.body[size - 7..]);
        assert_eq!(get(&microsoft, path, &format!("Range: bytes={size}-\r\n")).status, 416);
        let tag = &whole.headers["etag"];
        assert_eq!(get(&microsoft, path, &format!("If-None-Match: {tag}\r\n")).status, 304);
        assert_eq!(get(&microsoft, path, "Range: bytes=0-0\r\nIf-Range: \"other\"\r\n").status, 200);
        let head = http(&microsoft, "HEAD", path, "", "").unwrap();
        assert_eq!((head.status, head.headers["content-length"].parse().ok(), head.body.len()), (200, Some(size), 0));
        checked += 1;
    }
    assert!(checked > 10);

    let wsus = Sim::start(small(Character::Wsus)).unwrap();
    let client = Client::new(&wsus);
    let found = client.documents(&all[..60]);
    let (sha1, _, size, name) = found.values().find_map(|text| file_of(text)).unwrap();
    let digits = hex(&sha1);
    let extension = name.rsplit('.').next().unwrap();
    let path = format!("/Content/{}/{}.{extension}", digits[38..].to_uppercase(), digits.to_uppercase());
    assert_eq!(get(&wsus, &path, "").status, 404, "nobody asked for it yet");
    let named = format!("<fileDigestList><base64Binary>{}</base64Binary></fileDigestList>", BASE64.encode(&sha1));
    assert_eq!(client.code("DownloadFiles", &named), "");
    assert_eq!(sha1::Sha1::digest(get(&wsus, &path, "").body).as_slice(), sha1);
    assert_eq!(get(&wsus, &path.to_lowercase(), "").body.len(), size);
    assert_eq!(get(&wsus, &format!("/Content/00/{digits}.{extension}"), "").status, 404);
    assert_eq!(get(&wsus, &format!("/Content/{}/{digits}", &digits[38..]), "").status, 403);
    wsus.fault(&json!({ "fault": "wrong-digest" })).unwrap();
    assert_ne!(sha1::Sha1::digest(get(&wsus, &path, "").body).as_slice(), sha1);
    wsus.clear_faults();
    wsus.fault(&json!({ "fault": "content-truncated", "times": 1 })).unwrap();
    assert!(http(&wsus, "GET", &path, "", "").is_none(), "the connection broke");
    assert_eq!(get(&wsus, &path, "").body.len(), size);
    let log = wsus.log(5);
    assert!(log["content"]["bytes"].as_u64().unwrap() > 3 * size as u64, "{log}");
    assert_eq!(log["content"]["files"], 1);
}

#[test]
fn faults_of_documents_do_what_they_say_and_stay() {
    let sim = Sim::start(Options { blobs: Blobs::Mszip, ..small(Character::Microsoft) }).unwrap();
    let client = Client::new(&sim);
    let all = client.list(false, "", "").1;
    let good = client.documents(&all);
    let (sick, text) = good.iter().find(|(_, text)| text.contains("<upd:File Digest=")).unwrap();
    let bad = |kind: &str| {
        sim.clear_faults();
        sim.fault(&json!({ "fault": kind, "ids": [sick.0] })).unwrap();
        let one = client.call("GetUpdateData", &Client::ids(std::slice::from_ref(sick)));
        let two = client.call("GetUpdateData", &Client::ids(std::slice::from_ref(sick)));
        assert_eq!(one.text(), two.text(), "{kind} stays");
        one
    };
    let changed = |kind: &str| documents(bad(kind).text()).remove(0).1;
    assert!(text.starts_with(&changed("half-document")));
    assert!(!changed("wrong-identity").contains(&format!(r#"<upd:UpdateIdentity UpdateID="{}""#, sick.0)));
    assert!(
        changed("cyclic-prerequisite")
            .contains(&format!(r#"<upd:Prerequisites><upd:UpdateIdentity UpdateID="{}""#, sick.0))
    );
    assert!(changed("cyclic-bundle").contains("<upd:BundledUpdates>"));
    assert!(changed("bad-digest").contains("*** not base64 ***"));
    let size = |text: &str| file_of(text).unwrap().2;
    assert_eq!(size(&changed("lying-size")), size(text) + 1_000);
    assert!(changed("deep-xml").len() > text.len() + 500_000);
    assert!(changed("many-attributes").len() > text.len() + 300_000);
    assert!(changed("entity-bomb").starts_with("<!DOCTYPE"));
    let cabinet = |answer: Answer| BASE64.decode(&texts(answer.text(), "XmlUpdateBlobCompressed")[0]);
    assert!(cabinet(bad("bad-base64")).is_err());
    let bytes = cabinet(bad("bad-cabinet")).unwrap();
    let mut cabinet_of = cab::Cabinet::new(Cursor::new(bytes)).unwrap();
    let read = cabinet_of.read_file("blob").and_then(|mut blob| blob.read_to_end(&mut Vec::new()));
    assert!(read.is_err(), "its checksum does not fit");
    let bomb = cabinet(bad("cabinet-bomb")).unwrap();
    assert!(bomb.len() < 4_000_000);
    sim.clear_faults();
    assert_eq!(&documents(client.call("GetUpdateData", &Client::ids(std::slice::from_ref(sick))).text())[0].1, text);
}

#[test]
fn faults_of_calls_do_what_they_say_and_the_log_counts() {
    let sim = Sim::start(small(Character::Microsoft)).unwrap();
    let client = Client::new(&sim);
    let all = client.list(false, "", "").1;
    let ids = Client::ids(&all[..20]);
    sim.reset_log();
    for (kind, code) in [
        ("server-busy", "ServerBusy"),
        ("server-changed", "ServerChanged"),
        ("invalid-cookie", "InvalidCookie"),
        ("internal-server-error", "InternalServerError"),
        ("invalid-parameters", "InvalidParameters"),
    ] {
        let url = format!("/_sim/fault?fault={kind}&count=1");
        assert_eq!(http(&sim, "POST", &url, "", "").unwrap().status, 200);
        assert_eq!(client.code("GetUpdateData", &ids), code);
    }
    let ordered = |order: Value| {
        sim.fault(&order).unwrap();
        client.call_raw("GetUpdateData", &format!("{}{ids}", client.cookie))
    };
    assert_eq!(documents(ordered(json!({ "fault": "short-answer" })).unwrap().text()).len(), 10);
    assert_eq!(documents(ordered(json!({ "fault": "duplicate-items" })).unwrap().text()).len(), 40);
    assert_eq!(documents(ordered(json!({ "fault": "stray-items" })).unwrap().text()).len(), 21);
    assert!(ordered(json!({ "fault": "truncated-body" })).is_none());
    assert!(ordered(json!({ "fault": "drop" })).is_none());
    assert_eq!(ordered(json!({ "fault": "http-503", "status": 502 })).unwrap().status, 502);
    assert!(ordered(json!({ "fault": "not-xml" })).unwrap().text().starts_with("<html>"));
    assert!(!ordered(json!({ "fault": "half-answer" })).unwrap().text().contains("</soap:Envelope>"));
    let start = std::time::Instant::now();
    assert!(ordered(json!({ "fault": "slow", "delay_ms": 120, "bytes_per_second": 1_000_000 })).is_some());
    assert!(start.elapsed().as_millis() >= 120);
    sim.fault(&json!({ "fault": "duplicate-identities" })).unwrap();
    assert_eq!(client.list(false, "", "").1.len(), 2 * all.len());
    sim.fault(&json!({ "fault": "unknown-id", "count": 1, "after": 4 })).unwrap();
    assert_eq!(client.code("GetUpdateData", &ids), "InternalServerError");
    assert_eq!(client.code("GetUpdateData", &Client::ids(&all[4..5])), "InternalServerError");
    assert_eq!(client.code("GetUpdateData", &Client::ids(&all[..4])), "");
    let log: Value = serde_json::from_slice(&get(&sim, "/_sim/log?lines=3", "").body).unwrap();
    assert_eq!(log["faults"]["ServerBusy"], 1);
    assert_eq!(log["updates"]["distinct_asked"], 20);
    assert_eq!(log["updates"]["asked_more_than_once"], 20);
    assert_eq!(log["lines"].as_array().unwrap().len(), 3);
    assert_eq!(log["lines"][2]["ids"].as_array().unwrap().len(), 4);
    let refused = http(&sim, "POST", "/_sim/fault", "", r#"{"fault": "flood"}"#).unwrap();
    assert!(refused.status == 400 && refused.text().contains("server-busy"));
    assert_eq!(get(&sim, "/_sim/nothing", "").status, 404);
    let kinds: Value = serde_json::from_slice(&get(&sim, "/_sim/fault", "").body).unwrap();
    assert_eq!(kinds["kinds"].as_array().unwrap().len(), upstream_sim::fault_kinds().count());
}

#[test]
fn state_counts_what_following_every_relation_leads_to() {
    let sim = Sim::start(Options { months: 1, updates: 1_200, ..small(Character::Microsoft) }).unwrap();
    let client = Client::new(&sim);
    let (mut held, mut wanted) =
        (BTreeMap::new(), client.list(false, "", &filter(&[(WINDOWS_11, false)], &[(SECURITY, false)])).1);
    let newest: BTreeMap<String, u32> = client.list(false, "", "").1.into_iter().collect();
    while !wanted.is_empty() {
        let found = client.documents(&wanted);
        wanted.clear();
        for (identity, text) in found {
            let part = |name: &str| {
                let (open, close) = (format!("<upd:{name}>"), format!("</upd:{name}>"));
                text.split(&open).nth(1).map_or("", |part| part.split(&close).next().unwrap()).to_owned()
            };
            for one in format!("{}{}", part("Prerequisites"), part("BundledUpdates")).split("UpdateID=\"").skip(1) {
                if let Some(revision) = newest.get(&one[..36]) {
                    wanted.push((one[..36].to_owned(), *revision));
                }
            }
            held.insert(identity, text);
        }
        wanted.sort();
        wanted.dedup();
        wanted.retain(|identity| !held.contains_key(identity));
    }
    let filter = json!({ "products": [WINDOWS_11], "classifications": [SECURITY] });
    let state = sim.state(&filter);
    assert_eq!(state["updates"]["total"], held.len());
    let with = |word: &str| held.values().filter(|text| text.contains(word)).count();
    assert_eq!(state["updates"]["expired"], with(r#"PublicationState="Expired""#));
    assert_eq!(state["updates"]["deployable"], with(r#"ExplicitlyDeployable="true""#));
    assert_eq!(state["by_severity"]["critical"]["updates"], with(r#"MsrcSeverity="Critical""#));
    let files: BTreeSet<&str> = held
        .values()
        .flat_map(|text| text.split("<upd:File Digest=\"").skip(1))
        .map(|part| part.split('"').next().unwrap())
        .collect();
    assert_eq!(state["files"]["count"], files.len());
    let named: BTreeSet<String> = held
        .values()
        .filter_map(|text| text.split("<upd:SupersededUpdates>").nth(1)?.split("</upd:SupersededUpdates>").next())
        .flat_map(|part| part.split("UpdateID=\"").skip(1))
        .map(|one| one[..36].to_owned())
        .filter(|id| held.keys().any(|(held, _)| held == id))
        .collect();
    assert_eq!(state["updates"]["superseded"], named.len());
    let identities = sim.identities(&filter);
    let software =
        identities.as_array().unwrap().iter().filter(|one| one["kind"] == "software" || one["kind"] == "driver");
    let told: BTreeSet<(String, u32)> = software
        .map(|one| (one["id"].as_str().unwrap().to_owned(), one["revision"].as_u64().unwrap() as u32))
        .collect();
    assert_eq!(told, held.keys().cloned().collect());
    assert!(sim.state(&json!({ "products": ["x"] }))["error"].is_string());
}
