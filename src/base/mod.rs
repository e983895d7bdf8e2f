//! Floor 0: the words of the language. Digests, byte spans, time, time zones, the disk seam, limits, memory, secrets,
//! sizes in words.
//!
//! Nothing here knows about patches, HTTP or the store, and nothing here imports another room.

pub mod digest;
pub mod disk;
pub mod hex;
pub mod limits;
pub mod memory;
pub mod secret;
pub mod size;
pub mod span;
pub mod time;
pub mod zone;
