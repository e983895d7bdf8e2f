//! `fetch`: payloads are filled before anyone asks.

use std::io::{self, BufRead, BufReader};
use std::path::Path;

use crate::admin::view::{FetchItem, FetchRequest, Started};
use crate::app::Loaded;
use crate::base::digest::Sha256;
use crate::cli::fail::Fail;
use crate::cli::follow;
use crate::cli::print::Out;
use crate::cli::verbs::Fetch;

/// The longest list that is read: ten thousand long addresses.
const LIST_BYTES_MAX: u64 = 16 << 20;

pub(in crate::cli) fn run(loaded: &Loaded, fetch: &Fetch, out: Out) -> Result<(), Fail> {
    let mut items = Vec::new();
    if fetch.sha256.is_some() && fetch.urls.len() != 1 {
        return Err(Fail::usage(
            "--sha256 is of one URL, and more than one are given",
            "put them into a file, each with its digest behind it, and use --from",
        ));
    }
    for url in &fetch.urls {
        items.push(FetchItem { url: url.clone(), sha256: fetch.sha256.map(|digest| digest.to_string()) });
    }
    if let Some(path) = &fetch.from {
        items.extend(list(path)?);
    }
    if items.is_empty() {
        return Err(Fail::usage("there is no URL in the list", "give one a line, with its SHA-256 behind it if known"));
    }
    let request = FetchRequest { items, pin: fetch.pin, refresh: fetch.refresh };
    super::with(super::running(loaded)?, async |node| {
        let started: Started = node.post("/api/v1/fetch", &request).await?;
        follow::started(node, started, fetch.detach, out).await
    })
}

fn list(path: &Path) -> Result<Vec<FetchItem>, Fail> {
    let failed = |error: io::Error| Fail::new(format!("{}: {error}", path.display()), "name a file that can be read");
    if path == Path::new("-") {
        return read(io::stdin().lock(), path);
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    read(BufReader::new(file), path)
}

fn read(list: impl BufRead, path: &Path) -> Result<Vec<FetchItem>, Fail> {
    let mut items = Vec::new();
    // One byte more than may be there, so that a list which is too long is told from one that just fits.
    let mut list = list.take(LIST_BYTES_MAX + 1);
    let mut line = String::new();
    for at in 1_u64.. {
        let place = format!("{}:{at}", path.display());
        line.clear();
        let read = list.read_line(&mut line);
        // Before anything else: what was cut there may be half an address, or half a character.
        if list.limit() == 0 {
            let what =
                format!("{} is longer than {LIST_BYTES_MAX} bytes, the longest list that is read", path.display());
            return Err(Fail::usage(what, "split it, and give the parts one after the other; nothing was asked for"));
        }
        if read.map_err(|error| Fail::new(format!("{place}: {error}"), ""))? == 0 {
            break;
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let (Some(url), digest, None) = (words.next(), words.next(), words.next()) else {
            let what = format!("{place}: more than a URL and a digest stand there");
            return Err(Fail::usage(
                what,
                "one URL a line, its SHA-256 behind it, blanks between them; %20 for a blank",
            ));
        };
        let sha256 = digest.map(str::parse::<Sha256>).transpose();
        let sha256 =
            sha256.map_err(|error| Fail::usage(format!("{place}: {error}"), "correct or remove the digest"))?;
        items.push(FetchItem { url: url.to_owned(), sha256: sha256.map(|digest| digest.to_string()) });
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_addresses_digests_and_remarks() {
        let digest = "ab".repeat(32);
        let text = format!("# remark\n\nhttp://h/a\n http://h/b\t{digest}\r\n");
        let items = read(text.as_bytes(), Path::new("l")).unwrap();
        assert_eq!(items.len(), 2);
        assert_eq!((items[0].sha256.as_deref(), items[1].sha256.as_deref()), (None, Some(digest.as_str())));
        for wrong in ["http://h/a b c", "http://h/a 12ab"] {
            let fail = read(wrong.as_bytes(), Path::new("l")).unwrap_err();
            assert!(fail.what.starts_with("l:1: "), "{}", fail.what);
        }
    }

    #[test]
    fn a_list_that_is_too_long_is_refused_and_never_cut() {
        let list = |remark: usize| format!("#{}\nhttp://h/a", "x".repeat(remark));
        let most = usize::try_from(LIST_BYTES_MAX).unwrap() - list(0).len();
        assert_eq!(read(list(most).as_bytes(), Path::new("l")).unwrap()[0].url, "http://h/a");
        for more in [1, 2, 8, 1 << 20] {
            let fail = read(list(most + more).as_bytes(), Path::new("l")).unwrap_err();
            assert!(fail.what.contains("16777216"), "{}", fail.what);
        }
    }
}
