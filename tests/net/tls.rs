//! Handshakes of every kind that the clients make, and certificates that come, change and go.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore, SupportedCipherSuite, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use waystation::base::disk::{Disk, DiskFile, Facts, RealDisk};
use waystation::base::secret::Secret;
use waystation::base::time::{Clock, Timestamp};
use waystation::net::tls::ca::SiteCa;
use waystation::net::tls::csr::KeyKind;
use waystation::net::tls::files::Pair;
use waystation::net::tls::names::SiteName;
use waystation::net::tls::{Config as TlsConfig, Tls};
use waystation::net::{Bound, Config, Error};

use crate::bench::{Bench, Client, soon};

const DAY: Duration = Duration::from_hours(24);

/// The machine's time, and some more.
#[derive(Debug, Default)]
pub struct Ahead(AtomicU64);

impl Ahead {
    fn go(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        Timestamp::from(std::time::SystemTime::now()).after(Duration::from_millis(self.0.load(Ordering::Relaxed)))
    }
}

fn names(list: &[&str]) -> Vec<SiteName> {
    list.iter().map(|name| name.parse().unwrap()).collect()
}

/// A node's TLS side in a directory of its own.
pub struct Site {
    pub tls: Arc<Tls>,
    clock: Arc<Ahead>,
    config: TlsConfig,
    _dir: tempfile::TempDir,
}

impl Site {
    pub fn new(list: &[&str]) -> Self {
        Self::with(list, |_| {})
    }

    fn with(list: &[&str], change: impl FnOnce(&mut TlsConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = TlsConfig { names: names(list), ..TlsConfig::new(dir.path().join("tls")) };
        change(&mut config);
        let clock = Arc::new(Ahead::default());
        let tls = Arc::new(open(&config, &clock).unwrap());
        Self { tls, clock, config, _dir: dir }
    }

    fn reopen(&self, list: &[&str]) -> Result<Tls, Error> {
        open(&TlsConfig { names: names(list), ..self.config.clone() }, &self.clock)
    }

    fn bench(&self) -> Bench {
        let bound = Bound::tcp("127.0.0.1:0".parse().unwrap()).unwrap().with_tls(self.tls.server_config());
        Bench::with(Config::default(), bound)
    }

    fn ca(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.tls.ca_certificate().unwrap().unwrap().as_bytes()).unwrap()
    }

    /// A modern client that trusts the site CA and would rather speak HTTP/2.
    pub async fn connect(&self, bench: &Bench, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let client = Visitor { alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()], ..Visitor::new(self.ca()) };
        client.connect(bench, name).await
    }
}

fn open(config: &TlsConfig, clock: &Arc<Ahead>) -> Result<Tls, Error> {
    Tls::open(config.clone(), Arc::new(RealDisk), clock.clone())
}

struct Visitor {
    trusts: CertificateDer<'static>,
    suites: Option<Vec<SupportedCipherSuite>>,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: Vec<Vec<u8>>,
}

impl Visitor {
    fn new(trusts: CertificateDer<'static>) -> Self {
        Self { trusts, suites: None, versions: vec![&version::TLS13, &version::TLS12], alpn: vec![] }
    }

    fn tls12(self, suite: SupportedCipherSuite) -> Self {
        Self { suites: Some(vec![suite]), versions: vec![&version::TLS12], ..self }
    }

    async fn connect(self, bench: &Bench, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let default = aws_lc_rs::default_provider();
        let suites = self.suites.unwrap_or_else(|| default.cipher_suites.clone());
        let provider = CryptoProvider { cipher_suites: suites, ..default };
        let mut roots = RootCertStore::empty();
        roots.add(self.trusts).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = self.alpn;
        let stream = TcpStream::connect(bench.address).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
    }
}

pub async fn h2_over(
    stream: TlsStream<TcpStream>,
) -> (
    hyper::client::conn::http2::SendRequest<Empty<bytes::Bytes>>,
    impl Future<Output = hyper::Result<()>> + Send + 'static,
) {
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    hyper::client::conn::http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await.unwrap()
}

fn leaf_of(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// Writes a file that only its owner can read, as a key is kept.
fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn assert_private(path: &Path) {
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
}

/// A CA of somebody else's.
struct Company {
    issuer: Issuer<'static, KeyPair>,
    cert: CertificateDer<'static>,
    pem: String,
}

impl Company {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Company CA");
        let cert = params.self_signed(&key).unwrap();
        Self { cert: cert.der().clone(), pem: cert.pem(), issuer: Issuer::new(params, key) }
    }

    /// Certificate and key in PEM.
    fn sign(&self, key: &KeyPair, list: &[&str]) -> String {
        let names: Vec<String> = list.iter().map(ToString::to_string).collect();
        CertificateParams::new(names).unwrap().signed_by(key, &self.issuer).unwrap().pem()
    }
}

fn ecdsa() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

#[tokio::test]
async fn a_server_2012_r2_shakes_hands() {
    let site = Site::new(&["patches.site.example", "127.0.0.1"]);
    let bench = site.bench();
    let suite = aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let stream = Visitor::new(site.ca()).tls12(suite).connect(&bench, "patches.site.example").await.unwrap();
    assert_eq!(stream.get_ref().1.negotiated_cipher_suite(), Some(suite));
    assert_eq!(Client(stream).get("/peer").await.body, b"127.0.0.1 true");
    // By address as well.
    Visitor::new(site.ca()).tls12(suite).connect(&bench, "127.0.0.1").await.unwrap();
    // An RSA suite alone finds no certificate.
    let rsa_only = aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
    Visitor::new(site.ca()).tls12(rsa_only).connect(&bench, "patches.site.example").await.unwrap_err();
    while bench.counters.handshakes_failed.get() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn openssl_agrees() {
    let site = Site::new(&["patches.site.example"]);
    let bench = site.bench();
    let (address, ca) = (bench.address.to_string(), site.config.dir.join("site-ca.pem"));
    let output = tokio::task::spawn_blocking(move || {
        std::process::Command::new("openssl")
            .args(["s_client", "-connect", &address, "-servername", "patches.site.example", "-tls1_2"])
            .args(["-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256", "-verify_hostname", "patches.site.example"])
            .arg("-CAfile")
            .arg(ca)
            .stdin(std::process::Stdio::null())
            .output()
    });
    let Ok(output) = soon(output).await.unwrap() else {
        eprintln!("skipped: there is no openssl on this machine");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"), "{text}");
    assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
}

#[tokio::test]
async fn tls_13_and_alpn() {
    let site = Site::new(&["patches.site.example"]);
    let bench = site.bench();
    let plain = Visitor { versions: vec![&version::TLS13], ..Visitor::new(site.ca()) };
    let stream = plain.connect(&bench, "patches.site.example").await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let mut client = Client(stream);
    assert_eq!(client.get("/hello").await.body, b"hello");
    // A cut shows through TLS too.
    client.send("GET /short HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let head = client.head().await;
    assert!(client.rest().await.0.len() < crate::bench::length(&head));
    let stream = site.connect(&bench, "patches.site.example").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let old = Visitor { alpn: vec![b"http/1.0".to_vec()], ..Visitor::new(site.ca()) };
    let mut client = Client(old.connect(&bench, "patches.site.example").await.unwrap());
    client.send("GET /hello HTTP/1.0\r\n\r\n").await;
    assert!(client.rest().await.0.ends_with(b"\r\n\r\nhello"));
}

#[tokio::test]
async fn a_client_without_ecdsa_gets_the_rsa_leaf() {
    let site = Site::new(&["patches.site.example"]);
    let company = Company::new();
    for key in [rsa(), ecdsa()] {
        let chain = company.sign(&key, &["patches.site.example"]);
        let imported = site.tls.import_pem(chain.as_bytes(), Some(key.serialize_pem().as_bytes())).unwrap();
        assert_eq!(imported.uncovered, Vec::<String>::new());
    }
    let shown = site.tls.show().unwrap();
    assert_eq!(shown.iter().map(|shown| shown.key_type.as_str()).collect::<Vec<_>>(), ["ECDSA P-256", "RSA 2048"]);
    assert!(!site.tls.is_self_made());
    let bench = site.bench();
    for (suite, shown) in [
        (aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, &shown[1]),
        (aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, &shown[0]),
    ] {
        let visitor = Visitor::new(company.cert.clone()).tls12(suite);
        let stream = visitor.connect(&bench, "patches.site.example").await.unwrap();
        let seen = waystation::net::tls::show::Shown::of(&leaf_of(&stream)).unwrap();
        assert_eq!(&seen, shown);
        assert_eq!(Client(stream).get("/hello").await.body, b"hello");
    }
}

#[tokio::test]
async fn an_rsa_import_leaves_nobody_out() {
    let site = Site::new(&["patches.site.example"]);
    let (company, key) = (Company::new(), rsa());
    let chain = company.sign(&key, &["patches.site.example"]);
    site.tls.import_pem(chain.as_bytes(), Some(key.serialize_pem().as_bytes())).unwrap();
    assert!(!site.tls.is_self_made());
    let bench = site.bench();
    // Whoever can take it gets the imported one, though they could take ECDSA too.
    for versions in [vec![&version::TLS13], vec![&version::TLS12]] {
        let visitor = Visitor { versions, ..Visitor::new(company.cert.clone()) };
        visitor.connect(&bench, "patches.site.example").await.unwrap();
    }
    // A Server 2012 R2 still gets what it got before.
    let suite = aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let stream = Visitor::new(site.ca()).tls12(suite).connect(&bench, "patches.site.example").await.unwrap();
    assert_eq!(Client(stream).get("/hello").await.body, b"hello");
}

#[tokio::test]
async fn the_site_ca_is_good_for_the_site_alone() {
    let site = Site::new(&["patches.site.example"]);
    // Refused by us ...
    let refused = site.reopen(&["patches.site.example", "www.example.org"]).unwrap_err();
    assert!(matches!(refused, Error::NameOutside { .. }), "{refused}");
    // ... and by clients, if somebody signs with the CA's key all the same.
    let dir = &site.config.dir;
    let ca_key = KeyPair::from_pem(&std::fs::read_to_string(dir.join("site-ca.key")).unwrap()).unwrap();
    let issuer = Issuer::from_ca_cert_der(&site.ca(), ca_key).unwrap();
    for (name, inside) in [("other.site.example", true), ("www.example.org", false), ("198.51.100.1", false)] {
        let key = ecdsa();
        let cert = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let files = tempfile::tempdir().unwrap();
        let pair = Pair { cert: files.path().join("cert.pem"), key: files.path().join("key.pem") };
        std::fs::write(&pair.cert, cert.pem()).unwrap();
        write_private(&pair.key, &key.serialize_pem());
        let forged = Site::with(&[], |config| config.pairs = vec![pair]);
        let result = Visitor::new(site.ca()).connect(&forged.bench(), name).await;
        match result {
            Ok(_) => assert!(inside, "{name} was taken"),
            Err(error) => assert!(!inside && error.to_string().contains("NameConstraint"), "{name}: {error}"),
        }
    }
    // A wider CA, and then the name is fine.
    let made = site.tls.create_ca(&names(&["site.example", "example.org"])).unwrap().0;
    let tls = site.reopen(&["patches.site.example", "www.example.org"]).unwrap();
    let shown = &tls.show().unwrap()[0];
    assert_eq!((shown.names.len(), &shown.issuer), (2, &made.subject));
    assert_eq!(site.tls.show_ca().unwrap(), Some(made.clone()));
    assert!(site.tls.create_ca(&names(&["10.0.0.1"])).is_err());
    // One that could not sign for the node itself is not made.
    assert!(matches!(site.tls.create_ca(&names(&["example.net"])).unwrap_err(), Error::NameOutside { .. }));
    assert_eq!(site.tls.show_ca().unwrap(), Some(made));
}

#[tokio::test]
async fn the_leaf_renews_itself_and_follows_the_names() {
    let site = Site::new(&["patches.site.example"]);
    let first = site.tls.show().unwrap().remove(0);
    assert!(first.not_after.since(first.not_before) <= DAY * 398);
    assert!(site.tls.is_self_made());
    assert!(!site.tls.reload().unwrap(), "nothing changed");
    assert_eq!(site.reopen(&["patches.site.example"]).unwrap().show().unwrap()[0], first, "kept over a restart");
    site.clock.go(DAY * 200);
    assert!(!site.tls.reload().unwrap(), "looked at, and found good");
    assert_eq!(site.tls.show().unwrap()[0], first, "not in its last third yet");
    let bench = site.bench();
    let mut open = Client(Visitor::new(site.ca()).connect(&bench, "patches.site.example").await.unwrap());
    assert_eq!(open.get("/hello").await.body, b"hello");
    site.clock.go(DAY * 70);
    assert!(site.tls.reload().unwrap());
    let second = site.tls.show().unwrap().remove(0);
    assert!(second.fingerprint != first.fingerprint && second.not_after > first.not_after);
    assert_eq!(open.get("/hello").await.body, b"hello", "open connections are left alone");
    let third = site.reopen(&["patches.site.example", "10.9.8.7"]);
    // 10.9.8.7 lies outside of what the CA was made for: loopback alone.
    assert!(matches!(third.unwrap_err(), Error::NameOutside { .. }));
    let third = site.reopen(&["cache.site.example"]).unwrap().show().unwrap().remove(0);
    assert_eq!((third.names, third.issuer), (vec!["cache.site.example".to_owned()], second.issuer));
    // Without configured names the machine's own are taken as far as the CA goes, and that is no error.
    assert!(site.reopen(&[]).unwrap().show().unwrap()[0].names.contains(&"localhost".to_owned()));
    for file in ["site-ca.key", "site-ca.pem", "leaf.pem"] {
        assert_private(&site.config.dir.join(file));
    }
}

#[tokio::test]
async fn configured_files_are_watched_and_a_bad_one_changes_nothing() {
    let files = tempfile::tempdir().unwrap();
    let pair = Pair { cert: files.path().join("cert.pem"), key: files.path().join("key.pem") };
    let company = Company::new();
    let put = |list: &[&str]| {
        let key = ecdsa();
        std::fs::write(&pair.cert, company.sign(&key, list)).unwrap();
        write_private(&pair.key, &key.serialize_pem());
    };
    put(&["one.site.example"]);
    let site = Site::with(&[], |config| {
        config.pairs = vec![pair.clone()];
        config.poll_every = Duration::from_millis(10);
    });
    assert!(!site.config.dir.exists(), "no CA is made that nobody needs");
    let names_now = || site.tls.show().unwrap().remove(0).names;
    assert_eq!(names_now(), ["one.site.example"]);

    std::fs::write(&pair.key, ecdsa().serialize_pem()).unwrap();
    assert!(site.tls.reload().unwrap_err().to_string().contains("belongs to the key"));
    assert_eq!(names_now(), ["one.site.example"]);
    assert!(!site.tls.reload().unwrap(), "the same bad file is not tried again");
    std::fs::write(&pair.key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
        .unwrap();
    assert!(site.tls.reload().unwrap_err().to_string().contains("openssl pkey"));
    std::fs::remove_file(&pair.key).unwrap();
    assert!(site.tls.reload().unwrap_err().is_retryable());
    assert!(open(&site.config, &site.clock).is_err(), "at the start it is an error");

    // A key that everybody can read is refused: at the start, and as a change.
    put(&["open.site.example"]);
    for mode in [0o604, 0o644, 0o602] {
        std::fs::set_permissions(&pair.key, std::fs::Permissions::from_mode(mode)).unwrap();
        let refused = site.tls.reload().unwrap_err().to_string();
        assert!(refused.contains("open to everybody") && refused.contains("chmod"), "{refused}");
        assert_eq!(names_now(), ["one.site.example"]);
        assert!(open(&site.config, &site.clock).unwrap_err().to_string().contains("open to everybody"));
    }
    std::fs::set_permissions(&pair.key, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(site.tls.reload().unwrap());
    assert_eq!(names_now(), ["open.site.example"]);

    let stop = CancellationToken::new();
    let watch = tokio::spawn(site.tls.clone().watch(stop.clone()));
    put(&["two.site.example"]);
    let bench = site.bench();
    soon(async { while Visitor::new(company.cert.clone()).connect(&bench, "two.site.example").await.is_err() {} })
        .await;
    stop.cancel();
    soon(watch).await.unwrap();
}

/// A disk on which a file is replaced in the moment in which it is read.
#[derive(Debug, Default)]
struct Swapping(std::sync::Mutex<Option<(std::path::PathBuf, String)>>);

impl Swapping {
    /// What `path` holds just after it has been opened again.
    fn then(&self, path: &Path, text: String) {
        *self.0.lock().unwrap() = Some((path.to_owned(), text));
    }
}

impl Disk for Swapping {
    fn open(&self, path: &Path) -> std::io::Result<Arc<dyn DiskFile>> {
        let opened = RealDisk.open(path);
        if let Some((_, text)) = self.0.lock().unwrap().take_if(|(next, _)| next == path) {
            let beside = path.with_extension("swap");
            write_private(&beside, &text);
            std::fs::rename(beside, path).unwrap();
        }
        opened
    }
    fn create_dir(&self, path: &Path) -> std::io::Result<()> {
        RealDisk.create_dir(path)
    }
    fn create(&self, path: &Path) -> std::io::Result<Arc<dyn DiskFile>> {
        RealDisk.create(path)
    }
    fn open_write(&self, path: &Path) -> std::io::Result<Arc<dyn DiskFile>> {
        RealDisk.open_write(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn unlink(&self, path: &Path) -> std::io::Result<()> {
        RealDisk.unlink(path)
    }
    fn sync_dir(&self, path: &Path) -> std::io::Result<()> {
        RealDisk.sync_dir(path)
    }
    fn seal(&self, path: &Path) -> std::io::Result<()> {
        RealDisk.seal(path)
    }
    fn list(&self, path: &Path) -> std::io::Result<Vec<(std::path::PathBuf, Facts)>> {
        RealDisk.list(path)
    }
    fn facts(&self, path: &Path) -> std::io::Result<Option<Facts>> {
        RealDisk.facts(path)
    }
    fn copy(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        RealDisk.copy(from, to)
    }
    fn free_bytes(&self, path: &Path) -> std::io::Result<u64> {
        RealDisk.free_bytes(path)
    }
}

#[test]
fn a_file_that_is_replaced_while_it_is_read_is_seen_next() {
    let files = tempfile::tempdir().unwrap();
    // Key and chain in one file, so that a replacement is whole.
    let path = files.path().join("node.pem");
    let company = Company::new();
    let made = |name: &str| {
        let key = ecdsa();
        format!("{}{}", key.serialize_pem(), company.sign(&key, &[name]))
    };
    write_private(&path, &made("one.site.example"));
    let mut config = TlsConfig::new(files.path().join("tls"));
    config.pairs = vec![Pair { cert: path.clone(), key: path.clone() }];
    let disk = Arc::new(Swapping::default());
    let tls = Tls::open(config, disk.clone(), Arc::new(Ahead::default())).unwrap();
    let names_now = || tls.show().unwrap().remove(0).names;

    // The chain is read, then the file is another one, then the key is read: the two do not go together.
    write_private(&path, &made("two.site.example"));
    disk.then(&path, made("three.site.example"));
    tls.reload().unwrap_err();
    assert_eq!(names_now(), ["one.site.example"]);
    assert!(tls.reload().unwrap(), "the new file was not seen");
    assert_eq!(names_now(), ["three.site.example"]);
    assert!(!tls.reload().unwrap());
    // Whoever says that something changed is believed: the file is read, though it looks as before.
    disk.then(&path, made("four.site.example"));
    assert!(!tls.reload().unwrap(), "looks as before");
    tls.reload_anyway().unwrap_err();
    assert!(tls.reload().unwrap());
    assert_eq!(names_now(), ["four.site.example"]);
}

#[test]
fn a_renewal_that_is_replaced_while_it_is_read_is_seen_next() {
    // A read that succeeds, and a file that is another one right after.
    let files = tempfile::tempdir().unwrap();
    let pair = Pair { cert: files.path().join("cert.pem"), key: files.path().join("key.pem") };
    let (company, key) = (Company::new(), ecdsa());
    std::fs::write(&pair.cert, company.sign(&key, &["one.site.example"])).unwrap();
    write_private(&pair.key, &key.serialize_pem());
    let mut config = TlsConfig::new(files.path().join("tls"));
    config.pairs = vec![pair.clone()];
    let disk = Arc::new(Swapping::default());
    disk.then(&pair.cert, company.sign(&key, &["two.site.example"]));
    let tls = Tls::open(config, disk, Arc::new(Ahead::default())).unwrap();
    assert_eq!(tls.show().unwrap()[0].names, ["one.site.example"]);
    assert!(tls.reload().unwrap(), "the new file was not seen");
    assert_eq!(tls.show().unwrap()[0].names, ["two.site.example"]);
}

#[tokio::test]
async fn a_request_is_answered_and_imported() {
    let site = Site::new(&["patches.site.example", "127.0.0.1"]);
    let company = Company::new();
    let nobody_asked = company.sign(&ecdsa(), &["patches.site.example"]);
    let refused = site.tls.import_pem(nobody_asked.as_bytes(), None).unwrap_err().to_string();
    assert!(refused.contains("no private key came"), "{refused}");
    for (kind, file) in [(KeyKind::Ecdsa, "request-ecdsa.key"), (KeyKind::Rsa, "request-rsa.key")] {
        let request = site.tls.request(kind, true).unwrap();
        let key = std::fs::read(site.config.dir.join(file)).unwrap();
        assert!(matches!(site.tls.request(kind, false), Err(Error::Pending { .. })));
        assert_eq!(std::fs::read(site.config.dir.join(file)).unwrap(), key, "the key of the first request is lost");
        assert!(!request.contains("PRIVATE"));
        assert_private(&site.config.dir.join(file));
        let refused = site.tls.import_pem(nobody_asked.as_bytes(), None).unwrap_err().to_string();
        assert!(refused.contains("belongs to no request"), "{refused}");
        let params = rcgen::CertificateSigningRequestParams::from_pem(&request).unwrap();
        let answer = params.signed_by(&company.issuer).unwrap().pem();
        // Some CAs put their own certificate first.
        let ca = &company.pem;
        let imported = site.tls.import_pem(format!("{ca}{answer}").as_bytes(), None).unwrap();
        assert_eq!(imported.shown.names, ["patches.site.example", "127.0.0.1"]);
        assert!(imported.uncovered.is_empty() && !site.config.dir.join(file).exists());
    }
    assert_private(&site.config.dir.join("imported-ecdsa.pem"));
    let bench = site.bench();
    Visitor::new(company.cert.clone()).connect(&bench, "patches.site.example").await.unwrap();
    site.tls.forget_imported().unwrap();
    assert!(site.tls.is_self_made());
    Visitor::new(site.ca()).connect(&bench, "patches.site.example").await.unwrap();
}

#[test]
fn what_no_client_would_take_is_not_imported() {
    let site = Site::new(&["patches.site.example"]);
    let company = Company::new();
    let key = ecdsa();
    let pem = key.serialize_pem();
    let import = |params: CertificateParams, key_pem: &str| {
        let chain = params.signed_by(&key, &company.issuer).unwrap().pem();
        site.tls.import_pem(chain.as_bytes(), Some(key_pem.as_bytes())).map_err(|error| error.to_string())
    };
    let params =
        |list: &[&str]| CertificateParams::new(list.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    let mut expired = params(&["patches.site.example"]);
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    assert!(import(expired, &pem).unwrap_err().contains("expired on 2020-01-01"));
    let mut for_clients = params(&["patches.site.example"]);
    for_clients.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    assert!(import(for_clients, &pem).unwrap_err().contains("serverAuth"));
    assert!(import(params(&[]), &pem).unwrap_err().contains("alternative names"));
    let other = ecdsa().serialize_pem();
    assert!(import(params(&["patches.site.example"]), &other).unwrap_err().contains("belongs to the key"));
    assert!(import(params(&["patches.site.example"]), "nothing").unwrap_err().contains("no private key"));
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let chain = company.sign(&ed25519, &["patches.site.example"]);
    let refused = site.tls.import_pem(chain.as_bytes(), Some(ed25519.serialize_pem().as_bytes())).unwrap_err();
    assert!(refused.to_string().contains("Ed25519"), "{refused}");
    assert!(site.tls.is_self_made(), "nothing was kept");
    // One that is for other names is taken, and said.
    let imported = import(params(&["www.site.example"]), &pem).unwrap();
    assert_eq!(imported.uncovered, ["patches.site.example"]);
    assert!(!format!("{:?}", site.tls).contains("PRIVATE"));
}

#[test]
fn a_pfx_is_imported_with_its_password() {
    use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
    let site = Site::new(&["patches.site.example"]);
    let company = Company::new();
    let key = rsa();
    let own = CertificateDer::from_pem_slice(company.sign(&key, &["patches.site.example"]).as_bytes()).unwrap();
    let certs = [&own, &company.cert].map(|cert| Certificate::from_der(cert).unwrap());
    let mut store = KeyStore::new();
    let chain = PrivateKeyChain::new(vec![1, 2, 3], PrivateKey::from_der(key.serialized_der()).unwrap(), certs);
    store.add_entry("node", KeyStoreEntry::PrivateKeyChain(chain));
    let pfx = store.writer("pass wörd").write().unwrap();
    let wrong = site.tls.import_pfx(&pfx, &Secret::new("other".into())).unwrap_err();
    assert!(matches!(wrong, Error::Pfx(_)), "{wrong}");
    assert!(site.tls.import_pfx(b"no pfx", &Secret::new(String::new())).is_err());
    let imported = site.tls.import_pfx(&pfx, &Secret::new("pass wörd".into())).unwrap();
    assert_eq!((imported.shown.key_type.as_str(), imported.uncovered.len()), ("RSA 2048", 0));
    let shown = site.tls.show().unwrap();
    assert_eq!((shown.len(), &shown[0], shown[1].key_type.as_str()), (2, &imported.shown, "ECDSA P-256"));
}

#[test]
fn a_ca_without_its_key_is_told() {
    let site = Site::new(&["patches.site.example"]);
    std::fs::remove_file(site.config.dir.join("site-ca.key")).unwrap();
    std::fs::remove_file(site.config.dir.join("leaf.pem")).unwrap();
    let refused = site.reopen(&["patches.site.example"]).unwrap_err().to_string();
    assert!(refused.contains("ca create --for DOMAIN --replace"), "{refused}");
    let scope = waystation::net::tls::scope::Scope::around(&names(&["patches.site.example"]));
    SiteCa::create(&RealDisk, &site.config.dir, &*site.clock, &scope).unwrap();
    assert!(site.reopen(&["patches.site.example"]).unwrap().is_self_made());
}

#[test]
fn a_good_leaf_is_served_whatever_is_wrong_with_the_ca() {
    let site = Site::new(&["patches.site.example"]);
    let leaf = site.tls.show().unwrap();
    let file = |name: &str| site.config.dir.join(name);
    let (key, cert) = (std::fs::read(file("site-ca.key")).unwrap(), std::fs::read(file("site-ca.pem")).unwrap());
    for damage in ["", "nothing", &ecdsa().serialize_pem()] {
        std::fs::write(file("site-ca.key"), damage).unwrap();
        assert_eq!(site.reopen(&["patches.site.example"]).unwrap().show().unwrap(), leaf, "{damage:?}");
        let error = SiteCa::existing(&RealDisk, &site.config.dir).unwrap_err().to_string();
        assert!(error.contains("ca create --for DOMAIN --replace"), "{error}");
    }
    std::fs::write(file("site-ca.key"), &key).unwrap();
    std::fs::write(file("site-ca.pem"), "nothing").unwrap();
    assert_eq!(site.reopen(&["patches.site.example"]).unwrap().show().unwrap(), leaf);
    // What is damaged is never written over by a start.
    assert_eq!(std::fs::read(file("site-ca.pem")).unwrap(), b"nothing");
    // The running node goes on, too, and is whole again when the file is.
    assert!(!site.tls.reload_anyway().unwrap());
    std::fs::write(file("site-ca.pem"), &cert).unwrap();
    assert!(SiteCa::existing(&RealDisk, &site.config.dir).unwrap().is_some());
    // A leaf that has ended is none.
    std::fs::write(file("site-ca.key"), "nothing").unwrap();
    site.clock.go(398 * DAY);
    assert!(site.reopen(&["patches.site.example"]).unwrap_err().to_string().contains("holds no usable key"));
}

#[test]
fn a_new_ca_is_made_whatever_is_wrong_with_the_old_one() {
    let create = |site: &Site, list: &[&str], domains: &[&str]| {
        let config = TlsConfig { names: names(list), ..site.config.clone() };
        let tls = Tls::unloaded(config, Arc::new(RealDisk), site.clock.clone()).unwrap();
        tls.create_ca(&names(domains)).map(|(made, kept)| {
            assert!(kept.iter().all(|path| path.exists()) && !kept.is_empty(), "{kept:?}");
            made
        })
    };
    // Another domain than the one that the CA was made for.
    let site = Site::new(&["patches.site.example"]);
    assert!(matches!(site.reopen(&["patches.moved.example"]), Err(Error::NameOutside { .. })));
    let made = create(&site, &["patches.moved.example"], &["moved.example"]).unwrap();
    let shown = site.reopen(&["patches.moved.example"]).unwrap().show().unwrap().remove(0);
    assert_eq!((shown.names, shown.issuer), (vec!["patches.moved.example".to_owned()], made.subject));
    // A key that is gone, is another one, or is none.
    let key = site.config.dir.join("site-ca.key");
    let other = ecdsa().serialize_pem();
    for damage in [None, Some(other.as_str()), Some("nothing")] {
        match damage {
            None => std::fs::remove_file(&key).unwrap(),
            Some(text) => std::fs::write(&key, text).unwrap(),
        }
        std::fs::remove_file(site.config.dir.join("leaf.pem")).unwrap();
        site.reopen(&["patches.site.example"]).unwrap_err();
        create(&site, &["patches.site.example"], &["site.example"]).unwrap();
        assert!(site.reopen(&["patches.site.example"]).unwrap().is_self_made(), "{damage:?}");
    }
    // One that could not sign for the node is refused, and nothing is touched.
    let before = std::fs::read(&key).unwrap();
    assert!(matches!(create(&site, &["www.example.org"], &["site.example"]), Err(Error::NameOutside { .. })));
    assert_eq!(std::fs::read(&key).unwrap(), before);
}

#[test]
fn one_at_a_time_works_on_the_directory() {
    let site = Site::new(&["patches.site.example"]);
    let dir = &site.config.dir;
    type Work = fn(&Tls) -> bool;
    let works: [(&str, Work); 3] = [
        ("a request", |tls| tls.request(KeyKind::Ecdsa, true).is_ok()),
        ("another CA", |tls| tls.create_ca(&names(&["site.example"])).is_ok()),
        ("a load", |tls| tls.reload_anyway().is_ok()),
    ];
    for (what, work) in works {
        let held = waystation::net::tls::lock::hold(&RealDisk, dir).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| tell.send(work(&site.tls)).unwrap());
            told.recv_timeout(Duration::from_millis(200)).expect_err(what);
            drop(held);
            assert!(told.recv_timeout(crate::bench::PATIENCE).expect(what), "{what}");
        });
    }
}
