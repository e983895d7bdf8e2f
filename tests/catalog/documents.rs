//! Recorded documents: what they say, and that the fragments cut from them are those that a real server gave.

use std::fs;
use std::path::Path;

use waystation::model::update::{CategoryKind, Kind, Publication, Reboot, Severity, Update};
use waystation::wire::fragments::{Derived, derive};
use waystation::wire::metadata;

use crate::recorded::recorded;

fn cut(document: &Path) -> (String, String, Derived) {
    let (mut core, mut extended) = (Vec::new(), Vec::new());
    let derived = derive(fs::read(document).unwrap().as_slice(), &mut core, &mut extended).unwrap();
    (String::from_utf8(core).unwrap(), String::from_utf8(extended).unwrap(), derived)
}

fn update(folder: &Path, name: &str) -> Update {
    metadata::read(fs::read(folder.join(name)).unwrap().as_slice()).unwrap()
}

/// A fragment with the attributes of each element in the order of their names: all that may differ.
pub(crate) fn ordered(fragment: &str) -> String {
    let mut out = String::new();
    let mut rest = fragment;
    while let Some(begin) = rest.find('<') {
        out.push_str(&rest[..begin]);
        let mut quoted = false;
        let end = begin
            + rest[begin..]
                .find(|letter| {
                    quoted ^= letter == '"';
                    letter == '>' && !quoted
                })
                .unwrap();
        let (tag, slash) = match rest[begin..end].strip_suffix('/') {
            Some(tag) => (tag.trim_end(), " /"),
            None => (&rest[begin..end], ""),
        };
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut attributes: Vec<&str> = attributes.split_inclusive('"').collect();
        attributes = attributes.iter().map(|part| part.trim()).collect();
        let mut pairs: Vec<String> = attributes.chunks(2).map(<[&str]>::concat).collect();
        pairs.sort();
        out.push_str(name);
        for pair in pairs {
            out.push(' ');
            out.push_str(&pair);
        }
        out.push_str(slash);
        out.push('>');
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    out
}

#[test]
fn the_comparison_sees_all_but_the_order_of_attributes() {
    assert_eq!(ordered("<A b=\"x > y\" a=\"\" />t<B>"), "<A a=\"\" b=\"x > y\" />t<B>");
    assert_eq!(ordered("<A a=\"1\" b=\"2\"/>"), ordered("<A b=\"2\" a=\"1\" />"));
    assert_ne!(ordered("<A a=\"1\" />"), ordered("<A a=\"2\" />"));
    assert_ne!(ordered("<A a=\"1\" />"), ordered("<A a=\"1\"></A>"));
    assert_ne!(ordered("<A>x</A>"), ordered("<A>y</A>"));
}

#[test]
fn fragments_are_those_of_a_real_server() {
    let Some(folder) = recorded("wsusss/fragments") else { return };
    let documents = folder.join("../documents");
    let mut compared = 0;
    for entry in fs::read_dir(&documents).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let (core, extended, derived) = cut(&path);
        assert_eq!(format!("{}-r{}", derived.update.identity.id, derived.update.identity.revision), name);
        for (kind, ours) in [("core", Some(&core)), ("extended", Some(&extended)), ("localized-en", None)] {
            let Ok(theirs) = fs::read_to_string(folder.join(format!("{name}.{kind}.xml"))) else { continue };
            let ours = ours.unwrap_or_else(|| {
                let english = derived.localized.iter().find(|localized| localized.language == "en");
                &english.expect("a fragment in English").text
            });
            assert_eq!(ordered(ours), ordered(&theirs), "{name} {kind}");
            compared += 1;
        }
    }
    let recorded = fs::read_dir(&folder).unwrap().count();
    assert!(compared > 0 && compared == recorded, "compared {compared} of {recorded} recorded fragments");
}

/// The same revisions as the server gave them to an endpoint, in messages whose checksums are known.
#[test]
fn fragments_are_found_in_recorded_answers() {
    let Some(folder) = recorded("wusp") else { return };
    let documents = folder.join("../wsusss/documents");
    let said = |message: &str| {
        let text = fs::read_to_string(folder.join(message).join("response.body")).unwrap();
        text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    };
    let names = |document: &str| documents.join(format!("{document}.xml"));
    for (document, scan, extended_in) in [
        ("56309036-4c77-4dd9-951a-99ee9c246a94-r101", Some("scan/000006"), "scan/000010"),
        ("6964aab4-c5b5-43bd-a17d-ffb4346a8e1d-r100", Some("scan/000007"), "scan/000010"),
        ("dd78b8a1-0b20-45c1-add6-4da72e9364cf-r202", Some("scan/000008"), "scan/000010"),
        ("266f6222-c89d-43f2-9f8a-69340271e677-r200", None, "flow/000015"),
    ] {
        let (core, extended, derived) = cut(&names(document));
        if let Some(scan) = scan {
            assert!(said(scan).contains(&format!("<Xml>{core}</Xml>")), "{document}: core");
        }
        let answer = said(extended_in);
        assert!(answer.contains(&format!("<Xml>{extended}</Xml>")), "{document}: extended");
        if extended_in == "scan/000010" {
            let english = derived.localized.iter().find(|localized| localized.language == "en").unwrap();
            assert!(answer.contains(&format!("<Xml>{}</Xml>", english.text)), "{document}: localized");
        }
    }
}

#[test]
fn recorded_categories_say_what_they_are() {
    let Some(folder) = recorded("wsusss/documents") else { return };
    let company = update(&folder, "56309036-4c77-4dd9-951a-99ee9c246a94-r101.xml");
    assert_eq!(company.kind, Kind::Category(CategoryKind::Company));
    assert_eq!((company.title(), company.texts.len(), company.identity.revision), ("Microsoft", 24, 101));
    assert_eq!(company.created.unwrap().to_string(), "2005-09-22T00:05:11Z");
    assert_eq!((company.handler.as_str(), company.prerequisites.len()), ("Category", 0));
    let family = update(&folder, "6964aab4-c5b5-43bd-a17d-ffb4346a8e1d-r100.xml");
    assert_eq!(family.kind, Kind::Category(CategoryKind::Family));
    assert_eq!((family.title(), family.publication), ("Windows", Publication::Published));
    assert_eq!(family.categories().collect::<Vec<_>>(), [company.identity.id]);
    let product = update(&folder, "dd78b8a1-0b20-45c1-add6-4da72e9364cf-r202.xml");
    assert_eq!(product.kind, Kind::Category(CategoryKind::Product));
    assert_eq!((product.title(), product.texts.len(), product.deployable), ("OOBE ZDP", 1, false));
    assert!(product.texts[0].description.starts_with("This category would be used"));
    assert_eq!(product.categories().collect::<Vec<_>>(), [family.identity.id]);
}

#[test]
fn recorded_software_says_what_it_is_made_of() {
    let Some(folder) = recorded("wsusss/documents") else { return };
    let delta = update(&folder, "266f6222-c89d-43f2-9f8a-69340271e677-r200.xml");
    assert_eq!(
        (delta.kind, delta.handler.as_str(), delta.deployable),
        (Kind::Software, "CommandLineInstallation", false)
    );
    assert!(delta.title().starts_with("Full Deltas 1.459.547.0 for Defender"));
    assert_eq!((delta.download_max, delta.reboot, delta.removable), (11_606_440, Reboot::Never, false));
    let shape: Vec<_> = delta.prerequisites.iter().map(|clause| (clause.any_of.len(), clause.is_category)).collect();
    assert_eq!(shape, [(1, false), (1, false), (1, false), (1, false)]);
    assert_eq!(delta.prerequisites[3].any_of[0].to_string(), "8c3fcc84-7410-4a95-8b89-a166a0190486");
    let [file] = delta.files.as_slice() else { panic!("{:?}", delta.files) };
    assert_eq!(file.sha1.to_string(), "87f5bd0469585006aa5d3a77d1c662fd2895ddcd");
    assert_eq!(file.sha256.unwrap().to_string(), "026b74ab29b2e4ab113a2c085e6e1020857be49bb8afe0a5dbc3e0f2068b5d40");
    assert_eq!((file.name.as_str(), file.size), ("AM_Delta.exe", 11_606_440));
    assert_eq!(file.modified.unwrap().to_string(), "2026-10-04T09:39:26Z");
    let engine = update(&folder, "1f9bd9bb-7390-4aa3-bbdb-ded99fac2583-r200.xml");
    assert_eq!((engine.bundles.len(), engine.members().count(), engine.files.len()), (1, 24, 0));
    assert!(engine.members().all(|member| member.revision == 200));
    assert_eq!((engine.categories().count(), engine.prerequisites.len()), (0, 2));
    assert_eq!(engine.handler, "");
}

#[test]
fn documents_of_microsoft_update_are_read() {
    let Some(folder) = recorded("microsoft-update") else { return };
    let product = update(&folder, "sample_category_1.xml");
    assert_eq!(product.kind, Kind::Category(CategoryKind::Product));
    assert_eq!(product.identity.to_string(), "83a83e29-7d55-44a0-afed-aea164bc35e6/51");
    assert_eq!(
        (product.title(), product.texts[0].description.as_str()),
        ("Exchange 2000 Server", "For Exchange 2000 Products")
    );
    assert_eq!(product.categories().next().unwrap().to_string(), "352f9494-d516-4b40-a21a-cd2416098982");
    let detectoid = update(&folder, "sample_detectoid_1.xml");
    assert_eq!((detectoid.kind, detectoid.title()), (Kind::Detectoid, "Exchange Core CHS Lang"));
    assert_eq!(detectoid.prerequisites[0].any_of[0].to_string(), "4d6255d2-e2e4-4a6f-b345-b82d153a2e6c");
    let bundle = update(&folder, "sample_update_2.xml");
    assert_eq!(bundle.identity.to_string(), "7b6d13c6-6401-4a10-a61f-1dab8d93356e/200");
    assert_eq!(bundle.title(), "2022-05 Cumulative Update for Windows 11 for x64-based Systems (KB5013943)");
    assert_eq!(
        (bundle.severity, bundle.deployable, bundle.kbs.as_slice()),
        (Severity::Critical, true, &["5013943".to_owned()][..])
    );
    assert_eq!(bundle.support.as_deref(), Some("https://support.microsoft.com/help/5013943"));
    assert_eq!(bundle.created.unwrap().to_string(), "2022-05-10T17:00:06Z");
    assert_eq!((bundle.supersedes.len(), bundle.prerequisites.len(), bundle.files.len()), (14, 4, 0));
    let categories: Vec<String> = bundle.categories().map(|id| id.to_string()).collect();
    assert_eq!(categories, ["0fa1201d-4330-4fa8-8ae9-b877473b6441", "72e7624a-5b00-45d2-b92f-e561c0a6a160"]);
    // Identities that stand in the bundle directly, each a clause of one.
    assert_eq!(bundle.bundles.len(), 1);
    assert_eq!(bundle.members().next().unwrap().to_string(), "ad1a3f81-2318-4a4d-8a86-3915edc389ae/200");
    assert!(bundle.texts.len() == 29 && bundle.texts.iter().any(|text| text.language == "zh-hk"));
    let (_, _, derived) = cut(&folder.join("sample_update_2.xml"));
    assert_eq!(derived.localized.len(), bundle.texts.len());
    assert_eq!(derived.update, bundle);
}
