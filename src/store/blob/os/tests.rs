//! What is in memory, who writes, and what a disk does not give.

use std::sync::Arc;

use rustix::fs::{Advice, fadvise};

use super::super::{Blob, Span, Still, tests};
use super::*;

#[test]
fn both_probes_see_what_is_in_memory() {
    let len = (1 << 20) + 4097;
    let (_dir, path) = tests::payload(len);
    let blob = Arc::new(Blob::open(&crate::base::disk::RealDisk, &path, len as u64).unwrap());
    let open = blob.open.as_ref().unwrap();
    assert_eq!(open.probe, Probe::Mincore, "the test's own file");
    let (map, file) = (&open.map, open.file.as_file());
    // Where nothing reads, nothing is mapped into page tables, so that this drops all of it but on file systems
    // that have nowhere else to keep it.
    // A page that the kernel is at work with meanwhile stays, so that it is told more than once.
    for _ in 0..100 {
        file.sync_all().unwrap();
        fadvise(file, 0, None, Advice::DontNeed).unwrap();
        if !reads_at_once(file, 0, len) && !mincore(map, 0, len) {
            break;
        }
        std::thread::yield_now();
    }
    let in_memory_only = rustix::fs::fstatfs(file).unwrap().f_type == libc::TMPFS_MAGIC;
    let all = Span::at(0, len as u64);
    assert_eq!(blob.resident(all), in_memory_only);
    assert_eq!(reads_at_once(file, 0, len), in_memory_only);
    blob.populate(Span::at(65_536, 65_536)).unwrap();
    assert!(blob.resident(Span::at(65_536, 65_536)));
    assert!(reads_at_once(file, 65_536, 131_072));
    blob.populate(all).unwrap();
    assert!(blob.resident(all) && mincore(map, 0, len));
    for (start, end) in [(0, len), (1, 2), (4095, 4097), (len - 1, len), (len - 4097, len)] {
        assert!(reads_at_once(file, start, end), "{start}..{end}");
        assert!(mincore(map, start, end), "{start}..{end}");
    }
}

#[test]
fn a_lease_tells_of_every_writer() {
    use std::os::unix::fs::OpenOptionsExt;
    let (_dir, path) = tests::payload(5000);
    let mut writer = std::fs::OpenOptions::new();
    writer.read(true).write(true).custom_flags(libc::O_NONBLOCK);
    let held = writer.open(&path).unwrap();
    assert_eq!(Still::of(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    // SAFETY: nobody changes or cuts the file while the map lives.
    let map = unsafe { memmap2::MmapMut::map_mut(&held).unwrap() };
    drop(held);
    assert_eq!(Still::of(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock, "a map can write too");
    drop(map);
    let still = Still::of(&path).unwrap();
    std::fs::read(&path).unwrap();
    assert!(still.holds());
    // Asked back by a signal, which does not end this process.
    assert_eq!(writer.open(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert!(!still.holds());
    drop(still);
    writer.open(&path).unwrap();
}

#[test]
fn what_the_disk_does_not_give_is_an_error_and_not_a_signal() {
    let (_dir, path) = tests::payload(3 << 20);
    let blob = Blob::open(&crate::base::disk::RealDisk, &path, 3 << 20).unwrap();
    // Never done to a payload: it is the one way to get a page that cannot be had without a broken disk.
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
    blob.populate(Span::new(0, 1 << 20)).unwrap();
    blob.populate(Span::new(1 << 20, 2 << 20)).unwrap_err();
}
