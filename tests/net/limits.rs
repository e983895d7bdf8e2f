//! What clients that take too much, too long or too many get.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use waystation::net::Config;
use waystation::net::counters::Reason;

use crate::bench::{BIG, Bench, soon};

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_slow_head_is_cut_and_an_idle_connection_closed() {
    let bench = Bench::new(Config { header_read_max: SHORT, ..Config::default() });
    let mut client = bench.connect().await;
    assert_eq!(client.get("/hello").await.body, b"hello");
    client.send("GET /hello HTTP/1.1\r\nHos").await;
    assert_eq!(client.rest().await.0, b"");
    assert_eq!(bench.closed(Reason::Header), 1);

    let bench = Bench::new(Config { idle_max: SHORT, ..Config::default() });
    let (mut fresh, mut used) = (bench.connect().await, bench.connect().await);
    assert_eq!(used.get("/hello").await.body, b"hello");
    assert_eq!(fresh.rest().await, (vec![], true));
    assert_eq!(used.rest().await, (vec![], true));
    assert_eq!(bench.closed(Reason::Idle), 2);
}

#[tokio::test]
async fn a_request_under_way_is_not_idle() {
    let bench = Bench::new(Config { idle_max: SHORT, header_read_max: SHORT, stall_max: SHORT, ..Config::default() });
    let mut client = bench.connect().await;
    client.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    soon(bench.answers.came.notified()).await;
    // Another connection's idle time passes meanwhile, which is the event to wait for.
    assert_eq!(bench.connect().await.rest().await.0, b"");
    bench.answers.go.notify_one();
    assert_eq!(client.answer().await.body, b"waited");
}

#[tokio::test]
async fn a_reader_that_stops_is_cut() {
    let mut bench = Bench::new(Config { stall_max: SHORT, ..Config::default() });
    let mut client = bench.connect().await;
    client.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n").await;
    client.head().await;
    let (path, bytes, whole) = bench.next_end().await;
    assert!(path == "/big" && bytes < BIG && !whole, "{path} {bytes} {whole}");
    assert_eq!(bench.closed(Reason::Stalled), 1);
    let (body, ended_well) = client.rest().await;
    assert!((body.len() as u64) < BIG && !ended_well, "the kernel's buffers are given up by a reset");
}

#[tokio::test]
async fn a_reader_that_is_slow_but_steady_is_served() {
    let stall_max = Duration::from_secs(1);
    let bench = Bench::new(Config { stall_max, stall_bytes_min: 16 << 10, ..Config::default() });
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    // A small window, so that what is sent is soon seen to be read.
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut client = crate::bench::Client(socket.connect(bench.address).await.unwrap());
    client.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n").await;
    client.head().await;
    let began = Instant::now();
    let mut piece = vec![0; 8 << 10];
    let mut pace = tokio::time::interval(Duration::from_millis(25));
    // 320 kB/s, for three times as long as a stall may last.
    while began.elapsed() < stall_max * 3 {
        pace.tick().await;
        soon(client.0.read_exact(&mut piece)).await.expect("still served");
    }
    assert_eq!(bench.closed(Reason::Stalled), 0);
}

#[tokio::test]
async fn heads_that_cannot_be_read_are_counted() {
    let bench = Bench::new(Config::default());
    let refused = |reason| {
        let why = waystation::net::counters::Why { reason };
        bench.counters.requests_refused.get_or_create(&why).get()
    };
    for head in ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"] {
        let mut client = bench.connect().await;
        client.send(head).await;
        assert!(client.head().await.starts_with("http/1.1 400 "));
        client.rest().await;
    }
    assert_eq!((refused(Reason::Malformed), refused(Reason::TooLarge)), (2, 0));
    // Who leaves in the middle of a head has asked for nothing yet.
    let mut client = bench.connect().await;
    client.send("GET / HTTP/1.1\r\nHos").await;
    drop(client);
    while bench.server.connections() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((refused(Reason::Malformed), bench.counters.requests.get()), (2, 0));
}

#[tokio::test]
async fn one_client_cannot_take_all_places() {
    let config = Config { connections_per_client_max: 2, exempt: vec![], ..Config::default() };
    let bench = Bench::new(config.clone());
    let (mut first, mut second) = (bench.connect().await, bench.connect().await);
    assert_eq!(first.get("/hello").await.body, b"hello");
    assert_eq!(second.get("/hello").await.body, b"hello");
    let mut third = bench.connect().await;
    assert_eq!(third.rest().await.0, b"");
    assert_eq!(bench.refused(Reason::Client), 1);
    drop(first);
    // The place is free as soon as the server has seen the end.
    while bench.server.connections() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.connect().await.get("/hello").await.body, b"hello");

    let bench = Bench::new(Config { exempt: vec!["127.0.0.0/8".parse().unwrap()], ..config });
    let mut gateway = Vec::new();
    for _ in 0..5 {
        let mut client = bench.connect().await;
        assert_eq!(client.get("/hello").await.body, b"hello");
        gateway.push(client);
    }

    let bench = Bench::new(Config { connections_max: 1, ..Config::default() });
    let mut only = bench.connect().await;
    assert_eq!(only.get("/hello").await.body, b"hello");
    assert_eq!(bench.connect().await.rest().await.0, b"");
    assert_eq!(bench.refused(Reason::Total), 1);
}

#[tokio::test]
async fn other_limits_hold_for_new_connections_and_spare_the_open_ones() {
    let exempt = vec![];
    let config = Config { connections_per_client_max: 1, exempt, ..Config::default() };
    let bench = Bench::new(config.clone());
    let mut old = bench.connect().await;
    assert_eq!(old.get("/hello").await.body, b"hello");
    assert_eq!(bench.connect().await.rest().await.0, b"");
    assert_eq!(bench.refused(Reason::Client), 1);

    bench.server.set_config(Config { connections_per_client_max: 2, idle_max: SHORT, ..config.clone() });
    let mut new = bench.connect().await;
    assert_eq!(new.get("/hello").await.body, b"hello");
    assert_eq!(new.rest().await, (vec![], true), "the new one goes when it is idle");
    assert_eq!(bench.closed(Reason::Idle), 1);
    assert_eq!(old.get("/hello").await.body, b"hello", "the old one keeps the idle time that it began with");

    // Fewer places than are taken: nobody is cut, and nobody is let in.
    bench.server.set_config(Config { connections_max: 1, ..config });
    assert_eq!(bench.connect().await.rest().await.0, b"");
    assert_eq!(bench.refused(Reason::Total), 1);
    assert_eq!(old.get("/hello").await.body, b"hello");
}

#[tokio::test]
async fn what_is_too_long_is_refused_by_name() {
    let mut bench = Bench::new(Config::default());
    let status = async |request: String| {
        let mut client = bench.connect().await;
        client.send(&request).await;
        client.head().await.split_whitespace().nth(1).unwrap().to_owned()
    };
    let long = "x".repeat(9000);
    let many = "h: 1\r\n".repeat(200);
    assert_eq!(status(format!("GET /hello HTTP/1.1\r\nHost: x\r\n{many}\r\n")).await, "431");
    let wide = format!("h: {long}\r\n").repeat(9);
    assert_eq!(status(format!("GET /hello HTTP/1.1\r\nHost: x\r\n{wide}\r\n")).await, "431");
    assert_eq!(status("GET\r\n\r\n".into()).await, "400");

    // These have a head, so that the handler is to answer and to record them.
    assert_eq!(status(format!("GET /hello?{long} HTTP/1.1\r\nHost: x\r\n\r\n")).await, "200");
    let declared = "Content-Length: 99999999999\r\n";
    assert_eq!(status(format!("POST /hello HTTP/1.1\r\nHost: x\r\n{declared}\r\n")).await, "200");
    for _ in 0..2 {
        assert_eq!(bench.next_end().await, ("/hello".into(), 5, true));
    }
}

#[tokio::test]
async fn a_body_is_collected_within_its_limits() {
    let bench = Bench::new(Config::default());
    let answer = async |request: &str| {
        let mut client = bench.connect().await;
        client.send(&format!("POST /collect HTTP/1.1\r\nHost: x\r\n{request}")).await;
        String::from_utf8(client.answer().await.body).unwrap()
    };
    assert_eq!(answer("Content-Length: 3\r\n\r\nabc").await, "3");
    assert_eq!(answer("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await, "3");
    let long = "x".repeat(2000);
    assert!(answer(&format!("Content-Length: 2000\r\n\r\n{long}")).await.contains("longer than 1000 bytes"));
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n7d0\r\n{long}\r\n0\r\n\r\n");
    assert!(answer(&chunked).await.contains("longer than 1000 bytes"));
    assert!(answer("Content-Length: 3\r\n\r\na").await.contains("did not arrive within 0.3 s"));
}

#[tokio::test]
async fn a_handler_that_panics_takes_its_connection_and_nothing_else() {
    let bench = Bench::new(Config { connections_max: 2, ..Config::default() });
    let mut other = bench.connect().await;
    assert_eq!(other.get("/hello").await.body, b"hello");
    for _ in 0..3 {
        let mut client = bench.connect().await;
        client.send("GET /panic HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(client.rest().await.0, b"");
        while bench.server.connections() > 1 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(bench.counters.open.get(), 1);
    assert_eq!(other.get("/hello").await.body, b"hello");
}
