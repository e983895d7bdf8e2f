//! Runs what was let through, and writes into the audit log what it changed: who, what, and what it was like before and afterwards.
//!
//! A change runs in a task of its own, so that whoever goes away in the middle does not keep it out of the log. What it was like is looked up
//! through the API itself, right before and right after, at the address that the table of rights names.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::MatchedPath;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{Method, Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt;

use crate::admin::door::{Identity, Via};
use crate::admin::error::Problem;
use crate::admin::guard::{Admitted, Keeper, time_max};
use crate::admin::rights::{Look, Right};
use crate::admin::{Access, Caller};
use crate::model::shown;
use crate::net::Peer;
use crate::store::accounts::audit::{Entry, TEXT_MAX};

/// Addresses that are looked up for one change: of more, what was asked for says the rest.
const LOOKS_MAX: usize = 20;
/// Bytes of one such answer.
const LOOK_BYTES_MAX: usize = 1 << 20;
/// Fields of what is asked that nobody writes down.
const SECRETS: [&str; 8] = ["password", "old", "new", "again", "token", "code", "csrf", "secret"];

/// Put into an answer's extensions by who signs somebody in: who asks is known by then.
#[derive(Clone, Debug)]
pub struct Who(pub String);

/// Runs it, within its time.
pub(in crate::admin) async fn run(keeper: &Arc<Keeper>, admitted: Admitted, next: Next) -> Response {
    let Admitted { request, identity, right, asked } = admitted;
    let limit = time_max(request.uri().path());
    let Some(right) = right.filter(|right| right.writes()) else {
        return match tokio::time::timeout(limit, next.run(request)).await {
            Ok(response) => response,
            Err(_) => late(limit),
        };
    };
    let change = Change {
        keeper: Arc::clone(keeper),
        from: request.extensions().get::<Peer>().map_or_else(String::new, |peer| peer.remote.ip().to_string()),
        looks: looks(right, &request, &asked),
        target: shown::target(request.uri().path()).into_owned(),
        what: format!("{} {}", right.method, right.path),
        identity,
        asked,
    };
    let task = tokio::spawn(change.run(request, next));
    match tokio::time::timeout(limit, task).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            let title = format!("the change broke off: {error}");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, title, "look into the log, and report it").into_response()
        }
        Err(_) => late(limit),
    }
}

fn late(limit: std::time::Duration) -> Response {
    Problem::new(
        StatusCode::GATEWAY_TIMEOUT,
        format!("no answer within {} s", limit.as_secs()),
        "the disk or an origin is very slow: `waystation status` and the log say more",
    )
    .into_response()
}

struct Change {
    keeper: Arc<Keeper>,
    identity: Identity,
    from: String,
    what: String,
    target: String,
    looks: Vec<String>,
    asked: Value,
}

impl Change {
    async fn run(self, request: Request<Body>, next: Next) -> Response {
        let before = self.look().await;
        let response = next.run(request).await;
        let status = response.status();
        // What was refused changed nothing; what failed inside may have.
        if status.is_client_error() {
            return response;
        }
        let who = response.extensions().get::<Who>().map_or(&self.identity.name, |Who(name)| name);
        if self.identity.via == Via::Nobody && response.extensions().get::<Who>().is_none() {
            return response;
        }
        let entry = Entry {
            at: self.keeper.door.now(),
            who: who.clone(),
            from: self.from.clone(),
            what: self.what.clone(),
            target: self.target.clone(),
            outcome: status.as_u16(),
            asked: text(&hidden(&self.asked)),
            before,
            after: self.look().await,
        };
        if let Err(error) = self.keeper.door.accounts().record(entry).await {
            tracing::error!(%error, who = self.identity.name, what = self.what, target = self.target, "a change is not in the audit log");
            // A store that takes nothing took no change either, but for those of files and other nodes.
            if status.is_success() && !matches!(error, crate::store::Error::Unavailable { .. }) {
                let title = format!("done, and not in the audit log: {error}");
                return Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    title,
                    "look at the disk of the data directory",
                )
                .into_response();
            }
        }
        response
    }

    /// What the addresses of the change say now.
    async fn look(&self) -> String {
        let mut found = Vec::new();
        for address in &self.looks {
            let Ok(mut request) = Request::builder().method(Method::GET).uri(address).body(Body::empty()) else {
                continue;
            };
            let extensions = request.extensions_mut();
            extensions.insert(Access::ReadOnly);
            extensions.insert(Caller(self.identity.name.clone()));
            extensions.insert(self.identity.clone());
            let response = match self.keeper.inner.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            if !response.status().is_success() {
                continue;
            }
            let body = to_bytes(response.into_body(), LOOK_BYTES_MAX).await.unwrap_or_default();
            if let Ok(value) = serde_json::from_slice::<Value>(&body) {
                found.push(value);
            }
        }
        match found.len() {
            0 => String::new(),
            1 => text(&hidden(&found[0])),
            _ => text(&hidden(&Value::Array(found))),
        }
    }
}

fn text(value: &Value) -> String {
    let mut text = if value.is_null() { String::new() } else { value.to_string() };
    if text.len() > TEXT_MAX {
        // The store cuts it; its hash says whether it was another one.
        text = format!("(blake3 {}) {text}", blake3::hash(text.as_bytes()).to_hex());
    }
    text
}

/// The same without secrets.
fn hidden(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| {
                let is_secret = SECRETS.contains(&name.to_ascii_lowercase().as_str()) && !value.is_object();
                (name.clone(), if is_secret { "(not kept)".into() } else { hidden(value) })
            });
            Value::Object(fields.collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(hidden).collect()),
        Value::String(text) if text.contains("://") => Value::String(shown::without_user_info(text).into_owned()),
        value => value.clone(),
    }
}

/// Where to look, each a path of the API.
fn looks(right: &Right, request: &Request<Body>, asked: &Value) -> Vec<String> {
    match right.look {
        Look::Nowhere => Vec::new(),
        Look::At(address) => {
            let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
            let segments = route.split('/').zip(request.uri().path().split('/'));
            let address = segments
                .filter(|(name, _)| name.starts_with('{'))
                .fold(address.to_owned(), |address, (name, segment)| address.replace(name, segment));
            vec![address]
        }
        Look::Each(address, field) => {
            let named: Vec<&str> = match asked.get(field) {
                Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
                Some(Value::String(text)) => vec![text],
                _ => Vec::new(),
            };
            let escaped = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            named
                .into_iter()
                .take(LOOKS_MAX)
                .map(|text| format!("{address}{}", escaped(text).replace('+', "%20")))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_written_down() {
        let asked = serde_json::json!({
            "name": "anna", "Password": "geheim", "deep": [{"token": "wsk_1", "url": "https://u:p@h/x"}],
        });
        let told = text(&hidden(&asked));
        assert!(told.contains("anna") && told.contains("https://"), "{told}");
        for secret in ["geheim", "wsk_1", "u:p"] {
            assert!(!told.contains(secret), "{told}");
        }
    }
}
