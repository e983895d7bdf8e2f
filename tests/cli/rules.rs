//! `rules ..` on a data directory without a node: the same handlers answer, and a run does the same.

use super::catalog::{ill, stock, well};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_made_previewed_run_and_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    stock(data, false).await;
    let empty = well(data, &["rules", "list"]);
    assert!(empty.contains("rules ready-made") && empty.contains("rules add"), "{empty}");
    let ready = well(data, &["rules", "ready-made"]);
    assert!(ready.contains("patch-tuesday (\"Patch Tuesday\")") && ready.contains("definitions"), "{ready}");
    well(data, &["groups", "add", "Contoso", "--level", "company"]);
    well(data, &["groups", "add", "Pilot", "--below", "Contoso"]);
    let added = well(
        data,
        &[
            "rules",
            "add",
            "Fixes",
            "--classification",
            "Hotfixes",
            "--ring",
            "Pilot",
            "--ring",
            "Contoso:3",
            "--disabled",
        ],
    );
    assert!(added.starts_with("Fixes (off)") && added.contains("Contoso/Pilot, Contoso after 3 days"), "{added}");
    assert!(added.contains("more than 10 % of at least 10") && added.contains("rules enable"), "{added}");
    let preview = well(data, &["rules", "preview", "fix"]);
    assert!(preview.contains("3 updates would be approved for a ring now"), "{preview}");
    assert!(preview.contains("nothing was changed") && preview.contains("next scan"), "{preview}");
    let csv = well(data, &["rules", "preview", "fix", "--csv"]);
    assert_eq!(csv.matches("\r\n").count(), 4, "{csv}");
    assert!(well(data, &["approvals", "list"]).contains("nothing is approved"));
    let off = ill(data, &["rules", "run"]);
    assert!(off.contains("no rule is switched on") && off.contains("next:"), "{off}");

    let on = well(data, &["rules", "enable", "Fixes"]);
    assert!(on.starts_with("Fixes (on)") && on.contains("3 updates due") && on.contains("next scan"), "{on}");
    let ran = well(data, &["rules", "run"]);
    assert!(ran.contains("done: 3 approvals") && ran.contains("next scan"), "{ran}");
    assert!(ran.contains("rule Fixes: approved for Contoso/Pilot (ring 1)"), "{ran}");
    assert!(ran.contains("note: until its licence is accepted"), "{ran}");
    assert!(well(data, &["rules", "run", "fixes"]).contains("nothing was due"));
    let listed = well(data, &["approvals", "list"]);
    assert_eq!(listed.matches("rule Fixes").count(), 3, "{listed}");

    let shown = well(data, &["rules", "show", "fixes"]);
    assert!(shown.contains("not-offered") && shown.contains("KB5031234: ring 1 of 2 has it and waits for"), "{shown}");
    assert!(shown.contains("released") && shown.contains("ring 1 (Contoso/Pilot): 3 updates"), "{shown}");
    let json: serde_json::Value = serde_json::from_str(&well(data, &["rules", "show", "fixes", "--json"])).unwrap();
    assert_eq!(json["rules"][0]["waiting"], 3, "{json}");
    let listed = well(data, &["rules", "list"]);
    let row = listed.lines().find(|line| line.starts_with("Fixes")).unwrap();
    assert!(row.contains("on") && row.contains("Hotfixes"), "{listed}");
    let csv = well(data, &["rules", "list", "--csv"]);
    assert!(
        csv.contains("Fixes,true,on,0,3,0,0,0,\"Contoso/Pilot:0; Contoso:3\",Hotfixes,,,,above 10 % of 10,"),
        "{csv}"
    );
    let set = well(data, &["rules", "set", "fix", "--ring", "Pilot", "--no-stop", "--all-classifications"]);
    assert!(set.contains("all but upgrades and drivers") && set.contains("at no failures"), "{set}");
    let wrong = ill(data, &["rules", "resume", "fixes"]);
    assert!(wrong.contains("neither stopped nor held") && wrong.contains("rules show"), "{wrong}");
    let wrong = ill(data, &["rules", "add", "Fixes", "--ring", "all"]);
    assert!(wrong.contains("already"), "{wrong}");
    let wrong = ill(data, &["rules", "show", "nobody"]);
    assert!(wrong.contains("no rule is called") && wrong.contains("rules list"), "{wrong}");
    assert!(well(data, &["rules", "disable", "fixes"]).starts_with("Fixes (off)"));
    well(data, &["rules", "ready-made", "patch-tuesday", "--ring", "Pilot", "--ring", "all:5", "--name", "Clients"]);
    let removed = well(data, &["rules", "remove", "fixes"]);
    assert!(removed.contains("stays approved"), "{removed}");
    let history = well(data, &["rules", "history"]);
    for event in ["removed", "disabled", "changed", "released", "enabled", "added"] {
        assert!(history.contains(event), "{event}: {history}");
    }
    assert!(well(data, &["rules", "history", "--csv"]).starts_with("at,rule,event,by,text\r\n"));
    let both = run(data, &["rules", "list", "--csv", "--json"]);
    assert_eq!(both.status.code(), Some(2), "{}", text(&both.stderr));
    let none = run(data, &["rules", "ready-made", "patch-tuesday"]);
    assert_eq!(none.status.code(), Some(2), "{}", text(&none.stderr));
}
