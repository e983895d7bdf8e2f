//! Windows Update Agents for tests and tours: machines that speak MS-WUSP from templates of their own, made from the specification's
//! WSDL and from recorded requests, and share no code with the node.
//!
//! A machine follows from a seed. It evaluates prerequisites and rules itself; what a rule asks for that a simulated machine cannot look
//! up is answered by a truth that follows from its seed and the update's id, so that it can be computed without any node.
//!
//! 1. [`Agent::scan`], [`Agent::install`] and [`Agent::report`] are what one machine does.
//! 2. [`run`] lets thousands do it at a time; [`totals`] sums up.
//! 3. [`Expected`] says, from the upstream simulator's own documents, what a machine should need; a [`Crowd`] is held against it.

mod agent;
mod core;
mod crowd;
mod download;
mod expected;
mod fault;
mod fleet;
mod guid;
mod machine;
mod rules;
mod state;
mod templates;
mod trust;
mod wire;
mod xml;
mod xpress;

pub use crate::agent::{Agent, Common, Installation, Scan, Tells};
pub use crate::crowd::{Crowd, differs};
pub use crate::expected::Expected;
pub use crate::fault::Failure;
pub use crate::fleet::{Outcome, Plan, run, totals};
pub use crate::guid::Guid;
pub use crate::machine::Machine;
pub use crate::state::Verdict;
pub use crate::trust::Trust;
pub use crate::wire::Server;
