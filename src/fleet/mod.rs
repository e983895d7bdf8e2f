//! Floor 3: the endpoints. What each one needs of the catalog, by what was approved for it, and how its updates stand.
//!
//! What it promises:
//! - No revision is sent that the endpoint holds, and at most one revision of an update.
//! - What is sent comes in an order in which the endpoint can evaluate it: nothing before what it names as a prerequisite is there.
//! - Whatever a client asks, a question costs time in what is delivered to its groups and in what it lists, and both have a limit.
//! - A first scan takes few rounds however much is delivered: the pages grow with what they have to bring.
//!
//! How a scan goes through it, each step in the file named:
//! 1. The prerequisites, bundles and supersedence of the whole catalog lie in memory (`graph`); they are read once and followed by
//!    the catalog's change log (`load`).
//! 2. Which groups an endpoint is in is made out of who put it there, its own word, and rules (`belong`); what was said for them, for it
//!    and for all lies in memory (`spoken`).
//! 3. What was approved for a set of groups, and what is detected undecided, is made out once for each state of catalog and
//!    approvals (`order`), with all that it needs (`view`), and kept (`views`).
//! 4. A request is answered from that alone (`scan`): what is new, what left the scope, what changed, and whether there is more.
//! 5. An endpoint that comes from another server maps what it holds (`refresh`); one that asks for categories is told which of them
//!    count (`category`).
//!
//! What endpoints report becomes the states of their updates, which are held against a policy (`compliance`).
//!
//! Before that stands who an endpoint is (`registry`): an id is bound to the machine that came with it first. People look at endpoints
//! through `roster`.

pub mod belong;
mod bits;
pub mod category;
pub mod compliance;
pub mod error;
pub mod graph;
pub mod load;
pub mod often;
pub mod order;
pub mod refresh;
pub mod registry;
pub mod roster;
pub mod scan;
pub mod spoken;
pub mod view;
pub mod views;
