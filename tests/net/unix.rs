//! Binding: the control socket's rights, long paths, what is left of dead nodes; and addresses that are taken.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tokio::net::UnixStream;
use waystation::net::error::Fault;
use waystation::net::listen::connect_unix;
use waystation::net::{Bound, Config, Error};

use crate::bench::{Bench, Client};

async fn ask(path: &std::path::Path) -> Vec<u8> {
    let stream = connect_unix(path).unwrap();
    stream.set_nonblocking(true).unwrap();
    Client(UnixStream::from_std(stream).unwrap()).get("/peer").await.body
}

#[tokio::test]
async fn the_control_socket_is_private_and_goes_with_its_server() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let bench = Bench::with(Config::default(), Bound::unix(&path).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(ask(&path).await, b"127.0.0.1 false");
    let taken = Bound::unix(&path).unwrap_err();
    assert!(matches!(taken, Error::SocketInUse { .. }), "{taken}");
    bench.server.drain(Duration::from_secs(5)).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_path_longer_than_an_address_works() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(120)).join("e".repeat(120));
    std::fs::create_dir_all(&deep).unwrap();
    let path = deep.join("control.sock");
    let bench = Bench::with(Config::default(), Bound::unix(&path).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(ask(&path).await, b"127.0.0.1 false");
    drop(bench);
}

#[tokio::test]
async fn a_dead_nodes_socket_is_replaced_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    // The standard library leaves the file behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let bench = Bench::with(Config::default(), Bound::unix(&path).unwrap());
    assert_eq!(ask(&path).await, b"127.0.0.1 false");
    drop(bench);

    let file = dir.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let refused = Bound::unix(&file).unwrap_err().to_string();
    assert!(refused.contains("move it away"), "{refused}");
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
}

#[tokio::test]
async fn a_read_only_mount_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "ro", "none"]).arg(dir.path()).output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        eprintln!("skipped: mounting takes root");
        return;
    }
    let refused = Bound::unix(&dir.path().join("control.sock"));
    let unmounted = std::process::Command::new("umount").arg(dir.path()).status().unwrap();
    assert!(matches!(refused, Err(Error::SocketReadOnly { .. })), "{refused:?}");
    assert!(unmounted.success());
}

#[test]
fn an_address_that_is_taken_is_named() {
    let first = Bound::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let taken = Bound::tcp(first.address().unwrap()).unwrap_err();
    assert!(matches!(taken, Error::AddressInUse { .. }), "{taken}");
    assert!(taken.is_retryable() && taken.fault() == Fault::Operator);
    let elsewhere = Bound::tcp("203.0.113.77:0".parse().unwrap()).unwrap_err();
    assert!(elsewhere.to_string().contains("203.0.113.77:0"), "{elsewhere}");
    // Both families side by side on one port.
    let v4 = Bound::tcp("0.0.0.0:0".parse().unwrap()).unwrap();
    Bound::tcp(format!("[::]:{}", v4.address().unwrap().port()).parse().unwrap()).unwrap();
}
