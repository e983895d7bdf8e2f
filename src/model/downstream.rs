//! WSUS servers below this node, as they told of themselves (MS-WSUSSS 3.1.4.14). Nothing proves it: the protocol has no secret in it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::model::update::UpdateId;

/// Servers that are kept: five times what the protocol's own limits expect below one server.
pub const SERVERS_MAX: usize = 500;

/// Characters of a name: as many as a DNS name has.
pub const NAME_CHARS_MAX: usize = 255;

/// Characters of a version (3.1.4.14.3.2).
pub const VERSION_CHARS_MAX: usize = 32;

/// Systems of a server's computers that are kept, those with the most computers: a site has a dozen builds.
pub const SYSTEMS_MAX: usize = 64;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The id that it made for itself.
    pub id: UpdateId,
    /// Its full name.
    pub name: String,
    /// The server between it and this node; `None` where there is none.
    pub parent: Option<UpdateId>,
    /// Of its program.
    pub version: String,
    /// Whether it takes over approvals.
    pub is_replica: bool,
    /// When it last synchronised, by this node's clock; `None` where it never did.
    pub last_sync: Option<Timestamp>,
    /// When it told this, by this node's clock.
    pub told: Timestamp,
    /// What it calls that time: parts of one telling have the same.
    pub telling: String,
    /// From which address it came, through the servers between.
    pub from: IpAddr,
    /// How it stands, where it said so.
    pub standing: Option<Standing>,
    /// Its computers by system: `10.0.19045 AMD64`, and how many.
    pub systems: Vec<(String, u32)>,
}

/// How a server stands, in its own counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Updates that it has.
    pub updates: u32,
    /// Of these, approved ones.
    pub approved: u32,
    /// Of these, declined ones.
    pub declined: u32,
    /// Updates whose files are still to be fetched, or could not be.
    pub lacking_files: u32,
    /// Computers.
    pub computers: u32,
    /// Of these, those that lack an update.
    pub lacking: u32,
    /// Of these, those on which an update failed.
    pub failed: u32,
    /// Of these, those that lack none.
    pub up_to_date: u32,
}

impl Server {
    /// Takes in another part of what was told at the same time: servers with many systems come in several.
    pub fn add(&mut self, part: Self) {
        let former = if part.telling == self.telling { std::mem::take(&mut self.systems) } else { Vec::new() };
        *self = part;
        for (system, count) in former {
            match self.systems.iter_mut().find(|(known, _)| *known == system) {
                Some((_, sum)) => *sum = sum.saturating_add(count),
                None => self.systems.push((system, count)),
            }
        }
        self.trim();
    }

    /// Keeps the systems with the most computers, in that order.
    pub fn trim(&mut self) {
        self.systems.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        self.systems.truncate(SYSTEMS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(telling: &str, systems: &[(&str, u32)]) -> Server {
        Server {
            id: UpdateId::new([1; 16]),
            name: "wsus.example".into(),
            parent: None,
            version: String::new(),
            is_replica: false,
            last_sync: None,
            told: Timestamp::from_ms(1),
            telling: telling.into(),
            from: IpAddr::from([10, 0, 0, 1]),
            standing: None,
            systems: systems.iter().map(|(system, count)| ((*system).to_owned(), *count)).collect(),
        }
    }

    #[test]
    fn parts_of_one_telling_are_put_together_and_a_new_one_takes_their_place() {
        let mut known = server("one", &[("10.0.19045 AMD64", 3)]);
        known.add(server("one", &[("10.0.26100 AMD64", 9), ("10.0.19045 AMD64", 1)]));
        assert_eq!(known.systems, [("10.0.26100 AMD64".to_owned(), 9), ("10.0.19045 AMD64".to_owned(), 4)]);
        known.add(server("two", &[("10.0.26100 AMD64", 2)]));
        assert_eq!(known.systems, [("10.0.26100 AMD64".to_owned(), 2)]);
        let many: Vec<(String, u32)> = (0..100).map(|build| (format!("10.0.{build} AMD64"), build)).collect();
        known.add(Server { systems: many, ..server("three", &[]) });
        assert_eq!((known.systems.len(), known.systems[0].1), (SYSTEMS_MAX, 99));
    }
}
