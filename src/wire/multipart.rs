//! `multipart/byteranges` (RFC 9110, section 14.6; framing by RFC 2046, section 5.1.1) of a length known before the first byte.
//!
//! Kept within what BITS accepts: the first boundary comes with nothing before it, each part has `Content-Type` and
//! `Content-Range` and no other header.

use crate::base::span::Span;

/// What each part's `Content-Type` says: payloads are bytes to us.
pub const PART_TYPE: &str = "application/octet-stream";

/// Separates the parts of one response: 128 random bits as 32 hex digits (RFC 2046 allows 70 characters), so that no content
/// holds it by chance or by design.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary([u8; 16]);

/// The framing of one response: which spans of an object of which size, and what stands between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multipart {
    boundary: Boundary,
    size: u64,
    spans: Vec<Span>,
}

impl Boundary {
    /// The boundary made of these random bytes, fresh for each response.
    pub const fn new(random: [u8; 16]) -> Self {
        Self(random)
    }
}

impl std::fmt::Display for Boundary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Multipart {
    /// Frames `spans`, in this order, of an object of `size` bytes. The spans must be non-empty and inside the object.
    pub fn new(boundary: Boundary, size: u64, spans: Vec<Span>) -> Self {
        Self { boundary, size, spans }
    }

    /// The spans, in the order of their parts.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The response's `Content-Type`.
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// What precedes the bytes of `span`: the delimiter and the part's headers. `first` for the first part, which has no line
    /// break before its delimiter.
    pub fn head(&self, span: Span, first: bool) -> String {
        format!(
            "{}--{}\r\nContent-Type: {PART_TYPE}\r\nContent-Range: {}\r\n\r\n",
            if first { "" } else { "\r\n" },
            self.boundary,
            content_range(span, self.size)
        )
    }

    /// What follows the last part.
    pub fn tail(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary)
    }

    /// The exact length of the whole body.
    pub fn content_length(&self) -> u64 {
        let heads = self
            .spans
            .iter()
            .enumerate()
            .map(|(at, span)| self.head(*span, at == 0).len() as u64 + span.len())
            .sum::<u64>();
        heads + self.tail().len() as u64
    }
}

/// The `Content-Range` of a non-empty `span` of `size` bytes.
pub fn content_range(span: Span, size: u64) -> String {
    format!("bytes {}-{}/{size}", span.start(), span.end().saturating_sub(1))
}

/// The `Content-Range` of a range that cannot be satisfied.
pub fn unsatisfied_range(size: u64) -> String {
    format!("bytes */{size}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_as_rfc_9110_shows_it() {
        let parts = Multipart::new(Boundary::new([0xab; 16]), 8000, vec![Span::new(500, 1000), Span::new(7000, 8000)]);
        let boundary = "ab".repeat(16);
        assert_eq!(parts.content_type(), format!("multipart/byteranges; boundary={boundary}"));
        assert_eq!(
            parts.head(Span::new(500, 1000), true),
            format!(
                "--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 500-999/8000\r\n\r\n"
            )
        );
        assert!(parts.head(Span::new(7000, 8000), false).starts_with("\r\n--"));
        assert_eq!(parts.tail(), format!("\r\n--{boundary}--\r\n"));
        assert_eq!(unsatisfied_range(0), "bytes */0");
    }

    proptest! {
        #[test]
        fn its_length_is_known_ahead(
            lens in proptest::collection::vec((0..1u64 << 40, 1..100u64), 1..64),
            random: [u8; 16],
            size in 0..1u64 << 41,
        ) {
            let spans: Vec<Span> = lens.iter().map(|(start, len)| Span::at(*start, *len)).collect();
            let parts = Multipart::new(Boundary::new(random), size, spans.clone());
            let mut body = Vec::new();
            for (at, span) in spans.iter().enumerate() {
                let head = parts.head(*span, at == 0);
                // BITS: 180 bytes of headers beside the two that it knows; ours has none beside them.
                prop_assert_eq!(head.trim().lines().count(), 3);
                body.extend_from_slice(head.as_bytes());
                body.resize(body.len() + span.len() as usize, b'x');
            }
            body.extend_from_slice(parts.tail().as_bytes());
            prop_assert_eq!(body.len() as u64, parts.content_length());
        }
    }
}
