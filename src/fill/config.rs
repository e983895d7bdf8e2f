//! What this room is told, and the limits that only it knows.

use std::time::Duration;

use crate::model::payload::Location;

/// How much of an object is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Complete {
    /// What is asked for, bounded read-ahead, and the rest once half of the pieces were asked for or little is missing.
    #[default]
    Demand,
    /// All of it, as soon as one byte is asked for.
    Always,
    /// What is asked for and nothing else (a prefetch still fetches the whole).
    Never,
}

/// When bytes may leave that no digest has proven yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// As they come in, except the end of what completes the object.
    #[default]
    Stream,
    /// Nothing leaves before the proof. Clients wait, and may give up on a long object.
    Strict,
}

/// The `[fill]` section, and where digest forms are asked for.
#[derive(Clone, Debug)]
pub struct Config {
    /// See [`Complete`].
    pub complete: Complete,
    /// See [`Verify`].
    pub verify: Verify,
    /// Largest extent asked of an origin at once, bytes.
    pub extent: u64,
    /// Most connections to one host that carry extents, all flights together.
    pub connections_per_host: usize,
    /// Where digest forms are asked for: base URL of a WSUS (`/Content/..`) or of a parent.
    pub upstream: Option<Location>,
    /// It is a WSUS: it knows payloads by their SHA-1 alone. Another node knows them by any digest.
    pub upstream_is_wsus: bool,
    /// Silence before a waiting client is answered 503: below the 20 s after which Windows counts a timeout.
    pub silence: Duration,
    /// How long the upstream room tries to connect: with less time, silence shows nothing of a host.
    pub connect_timeout: Duration,
}

impl Config {
    /// Where digests are asked for, and which ones.
    pub(super) fn above(&self) -> Option<Above<'_>> {
        self.upstream.as_ref().map(|base| Above { base, wsus: self.upstream_is_wsus })
    }
}

/// The upstream that is named in the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Above<'a> {
    /// Its base URL.
    pub(super) base: &'a Location,
    /// See [`Config::upstream_is_wsus`].
    pub(super) wsus: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            complete: Complete::Demand,
            verify: Verify::Stream,
            extent: 8 << 20,
            connections_per_host: 8,
            upstream: None,
            upstream_is_wsus: false,
            silence: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
        }
    }
}

/// Less than this missing and the whole is wanted: the rest costs a thin link little, and a whole payload can be proven.
pub(super) const SMALL_REST: u64 = 64 << 20;

/// The smallest extent on a slow link, and the first step of a fast one: below it heads and round trips outweigh bytes.
pub(super) const EXTENT_MIN: u64 = 64 << 10;

/// What an extent shrinks to where so many wait on a slow link that turns of [`EXTENT_MIN`] would come round too late:
/// less would be heads and round trips only.
pub(super) const EXTENT_FLOOR: u64 = 16 << 10;

/// The first extents of a flight whose link is not measured yet. Four of them take a 2 Mbit/s link four seconds.
pub(super) const EXTENT_FIRST: u64 = 256 << 10;

/// An extent should take a connection no longer than this, so that a turn comes round well before 10 s of silence.
pub(super) const TURN: Duration = Duration::from_secs(4);

/// A turn of every waiting response must be over within this time, however many wait.
pub(super) const ROUND: Duration = Duration::from_secs(6);

/// A waiting response whose bytes are in flight counts as served only if they will be there before it has been silent
/// for this long; some of the 10 s is left for what no estimate knows.
pub(super) const SERVED_WITHIN: Duration = Duration::from_secs(7);

/// A response that has been silent for this long may have extents of others cut short in its favour.
pub(super) const RELIEF_AFTER: Duration = Duration::from_secs(3);

/// Where more responses wait than there are connections, an extent carries what they wait for, and beyond that at most what
/// a connection carries in this time: three times what an origin takes to answer over a good line.
pub(super) const BUSY: Duration = Duration::from_millis(60);

/// One n-th of the connections fetches from the front, so that the hashing, which goes from front to end, has little left at
/// the end; all others fetch what somebody waits for.
pub(super) const FRONT_SHARE: usize = 4;

/// So few responses (one n-th of the connections), of which no more than this is missing, have the link to themselves ...
pub(super) const LONE_SHARE: usize = 4;
/// ... (two pieces: what a fast link brings within a blink) ...
pub(super) const LONE_MAX: u64 = 2 << 20;
/// ... unless one has been silent for so long.
pub(super) const LONE_PATIENCE: Duration = Duration::from_secs(1);

/// Below this rate (bytes a second, the whole flight) spare connections stay unused: parallel extents of one response
/// would only starve the one whose bytes are waited for.
pub(super) const THIN_LINK: u64 = 48 << 10;

/// An extent that was answered and from which nothing has come for this long, while others got bytes, is asked for anew:
/// its connection is dead. With the time that asking takes, well below the 10 s after which a response counts as silent.
pub(super) const STALLED_AFTER: Duration = Duration::from_secs(5);

/// Spans of asked-for bytes that a flight remembers one by one; with more, whole pieces count as asked for.
pub(super) const ASKED_MAX: usize = 4096;

/// What a pump writes at once at most.
pub(super) const BATCH: u64 = 1 << 20;

/// Less than this waits for more before it is written ...
pub(super) const GATHER: u64 = 64 << 10;
/// ... for so long at most: a client does not notice it.
pub(super) const GATHER_FOR: Duration = Duration::from_millis(3);

/// Chunks that wait between socket and disk in one pump: bounds memory when the disk is slower than the link.
pub(super) const CHUNKS_QUEUED: usize = 32;

/// The end of what completes a draft, held back until the digests check.
pub(super) const HELD_BACK: u64 = 4 << 10;

/// Where what is left to hash takes longer than this, the last stretch trickles meanwhile.
pub(super) const BLINK: Duration = Duration::from_secs(2);

/// Bytes a second that are hashed, until it is measured: less than any machine of these years does.
pub(super) const HASH_RATE: u64 = 200 << 20;

/// The least that leaves in one step of the trickle: 5 kB/s, more than the 4 kB/s that Windows takes for stalled.
pub(super) const TRICKLE_BYTES_MIN: u64 = 2560;
/// A step of the trickle.
pub(super) const TRICKLE_EVERY: Duration = Duration::from_millis(500);

/// The most a tail reads back from a draft at once: as much as the kernel takes unsent, and as is read without waiting.
pub(super) const TAIL_READ: u64 = 128 << 10;

/// A draft is made durable after so many new bytes or so long, whichever comes first ...
pub(super) const CHECKPOINT_BYTES: u64 = 16 << 20;
/// See [`CHECKPOINT_BYTES`].
pub(super) const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// ... and pumps wait when this much is not durable, so that a kill costs a flight at most 32 MiB.
pub(super) const UNSYNCED_MAX: u64 = 26 << 20;

/// How long a flight waits for hosts that are left alone before it takes that for a no: twice the patience with which a
/// host is asked, for only one of many flights looks at a time whether the host is back.
pub(super) const RESTING_MAX: Duration = Duration::from_mins(2);

/// The pause before the next place is asked where one is left alone: two such places must not be asked in a circle.
pub(super) const RESTING_STEP: Duration = Duration::from_millis(500);

/// A flight that nobody wants anything of stays this long: shuffled ranges come in with small gaps.
pub(super) const LINGER: Duration = Duration::from_secs(10);

/// The same for one that still asks what its object is: whoever was told to come again ([`RETRY_AFTER`]) finds it, and an
/// origin that says nothing gets its connections back within the 15 s that a client waits for them.
pub(super) const LEARNING_LINGER: Duration = Duration::from_secs(12);

/// The same for one whose object is known and of which nobody has asked for a byte: a GET follows its HEAD at once, and what
/// was told of the object is remembered.
pub(super) const TOLD_LINGER: Duration = Duration::from_secs(1);

/// Flights at once: bounds open draft files and the memory of their maps.
pub(super) const FLIGHTS_MAX: usize = 1024;

/// Of these, flights that still ask what their object is, of one host: an origin that says nothing cannot keep all others
/// from theirs. Far more than whole sites ask for at once.
pub(super) const LEARNING_MAX: usize = 256;

/// Of these, the ones that one subnet began: it cannot take a host's share from the others.
pub(super) const LEARNING_OF_SUBNET_MAX: usize = LEARNING_MAX / 2;

/// Places a flight knows for its object: signed queries of many clients must not pile up.
pub(super) const SOURCES_MAX: usize = 16;

/// Names under which a flight is published: other hosts and forms that led to the same digest.
pub(super) const NAMES_MAX: usize = 64;

/// Restarts after a changed object before it is passed through, and for how long that is remembered.
pub(super) const CHANGES_MAX: u32 = 3;
/// See [`CHANGES_MAX`].
pub(super) const CHANGES_FORGOTTEN: Duration = Duration::from_mins(10);

/// Entries in each of this room's memories (blamed sources, changed objects, last answers): bounds what a scan of
/// random addresses can make the node remember.
pub(super) const MEMORY_MAX: usize = 4096;

/// Pieces delivered that a flight remembers by client, to notice one that is asked for again.
pub(super) const DELIVERED_MAX: usize = 64 << 10;

/// A client that finds a piece bad asks for it again within this time; later it is another machine.
pub(super) const AGAIN_WITHIN: Duration = Duration::from_mins(1);

/// More open responses than this of one address and flight: it stands for many machines (Windows opens seven at most).
pub(super) const CROWD: usize = 8;

/// How long a client of a stale but held object waits for its revalidation before it is served the stale one.
pub(super) const REVALIDATION_WAIT: Duration = Duration::from_secs(3);
/// After a revalidation that the origin did not answer the stale object is served without asking for so long.
pub(super) const REVALIDATION_PAUSE: Duration = Duration::from_secs(30);

/// Bytes that one subnet (/24, /64) may have in drafts for which nobody published a digest: a share of the store, but
/// never less than the floor.
pub(super) const SUBNET_SHARE: u64 = 4;
/// See [`SUBNET_SHARE`].
pub(super) const SUBNET_BYTES_MIN: u64 = 1 << 30;

/// What a client is told to wait after `Unavailable`, where the origin named nothing.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Drafts for which one subnet is charged, each by its name: as many as there can be. With so many charged, some are of
/// drafts that are gone, or the subnet takes part in all that there are.
pub(super) const CHARGES_OF_SUBNET_MAX: usize = MEMORY_MAX;

/// The same for all subnets together: a long name takes kilobytes, and who has an IPv6 network has many subnets. What comes
/// when there are so many is not charged; the store's own limits hold.
pub(super) const CHARGES_MAX: usize = 4 * CHARGES_OF_SUBNET_MAX;

// A hold-back must fit into one batch, or an extent's end could not be written in one go; pumps must get to write
// between two checkpoints.
const _: () = assert!(
    HELD_BACK < EXTENT_FLOOR
        && EXTENT_FLOOR < EXTENT_MIN
        && EXTENT_MIN < BATCH
        && CHECKPOINT_BYTES + BATCH < UNSYNCED_MAX
);

// Who comes again when told to must find the flight.
const _: () = assert!(RETRY_AFTER.as_secs() < LEARNING_LINGER.as_secs());
