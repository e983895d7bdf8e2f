//! The file: TOML in, values with their lines out. Pure.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::app::config::keys::{self, Key};
use crate::app::error::Problem;
use crate::model::settings::{Raw, nearest};

/// A value that a layer outside the node gives to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// `section.key`
    pub(crate) path: &'static str,
    /// The line, the variable, the flag.
    pub(crate) place: String,
    /// What it says.
    pub(crate) value: Raw,
}

/// Reads a file of the name `name`; what is wrong goes into `problems`, and the rest is still read, so that one look
/// mends all of it. Of what is not TOML only the first error is told, since the others often follow from it.
pub(crate) fn read(name: &str, text: &str, problems: &mut Vec<Problem>) -> Vec<Given> {
    let place = |at: usize| format!("{name}:{}", line(text, at));
    let (root, errors) = DeTable::parse_recoverable(text);
    let broken = errors.first().map(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let mut what = format!("this is not TOML: {}", error.message().replace('\n', ", "));
        if behind_a_section(text, at) {
            what.push_str("; [section] stands on a line of its own, and each key on one below it");
        }
        Problem { place: place(at), what }
    });
    let mut unsure = Vec::new();
    let problems = match broken {
        Some(problem) => {
            problems.push(problem);
            &mut unsure
        }
        None => problems,
    };
    let mut given = Vec::new();
    for (name, value) in root.get_ref() {
        let at = place(name.span().start);
        let Some(section) = keys::section(name.get_ref()) else {
            problems.push(Problem { place: at, what: unknown_section(name.get_ref(), value.get_ref()) });
            continue;
        };
        let DeValue::Table(table) = value.get_ref() else {
            let what = format!("{} is a section: write [{}] and its keys below it", section.name, section.name);
            problems.push(Problem { place: at, what });
            continue;
        };
        for (name, value) in table {
            let place = place(name.span().start);
            let Some(key) = section.keys.iter().find(|key| key.name == name.get_ref().as_ref()) else {
                let what = unknown_key(section.name, name.get_ref());
                problems.push(Problem { place, what });
                continue;
            };
            match raw(key, value).and_then(|value| key.check(&value).map(|()| value)) {
                Ok(value) => given.push(Given { path: key.path, place, value }),
                Err(what) => problems.push(Problem { place, what }),
            }
        }
    }
    given
}

/// The line of a byte, from 1.
fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// Whether the byte at `at` stands on one line with a `[section]`, behind it.
fn behind_a_section(text: &str, at: usize) -> bool {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    let line = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_start();
    line.starts_with(b"[") && line.contains(&b']')
}

/// What is said of a section that does not exist.
fn unknown_section(name: &str, value: &DeValue<'_>) -> String {
    let shown: String = name.chars().take(80).collect();
    if !value.is_table()
        && let Some(key) = keys::all().find(|key| key.name == name)
    {
        return format!("{shown:?} stands outside its section: it belongs below [{}]", section_of(key));
    }
    let near = nearest(name, keys::SECTIONS.iter().map(|section| section.name));
    if let Some(near) = near {
        return format!("there is no section [{shown}]; did you mean [{near}]?");
    }
    let all: Vec<_> = keys::SECTIONS.iter().map(|section| section.name).collect();
    format!("there is no section [{shown}]; there are {}", all.join(", "))
}

/// What is said of a key that does not exist: the near one of its section, the same one of another, or all of them.
pub(crate) fn unknown_key(section: &str, name: &str) -> String {
    let shown: String = name.chars().take(80).collect();
    let own = keys::section(section).map_or(&[][..], |section| section.keys);
    if let Some(near) = nearest(name, own.iter().map(|key| key.name)) {
        return format!("there is no key {shown:?} in [{section}]; did you mean {near:?}?");
    }
    if let Some(other) = keys::all().find(|key| key.name == name) {
        return format!("there is no key {shown:?} in [{section}]; it belongs below [{}]", section_of(other));
    }
    let all: Vec<_> = own.iter().map(|key| key.name).collect();
    format!("there is no key {shown:?} in [{section}]; there are {}", all.join(", "))
}

fn section_of(key: &Key) -> &'static str {
    key.path.split('.').next().unwrap_or_default()
}

/// A value of TOML without its place. What no key takes becomes a text, so that the key says what it expects.
fn raw(key: &Key, value: &Spanned<DeValue<'_>>) -> Result<Raw, String> {
    let nested = || format!("{} is a table; expected {}", key.path, (key.expected)());
    Ok(match value.get_ref() {
        DeValue::Boolean(value) => Raw::Switch(*value),
        DeValue::Integer(number) => {
            let digits = number.as_str();
            i64::from_str_radix(digits, number.radix()).map_or_else(|_| digits.into(), Raw::Number)
        }
        DeValue::Array(values) => {
            let item = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
                DeValue::Array(_) | DeValue::Table(_) => Err(nested()),
                other => Ok(scalar(other)),
            };
            Raw::List(values.iter().map(item).collect::<Result<_, _>>()?)
        }
        DeValue::Table(_) => return Err(nested()),
        other => Raw::Text(scalar(other)),
    })
}

fn scalar(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) | DeValue::Table(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        read("w.toml", text, &mut problems);
        problems.into_iter().map(|problem| format!("{}: {}", problem.place, problem.what)).collect()
    }

    #[test]
    fn values_come_with_their_lines() {
        let mut problems = Vec::new();
        let given = read(
            "w.toml",
            "# x\n[listen]\nhttp = \"1.2.3.4:80\"\n\n[fill]\nconnections_per_host = 0x8\n",
            &mut problems,
        );
        assert_eq!(problems, []);
        assert_eq!(
            given[0],
            Given { path: "fill.connections_per_host", place: "w.toml:6".into(), value: Raw::Number(8) }
        );
        assert_eq!(given[1], Given { path: "listen.http", place: "w.toml:3".into(), value: "1.2.3.4:80".into() });
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once_by_name_and_line() {
        let told = problems(
            "max_size = 5\n[lisen]\n[listen]\nhtp = 3\nmax_size = 4\nhttp = 3698\nhttps = [[1]]\n[store]\nfrob = 1\n",
        );
        assert_eq!(
            told,
            [
                "w.toml:2: there is no section [lisen]; did you mean [listen]?",
                "w.toml:4: there is no key \"htp\" in [listen]; did you mean \"http\"?",
                "w.toml:6: listen.http is 3698; expected one or several addresses with ports, such as \"0.0.0.0:3698\" or [\"0.0.0.0:80\", \"[::]:3698\"]",
                "w.toml:7: listen.https is a table; expected one or several addresses with ports, such as \"0.0.0.0:3698\" or [\"0.0.0.0:80\", \"[::]:3698\"]",
                "w.toml:5: there is no key \"max_size\" in [listen]; it belongs below [store]",
                "w.toml:1: \"max_size\" stands outside its section: it belongs below [store]",
                "w.toml:9: there is no key \"frob\" in [store]; there are path, max_size, min_free, unproven_days, scrub, index_cache, open_payloads, io_threads, allow_network",
            ]
        );
    }

    #[test]
    fn what_is_not_toml_is_told_by_line() {
        let told = problems("[listen]\nhttp = \n");
        assert!(told[0].starts_with("w.toml:2: this is not TOML: "), "{told:?}");
        assert!(!told[0].contains("[section]"), "{told:?}");
        assert_eq!(told.len(), 1);
        let told = problems("[listen] http = \"0.0.0.0:80\"\n");
        assert!(told[0].ends_with("; [section] stands on a line of its own, and each key on one below it"), "{told:?}");
    }

    #[test]
    fn what_stands_beside_an_error_of_syntax_is_still_read() {
        let mut problems = Vec::new();
        let given = read("w.toml", "[listen]\nhttp = = 3\n[store\n[store]\npath = \"/d\"\n", &mut problems);
        assert_eq!(problems.len(), 1, "{problems:?}");
        let path = given.iter().find(|given| given.path == "store.path").unwrap();
        assert_eq!((path.place.as_str(), &path.value), ("w.toml:5", &"/d".into()));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_fall_over(text in "[\\[\\]a-z_.=\"0-9\n#{}, é]{0,200}") {
            problems(&text);
        }
    }
}
