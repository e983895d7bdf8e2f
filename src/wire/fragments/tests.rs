//! Rules of the cut, one by one, on documents made here. Recorded pairs are in `tests/catalog/documents.rs`.

use proptest::prelude::*;

use super::{Derived, derive};
use crate::wire::metadata::{Error, read};

const HEAD: &str = "<upd:Update xmlns:upd='http://schemas.microsoft.com/msus/2002/12/Update' \
    xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'>\
    <upd:UpdateIdentity UpdateID=\"7B6d13c6-6401-4a10-a61f-1dab8d93356e\" RevisionNumber=\"200\"/>";
const IDENTITY: &str = "<UpdateIdentity UpdateID=\"7B6d13c6-6401-4a10-a61f-1dab8d93356e\" RevisionNumber=\"200\" />";

fn cut(inside: &str) -> (String, String, Derived) {
    let (mut core, mut extended) = (Vec::new(), Vec::new());
    let derived = derive(format!("{HEAD}{inside}</upd:Update>").as_bytes(), &mut core, &mut extended).unwrap();
    (String::from_utf8(core).unwrap(), String::from_utf8(extended).unwrap(), derived)
}

fn core(inside: &str) -> String {
    cut(inside).0.strip_prefix(IDENTITY).unwrap().to_owned()
}

#[test]
fn properties_are_divided_between_core_and_extended() {
    let (core, extended, _) = cut(
        "<upd:Properties DefaultPropertiesLanguage='en' EulaID='e7b6d13c-6401-4a10-a61f-1dab8d93356e' OSUpgrade='true' \
         AutoSelectOnWebSites='false' ExplicitlyDeployable='true' UpdateType='Software' IsPublic='false' PerUser='true' \
         PublicationState='Published' CreationDate='x' PublisherID='y' LegacyName='KB \"1\"' IsBeta='false' xmlns:pub='urn:p'>\
         \n <upd:KBArticleID>1</upd:KBArticleID>\n</upd:Properties>",
    );
    assert_eq!(
        core,
        format!(
            "{IDENTITY}<Properties UpdateType=\"Software\" ExplicitlyDeployable=\"true\" OSUpgrade=\"true\" \
             EulaID=\"e7b6d13c-6401-4a10-a61f-1dab8d93356e\" />"
        )
    );
    assert_eq!(
        extended,
        "<ExtendedProperties DefaultPropertiesLanguage=\"en\" IsPublic=\"false\" PerUser=\"true\" LegacyName=\"KB &quot;1&quot;\" \
         IsBeta=\"false\">\n <KBArticleID>1</KBArticleID>\n</ExtendedProperties>"
    );
    for defaults in [
        "<upd:Properties ExplicitlyDeployable='false' PerUser='false' IsPublic='true' OSUpgrade='false'/>",
        "<upd:Properties>\n</upd:Properties>",
        "<upd:Properties></upd:Properties>",
    ] {
        let (core, extended, _) = cut(defaults);
        assert_eq!(
            (core.as_str(), extended.as_str()),
            (format!("{IDENTITY}<Properties />").as_str(), "<ExtendedProperties />")
        );
    }
}

#[test]
fn names_go_by_namespace_and_the_rest_is_text() {
    let rules = "<upd:ApplicabilityRules>\
        <q:RegDword xmlns:q='http://schemas.microsoft.com/msus/2002/12/BaseApplicabilityRules' Data=\"a &amp; 'b'\"/>\
        <mar:MsiProductInstalled xmlns:mar='http://schemas.microsoft.com/msus/2002/12/MsiApplicabilityRules'>\
        <MsiPatch xmlns='http://www.microsoft.com/msi/patch_applicability.xsd'><Validate  a='1'/></MsiPatch></mar:MsiProductInstalled>\
        <drv:WindowsDriverMetaData xmlns:drv='http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/WindowsDriver'>\
        <drv:FeatureScore/></drv:WindowsDriverMetaData>\
        <lar:And xmlns:lar='urn:l'>x &lt; y &#x41; <![CDATA[<&>]]><!-- kept --></lar:And>\
        <RegSz xmlns='http://schemas.microsoft.com/msus/2002/12/BaseApplicabilityRules'/>\
        <z:odd xmlns:z='urn:z' z:a='1' a='2' z:b='3' xml:lang='en' xsi:type='z:T'/></upd:ApplicabilityRules>";
    assert_eq!(
        core(rules),
        "<ApplicabilityRules><b.RegDword Data=\"a &amp; 'b'\" />\
         <m.MsiProductInstalled><MsiPatch xmlns=\"http://www.microsoft.com/msi/patch_applicability.xsd\"><Validate a=\"1\" />\
         </MsiPatch></m.MsiProductInstalled>\
         <d.WindowsDriverMetaData><d.FeatureScore /></d.WindowsDriverMetaData>\
         <And>x &lt; y &#x41; <![CDATA[<&>]]><!-- kept --></And>\
         <b.RegSz />\
         <odd a=\"2\" b=\"3\" xml:lang=\"en\" type=\"z:T\" /></ApplicabilityRules>"
    );
}

#[test]
fn files_and_handler_are_extended_and_unknown_parts_nowhere() {
    let (core, extended, _) = cut(
        "<upd:Files/><other xmlns='urn:o'><Files/></other><upd:HandlerSpecificData xsi:type='cmd:C'><a/></upd:HandlerSpecificData>\
         <upd:Later><upd:Title>x</upd:Title></upd:Later>",
    );
    assert_eq!(core, IDENTITY);
    assert_eq!(extended, "<Files /><HandlerSpecificData type=\"cmd:C\"><a /></HandlerSpecificData>");
}

#[test]
fn each_language_has_its_piece() {
    let (_, _, derived) = cut(
        "<upd:LocalizedPropertiesCollection>\n<upd:LocalizedProperties>\n<upd:Title>A &amp; B</upd:Title><upd:Language> pt-br </upd:Language>\
         </upd:LocalizedProperties><upd:LocalizedProperties><upd:Language>EN</upd:Language></upd:LocalizedProperties>\
         <upd:LocalizedProperties><upd:Language>en</upd:Language><upd:Title>x</upd:Title></upd:LocalizedProperties><upd:LocalizedProperties/>\
         <upd:EulaFile Language='en' GeoId='CHE' FileName='e' Size='1' Digest='D2zdslftJ5kG/B9a2zSqQu83qTs='/>\
         </upd:LocalizedPropertiesCollection>",
    );
    let pieces: Vec<_> = derived.localized.iter().map(|one| (one.language.as_str(), one.text.as_str())).collect();
    assert_eq!(
        pieces,
        [
            (
                "pt-br",
                "<LocalizedProperties>\n<Title>A &amp; B</Title><Language> pt-br </Language></LocalizedProperties>"
            ),
            ("EN", "<LocalizedProperties><Language>EN</Language></LocalizedProperties>"),
            ("", "<LocalizedProperties />"),
        ]
    );
    assert_eq!((derived.licences[0].language.as_str(), derived.licences[0].region.as_str()), ("en", "CHE"));
    assert!(derived.licences[0].text.starts_with("<EulaFile Language=\"en\" GeoId=\"CHE\""));
}

#[test]
fn a_writer_that_fails_is_not_the_documents_fault() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("no room"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let error = derive(format!("{HEAD}</upd:Update>").as_bytes(), Full, Vec::new()).unwrap_err();
    assert!(matches!(error, Error::Output(_)) && !error.is_documents_fault(), "{error}");
}

/// Pieces of a document that may stand in any order inside of each other.
fn tree() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("text &amp; more".to_owned()),
        Just("<![CDATA[<]]>".to_owned()),
        Just(" ".to_owned()),
        Just(
            "<b:R xmlns:b='http://schemas.microsoft.com/msus/2002/12/BaseApplicabilityRules' b:x='&quot;' y='\"'/>"
                .to_owned()
        ),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        (prop::sample::select(vec!["a", "upd:Title", "xsi:n"]), prop::collection::vec(inner, 0..4))
            .prop_map(|(name, inside)| format!("<{name} k='1'>{}</{name}>", inside.concat()))
    })
}

proptest! {
    /// What comes out is well-formed and of the same shape, and cutting tells the reader nothing else than reading does.
    #[test]
    fn fragments_of_any_tree_are_well_formed(tree in tree()) {
        let inside = format!("<upd:ApplicabilityRules>{tree}</upd:ApplicabilityRules>");
        let (core, _, derived) = cut(&inside);
        prop_assert_eq!(&read(format!("{HEAD}{inside}</upd:Update>").as_bytes()).unwrap(), &derived.update);
        prop_assert_eq!(core.matches("k=\"1\"").count(), tree.matches("k='1'").count());
        let whole = format!("<r>{core}</r>");
        let mut reader = quick_xml::Reader::from_str(&whole);
        loop {
            match reader.read_event() {
                Ok(quick_xml::events::Event::Eof) => break,
                Ok(quick_xml::events::Event::Start(start) | quick_xml::events::Event::Empty(start)) => {
                    prop_assert!(!start.name().as_ref().contains(':'));
                    for attribute in start.attributes() {
                        let attribute = attribute.unwrap();
                        prop_assert!(!attribute.key.as_ref().starts_with("xmlns"));
                    }
                }
                Ok(_) => {}
                Err(error) => prop_assert!(false, "{}: {}", error, whole),
            }
        }
    }
}
