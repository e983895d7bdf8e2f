//! Why a metadata document is refused. Whatever it is, it is the document's fault or that of the way it came; the node goes on.

use std::io;

use crate::model::update::NotAGuid;

/// Why a document is no update. What is quoted from the document is cut to a length that fits into a line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes could not be had to their end.
    #[error("the document could not be read: {0}")]
    Input(io::Error),
    /// What was derived could not be written where the caller wanted it. The only one that is not the document's fault.
    #[error("a fragment could not be written: {0}")]
    Output(io::Error),
    /// The document ends before its root element does.
    #[error("half a document: it ends after {bytes} bytes, inside an element")]
    Half {
        /// How much there was.
        bytes: u64,
    },
    /// It is not well-formed XML.
    #[error("no well-formed document: at byte {at}: {why}")]
    Malformed {
        /// Bytes before the place.
        at: u64,
        /// What is wrong there.
        why: String,
    },
    /// It has a document type; update documents have none, and entities of its own making are how bombs are built.
    #[error("the document has a document type definition, which no update document needs; it was not read")]
    Doctype,
    /// It is larger, deeper or richer than any that is known.
    #[error("the document has more than {max} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many are taken.
        max: u64,
    },
    /// Its root is not `Update` in the namespace of updates.
    #[error("the root element is {found}, not Update of http://schemas.microsoft.com/msus/2002/12/Update")]
    NotAnUpdate {
        /// What it is.
        found: String,
    },
    /// It does not say which revision of which update it is.
    #[error("no identity: the document has no UpdateIdentity")]
    NoIdentity,
    /// Something without which the rest means nothing is missing.
    #[error("{element} has no {what}")]
    Missing {
        /// The element.
        element: &'static str,
        /// What it lacks.
        what: &'static str,
    },
    /// Something that can be there once is there twice.
    #[error("the document has {element} twice")]
    Twice {
        /// The element.
        element: &'static str,
    },
    /// An id is none.
    #[error("{element}: {source}")]
    Id {
        /// The element that it stands in.
        element: &'static str,
        /// What it is.
        source: NotAGuid,
    },
    /// A number is none, or does not fit.
    #[error("{element} says {what} {text:?}, which is no number from 0 to {max}")]
    Number {
        /// The element.
        element: &'static str,
        /// Which number.
        what: &'static str,
        /// What stands there.
        text: String,
        /// The largest that fits.
        max: u64,
    },
    /// Something that has a few values has another.
    #[error("{element} says {what} {text:?}, which is none of the known ones")]
    Unknown {
        /// The element.
        element: &'static str,
        /// Which value.
        what: &'static str,
        /// What stands there.
        text: String,
    },
    /// A digest is no base64 or of another length than its algorithm makes.
    #[error("file {file:?}: its {algorithm} digest {text:?} {why}")]
    Digest {
        /// Its name.
        file: String,
        /// Which digest.
        algorithm: &'static str,
        /// What stands there.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file without the digest by which it is addressed.
    #[error("file {file:?} has no SHA-1 digest")]
    NoDigest {
        /// Its name.
        file: String,
    },
    /// Two rows speak of one file and contradict each other.
    #[error("file {file:?} is there twice, with different {what}")]
    Contradiction {
        /// Its name.
        file: String,
        /// In what they differ.
        what: &'static str,
    },
}

impl Error {
    /// Whether asking for the document once more can help: it may have been cut short on its way.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Input(_) | Self::Half { .. } | Self::Output(_))
    }

    /// Whether the document, or the way it came, is to blame; otherwise it is who asked.
    pub fn is_documents_fault(&self) -> bool {
        !matches!(self, Self::Output(_))
    }
}

/// What is quoted of a text from outside: short, and in one line.
pub(in crate::wire) fn quoted(text: &str) -> String {
    text.chars().take(80).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
