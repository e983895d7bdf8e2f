//! The cookie that carries a session's id.

use axum::extract::Request;
use http::{HeaderValue, header};

use crate::admin::door::SignedIn;
use crate::admin::door::foreign::WAITS;
use crate::base::secret::Secret;
use crate::net::Peer;

/// Over TLS. The prefix has browsers refuse one that another host, a plain connection or a path set.
const SECURE: &str = "__Host-waystation";
/// Over plain HTTP, on this machine.
const PLAIN: &str = "waystation";

fn name(request_is_secure: bool) -> &'static str {
    if request_is_secure { SECURE } else { PLAIN }
}

/// Whether the request came over TLS.
pub fn is_secure(peer: Option<&Peer>) -> bool {
    peer.is_some_and(|peer| peer.secure)
}

/// The id that a request carries; none where it carries two.
pub fn read(request: &Request) -> Option<String> {
    one(request, name(is_secure(request.extensions().get::<Peer>())))
}

fn one(request: &Request, wanted: &str) -> Option<String> {
    let lines = request.headers().get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut found = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == wanted);
    let (_, id) = found.next()?;
    found.next().is_none().then(|| id.to_owned())
}

fn way_name(request_is_secure: bool) -> &'static str {
    if request_is_secure { "__Host-waystation-way" } else { "waystation-way" }
}

/// What a browser kept on its way to the sign-in service.
pub fn read_way(request: &Request) -> Option<String> {
    one(request, way_name(is_secure(request.extensions().get::<Peer>())))
}

/// The header that has a browser keep a word until it comes back from the sign-in service.
pub fn keep_way(word: &Secret, secure: bool) -> Option<HeaderValue> {
    let (tail, age) = (if secure { "; Secure" } else { "" }, WAITS.as_secs());
    let name = way_name(secure);
    header(&format!("{name}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{tail}", word.expose()))
}

/// The header that has a browser forget it.
pub fn forget_way(secure: bool) -> Option<HeaderValue> {
    let tail = if secure { "; Secure" } else { "" };
    header(&format!("{}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{tail}", way_name(secure)))
}

fn header(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The header that has a browser keep the id until it is closed.
pub fn set(signed: &SignedIn, secure: bool) -> Option<HeaderValue> {
    let tail = if secure { "; Secure" } else { "" };
    header(&format!("{}={}; Path=/; HttpOnly; SameSite=Lax{tail}", name(secure), signed.id.expose()))
}

/// The header that has a browser forget it.
pub fn clear(secure: bool) -> Option<HeaderValue> {
    let tail = if secure { "; Secure" } else { "" };
    header(&format!("{}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{tail}", name(secure)))
}
