//! SOAP 1.1 and 1.2 as Windows Update speaks it: document/literal, one operation element in the body, no headers
//! (MS-WSUSSS 2.1, MS-WUSP 2.1).
//!
//! Reading is a stream: nothing but the element at hand is held, so that an answer of many megabytes costs as little
//! memory as a short one, and a bomb (depth, attributes, entities, endless text or markup) is refused by a limit of
//! [`limits`] before it costs anything.
//!
//! 1. [`meter`] counts the bytes and cuts off what goes beyond the allowance of the piece that is being read.
//! 2. [`text`] turns character data into text: the five entities, character references, line ends, UTF-8.
//! 3. [`reader`] finds the body, whatever the prefixes are, and goes through its elements; other namespaces are skipped.
//! 4. [`binary`] decodes base64 as it comes.
//! 5. [`fault`] reads and writes faults with the detail block of these services.
//! 6. [`writer`] writes envelopes in the styles that real clients and servers use.

pub mod binary;
pub mod fault;
pub mod limits;
pub(crate) mod meter;
pub mod reader;
pub(crate) mod text;
pub mod writer;

pub use fault::{Detail, Fault, Side};
pub use limits::Limits;
pub use reader::{Message, Reader, open};
pub use writer::{Style, Writer};

/// The namespace of SOAP 1.1 envelopes.
pub const ENVELOPE_11: &str = "http://schemas.xmlsoap.org/soap/envelope/";

/// The namespace of SOAP 1.2 envelopes.
pub const ENVELOPE_12: &str = "http://www.w3.org/2003/05/soap-envelope";

/// Which SOAP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// 1.1: what every client and server uses.
    #[default]
    V11,
    /// 1.2: allowed between servers; a WSUS that is asked in it answers in it.
    V12,
}

impl Version {
    /// The namespace of its envelope.
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::V11 => ENVELOPE_11,
            Self::V12 => ENVELOPE_12,
        }
    }

    /// `Content-Type` of a message whose operation has the SOAPAction `action` (1.2 carries it there, SOAP 1.2 part 2, 6.5.3).
    pub fn content_type(self, action: &str) -> String {
        match self {
            Self::V11 => "text/xml; charset=utf-8".to_owned(),
            Self::V12 => format!("application/soap+xml; charset=utf-8; action=\"{action}\""),
        }
    }
}

#[cfg(test)]
mod tests;
