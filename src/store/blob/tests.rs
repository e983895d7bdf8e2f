//! What a payload is read as, and what outlives what.

use std::path::PathBuf;

use super::*;
use crate::base::disk::RealDisk;

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

pub(super) fn payload(len: usize) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("payload");
    std::fs::write(&path, content(len)).unwrap();
    (dir, path)
}

#[test]
fn windows_are_the_bytes_and_outlive_name_and_handle() {
    let (_dir, path) = payload(10_000);
    let blob = Arc::new(Blob::open(&RealDisk, &path, 10_000).unwrap());
    let content = content(10_000);
    let window = blob.bytes(Span::new(5000, 9000));
    assert_eq!(blob.bytes(Span::new(9990, 20_000)), content[9990..]);
    assert!(blob.bytes(Span::new(10_000, 20_000)).is_empty());
    assert!(blob.bytes(Span::new(u64::MAX - 1, u64::MAX)).is_empty());
    std::fs::remove_file(&path).unwrap();
    drop(blob);
    assert_eq!(window, content[5000..9000]);
    assert_eq!(window.slice(10..20), content[5010..5020]);
}

#[test]
fn an_empty_payload_is_empty_and_a_wrong_length_refused() {
    let (_dir, path) = payload(0);
    let blob = Arc::new(Blob::open(&RealDisk, &path, 0).unwrap());
    assert!(blob.len() == 0 && blob.bytes(Span::new(0, 9)).is_empty() && blob.resident(Span::new(0, 9)));
    blob.populate(Span::new(0, 9)).unwrap();
    let error = Blob::open(&RealDisk, &path, 1).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("has 0 bytes"), "{error}");
}
