//! Environment and flags: texts in, values of keys out. Pure.

use std::ffi::OsString;

use crate::app::Flags;
use crate::app::config::file::{Given, unknown_key};
use crate::app::config::keys::{self, Key};
use crate::app::error::Problem;
use crate::model::settings::{Raw, nearest};

/// What the variables' names begin with.
const PREFIX: &str = "WAYSTATION__";

/// What the names of those begin with that may have been meant as settings, in any case.
const LIKE_PREFIX: &str = "WAYSTATION_";

/// The values that variables give: `WAYSTATION__SECTION__KEY`. A variable whose name is nearly that of a key is refused;
/// all others (`WAYSTATION_PORT_3698_TCP`, as Kubernetes sets beside a service of the name) are none of ours.
pub(crate) fn environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> Vec<Given> {
    let mut given = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str() else { continue };
        let place: String = name.chars().take(120).collect();
        if !name.starts_with(PREFIX) {
            if let Some(meant) = meant(name) {
                let what = format!(
                    "no setting is read from it; the name of a variable is WAYSTATION__SECTION__KEY, here {meant}"
                );
                problems.push(Problem { place, what });
            }
            continue;
        }
        let rest = name[PREFIX.len()..].to_ascii_lowercase();
        let Some((section, rest)) = rest.split_once("__") else {
            let what = "the name of a variable is WAYSTATION__SECTION__KEY, such as WAYSTATION__STORE__MAX_SIZE";
            problems.push(Problem { place, what: what.into() });
            continue;
        };
        let Some(value) = value.to_str() else {
            problems.push(Problem { place, what: "its value is not UTF-8".into() });
            continue;
        };
        take(section, rest, value, place, &mut given, problems);
    }
    given
}

/// The variable that somebody meant who wrote `name`, which does not begin as ours do: other underscores, small letters, a
/// key without its section, a slip of the pen.
fn meant(name: &str) -> Option<String> {
    let front = name.get(..LIKE_PREFIX.len()).filter(|front| front.eq_ignore_ascii_case(LIKE_PREFIX))?;
    let rest = name[front.len()..].to_ascii_lowercase();
    let parts: Vec<_> = rest.split(['_', '.', '-']).filter(|part| !part.is_empty()).collect();
    let flat = parts.join("_");
    let variable = |path: &str| format!("WAYSTATION__{}", path.to_ascii_uppercase().replace('.', "__"));
    if let Some(section) = parts.first().and_then(|first| keys::section(first)) {
        let name = nearest(&parts[1..].join("_"), section.keys.iter().map(|key| key.name)).unwrap_or("key");
        return Some(variable(&format!("{}.{name}", section.name)));
    }
    let paths: Vec<(String, &str)> = keys::all().map(|key| (key.path.replace('.', "_"), key.path)).collect();
    let near = nearest(&flat, paths.iter().map(|(flat, _)| flat.as_str()).filter(|path| close(&flat, path)));
    if let Some((_, path)) = paths.iter().find(|(path, _)| Some(path.as_str()) == near) {
        return Some(variable(path));
    }
    keys::all().find(|key| key.name.contains('_') && key.name == flat).map(|key| variable(key.path))
}

/// Whether two names have nearly one length: what is much shorter or longer was not meant as the other.
fn close(name: &str, path: &str) -> bool {
    name.len().abs_diff(path.len()) <= 2
}

/// The values that flags give.
pub(crate) fn flags(flags: &Flags, problems: &mut Vec<Problem>) -> Vec<Given> {
    let mut given: Vec<Given> = Vec::new();
    for (path, value) in &flags.set {
        let place = format!("flag for {}", path.chars().take(80).collect::<String>());
        let Some((section, name)) = path.split_once('.') else {
            problems.push(Problem { place, what: "a setting is named section.key, such as store.max_size".into() });
            continue;
        };
        let mut one = Vec::new();
        take(section, name, value, place, &mut one, problems);
        for new in one {
            match (given.iter_mut().find(|old| old.path == new.path), new) {
                // A list can be given by one flag an item.
                (Some(Given { value: Raw::List(old), .. }), Given { value: Raw::List(new), .. }) => old.extend(new),
                (Some(old), new) => *old = new,
                (None, new) => given.push(new),
            }
        }
    }
    let mut direct = |section: &str, name: &str, value: &str, place: &str| {
        take(section, name, value, place.to_owned(), &mut given, problems);
    };
    if let Some(level) = &flags.log {
        direct("log", "level", level, "--log");
    }
    if let Some(format) = flags.log_format {
        direct("log", "format", format.word(), "--log-format");
    }
    if let Some(data) = &flags.data {
        match data.to_str() {
            Some(data) => direct("store", "path", data, "--data"),
            None => problems.push(Problem { place: "--data".into(), what: "the path is not UTF-8".into() }),
        }
    }
    given
}

/// Checks one value and takes it.
fn take(section: &str, name: &str, value: &str, place: String, given: &mut Vec<Given>, problems: &mut Vec<Problem>) {
    let Some(found) = keys::section(section) else {
        let near = nearest(section, keys::SECTIONS.iter().map(|section| section.name));
        let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        let shown: String = section.chars().take(80).collect();
        problems.push(Problem { place, what: format!("there is no section {shown:?}{near}") });
        return;
    };
    let Some(key) = found.keys.iter().find(|key| key.name == name) else {
        problems.push(Problem { place, what: unknown_key(found.name, name) });
        return;
    };
    let value = raw(key, value);
    match key.check(&value) {
        Ok(()) => given.push(Given { path: key.path, place, value }),
        Err(what) => problems.push(Problem { place, what }),
    }
}

/// A text as a list where the key takes one: `a, b` or `["a", "b"]`.
fn raw(key: &Key, value: &str) -> Raw {
    if !key.list {
        return value.into();
    }
    let value = value.trim();
    if value.starts_with('[')
        && let Ok(table) = format!("x = {value}").parse::<toml::Table>()
        && let Some(items) = table.get("x").and_then(toml::Value::as_array)
    {
        let text = |item: &toml::Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
        return Raw::List(items.iter().map(text).collect());
    }
    if value.is_empty() {
        return Raw::List(Vec::new());
    }
    Raw::List(value.split(',').map(|item| item.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Vec<Given>, Vec<String>) {
        let mut problems = Vec::new();
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let given = environment(variables, &mut problems);
        (given, problems.into_iter().map(|problem| format!("{}: {}", problem.place, problem.what)).collect())
    }

    #[test]
    fn variables_name_section_and_key() {
        let (given, problems) = read(&[
            ("WAYSTATION__STORE__MAX_SIZE", "1 TiB"),
            ("WAYSTATION__LISTEN__HTTP", "0.0.0.0:80, [::1]:3698"),
            ("WAYSTATION__ORIGINS__ALLOW", "[\"a.example\", \"b.example\"]"),
            ("WAYSTATION_RECORDED", "/x"),
            ("WAYSTATION_PORT", "tcp://10.0.0.1:3698"),
            ("WAYSTATION_PORT_3698_TCP_ADDR", "10.0.0.1"),
            ("WAYSTATION_SERVICE_HOST", "10.0.0.1"),
            ("WAYSTATION_SERVICE_PORT_HTTP", "3698"),
            ("HOME", "/root"),
        ]);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(given[0].value, "1 TiB".into());
        assert_eq!(given[1].value, Raw::List(vec!["0.0.0.0:80".into(), "[::1]:3698".into()]));
        assert_eq!(given[2].value, Raw::List(vec!["a.example".into(), "b.example".into()]));
    }

    #[test]
    fn unknown_variables_are_refused_with_the_near_name() {
        let (_, problems) = read(&[
            ("WAYSTATION__STORE__MAXSIZE", "1"),
            ("WAYSTATION__STOR__MAX_SIZE", "1"),
            ("WAYSTATION__STORE", "1"),
            ("WAYSTATION__STORE__MAX_SIZE", "lots"),
        ]);
        assert_eq!(
            problems[0],
            "WAYSTATION__STORE__MAXSIZE: there is no key \"maxsize\" in [store]; did you mean \"max_size\"?"
        );
        assert_eq!(problems[1], "WAYSTATION__STOR__MAX_SIZE: there is no section \"stor\"; did you mean \"store\"?");
        assert!(problems[2].contains("WAYSTATION__SECTION__KEY"));
        assert!(problems[3].contains("store.max_size is \"lots\"; expected a size"));
    }

    #[test]
    fn a_variable_that_was_meant_as_a_setting_is_refused() {
        for (name, meant) in [
            ("WAYSTATION_STORE__MAX_SIZE", "WAYSTATION__STORE__MAX_SIZE"),
            ("WAYSTATION_STORE_MAX_SIZE", "WAYSTATION__STORE__MAX_SIZE"),
            ("WAYSTATION_MAX_SIZE", "WAYSTATION__STORE__MAX_SIZE"),
            ("WAYSTATION_STOER_MAX_SIZE", "WAYSTATION__STORE__MAX_SIZE"),
            ("waystation__store__max_size", "WAYSTATION__STORE__MAX_SIZE"),
            ("WAYSTATION_LISTEN_FROB", "WAYSTATION__LISTEN__KEY"),
        ] {
            let (given, problems) = read(&[(name, "1 GiB")]);
            assert_eq!((given.len(), problems.len()), (0, 1), "{name}: {problems:?}");
            assert!(problems[0].starts_with(name) && problems[0].ends_with(&format!("here {meant}")), "{problems:?}");
        }
    }

    #[test]
    fn flags_of_a_list_add_up() {
        let set = |path: &str, value: &str| (path.to_owned(), value.to_owned());
        let all = Flags {
            set: vec![set("listen.http", "1.2.3.4:80"), set("listen.http", "1.2.3.4:81"), set("fill.verify", "strict")],
            log: Some("debug".into()),
            ..Flags::default()
        };
        let mut problems = Vec::new();
        let given = flags(&all, &mut problems);
        assert_eq!(problems, []);
        assert_eq!(given[0].value, Raw::List(vec!["1.2.3.4:80".into(), "1.2.3.4:81".into()]));
        assert_eq!((given[2].path, given[2].place.as_str()), ("log.level", "--log"));
    }
}
