//! Lists of numbers, read without the tokenizer: an agent names thousands of revisions in each request, and an element costs the
//! tokenizer twenty times what a number does.

use std::io::BufRead;

use quick_xml::name::{Namespace, QName, ResolveResult};

use crate::wire::error::{Error, Result};
use crate::wire::soap::reader::{Reader, WHAT};

/// Digits of a number that is looked at here; more of them do not fit.
const DIGITS_MAX: usize = 10;

impl<R: BufRead> Reader<R> {
    /// Whether elements of this name without a prefix belong to the operation, in the element that was entered last and before any of its
    /// children.
    pub fn has_plain(&self, name: &str) -> bool {
        match self.xml.resolver().resolve_element(QName(name)).0 {
            ResolveResult::Unbound => true,
            ResolveResult::Bound(Namespace(uri)) => uri == self.operation,
            ResolveResult::Unknown(_) => false,
        }
    }

    /// Between two children: takes the children that follow at once and are in memory whole, for as long as they are elements of this name
    /// without prefix and attributes that hold a number and nothing else; at most `room` of them. Whatever is otherwise is left for
    /// [`Reader::child`]. Only where [`Reader::has_plain`] says so.
    pub fn numbers(&mut self, name: &str, room: usize, into: &mut Vec<i32>) -> Result<()> {
        if self.empty {
            return Ok(());
        }
        let full = into.len().saturating_add(room);
        loop {
            let meter = self.xml.get_mut();
            meter.allow(u64::MAX);
            // What cannot be read is told by whoever reads on.
            let Ok(available) = meter.fill_buf() else { return Ok(()) };
            let (mut taken, before) = (0, into.len());
            while into.len() < full
                && let Some((number, length)) = item(available.get(taken..).unwrap_or_default(), name.as_bytes())
            {
                into.push(number);
                taken += length;
            }
            meter.consume(taken);
            self.elements += (into.len() - before) as u64;
            if self.elements > self.limits.elements {
                return Err(Error::Limit { what: WHAT, max: self.limits.elements, unit: "elements" });
            }
            if taken == 0 {
                return Ok(());
            }
        }
    }
}

/// A whole element of this name at the beginning of `bytes`, white space before it left out of account: its number, and how many bytes it
/// takes.
fn item(bytes: &[u8], name: &[u8]) -> Option<(i32, usize)> {
    let rest = bytes.trim_ascii_start().strip_prefix(b"<")?.strip_prefix(name)?.strip_prefix(b">")?;
    let (is_negative, rest) = rest.strip_prefix(b"-").map_or((false, rest), |rest| (true, rest));
    let mut value = 0_i64;
    let mut digits = 0;
    for byte in rest.iter().take(DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()) {
        value = value * 10 + i64::from(byte - b'0');
        digits += 1;
    }
    if digits == 0 || digits > DIGITS_MAX {
        return None;
    }
    let rest = rest.get(digits..)?.strip_prefix(b"</")?.strip_prefix(name)?.strip_prefix(b">")?;
    let number = i32::try_from(if is_negative { -value } else { value }).ok()?;
    Some((number, bytes.len() - rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::soap::{Limits, Message, open};

    #[test]
    fn an_item_is_a_number_and_nothing_else() {
        let of = |text: &str| item(text.as_bytes(), b"int");
        assert_eq!(of("<int>7</int><int>8</int>"), Some((7, 12)));
        assert_eq!(of(" \n<int>-2147483648</int>"), Some((i32::MIN, 24)));
        assert_eq!(of("<int>2147483647</int>"), Some((i32::MAX, 21)));
        for bad in [
            "",
            "<int>7</int",
            "<int>",
            "<int></int>",
            "<int>-</int>",
            "<int>2147483648</int>",
            "<int>00000000001</int>",
            "<int> 7</int>",
            "<int>7 </int>",
            "<int>7<!-- --></int>",
            "<int a=\"1\">7</int>",
            "<ints>7</ints>",
            "<x:int>7</x:int>",
            "<int/>",
            "x<int>7</int>",
            "</list>",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    /// The list in a message, read with and without the short way; `step` bytes are in memory at a time.
    fn both(list: &str, step: usize) -> [std::result::Result<Vec<i32>, String>; 2] {
        let text = format!(
            r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><A xmlns="urn:a" xmlns:b="urn:a">{list}<C>end</C></A></s:Body></s:Envelope>"#
        );
        [true, false].map(|short| {
            let input = std::io::BufReader::with_capacity(step, text.as_bytes());
            let Message::Operation(mut reader) = open(input, Limits::REQUEST).unwrap() else { panic!("a fault") };
            let read = |reader: &mut Reader<_>| -> Result<Vec<i32>> {
                let mut found = Vec::new();
                assert!(reader.child()?);
                let short = short && reader.has_plain("int");
                loop {
                    if short {
                        reader.numbers("int", usize::MAX, &mut found)?;
                    }
                    if !reader.child()? {
                        break;
                    }
                    if reader.name() == "int" {
                        let text = reader.text()?;
                        found.push(text.trim().parse().map_err(|_| reader.malformed("no number"))?);
                    } else {
                        reader.skip()?;
                    }
                }
                assert!(reader.child()?);
                assert_eq!(reader.name(), "C");
                assert_eq!(reader.text()?, "end");
                assert!(!reader.child()?);
                reader.close()?;
                Ok(found)
            };
            read(&mut reader).map_err(|error| error.to_string())
        })
    }

    #[test]
    fn the_short_way_leads_where_the_long_one_does() {
        for list in [
            "<L/>",
            "<L></L>",
            "<L><int>1</int></L>",
            "<L><int>1</int><int>-2</int>\n <int>3</int></L>",
            "<L> <int>1</int><int> 2</int><int>3</int><b:int>4</b:int><int>5</int><other><int>6</int></other><int>7</int></L>",
            "<L xmlns=\"urn:other\"><int>1</int><int>2</int></L>",
            "<L xmlns=\"\"><int>1</int></L>",
            "<L><int xmlns=\"urn:other\">1</int><int>2</int><int xmlns=\"urn:a\">3</int><int>4</int></L>",
            "<L><int>1</int><!-- <int>9</int> --><int>2</int><int><![CDATA[3]]></int><int>4</int></L>",
            "<L><int>1</int>x<int>2</int></L>",
            "<L><int>1</int><int>99999999999</int></L>",
            "<L><int>1</int><int>2</L>",
            "<L><int>1</int><int>2</int></M>",
        ] {
            for step in [1, 7, 40, 4096] {
                let [short, long] = both(list, step);
                // Where an error lies is told by what was read ahead.
                assert_eq!(short.is_ok(), long.is_ok(), "{list}: {short:?} {long:?}");
                if short.is_ok() {
                    assert_eq!(short, long, "{list}");
                }
            }
        }
        let many = (0..5_000).fold(String::new(), |text, at| text + "<int>" + &at.to_string() + "</int>");
        let [short, long] = both(&format!("<L>{many}</L>"), 8192);
        assert_eq!((short.clone().unwrap().len(), short), (5_000, long));
    }

    #[test]
    fn what_is_taken_is_counted() {
        let many = "<int>1</int>".repeat(20);
        let text = format!(
            r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><A xmlns="urn:a"><L>{many}</L></A></s:Body></s:Envelope>"#
        );
        for (elements, is_enough) in [(24, true), (23, false)] {
            let limits = Limits { elements, ..Limits::REQUEST };
            let Message::Operation(mut reader) = open(text.as_bytes(), limits).unwrap() else { panic!("a fault") };
            assert!(reader.child().unwrap() && reader.has_plain("int"));
            let mut found = Vec::new();
            assert_eq!(reader.numbers("int", usize::MAX, &mut found).is_ok(), is_enough);
            let mut some = Vec::new();
            assert!(reader.numbers("int", 0, &mut some).is_ok() == is_enough && some.is_empty());
        }
    }
}
