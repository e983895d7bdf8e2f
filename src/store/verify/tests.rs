//! What is bad is found to the group, and mended with nothing else touched.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::base::time::Timestamp;
use crate::model::payload::Class;
use crate::store::hooked::{Op, bad_sector, content, hooked, real};

const SIZE: u64 = (2 << 20) + GROUP + 77;

fn payload(size: u64) -> (tempfile::TempDir, PathBuf, Proof) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("payload");
    let bytes = content(size);
    std::fs::write(&path, &bytes).unwrap();
    let hashed = hash::whole(&bytes, false);
    let proof = Proof {
        size,
        digests: hashed.digests,
        class: Class::Proven,
        published_at: Timestamp::from_ms(0),
        expires_at: None,
        names: vec![],
        leaves: hashed.leaves,
    };
    (dir, path, proof)
}

fn bad(disk: &dyn Disk, path: &Path, proof: &Proof) -> Vec<Span> {
    let mut told = 0;
    let bad = verify(disk, path, proof, &mut |bytes| {
        told += bytes;
        ControlFlow::Continue(())
    });
    assert_eq!(told, proof.size);
    bad.unwrap().iter().collect()
}

fn flip(path: &Path, at: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at as usize] ^= 4;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_good_payload_of_any_size_is_good() {
    for size in [0, 1, GROUP - 1, GROUP, GROUP + 1, WINDOW, WINDOW + 1, SIZE] {
        let (_dir, path, proof) = payload(size);
        assert_eq!(bad(&*real(), &path, &proof), [], "{size}");
    }
}

#[test]
fn flipped_bits_spoil_their_groups_and_no_others() {
    let (_dir, path, proof) = payload(SIZE);
    for at in [0, 3 * GROUP - 1, 20 * GROUP, SIZE - 1] {
        flip(&path, at);
    }
    let last = hash::groups(SIZE) - 1;
    let expected: SpanSet = [0, 2, 20, last].iter().map(|index| hash::group(*index, SIZE)).collect();
    assert_eq!(bad(&*real(), &path, &proof), expected.iter().collect::<Vec<_>>());
}

#[test]
fn a_wrong_length_is_seen() {
    let (_dir, path, proof) = payload(SIZE);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(SIZE + 1).unwrap();
    assert_eq!(bad(&*real(), &path, &proof), [hash::group(hash::groups(SIZE) - 1, SIZE)]);
    file.set_len(WINDOW + GROUP + 5).unwrap();
    assert_eq!(bad(&*real(), &path, &proof), [Span::new(WINDOW + GROUP, SIZE)]);
    let (_dir, path, proof) = payload(0);
    std::fs::write(&path, b"x").unwrap();
    verify(&*real(), &path, &proof, &mut |_| ControlFlow::Continue(())).unwrap_err();
}

/// A disk that cannot read one byte of the payload.
fn with_bad_sector(at: u64) -> Arc<dyn Disk> {
    hooked(move |op| match op {
        Op::Read(span) if span.contains(&Span::at(at, 1)) => Err(bad_sector()),
        Op::Copy => Err(bad_sector()),
        _ => Ok(()),
    })
}

#[test]
fn a_bad_sector_spoils_its_group() {
    let (_dir, path, proof) = payload(SIZE);
    let disk = with_bad_sector(5 * GROUP + 9);
    assert_eq!(bad(&*disk, &path, &proof), [hash::group(5, SIZE)]);
    let unreadable = hooked(|op| match op {
        Op::Read(_) => Err(io::ErrorKind::PermissionDenied.into()),
        _ => Ok(()),
    });
    let error = verify(&*unreadable, &path, &proof, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "says nothing of the payload");
}

#[test]
fn it_can_be_broken_off_after_any_group() {
    let (_dir, path, proof) = payload(SIZE);
    let mut groups = 0;
    let end = verify(&*real(), &path, &proof, &mut |_| {
        groups += 1;
        if groups == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((end.unwrap_err().kind(), groups), (io::ErrorKind::Interrupted, 3));
}

#[test]
fn the_good_groups_are_kept_and_only_the_bad_are_missing() {
    let (dir, path, proof) = payload(SIZE);
    let right = content(SIZE);
    let sector = 9 * GROUP + 1;
    for (number, disk) in [real(), with_bad_sector(sector)].into_iter().enumerate() {
        flip(&path, 4 * GROUP);
        let wrong = verify(&*disk, &path, &proof, &mut |_| ControlFlow::Continue(())).unwrap();
        let to = dir.path().join(format!("draft-{number}"));
        let draft = repair_draft(&disk, &path, &to, SIZE, &wrong, false).unwrap();
        let missing: Vec<Span> = draft.covered().gaps(Span::new(0, SIZE)).collect();
        assert_eq!(missing, wrong.iter().collect::<Vec<_>>());
        draft.finish().unwrap_err();
        for span in missing {
            draft.write(span.start(), &right[span.start() as usize..span.end() as usize]).unwrap();
        }
        // The sector was in the old file, the draft is another one.
        let draft = DraftFile::reopen(&real(), &to, SIZE, draft.sync().unwrap(), false).unwrap();
        assert_eq!(draft.finish().unwrap().digests, proof.digests);
        flip(&path, 4 * GROUP);
    }
}

#[test]
fn a_payload_of_the_wrong_length_can_be_mended() {
    let (dir, path, proof) = payload(SIZE);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    for (number, len) in [SIZE + 10, 3 * GROUP].into_iter().enumerate() {
        file.set_len(len).unwrap();
        let wrong = verify(&*real(), &path, &proof, &mut |_| ControlFlow::Continue(())).unwrap();
        let to = dir.path().join(format!("draft-{number}"));
        let draft = repair_draft(&real(), &path, &to, SIZE, &wrong, false).unwrap();
        draft.write(0, &content(SIZE)).unwrap();
        assert_eq!(draft.finish().unwrap().digests, proof.digests, "{len}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn reading_leaves_the_memory_as_it_was() {
    let (_dir, path, proof) = payload(SIZE);
    let file = std::fs::File::open(&path).unwrap();
    if rustix::fs::fstatfs(&file).unwrap().f_type == libc::TMPFS_MAGIC {
        // Such a file is nowhere but in memory, so there is nothing to let go.
        return;
    }
    file.sync_all().unwrap();
    let_go(&file, Span::new(0, SIZE));
    let blob = Blob::open(&*real(), &path, SIZE).unwrap();
    let warm = hash::group(20, SIZE);
    blob.populate(warm).unwrap();
    let cold: Vec<Span> =
        [0, 15, 32].iter().map(|index| hash::group(*index, SIZE)).filter(|span| !blob.resident(*span)).collect();
    assert!(cold.len() >= 2, "populating one group brought in all the others");
    let touched = AtomicBool::new(false);
    verify(&*real(), &path, &proof, &mut |_| {
        touched.store(true, Ordering::Relaxed);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(touched.load(Ordering::Relaxed) && blob.resident(warm));
    assert!(cold.iter().all(|span| !blob.resident(*span)), "{cold:?}");
}
