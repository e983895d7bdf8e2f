//! The words of the answers, as templates taken from the shape of recorded ones. Nothing of the node's own codec is in here.

use std::fmt::Write as _;

use crate::clock::anchor;
use crate::guid::{Guid, Identity};
use crate::names::LANGUAGES;

/// The namespace of nearly everything.
pub(crate) const SYNC: &str = "http://www.microsoft.com/SoftwareDistribution";

/// The namespace of the authorization service.
pub(crate) const AUTH: &str = "http://www.microsoft.com/SoftwareDistribution/Server/DssAuthWebService";

/// What stands around an answer.
pub(crate) fn envelope(soap12: bool, inside: &str) -> String {
    let namespace = envelope_namespace(soap12);
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="{namespace}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"><soap:Body>{inside}</soap:Body></soap:Envelope>"#
    )
}

fn envelope_namespace(soap12: bool) -> &'static str {
    if soap12 { "http://www.w3.org/2003/05/soap-envelope" } else { "http://schemas.xmlsoap.org/soap/envelope/" }
}

/// A fault with the detail block.
pub(crate) fn fault(soap12: bool, actor: &str, method: &str, code: &str, message: &str, id: Guid) -> String {
    let namespace = if method == "GetAuthorizationCookie" { AUTH } else { SYNC };
    let client = !matches!(code, "InternalServerError" | "ServerBusy" | "ServerChanged");
    let message = message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let detail = format!(
        r#"<ErrorCode>{code}</ErrorCode><Message>{message}</Message><ID>{id}</ID><Method>"{namespace}/{method}"</Method>"#
    );
    if soap12 {
        let side = if client { "Sender" } else { "Receiver" };
        return envelope(
            true,
            &format!(
                r#"<soap:Fault><soap:Code><soap:Value>soap:{side}</soap:Value></soap:Code><soap:Reason><soap:Text xml:lang="en">Fault occurred</soap:Text></soap:Reason><soap:Node>{actor}</soap:Node><soap:Detail><Detail>{detail}</Detail></soap:Detail></soap:Fault>"#
            ),
        );
    }
    let side = if client { "Client" } else { "Server" };
    envelope(
        false,
        &format!(
            "<soap:Fault><faultcode>soap:{side}</faultcode><faultstring>Fault occurred</faultstring><faultactor>{actor}</faultactor><detail>{detail}</detail></soap:Fault>"
        ),
    )
}

pub(crate) fn auth_config(last_change: &str) -> String {
    format!(
        r#"<GetAuthConfigResponse xmlns="{SYNC}"><GetAuthConfigResult><LastChange>{last_change}</LastChange><AuthInfo><AuthPlugInInfo><PlugInID>DssTargeting</PlugInID><ServiceUrl>DssAuthWebService/DssAuthWebService.asmx</ServiceUrl><Parameter /></AuthPlugInInfo></AuthInfo></GetAuthConfigResult></GetAuthConfigResponse>"#
    )
}

pub(crate) fn authorization_cookie(data: &str) -> String {
    format!(
        r#"<GetAuthorizationCookieResponse xmlns="{AUTH}"><GetAuthorizationCookieResult><PlugInId>DssTargeting</PlugInId><CookieData>{data}</CookieData></GetAuthorizationCookieResult></GetAuthorizationCookieResponse>"#
    )
}

pub(crate) fn cookie(expiration: &str, data: &str) -> String {
    format!(
        r#"<GetCookieResponse xmlns="{SYNC}"><GetCookieResult><Expiration>{expiration}</Expiration><EncryptedData>{data}</EncryptedData></GetCookieResult></GetCookieResponse>"#
    )
}

/// `languages`: whether they are told; they never change, so that only who brings no anchor hears them.
pub(crate) fn config_data(microsoft: bool, counter: u64, now: i64, languages: bool) -> String {
    let mut list = String::new();
    if languages {
        let all = std::iter::once(&(0, "all", "all")).chain(LANGUAGES);
        for (id, short, long) in all {
            // Writing to a string does not fail.
            let _ = write!(
                list,
                "<ServerSyncLanguageData><LanguageID>{id}</LanguageID><ShortLanguage>{short}</ShortLanguage><LongLanguage>{long}</LongLanguage><Enabled>{}</Enabled></ServerSyncLanguageData>",
                *id == 1033
            );
        }
        list = format!("<LanguageUpdateList>{list}</LanguageUpdateList>");
    } else {
        list.push_str("<LanguageUpdateList />");
    }
    let (computers, sets, hardware, version, decryption) =
        if microsoft { (200, 100, 450, "1.21", 500) } else { (0, 0, 0, "1.20", 100) };
    format!(
        r#"<GetConfigDataResponse xmlns="{SYNC}"><GetConfigDataResult><CatalogOnlySync>{microsoft}</CatalogOnlySync><LazySync>true</LazySync><ServerHostsPsfFiles>{microsoft}</ServerHostsPsfFiles><MaxNumberOfComputerIdsInRequest>{computers}</MaxNumberOfComputerIdsInRequest><MaxNumberOfDriverSetsPerRequest>{sets}</MaxNumberOfDriverSetsPerRequest><MaxNumberOfPnpHardwareIdsInRequest>{hardware}</MaxNumberOfPnpHardwareIdsInRequest><MaxNumberOfUpdatesPerRequest>100</MaxNumberOfUpdatesPerRequest><NewConfigAnchor>{}</NewConfigAnchor><ProtocolVersion>{version}</ProtocolVersion>{list}<MaxUpdatesPerRequestInGetUpdateDecryptionData>{decryption}</MaxUpdatesPerRequestInGetUpdateDecryptionData></GetConfigDataResult></GetConfigDataResponse>"#,
        anchor(counter, now)
    )
}

pub(crate) fn revision_id_list(counter: u64, now: i64, found: &[Identity]) -> String {
    let mut out = String::with_capacity(300 + 140 * found.len());
    // Writing to a string does not fail.
    let _ = write!(
        out,
        r#"<GetRevisionIdListResponse xmlns="{SYNC}"><GetRevisionIdListResult><Anchor>{}</Anchor>"#,
        anchor(counter, now)
    );
    if found.is_empty() {
        out.push_str("<NewRevisions />");
    } else {
        out.push_str("<NewRevisions>");
        for (id, revision) in found {
            let _ = write!(
                out,
                "<UpdateIdentity><UpdateID>{id}</UpdateID><RevisionNumber>{revision}</RevisionNumber></UpdateIdentity>"
            );
        }
        out.push_str("</NewRevisions>");
    }
    out.push_str("</GetRevisionIdListResult></GetRevisionIdListResponse>");
    out
}

/// A document as it travels.
pub(crate) enum Blob {
    Text(String),
    /// A cabinet in base64, or what was made of it.
    Compressed(String),
}

/// One update of GetUpdateData; `digests` in base64.
pub(crate) fn update_data((id, revision): &Identity, digests: &[String], blob: &Blob) -> String {
    let mut list = String::new();
    if !digests.is_empty() {
        list.push_str("<FileDigestList>");
        for digest in digests {
            let _ = write!(list, "<base64Binary>{digest}</base64Binary>");
        }
        list.push_str("</FileDigestList>");
    }
    let head =
        format!("<ServerSyncUpdateData><Id><UpdateID>{id}</UpdateID><RevisionNumber>{revision}</RevisionNumber></Id>");
    match blob {
        Blob::Text(text) => {
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            format!("{head}<XmlUpdateBlob>{text}</XmlUpdateBlob>{list}</ServerSyncUpdateData>")
        }
        Blob::Compressed(text) => {
            format!("{head}{list}<XmlUpdateBlobCompressed>{text}</XmlUpdateBlobCompressed></ServerSyncUpdateData>")
        }
    }
}

pub(crate) fn file_url(digest: &str, url: &str) -> String {
    format!(
        "<ServerSyncUrlData><FileDigest>{digest}</FileDigest><MUUrl>{}</MUUrl><UssUrl /></ServerSyncUrlData>",
        url.replace('&', "&amp;")
    )
}

pub(crate) fn update_data_list(updates: &str, urls: &str) -> String {
    let wrap = |name: &str, inside: &str| {
        if inside.is_empty() { format!("<{name} />") } else { format!("<{name}>{inside}</{name}>") }
    };
    format!(
        r#"<GetUpdateDataResponse xmlns="{SYNC}"><GetUpdateDataResult>{}{}</GetUpdateDataResult></GetUpdateDataResponse>"#,
        wrap("updates", updates),
        wrap("fileUrls", urls)
    )
}

/// Answers of methods that have nothing to tell.
pub(crate) fn empty(method: &str, anchor: &str) -> String {
    let inside = match method {
        "DownloadFiles" => return format!(r#"<DownloadFilesResponse xmlns="{SYNC}" />"#),
        "GetUpdateDecryptionData" => "<UpdateFileDecryptionData />".to_owned(),
        "GetDriverIdList" => {
            format!("<Anchor>{anchor}</Anchor><NewRevisions /><NewDriverSets /><RemovedDriverSets />")
        }
        "GetDriverSetData" => String::new(),
        _ => format!(
            "<Anchor>{anchor}</Anchor><Groups /><Deployments /><DeadDeployments /><HiddenUpdates /><AcceptedEulas />"
        ),
    };
    format!(r#"<{method}Response xmlns="{SYNC}"><{method}Result>{inside}</{method}Result></{method}Response>"#)
}
