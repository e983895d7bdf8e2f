//! The recorded scan of a native agent, request by request against a node whose catalog has what that scan was about, over a real socket: the
//! answers hold every element that the recorded ones hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use waystation::store::catalog::{Batch, Catalog, Incoming, Upstream, UpstreamKind};
use waystation::wire::fragments::derive;

use crate::documents::ordered;
use crate::endpoints::{Agent, Node, sim};
use crate::recorded::recorded;
use crate::tree::Element;

/// The elements without children of each recorded answer, each path once, in order.
const ELEMENTS: [(u32, &str); 9] = [
    (1, "LastChange IsRegistrationRequired PlugInID ServiceUrl Parameter Name Value"),
    (2, "PlugInId CookieData"),
    (3, "Expiration EncryptedData"),
    (4, "RegisterComputerResponse"),
    (5, "guid"),
    (6, SCANNED),
    (7, SCANNED),
    (8, SCANNED),
    (10, "ID Xml"),
];

const SCANNED: &str = "ID ID Action IsAssigned LastChangeTime AutoSelect AutoDownload SupersedenceBehavior IsLeaf Xml \
                       Truncated Expiration EncryptedData DriverSyncNotNeeded";

/// Those of which only the number is compared: a server's own ids and cookies, and times.
const OWN: [&str; 6] = ["ID", "LastChange", "LastChangeTime", "CookieData", "Expiration", "EncryptedData"];

/// Elements without children: path and text.
fn leaves(element: &Element, above: &str, found: &mut Vec<(String, String)>) {
    let path = format!("{above}/{}", element.name);
    if element.children.is_empty() {
        found.push((path, element.plain()));
        return;
    }
    for child in &element.children {
        leaves(child, &path, found);
    }
}

/// The texts of an answer by path, each list in order.
fn texts(answer: &str) -> (Vec<String>, BTreeMap<String, Vec<String>>) {
    let mut found = Vec::new();
    leaves(&Element::read(answer), "", &mut found);
    let (mut paths, mut all) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
    for (path, text) in found {
        let name = path.rsplit('/').next().unwrap();
        let text = match name {
            _ if OWN.contains(&name) => String::new(),
            // The one for updates that somebody publishes on the server itself: its own name is in it.
            "Value" if text.starts_with(r"\\") => "a share".to_owned(),
            "Xml" => ordered(&text),
            "guid" => text.to_ascii_lowercase(),
            _ => text,
        };
        if !all.contains_key(&path) {
            paths.push(path.clone());
        }
        all.entry(path).or_default().push(text);
    }
    for texts in all.values_mut() {
        texts.sort();
    }
    (paths, all)
}

/// What stands in the first element of this name.
fn inside<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

fn replaced(text: &str, name: &str, by: &str) -> String {
    match inside(text, name) {
        Some(old) => text.replacen(&format!("<{name}>{old}</{name}>"), &format!("<{name}>{by}</{name}>"), 1),
        None => text.to_owned(),
    }
}

/// Number and update of each revision that an answer brings.
fn brought(answer: &str) -> Vec<(String, String)> {
    let infos = answer.split("<UpdateInfo>").skip(1);
    infos
        .map(|info| {
            let update = info.split_once("UpdateID=\"").unwrap().1.split('"').next().unwrap();
            (inside(info, "ID").unwrap().to_owned(), update.to_ascii_lowercase())
        })
        .collect()
}

/// Takes in the documents of the recorded fragments, as a run does.
async fn seed(catalog: &Catalog, documents: &Path) {
    let address = "http://wsus:8530".into();
    catalog.begin_upstream(Upstream { kind: UpstreamKind::Wsus, address, unauthenticated: true }).await.unwrap();
    let mut updates = Vec::new();
    for name in [
        "56309036-4c77-4dd9-951a-99ee9c246a94-r101",
        "6964aab4-c5b5-43bd-a17d-ffb4346a8e1d-r100",
        "dd78b8a1-0b20-45c1-add6-4da72e9364cf-r202",
    ] {
        let document = fs::read(documents.join(format!("{name}.xml"))).unwrap();
        let (mut core, mut extended) = (Vec::new(), Vec::new());
        let derived = derive(document.as_slice(), &mut core, &mut extended).unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        updates.push(Incoming {
            update: derived.update,
            document: text(document).into(),
            cabinet: true,
            core: text(core).into(),
            extended: text(extended).into(),
            localized: derived.localized.into_iter().map(|one| (one.language, one.text.into())).collect(),
            urls: vec![],
        });
    }
    let named = updates.iter().map(|incoming| incoming.update.identity).collect();
    catalog.open_list("all".into(), "an anchor".into()).await.unwrap();
    catalog.list("all".into(), named).await.unwrap();
    catalog.close_list("all".into()).await.unwrap();
    let applied = catalog.import(Batch { set: "all".into(), updates, ..Batch::default() }).await.unwrap();
    assert_eq!((applied.new, applied.refused.len()), (3, 0), "{applied:?}");
    catalog.settle_upstream().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_scan_is_answered_with_all_that_the_recorded_answers_hold() {
    let (Some(scan), Some(documents)) = (recorded("wusp/scan"), recorded("wsusss/documents")) else { return };
    let sim = sim(20);
    let node = Node::empty(&sim);
    seed(&node.store.catalog(), &documents).await;
    let server = node.listen(|_| ()).await;
    let mut agent = Agent::new(server.addresses()[0], 1).await;
    // What the node said of its own in the place of what the recorded server said: cookies, the configuration's time, numbers.
    let (mut own, mut numbers) = (BTreeMap::<&str, String>::new(), BTreeMap::<String, String>::new());
    for (number, elements) in ELEMENTS {
        let folder = scan.join(format!("{number:06}"));
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let (headers, mut body, theirs) = (read("request.headers"), read("request.body"), read("response.body"));
        for (name, by) in &own {
            body = replaced(&body, name, by);
        }
        for (recorded, given) in &numbers {
            body = body.replace(&format!("<int>{recorded}</int>"), &format!("<int>{given}</int>"));
        }
        let path = headers.split_whitespace().nth(1).unwrap();
        let action = headers.lines().find_map(|line| line.strip_prefix("SOAPAction: ")).unwrap();
        let answer = agent.post(path, action.trim().trim_matches('"'), &body).await;
        let ours = String::from_utf8(answer.body.clone()).unwrap();
        assert_eq!(answer.status, 200, "{number}: {ours}");
        assert!(
            read("response.headers").contains(answer.header("content-type").unwrap()),
            "{number}: {:?}",
            answer.headers
        );

        let (paths, wanted) = texts(&theirs);
        let names: Vec<&str> = paths.iter().map(|path| path.rsplit('/').next().unwrap()).collect();
        assert_eq!(names.join(" "), elements, "{number}: elements of the recorded answer");
        let (_, found) = texts(&ours);
        for path in &paths {
            assert_eq!(found.get(path), wanted.get(path), "{number}: {path} in {ours}");
        }
        // What it was sent is what the recorded agent was sent, and it held none of it.
        let (given, sent) = (brought(&ours), brought(&theirs));
        let updates = |all: &[(String, String)]| all.iter().map(|(_, update)| update.clone()).collect::<Vec<_>>();
        assert_eq!(updates(&given), updates(&sent), "{number}");
        for ((given, _), (recorded, _)) in given.into_iter().zip(sent) {
            assert!(!body.contains(&format!("<int>{given}</int>")), "{number}: {given} is held");
            numbers.insert(recorded, given);
        }
        for (name, of) in [
            ("CookieData", "CookieData"),
            ("lastChange", "LastChange"),
            ("cookie", "GetCookieResult"),
            ("cookie", "NewCookie"),
        ] {
            own.extend(inside(&ours, of).map(|text| (name, text.to_owned())));
        }
    }
    assert_eq!(numbers.len(), 3, "a company, a family, a product");
    server.drain(std::time::Duration::from_secs(10)).await;
    node.close().await;
}
