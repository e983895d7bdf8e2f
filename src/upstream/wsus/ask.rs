//! One exchange: a request in its envelope, the head of the answer, and the body through a decoder on a thread that may
//! block. Nothing is repeated here.

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::Response;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use crate::upstream::error::{Cause, cause_of};
use crate::upstream::head::retry_after;
use crate::upstream::wsus::Core;
use crate::upstream::wsus::error::Trouble;
use crate::upstream::wsus::pipe::{CHUNKS, Pipe, pump};
use crate::wire::soap::Version;
use crate::wire::wsusss::{Answer, Call, Method, decode_answer, encode_request};

/// How long an answer may take that a server has at hand, in stall timeouts: a service that was just started answers the first ones late.
const AT_HAND: u32 = 3;

/// How long documents may take to begin, in stall timeouts: a server looks up a batch of them and makes nothing. Where that is too
/// short for many at once it gives one of them meanwhile, and is asked for fewer.
const LOOKED_UP: u32 = 6;

const SOAP_ACTION: HeaderName = HeaderName::from_static("soapaction");

/// Asks `call` at `url` and gives the body to `decode`. The second value says what was wrong with the body, where it broke
/// off: it tells more than what the decoder makes of it.
pub(super) async fn exchange<C: Call, T: Send + 'static>(
    core: &Core,
    url: &Url,
    call: &C,
    decode: impl FnOnce(Pipe) -> T + Send + 'static,
) -> Result<(T, Option<Trouble>), Trouble> {
    exchange_within(core, url, call, limit(core, C::METHOD), decode).await
}

/// The same where the answer must begin within `limit`.
pub(super) async fn exchange_within<C: Call, T: Send + 'static>(
    core: &Core,
    url: &Url,
    call: &C,
    limit: Duration,
    decode: impl FnOnce(Pipe) -> T + Send + 'static,
) -> Result<(T, Option<Trouble>), Trouble> {
    let request = encode_request(call, Version::V11);
    // Waits here while the class is paused, so that no server waits for a reader.
    let mut flow = core.lane.flow();
    let mut left = request.len() as u64;
    if let Some(pause) = core.lane.pause().filter(|_| core.troubles.pauses(true)) {
        tracing::info!(host = core.label, "nothing is asked for now, since bandwidth.{pause}");
    }
    while left > 0 {
        left = left.saturating_sub(flow.take(left).await);
    }
    core.troubles.pauses(false);
    let response = send(core, url, (C::METHOD, limit), fields::<C>(), request).await?;
    core.troubles.answered();
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let decoding = core.tasks.spawn_blocking(move || decode(Pipe::new(receiver)));
    let broken = pump(core, response, sender).await;
    match decoding.await {
        Ok(decoded) => Ok((decoded, broken)),
        Err(error) => Err(Trouble::NotKept(format!("reading the answer failed: {error}"))),
    }
}

/// What became of an exchange: a decoder that had all it wanted is right whatever the connection did then.
pub(super) fn settle<T>(decoded: Result<T, Trouble>, broken: Option<Trouble>) -> Result<T, Trouble> {
    match (decoded, broken) {
        (Err(Trouble::Answer(error)), Some(broken)) if error.is_retryable() => Err(broken),
        (decoded, _) => decoded,
    }
}

/// An exchange whose answer is small and held whole.
pub(super) async fn whole<C: Call + 'static>(core: &Core, url: &Url, call: &C) -> Result<Answer<C::Answer>, Trouble>
where
    C::Answer: Send + 'static,
{
    let decode = |pipe: Pipe| decode_answer::<C, _>(pipe).map_err(Trouble::from);
    let (decoded, broken) = exchange(core, url, call, decode).await?;
    settle(decoded, broken)
}

/// The same past bandwidth and repeats, for who looks whether the way is sound. What is longer than `len_max` is cut there.
pub(super) async fn once<C: Call>(
    core: &Core,
    url: &Url,
    call: &C,
    len_max: usize,
) -> Result<Answer<C::Answer>, Trouble> {
    let asked = (C::METHOD, limit(core, C::METHOD));
    let mut response = send(core, url, asked, fields::<C>(), encode_request(call, Version::V11)).await?;
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) if body.len() + bytes.len() <= len_max => body.extend_from_slice(&bytes),
            Ok(_) => return decode_answer::<C, _>(body.as_slice()).map_err(Trouble::from),
            Err(error) => {
                let cause = cause_of(error, core.proxy_label(), core.config.http.connect_timeout);
                return Err(Trouble::Path(cause));
            }
        }
    }
}

/// What real downstream servers send, but for `Accept-Encoding`: nothing packed is asked for (MS-WSUSSS 2.1).
fn fields<C: Call>() -> HeaderMap {
    let mut fields = HeaderMap::new();
    let action = format!("\"{}\"", C::METHOD.action());
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
    if let Ok(action) = HeaderValue::from_str(&action) {
        fields.insert(SOAP_ACTION, action);
    }
    fields
}

/// How long an answer may take to begin that the server has at hand.
pub(super) fn at_hand(core: &Core) -> Duration {
    core.config.answer_timeout.min(core.config.http.stall_timeout.saturating_mul(AT_HAND))
}

/// How long the answer to it may take to begin: a list a server may have to make first.
fn limit(core: &Core, method: Method) -> Duration {
    let longest = core.config.answer_timeout;
    match method {
        Method::GetAuthConfig | Method::GetAuthorizationCookie | Method::GetCookie | Method::GetConfigData => {
            at_hand(core)
        }
        Method::GetUpdateData | Method::DownloadFiles => {
            longest.min(core.config.http.stall_timeout.saturating_mul(LOOKED_UP))
        }
        _ => longest,
    }
}

async fn send(
    core: &Core,
    url: &Url,
    (method, limit): (Method, Duration),
    fields: HeaderMap,
    request: Vec<u8>,
) -> Result<Response, Trouble> {
    let since = Instant::now();
    let sending = core.client.post(url.clone()).headers(fields).body(request).send();
    tokio::pin!(sending);
    let sent = if let Ok(sent) = timeout(core.config.http.stall_timeout.min(limit), &mut sending).await {
        Ok(sent)
    } else {
        // From now on people see that nothing comes; it goes on all the same.
        let _silent = core.is_silent(method, since, since + limit);
        timeout_at(since + limit, sending).await
    };
    let response = match sent {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            return Err(Trouble::Path(cause_of(error, core.proxy_label(), core.config.http.connect_timeout)));
        }
        Err(_) => return Err(Trouble::Path(Cause::Silent(limit))),
    };
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_xml = kind.to_ascii_lowercase().contains("xml");
    match response.status().as_u16() {
        // Faults come with 500 (SOAP 1.1, 6.2), with 400 where SOAP 1.2 blames the one who asks (part 2, 7.5.2.2).
        200 | 400 | 500 if is_xml => Ok(response),
        200 => Err(Trouble::NoSoap(format!(
            "this is no WSUS: it answers with {:?} instead of SOAP; a sign-in page or a proxy on the way speaks in its place, or the \
             url is another service's",
            kind.chars().take(60).collect::<String>()
        ))),
        // Whoever does not know the method at all does not learn it.
        status @ (408 | 425 | 429 | 500 | 502..=599) => {
            Err(Trouble::Path(Cause::Busy { status, retry_after: retry_after(response.headers(), SystemTime::now()) }))
        }
        status @ 300..=399 => {
            let target =
                response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| url.join(to).ok());
            let target = target.map_or_else(|| "nowhere".to_owned(), |to| to.origin().ascii_serialization());
            let why =
                format!("it answered {status} and leads to {target}; set that as the upstream's url if it is meant");
            Err(Trouble::Path(Cause::NotAllowed(why)))
        }
        407 => Err(Trouble::Path(match core.proxy_label() {
            Some(proxy) => Cause::ProxyCredentials { proxy: proxy.to_owned() },
            None => Cause::Status(407),
        })),
        status => Err(Trouble::Path(Cause::Status(status))),
    }
}
