//! `GetUpdateData`: documents of revisions (MS-WSUSSS 3.1.4.6).
//!
//! The store keeps text, so that documents go out as text, however long: there is no packer of the one compression that real servers were seen to
//! use (LZX), and a server must take text beside it. An answer ends at about two megabytes, as that of a Windows server does: who asked
//! for more asks again for the rest.

use crate::base::digest::Sha1;
use crate::model::update::{Identity, Update};
use crate::serve::downstream::handshake::UPDATES_MAX;
use crate::serve::downstream::{Downstream, Error, parameter};
use crate::store::catalog::{FileDigest, Part, Text};
use crate::wire::soap::Version;
use crate::wire::wsusss::FaultCode;
use crate::wire::wsusss::files::{DecryptionData, GetUpdateDecryptionData};
use crate::wire::wsusss::updates::{FileUrl, Form, GetUpdateData, UpdatesWriter};

/// Bytes of documents behind which no further one is begun (3.1.4.6, product behaviour).
const BYTES_ENOUGH: usize = 2_000_000;

/// A document and what goes with it.
#[derive(Debug)]
struct Found {
    identity: Identity,
    document: Vec<u8>,
    files: Vec<Sha1>,
}

/// The files of an update, those of its licence among them, each once.
fn files(update: &Update) -> Vec<Sha1> {
    let licence = update.eula.iter().flat_map(|eula| &eula.files).map(|text| &text.file);
    let mut files = Vec::new();
    for file in update.files.iter().chain(licence) {
        if !files.contains(&file.sha1) {
            files.push(file.sha1);
        }
    }
    files
}

/// One revision that is not known refuses all, as real servers do.
fn unknown(identity: Identity) -> Error {
    Error::refused(FaultCode::InternalServerError, format!("{identity} is not held"))
}

impl Downstream {
    /// To `GetUpdateData`: the whole answer, and how many revisions are in it.
    pub(super) async fn documents(&self, request: &GetUpdateData, version: Version) -> Result<(Vec<u8>, usize), Error> {
        let many = request.updates.len();
        if many > UPDATES_MAX {
            return Err(parameter("updateIds", format!("{many} revisions are more than {UPDATES_MAX}")));
        }
        let _turn = self.turns.acquire().await.map_err(|_| Error::Ended)?;
        let (mut found, mut bytes): (Vec<Found>, usize) = (Vec::new(), 0);
        for identity in &request.updates {
            // All are looked at: an answer that is cut says nothing of what it leaves out.
            let (number, update) = self.held_update(*identity).await?;
            if bytes >= BYTES_ENOUGH {
                continue;
            }
            let text = self.catalog.text(number, Part::Document).await?.ok_or_else(|| unknown(*identity))?;
            let document = whole(text).await?;
            bytes += document.len();
            found.push(Found { identity: *identity, document, files: files(&update) });
        }
        let mut urls = Vec::new();
        for digest in found.iter().flat_map(|found| &found.files) {
            if urls.iter().any(|url: &FileUrl| url.digest == *digest) {
                continue;
            }
            let known = self.catalog.files(FileDigest::Sha1(*digest)).await?;
            let microsoft = known.into_iter().find_map(|file| file.urls.into_iter().next());
            urls.push(FileUrl { digest: *digest, microsoft, server: Some(String::new()) });
        }
        let many = found.len();
        let writing = move || -> std::io::Result<Vec<u8>> {
            let mut out = UpdatesWriter::begin(Vec::new(), version)?;
            for one in &found {
                out.update(one.identity, &one.files, Form::Text, &mut one.document.as_slice())?;
            }
            for url in &urls {
                out.url(url)?;
            }
            out.finish()
        };
        let answer = self.work(writing).await?.map_err(|_| Error::Ended)?;
        Ok((answer, many))
    }

    /// To `GetUpdateDecryptionData`. The catalog has no keys: what is encrypted is taken from Microsoft by who needs it.
    pub(super) async fn keys(&self, request: &GetUpdateDecryptionData) -> Result<DecryptionData, Error> {
        let many = request.updates.len();
        if many > UPDATES_MAX {
            return Err(parameter("updateIds", format!("{many} revisions are more than {UPDATES_MAX}")));
        }
        for identity in &request.updates {
            self.held_update(*identity).await?;
        }
        Ok(DecryptionData { updates: vec![] })
    }

    async fn held_update(&self, identity: Identity) -> Result<(u32, Update), Error> {
        let number = self.catalog.number(identity).await?.ok_or_else(|| unknown(identity))?;
        let revision = self.catalog.revision(number).await?.filter(|revision| !revision.summary.refused);
        Ok((number, revision.ok_or_else(|| unknown(identity))?.update))
    }
}

async fn whole(text: Text) -> Result<Vec<u8>, Error> {
    Ok(match text {
        Text::Whole(bytes) => bytes.to_vec(),
        Text::Long(mut reading) => {
            let mut bytes = Vec::with_capacity(usize::try_from(reading.len()).unwrap_or_default());
            while let Some(piece) = reading.next().await? {
                bytes.extend_from_slice(&piece);
            }
            bytes
        }
    })
}
