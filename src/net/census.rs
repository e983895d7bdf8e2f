//! How many connections are open, in all and per client.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

use crate::net::config::Config;
use crate::net::counters::Reason;

/// The count. Clones share it.
#[derive(Clone, Debug)]
pub struct Census {
    total_max: usize,
    client_max: usize,
    exempt: Arc<[IpNet]>,
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
    /// Nobody is here yet.
    pub fn new(config: &Config) -> Self {
        Self {
            total_max: config.connections_max,
            client_max: config.connections_per_client_max,
            exempt: config.exempt.clone().into(),
            counts: Arc::default(),
        }
    }

    /// Counts a connection from `remote` in. Gives the reason where there is no place.
    pub fn admit(&self, remote: IpAddr) -> Result<Seat, Reason> {
        let client = Some(remote.to_canonical()).filter(|ip| !self.is_exempt(*ip)).map(one_client);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= self.total_max {
            return Err(Reason::Total);
        }
        if let Some(client) = client {
            let count = counts.clients.entry(client).or_insert(0);
            if *count >= self.client_max {
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

    fn is_exempt(&self, ip: IpAddr) -> bool {
        self.exempt.iter().any(|net| net.contains(&ip))
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
fn one_client(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(total: usize, client: usize, exempt: &[&str]) -> Census {
        Census::new(&Config {
            connections_max: total,
            connections_per_client_max: client,
            exempt: exempt.iter().map(|net| net.parse().unwrap()).collect(),
            ..Config::default()
        })
    }

    fn admit(census: &Census, ip: &str) -> Result<Seat, Reason> {
        census.admit(ip.parse().unwrap())
    }

    #[test]
    fn counts_clients_and_gives_places_back() {
        let census = census(4, 2, &[]);
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
        let census = census(100, 1, &["198.51.100.0/24"]);
        let seat = admit(&census, "2001:db8::1").unwrap();
        assert_eq!(admit(&census, "2001:db8::2").unwrap_err(), Reason::Client);
        let _next = admit(&census, "2001:db8:0:1::2").unwrap();
        let gateway: Vec<_> = (0..10).map(|_| admit(&census, "198.51.100.7").unwrap()).collect();
        drop((seat, gateway));
        assert_eq!(census.open(), 1);
        assert_eq!(census.counts.lock().unwrap().clients.len(), 1, "a client that left is forgotten");
    }
}
