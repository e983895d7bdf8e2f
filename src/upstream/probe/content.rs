//! What is done to content on the way: the head, ranges, bodies, large packets.

use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap, HeaderName};
use reqwest::Response;
use tokio::time::{Instant, timeout_at};

use crate::model::payload::Standing;
use crate::model::report::Verdict;
use crate::upstream::probe::{Asking, CHECK, Report};
use crate::upstream::{Object, via};

/// What the clocks may differ by: certificates and signed URLs are cut finer than that nowhere.
const CLOCK_OFF_MAX: Duration = Duration::from_mins(5);

/// What a range and the whole are compared over.
const COMPARED: u64 = 1 << 10;

/// More than fits into any path's packets in flight, so that full-sized ones must get through.
const LARGE: u64 = 64 << 10;

/// The checks that need an answer. `first` answers an ask for the first byte.
pub(super) async fn content(asking: &Asking<'_>, object: Object, first: Response, report: &mut Report) {
    let status = first.status().as_u16();
    let fields = first.headers().clone();
    drop(first);
    clock(&fields, SystemTime::now(), report);
    circle(asking, &fields, report);
    coding(&fields, report);
    match status {
        200 | 206 => report.good("answer", format!("it answered {status}")),
        500..=599 => {
            let advice = "the origin or a proxy before it is in trouble; try again later";
            return report.add("answer", Verdict::Bad, format!("it answered {status}"), advice);
        }
        _ => return refused(asking, object, status, report),
    }
    let total = range(status, &fields, report);
    let small = body(asking, total, report).await;
    mtu(asking, total, small, report).await;
}

/// What a refusal says. The host is reached; what needs an object cannot be tried.
fn refused(asking: &Asking<'_>, object: Object, status: u16, report: &mut Report) {
    let url = url::Url::parse(&asking.location.url).ok();
    let path = url.as_ref().map_or("/", url::Url::path);
    // Nobody expects an object at the root of a host, which is asked where no address was given.
    let is_root = path == "/" && url.as_ref().is_none_or(|url| url.query().is_none());
    let is_absent = object == Object::Perhaps && matches!(status, 404 | 410);
    let why = if is_root || is_absent {
        report.good("answer", format!("it answered {status}: reached, but nothing to fetch lies at {path}"));
        format!("it answered {status}; name an object: waystation doctor URL")
    } else {
        let verdict = if object == Object::Named { Verdict::Bad } else { Verdict::Warning };
        report.add("answer", verdict, format!("it is reached, and answered {status}"), advice_of(status));
        format!("it answered {status}, so that there is no object to try it with")
    };
    for check in ["range", "body", "mtu"] {
        report.skipped(check, why.clone());
    }
}

/// What to do about an answer that gives no object.
fn advice_of(status: u16) -> &'static str {
    match status {
        401 => "the origin wants a name and a password, which this node never sends: let it in by its address",
        403 => {
            "the origin or a proxy before it refuses this node: see its log, who may ask it, whether it can read the file, \
             and whether the address is signed and has run out"
        }
        404 | 410 => "the origin has nothing there: correct the address",
        _ => "the origin's log says why",
    }
}

fn text<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    fields.get(name).and_then(|value| value.to_str().ok())
}

fn clock(fields: &HeaderMap, now: SystemTime, report: &mut Report) {
    let Some(date) = text(fields, &header::DATE).and_then(|date| httpdate::parse_http_date(date).ok()) else {
        return report.skipped("clock", "the answer carries no date");
    };
    let (off, which) = match now.duration_since(date) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    if off > CLOCK_OFF_MAX {
        let seen = format!("this node's clock is {} s {which} the origin's", off.as_secs());
        report.add(
            "clock",
            Verdict::Warning,
            seen,
            "set the clock (NTP): certificates and signed URLs fail on a wrong one",
        );
    } else {
        report.good("clock", "this node's clock agrees with the origin's");
    }
}

fn circle(asking: &Asking<'_>, fields: &HeaderMap, report: &mut Report) {
    let came_by = fields.get_all(header::VIA).iter().filter_map(|value| value.to_str().ok());
    let server = text(fields, &header::SERVER).unwrap_or_default();
    if came_by.into_iter().any(|via| via::names(via, &asking.core.config.node)) {
        let seen = "the answer came by way of this node itself";
        report.add(
            "loop",
            Verdict::Bad,
            seen,
            "an upstream, a proxy or a name server leads back here; break the circle",
        );
    } else if server.to_ascii_lowercase().starts_with("waystation") && asking.location.standing == Standing::Allowed {
        let seen = "a Waystation node answers under the origin's name";
        let advice = "if that is meant, name it as [upstream] url; else a name server leads back into the site";
        report.add("loop", Verdict::Warning, seen, advice);
    } else {
        report.good("loop", "nothing leads back to this node");
    }
}

fn coding(fields: &HeaderMap, report: &mut Report) {
    match text(fields, &header::CONTENT_ENCODING).map(str::trim) {
        Some(coding) if !coding.is_empty() && !coding.eq_ignore_ascii_case("identity") => report.add(
            "coding",
            Verdict::Bad,
            format!("the body is compressed ({coding:?}) though that was refused"),
            "a proxy on the way compresses: exempt the host, for nothing that it touches can be kept",
        ),
        _ => report.good("coding", "the body is not compressed"),
    }
}

/// The object's length, if the first byte was answered as a range of it.
fn range(status: u16, fields: &HeaderMap, report: &mut Report) -> Option<u64> {
    if status == 200 {
        report.add(
            "range",
            Verdict::Warning,
            "a range was asked for and the whole came",
            "a firewall or proxy on the way strips Range, or the origin cannot: updates then cost their whole size each \
             time; let Range through (for BITS and WSUS too)",
        );
        return None;
    }
    let told = text(fields, &header::CONTENT_RANGE).unwrap_or_default();
    let total = told.strip_prefix("bytes 0-0/").and_then(|total| total.parse::<u64>().ok());
    match total {
        Some(_) => report.good("range", "a range was answered as one"),
        None => report.add(
            "range",
            Verdict::Bad,
            format!("the first byte was asked for, and the Content-Range is {told:?}"),
            "what answers here cannot be trusted with ranges; check the proxies on the way",
        ),
    }
    total
}

/// Whether range and whole agree; says whether a small answer came through.
async fn body(asking: &Asking<'_>, total: Option<u64>, report: &mut Report) -> bool {
    let Some(total) = total else {
        report.skipped("body", "there is no range to compare the whole with");
        return true;
    };
    let len = total.min(COMPARED);
    let part = match asking.range(&asking.core.clients, len).await {
        Ok((response, _)) => read(asking, response, len).await,
        Err(failure) => Read { bytes: Vec::new(), trouble: Some(failure.cause.to_string()) },
    };
    let (front, length) = match asking.whole().await {
        Ok((response, _)) => {
            let length =
                text(response.headers(), &header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
            (read(asking, response, len).await, length)
        }
        Err(failure) => (Read { bytes: Vec::new(), trouble: Some(failure.cause.to_string()) }, None),
    };
    let advice =
        "something on the way alters what passes (a virus scanner, a compressing or caching proxy): exempt the host";
    if let Some(trouble) = part.trouble.or(front.trouble) {
        report.add("body", Verdict::Bad, format!("the first {len} bytes did not come: {trouble}"), advice);
        return false;
    }
    if part.bytes != front.bytes {
        report.add("body", Verdict::Bad, "a range and the whole begin with different bytes", advice);
    } else if length.is_some_and(|length| length != total) {
        let seen = format!("the whole is {} bytes long, and by a range {total}", length.unwrap_or_default());
        report.add("body", Verdict::Bad, seen, advice);
    } else {
        report.good("body", "a range and the whole agree");
    }
    true
}

/// Whether full-sized packets come through.
async fn mtu(asking: &Asking<'_>, total: Option<u64>, small: bool, report: &mut Report) {
    let Some(len) = total.map(|total| total.min(LARGE)).filter(|len| small && *len > COMPARED) else {
        return report.skipped("mtu", "no object that is large enough came through by a range");
    };
    let got = match asking.range(&asking.core.clients, len).await {
        Ok((response, _)) => read(asking, response, len).await,
        Err(failure) => Read { bytes: Vec::new(), trouble: Some(failure.cause.to_string()) },
    };
    match got.trouble {
        None => report.good("mtu", format!("{len} bytes came at a stretch")),
        Some(trouble) => report.add(
            "mtu",
            Verdict::Warning,
            format!("small answers come, but of {len} bytes only {} did: {trouble}", got.bytes.len()),
            "large packets may be lost on the way (a tunnel or VPN that swallows ICMP): lower the MTU of this node's \
             interface, or clamp the MSS at the router",
        ),
    }
}

struct Read {
    bytes: Vec<u8>,
    trouble: Option<String>,
}

/// The first `len` bytes of a body, and why there are fewer.
async fn read(asking: &Asking<'_>, mut response: Response, len: u64) -> Read {
    let until = Instant::now() + CHECK.min(asking.limit());
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    let trouble = loop {
        if bytes.len() >= len {
            bytes.truncate(len);
            break None;
        }
        match timeout_at(until, response.chunk()).await {
            Ok(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
            Ok(Ok(None)) => break Some("the body ended too early".to_owned()),
            Ok(Err(error)) => break Some(error.without_url().to_string()),
            Err(_) => break Some("then nothing came any more".to_owned()),
        }
    };
    Read { bytes, trouble }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(check: impl FnOnce(&mut Report)) -> Verdict {
        let mut report = Report::of("");
        check(&mut report);
        report.findings[0].verdict
    }

    #[test]
    fn clocks() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let origin = httpdate::parse_http_date(date).unwrap();
        let fields = HeaderMap::from_iter([(header::DATE, date.parse().unwrap())]);
        for (off, expected) in [(0, Verdict::Good), (299, Verdict::Good), (301, Verdict::Warning)] {
            let off = Duration::from_secs(off);
            for now in [origin + off, origin - off] {
                assert_eq!(verdict(|report| clock(&fields, now, report)), expected);
            }
        }
        assert_eq!(verdict(|report| clock(&HeaderMap::new(), origin, report)), Verdict::Skipped);
    }
}
