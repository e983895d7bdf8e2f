//! `DownloadFiles`: please have these files (MS-WSUSSS 3.1.4.11). A server asks so after a 404, which this node does not answer for what its
//! catalog knows: it fills on the first request. So it is a hint that they will be wanted soon.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::base::digest::Sha1;
use crate::serve::downstream::{Downstream, Error, parameter};
use crate::wire::wsusss::FaultCode;
use crate::wire::wsusss::files::{DOWNLOAD_FILES_MAX, DownloadFiles};

/// Who is told of files that a server below wants, all of which the catalog knows. Called on a reactor thread: it must not block.
pub type Wish = Box<dyn Fn(Vec<Sha1>) + Send + Sync>;

impl Downstream {
    /// To `DownloadFiles`.
    pub(super) async fn download(&self, request: DownloadFiles) -> Result<(), Error> {
        let many = request.digests.len();
        if many == 0 || many > DOWNLOAD_FILES_MAX {
            return Err(parameter(
                "fileDigestList",
                format!("{many} digests, where 1 to {DOWNLOAD_FILES_MAX} are taken"),
            ));
        }
        let asked: BTreeSet<Sha1> = request.digests.into_iter().collect();
        let asked: Vec<Sha1> = asked.into_iter().collect();
        let names = self.catalog.file_names(asked.clone()).await?;
        let missing: Vec<String> = asked
            .iter()
            .zip(&names)
            .filter(|(_, name)| name.is_none())
            .map(|(sha1, _)| STANDARD.encode(sha1.as_bytes()))
            .collect();
        if !missing.is_empty() {
            let why = format!("{} of {} files are none of the catalog's", missing.len(), asked.len());
            return Err(Error::Refused { code: FaultCode::FileDigestsMissing, message: missing.join("|"), why });
        }
        (self.wish)(asked);
        Ok(())
    }
}
