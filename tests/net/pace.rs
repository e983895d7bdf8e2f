//! Answers under a limit of bandwidth. Nothing here looks at how long anything takes.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use waystation::base::time::SystemClock;
use waystation::net::Config;
use waystation::net::counters::Reason;
use waystation::pace::{self, Class, Governor};

use crate::bench::{BIG, Bench, MIB, length, soon};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A governor at work.
async fn governing(rule: &str) -> (Governor, JoinHandle<()>, CancellationToken) {
    let rules = pace::Config::default().with(Class::Clients, &[rule]).unwrap();
    let (governor, stop) = (Governor::new(rules, Arc::new(SystemClock)), CancellationToken::new());
    let driver = tokio::spawn(governor.clone().run(stop.clone()));
    while governor.to_client(CLIENT).is_free() {
        tokio::task::yield_now().await;
    }
    (governor, driver, stop)
}

#[tokio::test]
async fn a_limited_answer_comes_whole_and_is_not_taken_for_a_client_that_does_not_read() {
    let (governor, driver, stop) = governing("32 kbit/s").await;
    // At 4 kB/s far less leaves within a stall's time than a client must take then.
    let stall_max = Duration::from_millis(200);
    let mut bench = Bench::new(Config { stall_max, pace: governor.clone(), ..Config::default() });
    let mut client = bench.connect().await;
    client.send("GET /mebibyte HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(length(&head), MIB);
    let mut front = vec![0; 4 << 10];
    soon(client.0.read_exact(&mut front)).await.unwrap();
    let limited = governor.counters().bytes(Class::Clients);
    assert!((4 << 10..MIB as u64).contains(&limited), "{limited}");
    // Another limit holds for the answer that is under way: without it the rest would take minutes.
    governor.set_config(pace::Config::default());
    let mut rest = vec![0; MIB - front.len()];
    soon(client.0.read_exact(&mut rest)).await.unwrap();
    assert!(front.iter().chain(&rest).all(|byte| *byte == 7));
    assert_eq!(bench.next_end().await, ("/mebibyte".to_owned(), MIB as u64, true));
    assert_eq!(bench.closed(Reason::Stalled), 0);
    stop.cancel();
    driver.await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody() {
    let (governor, driver, stop) = governing("80 Mbit/s").await;
    let bench = Bench::new(Config { pace: governor.clone(), ..Config::default() });
    let mut asleep = Vec::new();
    for _ in 0..8 {
        let mut client = bench.connect().await;
        client.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n").await;
        asleep.push(client);
    }
    let mut client = bench.connect().await;
    for _ in 0..4 {
        assert_eq!(client.get("/mebibyte").await.body.len(), MIB);
    }
    // Who goes away in the middle leaves the line, and what is left serves the others still.
    drop(asleep);
    assert_eq!(client.get("/mebibyte").await.body.len(), MIB);
    assert!(governor.counters().bytes(Class::Clients) < BIG);
    stop.cancel();
    driver.await.unwrap();
    assert_eq!(client.get("/hello").await.body, b"hello", "without its driver nothing is held back");
}
