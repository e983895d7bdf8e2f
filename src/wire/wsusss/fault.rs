//! What a refusal means for the run that met it (MS-WSUSSS 2.2.9.3, and the tables of each operation).

use crate::base::digest::Sha1;
use crate::wire::soap::Fault;
use crate::wire::wsusss::method::Method;

/// Why a server refuses; case counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultCode {
    /// A parameter is wrong; the message names it.
    InvalidParameters,
    /// Something failed there. Also: one of the revisions asked for is not known.
    InternalServerError,
    /// No cookie, one that has ended, or one of another server.
    InvalidCookie,
    /// The same of the authorization cookie.
    InvalidAuthorizationCookie,
    /// It does not speak this version.
    IncompatibleProtocolVersion,
    /// It is another server than before, or has been set back.
    ServerChanged,
    /// It has too much to do.
    ServerBusy,
    /// It does not know files that it was asked to fetch; the message names their digests.
    FileDigestsMissing,
    /// Too many driver sets at once.
    TooManyIds,
}

impl FaultCode {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::InvalidParameters,
        Self::InternalServerError,
        Self::InvalidCookie,
        Self::InvalidAuthorizationCookie,
        Self::IncompatibleProtocolVersion,
        Self::ServerChanged,
        Self::ServerBusy,
        Self::FileDigestsMissing,
        Self::TooManyIds,
    ];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidParameters => "InvalidParameters",
            Self::InternalServerError => "InternalServerError",
            Self::InvalidCookie => "InvalidCookie",
            Self::InvalidAuthorizationCookie => "InvalidAuthorizationCookie",
            Self::IncompatibleProtocolVersion => "IncompatibleProtocolVersion",
            Self::ServerChanged => "ServerChanged",
            Self::ServerBusy => "ServerBusy",
            Self::FileDigestsMissing => "FileDigestsMissing",
            Self::TooManyIds => "TooManyIds",
        }
    }

    /// The one that this word stands for.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == word)
    }
}

/// What to do about a refusal. How often is the caller's business: each of them can repeat itself for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Begin again with `GetAuthConfig` and ask the same question with the new cookie.
    Reauthorize,
    /// Forget all anchors (configuration, revisions, deployments) and list everything again.
    ResetAnchors,
    /// Wait, longer each time, and ask again.
    BackOff,
    /// Ask for the two halves by themselves; an item that is refused alone is set aside with the reason.
    Bisect,
    /// What was asked for has gone out of date: begin the run again from the configuration on.
    Restart,
    /// Nothing helps: end the run, and say why.
    Stop,
}

/// What to do about the refusal of `method`.
///
/// Two differ from what the specification's table says for Windows, which stops: a batch of documents is bisected, since one
/// unknown revision makes a real server refuse all of them, and a server that is busy is waited for.
pub fn reaction(method: Method, fault: &Fault) -> Reaction {
    // A fault without a code: stop (2.2.9.3).
    let Some(detail) = &fault.detail else { return Reaction::Stop };
    let batch = matches!(method, Method::GetUpdateData | Method::GetUpdateDecryptionData | Method::GetDriverSetData);
    match FaultCode::of(&detail.code) {
        Some(FaultCode::InvalidCookie | FaultCode::InvalidAuthorizationCookie) => Reaction::Reauthorize,
        Some(FaultCode::ServerChanged) => Reaction::ResetAnchors,
        Some(FaultCode::ServerBusy) => Reaction::BackOff,
        Some(FaultCode::FileDigestsMissing) => Reaction::Restart,
        Some(FaultCode::TooManyIds) => Reaction::Bisect,
        Some(FaultCode::InternalServerError) if batch => Reaction::Bisect,
        // Real servers name the parameter: too many ids, or an anchor that they cannot read.
        Some(FaultCode::InvalidParameters) => match (method, detail.message.as_str()) {
            (_, "updateIds" | "driverSets") if batch => Reaction::Bisect,
            (Method::GetRevisionIdList | Method::GetDriverIdList, "filter")
            | (Method::GetConfigData, "configAnchor")
            | (Method::GetDeployments, "deploymentAnchor" | "syncAnchor") => Reaction::ResetAnchors,
            _ => Reaction::Stop,
        },
        Some(FaultCode::InternalServerError | FaultCode::IncompatibleProtocolVersion) | None => Reaction::Stop,
    }
}

/// The digests that a `FileDigestsMissing` names, joined by `|`, in base64 or hex; what is neither is left out.
pub fn missing_digests(message: &str) -> Vec<Sha1> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    message
        .split('|')
        .map(str::trim)
        .filter_map(|text| {
            text.parse().ok().or_else(|| {
                let bytes: [u8; 20] = STANDARD.decode(text).ok()?.try_into().ok()?;
                Some(Sha1::new(bytes))
            })
        })
        .collect()
}
