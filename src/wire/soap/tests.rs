//! Envelopes in every style, what is hostile, and that what is written is read again.

use std::io::{BufReader, Read};

use proptest::prelude::*;

use crate::wire::error::{Error, Fault as Blame};
use crate::wire::soap::limits::{ATTRIBUTES_MAX, DEPTH_MAX, MARKUP_BYTES_MAX, VALUE_BYTES_MAX};
use crate::wire::soap::{
    Detail, ENVELOPE_11, ENVELOPE_12, Fault, Limits, Message, Reader, Side, Style, Version, Writer, open,
};

const OWN: &str = "urn:own";

fn message(body: &str) -> String {
    format!("<e:Envelope xmlns:e=\"{ENVELOPE_11}\"><e:Body>{body}</e:Body></e:Envelope>")
}

fn operation(inside: &str) -> String {
    message(&format!("<Ask xmlns=\"{OWN}\">{inside}</Ask>"))
}

fn reader(bytes: &[u8]) -> Result<Box<Reader<&[u8]>>, Error> {
    match open(bytes, Limits::REQUEST)? {
        Message::Operation(reader) => Ok(reader),
        Message::Fault(fault) => panic!("{fault}"),
    }
}

/// The text of the only child.
fn only(text: &str) -> Result<String, Error> {
    let text = operation(text);
    let mut reader = reader(text.as_bytes())?;
    assert!(reader.child()?);
    let value = reader.text()?;
    assert!(!reader.child()?);
    reader.close()?;
    Ok(value)
}

/// Names and texts of the children, as far as they can be read.
fn children(bytes: &[u8]) -> Result<Vec<(String, String)>, Error> {
    let mut reader = reader(bytes)?;
    let mut found = Vec::new();
    while reader.child()? {
        let name = reader.name().to_owned();
        found.push((name, reader.text()?));
    }
    reader.close()?;
    Ok(found)
}

#[test]
fn prefixes_do_not_matter_and_other_namespaces_are_not_taken_for_ones_own() {
    for (envelope, version) in [(ENVELOPE_11, Version::V11), (ENVELOPE_12, Version::V12)] {
        let text = format!(
            "\u{feff}<?xml version='1.0' encoding='UTF-8'?>\n<Envelope xmlns='{envelope}'><!-- a comment -->
               <Header><x:Security xmlns:x='urn:x' a='1'><x:Body/></x:Security></Header>
               <Body><y:Ask xmlns:y='{OWN}' y:b='2'><y:A>1</y:A><z:A xmlns:z='urn:z'>no</z:A><A xmlns=''>2</A></y:Ask></Body></Envelope>\n"
        );
        let mut reader = reader(text.as_bytes()).unwrap();
        assert_eq!((reader.version(), reader.namespace(), reader.name()), (version, OWN, "Ask"));
        let mut found = Vec::new();
        while reader.child().unwrap() {
            let name = reader.name().to_owned();
            found.push((name, reader.text().unwrap()));
        }
        reader.close().unwrap();
        assert_eq!(found, [("A".into(), "1".into()), (String::new(), "no".into()), ("A".into(), "2".into())]);
    }
}

#[test]
fn text_is_what_xml_says_it_is() {
    for (written, meant) in [
        ("<a>&lt;b c=&quot;d&quot;&gt; &amp; &apos;e&apos;</a>", "<b c=\"d\"> & 'e'"),
        ("<a>&#65;&#x42;&#x00001F600;</a>", "AB\u{1f600}"),
        ("<a>one\r\ntwo\rthree\n&#xD;\n</a>", "one\ntwo\nthree\n\r\n"),
        ("<a>x<!-- no -->y<![CDATA[<&>]]>z</a>", "xy<&>z"),
        ("<a/>", ""),
        ("<a></a>", ""),
        ("<a>\u{e4}\u{4e2d}\u{1f600}</a>", "\u{e4}\u{4e2d}\u{1f600}"),
    ] {
        assert_eq!(only(written).unwrap(), meant);
        // In pieces of one byte.
        let text = operation(written);
        let Message::Operation(mut reader) =
            open(BufReader::with_capacity(1, text.as_bytes()), Limits::REQUEST).unwrap()
        else {
            panic!("a fault")
        };
        assert!(reader.child().unwrap());
        assert_eq!(reader.text().unwrap(), meant);
    }
    for bad in [
        "<a>&nbsp;</a>",
        "<a>&#0;</a>",
        "<a>&#xD800;</a>",
        "<a>&#x110000;</a>",
        "<a>&#+65;</a>",
        "<a>&lt</a>",
        "<a>AT&T</a>",
        "<a>&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;</a>",
        "<a>\u{0}</a>",
        "<a>\u{1b}[31m</a>",
        "<a><b/></a>",
        "stray<a/>",
        "<a/><![CDATA[stray]]>",
        "<a x='1' y></a>",
        "<a></b>",
        "<p:a/>",
        "<?php evil ?><a/>",
    ] {
        let error = only(bad).unwrap_err();
        assert_eq!((error.fault(), error.is_retryable()), (Blame::Sender, false), "{bad}: {error}");
    }
    let mut bytes = operation("<a>x</a>").into_bytes();
    let at = bytes.windows(3).position(|three| three == b">x<").unwrap() + 1;
    bytes[at] = 0xff;
    assert!(children(&bytes).is_err());
}

#[test]
fn what_is_no_soap_is_refused() {
    for text in [
        "",
        "hello",
        "<html><body>502</body></html>",
        "<Envelope/>",
        "<e:Envelope xmlns:e='urn:other'><e:Body/></e:Envelope>",
        &format!("<e:Body xmlns:e='{ENVELOPE_11}'/>"),
        &format!("<e:Envelope xmlns:e='{ENVELOPE_11}'/>"),
        &format!("<e:Envelope xmlns:e='{ENVELOPE_11}'><e:Body/></e:Envelope>"),
        &message("<a xmlns=\"urn:own\"/>").replace("<e:Env", "<?xml version='1.0' encoding='utf-16'?><e:Env"),
    ] {
        assert!(reader(text.as_bytes()).is_err(), "{text}");
    }
    // What is cut off anywhere is not whole, and asking again can help.
    let text = operation("<a>x</a><b/>");
    for end in 1..text.len() {
        let error = children(&text.as_bytes()[..end]).unwrap_err();
        assert!(error.is_retryable(), "{end}: {error}");
    }
    assert_eq!(children(text.as_bytes()).unwrap().len(), 2);
}

#[test]
fn bombs_are_refused() {
    let limit = |text: &str| match children(text.as_bytes()) {
        Err(Error::Limit { unit, .. }) => unit,
        other => panic!("{other:?}"),
    };
    // Two levels are the envelope's, one the operation's.
    let deep = |levels: usize| operation(&format!("{}{}", "<a>".repeat(levels), "</a>".repeat(levels)));
    let text = deep(DEPTH_MAX - 3);
    let mut fits = reader(text.as_bytes()).unwrap();
    assert!(fits.child().unwrap());
    fits.skip().unwrap();
    fits.close().unwrap();
    let text = deep(DEPTH_MAX - 2);
    let mut deeper = reader(text.as_bytes()).unwrap();
    assert!(deeper.child().unwrap());
    assert!(matches!(deeper.skip(), Err(Error::Limit { unit: "levels of elements", .. })));

    let attributes = |count: usize| (0..count).map(|at| format!(" a{at}='1'")).collect::<Vec<_>>().concat();
    assert_eq!(children(operation(&format!("<a{}/>", attributes(ATTRIBUTES_MAX))).as_bytes()).unwrap().len(), 1);
    assert_eq!(limit(&operation(&format!("<a{}/>", attributes(ATTRIBUTES_MAX + 1)))), "attributes in one tag");
    let names = (0..2000).map(|at| format!(" xmlns:n{at}='u{at}'")).collect::<Vec<_>>().concat();
    assert!(children(operation(&format!("<a{names}/>")).as_bytes()).is_err());

    let long = usize::try_from(MARKUP_BYTES_MAX).unwrap();
    assert_eq!(limit(&operation(&format!("<a b='{}'/>", "x".repeat(long)))), "bytes");
    assert_eq!(limit(&operation(&format!("<!--{}--><a/>", "x".repeat(long)))), "bytes");
    assert_eq!(limit(&operation(&format!("<{}/>", "x".repeat(long)))), "bytes");
    let long = usize::try_from(VALUE_BYTES_MAX).unwrap();
    assert_eq!(only(&format!("<a>{}</a>", "x".repeat(long))).unwrap().len(), long);
    assert_eq!(limit(&operation(&format!("<a>{}</a>", "x".repeat(long + 1)))), "bytes");
    assert_eq!(limit(&operation(&"<a/>".repeat(100_000))), "elements");

    // The million laughs, and one that reads a file.
    for declared in
        ["<!DOCTYPE l [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;'>]>", "<!DOCTYPE x SYSTEM 'file:///etc/passwd'>"]
    {
        let text = format!("{declared}{}", operation("<a>&b;</a>"));
        assert!(matches!(children(text.as_bytes()), Err(Error::Malformed { .. })));
    }

    // A stream without end costs nothing but its reading up to the limit.
    let begin = format!("<e:Envelope xmlns:e=\"{ENVELOPE_11}\"><e:Body><Ask xmlns=\"{OWN}\"><a>");
    let endless = begin.as_bytes().chain(std::io::repeat(b'x'));
    let Message::Operation(mut reader) = open(BufReader::new(endless), Limits::REQUEST).unwrap() else {
        panic!("a fault")
    };
    assert!(reader.child().unwrap());
    assert!(matches!(reader.skip(), Err(Error::Limit { unit: "bytes", max, .. }) if max == Limits::REQUEST.bytes));
}

#[test]
fn a_large_value_goes_through_without_being_held() {
    let document = "<Doc>&amp; so on</Doc>".repeat(200_000);
    let mut out = Writer::begin(Vec::new(), Version::V11, Style::Service).unwrap();
    out.open_in("Ask", OWN).unwrap();
    out.open("Blob").unwrap();
    assert_eq!(out.text_from(&mut document.as_bytes()).unwrap(), document.len() as u64);
    out.close("Blob").unwrap();
    out.close("Ask").unwrap();
    let bytes = out.finish().unwrap();
    let Message::Operation(mut reader) = open(bytes.as_slice(), Limits::STREAM).unwrap() else { panic!("a fault") };
    assert!(reader.child().unwrap());
    let mut largest = Largest::default();
    assert_eq!(reader.text_to(&mut largest, u64::MAX).unwrap(), document.len() as u64);
    reader.close().unwrap();
    assert!(largest.bytes == document.as_bytes());
}

#[derive(Default)]
struct Largest {
    bytes: Vec<u8>,
}

impl std::io::Write for Largest {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn fault(version: Version, side: Side) -> Fault {
    Fault {
        version,
        side,
        text: "Fault <occurred>".to_owned(),
        actor: "http://a/b.asmx".to_owned(),
        detail: Some(Detail {
            code: "InvalidParameters".to_owned(),
            message: "updateIds".to_owned(),
            id: "b6114a8d-9939-41e0-ad7f-0d9a72260804".to_owned(),
            method: "\"urn:own/Ask\"".to_owned(),
        }),
    }
}

#[test]
fn faults_in_every_style_are_read_as_they_were_meant() {
    for version in [Version::V11, Version::V12] {
        for side in [Side::Client, Side::Server] {
            for style in [Style::Service, Style::Client, Style::Request] {
                for detail in [true, false] {
                    let mut meant = fault(version, side);
                    if !detail {
                        meant.detail = None;
                    }
                    let bytes = meant.encode(style);
                    let Message::Fault(read) = open(bytes.as_slice(), Limits::ANSWER).unwrap() else {
                        panic!("no fault")
                    };
                    assert_eq!(read, meant);
                }
            }
        }
    }
    // Its children have no namespace, in whatever they stand.
    let text = String::from_utf8(fault(Version::V11, Side::Client).encode(Style::Client)).unwrap();
    assert!(text.contains("<faultcode>s:Client</faultcode>") && text.contains("<detail><ErrorCode>Inv"), "{text}");
    // A detail without a code decides nothing.
    let text = message("<e:Fault><faultcode>e:Server.Busy</faultcode><detail><x/></detail></e:Fault>");
    let Message::Fault(read) = open(text.as_bytes(), Limits::ANSWER).unwrap() else { panic!("no fault") };
    assert_eq!((read.side, read.detail), (Side::Server, None));
}

#[test]
fn a_fault_is_told_in_a_line_whatever_it_says() {
    let long = format!("{}\n\u{1b}[31m", "x".repeat(60_000));
    let detail =
        Detail { code: format!("A\nB{long}"), message: long.clone(), id: format!("\r\n{long}"), ..Detail::default() };
    for detail in [Some(detail), None] {
        let fault = Fault { detail, text: format!("\n{long}"), ..fault(Version::V11, Side::Server) };
        let told = fault.to_string();
        assert!(told.len() < 400 && !told.contains(char::is_control), "{told}");
    }
    assert_eq!(
        fault(Version::V11, Side::Client).to_string(),
        "InvalidParameters \"updateIds\" (fault b6114a8d-9939-41e0-ad7f-0d9a72260804)"
    );
}

fn xml_text() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            3 => proptest::char::range(' ', '~'),
            1 => Just('\r'),
            1 => Just('\n'),
            1 => Just('\t'),
            1 => Just('&'),
            1 => proptest::char::range('\u{a0}', '\u{d7ff}'),
            1 => proptest::char::range('\u{10000}', '\u{10ffff}'),
        ],
        0..200,
    )
    .prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(texts in proptest::collection::vec(xml_text(), 0..8), piece in 1..40_usize) {
        for style in [Style::Request, Style::Service, Style::Client] {
            let mut out = Writer::begin(Vec::new(), Version::V12, style).unwrap();
            out.open_in("Ask", OWN).unwrap();
            for text in &texts {
                out.leaf("t", text).unwrap();
            }
            out.close("Ask").unwrap();
            let bytes = out.finish().unwrap();
            let Message::Operation(mut reader) =
                open(BufReader::with_capacity(piece, bytes.as_slice()), Limits::REQUEST).unwrap()
            else {
                panic!("a fault")
            };
            for text in &texts {
                prop_assert!(reader.child().unwrap());
                prop_assert_eq!(&reader.text().unwrap(), text);
            }
            prop_assert!(!reader.child().unwrap());
            reader.close().unwrap();
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = children(&bytes);
        let text = operation(&String::from_utf8_lossy(&bytes));
        let _ = children(text.as_bytes());
    }

    #[test]
    fn a_message_with_bytes_changed_is_read_or_refused(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        version in prop_oneof![Just(Version::V11), Just(Version::V12)],
    ) {
        let mut bytes = fault(version, Side::Client).encode(Style::Service);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = open(bytes.as_slice(), Limits::REQUEST);
    }

    #[test]
    fn what_no_xml_can_hold_is_written_as_something_that_it_can(text: String) {
        let mut out = Writer::begin(Vec::new(), Version::V11, Style::Request).unwrap();
        out.open_in("Ask", OWN).unwrap();
        out.leaf("t", &text).unwrap();
        out.close("Ask").unwrap();
        let bytes = out.finish().unwrap();
        prop_assert_eq!(children(&bytes).unwrap().len(), 1);
    }
}
