//! The settings as the control plane and `config show` tell them: what is in force, where it comes from, and what stands
//! in the configuration and waits for a reload or the next start.

use crate::admin::view::{NextValue, Setting};
use crate::app::Loaded;
use crate::app::config::keys;
use crate::app::config::kinds::in_form;
use crate::model::settings::{self, Effect, Layer, Raw, Settings};

/// What a node that does not run would be started with.
pub(crate) fn rows(settings: &Settings) -> Vec<Setting> {
    settings.iter().map(|(key, setting)| row(key, setting)).collect()
}

/// What is in force in a node that was `started` with these and `reloaded` to those; and what `now` says, the files as they
/// are at this moment, where they can be read.
pub(crate) fn in_force(started: &Settings, reloaded: &Settings, now: Option<&Loaded>) -> Vec<Setting> {
    let now = now.map(|now| {
        let mut now = now.settings().clone();
        for layer in [Layer::Local, Layer::Parent] {
            now.keep_layer(layer, reloaded);
        }
        now
    });
    let one = |(key, last): (&str, &settings::Setting)| {
        let live = last.effect() == Effect::Live;
        let force = if live { last } else { started.get(key).unwrap_or(last) };
        let latest = now.as_ref().and_then(|now| now.get(key)).unwrap_or(last);
        // As they are told: the same value in another form is no other one.
        let next = (value(latest) != value(force)).then(|| NextValue {
            value: value(latest),
            place: place(latest),
            when: if live { "reload" } else { "restart" }.to_owned(),
        });
        Setting { next, ..row(key, force) }
    };
    reloaded.iter().map(one).collect()
}

fn row(key: &str, setting: &settings::Setting) -> Setting {
    let origin = setting.origin();
    Setting {
        key: key.to_owned(),
        value: value(setting),
        layer: format!("{:?}", origin.layer).to_ascii_lowercase(),
        place: place(setting),
        locked: origin.layer.locks(),
        help: keys::key(key)
            .map(|key| key.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" "))
            .unwrap_or_default(),
        next: None,
    }
}

/// Its value, as the API tells it.
fn value(setting: &settings::Setting) -> Raw {
    in_form(setting.value(), setting.default_value())
}

/// Where its value comes from; empty for a default.
fn place(setting: &settings::Setting) -> String {
    let origin = setting.origin();
    if origin.layer == Layer::Default { String::new() } else { origin.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::Origin;

    fn settings(values: &[(&str, i64)]) -> Settings {
        let mut settings = Settings::default();
        settings.define("a.live", settings::Setting::new(Raw::Number(0), Effect::Live));
        settings.define("a.later", settings::Setting::new(Raw::Number(0), Effect::Restart));
        for (key, value) in values {
            settings.set(key, Origin::place(Layer::File, "w.toml:1"), Raw::Number(*value)).unwrap();
        }
        settings
    }

    #[test]
    fn what_only_a_start_takes_waits_for_one() {
        let started = settings(&[]);
        let rows = in_force(&started, &settings(&[("a.live", 1), ("a.later", 1)]), None);
        let row = |key: &str| rows.iter().find(|row| row.key == key).unwrap();
        assert_eq!((&row("a.live").value, &row("a.live").next), (&Raw::Number(1), &None));
        let waiting = NextValue { value: Raw::Number(1), place: "w.toml:1".into(), when: "restart".into() };
        let later = row("a.later");
        assert_eq!((&later.value, later.place.as_str(), &later.next), (&Raw::Number(0), "", &Some(waiting)));
        assert!(in_force(&started, &started, None).iter().all(|row| row.next.is_none()));
    }
}
