//! Recorded server-to-server messages: what they say, and that they are written again as they were; the cabinets in them;
//! the example conversation of MS-WSUSSS, section 4.

use std::fmt::Debug;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use waystation::base::digest::Sha1;
use waystation::model::update::Identity;
use waystation::wire::cabinet;
use waystation::wire::soap::{self, Detail, Fault, Limits, Message, Side, Style, Version};
use waystation::wire::wsusss::authorize::{Cookie, GetAuthConfig, GetAuthorizationCookie, GetCookie};
use waystation::wire::wsusss::config::GetConfigData;
use waystation::wire::wsusss::deployments::GetDeployments;
use waystation::wire::wsusss::revisions::{self, GetRevisionIdList, Listed, RevisionsWriter};
use waystation::wire::wsusss::rollup::{
    self, GetRollupConfiguration, RollupComputerStatus, RollupComputers, RollupConfiguration, RollupDownstreamServers,
};
use waystation::wire::wsusss::updates::{self, Form, GetUpdateData, Given, UpdatesWriter};
use waystation::wire::wsusss::values::Time;
use waystation::wire::wsusss::{
    Answer, Call, Method, Reaction, Request, decode_answer, decode_request, encode_answer, encode_request, reaction,
};

use crate::recorded::recorded;

fn exchanges() -> Option<PathBuf> {
    recorded("wsusss/exchanges")
}

fn file(folder: &Path, number: u32, name: &str) -> Vec<u8> {
    fs::read(folder.join(format!("{number:06}")).join(name)).unwrap()
}

fn request(folder: &Path, number: u32) -> Request {
    let (version, request) = decode_request(file(folder, number, "request.body").as_slice()).unwrap();
    assert_eq!(version, Version::V11);
    request
}

/// The request, and that it is written as it came.
fn same<C: Call + Debug>(folder: &Path, number: u32, call: C) -> C {
    let came = String::from_utf8(file(folder, number, "request.body")).unwrap();
    assert_eq!(String::from_utf8(encode_request(&call, Version::V11)).unwrap(), came, "{number}");
    call
}

/// The answer, and that it is written as it came.
fn answer<C: Call>(folder: &Path, number: u32) -> C::Answer
where
    C::Answer: Debug,
{
    let came = file(folder, number, "response.body");
    let Answer::Done(answer) = decode_answer::<C, _>(came.as_slice()).unwrap() else { panic!("{number} is a fault") };
    assert_eq!(
        String::from_utf8(encode_answer::<C>(&answer, Version::V11)).unwrap(),
        String::from_utf8(came).unwrap(),
        "{number}"
    );
    answer
}

fn fault(folder: &Path, number: u32) -> Fault {
    let came = file(folder, number, "response.body");
    let Message::Fault(fault) = soap::open(came.as_slice(), Limits::ANSWER).unwrap() else {
        panic!("{number} is no fault")
    };
    assert_eq!(String::from_utf8(fault.encode(Style::Service)).unwrap(), String::from_utf8(came).unwrap(), "{number}");
    fault
}

fn identity(id: &str, revision: u32) -> Identity {
    Identity { id: id.parse().unwrap(), revision }
}

fn assert_cookie(cookie: Option<Cookie>) {
    let cookie = cookie.unwrap();
    assert_eq!(cookie.expiration.as_str(), "2026-10-04T20:33:26.65455Z");
    assert_eq!(cookie.expiration.at().unwrap().ms(), 1_791_146_006_654);
    assert!(cookie.data.unwrap().bytes().unwrap().iter().all(|byte| *byte == 0), "sanitised at the source");
}

#[test]
fn who_asks_gets_a_cookie() {
    let Some(folder) = exchanges() else { return };
    assert_eq!(request(&folder, 1), Request::AuthConfig(same(&folder, 1, GetAuthConfig)));
    let config = answer::<GetAuthConfig>(&folder, 1);
    assert_eq!(config.last_change.as_str(), "2026-10-04T13:16:35.433Z");
    assert_eq!(config.last_change, Time::new(config.last_change.at().unwrap()));
    let [plug_in] = config.plug_ins.as_slice() else { panic!("{config:?}") };
    assert_eq!(plug_in.id, "DssTargeting");
    assert_eq!(plug_in.service_url, "DssAuthWebService/DssAuthWebService.asmx");
    assert_eq!(plug_in.parameter.as_deref(), Some(""));
    assert_eq!(config.allowed_event_ids, None);

    let Request::AuthorizationCookie(asked) = request(&folder, 2) else { panic!("another request") };
    let asked: GetAuthorizationCookie = same(&folder, 2, asked);
    assert_eq!(asked.account_name, "probe.lab.invalid");
    assert_eq!(asked.account_guid.to_string(), "6f1c2f6e-3f0b-4d3a-9b1e-0d2f6a1c5e12");
    let authorization = answer::<GetAuthorizationCookie>(&folder, 2);
    assert_eq!(authorization.plug_in_id, "DssTargeting");

    let Request::Cookie(asked) = request(&folder, 3) else { panic!("another request") };
    let asked: GetCookie = same(&folder, 3, asked);
    assert_eq!(asked.protocol_version, "1.20");
    assert_eq!(asked.authorization, [authorization]);
    assert_eq!(asked.old, None);
    assert_cookie(Some(answer::<GetCookie>(&folder, 3)));
}

#[test]
fn configuration_and_languages() {
    let Some(folder) = exchanges() else { return };
    let Request::ConfigData(asked) = request(&folder, 4) else { panic!("another request") };
    let asked: GetConfigData = same(&folder, 4, asked);
    assert_eq!(asked.anchor.as_deref(), Some("9438,2026-10-04 16:09:27.167"));
    assert_cookie(asked.cookie);
    assert_eq!(answer::<GetConfigData>(&folder, 4).languages, []);

    let Request::ConfigData(asked) = request(&folder, 5) else { panic!("another request") };
    assert_eq!(same(&folder, 5, asked).anchor, None);
    let config = answer::<GetConfigData>(&folder, 5);
    assert!(!config.catalog_only && config.lazy && !config.hosts_psf_files);
    assert_eq!(config.updates_max, 100);
    assert_eq!([config.computer_ids_max, config.driver_sets_max, config.hardware_ids_max], [Some(0); 3]);
    assert_eq!(config.decryption_max, Some(100));
    assert_eq!(config.anchor.as_deref(), Some("9438,2026-10-04 16:33:26.670"));
    assert_eq!(config.protocol_version.as_deref(), Some("1.20"));
    assert_eq!(config.languages.len(), 39);
    let chinese = config.languages.iter().find(|language| language.id == 1028).unwrap();
    assert_eq!((chinese.short.as_str(), chinese.long.as_str()), ("zh-tw", "Chinese (Traditional)"));
    assert!(config.languages.iter().all(|language| !language.long.is_empty()));
    assert_eq!(config.languages.iter().filter(|language| language.id == 66_577).count(), 1, "ja-nec");
}

#[test]
fn lists_of_revisions() {
    let Some(folder) = exchanges() else { return };
    let filter = |number| {
        let Request::RevisionIdList(asked) = request(&folder, number) else { panic!("another request") };
        let asked: GetRevisionIdList = same(&folder, number, asked);
        assert_cookie(asked.cookie);
        asked.filter
    };
    assert!(filter(6).config);
    let product = filter(7);
    let products = product.categories.unwrap();
    assert_eq!(products[0].id.to_string(), "8c3fcc84-7410-4a95-8b89-a166a0190486");
    assert!(!products[0].delta);
    assert_eq!(product.classifications, None);
    let definitions = filter(9).classifications.unwrap();
    assert_eq!(definitions[0].id.to_string(), "e0789628-ce08-4437-be74-2495b842f43b");
    let (again, delta) = (filter(10), filter(11));
    assert_eq!(again.anchor, delta.anchor);
    assert!(!again.classifications.unwrap()[0].delta && delta.classifications.unwrap()[0].delta);
    assert_eq!(filter(12).categories, None);

    // How many, and what the next request gives.
    for (number, count, millisecond) in
        [(6, 30, 671), (7, 0, 734), (8, 0, 742), (9, 30, -1), (10, 30, 799), (11, 0, 848), (12, 0, 850)]
    {
        let whole = answer::<GetRevisionIdList>(&folder, number);
        assert_eq!(whole.revisions.len(), count, "{number}");
        let anchor = whole.anchor.unwrap();
        if millisecond >= 0 {
            assert_eq!(anchor, format!("9438,2026-10-04 16:33:26.{millisecond}"), "{number}");
        }
        // The same item by item, in pieces of any size, read and written.
        let came = file(&folder, number, "response.body");
        let input = std::io::BufReader::with_capacity(7, came.as_slice());
        let Answer::Done(mut list) = revisions::open(input, Limits::STREAM).unwrap() else { panic!("a fault") };
        let mut out = RevisionsWriter::begin(Vec::new(), Version::V11, &anchor).unwrap();
        let mut read = Vec::new();
        assert_eq!(list.anchor(), None, "not before the end");
        while let Some(item) = list.next_item().unwrap() {
            let Listed::Revision(identity) = item else { panic!("{item:?}") };
            out.revision(identity).unwrap();
            read.push(identity);
        }
        assert_eq!(list.anchor(), Some(anchor.as_str()));
        assert_eq!(read, whole.revisions);
        assert_eq!(String::from_utf8(out.finish().unwrap()).unwrap(), String::from_utf8(came).unwrap());
    }
    let config = answer::<GetRevisionIdList>(&folder, 6).revisions;
    assert_eq!(config[0], identity("e6cf1350-c01b-414d-a61f-263d14d133b4", 100));
    assert_eq!(config[1], identity("e6cf1350-c01b-414d-a61f-263d14d133b4", 1), "one id with two revisions");
    assert!(config.contains(&identity("56309036-4c77-4dd9-951a-99ee9c246a94", 101)));
    let definitions = answer::<GetRevisionIdList>(&folder, 10).revisions;
    assert_eq!(definitions[0], identity("8c55755c-2b9d-48cc-be8b-aedbf20911ec", 201));
    assert_eq!(definitions[29], identity("a88bc768-7f57-42ba-b9b2-086f5c7c0b8b", 200));
}

#[test]
fn documents_packed_and_plain() {
    let Some(folder) = exchanges() else { return };
    let digest: Sha1 = "87f5bd0469585006aa5d3a77d1c662fd2895ddcd".parse().unwrap();
    for (number, id) in [(14, "266f6222-c89d-43f2-9f8a-69340271e677"), (15, "ccb78947-6453-4ecc-9de8-bc0305c98f2d")] {
        let Request::UpdateData(asked) = request(&folder, number) else { panic!("another request") };
        let asked: GetUpdateData = same(&folder, number, asked);
        assert_eq!(asked.updates, [identity(id, 200)]);
        let whole = answer::<GetUpdateData>(&folder, number);

        let came = file(&folder, number, "response.body");
        let input = std::io::BufReader::with_capacity(11, came.as_slice());
        let Answer::Done(mut answer) = updates::open(input, Limits::STREAM).unwrap() else { panic!("a fault") };
        let mut out = UpdatesWriter::begin(Vec::new(), Version::V11).unwrap();
        let mut document = Vec::new();
        let Some(Given::Update(update)) = answer.next_item(&mut document).unwrap() else { panic!("no update") };
        assert_eq!(update.identity, identity(id, 200));
        assert_eq!(update.bytes, document.len() as u64);
        assert_eq!(document, whole.updates[0].bytes);
        out.update(update.identity, &update.files, update.form, &mut document.as_slice()).unwrap();
        if number == 14 {
            assert_eq!((update.form, update.files.as_slice()), (Form::Cabinet, &[digest][..]));
            let packed = fs::read(folder.join(format!("../cabinets/{id}-r200.cab"))).unwrap();
            assert_eq!(document, packed);
            let Some(Given::Url(url)) = answer.next_item(&mut Vec::new()).unwrap() else { panic!("no address") };
            assert_eq!(url.digest, digest);
            assert_eq!(
                url.microsoft.as_deref().unwrap(),
                format!(
                    "http://download.windowsupdate.com/c/msdownload/update/software/defu/2026/10/am_delta_{digest}.exe"
                )
            );
            assert_eq!(url.server.as_deref(), Some(""));
            out.url(&url).unwrap();
        } else {
            assert_eq!((update.form, update.files.as_slice()), (Form::Text, &[][..]));
            let text = String::from_utf8(document).unwrap();
            assert!(text.starts_with("<upd:Update xmlns:pub=\"http://schemas.microsoft.com/msus/2002/12/Publishing\""));
            assert!(text.contains("Defender MpSigStub 1.1.24010.2001 for EngineBroad"));
            assert!(text.ends_with("</upd:BundledUpdates></upd:Relationships></upd:Update>"));
        }
        assert!(answer.next_item(&mut Vec::new()).unwrap().is_none());
        assert_eq!(String::from_utf8(out.finish().unwrap()).unwrap(), String::from_utf8(came).unwrap());
    }
}

#[test]
fn cabinets_unpack_bit_exact_and_what_is_packed_unpacks_again() {
    let Some(folder) = recorded("wsusss/cabinets") else { return };
    let mut seen = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let packed = fs::read(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let wanted = fs::read(folder.join(format!("../documents/{name}.xml"))).unwrap();
        let mut text = Vec::new();
        let count = cabinet::unpack_text(Cursor::new(&packed), &mut text, cabinet::UNPACKED_BYTES_MAX).unwrap();
        assert!(text == wanted, "{name}");
        assert_eq!(count, wanted.len() as u64);
        let mut raw = Vec::new();
        cabinet::unpack(Cursor::new(&packed), &mut raw, cabinet::UNPACKED_BYTES_MAX).unwrap();
        let units: Vec<u8> = std::str::from_utf8(&wanted).unwrap().encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(raw == units, "{name}");
        let mut streamed = String::new();
        cabinet::read_text(Cursor::new(&packed), cabinet::UNPACKED_BYTES_MAX, |text| {
            text.read_to_string(&mut streamed)
        })
        .unwrap()
        .unwrap();
        assert!(streamed.as_bytes() == wanted, "{name}");

        let again = cabinet::pack_text(&mut wanted.as_slice()).unwrap();
        assert_eq!(again, cabinet::pack_text(&mut wanted.as_slice()).unwrap(), "the same text, the same bytes");
        // The header differs in length, packing and block alone: the layout is that of real servers.
        for field in [0..8, 12..24, 24..36, 36..40, 44..65] {
            assert_eq!(again[field.clone()], packed[field.clone()], "{name}: {field:?}");
        }
        let mut text = Vec::new();
        cabinet::unpack_text(Cursor::new(&again), &mut text, cabinet::UNPACKED_BYTES_MAX).unwrap();
        assert!(text == wanted, "{name}");
        seen += 1;
    }
    assert!(seen >= 2);
}

#[test]
fn refusals() {
    let Some(folder) = exchanges() else { return };
    let actor = "http://127.0.0.1:8530/ServerSyncWebService/ServerSyncWebService.asmx";
    let detail = |code: &str, message: &str, id: &str, method: Method| Detail {
        code: code.to_owned(),
        message: message.to_owned(),
        id: id.to_owned(),
        method: format!("\"{}\"", method.action()),
    };
    let unknown = fault(&folder, 17);
    assert_eq!((unknown.side, unknown.text.as_str(), unknown.actor.as_str()), (Side::Server, "Fault occurred", actor));
    let id = "b6114a8d-9939-41e0-ad7f-0d9a72260804";
    assert_eq!(unknown.detail, Some(detail("InternalServerError", "", id, Method::GetUpdateData)));
    assert_eq!(reaction(Method::GetUpdateData, &unknown), Reaction::Bisect);
    let Answer::Fault(same) = updates::open(file(&folder, 17, "response.body").as_slice(), Limits::STREAM).unwrap()
    else {
        panic!("no fault")
    };
    assert_eq!(same, unknown);

    let anchor = fault(&folder, 18);
    let id = "94327110-fc7e-4c3c-878d-186ab273d9fd";
    assert_eq!(anchor.detail, Some(detail("InvalidParameters", "filter", id, Method::GetRevisionIdList)));
    assert_eq!(anchor.side, Side::Client);
    assert_eq!(reaction(Method::GetRevisionIdList, &anchor), Reaction::ResetAnchors);
    let Request::RevisionIdList(asked) = request(&folder, 18) else { panic!("another request") };
    assert_eq!(same_filter(&folder, 18, asked).as_deref(), Some("garbage"));

    let cookie = fault(&folder, 19);
    let id = "6ea693bc-a66e-4334-a797-043728561c7d";
    assert_eq!(cookie.detail, Some(detail("InvalidCookie", "", id, Method::GetRevisionIdList)));
    assert_eq!(reaction(Method::GetRevisionIdList, &cookie), Reaction::Reauthorize);
    let Request::RevisionIdList(asked) = request(&folder, 19) else { panic!("another request") };
    assert_eq!(asked.cookie, None);
}

fn same_filter(folder: &Path, number: u32, asked: GetRevisionIdList) -> Option<String> {
    same(folder, number, asked).filter.anchor
}

/// The messages of section 4 as XML: its notes are cut out, and line breaks that its layout put into words are taken back.
fn example() -> Option<Vec<(String, String)>> {
    let folder = recorded("specification")?;
    let mut text = fs::read_to_string(folder.join("ms-wsusss-section4-example-conversation.txt")).unwrap();
    // The file wraps lines wherever they are full.
    for (wrapped, whole) in [
        ("-\n->", "-->"),
        ("</Xml\nUpdate", "</XmlUpdate"),
        ("</faultst\nring", "</faultstring"),
        ("</\n", "</"),
        ("<\n/", "</"),
        ("\n>", ">"),
        ("MaxBat\nchSize", "MaxBatchSize"),
        ("MaxBatchS\nize", "MaxBatchSize"),
        ("Appro\nvals", "Approvals"),
        ("CriticalOr\nSecurity", "CriticalOrSecurity"),
        ("Infrastr\nucture", "Infrastructure"),
        ("NeedingUpdates\nCount", "NeedingUpdatesCount"),
        ("UpdateEr\nrors", "UpdateErrors"),
        ("LastDete\nction", "LastDetection"),
    ] {
        text = text.replace(wrapped, whole);
    }
    let mut messages = Vec::new();
    for part in text.split("PHASE: ").skip(1) {
        let (title, rest) = part.split_once("-->").unwrap();
        let end = rest
            .find("<!-- AUTH")
            .into_iter()
            .chain(rest.find("<!-- META"))
            .chain(rest.find("<!-- DEPL"))
            .chain(rest.find("<!-- REPO"))
            .chain(rest.find("\n**"))
            .chain(rest.find("\n<a id"))
            .min();
        let body = rest[..end.unwrap_or(rest.len())].trim();
        let body = body.strip_prefix("<?xml version=\"1.0\" encoding=\"utf-8\"?>").unwrap_or(body).trim();
        // Some of them are without their envelope, or with a half of it.
        let whole = if body.starts_with("<soap:Envelope") {
            let close = if body.contains("</soap:Envelope>") { "" } else { "</soap:Body></soap:Envelope>" };
            format!("{body}{close}")
        } else {
            let body = body.replace("</soap:Body>", "").replace("</soap:Envelope>", "");
            format!("<x:Envelope xmlns:x=\"{}\"><x:Body>{body}</x:Body></x:Envelope>", soap::ENVELOPE_11)
        };
        messages.push((title.trim().to_owned(), whole));
    }
    Some(messages)
}

#[test]
fn the_example_conversation_of_the_specification() {
    let Some(messages) = example() else { return };
    let message = |title: &str| {
        let found = messages.iter().find(|(found, _)| found.starts_with(title));
        found.unwrap_or_else(|| panic!("{title} is not there")).1.as_bytes()
    };
    fn done<C: Call>(bytes: &[u8]) -> C::Answer {
        decode_answer::<C, _>(bytes).unwrap().into_result().unwrap()
    }
    let Request::AuthorizationCookie(asked) = decode_request(message("GetAuthorizationCookie() Request")).unwrap().1
    else {
        panic!("another request")
    };
    assert_eq!(asked.account_name, "HemantTest.redmond.microsoft.com");
    assert_eq!(asked.account_guid.to_string(), "adb2fe48-0b2e-451e-8fc8-44b29845b0c6");
    let authorization = done::<GetAuthorizationCookie>(message("GetAuthorizationCookie() Response"));
    assert!(authorization.data.as_str().starts_with("4VEGgCdh/cuG4BSwhzLDomn2BAcYKl45Po5CmuBb"));
    assert!(authorization.data.as_str().ends_with("PEHsBFG"), "a comment in the middle is no part of it");
    let cookie = done::<GetCookie>(message("GetCookie() Response"));
    assert_eq!(cookie.expiration.as_str(), "2006-06-08T19:32:23.7190987Z");
    assert!(
        cookie.data.unwrap().as_str().starts_with("edzLnPhI/Rjr6CBMlcP+fuCRNBKREOtAw9yEMe6EF3oXXvU/N67oNV/AnL5eN3ZAA")
    );

    let config = done::<GetConfigData>(message("GetConfigData() Response"));
    assert!(config.catalog_only && config.lazy);
    assert_eq!((config.updates_max, config.computer_ids_max, config.languages.len()), (100, None, 2));
    let Request::RevisionIdList(asked) = decode_request(message("GetRevisionIdList() Request")).unwrap().1 else {
        panic!("another request")
    };
    assert_eq!((asked.filter.config, asked.filter.get_63_languages_only), (true, Some(false)));
    let list = done::<GetRevisionIdList>(message("GetRevisionIdList() Response"));
    assert_eq!(list.anchor.as_deref(), Some("4742,2006-05-26 18:59:26.192"));
    assert_eq!(
        list.revisions,
        [identity("0287014e-6772-4b4d-81f7-42063ac26e8a", 100), identity("ff2a96fb-cc89-4e5e-83b2-7d48aa179840", 101)]
    );
    let Request::UpdateData(asked) = decode_request(message("GetUpdateData() Request")).unwrap().1 else {
        panic!("another request")
    };
    assert_eq!(asked.updates[1], identity("36b1c48e-c741-4047-9b09-d38698ed34b3", 101));

    // The example shows a document that is not escaped and a cabinet that is cut: both are set aside, and only they.
    let Answer::Done(mut answer) = updates::open(message("GetUpdateData() Response"), Limits::STREAM).unwrap() else {
        panic!("a fault")
    };
    let Some(Given::Bad { identity: Some(cut), error }) = answer.next_item(&mut Vec::new()).unwrap() else {
        panic!("not bad")
    };
    assert_eq!(cut, identity("0fa1201d-4330-4fa8-8ae9-b877473b6441", 1));
    assert!(error.to_string().contains("base64"), "{error}");
    let Some(Given::Bad { identity: Some(plain), .. }) = answer.next_item(&mut Vec::new()).unwrap() else {
        panic!("not bad")
    };
    assert_eq!(plain, identity("17e993cd-cf5a-4276-9944-6af62ff7139c", 100));
    assert!(answer.next_item(&mut Vec::new()).unwrap().is_none());

    let Request::Deployments(asked) = decode_request(message("GetDeployments() Request")).unwrap().1 else {
        panic!("another request")
    };
    assert_eq!((asked.anchor, asked.sync_anchor.as_deref()), (None, Some("4742,2006-05-26 18:59:26.192")));
    let deployments = done::<GetDeployments>(message("GetDeployments() Response"));
    assert_eq!(deployments.groups.len(), 2);
    assert_eq!(deployments.groups[1].name, "Unassigned Computers");
    assert_eq!(deployments.groups[1].parent, None);
    assert!(deployments.groups[0].built_in);
    let [first, second] = deployments.deployments.as_slice() else { panic!("{deployments:?}") };
    assert_eq!((first.revision, second.revision, first.action, first.priority), (100, 102, 0, 1));
    assert_eq!(first.deadline.as_str(), Time::NEVER);
    assert_eq!(first.go_live.at().unwrap().to_string(), "2006-05-24T15:37:08Z");
    assert_eq!(second.id.to_string(), "10a2030d-0ac1-434a-9c37-732fc36f9838");
    assert_eq!((deployments.hidden.len(), deployments.dead.len(), deployments.accepted_eulas.len()), (2, 0, 0));

    rolled_up(&message, &done::<GetRollupConfiguration>(message("GetRollupConfiguration response")));

    let Answer::Fault(fault) = decode_answer::<GetDeployments, _>(message("GetDeployments() Failure")).unwrap() else {
        panic!("no fault")
    };
    assert_eq!(fault.side, Side::Client);
    assert!(fault.text.starts_with("System.Web.Services.Protocols.SoapException"));
    let detail = fault.detail.clone().unwrap();
    assert_eq!((detail.code.as_str(), detail.message.as_str()), ("InvalidCookie", ""));
    assert_eq!(detail.id, "247dfffd-a6b4-4a57-b9d4-2e464b668cd3");
    assert_eq!(detail.method, format!("\"{}\"", Method::GetDeployments.action()));
    assert_eq!(reaction(Method::GetDeployments, &fault), Reaction::Reauthorize);
}

/// The messages about servers and their computers.
fn rolled_up<'a>(message: &impl Fn(&str) -> &'a [u8], wanted: &RollupConfiguration) {
    let request = |title: &str| decode_request(message(title)).unwrap().1;
    let batches = [wanted.servers_max, wanted.computers_max, wanted.out_of_sync_max, wanted.states_max];
    assert_eq!((wanted.is_detailed, batches), (true, [5000, 1500, 20_000, 500]));
    assert_eq!(wanted.reset.to_string(), "3277f62c-fa08-468f-873f-2f9867bcf9e5");
    let Request::RollupConfiguration(asked) = request("GetRollupConfiguration request") else { panic!("another one") };
    assert_eq!(asked.cookie, Some(rollup::reserved()));

    let Request::RollupServers(told) = request("RollupDownstreamServers request") else { panic!("another one") };
    let servers = told.servers.unwrap();
    let [server] = servers.as_slice() else { panic!("{servers:?}") };
    assert_eq!((server.name.as_str(), server.version.as_str()), ("yasufs64.ntdev.corp.microsoft.com", "3.0.6000.354"));
    assert_eq!((server.is_replica, server.last_sync.at().unwrap().ms()), (true, 0));
    let summary = server.summary.as_ref().unwrap();
    assert_eq!((summary.updates, summary.declined, summary.approved, summary.not_approved), (1002, 29, 2, 971));
    assert_eq!((summary.critical_not_approved, summary.infrastructure_not_approved, summary.not_needed), (953, 3, 972));
    assert_eq!((summary.computers, summary.computers_lacking, summary.computers_up_to_date), (1, 1, 0));
    let [computers] = server.computers.as_slice() else { panic!("{server:?}") };
    assert_eq!((computers.os_build, computers.suite, computers.old_product, computers.count), (3790, 272, 3, 1));
    assert_eq!((computers.locale.as_str(), computers.architecture.as_str()), ("en-US", "AMD64"));
    assert_eq!((computers.activity[0].revision, computers.activity[0].installed), (101, 1));
    decode_answer::<RollupDownstreamServers, _>(message("RollupDownstreamServers response"))
        .unwrap()
        .into_result()
        .unwrap();

    let Request::RollupComputers(told) = request("RollupComputers request") else { panic!("another one") };
    let computers = told.computers.unwrap();
    assert_eq!(computers[0].id, "d07a4d51-7cb2-46d1-ad86-91195cb4325a");
    assert_eq!((computers[0].last_sync_result, computers[0].last_reboot.at().unwrap().ms()), (1, 0));
    let details = computers[0].details.as_ref().unwrap();
    assert_eq!(
        (details.address.as_str(), details.model.as_str()),
        ("127.0.0.1", "HP Compaq dc7600 Convertible Minitower")
    );
    assert_eq!((details.bios_version.as_str(), details.agent.as_str()), ("786D1 v01.03", "7.0.6000.354"));
    assert_eq!(
        (details.groups.len(), details.asked_groups.as_slice()),
        (1, &["Windows Server 2003".into(), "Servers".into()][..])
    );
    let changed =
        decode_answer::<RollupComputers, _>(message("RollupComputers response")).unwrap().into_result().unwrap();
    assert!(changed.is_empty());

    let Request::OutOfSyncComputers(asked) = request("GetOutOfSyncComputers request") else { panic!("another one") };
    assert_eq!((asked.server, asked.last.unwrap()[0].number), (server.id, 2));
    let Request::RollupStates(told) = request("RollupComputerStatus request") else { panic!("another one") };
    let states = &told.computers.unwrap()[0];
    assert_eq!((states.number, states.is_full, states.states[1].state), (3, true, 5));
    assert_eq!(states.detected.as_str(), "2007-03-06T01:47:46.42Z");
    let taken = decode_answer::<RollupComputerStatus, _>(message("RollupComputerStatus response")).unwrap();
    assert!(taken.into_result().unwrap());
}
