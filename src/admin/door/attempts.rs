//! How often a password or a code may be tried: by address, and by account. In memory alone: whoever can restart the node need not guess.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::time::Timestamp;

/// The time over which attempts are counted; afterwards the count begins anew.
const WINDOW: Duration = Duration::from_mins(10);
/// Attempts of one address that fail: an office behind one address mistypes more often than one person.
const OF_ADDRESS: u32 = 30;
/// Attempts for one account that fail, from wherever: 60 an hour guess no password of twelve characters.
const OF_ACCOUNT: u32 = 10;
/// Addresses and accounts that are remembered at once, some 100 bytes each: whoever has many addresses must not fill the memory.
const KEYS_MAX: usize = 20_000;

/// Whom an attempt is counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// IPv4 address, or /64 of IPv6: what one subscriber has.
    Address([u8; 8]),
    /// The BLAKE3 of the name as it was given, known or not: an unknown name answers as a known one does.
    Account([u8; 32]),
}

/// The attempts of the last minutes.
#[derive(Debug, Default)]
pub struct Attempts {
    counts: HashMap<Key, (Timestamp, u32)>,
}

/// An attempt that was counted.
#[derive(Debug)]
pub struct Held(Vec<Key>);

fn address(from: IpAddr) -> Key {
    let mut key = [0; 8];
    match from {
        IpAddr::V4(v4) => key[..4].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => key[..4].copy_from_slice(&v4.octets()),
            None => key.copy_from_slice(&v6.octets()[..8]),
        },
    }
    Key::Address(key)
}

fn account(name: &str) -> Key {
    Key::Account(*blake3::hash(name.as_bytes()).as_bytes())
}

impl Attempts {
    /// Counts an attempt, or says how long to wait.
    pub fn begin(&mut self, from: IpAddr, name: Option<&str>, now: Timestamp) -> Result<Held, Duration> {
        let mut keys = vec![(address(from), OF_ADDRESS)];
        keys.extend(name.map(|name| (account(name), OF_ACCOUNT)));
        for (key, limit) in &keys {
            if let Some((since, count)) = self.counts.get(key)
                && count >= limit
                && now.since(*since) < WINDOW
            {
                return Err(WINDOW.saturating_sub(now.since(*since)));
            }
        }
        if self.counts.len() + keys.len() > KEYS_MAX {
            self.counts.retain(|_, (since, _)| now.since(*since) < WINDOW);
            if self.counts.len() + keys.len() > KEYS_MAX {
                return Err(WINDOW);
            }
        }
        for (key, _) in &keys {
            let count = self.counts.entry(key.clone()).or_insert((now, 0));
            if now.since(count.0) >= WINDOW {
                *count = (now, 0);
            }
            count.1 += 1;
        }
        Ok(Held(keys.into_iter().map(|(key, _)| key).collect()))
    }

    /// Takes one back that went well.
    pub fn forgive(&mut self, held: &Held) {
        for key in &held.0 {
            if let Some((_, count)) = self.counts.get_mut(key) {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// Forgets what was tried with an account.
    pub fn pardon(&mut self, name: &str) {
        self.counts.remove(&account(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_and_an_address_are_bounded_and_recover() {
        let mut attempts = Attempts::default();
        let at = |minutes: u64| Timestamp::from_ms(minutes * 60_000);
        let from = |last: u8| IpAddr::from([10, 0, 0, last]);
        for number in 0..OF_ACCOUNT {
            attempts.begin(from(number as u8), Some("anna"), at(1)).unwrap();
        }
        let wait = attempts.begin(from(99), Some("anna"), at(2)).unwrap_err();
        assert_eq!(wait, Duration::from_mins(9));
        attempts.begin(from(99), Some("olga"), at(2)).unwrap();
        attempts.pardon("anna");
        attempts.begin(from(99), Some("anna"), at(2)).unwrap();
        for number in 0..OF_ADDRESS {
            attempts.begin(from(200), Some(&format!("name{number}")), at(3)).unwrap();
        }
        assert!(attempts.begin(from(200), Some("another"), at(3)).is_err());
        assert!(attempts.begin(from(200), None, at(3)).is_err(), "codes are counted with passwords");
        attempts.begin(from(200), Some("another"), at(14)).unwrap();
    }

    #[test]
    fn who_succeeds_is_not_counted_and_a_network_is_one_address() {
        let mut attempts = Attempts::default();
        let now = Timestamp::from_ms(1);
        for number in 0..100_u16 {
            let from = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, number]);
            let held = attempts.begin(from, Some("anna"), now).unwrap();
            attempts.forgive(&held);
        }
        for number in 0..OF_ADDRESS as u16 {
            attempts.begin(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, number]), None, now).unwrap();
        }
        assert!(attempts.begin("2001:db8::ffff:1".parse().unwrap(), None, now).is_err());
        attempts.begin("2001:db8:0:1::1".parse().unwrap(), None, now).unwrap();
    }
}
