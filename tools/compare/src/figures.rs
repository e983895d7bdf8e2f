//! Figures of turns with several contestants, gathered measure by measure until a scenario is over.

use crate::stage::Stage;
use crate::table::Wanted;

/// One measure of a scenario.
struct Measure {
    what: &'static str,
    unit: &'static str,
    wanted: Option<Wanted>,
    /// By contestant, then turn.
    values: Vec<Vec<f64>>,
}

/// The figures of each turn, for each contestant, the node first.
pub(crate) struct Figures {
    names: Vec<&'static str>,
    of: Vec<Measure>,
}

impl Figures {
    pub(crate) fn new(names: Vec<&'static str>) -> Self {
        Self { names, of: Vec::new() }
    }

    pub(crate) fn add(
        &mut self,
        who: usize,
        what: &'static str,
        unit: &'static str,
        value: f64,
        wanted: Option<Wanted>,
    ) {
        let at = self.of.iter().position(|known| known.what == what).unwrap_or_else(|| {
            self.of.push(Measure { what, unit, wanted, values: vec![Vec::new(); self.names.len()] });
            self.of.len() - 1
        });
        self.of[at].values[who].push(value);
    }

    /// A row for each measure and peer.
    pub(crate) fn show(self, stage: &mut Stage, scenario: &str) {
        let from = stage.table.rows.len();
        for Measure { what, unit, wanted, values } in self.of {
            let mut values = self.names.iter().copied().zip(values);
            let node = values.next().map(|(_, values)| values).unwrap_or_default();
            stage.table.push(scenario, what, unit, node, values.filter(|(_, values)| !values.is_empty()), wanted);
        }
        stage.show(from);
    }
}
