//! The words for what became of a request: the same in `Cache-Status` (RFC 9211), logs, metrics and tests.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a content request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// From a held payload: no byte was asked of anyone.
    Hit,
    /// The object was not held at all.
    Miss,
    /// Part of it was held in a draft.
    Partial,
    /// A held version had outlived its freshness and the origin was asked.
    Stale,
    /// Not answered with content: no rule matched, a bad request, or an error.
    Refused,
}

/// What `detail=` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// Every known published digest matched.
    Proven,
    /// Complete and consistent, but nobody published a digest.
    Unproven,
    /// The bytes come from a flight that is not proven yet.
    Streaming,
    /// Streamed through and not kept.
    Passed,
}

/// One request's fate, as `Cache-Status` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheStatus {
    /// See [`Outcome`].
    pub outcome: Outcome,
    /// Whether the answer will be kept.
    pub stored: bool,
    /// Whether the request joined a flight that another one had started.
    pub collapsed: bool,
    /// See [`Detail`].
    pub detail: Option<Detail>,
}

impl Outcome {
    /// The word for logs and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Partial => "partial",
            Self::Stale => "stale",
            Self::Refused => "refused",
        }
    }
}

impl Detail {
    /// The word for logs and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Unproven => "unproven",
            Self::Streaming => "streaming",
            Self::Passed => "passed",
        }
    }
}

impl fmt::Display for CacheStatus {
    /// The field value of RFC 9211.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("waystation")?;
        match self.outcome {
            Outcome::Hit => f.write_str("; hit")?,
            Outcome::Refused => {}
            fwd => write!(f, "; fwd={}", fwd.word())?,
        }
        if self.stored {
            f.write_str("; stored")?;
        }
        if self.collapsed {
            f.write_str("; collapsed")?;
        }
        if let Some(detail) = self.detail {
            write!(f, "; detail={}", detail.word())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_it_in_the_words_of_rfc_9211() {
        let status =
            |outcome, stored, collapsed, detail| CacheStatus { outcome, stored, collapsed, detail }.to_string();
        assert_eq!(status(Outcome::Hit, false, false, Some(Detail::Proven)), "waystation; hit; detail=proven");
        assert_eq!(
            status(Outcome::Miss, true, true, Some(Detail::Streaming)),
            "waystation; fwd=miss; stored; collapsed; detail=streaming"
        );
        assert_eq!(status(Outcome::Stale, false, false, None), "waystation; fwd=stale");
    }
}
