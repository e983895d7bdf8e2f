//! One file, asked of `fill`: what its error means for the job.

use crate::fill::{self, Fill};
use crate::jobs::Shared;
use crate::jobs::address::Address;
use crate::jobs::board::{Record, Step};
use crate::jobs::error::Error;
use crate::jobs::target::target;
use crate::pace::Class;
use crate::store;
use crate::store::catalog::{UpstreamKind, WantedFile};

/// Why a file did not come.
pub(super) enum Failed {
    /// It may come later.
    Later(String),
    /// It will not, unless something is mended.
    Never(String),
    /// All of it came and was not what is published.
    Mismatch(String),
    /// There is no use in going on.
    All(Error),
}

/// Brings a file in this class of bandwidth; says how long it is. `at` is its line.
pub(super) async fn one(
    shared: &Shared,
    record: &Record,
    at: Option<usize>,
    (file, class): (&WantedFile, Class),
    from: UpstreamKind,
) -> Result<u64, Failed> {
    let fill: &Fill = shared.fill().map_err(Failed::All)?;
    let target = target(fill, file, from).map_err(|error| Failed::Never(error.to_string()))?;
    if let Some(at) = at {
        record.line(at, |line| {
            (line.step, line.name) = (Step::Running, Some(target.name.clone()));
        });
    }
    match fill.prefetch_as(&target, class).await {
        Ok(found) => Ok(found.held.payload().size),
        Err(fill::Error::Closing) => Err(Failed::All(Error::Stopped)),
        Err(fill::Error::Store(error)) => Err(match &*error {
            store::Error::Full { .. } | store::Error::Busy { .. } | store::Error::Gone => {
                Failed::Later(error.to_string())
            }
            store::Error::Mismatch { .. } => Failed::Mismatch(error.to_string()),
            store::Error::Invalid { .. } => Failed::Never(error.to_string()),
            _ => Failed::All(Error::Kept(error)),
        }),
        Err(error @ fill::Error::Mismatch { .. }) => Err(Failed::Mismatch(Address::redact(&error.to_string()))),
        Err(error) if error.is_retryable() => Err(Failed::Later(Address::redact(&error.to_string()))),
        Err(error) => Err(Failed::Never(error.to_string())),
    }
}
