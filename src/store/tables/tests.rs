//! Rows and keys are these bytes, and no bytes are a panic.

use proptest::prelude::*;

use super::*;

#[test]
fn the_bytes_of_a_row_are_these() {
    // Written down once: a change here is a change of the format, and needs a new table number.
    let row = PayloadRow {
        size: 300,
        sha1: [1; 20],
        sha256: [2; 32],
        class: 1,
        authority: 5,
        sha1_state: 1,
        published_at: 5,
        expires_at: Some(6),
        allocated: 4096,
    };
    let mut wanted = vec![1, 0xac, 0x02];
    wanted.extend([1; 20]);
    wanted.extend([2; 32]);
    wanted.extend([1, 5, 1, 5, 1, 6, 0x80, 0x20]);
    assert_eq!(encode(&row).unwrap(), wanted);
    assert_eq!(decode::<PayloadRow>("payloads.1", &wanted).unwrap(), row);
}

#[test]
fn a_row_of_another_version_is_refused_by_name() {
    let error = decode::<PinRow>("pins.1", &[9, 1, 2]).unwrap_err().to_string();
    assert!(error.contains("pins.1") && error.contains("version is 9"), "{error}");
    assert!(decode::<PinRow>("pins.1", &[]).is_err());
}

#[test]
fn the_names_of_a_digest_end_before_the_next_digest() {
    assert_eq!(names_end(&[0xff; 32]), None);
    let mut id = [7; 32];
    id[31] = 0xff;
    let end = names_end(&id).unwrap();
    assert_eq!((end[30], end[31]), (8, 0));
}

proptest! {
    #[test]
    fn keys_read_back_and_no_bytes_panic(raw in any::<[u8; 32]>(), ms: u64, noise: Vec<u8>) {
        prop_assert_eq!(of_use_key(&use_key(1, ms, &raw)), (ms, raw));
        prop_assert_eq!(of_time_key(&time_key(ms, &raw)), (ms, raw));
        for name in [Digest::Blake3(Blake3::new(raw)), Digest::Sha256(Sha256::new(raw))] {
            prop_assert_eq!(name_of(&name_key(&name.into())).unwrap(), name.into());
        }
        drop(name_of(&noise));
        drop(decode::<DraftRow>("drafts.1", &noise));
        drop(decode::<NoteRow>("notes.1", &noise));
    }
}
