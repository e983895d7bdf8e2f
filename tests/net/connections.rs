//! What well-behaved clients get: keep-alive, old and odd forms, HEAD, cuts that show, drains, HTTP/2.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncReadExt;
use waystation::net::counters::Reason;
use waystation::net::drain::Drained;
use waystation::net::{Bound, Config};

use crate::bench::{BIG, Bench, CROWD, MIB, PATIENCE, length, soon};
use crate::tls::{Site, h2_over};

#[tokio::test]
async fn keeps_connections_and_answers_in_order() {
    let mut bench = Bench::new(Config::default());
    let mut client = bench.connect().await;
    for _ in 0..3 {
        let answer = client.get("/hello").await;
        assert!(answer.head.starts_with("http/1.1 200 ok"), "{}", answer.head);
        assert_eq!(answer.body, b"hello");
        assert_eq!(bench.next_end().await, ("/hello".into(), 5, true));
    }
    // What Windows sends: a length on a GET.
    client.send("GET /peer HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await.body, b"127.0.0.1 false");
    // Two at once, without waiting.
    client.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /empty HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(client.answer().await.body, b"hello");
    assert_eq!(client.answer().await.body, b"");
    assert_eq!(client.get("/nothing").await.head.lines().next(), Some("http/1.1 404 not found"));
    assert_eq!(bench.counters.accepted.get(), 1);
    assert_eq!(bench.counters.requests.get(), 7);
}

#[tokio::test]
async fn serves_old_clients() {
    let bench = Bench::new(Config::default());
    let mut client = bench.connect().await;
    client.send("GET /hello HTTP/1.0\r\n\r\n").await;
    let (answer, ended_well) = client.rest().await;
    let text = String::from_utf8(answer).unwrap().to_lowercase();
    assert!(ended_well && text.starts_with("http/1.0 200") && text.ends_with("\r\n\r\nhello"), "{text}");
    assert!(text.contains("content-length: 5"), "{text}");

    let mut client = bench.connect().await;
    client.send("GET /stream HTTP/1.0\r\n\r\n").await;
    let head = client.head().await;
    assert!(!head.contains("transfer-encoding"), "{head}");
    let (body, ended_well) = client.rest().await;
    assert_eq!((body.len(), ended_well), (2 * MIB, true));

    // Without length and chunks only a reset tells that something is missing.
    let mut client = bench.connect().await;
    client.send("GET /stream-cut HTTP/1.0\r\n\r\n").await;
    assert!(!client.rest().await.1, "a cut body looked whole");
}

#[tokio::test]
async fn head_has_the_heads_of_get_and_no_bytes() {
    let mut bench = Bench::new(Config::default());
    let mut client = bench.connect().await;
    client.send("HEAD /big HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(length(&client.head().await), BIG as usize);
    assert_eq!(bench.next_end().await, ("/big".into(), 0, true));
    assert_eq!(client.get("/hello").await.body, b"hello", "the connection goes on");
}

#[tokio::test]
async fn a_body_that_ends_early_cuts_the_connection() {
    let mut bench = Bench::new(Config::default());
    for path in ["/short", "/cut"] {
        let mut client = bench.connect().await;
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let head = client.head().await;
        let (body, _) = client.rest().await;
        let (ended, left, whole) = bench.next_end().await;
        assert!(length(&head) == 3 * MIB && body.len() as u64 <= left && left <= MIB as u64, "{path}: {left}");
        assert_eq!((ended.as_str(), whole), (path, false));
    }
    let mut client = bench.connect().await;
    client.send("GET /stream-cut HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(client.head().await.contains("transfer-encoding: chunked"));
    let (body, _) = client.rest().await;
    assert!(!body.ends_with(b"0\r\n\r\n"), "the last chunk was sent after all");
    assert_eq!(bench.counters.bodies_cut.get(), 3);
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_body() {
    let mut bench = Bench::new(Config::default());
    let mut client = bench.connect().await;
    client.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n").await;
    soon(client.0.read_exact(&mut vec![0; MIB])).await.unwrap();
    drop(client);
    let (path, bytes, whole) = bench.next_end().await;
    assert!(path == "/big" && bytes < BIG && !whole, "{path} {bytes} {whole}");
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_closes_the_rest_at_once() {
    let bench = Bench::new(Config::default());
    let (mut idle, mut fresh, mut busy) = (bench.connect().await, bench.connect().await, bench.connect().await);
    assert_eq!(idle.get("/hello").await.body, b"hello");
    busy.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    soon(bench.answers.came.notified()).await;
    let (address, answers) = (bench.address, bench.answers.clone());
    let began = Instant::now();
    let drain = tokio::spawn(bench.server.drain(PATIENCE));
    assert_eq!(idle.rest().await.0, b"");
    assert_eq!(fresh.rest().await.0, b"");
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "still accepting");
    assert!(!drain.is_finished());
    answers.go.notify_one();
    let answer = busy.answer().await;
    assert_eq!(answer.body, b"waited");
    assert!(answer.head.contains("connection: close"), "{}", answer.head);
    assert_eq!(soon(drain).await.unwrap(), Drained { cut: 0 });
    assert!(began.elapsed() < PATIENCE);
}

#[tokio::test]
async fn a_drain_does_not_wait_for_the_rest_of_a_head() {
    let bench = Bench::new(Config::default());
    let part = "GET /hello HTTP/1.1\r\nHos";
    let (mut first, mut second) = (bench.connect().await, bench.connect().await);
    assert_eq!(second.get("/hello").await.body, b"hello");
    let before = bench.counters.received_bytes.get();
    first.send(part).await;
    second.send(part).await;
    while bench.counters.received_bytes.get() < before + 2 * part.len() as u64 {
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    assert_eq!(soon(bench.server.drain(PATIENCE)).await, Drained { cut: 0 });
    assert!(began.elapsed() < PATIENCE / 4, "it took {:?}", began.elapsed());
    assert_eq!((first.rest().await.0, second.rest().await.0), (vec![], vec![]));
}

#[tokio::test]
async fn a_drain_cuts_what_is_left_after_the_grace_period() {
    let mut bench = Bench::new(Config::default());
    let mut busy = bench.connect().await;
    busy.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    soon(bench.answers.came.notified()).await;
    let mut reader = bench.connect().await;
    reader.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n").await;
    reader.head().await;
    assert_eq!(soon(bench.server.drain(Duration::from_millis(100))).await, Drained { cut: 2 });
    assert_eq!(busy.rest().await.0, b"");
    assert!((reader.rest().await.0.len() as u64) < BIG);
    assert!(!soon(bench.ended.recv()).await.unwrap().2);
}

#[tokio::test]
async fn a_dropped_server_leaves_nobody_behind() {
    let bench = Bench::new(Config::default());
    let mut busy = bench.connect().await;
    busy.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    soon(bench.answers.came.notified()).await;
    drop(bench.server);
    assert_eq!(busy.rest().await.0, b"");
    while bench.counters.open.get() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn http2_carries_many_at_once_over_tls() {
    let site = Site::new(&["patches.site.example"]);
    let bound = Bound::tcp("127.0.0.1:0".parse().unwrap()).unwrap().with_tls(site.tls.server_config());
    let mut bench = Bench::with(Config::default(), bound);
    let (mut sender, connection) = h2_over(site.connect(&bench, "patches.site.example").await.unwrap()).await;
    let connection = tokio::spawn(connection);
    let request = |method: &str, path: &str| {
        let uri = format!("https://patches.site.example{path}");
        http::Request::builder().method(method).uri(uri).body(Empty::<bytes::Bytes>::new()).unwrap()
    };
    // Each is answered only when all are there.
    let crowd: Vec<_> = (0..CROWD).map(|_| sender.send_request(request("GET", "/crowd"))).collect();
    for answer in crowd {
        let answer = soon(answer).await.unwrap();
        assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes().as_ref(), b"crowd");
        bench.next_end().await;
    }
    assert_eq!(bench.counters.accepted.get(), 1);

    let answer = soon(sender.send_request(request("HEAD", "/big"))).await.unwrap();
    assert_eq!(answer.headers()["content-length"], BIG.to_string().as_str());
    assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes().len(), 0);
    assert_eq!(bench.next_end().await, ("/big".into(), 0, true));

    for path in ["/short", "/cut", "/stream-cut"] {
        // The reset may overtake the head.
        if let Ok(answer) = soon(sender.send_request(request("GET", path))).await {
            soon(answer.into_body().collect()).await.expect_err("a cut body ended well");
        }
        assert!(!bench.next_end().await.2);
    }
    let answer = soon(sender.send_request(request("GET", "/stream"))).await.unwrap();
    assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes().len(), 2 * MIB);
    assert_eq!(bench.next_end().await, ("/stream".into(), 2 * MIB as u64, true));

    let waiting = tokio::spawn(sender.send_request(request("GET", "/wait")));
    soon(bench.answers.came.notified()).await;
    let drain = tokio::spawn(bench.server.drain(PATIENCE));
    bench.answers.go.notify_one();
    assert_eq!(
        soon(waiting).await.unwrap().unwrap().into_body().collect().await.unwrap().to_bytes().as_ref(),
        b"waited"
    );
    assert_eq!(soon(drain).await.unwrap(), Drained { cut: 0 });
    soon(connection).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused_and_told_of_over_http2_too() {
    let site = Site::new(&["patches.site.example"]);
    let bound = Bound::tcp("127.0.0.1:0".parse().unwrap()).unwrap().with_tls(site.tls.server_config());
    let bench = Bench::with(Config::default(), bound);
    let (mut sender, connection) = h2_over(site.connect(&bench, "patches.site.example").await.unwrap()).await;
    let connection = tokio::spawn(connection);
    let request = |path: &str, fields: usize, bytes: usize| {
        let mut request = http::Request::get(format!("https://patches.site.example{path}"));
        for number in 0..fields {
            request = request.header(format!("x-{number}"), "a".repeat(bytes / fields));
        }
        request.body(Empty::<bytes::Bytes>::new()).unwrap()
    };
    let limits = Config::default();
    let long_path = format!("/{}", "a".repeat(limits.header_bytes_max - 4000));
    for (refused, request, status) in [
        (0, request("/hello", 4, limits.header_bytes_max - 1000), 200),
        (1, request("/hello", 1, 80_000), 431),
        (2, request("/hello", limits.headers_max + 1, 2000), 431),
        (3, request(&long_path, 1, 5000), 431),
        (3, request("/hello", limits.headers_max, 2000), 200),
    ] {
        let answer = soon(sender.send_request(request)).await.unwrap();
        assert_eq!(answer.status(), status);
        soon(answer.into_body().collect()).await.unwrap();
        let why = waystation::net::counters::Why { reason: Reason::TooLarge };
        assert_eq!(bench.counters.requests_refused.get_or_create(&why).get(), refused);
        assert_eq!(*bench.answers.unread.lock().unwrap(), vec![431; usize::try_from(refused).unwrap()]);
    }
    assert_eq!((bench.counters.requests.get(), bench.counters.accepted.get()), (2, 1), "what is read is begun");
    connection.abort();
}

#[tokio::test]
async fn http2_streams_that_nobody_reads_are_cut() {
    let site = Site::new(&["patches.site.example"]);
    let bound = Bound::tcp("127.0.0.1:0".parse().unwrap()).unwrap().with_tls(site.tls.server_config());
    let config = Config { stall_max: Duration::from_millis(300), ..Config::default() };
    let mut bench = Bench::with(config, bound);
    let stream = site.connect(&bench, "patches.site.example").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .handshake::<_, Empty<bytes::Bytes>>(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("https://patches.site.example/big").body(Empty::new()).unwrap();
    let answer = soon(sender.send_request(request)).await.unwrap();
    // The stream's window stays shut while the connection itself is read.
    assert!(!bench.next_end().await.2);
    assert_eq!(bench.closed(Reason::Stalled), 1);
    soon(answer.into_body().collect()).await.expect_err("a cut body ended well");
    drop(soon(connection).await);
}

/// A client whose window is no wider than it must be, so that it takes what it reads and not much more.
async fn h2_narrow(
    stream: tokio_rustls::client::TlsStream<tokio::net::TcpStream>,
) -> (
    hyper::client::conn::http2::SendRequest<Empty<bytes::Bytes>>,
    impl Future<Output = hyper::Result<()>> + Send + 'static,
) {
    hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(65_535)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap()
}

/// What a client that takes little of a mebibyte and leaves is recorded with.
fn assert_cut(end: (String, u64, bool)) {
    let (path, left, whole) = end;
    assert!(path == "/mebibyte" && (20_000..MIB as u64).contains(&left) && !whole, "{path} {left} {whole}");
}

#[tokio::test]
async fn what_is_handed_over_has_not_left() {
    let site = Site::new(&["patches.site.example"]);
    let bound = Bound::tcp("127.0.0.1:0".parse().unwrap()).unwrap().with_tls(site.tls.server_config());
    let mut bench = Bench::with(Config::default(), bound);
    let mut plain = Bench::new(Config::default());
    // One frame is all of it, and hyper has it long before the client.
    for _ in 0..3 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 << 10).unwrap();
        let mut client = crate::bench::Client(socket.connect(plain.address).await.unwrap());
        client.send("GET /mebibyte HTTP/1.1\r\nHost: x\r\n\r\n").await;
        client.head().await;
        soon(client.0.read_exact(&mut vec![0; 20_000])).await.unwrap();
        drop(client);
        assert_cut(plain.next_end().await);
    }

    let (mut sender, connection) = h2_narrow(site.connect(&bench, "patches.site.example").await.unwrap()).await;
    let connection = tokio::spawn(connection);
    let request = || http::Request::get("https://patches.site.example/mebibyte").body(Empty::new()).unwrap();
    // A stream that is given up, and then one that goes with its connection.
    for last in [false, true] {
        let mut body = soon(sender.send_request(request())).await.unwrap().into_body();
        let mut got = 0;
        while got < 20_000 {
            got += soon(body.frame()).await.unwrap().unwrap().into_data().unwrap().len();
        }
        if last {
            connection.abort();
        }
        drop(body);
        assert_cut(bench.next_end().await);
    }
}

#[tokio::test]
async fn a_slow_but_steady_http2_client_is_not_idle() {
    let site = Site::new(&["patches.site.example"]);
    let bound = Bound::tcp("127.0.0.1:0".parse().unwrap()).unwrap().with_tls(site.tls.server_config());
    let (idle_max, stall_max) = (Duration::from_millis(200), Duration::from_secs(1));
    let mut bench = Bench::with(Config { idle_max, stall_max, ..Config::default() }, bound);
    let (mut sender, connection) = h2_narrow(site.connect(&bench, "patches.site.example").await.unwrap()).await;
    let connection = tokio::spawn(connection);
    let request = http::Request::get("https://patches.site.example/mebibyte").body(Empty::new()).unwrap();
    let mut body = soon(sender.send_request(request)).await.unwrap().into_body();
    let began = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(40));
    let mut got = 0;
    while let Some(frame) = soon(body.frame()).await {
        got += frame.expect("still served").into_data().unwrap().len();
        pace.tick().await;
    }
    assert!(got == MIB && began.elapsed() > idle_max * 4, "{got} bytes in {:?}", began.elapsed());
    assert_eq!(bench.next_end().await, ("/mebibyte".into(), MIB as u64, true));
    // Now it is.
    drop(soon(connection).await);
    assert_eq!((bench.closed(Reason::Idle), bench.closed(Reason::Stalled)), (1, 0));
}
