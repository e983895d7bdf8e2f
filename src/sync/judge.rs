//! Reading documents to compare them: Microsoft's as they come, those that are held where digests differ.

use std::io::{self, BufReader, Read};

use tokio::sync::mpsc;

use crate::model::update::{Identity, Update};
use crate::store::catalog::{Doubtful, Part, Text};
use crate::sync::error::Error;
use crate::sync::read::Tee;
use crate::sync::run::Work;
use crate::upstream::wsus::Document;
use crate::wire::fragments::Sense;
use crate::wire::wsusss::updates::Form;
use crate::wire::{cabinet, fragments};

/// How much of a document is read at a time.
const BUFFER: usize = 64 << 10;

/// Pieces of a long text, half a mebibyte each, that wait for who reads them.
const PIECES: usize = 2;

/// What became of one document of Microsoft's.
pub(in crate::sync) enum Verdict {
    /// It is the same.
    Agrees(Doubtful),
    /// It is another one; what it says, and what its rules mean as far as that can be read.
    Differs(Identity, Box<Update>, Option<Sense>),
    /// It cannot be read, though it came over TLS.
    Unknown(Identity, String),
}

/// A document that came, what it is held against, and whether it is read as Microsoft's newest of its update.
pub(in crate::sync) struct Came {
    pub(in crate::sync) document: Document,
    pub(in crate::sync) asked: Option<Doubtful>,
    pub(in crate::sync) is_newest: bool,
}

/// What was read: the verdict where it was compared, what it says where it is the newest.
#[derive(Default)]
pub(in crate::sync) struct Judged {
    pub(in crate::sync) verdict: Option<Verdict>,
    pub(in crate::sync) newest: Option<Box<Update>>,
}

/// Reads a document of Microsoft's and holds it against the digest of ours. Blocks.
pub(in crate::sync) fn judge(came: &Came) -> Judged {
    let Came { document, asked, is_newest } = came;
    let mut digest = blake3::Hasher::new();
    let read = read_through(document, |stream| {
        fragments::derive(Tee::new(stream, &mut digest), &mut io::sink(), &mut io::sink())
            .map_err(|error| error.to_string())
    });
    let update = match read {
        Ok(derived) => derived.update,
        Err(why) => {
            let verdict = asked.map(|_| Verdict::Unknown(document.identity, why));
            return Judged { verdict, newest: None };
        }
    };
    let newest = is_newest.then(|| Box::new(update.clone()));
    let verdict = asked.map(|doubtful| {
        if digest.finalize().as_bytes() == doubtful.digest.as_bytes() {
            return Verdict::Agrees(doubtful);
        }
        // What cannot be read twice was read once.
        let sense = read_through(document, |stream| fragments::sense(stream).map_err(|error| error.to_string()));
        Verdict::Differs(document.identity, Box::new(update), sense.ok())
    });
    Judged { verdict, newest }
}

/// The text of a document, in whichever form it came. Blocks.
fn read_through<T>(
    document: &Document,
    read: impl FnOnce(&mut dyn io::BufRead) -> Result<T, String>,
) -> Result<T, String> {
    match document.form {
        Form::Text => read(&mut BufReader::with_capacity(BUFFER, document.content.reader())),
        Form::Cabinet => {
            let unpacked = cabinet::read_text(document.content.reader(), cabinet::UNPACKED_BYTES_MAX, |mut stream| {
                read(&mut stream)
            });
            unpacked.map_err(|error| error.to_string())?
        }
    }
}

/// What the rules of a held document mean; nothing where it cannot be read.
pub(in crate::sync) async fn sense_of(work: &Work<'_>, number: u32) -> Result<Option<Sense>, Error> {
    let broke = |error: tokio::task::JoinError| Error::Broken(format!("comparing broke off: {error}"));
    match work.catalog.text(number, Part::Document).await? {
        None => Ok(None),
        Some(Text::Whole(bytes)) => {
            let reading = tokio::task::spawn_blocking(move || fragments::sense(bytes.as_ref()).ok());
            reading.await.map_err(broke)
        }
        Some(Text::Long(mut text)) => {
            let (sender, pieces) = mpsc::channel(PIECES);
            let stream = BufReader::with_capacity(BUFFER, Pieces { pieces, at: io::Cursor::default() });
            let reading = tokio::task::spawn_blocking(move || fragments::sense(stream).ok());
            while let Some(piece) = text.next().await? {
                // A reader that is gone has what it wants, or cannot read it.
                if sender.send(piece).await.is_err() {
                    break;
                }
            }
            drop(sender);
            reading.await.map_err(broke)
        }
    }
}

/// A long text of the catalog, on a thread that may block.
struct Pieces {
    pieces: mpsc::Receiver<bytes::Bytes>,
    at: io::Cursor<bytes::Bytes>,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.at.read(into)?;
            if count > 0 || into.is_empty() {
                return Ok(count);
            }
            match self.pieces.blocking_recv() {
                Some(piece) => self.at = io::Cursor::new(piece),
                None => return Ok(0),
            }
        }
    }
}
