//! `GetRevisionIdList`: which revisions there are (MS-WSUSSS 3.1.4.5). The list is never paged: a full set of products makes
//! tens of megabytes, so it is read and written item by item.

use std::io::{self, BufRead, Write};

use crate::model::update::{Identity, UpdateId};
use crate::wire::error::{Error, Result};
use crate::wire::soap::{Limits, Reader, Style, Version, Writer};
use crate::wire::wsusss::authorize::Cookie;
use crate::wire::wsusss::call::{self, Answer, call};
use crate::wire::wsusss::field::{Field, Item, record};
use crate::wire::wsusss::method::Method;
use crate::wire::wsusss::values::Mark;

record! {
    /// Asks which revisions there are.
    GetRevisionIdList {
        /// Who asks.
        "cookie" cookie: Option<Cookie>,
        /// Which ones are wanted.
        "filter" filter: Filter,
    }
}

record! {
    /// Which revisions are wanted (3.1.4.5.3.1). One matches that has one of the products and one of the classifications;
    /// where one of the two lists is absent or empty nothing matches, where both are absent everything does.
    Filter {
        /// Is sent and ignored.
        "DssProtocolVersion" dss_protocol_version: Option<Mark>,
        /// What the last answer gave; absent the first time.
        "Anchor" anchor: Option<String>,
        /// Categories and detectoids instead of software and drivers.
        "GetConfig" config: bool,
        /// Microsoft Update wants it said, false, from protocol version 1.2 on.
        "Get63LanguageOnly" get_63_languages_only: Option<bool>,
        /// Products.
        "Categories" categories: Option<Vec<IdAndDelta>>,
        /// Classifications.
        "Classifications" classifications: Option<Vec<IdAndDelta>>,
        /// Languages.
        "Languages" languages: Option<Vec<LanguageAndDelta>>,
    }
}

record! {
    /// An id, and whether only what changed since the anchor is wanted. False repeats everything of it, even with an anchor.
    IdAndDelta {
        /// The id.
        "Id" id: UpdateId,
        /// Only what changed.
        "Delta" delta: bool,
    }
}

impl Item for IdAndDelta {
    const NAME: &'static str = "IdAndDelta";
}

record! {
    /// The same for a language.
    LanguageAndDelta {
        /// Windows' number of it (LCID).
        "Id" id: i32,
        /// Only what changed.
        "Delta" delta: bool,
    }
}

impl Item for LanguageAndDelta {
    const NAME: &'static str = "LanguageAndDelta";
}

record! {
    /// Which revisions there are. One id may stand here with several revisions.
    RevisionIdList {
        /// What the next request gives.
        "Anchor" anchor: Option<String>,
        /// The revisions.
        "NewRevisions" revisions: Vec<Identity>,
    }
}

call!(GetRevisionIdList, Method::GetRevisionIdList, RevisionIdList);

/// One item of the list.
#[derive(Debug)]
pub enum Listed {
    /// A revision.
    Revision(Identity),
    /// An item that is none; the others are not touched by it.
    Bad(Error),
}

/// Where in the answer the reading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Response,
    Result,
    List,
    End,
}

/// The answer, item by item.
#[derive(Debug)]
pub struct Revisions<R> {
    reader: Box<Reader<R>>,
    place: Place,
    anchor: Option<String>,
}

/// Begins to read an answer. At most `limits` is read, [`Limits::STREAM`] in use.
pub fn open<R: BufRead>(input: R, limits: Limits) -> Result<Answer<Revisions<R>>> {
    Ok(match call::open_response(input, limits, Method::GetRevisionIdList)? {
        Answer::Done(reader) => Answer::Done(Revisions { reader, place: Place::Response, anchor: None }),
        Answer::Fault(fault) => Answer::Fault(fault),
    })
}

impl<R: BufRead> Revisions<R> {
    /// The next item; `None` once the message has ended, whole.
    pub fn next_item(&mut self) -> Result<Option<Listed>> {
        let reader = &mut self.reader;
        loop {
            match self.place {
                Place::Response => {
                    if !reader.child()? {
                        reader.close()?;
                        self.place = Place::End;
                    } else if reader.name() == "GetRevisionIdListResult" {
                        self.place = Place::Result;
                    } else {
                        reader.skip()?;
                    }
                }
                Place::Result => {
                    if !reader.child()? {
                        self.place = Place::Response;
                        continue;
                    }
                    match reader.name() {
                        "Anchor" => self.anchor = Some(reader.text()?),
                        "NewRevisions" => self.place = Place::List,
                        _ => reader.skip()?,
                    }
                }
                Place::List => {
                    if !reader.child()? {
                        self.place = Place::Result;
                        continue;
                    }
                    if reader.name() != Identity::NAME {
                        reader.skip()?;
                        continue;
                    }
                    let outside = reader.depth().saturating_sub(1);
                    return match Identity::read(reader) {
                        Ok(identity) => Ok(Some(Listed::Revision(identity))),
                        Err(error @ (Error::Value { .. } | Error::Missing { .. })) => {
                            reader.leave(outside)?;
                            Ok(Some(Listed::Bad(error)))
                        }
                        Err(error) => Err(error),
                    };
                }
                Place::End => return Ok(None),
            }
        }
    }

    /// What the next request gives, once [`Self::next_item`] has said that the message has ended. It must not be kept before
    /// everything that the list names has been fetched.
    pub fn anchor(&self) -> Option<&str> {
        match self.place {
            Place::End => self.anchor.as_deref().filter(|anchor| !anchor.is_empty()),
            _ => None,
        }
    }
}

/// An answer that is written item by item.
#[derive(Debug)]
pub struct RevisionsWriter<W> {
    out: Writer<W>,
    any: bool,
}

impl<W: Write> RevisionsWriter<W> {
    /// Everything before the first revision.
    pub fn begin(out: W, version: Version, anchor: &str) -> io::Result<Self> {
        let mut out = Writer::begin(out, version, Style::Service)?;
        call::open_answer(&mut out, Method::GetRevisionIdList)?;
        out.open(&call::result(Method::GetRevisionIdList))?;
        out.leaf("Anchor", anchor)?;
        Ok(Self { out, any: false })
    }

    /// A revision.
    pub fn revision(&mut self, identity: Identity) -> io::Result<()> {
        if !std::mem::replace(&mut self.any, true) {
            self.out.open("NewRevisions")?;
        }
        identity.write(&mut self.out, Identity::NAME)
    }

    /// Everything behind the last one.
    pub fn finish(mut self) -> io::Result<W> {
        if self.any {
            self.out.close("NewRevisions")?;
        } else {
            self.out.empty("NewRevisions")?;
        }
        self.out.close(&call::result(Method::GetRevisionIdList))?;
        call::close_answer(self.out, Method::GetRevisionIdList)
    }
}
