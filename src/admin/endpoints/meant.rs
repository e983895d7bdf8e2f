//! What people write to mean endpoints: one way for all that the API and the command line have.
//!
//! Names come from the machines themselves, so that anybody can come under the name of another. A text that can mean several endpoints means
//! none: all of them are told with their ids, and an id is what decides.

use std::collections::BTreeSet;

use http::StatusCode;

use crate::admin::Handles;
use crate::admin::error::Problem;
use crate::fleet::roster::{BEGINNING_MIN, NAMED_MAX};
use crate::store::fleet::{Record, Row};

/// Names in one request.
const NAMES_MAX: usize = 5_000;

/// Characters of a name in an error.
const SHOWN: usize = 80;

const LOOK: &str = "`waystation endpoints list --filter TEXT` finds endpoints by parts of their names";

/// The one of those found that is meant.
fn only(text: &str, mut found: Vec<Record>) -> Result<Record, Problem> {
    let shown: String = text.trim().chars().take(SHOWN).collect();
    if found.len() > 1 {
        let one = |record: &Record| format!("{} ({})", record.registration.endpoint.0, record.registration.name);
        let mut told: Vec<String> = found.iter().take(NAMED_MAX).map(one).collect();
        if found.len() > NAMED_MAX {
            told.push("and more".to_owned());
        }
        let title = format!("{shown:?} can mean several endpoints: {}", told.join("; "));
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, "give the id of one of them"));
    }
    found.pop().ok_or_else(|| absent(text))
}

fn absent(text: &str) -> Problem {
    let shown: String = text.trim().chars().take(SHOWN).collect();
    let next = format!(
        "give its name, with its domain or without, its id, or {BEGINNING_MIN} of the id's first digits or more; {LOOK}"
    );
    Problem::new(StatusCode::NOT_FOUND, format!("no endpoint is called {shown:?}: it has not registered here"), next)
}

/// The endpoints that texts mean, each once, in the order of the texts; none where one of them means nobody, or can mean several.
pub(in crate::admin) async fn all(handles: &Handles, texts: &[String]) -> Result<Vec<Record>, Problem> {
    let wrong = |title: String, next: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, next);
    match texts.len() {
        0 => return Err(wrong("no endpoint is named".to_owned(), LOOK)),
        many if many > NAMES_MAX => {
            return Err(wrong(format!("{many} endpoints are more than {NAMES_MAX}"), "do it in several steps"));
        }
        _ => {}
    }
    let found = {
        // Who walks over all leaves the store's threads to others.
        let _turn = handles.turns.listing.acquire().await;
        handles.endpoints.named(texts).await?
    };
    let (mut records, mut known) = (Vec::with_capacity(texts.len()), BTreeSet::new());
    for (text, found) in texts.iter().zip(found) {
        let record = only(text, found)?;
        if known.insert(record.registration.endpoint) {
            records.push(record);
        }
    }
    Ok(records)
}

/// The endpoint that a text means.
pub(in crate::admin) async fn record(handles: &Handles, text: &str) -> Result<Record, Problem> {
    let mut found = all(handles, &[text.to_owned()]).await?;
    found.pop().ok_or_else(|| absent(text))
}

/// The same with when it was heard of.
pub(in crate::admin) async fn one(handles: &Handles, text: &str) -> Result<Row, Problem> {
    let record = record(handles, text).await?;
    // It may have been forgotten a moment ago.
    handles.endpoints.one(record.registration.endpoint).await?.ok_or_else(|| absent(text))
}
