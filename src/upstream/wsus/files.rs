//! Asking a server for files that it has not fetched itself yet (MS-WSUSSS 3.1.4.11).

use std::collections::BTreeSet;

use crate::base::digest::Sha1;
use crate::upstream::wsus::Core;
use crate::upstream::wsus::ask::whole;
use crate::upstream::wsus::error::Error;
use crate::upstream::wsus::patience::{Step, Tries};
use crate::upstream::wsus::session::Visitor;
use crate::wire::wsusss::fault::missing_digests;
use crate::wire::wsusss::files::{DOWNLOAD_FILES_MAX, DownloadFiles};
use crate::wire::wsusss::{Answer, FaultCode, Method};

/// See [`crate::upstream::wsus::Wsus::download_files`]. Returns those that the server does not know.
pub(super) async fn download_files(core: &Core, digests: &[Sha1]) -> Result<Vec<Sha1>, Error> {
    let mut unknown = Vec::new();
    let mut visitor = Visitor::new(core);
    for some in digests.chunks(DOWNLOAD_FILES_MAX) {
        ask(core, &mut visitor, some.iter().copied().collect(), &mut unknown).await?;
    }
    Ok(unknown)
}

/// Asks for up to [`DOWNLOAD_FILES_MAX`]; a server that does not know one refuses all, so the others are asked for again.
async fn ask(
    core: &Core,
    visitor: &mut Visitor<'_>,
    mut wanted: BTreeSet<Sha1>,
    unknown: &mut Vec<Sha1>,
) -> Result<(), Error> {
    let mut tries = Tries::new(core, Method::DownloadFiles);
    while !wanted.is_empty() {
        let cookie = Some(visitor.cookie().await?);
        let call = DownloadFiles { cookie, digests: wanted.iter().copied().collect() };
        let fault = match whole(core, &core.sync_url, &call).await {
            Ok(Answer::Done(())) => return Ok(()),
            Ok(Answer::Fault(fault)) => fault,
            Err(trouble) => {
                tries.failed(trouble).await?;
                continue;
            }
        };
        let missing =
            fault.detail.as_ref().filter(|detail| FaultCode::of(&detail.code) == Some(FaultCode::FileDigestsMissing));
        let before = wanted.len();
        for digest in missing.map(|detail| missing_digests(&detail.message)).unwrap_or_default() {
            if wanted.remove(&digest) {
                unknown.push(digest);
            }
        }
        if wanted.len() < before {
            continue;
        }
        match visitor.refusal(&mut tries, &fault).await? {
            Step::Again | Step::Reauthorize => {}
            Step::Bisect => return Err(tries.refused(fault.to_string())),
        }
    }
    Ok(())
}
