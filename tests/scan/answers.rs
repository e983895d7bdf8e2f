//! Recorded answers of a WSUS on Windows Server 2025: the values that a reader of the test's own takes from them make the very
//! bytes again.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use waystation::base::digest::Sha1;
use waystation::base::time::Timestamp;
use waystation::wire::soap::Version;
use waystation::wire::wsusss::authorize::{AuthorizationCookie, Cookie, PlugIn};
use waystation::wire::wsusss::values::{Opaque, Time};
use waystation::wire::wusp::answer::{self, Config};
use waystation::wire::wusp::deployment::{Action, Deployment};
use waystation::wire::wusp::given::{FileLocation, extended};
use waystation::wire::wusp::offer::{Offer, Offered, Rest};
use waystation::wire::wusp::{Fragment, Method, Parts};
use waystation::wire::xpress::{Encoder, unpack};

use crate::recorded::recorded;
use crate::tree::Element;

const V11: Version = Version::V11;

fn response(folder: &Path, number: u32) -> (String, Element) {
    let text = fs::read_to_string(folder.join(format!("{number:06}/response.body"))).unwrap();
    let tree = Element::read(&text);
    (text, tree)
}

/// A time in the form that the product has for it.
pub(crate) fn time(text: &str) -> Time {
    use waystation::wire::soap::{Limits, Message, Writer, open};
    use waystation::wire::wsusss::field::Field;
    // The type keeps what it was read from.
    let mut out = Writer::begin(Vec::new(), V11, waystation::wire::soap::Style::Request).unwrap();
    out.open_in("A", "urn:a").unwrap();
    out.leaf("Time", text).unwrap();
    out.close("A").unwrap();
    let bytes = out.finish().unwrap();
    let Message::Operation(mut reader) = open(bytes.as_slice(), Limits::ANSWER).unwrap() else { panic!("a fault") };
    assert!(reader.child().unwrap());
    Time::read(&mut reader).unwrap()
}

fn opaque(text: &str) -> Opaque {
    Opaque::new(&STANDARD.decode(text).unwrap())
}

pub(crate) fn cookie(element: &Element) -> Cookie {
    Cookie {
        expiration: time(&element.value("Expiration")),
        data: element.get("EncryptedData").map(|text| opaque(&text)),
    }
}

pub(crate) fn config(result: &Element) -> Config {
    Config {
        last_change: time(&result.value("LastChange")),
        is_registration_required: result.value("IsRegistrationRequired") == "true",
        plug_ins: result
            .find("AuthInfo")
            .unwrap()
            .all("AuthPlugInInfo")
            .map(|element| PlugIn {
                id: element.value("PlugInID"),
                service_url: element.value("ServiceUrl"),
                parameter: element.get("Parameter"),
            })
            .collect(),
        properties: result
            .find("Properties")
            .unwrap()
            .all("ConfigurationProperty")
            .map(|element| (element.value("Name"), element.value("Value")))
            .collect(),
    }
}

fn action(word: &str) -> Action {
    let all = [
        Action::Install,
        Action::OptionalInstall,
        Action::Uninstall,
        Action::PreDeploymentCheck,
        Action::Block,
        Action::Evaluate,
        Action::Bundle,
    ];
    all.into_iter().find(|action| action.as_str() == word).unwrap()
}

fn deployment(element: &Element) -> Deployment {
    let zeros = ["AutoSelect", "AutoDownload", "SupersedenceBehavior"].map(|name| element.get(name));
    Deployment {
        id: element.value("ID").parse().unwrap(),
        action: action(&element.value("Action")),
        deadline: None,
        is_assigned: element.value("IsAssigned") == "true",
        changed: time(&format!("{}T00:00:00Z", element.value("LastChangeTime"))).at().unwrap(),
        priority: None,
        hardware_ids: Vec::new(),
        with_zeros: zeros.iter().all(|zero| zero.as_deref() == Some("0")),
    }
}

fn fragment(element: &Element) -> Fragment {
    let fragment = Fragment::escape(&element.value("Xml"));
    let escaped = &element.all("Xml").next().unwrap().text;
    assert_eq!(fragment.escaped(), escaped.as_bytes(), "escaped as the server does it");
    fragment
}

/// The same bytes as they are and through xpress.
fn assert_parts(parts: &Parts, text: &str) {
    assert_eq!(String::from_utf8(parts.to_vec()).unwrap(), text);
    assert_eq!(parts.len(), text.len());
    let packed = parts.pack(&mut Encoder::new());
    assert_eq!(unpack(&packed, text.len()).unwrap(), text.as_bytes());
    assert!(packed.len() < text.len());
}

fn assert_same(bytes: Vec<u8>, text: &str) {
    assert_eq!(String::from_utf8(bytes).unwrap(), text);
}

#[test]
fn of_the_handshake() {
    let Some(scan) = recorded("wusp/scan") else { return };
    let (text, tree) = response(&scan, 1);
    let read = config(tree.find("GetConfigResult").unwrap());
    let property = |name: &str| read.properties.iter().find(|(found, _)| found == name).unwrap().1.clone();
    assert_eq!(
        (property("ProtocolVersion"), property("MaxExtendedUpdatesPerRequest")),
        ("3.2".to_owned(), "50".to_owned())
    );
    assert_eq!((read.plug_ins.len(), read.plug_ins[0].parameter.as_deref()), (1, Some("")));
    assert_same(answer::config(V11, Method::GetConfig, &read), &text);
    let second = String::from_utf8(answer::config(V11, Method::GetConfig2, &read)).unwrap();
    assert_eq!(second, text.replace("GetConfigRes", "GetConfig2Res"));

    let (text, tree) = response(&scan, 2);
    let result = tree.find("GetAuthorizationCookieResult").unwrap();
    let read = AuthorizationCookie { plug_in_id: result.value("PlugInId"), data: opaque(&result.value("CookieData")) };
    assert_same(answer::authorization(V11, &read), &text);

    let (text, tree) = response(&scan, 3);
    assert_same(answer::cookie(V11, &cookie(tree.find("GetCookieResult").unwrap())), &text);

    let (text, _) = response(&scan, 4);
    assert_same(answer::registered(V11), &text);

    let (text, tree) = response(&scan, 5);
    let ids: Vec<_> =
        tree.find("preferredCategoryIds").unwrap().all("guid").map(|id| id.text.parse().unwrap()).collect();
    assert_same(answer::category_scan(V11, &ids, &[]), &text);
}

#[test]
fn of_a_scan() {
    let (Some(scan), Some(flow)) = (recorded("wusp/scan"), recorded("wusp/flow")) else { return };
    for (folder, number, expected) in [
        (&scan, 6, Some(108_226)),
        (&scan, 7, Some(108_231)),
        (&scan, 8, Some(72_571)),
        (&scan, 9, None),
        (&flow, 14, None),
    ] {
        let (text, tree) = response(folder, number);
        let result = tree.find("SyncUpdatesResult").unwrap();
        let mut offer = Offer::updates(V11);
        let mut ids = Vec::new();
        for update in result.find("NewUpdates").into_iter().flat_map(|list| list.all("UpdateInfo")) {
            let offered = Offered {
                id: update.value("ID").parse().unwrap(),
                deployment: deployment(update.find("Deployment").unwrap()),
                is_leaf: update.value("IsLeaf") == "true",
            };
            ids.push(offered.id);
            assert_eq!((offered.deployment.action, offered.is_leaf), (Action::Evaluate, number == 8));
            offer.revision(&offered, fragment(update));
        }
        assert_eq!(ids, expected.into_iter().collect::<Vec<_>>());
        assert_eq!(
            result
                .children
                .iter()
                .map(|child| child.name.as_str())
                .filter(|name| *name != "NewUpdates")
                .collect::<Vec<_>>(),
            ["Truncated", "NewCookie", "DriverSyncNotNeeded"],
            "what the rest below leaves out was not there"
        );
        let rest = Rest {
            out_of_scope: Vec::new(),
            changed: Vec::new(),
            is_truncated: result.value("Truncated") == "true",
            cookie: cookie(result.find("NewCookie").unwrap()),
            deployed_out_of_scope: None,
            no_drivers: Some(result.value("DriverSyncNotNeeded") == "true"),
        };
        assert_parts(&offer.finish(&rest), &text);
    }
}

#[test]
fn of_more_about_revisions() {
    let (Some(scan), Some(flow)) = (recorded("wusp/scan"), recorded("wusp/flow")) else { return };
    for (folder, number, fragments, files) in [(&scan, 10, 6, 0), (&flow, 15, 36, 9)] {
        let (text, tree) = response(folder, number);
        let result = tree.find("GetExtendedUpdateInfoResult").unwrap();
        let updates: Vec<_> = result
            .find("Updates")
            .unwrap()
            .all("Update")
            .map(|update| (update.value("ID").parse().unwrap(), fragment(update)))
            .collect();
        let locations: Vec<_> = result
            .find("FileLocations")
            .into_iter()
            .flat_map(|list| list.all("FileLocation"))
            .map(|file| {
                let digest: [u8; 20] = STANDARD.decode(file.value("FileDigest")).unwrap().try_into().unwrap();
                FileLocation { digest: Sha1::new(digest), url: file.value("Url") }
            })
            .collect();
        assert_eq!((updates.len(), locations.len()), (fragments, files));
        for file in &locations {
            let hex = file.digest.to_string().to_ascii_uppercase();
            assert_eq!(file.url, format!("http://192.0.2.1:8530/Content/{}/{hex}.exe", &hex[38..]));
        }
        assert_parts(&extended(V11, updates, &locations, &[]), &text);
    }
}

#[test]
fn to_reports() {
    let Some(flow) = recorded("wusp/flow") else { return };
    for number in [16, 17] {
        let (text, tree) = response(&flow, number);
        let is_taken = tree.find("ReportEventBatchResponse").unwrap().value("ReportEventBatchResult") == "true";
        assert!(is_taken);
        assert_same(answer::taken(V11, Method::ReportEventBatch, is_taken), &text);
    }
    assert_eq!(time("2026-10-04T00:00:00Z").at(), Some(Timestamp::from_ms(1_791_072_000_000)));
}
