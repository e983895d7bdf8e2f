//! Recorded requests of a native agent (Windows 11 25H2) say what is asserted here.

use std::fs;
use std::path::Path;

use waystation::fleet::compliance::ask;
use waystation::fleet::compliance::board::Board;
use waystation::fleet::compliance::facts::Facts;
use waystation::fleet::compliance::told::What;
use waystation::model::compliance::State;
use waystation::model::deployment::Endpoint;
use waystation::model::update::{Identity, UpdateId};
use waystation::serve::client::meaning;
use waystation::wire::soap::Version;
use waystation::wire::wsusss::authorize::Cookie;
use waystation::wire::wusp::info::FragmentKind;
use waystation::wire::wusp::report::{Event, ReportEventBatch};
use waystation::wire::wusp::sync::{SyncUpdates, Wanted};
use waystation::wire::wusp::{Face, Method, Request, decode};

use crate::recorded::recorded;

/// A recorded request, dispatched as a server would: by its path, and by its body; the SOAPAction must agree.
fn request(folder: &Path, number: u32) -> Request {
    let folder = folder.join(format!("{number:06}"));
    let headers = fs::read_to_string(folder.join("request.headers")).unwrap();
    let path = headers.split_whitespace().nth(1).unwrap();
    let face = Face::at(path).unwrap();
    let asked = decode(face, fs::read(folder.join("request.body")).unwrap().as_slice()).unwrap();
    assert_eq!(asked.version, Version::V11);
    let action = headers.lines().find_map(|line| line.strip_prefix("SOAPAction: ")).unwrap();
    assert_eq!(action.trim(), format!("\"{}\"", asked.method.action()));
    asked.request
}

fn id(text: &str) -> UpdateId {
    text.parse().unwrap()
}

fn assert_cookie(cookie: Option<&Cookie>) {
    let cookie = cookie.unwrap();
    assert_eq!(cookie.expiration.as_str(), "2026-10-04T16:03:35.9967236Z");
    assert_eq!(cookie.data.as_ref().unwrap().bytes().unwrap(), [0; 224], "sanitised at the source");
}

#[test]
fn the_handshake() {
    let Some(scan) = recorded("wusp/scan") else { return };
    let Request::Config(asked) = request(&scan, 1) else { panic!("another request") };
    assert_eq!(asked.protocol_version, "2.90");

    let Request::Authorize(asked) = request(&scan, 2) else { panic!("another request") };
    assert_eq!(asked.client_id, "e1da06a3-5601-43c9-bac3-52d5db701494");
    assert_eq!((asked.dns_name.as_str(), asked.target_groups), ("REDACTED3", None));

    let Request::Cookie(asked) = request(&scan, 3) else { panic!("another request") };
    let [authorization] = asked.authorization.as_slice() else { panic!("{asked:?}") };
    assert_eq!(authorization.plug_in_id, "SimpleTargeting");
    assert_eq!(authorization.data.bytes().unwrap().len(), 496);
    assert_eq!(asked.old, None, "a time alone is no cookie");
    assert_eq!(asked.last_change.unwrap().as_str(), "2026-10-04T13:17:07.59Z");
    assert_eq!(asked.now.unwrap().to_string(), "2026-10-04T15:03:36Z");
    assert_eq!(asked.protocol_version, "2.90");

    let Request::Register(asked) = request(&scan, 4) else { panic!("another request") };
    assert_cookie(asked.cookie.as_ref());
    let it = asked.computer;
    assert_eq!((it.dns_name.as_str(), it.os_locale.as_str()), ("REDACTED3", "en-US"));
    assert_eq!((it.os_major, it.os_minor, it.os_build), (Some(10), Some(0), Some(26_200)));
    assert_eq!((it.service_pack_major, it.service_pack_minor), (Some(0), Some(0)));
    let model = "Standard PC (Q35 + ICH9, 2009)";
    assert_eq!((it.manufacturer.as_str(), it.model.as_str(), it.oem.as_str()), ("QEMU", model, "QEMU"));
    assert_eq!((it.bios_version.as_str(), it.bios_name.as_str()), ("unknown", "unknown"));
    assert_eq!(it.bios_released.unwrap().to_string(), "2022-02-02T00:00:00Z");
    assert_eq!(it.architecture, "AMD64");
    assert_eq!((it.suite_mask, it.old_product_type, it.new_product_type), (Some(256), Some(1), Some(48)));
    assert_eq!((it.system_metrics, it.client_version), (Some(0), [Some(1507), Some(2601), Some(30_012), Some(0)]));
    assert_eq!((it.os_description.as_str(), it.device_type.as_str()), ("Windows 10 Pro", model));
    assert_eq!((it.firmware_version.as_str(), it.mobile_operator.as_str()), ("unknown", "Not Present"));
}

const ZDP: &str = "dd78b8a1-0b20-45c1-add6-4da72e9364cf";

#[test]
fn a_scan_limited_to_a_category() {
    let Some(scan) = recorded("wusp/scan") else { return };
    let Request::CategoryScan(asked) = request(&scan, 5) else { panic!("another request") };
    assert_eq!(asked.categories, [Wanted { group: 0, category: id(ZDP) }]);
    for (number, installed) in [(6, &[][..]), (7, &[108_226]), (8, &[108_226, 108_231])] {
        let Request::Sync(asked) = request(&scan, number) else { panic!("another request") };
        let asked: SyncUpdates = *asked;
        assert_cookie(asked.cookie.as_ref());
        assert_eq!(asked.installed, installed);
        assert!(!asked.skip_software && asked.two_groups && !asked.regular_too);
        assert!(asked.cached.is_empty() && asked.devices.is_empty() && asked.cached_drivers.is_empty());
        assert_eq!((asked.categories, asked.computer_ids, asked.score_key), (vec![id(ZDP)], vec![], String::new()));
        let told = asked.products;
        assert!(!told.current_version_only && told.products.is_empty());
        assert_eq!(told.device.iter().count(), 60);
        assert_eq!(told.device.iter().next(), Some(("ActivationChannel", "Retail")));
        for (key, value) in [
            ("OSVersion", "10.0.26200.8037"),
            ("osarchitecture", "AMD64"),
            ("InstallationType", "Client"),
            ("OEMModel", "Standard PC (Q35 + ICH9, 2009)"),
            ("FlightingBranchName", ""),
            ("UpdateServiceUrl", "http://192.0.2.1:8530"),
            ("WuClientVer", "1451.2601.23012.0"),
        ] {
            assert_eq!(told.device.get(key), Some(value), "{key}");
        }
        let caller: Vec<_> = told.caller.iter().collect();
        assert_eq!(
            caller,
            [
                ("Interactive", "0"),
                ("SheddingAware", "1"),
                ("Id", "OOBE ZDP"),
                ("AADDeviceTokenState", "WU:0x00248002")
            ]
        );
    }
}

#[test]
fn more_about_revisions() {
    let (Some(scan), Some(flow)) = (recorded("wusp/scan"), recorded("wusp/flow")) else { return };
    for (folder, number, revisions, caller) in [
        (&scan, 10, &[72_571, 108_226, 108_231][..], "OOBE ZDP"),
        (
            &flow,
            15,
            &[
                191_472, 192_576, 194_349, 194_837, 196_639, 197_762, 199_553, 199_594, 200_373, 200_712, 200_724,
                200_728, 200_957, 200_959, 200_961, 200_963, 200_965, 200_996,
            ],
            "<<PROCESS>>: powershell.exe",
        ),
    ] {
        let Request::Extended(asked) = request(folder, number) else { panic!("another request") };
        assert_cookie(asked.cookie.as_ref());
        assert_eq!(asked.revisions, revisions);
        assert_eq!(asked.wish.kinds, Some(vec![FragmentKind::Extended, FragmentKind::LocalizedProperties]));
        assert_eq!((asked.wish.locales, asked.wish.geo), (vec!["en-US".to_owned(), "en".to_owned()], "USA".to_owned()));
        assert_eq!(asked.wish.device.get("LCUVer"), Some("10.0.26100.8037"));
        assert_eq!(asked.wish.caller.get("Id"), Some(caller));
    }
}

fn batch(folder: &Path, number: u32) -> ReportEventBatch {
    let Request::Events(batch) = request(folder, number) else { panic!("another request") };
    assert_cookie(batch.cookie.as_ref());
    assert_eq!((batch.unread, &batch.why, &batch.computer_id), (0, &None, &None));
    for event in &batch.events {
        assert_eq!(
            (event.target.as_str(), event.namespace, event.source),
            ("e1da06a3-5601-43c9-bac3-52d5db701494", 1, 101)
        );
        assert_eq!(event.at, batch.now);
        let machine = &event.machine;
        assert_eq!((machine.brand.as_str(), machine.bios.as_str()), ("QEMU", "unknown"));
        assert_eq!(
            (machine.model.as_str(), machine.architecture.as_str()),
            ("Standard PC (Q35 + ICH9, 2009)", "Amd64Compatible")
        );
        assert_eq!(machine.os, [Some(10), Some(0), Some(26_200), Some(65_792), Some(0), Some(0)]);
        assert_eq!((machine.locale, event.device.as_str()), (Some(1033), ""));
        for (tag, value) in [("G", "1507.2601.30012.0"), ("J", "775"), ("T", "EDK II"), ("L", "2022-02-02T00:00:00")] {
            assert_eq!(event.misc(tag), Some(value), "{tag}");
        }
    }
    batch
}

fn what(events: &[Event]) -> Vec<(i32, i32)> {
    events.iter().map(|event| (event.id, event.result)).collect()
}

#[test]
fn reports() {
    let Some(flow) = recorded("wusp/flow") else { return };
    let first = batch(&flow, 16);
    assert_eq!(first.now.unwrap().ms(), 1_791_127_247_397);
    const BACKED_OFF: i32 = -2_145_123_272; // 0x80240438
    assert_eq!(what(&first.events), [(147, 0), (148, BACKED_OFF), (148, BACKED_OFF), (148, BACKED_OFF)]);
    assert_eq!(first.events[0].instance, id("fab199c1-6123-44f2-b01c-a5a92201b011"));
    let apps: Vec<_> = first.events.iter().map(|event| event.app.as_str()).collect();
    assert_eq!(apps, ["OOBE ZDP", "Appraiser Driver Scan", "Appraiser Driver Scan", ""]);
    assert_eq!((first.events[0].strings[0].as_str(), first.events[3].strings[0].as_str()), ("0", "0x80240438"));
    assert_eq!((first.events[0].misc("f"), first.events[0].misc("F")), (Some("3"), None));
    assert!(first.events.iter().all(|event| event.update.is_none()));

    let second = batch(&flow, 17);
    const NO_INTERFACE: i32 = -2_147_467_262; // 0x80004002
    let expected = [
        (148, BACKED_OFF),
        (148, BACKED_OFF),
        (147, 0),
        (156, 0),
        (147, 0),
        (156, 0),
        (161, NO_INTERFACE),
        (161, NO_INTERFACE),
        (181, 0),
    ];
    assert_eq!(what(&second.events), expected);
    let events = &second.events;
    assert_eq!(events[4].strings, ["1"]);
    assert_eq!(events[3].updates("U").map(Iterator::count), None, "nothing was needed before");
    let needed: Vec<_> = events[5].updates("U").unwrap().collect();
    assert_eq!(
        needed,
        [
            "1594b429-a8c5-4b0d-ac86-79b0a826a847",
            "391d3487-e6f5-4bd0-a607-7e29f9fbd88e",
            "74e87997-e3b3-45d2-a527-a8877a5162ec",
            "a2fef9b0-7951-4c2c-a42b-9e351dd1c1fe",
            "42e65fc7-a953-4d7f-9277-54e3a265200e",
            "22281ef5-bbea-4576-af48-6aa6bafbb5b3",
        ]
        .map(id)
    );
    assert!(events[5].strings.is_empty() && events[5].updates("V").is_none());
    assert_eq!(events[6].update, Some(Identity { id: id("0daf8592-9e3f-4a8a-9141-d83fafebd09f"), revision: 200 }));
    assert_eq!(events[6].misc("M"), Some("A2FEF9B0-7951-4C2C-A42B-9E351DD1C1FE;200"), "the bundle that it belongs to");
    assert_eq!(events[7].update.unwrap().id, needed[3]);
    assert_eq!((events[7].misc("Q"), events[6].misc("Q")), (Some("2"), Some("1")));
    assert!(
        events[8].strings[0].starts_with("Security Intelligence Update for Microsoft Defender Antivirus - KB2267602")
    );
}

/// What a machine was recorded to report becomes these states, and those of another one's whole lists.
#[test]
fn reports_become_states() {
    let Some(flow) = recorded("wusp/flow") else { return };
    let told = batch(&flow, 17);
    let machine: UpdateId = told.events[0].target.parse().unwrap();
    let now = told.now.unwrap();
    let meant = |event: &Event| meaning(event, machine, None, now).expect("it reports of itself, and now");
    let mut all: Vec<_> = told.events.iter().filter_map(meant).collect();
    all.sort_by_key(|told| told.at);
    let kinds = |wanted: fn(&What) -> bool| all.iter().filter(|told| wanted(&told.what)).count();
    assert_eq!(kinds(|what| matches!(what, What::Snapshot(_))), 2);
    assert_eq!(kinds(|what| matches!(what, What::Scanned)), 2);
    assert_eq!(kinds(|what| matches!(what, What::ScanFailed(-2_145_123_272))), 2);
    assert_eq!(all.len(), 6, "downloads that fail and installations that begin change no state");
    let needed: Vec<UpdateId> = told.events[5].updates("U").unwrap().collect();
    let mut board = Board::default();
    for id in &needed {
        let facts = Facts { revision: Some(1), deployable: true, ..Facts::default() };
        board.learn(*id, facts);
    }
    let endpoint = Endpoint(machine);
    for told in &all {
        board.take(endpoint, told).unwrap();
    }
    let stands = ask::stands(&board, board.row(endpoint).unwrap());
    assert_eq!(stands.len(), needed.len());
    assert!(stands.iter().all(|one| one.state == State::NotInstalled && needed.contains(&one.update)));
    assert_eq!((board.totals().missing, board.totals().pairs[0]), (1, needed.len() as u64));

    let Some(lists) = recorded("wusp/reports") else { return };
    let lists = fs::read_to_string(lists.join("native-156-lists.json")).unwrap();
    let lists: serde_json::Value = serde_json::from_str(&lists).unwrap();
    let list = |tag: &str| {
        let ids = lists["native"][tag].as_array().unwrap().iter().map(|id| id.as_str().unwrap());
        ids.collect::<Vec<_>>()
    };
    let mut event = told.events[5].clone();
    event.misc = ["U", "V"].map(|tag| format!("{tag}={}", list(tag).join(";"))).into();
    let Some(What::Snapshot(snapshot)) = meaning(&event, machine, None, now).unwrap().map(|told| told.what) else {
        panic!("it is a snapshot");
    };
    for (tag, state) in [("U", State::NotInstalled), ("V", State::Installed)] {
        assert!(list(tag).iter().all(|id| snapshot.states[&id.parse::<UpdateId>().unwrap()] == state));
    }
    assert_eq!(snapshot.states.len(), list("U").len() + list("V").len());
    // Native agents send these two lists alone: nothing is said of what failed or waits for a restart.
    assert!(!snapshot.tells_failed && !snapshot.tells_restarts);
}

/// Whatever else is recorded is read too: a request that is added later must not go by unseen.
#[test]
fn every_recorded_request_is_read() {
    let mut methods = Vec::new();
    for folder in ["wusp/scan", "wusp/flow"] {
        let Some(folder) = recorded(folder) else { return };
        for entry in fs::read_dir(&folder).unwrap() {
            let number = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
            if folder.join(format!("{number:06}/request.body")).is_file() {
                methods.push(match request(&folder, number) {
                    Request::Config(_) => Method::GetConfig,
                    Request::Authorize(_) => Method::GetAuthorizationCookie,
                    Request::Cookie(_) => Method::GetCookie,
                    Request::Register(_) => Method::RegisterComputer,
                    Request::CategoryScan(_) => Method::StartCategoryScan,
                    Request::Sync(_) => Method::SyncUpdates,
                    Request::Extended(_) => Method::GetExtendedUpdateInfo,
                    Request::Events(_) => Method::ReportEventBatch,
                    other => panic!("assert what is new in it: {other:?}"),
                });
            }
        }
    }
    assert_eq!(methods.len(), 12);
}
