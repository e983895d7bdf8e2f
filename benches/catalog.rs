//! The catalog at size: how many updates a second a full import takes in, how much memory and disk that is, how long a run
//! takes that finds nothing new, what a search costs, and how long a document waits for a commit meanwhile.
//!
//! What it takes at rest is measured twice: in the process that imported everything, and in one that was started on it and has
//! answered lists, searches and texts since.
//!
//! The updates are made up, in the shape of real ones: a median document of 6 KB, one in a hundred of 100 to 300 KB, and in
//! every 20,000 one of 10 and one of 47 MB, whose text is also their Core; fragments as they are cut from documents; product
//! and classification, bundles with hidden members, supersedence, one to three files. `WAYSTATION_UPDATES` is their number;
//! with 100,000 it fails where disk or memory is more than the catalog may take.
//!
//! At last payloads are held, as many as `WAYSTATION_HELD` says, each a file of the catalog, and gone through as after a run: once
//! when most of them are to be marked (superseded and expired updates have them), once when nothing changes, and once when a tenth of
//! the updates was approved.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a bench stops and tells at the terminal"
)]

mod grown;

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use waystation::base::digest::{Sha1, Sha256};
use waystation::base::disk::RealDisk;
use waystation::base::time::{SystemClock, Timestamp};
use waystation::model::update::{
    CategoryKind, Clause, File, Identity, Kind, Members, Publication, Reboot, Severity, Text, Update, UpdateId,
};
use waystation::store::catalog::{Batch, Body, Catalog, Deciding, Incoming, Query, Upstream, UpstreamKind};
use waystation::store::{Config, Store};

/// The directory of a catalog: made there where there is none, and kept, and else used as it is. A process that imported
/// starts another one on what it made.
const MADE: &str = "WAYSTATION_CATALOG_MADE";
/// Texts above it are written in pieces.
const STAGED_FROM: usize = 1_000_000;
/// As many as a sync asks for at a time.
const BATCH: usize = 100;
/// All that the catalog may take of the disk at 100,000 updates.
const DISK_MAX: u64 = 1_200_000_000;
/// Bytes of memory of its own that it may take at rest.
const REST_MAX: u64 = 150_000_000;
/// What a run that finds nothing may take.
const IDLE_MAX: Duration = Duration::from_secs(2);
const PRODUCTS: u64 = 300;
const CLASSIFICATIONS: u64 = 19;

/// splitmix64: the same number gives the same update.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from_digit(self.roll(16) as u32, 16).unwrap()).collect()
    }
}

fn id(at: u64) -> UpdateId {
    UpdateId::new(blake3::hash(&at.to_le_bytes()).as_bytes()[..16].try_into().unwrap())
}

fn identity(at: u64) -> Identity {
    Identity { id: id(at), revision: 200 }
}

/// Those of a file of an update.
fn digests(at: u64, of: u64) -> (Sha1, Sha256) {
    let hash = blake3::hash(&(at * 8 + of).to_le_bytes());
    (Sha1::new(hash.as_bytes()[..20].try_into().unwrap()), Sha256::new(*hash.as_bytes()))
}

const WORDS: [&str; 16] = [
    "Cumulative",
    "Security",
    "Update",
    "Windows",
    "Server",
    "Office",
    "Driver",
    "Intel",
    "Preview",
    ".NET",
    "Framework",
    "x64-based",
    "Systems",
    "Edge",
    "Defender",
    "Definition",
];

fn plain(text: &str) -> String {
    text.replace("upd:", "").replace("lar:", "").replace("bar:", "b.").replace("cbs:", "")
}

fn rules(dice: &mut Dice, len: usize, text: &mut String) {
    text.push_str("<upd:ApplicabilityRules><upd:IsInstalled><lar:And>");
    let end = text.len() + len;
    while text.len() < end {
        let (a, b) = (dice.roll(40_000), dice.roll(9000));
        match dice.roll(3) {
            0 => write!(
                text,
                "<bar:FileVersion Path=\"System32\\drivers\\{}.sys\" Comparison=\"GreaterThanOrEqualTo\" \
                 Version=\"10.0.{a}.{b}\" Csidl=\"36\" />",
                dice.hex(6)
            ),
            1 => write!(
                text,
                "<bar:RegSz Key=\"HKEY_LOCAL_MACHINE\" Subkey=\"SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Component \
                 Based Servicing\\Packages\\Package_for_RollupFix~31bf3856ad364e35~amd64~~{a}.{b}\" Value=\"State\" \
                 Comparison=\"EqualTo\" Data=\"{}\" />",
                dice.hex(8)
            ),
            _ => write!(
                text,
                "<cbs:CbsPackageInstalledByIdentity PackageIdentity=\"Microsoft-Windows-{}-Package~31bf3856ad364e35~amd64~~\
                 10.0.{a}.{b}\" />",
                WORDS[dice.roll(16) as usize]
            ),
        }
        .unwrap();
    }
    text.push_str("</lar:And></upd:IsInstalled></upd:ApplicabilityRules>");
}

/// An update, and how many bytes of rules its document and Core still lack: the largest are written in pieces, as a sync does.
fn made(at: u64) -> (Incoming, usize) {
    let mut dice = Dice(at.wrapping_mul(0x5851_f42d_4c95_7f2d));
    let is_category = at < PRODUCTS + CLASSIFICATIONS;
    let bulk = match at % 20_000 {
        7777 => 47_000_000,
        17_777 => 10_000_000,
        _ if at % 100 == 50 => 100_000 + dice.roll(200_000) as usize,
        _ => 1000 + dice.roll(5200) as usize,
    };
    let title = format!(
        "{} {} {} for {} {} (KB{})",
        WORDS[dice.roll(16) as usize],
        WORDS[dice.roll(16) as usize],
        WORDS[dice.roll(16) as usize],
        WORDS[dice.roll(16) as usize],
        dice.roll(3000),
        5_000_000 + at / 4
    );
    let files: Vec<File> = (0..if is_category { 0 } else { 1 + dice.roll(3) })
        .map(|of| {
            let (sha1, sha256) = digests(at, of);
            File {
                sha1,
                sha256: Some(sha256),
                name: format!("windows10.0-kb{}-x64_{of}.cab", 5_000_000 + at / 4),
                size: 1000 + dice.roll(500_000_000),
                modified: Some(Timestamp::from_ms(1_700_000_000_000)),
                patching: "SelfContained".into(),
                encrypted: false,
            }
        })
        .collect();
    let text = |language: &str| Text {
        language: language.into(),
        title: title.clone(),
        description: "Install this update to resolve issues in Windows. For a complete listing of the issues that are \
                      included in this update, see the associated Microsoft Knowledge Base article."
            .into(),
    };
    // One in three is a bundle of the one before it, which is hidden.
    let is_bundle = !is_category && at % 3 == 2;
    let category = |of: u64| Clause { any_of: vec![id(of)], is_category: true };
    let kind = match at {
        _ if at < CLASSIFICATIONS => Kind::Category(CategoryKind::Classification),
        _ if is_category => Kind::Category(CategoryKind::Product),
        _ => Kind::Software,
    };
    let update = Update {
        publication: if dice.roll(30) == 0 { Publication::Expired } else { Publication::Published },
        created: Some(Timestamp::from_ms(1_500_000_000_000 + dice.roll(300_000_000_000))),
        texts: vec![text("en"), text("de")],
        kbs: vec![(5_000_000 + at / 4).to_string()],
        severity: [Severity::Unspecified, Severity::Low, Severity::Moderate, Severity::Important, Severity::Critical]
            [dice.roll(5) as usize],
        more_info: Some(format!("https://support.microsoft.com/help/{}", 5_000_000 + at / 4)),
        deployable: at % 3 != 1,
        handler: "Cbs".into(),
        reboot: Reboot::CanRequest,
        removable: true,
        prerequisites: if is_category {
            vec![]
        } else {
            vec![category(dice.roll(CLASSIFICATIONS)), category(CLASSIFICATIONS + dice.roll(PRODUCTS))]
        },
        bundles: if is_bundle { vec![Members { any_of: vec![identity(at - 1)] }] } else { vec![] },
        supersedes: if at > 3000 {
            (1..=dice.roll(4)).map(|back| id(at - 900 * back / 3 * 3)).collect()
        } else {
            vec![]
        },
        files,
        ..Update::new(identity(at), kind)
    };
    let mut localized = Vec::new();
    for text in &update.texts {
        localized.push((
            text.language.clone(),
            format!(
                "<LocalizedProperties><Language>{}</Language><Title>{}</Title><Description>{}</Description>\
                 <MoreInfoUrl>http://support.microsoft.com</MoreInfoUrl></LocalizedProperties>",
                text.language, text.title, text.description
            ),
        ));
    }
    let mut relations = String::from("<upd:Relationships><upd:Prerequisites>");
    for of in update.prerequisites.iter().flat_map(|clause| &clause.any_of).chain(&update.supersedes) {
        write!(relations, "<upd:UpdateIdentity UpdateID=\"{of}\" />").unwrap();
    }
    relations.push_str("</upd:Prerequisites></upd:Relationships>");
    let mut files = String::from("<upd:Files>");
    for file in &update.files {
        write!(
            files,
            "<upd:File Digest=\"{}\" DigestAlgorithm=\"SHA1\" FileName=\"{}\" Size=\"{}\" Modified=\"2026-10-04T18:59:26.192Z\" \
             PatchingType=\"SelfContained\"><upd:AdditionalDigest Algorithm=\"SHA256\">{}</upd:AdditionalDigest></upd:File>",
            file.sha1,
            file.name,
            file.size,
            file.sha256.unwrap()
        )
        .unwrap();
    }
    files.push_str("</upd:Files>");
    let mut applicability = String::new();
    let inline = if bulk > STAGED_FROM { 0 } else { bulk };
    rules(&mut dice, inline, &mut applicability);
    let head = format!("<UpdateIdentity UpdateID=\"{}\" RevisionNumber=\"200\" />", update.identity.id);
    let texts: String =
        localized.iter().map(|(_, text)| text.replace('<', "<upd:").replace("<upd:/", "</upd:")).collect();
    let document = format!(
        "<upd:Update xmlns:upd=\"http://schemas.microsoft.com/msus/2002/12/Update\" xmlns:lar=\"http://schemas.microsoft.com/\
         msus/2002/12/LogicalApplicabilityRules\" xmlns:bar=\"http://schemas.microsoft.com/msus/2002/12/BaseApplicabilityRules\">\
         {head}<upd:Properties DefaultPropertiesLanguage=\"en\" UpdateType=\"Software\" CreationDate=\"2026-10-04T18:59:26Z\" \
         PublisherID=\"395392a0-19c0-48b7-a927-f7c15066d905\" /><upd:LocalizedPropertiesCollection>{texts}\
         </upd:LocalizedPropertiesCollection>{relations}{applicability}{files}</upd:Update>"
    );
    let core = format!("{head}<Properties UpdateType=\"Software\" />{}{}", plain(&relations), plain(&applicability));
    let extended = format!("<ExtendedProperties DefaultPropertiesLanguage=\"en\" />{}", plain(&files));
    let url = |file: &File| {
        format!(
            "http://download.windowsupdate.com/c/msdownload/update/software/secu/2026/10/{}_{}.cab",
            file.name, file.sha1
        )
    };
    let incoming = Incoming {
        document: document.into(),
        cabinet: true,
        core: core.into(),
        extended: extended.into(),
        localized: localized.into_iter().map(|(language, text)| (language, text.into())).collect(),
        urls: update.files.iter().map(|file| (file.sha1, url(file))).collect(),
        update,
    };
    (incoming, bulk - inline)
}

/// Writes the document and Core of a large update in pieces, with `bulk` bytes of rules behind what they have.
async fn enlarge(catalog: &Catalog, one: &mut Incoming, bulk: usize) {
    let (mut document, mut core) = (catalog.stage(), catalog.stage());
    for (stage, body) in [(&mut document, &one.document), (&mut core, &one.core)] {
        let Body::Text(text) = body else { panic!("it is in pieces already") };
        stage.write(text.as_bytes()).await.unwrap();
    }
    let (mut dice, mut written) = (Dice(bulk as u64), 0);
    while written < bulk {
        let mut text = String::new();
        rules(&mut dice, 64 << 10, &mut text);
        document.write(text.as_bytes()).await.unwrap();
        core.write(plain(&text).as_bytes()).await.unwrap();
        written += text.len();
    }
    one.document = Body::Staged(document.finish().await.unwrap());
    one.core = Body::Staged(core.finish().await.unwrap());
}

/// A line of this process's status, in bytes.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) << 10
}

fn open(path: &Path) -> Store {
    let config = Config {
        path: path.to_owned(),
        max_size: 1 << 40,
        min_free: 0,
        unproven: Duration::from_hours(24),
        index_cache: 64 << 20,
        open_payloads: 64,
        io_threads: 2,
    };
    Store::open(config, Arc::new(RealDisk), Arc::new(SystemClock)).unwrap().0
}

/// Prints the spread of `times`.
fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    eprintln!("{what}: p50 {:.1?}, p99 {:.1?}, most {:.1?}", at(0.5), at(0.99), at(1.0));
}

/// A list that names everything, as an upstream gives it that was asked without an anchor.
async fn list(catalog: &Catalog, updates: u64) -> u64 {
    catalog.open_list("all".into(), "anchor".into()).await.unwrap();
    let wanted = catalog.list("all".into(), (0..updates).map(identity).collect()).await.unwrap();
    catalog.close_list("all".into()).await.unwrap();
    wanted
}

async fn work(path: &Path, updates: u64) {
    let store = open(path);
    let catalog = store.catalog();
    let upstream = Upstream { kind: UpstreamKind::Microsoft, address: "https://sws".into(), unauthenticated: false };
    catalog.begin_upstream(upstream).await.unwrap();
    let run = catalog.start_run("bench".into()).await.unwrap();
    let began = Instant::now();
    assert_eq!(list(&catalog, updates).await, updates);
    eprintln!("a list of {updates}: {:.1?}", began.elapsed());
    let ended = Arc::new(AtomicBool::new(false));
    // What a publish waits for: a small commit of its own beside the import.
    let beside = tokio::spawn({
        let (store, ended) = (store.clone(), Arc::clone(&ended));
        async move {
            let mut times = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let began = Instant::now();
                store.set_document("bench", Some(vec![1; 100])).await.unwrap();
                times.push(began.elapsed());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            times
        }
    });
    let (mut spent, mut raw) = (Duration::ZERO, 0);
    let mut at = 0;
    while at < updates {
        let end = (at + BATCH as u64).min(updates);
        let mut batch = Vec::new();
        for of in at..end {
            let (mut one, bulk) = made(of);
            if let Body::Text(text) = &one.document {
                raw += (text.len() + bulk) as u64;
            }
            if bulk > 0 {
                let began = Instant::now();
                enlarge(&catalog, &mut one, bulk).await;
                spent += began.elapsed();
            }
            batch.push(one);
        }
        let began = Instant::now();
        let batch = Batch { run: Some(run), set: "all".into(), updates: batch, ..Batch::default() };
        catalog.import(batch).await.unwrap();
        spent += began.elapsed();
        at = end;
    }
    ended.store(true, Ordering::Relaxed);
    tell("a small commit meanwhile", beside.await.unwrap());
    catalog.settle_upstream().await.unwrap();
    let standing = catalog.standing().await.unwrap();
    assert_eq!((standing.updates, standing.sets[0].anchor.as_deref()), (updates, Some("anchor")));
    let disk = std::fs::metadata(path.join("node.redb")).unwrap().blocks() * 512;
    eprintln!(
        "import of {updates} updates, {} MB of documents: {:.0} a second; peak memory {} MiB (with what makes them up); {} MB \
         on disk, {} bytes an update",
        raw / 1_000_000,
        updates as f64 / spent.as_secs_f64(),
        memory("VmHWM:") >> 20,
        disk / 1_000_000,
        disk / updates
    );
    let began = Instant::now();
    catalog.search(Query { text: "security".into(), limit: 50, ..Query::default() }).await.unwrap();
    eprintln!("the first search: {:.1?}", began.elapsed());
    let rest = memory("RssAnon:");
    eprintln!("at rest after that: {} MiB of memory of its own, 64 of them the index's cache", rest >> 20);
    store.close().await.unwrap();
    if updates == 100_000 {
        assert!(disk <= DISK_MAX && rest <= REST_MAX, "more than it may take");
    }
}

/// What a node does that was started on the catalog.
async fn used(path: &Path, updates: u64) {
    let began = Instant::now();
    let store = open(path);
    eprintln!("started again: {:.1?}", began.elapsed());
    let catalog = store.catalog();
    let began = Instant::now();
    assert_eq!(list(&catalog, updates).await, 0);
    let idle = began.elapsed();
    eprintln!("a full list in which nothing is new: {idle:.1?}");
    let began = Instant::now();
    catalog.search(Query { text: "security".into(), limit: 50, ..Query::default() }).await.unwrap();
    eprintln!("the first search: {:.1?}", began.elapsed());
    let mut times = Vec::new();
    let mut dice = Dice(1);
    for turn in 0..400 {
        let query = Query {
            text: match turn % 4 {
                0 => format!("{} kb50", WORDS[dice.roll(16) as usize]),
                1 => format!("{} {}", WORDS[dice.roll(16) as usize], WORDS[dice.roll(16) as usize]),
                _ => String::new(),
            },
            kb: (turn % 4 == 2).then(|| (5_000_000 + dice.roll(updates) / 4).to_string()),
            product: (turn % 4 == 3).then(|| id(CLASSIFICATIONS + dice.roll(PRODUCTS))),
            severity: (turn % 8 == 3).then_some(Severity::Critical),
            limit: 50,
            ..Query::default()
        };
        let began = Instant::now();
        catalog.search(query).await.unwrap();
        times.push(began.elapsed());
    }
    tell("updates search", times);
    let mut times = Vec::new();
    for _ in 0..200 {
        let numbers = (0..200).map(|_| 1 + dice.roll(updates) as u32).collect();
        let began = Instant::now();
        drop(catalog.texts(numbers, waystation::store::catalog::Part::Core).await.unwrap());
        times.push(began.elapsed());
    }
    tell("200 Core fragments", times);
    let rest = memory("RssAnon:");
    eprintln!("at rest after all this: {} MiB of memory of its own, 64 of them the index's cache", rest >> 20);
    store.close().await.unwrap();
    if updates == 100_000 {
        assert!(rest <= REST_MAX && idle <= IDLE_MAX, "more than it may take");
    }
}

/// What is held is gone through.
async fn reviewed(path: &Path, updates: u64) {
    let store = open(path);
    let catalog = store.catalog();
    let approved: Vec<UpdateId> = (PRODUCTS + CLASSIFICATIONS..updates).filter(|at| at % 10 == 0).map(id).collect();
    for what in ["with all to be marked", "with nothing to do", "with a tenth approved"] {
        if what == "with a tenth approved" {
            for some in approved.chunks(1000) {
                let approve = Deciding::Approve { all_files: false };
                catalog.decide(some.to_vec(), approve, "bench".into(), String::new()).await.unwrap();
            }
        }
        let began = Instant::now();
        let came = waystation::keep::review::pass(&store, &CancellationToken::new()).await.unwrap();
        let took = began.elapsed();
        eprintln!(
            "{} held payloads gone through {what}: {took:.1?}, {:.1?} each; {} marked, {} marks taken away",
            came.looked,
            took / u32::try_from(came.looked).unwrap().max(1),
            came.outdated,
            came.wanted_again
        );
    }
    store.close().await.unwrap();
}

fn main() {
    let updates: u64 = std::env::var("WAYSTATION_UPDATES").map_or(10_000, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let kept = std::env::var_os(MADE).map(std::path::PathBuf::from);
    if let Some(path) = kept.as_deref().filter(|path| path.join("node.redb").exists()) {
        return runtime.block_on(used(path, updates));
    }
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = kept.as_deref().unwrap_or(dir.path());
    runtime.block_on(work(path, updates));
    let program = std::env::current_exe().unwrap();
    let status = std::process::Command::new(program).env(MADE, path).status().unwrap();
    assert!(status.success(), "{status}");
    // One that is kept is for the next time, and stays as it is.
    if kept.is_none() {
        let held: usize = std::env::var("WAYSTATION_HELD").map_or(2_000, |text| text.parse().unwrap());
        let software = PRODUCTS + CLASSIFICATIONS..updates;
        let own = |number: usize| {
            let many = software.end.saturating_sub(software.start).max(1);
            digests(software.start + number as u64 % many, number as u64 / many)
        };
        grown::fill(&runtime, path, held, Some(&own));
        runtime.block_on(reviewed(path, updates));
    }
}
