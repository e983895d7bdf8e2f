//! A body of which each 64 KiB group is held against its leaf before a byte of it is handed out.
//!
//! What comes has whole groups, from the one of the first byte that is wanted to the one of the last; what was not wanted of them is left
//! out, but remembered: who wanted a part of a group wants the rest of it soon. A group that does not fit ends the body for good.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::base::digest::Blake3;
use crate::base::limits::GROUP;
use crate::base::span::Span;
use crate::upstream::above::{Above, LABEL, block};
use crate::upstream::body::Body;
use crate::upstream::error::Cause;
use crate::upstream::{Core, Error, failed};
use crate::wire::peer::slice::{Slice, group, leaf};

/// Such a body.
pub(super) struct Verified {
    core: Arc<Core>,
    above: Arc<Above>,
    blake3: Blake3,
    /// What proves the groups that come now.
    slice: Arc<Slice>,
    wanted: Span,
    body: Body,
    /// The first byte of the group that comes now.
    at: u64,
    /// What has come of it.
    held: BytesMut,
    /// What has come and was not looked at.
    rest: Bytes,
    /// The first group, where it was checked before.
    ready: Option<Bytes>,
    failed: Option<Error>,
}

impl Verified {
    /// Of these bytes, of whose first group `slice` tells.
    pub(super) fn new(core: Arc<Core>, above: Arc<Above>, blake3: Blake3, slice: Arc<Slice>, wanted: Span) -> Self {
        let (at, body) = (wanted.start() / GROUP * GROUP, Body::empty());
        let (held, rest) = (BytesMut::new(), Bytes::new());
        Self { core, above, blake3, slice, wanted, body, at, held, rest, ready: None, failed: None }
    }

    /// The first group was checked before.
    pub(super) fn begin_with(&mut self, ready: Bytes) {
        self.ready = Some(ready);
    }

    /// What comes of all others: it ends with the last one.
    pub(super) fn go_on_with(&mut self, body: Body) {
        self.body = body;
    }

    pub(super) fn body(&mut self) -> &mut Body {
        &mut self.body
    }

    /// The next bytes that are wanted and fit. Nothing is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.at >= self.wanted.end() {
            return Ok(None);
        }
        let (index, size) = (self.at / GROUP, self.slice.size());
        let span = group(index, size);
        let len = span.len() as usize;
        if let Some(ready) = self.ready.take() {
            return Ok(Some(self.cut(span, &ready)));
        }
        // The leaf first: where the parent has lost its proof nothing is read in vain.
        let expected = match self.slice.leaf(index) {
            Some(expected) => *expected,
            None => match block(&self.core, &self.above, self.blake3, index).await {
                Ok(Some(slice)) => {
                    let found = slice.leaf(index).copied();
                    self.slice = slice;
                    found.unwrap_or_default()
                }
                Ok(None) => {
                    return self.fail(Cause::Lied(format!("it had a proof of {}, and has none any more", self.blake3)));
                }
                Err(error) => {
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            },
        };
        let whole = loop {
            if self.held.is_empty() && self.rest.len() >= len {
                break self.rest.split_to(len);
            }
            let taken = self.rest.split_to(self.rest.len().min(len - self.held.len()));
            if self.held.capacity() == 0 {
                self.held.reserve(len);
            }
            self.held.extend_from_slice(&taken);
            if self.held.len() == len {
                break self.held.split().freeze();
            }
            match self.body.next().await {
                Ok(Some(bytes)) => self.rest = bytes,
                Ok(None) => return self.fail(Cause::Lied(format!("its answer ends inside of {span:?}"))),
                Err(error) => {
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            }
        };
        if leaf(index, size, &whole) != expected {
            self.above.counters.bad.inc();
            tracing::error!(
                blake3 = %self.blake3,
                ?span,
                "bytes from the parent are not what the authority signed: nothing of them is used, and they are fetched from \
                 elsewhere. Verify that payload on the parent (`waystation verify`), and look at its disk and at who may write there"
            );
            let why = format!("its bytes of {span:?} are not what the authority signed for {}", self.blake3);
            return self.fail(Cause::Lied(why));
        }
        self.above.counters.verified.inc_by(whole.len() as u64);
        if span.intersect(&self.wanted) != span {
            self.above.groups.insert((self.blake3, index), whole.clone());
        }
        Ok(Some(self.cut(span, &whole)))
    }

    /// What is wanted of a group; the next one comes then.
    fn cut(&mut self, span: Span, whole: &Bytes) -> Bytes {
        self.at = span.end();
        let inside = span.intersect(&self.wanted);
        let place = |at: u64| (at - span.start()) as usize;
        whole.slice(place(inside.start())..place(inside.end()))
    }

    fn fail(&mut self, cause: Cause) -> Result<Option<Bytes>, Error> {
        let error = failed(&self.core.book.host(LABEL), cause.at(LABEL));
        self.failed = Some(error.clone());
        Err(error)
    }
}
