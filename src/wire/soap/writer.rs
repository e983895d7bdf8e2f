//! Writes envelopes in the styles that real clients and servers use, on one line, element after element.

use std::io::{self, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::wire::soap::Version;
use crate::wire::soap::text::is_xml;

/// How an envelope looks. Readers may not care, but what was accepted once is accepted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A request to a server: XML declaration, prefix `soap`, nothing else declared.
    Request,
    /// What ASP.NET answers for the server sync, authorization and reporting services: XML declaration, prefix `soap`, `xsi`
    /// and `xsd` declared on the envelope, empty elements with a blank.
    Service,
    /// What the client service answers: no XML declaration, prefix `s`, `xsi` and `xsd` declared on the body, empty elements
    /// without a blank.
    Client,
}

/// A SOAP message that is being written.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    style: Style,
}

const XSI_XSD: &str =
    r#" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema""#;

/// What is encoded at a time: a multiple of three, so that no padding stands in the middle.
const CHUNK: usize = 12 << 10;

impl<W: Write> Writer<W> {
    /// Everything before the first element of the body.
    pub fn begin(mut out: W, version: Version, style: Style) -> io::Result<Self> {
        let namespace = version.namespace();
        match style {
            Style::Request => write!(
                out,
                r#"<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="{namespace}"><soap:Body>"#
            )?,
            Style::Service => write!(
                out,
                r#"<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="{namespace}"{XSI_XSD}><soap:Body>"#
            )?,
            Style::Client => write!(out, r#"<s:Envelope xmlns:s="{namespace}"><s:Body{XSI_XSD}>"#)?,
        }
        Ok(Self { out, style })
    }

    /// The prefix of the envelope's namespace.
    pub fn prefix(&self) -> &'static str {
        match self.style {
            Style::Request | Style::Service => "soap",
            Style::Client => "s",
        }
    }

    /// An element whose namespace is that of what is in it too.
    pub fn open_in(&mut self, name: &str, namespace: &str) -> io::Result<()> {
        write!(self.out, r#"<{name} xmlns="{namespace}">"#)
    }

    /// The same without anything in it.
    pub fn empty_in(&mut self, name: &str, namespace: &str) -> io::Result<()> {
        write!(self.out, r#"<{name} xmlns="{namespace}"{}"#, self.end_of_empty())
    }

    /// A start tag.
    pub fn open(&mut self, name: &str) -> io::Result<()> {
        write!(self.out, "<{name}>")
    }

    /// A start tag with attributes, which are written as they are.
    pub(super) fn open_with(&mut self, name: &str, attributes: &str) -> io::Result<()> {
        write!(self.out, "<{name} {attributes}>")
    }

    /// A start tag with these attributes.
    pub fn open_attributes(&mut self, name: &str, attributes: &[(&str, String)]) -> io::Result<()> {
        write!(self.out, "<{name}")?;
        for (attribute, value) in attributes {
            write!(self.out, " {attribute}=\"")?;
            for (count, piece) in value.split('"').enumerate() {
                if count > 0 {
                    self.out.write_all(b"&quot;")?;
                }
                escape(piece, &mut self.out)?;
            }
            self.out.write_all(b"\"")?;
        }
        self.out.write_all(b">")
    }

    /// An end tag.
    pub fn close(&mut self, name: &str) -> io::Result<()> {
        write!(self.out, "</{name}>")
    }

    /// An element without anything in it.
    pub fn empty(&mut self, name: &str) -> io::Result<()> {
        write!(self.out, "<{name}{}", self.end_of_empty())
    }

    /// An element with text in it; an empty tag where the text is empty.
    pub fn leaf(&mut self, name: &str, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return self.empty(name);
        }
        self.open(name)?;
        self.text(text)?;
        self.close(name)
    }

    /// Text, escaped by [`escape`].
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        escape(text, &mut self.out)
    }

    /// Where it is written to.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// The text that `from` yields as UTF-8, which is never held whole.
    pub fn text_from(&mut self, from: &mut dyn Read) -> io::Result<u64> {
        let mut buffer = vec![0; CHUNK];
        let (mut held, mut count) = (0, 0);
        loop {
            let free = buffer.get_mut(held..).unwrap_or_default();
            let read = match from.read(free) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            count += read as u64;
            held += read;
            let bytes = buffer.get(..held).unwrap_or_default();
            let (whole, last) = match std::str::from_utf8(bytes) {
                Ok(text) => (text, read == 0),
                Err(error) if error.error_len().is_none() && read > 0 => {
                    let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
                    (std::str::from_utf8(valid).unwrap_or_default(), false)
                }
                Err(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "a document is not UTF-8")),
            };
            let done = whole.len();
            self.text(whole)?;
            buffer.copy_within(done..held, 0);
            held -= done;
            if last {
                return Ok(count);
            }
        }
    }

    /// These bytes in base64.
    pub fn base64(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.base64_from(&mut &*bytes).map(|_| ())
    }

    /// The bytes that `from` yields in base64, never held whole. Returns how many there were.
    pub fn base64_from(&mut self, from: &mut dyn Read) -> io::Result<u64> {
        let mut buffer = vec![0; CHUNK];
        let mut encoded = String::new();
        let (mut held, mut count) = (0, 0);
        loop {
            let read = match from.read(buffer.get_mut(held..).unwrap_or_default()) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            count += read as u64;
            held += read;
            if read > 0 && held < CHUNK {
                continue;
            }
            encoded.clear();
            STANDARD.encode_string(buffer.get(..held).unwrap_or_default(), &mut encoded);
            self.out.write_all(encoded.as_bytes())?;
            held = 0;
            if read == 0 {
                return Ok(count);
            }
        }
    }

    /// Everything behind the body's last element.
    pub fn finish(mut self) -> io::Result<W> {
        let prefix = self.prefix();
        write!(self.out, "</{prefix}:Body></{prefix}:Envelope>")?;
        Ok(self.out)
    }

    fn end_of_empty(&self) -> &'static str {
        match self.style {
            Style::Request | Style::Client => "/>",
            Style::Service => " />",
        }
    }
}

/// Writes text as it stands between tags. Only `&`, `<`, `>` and the carriage return are escaped, as real servers do it; a
/// character that XML does not have becomes U+FFFD, so that the message stays well formed whatever was in a name.
pub fn escape<W: Write + ?Sized>(text: &str, out: &mut W) -> io::Result<()> {
    let mut from = 0;
    for (at, c) in text.char_indices() {
        let escaped = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '\r' => "&#xD;",
            c if is_xml(c) => continue,
            _ => "\u{fffd}",
        };
        out.write_all(text.get(from..at).unwrap_or_default().as_bytes())?;
        out.write_all(escaped.as_bytes())?;
        from = at + c.len_utf8();
    }
    out.write_all(text.get(from..).unwrap_or_default().as_bytes())
}
