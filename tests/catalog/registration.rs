//! Who an endpoint is, over real sockets: accepted, held, refused, too many, contested, cloned; let in, and kept over a restart and through a
//! backup.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use waystation::base::time::{Clock, SystemClock, Timestamp};
use waystation::fleet::registry::{Admission, Admit, NEW_MAX, Registered};
use waystation::model::deployment::Endpoint;
use waystation::model::update::UpdateId;
use waystation::serve::client::Config;
use waystation::store::fleet::{Bios, Contact, EventKind, Os, Registration};

use crate::endpoints::{Agent, From, Node, SOON, one, serve, sim};

fn endpoint(agent: &Agent) -> Endpoint {
    Endpoint(agent.id.parse().unwrap())
}

/// Shakes hands; what came of the registration.
async fn come(agent: &mut Agent) -> Result<(), String> {
    agent.config().await;
    agent.authorize().await;
    agent.take_cookie("").await?;
    agent.register().await
}

/// A clock that stands.
#[derive(Debug)]
struct Later(Timestamp);

impl Clock for Later {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn held() -> Admission {
    Admission { otherwise: Admit::Hold, networks: vec![] }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_machine_says_of_itself_is_kept() {
    let sim = sim(40);
    let node = Node::below(&sim).await;
    let registry = node.registry(Admission::default()).await;
    let server = node.listen_to(&registry).await;
    let mut agent = Agent::new(server.addresses()[0], 1).await;
    agent.groups = "Pilot;Site A".into();
    come(&mut agent).await.unwrap();
    agent.scan().await;
    let fleet = node.store.fleet();
    let record = fleet.endpoint(endpoint(&agent)).await.unwrap().unwrap();
    let told = &record.registration;
    assert_eq!(
        (told.name.as_str(), told.maker.as_str(), told.model.as_str()),
        ("pc.site.example", "QEMU", "Standard PC")
    );
    assert_eq!((told.os.build, told.os.product, told.client_version.as_str()), (26_100, 1, "1507.2601.0.0"));
    assert_eq!(told.targets, ["Pilot", "Site A"], "the groups of the handshake");
    let contacts = fleet.contacts(endpoint(&agent)).await.unwrap();
    let [registered, scanned, reported] =
        [Contact::Registration, Contact::Scan, Contact::Report].map(|contact| contacts.last(contact));
    assert!(registered.is_some() && scanned >= registered && reported.is_none());
    assert_eq!(contacts.address.unwrap().to_string(), "127.0.0.1");
    let seat = registry.seat(endpoint(&agent)).unwrap();
    assert!(seat.is_served && seat.targets.iter().map(AsRef::as_ref).eq(["Pilot", "Site A"]));

    // A report is a contact; a cookie that was taken anew and not registered with is believed under the same name.
    let report = |agent: &Agent| {
        format!("<cookie>{}</cookie><clientTime>2026-10-04T15:20:47Z</clientTime><eventBatch/>", agent.cookie)
    };
    let mut fresh = Agent::new(server.addresses()[0], 1).await;
    fresh.config().await;
    fresh.authorize().await;
    fresh.take_cookie("").await.unwrap();
    assert_eq!(fresh.round().await.unwrap_err(), "RegistrationRequired");
    fresh.ask("ReportEventBatch", &report(&fresh)).await.unwrap();
    let contacts = fleet.contacts(endpoint(&agent)).await.unwrap();
    assert!(contacts.last(Contact::Report).is_some());

    // The groups are others now: the old cookie's word does not count for them, and the registration brings them.
    agent.groups = "Pilot".into();
    let old = one(&agent.cookie, "EncryptedData").to_owned();
    agent.authorize().await;
    agent.take_cookie(&format!("<EncryptedData>{old}</EncryptedData>")).await.unwrap();
    assert_eq!(agent.round().await.unwrap_err(), "RegistrationRequired");
    agent.register().await.unwrap();
    agent.round().await.unwrap();
    assert!(registry.seat(endpoint(&agent)).unwrap().targets.iter().map(AsRef::as_ref).eq(["Pilot"]));
    // With nothing new a cookie is taken anew and needs no registration.
    let old = one(&agent.cookie, "EncryptedData").to_owned();
    agent.authorize().await;
    agent.take_cookie(&format!("<EncryptedData>{old}</EncryptedData>")).await.unwrap();
    agent.round().await.unwrap();
    server.drain(SOON).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_held_is_served_once_somebody_lets_it_in() {
    let sim = sim(40);
    let node = Node::below(&sim).await;
    let registry = node.registry(held()).await;
    let server = node.listen_to(&registry).await;
    let mut agent = Agent::new(server.addresses()[0], 1).await;
    assert_eq!(come(&mut agent).await.unwrap_err(), "InvalidParameters");
    assert_eq!(agent.round().await.unwrap_err(), "RegistrationRequired");
    assert_eq!(agent.register().await.unwrap_err(), "InvalidParameters", "it is told so each time, and nothing else");
    assert!(registry.admit(endpoint(&agent), "kim".into(), SystemClock.now()).await.unwrap());
    // Its next request: the machine was known, and nothing else was missing.
    agent.round().await.unwrap();

    // A restart keeps both: who was let in, and who waits.
    let mut waiting = Agent::new(server.addresses()[0], 2).await;
    assert_eq!(come(&mut waiting).await.unwrap_err(), "InvalidParameters");
    server.drain(SOON).await;
    drop(registry);
    let node = node.restarted(&sim).await;
    let registry = node.registry(held()).await;
    let server = node.listen_to(&registry).await;
    let cookie = agent.cookie.clone();
    let mut agent = Agent::new(server.addresses()[0], 1).await;
    agent.cookie = cookie;
    agent.round().await.unwrap();
    let mut waiting = Agent::new(server.addresses()[0], 2).await;
    assert_eq!(come(&mut waiting).await.unwrap_err(), "InvalidParameters");

    // Who is forgotten is served no more, whatever its cookie says, and is new if it comes again.
    assert!(registry.forget(endpoint(&agent)).await.unwrap());
    assert_eq!(agent.round().await.unwrap_err(), "RegistrationRequired");
    assert_eq!(agent.register().await.unwrap_err(), "InvalidParameters");
    server.drain(SOON).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_new_is_refused_by_network_and_taken_in_numbers() {
    let sim = sim(40);
    let node = Node::below(&sim).await;
    let networks =
        vec![("127.0.0.0/8".parse().unwrap(), Admit::Refuse), ("192.0.2.0/24".parse().unwrap(), Admit::Accept)];
    let registry = node.registry(Admission { otherwise: Admit::Hold, networks }).await;
    let config = Config { plaintext: vec!["192.0.2.0/24".parse().unwrap()], ..Config::default() };
    let face = node.face_by(config, registry.clone(), Arc::new(SystemClock)).await;
    let named = serve(Arc::new(From(Arc::clone(&face), [192, 0, 2, 9])));
    let server = serve(face);
    let mut refused = Agent::new(server.addresses()[0], 1).await;
    assert_eq!(come(&mut refused).await.unwrap_err(), "InvalidParameters");
    assert!(node.store.fleet().endpoint(endpoint(&refused)).await.unwrap().is_none(), "nothing is kept of it");
    let mut known = Agent::new(named.addresses()[0], 2).await;
    come(&mut known).await.unwrap();
    // Who is known is served from anywhere.
    let mut away = Agent::new(server.addresses()[0], 2).await;
    come(&mut away).await.unwrap();
    away.round().await.unwrap();

    // A network brings so many new ones in an hour.
    let new = |of: u32| {
        let mut bytes = [9; 16];
        bytes[..4].copy_from_slice(&of.to_be_bytes());
        Registration {
            endpoint: Endpoint(UpdateId::new(bytes)),
            name: format!("pc{of}"),
            os: Os::default(),
            maker: String::new(),
            model: String::new(),
            bios: Bios::default(),
            architecture: String::new(),
            client_version: String::new(),
            targets: vec![],
            address: "192.0.2.7".parse().unwrap(),
            at: SystemClock.now(),
        }
    };
    let mut many = tokio::task::JoinSet::new();
    for of in 1..NEW_MAX {
        let (registry, new) = (registry.clone(), new(of));
        many.spawn(async move { registry.registered(new).await.unwrap() });
    }
    assert!(many.join_all().await.iter().all(|one| *one == Registered::Accepted));
    let mut late = Agent::new(named.addresses()[0], 3).await;
    assert_eq!(come(&mut late).await.unwrap_err(), "ServerBusy", "it passes by itself");
    known.register().await.unwrap();
    for server in [named, server] {
        server.drain(SOON).await;
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contested_id_gets_nothing_that_is_for_another() {
    let sim = sim(40);
    let node = Node::below(&sim).await;
    let registry = node.registry(Admission::default()).await;
    let server = node.listen_to(&registry).await;
    let address = server.addresses()[0];
    let mut first = Agent::new(address, 1).await;
    come(&mut first).await.unwrap();
    first.round().await.unwrap();
    let old = one(&first.cookie, "EncryptedData").to_owned();

    // A copy of it under another name, which has its cookies too.
    let mut copy = Agent::new(address, 1).await;
    copy.name = "copy.site.example".into();
    copy.config().await;
    copy.authorize().await;
    copy.take_cookie(&format!("<EncryptedData>{old}</EncryptedData>")).await.unwrap();
    assert_eq!(copy.round().await.unwrap_err(), "RegistrationRequired");
    assert_eq!(copy.register().await.unwrap_err(), "InvalidParameters");
    assert_eq!(copy.round().await.unwrap_err(), "RegistrationRequired", "that is no way in");
    // Nor is its report the other one's.
    let before = node.store.fleet().contacts(endpoint(&first)).await.unwrap();
    let report = format!("<cookie>{}</cookie><clientTime>2026-10-04T15:20:47Z</clientTime><eventBatch/>", copy.cookie);
    copy.ask("ReportEventBatch", &report).await.unwrap();
    assert_eq!(node.store.fleet().contacts(endpoint(&first)).await.unwrap(), before);
    // With the very cookie of the first: what it says it is counts, until the first says what it is.
    copy.cookie.clone_from(&first.cookie);
    assert_eq!(copy.register().await.unwrap_err(), "InvalidParameters");
    assert_eq!(copy.round().await.unwrap_err(), "RegistrationRequired");
    first.register().await.unwrap();
    first.round().await.unwrap();

    // They came in turns, so that the next time the copy is a clone.
    let clock = Timestamp::from_ms(SystemClock.now().ms() + 7_200_000);
    let face = node.face_by(Config::default(), registry.clone(), Arc::new(Later(clock))).await;
    let later = serve(face);
    let mut again = Agent::new(later.addresses()[0], 1).await;
    again.name.clone_from(&copy.name);
    assert_eq!(come(&mut again).await.unwrap_err(), "InvalidParameters");
    let record = node.store.fleet().endpoint(endpoint(&first)).await.unwrap().unwrap();
    assert_eq!((record.contests.len(), record.contests[0].is_clone), (1, true));
    assert_eq!(record.registration.name, "pc.site.example");

    // Another model under the same name: neither a scan nor a report is taken from it.
    let mut rebuilt = Agent::new(address, 1).await;
    rebuilt.model = "Other".into();
    assert_eq!(come(&mut rebuilt).await.unwrap_err(), "InvalidParameters");
    assert_eq!(rebuilt.round().await.unwrap_err(), "RegistrationRequired");

    // By somebody's word the id belongs to the copy: its cookie counts from then on, and the first one's no more.
    assert!(registry.bind(endpoint(&first), copy.name.clone(), "kim".into(), clock).await.unwrap());
    assert_eq!(first.round().await.unwrap_err(), "RegistrationRequired");
    assert_eq!(first.register().await.unwrap_err(), "InvalidParameters");
    copy.authorize().await;
    copy.take_cookie("").await.unwrap();
    copy.register().await.unwrap();
    copy.round().await.unwrap();
    let kinds: Vec<EventKind> =
        node.store.fleet().history(endpoint(&first)).await.unwrap().iter().map(|event| event.kind).collect();
    assert!(
        kinds.starts_with(&[EventKind::First, EventKind::Contested]) && kinds.contains(&EventKind::Bound),
        "{kinds:?}"
    );
    for server in [server, later] {
        server.drain(SOON).await;
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_cookie_is_nobodys() {
    let sim = sim(40);
    let node = Node::below(&sim).await;
    let registry = node.registry(Admission::default()).await;
    let server = node.listen_to(&registry).await;
    let mut agent = Agent::new(server.addresses()[0], 1).await;
    come(&mut agent).await.unwrap();
    agent.round().await.unwrap();
    let good = STANDARD.decode(one(&agent.cookie, "EncryptedData")).unwrap();
    let with = |bytes: &[u8]| {
        format!(
            "<Expiration>2026-10-04T15:03:36Z</Expiration><EncryptedData>{}</EncryptedData>",
            STANDARD.encode(bytes)
        )
    };
    // Each byte counts: the word, the server, the epoch, the nonce, and what is sealed.
    for (at, word) in [(0, "InvalidCookie"), (5, "ServerChanged"), (21, "ServerChanged"), (30, "InvalidCookie")] {
        let mut forged = good.clone();
        forged[at] ^= 1;
        agent.cookie = with(&forged);
        assert_eq!(agent.round().await.unwrap_err(), word, "byte {at}");
        assert_eq!(agent.register().await.unwrap_err(), word, "byte {at}");
    }
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    for bytes in [&forged[..], &good[..good.len() - 1], &[good.clone(), vec![0]].concat(), &[b'W'; 5000], &[]] {
        agent.cookie = with(bytes);
        assert_eq!(agent.round().await.unwrap_err(), "InvalidCookie");
    }
    // One for GetCookie may ask nothing, and another endpoint's says nothing of this one.
    let mut other = Agent::new(server.addresses()[0], 2).await;
    come(&mut other).await.unwrap();
    agent.authorize().await;
    let theirs = one(&other.cookie, "EncryptedData").to_owned();
    agent.take_cookie(&format!("<EncryptedData>{theirs}</EncryptedData>")).await.unwrap();
    assert_eq!(agent.round().await.unwrap_err(), "RegistrationRequired");
    // What is too long for any machine is cut, and what is no number is none.
    let mut long = Agent::new(server.addresses()[0], 3).await;
    (long.name, long.model) = ("n".repeat(900), "m".repeat(900));
    long.groups = "g;".repeat(500);
    come(&mut long).await.unwrap();
    let told = node.store.fleet().endpoint(endpoint(&long)).await.unwrap().unwrap().registration;
    assert_eq!((told.name.len(), told.model.len(), told.targets.len()), (255, 255, 32));
    server.drain(SOON).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_knows_its_endpoints_and_not_their_cookies() {
    let sim = sim(40);
    let node = Node::below(&sim).await;
    let registry = node.registry(Admission::default()).await;
    let server = node.listen_to(&registry).await;
    let mut agent = Agent::new(server.addresses()[0], 1).await;
    come(&mut agent).await.unwrap();
    agent.round().await.unwrap();
    let (mut late, cookie, had) =
        (Agent::new(server.addresses()[0], 2).await, agent.cookie.clone(), agent.held.clone());
    let before = node.store.fleet().server(SystemClock.now()).await.unwrap();
    let node = node
        .restored(&sim, async |_| {
            come(&mut late).await.unwrap();
            server.drain(SOON).await;
            drop(registry);
        })
        .await;
    let after = node.store.fleet().server(SystemClock.now()).await.unwrap();
    assert_eq!(after.id, before.id);
    assert!(after.epoch > before.epoch && after.signs.key.expose() != before.signs.key.expose());
    let registry = node.registry(held()).await;
    let server = node.listen_to(&registry).await;
    let mut agent = Agent::new(server.addresses()[0], 1).await;
    (agent.cookie, agent.held) = (cookie, had);
    assert_eq!(agent.round().await.unwrap_err(), "ServerChanged");
    assert_eq!(agent.register().await.unwrap_err(), "ServerChanged");
    // It shows the old cookie when it shakes hands, and maps what it holds first.
    let old = one(&agent.cookie, "EncryptedData").to_owned();
    agent.config().await;
    agent.authorize().await;
    agent.take_cookie(&format!("<EncryptedData>{old}</EncryptedData>")).await.unwrap();
    agent.register().await.unwrap();
    assert_eq!(agent.round().await.unwrap_err(), "ServerChanged");
    let inside = format!("<cookie>{}</cookie><globalIDs/>", agent.cookie);
    agent.ask("RefreshCache", &inside).await.unwrap();
    agent.round().await.unwrap();
    // Who came after the backup is new.
    let mut late = Agent::new(server.addresses()[0], 2).await;
    assert_eq!(come(&mut late).await.unwrap_err(), "InvalidParameters");
    server.drain(SOON).await;
    node.close().await;
}
