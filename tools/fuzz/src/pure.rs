//! Parsers that are functions of their bytes: request headers, origins and addresses, the configuration, control calls.

use std::ffi::OsString;
use std::sync::OnceLock;

use http::header::{
    HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderMap, Method};
use waystation::app::{Flags, load_with};
use waystation::base::digest::{Blake3, Sha1, Sha256};
use waystation::base::time::Timestamp;
use waystation::jobs::address::Address;
use waystation::model::name::OriginKey;
use waystation::model::origin::{AllowList, Host};
use waystation::net::tls::names::SiteName;
use waystation::wire::conditional::{Decision, Object, decide, exactly_wanted, first_wanted};
use waystation::wire::multipart::{Boundary, Multipart};

/// The first byte is the object, each line after it a header: its first byte says which, the rest is the value. What is
/// selected must lie in the object, and a multipart answer must be as long as it says.
pub fn request(data: &[u8]) {
    const NAMES: [HeaderName; 6] = [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];
    let Some((&first, rest)) = data.split_first() else { return };
    let size = [0, 1, 2, 4096, 65_537, 1 << 32, u64::MAX - 1, u64::MAX][usize::from(first & 7)];
    let method = if first & 8 == 0 { Method::GET } else { Method::HEAD };
    let mut headers = HeaderMap::new();
    for line in rest.split(|byte| *byte == b'\n') {
        if let Some((&which, value)) = line.split_first()
            && let Ok(value) = HeaderValue::from_bytes(value)
        {
            headers.append(NAMES[usize::from(which) % NAMES.len()].clone(), value);
        }
    }
    let object = Object {
        size,
        tag: "sha256-aa",
        last_modified: (first & 16 != 0).then_some("Wed, 02 Sep 2026 08:30:53 GMT"),
        now: Timestamp::from_ms(1_790_000_000_000),
    };
    match decide(&method, &headers, &object) {
        Decision::Single(span) => assert!(!span.is_empty() && span.end() <= size),
        Decision::Multi(spans) => {
            assert!(spans.len() >= 2 && spans.iter().all(|span| !span.is_empty() && span.end() <= size));
            let multipart = Multipart::new(Boundary::new([7; 16]), size, spans.clone());
            let mut sum = multipart.tail().len() as u64;
            for (at, span) in spans.iter().enumerate() {
                sum += multipart.head(*span, at == 0).len() as u64 + (span.end() - span.start());
            }
            assert_eq!(multipart.content_length(), sum);
        }
        _ => {}
    }
    let (from, last) = first_wanted(&method, &headers);
    assert!(last.is_none_or(|last| last >= from));
    if let Some((from, last)) = exactly_wanted(&method, &headers) {
        assert!(last.is_none_or(|last| last >= from));
    }
}

/// Hosts, allow-lists (an entry a line), addresses of verbs, origin keys, digests, site names.
pub fn origin(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let entries: Vec<String> = text.lines().map(str::to_owned).collect();
    let list = AllowList::new(&entries);
    for line in &entries {
        if let Ok(host) = Host::parse(line) {
            assert_eq!(Host::parse(host.as_str()).as_ref().map(Host::as_str).ok(), Some(host.as_str()));
            if let Ok(list) = &list {
                let _ = (list.permit(&host, Some(80)), list.permit(&host, None), list.admits(true, &host, 443));
            }
        }
        if let Ok(address) = Address::parse(line) {
            let _ = address.ask();
        }
        if let Ok(key) = OriginKey::new(line) {
            let _ = (key.host(), key.target());
        }
        let _ = (line.parse::<SiteName>(), line.parse::<Sha1>(), line.parse::<Sha256>(), line.parse::<Blake3>());
    }
    if let Ok(list) = list {
        let _ = (list.warnings(), list.literal_hosts());
    }
}

/// A configuration file. Refused or read, and a refusal has words.
pub fn settings(data: &[u8]) {
    static PLACE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let place = PLACE.get_or_init(|| tempfile::tempdir_in("/dev/shm").expect("a directory in memory"));
    let file = place.path().join("waystation.toml");
    std::fs::write(&file, data).expect("a file in memory");
    let flags = Flags {
        config: Some(file),
        data: Some(place.path().join("data")),
        set: Vec::new(),
        log: None,
        log_format: None,
    };
    match load_with(&flags, std::iter::empty::<(OsString, OsString)>()) {
        Ok(loaded) => drop(loaded.settings().clone()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Bodies of control calls.
pub fn control(data: &[u8]) {
    use waystation::admin::view::{BackupRequest, FetchRequest, ImportRequest, VerifyRequest};
    if let Ok(request) = serde_json::from_slice::<FetchRequest>(data) {
        for item in &request.items {
            let _ = Address::parse(&item.url);
            let _ = item.sha256.as_ref().map(|text| text.parse::<Sha256>());
        }
    }
    let _ = serde_json::from_slice::<BackupRequest>(data);
    let _ = serde_json::from_slice::<ImportRequest>(data);
    let _ = serde_json::from_slice::<VerifyRequest>(data);
}
