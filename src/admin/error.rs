//! Errors as the control plane tells them: a status, what is wrong, and what to do next (RFC 9457).

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use crate::admin::view;
use crate::jobs;
use crate::store;

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    title: String,
    detail: String,
}

impl Problem {
    /// What is wrong, in a sentence.
    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// `title` says what is wrong, `detail` what to do next.
    pub fn new(status: StatusCode, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { status, title: title.into(), detail: detail.into() }
    }

    /// A request that cannot be understood.
    pub fn malformed(title: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, title, "correct what was given, then try again")
    }

    /// The same, with more behind what is wrong.
    #[must_use]
    pub fn and_said(mut self, more: &str) -> Self {
        self.title = format!("{}: {more}", self.title);
        self
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What the problem says, as the API's own type.
    pub fn view(&self) -> view::Problem {
        view::Problem { status: self.status.as_u16(), title: self.title.clone(), detail: self.detail.clone() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if self.status.is_server_error() && self.status != StatusCode::SERVICE_UNAVAILABLE {
            tracing::error!(status = self.status.as_u16(), error = %self.title, "control request failed");
        }
        // Strings and a number always serialise.
        let body = serde_json::to_vec(&self.view()).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = http::HeaderValue::from_static("Bearer realm=\"waystation\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, http::HeaderValue::from_static("60"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, http::HeaderValue::from_static("10"));
        }
        response
    }
}

impl From<jobs::error::Error> for Problem {
    fn from(error: jobs::error::Error) -> Self {
        use jobs::error::{Error, Fault};
        let title = error.to_string();
        if let Error::Store(error) = error {
            return error.into();
        }
        if let Error::Unbound(_) = error {
            let detail = "`waystation explain URL` shows what is published for an address, and by whom";
            return Self::new(StatusCode::NOT_FOUND, title, detail);
        }
        if let Some(detail) = error.next() {
            let is_busy = error.fault() == Fault::Busy;
            let status = if is_busy { StatusCode::CONFLICT } else { StatusCode::UNPROCESSABLE_ENTITY };
            return Self::new(status, title, detail);
        }
        let (status, detail) = match error.fault() {
            Fault::Caller if title.contains("not on the allow-list") => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "add the host to [origins] allow in the configuration, or correct the address",
            ),
            Fault::Absent if matches!(error, Error::Unknown { .. }) => {
                let next = "`waystation jobs list` shows the jobs that there are; what became of runs of the catalog, `waystation sync history` \
                            tells, and of files, `waystation prefetch status`";
                (StatusCode::NOT_FOUND, next)
            }
            Fault::Caller => (StatusCode::UNPROCESSABLE_ENTITY, "correct what was given, then try again"),
            Fault::Absent => (StatusCode::NOT_FOUND, "`waystation content list` shows what is held"),
            Fault::Busy => (StatusCode::CONFLICT, "try again later"),
            Fault::Upstream => (StatusCode::BAD_GATEWAY, "`waystation doctor` tests the way to the origins"),
            Fault::Disk => (StatusCode::INTERNAL_SERVER_ERROR, "look at the path that is named, then try again"),
            Fault::Us => {
                (StatusCode::INTERNAL_SERVER_ERROR, "look into the log, and report it with what it says there")
            }
        };
        Self::new(status, title, detail)
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        use store::Error;
        let title = error.to_string();
        let (status, detail) = match error {
            Error::Full { .. } => (
                StatusCode::INSUFFICIENT_STORAGE,
                "make room: remove or unpin content, raise [store] max_size, or grow the disk",
            ),
            Error::Mismatch { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "either the digest is another file's or the file is damaged: get both from their publisher again",
            ),
            Error::Gone => {
                (StatusCode::NOT_FOUND, "it was removed meanwhile; `waystation content list` shows what is held")
            }
            Error::Invalid { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "correct what was given, then try again"),
            Error::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "try again in a moment"),
            Error::Unavailable { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "look into the log for the first disk error, mend it, and restart the node",
            ),
            // The rest is of opening, or of a disk that fails; the text names the path.
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "look at the disk of the data directory and into the log"),
        };
        Self::new(status, title, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fault_decides_the_status() {
        let status = |error: jobs::error::Error| Problem::from(error).view().status;
        assert_eq!(status(jobs::error::Error::Unknown { id: 1 }), 404);
        assert_eq!(status(jobs::error::Error::NeedsNode), 422);
        assert_eq!(status(jobs::error::Error::Busy { id: 1, kind: "scrub" }), 409);
        assert_eq!(status(jobs::error::Error::Store(store::Error::Gone)), 404);
        assert_eq!(status(jobs::error::Error::Broken("x".into())), 500);
        let next = |error: jobs::error::Error| Problem::from(error).view().detail;
        assert!(next(jobs::error::Error::Unknown { id: 1 }).contains("jobs list"));
        let busy = next(jobs::error::Error::Busy { id: 7, kind: "sync" });
        assert!(busy.contains("jobs show 7 --follow"), "{busy}");
        let why = "host \"h\" is not on the allow-list".to_owned();
        assert!(next(jobs::error::Error::Refused { address: "h/a".into(), why }).contains("[origins] allow"));
    }
}
