//! Reads XML into a small tree of local names, attributes and texts. What namespace a name is of does not count: servers differ in
//! their prefixes.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// How deep an answer or a fragment may go.
const DEPTH: usize = 64;

/// An element.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// Its first child of that name.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Its children of that name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// What lies down this way.
    pub(crate) fn down(&self, way: &[&str]) -> Option<&Element> {
        way.iter().try_fold(self, |at, name| at.child(name))
    }

    /// The text of a child, without the space around it.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim())
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Reads elements one after another (a document, or a fragment without a root): they are the children of what is returned.
pub(crate) fn read(text: &str) -> Result<Element, String> {
    let mut reader = Reader::from_str(text);
    let mut open = vec![Element::default()];
    loop {
        match reader.read_event().map_err(|error| format!("this is not XML: {error}"))? {
            Event::Start(start) => {
                if open.len() > DEPTH {
                    return Err(format!("elements lie more than {DEPTH} deep"));
                }
                open.push(element(&start)?);
            }
            Event::Empty(start) => {
                let done = element(&start)?;
                if let Some(parent) = open.last_mut() {
                    parent.children.push(done);
                }
            }
            Event::End(_) => {
                if let Some(done) = open.pop()
                    && let Some(parent) = open.last_mut()
                {
                    parent.children.push(done);
                }
            }
            Event::Text(part) => push(&mut open, &part.xml10_content()),
            Event::CData(part) => push(&mut open, &part.xml10_content()),
            Event::GeneralRef(part) => {
                let name = part.xml10_content();
                let meant = match part.resolve_char_ref() {
                    Ok(Some(meant)) => meant,
                    _ => named(&name).ok_or_else(|| format!("entity {name} is not known"))?,
                };
                push(&mut open, meant.encode_utf8(&mut [0; 4]));
            }
            Event::DocType(_) => return Err("a document type is not taken".to_owned()),
            Event::Eof => break,
            _ => {}
        }
    }
    match open.pop() {
        Some(root) if open.is_empty() => Ok(root),
        other => Err(format!("the XML ends within {}", other.unwrap_or_default().name)),
    }
}

fn push(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn named(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

fn element(start: &BytesStart<'_>) -> Result<Element, String> {
    let name = local(start.local_name().as_ref());
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| format!("an attribute of {name} is wrong: {error}"))?;
        let raw = attribute.value.to_string();
        attributes.push((local(attribute.key.local_name().as_ref()), unescape(&raw)?));
    }
    Ok(Element { name, attributes, ..Element::default() })
}

fn local(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8_lossy(bytes.as_ref()).into_owned()
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (name, behind) = after.split_once(';').ok_or("an entity does not end")?;
        let number = match name.strip_prefix("#x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => name.strip_prefix('#').and_then(|digits| digits.parse().ok()),
        };
        let meant = number.and_then(char::from_u32).or_else(|| named(name));
        out.push(meant.ok_or_else(|| format!("entity {name} is not known"))?);
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

/// Text as element content and attribute value.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_texts_and_attributes_are_read_whatever_their_prefixes() {
        let root = read(r#"<?xml version="1.0"?><s:A xmlns:s="x"><b.C D="1 &lt; &#x32;">&lt;e&gt; <![CDATA[<f>]]></b.C><s:G/></s:A><H/>"#).expect("XML");
        let a = root.child("A").expect("A");
        let c = a.child("b.C").expect("C");
        assert_eq!((c.attribute("D"), c.text.as_str()), (Some("1 < 2"), "<e> <f>"));
        assert!(a.child("G").is_some() && root.child("H").is_some());
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        for bad in ["<a>", "<a></b>", "<a x=\"&nope;\"/>", "&nope;", "<!DOCTYPE a []><a/>", &"<a>".repeat(100)] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
