//! Goes through a SOAP message element by element and holds nothing but the one at hand.
//!
//! Every element that [`Reader::child`] enters must be left in one of four ways: by its text ([`Reader::text`] and what
//! builds on it), by [`Reader::text_to`], by [`Reader::skip`], or by going through its children until there are no more.

mod numbers;

use std::io::{BufRead, Write};

use quick_xml::XmlVersion;
use quick_xml::errors::SyntaxError;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;

use crate::wire::error::{Error, Result, shown};
use crate::wire::soap::fault::{self, Fault};
use crate::wire::soap::limits::{ATTRIBUTES_MAX, BINDINGS_MAX, DEPTH_MAX, Limits, MARKUP_BYTES_MAX, VALUE_BYTES_MAX};
use crate::wire::soap::meter::{Cut, Meter};
use crate::wire::soap::text::Unescaper;
use crate::wire::soap::{ENVELOPE_11, ENVELOPE_12, Version};

/// What these errors are about.
const WHAT: &str = "a SOAP message";

/// What an envelope holds.
#[derive(Debug)]
pub enum Message<R> {
    /// An operation, its element entered.
    Operation(Box<Reader<R>>),
    /// The other side refused.
    Fault(Fault),
}

/// In which namespace an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    /// None.
    None,
    /// That of an envelope.
    Envelope(Version),
    /// That of the operation.
    Operation,
    /// Another one.
    Other,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Start,
    End,
    Eof,
}

/// A SOAP message that is being read.
pub struct Reader<R> {
    xml: NsReader<Meter<R>>,
    limits: Limits,
    version: Version,
    /// The namespace of the operation.
    operation: String,
    /// The namespace of the element that was entered last, where it is none that is known.
    other: String,
    space: Space,
    name: String,
    /// Attributes of the element that was entered last, but for namespaces.
    attributes: Vec<(String, String)>,
    depth: usize,
    elements: u64,
    /// Whether the element that was entered last is an empty tag, so that no end tag follows.
    empty: bool,
    buffer: Vec<u8>,
    unescaper: Unescaper,
}

impl<R> std::fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("name", &self.name).field("depth", &self.depth).finish_non_exhaustive()
    }
}

/// Reads up to the first element in the body: the operation, or a fault, which is read to its end.
///
/// The dispatch is by that element, not by SOAPAction (MS-WSUSSS 2.1). Headers are skipped: the protocol has none.
pub fn open<R: BufRead>(input: R, limits: Limits) -> Result<Message<R>> {
    let mut xml = NsReader::from_reader(Meter::new(input, limits.bytes));
    xml.resolver_mut().set_max_namespace_bindings(BINDINGS_MAX);
    let mut reader = Box::new(Reader {
        xml,
        limits,
        version: Version::V11,
        operation: String::new(),
        other: String::new(),
        space: Space::None,
        name: String::new(),
        attributes: Vec::new(),
        depth: 0,
        elements: 0,
        empty: false,
        buffer: Vec::new(),
        unescaper: Unescaper::default(),
    });
    reader.envelope()?;
    if reader.name == "Fault" && matches!(reader.space, Space::Envelope(_)) {
        let fault = fault::read(&mut reader)?;
        reader.close()?;
        return Ok(Message::Fault(fault));
    }
    Ok(Message::Operation(reader))
}

impl<R: BufRead> Reader<R> {
    /// Which SOAP the envelope is in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The namespace of the operation; empty where it has none.
    pub fn namespace(&self) -> &str {
        &self.operation
    }

    /// The local name of the element that was entered last; empty where it belongs to another namespace than the operation,
    /// so that nobody takes it for what it is not. Elements without a namespace count as the operation's.
    pub fn name(&self) -> &str {
        match self.space {
            Space::None | Space::Operation => &self.name,
            Space::Envelope(_) | Space::Other => "",
        }
    }

    /// The same, but names of the envelope's namespace count too: for faults.
    pub(super) fn any_name(&self) -> &str {
        match self.space {
            Space::Other => "",
            Space::None | Space::Operation | Space::Envelope(_) => &self.name,
        }
    }

    /// How many bytes of the message have been read.
    pub fn position(&self) -> u64 {
        self.xml.get_ref().at()
    }

    /// Enters the next child of the element at hand; `false` at its end, which leaves it.
    pub fn child(&mut self) -> Result<bool> {
        match self.step()? {
            Step::Start => Ok(true),
            Step::End => Ok(false),
            Step::Eof => Err(self.truncated()),
        }
    }

    /// The value of an attribute of the element that was entered last, until another one is entered.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The text of the element that was entered last, which is left. At most [`VALUE_BYTES_MAX`] bytes.
    pub fn text(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        self.text_to(&mut bytes, VALUE_BYTES_MAX)?;
        String::from_utf8(bytes).map_err(|_| self.malformed("it is not UTF-8"))
    }

    /// Hands the text of the element that was entered last to `out` as UTF-8, as it comes, and leaves the element.
    /// Returns how many bytes it had; more than `max` are an error.
    pub fn text_to(&mut self, out: &mut dyn Write, max: u64) -> Result<u64> {
        let mut count = 0;
        if std::mem::take(&mut self.empty) {
            self.depth = self.depth.saturating_sub(1);
            return Ok(0);
        }
        loop {
            self.characters(&mut |piece: &str| {
                count += piece.len() as u64;
                if count > max {
                    return Err(Error::Limit { what: "a value in a SOAP message", max, unit: "bytes" });
                }
                out.write_all(piece.as_bytes()).map_err(Error::Write)
            })?;
            match self.markup()? {
                Markup::End => return Ok(count),
                Markup::Start(empty) => {
                    self.empty = empty;
                    let got = format!("<{}>", shown(&self.name));
                    return Err(Error::Value { field: "the text of an element".to_owned(), got, wanted: "text alone" });
                }
                Markup::Section(section) => {
                    count += section.len() as u64;
                    if count > max {
                        return Err(Error::Limit { what: "a value in a SOAP message", max, unit: "bytes" });
                    }
                    let piece = match self.unescaper.verbatim(section.as_bytes()) {
                        Ok(piece) => piece,
                        Err(why) => return Err(Error::Malformed { what: WHAT, at: self.position(), why }),
                    };
                    out.write_all(piece.as_bytes()).map_err(Error::Write)?;
                }
                Markup::Comment => {}
                Markup::Eof => return Err(self.truncated()),
            }
        }
    }

    /// Leaves the element that was entered last, with all that is in it.
    pub fn skip(&mut self) -> Result<()> {
        self.leave(self.depth.saturating_sub(1))
    }

    /// In how many elements the reader is: what [`Self::leave`] takes.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Leaves elements, with all that is in them, until it is in `depth` of them: back to firm ground after an item that
    /// could not be read.
    pub fn leave(&mut self, depth: usize) -> Result<()> {
        if std::mem::take(&mut self.empty) {
            self.depth = self.depth.saturating_sub(1);
        }
        while self.depth > depth {
            self.characters(&mut |_| Ok(()))?;
            match self.markup()? {
                Markup::Start(true) => self.depth = self.depth.saturating_sub(1),
                Markup::Eof => return Err(self.truncated()),
                Markup::Start(false) | Markup::End | Markup::Section(_) | Markup::Comment => {}
            }
        }
        Ok(())
    }

    /// After the operation's element has been left: to the end of the message, which must be there. What ends in the middle
    /// is not whole, even if nothing of the operation is missing.
    pub fn close(&mut self) -> Result<()> {
        loop {
            match self.step()? {
                Step::Start => self.skip()?,
                Step::End => {}
                Step::Eof if self.depth == 0 => return Ok(()),
                Step::Eof => return Err(self.truncated()),
            }
        }
    }

    /// Something is wrong with the message at this place.
    pub fn malformed(&self, why: &str) -> Error {
        Error::Malformed { what: WHAT, at: self.position(), why: why.to_owned() }
    }

    fn truncated(&self) -> Error {
        Error::Truncated { what: WHAT, at: self.position() }
    }

    /// From the beginning into the first element of the body.
    fn envelope(&mut self) -> Result<()> {
        if !self.child()? {
            return Err(self.malformed("it begins with an end tag"));
        }
        let Space::Envelope(version) = self.space else {
            return Err(Error::Unexpected { wanted: "a SOAP envelope".to_owned(), got: shown(&self.name) });
        };
        if self.name != "Envelope" {
            return Err(Error::Unexpected { wanted: "a SOAP envelope".to_owned(), got: shown(&self.name) });
        }
        self.version = version;
        loop {
            if !self.child()? {
                return Err(self.malformed("the envelope has no body"));
            }
            if self.space == Space::Envelope(version) && self.name == "Body" {
                break;
            }
            self.skip()?;
        }
        if !self.child()? {
            return Err(self.malformed("the body of the envelope is empty"));
        }
        if self.space == Space::Other {
            self.operation.clone_from(&self.other);
            self.space = Space::Operation;
        }
        Ok(())
    }

    /// To the next tag; only white space may stand between.
    fn step(&mut self) -> Result<Step> {
        if std::mem::take(&mut self.empty) {
            self.depth = self.depth.saturating_sub(1);
            return Ok(Step::End);
        }
        loop {
            let mut stray = false;
            let start = self.depth == 0;
            self.characters(&mut |piece: &str| {
                // A byte order mark is no text.
                let piece = if start { piece.trim_start_matches('\u{feff}') } else { piece };
                stray |= piece.bytes().any(|byte| !byte.is_ascii_whitespace());
                Ok(())
            })?;
            if stray {
                return Err(self.malformed("text stands where only elements may stand"));
            }
            match self.markup()? {
                Markup::Start(empty) => {
                    self.empty = empty;
                    return Ok(Step::Start);
                }
                Markup::End => return Ok(Step::End),
                Markup::Section(section) => {
                    if section.bytes().any(|byte| !byte.is_ascii_whitespace()) {
                        return Err(self.malformed("text stands where only elements may stand"));
                    }
                }
                Markup::Comment => {}
                Markup::Eof => return Ok(Step::Eof),
            }
        }
    }

    /// The character data up to the next tag, in chunks as they come: what the tokenizer would hold whole.
    fn characters(&mut self, take: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        let Self { xml, unescaper, .. } = self;
        let meter = xml.get_mut();
        meter.allow(u64::MAX);
        loop {
            let at = meter.at();
            let malformed = |why: String| Error::Malformed { what: WHAT, at, why };
            let available = match meter.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(error.into())),
            };
            let end = memchr(b'<', available);
            let chunk = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
            let done = end.is_some() || available.is_empty();
            if !chunk.is_empty() {
                let piece = unescaper.push(chunk).map_err(malformed)?;
                if !piece.is_empty() {
                    take(piece)?;
                }
            }
            let count = chunk.len();
            meter.consume(count);
            if done {
                return unescaper.end().map_err(malformed);
            }
        }
    }

    /// The next tag, section or comment.
    fn markup(&mut self) -> Result<Markup> {
        self.buffer.clear();
        self.xml.get_mut().allow(MARKUP_BYTES_MAX);
        let mut buffer = std::mem::take(&mut self.buffer);
        let event = self.xml.read_event_into(&mut buffer);
        let result = match event {
            Ok(Event::Start(start)) => self.started(&start, false),
            Ok(Event::Empty(start)) => self.started(&start, true),
            Ok(Event::End(_)) => {
                self.depth = self.depth.saturating_sub(1);
                Ok(Markup::End)
            }
            Ok(Event::CData(section)) => Ok(Markup::Section(section.into_inner().into_owned())),
            Ok(Event::Comment(_)) => Ok(Markup::Comment),
            Ok(Event::Decl(declaration)) => match declaration.encoding() {
                Some(Ok(encoding))
                    if !encoding.eq_ignore_ascii_case("utf-8") && !encoding.eq_ignore_ascii_case("us-ascii") =>
                {
                    Err(self.malformed(&format!("its encoding is {:?}, not UTF-8", shown(&encoding))))
                }
                _ => Ok(Markup::Comment),
            },
            Ok(Event::DocType(_)) => Err(self.malformed("it has a document type, which SOAP forbids")),
            Ok(Event::PI(_)) => Err(self.malformed("it has a processing instruction, which SOAP forbids")),
            Ok(Event::Text(text)) if text.is_empty() => Ok(Markup::Comment),
            Ok(Event::Text(_) | Event::GeneralRef(_)) => Err(self.malformed("text stands between tags")),
            Ok(Event::Eof) => Ok(Markup::Eof),
            Err(error) => Err(self.failed(error)),
        };
        self.buffer = buffer;
        result
    }

    fn started(&mut self, start: &BytesStart<'_>, empty: bool) -> Result<Markup> {
        self.depth += 1;
        self.elements += 1;
        let limit = |max: u64, unit| Error::Limit { what: WHAT, max, unit };
        if self.depth > DEPTH_MAX {
            return Err(limit(DEPTH_MAX as u64, "levels of elements"));
        }
        if self.elements > self.limits.elements {
            return Err(limit(self.limits.elements, "elements"));
        }
        self.attributes.clear();
        for (count, attribute) in start.attributes().with_checks(false).enumerate() {
            if count >= ATTRIBUTES_MAX {
                return Err(limit(ATTRIBUTES_MAX as u64, "attributes in one tag"));
            }
            let attribute = attribute.map_err(|error| self.malformed(&error.to_string()))?;
            let name = attribute.key.as_ref();
            if name != "xmlns" && !name.starts_with("xmlns:") {
                let value = attribute.normalized_value(XmlVersion::Implicit1_0);
                let value = value.map_err(|error| self.malformed(&error.to_string()))?.into_owned();
                self.attributes.push((attribute.key.local_name().into_inner().to_owned(), value));
            }
        }
        let (resolved, local) = self.xml.resolver().resolve_element(start.name());
        self.space = match resolved {
            ResolveResult::Unbound => Space::None,
            ResolveResult::Bound(Namespace(uri)) if uri == self.operation => Space::Operation,
            ResolveResult::Bound(Namespace(ENVELOPE_11)) => Space::Envelope(Version::V11),
            ResolveResult::Bound(Namespace(ENVELOPE_12)) => Space::Envelope(Version::V12),
            ResolveResult::Bound(Namespace(uri)) => {
                self.other.clear();
                self.other.push_str(uri);
                Space::Other
            }
            ResolveResult::Unknown(prefix) => {
                return Err(self.malformed(&format!("the prefix {:?} is not declared", shown(&prefix))));
            }
        };
        self.name.clear();
        self.name.push_str(local.as_ref());
        Ok(Markup::Start(empty))
    }

    /// What an error of the tokenizer means.
    fn failed(&self, error: quick_xml::Error) -> Error {
        match self.xml.get_ref().cut() {
            Some(Cut::Message) => return Error::Limit { what: WHAT, max: self.limits.bytes, unit: "bytes" },
            Some(Cut::Piece) => {
                return Error::Limit { what: "a tag in a SOAP message", max: MARKUP_BYTES_MAX, unit: "bytes" };
            }
            None => {}
        }
        match error {
            quick_xml::Error::Io(error) => Error::Read(std::io::Error::new(error.kind(), error.to_string())),
            // The others say that the input ended inside of a piece of markup.
            quick_xml::Error::Syntax(error) if error != SyntaxError::InvalidBangMarkup => self.truncated(),
            error => self.malformed(&shown(&error.to_string())),
        }
    }
}

/// A piece of markup.
enum Markup {
    /// A start tag; whether it is an empty one.
    Start(bool),
    End,
    /// The inside of a CDATA section.
    Section(String),
    Comment,
    Eof,
}

fn memchr(wanted: u8, bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == wanted)
}
