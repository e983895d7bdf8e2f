//! Answers that give more about updates (MS-WUSP 2.2.2.2.6, 2.2.2.2.7, 2.2.2.2.10): fragments of metadata, where files are,
//! keys of encrypted ones.

use std::io::{self, Write};

use crate::base::digest::Sha1;
use crate::wire::soap::{Version, Writer};
use crate::wire::wsusss::authorize::Cookie;
use crate::wire::wsusss::field::Field;
use crate::wire::wsusss::files::FileKey;
use crate::wire::wusp::answer::{array, envelope, result};
use crate::wire::wusp::method::Method;
use crate::wire::wusp::parts::{Fragment, Parts};

/// Where a file is. An agent does not offer an update that has a file without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLocation {
    /// Which file.
    pub digest: Sha1,
    /// Where; it may name another node.
    pub url: String,
}

/// To `GetExtendedUpdateInfo`: a fragment for each revision and kind, those of one kind behind those of the other, each in the
/// order that was asked for; where their files are, each digest once; and revisions that are not offered to the machine.
pub fn extended(
    version: Version,
    fragments: impl IntoIterator<Item = (i32, Fragment)>,
    locations: &[FileLocation],
    out_of_scope: &[i32],
) -> Parts {
    give(version, Method::GetExtendedUpdateInfo, fragments, |out| {
        if !locations.is_empty() {
            locate(out, locations, false)?;
        }
        if out_of_scope.is_empty() { Ok(()) } else { array(out, "OutOfScopeRevisionIDs", out_of_scope) }
    })
}

/// To `GetExtendedUpdateInfo2`: the same, with keys of files that are encrypted.
pub fn extended2(
    version: Version,
    fragments: impl IntoIterator<Item = (i32, Fragment)>,
    locations: &[FileLocation],
    keys: &[FileKey],
) -> Parts {
    give(version, Method::GetExtendedUpdateInfo2, fragments, |out| {
        if !locations.is_empty() {
            locate(out, locations, true)?;
        }
        if keys.is_empty() { Ok(()) } else { unlock(out, keys) }
    })
}

fn give(
    version: Version,
    method: Method,
    fragments: impl IntoIterator<Item = (i32, Fragment)>,
    files: impl FnOnce(&mut Writer<Parts>) -> io::Result<()>,
) -> Parts {
    let result = result(method);
    let written = envelope(Parts::default(), version, method, |out| {
        out.open(&result)?;
        let mut any = false;
        for (id, fragment) in fragments {
            if !std::mem::replace(&mut any, true) {
                out.open("Updates")?;
            }
            out.open("Update")?;
            id.write(out, "ID")?;
            out.open("Xml")?;
            out.get_mut().splice(fragment);
            out.close("Xml")?;
            out.close("Update")?;
        }
        if any {
            out.close("Updates")?;
        }
        files(out)?;
        out.close(&result)
    });
    // Writing into memory cannot fail.
    written.unwrap_or_default()
}

/// To `GetFileLocations`.
pub fn locations(version: Version, locations: &[FileLocation], cookie: &Cookie) -> Vec<u8> {
    let method = Method::GetFileLocations;
    let result = result(method);
    let write = |out: &mut Writer<Vec<u8>>| {
        out.open(&result)?;
        locate(out, locations, false)?;
        cookie.write(out, "NewCookie")?;
        out.close(&result)
    };
    // Writing into memory cannot fail.
    envelope(Vec::new(), version, method, write).unwrap_or_default()
}

fn locate<W: Write>(out: &mut Writer<W>, locations: &[FileLocation], with_algorithm: bool) -> io::Result<()> {
    if locations.is_empty() {
        return out.empty("FileLocations");
    }
    out.open("FileLocations")?;
    for location in locations {
        out.open("FileLocation")?;
        location.digest.write(out, "FileDigest")?;
        out.leaf("Url", &location.url)?;
        if with_algorithm {
            out.leaf("FileDigestAlgorithm", "SHA1")?;
        }
        out.close("FileLocation")?;
    }
    out.close("FileLocations")
}

/// The key stands there twice (2.2.2.2.10).
fn unlock<W: Write>(out: &mut Writer<W>, keys: &[FileKey]) -> io::Result<()> {
    out.open("FileDecryptionData")?;
    for key in keys {
        out.open("FileDecryption")?;
        key.digest.write(out, "FileDigest")?;
        key.key.write(out, "DecryptionKey")?;
        out.open("SecurityData")?;
        key.key.write(out, "base64Binary")?;
        out.close("SecurityData")?;
        out.close("FileDecryption")?;
    }
    out.close("FileDecryptionData")
}
