//! What is in force and why, for people.

use std::fmt::{self, Write};

use crate::base::time::Timestamp;
use crate::pace::class::Class;
use crate::pace::limit::Limit;
use crate::pace::schedule::Standing;
use crate::pace::zone::Zone;

/// The governor at one time.
#[derive(Clone, Debug)]
pub struct Report {
    /// The site's time zone.
    pub zone: Zone,
    /// When it was looked at.
    pub now: Timestamp,
    /// Each class, in the order of [`Class::ALL`].
    pub classes: Vec<ClassReport>,
    /// Each network that has rules, the longest prefixes first.
    pub networks: Vec<NetworkReport>,
    /// Whether the background gives way.
    pub give_way: bool,
    /// How fast the background may go while it does, in bytes a second; `None` where nothing holds it back.
    pub gives_way_to: Option<u64>,
}

/// One class.
#[derive(Clone, Debug)]
pub struct ClassReport {
    /// Which.
    pub class: Class,
    /// What is in force.
    pub standing: Standing,
    /// Flows that wait for their turn.
    pub waiting: usize,
    /// Body bytes since the start: all that were fetched; of answers those that a limit held for.
    pub bytes: u64,
}

/// One network that has rules.
#[derive(Clone, Debug)]
pub struct NetworkReport {
    /// The network, and how it is divided.
    pub network: String,
    /// What is in force for each part of it.
    pub standing: Standing,
    /// Parts that have a bucket now.
    pub parts: usize,
    /// Flows that wait for their turn.
    pub waiting: usize,
}

/// A class of which nothing flows for now.
#[derive(Clone, Debug)]
pub struct Pause {
    /// Which.
    pub class: Class,
    /// When that changes, if ever.
    pub until: Option<Timestamp>,
    /// The site's time zone.
    pub zone: Zone,
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is paused", self.class.word())?;
        match self.until {
            Some(until) => write!(f, " until {} ({})", self.zone.show(until), self.zone),
            None => Ok(()),
        }
    }
}

impl Standing {
    /// Which rule is in force, until when, and what comes then: `20 Mbit/s by "08:00-18:00 Mon-Fri: 20 Mbit/s" until Fri
    /// 2026-11-20 18:00, then unlimited`.
    pub fn explain(&self, zone: &Zone) -> String {
        let mut text = self.limit.to_string();
        // Writing to a String cannot fail.
        match &self.rule {
            Some(rule) if *rule != text => {
                let _ = write!(text, " by \"{rule}\"");
            }
            None if self.until.is_some() => text.push_str(", since no rule covers this time,"),
            _ => {}
        }
        match self.until {
            Some(until) => {
                let _ = write!(text, " until {} ({zone}), then {}", zone.show(until), self.then);
            }
            None if self.limit == Limit::Unlimited && self.rule.is_none() => {}
            None => text.push_str(", always"),
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::schedule::Schedule;

    #[test]
    fn says_which_rule_is_in_force_and_what_comes_next() {
        let zone = Zone::parse("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        // Friday, 20 November 2026, 12:00 UTC.
        let now = Timestamp::from_ms(1_795_176_000_000);
        let says = |rules: &[&str]| Schedule::parse(rules).unwrap().standing(&zone, now).explain(&zone);
        assert_eq!(
            says(&["08:00-18:00 Mon-Fri: 20 Mbit/s"]),
            "20 Mbit/s by \"08:00-18:00 Mon-Fri: 20 Mbit/s\" until Fri 2026-11-20 18:00 (CET-1CEST,M3.5.0,M10.5.0/3), \
             then unlimited"
        );
        assert_eq!(
            says(&["Sat: paused"]),
            "unlimited, since no rule covers this time, until Sat 2026-11-21 00:00 (CET-1CEST,M3.5.0,M10.5.0/3), then paused"
        );
        assert_eq!(says(&["20 Mbit/s"]), "20 Mbit/s, always");
        assert_eq!(says(&[]), "unlimited");
    }
}
