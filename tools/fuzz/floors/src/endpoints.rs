//! What endpoints send, and the packing of what they are answered.

use waystation::wire::soap::{self as envelope, Limits, Message};
use waystation::wire::wusp::{Face, Request, decode};
use waystation::wire::xpress::{BLOCK_BYTES, Encoder, unpack};

/// The first byte names a service, the rest is a request to it. It is read, or refused in words that can be read.
pub fn wusp(data: &[u8]) {
    let Some((&which, rest)) = data.split_first() else { return };
    let face = Face::ALL[usize::from(which) % Face::ALL.len()];
    match decode(face, rest) {
        Ok(asked) => {
            assert_eq!(asked.method.face(), face);
            match asked.request {
                Request::Events(batch) => {
                    assert_eq!(batch.unread > 0, batch.why.is_some());
                    for event in &batch.events {
                        for tag in ["U", "V", "W", "g", "h"] {
                            let _ = event.updates(tag).map(Iterator::count);
                        }
                    }
                }
                Request::Sync(asked) => {
                    let told = asked.products;
                    for text in [&told.device, &told.caller, &told.products] {
                        let pairs: Vec<_> = text.iter().collect();
                        assert!(pairs.iter().all(|(key, _)| text.get(key).is_some()));
                        let _ = text.products().map(Iterator::count).sum::<usize>();
                    }
                }
                _ => {}
            }
        }
        Err(refused) => {
            assert!(!refused.to_string().is_empty());
            let fault = refused.encode("2587c8c1-4f54-4033-9f1a-3a195bf0495d");
            let Ok(Message::Fault(fault)) = envelope::open(fault.as_slice(), Limits::ANSWER) else {
                panic!("the refusal cannot be read")
            };
            assert_eq!(fault.detail.map(|detail| detail.code).as_deref(), Some(refused.code.as_str()));
        }
    }
}

/// The first byte says how: a packed body as it is, one block with lengths of its own, or bytes to be packed, which must come
/// out again. Nothing unpacks to more than the limit.
pub fn xpress(data: &[u8]) {
    const LIMIT: usize = 1 << 20;
    let Some((&how, rest)) = data.split_first() else { return };
    let mut body = Vec::new();
    match how % 3 {
        0 => body.extend_from_slice(rest),
        1 => {
            let Some((plain, block)) = rest.split_at_checked(2) else { return };
            body.extend_from_slice(plain);
            body.extend_from_slice(&[0, 0]);
            body.extend_from_slice(&u32::try_from(block.len()).unwrap_or(u32::MAX).to_le_bytes());
            body.extend_from_slice(block);
        }
        _ => {
            // Often enough that matches reach back over several blocks' length.
            let plain = rest.repeat(1 + 2 * BLOCK_BYTES / rest.len().max(64));
            Encoder::new().pack(&plain, &mut body);
            assert_eq!(unpack(&body, plain.len()).expect("what was packed unpacks"), plain);
            return;
        }
    }
    if let Ok(plain) = unpack(&body, LIMIT) {
        assert!(plain.len() <= LIMIT);
        let mut again = Vec::new();
        Encoder::new().pack(&plain, &mut again);
        assert_eq!(unpack(&again, LIMIT).expect("what was packed unpacks"), plain);
    }
}
