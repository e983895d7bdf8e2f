//! Who an endpoint is: bound at first sight, contested, cloned, moved, held; the keys of cookies; and that all of it outlives a restart.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use waystation::base::time::{SystemClock, Timestamp};
use waystation::fleet::registry::{Admission, Admit, Called, NEW_MAX, Registered, Registry};
use waystation::model::deployment::Endpoint;
use waystation::model::update::UpdateId;
use waystation::store::Store;
use waystation::store::fleet::{Admitted, Bios, Contact, EventKind, FORMER_MAX, HISTORY_MAX, News, Os, Registration};

use crate::fault_disk::{FaultDisk, Faults};
use crate::small_store::{config, open};

const HOUR: u64 = 3_600_000;
const T: u64 = 1_800_000_000_000;

fn at(hour: u64) -> Timestamp {
    Timestamp::from_ms(T + hour * HOUR)
}

fn endpoint(of: u32) -> Endpoint {
    let mut bytes = [9; 16];
    bytes[..4].copy_from_slice(&of.to_be_bytes());
    Endpoint(UpdateId::new(bytes))
}

fn machine(of: u32, name: &str, address: &str, hour: u64) -> Registration {
    Registration {
        endpoint: endpoint(of),
        name: name.into(),
        os: Os { major: 10, minor: 0, build: 26_100, pack_major: 0, pack_minor: 0, product: 1 },
        maker: "Maker".into(),
        model: "Model 1".into(),
        bios: Bios { name: "Firmware".into(), version: "1.0".into(), date: "2025-01-01".into() },
        architecture: "amd64".into(),
        client_version: "10.0.26100.1".into(),
        targets: vec!["Pilot".into()],
        address: address.parse().unwrap(),
        at: at(hour),
    }
}

async fn kinds(registry: &Registry, of: u32) -> Vec<EventKind> {
    registry.fleet().history(endpoint(of)).await.unwrap().iter().map(|event| event.kind).collect()
}

#[tokio::test]
async fn an_id_that_turns_up_with_another_machine_overwrites_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::new(open(dir.path()).fleet(), Admission::default());
    let first = machine(1, "pc1.example", "10.0.0.1", 0);
    assert_eq!(registry.registered(first.clone()).await.unwrap(), Registered::Accepted);
    let other = machine(1, "pc2.example", "10.0.0.2", 1);
    for _ in 0..3 {
        assert_eq!(registry.registered(other.clone()).await.unwrap(), Registered::Contested);
    }
    let mut rebuilt = machine(1, "PC1.example", "10.0.0.1", 1);
    rebuilt.model = "Model 2".into();
    assert_eq!(registry.registered(rebuilt).await.unwrap(), Registered::Contested, "the name alone is not the machine");
    let known = registry.fleet().endpoint(endpoint(1)).await.unwrap().unwrap();
    assert_eq!(known.registration, first);
    let contests: Vec<_> = known.contests.iter().map(|one| (one.name.as_str(), one.times, one.is_clone)).collect();
    assert_eq!(contests, [("pc2.example", 1, false), ("PC1.example", 1, false)]);
    assert_eq!(kinds(&registry, 1).await, [EventKind::First, EventKind::Contested, EventKind::Contested]);

    // It was renamed: by somebody's word, and not by its own.
    assert!(registry.bind(endpoint(1), "pc2.example".into(), "ann".into(), at(2)).await.unwrap());
    assert!(!registry.bind(endpoint(1), "pc3.example".into(), "ann".into(), at(2)).await.unwrap());
    assert_eq!(registry.registered(machine(1, "pc2.example", "10.0.0.2", 3)).await.unwrap(), Registered::Accepted);
    assert_eq!(registry.registered(machine(1, "pc1.example", "10.0.0.1", 3)).await.unwrap(), Registered::Contested);
}

#[tokio::test]
async fn who_leaves_maker_and_model_out_is_not_every_machine_of_that_name() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::new(open(dir.path()).fleet(), Admission::default());
    let first = machine(1, "pc1.example", "10.0.0.1", 0);
    registry.registered(first.clone()).await.unwrap();
    for (maker, model) in [("", ""), ("Maker", ""), ("", "Model 1")] {
        let mut mute = machine(1, "pc1.example", "10.0.0.66", 1);
        (mute.maker, mute.model) = (maker.into(), model.into());
        mute.os.build = 1;
        let (answer, machine) = registry.register(mute).await.unwrap();
        assert_eq!((answer, machine), (Registered::Contested, None), "{maker:?} {model:?}");
    }
    let known = registry.fleet().endpoint(endpoint(1)).await.unwrap().unwrap();
    assert_eq!((known.registration, known.contests.len()), (first, 3));

    // Who never said any is known by saying none.
    let mut mute = machine(2, "pc2.example", "10.0.0.2", 0);
    (mute.maker, mute.model) = (String::new(), String::new());
    assert_eq!(registry.registered(mute.clone()).await.unwrap(), Registered::Accepted);
    assert_eq!(registry.registered(mute).await.unwrap(), Registered::Accepted);
    assert_eq!(registry.registered(machine(2, "pc2.example", "10.0.0.2", 1)).await.unwrap(), Registered::Contested);
}

#[tokio::test]
async fn two_that_come_in_turns_are_clones() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::new(open(dir.path()).fleet(), Admission::default());
    let is_clone = async || registry.fleet().endpoint(endpoint(1)).await.unwrap().unwrap().contests[0].is_clone;
    registry.registered(machine(1, "a", "10.0.0.1", 0)).await.unwrap();
    registry.registered(machine(1, "b", "10.0.0.2", 1)).await.unwrap();
    registry.registered(machine(1, "b", "10.0.0.2", 9)).await.unwrap();
    assert!(!is_clone().await, "the first one may be gone under its name");
    registry.registered(machine(1, "a", "10.0.0.1", 10)).await.unwrap();
    assert!(!is_clone().await);
    assert_eq!(registry.registered(machine(1, "b", "10.0.0.2", 11)).await.unwrap(), Registered::Contested);
    assert!(is_clone().await);
}

#[tokio::test]
async fn an_address_is_history_and_what_is_kept_has_limits() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::new(open(dir.path()).fleet(), Admission::default());
    registry.registered(machine(1, "a", "10.0.0.1", 0)).await.unwrap();
    for hour in 1..=100 {
        let address = format!("10.1.0.{hour}");
        assert_eq!(registry.registered(machine(1, "a", &address, hour)).await.unwrap(), Registered::Accepted);
    }
    let known = registry.fleet().endpoint(endpoint(1)).await.unwrap().unwrap();
    assert!(known.contests.is_empty());
    assert_eq!(known.registration.address, "10.1.0.100".parse::<IpAddr>().unwrap());
    let history = registry.fleet().history(endpoint(1)).await.unwrap();
    assert_eq!((history.len(), history[0].kind), (HISTORY_MAX, EventKind::First));
    assert!(history[1..].iter().all(|event| event.kind == EventKind::Address));

    for of in 0..2 * 8 {
        registry.registered(machine(1, &format!("other{of}"), "10.0.0.9", 200)).await.unwrap();
    }
    let mut long = machine(2, &"é".repeat(4000), "10.0.0.1", 200);
    long.targets = vec!["x".repeat(4000); 400];
    registry.registered(long).await.unwrap();
    assert_eq!(registry.fleet().endpoint(endpoint(1)).await.unwrap().unwrap().contests.len(), 8);
    let told = registry.fleet().endpoint(endpoint(2)).await.unwrap().unwrap().registration;
    assert_eq!((told.name.chars().count(), told.targets.len(), told.targets[0].len()), (255, 32, 255));
}

#[tokio::test]
async fn who_is_new_is_let_in_by_network_and_in_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let networks = vec![("10.0.0.0/8".parse().unwrap(), Admit::Accept), ("10.9.0.0/16".parse().unwrap(), Admit::Hold)];
    let registry = Registry::new(open(dir.path()).fleet(), Admission { otherwise: Admit::Refuse, networks });
    assert_eq!(registry.registered(machine(1, "a", "::ffff:10.0.0.1", 0)).await.unwrap(), Registered::Accepted);
    assert_eq!(registry.registered(machine(2, "b", "10.9.0.1", 0)).await.unwrap(), Registered::Held);
    assert_eq!(registry.registered(machine(3, "c", "192.0.2.1", 0)).await.unwrap(), Registered::Refused);
    assert!(registry.fleet().endpoint(endpoint(3)).await.unwrap().is_none());
    assert!(!registry.is_served(endpoint(2)).await.unwrap());
    assert!(registry.admit(endpoint(2), "ann".into(), at(1)).await.unwrap());
    assert!(!registry.admit(endpoint(2), "ann".into(), at(1)).await.unwrap());
    assert!(registry.is_served(endpoint(2)).await.unwrap());

    let mut many = tokio::task::JoinSet::new();
    for of in 10..10 + NEW_MAX + 5 {
        let registry = registry.clone();
        many.spawn(async move { registry.registered(machine(of, &format!("m{of}"), "10.2.0.1", 0)).await.unwrap() });
    }
    let found = many.join_all().await;
    assert_eq!(found.iter().filter(|one| **one == Registered::TooMany).count(), 5);
    assert_eq!(registry.fleet().count().await.unwrap(), 2 + u64::from(NEW_MAX));
    assert_eq!(registry.registered(machine(5, "n", "10.3.0.1", 0)).await.unwrap(), Registered::Accepted);
    assert_eq!(registry.registered(machine(6, "o", "10.2.0.1", 1)).await.unwrap(), Registered::Accepted);
    let here = Registry::new(registry.fleet().clone(), Admission::default());
    let mut many = tokio::task::JoinSet::new();
    for of in 3000..3001 + NEW_MAX {
        let here = here.clone();
        many.spawn(
            async move { here.registered(machine(of, &format!("m{of}"), "::ffff:127.0.0.1", 0)).await.unwrap() },
        );
    }
    assert!(many.join_all().await.iter().all(|one| *one == Registered::Accepted), "the node itself is not counted");
    assert!(registry.fleet().forget(endpoint(6)).await.unwrap());
    assert!(kinds(&registry, 6).await.is_empty());
}

#[tokio::test]
async fn who_says_another_thing_each_time_has_it_written_a_few_times_an_hour() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::new(open(dir.path()).fleet(), Admission::default());
    let say = async |version: u32, hour: u64| {
        let told = Registration { client_version: version.to_string(), ..machine(1, "pc1", "10.2.0.1", hour) };
        assert_eq!(registry.registered(told).await.unwrap(), Registered::Accepted);
        let known = registry.fleet().endpoint(endpoint(1)).await.unwrap().unwrap();
        known.registration.client_version == version.to_string()
    };
    let mut kept = 0;
    for version in 0..100 {
        kept += u32::from(say(version, 0).await);
    }
    // Seen first, and then twelve changes.
    assert_eq!((kept, kinds(&registry, 1).await.len()), (13, 13));
    assert!(!say(100, 0).await && say(100, 1).await, "the next hour has its own");
}

/// Polls a future so often, and lets go of it; says whether it came to its end.
async fn polled(times: usize, future: impl Future) -> bool {
    let mut future = Box::pin(future);
    let mut left = times;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(_) => Poll::Ready(true),
        Poll::Pending => {
            left -= 1;
            if left == 0 { Poll::Ready(false) } else { Poll::Pending }
        }
    })
    .await
}

#[tokio::test]
async fn who_leaves_while_it_is_written_is_seated_as_it_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::new(open(dir.path()).fleet(), Admission::default());
    registry.fleet().listen();
    let mut cut_off = 0;
    // Six moments to leave at, again where the writer was quicker than this thread.
    for of in 1..=60 {
        if of > 6 && cut_off > 0 {
            break;
        }
        let times = usize::try_from(1 + (of - 1) % 6).unwrap();
        let from = format!("10.2.{of}.1");
        let is_done = polled(times, registry.registered(machine(of, &format!("m{of}"), &from, 0))).await;
        // What comes after it is written after it.
        assert!(!registry.forget(endpoint(1000)).await.unwrap());
        let known = registry.fleet().endpoint(endpoint(of)).await.unwrap();
        assert_eq!(registry.seat(endpoint(of)).is_some(), known.is_some(), "after {times} looks");
        let came = registry.fleet().news().contains(&News::Came(endpoint(of)));
        assert_eq!(came, known.is_some());
        if known.is_some() && !is_done {
            cut_off += 1;
            polled(1, registry.forget(endpoint(of))).await;
            assert!(!registry.forget(endpoint(1000)).await.unwrap());
            assert!(registry.fleet().endpoint(endpoint(of)).await.unwrap().is_none());
            assert!(registry.seat(endpoint(of)).is_none());
        }
    }
    assert!(cut_off > 0, "one left while the writer had what it said");
}

#[tokio::test]
async fn a_restart_keeps_endpoints_contacts_and_keys() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let registry = Registry::new(store.fleet(), Admission { otherwise: Admit::Hold, networks: vec![] });
    let server = store.fleet().server(at(0)).await.unwrap();
    registry.registered(machine(1, "a", "10.0.0.1", 0)).await.unwrap();
    registry.contact(endpoint(1), "10.0.0.1".parse().unwrap(), Contact::Scan, at(3));
    registry.contact(endpoint(1), "10.0.0.7".parse().unwrap(), Contact::Report, at(5));
    registry.contact(endpoint(7), "10.0.0.7".parse().unwrap(), Contact::Scan, at(5));
    registry.registered(machine(1, "a", "10.0.0.7", 5)).await.unwrap();
    let known = store.fleet().endpoint(endpoint(1)).await.unwrap();
    let contacts = store.fleet().contacts(endpoint(1)).await.unwrap();
    drop((registry, store));

    let store = open(dir.path());
    assert_eq!(store.fleet().endpoint(endpoint(1)).await.unwrap(), known);
    assert_eq!(known.unwrap().admitted, Admitted::Held);
    let kept = store.fleet().contacts(endpoint(1)).await.unwrap();
    assert_eq!(kept, contacts);
    let last = [Contact::Handshake, Contact::Registration, Contact::Scan, Contact::Report].map(|one| kept.last(one));
    assert_eq!(last, [None, Some(at(5)), Some(at(3)), Some(at(5))]);
    assert_eq!((kept.latest(), kept.address), (Some(at(5)), Some("10.0.0.7".parse().unwrap())));
    assert_eq!(store.fleet().contacts(endpoint(7)).await.unwrap().latest(), None, "nobody registered it");
    let history: Vec<_> =
        store.fleet().history(endpoint(1)).await.unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(history, [EventKind::First, EventKind::Address], "it moved once, whoever noticed");
    let again = store.fleet().server(at(1)).await.unwrap();
    assert_eq!((again.id, again.epoch, again.signs.number), (server.id, server.epoch, server.signs.number));
    assert_eq!(again.signs.key.expose(), server.signs.key.expose());
}

#[tokio::test]
async fn a_store_that_takes_nothing_stops_nobody_who_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new(dir.path());
    let opened =
        Store::open_with(config(dir.path()), Arc::new(disk.clone()), Arc::new(SystemClock), &disk.medium()).unwrap();
    let registry = Registry::open(opened.0.fleet(), Admission::default()).await;
    assert_eq!(registry.registered(machine(1, "a", "10.0.0.1", 0)).await.unwrap(), Registered::Accepted);
    let seat = registry.seat(endpoint(1)).unwrap();
    disk.set_faults(Faults { index_full: true, ..Faults::default() });
    // It moved, which would be history; another machine comes with its id; and a new one comes.
    let moved = registry.register(machine(1, "a", "10.1.0.9", 1)).await.unwrap();
    assert_eq!(moved, (Registered::Accepted, Some(seat.machine)));
    assert_eq!(registry.registered(machine(1, "b", "10.0.0.2", 1)).await.unwrap(), Registered::Contested);
    assert!(registry.registered(machine(2, "c", "10.0.0.3", 1)).await.is_err(), "it must be kept to be known");
    assert!(registry.seat(endpoint(1)).unwrap().is_served && registry.seat(endpoint(2)).is_none());
    assert!(registry.admit(endpoint(1), "ann".into(), at(1)).await.is_ok(), "there is nothing to write");
    assert!(registry.bind(endpoint(1), "b".into(), "ann".into(), at(1)).await.is_ok(), "nor is there such a contest");
    disk.set_faults(Faults::default());
    assert_eq!(registry.registered(machine(2, "c", "10.0.0.3", 1)).await.unwrap(), Registered::Accepted);
    assert_eq!(registry.registered(machine(1, "a", "10.1.0.9", 1)).await.unwrap(), Registered::Accepted);
    let known = registry.fleet().endpoint(endpoint(1)).await.unwrap().unwrap();
    assert_eq!(known.registration.address, "10.1.0.9".parse::<IpAddr>().unwrap(), "what was not kept comes again");
}

#[tokio::test]
async fn seats_follow_what_people_say_and_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let hold = || Admission { otherwise: Admit::Hold, networks: vec![] };
    let registry = Registry::open(store.fleet(), hold()).await;
    assert!(registry.seat(endpoint(1)).is_none());
    let (held, machine_of_1) = registry.register(machine(1, "PC1.example", "10.0.0.1", 0)).await.unwrap();
    let seat = registry.seat(endpoint(1)).unwrap();
    assert_eq!((held, seat.is_served, machine_of_1), (Registered::Held, false, Some(seat.machine)));
    assert!(registry.admit(endpoint(1), "ann".into(), at(1)).await.unwrap());
    assert!(registry.seat(endpoint(1)).unwrap().is_served);
    assert!(seat.is_called(Called::of("pc1.EXAMPLE")) && !seat.is_called(Called::of("pc2.example")));
    // Another machine of the same name, by its model: the name alone says no more who it is.
    let rebuilt = Registration { model: "Model 2".into(), ..machine(1, "pc1.example", "10.0.0.1", 1) };
    assert_eq!(registry.register(rebuilt).await.unwrap(), (Registered::Contested, None));
    let seat = registry.seat(endpoint(1)).unwrap();
    assert!(seat.is_served && !seat.is_called(Called::of("pc1.example")) && Some(seat.machine) == machine_of_1);
    // More endpoints than are read at a time.
    let mut many = tokio::task::JoinSet::new();
    for of in 10..10 + NEW_MAX {
        let registry = registry.clone();
        many.spawn(async move { registry.registered(machine(of, &format!("m{of}"), "10.2.0.1", 0)).await.unwrap() });
    }
    many.join_all().await;
    drop((registry, store));
    let store = open(dir.path());
    let registry = Registry::open(store.fleet(), hold()).await;
    assert_eq!(registry.seat(endpoint(1)), Some(seat), "a machine has the same number after a restart");
    assert!((10..10 + NEW_MAX).all(|of| registry.seat(endpoint(of)).is_some_and(|seat| !seat.is_served)));
    assert!(registry.forget(endpoint(1)).await.unwrap() && registry.seat(endpoint(1)).is_none());
    assert!(!registry.forget(endpoint(1)).await.unwrap());
}

#[tokio::test]
async fn former_keys_open_until_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = open(dir.path()).fleet();
    let two = Duration::from_hours(2);
    let (first, same) = tokio::join!(fleet.server(at(0)), fleet.server(at(0)));
    let first = first.unwrap();
    assert_eq!(first.signs.key.expose(), same.unwrap().signs.key.expose(), "two that ask at once get one key");
    assert!(first.opens.is_empty());
    assert!(format!("{first:?}").contains("key: Key(***)"), "a key is never printed");

    let second = fleet.rotate(at(1), two).await.unwrap();
    assert_eq!(second.id, first.id);
    assert_ne!(second.signs.key.expose(), first.signs.key.expose());
    let opens = async |hour| fleet.server(at(hour)).await.unwrap().key(first.signs.number).map(|key| *key.expose());
    assert_eq!(opens(2).await, Some(*first.signs.key.expose()));
    assert_eq!(opens(3).await, None, "its end is not part of it");
    // A later rotation lengthens nothing.
    fleet.rotate(at(2), Duration::from_hours(9)).await.unwrap();
    assert_eq!(opens(3).await, None);
    assert!(fleet.server(at(10)).await.unwrap().key(second.signs.number).is_some());

    let mut numbers = std::collections::BTreeSet::new();
    for _ in 0..3 * FORMER_MAX {
        let server = fleet.rotate(at(20), two).await.unwrap();
        assert!(numbers.insert(server.signs.number), "a number is never used again");
        assert!(server.opens.len() <= FORMER_MAX);
    }
    assert_eq!(fleet.server(at(20)).await.unwrap().opens.len(), FORMER_MAX);
}
