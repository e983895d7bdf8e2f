//! An endpoint as its agent behaves: it holds what it was sent, evaluates it, tells what it holds, and asks until it is told nothing that
//! could lead to more.

use std::collections::{BTreeMap, BTreeSet};

use waystation::fleet::scan::{self, Answer, Page, Request};
use waystation::fleet::view::{Entry, View};
use waystation::model::update::UpdateId;

#[derive(Clone, Debug, Default)]
pub(crate) struct Agent {
    /// What it holds, as it was told last.
    pub(crate) held: BTreeMap<u32, Entry>,
    pub(crate) mark: u64,
    /// By the number of a bundle: its parts, where it is taken for installed only with all of these.
    pub(crate) parts: BTreeMap<u32, Vec<UpdateId>>,
    /// Numbers that it was ever sent in the scan under way.
    sent: BTreeSet<u32>,
}

impl Agent {
    /// One that takes bundles for installed with their parts.
    pub(crate) fn with_parts(parts: BTreeMap<u32, Vec<UpdateId>>) -> Self {
        Self { parts, ..Self::default() }
    }

    /// What of it is installed: what is in truth, and a bundle with its parts.
    fn present(&self, truth: &BTreeSet<UpdateId>) -> BTreeSet<UpdateId> {
        let mut present = BTreeSet::new();
        loop {
            let before = present.len();
            for entry in self.held.values().filter(|entry| truth.contains(&entry.identity.id)) {
                if self.parts.get(&entry.number).into_iter().flatten().all(|part| present.contains(part)) {
                    present.insert(entry.identity.id);
                }
            }
            if present.len() == before {
                return present;
            }
        }
    }

    /// What it tells: installed and no leaf; all else.
    pub(crate) fn lists(&self, truth: &BTreeSet<UpdateId>) -> (Vec<u32>, Vec<u32>) {
        let present = self.present(truth);
        self.held.values().map(|entry| (entry.number, !entry.is_leaf && present.contains(&entry.identity.id))).fold(
            (vec![], vec![]),
            |(mut installed, mut other), (number, is_installed)| {
                if is_installed {
                    installed.push(number);
                } else {
                    other.push(number);
                }
                (installed, other)
            },
        )
    }

    /// Asks once; whether it will ask again.
    pub(crate) fn ask(
        &mut self,
        view: &View,
        whole: Option<&View>,
        truth: &BTreeSet<UpdateId>,
        page: Page,
    ) -> (Answer, bool) {
        let (installed, cached) = self.lists(truth);
        let request = Request { installed: &installed, cached: &cached, mark: self.mark, two_groups: true };
        let answer = scan::software(view, whole, &request, page).unwrap();
        for entry in &answer.new {
            assert!(self.held.insert(entry.number, *entry).is_none(), "{} is held", entry.number);
            assert!(self.sent.insert(entry.number), "{} was sent before in this scan", entry.number);
        }
        for number in answer.out_of_scope.iter().chain(&answer.deployed_out_of_scope) {
            assert!(self.held.remove(number).is_some() && !answer.new.iter().any(|entry| entry.number == *number));
        }
        for entry in &answer.changed {
            assert!(self.held.insert(entry.number, *entry).is_some(), "{} changed and is not held", entry.number);
        }
        let mut updates = BTreeSet::new();
        assert!(self.held.values().all(|entry| updates.insert(entry.identity.id)), "two revisions of one update");
        self.mark = answer.mark;
        let goes_on = answer.truncated || answer.new.iter().any(|entry| !entry.is_leaf);
        (answer, goes_on)
    }

    /// A scan; says how many rounds it took.
    pub(crate) fn scan(&mut self, view: &View, truth: &BTreeSet<UpdateId>, page: Page) -> usize {
        self.begin();
        self.go_on(view, truth, page)
    }

    /// A scan begins.
    pub(crate) fn begin(&mut self) {
        self.sent.clear();
    }

    /// The rest of a scan.
    pub(crate) fn go_on(&mut self, view: &View, truth: &BTreeSet<UpdateId>, page: Page) -> usize {
        let mut rounds = 1;
        while self.ask(view, None, truth, page).1 {
            rounds += 1;
            assert!(rounds < 1000, "it never ends");
        }
        rounds
    }
}
