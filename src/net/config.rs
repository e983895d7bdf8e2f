//! What a server allows its clients: numbers, sizes and times, each with the threat that it stops.

use std::time::Duration;

use ipnet::IpNet;

use crate::pace::Governor;

/// The limits of one server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Open connections in all. Bounds descriptors and memory; 500 Windows machines with 7 connections each fit.
    pub connections_max: usize,
    /// Open connections of one client (one IPv4 address, one IPv6 /64), so that none can take all of them.
    pub connections_per_client_max: usize,
    /// Networks whose addresses stand for many clients (gateways, proxies), or that are trusted: not counted per client.
    pub exempt: Vec<IpNet>,
    /// How long a connection may stay open without a request. Windows clients close after 27 to 31 s themselves.
    pub idle_max: Duration,
    /// How long a request's head may take from its first byte on: stops clients that send a byte now and then.
    pub header_read_max: Duration,
    /// How long a TLS handshake may take.
    pub handshake_max: Duration,
    /// How long a client may take fewer than [`Config::stall_bytes_min`] bytes while we have something for it. Stops
    /// clients that pin a window and a connection without reading.
    pub stall_max: Duration,
    /// What a client must take within [`Config::stall_max`]; far below the 4 kB/s at which Windows clients give up.
    pub stall_bytes_min: u64,
    /// Header fields of a request; beyond that the answer is 431.
    pub headers_max: usize,
    /// Bytes of a request's head in all, the target included, counted as in RFC 9113 (6.5.2) where it comes over HTTP/2;
    /// beyond that the answer is 431.
    pub header_bytes_max: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// How much of what was not sent yet the kernel takes for a TCP connection: bounds what a slow reader costs and
    /// makes its progress visible early.
    pub unsent_bytes_max: u32,
    /// The same while a client reads fast ([`crate::net::guard`] tells when): a whole piece then goes out in one call. It may
    /// then seem to stand still for three times [`Config::stall_max`], so that one that becomes slow is not cut.
    pub unsent_bytes_max_fast: u32,
    /// How fast answers may go out; one that limits nothing unless told otherwise.
    pub pace: Governor,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            connections_per_client_max: 256,
            exempt: vec![
                IpNet::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0).into(), 8),
                IpNet::new_assert(std::net::Ipv6Addr::LOCALHOST.into(), 128),
            ],
            idle_max: Duration::from_secs(75),
            header_read_max: Duration::from_secs(30),
            handshake_max: Duration::from_secs(20),
            stall_max: Duration::from_mins(1),
            stall_bytes_min: 16 << 10,
            headers_max: 100,
            header_bytes_max: 64 << 10,
            streams_max: 128,
            unsent_bytes_max: 128 << 10,
            unsent_bytes_max_fast: 1 << 20,
            pace: Governor::default(),
        }
    }
}

impl Config {
    /// How often a connection's clocks are looked at: a quarter of the shortest, so that none is overrun by more than
    /// that, but at most every 10 ms and at least every 5 s.
    pub(crate) fn tick(&self) -> Duration {
        let shortest = self.idle_max.min(self.header_read_max).min(self.stall_max);
        (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(5))
    }
}
