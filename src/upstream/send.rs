//! One attempt: the rules for every hop, the request, the redirects, the answer's head.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap, HeaderValue};
use reqwest::Response;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::base::span::Span;
use crate::model::origin::{Host, is_public};
use crate::model::payload::{Location, Standing, Validators};
use crate::upstream::above::{Above, LABEL, is_place, resolved};
use crate::upstream::client::{Clients, Way};
use crate::upstream::error::{Cause, Failure, cause_of};
use crate::upstream::head::{Expect, Head, Version, judge};
use crate::upstream::peer::Parent;
use crate::upstream::{Core, Method};

/// Redirects that are followed: content networks use one or two.
const REDIRECTS_MAX: usize = 5;

/// How long a node may take to answer: clients of its own wait for 15 s, and so does another node.
const NODE_ANSWERS: Duration = Duration::from_secs(25);

/// A question as it is sent, again and again if need be.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) location: Location,
    pub(super) method: Method,
    pub(super) span: Option<Span>,
    pub(super) version: Option<Version>,
    pub(super) revalidate: Option<Validators>,
    /// The `Via` that is sent.
    pub(super) via: String,
}

/// A hop that may be taken.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    pub(super) url: Url,
    pub(super) host: Host,
    pub(super) standing: Standing,
    pub(super) way: Way,
    /// The host as messages and health name it: with its port unless 80 or 443.
    pub(super) label: String,
    /// A redirect from https may lead here by http.
    downgrade: bool,
    /// The node above, where it is that.
    node: Option<(Arc<Parent>, Arc<Above>)>,
}

impl Hop {
    /// The port that is connected to.
    pub(super) fn port(&self) -> u16 {
        port_of(&self.url)
    }
}

fn port_of(url: &Url) -> u16 {
    url.port_or_known_default().unwrap_or(80)
}

/// The rules: scheme, user info, allow-list, literal addresses. What a name leads to is the resolver's to check.
pub(super) fn hop(core: &Core, url: &str, standing: Standing) -> Result<Hop, Failure> {
    if let Some(above) = core.above.as_ref().filter(|_| is_place(url)) {
        return hop_up(above, url);
    }
    let refuse = |host: &str, why: &str| Err(Cause::NotAllowed(why.to_owned()).at(host));
    let Ok(mut url) = Url::parse(url) else { return refuse("the location", "it is no absolute URL") };
    let https = match url.scheme() {
        "http" => false,
        "https" => true,
        other => return refuse("the location", &format!("its scheme {other:?} is neither http nor https")),
    };
    let shown = url.host_str().unwrap_or_default().to_owned();
    if !url.username().is_empty() || url.password().is_some() {
        return refuse(&shown, "its URL carries user info");
    }
    let host = match Host::parse(&shown) {
        Ok(host) => host,
        Err(error) => return refuse(&shown, &error.why),
    };
    url.set_fragment(None);
    if host.as_str() != shown && url.set_host(Some(host.as_str())).is_err() {
        return refuse(&shown, "its host has no canonical form");
    }
    let port = port_of(&url);
    let label = if port == 80 || port == 443 { host.to_string() } else { format!("{host}:{port}") };
    let mut downgrade = true;
    if standing == Standing::Allowed {
        let Some(permit) = core.allow.admits(https, &host, port) else {
            let scheme = if https { "https" } else { "http" };
            let why = format!(
                "{scheme} at port {port} of it is not on the allow-list; add it to [origins] allow if it should be"
            );
            return refuse(&label, &why);
        };
        if !permit.private && host.address().is_some_and(|address| !is_public(address)) {
            return refuse(
                &label,
                "it is a private address; list it literally in [origins] allow if it should be asked",
            );
        }
        downgrade = permit.allows_downgrade();
    }
    let proxied = core.through.as_ref().is_some_and(|through| through.takes(&host, port));
    let way = Way { proxied, private: standing == Standing::Upstream };
    Ok(Hop { url, host, standing, way, label, downgrade, node: None })
}

/// The way to a place at the parent: its own client, which talks to nobody but the node of the pinned authority.
fn hop_up(above: &Arc<Above>, url: &str) -> Result<Hop, Failure> {
    let refuse = |why: &str| Cause::NotAllowed(why.to_owned()).at(LABEL);
    let (parent, authority) = above.way()?;
    let url = resolved(url, &authority).ok_or_else(|| refuse("it is no place at the parent"))?;
    let url = Url::parse(&url).map_err(|_| refuse("the parent's address is none"))?;
    let host = Host::parse(url.host_str().unwrap_or_default()).map_err(|error| refuse(&error.why))?;
    let way = Way { proxied: false, private: true };
    let node = Some((parent, Arc::clone(above)));
    Ok(Hop { url, host, standing: Standing::Upstream, way, label: LABEL.to_owned(), downgrade: false, node })
}

/// Sends a request and follows redirects, each hop under the same rules. Any status comes back as an answer, but for a
/// redirect that cannot be followed and a proxy that wants credentials.
pub(super) async fn send(
    core: &Core,
    clients: &Clients,
    location: &Location,
    method: Method,
    fields: &HeaderMap,
    deadline: Instant,
) -> Result<(Response, Hop), Failure> {
    let mut hop = hop(core, &location.url, location.standing)?;
    for followed in 0..=REDIRECTS_MAX {
        let response = once(core, clients, &hop, method, fields, deadline)
            .await
            .map_err(|failure| Failure { answered: followed > 0, ..failure })?;
        match response.status().as_u16() {
            301 | 302 | 303 | 307 | 308 => {
                hop = follow(core, &hop, &response).map_err(|failure| Failure { answered: true, ..failure })?;
            }
            407 => {
                // Only a proxy may answer so; an origin that does is passed on as any other refusal.
                return match core.through.as_ref().filter(|_| hop.way.proxied) {
                    Some(through) => Err(Cause::ProxyCredentials { proxy: through.label.clone() }.at(&hop.label)),
                    None => Ok((response, hop)),
                };
            }
            _ => return Ok((response, hop)),
        }
    }
    Err(Cause::NotAllowed(format!("more than {REDIRECTS_MAX} redirects")).at(&hop.label))
}

async fn once(
    core: &Core,
    clients: &Clients,
    hop: &Hop,
    method: Method,
    fields: &HeaderMap,
    deadline: Instant,
) -> Result<Response, Failure> {
    let method = match method {
        Method::Get => http::Method::GET,
        Method::Head => http::Method::HEAD,
    };
    let client = hop.node.as_ref().map_or_else(|| clients.of(hop.way), |(parent, _)| parent.client());
    let request = client.request(method, hop.url.clone()).headers(fields.clone());
    let mut limit = core.config.connect_timeout + core.config.stall_timeout;
    if hop.node.is_some() {
        // It may itself have to ask, and says within 20 s that it has got nothing.
        limit = limit.max(NODE_ANSWERS);
    }
    let until = deadline.min(Instant::now() + limit);
    let proxy = core.through.as_ref().filter(|_| hop.way.proxied).map(|through| through.label.as_str());
    match timeout_at(until, request.send()).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => {
            if let Some((_, above)) = &hop.node {
                above.next_address();
            }
            Err(cause_of(error, proxy, core.config.connect_timeout).at(&hop.label))
        }
        Err(_) if until == deadline => Err(Cause::Impatient(core.config.patience).at(&hop.label)),
        Err(_) => Err(Cause::Silent(limit).at(&hop.label)),
    }
}

fn follow(core: &Core, from: &Hop, response: &Response) -> Result<Hop, Failure> {
    if from.node.is_some() {
        return Err(Cause::Lied("it redirects, which no node does".to_owned()).at(&from.label));
    }
    let target = response
        .headers()
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|target| from.url.join(target).ok())
        .ok_or_else(|| {
            Cause::Lied(format!("it answered {} without a Location that is a URL", response.status().as_u16()))
                .at(&from.label)
        })?;
    let same = (target.scheme(), target.host(), target.port()) == (from.url.scheme(), from.url.host(), from.url.port());
    let standing = if same { from.standing } else { Standing::Allowed };
    let to = hop(core, target.as_str(), standing).map_err(|failure| match failure.cause {
        Cause::NotAllowed(why) => {
            Cause::NotAllowed(format!("{} redirects to it, and {why}", from.label)).at(&failure.host)
        }
        _ => failure,
    })?;
    if from.url.scheme() == "https" && to.url.scheme() == "http" && !to.downgrade {
        let why = format!(
            "{} redirects from https to plain http there; write http://{} in [origins] allow if that is meant",
            from.label, to.host
        );
        return Err(Cause::NotAllowed(why).at(&to.label));
    }
    Ok(to)
}

/// One attempt at a question: sends it and holds the head against it.
pub(super) async fn attempt(core: &Core, question: &Question, deadline: Instant) -> Result<(Head, Response), Failure> {
    let (fields, expect) = request(question);
    let (response, hop) = send(core, &core.clients, &question.location, question.method, &fields, deadline).await?;
    judge(&expect, response.status().as_u16(), response.headers(), SystemTime::now())
        .map(|head| (head, response))
        .map_err(|cause| Failure { answered: true, ..cause.at(&hop.label) })
}

/// The fields that are sent, and what the answer must fit.
fn request(question: &Question) -> (HeaderMap, Expect) {
    let mut fields = plain(&question.via);
    let mut expect = Expect {
        method: question.method,
        span: question.span,
        version: question.version.clone(),
        if_range: false,
        conditional: false,
    };
    if let Some(span) = question.span {
        // Closed, but where there is no end: a number near 2^64 is more than some servers can read.
        let range = match span.end() {
            u64::MAX => format!("bytes={}-", span.start()),
            end => format!("bytes={}-{}", span.start(), end - 1),
        };
        set(&mut fields, header::RANGE, &range);
        // Where a digest judges, another edge's tag is as good: If-Range would only bring the whole instead.
        let judged_by_tag = question.version.as_ref().filter(|version| !version.digest_known);
        if let Some(tag) = judged_by_tag.and_then(|version| version.validators.strong_etag()) {
            expect.if_range = set(&mut fields, header::IF_RANGE, tag);
        }
    }
    if let Some(validators) = &question.revalidate {
        if let Some(tag) = &validators.etag {
            expect.conditional |= set(&mut fields, header::IF_NONE_MATCH, tag);
        }
        if let Some(date) = &validators.last_modified {
            expect.conditional |= set(&mut fields, header::IF_MODIFIED_SINCE, date);
        }
    }
    (fields, expect)
}

/// What every request carries.
pub(super) fn plain(via: &str) -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    set(&mut fields, header::VIA, via);
    fields
}

/// Sets a field, unless its value cannot be one (a stored validator is outside text).
fn set(fields: &mut HeaderMap, name: header::HeaderName, value: &str) -> bool {
    HeaderValue::from_str(value).map(|value| fields.insert(name, value)).is_ok()
}
