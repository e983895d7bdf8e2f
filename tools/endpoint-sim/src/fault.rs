//! What can go wrong in a conversation.

use std::fmt;

/// Why an agent stopped, or a single call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server answered with a SOAP fault: its `ErrorCode` and `Message`.
    Fault {
        /// The method called.
        method: &'static str,
        /// `ErrorCode`, empty where the fault has none.
        code: String,
        /// `Message`, often the parameter's name.
        message: String,
    },
    /// An HTTP status that is neither 200 (206 for a range) nor a fault.
    Status {
        /// The path asked for.
        path: String,
        /// The status.
        status: u16,
    },
    /// The server could not be reached or hung up.
    Network(String),
    /// The answer is not what the protocol says; the text says what is wrong with it.
    Answer(String),
    /// The scan needed more rounds than an agent goes.
    Rounds(u32),
    /// A file is not what its update says.
    File(String),
}

impl Failure {
    /// The code of a fault.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Fault { code, .. } => Some(code),
            _ => None,
        }
    }

    /// The result code that an agent reports for it.
    pub fn result(&self) -> i32 {
        let code: u32 = match self {
            Self::Fault { .. } => 0x8024_4007,
            Self::Status { status: 503, .. } => 0x8024_4022,
            Self::Status { .. } | Self::Network(_) => 0x8024_401c,
            Self::Answer(_) => 0x8024_4003,
            Self::Rounds(_) => 0x8024_4010,
            Self::File(_) => 0x8024_6007,
        };
        code.cast_signed()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault { method, code, message } => write!(f, "{method} was answered with fault {code} {message:?}"),
            Self::Status { path, status } => write!(f, "{path} was answered with status {status}"),
            Self::Network(text) => write!(f, "no answer: {text}"),
            Self::Answer(text) => write!(f, "an answer is wrong: {text}"),
            Self::Rounds(rounds) => write!(f, "gave up after {rounds} rounds (0x80244010)"),
            Self::File(text) => write!(f, "{text}"),
        }
    }
}

impl std::error::Error for Failure {}
