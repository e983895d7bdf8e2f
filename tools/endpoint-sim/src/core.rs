//! What an agent keeps of a core fragment: who it is, what it wants, what it contains, its rules.
//!
//! Thousands of agents are sent the same fragments, so that each is read once for all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::guid::Guid;
use crate::machine::{Machine, Question};
use crate::rules::Rule;
use crate::xml::{self, Element};

/// What an update is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Category,
    Detectoid,
    Software,
    Driver,
}

/// A core fragment, read. Of every clause one update must do.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) id: Guid,
    pub(crate) revision: u32,
    pub(crate) kind: Kind,
    /// `ExplicitlyDeployable`: what people see; the others are parts.
    pub(crate) deployable: bool,
    pub(crate) needs: Vec<Vec<Guid>>,
    pub(crate) bundles: Vec<Vec<Guid>>,
    installed: Option<Rule>,
    installable: Option<Rule>,
}

impl Core {
    /// Reads one; the error says what is missing.
    pub(crate) fn read(fragment: &str) -> Result<Self, String> {
        Self::of(&xml::read(fragment)?)
    }

    /// The same of an element whose children are those of a fragment, or of an update document.
    pub(crate) fn of(root: &Element) -> Result<Self, String> {
        let identity = root.child("UpdateIdentity").ok_or("a core fragment has no UpdateIdentity")?;
        let id = identity.attribute("UpdateID").and_then(Guid::read).ok_or("a core fragment has no UpdateID")?;
        let revision = identity.attribute("RevisionNumber").and_then(|text| text.parse().ok());
        let revision = revision.ok_or_else(|| format!("{id} has no revision number"))?;
        let properties = root.child("Properties").ok_or_else(|| format!("{id} has no Properties"))?;
        let kind = match properties.attribute("UpdateType") {
            Some("Category") => Kind::Category,
            Some("Detectoid") => Kind::Detectoid,
            Some("Software") => Kind::Software,
            Some("Driver") => Kind::Driver,
            other => return Err(format!("{id} is of type {other:?}, which no agent knows")),
        };
        let clauses = |name: &str| root.down(&["Relationships", name]).map(clauses).unwrap_or_default();
        let rule = |name: &str| root.down(&["ApplicabilityRules", name]).map(Rule::read);
        Ok(Self {
            id,
            revision,
            kind,
            deployable: properties.attribute("ExplicitlyDeployable") == Some("true"),
            needs: clauses("Prerequisites"),
            bundles: clauses("BundledUpdates"),
            installed: rule("IsInstalled"),
            installable: rule("IsInstallable"),
        })
    }

    /// Whether its own rules find it on a machine. Without a rule: what groups is there, an update is not.
    pub(crate) fn is_installed(&self, machine: &Machine) -> bool {
        let groups = matches!(self.kind, Kind::Category | Kind::Detectoid);
        let question = if groups { Question::Present } else { Question::Installed };
        match &self.installed {
            None => groups,
            Some(rule) => rule.holds(machine).unwrap_or_else(|| machine.truth(question, self.id)),
        }
    }

    /// Whether its own rules let it be installed. Without a rule it can be.
    pub(crate) fn is_installable(&self, machine: &Machine) -> bool {
        self.installable
            .as_ref()
            .is_none_or(|rule| rule.holds(machine).unwrap_or_else(|| machine.truth(Question::Installable, self.id)))
    }
}

/// `AtLeastOne` elements, and identities that stand alone.
fn clauses(within: &Element) -> Vec<Vec<Guid>> {
    let id = |element: &Element| element.attribute("UpdateID").and_then(Guid::read);
    within
        .children
        .iter()
        .filter_map(|child| match child.name.as_str() {
            "AtLeastOne" => Some(child.all("UpdateIdentity").filter_map(id).collect()),
            "UpdateIdentity" => id(child).map(|id| vec![id]),
            _ => None,
        })
        .collect()
}

/// All fragments read so far, by the digest of their text.
#[derive(Default)]
pub(crate) struct Fragments(Mutex<HashMap<[u8; 32], Arc<Core>>>);

impl Fragments {
    pub(crate) fn core(&self, text: &str) -> Result<Arc<Core>, String> {
        let digest: [u8; 32] = Sha256::digest(text).into();
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&digest) {
            return Ok(Arc::clone(known));
        }
        let read = Arc::new(Core::read(text)?);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, Arc::clone(&read));
        Ok(read)
    }
}

/// A file as an extended fragment names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) sha1: [u8; 20],
    pub(crate) sha256: [u8; 32],
    pub(crate) size: u64,
    pub(crate) name: String,
}

/// The files of an extended fragment. As an agent since Windows 8 does, it refuses a file without a SHA-256.
pub(crate) fn files(fragment: &str) -> Result<Vec<File>, String> {
    let root = xml::read(fragment)?;
    let Some(all) = root.child("Files") else { return Ok(Vec::new()) };
    all.all("File").map(file).collect()
}

fn file(element: &Element) -> Result<File, String> {
    let name = element.attribute("FileName").unwrap_or_default().to_owned();
    let sha1 = element.attribute("Digest").and_then(digest);
    let sha256 = element
        .all("AdditionalDigest")
        .find(|digest| digest.attribute("Algorithm") == Some("SHA256"))
        .and_then(|found| digest(&found.text));
    Ok(File {
        sha1: sha1.ok_or_else(|| format!("file {name} has no SHA-1"))?,
        sha256: sha256.ok_or_else(|| format!("file {name} has no SHA-256, without which agents reject it"))?,
        size: element
            .attribute("Size")
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| format!("file {name} has no size"))?,
        name,
    })
}

/// A digest in base64 of exactly `N` bytes.
pub(crate) fn digest<const N: usize>(text: &str) -> Option<[u8; N]> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text.trim()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORE: &str = r#"<UpdateIdentity UpdateID="6964AAB4-C5B5-43BD-A17D-FFB4346A8E1D" RevisionNumber="100" /><Properties UpdateType="Software" ExplicitlyDeployable="true" /><Relationships><Prerequisites><UpdateIdentity UpdateID="11111111-c5b5-43bd-a17d-ffb4346a8e1d" /><AtLeastOne IsCategory="true"><UpdateIdentity UpdateID="56309036-4c77-4dd9-951a-99ee9c246a94" /><UpdateIdentity UpdateID="66309036-4c77-4dd9-951a-99ee9c246a94" /></AtLeastOne></Prerequisites><BundledUpdates><UpdateIdentity UpdateID="22222222-c5b5-43bd-a17d-ffb4346a8e1d" RevisionNumber="2" /></BundledUpdates></Relationships><ApplicabilityRules><IsInstalled><False /></IsInstalled><IsInstallable><b.WindowsVersion Comparison="LessThan" MajorVersion="6" /></IsInstallable></ApplicabilityRules>"#;

    #[test]
    fn a_core_fragment_is_read() {
        let core = Core::read(CORE).expect("a core fragment");
        assert_eq!((core.revision, core.kind, core.deployable), (100, Kind::Software, true));
        assert_eq!(core.needs.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(core.bundles.len(), 1);
        let machine = Machine::new(1);
        assert!(!core.is_installed(&machine) && !core.is_installable(&machine));
        let fragments = Fragments::default();
        let (one, two) = (fragments.core(CORE).expect("one"), fragments.core(CORE).expect("two"));
        assert!(Arc::ptr_eq(&one, &two));
    }

    #[test]
    fn a_file_without_a_sha256_is_rejected() {
        let with = r#"<ExtendedProperties /><Files><File Digest="h/W9BGlYUAaqXTp30cZi/SiV3c0=" DigestAlgorithm="SHA1" FileName="a.exe" Size="7"><AdditionalDigest Algorithm="SHA256">47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=</AdditionalDigest></File></Files>"#;
        let found = files(with).expect("files");
        assert_eq!((found[0].size, found[0].name.as_str(), found[0].sha1[0]), (7, "a.exe", 0x87));
        assert!(files(&with.replace("SHA256", "SHA512")).is_err());
        assert_eq!(files("<ExtendedProperties />"), Ok(Vec::new()));
    }
}
