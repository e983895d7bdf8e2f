//! Content as IIS serves it: ranges, HEAD, entity tags, dates; lazily as WSUS, by absolute address as Microsoft.

use std::sync::Arc;
use std::time::Instant;

use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE, RETRY_AFTER,
};
use http::{Method, Response, StatusCode};

use crate::body::Payload;
use crate::faults::hex;
use crate::files::{Spec, seed_of};
use crate::shared::{Shared, lock};

/// What was found at a path.
enum Found {
    File([u8; 20], Spec),
    Nothing(StatusCode),
}

/// 20 bytes out of 40 hex digits.
fn sha1_of(text: &str) -> Option<[u8; 20]> {
    if text.len() != 40 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 20];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

impl Shared {
    fn at_path(&self, path: &str) -> Found {
        let nothing = Found::Nothing(StatusCode::NOT_FOUND);
        let lower = path.to_ascii_lowercase();
        let parts: Vec<&str> = lower.split('/').filter(|part| !part.is_empty()).collect();
        let (Some(first), Some(name)) = (parts.first(), parts.last()) else { return nothing };
        let Some((stem, extension)) = name.rsplit_once('.') else {
            // IIS answers names without an extension with 403.
            return if *first == "content" { Found::Nothing(StatusCode::FORBIDDEN) } else { nothing };
        };
        let digits = match (*first, parts.as_slice()) {
            ("content", [_, folder, _]) if !self.microsoft() && stem.ends_with(folder) && folder.len() == 2 => stem,
            ("c" | "d", [_, "msdownload", ..]) if self.microsoft() => stem.rsplit('_').next().unwrap_or_default(),
            _ => return nothing,
        };
        let Some(sha1) = sha1_of(digits) else { return nothing };
        let Some(spec) = self.files.find(&self.world(), self.options.file_scale, &sha1) else { return nothing };
        if !spec.extension().eq_ignore_ascii_case(extension) {
            return nothing;
        }
        // Licences are fetched by a server with its catalog; all else when somebody asks.
        let lazy = !self.microsoft() && !self.options.eager && !spec.key.licence;
        if lazy && lock(&self.named).get(&sha1).is_none_or(|ready| Instant::now() < *ready) {
            return nothing;
        }
        Found::File(sha1, spec)
    }

    /// Answers a GET or HEAD. Blocks: digests may have to be counted.
    pub(crate) fn content(
        self: &Arc<Self>,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> (Response<Payload>, u64) {
        let head = *method == Method::HEAD;
        let note = {
            let (shared, method, path) = (Arc::clone(self), method.to_string(), path.to_owned());
            move |status: StatusCode, file, range| {
                move |sent| lock(&shared.log).content(&method, &path, status.as_u16(), file, range, sent)
            }
        };
        let plain = |status: StatusCode, file, fields: &[(HeaderName, String)]| {
            let mut response = Response::new(Payload::bytes("").then(note.clone()(status, file, None)));
            *response.status_mut() = status;
            for (name, value) in fields {
                if let Ok(value) = value.parse() {
                    response.headers_mut().insert(name, value);
                }
            }
            response
        };
        let (sha1, spec) = match self.at_path(path) {
            Found::File(sha1, spec) => (sha1, spec),
            Found::Nothing(status) => return (plain(status, None, &[]), 0),
        };
        let faults = if head { Vec::new() } else { lock(&self.faults).of_content(sha1) };
        let ordered = |kind: &str| faults.iter().find(|order| order.kind == kind);
        let file = Some((sha1, spec.size));
        if ordered("content-404").is_some() {
            return (plain(StatusCode::NOT_FOUND, file, &[]), 0);
        }
        if ordered("content-503").is_some() {
            return (plain(StatusCode::SERVICE_UNAVAILABLE, file, &[(RETRY_AFTER, "1".to_owned())]), 0);
        }
        let tag = format!("\"{}:0\"", hex(&sha1[..8]));
        let seconds = std::time::Duration::from_secs((spec.modified / 1000).max(0) as u64);
        let modified = httpdate::fmt_http_date(std::time::UNIX_EPOCH + seconds);
        let fields = [
            (ETAG, tag.clone()),
            (LAST_MODIFIED, modified.clone()),
            (ACCEPT_RANGES, "bytes".to_owned()),
            (CONTENT_TYPE, "application/octet-stream".to_owned()),
        ];
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let unchanged = match (text(IF_NONE_MATCH), text(IF_MODIFIED_SINCE)) {
            (Some(tags), _) => tags.split(',').any(|one| matches!(one.trim(), "*") || one.trim() == tag),
            (None, Some(date)) => date == modified,
            (None, None) => false,
        };
        if unchanged {
            return (plain(StatusCode::NOT_MODIFIED, file, &fields), 0);
        }
        let range = match text(RANGE) {
            // As a real server was seen to answer.
            Some(_) if head => Span::Outside,
            Some(range) if text(IF_RANGE).is_none_or(|state| state == tag || state == modified) => {
                span(range, spec.size)
            }
            _ => Span::Whole,
        };
        let (status, from, end) = match range {
            Span::Outside => {
                let outside = (CONTENT_RANGE, format!("bytes */{}", spec.size));
                return (plain(StatusCode::RANGE_NOT_SATISFIABLE, file, &[outside]), 0);
            }
            Span::Part(from, end) => (StatusCode::PARTIAL_CONTENT, from, end),
            Span::Whole => (StatusCode::OK, 0, spec.size),
        };
        let mut response = plain(status, file, &fields);
        let length = (end - from).into();
        response.headers_mut().insert(CONTENT_LENGTH, length);
        if status == StatusCode::PARTIAL_CONTENT
            && let Ok(value) = format!("bytes {from}-{}/{}", end - 1, spec.size).parse()
        {
            response.headers_mut().insert(CONTENT_RANGE, value);
        }
        if head {
            return (response, 0);
        }
        let mut seed = seed_of(self.options.seed, spec.key);
        if ordered("wrong-digest").is_some() {
            seed ^= 0xbad;
        }
        let slow = ordered("content-slow");
        let mut body = Payload::file(seed, from, end).slowed(slow.and_then(|order| order.bytes_per_second));
        if ordered("content-truncated").is_some() {
            body = body.cut(50);
        }
        let (parts, before) = response.into_parts();
        // The line is written by the body that really goes.
        before.forget();
        let body = body.then(note(status, file, Some((from, end))));
        (Response::from_parts(parts, body), slow.map_or(0, |order| order.delay_ms))
    }
}

enum Span {
    Whole,
    Part(u64, u64),
    Outside,
}

/// One range of bytes; what is not one, or is several, is answered with the whole.
fn span(text: &str, size: u64) -> Span {
    let Some((from, to)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Span::Whole;
    };
    match (from.trim().parse::<u64>(), to.trim().parse::<u64>()) {
        (Ok(from), Ok(to)) if from <= to => {
            if from >= size {
                return Span::Outside;
            }
            Span::Part(from, (to + 1).min(size))
        }
        (Ok(from), Err(_)) if to.trim().is_empty() => {
            if from >= size {
                return Span::Outside;
            }
            Span::Part(from, size)
        }
        (Err(_), Ok(last)) if from.trim().is_empty() => {
            if last == 0 || size == 0 {
                return Span::Outside;
            }
            Span::Part(size.saturating_sub(last), size)
        }
        _ => Span::Whole,
    }
}
