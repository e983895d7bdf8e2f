//! The bytes of the feed: written out by hand, read by a reader that knows only the page, and damaged in every way.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;
use waystation::model::chain::hash::{ChainId, KeyHash, Link, RecordHash};
use waystation::model::chain::ids::{Audience, NodeId};
use waystation::model::chain::record::{BODY_BYTES_MAX, Entry, Record};
use waystation::wire::error::Error;
use waystation::wire::peer::frame::{End, Frame, read_all, split};
use waystation::wire::peer::raw::{FEED, Raw, Reader, Writer};
use waystation::wire::peer::signed::{Checkpoint, Stamp, Vouch};

use crate::world::{Authority, START, node, record};

fn written(frames: &[Frame]) -> Bytes {
    let mut writer = Writer::new(FEED);
    for frame in frames {
        frame.write(&mut writer).unwrap();
    }
    writer.take()
}

#[test]
fn an_answer_is_written_byte_for_byte_as_the_page_says() {
    let salted =
        Record::new(14, Audience::new([0xbb; 16]), [0xcc; 16], b"ab".as_slice().into(), b"xyz".as_slice().into());
    let entries = vec![
        Entry::set(salted.unwrap()),
        Entry::gone(3, Audience::EVERYBODY, b"k".as_slice().into()).unwrap(),
        Entry::bare(Audience::new([1; 16]), KeyHash::new([2; 32]), RecordHash::new([3; 32])),
        Entry::bare(Audience::new([1; 16]), KeyHash::new([4; 32]), RecordHash::NONE),
    ];
    let frames = vec![
        Frame::Head { path: vec![NodeId::new([0xaa; 16])], again: 0x0102_0304 },
        Frame::Tail { first: 5, entries },
        Frame::End(End::More),
    ];
    let mut by_hand = b"wayfeed1".to_vec();
    // Head: kind, plain, zeros, 21 bytes twice; one node, in 0x01020304 ms.
    by_hand.extend([1, 0, 0, 0, 21, 0, 0, 0, 21, 0, 0, 0, 1]);
    by_hand.extend([0xaa; 16]);
    by_hand.extend([4, 3, 2, 1]);
    // Tail: 8 + 4, then 46, 22, 82 and 50 bytes.
    by_hand.extend([3, 0, 0, 0, 212, 0, 0, 0, 212, 0, 0, 0]);
    by_hand.extend([5, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0]);
    by_hand.extend([1, 1]);
    by_hand.extend([0xbb; 16]);
    by_hand.push(14);
    by_hand.extend([0xcc; 16]);
    by_hand.extend([2, 0, 3, 0, 0, 0]);
    by_hand.extend(b"abxyz");
    by_hand.extend([2, 1]);
    by_hand.extend([0; 16]);
    by_hand.extend([3, 1, 0, b'k']);
    by_hand.extend([1, 0]);
    by_hand.extend([1; 16]);
    by_hand.extend([2; 32]);
    by_hand.extend([3; 32]);
    by_hand.extend([2, 0]);
    by_hand.extend([1; 16]);
    by_hand.extend([4; 32]);
    // End: more.
    by_hand.extend([8, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]);
    assert_eq!(written(&frames), by_hand);
    assert_eq!(read_all(FEED, &by_hand.into()).unwrap(), frames);
}

#[test]
fn what_is_signed_has_its_fields_where_the_page_says() {
    let vouch = Vouch {
        serial: 0x01,
        epoch: 0x02,
        made: START,
        until: waystation::base::time::Timestamp::from_ms(u64::MAX),
        root: [5; 32],
        feed: [6; 32],
        signature: [7; 64],
    };
    let mut by_hand = b"wayvouch\x01\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0".to_vec();
    by_hand.extend(START.ms().to_le_bytes());
    by_hand.extend([255; 8]);
    by_hand.extend([[5; 32], [6; 32], [7; 32], [7; 32]].concat());
    assert_eq!((vouch.to_bytes(), by_hand.len()), (by_hand.clone(), Vouch::BYTES));
    assert_eq!(Vouch::read(by_hand.into()).unwrap(), vouch);

    let authority = Authority::new(1);
    let checkpoint = authority.view.checkpoint.clone();
    let bytes = checkpoint.to_bytes();
    assert_eq!((bytes.len(), &bytes[..8]), (Checkpoint::BYTES, b"waycheck".as_slice()));
    assert_eq!(bytes[48..80], *authority.chain().bytes());
    assert_eq!(bytes[80..112], *checkpoint.link.bytes());
    assert_eq!(bytes[112..144], *checkpoint.root.bytes());
    assert_eq!(Checkpoint::read(bytes.into()).unwrap(), checkpoint);
    let stamp = authority.view.stamp.clone().unwrap();
    let bytes = stamp.to_bytes();
    assert_eq!((bytes.len(), &bytes[..8]), (Stamp::BYTES, b"waystamp".as_slice()));
    assert_eq!(bytes[80..112], *stamp.link.bytes());
    assert_eq!(Stamp::read(bytes.clone().into()).unwrap(), stamp);
    for wrong in [&bytes[..175], &[&bytes[..], &[0]].concat(), &[b"waycheck", &bytes[8..]].concat()] {
        assert!(Stamp::read(Bytes::copy_from_slice(wrong)).is_err());
    }
    let mut later = bytes;
    later[8] = 2;
    assert!(Stamp::read(later.into()).unwrap_err().to_string().contains("its format is 2"));
}

#[test]
fn a_poll_without_change_is_422_bytes() {
    let mut authority = Authority::new(1);
    authority.say(&[record(1, Audience::EVERYBODY, b"one")], START);
    let shows = authority.view.checkpoint.clone();
    let ask = waystation::chain::child::Ask::Feed((&shows).into());
    let answer = authority.view.answer(&ask, Some(&shows), &BTreeSet::from([Audience::EVERYBODY]));
    assert_eq!(written(&answer.frames).len(), 422);
}

/// A reader that shares nothing with the program: offsets from the page, hashes by hand. Gives the chained hash behind the tail.
fn plain_link(bytes: &[u8], chain: &[u8; 32], epoch: u64) -> [u8; 32] {
    let derive = |context: &str, parts: &[&[u8]]| {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        for part in parts {
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    };
    let mut link = derive("waystation chain 1 epoch", &[chain, &epoch.to_le_bytes()]);
    assert_eq!(&bytes[..8], b"wayfeed1");
    let mut at = 8;
    while at < bytes.len() {
        let number = |from: usize| u32::from_le_bytes(bytes[from..from + 4].try_into().unwrap()) as usize;
        let (kind, packing, sent) = (bytes[at], bytes[at + 1], number(at + 4));
        let payload = &bytes[at + 12..at + 12 + sent];
        let payload = if packing == 1 { zstd::stream::decode_all(payload).unwrap() } else { payload.to_vec() };
        assert_eq!(payload.len(), number(at + 8));
        at += 12 + sent;
        if kind != 3 {
            continue;
        }
        let mut sequence = u64::from_le_bytes(payload[..8].try_into().unwrap());
        let mut rest = &payload[12..];
        while !rest.is_empty() {
            let (op, form, audience) = (rest[0], rest[1], &rest[2..18]);
            let (key, hash, len) = match (op, form) {
                (1, 1) => {
                    let (kind, salt) = (&rest[18..19], &rest[19..35]);
                    let key = usize::from(u16::from_le_bytes(rest[35..37].try_into().unwrap()));
                    let body = u32::from_le_bytes(rest[37..41].try_into().unwrap()) as usize;
                    let (name, text) = (&rest[41..41 + key], &rest[41 + key..41 + key + body]);
                    let parts = [kind, audience, salt, &rest[35..37], name, text];
                    let hash = derive("waystation chain 1 record", &parts);
                    (derive("waystation chain 1 key", &[kind, name]), hash, 41 + key + body)
                }
                (2, 1) => {
                    let key = usize::from(u16::from_le_bytes(rest[19..21].try_into().unwrap()));
                    (derive("waystation chain 1 key", &[&rest[18..19], &rest[21..21 + key]]), [0; 32], 21 + key)
                }
                (1, 0) => (rest[18..50].try_into().unwrap(), rest[50..82].try_into().unwrap(), 82),
                _ => (rest[18..50].try_into().unwrap(), [0; 32], 50),
            };
            let sequence_bytes = sequence.to_le_bytes();
            link = derive("waystation chain 1 link", &[&link, &sequence_bytes, &[op], audience, &key, &hash]);
            sequence += 1;
            rest = &rest[len..];
        }
    }
    link
}

#[test]
fn a_reader_of_its_own_comes_to_the_same_chained_hash() {
    let mut authority = Authority::new(1);
    let mut frames = Vec::new();
    for round in 0..40_u8 {
        let whom = if round % 3 == 0 { Audience::node(node(3)) } else { Audience::EVERYBODY };
        let body = vec![round; usize::from(round) * 97];
        let mut entries = vec![record(round % 11, whom, &body)];
        if round % 5 == 4 {
            let key = (round - 1) % 11;
            let whom = authority.plain.get(&(key % 15 + 1, vec![key])).unwrap().0;
            entries.push(Entry::gone(key % 15 + 1, whom, vec![key].into()).unwrap());
        }
        let first = authority.head.position().sequence + 1;
        authority.say(&entries, START);
        let said = authority.view.log.range(first..).map(
            |(_, (entry, _))| {
                if round % 7 == 0 { entry.stripped() } else { entry.clone() }
            },
        );
        frames.push(Frame::Tail { first, entries: said.collect() });
    }
    frames.push(Frame::End(End::All));
    let bytes = written(&frames);
    assert_eq!(plain_link(&bytes, authority.chain().bytes(), 1), *authority.head.link().bytes());
    let ends = Link::begin(ChainId::new(*authority.chain().bytes()), 1);
    assert_ne!(ends, authority.head.link());
}

#[test]
fn a_stream_reads_the_same_in_any_portions_and_tells_where_it_was_cut() {
    let body = vec![7; 100_000];
    let frames = vec![
        Frame::Page(vec![record(1, Audience::EVERYBODY, &body)]),
        Frame::Contents(vec![record(2, Audience::EVERYBODY, b"small")]),
        Frame::End(End::Last),
    ];
    let bytes = written(&frames);
    assert!(bytes.len() < 2_000, "it is packed");
    for portion in [1, 2, 7, 64, bytes.len()] {
        let (mut reader, mut read) = (Reader::new(FEED), Vec::new());
        for part in bytes.chunks(portion) {
            reader.push(part);
            while let Some(raw) = reader.frame().unwrap() {
                read.extend(Frame::read(raw).unwrap());
            }
        }
        reader.finish().unwrap();
        assert_eq!(read, frames);
    }
    for end in 0..bytes.len() {
        let error = read_all(FEED, &bytes.slice(..end)).unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }) && error.is_retryable(), "{end}: {error}");
    }
    let more = [&bytes[..], b"x"].concat();
    assert!(read_all(FEED, &more.into()).is_err());
    assert!(read_all(b"wayrprt1", &bytes).is_err());
}

#[test]
fn a_few_bytes_cannot_stand_for_many() {
    let head = |kind: u8, packing: u8, sent: u32, plain: u32| {
        [b"wayfeed1", [kind, packing, 0, 0].as_slice(), &sent.to_le_bytes(), &plain.to_le_bytes()].concat()
    };
    // Refused by the head alone: nothing is waited for.
    for (sent, plain) in [(5 << 20, 1), (1, 5 << 20), (u32::MAX, u32::MAX)] {
        let error = read_all(FEED, &head(4, 1, sent, plain).into()).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
    }
    // It unpacks to more, or less, than it says.
    let packed = zstd::bulk::compress(&vec![0; 3 << 20], 3).unwrap();
    for plain in [0, 10, (3 << 20) - 1, (3 << 20) + 1] {
        let bytes = [head(4, 1, packed.len() as u32, plain), packed.clone()].concat();
        assert!(matches!(read_all(FEED, &bytes.into()), Err(Error::Malformed { .. })), "{plain}");
    }
    // It claims more entries than it has.
    let claims = [head(4, 0, 4, 4), 65_536_u32.to_le_bytes().to_vec()].concat();
    assert!(read_all(FEED, &claims.into()).is_err());
    let claims = [head(4, 0, 4, 4), u32::MAX.to_le_bytes().to_vec()].concat();
    assert!(matches!(read_all(FEED, &claims.into()), Err(Error::Limit { .. })));
}

#[test]
fn later_kinds_are_passed_over_and_unknown_ones_are_not() {
    let raw = |kind| Raw { kind, payload: Bytes::from_static(b"whatever") };
    assert_eq!(Frame::read(raw(200)).unwrap(), None);
    assert!(Frame::read(raw(100)).is_err());
    assert!(Frame::read(raw(0)).is_err());
    let bad = [
        Frame::Page(vec![record(1, Audience::EVERYBODY, b"a"), record(1, Audience::EVERYBODY, b"b")]),
        Frame::Page(vec![Entry::gone(1, Audience::EVERYBODY, b"k".as_slice().into()).unwrap()]),
        Frame::Contents(vec![record(1, Audience::EVERYBODY, b"a").stripped()]),
        Frame::Tail { first: 0, entries: vec![record(1, Audience::EVERYBODY, b"a")] },
        Frame::Tail { first: u64::MAX, entries: vec![record(1, Audience::EVERYBODY, b"a")] },
        Frame::Tail { first: 1, entries: Vec::new() },
    ];
    for frame in bad {
        assert!(read_all(FEED, &written(&[frame.clone(), Frame::End(End::All)])).is_err(), "{frame:?}");
    }
    let mut writer = Writer::new(FEED);
    for nodes in [0, 17] {
        assert!(Frame::Head { path: vec![node(1); nodes], again: 0 }.write(&mut writer).is_err());
    }
}

#[test]
fn entries_are_split_so_that_each_frame_can_be_written() {
    let large = || record(1, Audience::EVERYBODY, &vec![0; BODY_BYTES_MAX]);
    let mut rest: &[Entry] = &[large(), large(), record(2, Audience::EVERYBODY, b"small"), large()];
    let mut sizes = Vec::new();
    while !rest.is_empty() {
        let size = split(rest);
        let mut writer = Writer::new(FEED);
        Frame::Contents(rest[..size].to_vec()).write(&mut writer).unwrap();
        sizes.push(size);
        rest = &rest[size..];
    }
    assert_eq!(sizes, [1, 1, 2]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), kind in 0..10_u8) {
        let _ = read_all(FEED, &[b"wayfeed1", &bytes[..]].concat().into());
        let _ = Frame::read(Raw { kind, payload: bytes.clone().into() });
        let _ = waystation::chain::child::Known::read(&bytes);
        let _ = waystation::wire::peer::token::Token::read(&format!("wst1.{}", String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn a_damaged_answer_makes_no_panic(at in 0..100_000_usize, bit in 0..8_u8, cut in any::<bool>()) {
        let mut authority = Authority::new(1);
        authority.say(&[record(1, Audience::EVERYBODY, &[9; 900]), record(2, Audience::node(node(1)), b"b")], START);
        let entries: Vec<_> = authority.view.log.values().map(|(entry, _)| entry.clone()).collect();
        let bytes = written(&[
            Frame::Head { path: authority.view.path.clone(), again: 0 },
            Frame::Vouch(authority.view.vouch.clone()),
            Frame::Tail { first: 1, entries },
            Frame::Checkpoint(authority.view.checkpoint.clone()),
            Frame::Stamp(authority.view.stamp.clone().unwrap()),
            Frame::End(End::All),
        ]);
        let at = at % bytes.len();
        let mut damaged = bytes.to_vec();
        if cut { damaged.truncate(at) } else { damaged[at] ^= 1 << bit }
        let _ = read_all(FEED, &damaged.into());
    }
}
