//! Update documents, written when they are asked for: each follows from the seed and from what happened to its update.
//!
//! The form is that of documents recorded from real servers: order of elements and attributes, namespaces declared at the
//! root and again below, prerequisites before bundled updates.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::clock::{form, iso, iso_seconds};
use crate::files::{Files, Spec};
use crate::guid::{Guid, Identity};
use crate::names::{CLASSIFICATIONS, LANGUAGES, PHRASES};
use crate::random::{Choices, join};
use crate::rules;
use crate::world::{Category, CategoryKind, Group, Role, Shape, Slot, World};

const MSUS: &str = "http://schemas.microsoft.com/msus/2002/12";
const XSI: &str = r#"xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance""#;

/// A document and the files that it names.
pub(crate) struct Document {
    pub(crate) text: String,
    pub(crate) files: Vec<Spec>,
    /// What its files' addresses have between `software/` and the year.
    pub(crate) folder: &'static str,
}

/// Severities by their place.
pub(crate) const SEVERITIES: &[&str] = &["unspecified", "low", "moderate", "important", "critical"];

/// Text as element content and attribute value.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

macro_rules! put {
    // Writing to a string does not fail.
    ($out:expr, $($what:tt)*) => { let _ = write!($out, $($what)*); };
}

impl World {
    /// The document of a revision; none where there is no such revision.
    pub(crate) fn document(&self, files: &Files, scale: f64, identity: &Identity) -> Option<Document> {
        if !self.has(identity) {
            return None;
        }
        match self.slot(&identity.0)? {
            Slot::Category(at) => {
                let category = self.categories.get(at as usize)?;
                let text = self.category(category, at, identity.1);
                Some(Document { text, files: Vec::new(), folder: "" })
            }
            Slot::Detectoid(at) => {
                let text = self.detectoid(at, identity);
                Some(Document { text, files: Vec::new(), folder: "" })
            }
            Slot::Member(at, member) => {
                let group = self.group(at)?;
                let specs = self.files(scale, at, member, identity.1);
                let text = self.member(files, group, at, member, identity, &specs);
                let folder = match group.shape {
                    Shape::Nested => "defu",
                    Shape::Driver => "drvs",
                    Shape::Upgrade => "ftpk",
                    _ if group.class == 0 => "secu",
                    _ => "updt",
                };
                Some(Document { text, files: specs, folder })
            }
        }
    }

    fn category(&self, category: &Category, at: u32, revision: u32) -> String {
        let mut out = String::with_capacity(4096);
        let upper = matches!(category.kind, CategoryKind::Company | CategoryKind::Family);
        let id = if upper { category.id.to_string().to_uppercase() } else { category.id.to_string() };
        let created = category.revisions.first().map_or(0, |(_, at)| *at);
        let name = escape(&category.name);
        put!(
            out,
            r#"<upd:Update xmlns:pub="{MSUS}/Publishing" xmlns:lar="{MSUS}/LogicalApplicabilityRules" xmlns:cat="{MSUS}/UpdateHandlers/Category" xmlns:upd="{MSUS}/Update"><upd:UpdateIdentity UpdateID="{id}" RevisionNumber="{revision}" /><upd:Properties DefaultPropertiesLanguage="en" UpdateType="Category" ExplicitlyDeployable="false" IsPublic="true" Handler="{MSUS}/UpdateHandlers/Category" PublicationState="Published" CreationDate="{}" PublisherID="{}"></upd:Properties><upd:LocalizedPropertiesCollection>"#,
            iso(created),
            Guid::made(join(&[self.seed, 42]))
        );
        let languages = if at.is_multiple_of(3) { 24 } else { 1 };
        let english = LANGUAGES.iter().filter(|(_, short, _)| *short == "en");
        for (_, short, _) in english.chain(LANGUAGES.iter().filter(|(_, short, _)| *short != "en")).take(languages) {
            put!(
                out,
                "<upd:LocalizedProperties><upd:Language>{short}</upd:Language><upd:Title>{name}</upd:Title><upd:Description>{name}</upd:Description></upd:LocalizedProperties>"
            );
        }
        out.push_str("</upd:LocalizedPropertiesCollection>");
        if let Some(parent) = category.parent.and_then(|parent| self.categories.get(parent as usize)) {
            put!(
                out,
                r#"<upd:Relationships><upd:Prerequisites><upd:AtLeastOne IsCategory="true"><upd:UpdateIdentity UpdateID="{}" /></upd:AtLeastOne></upd:Prerequisites></upd:Relationships>"#,
                parent.id
            );
        }
        let (kind, closed) = match category.kind {
            CategoryKind::Company => (r#" CategoryType="Company""#, "false"),
            CategoryKind::Family => (r#" CategoryType="ProductFamily""#, "false"),
            CategoryKind::Product => (r#" CategoryType="Product""#, "true"),
            CategoryKind::Classification => (r#" CategoryType="UpdateClassification""#, "true"),
            CategoryKind::Folder => ("", "true"),
        };
        put!(
            out,
            r#"<upd:ApplicabilityRules><upd:IsInstalled><lar:True /></upd:IsInstalled></upd:ApplicabilityRules><upd:HandlerSpecificData xsi:type="cat:Category" {XSI}><cat:CategoryInformation{kind} ProhibitsSubcategories="{closed}" ProhibitsUpdates="{}" DisplayOrder="{at}" /></upd:HandlerSpecificData></upd:Update>"#,
            matches!(category.kind, CategoryKind::Company | CategoryKind::Family)
        );
        out
    }

    fn detectoid(&self, at: u32, (id, revision): &Identity) -> String {
        let mut out = String::with_capacity(2048);
        let mut choice = Choices::of(&[self.seed, 0x00de_7ec7, u64::from(at), u64::from(*revision)]);
        put!(
            out,
            r#"<upd:Update xmlns:pub="{MSUS}/Publishing" xmlns:lar="{MSUS}/LogicalApplicabilityRules" xmlns:bar="{MSUS}/BaseApplicabilityRules" xmlns:upd="{MSUS}/Update"><upd:UpdateIdentity UpdateID="{id}" RevisionNumber="{revision}" /><upd:Properties DefaultPropertiesLanguage="en" UpdateType="Detectoid" ExplicitlyDeployable="false" IsPublic="false" DetectoidType="Application Locale" PublicationState="Published" CreationDate="{}" PublisherID="{}"></upd:Properties><upd:LocalizedPropertiesCollection><upd:LocalizedProperties><upd:Language>en</upd:Language><upd:Title>Simulated detectoid {at}</upd:Title></upd:LocalizedProperties></upd:LocalizedPropertiesCollection>"#,
            self.detectoids
                .get(at as usize)
                .and_then(|all| all.revisions.first())
                .map_or_else(String::new, |(_, at)| iso(*at)),
            Guid::made(join(&[self.seed, 43]))
        );
        // Chains of at most 6, so that a client's scan has depth too.
        if !at.is_multiple_of(6)
            && let Some(before) = self.detectoids.get(at as usize - 1)
        {
            put!(
                out,
                r#"<upd:Relationships><upd:Prerequisites><upd:UpdateIdentity UpdateID="{}" /></upd:Prerequisites></upd:Relationships>"#,
                before.id
            );
        }
        out.push_str("<upd:ApplicabilityRules><upd:IsInstalled>");
        let length = choice.below(3_000) as usize;
        rules::expression(&mut choice, length, &mut out);
        out.push_str("</upd:IsInstalled></upd:ApplicabilityRules></upd:Update>");
        out
    }

    fn title(&self, group: &Group, number: u32, member: u8, language: &str) -> (String, &'static str) {
        let product = self.categories.get(group.product as usize).map_or("", |category| category.name.as_str());
        let month = form(group.born, "%Y-%m");
        let kb = self.kb(number);
        match group.role(member) {
            Role::InnerBundle => (format!("HIDDEN: {product} engine {number} for EngineBroad"), ""),
            Role::Leaf => (format!("{product} {month} part {member} (KB{kb})"), ""),
            Role::Driver => (format!("Simulated - Display - 31.{}.{}", number % 99, number), "A driver."),
            _ => {
                let phrase = PHRASES.iter().find(|(of, ..)| *of == language).or(PHRASES.first());
                let Some((_, before, behind, about)) = phrase else { return (String::new(), "") };
                (format!("{month} {before}{product}{behind} (KB{kb})"), about)
            }
        }
    }

    fn member(
        &self,
        files: &Files,
        group: &Group,
        number: u32,
        member: u8,
        (id, revision): &Identity,
        specs: &[Spec],
    ) -> String {
        let role = group.role(member);
        let mut choice = Choices::of(&[self.seed, 0xd0c, u64::from(number), u64::from(member)]);
        // Median 6 KB, one in a hundred 100 to 300 KB.
        let length = (6_400.0 * (0.75 * choice.normal()).exp()).clamp(1_200.0, 90_000.0) as usize;
        let large = choice.chance(10).then(|| 100_000 + choice.below(200_000) as usize);
        let length = self.huge.get(&(number, member)).copied().or(large).unwrap_or(length);
        let mut out = String::with_capacity(length + 4096);
        put!(
            out,
            r#"<upd:Update xmlns:pub="{MSUS}/Publishing" xmlns:bar="{MSUS}/BaseApplicabilityRules" xmlns:lar="{MSUS}/LogicalApplicabilityRules" xmlns:cmd="{MSUS}/UpdateHandlers/CommandLineInstallation" xmlns:upd="{MSUS}/Update"><upd:UpdateIdentity UpdateID="{id}" RevisionNumber="{revision}" />"#
        );
        self.properties(&mut out, group, number, member, *revision, specs);
        self.localized(&mut out, files, group, number, member, specs, length);
        self.relationships(&mut out, group, number, member, *revision);
        let tail = 900 + 330 * specs.len();
        let handler = matches!(role, Role::Alone | Role::Leaf | Role::Driver);
        if handler {
            let left = length.saturating_sub(out.len() + tail);
            out.push_str("<upd:ApplicabilityRules><upd:IsInstalled>");
            if left > 60_000 {
                rules::expression(&mut choice, 1_000, &mut out);
            } else {
                rules::expression(&mut choice, left / 2, &mut out);
            }
            out.push_str("</upd:IsInstalled><upd:IsInstallable>");
            rules::expression(&mut choice, if left > 60_000 { 1_000 } else { left / 2 }, &mut out);
            out.push_str("</upd:IsInstallable>");
            if left > 60_000 {
                out.push_str("<upd:Metadata>");
                rules::manifest(&mut choice, left - 2_500, &mut out);
                out.push_str("</upd:Metadata>");
            } else if role == Role::Driver {
                self.driver(&mut out, number);
            }
            out.push_str("</upd:ApplicabilityRules>");
            self.payload(&mut out, files, specs);
            self.handler(&mut out, group, number, specs);
        }
        out.push_str("</upd:Update>");
        out
    }

    fn properties(&self, out: &mut String, group: &Group, number: u32, member: u8, revision: u32, specs: &[Spec]) {
        let role = group.role(member);
        let state = if group.expired_at(member, revision) { "Expired" } else { "Published" };
        let created = iso(group.born);
        let publisher = Guid::made(join(&[self.seed, 44]));
        let kind = if role == Role::Driver { "Driver" } else { "Software" };
        if member > 0 {
            put!(out, r#"<upd:Properties UpdateType="{kind}" DefaultPropertiesLanguage="en""#);
        } else {
            put!(
                out,
                r#"<upd:Properties DefaultPropertiesLanguage="en" UpdateType="{kind}" ExplicitlyDeployable="true" AutoSelectOnWebSites="{}""#,
                number.is_multiple_of(2)
            );
            let severity = match group.severity {
                1 => "Low",
                2 => "Moderate",
                3 => "Important",
                4 => "Critical",
                _ => "",
            };
            if !severity.is_empty() {
                put!(out, r#" MsrcSeverity="{severity}""#);
            }
            put!(out, r#" IsPublic="false" IsBeta="false""#);
            if let Some(licence) = self.licence_of(number) {
                put!(out, r#" EulaID="{licence}""#);
            }
            if group.shape == Shape::Upgrade {
                put!(out, r#" OSUpgrade="swap" ReleaseVersion="10.0.26100.{}""#, number % 9_000);
            }
        }
        if let Some(handler) = handler_of(role, group.shape) {
            let size: u64 = specs.iter().filter(|spec| !spec.key.licence).map(|spec| spec.size).sum();
            put!(out, r#" Handler="{handler}" MaxDownloadSize="{size}" MinDownloadSize="0""#);
        }
        put!(out, r#" PublicationState="{state}" CreationDate="{created}" PublisherID="{publisher}""#);
        if member == 0 {
            put!(out, r#" LegacyName="KB{}-Simulated-{number}""#, self.kb(number));
        }
        out.push('>');
        if handler_of(role, group.shape).is_some() {
            let reboot = ["NeverReboots", "CanRequestReboot", "AlwaysRequiresReboot"];
            let which = if role == Role::Driver { 1 } else { (number % 3) as usize };
            put!(
                out,
                r#"<upd:InstallationBehavior Impact="Normal" RebootBehavior="{}" RequiresNetworkConnectivity="false" CanRequestUserInput="{}" />"#,
                reboot[which],
                asks_user(number)
            );
            if group.shape == Shape::Bundle {
                put!(out, r#"<upd:UninstallationBehavior RebootBehavior="{}" />"#, reboot[which]);
            }
        }
        if member == 0 {
            let kb = self.kb(number);
            put!(out, "<upd:SupportUrl>https://support.example.com/help/{kb}</upd:SupportUrl>");
            if group.severity > 0 && number.is_multiple_of(9) {
                put!(out, "<upd:SecurityBulletinID>MS17-{:03}</upd:SecurityBulletinID>", number % 120);
                put!(out, "<upd:CveID>CVE-2026-{:05}</upd:CveID>", number);
            }
            if group.shape != Shape::Driver {
                put!(out, "<upd:KBArticleID>{kb}</upd:KBArticleID>");
            }
            if group.shape == Shape::Upgrade {
                out.push_str("<upd:Language>all</upd:Language>");
            }
            if let Some((_, short, _)) = group.language.and_then(|at| LANGUAGES.get(usize::from(at))) {
                put!(out, "<upd:Language>{short}</upd:Language>");
            }
        }
        out.push_str("</upd:Properties>");
    }

    #[expect(clippy::too_many_arguments, reason = "one place of the document, and all that it follows from")]
    fn localized(
        &self,
        out: &mut String,
        files: &Files,
        group: &Group,
        number: u32,
        member: u8,
        specs: &[Spec],
        length: usize,
    ) {
        out.push_str("<upd:LocalizedPropertiesCollection>");
        let kb = self.kb(number);
        let english = LANGUAGES.iter().filter(|(_, short, _)| *short == "en");
        for (at, (_, short, _)) in english.chain(LANGUAGES.iter().filter(|(_, short, _)| *short != "en")).enumerate() {
            // Hidden ones speak one language; bundles fill their length with languages.
            let enough = match group.role(member) {
                Role::Bundle => out.len() + 1_500 > length,
                Role::Alone => at >= 4,
                _ => true,
            };
            if at > 0 && enough {
                break;
            }
            let (title, about) = self.title(group, number, member, short);
            put!(
                out,
                "<upd:LocalizedProperties><upd:Language>{short}</upd:Language><upd:Title>{}</upd:Title>",
                escape(&title)
            );
            if !about.is_empty() {
                put!(out, "<upd:Description>{}</upd:Description>", escape(about));
            }
            if member == 0 {
                put!(
                    out,
                    "<upd:MoreInfoUrl>https://support.example.com/help/{kb}</upd:MoreInfoUrl><upd:SupportUrl>https://support.example.com/help/{kb}</upd:SupportUrl>"
                );
            }
            out.push_str("</upd:LocalizedProperties>");
        }
        for spec in specs.iter().filter(|spec| spec.key.licence) {
            let digests = files.digests(self.seed, spec);
            put!(
                out,
                r#"<upd:EulaFile Digest="{}" DigestAlgorithm="SHA1" FileName="{}" Size="{}" Modified="{}" Language="{}"><upd:AdditionalDigest Algorithm="SHA256">{}</upd:AdditionalDigest></upd:EulaFile>"#,
                BASE64.encode(digests.sha1),
                spec.name,
                spec.size,
                iso_seconds(spec.modified),
                spec.language,
                BASE64.encode(digests.sha256)
            );
        }
        out.push_str("</upd:LocalizedPropertiesCollection>");
    }

    fn relationships(&self, out: &mut String, group: &Group, number: u32, member: u8, revision: u32) {
        out.push_str("<upd:Relationships>");
        if member == 0 {
            let mut any = false;
            for before in self.superseded(number) {
                if !any {
                    out.push_str("<upd:SupersededUpdates>");
                    any = true;
                }
                put!(out, r#"<upd:UpdateIdentity UpdateID="{}" />"#, self.member_id(before, 0));
            }
            if any {
                out.push_str("</upd:SupersededUpdates>");
            }
        }
        out.push_str("<upd:Prerequisites>");
        let mut choice = Choices::of(&[self.seed, 0x9e9, u64::from(number), u64::from(member)]);
        if group.role(member) != Role::InnerBundle {
            for _ in 0..=choice.below(3) {
                if let Some(detectoid) = choice.one(&self.detectoids) {
                    put!(out, r#"<upd:UpdateIdentity UpdateID="{}" />"#, detectoid.id);
                }
            }
        }
        if member == 0
            && let Some(needs) = group.needs
        {
            put!(out, r#"<upd:UpdateIdentity UpdateID="{}" />"#, self.member_id(needs, 0));
        }
        let product = self.categories.get(group.product as usize).map(|category| category.id);
        let class = CLASSIFICATIONS.get(usize::from(group.class)).and_then(|(text, _)| Guid::read(text));
        let category = if member == 0 || group.listed { r#" IsCategory="true""# } else { "" };
        let class = class.filter(|_| !category.is_empty() || group.role(member) == Role::InnerBundle);
        for id in class.iter().chain(product.iter()) {
            put!(out, r#"<upd:AtLeastOne{category}><upd:UpdateIdentity UpdateID="{id}" /></upd:AtLeastOne>"#);
        }
        out.push_str("</upd:Prerequisites>");
        let bundled = |member: u8| {
            let events = group.events_at(0, revision);
            let revision = group.revision_after(member, events);
            format!(
                r#"<upd:UpdateIdentity UpdateID="{}" RevisionNumber="{revision}" />"#,
                self.member_id(number, member)
            )
        };
        match (group.role(member), group.shape) {
            (Role::Bundle, Shape::Nested) => {
                put!(out, "<upd:BundledUpdates><upd:AtLeastOne>{}</upd:AtLeastOne></upd:BundledUpdates>", bundled(1));
            }
            (Role::Bundle, _) => {
                out.push_str("<upd:BundledUpdates>");
                // Older documents name the members without a clause around each.
                let bare = number.is_multiple_of(5);
                for member in 1..group.members {
                    let one = bundled(member);
                    if bare {
                        out.push_str(&one);
                    } else {
                        put!(out, "<upd:AtLeastOne>{one}</upd:AtLeastOne>");
                    }
                }
                out.push_str("</upd:BundledUpdates>");
            }
            (Role::InnerBundle, _) => {
                out.push_str("<upd:BundledUpdates><upd:AtLeastOne>");
                for other in 2..group.members {
                    // Both are touched by the same events, so that their revisions go together.
                    put!(
                        out,
                        r#"<upd:UpdateIdentity UpdateID="{}" RevisionNumber="{revision}" />"#,
                        self.member_id(number, other)
                    );
                }
                out.push_str("</upd:AtLeastOne></upd:BundledUpdates>");
            }
            _ => {}
        }
        out.push_str("</upd:Relationships>");
    }

    fn driver(&self, out: &mut String, number: u32) {
        put!(
            out,
            r#"<upd:Metadata><drv:WindowsDriverMetaData HardwareID="pci\ven_10de&amp;dev_{:04x}" DriverVerDate="{}" DriverVerVersion="31.0.15.{}" WhqlDriverID="{number}" Class="Display" Company="Simulated" Provider="Simulated" Manufacturer="Simulated" Model="Simulated Adapter {}" xmlns:drv="{MSUS}/UpdateHandlers/WindowsDriver"><drv:FeatureScore OperatingSystem="Windows" FeatureScore="{:02X}" /></drv:WindowsDriverMetaData></upd:Metadata>"#,
            number % 60,
            self.group(number).map_or_else(String::new, |group| form(group.born, "%Y-%m-%d")),
            number,
            number % 60,
            number % 256
        );
    }

    fn payload(&self, out: &mut String, files: &Files, specs: &[Spec]) {
        out.push_str("<upd:Files>");
        for spec in specs.iter().filter(|spec| !spec.key.licence) {
            let digests = files.digests(self.seed, spec);
            put!(
                out,
                r#"<upd:File Digest="{}" DigestAlgorithm="SHA1" FileName="{}" Size="{}" Modified="{}""#,
                BASE64.encode(digests.sha1),
                spec.name,
                spec.size,
                iso_seconds(spec.modified)
            );
            if !spec.patching.is_empty() {
                put!(out, r#" PatchingType="{}""#, spec.patching);
            }
            put!(
                out,
                r#"><upd:AdditionalDigest Algorithm="SHA256">{}</upd:AdditionalDigest></upd:File>"#,
                BASE64.encode(digests.sha256)
            );
        }
        out.push_str("</upd:Files>");
    }

    fn handler(&self, out: &mut String, group: &Group, number: u32, specs: &[Spec]) {
        let name = specs.first().map_or("", |spec| spec.name.as_str());
        match group.shape {
            Shape::Bundle => {
                put!(
                    out,
                    r#"<upd:HandlerSpecificData xsi:type="cbs:Cbs" {XSI}><cbs:CbsData PackageIdentity="Package_for_KB{}~31bf3856ad364e35~amd64~~10.0.1.{}" xmlns:cbs="{MSUS}/UpdateHandlers/Cbs" /></upd:HandlerSpecificData>"#,
                    self.kb(number),
                    number % 50
                );
            }
            Shape::Driver => {
                put!(
                    out,
                    r#"<upd:HandlerSpecificData xsi:type="drv:WindowsDriver" {XSI} xmlns:drv="{MSUS}/UpdateHandlers/WindowsDriver" />"#
                );
            }
            Shape::Upgrade => {
                put!(
                    out,
                    r#"<upd:HandlerSpecificData xsi:type="osi:OSInstaller" {XSI} xmlns:osi="http://schemas.microsoft.com/msus/2016/01/UpdateHandlers/OSInstaller"><osi:InstallCommand Program="{name}" /></upd:HandlerSpecificData>"#
                );
            }
            Shape::Single | Shape::Nested => {
                put!(
                    out,
                    r#"<upd:HandlerSpecificData xsi:type="cmd:CommandLineInstallation" {XSI}><cmd:InstallCommand Program="{name}" Arguments="/q" xmlns:cmd="{MSUS}/UpdateHandlers/CommandLineInstallation"><cmd:ReturnCode Code="0" Result="Succeeded" /></cmd:InstallCommand></upd:HandlerSpecificData>"#
                );
            }
        }
    }
}

/// Whether its installation may ask the user something.
pub(crate) fn asks_user(number: u32) -> bool {
    number.is_multiple_of(50)
}

/// Which handler installs it.
fn handler_of(role: Role, shape: Shape) -> Option<&'static str> {
    match (role, shape) {
        (Role::Bundle | Role::InnerBundle, _) => None,
        (_, Shape::Driver) => Some("http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/WindowsDriver"),
        (_, Shape::Upgrade) => Some("http://schemas.microsoft.com/msus/2016/01/UpdateHandlers/OSInstaller"),
        (_, Shape::Bundle) => Some("http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/Cbs"),
        _ => Some("http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/CommandLineInstallation"),
    }
}
