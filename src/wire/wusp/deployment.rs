//! What a machine is to do with a revision (MS-WUSP 2.2.2.2.4, `Deployment`).
//!
//! The schema lets it be left out; an agent that does not get one with every update fails the whole scan.

use std::io::{self, Write};

use crate::base::time::Timestamp;
use crate::wire::soap::Writer;
use crate::wire::wsusss::field::Field;
use crate::wire::wsusss::values::Time;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Install it.
    Install,
    /// Offer it, do not install it by itself (Windows 10 1903 and later).
    OptionalInstall,
    /// Remove it.
    Uninstall,
    /// Only tell whether it is needed.
    PreDeploymentCheck,
    /// Nothing; servers do not send it, but [`Self::PreDeploymentCheck`] instead.
    Block,
    /// Evaluate it for others that need it: categories, detectoids, prerequisites.
    Evaluate,
    /// Part of a bundle.
    Bundle,
}

impl Action {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Install => "Install",
            Self::OptionalInstall => "OptionalInstall",
            Self::Uninstall => "Uninstall",
            Self::PreDeploymentCheck => "PreDeploymentCheck",
            Self::Block => "Block",
            Self::Evaluate => "Evaluate",
            Self::Bundle => "Bundle",
        }
    }
}

/// What a machine is to do with a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Its number, of a number space of its own.
    pub id: i32,
    /// What is to be done.
    pub action: Action,
    /// Until when.
    pub deadline: Option<Timestamp>,
    /// Install it without asking anybody at the machine.
    pub is_assigned: bool,
    /// When it was made. Only the day goes out (in UTC), as real servers have it.
    pub changed: Timestamp,
    /// How urgent its download is.
    pub priority: Option<u8>,
    /// Of a driver: the hardware ids for which it is the best.
    pub hardware_ids: Vec<String>,
    /// Three elements that are zero. Only an agent that speaks 1.8 or later may get them, and real servers send them then.
    pub with_zeros: bool,
}

impl Deployment {
    pub(super) fn write<W: Write>(&self, out: &mut Writer<W>) -> io::Result<()> {
        out.open("Deployment")?;
        self.id.write(out, "ID")?;
        out.leaf("Action", self.action.as_str())?;
        if let Some(deadline) = self.deadline {
            Time::new(deadline).write(out, "Deadline")?;
        }
        self.is_assigned.write(out, "IsAssigned")?;
        out.leaf("LastChangeTime", &day(self.changed))?;
        if let Some(priority) = self.priority {
            priority.write(out, "DownloadPriority")?;
        }
        if !self.hardware_ids.is_empty() {
            self.hardware_ids.write(out, "HardwareIds")?;
        }
        if self.with_zeros {
            for name in ["AutoSelect", "AutoDownload", "SupersedenceBehavior"] {
                out.leaf(name, "0")?;
            }
        }
        out.close("Deployment")
    }
}

/// `2026-10-04`.
fn day(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('T') {
        Some((day, _)) => day.to_owned(),
        // Beyond the calendar.
        None => "9999-12-31".to_owned(),
    }
}
