//! How many connections are open, in all and per client.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::net::config::Config;
use crate::net::counters::Reason;

/// The count. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Census {
    // A plain lock: taken once when a connection opens and once when it closes, for one look into a map.
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    /// Never holds a zero, so its size is bounded by `total`.
    clients: HashMap<IpAddr, usize>,
}

/// One counted connection; gives its place back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    census: Census,
    client: Option<IpAddr>,
}

impl Census {
    /// Counts a connection from `remote` in, if the limits of `config` leave a place. Gives the reason where there is none.
    pub fn admit(&self, config: &Config, remote: IpAddr) -> Result<Seat, Reason> {
        let exempt = |ip: &IpAddr| config.exempt.iter().any(|net| net.contains(ip));
        let client = Some(remote.to_canonical()).filter(|ip| !exempt(ip)).map(one_client);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= config.connections_max {
            return Err(Reason::Total);
        }
        if let Some(client) = client {
            let count = counts.clients.entry(client).or_insert(0);
            if *count >= config.connections_per_client_max {
                if *count == 0 {
                    counts.clients.remove(&client);
                }
                return Err(Reason::Client);
            }
            *count += 1;
        }
        counts.total += 1;
        Ok(Seat { census: self.clone(), client })
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.census.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total = counts.total.saturating_sub(1);
        if let Some(client) = self.client
            && let Some(count) = counts.clients.get_mut(&client)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.clients.remove(&client);
            }
        }
    }
}

/// What counts as one client: an IPv4 address, or an IPv6 /64, since a single machine has all of that at its hands.
pub fn one_client(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(total: usize, client: usize, exempt: &[&str]) -> Config {
        Config {
            connections_max: total,
            connections_per_client_max: client,
            exempt: exempt.iter().map(|net| net.parse().unwrap()).collect(),
            ..Config::default()
        }
    }

    #[test]
    fn counts_clients_and_gives_places_back() {
        let (census, config) = (Census::default(), limits(4, 2, &[]));
        let admit = |census: &Census, ip: &str| census.admit(&config, ip.parse().unwrap());
        let first = admit(&census, "192.0.2.1").unwrap();
        let _second = admit(&census, "::ffff:192.0.2.1").unwrap();
        assert_eq!(admit(&census, "192.0.2.1").unwrap_err(), Reason::Client);
        drop(first);
        let _third = admit(&census, "192.0.2.1").unwrap();
        let _other = admit(&census, "192.0.2.2").unwrap();
        let _last = admit(&census, "192.0.2.3").unwrap();
        assert_eq!(admit(&census, "192.0.2.4").unwrap_err(), Reason::Total);
        assert_eq!(census.open(), 4);
    }

    #[test]
    fn takes_a_64_for_one_client_and_exempts_networks() {
        let (census, config) = (Census::default(), limits(100, 1, &["198.51.100.0/24"]));
        let admit = |census: &Census, ip: &str| census.admit(&config, ip.parse().unwrap());
        let seat = admit(&census, "2001:db8::1").unwrap();
        assert_eq!(admit(&census, "2001:db8::2").unwrap_err(), Reason::Client);
        let _next = admit(&census, "2001:db8:0:1::2").unwrap();
        let gateway: Vec<_> = (0..10).map(|_| admit(&census, "198.51.100.7").unwrap()).collect();
        drop((seat, gateway));
        assert_eq!(census.open(), 1);
        assert_eq!(census.counts.lock().unwrap().clients.len(), 1, "a client that left is forgotten");
    }

    #[test]
    fn seats_that_were_given_under_other_limits_are_given_back_as_they_were() {
        let census = Census::default();
        let (wide, narrow) = (limits(9, 9, &[]), limits(9, 1, &[]));
        let exempt = limits(9, 1, &["192.0.2.0/24"]);
        let ip = "192.0.2.1".parse().unwrap();
        let seats: Vec<_> = (0..3).map(|_| census.admit(&wide, ip).unwrap()).collect();
        assert_eq!(census.admit(&narrow, ip).unwrap_err(), Reason::Client);
        let uncounted = census.admit(&exempt, ip).unwrap();
        drop(seats);
        let seat = census.admit(&narrow, ip).unwrap();
        drop(uncounted);
        assert_eq!(census.admit(&narrow, ip).unwrap_err(), Reason::Client, "an exempt seat was never the client's");
        drop(seat);
        assert_eq!(census.open(), 0);
    }
}
