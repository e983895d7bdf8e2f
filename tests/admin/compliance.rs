//! Policies of groups and filters by group through the API, held against what counting each endpoint by itself gives.

use std::collections::BTreeMap;

use super::approvals::{machine, ok, refused};
use super::*;
use crate::made_catalog::{id, import, updates};
use waystation::admin::compliance::Reported;
use waystation::base::time::{Clock, Timestamp};
use waystation::fleet::compliance::Compliance;
use waystation::fleet::compliance::told::{Told, What};
use waystation::model::compliance::{Policy, State};
use waystation::model::deployment::Endpoint;
use waystation::model::update::UpdateId;

const CRITICAL: u32 = 0x10;
const UNRATED: u32 = 0x14;

fn ago(days: u64) -> u32 {
    u32::try_from(SystemClock.now().ms() / 1000 - days * 86_400).unwrap()
}

pub(super) struct Site {
    pub(super) plane: Plane,
    compliance: Compliance,
}

impl Site {
    /// Contoso has Berlin by subnet; the machines 1 and 2 are in Berlin, 3 in Contoso, 4 in no group and has told nothing.
    pub(super) async fn new() -> Self {
        let mut plane = Plane::new();
        let compliance = Compliance::new(&plane.handles.store);
        plane.handles.reported = Reported::new(compliance.clone(), Arc::new(Policy::default));
        import(&plane.handles.store.catalog(), updates(b"some bytes"), false).await;
        let groups = "/api/v1/groups";
        let contoso = json!({ "name": "Contoso", "level": "company", "rules": ["subnet 10.0.0.0/8"] });
        ok(&plane, Method::POST, groups, contoso).await;
        let berlin = json!({ "name": "Berlin", "below": "Contoso", "rules": ["subnet 10.1.0.0/16"] });
        ok(&plane, Method::POST, groups, berlin).await;
        for (at, address) in [(1, [10, 1, 0, 1]), (2, [10, 1, 0, 2]), (3, [10, 2, 0, 3]), (4, [192, 0, 2, 4])] {
            machine(&plane, at, &format!("pc{at}.site.example"), address, &[]).await;
        }
        let site = Self { plane, compliance };
        // 10 days ago all scanned, and the first missed something that is critical.
        site.tells(1, 10, &[(CRITICAL, State::NotInstalled), (UNRATED, State::NotInstalled)]).await;
        site.tells(2, 10, &[(CRITICAL, State::Installed), (UNRATED, State::NotInstalled)]).await;
        site.tells(3, 10, &[(CRITICAL, State::Failed)]).await;
        site
    }

    async fn tells(&self, at: u8, days: u64, states: &[(u32, State)]) {
        let what =
            What::Snapshot(states.iter().map(|(of, state)| (id(*of), *state)).collect::<BTreeMap<_, _>>().into());
        let endpoint = Endpoint(UpdateId::new([at; 16]));
        self.compliance.report(endpoint, vec![Told { at: ago(days), what }]).await.unwrap();
    }

    async fn policy(&self, group: &str, body: Value) -> Value {
        ok(&self.plane, Method::POST, &format!("/api/v1/compliance/policies/{group}"), body).await
    }

    /// By name: why it does not keep to its policies.
    async fn reasons(&self, query: &str) -> BTreeMap<String, Vec<String>> {
        let all = self.plane.get(&format!("/api/v1/compliance/endpoints?limit=500{query}")).await;
        let rows = all["rows"].as_array().unwrap().iter();
        let told = rows.map(|row| {
            let name = row["name"].as_str().unwrap().split('.').next().unwrap().to_owned();
            (name, row["reasons"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect())
        });
        told.collect()
    }

    /// The overview of each group is what its endpoints come to one by one; that of all is what is kept up.
    async fn recounted(&self) {
        assert_eq!(self.compliance.check().await.unwrap(), Vec::<String>::new());
        for group in ["", "all", "Contoso", "Berlin", "unassigned"] {
            let (of, and) = if group.is_empty() {
                (String::new(), String::new())
            } else {
                (format!("?group={group}"), format!("&group={group}"))
            };
            let told = self.plane.get(&format!("/api/v1/compliance{of}")).await;
            let all = self.plane.get(&format!("/api/v1/compliance/endpoints?limit=500{and}")).await;
            let rows = all["rows"].as_array().unwrap();
            let many = |fits: &dyn Fn(&Value) -> bool| rows.iter().filter(|row| fits(row)).count() as u64;
            let verdict = |word: &str| many(&|row| row["verdict"] == word);
            let sum = |key: &str| rows.iter().map(|row| row[key].as_u64().unwrap()).sum::<u64>();
            assert_eq!(told["endpoints"], rows.len() as u64, "{group}");
            assert_eq!(told["compliant"], many(&|row| row["compliant"] == true), "{group}");
            assert_eq!(told["not_compliant"], many(&|row| row["compliant"] == false), "{group}");
            assert_eq!(told["missing"], verdict("missing"), "{group}");
            assert_eq!(told["up_to_date"], verdict("up-to-date"), "{group}");
            assert_eq!(told["not_scanned"], verdict("not-scanned"), "{group}");
            assert_eq!(told["failed"], many(&|row| row["failed"].as_u64() > Some(0)), "{group}");
            let missing = self.plane.get(&format!("/api/v1/compliance/missing?limit=500{and}")).await;
            let missing = missing["rows"].as_array().unwrap();
            assert_eq!(
                missing.iter().map(|row| row["missing"].as_u64().unwrap()).sum::<u64>(),
                sum("missing"),
                "{group}"
            );
            for level in told["by_severity"].as_array().unwrap() {
                let word = level["severity"].as_str().unwrap();
                assert_eq!(level["missing"], sum(word), "{group} {word}");
                assert_eq!(level["endpoints"], many(&|row| row[word].as_u64() > Some(0)), "{group} {word}");
                let updates = missing.iter().filter(|row| row["severity"] == word).count() as u64;
                assert_eq!(level["updates"], updates, "{group} {word}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_a_policy_of_its_own_and_verdicts_say_whose_it_is() {
    let site = Site::new().await;
    let none: BTreeMap<String, Vec<String>> = [1, 2, 3].map(|at| (format!("pc{at}"), vec![])).into();
    let never = ("pc4".to_owned(), vec!["it has never told what a scan found".to_owned()]);
    assert_eq!(site.reasons("").await, none.clone().into_iter().chain([never.clone()]).collect());
    site.recounted().await;

    // What a company says holds below it; what it does not say comes from [compliance].
    let told = site.policy("Contoso", json!({ "scan_days": 5 })).await;
    assert_eq!((&told["policy"]["scan_days"], &told["policy"]["missing_days"]), (&json!(5), &json!(30)));
    assert_eq!((&told["scan_by"], &told["missing_by"]), (&json!("Contoso"), &json!("all")));
    let reasons = site.reasons("").await;
    assert!(reasons["pc1"][0].ends_with("at most 5 days may pass (policy of Contoso)"), "{reasons:?}");
    assert_eq!((reasons["pc3"].len(), &reasons["pc4"]), (1, &never.1));
    site.recounted().await;

    // What is nearer counts, field by field.
    let told = site.policy("Berlin", json!({ "scan_days": 12, "missing_days": 9, "severity": "any" })).await;
    assert_eq!((&told["missing_by"], &told["restart_by"]), (&json!("Contoso/Berlin"), &json!("all")));
    let reasons = site.reasons("&group=Contoso/Berlin").await;
    assert_eq!(reasons.keys().collect::<Vec<_>>(), ["pc1", "pc2"]);
    assert!(reasons["pc1"][0].starts_with("2 updates are missing for more than 9 days"), "{reasons:?}");
    assert!(reasons["pc2"][0].ends_with("for 10 days (policy of Contoso/Berlin)"), "{reasons:?}");
    let whole = site.plane.get("/api/v1/compliance/endpoints/pc2").await;
    assert_eq!(whole["policies"], json!(["all", "Contoso/Berlin"]));
    site.recounted().await;

    // A membership that changes is followed; in several groups all of their policies count.
    let place = json!({ "endpoints": ["pc3"], "groups": ["Contoso", "Contoso/Berlin"] });
    ok(&site.plane, Method::POST, "/api/v1/groups/place", place).await;
    let reasons = site.reasons("&group=Berlin&compliant=false").await;
    let both = &reasons["pc3"];
    assert!(both.iter().any(|text| text.ends_with("(policy of Contoso)")), "{both:?}");
    assert!(both.iter().any(|text| text.ends_with("(policy of Contoso/Berlin)")), "{both:?}");
    site.recounted().await;
    ok(&site.plane, Method::POST, "/api/v1/groups/place", json!({ "endpoints": ["pc3"], "groups": [] })).await;
    site.policy("unassigned", json!({ "restart_days": 1 })).await;
    site.tells(3, 1, &[(CRITICAL, State::PendingRestart)]).await;
    site.recounted().await;
    assert_eq!(site.reasons("&compliant=true").await.keys().collect::<Vec<_>>(), ["pc3"]);

    // One part, then all of it comes from above again; a group takes its policy with it.
    let told = site.policy("Berlin", json!({ "clear": ["scan_days"] })).await;
    assert_eq!((&told["policy"]["scan_days"], &told["own"]["missing_days"]), (&json!(5), &json!(9)));
    let listed = site.plane.get("/api/v1/compliance/policies").await;
    let named: Vec<_> = listed["rows"].as_array().unwrap().iter().map(|row| row["group"].as_str().unwrap()).collect();
    assert_eq!(named, ["all", "Contoso", "Contoso/Berlin", "unassigned"]);
    ok(&site.plane, Method::DELETE, "/api/v1/groups/Berlin", Value::Null).await;
    ok(&site.plane, Method::DELETE, "/api/v1/compliance/policies/Contoso", Value::Null).await;
    let listed = site.plane.get("/api/v1/compliance/policies").await;
    assert_eq!(listed["rows"].as_array().unwrap().len(), 2, "{listed}");
    let of_all = refused(&site.plane, Method::POST, "/api/v1/compliance/policies/all", json!({ "scan_days": 5 })).await;
    assert!(of_all.contains("[compliance]"), "{of_all}");
    refused(&site.plane, Method::POST, "/api/v1/compliance/policies/nowhere", json!({ "scan_days": 5 })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_sifted_by_group() {
    let site = Site::new().await;
    let missing = async |query: &str| {
        let all = site.plane.get(&format!("/api/v1/compliance/missing?limit=500{query}")).await;
        let rows = all["rows"].as_array().unwrap().iter();
        rows.map(|row| (row["id"].as_str().unwrap().to_owned(), row["missing"].as_u64().unwrap())).collect::<Vec<_>>()
    };
    let (critical, unrated) = (id(CRITICAL).to_string(), id(UNRATED).to_string());
    assert_eq!(missing("").await, [(critical.clone(), 2), (unrated.clone(), 2)]);
    assert_eq!(missing("&group=Berlin").await, [(critical.clone(), 1), (unrated.clone(), 2)]);
    assert_eq!(missing("&group=Contoso&severity=critical").await, [(critical.clone(), 2)]);
    assert_eq!(missing("&group=unassigned").await, []);
    assert_eq!(missing("&group=Berlin&endpoint=pc2").await, [(unrated, 2)]);
    let listed = async |query: &str| {
        let all = site.plane.get(&format!("/api/v1/endpoints?limit=500{query}")).await;
        let rows = all["rows"].as_array().unwrap().iter();
        rows.map(|row| row["name"].as_str().unwrap().split('.').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed("&group=Contoso").await, ["pc1", "pc2", "pc3"]);
    assert_eq!(listed("&group=Contoso/Berlin").await, ["pc1", "pc2"]);
    assert_eq!(listed("&group=unassigned").await, ["pc4"]);
    assert_eq!(listed("&group=all").await.len(), 4);
    let wrong = refused(&site.plane, Method::GET, "/api/v1/endpoints?group=nowhere", Value::Null).await;
    assert!(wrong.contains("no group is called"), "{wrong}");
    // What a policy says of a moment outlives the node's: it lies in the store.
    let kept = Timestamp::from_ms(SystemClock.now().ms());
    site.policy("Contoso", json!({ "severity": "critical" })).await;
    let said = site.plane.handles.store.approvals().policies().await.unwrap();
    assert!(said.values().all(|said| said.at >= kept && !said.own.is_empty()), "{said:?}");
}
