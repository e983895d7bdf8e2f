//! The cutter: takes the tokens of a document and writes each to the fragment that it belongs to.

use std::io::Write;

use super::{Licence, Localized, attributes};
use crate::wire::metadata::Error;
use crate::wire::metadata::limits::{FRAGMENT_BYTES_MAX, LANGUAGES_MAX};
use crate::wire::metadata::pull::{Close, Open, Space, Token};

/// Bytes of the fragments of all languages together: they are held until the document ends. Real ones have 40 languages of a
/// kilobyte each.
pub const PIECES_BYTES_MAX: u64 = 16 << 20;

/// Where what is in a child of the root goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Region {
    /// Nowhere.
    None,
    /// To Core.
    Core,
    /// To Extended.
    Extended,
    /// To Extended, as `ExtendedProperties`.
    Properties,
    /// Between the pieces of the languages.
    Collection,
    /// To the piece of a language.
    Language,
    /// To the piece of a licence.
    Licence,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Cutter<C, E> {
    core: Fragment<C>,
    extended: Fragment<E>,
    region: Region,
    /// How many elements are open.
    depth: u64,
    /// Of `ExtendedProperties`: white space since its beginning, whose `>` is not written before something else is in it.
    blank: Option<String>,
    /// The token as it is written.
    line: String,
    piece: String,
    pieces_bytes: u64,
    language: String,
    /// Whether the text goes into `language`.
    naming: bool,
    region_code: String,
    localized: Vec<Localized>,
    licences: Vec<Licence>,
}

impl<C: Write, E: Write> Cutter<C, E> {
    pub(super) fn new(core: C, extended: E) -> Self {
        Self {
            core: Fragment { out: core, left: FRAGMENT_BYTES_MAX },
            extended: Fragment { out: extended, left: FRAGMENT_BYTES_MAX },
            region: Region::None,
            depth: 0,
            blank: None,
            line: String::new(),
            piece: String::new(),
            pieces_bytes: 0,
            language: String::new(),
            naming: false,
            region_code: String::new(),
            localized: Vec::new(),
            licences: Vec::new(),
        }
    }

    /// The next token of the document.
    pub(super) fn take(&mut self, token: &Token<'_>) -> Result<(), Error> {
        match token {
            Token::Open(open) => {
                let level = self.depth;
                if !open.empty {
                    self.depth += 1;
                }
                self.open(open, level)
            }
            Token::Close(close) => {
                self.depth = self.depth.saturating_sub(1);
                self.close(close)
            }
            Token::Text(text) => self.text(["", text, ""], text),
            Token::Reference(name, letter) => self.text(["&", name, ";"], letter.encode_utf8(&mut [0; 4])),
            Token::CData(text) => self.text(["<![CDATA[", text, "]]>"], text),
            Token::Comment(text) => self.text(["<!--", text, "-->"], ""),
            Token::Nothing | Token::End => Ok(()),
        }
    }

    /// The fragments that are held here. Both writers are flushed.
    pub(super) fn finish(mut self) -> Result<(Vec<Localized>, Vec<Licence>), Error> {
        self.core.out.flush().map_err(Error::Output)?;
        self.extended.out.flush().map_err(Error::Output)?;
        Ok((self.localized, self.licences))
    }

    fn open(&mut self, open: &Open<'_>, level: u64) -> Result<(), Error> {
        let local = open.local();
        match level {
            0 => return Ok(()),
            1 => {
                self.region = match (open.space, local) {
                    (Space::Update, "UpdateIdentity" | "Relationships" | "ApplicabilityRules") => Region::Core,
                    (Space::Update, "Files" | "HandlerSpecificData") => Region::Extended,
                    (Space::Update, "Properties") => return self.properties(open),
                    (Space::Update, "LocalizedPropertiesCollection") => Region::Collection,
                    _ => Region::None,
                };
            }
            2 if self.region == Region::Collection => {
                match (open.space, local) {
                    (Space::Update, "LocalizedProperties") => {
                        self.region = Region::Language;
                        self.language.clear();
                    }
                    (Space::Update, "EulaFile") => {
                        self.region = Region::Licence;
                        self.language = open.attribute("Language").unwrap_or_default();
                        self.region_code = open.attribute("GeoId").unwrap_or_default();
                    }
                    _ => {}
                }
                self.piece.clear();
            }
            3 if self.region == Region::Language => self.naming = open.space == Space::Update && local == "Language",
            _ => {}
        }
        if matches!(self.region, Region::None | Region::Collection) {
            return Ok(());
        }
        self.line.clear();
        self.line.push('<');
        self.line.push_str(attributes::prefix(open.space));
        self.line.push_str(local);
        attributes::all(open, &mut self.line);
        self.line.push_str(if open.empty { " />" } else { ">" });
        self.put()?;
        if open.empty { self.closed(level) } else { Ok(()) }
    }

    /// `Properties` gives an element to Core, which has no children there, and one to Extended.
    fn properties(&mut self, open: &Open<'_>) -> Result<(), Error> {
        self.line.clear();
        self.line.push_str("<Properties");
        attributes::core_properties(open, &mut self.line);
        self.line.push_str(" />");
        self.region = Region::Core;
        self.put()?;
        self.line.clear();
        self.line.push_str("<ExtendedProperties");
        attributes::extended_properties(open, &mut self.line);
        if open.empty {
            self.line.push_str(" />");
        }
        self.region = Region::Extended;
        self.put()?;
        self.blank = (!open.empty).then(String::new);
        self.region = if open.empty { Region::None } else { Region::Properties };
        Ok(())
    }

    fn text(&mut self, written: [&str; 3], said: &str) -> Result<(), Error> {
        if self.naming {
            self.language.push_str(said);
        }
        if matches!(self.region, Region::None | Region::Collection) {
            return Ok(());
        }
        if self.region == Region::Properties
            && let Some(blank) = &mut self.blank
            && written[0].is_empty()
            && said.trim_ascii().is_empty()
        {
            blank.push_str(said);
            return Ok(());
        }
        self.line.clear();
        self.line.extend(written);
        self.put()
    }

    fn close(&mut self, close: &Close<'_>) -> Result<(), Error> {
        let level = self.depth;
        match self.region {
            Region::None => {}
            Region::Collection => {
                if level == 1 {
                    self.region = Region::None;
                }
            }
            Region::Properties if level == 1 => {
                let nothing = self.blank.take().is_some();
                self.line.clear();
                self.line.push_str(if nothing { " />" } else { "</ExtendedProperties>" });
                self.region = Region::Extended;
                self.put()?;
            }
            _ => {
                self.line.clear();
                self.line.push_str("</");
                self.line.push_str(attributes::prefix(close.space));
                self.line.push_str(close.local());
                self.line.push('>');
                self.put()?;
            }
        }
        self.closed(level)
    }

    /// An element at this level is at its end and was written.
    fn closed(&mut self, level: u64) -> Result<(), Error> {
        match (level, self.region) {
            (3, Region::Language) => self.naming = false,
            (2, Region::Language) => {
                let text = std::mem::take(&mut self.piece);
                let language = self.language.trim().to_owned();
                room(self.localized.len())?;
                if !self.localized.iter().any(|known| known.language.eq_ignore_ascii_case(&language)) {
                    self.localized.push(Localized { language, text });
                }
                self.region = Region::Collection;
            }
            (2, Region::Licence) => {
                room(self.licences.len())?;
                self.licences.push(Licence {
                    language: std::mem::take(&mut self.language),
                    region: std::mem::take(&mut self.region_code),
                    text: std::mem::take(&mut self.piece),
                });
                self.region = Region::Collection;
            }
            (1, _) => self.region = Region::None,
            _ => {}
        }
        Ok(())
    }

    /// Writes the line to where the region says.
    fn put(&mut self) -> Result<(), Error> {
        let line = self.line.as_bytes();
        match self.region {
            Region::None | Region::Collection => Ok(()),
            Region::Core => self.core.put(line),
            Region::Extended => self.extended.put(line),
            Region::Properties => {
                if let Some(blank) = self.blank.take() {
                    self.extended.put(b">")?;
                    self.extended.put(blank.as_bytes())?;
                }
                self.extended.put(line)
            }
            Region::Language | Region::Licence => {
                self.pieces_bytes = self.pieces_bytes.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
                if self.pieces_bytes > PIECES_BYTES_MAX {
                    return Err(Error::Limit { what: "bytes of texts in all languages", max: PIECES_BYTES_MAX });
                }
                self.piece.push_str(&self.line);
                Ok(())
            }
        }
    }
}

/// A fragment that is written, and how many bytes it may still have.
#[derive(Debug)]
struct Fragment<W> {
    out: W,
    left: u64,
}

impl<W: Write> Fragment<W> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let Some(left) = self.left.checked_sub(len) else {
            return Err(Error::Limit { what: "bytes in a fragment", max: FRAGMENT_BYTES_MAX });
        };
        self.left = left;
        self.out.write_all(bytes).map_err(Error::Output)
    }
}

fn room(count: usize) -> Result<(), Error> {
    let max = u64::try_from(LANGUAGES_MAX).unwrap_or(u64::MAX);
    if count < LANGUAGES_MAX { Ok(()) } else { Err(Error::Limit { what: "languages", max }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::metadata::pull::Pull;

    #[test]
    fn a_fragment_that_grows_over_all_bounds_is_the_documents_fault() {
        let document = format!(
            "<Update xmlns='http://schemas.microsoft.com/msus/2002/12/Update'><ApplicabilityRules>\
             <x xmlns='http://schemas.microsoft.com/msus/2002/12/BaseApplicabilityRules'>{}</x></ApplicabilityRules></Update>",
            "<a/>".repeat(1_000)
        );
        // The document has 4 bytes for each of them and Core has 7.
        let mut cutter = Cutter::new(Vec::new(), Vec::new());
        cutter.core.left = 5_000;
        let (mut pull, mut buffer) = (Pull::new(document.as_bytes()), Vec::new());
        let error = loop {
            let token = pull.next(&mut buffer).unwrap();
            assert!(!matches!(token, Token::End), "it goes on to the end");
            if let Err(error) = cutter.take(&token) {
                break error;
            }
        };
        assert!(matches!(error, Error::Limit { .. }) && error.is_documents_fault(), "{error}");
        assert!(cutter.core.out.len() <= 5_000);
    }
}
