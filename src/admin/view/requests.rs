//! What the writes of the API are given. A field that is not known is refused, so that a misspelt one is not passed over.

use serde::{Deserialize, Serialize};

/// `POST /api/v1/fetch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchRequest {
    /// What to fill.
    pub items: Vec<FetchItem>,
    /// Whether to pin it.
    #[serde(default)]
    pub pin: bool,
    /// Whether to ask the origins again for what is held, fresh or not.
    #[serde(default)]
    pub refresh: bool,
}

/// One address to fill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchItem {
    /// The URL, or a path of a digest form.
    pub url: String,
    /// The SHA-256 that it must turn out to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// `POST /api/v1/store/verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// Only the payload of this digest or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
    /// Mend what is bad.
    #[serde(default)]
    pub repair: bool,
    /// Bytes a second to read at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
}

/// `POST /api/v1/store/backup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    /// The new file, absolute, on the node's machine.
    pub to: String,
}

/// `POST /api/v1/content/import`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// Files and directories, absolute, on the node's machine.
    pub paths: Vec<String>,
    /// Take the files themselves instead of copies.
    #[serde(default, rename = "move")]
    pub take: bool,
    /// The SHA-256 that the one file must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The address that the one file is to be answered under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_field_of_a_request_is_refused() {
        assert!(serde_json::from_str::<VerifyRequest>("{\"repiar\":true}").is_err());
        let request: ImportRequest = serde_json::from_str("{\"paths\":[\"/a\"],\"move\":true}").unwrap();
        assert!(request.take);
    }
}
