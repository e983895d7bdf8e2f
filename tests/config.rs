//! The configuration from outside: layers, places, refusals, the template and the reference, and what is found before
//! the start; and the life of a node as a process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where by panicking")]
#![allow(clippy::print_stderr, reason = "a test that is not tried must say so")]

#[path = "app/life.rs"]
mod life;
#[path = "support/node_process.rs"]
mod node_process;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use waystation::app::{self, ConfigError, Flags, Loaded};
use waystation::model::report::{Finding, Verdict};
use waystation::model::settings::Layer;

/// Loads with nothing of this machine's own environment.
fn load(data: &Path, file: &str, variables: &[(&str, &str)], set: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    if !file.is_empty() {
        fs::write(data.join("waystation.toml"), file).unwrap();
    }
    let flags = Flags {
        data: Some(data.to_owned()),
        set: set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..Flags::default()
    };
    app::load_with(&flags, variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
}

/// The value in force and where it comes from.
fn field(loaded: &Loaded, key: &str) -> (String, String) {
    let setting = loaded.settings().get(key).unwrap_or_else(|| panic!("no {key}"));
    (setting.value().to_string(), setting.origin().to_string())
}

/// The findings of one check.
fn found(loaded: &Loaded, check: &str) -> Vec<Finding> {
    app::check(loaded, false, None).into_iter().filter(|finding| finding.check == check).collect()
}

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIGURATION.md");
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == app::reference(),
        "docs/CONFIGURATION.md differs from the table of keys; write it again with: \
         cargo run -- config reference > docs/CONFIGURATION.md"
    );
}

#[test]
fn the_template_is_a_file_that_says_the_defaults() {
    let data = tempfile::tempdir().unwrap();
    let plain = load(data.path(), "", &[], &[]).unwrap();
    // As it is: nothing is set.
    let commented = load(data.path(), &app::template(), &[], &[]).unwrap();
    assert!(commented.settings().iter().all(|(_, setting)| setting.origin().layer != Layer::File));

    // With every key switched on: all of them are set, to what they were.
    let on: String = app::template()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let all = load(data.path(), &on, &[], &[]).unwrap();
    let warned: Vec<_> =
        app::check(&all, false, None).into_iter().filter(|finding| finding.verdict == Verdict::Warning).collect();
    assert!(warned.is_empty(), "the template warns of itself: {warned:?}");
    for (key, setting) in all.settings().iter().filter(|(key, _)| *key != "store.path") {
        assert_eq!(setting.origin().layer, Layer::File, "{key}");
        let default = plain.settings().get(key).unwrap().default_value();
        // These two depend on the disk where nobody sets them.
        if !["store.max_size", "store.min_free"].contains(&key) {
            assert_eq!(setting.value(), default, "{key}");
        }
    }
}

#[test]
fn later_layers_win_and_the_place_is_known() {
    let data = tempfile::tempdir().unwrap();
    let file = "[fill]\ncomplete = \"always\"\nverify = \"strict\"\nextent = \"1 MiB\"\n\n[listen]\nhttp = \"127.0.0.1:3698\"\n";
    let variables = [("WAYSTATION__FILL__VERIFY", "stream"), ("WAYSTATION__FILL__EXTENT", "2 MiB"), ("HOME", "/x")];
    let loaded = load(data.path(), file, &variables, &[("fill.extent", "4 MiB")]).unwrap();
    assert_eq!(field(&loaded, "fill.complete"), ("\"always\"".into(), "waystation.toml:2".into()));
    assert_eq!(field(&loaded, "fill.verify"), ("\"stream\"".into(), "WAYSTATION__FILL__VERIFY".into()));
    assert_eq!(field(&loaded, "fill.extent"), ("\"4 MiB\"".into(), "flag for fill.extent".into()));
    assert_eq!(field(&loaded, "listen.http"), ("\"127.0.0.1:3698\"".into(), "waystation.toml:7".into()));
    assert_eq!(field(&loaded, "fill.silence"), ("\"15 s\"".into(), "default".into()));
    let hidden: Vec<_> =
        loaded.settings().get("fill.extent").unwrap().hidden().map(|(_, raw)| raw.to_string()).collect();
    assert_eq!(hidden, ["\"2 MiB\"", "\"1 MiB\""]);
    let locked = loaded.settings().may_set("fill.complete", Layer::Local).unwrap_err();
    assert_eq!(locked.to_string(), "fill.complete is locked by waystation.toml:2: change it there");
    assert_eq!(loaded.data_dir(), data.path());
    assert_eq!(loaded.control_socket(), data.path().join("control.sock"));
}

#[test]
fn everything_wrong_is_told_at_once_with_its_place() {
    let data = tempfile::tempdir().unwrap();
    let file = "[store]\nmax_sise = \"1 GiB\"\nmin_free = true\n\n[peers]\nevery = \"1 day\"\n[fill]\nextent = 9\n\
                [origins]\nallow = [\"ftp://a.example\"]\n";
    let error = load(data.path(), file, &[("WAYSTATION__LOG__LEVL", "info")], &[("fill", "x")]).unwrap_err();
    let told = error.to_string();
    for part in [
        "waystation.toml:2: there is no key \"max_sise\" in [store]; did you mean \"max_size\"?",
        "waystation.toml:3: store.min_free is true; expected a size such as \"500 GiB\"",
        "waystation.toml:5: there is no section [peers]",
        "waystation.toml:8: fill.extent is 9 (it must be at least \"64 KiB\" (a number without a unit counts bytes))",
        "waystation.toml:10: origins.allow is [\"ftp://a.example\"] (\"ftp://a.example\" is no origin: the scheme of an",
        "WAYSTATION__LOG__LEVL: there is no key \"levl\" in [log]; did you mean \"level\"?",
        "flag for fill: a setting is named section.key",
    ] {
        assert!(told.contains(part), "{part:?} is missing in:\n{told}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let data = tempfile::tempdir().unwrap();
    for (file, told) in [
        ("[tls]\ncert = \"a.pem\"\n", "tls.cert and tls.key"),
        ("[upstream]\nkind = \"wsus\"\n", "upstream.url: this kind of upstream needs its address"),
        (
            "[upstream]\nkind = \"wsus\"\nurl = \"http://wsus:8530/ServerSyncWebService/\"\n",
            "write \"http://wsus:8530\"",
        ),
        ("[sync]\nmicrosoft = \"https://sws.example.org/x\"\n", "write \"https://sws.example.org\""),
        ("[fill]\nextent = \"1 KiB\"\n", "at least \"64 KiB\""),
        ("[store]\nmax_size = \"1 MiB\"\n", "at least \"16 MiB\""),
        ("[store]\nmin_free = 0\nmax_size = 500\n", "waystation.toml:3: store.max_size is 500 (it must be at least"),
        ("[fill]\nextent = \"2 GiB\"\n", "waystation.toml:2: fill.extent is \"2 GiB\" (it must be at most"),
    ] {
        let error = load(data.path(), file, &[], &[]).unwrap_err().to_string();
        assert!(error.contains(told), "{file}: {error}");
    }
}

#[test]
fn the_file_is_found_where_it_may_lie() {
    let data = tempfile::tempdir().unwrap();
    let missing =
        Flags { config: Some(data.path().join("none.toml")), data: Some(data.path().into()), ..Flags::default() };
    assert!(app::load_with(&missing, []).unwrap_err().to_string().contains("there is no file"));

    // Named by the environment, the directory holds the file as well; the file may send the data elsewhere.
    let elsewhere = data.path().join("elsewhere");
    fs::write(data.path().join("waystation.toml"), format!("[store]\npath = {elsewhere:?}\n")).unwrap();
    let flags = Flags { config: Some(data.path().join("waystation.toml")), ..Flags::default() };
    let loaded = app::load_with(&flags, []).unwrap();
    assert_eq!(loaded.data_dir(), elsewhere);
    assert!(!elsewhere.exists(), "loading makes nothing");

    fs::write(data.path().join("waystation.toml"), vec![b'#'; 2 << 20]).unwrap();
    assert!(app::load_with(&flags, []).unwrap_err().to_string().contains("larger than 1 MiB"));
    fs::write(data.path().join("waystation.toml"), [0xff, 0xfe]).unwrap();
    assert!(app::load_with(&flags, []).unwrap_err().to_string().contains("not UTF-8"));
}

#[test]
fn a_broken_file_still_says_where_the_data_lies() {
    let data = tempfile::tempdir().unwrap();
    let (file, elsewhere) = (data.path().join("waystation.toml"), data.path().join("elsewhere"));
    let flags = Flags { config: Some(file.clone()), ..Flags::default() };
    for broken in ["[fill]\nfrob = 1\n", "[fill]\nextent =\n", "[fill]\nextent = \"1 KiB\"\n"] {
        fs::write(&file, format!("{broken}[store]\npath = {elsewhere:?}\n")).unwrap();
        app::load_with(&flags, []).unwrap_err();
        let loaded = app::load_leniently_with(&flags, []).unwrap();
        assert_eq!(loaded.data_dir(), elsewhere, "{broken:?}");
        assert_eq!(loaded.broken().unwrap().problems.len(), 1, "{broken:?}: {:?}", loaded.broken());
        // Nothing is opened by settings of which a part is missing.
        assert_eq!(app::open_offline(&loaded).unwrap_err().exit_code(), 66);
        fs::create_dir_all(&elsewhere).unwrap();
        assert_eq!(app::open_offline(&loaded).unwrap_err().exit_code(), 78);
        fs::remove_dir_all(&elsewhere).unwrap();
    }
    // What the one who asks got wrong is told, and not passed over.
    let wrong = Flags { set: vec![("store.pth".into(), "/x".into())], ..flags.clone() };
    assert!(app::load_leniently_with(&wrong, []).unwrap_err().to_string().contains("\"pth\""));
    let missing = Flags { config: Some(data.path().join("none.toml")), ..Flags::default() };
    assert!(app::load_leniently_with(&missing, []).unwrap_err().to_string().contains("there is no file"));
    fs::write(&file, format!("[store]\npath = {elsewhere:?}\n")).unwrap();
    assert_eq!(app::load_leniently_with(&flags, []).unwrap().broken(), None);
}

#[test]
fn keys_without_effect_are_found() {
    let data = tempfile::tempdir().unwrap();
    let set = [("upstream.direct_hosts", "*.example.net")];
    let subjects = |set: &[(&str, &str)]| {
        let found = found(&load(data.path(), "", &[], set).unwrap(), "no-effect");
        found.into_iter().map(|finding| finding.subject).collect::<Vec<_>>()
    };
    assert_eq!(subjects(&[]), Vec::<String>::new());
    assert_eq!(subjects(&set), set.map(|(key, _)| key));
    // A parent needs no address here: the token brought it.
    assert_eq!(subjects(&[("upstream.kind", "parent"), ("listen.peer", "127.0.0.1:6203")]), Vec::<String>::new());
}

#[test]
fn filters_that_do_nothing_or_are_wrong_are_told() {
    let data = tempfile::tempdir().unwrap();
    let seen = |file: &str| {
        let found = found(&load(data.path(), file, &[], &[]).unwrap(), "filters").into_iter();
        found.map(|finding| (finding.verdict, finding.seen)).collect::<Vec<_>>()
    };
    assert_eq!(seen(""), []);
    assert_eq!(seen("[filters]\nproducts = [\"windows 11\"]\nlanguages = [\"German\"]\n"), []);
    let wsus = "[upstream]\nkind = \"wsus\"\nurl = \"http://wsus:8530\"\n";
    assert_eq!(seen(wsus), [], "what is shipped is nobody's wish");
    let idle = seen(&format!("{wsus}[filters]\nlanguages = \"de\"\n"));
    assert!(matches!(&idle[..], [(Verdict::Warning, seen)] if seen.contains("no effect")), "{idle:?}");
    let odd = seen("[filters]\nproducts = [\"Windows 7\", \"Security Updates\"]\n");
    assert!(matches!(&odd[..], [(Verdict::Note, _), (Verdict::Warning, _)]), "{odd:?}");
    assert!(odd[0].1.contains("\"Windows 7\"") && odd[1].1.contains("is a classification"), "{odd:?}");
    for line in ["products = []", "languages = \"Klingon\"", "classifications = \"\""] {
        assert!(load(data.path(), &format!("[filters]\n{line}\n"), &[], &[]).is_err(), "{line}");
    }
}

#[test]
fn rules_that_mean_nothing_and_schedules_that_are_off_are_told() {
    use waystation::model::filter::{Category, Tree};
    use waystation::model::update::{CategoryKind, UpdateId};
    let data = tempfile::tempdir().unwrap();
    let seen = |check: &str, file: &str, catalog: Option<&Tree>| {
        let loaded = load(data.path(), file, &[], &[]).unwrap();
        let found = app::check(&loaded, false, catalog).into_iter().filter(|finding| finding.check == check);
        found.map(|finding| (finding.verdict, format!("{} | {}", finding.seen, finding.advice))).collect::<Vec<_>>()
    };
    let rules = |rule: &str| format!("[content]\npolicy = \"severity\"\nrules = [\"{rule}\"]\n");
    assert_eq!(seen("rules", &rules("Drivers: metadata"), None), []);
    let slip = seen("rules", &rules("Definition Updtes: metadata"), None);
    let fits =
        |text: &str| text.contains("did you mean \"Definition Updates\"") && text.contains("nothing is fetched ahead");
    assert!(matches!(&slip[..], [(Verdict::Warning, text)] if fits(text)), "{slip:?}");
    let more = seen("rules", &rules("Definition Updtes: all"), None);
    assert!(matches!(&more[..], [(Verdict::Warning, text)] if text.ends_with("it is left out")), "{more:?}");
    // What only a catalog can tell is noted, and told where there is one.
    let odd = rules("Hotfixes: metadata");
    let noted = seen("rules", &odd, None);
    assert!(matches!(&noted[..], [(Verdict::Note, text)] if text.contains("\"Hotfixes\"")), "{noted:?}");
    let id = UpdateId::new([9; 16]);
    let named = |name: &str| Category { id, kind: CategoryKind::Classification, name: name.into(), parent: None };
    assert_eq!(seen("rules", &odd, Some(&Tree::new([named("Hotfixes")]))), []);
    let wrong = seen("rules", &odd, Some(&Tree::new([named("Repairs")])));
    assert!(matches!(&wrong[..], [(Verdict::Warning, _)]), "{wrong:?}");

    for section in ["sync", "definitions"] {
        let noted = seen("schedule", &format!("[{section}]\nschedule = \"daily 03:00\"\n"), None);
        let fits = |text: &str| text.contains(&format!("set {section}.enabled = true"));
        assert!(matches!(&noted[..], [(Verdict::Note, text)] if fits(text)), "{noted:?}");
        for said in ["true", "false"] {
            let file = format!("[{section}]\nschedule = \"daily 03:00\"\nenabled = {said}\n");
            assert_eq!(seen("schedule", &file, None), [], "{said}: somebody has said so");
        }
    }
}

#[test]
fn bandwidth_that_starves_clients_is_found_and_nonsense_refused() {
    let data = tempfile::tempdir().unwrap();
    let seen = |file: &str| {
        let found = found(&load(data.path(), &format!("[bandwidth]\n{file}\n"), &[], &[]).unwrap(), "bandwidth");
        let text =
            |finding: Finding| (finding.verdict, format!("{}: {} | {}", finding.subject, finding.seen, finding.advice));
        found.into_iter().map(text).collect::<Vec<_>>()
    };
    let is_one = |seen: &[(Verdict, String)], verdict: Verdict, parts: &[&str]| {
        let fits = |(had, text): &(Verdict, String)| *had == verdict && parts.iter().all(|part| text.contains(part));
        assert!(matches!(seen, [one] if fits(one)), "{seen:?}");
    };
    // Enough for a site, and only told; too little for anybody.
    is_one(
        &seen("clients = [\"08:00-18:00 Mon-Fri: 20 Mbit/s\", \"200 Mbit/s\"]"),
        Verdict::Note,
        &["bandwidth.clients: 20 Mbit/s is enough for 78 machines at once"],
    );
    is_one(
        &seen("clients = \"40 kbit/s\""),
        Verdict::Warning,
        &["40 kbit/s is too little for one machine", "raise the rate to 256 kbit/s for each machine"],
    );
    assert_eq!(seen("clients = \"200 Mbit/s\"\nnetworks = \"10.0.0.0/8 each /24: 100 Mbit/s\""), []);
    let parts = seen("networks = [\"10.0.0.0/8 each /24: 20 Mbit/s\", \"10.9.9.9: 1 Mbit/s\"]");
    is_one(&parts, Verdict::Note, &["bandwidth.networks: 10.0.0.0/8 each /24: 20 Mbit/s", "78 machines", "each /n"]);
    is_one(&seen("networks = \"10.9.9.0/24: 200 kbit/s\""), Verdict::Warning, &["too little for one machine"]);
    is_one(&seen("upstream = \"128 kbit/s\"\nprefetch = \"32 kbit/s\""), Verdict::Warning, &["256 kbit/s at least"]);

    let refused = |line: &str| {
        let error = load(data.path(), &format!("[bandwidth]\n{line}\n"), &[], &[]).unwrap_err();
        format!("{error:?}")
    };
    for (line, why) in [
        ("clients = \"paused\"", "cannot be paused"),
        ("clients = \"50 %\"", "of what"),
        ("demand = \"0\"", "no unit"),
        ("prefetch = [\"unlimited\", \"Sat: paused\"]", "can never apply"),
        ("networks = \"10.0.0.0/8\"", "no rate"),
        ("timezone = \"Middle/Earth\"", "time zone"),
    ] {
        let error = refused(line);
        assert!(error.contains(why) && error.contains("waystation.toml:2"), "{line}: {error}");
    }
}

#[test]
fn no_secret_is_shown() {
    let data = tempfile::tempdir().unwrap();
    let password = data.path().join("password");
    fs::write(&password, "hunter2\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
    let file = "[proxy]\nurl = \"http://proxy:3128\"\nusername = \"kim\"\npassword_file = \"password\"\n";
    let loaded = load(data.path(), file, &[], &[]).unwrap();
    let refused: Vec<_> = found(&loaded, "proxy").into_iter().filter(|found| found.verdict == Verdict::Bad).collect();
    assert!(refused[0].seen.contains("chmod 0640"), "{refused:?}");

    fs::set_permissions(&password, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(
        !app::check(&loaded, false, None).iter().any(|found| found.check == "proxy" && found.verdict == Verdict::Bad)
    );
    let shown = format!("{loaded:?}{:?}", app::check(&loaded, false, None));
    assert!(!shown.contains("hunter2"));
    // The sync service's own proxy has a file of its own.
    let other = data.path().join("other");
    fs::write(&other, "hunter2\n").unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o644)).unwrap();
    let own = format!(
        "{file}[sync]\nproxy = \"http://out:3128\"\nproxy_username = \"sync\"\nproxy_password_file = \"other\"\n"
    );
    let loaded = load(data.path(), &own, &[], &[]).unwrap();
    let refused: Vec<_> = found(&loaded, "proxy").into_iter().filter(|found| found.verdict == Verdict::Bad).collect();
    assert!(refused.len() == 1 && refused[0].subject.contains("waystation.toml:8"), "{refused:?}");
    assert!(refused[0].seen.contains("chmod 0640"), "{refused:?}");

    for url in ["http://kim:hunter2@proxy:3128", "kim:hunter2@proxy"] {
        let error = load(data.path(), "", &[("WAYSTATION__PROXY__URL", url)], &[]).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    let refused = load(data.path(), "", &[], &[("origins.allow", "https://kim:hunter2@x.example")]);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("user info is not allowed") && !refused.contains("hunter2"), "{refused}");
}

#[test]
fn ports_that_cannot_work_are_found() {
    let data = tempfile::tempdir().unwrap();
    let verdicts = |set: &[(&str, &str)], check: &str| {
        let loaded = load(data.path(), "", &[], set).unwrap();
        found(&loaded, check).into_iter().map(|finding| finding.verdict).collect::<Vec<_>>()
    };
    // What is shipped is no mistake; what somebody chose may be one.
    assert_eq!(verdicts(&[], "delivery-optimization"), [Verdict::Note]);
    assert_eq!(verdicts(&[("listen.http", "0.0.0.0:3698")], "delivery-optimization"), [Verdict::Note]);
    assert_eq!(verdicts(&[("listen.http", "0.0.0.0:8080")], "delivery-optimization"), [Verdict::Warning]);
    assert_eq!(verdicts(&[("listen.http", "0.0.0.0:80")], "delivery-optimization"), [Verdict::Good]);
    // Pairs are for a WSUS alternate that is named by https, and only that: by http it needs none.
    let below = |listen: &[(&'static str, &'static str)], check: &str| {
        verdicts(
            &[&[("upstream.kind", "wsus"), ("upstream.url", "http://wsus.example:8530")][..], listen].concat(),
            check,
        )
    };
    assert_eq!(verdicts(&[("listen.https", "0.0.0.0:8531")], "wsus-pair"), []);
    for listen in [&[][..], &[("listen.http", "0.0.0.0:3698")], &[("listen.https", "0.0.0.0:8531")]] {
        assert_eq!(below(listen, "wsus-pair"), [Verdict::Note], "{listen:?}");
    }
    assert_eq!(below(&[("listen.http", "")], "wsus-pair"), [Verdict::Warning]);
    for (http, https) in [("0.0.0.0:8530", "0.0.0.0:8531"), ("0.0.0.0:80", "0.0.0.0:443")] {
        assert_eq!(below(&[("listen.http", http), ("listen.https", https)], "wsus-pair"), []);
    }
    // Delivery Optimization goes past a WSUS.
    assert_eq!(below(&[("listen.http", "0.0.0.0:8530")], "delivery-optimization"), []);
    assert_eq!(verdicts(&[("listen.https", "0.0.0.0:3698")], "ports"), [Verdict::Bad]);
    assert_eq!(verdicts(&[("listen.https", "[::]:3698")], "ports"), []);
    assert_eq!(verdicts(&[("listen.http", ""), ("listen.https", "")], "ports"), [Verdict::Bad]);
    assert_eq!(verdicts(&[("listen.control", "0.0.0.0:6202")], "control"), [Verdict::Warning]);
}

#[test]
fn entries_and_networks_that_hurt_are_found() {
    let data = tempfile::tempdir().unwrap();
    let set = [
        ("origins.allow", "127.0.0.1:8000, dl.example.org, dl.example.org:8080"),
        ("scan.plaintext", "10.0.0.0/8, 0.0.0.0/0"),
        ("limits.exempt", "192.168.0.0/16"),
    ];
    let loaded = load(data.path(), "", &[], &set).unwrap();
    assert!(found(&loaded, "private-origin")[0].seen.contains("127.0.0.1"));
    assert!(found(&loaded, "allow-list").iter().any(|finding| finding.seen.contains("dl.example.org:8080")));
    let ranges = found(&loaded, "private-range");
    assert_eq!(ranges.len(), 1, "{ranges:?}");
    assert!(ranges[0].seen.starts_with("0.0.0.0/0"));
}

#[test]
fn endpoints_that_can_never_come_in_are_found() {
    let data = tempfile::tempdir().unwrap();
    let verdicts = |set: &[(&str, &str)]| {
        let loaded = load(data.path(), "", &[], set).unwrap();
        found(&loaded, "unknown-endpoints").into_iter().map(|finding| finding.verdict).collect::<Vec<_>>()
    };
    assert_eq!(verdicts(&[]), []);
    assert_eq!(verdicts(&[("scan.unknown", "refuse")]), [Verdict::Warning]);
    assert_eq!(verdicts(&[("scan.unknown", "hold")]), [Verdict::Note]);
    assert_eq!(
        verdicts(&[("scan.unknown", "refuse"), ("scan.unknown_networks", "10.9.0.0/16: hold")]),
        [Verdict::Note]
    );
    assert_eq!(verdicts(&[("scan.unknown", "refuse"), ("scan.unknown_networks", "10.0.0.0/8: accept")]), []);
    for (key, wrong) in
        [("scan.unknown", "deny"), ("scan.unknown_networks", "10.0.0.0/8"), ("scan.site_networks", "here")]
    {
        let error = load(data.path(), "", &[], &[(key, wrong)]).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains("expected"), "{error}");
    }
}

#[test]
fn a_damaged_site_ca_is_found() {
    let data = tempfile::tempdir().unwrap();
    let loaded = load(data.path(), "", &[], &[]).unwrap();
    assert_eq!(found(&loaded, "site-ca"), [], "none is made before the first start");
    fs::create_dir(data.path().join("tls")).unwrap();
    fs::write(data.path().join("tls/site-ca.key"), "nothing").unwrap();
    let damaged = found(&loaded, "site-ca");
    assert_eq!(damaged[0].verdict, Verdict::Bad);
    assert!(damaged[0].seen.contains("tls ca create --for DOMAIN --replace"), "{damaged:?}");
    assert_eq!(fs::read_dir(data.path().join("tls")).unwrap().count(), 1);
}

#[test]
fn a_machine_that_is_too_small_is_found() {
    let data = tempfile::tempdir().unwrap();
    let set = [
        ("limits.connections", "1000000"),
        ("store.open_payloads", "1000000"),
        ("store.max_size", "4096 TiB"),
        ("store.index_cache", "64 GiB"),
    ];
    let loaded = load(data.path(), "", &[], &set).unwrap();
    for check in ["maps", "space", "memory"] {
        assert!(
            found(&loaded, check)
                .iter()
                .any(|finding| finding.verdict == Verdict::Warning && !finding.advice.is_empty()),
            "{check}: {:?}",
            found(&loaded, check)
        );
    }
    let plain = load(data.path(), "", &[], &[]).unwrap();
    // More than is free can never be kept.
    let stat = rustix::fs::statvfs(data.path()).unwrap();
    let free = format!("{} MiB", 8192 + ((stat.f_bavail * stat.f_frsize) >> 20));
    let full = load(data.path(), "", &[], &[("store.max_size", &free), ("store.min_free", "100 MiB")]).unwrap();
    let told = found(&full, "space");
    assert!(told.iter().any(|finding| finding.seen.contains("no more than")), "{told:?}");
    assert_eq!(found(&plain, "clock")[0].verdict, Verdict::Good);
    assert_eq!(found(&plain, "writable")[0].verdict, Verdict::Good);
    let nowhere = load(Path::new("/proc/waystation"), "", &[], &[]).unwrap();
    assert_eq!(found(&nowhere, "writable")[0].verdict, Verdict::Bad);
}

#[test]
fn without_a_store_a_command_says_where_it_looked() {
    let data = tempfile::tempdir().unwrap();
    let loaded = load(&data.path().join("none"), "", &[], &[]).unwrap();
    let error = app::open_offline(&loaded).unwrap_err();
    assert!(error.to_string().contains("there is no store in"), "{error}");
    assert_eq!(error.exit_code(), 66);
}

#[test]
fn a_port_that_is_taken_is_found() {
    let data = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let set = [("listen.http", "127.0.0.1:0"), ("listen.https", address.as_str()), ("listen.control", "192.0.2.1:1")];
    let loaded = load(data.path(), "", &[], &set).unwrap();
    let verdicts: Vec<_> =
        found(&loaded, "bind").into_iter().map(|finding| (finding.subject, finding.verdict)).collect();
    let expected = [("listen.http", Verdict::Good), ("listen.https", Verdict::Bad), ("listen.control", Verdict::Bad)];
    assert_eq!(verdicts, expected.map(|(key, verdict)| (key.to_owned(), verdict)));
    let advice = |seen: &str, advice: &str| {
        let fits = |finding: &Finding| finding.seen.contains(seen) && finding.advice.contains(advice);
        assert!(found(&loaded, "bind").iter().any(fits), "{:?}", found(&loaded, "bind"));
    };
    advice("something else listens there", "another port into listen.https");
    advice("does not have that address", "one that it has into listen.control");
    // The node that runs there has them.
    let runs: Vec<_> = app::check(&loaded, true, None).into_iter().filter(|finding| finding.check == "bind").collect();
    assert!(matches!(&runs[..], [one] if one.verdict == Verdict::Skipped), "{runs:?}");
}

#[test]
fn certificates_and_authorities_are_loaded_as_a_start_would() {
    let data = tempfile::tempdir().unwrap();
    let made = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let (one, other) = (made("node.site.example"), made("other.site.example"));
    let put = |name: &str, text: &str, mode: u32| {
        fs::write(data.path().join(name), text).unwrap();
        fs::set_permissions(data.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    put("one.pem", &one.cert.pem(), 0o644);
    put("one.key", &one.signing_key.serialize_pem(), 0o600);
    put("other.key", &other.signing_key.serialize_pem(), 0o600);
    put("open.key", &one.signing_key.serialize_pem(), 0o644);
    put("empty.pem", "nothing", 0o644);
    let told = |key: &str, names: &str| {
        let set = [("tls.cert", "one.pem"), ("tls.key", key), ("advertise.names", names)];
        let found = found(&load(data.path(), "", &[], &set).unwrap(), "certificate");
        assert_eq!(found.len(), 1, "{found:?}");
        (found[0].verdict, found[0].seen.clone())
    };
    assert_eq!(told("one.key", "node.site.example").0, Verdict::Good);
    for (key, names, verdict, part) in [
        ("one.key", "patches.site.example", Verdict::Warning, "not for patches.site.example"),
        ("other.key", "", Verdict::Bad, "belongs to the key"),
        ("open.key", "", Verdict::Bad, "chmod 0640"),
        ("absent.key", "", Verdict::Bad, "absent.key"),
    ] {
        let (seen, text) = told(key, names);
        assert!(seen == verdict && text.contains(part), "{key} {names}: {seen:?} {text}");
    }
    let authorities = |file: &str| {
        let found = found(&load(data.path(), "", &[], &[("upstream.extra_ca", file)]).unwrap(), "extra-ca");
        (found[0].verdict, found[0].subject.clone())
    };
    assert_eq!(authorities("one.pem").0, Verdict::Good);
    for file in ["empty.pem", "absent.pem"] {
        assert_eq!(authorities(file), (Verdict::Bad, data.path().join(file).display().to_string()));
    }
    // A key of the site CA's that others can read is told of, wherever the certificate comes from.
    fs::create_dir(data.path().join("tls")).unwrap();
    put("tls/site-ca.key", "key", 0o644);
    let found = found(&load(data.path(), "", &[], &[]).unwrap(), "certificate");
    assert!(
        matches!(&found[..], [one] if one.verdict == Verdict::Warning && one.advice.contains("chmod 0600")),
        "{found:?}"
    );
}
