//! What is different between a document that is held and Microsoft's of the same revision: what decides which bytes an endpoint takes
//! and when, apart from the text alone. Pure.

use std::collections::BTreeMap;

use crate::model::update::{File, Update};
use crate::sync::read;
use crate::wire::fragments::Sense;

/// Differences of one kind that a reason names.
const NAMED_MAX: usize = 3;

/// Documents that must have been compared before anything is said of all of them.
const SAMPLE_MIN: u64 = 20;

/// What is different, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sync) struct Difference {
    /// In what decides which bytes are run, and where: files, digests, members, supersedence, rules. The weightiest first.
    matters: Vec<String>,
    /// In what is only shown to people.
    shown: Vec<&'static str>,
}

impl Difference {
    /// Between two documents, and between what their rules and handlers mean, where that of both is known.
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
                Some(_) => {}
            }
        }
        for sha1 in right.keys().filter(|sha1| !own.contains_key(sha1)) {
            matters.push(format!("it lacks file {sha1}"));
        }
        let rules = senses.is_some_and(|(ours, theirs)| ours.rules != theirs.rules);
        let handling = senses.is_some_and(|(ours, theirs)| ours.handling != theirs.handling);
        let facts = [
            (ours.identity != theirs.identity, "its identity differs"),
            (ours.publication != theirs.publication, "whether it is expired differs"),
            (!ours.members().eq(theirs.members()), "what it bundles differs"),
            (ours.supersedes != theirs.supersedes, "what it supersedes differs"),
            (rules, "its rules differ"),
            (handling || ours.handler != theirs.handler, "how it is installed differs"),
            (ours.prerequisites != theirs.prerequisites, "its prerequisites differ"),
        ];
        matters.extend(facts.iter().filter(|(is_other, _)| *is_other).map(|(_, what)| (*what).to_owned()));
        let shown = [(ours.title() != theirs.title(), "its title"), (ours.kbs != theirs.kbs, "its KB articles")];
        let shown = shown.iter().filter(|(is_other, _)| *is_other).map(|(_, what)| *what).collect();
        Self { matters, shown }
    }

    /// Whether what decides is the same.
    pub(in crate::sync) fn is_text_alone(&self) -> bool {
        self.matters.is_empty()
    }

    /// For the history.
    pub(in crate::sync) fn in_words(&self) -> String {
        if self.is_text_alone() {
            let what = if self.shown.is_empty() { String::new() } else { format!(" ({})", self.shown.join(", ")) };
            return format!(
                "its text alone differs{what}; its files, digests, members, supersedence and rules are the same"
            );
        }
        let mut said: Vec<String> = self.matters.iter().take(NAMED_MAX).cloned().collect();
        if self.matters.len() > said.len() {
            said.push(format!("and {} more", self.matters.len() - said.len()));
        }
        said.extend(self.shown.iter().map(|what| format!("{what} differs, too")));
        said.join("; ")
    }
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
    use crate::model::update::{Identity, Kind, Members, Text, UpdateId};

    fn update() -> Update {
        let identity = Identity { id: UpdateId::new([1; 16]), revision: 7 };
        let text = Text { language: "en".into(), title: "One".into(), description: String::new() };
        Update { texts: vec![text], ..Update::new(identity, Kind::Software) }
    }

    #[test]
    fn what_matters_is_told_apart_from_the_text() {
        let ours = update();
        let same = Difference::between(&ours, &update(), None);
        assert!(same.is_text_alone() && same.in_words().starts_with("its text alone differs; its files"), "{same:?}");
        let mut titled = update();
        titled.texts[0].title = "Two".into();
        let text = Difference::between(&ours, &titled, None);
        assert!(text.is_text_alone() && text.in_words().contains("alone differs (its title)"), "{text:?}");
        let sense = |rules, handling| Sense { rules: [rules; 32], handling: [handling; 32] };
        let rules = Difference::between(&ours, &titled, Some((&sense(1, 1), &sense(2, 1))));
        assert_eq!(rules.in_words(), "its rules differ; its title differs, too");
        let handling = Difference::between(&ours, &ours, Some((&sense(1, 1), &sense(1, 2))));
        assert_eq!(handling.in_words(), "how it is installed differs");
        let member = Identity { id: UpdateId::new([2; 16]), revision: 1 };
        let mut bundle = update();
        bundle.bundles = vec![Members { any_of: vec![member] }];
        bundle.supersedes = vec![UpdateId::new([3; 16])];
        assert_eq!(
            Difference::between(&ours, &bundle, None).in_words(),
            "what it bundles differs; what it supersedes differs"
        );
    }

    #[test]
    fn most_of_many_with_another_text_are_another_rendering() {
        let sample = |same, text, more| Sample { same, text, more }.is_another_rendering();
        assert!(sample(0, 20, 0) && sample(400, 600, 3));
        assert!(!sample(500, 500, 0) && !sample(0, 5, 600), "half of them, and more than their texts");
        assert!(!sample(0, 19, 0), "too few to say");
    }
}
