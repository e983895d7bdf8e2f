//! Bandwidth, as the API tells it and the command line prints it.

use serde::{Deserialize, Serialize};

use crate::admin::view::Time;
use crate::model::settings::Raw;
use crate::pace::schedule::Standing;
use crate::pace::{Limit, Zone};

/// `GET /api/v1/bandwidth`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Whose clock the windows mean.
    pub timezone: String,
    /// The time zone as it was set.
    #[serde(default)]
    pub timezone_set: Set,
    /// `upstream`, `sync`, `prefetch`, `definitions`, `demand`, `clients` and `nodes`.
    pub classes: Vec<Class>,
    /// The networks that have rules, the longest prefixes first.
    pub networks: Vec<Network>,
    /// The rules of networks as they were set.
    pub networks_set: Set,
    /// Whether sync, prefetch and definitions slow down when origins answer late.
    pub give_way: bool,
    /// The same as it was set.
    #[serde(default)]
    pub give_way_set: Set,
    /// How fast these may go just now because of that, in bytes a second; absent where nothing holds them back.
    pub background_held_to: Option<u64>,
}

/// One class of traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// Its word.
    pub class: String,
    /// What holds now.
    #[serde(flatten)]
    pub in_force: InForce,
    /// Flows that wait for their turn.
    pub waiting: u64,
    /// Body bytes since the start: all that were fetched; of answers those that a limit held for.
    pub bytes: u64,
    /// Its rules as they were set.
    pub set: Set,
}

/// One network with rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The network, and how it is divided.
    pub network: String,
    /// What holds now for each part.
    #[serde(flatten)]
    pub in_force: InForce,
    /// Parts that have a bucket now.
    pub parts: u64,
    /// Flows that wait for their turn.
    pub waiting: u64,
}

/// What holds at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// `unlimited`, `paused`, or a rate.
    pub limit: String,
    /// The rate, in bytes a second.
    pub bytes_per_s: Option<u64>,
    /// The rule that says so; absent where none covers this time.
    pub rule: Option<String>,
    /// When another rule will hold, if ever.
    pub until: Option<Time>,
    /// What it will say.
    pub then: Option<String>,
    /// All of this in a sentence, in the site's time.
    pub text: String,
}

impl Bandwidth {
    /// The value of one key of `[bandwidth]` as it was set, where there is such a key.
    pub fn set(&self, key: &str) -> Option<&Set> {
        match key {
            "timezone" => Some(&self.timezone_set),
            "give_way" => Some(&self.give_way_set),
            "networks" => Some(&self.networks_set),
            class => self.classes.iter().find(|row| row.class == class).map(|row| &row.set),
        }
    }
}

impl InForce {
    /// As the governor has it.
    pub fn of(standing: &Standing, zone: &Zone) -> Self {
        Self {
            limit: standing.limit.to_string(),
            bytes_per_s: standing.limit.rate(),
            rule: standing.rule.clone(),
            until: standing.until.map(Time),
            then: standing.until.map(|_| standing.then.to_string()),
            text: standing.explain(zone),
        }
    }

    /// Whether anything is held back, now or at another time.
    pub fn is_of_interest(&self) -> bool {
        self.limit != Limit::Unlimited.to_string() || self.until.is_some()
    }
}

/// A value of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// The value, as JSON has it.
    pub value: Raw,
    /// The layer or the place that it comes from.
    pub from: String,
    /// The layer alone, as in the settings: `local` where it was set at run time.
    #[serde(default)]
    pub layer: String,
    /// Whether a layer above the run-time settings fixes it.
    pub locked: bool,
}
