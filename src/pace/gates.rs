//! All gates, by what they stand for. Pure.

use std::collections::HashMap;
use std::time::Duration;

use crate::pace::class::Class;
use crate::pace::gate::Gate;
use crate::pace::limit::Limit;
use crate::pace::ticket::{Part, Stage};

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Gates {
    /// One for each class, in the order of [`Class::ALL`]; that of the link stands at [`Class::Upstream`].
    pub(super) classes: [Gate; Class::ALL.len()],
    /// What nobody waits for goes through it.
    pub(super) give_way: Gate,
    /// Those of networks, as clients of them come.
    pub(super) parts: HashMap<Part, Gate>,
}

impl Gates {
    /// All of them open.
    pub(super) fn open() -> Self {
        let open = || Gate::new(Limit::Unlimited, Duration::ZERO);
        Self { classes: std::array::from_fn(|_| open()), give_way: open(), parts: HashMap::new() }
    }

    /// The one of a stage; `None` for a part of a network that has none any more.
    pub(super) fn of(&mut self, stage: Stage) -> Option<&mut Gate> {
        match stage {
            Stage::Part(part) => self.parts.get_mut(&part),
            Stage::Class(class) => Some(&mut self.classes[class.index()]),
            Stage::GiveWay => Some(&mut self.give_way),
            Stage::Link => Some(&mut self.classes[Class::Upstream.index()]),
        }
    }
}
