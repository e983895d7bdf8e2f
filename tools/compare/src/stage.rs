//! What every scenario is given: the program, a folder, the cores, how long and how often, and the table to fill.

use std::path::PathBuf;

use crate::machine::Cores;
use crate::table::Table;

pub(crate) struct Stage {
    pub(crate) program: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) cores: Cores,
    /// Turns of each contestant.
    pub(crate) rounds: usize,
    /// How long a turn lasts.
    pub(crate) seconds: u64,
    /// Everything small: does it work, not how fast is it.
    pub(crate) quick: bool,
    pub(crate) seed: u64,
    /// How many files may be open.
    pub(crate) files: u64,
    /// Of the scenario that runs: what is asked for, sizes and numbers. Said above its table.
    pub(crate) data: String,
    pub(crate) table: Table,
}

impl Stage {
    /// Shows the rows from `from` on, so that a long run can be watched.
    pub(crate) fn show(&self, from: usize) {
        for line in self.table.markdown(from..self.table.rows.len()).lines().skip(2) {
            println!("{line}");
        }
    }
}
