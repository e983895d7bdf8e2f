//! What is wrong with a rule. All of it is the fault of whoever wrote the rule, and none of it is mended by a retry.

/// A text that is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No rate, or one that cannot be meant.
    #[error("{text:?} is no rate: {why}; write it like \"20 Mbit/s\", \"2.5 MB/s\", \"512 KiB/s\" or \"unlimited\"")]
    Rate {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// No window of the week.
    #[error("{text:?} is no window: {why}; write it like \"08:00-18:00 Mon-Fri\", \"22:00-06:00\" or \"Sat-Sun\"")]
    Window {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// No network with a rate.
    #[error(
        "{text:?} is no rule for a network: {why}; write it like \"10.1.0.0/16: 50 Mbit/s\" or \
         \"10.0.0.0/8 each /24: 08:00-18:00 Mon-Fri: 5 Mbit/s\""
    )]
    Network {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A rule that no time is left for.
    #[error("{text:?} can never apply: {before:?} stands before it and covers all times; put it last")]
    Unreachable {
        /// The rule.
        text: String,
        /// The one without a window before it.
        before: String,
    },
    /// A class that somebody waits for cannot be paused.
    #[error(
        "{class} cannot be paused, since Windows avoids a node that falls silent for 15 minutes; write a rate, or pause \
         prefetch and sync instead"
    )]
    Unpausable {
        /// Its key.
        class: &'static str,
    },
    /// More rules than anybody means.
    #[error("{count} rules are more than {max}")]
    Many {
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// No time zone.
    #[error(
        "{text:?} is no time zone: {why}; write an IANA name such as \"Europe/Vienna\" (the package tzdata has them), a POSIX \
         one such as \"CET-1CEST,M3.5.0,M10.5.0/3\", or \"\" for the machine's own"
    )]
    Zone {
        /// What was written.
        text: String,
        /// What the time zone database says.
        why: String,
    },
}
