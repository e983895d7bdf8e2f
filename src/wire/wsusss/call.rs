//! Messages in their envelopes: requests and answers, written and read whole.

use std::io::{self, BufRead, Write};

use crate::wire::error::{Error, Result, shown};
use crate::wire::soap::{self, Fault, Limits, Message, Reader, Style, Version, Writer};
use crate::wire::wsusss::authorize::{GetAuthConfig, GetAuthorizationCookie, GetCookie};
use crate::wire::wsusss::config::GetConfigData;
use crate::wire::wsusss::deployments::GetDeployments;
use crate::wire::wsusss::drivers::{GetDriverIdList, GetDriverSetData};
use crate::wire::wsusss::field::{Field, Record};
use crate::wire::wsusss::files::{DownloadFiles, GetUpdateDecryptionData};
use crate::wire::wsusss::method::Method;
use crate::wire::wsusss::other::{GetRelatedRevisionsForUpdates, Ping};
use crate::wire::wsusss::revisions::GetRevisionIdList;
use crate::wire::wsusss::rollup::{
    GetOutOfSyncComputers, GetRollupConfiguration, RollupComputerStatus, RollupComputers, RollupDownstreamServers,
};
use crate::wire::wsusss::updates::GetUpdateData;

/// A request, and the type of what answers it.
pub trait Call: Record {
    /// Which operation it is.
    const METHOD: Method;
    /// What the answer holds, where it is no fault.
    type Answer: Field;
}

/// Says which operation a record asks for, and what answers it.
macro_rules! call {
    ($request:ty, $method:expr, $answer:ty) => {
        impl $crate::wire::wsusss::call::Call for $request {
            const METHOD: $crate::wire::wsusss::method::Method = $method;
            type Answer = $answer;
        }
    };
}
pub(super) use call;

/// What the other side answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// What was asked for.
    Done(T),
    /// It refused.
    Fault(Fault),
}

impl<T> Answer<T> {
    /// What was asked for, or the refusal.
    pub fn into_result(self) -> std::result::Result<T, Box<Fault>> {
        match self {
            Self::Done(answer) => Ok(answer),
            Self::Fault(fault) => Err(Box::new(fault)),
        }
    }
}

/// A request of any kind, for the side that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// See [`GetAuthConfig`].
    AuthConfig(GetAuthConfig),
    /// See [`GetAuthorizationCookie`].
    AuthorizationCookie(GetAuthorizationCookie),
    /// See [`GetCookie`].
    Cookie(GetCookie),
    /// See [`GetConfigData`].
    ConfigData(GetConfigData),
    /// See [`GetRevisionIdList`].
    RevisionIdList(GetRevisionIdList),
    /// See [`GetUpdateData`].
    UpdateData(GetUpdateData),
    /// See [`GetDriverIdList`].
    DriverIdList(GetDriverIdList),
    /// See [`GetDriverSetData`].
    DriverSetData(GetDriverSetData),
    /// See [`GetRelatedRevisionsForUpdates`].
    RelatedRevisions(GetRelatedRevisionsForUpdates),
    /// See [`GetDeployments`].
    Deployments(GetDeployments),
    /// See [`DownloadFiles`].
    DownloadFiles(DownloadFiles),
    /// See [`Ping`].
    Ping(Ping),
    /// See [`GetUpdateDecryptionData`].
    DecryptionData(GetUpdateDecryptionData),
    /// See [`GetRollupConfiguration`].
    RollupConfiguration(GetRollupConfiguration),
    /// See [`RollupDownstreamServers`].
    RollupServers(RollupDownstreamServers),
    /// See [`RollupComputers`].
    RollupComputers(RollupComputers),
    /// See [`GetOutOfSyncComputers`].
    OutOfSyncComputers(GetOutOfSyncComputers),
    /// See [`RollupComputerStatus`].
    RollupStates(RollupComputerStatus),
}

/// The request as it is sent.
pub fn encode_request<C: Call>(call: &C, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing into memory cannot fail.
    let _ = write_request(call, version, &mut bytes);
    bytes
}

fn write_request<C: Call, W: Write>(call: &C, version: Version, out: W) -> io::Result<()> {
    let mut out = Writer::begin(out, version, Style::Request)?;
    let (name, namespace) = (C::METHOD.name(), C::METHOD.namespace());
    if C::FIELDS == 0 {
        out.empty_in(name, namespace)?;
    } else {
        out.open_in(name, namespace)?;
        call.write_fields(&mut out)?;
        out.close(name)?;
    }
    out.finish()?;
    Ok(())
}

/// The answer to a request of the kind `C` as it is sent.
pub fn encode_answer<C: Call>(answer: &C::Answer, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing into memory cannot fail.
    let _ = write_answer::<C, _>(answer, version, &mut bytes);
    bytes
}

fn write_answer<C: Call, W: Write>(answer: &C::Answer, version: Version, out: W) -> io::Result<()> {
    let mut out = Writer::begin(out, version, Style::Service)?;
    if C::Answer::NOTHING {
        out.empty_in(&response(C::METHOD), C::METHOD.namespace())?;
        out.finish()?;
        return Ok(());
    }
    open_answer(&mut out, C::METHOD)?;
    answer.write(&mut out, &result(C::METHOD))?;
    close_answer(out, C::METHOD)?;
    Ok(())
}

/// The element around the result.
pub(super) fn open_answer<W: Write>(out: &mut Writer<W>, method: Method) -> io::Result<()> {
    out.open_in(&response(method), method.namespace())
}

/// The end of that, and of the message.
pub(super) fn close_answer<W: Write>(mut out: Writer<W>, method: Method) -> io::Result<W> {
    out.close(&response(method))?;
    out.finish()
}

/// The request that these bytes are, and in which SOAP the answer should be. At most [`Limits::REQUEST`] is read.
pub fn decode_request<R: BufRead>(input: R) -> Result<(Version, Request)> {
    let mut reader = match soap::open(input, Limits::REQUEST)? {
        Message::Operation(reader) => reader,
        Message::Fault(_) => return Err(Error::Unexpected { wanted: "a request".to_owned(), got: "Fault".to_owned() }),
    };
    let version = reader.version();
    let Some(method) = Method::of(reader.namespace(), reader.name()) else {
        return Err(Error::Unexpected {
            wanted: "an operation of the server synchronisation".to_owned(),
            got: shown(reader.name()),
        });
    };
    let request = match method {
        Method::GetAuthConfig => Request::AuthConfig(Field::read(&mut reader)?),
        Method::GetAuthorizationCookie => Request::AuthorizationCookie(Field::read(&mut reader)?),
        Method::GetCookie => Request::Cookie(Field::read(&mut reader)?),
        Method::GetConfigData => Request::ConfigData(Field::read(&mut reader)?),
        Method::GetRevisionIdList => Request::RevisionIdList(Field::read(&mut reader)?),
        Method::GetUpdateData => Request::UpdateData(Field::read(&mut reader)?),
        Method::GetDriverIdList => Request::DriverIdList(Field::read(&mut reader)?),
        Method::GetDriverSetData => Request::DriverSetData(Field::read(&mut reader)?),
        Method::GetRelatedRevisionsForUpdates => Request::RelatedRevisions(Field::read(&mut reader)?),
        Method::GetDeployments => Request::Deployments(Field::read(&mut reader)?),
        Method::DownloadFiles => Request::DownloadFiles(Field::read(&mut reader)?),
        Method::Ping => Request::Ping(Field::read(&mut reader)?),
        Method::GetUpdateDecryptionData => Request::DecryptionData(Field::read(&mut reader)?),
        Method::GetRollupConfiguration => Request::RollupConfiguration(Field::read(&mut reader)?),
        Method::RollupDownstreamServers => Request::RollupServers(Field::read(&mut reader)?),
        Method::RollupComputers => Request::RollupComputers(Field::read(&mut reader)?),
        Method::GetOutOfSyncComputers => Request::OutOfSyncComputers(Field::read(&mut reader)?),
        Method::RollupComputerStatus => Request::RollupStates(Field::read(&mut reader)?),
    };
    reader.close()?;
    Ok((version, request))
}

/// The answer to a request of the kind `C` that these bytes are. At most [`Limits::ANSWER`] is read; what may be larger is
/// read by [`crate::wire::wsusss::revisions::open`] and [`crate::wire::wsusss::updates::open`].
pub fn decode_answer<C: Call, R: BufRead>(input: R) -> Result<Answer<C::Answer>> {
    let mut reader = match open_response(input, Limits::ANSWER, C::METHOD)? {
        Answer::Done(reader) => reader,
        Answer::Fault(fault) => return Ok(Answer::Fault(fault)),
    };
    let wanted = result(C::METHOD);
    let mut answer = None;
    while reader.child()? {
        if answer.is_none() && reader.name() == wanted {
            answer = Some(C::Answer::read(&mut reader)?);
        } else {
            reader.skip()?;
        }
    }
    reader.close()?;
    answer
        .or_else(C::Answer::absent)
        .map(Answer::Done)
        .ok_or(Error::Missing { inside: C::METHOD.name(), field: "a result" })
}

/// An answer up to the element around its result, which has been entered.
pub(super) fn open_response<R: BufRead>(input: R, limits: Limits, method: Method) -> Result<Answer<Box<Reader<R>>>> {
    let reader = match soap::open(input, limits)? {
        Message::Operation(reader) => reader,
        Message::Fault(fault) => return Ok(Answer::Fault(fault)),
    };
    let wanted = response(method);
    let namespace = reader.namespace();
    if reader.name() != wanted || !(namespace.is_empty() || namespace == method.namespace()) {
        return Err(Error::Unexpected { wanted, got: shown(&format!("{{{namespace}}}{}", reader.name())) });
    }
    Ok(Answer::Done(reader))
}

fn response(method: Method) -> String {
    format!("{}Response", method.name())
}

/// The element of the result.
pub(super) fn result(method: Method) -> String {
    format!("{}Result", method.name())
}
