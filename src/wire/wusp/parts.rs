//! Answers as sequences of parts, so that what was made once is not made or escaped again for every machine.

use std::io::{self, Write};

use bytes::Bytes;

use crate::wire::soap::writer::escape;
use crate::wire::xpress::{BLOCK_BYTES, Encoder};

/// A piece of an answer.
#[derive(Clone, Debug)]
pub enum Part {
    /// Made for this answer.
    Made(Vec<u8>),
    /// Made long before.
    Fragment(Fragment),
}

/// A fragment of metadata as it stands in an answer: escaped. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fragment {
    escaped: Bytes,
}

impl Fragment {
    /// One that has been escaped by [`Self::escape`] before.
    pub fn new(escaped: Bytes) -> Self {
        Self { escaped }
    }

    /// A fragment as text.
    pub fn escape(fragment: &str) -> Self {
        let mut escaped = Vec::with_capacity(fragment.len() + fragment.len() / 4);
        // Writing into memory cannot fail.
        let _ = escape(fragment, &mut escaped);
        Self::new(escaped.into())
    }

    /// What stands in an answer.
    pub fn escaped(&self) -> &Bytes {
        &self.escaped
    }
}

impl Part {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Made(bytes) => bytes,
            Self::Fragment(fragment) => &fragment.escaped,
        }
    }
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    done: Vec<Part>,
    made: Vec<u8>,
    length: usize,
}

impl Parts {
    /// How many bytes it has as it is: `Content-Length` without an encoding, and what pages are measured by.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The parts, in order.
    pub fn into_parts(mut self) -> Vec<Part> {
        self.settle();
        self.done
    }

    /// All of it in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.length);
        for part in &self.done {
            all.extend_from_slice(part.bytes());
        }
        all.extend_from_slice(&self.made);
        all
    }

    /// All of it in xpress, packed as a whole: fragments are like each other, and a block cannot refer to what another one holds.
    pub fn pack(&self, encoder: &mut Encoder) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.length / 4);
        let mut plain = Vec::with_capacity(2 * BLOCK_BYTES);
        for part in &self.done {
            plain.extend_from_slice(part.bytes());
            let full = plain.len() - plain.len() % BLOCK_BYTES;
            encoder.pack(plain.get(..full).unwrap_or_default(), &mut out);
            plain.drain(..full);
        }
        plain.extend_from_slice(&self.made);
        encoder.pack(&plain, &mut out);
        out
    }

    /// Splices a fragment in.
    pub(super) fn splice(&mut self, fragment: Fragment) {
        self.settle();
        self.length += fragment.escaped.len();
        self.done.push(Part::Fragment(fragment));
    }

    fn settle(&mut self) {
        if !self.made.is_empty() {
            self.done.push(Part::Made(std::mem::take(&mut self.made)));
        }
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.made.extend_from_slice(bytes);
        self.length += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
