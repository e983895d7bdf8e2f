//! A proof reads back what was written, and nothing else is taken for one.

use proptest::prelude::*;

use super::*;

fn proof(size: usize, names: Vec<(Name, Alias)>) -> Proof {
    let hashed = hash::whole(&vec![7; size], false);
    Proof {
        size: size as u64,
        digests: hashed.digests,
        class: Class::Proven,
        published_at: Timestamp::from_ms(1_700_000_000_000),
        expires_at: None,
        names,
        leaves: hashed.leaves,
    }
}

fn small() -> Proof {
    let key = OriginKey::new("dl.example.org/a.cab?x=1").unwrap();
    let alias = Alias {
        tag: "abc".into(),
        last_modified: Some("Tue, 14 Nov 2023 22:13:20 GMT".into()),
        validators: Validators { etag: Some("W/\"é\"".into()), last_modified: None },
        freshness: Some(Freshness { until: Timestamp::from_ms(5), policy: "{}".into() }),
    };
    proof(70_000, vec![(key.into(), alias)])
}

#[test]
fn every_truncation_and_every_flipped_bit_is_refused() {
    let bytes = small().encode();
    for len in 0..bytes.len() {
        assert!(Proof::decode(&bytes[..len]).is_err(), "{len} bytes");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Proof::decode(&flipped).is_err(), "bit {bit}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(Proof::decode(&longer), Err(ProofError::Checksum)));
}

/// The same damage with the checksum made right again: what is left is what the fields themselves forbid.
#[test]
fn a_checksum_does_not_make_nonsense_good() {
    let reseal = |mut body: Vec<u8>| {
        let checksum = blake3::hash(&body);
        body.extend_from_slice(checksum.as_bytes());
        body
    };
    let bytes = small().encode();
    let body = &bytes[..bytes.len() - CHECKSUM_BYTES];
    assert_eq!(Proof::decode(&reseal(body.to_vec())).unwrap(), small());
    for len in MAGIC.len()..body.len() {
        assert!(Proof::decode(&reseal(body[..len].to_vec())).is_err(), "{len} bytes");
    }
    assert!(Proof::decode(&reseal([body, &[0]].concat())).is_err());
    assert!(Proof::decode(&reseal([body, &[0; 32]].concat())).is_err());
    for at in 0..body.len() {
        for value in [0, 1, 2, 0x80, 0xff] {
            let mut body = body.to_vec();
            body[at] = value;
            // It may be another good proof (a time, a text); it must not panic, and what it is must be what is written.
            if let Ok(proof) = Proof::decode(&reseal(body.clone())) {
                assert_eq!(proof.encode(), reseal(body), "byte {at} as {value}");
            }
        }
    }
    let later = [&body[..8], &2_u32.to_le_bytes(), &body[12..]].concat();
    assert!(matches!(Proof::decode(&reseal(later)), Err(ProofError::Version(2))));
}

fn text() -> impl Strategy<Value = String> {
    ".{0,20}"
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(|bytes| Digest::Blake3(Blake3::new(bytes)).into()),
        any::<[u8; 32]>().prop_map(|bytes| Digest::Sha256(Sha256::new(bytes)).into()),
        any::<[u8; 20]>().prop_map(|bytes| Digest::Sha1(Sha1::new(bytes)).into()),
        "[a-z]{1,9}(:[0-9]{1,4})?/[!-~]{0,60}".prop_map(|text| OriginKey::new(&text).unwrap().into()),
    ]
}

prop_compose! {
    fn alias()(
        tag in text(),
        last_modified in proptest::option::of(text()),
        etag in proptest::option::of(text()),
        origins in proptest::option::of(text()),
        freshness in proptest::option::of((any::<u64>(), text())),
    ) -> Alias {
        Alias {
            tag,
            last_modified,
            validators: Validators { etag, last_modified: origins },
            freshness: freshness.map(|(ms, policy)| Freshness { until: Timestamp::from_ms(ms), policy }),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_written_is_read(
        size in 0_usize..400_000,
        names in proptest::collection::vec((name(), alias()), 0..6),
        proven: bool,
        published: u64,
        expires in proptest::option::of(0..u64::MAX),
    ) {
        let mut proof = proof(size, names);
        proof.class = if proven { Class::Proven } else { Class::Unproven };
        proof.published_at = Timestamp::from_ms(published);
        proof.expires_at = expires.map(Timestamp::from_ms);
        prop_assert_eq!(Proof::decode(&proof.encode()).unwrap(), proof);
    }

    #[test]
    fn any_bytes_are_a_proof_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Proof::decode(&bytes);
        bytes.splice(0..0, small().encode()[..12].to_vec());
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        let _ = Proof::decode(&bytes);
    }
}
