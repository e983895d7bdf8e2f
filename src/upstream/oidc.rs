//! Asking an OpenID provider who somebody is: discovery, the address of a sign-in, and the token for its code.
//!
//! 1. The provider's document (OpenID Connect Discovery 1.0, 4) says where it is asked; it must name the issuer that was configured. It is
//!    asked for with the first sign-in, and again after [`KNOWN_FOR`].
//! 2. [`Provider::address`] is where the browser is sent: the code flow (OpenID Connect Core 1.0, 3.1.2.1) with PKCE (RFC 7636, S256).
//! 3. [`Provider::claims`] trades the code for the ID token at the provider's token endpoint, and says what the token claims.
//!
//! The token comes from the provider itself over TLS that was verified, so that its signature need not be checked (Core, 3.1.3.7, point 6).
//! So plain HTTP is refused, but for a provider on this machine. What is claimed is held against issuer, client and time here; the nonce is
//! with who asks.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout};
use url::Url;

use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::model::origin::Host;
use crate::upstream::client;
use crate::upstream::error::{Error, cause_of};
use crate::upstream::proxy::Through;

/// How long the provider's document is believed: addresses change seldom, and a restart asks anew.
const KNOWN_FOR: Duration = Duration::from_hours(1);
/// How long one question may take: somebody waits before a browser.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer: documents of large providers have 5 KiB, tokens with many groups 30.
const BYTES_MAX: usize = 256 << 10;
/// How far the provider's clock may be apart.
const CLOCKS: u64 = 120;

/// Which provider.
#[derive(Clone, Debug)]
pub struct Config {
    /// As it names itself, such as `https://login.example.org/realms/site`.
    pub issuer: String,
    /// As it knows this node.
    pub client: String,
    /// What it knows this node by.
    pub secret: Secret,
    /// Proxy, roots and connect timeout.
    pub http: crate::upstream::Config,
}

/// Why nobody comes in this way.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The provider cannot be asked.
    #[error("the sign-in service {host} cannot be asked: {why}")]
    Unreachable {
        /// Whom.
        host: String,
        /// Why.
        why: String,
    },
    /// It says something that does not fit.
    #[error("the sign-in service {host} says something that does not fit: {why}")]
    Strange {
        /// Who.
        host: String,
        /// What.
        why: String,
    },
}

/// One way through the provider's page, as the browser is sent on it.
#[derive(Clone, Debug)]
pub struct Way<'a> {
    /// Where the browser comes back to.
    pub redirect: &'a str,
    /// Comes back with it.
    pub state: &'a str,
    /// Stands in the token.
    pub nonce: &'a str,
    /// The SHA-256 of the verifier, in base 64.
    pub challenge: &'a str,
    /// The provider asks for the password again, whoever is signed in there.
    pub anew: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Token {
    id_token: String,
}

/// A provider. Clones are the same.
#[derive(Clone, Debug)]
pub struct Provider {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    host: String,
    client: Client,
    proxy: Option<String>,
    known: Mutex<Option<(Instant, Document)>>,
}

/// Whether what goes there cannot be read or changed on the way.
fn is_safe(url: &Url) -> bool {
    let is_here = || match url.host() {
        Some(url::Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(url::Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_here())
}

impl Provider {
    /// Reads the files of certificates and builds the client. Blocks for the files; opens no connection.
    ///
    /// # Errors
    /// [`Error::Config`] names what cannot be used.
    pub fn new(config: Config) -> Result<Self, Error> {
        let refuse =
            |why: &str| Error::Config { what: "the issuer of [admin] oidc_issuer".to_owned(), why: why.to_owned() };
        let issuer = Url::parse(&config.issuer).map_err(|_| refuse("it is no URL"))?;
        if !is_safe(&issuer) {
            return Err(refuse(
                "it begins with anything but https://; who can read or change the way could sign in as anybody",
            ));
        }
        if issuer.query().is_some() || issuer.fragment().is_some() || !issuer.username().is_empty() {
            return Err(refuse("an issuer has neither user nor query nor fragment"));
        }
        let host = Host::parse(issuer.host_str().unwrap_or_default()).map_err(|error| refuse(&error.to_string()))?;
        let port = issuer.port_or_known_default().unwrap_or(443);
        let through = Through::new(&config.http.proxy)?.filter(|through| through.takes(&host, port));
        let client = client::for_named(&config.http, through.as_ref())?;
        let host = if port == 443 { host.to_string() } else { format!("{host}:{port}") };
        let proxy = through.map(|through| through.label);
        let inner = Inner { config, host, client, proxy, known: Mutex::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The host, for people.
    pub fn host(&self) -> &str {
        &self.inner.host
    }

    fn strange(&self, why: impl Into<String>) -> Trouble {
        Trouble::Strange { host: self.inner.host.clone(), why: why.into() }
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<(u16, Vec<u8>), Trouble> {
        let (inner, unreachable) =
            (&self.inner, |why: String| Trouble::Unreachable { host: self.inner.host.clone(), why });
        let asked = async {
            let connect = inner.config.http.connect_timeout;
            let mut response = request
                .send()
                .await
                .map_err(|error| unreachable(cause_of(error, inner.proxy.as_deref(), connect).to_string()))?;
            let mut bytes = Vec::new();
            while let Some(chunk) =
                response.chunk().await.map_err(|error| unreachable(error.without_url().to_string()))?
            {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > BYTES_MAX {
                    return Err(self.strange(format!("an answer of more than {BYTES_MAX} bytes")));
                }
            }
            Ok((response.status().as_u16(), bytes))
        };
        let late = || unreachable(format!("no answer within {} s", ANSWER_MAX.as_secs()));
        timeout(ANSWER_MAX, asked).await.unwrap_or_else(|_| Err(late()))
    }

    /// Step 1.
    async fn document(&self) -> Result<Document, Trouble> {
        let known = self.inner.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, document)) = known
            && at.elapsed() < KNOWN_FOR
        {
            return Ok(document);
        }
        let base = self.inner.config.issuer.trim_end_matches('/');
        let (status, bytes) =
            self.ask(self.inner.client.get(format!("{base}/.well-known/openid-configuration"))).await?;
        if status != 200 {
            return Err(self.strange(format!("{status} for its openid-configuration")));
        }
        let document: Document = serde_json::from_slice(&bytes)
            .map_err(|error| self.strange(format!("its openid-configuration cannot be read: {error}")))?;
        if document.issuer.trim_end_matches('/') != base {
            return Err(self.strange(format!("its openid-configuration is that of {:?}", document.issuer)));
        }
        for address in [&document.authorization_endpoint, &document.token_endpoint] {
            if !Url::parse(address).is_ok_and(|url| is_safe(&url)) {
                return Err(self.strange(format!("{address:?} is no https address")));
            }
        }
        *self.inner.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), document.clone()));
        Ok(document)
    }

    /// Step 2.
    pub async fn address(&self, way: &Way<'_>) -> Result<String, Trouble> {
        let document = self.document().await?;
        let mut url = Url::parse(&document.authorization_endpoint).map_err(|error| self.strange(error.to_string()))?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("scope", "openid profile email")
            .append_pair("client_id", &self.inner.config.client)
            .append_pair("redirect_uri", way.redirect)
            .append_pair("state", way.state)
            .append_pair("nonce", way.nonce)
            .append_pair("code_challenge", way.challenge)
            .append_pair("code_challenge_method", "S256");
        if way.anew {
            url.query_pairs_mut().append_pair("prompt", "login").append_pair("max_age", "0");
        }
        Ok(url.into())
    }

    /// The request that trades a code (RFC 6749, 4.1.3).
    fn trade(
        &self,
        document: &Document,
        code: &str,
        verifier: &str,
        redirect: &str,
    ) -> Result<reqwest::RequestBuilder, Trouble> {
        let config = &self.inner.config;
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", redirect)
            .append_pair("code_verifier", verifier);
        // Where nothing is said, it is `client_secret_basic` (Discovery, 3).
        let methods = document.token_endpoint_auth_methods_supported.as_deref();
        let is_basic = methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"));
        let mut request = self.inner.client.post(&document.token_endpoint);
        if is_basic {
            // Each half is form-encoded first (RFC 6749, 2.3.1).
            let coded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", coded(&config.client), coded(config.secret.expose()));
            let mut basic = http::HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
                .map_err(|_| self.strange("the client's secret cannot be sent"))?;
            basic.set_sensitive(true);
            request = request.header(http::header::AUTHORIZATION, basic);
        } else {
            form.append_pair("client_id", &config.client).append_pair("client_secret", config.secret.expose());
        }
        Ok(request
            .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(http::header::ACCEPT, "application/json")
            .body(form.finish()))
    }

    /// Step 3.
    pub async fn claims(
        &self,
        code: &str,
        verifier: &str,
        redirect: &str,
        now: Timestamp,
    ) -> Result<Map<String, Value>, Trouble> {
        let (document, config) = (self.document().await?, &self.inner.config);
        let request = self.trade(&document, code, verifier, redirect)?;
        let (status, bytes) = self.ask(request).await?;
        if status != 200 {
            let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let word = said["error"].as_str().unwrap_or("no reason").chars().take(60).collect::<String>();
            return Err(self.strange(format!("{status} ({word:?}) for the code of this sign-in")));
        }
        let token: Token = serde_json::from_slice(&bytes)
            .map_err(|error| self.strange(format!("its token cannot be read: {error}")))?;
        let claims = payload(&token.id_token).ok_or_else(|| self.strange("its ID token cannot be read"))?;
        judge(&claims, config, now).map_err(|why| self.strange(why))?;
        Ok(claims)
    }
}

/// What a token in the compact form of RFC 7519 claims.
fn payload(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?).ok()
}

/// OpenID Connect Core 1.0, 3.1.3.7: whose token it is, for whom and until when.
fn judge(claims: &Map<String, Value>, config: &Config, now: Timestamp) -> Result<(), String> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    // Some end theirs with a slash, and who writes it down does not: it is the same place.
    if text("iss").map(|issuer| issuer.trim_end_matches('/')) != Some(config.issuer.trim_end_matches('/')) {
        return Err("its ID token is of another issuer".into());
    }
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !audiences.contains(&config.client.as_str()) {
        return Err("its ID token is for another client".into());
    }
    let is_other = text("azp").is_some_and(|client| client != config.client);
    if is_other || (audiences.len() > 1 && text("azp").is_none()) {
        return Err("its ID token was given to another client".into());
    }
    let (now, number) = (now.ms() / 1000, |name: &str| claims.get(name).and_then(Value::as_f64));
    let ends = number("exp").ok_or("its ID token has no end")?;
    if ends + CLOCKS as f64 <= now as f64 {
        return Err("its ID token has ended: compare the clocks".into());
    }
    if number("iat").is_some_and(|made| made > (now + CLOCKS) as f64) {
        return Err("its ID token was made in the future: compare the clocks".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let http = crate::upstream::Config {
            proxy: crate::upstream::Proxy::default(),
            extra_ca: Vec::new(),
            connect_timeout: ANSWER_MAX,
            stall_timeout: ANSWER_MAX,
            patience: ANSWER_MAX,
            node: "test".into(),
            hops_max: 1,
            own_addresses: Vec::new(),
        };
        let issuer = "https://login.example.org/site".to_owned();
        Config { issuer, client: "ws".into(), secret: Secret::new("s".into()), http }
    }

    #[test]
    fn a_token_counts_for_its_issuer_client_and_time_alone() {
        let now = Timestamp::from_ms(1_000_000_000);
        let good = serde_json::json!({ "iss": "https://login.example.org/site", "aud": "ws", "exp": 1_000_100, "iat": 999_990 });
        let with = |name: &str, value: Value| {
            let mut claims = good.as_object().unwrap().clone();
            if value.is_null() {
                claims.remove(name)
            } else {
                claims.insert(name.into(), value)
            };
            judge(&claims, &config(), now)
        };
        assert_eq!(with("sub", "x".into()), Ok(()));
        assert_eq!(with("aud", serde_json::json!(["ws"])), Ok(()));
        assert_eq!(with("exp", 999_881.into()), Ok(()));
        for (name, value) in [
            ("iss", "https://login.example.org/other".into()),
            ("iss", Value::Null),
            ("aud", "other".into()),
            ("aud", Value::Null),
            ("aud", serde_json::json!(["ws", "other"])),
            ("azp", "other".into()),
            ("exp", 999_880.into()),
            ("exp", Value::Null),
            ("exp", "never".into()),
            ("iat", 1_000_121.into()),
        ] {
            assert!(with(name, value.clone()).is_err(), "{name} {value}");
        }
    }

    #[test]
    fn what_is_no_token_claims_nothing() {
        let good = format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(r#"{"sub":"x"}"#));
        assert_eq!(payload(&good).unwrap()["sub"], "x");
        for bad in ["", "a.b", "e30.e30", "e30.e30.e30.e30", "e30.!.e30", "e30.WzFd.e30"] {
            assert!(payload(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_provider_is_asked_over_tls_or_on_this_machine() {
        for (issuer, fits) in [
            ("https://login.example.org", true),
            ("http://127.0.0.1:9000", true),
            ("http://[::1]:9000", true),
            ("http://localhost:9000", true),
            ("http://login.example.org", false),
            ("http://localhost.example.org", false),
            ("https://a@login.example.org", false),
            ("https://login.example.org/?a=b", false),
            ("nothing", false),
        ] {
            assert_eq!(Provider::new(Config { issuer: issuer.into(), ..config() }).is_ok(), fits, "{issuer}");
        }
    }
}
