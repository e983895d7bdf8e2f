//! The native load: many connections on one thread, ranges in an order of one's own, times to the first byte, silences,
//! bytes checked if wanted.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::task::LocalSet;

use crate::bytes;
use crate::table::percentile;
use crate::wire::{BUFFER, Bin, Body, Watch, Wire};

/// From and length of one question.
pub(crate) type Range = (u64, u64);

/// In which order a client asks for the ranges.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// From the first to the last.
    Given,
    /// Shuffled, each client in a way of its own: they seldom want the same at the same time.
    Own,
    /// Shuffled, all clients in the same way: each wants what the others want at that moment.
    Shared,
}

impl Order {
    /// What the client of this number asks for, `items` being in their order.
    fn of<T>(self, items: &mut [T], seed: u64, client: usize) {
        match self {
            Self::Given => {}
            Self::Own => bytes::shuffle(items, seed.wrapping_add(bytes::mix(client as u64))),
            Self::Shared => bytes::shuffle(items, seed),
        }
    }
}

/// Clients that do alike: each with its connections.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) to: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// What is asked for, path and query.
    pub(crate) targets: Vec<String>,
    /// The ranges of each target; none: the whole.
    pub(crate) ranges: Vec<Range>,
    pub(crate) clients: usize,
    pub(crate) connections: usize,
    pub(crate) body: Body,
    pub(crate) seed: u64,
    /// As long as this, over and over; otherwise each client asks for each range once.
    pub(crate) lasts: Option<Duration>,
    /// When everything is given up.
    pub(crate) limit: Duration,
    /// In which order the ranges are asked for.
    pub(crate) order: Order,
    /// Each client from a loopback address of its own, so that limits per client count as they would.
    pub(crate) own_addresses: bool,
    /// A pause of each connection between an answer and the next question.
    pub(crate) pause: Duration,
    /// Bytes that a connection reads in a second; none: as they come.
    pub(crate) rate: Option<u64>,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) bytes: u64,
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// Milliseconds from each question to the first byte of the body.
    pub(crate) first_byte: Vec<f64>,
    /// Milliseconds from each question to the last byte of the body.
    pub(crate) last_byte: Vec<f64>,
    /// Milliseconds from the start to each client's first byte.
    pub(crate) client_first_byte: Vec<f64>,
    /// Seconds from the start to each client's last byte.
    pub(crate) client_done: Vec<f64>,
    /// Silences of over half a second within an answer or before it: from and to.
    pub(crate) silences: Vec<(Instant, Instant)>,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) reconnects: u64,
}

const SILENCE: Duration = Duration::from_millis(500);

impl Outcome {
    pub(crate) fn mib_per_s(&self) -> f64 {
        self.bytes as f64 / f64::from(1 << 20) / self.seconds
    }

    /// The longest silence in seconds, counted from `since` where that is given.
    pub(crate) fn longest_silence(&self, since: Option<Instant>) -> f64 {
        let len =
            |(from, to): &(Instant, Instant)| to.saturating_duration_since(since.map_or(*from, |at| at.max(*from)));
        self.silences.iter().map(len).max().unwrap_or_default().as_secs_f64()
    }

    pub(crate) fn first_byte_at(&self, share: f64) -> f64 {
        percentile(&self.first_byte, share)
    }

    pub(crate) fn last_byte_at(&self, share: f64) -> f64 {
        percentile(&self.last_byte, share)
    }

    /// An error if anything went wrong.
    pub(crate) fn clean(self, what: &str) -> io::Result<Self> {
        match (&self.first_error, self.requests) {
            (Some(error), _) => Err(io::Error::other(format!("{what}: {} errors, the first: {error}", self.errors))),
            (None, 0) => Err(io::Error::other(format!("{what}: no answer"))),
            (None, _) => Ok(self),
        }
    }
}

/// What the connections of one client share.
struct Client {
    host: String,
    from: Option<SocketAddr>,
    /// Indices of target and range, in the order of asking.
    order: Vec<(u32, u32)>,
    next: usize,
    first: Option<Instant>,
    done: Option<Instant>,
}

/// One answer as it comes.
struct Meter<'a> {
    outcome: &'a RefCell<Outcome>,
    asked: Instant,
    last: Instant,
    first: Option<Instant>,
}

impl Watch for Meter<'_> {
    fn came(&mut self, bytes: usize) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        let mut outcome = self.outcome.borrow_mut();
        outcome.bytes += bytes as u64;
        if now - self.last > SILENCE {
            outcome.silences.push((self.last, now));
        }
        self.last = now;
    }
}

impl Load {
    /// Runs it on this thread until it is done.
    pub(crate) fn run(self) -> io::Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, self.go())
    }

    async fn go(self) -> io::Result<Outcome> {
        let load = Rc::new(self);
        let outcome = Rc::new(RefCell::new(Outcome::default()));
        let bin: Rc<Bin> = Rc::new(RefCell::new(vec![0; BUFFER]));
        let start = Instant::now();
        let end = start + load.lasts.unwrap_or(load.limit);
        let mut clients = Vec::new();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..load.clients {
            let ranges = load.ranges.len().max(1);
            let mut order: Vec<(u32, u32)> =
                (0..load.targets.len() * ranges).map(|at| ((at / ranges) as u32, (at % ranges) as u32)).collect();
            load.order.of(&mut order, load.seed, number);
            let from = load.own_addresses.then(|| {
                let last = number % 250 + 1;
                SocketAddr::from(([127, 0, 1 + (number / 250) as u8, last as u8], 0))
            });
            let client = Rc::new(RefCell::new(Client {
                host: load.to.to_string(),
                from,
                order,
                next: 0,
                first: None,
                done: None,
            }));
            for _ in 0..load.connections {
                let (load, outcome, client, bin) =
                    (Rc::clone(&load), Rc::clone(&outcome), Rc::clone(&client), Rc::clone(&bin));
                tasks.spawn_local(async move {
                    let work = load.connection(&outcome, &client, &bin, end);
                    let problem = match tokio::time::timeout_at(end.into(), work).await {
                        Ok(Ok(())) => None,
                        Ok(Err(error)) => Some(error.to_string()),
                        Err(_) if load.lasts.is_some() => None,
                        Err(_) => Some(format!("not done after {:?}", load.limit)),
                    };
                    if let Some(problem) = problem {
                        let mut outcome = outcome.borrow_mut();
                        outcome.errors += 1;
                        outcome.first_error.get_or_insert(problem);
                    }
                });
            }
            clients.push(client);
        }
        while tasks.join_next().await.is_some() {}
        let mut outcome = outcome.take();
        outcome.seconds = start.elapsed().as_secs_f64();
        for client in clients {
            let client = client.borrow();
            outcome.client_first_byte.extend(client.first.map(|at| (at - start).as_secs_f64() * 1e3));
            outcome.client_done.extend(client.done.map(|at| (at - start).as_secs_f64()));
        }
        Ok(outcome)
    }

    /// One connection: asks what its client wants next, until nothing is left or the time is up.
    async fn connection(
        &self,
        outcome: &RefCell<Outcome>,
        client: &RefCell<Client>,
        bin: &Bin,
        end: Instant,
    ) -> io::Result<()> {
        let (host, from) = (client.borrow().host.clone(), client.borrow().from);
        let mut wire: Option<Wire> = None;
        while Instant::now() < end {
            let Some((target, range)) = client.borrow_mut().take(self.lasts.is_some()) else { break };
            let target = &self.targets[target as usize];
            let range = self.ranges.get(range as usize).copied();
            let asked = Instant::now();
            let mut meter = Meter { outcome, asked, last: asked, first: None };
            let mut fresh = false;
            let head = loop {
                let open = if let Some(open) = &mut wire {
                    open
                } else {
                    fresh = true;
                    wire.insert(Wire::open(self.to, from, self.tls.as_ref(), self.rate).await?)
                };
                let result = match open.ask(&host, target, range).await {
                    Ok(()) => open.answer(range, self.body, bin, &mut meter).await,
                    Err(error) => Err(error),
                };
                match result {
                    Ok(head) => break head,
                    // A server may close an idle connection at any time; the question goes over another one.
                    Err(error) if !fresh && meter.first.is_none() && is_closed(&error) => {
                        wire = None;
                        outcome.borrow_mut().reconnects += 1;
                    }
                    Err(error) => return Err(error),
                }
            };
            if !(200..300).contains(&head.status) {
                return Err(io::Error::other(format!("status {} for {target} {range:?}", head.status)));
            }
            if head.close {
                wire = None;
            }
            let now = Instant::now();
            let first = meter.first.unwrap_or(now);
            {
                let mut outcome = outcome.borrow_mut();
                outcome.requests += 1;
                outcome.first_byte.push((first - meter.asked).as_secs_f64() * 1e3);
                outcome.last_byte.push((now - meter.asked).as_secs_f64() * 1e3);
                let mut client = client.borrow_mut();
                client.first.get_or_insert(first);
                client.done = Some(now);
            }
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
        Ok(())
    }
}

impl Client {
    /// What is asked for next.
    fn take(&mut self, again: bool) -> Option<(u32, u32)> {
        if again && self.next >= self.order.len() {
            self.next = 0;
        }
        self.next += 1;
        self.order.get(self.next - 1).copied()
    }
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

/// Pieces of `len` that cover `size`, the last one cut off.
pub(crate) fn pieces(size: u64, len: u64) -> Vec<Range> {
    (0..size.div_ceil(len)).map(|at| (at * len, len.min(size - at * len))).collect()
}

/// A client's TLS 1.3 that takes any certificate: who the server is does not matter here, what TLS costs does.
pub(crate) fn tls() -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_share_an_order_or_have_their_own() {
        let asked = |order: Order, client| {
            let mut items: Vec<u32> = (0..100).collect();
            order.of(&mut items, 7, client);
            items
        };
        assert!(asked(Order::Given, 1).is_sorted());
        assert_ne!(asked(Order::Own, 1), asked(Order::Own, 2));
        assert_eq!(asked(Order::Shared, 1), asked(Order::Shared, 2));
        assert!(!asked(Order::Shared, 1).is_sorted());
    }
}
