//! Scripted proxies over real sockets: an HTTP one (CONNECT and absolute form, Basic credentials, 407) and a SOCKS one
//! (version 5 with and without user and password, version 4). Both keep a log of what they were asked for, and both can send any name to
//! an address of the test's choosing, so that tests use public names without a name server.
//!
//! Include it with `#[path = "support/proxy.rs"] mod proxy;`.

#![allow(dead_code, unreachable_pub, reason = "every test binary includes this file and uses another part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper that cannot do its work must panic")]

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Which protocol a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// CONNECT and absolute form.
    Http,
    /// SOCKS 5 (RFC 1928, RFC 1929) and 4.
    Socks,
}

#[derive(Debug)]
struct Shared {
    kind: Kind,
    /// User and password that must be given.
    credentials: Option<(String, String)>,
    routes: Mutex<HashMap<String, SocketAddr>>,
    log: Mutex<Vec<String>>,
}

/// A proxy on a free port of 127.0.0.1. Dropping it closes every connection.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// Starts one that asks for these credentials, if any.
    pub async fn start(kind: Kind, credentials: Option<(&str, &str)>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let credentials = credentials.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let shared = Arc::new(Shared { kind, credentials, routes: Mutex::default(), log: Mutex::default() });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections to `host` (any port) go to `target`.
    pub fn route(&self, host: &str, target: SocketAddr) {
        self.shared.routes.lock().unwrap().insert(host.to_owned(), target);
    }

    /// What it was asked for: `CONNECT host:port`, `GET http://host/path`, `SOCKS host:port`, or `refused` where the
    /// credentials were not the right ones.
    pub fn log(&self) -> Vec<String> {
        self.shared.log.lock().unwrap().clone()
    }
}

impl Shared {
    fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    async fn dial(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let route = self.routes.lock().unwrap().get(host).copied();
        match route {
            Some(target) => TcpStream::connect(target).await,
            None => TcpStream::connect((host.trim_matches(['[', ']']), port)).await,
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // Either side going away ends the connection, and that is no failure of the proxy.
            let _ = match shared.kind {
                Kind::Http => http(client, &shared).await,
                Kind::Socks => socks(client, &shared).await,
            };
        });
    }
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in text.as_bytes().chunks(3) {
        let word = group.iter().chain([0; 2].iter()).take(3).fold(0_usize, |word, byte| word << 8 | usize::from(*byte));
        for digit in 0..4 {
            let shown = digit <= group.len();
            out.push(if shown { char::from(DIGITS[(word >> (18 - 6 * digit)) & 63]) } else { '=' });
        }
    }
    out
}

async fn http(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut head = Vec::new();
    let end = loop {
        if let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    };
    let rest = head.split_off(end);
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.trim_end().split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let fields: Vec<&str> = lines.collect();
    let given = fields.iter().find_map(|field| {
        let (name, value) = field.split_once(':')?;
        name.eq_ignore_ascii_case("proxy-authorization").then(|| value.trim().to_owned())
    });
    if let Some((user, password)) = &shared.credentials
        && given != Some(format!("Basic {}", base64(&format!("{user}:{password}"))))
    {
        shared.note("refused".to_owned());
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"site\"\r\n\
                       Content-Length: 0\r\nConnection: close\r\n\r\n";
        client.write_all(refusal.as_bytes()).await?;
        return client.shutdown().await;
    }
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    shared.note(format!("{method} {target}"));
    if method == "CONNECT" {
        let (host, port) = target.rsplit_once(':').unwrap();
        let mut server = shared.dial(host, port.parse().unwrap()).await?;
        client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?;
        copy_bidirectional(&mut client, &mut server).await?;
        return Ok(());
    }
    let url = url::Url::parse(target).unwrap();
    let mut server = shared.dial(url.host_str().unwrap(), url.port_or_known_default().unwrap()).await?;
    let path = &target[target.find("://").unwrap() + 3..];
    let path = path.find('/').map_or("/", |at| &path[at..]);
    let mut onward = format!("{method} {path} HTTP/1.1\r\nVia: 1.1 proxy\r\nConnection: close\r\n");
    for field in fields {
        let name = field.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if !["proxy-authorization", "connection", "proxy-connection"].contains(&name.as_str()) {
            onward.push_str(field);
            onward.push_str("\r\n");
        }
    }
    onward.push_str("\r\n");
    server.write_all(onward.as_bytes()).await?;
    server.write_all(&rest).await?;
    // One request a connection; the origin keeps its own open, so that the body's end is the client's to see.
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

async fn socks(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    match client.read_u8().await? {
        5 => socks5(client, shared).await,
        4 => socks4(client, shared).await,
        _ => Ok(()),
    }
}

async fn socks5(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut methods = vec![0; usize::from(client.read_u8().await?)];
    client.read_exact(&mut methods).await?;
    let wanted = if shared.credentials.is_some() { 2 } else { 0 };
    if !methods.contains(&wanted) {
        shared.note("refused".to_owned());
        return client.write_all(&[5, 0xff]).await;
    }
    client.write_all(&[5, wanted]).await?;
    if let Some((user, password)) = &shared.credentials {
        client.read_u8().await?;
        let given_user = short_text(&mut client).await?;
        let given_password = short_text(&mut client).await?;
        if (&given_user, &given_password) != (user, password) {
            shared.note("refused".to_owned());
            return client.write_all(&[1, 1]).await;
        }
        client.write_all(&[1, 0]).await?;
    }
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    let host = match request[3] {
        1 => Ipv4Addr::from(client.read_u32().await?).to_string(),
        3 => short_text(&mut client).await?,
        _ => std::net::Ipv6Addr::from(client.read_u128().await?).to_string(),
    };
    let port = client.read_u16().await?;
    shared.note(format!("SOCKS {host}:{port}"));
    let mut server = shared.dial(&host, port).await?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

async fn socks4(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    client.read_u8().await?;
    let port = client.read_u16().await?;
    let host = Ipv4Addr::from(client.read_u32().await?).to_string();
    while client.read_u8().await? != 0 {}
    shared.note(format!("SOCKS4 {host}:{port}"));
    let mut server = shared.dial(&host, port).await?;
    client.write_all(&[0, 90, 0, 0, 0, 0, 0, 0]).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

async fn short_text(client: &mut TcpStream) -> io::Result<String> {
    let mut text = vec![0; usize::from(client.read_u8().await?)];
    client.read_exact(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
