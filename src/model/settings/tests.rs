//! Layers upon each other, and what locks what.

use super::*;

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.define("fill.complete", Setting::new("demand".into(), Effect::Live));
    settings.define("fill.verify", Setting::new("stream".into(), Effect::Live));
    settings.define("store.path", Setting::new("/x".into(), Effect::Startup));
    settings
}

#[test]
fn the_highest_layer_wins_whatever_the_order_of_setting() {
    let mut settings = settings();
    let file = Origin::place(Layer::File, "waystation.toml:12");
    settings.set("fill.complete", file, "always".into()).unwrap();
    let local = Origin::recorded(Layer::Local, "kim", Timestamp::from_ms(0));
    settings.set("fill.complete", local.clone(), "never".into()).unwrap();
    let setting = settings.get("fill.complete").unwrap();
    assert_eq!(setting.value(), &"always".into());
    assert_eq!(setting.hidden().next().unwrap().1, &"never".into());
    assert_eq!(
        settings.may_set("fill.complete", Layer::Local).unwrap_err().to_string(),
        "fill.complete is locked by waystation.toml:12: change it there"
    );
    assert_eq!(settings.may_set("fill.complete", Layer::Flag), Ok(()));
    assert_eq!(settings.may_set("fill.verify", Layer::Local), Ok(()));
    assert_eq!(local.to_string(), "run time, by kim, at 1970-01-01T00:00:00Z");
}

#[test]
fn what_the_start_needs_is_not_set_at_run_time() {
    let mut settings = settings();
    let local = Origin::recorded(Layer::Local, "kim", Timestamp::default());
    assert!(matches!(settings.set("store.path", local, "/y".into()), Err(SettingError::Startup { .. })));
    assert!(matches!(settings.may_set("store.path", Layer::Parent), Err(SettingError::Startup { .. })));
}

#[test]
fn a_wrong_name_is_answered_with_the_near_one() {
    let mut settings = settings();
    let error = settings.set("fill.complet", Origin::place(Layer::Flag, "--set"), "x".into()).unwrap_err();
    assert_eq!(error.to_string(), "there is no setting \"fill.complet\"; did you mean \"fill.complete\"?");
    let near = |key: &str| match settings.may_set(key, Layer::Local) {
        Err(SettingError::Unknown { near, .. }) => near,
        other => panic!("{key}: {other:?}"),
    };
    assert_eq!(near("fill.bogus"), None, "the section alone makes nothing alike");
    assert_eq!(near("fil.verify").as_deref(), Some("fill.verify"));
    assert_eq!(nearest("max-size", ["max_size", "min_free"].into_iter()), Some("max_size"));
    assert_eq!(nearest("zzz", ["max_size", "min_free"].into_iter()), None);
    assert_eq!(distance("kitten", "sitting"), 3);
    assert_eq!((distance("", "abc"), distance("abc", "")), (3, 3));
}

#[test]
fn a_reload_keeps_the_run_time_layer_and_tells_what_changed() {
    let mut old = settings();
    old.set("fill.verify", Origin::recorded(Layer::Local, "kim", Timestamp::default()), "strict".into()).unwrap();
    let mut new = settings();
    new.set("fill.complete", Origin::place(Layer::File, "f:1"), "always".into()).unwrap();
    new.keep_layer(Layer::Local, &old);
    assert_eq!(new.get("fill.verify").unwrap().value(), &"strict".into());
    assert_eq!(new.changed(&old).map(|(key, _)| key).collect::<Vec<_>>(), ["fill.complete"]);
}

#[test]
fn is_written_as_toml_and_kept_as_json() {
    let raw = Raw::List(vec!["a\"b\\".into(), "c\n".into()]);
    let text = format!("x = {raw}");
    let parsed: toml::Table = text.parse().unwrap();
    assert_eq!(parsed["x"].as_array().unwrap()[0].as_str(), Some("a\"b\\"));
    assert_eq!(parsed["x"].as_array().unwrap()[1].as_str(), Some("c\n"));
    let recorded = Recorded { value: Raw::Number(3), by: "kim".into(), at: Timestamp::from_ms(7) };
    let json = serde_json::to_string(&recorded).unwrap();
    assert_eq!(json, r#"{"value":3,"by":"kim","at":7}"#);
    assert_eq!(serde_json::from_str::<Recorded>(&json).unwrap(), recorded);
}
