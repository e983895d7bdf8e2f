//! The recorded scan of a real agent against a real WSUS server: over a graph of the fragments that it was sent, the staging sends what the
//! server sent, and nothing that the request already holds.

use std::collections::BTreeMap;
use std::path::Path;

use waystation::fleet::category::preferred;
use waystation::fleet::graph::Graph;
use waystation::fleet::scan::{self, Page, Request};
use waystation::fleet::view::View;
use waystation::model::update::{CategoryKind, Clause, Identity, Kind, UpdateId};
use waystation::store::catalog::Related;

use crate::plain_xpress;
use crate::recorded::recorded;

/// The texts of all elements of this name.
fn all<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    text.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap()).collect()
}

fn one<'a>(text: &'a str, name: &str) -> &'a str {
    let all = all(text, name);
    assert_eq!(all.len(), 1, "{name} in {text}");
    all[0]
}

fn plain(escaped: &str) -> String {
    escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    tag.split_once(&format!(" {name}=\"")).map(|(_, rest)| rest.split('"').next().unwrap())
}

fn numbers(text: &str, list: &str) -> Vec<u32> {
    all(text, list).iter().flat_map(|list| all(list, "int")).map(|number| number.parse().unwrap()).collect()
}

/// What a request and its answer say.
struct Exchange {
    request: String,
    answer: String,
}

fn exchange(folder: &Path) -> Exchange {
    let answer = std::fs::read(folder.join("response.body")).unwrap();
    let head = std::fs::read_to_string(folder.join("response.headers")).unwrap().to_lowercase();
    let answer = if head.contains("content-encoding: xpress") { plain_xpress::body(&answer) } else { answer };
    Exchange {
        // Of some only the head was kept.
        request: std::fs::read_to_string(folder.join("request.body")).unwrap_or_default(),
        answer: String::from_utf8(answer).unwrap(),
    }
}

/// A revision as its Core fragment has it.
fn revision(number: u32, core: &str, product: bool) -> Related {
    let mut found: Option<Related> = None;
    let (mut is_prerequisite, mut clause, mut members) = (false, None::<Clause>, vec![]);
    for tag in core.split('<').skip(1) {
        let name = tag.split([' ', '>', '/']).find(|name| !name.is_empty()).unwrap();
        let identity = || -> UpdateId { attribute(tag, "UpdateID").unwrap().parse().unwrap() };
        let revision = || attribute(tag, "RevisionNumber").unwrap().parse().unwrap();
        match (name, &mut found) {
            ("UpdateIdentity", None) => {
                let identity = Identity { id: identity(), revision: revision() };
                found = Some(Related { core: core.len() as u64, ..Related::new(number, identity, Kind::Software) });
            }
            ("Properties", Some(found)) => {
                found.kind = match attribute(tag, "UpdateType") {
                    Some("Category") if product => Kind::Category(CategoryKind::Product),
                    Some("Category") => Kind::Category(CategoryKind::Other),
                    Some("Detectoid") => Kind::Detectoid,
                    Some("Driver") => Kind::Driver,
                    _ => Kind::Software,
                };
                found.deployable = attribute(tag, "ExplicitlyDeployable") == Some("true");
            }
            ("Prerequisites", Some(found)) => {
                if tag.starts_with('/') {
                    found.prerequisites.extend(clause.take());
                }
                is_prerequisite = !tag.starts_with('/');
            }
            ("AtLeastOne", Some(found)) if is_prerequisite => match clause.take() {
                Some(clause) if tag.starts_with('/') => found.prerequisites.push(clause),
                _ => {
                    let is_category = attribute(tag, "IsCategory") == Some("true");
                    clause = Some(Clause { any_of: vec![], is_category });
                }
            },
            ("UpdateIdentity", Some(found)) if is_prerequisite => match &mut clause {
                Some(clause) => clause.any_of.push(identity()),
                None => found.prerequisites.push(Clause { any_of: vec![identity()], is_category: false }),
            },
            ("UpdateIdentity", Some(_)) if attribute(tag, "RevisionNumber").is_some() => {
                members.push(Identity { id: identity(), revision: revision() });
            }
            ("UpdateIdentity", Some(found)) => found.supersedes.push(identity()),
            _ => {}
        }
    }
    Related { members, ..found.unwrap() }
}

#[test]
fn the_recorded_scan_is_staged_as_the_server_did() {
    let Some(folder) = recorded("wusp/scan") else { return };
    let exchanges: BTreeMap<u32, Exchange> =
        [5, 6, 7, 8, 9, 10].map(|at: u32| (at, exchange(&folder.join(format!("{at:06}"))))).into();
    // The extended fragments say what kind of category each is.
    let products: Vec<u32> = all(&exchanges[&10].answer, "Update")
        .into_iter()
        .filter(|update| plain(one(update, "Xml")).contains("CategoryType=\"Product\""))
        .map(|update| one(update, "ID").parse().unwrap())
        .collect();
    let mut graph = Graph::default();
    let mut seeded = 0;
    for infos in exchanges.values().flat_map(|exchange| all(&exchange.answer, "UpdateInfo")) {
        let number: u32 = infos.split("<ID>").nth(1).unwrap().split('<').next().unwrap().parse().unwrap();
        graph.insert(&revision(number, &plain(one(infos, "Xml")), products.contains(&number)));
        seeded += 1;
    }
    assert_eq!(seeded, 3, "a company, a family, a product");
    let whole = View::new(&graph, &[], 5, None);
    let (mut replayed, mut sent) = (0, 0);
    for (at, exchange) in exchanges.iter().filter(|(_, exchange)| exchange.request.contains("<SyncUpdates ")) {
        let installed = numbers(&exchange.request, "InstalledNonLeafUpdateIDs");
        let cached = numbers(&exchange.request, "OtherCachedUpdateIDs");
        let filter: Vec<UpdateId> = all(&exchange.request, "Id").into_iter().map(|id| id.parse().unwrap()).collect();
        assert_eq!(filter.len(), 1);
        let view = whole.only(&graph, &filter).unwrap();
        let request = Request { installed: &installed, cached: &cached, mark: 5, two_groups: true };
        let answer = scan::software(&view, Some(&whole), &request, Page::of(&view)).unwrap();
        let held: Vec<u32> = installed.iter().chain(&cached).copied().collect();
        assert!(answer.new.iter().all(|entry| !held.contains(&entry.number)), "{at}");
        for info in all(&exchange.answer, "UpdateInfo") {
            let number = info.split("<ID>").nth(1).unwrap().split('<').next().unwrap().parse::<u32>().unwrap();
            let entry = answer.new.iter().find(|entry| entry.number == number);
            let entry = entry.unwrap_or_else(|| panic!("{at}: {number} was sent, and is not here"));
            assert_eq!(entry.action.word(), one(info, "Action"), "{at}: {number}");
            assert_eq!(entry.is_leaf.to_string(), one(info, "IsLeaf"), "{at}: {number}");
            sent += 1;
        }
        assert_eq!(answer.new.len(), all(&exchange.answer, "UpdateInfo").len(), "{at}");
        assert_eq!(answer.truncated.to_string(), one(&exchange.answer, "Truncated"), "{at}");
        assert_eq!(answer.no_driver_sync.to_string(), one(&exchange.answer, "DriverSyncNotNeeded"), "{at}");
        assert!(answer.out_of_scope.is_empty() && answer.deployed_out_of_scope.is_empty() && answer.changed.is_empty());
        replayed += 1;
    }
    assert_eq!((replayed, sent), (3, 3));
    // The question about drivers, and that for categories.
    let drivers = scan::drivers(&Request::default());
    assert!(drivers.new.is_empty() && !drivers.truncated && !exchanges[&9].answer.contains("UpdateInfo"));
    assert_eq!(drivers.no_driver_sync.to_string(), one(&exchanges[&9].answer, "DriverSyncNotNeeded"));
    let requested: Vec<(i32, UpdateId)> = all(&exchanges[&5].request, "CategoryRelationship")
        .into_iter()
        .map(|asked| (one(asked, "IndexOfAndGroup").parse().unwrap(), one(asked, "CategoryId").parse().unwrap()))
        .collect();
    let told = preferred(&requested, |id| graph.category(id)).unwrap();
    let expected: Vec<UpdateId> =
        all(&exchanges[&5].answer, "guid").into_iter().map(|id| id.parse().unwrap()).collect();
    assert_eq!((told.preferred, told.in_error), (expected, vec![]));
}
