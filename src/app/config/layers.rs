//! Puts the layers upon each other: defaults, the file, the environment, flags; later, with the store open, what was set
//! at run time. Touches the disk for the file and for the size of the file system, and for nothing else.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::app::Flags;
use crate::app::config::file::{self, Given};
use crate::app::config::kinds::quantity::size_text;
use crate::app::config::{keys, outside};
use crate::app::error::{ConfigError, Problem};
use crate::model::settings::{Layer, Origin, Raw, Recorded, Setting, Settings};

/// The largest file that is read: a slip (a payload named as the configuration) must not fill the memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The file's name inside the data directory.
const FILE_NAME: &str = "waystation.toml";

/// What the layers outside the node say together.
#[derive(Clone, Debug)]
pub(crate) struct Layered {
    pub(crate) settings: Settings,
    pub(crate) data: PathBuf,
    pub(crate) file: Option<PathBuf>,
    /// What is wrong with the file, where that was let pass: the settings then are what could be read.
    pub(crate) broken: Option<ConfigError>,
}

/// What becomes of a file with errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errors {
    /// They are refused.
    Refused,
    /// They are kept beside what can be read: enough to find a node that runs. Errors of the environment and of flags
    /// are refused all the same, since they are of the one who asks.
    Kept,
}

/// Reads file, environment and flags.
pub(crate) fn read(
    flags: &Flags,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    errors: Errors,
) -> Result<Layered, ConfigError> {
    let (mut problems, mut of_file) = (Vec::new(), Vec::new());
    let variables: Vec<_> = variables.into_iter().collect();
    let home = home(&variables);
    let by_environment = outside::environment(variables, &mut problems);
    let by_flag = outside::flags(flags, &mut problems);

    let named = |given: &[Given]| {
        given.iter().find(|given| given.path == "store.path").and_then(|given| match &given.value {
            Raw::Text(path) => Some(PathBuf::from(path)),
            _ => None,
        })
    };
    // The file may lie in the data directory, so that directory must be known without the file.
    let before = named(&by_flag).or_else(|| named(&by_environment));
    let (file, by_file) = match &flags.config {
        Some(path) => (Some(path.clone()), read_file(path, &path.display().to_string(), &mut of_file)),
        None => match before.clone().or_else(|| home.clone()) {
            Some(data) => match read_file(&data.join(FILE_NAME), FILE_NAME, &mut of_file) {
                None => (None, None),
                found => (Some(data.join(FILE_NAME)), found),
            },
            None => (None, None),
        },
    };
    if let (Some(path), None) = (&flags.config, &by_file) {
        return Err(ConfigError::one("--config", format!("there is no file {}", path.display())));
    }
    let by_file = by_file.unwrap_or_default();
    if !problems.is_empty() || (errors == Errors::Refused && !of_file.is_empty()) {
        problems.append(&mut of_file);
        return Err(ConfigError { problems });
    }
    let own = home.clone();
    let data = before.or_else(|| named(&by_file)).or(home).ok_or_else(|| {
        ConfigError::one(
            "store.path",
            "neither XDG_DATA_HOME nor HOME says where data belongs: name a directory with --data",
        )
    })?;
    let data = std::path::absolute(&data)
        .map_err(|error| ConfigError::one("store.path", format!("{}: {error}", data.display())))?;

    let mut settings = defaults(&data, own.as_deref().unwrap_or(&data));
    for (layer, all) in [(Layer::File, by_file), (Layer::Environment, by_environment), (Layer::Flag, by_flag)] {
        for Given { path, place, value } in all {
            if let Err(error) = settings.set(path, Origin::place(layer, place.clone()), value) {
                problems.push(Problem { place, what: error.to_string() });
            }
        }
    }
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    let broken = (!of_file.is_empty()).then_some(ConfigError { problems: of_file });
    Ok(Layered { settings, data, file, broken })
}

/// Lays what was set at run time beneath the file. A value that can no longer be read is left out and told of: a node
/// must not stay down because of what an older one let in.
pub(crate) fn record(settings: &mut Settings, layer: Layer, documents: Vec<(String, Vec<u8>)>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, bytes) in documents {
        let outcome =
            serde_json::from_slice::<Recorded>(&bytes).map_err(|error| error.to_string()).and_then(|recorded| {
                if let Some(key) = keys::key(&path) {
                    key.check(&recorded.value)?;
                }
                let origin = Origin::recorded(layer, recorded.by, recorded.at);
                settings.set(&path, origin, recorded.value).map_err(|error| error.to_string())
            });
        if let Err(what) = outcome {
            problems.push(Problem { place: format!("set at run time: {path}"), what });
        }
    }
    problems
}

/// Every key with its default, as it is on this machine: `home` is the data directory where nobody names one, and sizes
/// follow from the file system of `data`.
fn defaults(data: &Path, home: &Path) -> Settings {
    let mut settings = Settings::default();
    for key in keys::all() {
        settings.define(key.path, Setting::new((key.default)(), key.effect));
    }
    let mut define = |path: &str, value: String| {
        if let Some(key) = keys::key(path) {
            settings.define(path, Setting::new(Raw::Text(value), key.effect));
        }
    };
    define("store.path", home.display().to_string());
    if let Some(total) = file_system_bytes(data) {
        define("store.max_size", size_text((total / 10 * 9).min(500 << 30)));
        define("store.min_free", size_text((total / 20).min(10 << 30)));
    }
    settings
}

/// The size of the file system that holds `path`, or its nearest ancestor that exists.
pub(crate) fn file_system_bytes(path: &Path) -> Option<u64> {
    let stat = path.ancestors().find_map(|path| rustix::fs::statvfs(path).ok())?;
    Some(stat.f_blocks.saturating_mul(stat.f_frsize)).filter(|total| *total > 0)
}

/// Where data belongs when nobody says.
fn home(variables: &[(OsString, OsString)]) -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some("/var/lib/waystation".into());
    }
    let variable = |wanted: &str| {
        let found = variables.iter().find(|(name, _)| name == wanted).map(|(_, value)| PathBuf::from(value));
        found.filter(|path| path.is_absolute())
    };
    variable("XDG_DATA_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("waystation"))
}

/// Reads the file at `path`; `None` where there is none. What is wrong with it goes into `problems`.
fn read_file(path: &Path, name: &str, problems: &mut Vec<Problem>) -> Option<Vec<Given>> {
    match text_of(path) {
        Ok(Some(text)) => Some(file::read(name, &text, problems)),
        Ok(None) => None,
        Err(what) => {
            problems.push(Problem { place: path.display().to_string(), what });
            Some(Vec::new())
        }
    }
}

/// The text of a file that may not be there.
fn text_of(path: &Path) -> Result<Option<String>, String> {
    let opened = match fs::File::open(path) {
        Ok(file) => file,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(other) => return Err(format!("cannot be opened: {other}")),
    };
    let mut bytes = Vec::new();
    let read = opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    let read = read.map_err(|other| format!("cannot be read: {other}"))?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(format!("it is larger than {}: no configuration is", size_text(FILE_BYTES_MAX)));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| "it is not UTF-8 text".into())
}
