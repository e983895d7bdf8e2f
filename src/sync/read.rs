//! From a document as it came to a revision as the catalog takes it. Blocks: it belongs on a thread that may.
//!
//! 1. The bytes, a cabinet or text, become a stream of UTF-8.
//! 2. The stream is read once: what is read goes into the document's own sink, what is cut out of it into those of the fragments.
//! 3. A sink holds a small text in memory and hands a large one to the catalog in pieces, so that a document of tens of MB is never
//!    held.
//! 4. What the document says must be of the revision that was asked for.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::Handle;

use crate::base::digest::Sha1;
use crate::model::update::{File, Identity, Update};
use crate::store;
use crate::store::catalog::{Body, Catalog, Incoming, Stage};
use crate::upstream::wsus::Document;
use crate::wire::wsusss::updates::{FileUrl, Form};
use crate::wire::{cabinet, fragments, metadata};

/// A text up to this is handed over whole; half of the documents have 6 KB, one in a hundred more than 100.
const HELD_MAX: usize = 256 << 10;

/// How much of a document is read at a time.
const BUFFER: usize = 64 << 10;

/// An address that is longer is none that anybody can ask.
const URL_MAX: usize = 8 << 10;

/// Where files can be fetched, by the digest that addresses them.
pub(in crate::sync) type Urls = HashMap<Sha1, String>;

/// Why there is no revision.
#[derive(Debug)]
pub(in crate::sync) enum Bad {
    /// The document cannot be used.
    Document {
        /// Why.
        why: String,
        /// It may have been spoilt on its way, so that it may be better when it is asked for again.
        again: bool,
    },
    /// What came of it could not be kept here.
    Store(store::Error),
}

impl From<store::Error> for Bad {
    /// A text that the catalog takes from nobody is the fault of the document that it came of.
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Invalid { what } => Self::Document { why: what, again: false },
            other => Self::Store(other),
        }
    }
}

/// A revision, and about how much memory its texts take.
#[derive(Debug)]
pub(in crate::sync) struct Ready {
    pub(in crate::sync) incoming: Incoming,
    pub(in crate::sync) held: usize,
}

/// The addresses of one answer. What is no address of a file is left out: the update may be had elsewhere.
pub(in crate::sync) fn urls(urls: Vec<FileUrl>) -> Urls {
    let usable = |url: &String| {
        let scheme = url.get(..8).unwrap_or(url).to_ascii_lowercase();
        url.len() <= URL_MAX && (scheme.starts_with("http://") || scheme.starts_with("https://"))
    };
    urls.into_iter().filter_map(|url| Some((url.digest, url.microsoft.filter(usable)?))).collect()
}

/// Steps 1 to 4. A document that makes this program fail costs that document, not the run.
pub(in crate::sync) fn read(
    catalog: &Catalog,
    runtime: &Handle,
    document: &Document,
    urls: &Urls,
) -> Result<Ready, Bad> {
    guarded(document.identity, || steps(catalog, runtime, document, urls))
}

/// What `read` says; a panic of it is told as what it is.
fn guarded<T>(identity: Identity, read: impl FnOnce() -> Result<T, Bad>) -> Result<T, Bad> {
    // What it had in hand is gone with it: what it staged is swept.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
        let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        tracing::error!(%identity, words, "a document makes this program fail: report it with the document");
        Err(Bad::Document {
            why: format!("this program cannot read it, and that is the program's fault: {words}"),
            again: false,
        })
    })
}

fn steps(catalog: &Catalog, runtime: &Handle, document: &Document, urls: &Urls) -> Result<Ready, Bad> {
    let sink = || Sink { catalog, runtime, held: Vec::new(), stage: None, failed: None };
    let (mut whole, mut core, mut extended) = (sink(), sink(), sink());
    let derived = match document.form {
        Form::Text => {
            let stream = BufReader::with_capacity(BUFFER, document.content.reader());
            derive(stream, &mut whole, &mut core, &mut extended)
        }
        Form::Cabinet => {
            let read = cabinet::read_text(document.content.reader(), cabinet::UNPACKED_BYTES_MAX, |stream| {
                derive(stream, &mut whole, &mut core, &mut extended)
            });
            read.map_err(|error| Bad::Document { why: error.to_string(), again: true })?
        }
    };
    for sink in [&mut whole, &mut core, &mut extended] {
        if let Some(failed) = sink.failed.take() {
            return Err(failed.into());
        }
    }
    let derived = derived.map_err(|error| Bad::Document { why: error.to_string(), again: error.is_retryable() })?;
    check(document.identity, &derived.update).map_err(|why| Bad::Document { why, again: false })?;
    let localized: Vec<(String, Body)> =
        derived.localized.into_iter().map(|localized| (localized.language, Body::Text(localized.text))).collect();
    let texts = localized.iter().map(|(_, body)| if let Body::Text(text) = body { text.len() } else { 0 });
    let held = whole.held.len() + core.held.len() + extended.held.len() + texts.sum::<usize>();
    let update = derived.update;
    let incoming = Incoming {
        cabinet: document.form == Form::Cabinet,
        document: whole.finish()?,
        core: core.finish()?,
        extended: extended.finish()?,
        localized,
        urls: files(&update).filter_map(|file| Some((file.sha1, urls.get(&file.sha1)?.clone()))).collect(),
        update,
    };
    Ok(Ready { incoming, held })
}

/// Its files, those of its licence too.
pub(in crate::sync) fn files(update: &Update) -> impl Iterator<Item = &File> {
    update.files.iter().chain(update.eula.iter().flat_map(|eula| eula.files.iter().map(|text| &text.file)))
}

/// Step 4.
fn check(asked: Identity, update: &Update) -> Result<(), String> {
    if update.identity == asked {
        return Ok(());
    }
    Err(format!("its document says that it is {}", update.identity))
}

/// Step 2.
fn derive(
    stream: impl BufRead,
    whole: &mut Sink<'_>,
    core: &mut Sink<'_>,
    extended: &mut Sink<'_>,
) -> Result<fragments::Derived, metadata::Error> {
    fragments::derive(Kept(Tee { stream, copy: whole }), core, extended)
}

/// Copies what is read of a stream.
pub(in crate::sync) struct Tee<'a, R, W> {
    stream: R,
    copy: &'a mut W,
}

impl<'a, R: BufRead, W: Write> Tee<'a, R, W> {
    pub(in crate::sync) fn new(stream: R, copy: &'a mut W) -> Self {
        Self { stream, copy }
    }
}

impl<R: BufRead, W: Write> Read for Tee<'_, R, W> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead, W: Write> BufRead for Tee<'_, R, W> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.stream.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // What is consumed was given out by `fill_buf`, which gives the same again without asking the stream. A copy that cannot be
        // kept tells so itself.
        if let Some(bytes) = self.stream.fill_buf().ok().and_then(|bytes| bytes.get(..count)) {
            let _ = self.copy.write_all(bytes);
        }
        self.stream.consume(count);
    }
}

/// Ends the reading where the copy cannot be kept.
struct Kept<'a, 'b, R>(Tee<'a, R, Sink<'b>>);

impl<R: BufRead> Read for Kept<'_, '_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Kept<'_, '_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.0.copy.failed.is_some() {
            return Err(io::Error::other("the copy cannot be kept"));
        }
        self.0.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.0.consume(count);
    }
}

/// Takes one text. Step 3.
struct Sink<'a> {
    catalog: &'a Catalog,
    runtime: &'a Handle,
    held: Vec<u8>,
    stage: Option<Stage>,
    failed: Option<store::Error>,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stage.is_none() && self.held.len() + bytes.len() <= HELD_MAX {
            self.held.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        let stage = self.stage.get_or_insert_with(|| self.catalog.stage());
        let held = std::mem::take(&mut self.held);
        let written = self.runtime.block_on(async {
            stage.write(&held).await?;
            stage.write(bytes).await
        });
        match written {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.failed = Some(error);
                Err(io::Error::other("the catalog does not take it"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink<'_> {
    fn finish(self) -> Result<Body, Bad> {
        match self.stage {
            Some(stage) => Ok(Body::Staged(self.runtime.block_on(stage.finish())?)),
            None => match String::from_utf8(self.held) {
                Ok(text) => Ok(Body::Text(text)),
                Err(_) => Err(Bad::Document { why: "the document is no UTF-8 text".to_owned(), again: false }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_makes_the_program_fail_is_refused() {
        let identity = Identity { id: crate::model::update::UpdateId::new([7; 16]), revision: 1 };
        let none: Option<&str> = None;
        let read = guarded(identity, || Ok(none.expect("there is something").len()));
        let Err(Bad::Document { why, again: false }) = read else { panic!("{read:?}") };
        assert!(why.contains("the program's fault: there is something"), "{why}");
        assert!(matches!(guarded(identity, || Ok(1)), Ok(1)));
    }

    #[test]
    fn a_text_that_the_catalog_takes_from_nobody_is_the_documents_fault() {
        let bad = Bad::from(store::Error::Invalid { what: "too long".to_owned() });
        assert!(matches!(bad, Bad::Document { again: false, .. }), "{bad:?}");
        assert!(matches!(Bad::from(store::Error::Gone), Bad::Store(_)));
    }

    #[test]
    fn only_addresses_that_can_be_asked_are_kept() {
        let url = |byte: u8, text: &str| FileUrl {
            digest: Sha1::new([byte; 20]),
            microsoft: Some(text.to_owned()),
            server: None,
        };
        let kept = urls(vec![
            url(1, "http://dl.example/a"),
            url(2, "HTTPS://dl.example/b"),
            url(3, "ftp://dl.example/c"),
            url(4, "é"),
            url(5, &format!("http://dl.example/{}", "a".repeat(URL_MAX))),
            FileUrl { digest: Sha1::new([6; 20]), microsoft: None, server: Some(String::new()) },
        ]);
        let mut digests: Vec<u8> = kept.keys().map(|digest| digest.as_bytes()[0]).collect();
        digests.sort_unstable();
        assert_eq!(digests, [1, 2]);
    }
}
