//! A document as a stream of tokens, one at a time: namespaces resolved to those that matter, every limit kept, nothing held but
//! the token. What gets through is well-formed, so that text that is copied from it is too.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use quick_xml::XmlVersion;
use quick_xml::errors::{Error as XmlError, SyntaxError};
use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesEnd, BytesRef, BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;

use super::error::{Error, quoted};
use super::limits::{ATTRIBUTES_MAX, DEPTH_MAX, DOCUMENT_BYTES_MAX, ELEMENTS_MAX, TOKEN_BYTES_MAX};

/// The namespaces that change what an element means or is called (MS-WUSP 3.1.1.1); prefixes mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wire) enum Space {
    /// Of updates.
    Update,
    /// Of the rules that every agent knows.
    Base,
    /// Of the rules for Windows Installer.
    Msi,
    /// Of drivers.
    Driver,
    /// Of categories.
    Category,
    /// Any other, or none.
    Other,
}

const SPACES: [(&str, Space); 5] = [
    ("http://schemas.microsoft.com/msus/2002/12/Update", Space::Update),
    ("http://schemas.microsoft.com/msus/2002/12/BaseApplicabilityRules", Space::Base),
    ("http://schemas.microsoft.com/msus/2002/12/MsiApplicabilityRules", Space::Msi),
    ("http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/WindowsDriver", Space::Driver),
    ("http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/Category", Space::Category),
];

impl Space {
    /// The namespace with this URI.
    pub(in crate::wire) fn of(uri: &str) -> Self {
        SPACES.iter().find(|(known, _)| *known == uri).map_or(Self::Other, |(_, space)| *space)
    }
}

/// One token. Text is as it stands in the document, escapes and all.
#[derive(Debug)]
pub(in crate::wire) enum Token<'a> {
    /// An element begins; where `empty`, it ends here too and no [`Token::Close`] follows.
    Open(Open<'a>),
    /// An element ends.
    Close(Close<'a>),
    /// Text without references.
    Text(Cow<'a, str>),
    /// A reference to a character: what stands between `&` and `;`, and what it means.
    Reference(Cow<'a, str>, char),
    /// Text between `<![CDATA[` and `]]>`.
    CData(Cow<'a, str>),
    /// Text between `<!--` and `-->`, inside of the root element.
    Comment(Cow<'a, str>),
    /// What means nothing here.
    Nothing,
    /// The end of the document, behind the end of its root.
    End,
}

/// The end of an element.
#[derive(Debug)]
pub(in crate::wire) struct Close<'a> {
    /// Its namespace.
    pub(in crate::wire) space: Space,
    end: BytesEnd<'a>,
}

impl Close<'_> {
    /// Its name without a prefix.
    pub(in crate::wire) fn local(&self) -> &str {
        self.end.local_name().into_inner()
    }
}

/// The beginning of an element.
#[derive(Debug)]
pub(in crate::wire) struct Open<'a> {
    /// Its namespace.
    pub(in crate::wire) space: Space,
    /// Whether it has no content and no end of its own.
    pub(in crate::wire) empty: bool,
    start: BytesStart<'a>,
}

impl Open<'_> {
    /// Its name without a prefix.
    pub(in crate::wire) fn local(&self) -> &str {
        self.start.local_name().into_inner()
    }

    /// Its attributes in their order, declarations of namespaces among them. They were checked before.
    pub(in crate::wire) fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        let mut attributes = self.start.attributes();
        attributes.with_checks(false);
        attributes.flatten()
    }

    /// What the attribute without a prefix of this name says.
    pub(in crate::wire) fn attribute(&self, name: &str) -> Option<String> {
        let found = self.attributes().find(|attribute| attribute.key.as_ref() == name)?;
        value(&found).ok()
    }
}

/// What an attribute says, its references resolved.
pub(in crate::wire) fn value(attribute: &Attribute<'_>) -> Result<String, quick_xml::Error> {
    attribute.normalized_value(XmlVersion::Implicit1_0).map(Cow::into_owned)
}

/// A document that is read.
pub(in crate::wire) struct Pull<R> {
    reader: NsReader<Gauge<R>>,
    depth: u64,
    begun: bool,
    /// Elements that may still begin.
    elements: u64,
}

impl<R: BufRead> Pull<R> {
    /// Begins at the first byte of the document, which is UTF-8, with or without a declaration.
    pub(in crate::wire) fn new(document: R) -> Self {
        let gauge = Gauge { inner: document, token: TOKEN_BYTES_MAX, document: DOCUMENT_BYTES_MAX, over: None };
        let mut reader = NsReader::from_reader(gauge);
        reader.config_mut().check_comments = true;
        Self { reader, depth: 0, begun: false, elements: ELEMENTS_MAX }
    }

    /// The next token, in `buffer`, whose content it replaces.
    pub(in crate::wire) fn next<'b>(&mut self, buffer: &'b mut Vec<u8>) -> Result<Token<'b>, Error> {
        buffer.clear();
        // A token that was large does not keep its room for the rest of the document.
        buffer.shrink_to(1 << 16);
        self.reader.get_mut().token = TOKEN_BYTES_MAX;
        let at = self.reader.buffer_position();
        let event = match self.reader.read_event_into(buffer) {
            Ok(event) => event,
            Err(error) => return Err(self.blame(error, at)),
        };
        let inside = self.depth > 0;
        let malformed = |why: &str| Error::Malformed { at, why: why.to_owned() };
        match event {
            Event::Start(start) => {
                let open = self.open(start, false, at)?;
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(Error::Limit { what: "elements inside each other", max: DEPTH_MAX });
                }
                Ok(Token::Open(open))
            }
            Event::Empty(start) => Ok(Token::Open(self.open(start, true, at)?)),
            Event::End(end) => {
                self.depth = self.depth.saturating_sub(1);
                let space = space(&self.reader.resolver().resolve_element(end.name()).0);
                Ok(Token::Close(Close { space, end }))
            }
            Event::Text(text) if inside => Ok(Token::Text(legal(text.into_inner(), at)?)),
            Event::Text(text) if text.trim_ascii().is_empty() => Ok(Token::Nothing),
            Event::CData(text) if inside => Ok(Token::CData(legal(text.into_inner(), at)?)),
            Event::GeneralRef(name) if inside => match resolve(&name) {
                Some(meant) => Ok(Token::Reference(name.into_inner(), meant)),
                None => Err(malformed(&format!(
                    "the reference &{};, which is no character and none of the five entities that XML has",
                    quoted(&name)
                ))),
            },
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) => {
                Err(malformed("text outside of the root element"))
            }
            Event::Comment(text) if inside => Ok(Token::Comment(legal(text.into_inner(), at)?)),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => Ok(Token::Nothing),
            Event::DocType(_) => Err(Error::Doctype),
            Event::Eof if self.begun && !inside => Ok(Token::End),
            Event::Eof => Err(Error::Half { bytes: at }),
        }
    }

    /// An element begins: its name, its attributes and where it stands are looked at before anybody uses them.
    fn open<'b>(&mut self, start: BytesStart<'b>, empty: bool, at: u64) -> Result<Open<'b>, Error> {
        let malformed = |why: String| Error::Malformed { at, why };
        let Some(elements) = self.elements.checked_sub(1) else {
            return Err(Error::Limit { what: "elements", max: ELEMENTS_MAX });
        };
        self.elements = elements;
        if self.depth == 0 && std::mem::replace(&mut self.begun, true) {
            return Err(malformed("a second root element".to_owned()));
        }
        if !is_name(start.name().as_ref()) {
            return Err(malformed(format!("an element called {:?}", quoted(start.name().as_ref()))));
        }
        let mut count = 0;
        for attribute in start.attributes() {
            count += 1;
            if count > ATTRIBUTES_MAX {
                return Err(Error::Limit { what: "attributes in an element", max: ATTRIBUTES_MAX });
            }
            let attribute = attribute.map_err(|error| malformed(error.to_string()))?;
            if !is_name(attribute.key.as_ref()) {
                return Err(malformed(format!("an attribute called {:?}", quoted(attribute.key.as_ref()))));
            }
            if attribute.value.bytes().any(|byte| byte == b'<' || is_forbidden(byte)) {
                return Err(malformed(format!(
                    "a character in attribute {} that no attribute can hold",
                    attribute.key.as_ref()
                )));
            }
            if attribute.value.contains('&') {
                let value = value(&attribute).map_err(|error| malformed(error.to_string()))?;
                if value.chars().any(is_no_character) {
                    return Err(malformed(format!(
                        "a reference in attribute {} to what is no character",
                        attribute.key.as_ref()
                    )));
                }
            }
        }
        let space = match self.reader.resolver().resolve_element(start.name()).0 {
            ResolveResult::Unknown(prefix) => {
                return Err(malformed(format!("the prefix {:?}, which is declared nowhere", quoted(&prefix))));
            }
            found => space(&found),
        };
        Ok(Open { space, empty, start })
    }

    /// What an error of the parser means.
    fn blame(&mut self, error: XmlError, at: u64) -> Error {
        if let Some(limit) = self.reader.get_mut().over.take() {
            return limit;
        }
        match error {
            XmlError::Io(error) => Error::Input(io::Error::new(error.kind(), error)),
            // All the others of its kind say that the document ended.
            XmlError::Syntax(why) if why != SyntaxError::InvalidBangMarkup => {
                Error::Half { bytes: self.reader.buffer_position() }
            }
            XmlError::Namespace(why) => Error::Malformed { at, why: why.to_string() },
            other => Error::Malformed { at: self.reader.error_position().max(at), why: quoted(&other.to_string()) },
        }
    }
}

/// Text as it is, if XML can hold it.
fn legal(text: Cow<'_, str>, at: u64) -> Result<Cow<'_, str>, Error> {
    if text.bytes().any(is_forbidden) {
        return Err(Error::Malformed { at, why: "a control character, which no XML text can hold".to_owned() });
    }
    Ok(text)
}

fn space(found: &ResolveResult<'_>) -> Space {
    let ResolveResult::Bound(Namespace(uri)) = found else { return Space::Other };
    Space::of(uri)
}

/// Control characters that XML 1.0 has no place for (section 2.2).
fn is_forbidden(byte: u8) -> bool {
    byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')
}

fn is_no_character(letter: char) -> bool {
    u8::try_from(letter).is_ok_and(is_forbidden) || matches!(letter, '\u{fffe}' | '\u{ffff}')
}

/// Stricter than XML where it costs nothing: what is copied into a fragment must stay a name there.
fn is_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':') || byte >= 0x80;
    name.bytes().all(inner)
        && name.rsplit(':').all(|part| {
            part.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80)
        })
        && name.bytes().filter(|byte| *byte == b':').count() <= 1
}

fn resolve(name: &BytesRef<'_>) -> Option<char> {
    match &**name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => name.resolve_char_ref().ok().flatten().filter(|letter| !is_no_character(*letter)),
    }
}

/// Counts what is taken of a document, so that neither it nor one token of it can be without an end.
struct Gauge<R> {
    inner: R,
    token: u64,
    document: u64,
    over: Option<Error>,
}

impl<R: BufRead> Read for Gauge<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Gauge<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let left = self.token.min(self.document);
        let bytes = self.inner.fill_buf()?;
        if left == 0 && !bytes.is_empty() {
            self.over = Some(if self.document == 0 {
                Error::Limit { what: "bytes", max: DOCUMENT_BYTES_MAX }
            } else {
                Error::Limit { what: "bytes in one tag or text", max: TOKEN_BYTES_MAX }
            });
            return Err(io::Error::other("a limit"));
        }
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        bytes.get(..count).ok_or_else(|| io::Error::other("a limit"))
    }

    fn consume(&mut self, count: usize) {
        let taken = u64::try_from(count).unwrap_or(u64::MAX);
        self.token = self.token.saturating_sub(taken);
        self.document = self.document.saturating_sub(taken);
        self.inner.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_counted() {
        let mut pull = Pull { elements: 3, ..Pull::new("<a><b/><c></c><d/></a>".as_bytes()) };
        let mut buffer = Vec::new();
        let error = loop {
            match pull.next(&mut buffer) {
                Ok(token) => assert!(!matches!(token, Token::End), "the fourth is one too many"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Limit { what: "elements", .. }), "{error}");
    }
}
