//! Style and script of the console, embedded.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use crate::admin::extract::Named;

const STYLE: &str = include_str!("assets/console.css");
const SCRIPT: &str = include_str!("assets/console.js");

/// A year: an asset's name is of its content.
const KEPT: &str = "public, max-age=31536000, immutable";

static STYLE_PATH: LazyLock<String> = LazyLock::new(|| path(STYLE, "css"));
static SCRIPT_PATH: LazyLock<String> = LazyLock::new(|| path(SCRIPT, "js"));

fn path(content: &str, kind: &str) -> String {
    let digest = blake3::hash(content.as_bytes()).to_hex();
    format!("/assets/console-{}.{kind}", &digest[..16])
}

/// The address of the style.
pub fn style() -> &'static str {
    &STYLE_PATH
}

/// The address of the script.
pub fn script() -> &'static str {
    &SCRIPT_PATH
}

/// `GET /assets/{name}`.
pub async fn asset(Named(name): Named<String>) -> Response {
    let is = |path: &str| path.strip_prefix("/assets/") == Some(name.as_str());
    let found = if is(style()) {
        Some((STYLE, "text/css; charset=utf-8"))
    } else if is(script()) {
        Some((SCRIPT, "text/javascript; charset=utf-8"))
    } else {
        None
    };
    match found {
        Some((content, kind)) => {
            ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, KEPT)], content).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
