//! Units and limits that more than one room relies on, each with the threat that it stops. A limit that only one room
//! knows stands in that room.

/// What Windows asks for at a time: Delivery Optimization's pieces are 1 MiB, at multiples of 1 MiB.
pub const PIECE: u64 = 1 << 20;

/// What one leaf of a proof covers.
pub const GROUP: u64 = 64 << 10;

/// How much of a mapping is checked for residency and handed to a socket at once: bounds what a slow reader pins and
/// what a cold window can cost.
pub const WINDOW: u64 = 1 << 20;

/// The largest object that is taken: an origin that claims more is passed through. Bounds the piece map of a draft
/// (256 Ki pieces, 32 KiB) and the leaves of a proof (4 Mi, 128 MiB).
pub const OBJECT_BYTES_MAX: u64 = 256 << 30;

/// The longest request target (path and query) that is taken: bounds keys in the index and lines in the log.
pub const TARGET_BYTES_MAX: usize = 8 << 10;

// A piece is a whole number of groups, so that a piece map never splits a leaf.
const _: () = assert!(PIECE.is_multiple_of(GROUP));
