//! The soak: a node with less room than there is to hold, origins that fail, clients of every kind, an operator at the
//! command line, reloads, kills, flipped bits; all by a seed, which is printed.
//!
//! 1. Some payloads are fetched with their digest, pinned, and left alone by clients: bits are flipped in these.
//! 2. Rounds. In the first half the node is killed or stopped and started again every few seconds; in the second half
//!    one process lives through all of it, so that growth would show.
//! 3. After each round everything comes to rest, and is looked at: the log, the process, sums against what the disk has
//!    allocated, `store verify`, and whether all that is proven is still served.
//!
//! A client that is sent one wrong byte in an answer that ends well ends the soak. Bits are flipped only in what no client
//! asks for before it is mended: nobody reads a payload again before each answer.

mod clients;
mod faulty;
mod verbs;
pub(crate) mod watch;
mod world;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Stage;
use crate::branch::check;
use crate::bytes::{Dice, Object, sha256};
use crate::faults::{flip, payloads};
use crate::http;
use crate::nginx::Nginx;
use crate::node::{Node, wait_for};
use crate::soak::clients::{Field, MANNERS, Tally};
use crate::soak::faulty::Faulty;
use crate::soak::verbs::Ended;
use crate::soak::watch::{Sample, allocated, metric, panics};
use crate::soak::world::Thing;

const MIB: u64 = 1 << 20;
const CLIENTS: u64 = 14;
const OPERATORS: u64 = 3;
/// About a quarter of what there is to hold.
const MAX_SIZE: u64 = 96 * MIB;
/// Pinned, and damaged: of sizes that nothing else has, so that their files are known.
const DAMAGED: [u64; 3] = [5 * MIB + 1001, 3 * MIB + 1003, MIB + 1007];

const CONFIG: &str = r#"
[advertise]
names = ["patches.site.example"]
external = ["127.0.0.1"]
[store]
max_size = "96 MiB"
min_free = "1 MiB"
open_payloads = 64
index_cache = "16 MiB"
[upstream]
stall_timeout = "1 s"
patience = "3 s"
[fill]
silence = "5 s"
[log]
level = "warn"
"#;

/// What is under way, apart from the node itself.
struct Soak {
    nginx: Vec<Nginx>,
    faulty: Vec<Faulty>,
    /// What clients ask for.
    things: Vec<Arc<Thing>>,
    /// See [`DAMAGED`].
    damaged: Vec<Thing>,
    /// The sizes of those of them in which a bit was flipped: each has a size of its own.
    flipped: Mutex<Vec<u64>>,
    tally: Tally,
    ended: Ended,
    stop: AtomicBool,
    quiet: AtomicBool,
    busy: AtomicU64,
    /// The first thing that must never be.
    failure: Mutex<Option<io::Error>>,
}

/// What the main thread did to the node.
#[derive(Default)]
struct Done {
    kills: u64,
    stops: u64,
    reloads: u64,
    flips: u64,
    rounds: u64,
    served: u64,
    most: Sample,
}

pub(crate) fn soak(stage: &Stage) -> io::Result<String> {
    println!("     seed {}, {} s", stage.seed, stage.seconds);
    let mut dice = Dice::new(stage.seed);
    let soak = build(stage, &mut dice)?;
    let origins: Vec<_> =
        soak.nginx.iter().map(|origin| origin.address).chain(soak.faulty.iter().map(|origin| origin.address)).collect();
    let mut node = Node::start(&stage.program, &stage.folder, &origins, CONFIG)?;
    let ca = stage.folder.join("ca.pem");
    fs::write(&ca, node.verb(&["tls", "ca", "export"])?)?;
    for thing in &soak.damaged {
        node.verb(&["fetch", &thing.url(), "--sha256", &thing.sha256, "--pin"])?;
    }
    let mut done = Done::default();
    let (http, https, line) = (node.http, node.https, node.line());
    std::thread::scope(|scope| {
        for id in 0..CLIENTS + OPERATORS {
            let (soak, ca, line) = (&soak, &ca, &line);
            let seed = stage.seed.wrapping_mul(1000).wrapping_add(id);
            scope.spawn(move || {
                let field = Field {
                    things: &soak.things,
                    http,
                    https,
                    ca,
                    tally: &soak.tally,
                    stop: &soak.stop,
                    quiet: &soak.quiet,
                    busy: &soak.busy,
                };
                let result = if id < CLIENTS {
                    clients::live(&field, seed)
                } else {
                    verbs::live(&field, line, &stage.folder, &soak.ended, seed)
                };
                if let Err(error) = result {
                    soak.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            });
        }
        let result = rounds(stage, &soak, &mut node, &mut dice, &mut done);
        soak.stop.store(true, Ordering::SeqCst);
        result
    })?;
    node.stop()?;
    node.run()?;
    served(&soak, &node)?;
    node.stop()?;
    let log = panics(&node.log())?;
    check(log.is_empty(), || format!("the log has: {}", log.join("\n")))?;
    tell(&soak, &done)
}

/// The origins, and what they have.
fn build(stage: &Stage, dice: &mut Dice) -> io::Result<Soak> {
    let mut nginx = Vec::new();
    let mut things = Vec::new();
    let mut damaged = Vec::new();
    let size = |dice: &mut Dice| match dice.below(10) {
        0 => 1 + dice.below(5000),
        1 => (64 << 10) * (1 + dice.below(4)),
        2..6 => 1 + dice.below(MIB),
        6..9 => MIB + dice.below(8 * MIB),
        _ => 8 * MIB + dice.below(16 * MIB),
    };
    for site in 0..2 {
        let folder = stage.folder.join(format!("site-{site}"));
        let root = folder.join("root");
        fs::create_dir_all(root.join("c/msdownload/update"))?;
        let origin = Nginx::start(&folder, &root)?;
        for index in 0..30 {
            let path = format!("/c/msdownload/update/static-{site}-{index}.cab");
            let object = Object::new(path, size(dice), dice.below(1 << 40));
            object.write(&root.join(&object.path[1..]))?;
            things.push(Arc::new(Thing::new(origin.address, object, false)));
        }
        if site == 0 {
            for (index, size) in DAMAGED.into_iter().enumerate() {
                let object = Object::new(format!("/c/msdownload/update/kept-{index}.cab"), size, dice.below(1 << 40));
                object.write(&root.join(&object.path[1..]))?;
                damaged.push(Thing::new(origin.address, object, false));
            }
        }
        nginx.push(origin);
    }
    let mut faulty = Vec::new();
    for site in 0..2 {
        let origin = Faulty::start(dice.below(1 << 40))?;
        let own: Vec<Arc<Thing>> = (0..30)
            .map(|index| {
                let path = format!("/c/msdownload/update/faulty-{site}-{index}.cab");
                let object = Object::new(path, size(dice), dice.below(1 << 40));
                Arc::new(Thing::new(origin.address, object, index % 4 == 0))
            })
            .collect();
        things.extend(own.iter().cloned());
        origin.serves(own);
        faulty.push(origin);
    }
    Ok(Soak {
        nginx,
        faulty,
        things,
        damaged,
        flipped: Mutex::default(),
        tally: Tally::default(),
        ended: Ended::default(),
        stop: AtomicBool::new(false),
        quiet: AtomicBool::new(false),
        busy: AtomicU64::new(0),
        failure: Mutex::new(None),
    })
}

fn rounds(stage: &Stage, soak: &Soak, node: &mut Node, dice: &mut Dice, done: &mut Done) -> io::Result<()> {
    let count = (stage.seconds / 60).clamp(2, 20);
    let mut at_rest: Option<Sample> = None;
    for round in 0..count {
        let kills = round < count / 2;
        let end = Instant::now() + Duration::from_secs(stage.seconds) / count as u32;
        trouble(soak, node, dice, done, kills, end)?;
        soak.quiet.store(true, Ordering::SeqCst);
        soak.faulty.iter().for_each(|origin| origin.calm(true));
        let sample = rest(soak, node, done)?;
        println!("     round {} of {count}{}: {sample}", round + 1, if kills { ", with kills" } else { "" });
        if !kills {
            sample.has_not_grown(*at_rest.get_or_insert(sample))?;
        }
        soak.faulty.iter().for_each(|origin| origin.calm(false));
        soak.quiet.store(false, Ordering::SeqCst);
        done.rounds += 1;
    }
    Ok(())
}

/// One round, until `end`.
fn trouble(
    soak: &Soak,
    node: &mut Node,
    dice: &mut Dice,
    done: &mut Done,
    kills: bool,
    end: Instant,
) -> io::Result<()> {
    let mut next = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(200));
        if let Some(error) = soak.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        if let Some(status) = node.has_ended() {
            return Err(io::Error::other(format!("the node ended by itself with {status}")));
        }
        if let Some(sample) = node.pid().and_then(Sample::of) {
            done.most = done.most.most(sample);
            sample.bounded()?;
        }
        if dice.below(3) == 0 {
            let changing: Vec<_> = soak.things.iter().filter(|thing| thing.changes).collect();
            changing[dice.below(changing.len() as u64) as usize].version.fetch_add(1, Ordering::SeqCst);
        }
        if dice.below(12) == 0 {
            done.reloads += 1;
            node.reload_with(&format!("[limits]\ndrain = \"3 s\"\nidle = \"{} s\"", 5 + dice.below(60)))?;
        }
        if dice.below(40) == 0 {
            done.flips += damage(soak, node, dice)?;
        }
        if kills && Instant::now() > next {
            if dice.below(4) == 0 {
                done.stops += 1;
                node.stop()?;
            } else {
                done.kills += 1;
                node.kill()?;
            }
            if dice.below(3) == 0 {
                done.flips += damage(soak, node, dice)?;
            }
            back(node)?;
            next = Instant::now() + Duration::from_millis(2000 + dice.below(8000));
        }
    }
    Ok(())
}

/// Flips a bit in one of the payloads that are there to be damaged; 0 where its file is away to be mended.
fn damage(soak: &Soak, node: &Node, dice: &mut Dice) -> io::Result<u64> {
    let size = soak.damaged[dice.below(soak.damaged.len() as u64) as usize].now().size;
    let found: Vec<PathBuf> = payloads(&node.data())?
        .into_iter()
        .filter(|path| fs::metadata(path).is_ok_and(|meta| meta.len() == size))
        .collect();
    let Some(path) = found.first() else { return Ok(0) };
    soak.flipped.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(size);
    flip(path, dice.below(size)).map(|()| 1)
}

/// Starts the node again after a kill. A verb that found none meanwhile works on the directory itself, and has its lock for as
/// long as that takes: whoever keeps a service running tries again.
fn back(node: &mut Node) -> io::Result<()> {
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        match node.run() {
            Err(error) if Instant::now() < end && error.to_string().contains("another waystation process") => {
                std::thread::sleep(Duration::from_millis(500));
            }
            other => return other,
        }
    }
}

/// All that must be true when nobody asks for anything.
fn rest(soak: &Soak, node: &mut Node, done: &mut Done) -> io::Result<Sample> {
    // A client may wait for as long as the slowest answer takes, an operator for a verb.
    let end = Instant::now() + Duration::from_secs(170);
    while soak.busy.load(Ordering::SeqCst) > 0 {
        check(Instant::now() < end, || "clients or verbs have not come to an end in 170 s".to_owned())?;
        std::thread::sleep(Duration::from_millis(50));
    }
    // A flight that nobody waits for ends once its origin has answered or its patience is over.
    let end = Instant::now() + Duration::from_mins(2);
    loop {
        let (_, flights) = http::peek(node.control, "/api/v1/flights")?;
        if flights.trim() == "[]" {
            break;
        }
        check(Instant::now() < end, || format!("flights have not landed in 120 s: {flights}"))?;
        std::thread::sleep(Duration::from_millis(200));
    }
    wait_for("all jobs to end", || {
        http::peek(node.control, "/api/v1/jobs")
            .is_ok_and(|(status, text)| status == 200 && !text.contains("\"running\""))
    })?;
    let log = panics(&node.log())?;
    check(log.is_empty(), || format!("the log has: {}", log.join("\n")))?;

    node.verb(&["store", "verify", "--repair"])?;
    node.verb(&["store", "verify"])?;
    for (what, folder) in [("payloads", "content"), ("drafts", "drafts"), ("quarantine", "quarantine")] {
        // Drafts are counted by the bytes in them; the disk rounds each run of them up to its blocks.
        let files = fs::read_dir(node.data().join(folder))?.count() as u64;
        let slack = match what {
            "drafts" => files * (16 << 10),
            // The reasons beside what is in quarantine, a block each, are not stock.
            "quarantine" => files * (4 << 10),
            _ => 0,
        };
        let name = format!("waystation_store_bytes{{what=\"{what}\"}}");
        let (mut told, mut found) = (0, 0);
        wait_for(&format!("the sum of {what} to be what the disk has"), || {
            told = metric(node.control, &name).unwrap_or(u64::MAX);
            found = allocated(&node.data().join(folder)).unwrap_or(0);
            told.abs_diff(found) <= slack
        })
        .map_err(|error| io::Error::other(format!("{error}: the node says {told}, the disk has {found}")))?;
        check(what != "payloads" || found <= MAX_SIZE, || {
            format!("{found} bytes of payloads, {MAX_SIZE} are allowed")
        })?;
    }
    done.served += served(soak, node)?;
    let sample = node.pid().and_then(Sample::of).ok_or_else(|| io::Error::other("the node is gone"))?;
    sample.bounded()?;
    Ok(sample)
}

/// Asks for everything proven that is held; what was pinned and never damaged must be among it.
fn served(soak: &Soak, node: &Node) -> io::Result<u64> {
    let list = node.verb(&["content", "list", "--class", "proven", "--limit", "0", "--json"])?;
    let mut count = 0;
    for (thing, must) in
        soak.things.iter().map(|thing| (&**thing, false)).chain(soak.damaged.iter().map(|thing| (thing, true)))
    {
        let held = list.contains(&format!("{}{}\"", thing.origin, thing.path()));
        // What a verb without --repair, or without a node, finds damaged goes to quarantine, pinned or not, and out of it
        // when there is too much.
        let spoilt = || {
            let flipped = soak.flipped.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            flipped.contains(&thing.now().size)
        };
        check(held || !must || spoilt(), || format!("{} was pinned, and is not held any more", thing.path()))?;
        if !held {
            continue;
        }
        let (head, body) = http::fetch(node.http, &thing.target(), None)?;
        // What its origin calls stale is asked for again there, and is the same: that is no hit.
        let hit = head.header("cache-status").is_some_and(|status| status.contains("hit") || status.contains("proven"));
        check(head.status == 200 && hit && (thing.changes || sha256(&body) == thing.sha256), || {
            format!("{} is proven and held, but was answered with {} bytes and {head:?}", thing.path(), body.len())
        })?;
        count += 1;
    }
    Ok(count)
}

/// What was done; a soak in which nothing happened has shown nothing.
fn tell(soak: &Soak, done: &Done) -> io::Result<String> {
    let at = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let tally = &soak.tally;
    let manners: Vec<String> =
        MANNERS.iter().zip(&tally.well).map(|(name, count)| format!("{name} {}", at(count))).collect();
    let mut faults = Vec::new();
    for origin in &soak.faulty {
        let (answers, list) = origin.done();
        check(answers > 0, || "a faulty origin was never asked".to_owned())?;
        let sum: u64 = list.iter().map(|(_, count)| count).sum();
        let words: Vec<String> = list.iter().map(|(name, count)| format!("{name} {count}")).collect();
        faults.push(format!("{answers} answers, {sum} of them faulty ({})", words.join(", ")));
    }
    check(tally.well.iter().all(|count| at(count) > 0) && at(&tally.hits) > 0, || {
        format!("too little happened: {}, {} hits", manners.join(", "), at(&tally.hits))
    })?;
    Ok(format!(
        "     answers that ended well: {}\n     {} hits, {} MiB, {} refused; {} cut off, {} unanswered, {} found no node\n     origins: {}\n     verbs: {} \
         well, {} refused\n     {} kills, {} stops, {} reloads, {} bits flipped; {} rests, {} proven payloads asked for at \
         them\n     most: {}",
        manners.join(", "),
        at(&tally.hits),
        at(&tally.bytes) / MIB,
        at(&tally.refused),
        at(&tally.cut),
        at(&tally.unanswered),
        at(&tally.nobody),
        faults.join("\n              "),
        at(&soak.ended.well),
        at(&soak.ended.refused),
        done.kills,
        done.stops,
        done.reloads,
        done.flips,
        done.rounds,
        done.served,
        done.most
    ))
}
