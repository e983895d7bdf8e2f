//! The simulator's own switches: `/_sim/state`, `/_sim/identities`, `/_sim/deployable`, `/_sim/log`, `/_sim/fault`, `/_sim/advance`.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::faults::{KINDS, Order};
use crate::guid::Guid;
use crate::names::LANGUAGES;
use crate::shared::{Shared, lock};
use crate::world::Filter;

/// A query string as an object of texts.
pub(crate) fn query(text: &str) -> Value {
    let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key.to_owned(), Value::String(value.replace("%2C", ",").replace("%2c", ",")))
    });
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// Answers a request for `name`.
pub(crate) fn answer(shared: &Shared, method: &Method, name: &str, given: &Value) -> (StatusCode, Value) {
    let outcome = match (name, method) {
        ("state", &Method::GET) => filter(given).map(|filter| shared.state(&filter)),
        ("deployable", &Method::GET) => filter(given).map(|filter| shared.deployable(&filter)),
        ("identities", &Method::GET) => filter(given).map(|filter| shared.world().identities(&filter)),
        ("log", &Method::GET) => number(given, "lines", 20).map(|lines| lock(&shared.log).report(lines as usize)),
        ("log", &Method::DELETE) => {
            lock(&shared.log).reset();
            Ok(json!({ "reset": true }))
        }
        ("fault", &Method::GET) => Ok(json!({ "state": lock(&shared.faults).report(), "kinds": kinds() })),
        ("fault", &Method::DELETE) => {
            lock(&shared.faults).clear();
            Ok(json!({ "cleared": true }))
        }
        ("fault", &Method::POST) => Order::read(given).map(|order| {
            lock(&shared.faults).add(order);
            lock(&shared.faults).report()
        }),
        ("advance", &Method::POST) => match number(given, "months", 1) {
            Ok(months @ 1..=120) => Ok(json!({ "month": shared.advance(months as u32) })),
            Ok(months) => Err(format!("months wants 1 to 120 and not {months}")),
            Err(error) => Err(error),
        },
        ("state" | "deployable" | "identities" | "log" | "fault" | "advance", _) => {
            return (StatusCode::METHOD_NOT_ALLOWED, json!({ "error": format!("{name} does not take {method}") }));
        }
        _ => {
            let known =
                "GET state, GET identities, GET deployable, GET|DELETE log, GET|POST|DELETE fault, POST advance";
            return (StatusCode::NOT_FOUND, json!({ "error": format!("there is no {name}; there are {known}") }));
        }
    };
    match outcome {
        Ok(value) => (StatusCode::OK, value),
        Err(error) => (StatusCode::BAD_REQUEST, json!({ "error": error })),
    }
}

fn number(given: &Value, key: &str, unless: u64) -> Result<u64, String> {
    match given.get(key) {
        None => Ok(unless),
        Some(Value::String(text)) => text.parse().map_err(|_| format!("{key} wants a number and not {text:?}")),
        Some(other) => other.as_u64().ok_or(format!("{key} wants a number and not {other}")),
    }
}

/// `products`, `classifications`: ids with commas between; `languages`: short names or locale ids.
fn filter(given: &Value) -> Result<Filter, String> {
    if let Some(unknown) = given
        .as_object()
        .and_then(|all| all.keys().find(|key| !["products", "classifications", "languages"].contains(&key.as_str())))
    {
        return Err(format!("{unknown} is not known; there are products, classifications, languages"));
    }
    let list = |key: &str| match given.get(key) {
        Some(Value::String(text)) => Some(text.split(',').map(str::to_owned).collect::<Vec<_>>()),
        Some(Value::Array(all)) => Some(all.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        _ => None,
    };
    let ids = |key: &str| -> Result<Option<Vec<(Guid, bool)>>, String> {
        let Some(all) = list(key) else { return Ok(None) };
        let read = all
            .iter()
            .map(|text| Guid::read(text).map(|id| (id, false)).ok_or(format!("{text:?} among {key} is not a GUID")));
        read.collect::<Result<_, _>>().map(Some)
    };
    let languages = match list("languages") {
        None => None,
        Some(all) => {
            let read = all.iter().map(|text| {
                let known = LANGUAGES.iter().find(|(id, short, _)| short == text || id.to_string() == *text);
                known.map(|(id, ..)| (*id, false)).ok_or(format!("{text:?} is not a language"))
            });
            Some(read.collect::<Result<Vec<_>, _>>()?)
        }
    };
    Ok(Filter {
        config: false,
        products: ids("products")?,
        classifications: ids("classifications")?,
        languages,
        since: None,
        strict: false,
    })
}

fn kinds() -> Value {
    KINDS.iter().map(|(name, _, method, about)| json!({ "fault": name, "method": method, "does": about })).collect()
}

impl Shared {
    /// Counts for a filter.
    pub(crate) fn state(&self, filter: &Filter) -> Value {
        self.world().state(filter, self.options.file_scale)
    }

    /// Deployable updates of a filter with their files.
    pub(crate) fn deployable(&self, filter: &Filter) -> Value {
        self.world().deployable(filter, self.options.file_scale, &self.files)
    }
}
