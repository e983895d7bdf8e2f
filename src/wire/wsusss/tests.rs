//! Every message in both directions, bad items among good ones, and what a refusal means.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use crate::base::digest::Sha1;
use crate::base::time::Timestamp;
use crate::model::update::{Identity, UpdateId};
use crate::wire::error::Error;
use crate::wire::soap::{Detail, Fault, Limits, Side, Style, Version};
use crate::wire::wsusss::authorize::{AuthorizationCookie, Cookie, GetAuthConfig, GetAuthorizationCookie, GetCookie};
use crate::wire::wsusss::config::GetConfigData;
use crate::wire::wsusss::deployments::{Deployment, Deployments, GetDeployments, Group};
use crate::wire::wsusss::drivers::{
    DriverFilter, DriverIdList, DriverSet, DriverSetData, GetDriverIdList, GetDriverSetData, HardwareIdAndDelta,
};
use crate::wire::wsusss::fault::missing_digests;
use crate::wire::wsusss::files::{DecryptionData, DownloadFiles, FileKey, GetUpdateDecryptionData, UpdateKeys};
use crate::wire::wsusss::other::{GetRelatedRevisionsForUpdates, MonitoredServices, Ping};
use crate::wire::wsusss::revisions::{
    self, Filter, GetRevisionIdList, IdAndDelta, LanguageAndDelta, Listed, RevisionIdList,
};
use crate::wire::wsusss::updates::{self, Document, Documents, FileUrl, Form, GetUpdateData, Given};
use crate::wire::wsusss::values::{Mark, Opaque, Time};
use crate::wire::wsusss::{
    Answer, Call, FaultCode, Method, Reaction, Request, decode_answer, decode_request, encode_answer, encode_request,
    reaction,
};

pub(super) fn id(byte: u8) -> UpdateId {
    UpdateId::new([byte; 16])
}

fn identity(byte: u8) -> Identity {
    Identity { id: id(byte), revision: u32::from(byte) }
}

fn cookie() -> Cookie {
    Cookie { expiration: Time::new(Timestamp::from_ms(1_791_146_006_650)), data: Some(Opaque::new(b"secret")) }
}

/// Both directions of a request, in both SOAPs.
pub(super) fn asked<C: Call + Clone + std::fmt::Debug>(call: &C, of: impl Fn(C) -> Request) {
    for version in [Version::V11, Version::V12] {
        let bytes = encode_request(call, version);
        assert_eq!(decode_request(bytes.as_slice()).unwrap(), (version, of(call.clone())));
    }
}

/// Both directions of an answer, in both SOAPs.
pub(super) fn answered<C: Call>(answer: &C::Answer)
where
    C::Answer: PartialEq + std::fmt::Debug,
{
    for version in [Version::V11, Version::V12] {
        let bytes = encode_answer::<C>(answer, version);
        let Answer::Done(read) = decode_answer::<C, _>(bytes.as_slice()).unwrap() else { panic!("a fault") };
        assert_eq!(read, *answer);
    }
}

#[test]
fn every_request_is_read_as_it_was_written() {
    asked(&GetAuthConfig, Request::AuthConfig);
    asked(
        &GetAuthorizationCookie {
            account_name: "a.b.example".into(),
            account_guid: id(1),
            program_keys: Some(Vec::new()),
        },
        Request::AuthorizationCookie,
    );
    let authorization =
        vec![AuthorizationCookie { plug_in_id: "DssTargeting".into(), data: Opaque::new(&[1, 2, 3, 4]) }];
    let old = Some(Cookie { expiration: Time::new(Timestamp::from_ms(0)), data: None });
    asked(&GetCookie { authorization, old, protocol_version: "1.20".into() }, Request::Cookie);
    asked(&GetConfigData { cookie: Some(cookie()), anchor: Some("1,x & <y>".into()) }, Request::ConfigData);
    let products = vec![IdAndDelta { id: id(2), delta: true }, IdAndDelta { id: id(3), delta: false }];
    let filter = Filter {
        dss_protocol_version: Some(Mark),
        anchor: Some("9438,2026-10-04 16:09:27.371".into()),
        config: false,
        get_63_languages_only: Some(false),
        categories: Some(products.clone()),
        classifications: Some(Vec::new()),
        languages: Some(vec![LanguageAndDelta { id: 1033, delta: true }]),
    };
    asked(&GetRevisionIdList { cookie: Some(cookie()), filter }, Request::RevisionIdList);
    asked(&GetUpdateData { cookie: Some(cookie()), updates: vec![identity(4), identity(4)] }, Request::UpdateData);
    let filter = DriverFilter {
        dss_protocol_version: None,
        anchor: None,
        categories: products.clone(),
        computers: products,
        devices: vec![HardwareIdAndDelta { id: "PCI\\VEN_8086&DEV_1".into(), delta: true }],
    };
    asked(&GetDriverIdList { cookie: Some(cookie()), filter }, Request::DriverIdList);
    asked(&GetDriverSetData { cookie: Some(cookie()), sets: vec![id(5)] }, Request::DriverSetData);
    asked(&GetRelatedRevisionsForUpdates { cookie: Some(cookie()), updates: vec![id(6)] }, Request::RelatedRevisions);
    let anchor = Some("1,a".to_owned());
    asked(
        &GetDeployments { cookie: Some(cookie()), anchor: anchor.clone(), sync_anchor: anchor },
        Request::Deployments,
    );
    asked(&DownloadFiles { cookie: Some(cookie()), digests: vec![Sha1::new([7; 20])] }, Request::DownloadFiles);
    asked(&Ping { level: -1 }, Request::Ping);
    asked(&GetUpdateDecryptionData { cookie: Some(cookie()), updates: vec![identity(8)] }, Request::DecryptionData);
}

#[test]
fn every_answer_is_read_as_it_was_written() {
    answered::<DownloadFiles>(&());
    let bytes = String::from_utf8(encode_answer::<DownloadFiles>(&(), Version::V11)).unwrap();
    assert!(bytes.contains("<DownloadFilesResponse xmlns=\"http://www.microsoft.com/SoftwareDistribution\" />"));
    answered::<GetRelatedRevisionsForUpdates>(&vec![identity(1)]);
    answered::<GetRelatedRevisionsForUpdates>(&Vec::new());
    let files = vec![FileKey { digest: Sha1::new([1; 20]), key: Opaque::new(b"key") }];
    answered::<GetUpdateDecryptionData>(&DecryptionData { updates: vec![UpdateKeys { identity: identity(2), files }] });
    answered::<GetDriverIdList>(&DriverIdList {
        anchor: Some("a".into()),
        revisions: vec![identity(1)],
        new_sets: vec![id(2)],
        removed_sets: vec![id(3), id(4)],
    });
    let document = "<Set a=\"b\">x & y</Set>".to_owned();
    answered::<GetDriverSetData>(&DriverSetData { sets: vec![DriverSet { id: id(1), document }] });
    let time = || Time::new(Timestamp::from_ms(1_700_000_000_123));
    answered::<GetDeployments>(&Deployments {
        anchor: Some("a".into()),
        groups: vec![Group { id: id(1), parent: None, name: "All & some".into(), built_in: true }],
        deployments: vec![Deployment {
            update: id(2),
            revision: 3,
            action: 0,
            admin: "CORP\\me".into(),
            deadline: Time::new(Timestamp::from_ms(u64::MAX)),
            assigned: true,
            go_live: time(),
            id: id(4),
            group: id(1),
            priority: 3,
        }],
        dead: vec![id(5)],
        hidden: Vec::new(),
        accepted_eulas: vec![id(6)],
    });
    answered::<Ping>(&MonitoredServices {
        success: true,
        time: time(),
        name: Some("n".into()),
        machine: None,
        https: false,
        content_type: None,
        config_path: None,
        config_project: None,
        config_environment: None,
        config_modified: time(),
        config_version: None,
        config_expires: time(),
        config_minutes: 5,
        database: None,
        custom: Some(String::new()),
    });
    answered::<GetRevisionIdList>(&RevisionIdList { anchor: Some("a".into()), revisions: vec![identity(1); 3] });
    let documents = Documents {
        updates: vec![
            Document { identity: identity(1), form: Form::Text, bytes: b"<a>&amp;</a>".to_vec(), files: Vec::new() },
            Document {
                identity: identity(2),
                form: Form::Cabinet,
                bytes: (0..=255).cycle().take(50_000).collect(),
                files: vec![Sha1::new([1; 20]), Sha1::new([2; 20])],
            },
        ],
        urls: vec![FileUrl {
            digest: Sha1::new([1; 20]),
            microsoft: Some("http://a/b?c&d".into()),
            server: Some(String::new()),
        }],
    };
    answered::<GetUpdateData>(&documents);
}

fn body(inside: &str) -> String {
    format!("<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body>{inside}</s:Body></s:Envelope>")
}

const NS: &str = "http://www.microsoft.com/SoftwareDistribution";

#[test]
fn order_prefixes_and_unknown_elements_do_not_matter() {
    let text = body(&format!(
        "<p:GetCookieResponse xmlns:p='{NS}'><p:New><p:Deep/></p:New><p:GetCookieResult>\
         <p:EncryptedData>\n AAE\nC </p:EncryptedData><p:What x='1'>ever</p:What>\
         <p:Expiration> 2026-10-04T22:33:26.65455+02:00 </p:Expiration></p:GetCookieResult></p:GetCookieResponse>"
    ));
    let Answer::Done(cookie) = decode_answer::<GetCookie, _>(text.as_bytes()).unwrap() else { panic!("a fault") };
    assert_eq!(cookie.data.as_ref().unwrap().bytes().unwrap(), [0, 1, 2]);
    assert!(!format!("{cookie:?}").contains("AAE"), "who has a cookie may ask with it");
    let end = cookie.expiration.at().unwrap();
    assert_eq!(end.ms(), 1_791_146_006_654);
    assert!(cookie.has_ended(end) && !cookie.has_ended(Timestamp::from_ms(end.ms() - 1)));

    // What must be there is; what must be a number is.
    for (inside, wanted) in [
        ("<GetCookieResult/>", "no Expiration"),
        ("", "no a result"),
        ("<GetCookieResult><Expiration>soon</Expiration></GetCookieResult>", "not a time"),
    ] {
        let text = body(&format!("<GetCookieResponse xmlns='{NS}'>{inside}</GetCookieResponse>"));
        let error = decode_answer::<GetCookie, _>(text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
    for other in
        [body(&format!("<GetConfigDataResponse xmlns='{NS}'/>")), body("<GetCookieResponse xmlns='urn:other'/>")]
    {
        assert!(matches!(decode_answer::<GetCookie, _>(other.as_bytes()), Err(Error::Unexpected { .. })));
    }
    for (text, ok) in [
        (body(&format!("<GetAuthConfig xmlns='{NS}'/>")), true),
        (body("<GetAuthConfig/>"), true),
        (body(&format!("<GetAuthorizationCookie xmlns='{NS}'/>")), false),
        (body(&format!("<Format xmlns='{NS}'/>")), false),
        (body("<s:Fault/>"), false),
    ] {
        assert_eq!(decode_request(text.as_bytes()).is_ok(), ok, "{text}");
    }
}

#[test]
fn a_bad_item_is_set_aside_and_the_others_come() {
    let list = |items: &str| {
        body(&format!(
            "<GetRevisionIdListResponse xmlns='{NS}'><GetRevisionIdListResult><NewRevisions>{items}</NewRevisions>\
             <Anchor>a</Anchor></GetRevisionIdListResult></GetRevisionIdListResponse>"
        ))
    };
    let good =
        format!("<UpdateIdentity><RevisionNumber>1</RevisionNumber><UpdateID>{}</UpdateID></UpdateIdentity>", id(1));
    let text = list(&format!(
        "{good}<UpdateIdentity><UpdateID>no</UpdateID><RevisionNumber>1</RevisionNumber></UpdateIdentity>\
         <UpdateIdentity><UpdateID><deep/></UpdateID></UpdateIdentity><UpdateIdentity/>{good}"
    ));
    let Answer::Done(mut items) = revisions::open(text.as_bytes(), Limits::STREAM).unwrap() else { panic!("a fault") };
    let mut found = Vec::new();
    while let Some(item) = items.next_item().unwrap() {
        found.push(matches!(item, Listed::Revision(_)));
    }
    assert_eq!(found, [true, false, false, false, true]);
    assert_eq!(items.anchor(), Some("a"));

    let update = |byte: u8, inside: &str| {
        let (id, revision) = (id(byte), byte);
        format!(
            "<ServerSyncUpdateData>{inside}<Id><UpdateID>{id}</UpdateID><RevisionNumber>{revision}</RevisionNumber></Id>\
             </ServerSyncUpdateData>"
        )
    };
    let text = body(&format!(
        "<GetUpdateDataResponse xmlns='{NS}'><GetUpdateDataResult><fileUrls><ServerSyncUrlData><FileDigest>AAAA</FileDigest>\
         </ServerSyncUrlData></fileUrls><updates>{}{}{}{}{}{}{}</updates></GetUpdateDataResult></GetUpdateDataResponse>",
        update(1, "<XmlUpdateBlob>&lt;a/&gt;</XmlUpdateBlob>"),
        update(2, "<XmlUpdateBlobCompressed>AA=A</XmlUpdateBlobCompressed>"),
        update(3, "<XmlUpdateBlobCompressed>AAA</XmlUpdateBlobCompressed>"),
        update(4, "<XmlUpdateBlob>x</XmlUpdateBlob><XmlUpdateBlobCompressed>AAAA</XmlUpdateBlobCompressed>"),
        update(5, "<FileDigestList><base64Binary>AAAA</base64Binary></FileDigestList><XmlUpdateBlob>x</XmlUpdateBlob>"),
        update(6, ""),
        update(7, "<XmlUpdateBlobCompressed>A A\nA=</XmlUpdateBlobCompressed>"),
    ));
    let Answer::Done(mut items) = updates::open(text.as_bytes(), Limits::STREAM).unwrap() else { panic!("a fault") };
    let mut found = Vec::new();
    let mut document = Vec::new();
    while let Some(item) = items.next_item(&mut document).unwrap() {
        match item {
            Given::Update(update) => {
                assert_eq!(update.bytes, document.len() as u64);
                found.push((Some(update.identity.revision), None, document.clone()));
            }
            Given::Bad { identity, error } => {
                found.push((identity.map(|identity| identity.revision), Some(error.to_string()), Vec::new()));
            }
            Given::Url(url) => panic!("{url:?}"),
        }
        document.clear();
    }
    let why: Vec<_> = found.iter().map(|(revision, error, _)| (*revision, error.is_some())).collect();
    assert_eq!(
        why,
        [
            (None, true),
            (Some(1), false),
            (Some(2), true),
            (Some(3), true),
            (Some(4), true),
            (Some(5), false),
            (Some(6), true),
            (Some(7), false)
        ]
    );
    assert_eq!(found[1].2, b"<a/>");
    assert_eq!(found[5].2, b"x", "the list of its files is not what its files are taken from");
    assert_eq!(found[7].2, [0, 0]);
    // The end must be there.
    let cut = &text.as_bytes()[..text.len() - 1];
    let Answer::Done(mut items) = updates::open(cut, Limits::STREAM).unwrap() else { panic!("a fault") };
    let error = loop {
        match items.next_item(&mut std::io::sink()) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("half a message was taken for whole"),
            Err(error) => break error,
        }
    };
    assert!(error.is_retryable());
}

#[test]
fn a_document_that_never_ends_is_not_held() {
    let begin = format!(
        "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body><GetUpdateDataResponse xmlns='{NS}'>\
         <GetUpdateDataResult><updates><ServerSyncUpdateData><XmlUpdateBlobCompressed>"
    );
    let endless = begin.as_bytes().chain(std::io::repeat(b'A'));
    let limits = Limits { bytes: 80 << 20, elements: 100 };
    let input = std::io::BufReader::with_capacity(64 << 10, endless);
    let Answer::Done(mut items) = updates::open(input, limits).unwrap() else { panic!("a fault") };
    let error = items.next_item(&mut std::io::sink()).unwrap_err();
    assert!(matches!(error, Error::Limit { unit: "bytes", .. }), "{error}");
}

#[test]
fn each_refusal_has_its_reaction() {
    let fault = |code: &str, message: &str| Fault {
        version: Version::V11,
        side: Side::Client,
        text: String::new(),
        actor: String::new(),
        detail: Some(Detail { code: code.into(), message: message.into(), ..Detail::default() }),
    };
    for (method, code, message, wanted) in [
        (Method::GetConfigData, "InvalidCookie", "", Reaction::Reauthorize),
        (Method::GetCookie, "InvalidAuthorizationCookie", "", Reaction::Reauthorize),
        (Method::GetUpdateData, "ServerChanged", "", Reaction::ResetAnchors),
        (Method::GetUpdateData, "ServerBusy", "", Reaction::BackOff),
        (Method::GetUpdateData, "InternalServerError", "", Reaction::Bisect),
        (Method::GetConfigData, "InternalServerError", "", Reaction::Stop),
        (Method::GetUpdateData, "InvalidParameters", "updateIds", Reaction::Bisect),
        (Method::GetUpdateData, "InvalidParameters", "cookie", Reaction::Stop),
        (Method::GetRevisionIdList, "InvalidParameters", "filter", Reaction::ResetAnchors),
        (Method::GetConfigData, "InvalidParameters", "filter", Reaction::Stop),
        (Method::GetConfigData, "IncompatibleProtocolVersion", "", Reaction::Stop),
        (Method::DownloadFiles, "FileDigestsMissing", "", Reaction::Restart),
        (Method::GetDriverSetData, "TooManyIds", "", Reaction::Bisect),
        (Method::GetConfigData, "invalidcookie", "", Reaction::Stop),
        (Method::GetConfigData, "", "", Reaction::Stop),
    ] {
        assert_eq!(reaction(method, &fault(code, message)), wanted, "{method} {code} {message}");
    }
    let mut bare = fault("InvalidCookie", "");
    bare.detail = None;
    assert_eq!(reaction(Method::GetConfigData, &bare), Reaction::Stop);
    for code in FaultCode::ALL {
        assert_eq!(FaultCode::of(code.as_str()), Some(code));
    }
    let bytes = fault("ServerBusy", "").encode(Style::Service);
    assert!(matches!(decode_answer::<GetCookie, _>(bytes.as_slice()).unwrap(), Answer::Fault(_)));

    let (one, two) = (Sha1::new([1; 20]), Sha1::new([2; 20]));
    assert_eq!(missing_digests(&format!("{}|{two}|junk|", STANDARD.encode(one.as_bytes()))), [one, two]);
}

#[test]
fn times_are_read_in_every_form() {
    // The last time that the calendar has in every zone.
    const NEVER_MS: u64 = 253_402_207_200_999;
    for (text, ms) in [
        ("2026-10-04T20:33:26.65455Z", Some(1_791_146_006_654)),
        ("2026-10-04T20:33:26", Some(1_791_146_006_000)),
        ("0001-01-01T00:00:00", Some(0)),
        (Time::NEVER, Some(NEVER_MS)),
        ("9999-12-31T23:59:59.9999999Z", Some(NEVER_MS)),
        ("yesterday", None),
        ("", None),
    ] {
        let bytes = body(&format!(
            "<GetCookieResponse xmlns='{NS}'><GetCookieResult><Expiration>{text}</Expiration></GetCookieResult></GetCookieResponse>"
        ));
        let read = decode_answer::<GetCookie, _>(bytes.as_bytes());
        match ms {
            Some(ms) => {
                let Answer::Done(cookie) = read.unwrap() else { panic!("a fault") };
                assert_eq!(cookie.expiration.at().unwrap().ms(), ms);
                assert_eq!(cookie.expiration.as_str(), text, "kept as it came");
            }
            None => assert!(read.is_err(), "{text}"),
        }
    }
    assert_eq!(Time::new(Timestamp::from_ms(1_791_146_006_650)).as_str(), "2026-10-04T20:33:26.65Z");
    assert_eq!(Time::new(Timestamp::from_ms(u64::MAX)).as_str(), Time::NEVER);
}

fn drain(bytes: &[u8]) {
    let _ = decode_request(bytes);
    if let Ok(Answer::Done(mut list)) = revisions::open(bytes, Limits::REQUEST) {
        while let Ok(Some(_)) = list.next_item() {}
    }
    if let Ok(Answer::Done(mut list)) = updates::open(bytes, Limits::REQUEST) {
        while let Ok(Some(_)) = list.next_item(&mut std::io::sink()) {}
    }
    let _ = decode_answer::<GetConfigData, _>(bytes);
    let _ = decode_answer::<GetDeployments, _>(bytes);
}

proptest! {
    #[test]
    fn identities_and_documents_survive(
        items in proptest::collection::vec(
            (any::<[u8; 16]>(), any::<u32>(), "[ -~\u{e4}\u{1f600}\r\n]{1,200}", any::<bool>(), proptest::collection::vec(any::<[u8; 20]>(), 0..4)),
            0..6,
        ),
    ) {
        let updates: Vec<Document> = items
            .into_iter()
            .map(|(id, revision, text, packed, files)| Document {
                identity: Identity { id: UpdateId::new(id), revision },
                form: if packed { Form::Cabinet } else { Form::Text },
                bytes: text.into_bytes(),
                files: files.into_iter().map(Sha1::new).collect(),
            })
            .collect();
        let revisions = updates.iter().map(|update| update.identity).collect();
        answered::<GetUpdateData>(&Documents { updates, urls: Vec::new() });
        answered::<GetRevisionIdList>(&RevisionIdList { anchor: None, revisions });
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        drain(&bytes);
    }

    #[test]
    fn a_message_with_bytes_changed_is_read_or_refused(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let documents = Documents {
            updates: vec![Document { identity: identity(1), form: Form::Cabinet, bytes: vec![7; 40], files: vec![Sha1::new([1; 20])] }],
            urls: vec![FileUrl { digest: Sha1::new([1; 20]), microsoft: Some("http://a/b".into()), server: None }],
        };
        let list = RevisionIdList { anchor: Some("a".into()), revisions: vec![identity(1), identity(2)] };
        let filter = Filter {
            dss_protocol_version: None,
            anchor: None,
            config: true,
            get_63_languages_only: None,
            categories: Some(vec![IdAndDelta { id: id(1), delta: true }]),
            classifications: None,
            languages: None,
        };
        for mut bytes in [
            encode_answer::<GetUpdateData>(&documents, Version::V11),
            encode_answer::<GetRevisionIdList>(&list, Version::V12),
            encode_request(&GetRevisionIdList { cookie: Some(cookie()), filter }, Version::V11),
        ] {
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            drain(&bytes);
        }
    }
}
