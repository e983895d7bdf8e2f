//! Every file of every deployable update that a filter lists, with what a policy of a node goes by: so that a test can say which
//! payloads such a node should hold.

use serde_json::{Value, json};

use crate::document::{SEVERITIES, asks_user};
use crate::faults::hex;
use crate::files::Files;
use crate::names::CLASSIFICATIONS;
use crate::world::{Filter, Shape, Slot, World};

impl World {
    /// One entry for each deployable update that `filter` lists: `id`, `kb`, `severity`, `classification`, `created_ms`, `expired`, `superseded` (by one
    /// that is held and offered), `parts` (endpoints read parts of some file), `licence` (people
    /// must accept one before it is installed), `eula` (the id of that, which several updates may have), `asks_user` (it may ask the user
    /// something), `files` (`sha1`, `sha256`, `size`, `name`), licences left
    /// out. Digests are counted: of a large catalog that takes a while.
    pub(crate) fn deployable(&self, filter: &Filter, scale: f64, files: &Files) -> Value {
        let listed = self.list(&Filter { config: false, since: None, ..filter.clone() });
        let reached = self.reached(&listed);
        let mut superseded = vec![false; self.groups.len()];
        for (at, group) in self.groups.iter().enumerate() {
            if reached.get(at) == Some(&true) && !group.expired() {
                for before in self.superseded(at as u32) {
                    if let Some(slot) = superseded.get_mut(before as usize) {
                        *slot = true;
                    }
                }
            }
        }
        let mut all = Vec::new();
        for (id, _) in &listed {
            let Some(Slot::Member(at, 0)) = self.slot(id) else { continue };
            let Some(group) = self.group(at) else { continue };
            let (mut parts, mut licence) = (false, false);
            let mut own = Vec::new();
            for member in 0..group.members {
                for spec in self.files(scale, at, member, group.revision(member)) {
                    if spec.key.licence {
                        licence = true;
                        continue;
                    }
                    parts |= spec.patching == "Express" || spec.extension().eq_ignore_ascii_case("esd");
                    let digests = files.digests(self.seed, &spec);
                    own.push(json!({
                        "sha1": hex(&digests.sha1), "sha256": hex(&digests.sha256), "size": spec.size, "name": spec.name,
                    }));
                }
            }
            all.push(json!({
                "id": id.to_string(),
                "kb": if group.shape == Shape::Driver { Value::Null } else { json!(self.kb(at).to_string()) },
                "severity": SEVERITIES.get(usize::from(group.severity)),
                "classification": CLASSIFICATIONS.get(usize::from(group.class)).map(|(_, name)| name),
                "created_ms": group.born,
                "expired": group.expired(),
                "superseded": superseded.get(at as usize),
                "parts": parts,
                "licence": licence,
                "eula": self.licence_of(at).map(|id| id.to_string()),
                "asks_user": asks_user(at),
                "files": own,
            }));
        }
        Value::Array(all)
    }
}
