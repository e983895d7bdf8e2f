//! How much of a SOAP message is taken, each with the threat that it stops. The largest legitimate figures are from real
//! servers: 24,509 revisions in one list, tens of megabytes of them with a full product set, documents of 47 MB.

/// Elements within elements: the deepest message has nine. Stops recursion bombs, each level of which costs a name and a
/// scope.
pub const DEPTH_MAX: usize = 32;

/// Attributes of one element, namespace declarations included; the richest has about 25. Stops tags made of attributes.
pub const ATTRIBUTES_MAX: usize = 64;

/// Namespace declarations in scope at a time. Stops messages in which resolving each prefix means searching thousands.
pub const BINDINGS_MAX: usize = 128;

/// Bytes of one tag, comment or CDATA section: the only pieces that are held whole. Stops a tag that never ends.
pub const MARKUP_BYTES_MAX: u64 = 64 << 10;

/// Bytes of one value (a name, a number, a cookie, an anchor): real cookies have about 700. Documents do not count here:
/// they are handed on in a stream. Stops a value that is held and never ends.
pub const VALUE_BYTES_MAX: u64 = 64 << 10;

/// What one whole message may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes. Stops a stream that never ends.
    pub bytes: u64,
    /// Elements. Stops millions of tiny elements, each of which costs more than its bytes.
    pub elements: u64,
}

impl Limits {
    /// A request to this node. The largest, a list of hardware ids or cached updates, has some hundred kilobytes; whoever
    /// asks is not trusted.
    pub const REQUEST: Self = Self { bytes: 4 << 20, elements: 100_000 };

    /// An answer that is decoded whole: configuration, cookies, deployments (100,000 of them have about 60 MiB).
    pub const ANSWER: Self = Self { bytes: 64 << 20, elements: 2_000_000 };

    /// An answer that is handed on item by item: lists of revisions, documents. A batch of a hundred may hold several
    /// documents of 47 MB, escaped.
    pub const STREAM: Self = Self { bytes: 1 << 30, elements: 16_000_000 };
}
