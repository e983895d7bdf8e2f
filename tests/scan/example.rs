//! The example conversation of MS-WUSP, section 4: agents of Windows XP and a WSUS 3.

use std::fs;

use waystation::model::update::UpdateId;
use waystation::wire::soap::{self, Fault, Limits, Message, Side, Version};
use waystation::wire::wsusss::authorize::AuthorizationCookie;
use waystation::wire::wusp::{Face, FaultCode, Method, Refusal, Request, answer, decode};

use crate::answers::{config, cookie};
use crate::recorded::recorded;
use crate::tree::Element;

/// The messages by their titles. The file wraps lines wherever they are full: in the middle of words, names and addresses.
fn example() -> Option<Vec<(String, String)>> {
    let folder = recorded("specification")?;
    let text = fs::read_to_string(folder.join("ms-wusp-section4-example-conversation.txt")).unwrap();
    let mut messages = Vec::new();
    for part in text.split("PHASE: ").skip(1) {
        let (title, rest) = part.split_once("-->").unwrap();
        let body = rest.split("<!--").next().unwrap().split("<a id").next().unwrap();
        messages.push((title.split_whitespace().collect::<Vec<_>>().join(" "), unwrap(body.trim())));
    }
    Some(messages)
}

fn unwrap(text: &str) -> String {
    let mut out = String::new();
    let (mut in_tag, mut in_quotes) = (false, false);
    for (at, c) in text.char_indices() {
        let after = &text[at + c.len_utf8()..];
        match c {
            '<' => in_tag = true,
            '>' => in_tag = false,
            '"' if in_tag => in_quotes = !in_quotes,
            '\n' if in_tag && in_quotes => continue,
            // Between attributes, or within a name.
            '\n' if in_tag && (out.ends_with('"') || after.starts_with("xmlns")) => {
                out.push(' ');
                continue;
            }
            '\n' if in_tag || !(out.ends_with('>') || after.starts_with('<')) => continue,
            _ => {}
        }
        out.push(c);
    }
    out
}

struct Example(Vec<(String, String)>);

impl Example {
    /// The message whose title begins with this and has a body; the first one.
    fn text(&self, title: &str) -> &str {
        let found = self.0.iter().find(|(found, body)| found.starts_with(title) && !body.is_empty());
        &found.unwrap_or_else(|| panic!("{title} is not there")).1
    }

    fn request(&self, face: Face, title: &str) -> Request {
        let asked = decode(face, self.text(title).as_bytes()).unwrap_or_else(|refused| panic!("{title}: {refused}"));
        assert_eq!((asked.version, title.starts_with(asked.method.name())), (Version::V11, true));
        asked.request
    }

    fn fault(&self, title: &str) -> Fault {
        let Message::Fault(fault) = soap::open(self.text(title).as_bytes(), Limits::ANSWER).unwrap() else {
            panic!("{title} is no fault")
        };
        fault
    }
}

/// What an element says, however it is laid out: white space in it is no part of it.
fn said(element: &Element) -> Element {
    Element {
        text: element.text.split_whitespace().collect(),
        children: element.children.iter().map(said).collect(),
        ..element.clone()
    }
}

fn assert_says(bytes: Vec<u8>, example: &str, response: &str) {
    let made = Element::read(&String::from_utf8(bytes).unwrap());
    let meant = Element::read(example);
    assert_eq!(said(made.find(response).unwrap()), said(meant.find(response).unwrap()));
}

#[test]
fn the_handshake() {
    let Some(messages) = example() else { return };
    let example = Example(messages);
    let Request::Config(asked) = example.request(Face::Client, "GetConfig() Request") else {
        panic!("another request")
    };
    assert_eq!(asked.protocol_version, "1.0");
    let text = example.text("GetConfig() Response");
    let read = config(Element::read(text).find("GetConfigResult").unwrap());
    assert_eq!(read.properties.len(), 5);
    assert_says(answer::config(Version::V11, Method::GetConfig, &read), text, "GetConfigResponse");

    let Request::Authorize(asked) = example.request(Face::Auth, "GetAuthorizationCookie() Request") else {
        panic!("another request")
    };
    assert_eq!(asked.client_id, "5c7f4f80-3896-4d10-8a38-469286a0febc");
    assert_eq!((asked.dns_name.as_str(), asked.target_groups), ("microsof-cd0710.redmond.corp.microsoft.com", None));

    let Request::Cookie(asked) = example.request(Face::Client, "GetCookie() Request") else {
        panic!("another request")
    };
    let [authorization] = asked.authorization.as_slice() else { panic!("{asked:?}") };
    assert!(authorization.data.as_str().starts_with("cXwHhVfNGxd/aJZ9ZqE4zwDbISp2BEDW1uTJ9CUX5N5adk8"));
    assert_eq!((asked.old, asked.protocol_version.as_str()), (None, "1.8"), "what is nil is no cookie");
    assert_eq!(asked.last_change.unwrap().as_str(), "2006-05-16T18:54:28.85Z");
    assert_eq!(asked.now.unwrap().to_string(), "2006-05-17T16:16:38Z");
    let text = example.text("GetAuthorizationCookie() Response");
    let made = AuthorizationCookie { ..authorization.clone() };
    assert_says(answer::authorization(Version::V11, &made), text, "GetAuthorizationCookieResponse");

    let text = example.text("GetCookie() Response - Success");
    let read = said(Element::read(text).find("GetCookieResult").unwrap());
    assert_says(answer::cookie(Version::V11, &cookie(&read)), text, "GetCookieResponse");

    let Request::Register(asked) = example.request(Face::Client, "RegisterComputer() Request") else {
        panic!("another request")
    };
    let it = asked.computer;
    assert_eq!(asked.cookie.unwrap().expiration.as_str(), "2007-02-06T03:08:47.9843753Z");
    assert_eq!((it.os_major, it.os_build, it.service_pack_major), (Some(10), Some(3790), Some(1)));
    assert_eq!(it.client_version, [Some(7), Some(0), Some(6000), Some(317)]);
    assert_eq!(
        (it.bios_name.as_str(), it.mobile_operator.as_str()),
        ("BIOS Date: 08/14/03 19:41:02 Ver: 08.00.02", "")
    );
    assert_eq!((it.architecture.as_str(), it.suite_mask, it.firmware_version.as_str()), ("x86", Some(272), "090006"));
}

#[test]
fn a_cache_is_brought_over_and_a_scan_goes_on() {
    let Some(messages) = example() else { return };
    let example = Example(messages);
    let Request::Refresh(asked) = example.request(Face::Client, "RefreshCache() Request") else {
        panic!("another request")
    };
    let updates: Vec<_> = asked.updates.iter().map(ToString::to_string).collect();
    assert_eq!((updates.len(), updates[0].as_str()), (7, "0a4c6c73-8887-4d7f-9cbe-d08fa8fa9d1e/50"));
    assert_eq!(updates[4], "a4bedb1d-a809-4f63-9b49-3fe31967b6d0/100");
    let Request::Locations(asked) = example.request(Face::Client, "GetFileLocations() Request") else {
        panic!("another request")
    };
    assert_eq!(asked.digests.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0".repeat(40)]);
    assert_eq!(
        asked.cookie.unwrap().data.unwrap().bytes().unwrap().len(),
        208,
        "a blank in the middle is no part of it"
    );

    for (title, installed, cached) in [
        ("SyncUpdates() Request - Very First", &[][..], 0),
        ("SyncUpdates() Request - Second", &[109], 29),
        ("SyncUpdates() Request - Third", &[109, 191], 58),
        ("SyncUpdates() Request - Fourth", &[109, 191], 58),
    ] {
        let Request::Sync(asked) = example.request(Face::Client, title) else { panic!("another request") };
        assert_eq!((asked.installed.as_slice(), asked.cached.len()), (installed, cached), "{title}");
        assert!(!asked.skip_software && !asked.two_groups && asked.devices.is_empty());
        assert!(asked.cached.is_empty() || (asked.cached.contains(&101) && asked.cached.last() == Some(&392)));
        assert!(asked.cookie.unwrap().expiration.as_str().starts_with("2006-05-23T04:06:32.9843746"));
    }
}

#[test]
fn reports() {
    let Some(messages) = example() else { return };
    let example = Example(messages);
    let read = |title: &str| {
        let Request::Events(batch) = example.request(Face::Reporting, title) else { panic!("another request") };
        assert_eq!((batch.unread, batch.why), (0, None), "{title}");
        for event in &batch.events {
            assert_eq!((event.namespace, event.device.as_str()), (1, ""));
            assert_eq!(event.machine.architecture, "X86Compatible");
        }
        batch.events
    };
    let what = |title: &str| read(title).iter().map(|event| (event.id, event.result)).collect::<Vec<_>>();
    let failed = "ReportEventBatch() Request - EventID=148";
    const UNREACHED: i32 = -2_145_107_943; // 0x80244019
    assert_eq!(what(failed), [(148, UNREACHED), (148, UNREACHED)]);
    let event = &read(failed)[0];
    assert_eq!(event.at.unwrap().ms(), 1_147_882_409_734, "a time without a zone is UTC");
    assert_eq!(event.update.unwrap().to_string(), "d67661eb-2423-451d-bf5d-13199e37df28/0");
    assert_eq!((event.strings.as_slice(), event.app.as_str()), (&["0x80244019".to_owned()][..], "SelfUpdate"));
    assert_eq!((event.misc("K"), event.misc.len()), (Some("EPP runtime BIOS - Version 1.1"), 5));
    assert_eq!(event.machine.os, [Some(5), Some(1), Some(2600), Some(65_792), Some(2), Some(0)]);

    let scanned = "ReportEventBatch() Request - EventID=147, 156";
    assert_eq!(what(scanned), [(147, 0), (156, 0)]);
    let installed: Vec<_> = read(scanned)[1].updates("V").unwrap().collect();
    let first: UpdateId = "e45b26c2-278f-48f3-97d1-aa0fd57423d5".parse().unwrap();
    let last: UpdateId = "9608001e-2d54-4c54-b795-acbcac1a9930".parse().unwrap();
    assert_eq!((installed.len(), installed.first(), installed.last()), (47, Some(&first), Some(&last)));
    let done = "ReportEventBatch() Request - EventID=183, 202, 147, 156";
    assert_eq!(what(done), [(183, 0), (202, 0), (147, 0), (156, 0)]);
    assert_eq!((read(done)[1].source, read(done)[3].updates("V").unwrap().count()), (102, 28));

    let text = example.text("ReportEventBatch() Response - Success");
    assert_says(answer::taken(Version::V11, Method::ReportEventBatch, true), text, "ReportEventBatchResponse");
}

#[test]
fn refusals() {
    let Some(messages) = example() else { return };
    let example = Example(messages);
    for (title, face, method, code, actor) in [
        (
            "GetCookie() Response - SOAP Fault - ConfigChanged",
            Face::Client,
            Method::GetCookie,
            FaultCode::ConfigChanged,
            "http://hemantn-srv:8530/ClientWebService/client.asmx",
        ),
        (
            "GetCookie() Response - SOAP Fault - InvalidCookie",
            Face::Client,
            Method::GetCookie,
            FaultCode::InvalidCookie,
            "http://MyUpdateServer:8530/ClientWebService/client.asmx",
        ),
        (
            "ReportEventBatch() Response - SOAP Fault - ConfigChange",
            Face::Reporting,
            Method::ReportEventBatch,
            FaultCode::ConfigChanged,
            "http://hemantn-srv:8530/ReportingWebService/ReportingWebService.asmx",
        ),
    ] {
        let meant = example.fault(title);
        assert_eq!(meant.side, Side::Client);
        let id = meant.detail.as_ref().unwrap().id.clone();
        let bytes = Refusal { face, method: Some(method), code, message: "", id: &id, actor }.encode(Version::V11);
        let Message::Fault(made) = soap::open(bytes.as_slice(), Limits::ANSWER).unwrap() else { panic!("no fault") };
        // Beside what a .NET server says to people.
        assert_eq!(made, Fault { text: "Fault occurred".to_owned(), ..meant });
    }
    assert_eq!(FaultCode::ALL.len(), 11);
}
