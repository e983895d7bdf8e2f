//! What flows are told apart by.

/// A kind of traffic with a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// All that is fetched from above, whatever for: the site's own link.
    Upstream,
    /// The catalog.
    Sync,
    /// What is fetched while no endpoint waits for it: prefetches, but for files of definition updates, and the rest of a payload.
    Prefetch,
    /// Definition updates: lists and documents of their lane, and their files while no endpoint waits for them.
    Definitions,
    /// What endpoints wait for.
    Demand,
    /// Answers to endpoints.
    Clients,
    /// Answers to child nodes.
    Nodes,
}

impl Class {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 7] =
        [Self::Upstream, Self::Sync, Self::Prefetch, Self::Definitions, Self::Demand, Self::Clients, Self::Nodes];

    /// The word of it in settings, metrics and answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Sync => "sync",
            Self::Prefetch => "prefetch",
            Self::Definitions => "definitions",
            Self::Demand => "demand",
            Self::Clients => "clients",
            Self::Nodes => "nodes",
        }
    }

    /// The class of that word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.word() == word)
    }

    /// Whether nobody waits for it, so that it may be paused and gives way to others.
    pub const fn is_background(self) -> bool {
        matches!(self, Self::Sync | Self::Prefetch | Self::Definitions)
    }

    /// Whether it comes from above.
    pub const fn is_fetched(self) -> bool {
        matches!(self, Self::Upstream | Self::Sync | Self::Prefetch | Self::Definitions | Self::Demand)
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    pub(crate) const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The class at that index; the last one's neighbours do not exist.
    pub(crate) fn at(index: u8) -> Self {
        Self::ALL.get(usize::from(index)).copied().unwrap_or(Self::Demand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_indices_and_bits_agree() {
        for (index, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!((Class::of(class.word()), class.index()), (Some(class), index));
            assert_eq!((Class::at(index as u8), class.bit()), (class, 1 << index));
        }
        assert_eq!(Class::of("uploads"), None);
    }
}
