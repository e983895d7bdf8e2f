//! How many instructions the hot path takes, counted by callgrind and held against `instructions.baseline`: the bench that
//! runs wherever changes are checked, since a count hardly depends on what else the machine does. The kernel's own work and
//! the waits are not in it.
//!
//! It runs itself once more under valgrind for each scenario:
//! - A range of a held payload, from the bytes of the request to those of the answer: the real server on a socket, with its
//!   limits, counters and access record. Everything is on one thread and goes on in turns, so that it is the same every time:
//!   the client writes and reads, the reactor runs until nothing is ready, and what it runs for the connection is counted.
//! - A look-up in the open payloads, and one past them: index, file opened and mapped, on the store's own threads.
//! - What an answer asks of the bandwidth governor, where it has no rules.
//! - A payload taken in whose SHA-256 is known, for a MiB: two digests, BLAKE3 with leaves, proof.
//!
//! Where threads of the store do the work all threads are counted. That and the ranges are counted in a long run and in a short
//! one; the difference is what was asked for.
//!
//! `cargo bench --profile ci --bench instructions -- --renew` takes what it counts for the new baseline, which is that of
//! the profile `ci`: its programs are not optimised as wholes, which takes an eighth off and minutes to build.
#![allow(missing_docs, reason = "a program of its own")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench stops and tells at the terminal"
)]

mod grown;
mod held;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use socket2::{Domain, Socket, Type};
use tokio::runtime::Runtime;
use waystation::app::{LogFormat, Logs};
use waystation::base::digest::{Digest, Sha256};
use waystation::model::payload::{Authority, Published};
use waystation::net;
use waystation::pace::Governor;

use held::Node;

/// How much more than the baseline a scenario may take, in parts of a hundred. Two runs of one build differ by less than one,
/// and what is worth a look is more than three.
const TOLERANCE: f64 = 3.0;
/// Of what takes a hundred instructions in all, as many more or fewer say only what the compiler drew together this time.
const FEW: f64 = 24.0;

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.baseline");

/// Length of the payload that ranges are asked of.
const SIZE: usize = 4 << 20;
/// What the client's socket takes in before it is read, in bytes: less than any system allows at most.
const WINDOW: usize = 200_000;
/// Payloads in the index that is looked into.
const PAYLOADS: usize = 2000;
/// From one asked for to the next; it shares no factor with their number.
const STRIDE: usize = 617;

struct Scenario {
    name: &'static str,
    /// The functions within which is counted, as callgrind names them; all that the process does where there are none.
    within: Option<&'static str>,
    /// How often it is done in the short and in the long run.
    times: (usize, usize),
}

/// What [`counted`] does.
const COUNTED: &str = "*instructions*counted*";
/// What the server does for a connection. How often the reactor looks in vain, because bytes are on their way, is not in it:
/// that is another number each time.
const CONNECTION: &str = "waystation::net::connection::run::{{closure}}";

const SCENARIOS: [Scenario; 7] = [
    Scenario { name: "range of 4 KiB", within: Some(CONNECTION), times: (20, 120) },
    Scenario { name: "range of 64 KiB", within: Some(CONNECTION), times: (20, 120) },
    Scenario { name: "range of 1 MiB", within: Some(CONNECTION), times: (20, 60) },
    Scenario { name: "look-up in the open payloads", within: Some(COUNTED), times: (0, 1000) },
    Scenario { name: "look-up past the open payloads", within: None, times: (200, 1200) },
    Scenario { name: "bandwidth without rules", within: Some(COUNTED), times: (0, 1000) },
    Scenario { name: "a MiB taken in", within: None, times: (2, 6) },
];

/// What callgrind counts where it is told to count only this.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn bytes(size: usize) -> (Vec<u8>, Sha256) {
    use sha2::Digest as _;
    let mut bytes = vec![0; size];
    blake3::Hasher::new_derive_key("waystation bench instructions").finalize_xof().fill(&mut bytes);
    let sha256 = Sha256::new(sha2::Sha256::digest(&bytes).into());
    (bytes, sha256)
}

/// Asks for a range of `len` bytes so many times.
fn ranges(data: &Path, len: usize, times: usize) {
    let runtime = runtime();
    // A log line for each request, as in a node that nobody has configured.
    let _logs = Logs::start("info", LogFormat::Json).unwrap();
    let node = runtime.block_on(Node::start(data, net::Config::default()));
    let address = node.server.addresses()[0];
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Left to itself the kernel would choose by the time that things take, and each choice makes other turns.
    socket.set_recv_buffer_size(WINDOW).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut client = TcpStream::from(socket);
    client.set_nodelay(true).unwrap();
    client.set_nonblocking(true).unwrap();
    let mut answer = vec![0; 2 << 20];
    let turn = || {
        runtime.block_on(async {
            // Each time everything that is ready has its turn.
            for _ in 0..2 {
                tokio::task::yield_now().await;
            }
        });
    };
    // The first ones, which the short run has too, make what later ones find: the open payload, label sets, buffers, the
    // socket's window.
    for number in 0..times {
        let start = number * 3 * len % SIZE;
        client.write_all(held::request(&address.to_string(), start, len).as_bytes()).unwrap();
        let (mut have, mut whole) = (0, usize::MAX);
        while have < whole {
            turn();
            match client.read(&mut answer[have..]) {
                Ok(0) => panic!("the server has closed the connection"),
                Ok(more) => have += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            if whole == usize::MAX
                && let Some(head) = answer[..have].windows(4).position(|end| end == b"\r\n\r\n")
            {
                assert!(answer.starts_with(b"HTTP/1.1 206 "), "{}", String::from_utf8_lossy(&answer[..head]));
                whole = head + 4 + len;
            }
        }
        assert_eq!(have, whole, "more bytes than were asked for");
    }
    drop(client);
    runtime.block_on(node.stop());
}

fn look_ups(data: &Path, is_open: bool, times: usize) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let store = grown::open(data, if is_open { 64 } else { 16 });
    if is_open {
        let names: Vec<_> = (0..32).map(grown::name).collect();
        for name in &names {
            assert!(runtime.block_on(store.find(name)).unwrap().is_some());
        }
        for number in 0..times {
            let name = black_box(&names[number * 7 % names.len()]);
            counted(&mut || assert!(black_box(store.hot(name)).is_some()));
        }
    } else {
        for number in 0..times {
            let name = grown::name(number * STRIDE % PAYLOADS);
            assert!(runtime.block_on(store.find(&name)).unwrap().is_some());
        }
    }
    runtime.block_on(store.close()).unwrap();
}

/// What an answer of one window asks the governor.
fn bandwidth(times: usize) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let governor = black_box(Governor::default());
    let client = black_box(std::net::Ipv4Addr::LOCALHOST.into());
    for _ in 0..times {
        counted(&mut || {
            let flow = black_box(governor.to_client(client));
            assert!(black_box(flow.is_free()));
        });
    }
}

fn take_in(data: &Path, mib: usize) {
    let folder = tempfile::tempdir_in(data).unwrap();
    let file = data.join(format!("{mib} MiB"));
    let sha256 = Sha256::new(fs::read(file.with_extension("sha256")).unwrap().try_into().unwrap());
    let runtime = runtime();
    let _inside = runtime.enter();
    let store = grown::open(&folder.path().join("store"), 16);
    let expected = Published::one(Digest::Sha256(sha256), Authority::Catalog);
    runtime.block_on(store.import(file, false, Some(expected), vec![])).unwrap();
    runtime.block_on(store.close()).unwrap();
}

/// One run, under callgrind.
fn run(scenario: &str, times: usize, data: &Path) {
    match scenario {
        "range of 4 KiB" => ranges(&data.join("held"), 4 << 10, times),
        "range of 64 KiB" => ranges(&data.join("held"), 64 << 10, times),
        "range of 1 MiB" => ranges(&data.join("held"), 1 << 20, times),
        "look-up in the open payloads" => look_ups(&data.join("grown"), true, times),
        "look-up past the open payloads" => look_ups(&data.join("grown"), false, times),
        "bandwidth without rules" => bandwidth(times),
        "a MiB taken in" => take_in(data, times),
        other => panic!("{other:?} is no scenario"),
    }
    println!("{}", features());
}

/// What code that chooses by the processor sees; under valgrind that is less than the processor has.
fn features() -> String {
    let mut all = vec![std::env::consts::ARCH];
    #[cfg(target_arch = "x86_64")]
    {
        let mut note = |name, is_there| all.extend(Some(name).filter(|_| is_there));
        note("avx2", is_x86_feature_detected!("avx2"));
        note("avx512f", is_x86_feature_detected!("avx512f"));
        note("sha", is_x86_feature_detected!("sha"));
    }
    all.join(" ")
}

/// Lays what the scenarios look into.
fn lay(data: &Path) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let (content, sha256) = bytes(SIZE);
    let held = data.join("held");
    fs::create_dir(&held).unwrap();
    fs::write(held.join("payload"), content).unwrap();
    runtime.block_on(async {
        let node = Node::start(&held, net::Config::default()).await;
        node.hold(held.join("payload"), sha256).await;
        node.stop().await;
    });
    for mib in [2, 6] {
        let (content, sha256) = bytes(mib << 20);
        let file = data.join(format!("{mib} MiB"));
        fs::write(&file, content).unwrap();
        fs::write(file.with_extension("sha256"), sha256.as_bytes()).unwrap();
    }
    fs::create_dir(data.join("grown")).unwrap();
    grown::fill(&runtime, &data.join("grown"), PAYLOADS, None);
}

/// Counts one run; also gives what the processor could do there.
fn count(scenario: &Scenario, times: usize, data: &Path) -> (u64, String) {
    let out = data.join("callgrind.out");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet", "--dump-instr=no"]);
    command.arg(format!("--callgrind-out-file={}", out.display()));
    if let Some(within) = scenario.within {
        command.args(["--collect-atstart=no".to_owned(), format!("--toggle-collect={within}")]);
    }
    command.arg(std::env::current_exe().unwrap()).args(["run", scenario.name, &times.to_string()]).arg(data);
    let log = data.join("log");
    let ran = command.stdin(Stdio::null()).stderr(fs::File::create(&log).unwrap()).output().unwrap();
    let text = String::from_utf8_lossy(&ran.stdout);
    if !ran.status.success() {
        let log = fs::read_to_string(log).unwrap_or_default();
        panic!(
            "{} ended with {} under valgrind:\n{}",
            scenario.name,
            ran.status,
            &log[log.len().saturating_sub(4000)..]
        );
    }
    let profile = fs::read_to_string(out).unwrap();
    let total = profile.lines().find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")));
    (total.expect("callgrind writes a sum").trim().parse().unwrap(), text.trim().to_owned())
}

fn said_by(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The profile that this program was built in, as its folder is called: `release`, `ci`.
fn profile() -> String {
    let program = std::env::current_exe().unwrap();
    let folder = program.parent().and_then(Path::parent).and_then(Path::file_name);
    folder.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// `key: value` lines of a baseline.
fn read(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": ")).collect()
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, run_it, scenario, times, data] = words.as_slice()
        && run_it == "run"
    {
        run(scenario, times.parse().unwrap(), Path::new(data));
        return ExitCode::SUCCESS;
    }
    let Some(valgrind) = said_by("valgrind") else {
        println!("skipped: valgrind is not installed");
        return ExitCode::SUCCESS;
    };
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    lay(data.path());
    let mut processor = String::new();
    let mut counts = Vec::new();
    for scenario in &SCENARIOS {
        let (short, long) = scenario.times;
        let (all, sees) = count(scenario, long, data.path());
        let beside = if short > 0 { count(scenario, short, data.path()).0 } else { 0 };
        counts.push((scenario.name, all.saturating_sub(beside) / (long - short) as u64));
        processor = sees;
    }

    let rustc = said_by("rustc").unwrap_or_default();
    let machine = [("rustc", rustc), ("valgrind", valgrind), ("profile", profile()), ("processor", processor)];
    if words.iter().any(|word| word == "--renew") {
        let mut text =
            "# What benches/instructions.rs counted; it writes this file anew when it is run with --renew.\n"
                .to_owned();
        for (key, value) in machine
            .iter()
            .map(|(key, value)| (*key, value.clone()))
            .chain(counts.iter().map(|(name, count)| (*name, count.to_string())))
        {
            writeln!(text, "{key}: {value}").unwrap();
        }
        fs::write(BASELINE, text).unwrap();
    }
    compare(&counts, &machine)
}

/// Prints the counts beside the baseline's; fails where one is too many.
fn compare(counts: &[(&str, u64)], machine: &[(&str, String)]) -> ExitCode {
    let text = fs::read_to_string(BASELINE).unwrap();
    let baseline = read(&text);
    let (mut more, mut fewer) = (false, false);
    for (name, count) in counts {
        let Some(before) = baseline.get(name).and_then(|text| text.parse::<f64>().ok()) else {
            println!("{name}: {count} instructions, not in the baseline");
            more = true;
            continue;
        };
        let change = (*count as f64 / before - 1.0) * 100.0;
        println!("{name}: {count} instructions, {change:+.1} % to the baseline");
        let is_few = (*count as f64 - before).abs() <= FEW;
        more |= change > TOLERANCE && !is_few;
        fewer |= change < -TOLERANCE && !is_few;
    }
    for (key, value) in machine {
        let before = baseline.get(key).copied().unwrap_or_default();
        if before != value {
            println!("the baseline was made with {key} {before:?}; here it is {value:?}");
        }
    }
    let renew = "cargo bench --profile ci --bench instructions -- --renew";
    let differs = |wanted: &str| {
        let here = machine.iter().find(|(key, _)| *key == wanted);
        here.is_some_and(|(key, value)| baseline.get(key) != Some(&value.as_str()))
    };
    if differs("processor") {
        println!("skipped: on another processor other code is chosen, so that the counts cannot be compared");
        return ExitCode::SUCCESS;
    }
    if differs("profile") {
        println!("skipped: another profile makes other code; cargo bench --profile ci --bench instructions compares");
        return ExitCode::SUCCESS;
    }
    if more {
        println!(
            "the hot path takes over {TOLERANCE} % more instructions than the baseline. If the change is worth that, or another \
             compiler is to blame, renew the baseline and say why in the commit:\n    {renew}\nIf not: \
             valgrind --tool=callgrind on the bench's program shows where they are; main in benches/instructions.rs \
             has the words to run one scenario"
        );
        return ExitCode::FAILURE;
    }
    if fewer {
        println!("over {TOLERANCE} % fewer than the baseline; renew it, so that they stay away:\n    {renew}");
    }
    ExitCode::SUCCESS
}
