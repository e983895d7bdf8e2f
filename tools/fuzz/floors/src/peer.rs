//! What another node says: streams of frames, and what is in their records. It has a certificate and is trusted with nothing.

use std::fmt::Debug;

use bytes::Bytes;

use waystation::model::policy::Group;
use waystation::model::update::UpdateId;
use waystation::wire::peer::body::file::File;
use waystation::wire::peer::body::fleet::{self, Reviewed};
use waystation::wire::peer::body::{self, Update};
use waystation::wire::peer::frame::{Frame, read_all};
use waystation::wire::peer::raw::{FEED, Raw, Writer};
use waystation::wire::peer::slice::Slice;
use waystation::wire::peer::token::Token;
use waystation::wire::peer::wish::{Order, Setting};
use waystation::wire::peer::{name, report};

/// The first byte says what the rest is. Whatever is understood is written and must be understood the same once more, so that a
/// node in the middle passes on what it was told.
pub fn peer(data: &[u8]) {
    let Some((&what, rest)) = data.split_first() else { return };
    let bytes = Bytes::copy_from_slice(rest);
    match what % 18 {
        0 => stream(&bytes),
        1 => frame(&bytes),
        2 => again(&bytes, Update::read, Update::write),
        3 => again(&bytes, File::read, File::write),
        4 => again(&bytes, Setting::read, Setting::write),
        5 => again(&bytes, Order::read, Order::write),
        6 => again(&bytes, Reviewed::read, Reviewed::write),
        7 => again(&bytes, fleet::read_words, |words| fleet::write_words(words)),
        8 => again(&bytes, |bytes| fleet::read_group(Group(UpdateId::new([1; 16])), bytes), |(node, by)| {
            fleet::write_group(node, by)
        }),
        9 => again(&bytes, fleet::read_policy, |(own, by)| fleet::write_policy(own, by)),
        10 => again(&bytes, fleet::read_placement, |groups| fleet::write_placement(groups)),
        11 => again(&bytes, body::read_decision, body::write_decision),
        12 => again(&bytes, fleet::read_licence, |by| fleet::write_licence(by)),
        13 => again(&bytes, body::read_refusal, |reason| body::write_refusal(reason)),
        14 => again(&bytes, |bytes| Slice::read(bytes.clone()), Slice::write),
        15 => drop(report::read(&bytes)),
        16 => drop(name::of_certificate(rest, &[7; 32])),
        _ => drop(std::str::from_utf8(rest).map(Token::read)),
    }
}

fn again<T: PartialEq + Debug, E: Debug>(
    bytes: &Bytes,
    read: impl Fn(&Bytes) -> Result<T, E>,
    write: impl Fn(&T) -> Bytes,
) {
    if let Ok(first) = read(bytes) {
        let written = write(&first);
        let second = read(&written).expect("what was written is lost");
        assert_eq!(second, first);
    }
}

fn stream(bytes: &Bytes) {
    if let Ok(frames) = read_all(FEED, bytes) {
        let mut out = Writer::new(FEED);
        for frame in &frames {
            frame.write(&mut out).expect("what was read fits a frame");
        }
        assert_eq!(read_all(FEED, &out.take()).expect("what was written is lost"), frames);
    }
}

/// A frame whose kind is the first byte: what no packing hides from a fuzzer.
fn frame(bytes: &Bytes) {
    let Some(&kind) = bytes.first() else { return };
    if let Ok(Some(frame)) = Frame::read(Raw { kind: kind % 10, payload: bytes.slice(1..) }) {
        let mut out = Writer::new(FEED);
        frame.write(&mut out).expect("what was read fits a frame");
        let mut written = out.take().to_vec();
        let mut end = Writer::new(FEED);
        Frame::End(waystation::wire::peer::frame::End::All).write(&mut end).expect("it fits");
        if !matches!(frame, Frame::End(_)) {
            written.extend_from_slice(&end.take()[FEED.len()..]);
        }
        let frames = read_all(FEED, &written.into()).expect("what was written is lost");
        assert_eq!(frames.first(), Some(&frame));
    }
}
