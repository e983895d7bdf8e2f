//! `groups ..` and `approvals ..` on a data directory without a node: the same handlers answer.

use super::catalog::{ill, stock, well};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_approvals_are_kept_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    stock(data, false).await;
    let empty = well(data, &["groups", "list"]);
    assert!(empty.contains("unassigned") && empty.contains("groups add"), "{empty}");
    well(data, &["groups", "add", "Contoso", "--level", "company", "--review", "on"]);
    let added = well(data, &["groups", "add", "Pilot", "--below", "Contoso", "--test", "on", "--rule", "name KIOSK-*"]);
    assert!(added.starts_with("Contoso/Pilot (group; test, name kiosk-*)") && added.contains("next scan"), "{added}");
    let listed = well(data, &["groups", "list"]);
    assert!(listed.contains("\n  Contoso ") && listed.contains("\n    Pilot "), "{listed}");
    let csv = well(data, &["groups", "list", "--csv"]);
    assert!(csv.contains(",Contoso/Pilot,group,true,false,name kiosk-*,0,0,"), "{csv}");
    let wrong = ill(data, &["groups", "add", "Pilot", "--below", "Contoso"]);
    assert!(wrong.contains("beside it already"), "{wrong}");
    let wrong = ill(data, &["groups", "move-endpoint", "pc7", "--to", "Pilot"]);
    assert!(wrong.contains("has not registered here"), "{wrong}");

    let said = well(data, &["approvals", "set", "KB5031234", "--group", "pilot", "--deadline", "2099-01-31"]);
    assert!(said.contains("00000010  licence, review"), "{said}");
    assert!(said.contains("1 word changed") && said.contains("license accept") && said.contains("next scan"), "{said}");
    well(data, &["updates", "approve", "KB5031111"]);
    let listed = well(data, &["approvals", "list"]);
    let row = listed.lines().find(|line| line.starts_with("00000010")).unwrap().to_owned();
    assert!(row.contains("Contoso/Pilot  install  2099-02-01T00:00:00Z"), "{listed}");
    assert_eq!(listed.matches("  all  ").count(), 2, "{listed}");
    let listed = well(data, &["updates", "list", "--decision", "approved"]);
    assert!(listed.contains("approved for some"), "{listed}");
    let csv = well(data, &["approvals", "list", "--update", "KB5031234", "--csv"]);
    assert_eq!(csv.matches("\r\n").count(), 2, "{csv}");
    let waiting = well(data, &["approvals", "license", "list"]);
    assert!(waiting.contains("  no  ") && waiting.contains("license accept"), "{waiting}");
    let accepted = well(data, &["approvals", "license", "accept", "KB5031234"]);
    assert!(accepted.starts_with("1 licence accepted for all endpoints"), "{accepted}");
    let reviewed = well(data, &["approvals", "review", "KB5031234", "--state", "in-test"]);
    assert!(reviewed.contains("it counts in Contoso"), "{reviewed}");
    let past = ill(data, &["approvals", "set", "KB5031234", "--group", "Pilot", "--deadline", "2020-01-01"]);
    assert!(past.contains("has passed; choose a later one"), "{past}");
    let gone = well(data, &["approvals", "withdraw", "KB5031234", "--everywhere"]);
    assert!(gone.contains("1 word changed"), "{gone}");
    let nothing = well(data, &["approvals", "list", "--group", "Pilot"]);
    assert!(nothing.contains("nothing was said of that"), "{nothing}");
    let removed = well(data, &["groups", "remove", "Contoso/Pilot"]);
    assert!(removed.contains("removed, with what was approved for it"), "{removed}");
    let both = run(data, &["approvals", "list", "--csv", "--json"]);
    assert_eq!(both.status.code(), Some(2), "{}", text(&both.stderr));
    let nobody = run(data, &["groups", "move-endpoint", "pc7"]);
    assert_eq!(nobody.status.code(), Some(2), "{}", text(&nobody.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_given_a_policy_and_lists_are_sifted_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    stock(data, false).await;
    well(data, &["groups", "add", "Contoso", "--level", "company"]);
    well(data, &["groups", "add", "Servers", "--below", "Contoso"]);
    let set = well(data, &["compliance", "policy", "set", "Servers", "--severity", "critical", "--missing-days", "7"]);
    assert!(set.starts_with("Contoso/Servers") && set.contains("7 days (critical or worse)"), "{set}");
    well(data, &["compliance", "policy", "set", "Contoso", "--scan-days", "3"]);
    let shown = well(data, &["compliance", "policy", "show", "Servers"]);
    assert!(shown.contains("a scan within 3 days") && shown.contains("[compliance]"), "{shown}");
    let all = well(data, &["compliance", "policy", "show"]);
    let row = all.lines().find(|line| line.starts_with("Contoso/Servers")).unwrap().to_owned();
    assert!(row.contains("critical *") && row.contains("7 *") && !row.contains("3 *"), "{all}");
    let unset = well(data, &["compliance", "policy", "unset", "Servers", "--severity"]);
    assert!(unset.contains("7 days (important or worse)"), "{unset}");
    well(data, &["compliance", "policy", "unset", "Servers"]);
    let json: Value = serde_json::from_str(&well(data, &["compliance", "policy", "show", "--json"])).unwrap();
    assert_eq!(json["rows"].as_array().unwrap().len(), 2, "{json}");
    for (wrong, says) in [
        (&["compliance", "policy", "set", "all", "--scan-days", "3"][..], "[compliance]"),
        (&["compliance", "policy", "set", "Contoso", "--scan-days", "0"], "not from 1 to 3650"),
        (&["compliance", "summary", "--group", "nowhere"], "no group is called"),
        (&["endpoints", "list", "--group", "nowhere"], "no group is called"),
    ] {
        let told = ill(data, wrong);
        assert!(told.contains(says), "{wrong:?}: {told}");
    }
    let bare = run(data, &["compliance", "policy", "set", "Contoso"]);
    assert_eq!(bare.status.code(), Some(2), "{}", text(&bare.stderr));
    assert!(well(data, &["compliance", "summary", "--group", "Contoso"]).contains("no endpoint is in that group"));
    let csv = well(data, &["compliance", "summary", "--csv"]);
    assert!(csv.starts_with("what,endpoints,updates,missing\r\n") && csv.contains("not-compliant,0,,"), "{csv}");
}
