//! Where everything lies in the data directory. The drawing is in `docs/store-format.md`.

use std::path::{Path, PathBuf};

use crate::base::digest::Blake3;

/// The paths of one data directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("node.redb")
    }

    pub(crate) fn store_id(&self) -> PathBuf {
        self.root.join("store-id")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn content(&self) -> PathBuf {
        self.root.join("content")
    }

    /// The directory of a payload: the first two hex digits keep directories at 1/256 of the whole.
    pub(crate) fn shelf(&self, blake3: &Blake3) -> PathBuf {
        self.content().join(format!("{:02x}", blake3.as_bytes()[0]))
    }

    pub(crate) fn payload(&self, blake3: &Blake3) -> PathBuf {
        self.shelf(blake3).join(blake3.to_string())
    }

    pub(crate) fn proof(&self, blake3: &Blake3) -> PathBuf {
        self.shelf(blake3).join(format!("{blake3}.proof"))
    }

    pub(crate) fn drafts(&self) -> PathBuf {
        self.root.join("drafts")
    }

    pub(crate) fn draft(&self, id: u64) -> PathBuf {
        self.drafts().join(format!("{id:016x}"))
    }

    /// Where a proof is written before it gets its place by rename.
    pub(crate) fn draft_proof(&self, id: u64) -> PathBuf {
        self.drafts().join(format!("{id:016x}.proof"))
    }

    /// Where it is written where a file of the administrator's came from that is being taken over as this draft.
    pub(crate) fn draft_home(&self, id: u64) -> PathBuf {
        self.drafts().join(format!("{id:016x}.home"))
    }

    pub(crate) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// What lies in quarantine under `id`; `part` is empty, `.proof` or `.why`.
    pub(crate) fn quarantined(&self, id: u64, part: &str) -> PathBuf {
        self.quarantine().join(format!("{id:016x}{part}"))
    }
}

/// The id in a file name of `quarantine/`.
pub(crate) fn quarantine_id(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = [".proof", ".why"].into_iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
    (digits.len() == 16).then_some(())?;
    u64::from_str_radix(digits, 16).ok()
}

/// What lies in `drafts/` under the number of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Draft,
    Proof,
    Home,
}

/// The id in a file name of `drafts/`, and what of the draft it is.
pub(crate) fn draft_id(path: &Path) -> Option<(u64, Part)> {
    let name = path.file_name()?.to_str()?;
    let (digits, part) = match (name.strip_suffix(".proof"), name.strip_suffix(".home")) {
        (Some(digits), _) => (digits, Part::Proof),
        (_, Some(digits)) => (digits, Part::Home),
        _ => (name, Part::Draft),
    };
    (digits.len() == 16).then_some(())?;
    Some((u64::from_str_radix(digits, 16).ok()?, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_the_names_that_it_gives() {
        let layout = Layout::new(Path::new("/d"));
        assert_eq!(draft_id(&layout.draft(77)), Some((77, Part::Draft)));
        assert_eq!(draft_id(&layout.draft_home(77)), Some((77, Part::Home)));
        assert_eq!(draft_id(&layout.draft_proof(u64::MAX)), Some((u64::MAX, Part::Proof)));
        for stranger in ["/d/drafts/x", "/d/drafts/000000000000004", "/d/drafts/000000000000004d.part"] {
            assert_eq!(draft_id(Path::new(stranger)), None, "{stranger}");
        }
        for part in ["", ".proof", ".why"] {
            assert_eq!(quarantine_id(&layout.quarantined(77, part)), Some(77));
        }
        assert_eq!(quarantine_id(Path::new("/d/quarantine/000000000000004d.part")), None);
        let digest = Blake3::new([0xab; 32]);
        assert!(layout.proof(&digest).to_str().unwrap().starts_with("/d/content/ab/abab"));
    }
}
