//! Where a file of the catalog can be had, and what it must turn out to be. One place for both, since whoever fetches it ahead of
//! time and whoever answers an endpoint must mean the same payload.
//!
//! - Of Microsoft's catalog it lies at its own addresses, mapped as a client's request is: the first that the allow-list lets through
//!   is its name, the others are places besides.
//! - A WSUS server has it under `/Content/<last two digits>/<SHA-1>.<ext>`, at the configured upstream.
//! - What an unauthenticated catalog says proves nothing. Then the file is asked for by its SHA-1, as an endpoint would do, and that
//!   alone judges what comes.

use crate::base::digest::Digest;
use crate::fill::{Ask, Fill, Keeping, Refusal, Target};
use crate::jobs::address::Address;
use crate::jobs::error::Error;
use crate::model::payload::{Authority, Location, Published};
use crate::store::catalog::{UpstreamKind, WantedFile};

/// Bytes of a file name's extension that go into an address.
const EXTENSION_MAX: usize = 16;

/// The path under which a WSUS server has it.
fn content_path(file: &WantedFile) -> String {
    let hex = file.file.sha1.to_string().to_uppercase();
    let folder = hex.get(hex.len().saturating_sub(2)..).unwrap_or_default().to_owned();
    let extension = file.file.name.rsplit_once('.').map_or("", |(_, extension)| extension);
    // What is no extension is none of an address either.
    let is_plain = extension.len() <= EXTENSION_MAX && extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let dot = if extension.is_empty() || !is_plain { "" } else { "." };
    format!("/Content/{folder}/{hex}{dot}{}", if is_plain { extension } else { "" })
}

fn refused(address: &str, refusal: &Refusal) -> Error {
    Error::Refused { address: Address::redact(address), why: refusal.to_string() }
}

/// By its SHA-1, as an endpoint would ask this node: at the configured upstream, where there is one.
fn by_digest(fill: &Fill, file: &WantedFile) -> Result<Target, Error> {
    let path = content_path(file);
    fill.locate(&Ask { host: None, path: &path, query: None, via: None }).map_err(|refusal| refused(&path, &refusal))
}

/// What [`Fill::prefetch`] is asked for a file of a catalog that came from an upstream of this kind.
pub(in crate::jobs) fn target(fill: &Fill, file: &WantedFile, from: UpstreamKind) -> Result<Target, Error> {
    let mut target = if from == UpstreamKind::Microsoft { published(fill, file)? } else { by_digest(fill, file)? };
    if !file.unauthenticated {
        target.expected = Some(Published {
            sha256: file.file.sha256,
            ..Published::one(Digest::Sha1(file.file.sha1), Authority::Catalog)
        });
    }
    Ok(target)
}

/// At the addresses that the catalog publishes.
fn published(fill: &Fill, file: &WantedFile) -> Result<Target, Error> {
    let (mut first, mut places, mut why) = (None, Vec::<Location>::new(), None);
    for url in &file.urls {
        let mapped = Address::parse(url)
            .and_then(|address| fill.locate(&address.ask()).map_err(|refusal| refused(url, &refusal)));
        match mapped {
            Ok(mapped) => {
                let new = mapped.locations.iter().filter(|place| !places.iter().any(|known| known.url == place.url));
                let new: Vec<Location> = new.cloned().collect();
                places.extend(new);
                first.get_or_insert(mapped);
            }
            Err(error) => why = why.or(Some(error)),
        }
    }
    let first = match (first, why) {
        (Some(first), _) => first,
        (None, Some(why)) => return Err(why),
        (None, None) => return Err(Error::Nowhere { file: file.file.name.clone() }),
    };
    let target = if file.unauthenticated { by_digest(fill, file)? } else { first };
    Ok(Target { locations: places, keeping: Keeping::Immutable, ..target })
}
