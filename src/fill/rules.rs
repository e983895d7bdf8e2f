//! What is known beforehand about addresses: which never change under their name, which must never be kept, which
//! query arguments are a signature and not part of the name. Pure tables and predicates.
//!
//! The lists follow the delivery-optimization-endpoints page of Microsoft's documentation and the rules that the
//! well-known LAN caches ship; an administrator extends the allow-list, not these.

use crate::model::origin;

/// Where `/[cd]/msdownload/..` lies: what `UpdateServiceUrlAlternate` clients ask an alternate download server for.
pub(super) const DOWNLOAD_HOST: &str = "download.windowsupdate.com";

/// Trust lists: they change in place, and an old one is a security fault.
const NEVER_KEPT: [&str; 3] = ["authrootstl.cab", "disallowedcertstl.cab", "pinrulesstl.cab"];

/// Paths on Microsoft's delivery hosts whose objects never change under their name.
const IMMUTABLE: [&str; 5] = [origin::SIGNED_PATH, "/c/msdownload/", "/d/msdownload/", "/phf/", "/mscomtest/"];

/// One object of each family of the shipped list that anybody may ask for, for `doctor`.
pub(super) const EXAMPLES: [&str; 5] = [
    "http://download.windowsupdate.com/mscomtest/wuidt.gif",
    "http://au.download.windowsupdate.com/mscomtest/wuidt.gif",
    "http://ctldl.windowsupdate.com/msdownload/update/v3/static/trustedr/en/disallowedcertstl.cab",
    "http://tlu.dl.delivery.mp.microsoft.com/mscomtest/wuidt.gif",
    "http://officecdn.microsoft.com/pr/492350f6-3a01-4f97-b9c0-c7c6ddf67d60/Office/Data/v64.cab",
];

/// Whether the path's object must never be kept.
pub(super) fn never_kept(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    NEVER_KEPT.iter().any(|never| name.eq_ignore_ascii_case(never))
}

/// Whether the object never changes under its name. `microsoft`: the host is one of Microsoft's delivery hosts.
pub(super) fn immutable(microsoft: bool, path: &str) -> bool {
    if !microsoft {
        return false;
    }
    let lower = path.to_ascii_lowercase();
    IMMUTABLE.iter().any(|prefix| lower.starts_with(prefix)) || office_build(&lower)
}

/// `/pr/<channel>/office/data/<version>/..`: Office's files lie under the build's number; what lies beside that folder
/// (`v64.cab`) says which build is current, and changes.
fn office_build(lower: &str) -> bool {
    let Some((_, rest)) = lower.split_once("/office/data/") else {
        return false;
    };
    let Some((version, file)) = rest.split_once('/') else {
        return false;
    };
    !file.is_empty()
        && version.split('.').count() == 4
        && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Whether a query argument is a signature on such a path of Microsoft's hosts.
pub(super) fn is_signature(microsoft: bool, path: &str, name: &str) -> bool {
    microsoft && origin::is_signature(path, name)
}

/// `/c/msdownload/..` or `/d/msdownload/..`.
pub(super) fn is_download_path(path: &str) -> bool {
    ["/c/msdownload/", "/d/msdownload/"].iter().any(|shape| {
        path.get(..shape.len()).is_some_and(|start| start.eq_ignore_ascii_case(shape)) && path.len() > shape.len()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_lists_are_never_kept_whatever_their_case_and_folder() {
        for path in
            ["/msdownload/update/v3/static/trustedr/en/authrootstl.cab", "/x/DisallowedCertSTL.cab", "/pinrulesstl.cab"]
        {
            assert!(never_kept(path), "{path}");
        }
        assert!(!never_kept("/authrootstl.cab/other.cab") && !never_kept("/xauthrootstl.cab"));
    }

    #[test]
    fn only_microsofts_fixed_paths_are_immutable() {
        for path in [
            "/filestreamingservice/files/0a1b",
            "/c/msdownload/update/x.cab",
            "/D/MSDownload/x",
            "/phf/a",
            "/pr/4923/Office/Data/16.0.1.2/stream.x64.dat",
        ] {
            assert!(immutable(true, path), "{path}");
            assert!(!immutable(false, path), "{path}");
        }
        for path in
            ["/", "/pr/4923/Office/Data/v64.cab", "/pr/4923/Office/Data/16.0.1.2/", "/e/msdownload/x", "/a/phf/b"]
        {
            assert!(!immutable(true, path), "{path}");
        }
    }

    #[test]
    fn a_signature_is_one_only_where_microsoft_signs() {
        assert!(is_signature(true, "/filestreamingservice/files/x", "P1"));
        assert!(!is_signature(false, "/filestreamingservice/files/x", "P1"));
        assert!(!is_signature(true, "/filestreamingservice/files/x", "P5"));
        assert!(!is_signature(true, "/files/x", "P1"));
        assert!(is_download_path("/d/msdownload/update/x.cab") && !is_download_path("/d/msdownload/"));
    }
}
