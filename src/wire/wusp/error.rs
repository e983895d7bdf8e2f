//! What is wrong with a request, and how the protocol says so.

use std::fmt;

use crate::wire::error::Error;
use crate::wire::soap::Version;
use crate::wire::wusp::fault::{FaultCode, Refusal};
use crate::wire::wusp::method::{Face, Method};

/// A request that was not understood. The sender is told a word and the name of a parameter; why is for the log.
#[derive(Debug)]
pub struct Refused {
    /// At which service.
    pub face: Face,
    /// Which SOAP it was in, as far as that could be read: the answer should be in the same.
    pub version: Version,
    /// What it asked for; `None` where no operation of the service could be made out.
    pub method: Option<Method>,
    /// The protocol's word.
    pub code: FaultCode,
    /// The parameter that is wrong, as the protocol names it; empty where it is none.
    pub parameter: &'static str,
    /// What is wrong with it.
    pub error: Error,
}

impl Refused {
    /// The answer to it, with an `id` that finds it in the log.
    pub fn encode(&self, id: &str) -> Vec<u8> {
        Refusal { face: self.face, method: self.method, code: self.code, message: self.parameter, id, actor: "" }
            .encode(self.version)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.method {
            Some(method) => write!(f, "{method} could not be read")?,
            None => write!(f, "a request to {} could not be read", self.face.path())?,
        }
        if !self.parameter.is_empty() {
            write!(f, " at {}", self.parameter)?;
        }
        write!(f, ": {}", self.error)
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// The same, before it is known whose request it is.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) code: FaultCode,
    pub(super) parameter: &'static str,
    pub(super) error: Error,
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self { code: FaultCode::InvalidParameters, parameter: "", error }
    }
}

/// How a piece of a request is read.
pub(super) type Read<T> = Result<T, Wrong>;

/// Says what was being read.
pub(super) trait Named<T> {
    /// A parameter.
    fn of(self, parameter: &'static str) -> Read<T>;

    /// A cookie: whatever is wrong with it, it is no good.
    fn of_cookie(self, code: FaultCode) -> Read<T>;
}

impl<T> Named<T> for Result<T, Error> {
    fn of(self, parameter: &'static str) -> Read<T> {
        self.map_err(|error| Wrong { code: FaultCode::InvalidParameters, parameter, error })
    }

    fn of_cookie(self, code: FaultCode) -> Read<T> {
        self.map_err(|error| Wrong { code, parameter: "", error })
    }
}
