//! What an upstream server or a downstream one says: messages of the server synchronisation, and the cabinets in them.

use std::io::{self, Cursor};

use waystation::wire::cabinet as packed;
use waystation::wire::soap::{self as envelope, Limits, Message, Style, Version};
use waystation::wire::wsusss::config::GetConfigData;
use waystation::wire::wsusss::deployments::GetDeployments;
use waystation::wire::wsusss::drivers::GetDriverIdList;
use waystation::wire::wsusss::updates::Given;
use waystation::wire::wsusss::{Answer, Call, decode_answer, decode_request, encode_answer, revisions, updates};

/// A message as a request and as every kind of answer. An answer that is read is read again from what is written of it, and
/// so is a fault.
pub fn soap(data: &[u8]) {
    let _ = decode_request(data);
    if let Ok(Message::Fault(fault)) = envelope::open(data, Limits::ANSWER) {
        for style in [Style::Request, Style::Service, Style::Client] {
            let bytes = fault.encode(style);
            assert!(matches!(envelope::open(bytes.as_slice(), Limits::ANSWER), Ok(Message::Fault(_))));
        }
    }
    again::<GetConfigData>(data);
    again::<GetDeployments>(data);
    again::<GetDriverIdList>(data);
    if let Ok(Answer::Done(mut list)) = revisions::open(data, Limits::ANSWER) {
        while let Ok(Some(_)) = list.next_item() {}
    }
    if let Ok(Answer::Done(mut list)) = updates::open(data, Limits::ANSWER) {
        let mut document = Vec::new();
        while let Ok(Some(item)) = list.next_item(&mut document) {
            if let Given::Update(update) = item {
                assert_eq!(update.bytes, document.len() as u64);
            }
            document.clear();
        }
    }
}

fn again<C: Call>(data: &[u8])
where
    C::Answer: PartialEq + std::fmt::Debug,
{
    if let Ok(Answer::Done(answer)) = decode_answer::<C, _>(data) {
        let bytes = encode_answer::<C>(&answer, Version::V11);
        let Ok(Answer::Done(second)) = decode_answer::<C, _>(bytes.as_slice()) else {
            panic!("what was written is lost")
        };
        assert_eq!(second, answer);
    }
}

/// The first byte says how: a cabinet as it is, or one around a block of any packing, without a checksum, so that the
/// unpackers see the bytes whatever they are. Nothing unpacks to more than the limit, and text that comes out goes in again.
pub fn cabinet(data: &[u8]) {
    const LIMIT: u64 = 1 << 20;
    let Some((&how, rest)) = data.split_first() else { return };
    let built;
    let bytes = match how % 5 {
        0 => rest,
        kind => {
            let Some((size, block)) = rest.split_at_checked(2) else { return };
            let Ok(length) = u16::try_from(block.len()) else { return };
            let mut all = Vec::new();
            all.extend(
                b"MSCF\0\0\0\0\0\0\0\0\0\0\0\0\x2c\0\0\0\0\0\0\0\x03\x01\x01\0\x01\0\0\0\0\0\0\0\x41\0\0\0\x01\0",
            );
            all.extend([[0, 0], [1, 0], [3, 15], [3, 21]][usize::from(kind - 1)]);
            all.extend(size);
            all.extend(b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0blob\0\0\0\0\0");
            all.extend(length.to_le_bytes());
            all.extend(size);
            all.extend(block);
            built = all;
            built.as_slice()
        }
    };
    if let Ok(count) = packed::unpack(Cursor::new(bytes), &mut io::sink(), LIMIT) {
        assert!(count <= LIMIT);
    }
    let mut text = String::new();
    if let Ok(Ok(_)) = packed::read_text(Cursor::new(bytes), LIMIT, |stream| stream.read_to_string(&mut text)) {
        let cabinet = packed::pack_text(&mut text.as_bytes()).expect("memory");
        let mut second = Vec::new();
        if !text.is_empty() && !text.starts_with('\u{feff}') {
            packed::unpack_text(Cursor::new(cabinet), &mut second, 2 * LIMIT).expect("what was packed unpacks");
            assert_eq!(second, text.as_bytes());
        }
    }
}
