//! Documents made here: every field, every refusal, every limit. Recorded ones are in `tests/catalog/documents.rs`.

use std::io::{BufReader, Read};

use proptest::prelude::*;

use super::limits::{DEPTH_MAX, DOCUMENT_BYTES_MAX, HELD_BYTES_MAX, TOKEN_BYTES_MAX};
use super::{Error, read};
use crate::model::update::{CategoryKind, Impact, Kind, Publication, Reboot, Severity, Update};

const ID: &str = "7b6d13c6-6401-4a10-a61f-1dab8d93356e";
const OTHER: &str = "AD1A3F81-2318-4a4d-8a86-3915edc389ae";

/// A document with this inside of its root, behind an identity.
fn document(inside: &str) -> String {
    format!(
        "<u:Update xmlns:u='http://schemas.microsoft.com/msus/2002/12/Update'>\
         <u:UpdateIdentity UpdateID='{ID}' RevisionNumber='200'/>{inside}</u:Update>"
    )
}

fn parse(inside: &str) -> Result<Update, Error> {
    read(document(inside).as_bytes())
}

fn file(attributes: &str) -> String {
    format!("<u:Files><u:File FileName='a.cab' {attributes}/></u:Files>")
}

const SHA1: &str = "Digest='h/W9BGlYUAaqXTp30cZi/SiV3c0='";

#[test]
fn everything_that_a_document_says_is_read() {
    let update = read(
        format!(
            r#"<?xml version="1.0" encoding="utf-16"?>
<Update xmlns="http://schemas.microsoft.com/msus/2002/12/Update" xmlns:x="http://www.w3.org/2001/XMLSchema-instance">
 <!-- before -->
 <HandlerSpecificData x:type="cbs:Cbs" xmlns:cbs="urn:c"><cbs:Unknown><Title>no title</Title></cbs:Unknown></HandlerSpecificData>
 <Files><File Digest="h/W9BGlYUAaqXTp30cZi/SiV3c0=" DigestAlgorithm="SHA1" FileName="a&amp;b.cab" Size="9" PatchingType="Express"
   IsEncrypted="true" Modified="2026-10-04T09:39:26Z"><AdditionalDigest Algorithm="SHA256">
   Amt0qymy5KsROiwIXm4QIIV75Ju4r+Cl28Pg8gaLXUA=</AdditionalDigest><AdditionalDigest Algorithm="SHA512">??</AdditionalDigest></File></Files>
 <Relationships>
  <BundledUpdates><UpdateIdentity UpdateID="{OTHER}" RevisionNumber="1"/><AtLeastOne><UpdateIdentity UpdateID="{ID}"
   RevisionNumber="2"/><UpdateIdentity UpdateID="{OTHER}" RevisionNumber="3"/></AtLeastOne></BundledUpdates>
  <Prerequisites><UpdateIdentity UpdateID="{OTHER}"/><AtLeastOne IsCategory="true"><UpdateIdentity UpdateID="{ID}"/>
   </AtLeastOne></Prerequisites>
  <SupersededUpdates><UpdateIdentity UpdateID="{OTHER}"/></SupersededUpdates>
 </Relationships>
 <Properties DefaultPropertiesLanguage="de" UpdateType="Software" ExplicitlyDeployable="true" MsrcSeverity="Important"
   PublicationState="Expired" CreationDate="2022-05-10T17:00:06.000Z" EulaID="{ID}" OSUpgrade="true" IsLocallyPublished="1"
   ReleaseVersion="10.0.26100.8246" MinDownloadSize="3" MaxDownloadSize="12" CompatibleProtocolVersion="1.8">
  <InstallationBehavior RebootBehavior="AlwaysRequiresReboot" Impact="RequiresExclusiveHandling" CanRequestUserInput="true"
   RequiresNetworkConnectivity="true"/><UninstallationBehavior/><MoreInfoUrl>https://a/</MoreInfoUrl><MoreInfoUrl>https://b/</MoreInfoUrl>
  <SupportUrl>https://s/</SupportUrl><SecurityBulletinID>ms17-010</SecurityBulletinID><CveID>CVE-2026-0001</CveID>
  <KBArticleID>KB5013943</KBArticleID><KBArticleID>5013943</KBArticleID><Language>en</Language><SecuredFragment>FileURL</SecuredFragment>
 </Properties>
 <LocalizedPropertiesCollection>
  <LocalizedProperties><Language>en</Language><Title>A &lt;B&gt; &#x41;<![CDATA[&]]></Title></LocalizedProperties>
  <LocalizedProperties><Language>de</Language><Title>T</Title><Description>D</Description></LocalizedProperties>
  <LocalizedProperties><Language>DE</Language><Title>once more</Title></LocalizedProperties>
  <EulaFile Digest="D2zdslftJ5kG/B9a2zSqQu83qTs=" FileName="e.txt" Size="1" Language="en" GeoId="CHE"/>
 </LocalizedPropertiesCollection>
 <UpdateIdentity UpdateID="{ID}" RevisionNumber="200"/>
</Update>
<!-- behind -->"#
        )
        .as_bytes(),
    )
    .unwrap();
    assert_eq!(update.identity.to_string(), format!("{ID}/200"));
    assert_eq!((update.kind, update.publication), (Kind::Software, Publication::Expired));
    assert_eq!(update.created.unwrap().to_string(), "2022-05-10T17:00:06Z");
    let titles: Vec<_> = update.texts.iter().map(|text| (text.language.as_str(), text.title.as_str())).collect();
    assert_eq!(titles, [("de", "T"), ("en", "A <B> A&")]);
    assert_eq!((update.title(), update.texts[0].description.as_str()), ("T", "D"));
    assert_eq!(update.kbs, ["5013943"]);
    assert_eq!(
        (update.severity, update.reboot, update.impact),
        (Severity::Important, Reboot::Always, Impact::Exclusive)
    );
    assert_eq!((update.bulletins, update.cves), (vec!["MS17-010".to_owned()], vec!["CVE-2026-0001".to_owned()]));
    assert_eq!((update.more_info.as_deref(), update.support.as_deref()), (Some("https://a/"), Some("https://s/")));
    assert_eq!((update.languages, update.secured), (vec!["en".to_owned()], vec!["FileURL".to_owned()]));
    assert!(update.deployable && update.locally_published && update.asks_user && update.removable);
    assert!(update.needs_network && update.os_upgrade);
    assert_eq!((update.download_min, update.download_max), (3, 12));
    assert_eq!(update.release_version.as_deref(), Some("10.0.26100.8246"));
    assert_eq!((update.handler.as_str(), update.compatible_protocol.as_str()), ("Cbs", "1.8"));
    let [one] = update.files.as_slice() else { panic!("{:?}", update.files) };
    assert_eq!(one.sha1.to_string(), "87f5bd0469585006aa5d3a77d1c662fd2895ddcd");
    assert_eq!(one.sha256.unwrap().to_string(), "026b74ab29b2e4ab113a2c085e6e1020857be49bb8afe0a5dbc3e0f2068b5d40");
    assert_eq!((one.name.as_str(), one.size, one.patching.as_str(), one.encrypted), ("a&b.cab", 9, "Express", true));
    assert_eq!(one.modified.unwrap().to_string(), "2026-10-04T09:39:26Z");
    let eula = update.eula.unwrap();
    assert_eq!((eula.id.to_string().as_str(), eula.files.len()), (ID, 1));
    assert_eq!((eula.files[0].language.as_str(), eula.files[0].region.as_str()), ("en", "CHE"));
    assert_eq!(update.supersedes.len(), 1);
    let bundles: Vec<usize> = update.bundles.iter().map(|members| members.any_of.len()).collect();
    assert_eq!(bundles, [1, 2]);
    assert_eq!((update.bundles[0].any_of[0].revision, update.bundles[1].any_of[1].revision), (1, 3));
    let clauses: Vec<_> = update.prerequisites.iter().map(|clause| clause.is_category).collect();
    assert_eq!(clauses, [false, true]);
}

#[test]
fn drivers_are_read_with_what_ranks_them() {
    let update = parse(
        "<u:Properties UpdateType='Driver' Handler='http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/WindowsDriver'/>\
         <u:ApplicabilityRules><u:Metadata>\
         <drv:WindowsDriverMetaData xmlns:drv='http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/WindowsDriver' HardwareID='pci\\ven_1' \
         DriverVerDate='2026-01-02' DriverVerVersion='1.2.3.4' Class='Net' Manufacturer='M' Provider='P' Model='X' Company='C' \
         WhqlDriverID='77'><drv:CompatibleProvider>Old</drv:CompatibleProvider>\
         <drv:FeatureScore OperatingSystem='AMD64.10.0' FeatureScore='FE'/><DistributionComputerHardwareId>d</DistributionComputerHardwareId>\
         <drv:TargetComputerHardwareId>t</drv:TargetComputerHardwareId></drv:WindowsDriverMetaData>\
         <drv:WindowsDriverMetaData xmlns:drv='http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/WindowsDriver' HardwareID='b'/>\
         </u:Metadata></u:ApplicabilityRules>",
    )
    .unwrap();
    assert_eq!((update.kind, update.handler.as_str()), (Kind::Driver, "WindowsDriver"));
    let [first, second] = update.drivers.as_slice() else { panic!("{:?}", update.drivers) };
    assert_eq!(
        (first.hardware_id.as_str(), first.version.as_str(), first.date.as_str()),
        ("pci\\ven_1", "1.2.3.4", "2026-01-02")
    );
    assert_eq!((first.class.as_str(), first.manufacturer.as_str(), first.provider.as_str()), ("Net", "M", "P"));
    assert_eq!((first.model.as_str(), first.company.as_str(), first.whql_id), ("X", "C", Some(77)));
    assert_eq!(first.compatible_providers, ["Old"]);
    assert_eq!((first.scores[0].system.as_str(), first.scores[0].score), ("AMD64.10.0", 254));
    assert_eq!(
        (first.distribution_computers.clone(), first.target_computers.clone()),
        (vec!["d".into()], vec!["t".into()])
    );
    assert_eq!((second.hardware_id.as_str(), second.scores.len()), ("b", 0));
}

#[test]
fn kinds_and_defaults() {
    let kind = |inside: &str| parse(inside).unwrap().kind;
    assert_eq!(kind(""), Kind::Software);
    assert_eq!(kind("<u:Properties UpdateType='Detectoid'/>"), Kind::Detectoid);
    for (word, category) in [
        ("Company", CategoryKind::Company),
        ("ProductFamily", CategoryKind::Family),
        ("Product", CategoryKind::Product),
        ("UpdateClassification", CategoryKind::Classification),
        ("Folder", CategoryKind::Other),
    ] {
        let inside = format!(
            "<u:HandlerSpecificData><c:CategoryInformation CategoryType='{word}' \
             xmlns:c='http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/Category'/></u:HandlerSpecificData>\
             <u:Properties UpdateType='Category'/>"
        );
        assert_eq!(kind(&inside), Kind::Category(category), "{word}");
    }
    assert_eq!(kind("<u:Properties UpdateType='Category'/>"), Kind::Category(CategoryKind::Other));
    let named = "<u:LocalizedPropertiesCollection><u:LocalizedProperties><u:Title>For x64 (KB5013943)</u:Title>\
         </u:LocalizedProperties></u:LocalizedPropertiesCollection>";
    assert_eq!(parse(named).unwrap().kbs, ["5013943"]);
    // Elements of another namespace mean nothing, whatever they are called.
    let foreign = "<v:Properties xmlns:v='urn:v' UpdateType='Driver'><v:KBArticleID>1</v:KBArticleID></v:Properties>";
    assert_eq!((parse(foreign).unwrap().kind, parse(foreign).unwrap().kbs.len()), (Kind::Software, 0));
}

/// What is refused, and what its reason must name.
#[test]
fn what_is_refused_is_refused_with_its_reason() {
    let cases: Vec<(String, &str)> = vec![
        ("<u:UpdateIdentity UpdateID='x' RevisionNumber='1'/>".into(), "UpdateIdentity twice"),
        (file("Size='1'"), "no SHA-1"),
        (file(SHA1), "no size"),
        (file(&format!("{SHA1} Size='ten'")), "\"ten\""),
        (file(&format!("{SHA1} Size='-1'")), "\"-1\""),
        (file(&format!("{SHA1} Size='18446744073709551616'")), "no number"),
        (file("Size='1' Digest='*'"), "is no base64"),
        (file("Size='1' Digest='h/W9BGlYUAaqXTp30cZi/SiV3c0'"), "is no base64"),
        (file("Size='1' Digest='AAAA'"), "has 3 bytes instead of 20"),
        (file("Size='1' Digest='h/W9BGlYUAaqXTp30cZi/SiV3c0=' DigestAlgorithm='SHA256'"), "has 20 bytes instead of 32"),
        (file("Size='1' Digest='h/W9BGlYUAaqXTp30cZi/SiV3c0=' DigestAlgorithm='MD5'"), "no SHA-1"),
        (
            format!("<u:Files><u:File FileName='a' {SHA1} Size='1'/><u:File FileName='b' {SHA1} Size='2'/></u:Files>"),
            "different sizes",
        ),
        (
            format!(
                "<u:Files><u:File FileName='a' {SHA1} Size='1'><u:AdditionalDigest Algorithm='SHA256'>AAAA</u:AdditionalDigest>\
                 </u:File></u:Files>"
            ),
            "has 3 bytes instead of 32",
        ),
        ("<u:Properties UpdateType='Firmware'/>".into(), "\"Firmware\""),
        ("<u:Properties EulaID='1'/>".into(), "is not a GUID"),
        ("<u:Properties/><u:Properties/>".into(), "Properties twice"),
        (
            "<u:Relationships><u:Prerequisites><u:UpdateIdentity UpdateID='1'/></u:Prerequisites></u:Relationships>"
                .into(),
            "GUID",
        ),
        ("<u:Relationships><u:Prerequisites><u:AtLeastOne/></u:Prerequisites></u:Relationships>".into(), "AtLeastOne"),
        (
            format!(
                "<u:Relationships><u:BundledUpdates><u:UpdateIdentity UpdateID='{ID}'/></u:BundledUpdates></u:Relationships>"
            ),
            "no RevisionNumber",
        ),
        (
            format!(
                "<u:Relationships><u:BundledUpdates><u:UpdateIdentity UpdateID='{ID}' RevisionNumber='4294967296'/>\
                 </u:BundledUpdates></u:Relationships>"
            ),
            "4294967295",
        ),
        ("<a>&bomb;</a>".into(), "&bomb;"),
        ("<a>&#0;</a>".into(), "&#0;"),
        ("<a b='&bomb;'/>".into(), "bomb"),
        ("<a b='1' b='2'/>".into(), "malformed|well-formed"),
        ("<a></b>".into(), "well-formed"),
        ("<n:a/>".into(), "\"n\""),
        ("<a>\u{1}</a>".into(), "control character"),
        ("</u:Update><u:Update xmlns:u='http://schemas.microsoft.com/msus/2002/12/Update'>".into(), "second root"),
        ("</u:Update>text<x>".into(), "outside"),
    ];
    for (inside, reason) in cases {
        let error = parse(&inside).expect_err(&inside);
        let said = error.to_string();
        assert!(reason.split('|').any(|reason| said.contains(reason)), "{inside}: {said}");
        assert!(error.is_documents_fault() && !error.is_retryable(), "{inside}: {said}");
    }
    let rootless = "<Update xmlns='urn:other'/>";
    assert!(matches!(read(rootless.as_bytes()), Err(Error::NotAnUpdate { .. })));
    let nameless = "<u:Update xmlns:u='http://schemas.microsoft.com/msus/2002/12/Update'/>";
    assert!(matches!(read(nameless.as_bytes()), Err(Error::NoIdentity)));
    let bomb = "<!DOCTYPE u [<!ENTITY a 'aaaa'>]><u>&a;</u>";
    assert!(matches!(read(bomb.as_bytes()), Err(Error::Doctype)));
    assert!(matches!(read(&b"<u\xff/>"[..]), Err(Error::Malformed { .. })));
}

#[test]
fn half_a_document_is_none() {
    let whole = document(&format!(
        "<u:Properties><u:Language>en</u:Language></u:Properties>{}",
        file(&format!("{SHA1} Size='1'"))
    ));
    read(whole.as_bytes()).unwrap();
    for end in 0..whole.len() {
        let error = read(&whole.as_bytes()[..end]).expect_err("half a document");
        assert!(matches!(error, Error::Half { .. }) && error.is_retryable(), "{end}: {error}");
    }
}

#[test]
fn two_rows_of_one_file_are_one() {
    let row = format!("<u:File FileName='a' {SHA1} Size='1'/>");
    let other = format!("<u:File FileName='b' {SHA1} Size='1'/>");
    let update = parse(&format!("<u:Files>{row}{row}{other}</u:Files>")).unwrap();
    let names: Vec<&str> = update.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn no_document_is_deeper_or_richer_than_the_limits() {
    let deep = usize::try_from(DEPTH_MAX).unwrap();
    let nest = |count: usize| format!("{}{}", "<a>".repeat(count), "</a>".repeat(count));
    parse(&nest(deep - 1)).unwrap();
    assert!(matches!(parse(&nest(deep)), Err(Error::Limit { .. })));
    let many = |count: usize| {
        let attributes: Vec<String> = (0..count).map(|at| format!("a{at}=''")).collect();
        format!("<a {}/>", attributes.join(" "))
    };
    parse(&many(128)).unwrap();
    assert!(matches!(parse(&many(129)), Err(Error::Limit { .. })));
    let languages = |count: usize| {
        let text = |at: usize| format!("<u:LocalizedProperties><u:Language>l{at}</u:Language></u:LocalizedProperties>");
        let texts: Vec<String> = (0..count).map(text).collect();
        format!("<u:LocalizedPropertiesCollection>{}</u:LocalizedPropertiesCollection>", texts.concat())
    };
    assert_eq!(parse(&languages(512)).unwrap().texts.len(), 512);
    assert!(matches!(parse(&languages(513)), Err(Error::Limit { .. })));
    let related = |count: usize| {
        let ids = format!("<u:UpdateIdentity UpdateID='{ID}'/>").repeat(count);
        format!("<u:Relationships><u:SupersededUpdates>{ids}</u:SupersededUpdates></u:Relationships>")
    };
    assert_eq!(parse(&related(65_536)).unwrap().supersedes.len(), 65_536);
    assert!(matches!(parse(&related(65_537)), Err(Error::Limit { .. })));
}

/// A document whose middle is one text repeated, never in memory as a whole.
fn repeated(head: &str, text: &str, times: u64, tail: &str) -> impl std::io::BufRead {
    struct Texts {
        block: Vec<u8>,
        at: usize,
        left: u64,
    }
    impl Read for Texts {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            if self.left == 0 {
                return Ok(0);
            }
            let count = (self.block.len() - self.at).min(into.len());
            into[..count].copy_from_slice(&self.block[self.at..self.at + count]);
            self.at += count;
            if self.at == self.block.len() {
                (self.at, self.left) = (0, self.left - 1);
            }
            Ok(count)
        }
    }
    let in_block = (1 << 16) / text.len() + 1;
    let texts = Texts { block: text.repeat(in_block).into_bytes(), at: 0, left: times / in_block as u64 };
    let part = |text: &str| std::io::Cursor::new(text.as_bytes().to_vec());
    BufReader::with_capacity(1 << 16, part(head).chain(texts).chain(part(tail)))
}

#[test]
fn a_bomb_is_stopped_and_a_large_document_is_not() {
    const PART: &str =
        "<package identity='Package_for_KB5013943~31bf3856ad364e35~amd64~~10.0.1.1' applicable='true'><a/></package>";
    let frame = document("<u:ApplicabilityRules><u:Metadata>|</u:Metadata></u:ApplicabilityRules>");
    let (head, tail) = frame.split_once('|').unwrap();
    let update = read(repeated(head, PART, (47 << 20) / PART.len() as u64, tail)).unwrap();
    assert_eq!(update.identity.revision, 200);
    let remark = format!("<!-- {} -->", "nothing that is kept ".repeat(50_000));
    let endless = read(repeated(head, &remark, u64::MAX, ""));
    assert!(matches!(endless, Err(Error::Limit { max: DOCUMENT_BYTES_MAX, .. })), "{endless:?}");
    let token = read(repeated(head, "a", u64::MAX, ""));
    assert!(matches!(token, Err(Error::Limit { max: TOKEN_BYTES_MAX, .. })), "{token:?}");
    let tag = read(repeated(&format!("{head}<a b='"), "a", u64::MAX, ""));
    assert!(matches!(tag, Err(Error::Limit { max: TOKEN_BYTES_MAX, .. })), "{tag:?}");
    let title = document("<u:LocalizedPropertiesCollection><u:LocalizedProperties><u:Title>|");
    let title = title.split_once('|').unwrap().0;
    let words = read(repeated(title, &format!("{}&lt;", "a".repeat(4000)), u64::MAX, ""));
    assert!(matches!(words, Err(Error::Limit { max: HELD_BYTES_MAX, .. })), "{words:?}");
}

#[test]
fn an_input_that_breaks_says_so() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the line went dead"))
        }
    }
    let error = read(BufReader::new(document("").as_bytes()[..40].chain(Broken))).unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("the line went dead"), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(read(bytes.as_slice()));
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0usize..600, byte: u8, cut in 0usize..700) {
        let mut bytes = document(&format!("<u:Properties UpdateType='Driver'><u:Language>en</u:Language></u:Properties>{}", file(&format!("{SHA1} Size='1'")))).into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(cut);
        drop(read(bytes.as_slice()));
    }

    #[test]
    fn how_it_is_buffered_changes_nothing(room in 1usize..64) {
        let whole = document(&file(&format!("{SHA1} Size='1'")));
        let buffered = read(BufReader::with_capacity(room, whole.as_bytes())).unwrap();
        prop_assert_eq!(buffered, read(whole.as_bytes()).unwrap());
    }
}
