//! A branch site: a real nginx as the origin, eight Windows clients, and the tools that administrators try first.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Stage;
use crate::bytes::{Object, sha256};
use crate::client::{all_pieces, pull};
use crate::http;
use crate::nginx::Nginx;
use crate::node::{Node, wait_for};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Sizes that matter: empty, one byte, around a group, around a piece, and the large ones of a patch day; 1 GiB in all.
fn sizes() -> Vec<u64> {
    let mut sizes = vec![0, 1, 4095, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 17];
    sizes.extend([24 * MIB, 63 * MIB, 65 * MIB + 5, 130 * MIB, 400 * MIB]);
    let sum: u64 = sizes.iter().sum();
    sizes.push((1 << 30) - sum);
    sizes
}

pub(crate) fn check(what: bool, text: impl FnOnce() -> String) -> io::Result<()> {
    if what { Ok(()) } else { Err(io::Error::other(text())) }
}

/// The objects as files below `root`; their digests.
fn lay_out(root: &Path) -> io::Result<(Vec<Object>, Vec<String>)> {
    fs::create_dir_all(root.join("c/msdownload/update"))?;
    let mut objects = Vec::new();
    let mut digests = Vec::new();
    for (index, size) in sizes().into_iter().enumerate() {
        let object = Object::new(format!("/c/msdownload/update/file-{index}.cab"), size, index as u64 + 1);
        digests.push(object.write(&root.join(&object.path[1..]))?);
        objects.push(object);
    }
    Ok((objects, digests))
}

fn tool(folder: &Path, program: &str, words: &[&str]) -> io::Result<()> {
    let status =
        Command::new(program).args(words).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    check(status.success(), || format!("{program} ended with {status}"))
}

fn everything(stage: &Stage, node: &Node, nginx: &Nginx, objects: &[Object], digests: &[String]) -> io::Result<()> {
    let folder = stage.folder.join("pulled");
    fs::create_dir_all(&folder)?;
    for (object, digest) in objects.iter().zip(digests) {
        let url = format!("http://{}{}", node.http, Node::target(nginx.address, &object.path));
        for (program, words) in [
            ("curl", vec!["-sSf", "-o", "out", &url]),
            (
                "aria2c",
                vec![
                    "-q",
                    "-x16",
                    "-s16",
                    "-k1M",
                    "--file-allocation=none",
                    "--allow-overwrite=true",
                    "-o",
                    "out",
                    &url,
                ],
            ),
        ] {
            tool(&folder, program, &words).map_err(|error| io::Error::other(format!("{}: {error}", object.path)))?;
            // aria2 makes no file for an empty object of which it learns nothing else.
            let bytes = fs::read(folder.join("out"))?;
            check(sha256(&bytes) == *digest, || format!("{program}: {} has another SHA-256", object.path))?;
            fs::remove_file(folder.join("out"))?;
        }
    }
    Ok(())
}

pub(crate) fn branch(stage: &Stage) -> io::Result<String> {
    let root = stage.folder.join("root");
    let (objects, digests) = lay_out(&root)?;
    let mut nginx = Nginx::start(&stage.folder, &root)?;
    let mut node = Node::start(&stage.program, &stage.folder, &[nginx.address], "")?;
    let start = std::time::Instant::now();
    let total: u64 = objects.iter().map(|object| object.size).sum();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let (objects, node, nginx) = (&objects, &node, &nginx);
                scope.spawn(move || pull(node.http, nginx.address, objects, all_pieces(objects), 7, client + 1))
            })
            .collect();
        for client in clients {
            let seen = client.join().map_err(|_| io::Error::other("a client panicked"))??;
            check(seen.bytes == total, || format!("a client got {} of {total} bytes", seen.bytes))?;
        }
        Ok::<_, io::Error>(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    everything(stage, &node, &nginx, &objects, &digests)?;
    let reads = nginx.reads()?;
    for object in objects.iter().filter(|object| object.size > 0) {
        let read =
            reads.get(&object.path).ok_or_else(|| io::Error::other(format!("{} was never read", object.path)))?;
        check(read.repeated() == 0 && read.bytes == object.size, || {
            format!("{}: {} bytes read of {}, {} of them again", object.path, read.bytes, object.size, read.repeated())
        })?;
    }
    let asked: usize = reads.values().map(|read| read.spans.len()).sum();
    nginx.stop();
    everything(stage, &node, &nginx, &objects, &digests)?;
    node.stop()?;
    node.run()?;
    everything(stage, &node, &nginx, &objects, &digests)?;
    node.stop()?;
    Ok(format!(
        "     8 clients x {} MiB in {seconds:.1} s; origin: {asked} requests, every byte once; again with the origin dead, and after a restart",
        total / MIB
    ))
}

pub(crate) fn killed(stage: &Stage) -> io::Result<String> {
    let root = stage.folder.join("root");
    fs::create_dir_all(root.join("c/msdownload/update"))?;
    let objects = vec![
        Object::new("/c/msdownload/update/one.cab", 300 * MIB, 71),
        Object::new("/c/msdownload/update/two.cab", 300 * MIB + 77, 72),
    ];
    for object in &objects {
        object.write(&root.join(&object.path[1..]))?;
    }
    let nginx = Nginx::start(&stage.folder, &root)?;
    let mut node = Node::start(&stage.program, &stage.folder, &[nginx.address], "")?;
    let address = (node.http, nginx.address);
    let pieces = all_pieces(&objects);
    let before = std::thread::scope(|scope| {
        // The kill cuts this client off; what it says of that is of no interest.
        let client = scope.spawn(|| drop(pull(address.0, address.1, &objects, pieces.clone(), 7, 3)));
        let drafts = node.data().join("drafts");
        wait_for("a good part of both to be filled", || {
            use std::os::unix::fs::MetadataExt;
            let held = fs::read_dir(&drafts).into_iter().flatten().flatten().filter_map(|entry| entry.metadata().ok());
            held.map(|meta| meta.blocks() * 512).sum::<u64>() > 200 * MIB
        })?;
        node.kill()?;
        client.join().map_err(|_| io::Error::other("the client panicked"))?;
        nginx.reads()
    })?;
    let read_before: u64 = before.values().map(|read| read.bytes).sum();
    node.run()?;
    let seen = pull(node.http, nginx.address, &objects, pieces, 7, 4)?;
    let total: u64 = objects.iter().map(|object| object.size).sum();
    check(seen.bytes == total, || format!("the client got {} of {total} bytes", seen.bytes))?;
    let after = nginx.reads()?;
    let mut told = Vec::new();
    for object in &objects {
        let again = after.get(&object.path).map_or(0, |read| read.bytes).saturating_sub(object.size);
        check(again <= 32 * MIB, || format!("{}: {} MiB were fetched again", object.path, again / MIB))?;
        told.push(format!("{:.1}", again as f64 / MIB as f64));
    }
    let (head, body) = http::fetch(node.http, &Node::target(nginx.address, &objects[0].path), None)?;
    check(head.status == 200 && sha256(&body) == objects[0].sha256(), || format!("whole: {head:?}"))?;
    node.stop()?;
    Ok(format!("     killed after {} MiB were read; fetched again: {} MiB", read_before / MIB, told.join(" and ")))
}
