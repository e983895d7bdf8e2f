//! A machine: what follows from its seed. It answers the rules that it can, and has a truth of its own for all others.

use crate::guid::Guid;

/// What a scan has to know of the computer that it runs on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What everything else follows from.
    pub seed: u64,
    /// The client id that it sends (`SusClientId`).
    pub id: Guid,
    /// Its name.
    pub name: String,
    /// Major, minor and build number of its Windows.
    pub windows: [u32; 3],
    /// 1 a workstation, 3 a server.
    pub product_type: u32,
    /// Maker and model.
    pub model: (&'static str, &'static str),
    /// Whether its reports have lists of what failed and of what waits for a restart, which the table of MS-WUSP 2.2.2.3.2 knows. The agents
    /// that were recorded send neither, and tell of both by events alone.
    pub lists_all: bool,
}

const BUILDS: [(u32, u32); 5] = [(19_045, 1), (22_631, 1), (26_100, 1), (26_200, 1), (20_348, 3)];

const MODELS: [(&str, &str); 4] = [
    ("QEMU", "Standard PC (Q35 + ICH9, 2009)"),
    ("Simulated Works", "Desk 12"),
    ("Simulated Works", "Book 7 <G&T>"),
    ("Example Servers", "Rack 2"),
];

/// A well-mixed number out of several.
pub(crate) fn mixed(parts: &[u64]) -> u64 {
    // The constants of MurmurHash3's 64-bit finaliser.
    parts.iter().fold(0x243f_6a88_85a3_08d3, |all, part| {
        let mut z = (all ^ part).wrapping_mul(0xff51_afd7_ed55_8ccd);
        z = (z ^ (z >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        z ^ (z >> 29)
    })
}

/// What is asked of a machine where a rule cannot be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Whether a category or detectoid is there.
    Present,
    /// Whether an update is installed.
    Installed,
    /// Whether an update can be installed.
    Installable,
    /// Whether the machine wants a restart after it.
    Restart,
    /// Whether installing it fails.
    Fails,
}

impl Machine {
    /// The machine of this seed.
    pub fn new(seed: u64) -> Self {
        let pick = |salt: u64, of: usize| (mixed(&[seed, salt]) % of as u64) as usize;
        let (build, product_type) = BUILDS[pick(1, BUILDS.len())];
        Self {
            seed,
            id: Guid::made(mixed(&[seed, 2]), mixed(&[seed, 3])),
            name: format!("pc-{:08x}.sim.example.com", mixed(&[seed, 4]) as u32),
            windows: [10, 0, build],
            product_type,
            model: MODELS[pick(5, MODELS.len())],
            lists_all: pick(6, 2) == 0,
        }
    }

    /// The same machine with a name that begins otherwise: `kiosk-` for `kiosk-0a1b2c3d.sim.example.com`.
    #[must_use]
    pub fn named(self, beginning: &str) -> Self {
        let end = self.name.split_once('-').map_or(self.name.as_str(), |(_, end)| end);
        Self { name: format!("{beginning}{end}"), ..self }
    }

    /// The answer of this machine to a question about `update` that no rule decides. The same for ever.
    pub(crate) fn truth(&self, question: Question, update: Guid) -> bool {
        let [high, low] = update.halves();
        // Chains of detectoids are long: few may be missing, or hardly anything would be left to install.
        let (salt, share) = match question {
            Question::Present => (11, 920),
            Question::Installed => (12, 400),
            Question::Installable => (13, 850),
            Question::Restart => (14, 150),
            Question::Fails => (15, 30),
        };
        mixed(&[self.seed, salt, high, low]) % 1000 < share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_differ_and_stay_what_they_are() {
        assert_ne!(Machine::new(1).id, Machine::new(2).id);
        assert_eq!(Machine::new(1).id, Machine::new(1).id);
        let named = Machine::new(1).named("kiosk-");
        assert_eq!((named.id, named.name), (Machine::new(1).id, Machine::new(1).name.replacen("pc-", "kiosk-", 1)));
        let (machine, id) = (Machine::new(7), |at| Guid::made(mixed(&[at]), at));
        let share = (0..10_000).filter(|at| machine.truth(Question::Installed, id(*at))).count();
        assert!((3_700..4_300).contains(&share), "{share}");
        let other = Machine::new(8);
        let same = |at: &u64| machine.truth(Question::Installed, id(*at)) == other.truth(Question::Installed, id(*at));
        assert!((4_500..6_000).contains(&(0..10_000).filter(same).count()));
    }
}
