//! Requests in any form, hostile ones, refusals, and answers by their parts. Recorded messages are in `tests/scan`.

use proptest::prelude::*;

use crate::base::time::Timestamp;
use crate::model::update::{Identity, UpdateId};
use crate::wire::error::Error;
use crate::wire::soap::{self, ENVELOPE_11, ENVELOPE_12, Limits, Message, Side, Version};
use crate::wire::wsusss::authorize::Cookie;
use crate::wire::wsusss::files::FileKey;
use crate::wire::wsusss::values::{Opaque, Time};
use crate::wire::wusp::attributes::Attributes;
use crate::wire::wusp::deployment::{Action, Deployment};
use crate::wire::wusp::info::FragmentKind;
use crate::wire::wusp::limits::{CACHED_MAX, EVENTS_MAX, INSTALLED_MAX, NAME_BYTES_MAX, STRING_BYTES_MAX};
use crate::wire::wusp::offer::{Offer, Offered, Refreshed, Rest};
use crate::wire::wusp::sync::SyncUpdates;
use crate::wire::wusp::{
    Asked, Face, FaultCode, Fragment, Method, Part, Refused, Request, answer, decode, given, offer,
};
use crate::wire::xpress::{self, Encoder};

fn message(envelope: &str, face: Face, method: &str, inside: &str) -> String {
    let own = face.namespace();
    format!(
        "<e:Envelope xmlns:e=\"{envelope}\"><e:Body><{method} xmlns=\"{own}\">{inside}</{method}></e:Body></e:Envelope>"
    )
}

fn ask(method: Method, inside: &str) -> Result<Asked, Box<Refused>> {
    decode(method.face(), message(ENVELOPE_11, method.face(), method.name(), inside).as_bytes())
}

fn sync(inside: &str) -> SyncUpdates {
    match ask(Method::SyncUpdates, inside).unwrap().request {
        Request::Sync(asked) => *asked,
        other => panic!("{other:?}"),
    }
}

fn refused(method: Method, inside: &str) -> (FaultCode, &'static str) {
    let refused = ask(method, inside).unwrap_err();
    assert_eq!(refused.method, Some(method));
    (refused.code, refused.parameter)
}

fn ints(count: usize) -> String {
    let ids: Vec<String> = (0..count).map(|id| format!("<int>{id}</int>")).collect();
    ids.concat()
}

fn guid(byte: u8) -> UpdateId {
    UpdateId::new([byte; 16])
}

#[test]
fn neither_order_nor_prefix_nor_what_is_unknown_matters() {
    let own = Face::Client.namespace();
    let text = format!(
        "<?xml version='1.0'?><x:Envelope xmlns:x='{ENVELOPE_12}'><x:Header><a/></x:Header><x:Body>\
         <y:SyncUpdates xmlns:y='{own}' xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'><y:New><y:Deep/></y:New>\
         <y:parameters><y:FeatureScoreMatchingKey>AMD64.10.0</y:FeatureScoreMatchingKey><y:SkipSoftwareSync>1</y:SkipSoftwareSync>\
         <y:OtherCachedUpdateIDs xsi:nil='1'/><z:ExpressQuery xmlns:z='urn:other'>no</z:ExpressQuery>\
         <y:InstalledNonLeafUpdateIDs><y:int> 7 </y:int><y:other>x</y:other><y:int>-8</y:int></y:InstalledNonLeafUpdateIDs>\
         <y:Unknown>1<!-- a comment --></y:Unknown></y:parameters>\
         <y:cookie><y:EncryptedData>AQID</y:EncryptedData><y:Expiration>2026-10-04T16:03:35Z</y:Expiration></y:cookie>\
         </y:SyncUpdates></x:Body></x:Envelope>"
    )
    .replace("1<!-- a comment -->", "1");
    let asked = decode(Face::Client, text.as_bytes()).unwrap();
    assert_eq!((asked.version, asked.method), (Version::V12, Method::SyncUpdates));
    let Request::Sync(asked) = asked.request else { panic!("{asked:?}") };
    assert_eq!((asked.installed, asked.cached, asked.skip_software), (vec![7, -8], vec![], true));
    assert_eq!(asked.score_key, "AMD64.10.0");
    assert_eq!(asked.cookie.unwrap().data, Some(Opaque::new(&[1, 2, 3])));
}

#[test]
fn a_driver_pass_tells_devices_and_their_drivers() {
    let asked = sync(
        "<parameters><SkipSoftwareSync>true</SkipSoftwareSync><SystemSpec><Device><HardwareIDs><string>PCI\\VEN_8086&amp;DEV_1\
         </string><string>PCI\\VEN_8086</string></HardwareIDs><CompatibleIDs><string>PCI\\CC_01</string></CompatibleIDs>\
         <installedDriver><MatchingID>pci\\ven_8086</MatchingID><DriverVerDate>2006-06-21T00:00:00</DriverVerDate>\
         <DriverVerVersion>2814751014979080</DriverVerVersion><Class>System</Class><Manufacturer>Intel</Manufacturer>\
         <Provider>Microsoft</Provider><Model>Bridge</Model><MatchingComputerHWID nil=\"true\"/><DriverRank>16719872</DriverRank>\
         </installedDriver><extensionDriver><extensionDriver><ExtensionId>e</ExtensionId><DriverVerVersion>-1</DriverVerVersion>\
         <Class>Extension</Class><DriverRank>1</DriverRank><MatchingComputerHWID>01010101-0101-0101-0101-010101010101\
         </MatchingComputerHWID></extensionDriver></extensionDriver><DriverRecoveryIDs><DriverRecoveryID>r</DriverRecoveryID>\
         </DriverRecoveryIDs><DeviceFlags>1</DeviceFlags></Device><Device/></SystemSpec><ComputerSpec><HardwareIDs>\
         <guid>02020202-0202-0202-0202-020202020202</guid></HardwareIDs></ComputerSpec><CachedDriverIDs><int>5</int></CachedDriverIDs>\
         </parameters>",
    );
    let [device, empty] = asked.devices.as_slice() else { panic!("{asked:?}") };
    assert_eq!(*empty, super::device::Device::default());
    assert_eq!(device.hardware_ids, ["PCI\\VEN_8086&DEV_1", "PCI\\VEN_8086"]);
    assert_eq!(device.compatible_ids, ["PCI\\CC_01"]);
    let driver = device.installed.as_ref().unwrap();
    assert_eq!((driver.matching_id.as_str(), driver.class.as_str()), ("pci\\ven_8086", "System"));
    assert_eq!(
        (driver.manufacturer.as_str(), driver.provider.as_str(), driver.model.as_str()),
        ("Intel", "Microsoft", "Bridge")
    );
    assert_eq!(driver.date.unwrap().to_string(), "2006-06-21T00:00:00Z");
    assert_eq!(
        (driver.version, driver.rank, driver.computer_id),
        (Some(2_814_751_014_979_080), Some(16_719_872), None)
    );
    let [extension] = device.extensions.as_slice() else { panic!("{device:?}") };
    assert_eq!((extension.id.as_str(), extension.version, extension.computer_id), ("e", Some(-1), Some(guid(1))));
    assert_eq!((device.recovery_ids.as_slice(), device.flags), (&["r".to_owned()][..], Some(1)));
    assert_eq!((asked.computer_ids.as_slice(), asked.cached_drivers.as_slice()), (&[guid(2)][..], &[5][..]));
}

#[test]
fn lists_of_millions_and_endless_texts_are_refused_by_name() {
    let lists = |name: &str, count: usize| format!("<parameters><{name}>{}</{name}></parameters>", ints(count));
    let installed = lists("InstalledNonLeafUpdateIDs", INSTALLED_MAX);
    assert_eq!(sync(&installed).installed.len(), INSTALLED_MAX);
    let parameters = (FaultCode::InvalidParameters, "parameters.InstalledNonLeafUpdateIDs");
    assert_eq!(refused(Method::SyncUpdates, &lists("InstalledNonLeafUpdateIDs", INSTALLED_MAX + 1)), parameters);
    assert_eq!(sync(&lists("OtherCachedUpdateIDs", CACHED_MAX)).cached.len(), CACHED_MAX);
    let parameters = (FaultCode::InvalidParameters, "parameters.OtherCachedUpdateIDs");
    assert_eq!(refused(Method::SyncUpdates, &lists("OtherCachedUpdateIDs", CACHED_MAX + 1)), parameters);
    // Beyond what a message may have, whatever is in it.
    let million = lists("Unknown", 1_000_000);
    let refused_whole = ask(Method::SyncUpdates, &million).unwrap_err();
    assert!(matches!(refused_whole.error, Error::Limit { .. }), "{refused_whole}");

    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let name = |name: &str| format!("<clientId>{name}</clientId><dnsName>pc</dnsName>");
    assert!(ask(Method::GetAuthorizationCookie, &name(&long[1..])).is_ok());
    let wrong = (FaultCode::InvalidParameters, "clientId");
    assert_eq!(refused(Method::GetAuthorizationCookie, &name(&long)), wrong);
    let told = ask(Method::GetAuthorizationCookie, &name(&long)).unwrap_err().to_string();
    assert!(told.len() < 300 && told.starts_with("GetAuthorizationCookie could not be read at clientId: "), "{told}");
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let invalid = |parameter| (FaultCode::InvalidParameters, parameter);
    assert_eq!(refused(Method::SyncUpdates, ""), invalid("parameters"));
    let wrong = "<parameters><InstalledNonLeafUpdateIDs><int>4294967296</int></InstalledNonLeafUpdateIDs></parameters>";
    assert_eq!(refused(Method::SyncUpdates, wrong), invalid("parameters.InstalledNonLeafUpdateIDs"));
    let wrong = "<parameters><FilterCategoryIds><CategoryIdentifier/></FilterCategoryIds></parameters>";
    assert_eq!(refused(Method::SyncUpdates, wrong), invalid("parameters.FilterCategoryIds"));
    assert_eq!(refused(Method::GetAuthorizationCookie, "<clientId>a</clientId>"), invalid("dnsName"));
    assert_eq!(refused(Method::RegisterComputer, ""), invalid("computerInfo"));
    assert_eq!(refused(Method::StartCategoryScan, ""), invalid("requestedCategories"));
    assert_eq!(refused(Method::RefreshCache, ""), invalid("globalIDs"));
    assert_eq!(refused(Method::GetFileLocations, ""), invalid("fileDigests"));
    let short = "<fileDigests><base64Binary>AAAA</base64Binary></fileDigests>";
    assert_eq!(refused(Method::GetFileLocations, short), invalid("fileDigests"));
    assert_eq!(
        refused(Method::ReportEventBatch, "<clientTime>2026-10-04T16:03:35Z</clientTime>"),
        invalid("eventBatch")
    );
    // Cookies have words of their own.
    let bad = "<cookie><Expiration>soon</Expiration></cookie><parameters/>";
    assert_eq!(refused(Method::SyncUpdates, bad), (FaultCode::InvalidCookie, ""));
    let bad = "<authCookies><AuthorizationCookie><CookieData><x/></CookieData></AuthorizationCookie></authCookies>";
    assert_eq!(refused(Method::GetCookie, bad), (FaultCode::InvalidAuthorizationCookie, ""));
    // What only tells something may be wrong.
    let Request::Cookie(asked) = ask(
        Method::GetCookie,
        "<lastChange>x</lastChange><currentTime><y/></currentTime>\
        <protocolVersion>2.90</protocolVersion>",
    )
    .unwrap()
    .request
    else {
        panic!("another request")
    };
    assert_eq!((asked.last_change, asked.now, asked.protocol_version.as_str()), (None, None, "2.90"));
}

#[test]
fn operations_of_other_services_and_of_none_are_refused_with_the_protocols_own_fault() {
    for face in Face::ALL {
        for method in Method::ALL {
            let bytes = message(ENVELOPE_11, face, method.name(), "");
            let read = decode(face, bytes.as_bytes());
            let is_known = read.as_ref().map_or_else(|refused| refused.method.is_some(), |_| true);
            assert_eq!(is_known, method.face() == face, "{method} at {face:?}");
        }
        assert_eq!(Face::at(&face.path().to_ascii_uppercase()), Some(face));
    }
    assert_eq!(Face::at("/reportingwebservice/webservice.asmx"), Some(Face::Reporting));
    assert_eq!(Face::at("/ClientWebService/client.asmx/x"), None);

    for (version, envelope) in [(Version::V11, ENVELOPE_11), (Version::V12, ENVELOPE_12)] {
        let bytes = message(envelope, Face::Client, "GetTimestamps", "");
        let refused = decode(Face::Client, bytes.as_bytes()).unwrap_err();
        assert_eq!((refused.method, refused.version), (None, version));
        let told = refused.to_string();
        assert!(
            told.starts_with("a request to /ClientWebService/client.asmx could not be read: expected an operation"),
            "{told}"
        );
        let fault = refused.encode("2587c8c1-4f54-4033-9f1a-3a195bf0495d");
        let Message::Fault(fault) = soap::open(fault.as_slice(), Limits::ANSWER).unwrap() else { panic!("no fault") };
        assert_eq!((fault.version, fault.side, fault.text.as_str()), (version, Side::Client, "Fault occurred"));
        let detail = fault.detail.unwrap();
        assert_eq!(
            (detail.code.as_str(), detail.message.as_str(), detail.method.as_str()),
            ("InvalidParameters", "", "")
        );
        assert_eq!(detail.id, "2587c8c1-4f54-4033-9f1a-3a195bf0495d");
    }
    let other = ask(Method::GetConfig, "").unwrap();
    assert_eq!(other.request, Request::Config(super::handshake::GetConfig::default()));
    let fault = super::Refusal {
        face: Face::Client,
        method: Some(Method::SyncUpdates),
        code: FaultCode::ServerBusy,
        message: "",
        id: "i",
        actor: "",
    }
    .encode(Version::V11);
    let text = String::from_utf8(fault).unwrap();
    assert!(text.contains("<faultcode>s:Server</faultcode>"), "{text}");
    assert!(text.contains(
        "<Method>\"http://www.microsoft.com/SoftwareDistribution/Server/ClientWebService/SyncUpdates\"</Method>"
    ));
    // Whole, or not at all.
    let whole = message(ENVELOPE_11, Face::Client, "GetConfig", "<protocolVersion>2.90</protocolVersion>");
    let cut = decode(Face::Client, &whole.as_bytes()[..whole.len() - 3]).unwrap_err();
    assert!(matches!(cut.error, Error::Truncated { .. }));
    assert!(decode(Face::Client, b"GET / HTTP/1.1".as_slice()).is_err());
}

/// An event with this inside of its `BasicData` and `ExtendedData`.
fn event(basic: &str, extended: &str) -> String {
    format!(
        "<ReportingEvent><ExtendedData>{extended}</ExtendedData><BasicData>{basic}</BasicData><PrivateData>\
         <UserAccountName>somebody</UserAccountName></PrivateData></ReportingEvent>"
    )
}

#[test]
fn an_event_that_cannot_be_read_spoils_no_other() {
    let id = "<EventInstanceID>{0E04969A-7B8C-43BF-B23A-A19D7A7F4093}</EventInstanceID>";
    let good = event(
        &format!(
            "{id}<EventID>182</EventID><Win32HResult>2149842967</Win32HResult><UpdateID>\
            <UpdateID>0DAF8592-9E3F-4A8A-9141-D83FAFEBD09F</UpdateID><RevisionNumber>-1</RevisionNumber></UpdateID>"
        ),
        "<MiscData><string>F=1</string><string>f=a=b</string><string>U=01010101-0101-0101-0101-010101010101;x;;\
         02020202-0202-0202-0202-020202020202;</string><string>alone</string></MiscData>",
    );
    let long = "x".repeat(STRING_BYTES_MAX + 1);
    let batch = format!(
        "<eventBatch>{good}{}{}{}<ReportingEvent/>{}{good}</eventBatch><computerId>c</computerId>",
        event("<EventID>1</EventID>", ""),
        event(&format!("{id}<EventID>many</EventID>"), ""),
        event(&format!("{id}<EventID><x><y/></x></EventID>"), "<MiscData><string>1</string></MiscData>"),
        event(&format!("{id}<EventID>1</EventID>"), &format!("<MiscData><string>{long}</string></MiscData>")),
    );
    let asked = ask(Method::ReportEventBatch2, &batch).unwrap();
    let Request::Events(batch) = asked.request else { panic!("another request") };
    assert_eq!((batch.events.len(), batch.unread, batch.computer_id.as_deref()), (2, 5, Some("c")));
    assert_eq!(batch.why.as_deref(), Some("an event has no EventInstanceID"));
    assert_eq!(batch.events[0], batch.events[1]);
    let event = &batch.events[0];
    assert_eq!(event.result, -2_145_124_329);
    assert_eq!(event.update.unwrap().revision, 0);
    assert_eq!(
        (event.misc("F"), event.misc("f"), event.misc("alone"), event.misc("")),
        (Some("1"), Some("a=b"), None, None)
    );
    assert_eq!(event.updates("U").unwrap().collect::<Vec<_>>(), [guid(1), guid(2)]);
    assert!(event.updates("V").is_none());
    assert_eq!(
        (event.strings.len(), event.machine.clone(), event.target.as_str()),
        (0, super::report::Machine::default(), "")
    );

    let absurd = format!("<eventBatch>{}</eventBatch>", "<ReportingEvent/>".repeat(EVENTS_MAX + 1));
    assert_eq!(refused(Method::ReportEventBatch, &absurd), (FaultCode::InvalidParameters, "eventBatch"));
}

#[test]
fn requests_that_were_never_recorded() {
    let read = |method, inside: &str| ask(method, inside).unwrap().request;
    let Request::Config(config) = read(
        Method::GetConfig2,
        "<clientConfiguration><a>1</a><ClientProtocolVersion>2.90</ClientProtocolVersion></clientConfiguration>",
    ) else {
        panic!("another request")
    };
    assert_eq!(config.protocol_version, "2.90");
    let Request::Extended2(asked) = read(
        Method::GetExtendedUpdateInfo2,
        "<updateIDs><UpdateIdentity><RevisionNumber>3</RevisionNumber><UpdateID>01010101-0101-0101-0101-010101010101</UpdateID>\
         </UpdateIdentity></updateIDs><infoTypes><XmlUpdateFragmentType>FileUrl</XmlUpdateFragmentType>\
         <XmlUpdateFragmentType>SamplingRate</XmlUpdateFragmentType><XmlUpdateFragmentType>FileDecryption</XmlUpdateFragmentType>\
         </infoTypes><locales><string>de</string></locales><callerAttributes>a=1</callerAttributes>",
    ) else {
        panic!("another request")
    };
    assert_eq!(asked.updates, [Identity { id: guid(1), revision: 3 }]);
    assert_eq!(asked.wish.kinds, Some(vec![FragmentKind::FileUrl, FragmentKind::FileDecryption]));
    assert_eq!(
        (asked.wish.locales, asked.wish.caller.get("A").map(str::to_owned)),
        (vec!["de".to_owned()], Some("1".into()))
    );
    let Request::Extended(asked) = read(Method::GetExtendedUpdateInfo, "") else { panic!("another request") };
    assert_eq!(asked.wish.kinds, None);
    let Request::Printers(asked) = read(
        Method::SyncPrinterCatalog,
        "<installedNonLeafUpdateIDs><int>1</int></installedNonLeafUpdateIDs><printerUpdateIDs><int>2</int></printerUpdateIDs>\
         <deviceAttributes>a=1</deviceAttributes>",
    ) else {
        panic!("another request")
    };
    assert_eq!((asked.installed, asked.printers, asked.device), (vec![1], vec![2], Attributes::new("a=1")));
    let Request::InventoryType(asked) = read(
        Method::GetRequiredInventoryType,
        "<rulesId>01010101-0101-0101-0101-010101010101</rulesId><rulesVersion>1.0</rulesVersion>",
    ) else {
        panic!("another request")
    };
    assert_eq!((asked.rules, asked.rules_version.as_str()), (Some(guid(1)), "1.0"));
    let Request::Inventory(asked) = read(
        Method::ReportInventory,
        "<clientTime>2026-10-04T16:03:35Z</clientTime><inventory><IsCompressed>false</IsCompressed><RawXml>&lt;a/&gt;</RawXml>\
         </inventory>",
    ) else {
        panic!("another request")
    };
    assert_eq!((asked.bytes, asked.now.unwrap().to_string().as_str()), (4, "2026-10-04T16:03:35Z"));
    let cookie = format!("<cookie><Expiration>{}</Expiration><EncryptedData/></cookie>", Time::NEVER);
    let Request::Rollup(asked) = read(Method::GetRollupConfiguration, &cookie) else { panic!("another request") };
    assert_eq!(asked.cookie.unwrap().expiration.as_str(), Time::NEVER);
}

#[test]
fn attributes_are_keys_and_values_whatever_stands_in_them() {
    let attributes = Attributes::new(" A=1;b=x=y; ;C;a=2;=3");
    assert_eq!(attributes.iter().collect::<Vec<_>>(), [("A", "1"), ("b", "x=y"), ("C", ""), ("a", "2"), ("", "3")]);
    assert_eq!((attributes.get("a"), attributes.get("B"), attributes.get("c")), (Some("1"), Some("x=y"), Some("")));
    assert_eq!(attributes.get("d"), None);
    let products =
        Attributes::new("PN=Client.OS.rs2.amd64&V=10.0.26200.8037&Source=SystemProduct;PN=Windows.Appraiser.amd64;");
    let products: Vec<Vec<_>> = products.products().map(Iterator::collect).collect();
    assert_eq!(products[0][..2], [("PN", "Client.OS.rs2.amd64"), ("V", "10.0.26200.8037")]);
    assert_eq!((products.len(), products[1][0]), (2, ("PN", "Windows.Appraiser.amd64")));
    assert_eq!(Attributes::new("a;".repeat(5_000)).iter().count(), super::limits::ATTRIBUTES_MAX);
}

fn offered(id: i32) -> Offered {
    let deployment = Deployment {
        id: id + 100,
        action: Action::Install,
        deadline: None,
        is_assigned: true,
        changed: Timestamp::from_ms(1_791_146_006_650),
        priority: None,
        hardware_ids: Vec::new(),
        with_zeros: true,
    };
    Offered { id, deployment, is_leaf: false }
}

fn rest() -> Rest {
    Rest {
        out_of_scope: Vec::new(),
        changed: Vec::new(),
        is_truncated: false,
        cookie: Cookie {
            expiration: Time::new(Timestamp::from_ms(1_791_146_006_650)),
            data: Some(Opaque::new(b"secret")),
        },
        deployed_out_of_scope: None,
        no_drivers: None,
    }
}

/// What is between the tags of `name`, as often as it is there.
fn between<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    text.split(&open).skip(1).filter_map(|rest| rest.split_once(&close)).map(|(inside, _)| inside).collect()
}

#[test]
fn fragments_go_into_an_answer_as_they_are() {
    let text = "<Properties UpdateType=\"Category\" /> & \"more\"";
    let escaped = "&lt;Properties UpdateType=\"Category\" /&gt; &amp; \"more\"";
    let plain = Fragment::escape(text);
    assert_eq!(plain.escaped(), escaped);
    let long = Fragment::escape(&text.repeat(900));
    let mut encoder = Encoder::new();
    let mut offer = Offer::updates(Version::V11);
    let before = offer.length();
    for (id, fragment) in [(1, &plain), (2, &long), (3, &long), (4, &long)] {
        offer.revision(&offered(id), fragment.clone());
    }
    assert!(offer.length() > before + 3 * long.escaped().len());
    let parts = offer.finish(&Rest {
        out_of_scope: vec![7, 8],
        changed: vec![offered(9)],
        deployed_out_of_scope: Some(vec![]),
        ..rest()
    });
    let bytes = parts.to_vec();
    assert_eq!((bytes.len(), parts.is_empty()), (parts.len(), false));
    assert_eq!(xpress::unpack(&parts.pack(&mut encoder), 1 << 20).unwrap(), bytes);
    let answer = String::from_utf8(bytes.clone()).unwrap();
    assert_eq!(between(&answer, "Xml").concat(), format!("{escaped}{}", escaped.repeat(2_700)));
    assert_eq!(between(&answer, "OutOfScopeRevisionIDs"), ["<int>7</int><int>8</int>"]);
    assert!(between(&answer, "ChangedUpdates")[0].starts_with("<UpdateInfo><ID>9</ID><Deployment><ID>109</ID>"));
    assert!(answer.contains("</NewCookie><DeployedOutOfScopeRevisionIds/></SyncUpdatesResult>"), "{answer}");
    // Made, fragment, made, ...: nothing of a fragment is copied.
    let parts = parts.into_parts();
    assert_eq!(parts.iter().map(Part::bytes).collect::<Vec<_>>().concat(), bytes);
    let fragments: Vec<_> = parts.iter().map(|part| matches!(part, Part::Fragment(_))).collect();
    assert_eq!(fragments, [false, true, false, true, false, true, false, true, false]);
    let Part::Fragment(second) = &parts[3] else { panic!("no fragment") };
    assert_eq!(second.escaped().as_ptr(), long.escaped().as_ptr());

    let none = Offer::printers(Version::V12).finish(&rest()).to_vec();
    let none = String::from_utf8(none).unwrap();
    assert!(none.contains("<SyncPrinterCatalogResult><Truncated>false</Truncated><NewCookie>"), "{none}");
    assert!(none.contains(ENVELOPE_12) && !none.contains("Drivers"));
}

#[test]
fn what_an_answer_can_say_beyond_what_was_recorded() {
    let deployment = Deployment {
        action: Action::OptionalInstall,
        deadline: Some(Timestamp::from_ms(1_791_146_006_650)),
        is_assigned: false,
        priority: Some(3),
        hardware_ids: vec!["PCI\\A&B".to_owned()],
        with_zeros: false,
        ..offered(1).deployment
    };
    let refreshed =
        [Refreshed { identity: Identity { id: guid(1), revision: 3 }, offered: Offered { deployment, ..offered(1) } }];
    let text = String::from_utf8(offer::refreshed(Version::V11, &refreshed)).unwrap();
    assert_eq!(
        text.split_once("<RefreshCacheResult>").unwrap().1,
        "<RefreshCacheResult><RevisionID>1</RevisionID><GlobalID><UpdateID>01010101-0101-0101-0101-010101010101</UpdateID>\
         <RevisionNumber>3</RevisionNumber></GlobalID><IsLeaf>false</IsLeaf><Deployment><ID>101</ID><Action>OptionalInstall</Action>\
         <Deadline>2026-10-04T20:33:26.65Z</Deadline><IsAssigned>false</IsAssigned><LastChangeTime>2026-10-04</LastChangeTime>\
         <DownloadPriority>3</DownloadPriority><HardwareIds><string>PCI\\A&amp;B</string></HardwareIds></Deployment>\
         </RefreshCacheResult></RefreshCacheResult></RefreshCacheResponse></s:Body></s:Envelope>"
    );
    let empty = String::from_utf8(offer::refreshed(Version::V11, &[])).unwrap();
    assert!(empty.contains("\"><RefreshCacheResult/></RefreshCacheResponse>"), "{empty}");

    let location =
        given::FileLocation { digest: crate::base::digest::Sha1::new([7; 20]), url: "http://a/?b&c".to_owned() };
    let text =
        String::from_utf8(given::locations(Version::V11, std::slice::from_ref(&location), &rest().cookie)).unwrap();
    let file = "<FileLocation><FileDigest>BwcHBwcHBwcHBwcHBwcHBwcHBwc=</FileDigest><Url>http://a/?b&amp;c</Url>";
    assert!(
        text.contains(&format!("<FileLocations>{file}</FileLocation></FileLocations><NewCookie><Expiration>")),
        "{text}"
    );
    let key = FileKey { digest: location.digest, key: Opaque::new(b"key") };
    let text = given::extended2(Version::V11, [(5, Fragment::escape("<a/>"))], std::slice::from_ref(&location), &[key])
        .to_vec();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(&format!(
        "<Updates><Update><ID>5</ID><Xml>&lt;a/&gt;</Xml></Update></Updates><FileLocations>{file}<FileDigestAlgorithm>SHA1\
         </FileDigestAlgorithm></FileLocation></FileLocations><FileDecryptionData><FileDecryption><FileDigest>\
         BwcHBwcHBwcHBwcHBwcHBwcHBwc=</FileDigest><DecryptionKey>a2V5</DecryptionKey><SecurityData><base64Binary>a2V5</base64Binary>\
         </SecurityData></FileDecryption></FileDecryptionData></GetExtendedUpdateInfo2Result>"
    )), "{text}");
    let text = String::from_utf8(given::extended(Version::V11, [], &[], &[4]).to_vec()).unwrap();
    assert!(
        text.contains("<GetExtendedUpdateInfoResult><OutOfScopeRevisionIDs><int>4</int></OutOfScopeRevisionIDs></Get"),
        "{text}"
    );

    let text = String::from_utf8(answer::category_scan(Version::V11, &[], &[guid(1)])).unwrap();
    assert!(text.contains("<preferredCategoryIds/><requestedCategoryIdsInError><guid>01010101-"), "{text}");
    let text = String::from_utf8(answer::inventory_type(Version::V11, 0)).unwrap();
    assert!(text.contains("<GetRequiredInventoryTypeResult>0</GetRequiredInventoryTypeResult>"), "{text}");
    let text = String::from_utf8(answer::taken(Version::V11, Method::ReportInventory, true)).unwrap();
    assert!(text.contains("<ReportInventoryResult>true</ReportInventoryResult>"), "{text}");
    let rollup = answer::RollupConfiguration {
        is_detailed: true,
        reset: guid(1),
        server: guid(2),
        batches: [5000, 1500, 20_000, 500],
    };
    let text = String::from_utf8(answer::rollup(Version::V11, &rollup)).unwrap();
    assert!(text.contains("<DoDetailedRollup>true</DoDetailedRollup><RollupResetGuid>01010101-"), "{text}");
    assert!(
        text.contains("<RollupComputerStatusMaxBatchSize>500</RollupComputerStatusMaxBatchSize></GetRollup"),
        "{text}"
    );
}

/// Pieces of requests in any order and nesting: what a hostile agent that knows the protocol would send.
fn pieces() -> impl Strategy<Value = String> {
    let names = [
        "cookie",
        "EncryptedData",
        "Expiration",
        "parameters",
        "InstalledNonLeafUpdateIDs",
        "SystemSpec",
        "Device",
        "HardwareIDs",
        "string",
        "int",
        "guid",
        "installedDriver",
        "computerInfo",
        "OSBuildNumber",
        "eventBatch",
        "ReportingEvent",
        "BasicData",
        "EventInstanceID",
        "EventID",
        "ExtendedData",
        "MiscData",
        "UpdateID",
        "globalIDs",
        "UpdateIdentity",
        "RevisionNumber",
        "fileDigests",
        "base64Binary",
        "infoTypes",
        "XmlUpdateFragmentType",
        "ProductsParameters",
        "DeviceAttributes",
        "requestedCategories",
        "CategoryRelationship",
        "CategoryId",
        "inventory",
        "RawXml",
        "authCookies",
        "AuthorizationCookie",
        "clientTime",
        "clientId",
        "dnsName",
    ];
    let text = prop_oneof![
        Just(String::new()),
        Just("7".to_owned()),
        Just("01010101-0101-0101-0101-010101010101".to_owned()),
        Just("2026-10-04T16:03:35.9967236Z".to_owned()),
        Just("a=1;b=2".to_owned()),
        "[ -~]{0,12}".prop_map(|text| text.replace(['<', '>', '&'], ".")),
    ];
    let leaf =
        (proptest::sample::select(names.to_vec()), text).prop_map(|(name, text)| format!("<{name}>{text}</{name}>"));
    leaf.prop_recursive(4, 40, 6, move |inner| {
        (proptest::sample::select(names.to_vec()), proptest::collection::vec(inner, 0..6))
            .prop_map(|(name, inside)| format!("<{name}>{}</{name}>", inside.concat()))
    })
}

proptest! {
    #[test]
    fn any_pieces_are_read_or_refused(inside in proptest::collection::vec(pieces(), 0..5)) {
        let inside = inside.concat();
        for method in Method::ALL {
            match ask(method, &inside) {
                Ok(asked) => prop_assert_eq!(asked.method, method),
                Err(refused) => {
                    prop_assert_eq!(refused.method, Some(method));
                    let is_fault = matches!(soap::open(refused.encode("id").as_slice(), Limits::ANSWER), Ok(Message::Fault(_)));
                    prop_assert!(is_fault, "{}", refused);
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for face in Face::ALL {
            let _ = decode(face, bytes.as_slice());
        }
        let _ = ask(Method::ReportEventBatch, &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_request_with_bytes_changed_is_read_or_refused(
        inside in pieces(),
        method in proptest::sample::select(Method::ALL.to_vec()),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = message(ENVELOPE_11, method.face(), method.name(), &inside).into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = decode(method.face(), bytes.as_slice());
    }
}
