//! What the governor is told.

use crate::pace::class::Class;
use crate::pace::error::Error;
use crate::pace::network::NetworkRule;
use crate::pace::schedule::Schedule;
use crate::pace::zone::Zone;

/// All rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Whose clock the windows mean.
    pub zone: Zone,
    /// The rules of each class.
    classes: [Schedule; Class::ALL.len()],
    /// The rules of the clients' networks, the longest prefixes first.
    pub networks: Vec<NetworkRule>,
    /// Whether sync, prefetch and definitions slow down when the way to the origins fills up.
    pub give_way: bool,
}

impl Config {
    /// Without rules for any class.
    pub fn new(zone: Zone, networks: Vec<NetworkRule>, give_way: bool) -> Self {
        Self { zone, networks, give_way, ..Self::default() }
    }

    /// The rules of a class.
    pub fn class(&self, class: Class) -> &Schedule {
        &self.classes[class.index()]
    }

    /// Gives a class its rules. Refused is a pause of what somebody waits for.
    pub fn set(&mut self, class: Class, schedule: Schedule) -> Result<(), Error> {
        if schedule.pauses() && !class.is_background() {
            return Err(Error::Unpausable { class: class.word() });
        }
        self.classes[class.index()] = schedule;
        Ok(())
    }

    /// The same, from texts.
    pub fn with<T: AsRef<str>>(mut self, class: Class, rules: &[T]) -> Result<Self, Error> {
        self.set(class, Schedule::parse(rules)?)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_waits_for_can_be_paused() {
        let paused = |class| Config::default().with(class, &["Mon-Fri: paused"]);
        for class in Class::ALL {
            assert_eq!(paused(class).is_ok(), class.is_background(), "{class:?}");
        }
        assert!(paused(Class::Clients).unwrap_err().to_string().contains("clients cannot be paused"));
    }
}
