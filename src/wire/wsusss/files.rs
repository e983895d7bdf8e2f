//! What concerns files: `DownloadFiles` asks a WSUS to fetch what it answered 404 for (MS-WSUSSS 3.1.4.11), and
//! `GetUpdateDecryptionData` asks for the keys of encrypted files, which are those of updates whose document names the secured
//! fragment `FileDecryption`.

use crate::base::digest::Sha1;
use crate::model::update::Identity;
use crate::wire::wsusss::authorize::Cookie;
use crate::wire::wsusss::call::call;
use crate::wire::wsusss::field::{Item, record};
use crate::wire::wsusss::method::Method;
use crate::wire::wsusss::values::Opaque;

/// How many digests `DownloadFiles` may name (MS-WSUSSS 3.1.4.11); a Windows server names one.
pub const DOWNLOAD_FILES_MAX: usize = 100;

record! {
    /// Please have these files.
    DownloadFiles {
        /// Who asks.
        "cookie" cookie: Option<Cookie>,
        /// 1 to [`DOWNLOAD_FILES_MAX`] of them.
        "fileDigestList" digests: Vec<Sha1>,
    }
}

record! {
    /// Asks for keys.
    GetUpdateDecryptionData {
        /// Who asks.
        "cookie" cookie: Option<Cookie>,
        /// Of which updates.
        "updateIds" updates: Vec<Identity>,
    }
}

record! {
    /// Keys.
    DecryptionData {
        /// Of each update that has any.
        "UpdateFileDecryptionData" updates: Vec<UpdateKeys>,
    }
}

record! {
    /// The keys of one update.
    UpdateKeys {
        /// Which update.
        "UpdateId" identity: Identity,
        /// The keys of its files.
        "FileDecryptionData" files: Vec<FileKey>,
    }
}

impl Item for UpdateKeys {
    const NAME: &'static str = "ServerSyncUpdateFileDecryption";
}

record! {
    /// The key of one file.
    FileKey {
        /// Which file.
        "FileDigest" digest: Sha1,
        /// The key.
        "DecryptionKey" key: Opaque,
    }
}

impl Item for FileKey {
    const NAME: &'static str = "ServerSyncFileDecryption";
}

call!(DownloadFiles, Method::DownloadFiles, ());
call!(GetUpdateDecryptionData, Method::GetUpdateDecryptionData, DecryptionData);
