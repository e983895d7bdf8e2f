//! Character data as it stands in the bytes -> text, in chunks of any size: the five entities, character references, line
//! ends (XML 1.0, 2.11 and 4.6), UTF-8. No other entity exists: there is no document type that could declare one.

/// The longest reference that is taken: `&#x10FFFF;` with room for leading zeros. Stops a reference that never ends.
const REFERENCE_BYTES_MAX: usize = 16;

/// Turns chunks of character data into chunks of text.
#[derive(Debug, Default)]
pub(crate) struct Unescaper {
    /// A reference whose end has not come yet, from `&` on.
    reference: Vec<u8>,
    /// The first bytes of a character whose others have not come yet.
    partial: Vec<u8>,
    /// Whether the last byte was a carriage return, for which a line feed has been given.
    after_return: bool,
    text: String,
}

impl Unescaper {
    /// The text of this chunk, as far as it is complete.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<&str, String> {
        self.text.clear();
        let mut rest = chunk;
        while !rest.is_empty() {
            if !self.reference.is_empty() {
                let end = rest.iter().position(|byte| *byte == b';').map_or(rest.len(), |at| at + 1);
                let (more, after) = rest.split_at(end);
                self.reference.extend_from_slice(more.get(..more.len().min(REFERENCE_BYTES_MAX)).unwrap_or_default());
                rest = after;
                if self.reference.last() == Some(&b';') {
                    let character = resolve(&self.reference)?;
                    self.reference.clear();
                    self.text.push(character);
                    self.after_return = false;
                } else if self.reference.len() > REFERENCE_BYTES_MAX {
                    return Err("an ampersand begins no reference".to_owned());
                }
                continue;
            }
            let end = rest.iter().position(|byte| *byte == b'&').unwrap_or(rest.len());
            let (plain, after) = rest.split_at(end);
            self.plain(plain)?;
            rest = after;
            if rest.first() == Some(&b'&') {
                if !self.partial.is_empty() {
                    return Err(NOT_UTF8.to_owned());
                }
                self.reference.push(b'&');
                rest = rest.get(1..).unwrap_or_default();
            }
        }
        Ok(&self.text)
    }

    /// Text that needs nothing resolved: a CDATA section.
    pub(crate) fn verbatim(&mut self, section: &[u8]) -> Result<&str, String> {
        self.text.clear();
        self.end()?;
        self.plain(section)?;
        Ok(&self.text)
    }

    /// There is no more character data before the next tag: nothing may be left over.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        self.after_return = false;
        if !self.reference.is_empty() {
            return Err("an ampersand begins no reference".to_owned());
        }
        if !self.partial.is_empty() {
            return Err(NOT_UTF8.to_owned());
        }
        Ok(())
    }

    fn plain(&mut self, bytes: &[u8]) -> Result<(), String> {
        let joined;
        let mut bytes = bytes;
        if !self.partial.is_empty() && !bytes.is_empty() {
            let mut all = std::mem::take(&mut self.partial);
            all.extend_from_slice(bytes);
            joined = all;
            bytes = &joined;
        }
        let valid = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) if error.error_len().is_none() => {
                let (valid, tail) = bytes.split_at(error.valid_up_to());
                self.partial.extend_from_slice(tail);
                std::str::from_utf8(valid).map_err(|_| NOT_UTF8.to_owned())?
            }
            Err(_) => return Err(NOT_UTF8.to_owned()),
        };
        if let Some(bad) = valid.chars().find(|c| !is_xml(*c)) {
            return Err(format!("the character U+{:04X} may not stand in XML", u32::from(bad)));
        }
        self.lines(valid);
        Ok(())
    }

    /// Both `\r\n` and a lone `\r` are a line feed.
    fn lines(&mut self, text: &str) {
        for (at, part) in text.split('\r').enumerate() {
            let part = if at > 0 {
                self.text.push('\n');
                part.strip_prefix('\n').unwrap_or(part)
            } else if self.after_return {
                part.strip_prefix('\n').unwrap_or(part)
            } else {
                part
            };
            self.text.push_str(part);
        }
        if !text.is_empty() {
            self.after_return = text.ends_with('\r');
        }
    }
}

const NOT_UTF8: &str = "it is not UTF-8";

/// XML 1.0, 2.2.
pub(crate) fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// The character that `&...;` stands for.
fn resolve(reference: &[u8]) -> Result<char, String> {
    let text = std::str::from_utf8(reference).map_err(|_| NOT_UTF8.to_owned())?;
    let name = text.strip_prefix('&').and_then(|text| text.strip_suffix(';')).unwrap_or_default();
    let number = match name {
        "lt" => return Ok('<'),
        "gt" => return Ok('>'),
        "amp" => return Ok('&'),
        "quot" => return Ok('"'),
        "apos" => return Ok('\''),
        _ => match name.strip_prefix("#x") {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => u32::from_str_radix(digits, 16).ok(),
            Some(_) => None,
            None => name
                .strip_prefix('#')
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|digits| digits.parse().ok()),
        },
    };
    number
        .and_then(char::from_u32)
        .filter(|c| is_xml(*c))
        .ok_or_else(|| format!("{text:?} is no reference that XML without a document type has"))
}
