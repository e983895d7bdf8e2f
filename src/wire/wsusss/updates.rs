//! `GetUpdateData`: documents of revisions (MS-WSUSSS 3.1.4.6). One may have 47 MB, so the documents are handed on while they
//! come, and only what stands around them is held.

use std::io::{self, BufRead, Read, Write};

use crate::base::digest::Sha1;
use crate::model::update::Identity;
use crate::wire::error::{Error, Result};
use crate::wire::soap::binary::{Decoder, Wrong};
use crate::wire::soap::{Limits, Reader, Style, Version, Writer};
use crate::wire::wsusss::authorize::Cookie;
use crate::wire::wsusss::call::{self, Answer, call};
use crate::wire::wsusss::field::{Field, Item, record};
use crate::wire::wsusss::method::Method;

/// The largest document that is taken as text, in bytes of UTF-8: five times the largest known. Stops a document that never
/// ends.
pub const TEXT_BYTES_MAX: u64 = 256 << 20;

/// The largest document that is taken as a cabinet, packed: documents shrink to a tenth and less.
pub const CABINET_BYTES_MAX: u64 = 64 << 20;

/// Files that one update may have: the largest have some thousand. Stops a list that never ends.
pub const FILES_MAX: usize = 100_000;

/// Above how many bytes of UTF-16 a Windows server packs a document (3.1.4.6, product behaviour; observed too).
pub const PACKED_ABOVE_BYTES: usize = 5120;

record! {
    /// Asks for documents.
    GetUpdateData {
        /// Who asks.
        "cookie" cookie: Option<Cookie>,
        /// Of which revisions; as many as the configuration allows. One that the server does not know makes it refuse all.
        "updateIds" updates: Vec<Identity>,
    }
}

record! {
    /// Where a file can be fetched.
    FileUrl {
        /// Which file.
        "FileDigest" digest: Sha1,
        /// At Microsoft's.
        "MUUrl" microsoft: Option<String>,
        /// Not used: the address at the server that answers follows from the digest.
        "UssUrl" server: Option<String>,
    }
}

impl Item for FileUrl {
    const NAME: &'static str = "ServerSyncUrlData";
}

/// How a document comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As text: the sink got UTF-8.
    Text,
    /// As a cabinet: the sink got its bytes, for [`crate::wire::cabinet`].
    Cabinet,
}

/// A revision whose document has been handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateData {
    /// Which revision.
    pub identity: Identity,
    /// How its document came.
    pub form: Form,
    /// How many bytes were handed on.
    pub bytes: u64,
    /// Its files.
    pub files: Vec<Sha1>,
}

/// One item of the answer.
#[derive(Debug)]
pub enum Given {
    /// A revision; the sink has its document.
    Update(UpdateData),
    /// Where a file can be fetched.
    Url(FileUrl),
    /// An item that cannot be used; the others are not touched by it. The sink may have a part of its document.
    Bad {
        /// Which revision, as far as it said so.
        identity: Option<Identity>,
        /// What is wrong.
        error: Error,
    },
}

/// Where in the answer the reading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Response,
    Result,
    Updates,
    Urls,
    End,
}

/// The answer, item by item. It may have fewer revisions than were asked for (a real server stops at about 2 MB): ask again
/// for the others.
#[derive(Debug)]
pub struct Updates<R> {
    reader: Box<Reader<R>>,
    place: Place,
}

/// Begins to read an answer. At most `limits` is read, [`Limits::STREAM`] in use.
pub fn open<R: BufRead>(input: R, limits: Limits) -> Result<Answer<Updates<R>>> {
    Ok(match call::open_response(input, limits, Method::GetUpdateData)? {
        Answer::Done(reader) => Answer::Done(Updates { reader, place: Place::Response }),
        Answer::Fault(fault) => Answer::Fault(fault),
    })
}

impl<R: BufRead> Updates<R> {
    /// The next item, its document handed to `document`, which should be empty; `None` once the message has ended, whole.
    pub fn next_item(&mut self, document: &mut dyn Write) -> Result<Option<Given>> {
        loop {
            let entered = match self.place {
                Place::End => return Ok(None),
                _ => self.reader.child()?,
            };
            match (self.place, entered) {
                (Place::Response | Place::End, false) => {
                    self.reader.close()?;
                    self.place = Place::End;
                }
                (Place::Result, false) => self.place = Place::Response,
                (Place::Updates | Place::Urls, false) => self.place = Place::Result,
                (place, true) => match (place, self.reader.name()) {
                    (Place::Response, "GetUpdateDataResult") => self.place = Place::Result,
                    (Place::Result, "updates") => self.place = Place::Updates,
                    (Place::Result, "fileUrls") => self.place = Place::Urls,
                    (Place::Updates, UPDATE) => return update(&mut self.reader, document).map(Some),
                    (Place::Urls, FileUrl::NAME) => return url(&mut self.reader).map(Some),
                    _ => self.reader.skip()?,
                },
            }
        }
    }
}

const UPDATE: &str = "ServerSyncUpdateData";

fn url<R: BufRead>(reader: &mut Reader<R>) -> Result<Given> {
    let outside = reader.depth().saturating_sub(1);
    match FileUrl::read(reader) {
        Ok(url) => Ok(Given::Url(url)),
        Err(error @ (Error::Value { .. } | Error::Missing { .. })) => {
            reader.leave(outside)?;
            Ok(Given::Bad { identity: None, error })
        }
        Err(error) => Err(error),
    }
}

fn update<R: BufRead>(reader: &mut Reader<R>, document: &mut dyn Write) -> Result<Given> {
    let (mut identity, mut came, mut files, mut bad) = (None, None, Vec::new(), None);
    while reader.child()? {
        let outside = reader.depth().saturating_sub(1);
        let step = match reader.name() {
            "Id" => Identity::read(reader).map(|read| identity = Some(read)),
            "FileDigestList" => digests(reader).map(|read| files = read),
            "XmlUpdateBlob" | "XmlUpdateBlobCompressed" if came.is_some() => {
                reader.skip()?;
                Err(Error::Value {
                    field: UPDATE.to_owned(),
                    got: "two documents".to_owned(),
                    wanted: "a revision with one",
                })
            }
            // White space alone is none: an element that is there and empty.
            "XmlUpdateBlob" => text(reader, document).map(|bytes| came = (bytes > 0).then_some((Form::Text, bytes))),
            "XmlUpdateBlobCompressed" => {
                cabinet(reader, document).map(|bytes| came = (bytes > 0).then_some((Form::Cabinet, bytes)))
            }
            _ => reader.skip(),
        };
        match step {
            Ok(()) => {}
            Err(error @ (Error::Value { .. } | Error::Missing { .. } | Error::Limit { what: DOCUMENT, .. })) => {
                reader.leave(outside)?;
                bad.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(error) = bad {
        return Ok(Given::Bad { identity, error });
    }
    let missing = |field| Ok(Given::Bad { identity, error: Error::Missing { inside: UPDATE, field } });
    let Some(identity) = identity else { return missing("Id") };
    let Some((form, bytes)) = came else { return missing("XmlUpdateBlob") };
    Ok(Given::Update(UpdateData { identity, form, bytes, files }))
}

/// Its files, as far as they can be read: the document itself names them too, with both digests, and it is that which counts.
fn digests<R: BufRead>(reader: &mut Reader<R>) -> Result<Vec<Sha1>> {
    let mut files = Vec::new();
    while reader.child()? {
        if reader.name() != Sha1::NAME {
            reader.skip()?;
            continue;
        }
        if files.len() == FILES_MAX {
            return Err(Error::Limit { what: DOCUMENT, max: FILES_MAX as u64, unit: "files" });
        }
        let outside = reader.depth().saturating_sub(1);
        match Sha1::read(reader) {
            Ok(digest) => files.push(digest),
            Err(Error::Value { .. } | Error::Missing { .. }) => reader.leave(outside)?,
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

const DOCUMENT: &str = "the document of an update";

fn text<R: BufRead>(reader: &mut Reader<R>, document: &mut dyn Write) -> Result<u64> {
    let mut bounded = Bounded { out: document, left: TEXT_BYTES_MAX, over: false };
    let bytes = reader.text_to(&mut bounded, u64::MAX)?;
    if bounded.over {
        return Err(Error::Limit { what: DOCUMENT, max: TEXT_BYTES_MAX, unit: "bytes" });
    }
    Ok(bytes)
}

fn cabinet<R: BufRead>(reader: &mut Reader<R>, document: &mut dyn Write) -> Result<u64> {
    let mut decoder = Decoder::new(document, CABINET_BYTES_MAX);
    reader.text_to(&mut decoder, u64::MAX)?;
    match decoder.finish().map_err(Error::Write)? {
        Ok(bytes) => Ok(bytes),
        Err(Wrong::TooLong) => Err(Error::Limit { what: DOCUMENT, max: CABINET_BYTES_MAX, unit: "bytes" }),
        Err(Wrong::NotBase64) => Err(Error::value("XmlUpdateBlobCompressed", "something else", "base64")),
    }
}

/// Swallows what is too much, so that the message around it can be read on.
struct Bounded<'a> {
    out: &'a mut dyn Write,
    left: u64,
    over: bool,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) if !self.over => {
                self.left = left;
                self.out.write_all(bytes)?;
            }
            _ => self.over = true,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A revision with its document: the form of an answer that is held whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Which revision.
    pub identity: Identity,
    /// How its document comes.
    pub form: Form,
    /// The document: UTF-8 or a cabinet.
    pub bytes: Vec<u8>,
    /// Its files.
    pub files: Vec<Sha1>,
}

record! {
    /// Documents, held whole: for tests and for small answers. One that cannot be used fails all.
    Documents {
        /// The documents.
        "updates" updates: Vec<Document>,
        /// Where files can be fetched.
        "fileUrls" urls: Vec<FileUrl>,
    }
}

impl Field for Document {
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        let mut bytes = Vec::new();
        match update(reader, &mut bytes)? {
            Given::Update(UpdateData { identity, form, files, .. }) => Ok(Self { identity, form, bytes, files }),
            Given::Bad { error, .. } => Err(error),
            Given::Url(_) => Err(Error::Missing { inside: UPDATE, field: "Id" }),
        }
    }

    fn write<W: Write>(&self, out: &mut Writer<W>, _: &str) -> io::Result<()> {
        write_update(out, self.identity, &self.files, self.form, &mut self.bytes.as_slice())
    }
}

impl Item for Document {
    const NAME: &'static str = UPDATE;
}

call!(GetUpdateData, Method::GetUpdateData, Documents);

/// Identity, files, document: a packed one stands last and a plain one before the files, as the WSDL has them.
fn write_update<W: Write>(
    out: &mut Writer<W>,
    identity: Identity,
    files: &[Sha1],
    form: Form,
    document: &mut dyn Read,
) -> io::Result<()> {
    out.open(UPDATE)?;
    identity.write(out, "Id")?;
    if form == Form::Text {
        out.open("XmlUpdateBlob")?;
        out.text_from(document)?;
        out.close("XmlUpdateBlob")?;
    }
    // Absent where there are none.
    if !files.is_empty() {
        out.open("FileDigestList")?;
        for digest in files {
            digest.write(out, Sha1::NAME)?;
        }
        out.close("FileDigestList")?;
    }
    if form == Form::Cabinet {
        out.open("XmlUpdateBlobCompressed")?;
        out.base64_from(document)?;
        out.close("XmlUpdateBlobCompressed")?;
    }
    out.close(UPDATE)
}

/// An answer that is written item by item: first all revisions, then all addresses.
#[derive(Debug)]
pub struct UpdatesWriter<W> {
    out: Writer<W>,
    updates: bool,
    urls: bool,
}

impl<W: Write> UpdatesWriter<W> {
    /// Everything before the first revision.
    pub fn begin(out: W, version: Version) -> io::Result<Self> {
        let mut out = Writer::begin(out, version, Style::Service)?;
        call::open_answer(&mut out, Method::GetUpdateData)?;
        out.open(&call::result(Method::GetUpdateData))?;
        Ok(Self { out, updates: false, urls: false })
    }

    /// A revision whose document `document` yields, in the form that is said. Not after the first address.
    pub fn update(
        &mut self,
        identity: Identity,
        files: &[Sha1],
        form: Form,
        document: &mut dyn Read,
    ) -> io::Result<()> {
        if self.urls {
            return Err(io::Error::other("revisions stand before addresses in the answer"));
        }
        if !std::mem::replace(&mut self.updates, true) {
            self.out.open("updates")?;
        }
        write_update(&mut self.out, identity, files, form, document)
    }

    /// Where a file can be fetched.
    pub fn url(&mut self, url: &FileUrl) -> io::Result<()> {
        if !std::mem::replace(&mut self.urls, true) {
            self.end_of_updates()?;
            self.out.open("fileUrls")?;
        }
        url.write(&mut self.out, FileUrl::NAME)
    }

    /// Everything behind the last item.
    pub fn finish(mut self) -> io::Result<W> {
        if self.urls {
            self.out.close("fileUrls")?;
        } else {
            self.end_of_updates()?;
            self.out.empty("fileUrls")?;
        }
        self.out.close(&call::result(Method::GetUpdateData))?;
        call::close_answer(self.out, Method::GetUpdateData)
    }

    fn end_of_updates(&mut self) -> io::Result<()> {
        if self.updates { self.out.close("updates") } else { self.out.empty("updates") }
    }
}
