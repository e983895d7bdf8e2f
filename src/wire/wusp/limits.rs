//! How much of a request is held, each with the threat that it stops. The whole message is bounded before by
//! [`crate::wire::soap::Limits::REQUEST`]: 4 MiB and 100,000 elements, where the largest recorded request has 51 KB. These are
//! limits of reading, far above what agents send; how many ids the protocol lets them send is the server's business.

/// Revisions that are installed and not leaves. An agent sends about 90, a stock server refuses more than 400; a catalog has
/// about 4,300 categories and detectoids that could be named. Stops lists of millions.
pub const INSTALLED_MAX: usize = 8_192;

/// Other revisions that an agent holds: 4,937 were seen, and a catalog whose whole scope is offered has some ten thousands.
/// Stops lists of millions, each entry of which costs a look into an index.
pub const CACHED_MAX: usize = 65_536;

/// Revisions of drivers that an agent holds. A machine has some hundred devices.
pub const DRIVERS_MAX: usize = 4_096;

/// Devices of a machine: 75 were seen.
pub const DEVICES_MAX: usize = 1_024;

/// Hardware ids, or compatible ones, of one device, and ids of the computer itself: Windows makes about ten.
pub const HARDWARE_IDS_MAX: usize = 64;

/// Extension drivers, or ids to go back to, of one device.
pub const EXTENSIONS_MAX: usize = 64;

/// Categories of a scan: from 200 on the protocol refuses them (MS-WUSP 3.1.5.6, note 52).
pub const CATEGORIES_MAX: usize = 1_024;

/// Revisions or updates that more is asked about at once: an agent is told to ask about 50.
pub const ASKED_MAX: usize = 1_024;

/// Kinds of fragments, or locales, that are asked for at once: there are about twelve kinds, and an agent sends two locales.
pub const KINDS_MAX: usize = 64;

/// Files whose places are asked for at once.
pub const DIGESTS_MAX: usize = 4_096;

/// Revisions in a cache that is brought over from another server: 5,265 were seen. As many as a message of 4 MiB can hold.
pub const REFRESHED_MAX: usize = 32_768;

/// Authorization cookies: there is one.
pub const AUTHORIZATIONS_MAX: usize = 8;

/// Events in a batch: 9 were seen. As many as a message of 100,000 elements can hold, about.
pub const EVENTS_MAX: usize = 2_048;

/// Strings of one event: about 30 were seen.
pub const STRINGS_MAX: usize = 256;

/// Bytes of a name: a computer, a model, a version, a locale. DNS allows 255 for the longest of them.
pub const NAME_BYTES_MAX: usize = 1_024;

/// Bytes of a text with keys and values: 1.8 KB were seen; products of a machine make some more.
pub const ATTRIBUTES_BYTES_MAX: usize = 64 << 10;

/// Keys that are looked at in such a text: 60 were seen.
pub const ATTRIBUTES_MAX: usize = 1_024;

/// Bytes of one string of an event. The lists of a status event have 37 bytes an update: 28,000 of them fit.
pub const STRING_BYTES_MAX: usize = 1 << 20;
