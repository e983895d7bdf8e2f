//! Bandwidth: rules by window and by network, and the site's time zone.

use crate::app::config::kinds::{Kind, items, text};
use crate::model::settings::Raw;
use crate::pace::network::NetworkRule;
use crate::pace::{Class, Config, Schedule, Zone};

/// Rules for what nobody waits for, which may be paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackgroundRules(pub(crate) Schedule);

impl Kind for BackgroundRules {
    const LIST: bool = true;
    fn expected() -> String {
        "one or several rules, the first that covers the time holds, such as \"20 Mbit/s\" or [\"08:00-18:00 Mon-Fri: \
         paused\", \"unlimited\"]"
            .into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        Schedule::parse(&items(raw)?).map(Self).map_err(|error| error.to_string())
    }
}

/// Rules for what somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SteadyRules(pub(crate) Schedule);

impl Kind for SteadyRules {
    const LIST: bool = true;
    fn expected() -> String {
        "one or several rules, the first that covers the time holds, such as \"2.5 MB/s\" or [\"08:00-18:00 Mon-Fri: 20 \
         Mbit/s\", \"unlimited\"]"
            .into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        let schedule = Schedule::parse(&items(raw)?).map_err(|error| error.to_string())?;
        // Any class of this kind refuses a pause with the same words.
        Config::default().set(Class::Demand, schedule.clone()).map_err(|_| {
            "it cannot be paused, since Windows avoids a node that falls silent for 15 minutes; prefetch and sync can be"
                .to_owned()
        })?;
        Ok(Self(schedule))
    }
}

/// Rules by the client's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkRules(pub(crate) Vec<NetworkRule>);

impl Kind for NetworkRules {
    const LIST: bool = true;
    fn expected() -> String {
        "networks with rules, such as [\"10.1.0.0/16: 50 Mbit/s\", \"10.0.0.0/8 each /24: 08:00-18:00 Mon-Fri: 5 Mbit/s\"]"
            .into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        NetworkRule::parse_all(&items(raw)?).map(Self).map_err(|error| error.to_string())
    }
}

/// The site's time zone, and as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SiteZone(pub(crate) Zone, pub(crate) String);

impl Kind for SiteZone {
    fn expected() -> String {
        "a time zone such as \"Europe/Vienna\", a POSIX one such as \"CET-1CEST,M3.5.0,M10.5.0/3\", or \"\" for the machine's \
         own"
            .into()
    }
    fn read(raw: &Raw) -> Result<Self, String> {
        let text = text(raw)?;
        Zone::parse(text).map(|zone| Self(zone, text.to_owned())).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_waits_for_is_not_paused() {
        let rules = Raw::List(vec!["08:00-18:00 Mon-Fri: paused".into(), "20 Mbit/s".into()]);
        assert!(BackgroundRules::read(&rules).is_ok());
        assert!(SteadyRules::read(&rules).unwrap_err().contains("prefetch and sync can be"));
        assert_eq!(SteadyRules::read(&Raw::none()).unwrap().0, Schedule::default());
        assert!(NetworkRules::read(&"10.0.0.0/8: 20 Mbit/s".into()).is_ok());
        assert!(NetworkRules::read(&"10.0.0.0/8: fast".into()).unwrap_err().contains("no rate"));
        assert!(SiteZone::read(&"Middle/Earth".into()).is_err());
    }
}
