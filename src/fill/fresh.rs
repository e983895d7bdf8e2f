//! How long an object that may change under its name is fresh: RFC 9111, as the crate `http-cache-semantics` computes
//! it for a shared cache.
//!
//! Only what the origin said counts: requests are asked upstream without any field of a client's, so the request side of
//! every policy is a bare GET. Partial answers are judged as whole ones, since the whole is what is kept.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_cache_semantics::{AfterResponse, CacheOptions, CachePolicy};
use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::model::payload::{Freshness, Validators};

/// Where the origin says nothing at all about freshness, RFC 9111 section 4.2.2 leaves the choice to the cache. The
/// usual tenth of the object's age would be nothing for a file that was published a minute ago, and every range of it
/// would be revalidated.
const HEURISTIC_MIN: Duration = Duration::from_mins(10);

/// The longest that is believed: beyond it an object is asked about once a year. Also keeps sums of times in range.
const FRESH_MAX: Duration = Duration::from_hours(366 * 24);

/// What is kept of a policy.
#[derive(Serialize, Deserialize)]
struct Kept {
    policy: CachePolicy,
    /// A stale object must not be served when the origin cannot be asked (section 4.2.4).
    strict: bool,
}

/// The freshness of an answer that came at `now`; `None` where it must not be kept (no-store, private).
pub(super) fn judge(
    url: &str,
    headers: &[(String, String)],
    validators: &Validators,
    now: Timestamp,
) -> Option<Freshness> {
    let fields = fields(headers, validators);
    let mut response = Response::new(());
    *response.headers_mut() = fields;
    let policy = CachePolicy::new_options(&request(url)?, &response, now.system(), CacheOptions::default());
    keep(policy, response.headers(), now)
}

/// The freshness after a 304 that came at `now`; `None` where the object must not be kept any longer.
pub(super) fn renew(
    old: &Freshness,
    url: &str,
    headers: &[(String, String)],
    validators: &Validators,
    now: Timestamp,
) -> Option<Freshness> {
    let Ok(kept) = serde_json::from_str::<Kept>(&old.policy) else {
        return judge(url, headers, validators, now);
    };
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = fields(headers, validators);
    let renewed = match kept.policy.after_response(&request(url)?, &response, now.system()) {
        AfterResponse::NotModified(policy, parts) => (policy, parts.headers),
        // The 304 names no validator that fits, yet the origin answered our own question with it: it is about our copy.
        AfterResponse::Modified(..) => return judge(url, headers, validators, now),
    };
    keep(renewed.0, &renewed.1, now)
}

/// Whether a stale object may be served while its origin cannot be asked.
pub(super) fn may_serve_stale(freshness: &Freshness) -> bool {
    serde_json::from_str::<Kept>(&freshness.policy).is_ok_and(|kept| !kept.strict)
}

fn keep(policy: CachePolicy, fields: &HeaderMap, now: Timestamp) -> Option<Freshness> {
    if !policy.is_storable() {
        return None;
    }
    let mut left = policy.time_to_live(now.system()).min(FRESH_MAX);
    let says_nothing = !["cache-control", "expires", "pragma"].iter().any(|name| fields.contains_key(*name));
    if says_nothing && fields.get("vary").is_none_or(|vary| vary != "*") {
        left = left.max(HEURISTIC_MIN);
    }
    let strict = fields.get_all("cache-control").iter().filter_map(|value| value.to_str().ok()).any(|value| {
        let value = value.to_ascii_lowercase();
        ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage"].iter().any(|word| value.contains(word))
    });
    let policy = serde_json::to_string(&Kept { policy, strict }).ok()?;
    Some(Freshness { until: now.after(left), policy })
}

/// A bare GET. The query stays out: it may be a secret, and the policy is written to disk.
fn request(url: &str) -> Option<Request<()>> {
    Request::get(url.split('?').next().unwrap_or_default()).body(()).ok()
}

/// The answer's fields that RFC 9111 reads, with times and ages cut to what cannot overflow.
fn fields(headers: &[(String, String)], validators: &Validators) -> HeaderMap {
    const READ: [&str; 6] = ["cache-control", "expires", "date", "age", "vary", "pragma"];
    let mut fields = HeaderMap::new();
    let mut add = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            fields.append(name, value);
        }
    };
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if name == "age" {
            let age = value.trim().parse::<u64>().unwrap_or(0).min(FRESH_MAX.as_secs());
            add("age", &age.to_string());
        } else if READ.contains(&name.as_str()) {
            add(&name, value);
        }
    }
    if let Some(tag) = &validators.etag {
        add("etag", tag);
    }
    if let Some(date) = &validators.last_modified {
        add("last-modified", date);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_700_000_000_000);
    const URL: &str = "http://dl.example.org/a?secret";

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn left(pairs: &[(&str, &str)]) -> Option<u64> {
        judge(URL, &headers(pairs), &Validators::default(), NOW).map(|fresh| fresh.until.since(NOW).as_secs())
    }

    #[test]
    fn follows_what_the_origin_says() {
        assert_eq!(left(&[("Cache-Control", "max-age=60")]), Some(60));
        assert_eq!(left(&[("Cache-Control", "max-age=60"), ("Age", "20")]), Some(40));
        assert_eq!(left(&[("cache-control", "s-maxage=5, max-age=60")]), Some(5));
        assert_eq!(left(&[("Cache-Control", "no-cache")]), Some(0));
        assert_eq!(left(&[("Cache-Control", "no-store")]), None);
        assert_eq!(left(&[("Cache-Control", "private, max-age=60")]), None);
        assert_eq!(left(&[("Expires", "0")]), Some(0));
        assert_eq!(left(&[]), Some(600));
        assert_eq!(left(&[("Vary", "*")]), Some(0));
    }

    #[test]
    fn no_value_overflows() {
        for value in ["18446744073709551615", "99999999999999999999999", "-1", "x"] {
            let age = format!("max-age={value}");
            for pairs in [[("Age", value), ("Cache-Control", age.as_str())], [("Expires", value), ("Date", value)]] {
                assert!(left(&pairs).is_none_or(|left| left <= FRESH_MAX.as_secs()), "{pairs:?}");
            }
        }
        let date = "Fri, 31 Dec 9999 23:59:59 GMT";
        assert_eq!(left(&[("Expires", date)]), Some(FRESH_MAX.as_secs()));
    }

    #[test]
    fn a_304_renews_and_the_signature_stays_out_of_the_policy() {
        let validators = Validators { etag: Some("\"a\"".into()), last_modified: None };
        let old = judge(URL, &headers(&[("Cache-Control", "max-age=10")]), &validators, NOW).unwrap();
        assert!(!old.policy.contains("secret"));
        let later = NOW.after(Duration::from_secs(100));
        let new = renew(&old, URL, &headers(&[("Cache-Control", "max-age=30")]), &validators, later).unwrap();
        assert_eq!(new.until, later.after(Duration::from_secs(30)));
        let same = renew(&old, URL, &[], &Validators::default(), later).unwrap();
        assert!(same.until >= later);
    }

    #[test]
    fn what_must_be_revalidated_is_not_served_stale() {
        let stale = |value| {
            may_serve_stale(&judge(URL, &headers(&[("Cache-Control", value)]), &Validators::default(), NOW).unwrap())
        };
        assert!(stale("max-age=1") && !stale("max-age=1, must-revalidate") && !stale("no-cache"));
    }
}
