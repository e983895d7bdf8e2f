//! What is different between a document that is held and Microsoft's of the same revision: what decides which bytes an endpoint takes
//! and when, apart from the text alone. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::update::{File, Update, UpdateId};
use crate::sync::read;
use crate::wire::fragments::Sense;

/// Differences of one kind that a reason names.
const NAMED_MAX: usize = 3;

/// Documents that must have been compared before anything is said of all of them.
const SAMPLE_MIN: u64 = 20;

/// What is different, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sync) struct Difference {
    /// In what decides which bytes are run, where, and what this node does by itself. The weightiest first.
    matters: Vec<String>,
    /// In what is only shown to people.
    shown: Shown,
}

/// What of a text differs that is only shown to people: as small as can be, since all of a catalog may differ so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sync) struct Shown {
    title: bool,
    kbs: bool,
}

impl Shown {
    fn words(self) -> impl Iterator<Item = &'static str> {
        let all = [(self.title, "its title"), (self.kbs, "its KB articles")];
        all.into_iter().filter(|(is_other, _)| *is_other).map(|(_, what)| what)
    }

    /// For the history, where nothing else differs.
    pub(in crate::sync) fn in_words(self) -> String {
        let what: Vec<_> = self.words().collect();
        let what = if what.is_empty() { String::new() } else { format!(" ({})", what.join(", ")) };
        format!("its text alone differs{what}; its files, digests, members, supersedence and rules are the same")
    }
}

impl Difference {
    /// Between two documents, and between what their rules and handlers mean. Where that of one of them is not known nobody can say
    /// that it is the same, which counts as a difference that matters.
    pub(in crate::sync) fn between(ours: &Update, theirs: &Update, senses: Option<(&Sense, &Sense)>) -> Self {
        let mut matters = Vec::new();
        let by_sha1 = |update: &Update| -> BTreeMap<_, File> {
            read::files(update).map(|file| (file.sha1, file.clone())).collect()
        };
        let (own, right) = (by_sha1(ours), by_sha1(theirs));
        for (sha1, file) in &own {
            match right.get(sha1) {
                None => matters.push(format!("Microsoft's has no file {sha1} ({})", file.name)),
                Some(known) if known.sha256 != file.sha256 => matters.push(format!("file {sha1} has another SHA-256")),
                Some(known) if known.size != file.size => matters.push(format!("file {sha1} has another size")),
                Some(known) if known != file => {
                    matters.push(format!("file {sha1} has another name, date or way of patching"));
                }
                Some(_) => {}
            }
        }
        for sha1 in right.keys().filter(|sha1| !own.contains_key(sha1)) {
            matters.push(format!("it lacks file {sha1}"));
        }
        let rules = senses.is_some_and(|(ours, theirs)| ours.rules != theirs.rules);
        let handling = senses.is_some_and(|(ours, theirs)| ours.handling != theirs.handling);
        let behaves = |of: &Update| {
            (
                of.reboot,
                of.impact,
                of.needs_network,
                of.os_upgrade,
                of.asks_user,
                of.removable,
                of.release_version.clone(),
            )
        };
        let offered = |of: &Update| (of.kind, of.deployable, of.locally_published, of.compatible_protocol.clone());
        let sizes = |of: &Update| (of.download_min, of.download_max);
        let facts = [
            (ours.identity != theirs.identity, "its identity differs"),
            (ours.publication != theirs.publication, "whether it is expired differs"),
            (ours.bundles != theirs.bundles, "what it bundles differs"),
            (ours.supersedes != theirs.supersedes, "what it supersedes differs"),
            (rules, "its rules differ"),
            (handling || ours.handler != theirs.handler, "how it is installed differs"),
            (senses.is_none(), "its rules and how it is installed cannot be compared"),
            (ours.prerequisites != theirs.prerequisites, "its prerequisites differ"),
            (ours.drivers != theirs.drivers, "the devices that it is for differ"),
            (ours.severity != theirs.severity, "its severity differs"),
            (offered(ours) != offered(theirs), "what it is, or whether it can be approved by itself, differs"),
            (behaves(ours) != behaves(theirs), "whether it restarts, asks or gets in the way differs"),
            (ours.eula != theirs.eula, "its licence differs"),
            (ours.secured != theirs.secured, "what it is secured by differs"),
            (ours.languages != theirs.languages, "its languages differ"),
            (sizes(ours) != sizes(theirs), "how much of it is downloaded differs"),
            (ours.created != theirs.created, "its date differs"),
        ];
        matters.extend(facts.iter().filter(|(is_other, _)| *is_other).map(|(_, what)| (*what).to_owned()));
        let shown = Shown { title: ours.title() != theirs.title(), kbs: ours.kbs != theirs.kbs };
        Self { matters, shown }
    }

    /// What differs of the text, where what decides is the same.
    pub(in crate::sync) fn text_alone(&self) -> Option<Shown> {
        self.matters.is_empty().then_some(self.shown)
    }

    /// For the history.
    pub(in crate::sync) fn in_words(&self) -> String {
        if let Some(shown) = self.text_alone() {
            return shown.in_words();
        }
        let mut said = first(&self.matters);
        said.extend(self.shown.words().map(|what| format!("{what} differs, too")));
        said.join("; ")
    }
}

/// What a revision has that Microsoft does not give out, and that Microsoft's newest revision of the same update has not: files by
/// their digests, and members by their ids, since those of another revision are other revisions. Nothing where there is none.
pub(in crate::sync) fn unlike(held: &Update, newest: &Update) -> Option<String> {
    let files: BTreeMap<_, &File> = read::files(newest).map(|file| (file.sha1, file)).collect();
    let members: BTreeSet<UpdateId> = newest.members().map(|member| member.id).collect();
    let mut found = Vec::new();
    for file in read::files(held) {
        let contradicts =
            |known: &&File| known.size != file.size || (file.sha256.is_some() && file.sha256 != known.sha256);
        match files.get(&file.sha1) {
            None => found.push(format!("that has no file {} ({})", file.sha1, file.name)),
            Some(known) if contradicts(known) => {
                found.push(format!("file {} has another SHA-256 or size there", file.sha1));
            }
            Some(_) => {}
        }
    }
    let others = held.members().filter(|member| !members.contains(&member.id));
    found.extend(others.map(|member| format!("that does not bundle {}", member.id)));
    (!found.is_empty()).then(|| first(&found).join("; "))
}

/// The first few of many, and how many more there are.
fn first(all: &[String]) -> Vec<String> {
    let mut said: Vec<String> = all.iter().take(NAMED_MAX).cloned().collect();
    if all.len() > said.len() {
        said.push(format!("and {} more", all.len() - said.len()));
    }
    said
}

/// How many documents of a catalog are the same, and how many differ in their text alone, or in more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sync) struct Sample {
    /// The same, now or when they were compared before.
    pub(in crate::sync) same: u64,
    /// Another text, and nothing that matters.
    pub(in crate::sync) text: u64,
    /// More than that.
    pub(in crate::sync) more: u64,
}

impl Sample {
    /// How many there are.
    pub(in crate::sync) fn all(&self) -> u64 {
        self.same + self.text + self.more
    }

    /// Whether most of it is another rendering of the same: somebody wrote all documents anew. Who wants to do harm changes what
    /// matters, and few documents.
    pub(in crate::sync) fn is_another_rendering(&self) -> bool {
        self.all() >= SAMPLE_MIN && self.text * 2 > self.all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::{Sha1, Sha256};
    use crate::model::update::{Driver, Eula, Identity, Impact, Kind, Members, Reboot, Severity, Text};

    type Change<'a> = &'a dyn Fn(&mut Update);

    fn update() -> Update {
        let identity = Identity { id: UpdateId::new([1; 16]), revision: 7 };
        let text = Text { language: "en".into(), title: "One".into(), description: String::new() };
        Update { texts: vec![text], ..Update::new(identity, Kind::Software) }
    }

    #[test]
    fn what_matters_is_told_apart_from_the_text() {
        let ours = update();
        let sense = |rules, handling| Sense { rules: [rules; 32], handling: [handling; 32] };
        let one = sense(1, 1);
        let alike = Some((&one, &one));
        let same = Difference::between(&ours, &update(), alike);
        assert!(
            same.text_alone().is_some() && same.in_words().starts_with("its text alone differs; its files"),
            "{same:?}"
        );
        let mut titled = update();
        titled.texts[0].title = "Two".into();
        let text = Difference::between(&ours, &titled, alike);
        assert!(text.text_alone().is_some() && text.in_words().contains("alone differs (its title)"), "{text:?}");
        let rules = Difference::between(&ours, &titled, Some((&sense(1, 1), &sense(2, 1))));
        assert_eq!(rules.in_words(), "its rules differ; its title differs, too");
        let handling = Difference::between(&ours, &ours, Some((&sense(1, 1), &sense(1, 2))));
        assert_eq!(handling.in_words(), "how it is installed differs");
        let member = Identity { id: UpdateId::new([2; 16]), revision: 1 };
        let mut bundle = update();
        bundle.bundles = vec![Members { any_of: vec![member] }];
        bundle.supersedes = vec![UpdateId::new([3; 16])];
        assert_eq!(
            Difference::between(&ours, &bundle, alike).in_words(),
            "what it bundles differs; what it supersedes differs"
        );
    }

    #[test]
    fn what_cannot_be_compared_or_decides_what_this_node_does_matters() {
        let sense = Sense { rules: [1; 32], handling: [1; 32] };
        let unknown = Difference::between(&update(), &update(), None);
        assert!(unknown.text_alone().is_none() && unknown.in_words().contains("cannot be compared"), "{unknown:?}");
        let licence = Eula { id: UpdateId::new([4; 16]), files: Vec::new() };
        let others: [(&str, Change<'_>); 8] = [
            ("severity", &|of| of.severity = Severity::Critical),
            ("approved by itself", &|of| of.deployable = true),
            ("restarts", &|of| of.reboot = Reboot::Always),
            ("restarts", &|of| of.impact = Impact::Exclusive),
            ("licence", &|of| of.eula = Some(licence.clone())),
            ("languages", &|of| of.languages = vec!["de".into()]),
            ("devices", &|of| of.drivers = vec![Driver::default()]),
            ("date", &|of| of.created = Some(crate::base::time::Timestamp::from_ms(1))),
        ];
        for (what, alter) in others {
            let mut theirs = update();
            alter(&mut theirs);
            let found = Difference::between(&update(), &theirs, Some((&sense, &sense)));
            assert!(found.text_alone().is_none() && found.in_words().contains(what), "{what}: {found:?}");
        }
    }

    #[test]
    fn what_is_unlike_the_newest_is_named() {
        let file = |of: u8, name: &str| File {
            sha1: Sha1::new([of; 20]),
            sha256: Some(Sha256::new([of; 32])),
            name: name.to_owned(),
            size: 10,
            modified: None,
            patching: String::new(),
            encrypted: false,
        };
        let bundle =
            |of: u8, revision| vec![Members { any_of: vec![Identity { id: UpdateId::new([of; 16]), revision }] }];
        let newest = Update { files: vec![file(1, "a"), file(2, "b")], bundles: bundle(5, 8), ..update() };
        let older = Update { files: vec![file(1, "older name")], bundles: bundle(5, 7), ..update() };
        assert_eq!(unlike(&older, &newest), None, "a member is of another revision in another revision");
        let other = Update { files: vec![file(3, "evil.exe")], ..update() };
        assert!(unlike(&other, &newest).is_some_and(|why| why.contains("evil.exe")));
        let lie = File { sha256: Some(Sha256::new([9; 32])), ..file(1, "a") };
        assert!(unlike(&Update { files: vec![lie], ..update() }, &newest).is_some());
        let silent = File { sha256: None, ..file(1, "a") };
        assert_eq!(unlike(&Update { files: vec![silent], ..update() }, &newest), None, "older ones have a SHA-1 alone");
        let member = Update { bundles: bundle(6, 7), ..update() };
        assert!(unlike(&member, &newest).is_some_and(|why| why.contains("06060606")));
    }

    #[test]
    fn most_of_many_with_another_text_are_another_rendering() {
        let sample = |same, text, more| Sample { same, text, more }.is_another_rendering();
        assert!(sample(0, 20, 0) && sample(400, 600, 3));
        assert!(!sample(500, 500, 0) && !sample(0, 5, 600), "half of them, and more than their texts");
        assert!(!sample(0, 19, 0), "too few to say");
    }
}
