//! Reads a request: a small tree of local names and texts. Names of namespaces do not count but for the envelope's.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Requests are small; a hundred identities are 15 KB, all products and languages perhaps 100 KB.
pub(crate) const MAX: usize = 4 << 20;

/// How deep a request may go.
const DEPTH: usize = 16;

/// An element.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim())
    }
}

/// What was asked.
pub(crate) struct Request {
    /// Whether the envelope is SOAP 1.2.
    pub(crate) soap12: bool,
    /// The first element of the body; its name is the method.
    pub(crate) call: Element,
}

/// Reads one; the error says what is wrong with it.
pub(crate) fn read(body: &[u8]) -> Result<Request, String> {
    let text = std::str::from_utf8(body).map_err(|error| format!("the request is not UTF-8: {error}"))?;
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = vec![Element::default()];
    loop {
        let event = reader.read_event().map_err(|error| format!("the request is not XML: {error}"))?;
        match event {
            Event::Start(start) => {
                if open.len() > DEPTH {
                    return Err(format!("elements lie more than {DEPTH} deep"));
                }
                open.push(Element { name: local(start.local_name().as_ref()), ..Element::default() });
            }
            Event::Empty(start) => {
                let element = Element { name: local(start.local_name().as_ref()), ..Element::default() };
                if let Some(parent) = open.last_mut() {
                    parent.children.push(element);
                }
            }
            Event::End(_) => {
                if let Some(done) = open.pop()
                    && let Some(parent) = open.last_mut()
                {
                    parent.children.push(done);
                }
            }
            Event::Text(part) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&part.xml10_content());
                }
            }
            Event::GeneralRef(part) => {
                let name = part.xml10_content();
                let meant = match (part.resolve_char_ref(), &*name) {
                    (Ok(Some(meant)), _) => meant,
                    (_, "amp") => '&',
                    (_, "lt") => '<',
                    (_, "gt") => '>',
                    (_, "quot") => '"',
                    (_, "apos") => '\'',
                    _ => return Err(format!("entity {name} is not known")),
                };
                if let Some(element) = open.last_mut() {
                    element.text.push(meant);
                }
            }
            Event::DocType(_) => return Err("a document type is not taken".to_owned()),
            Event::Eof => break,
            _ => {}
        }
    }
    let root = open.into_iter().next().unwrap_or_default();
    let envelope = take(root, "Envelope").ok_or("there is no Envelope")?;
    let body = take(envelope, "Body").ok_or("there is no Body")?;
    let call = body.children.into_iter().next().ok_or("the Body is empty")?;
    Ok(Request { soap12: text.contains("http://www.w3.org/2003/05/soap-envelope"), call })
}

/// The first child of that name.
fn take(element: Element, name: &str) -> Option<Element> {
    element.children.into_iter().find(|child| child.name == name)
}

fn local(name: impl AsRef<[u8]>) -> String {
    String::from_utf8_lossy(name.as_ref()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_whatever_their_prefixes() {
        let body = br#"<?xml version="1.0"?><x:Envelope xmlns:x="http://schemas.xmlsoap.org/soap/envelope/"><x:Body><a:GetCookie xmlns:a="y"><a:protocolVersion>1&amp;2</a:protocolVersion><a:empty/></a:GetCookie></x:Body></x:Envelope>"#;
        let request = read(body).unwrap();
        assert!(!request.soap12);
        assert_eq!(request.call.name, "GetCookie");
        assert_eq!(request.call.text_of("protocolVersion"), Some("1&2"));
        assert!(request.call.child("empty").is_some());
    }

    #[test]
    fn what_is_not_a_call_is_refused() {
        for bad in ["", "<a/>", "<Envelope><Body/></Envelope>", "<Envelope><Body><x></Body></Envelope>", "\u{1}"] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
        let deep = "<a>".repeat(40);
        assert!(read(deep.as_bytes()).is_err());
    }
}
