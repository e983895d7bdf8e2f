//! The machine: what it is, which cores are the server's and the load's, how many files may be open.

use std::fs;
use std::io;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};

/// Which core serves and which core asks.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    pub(crate) load: usize,
}

impl Cores {
    /// The first core for the server and the last for the load; one and the same where there is only one.
    pub(crate) fn find() -> io::Result<Self> {
        let set = sched_getaffinity(None)?;
        let mut all = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
        let server = all.next().unwrap_or(0);
        Ok(Self { server, load: all.next_back().unwrap_or(server) })
    }

    /// Puts this process, and what it starts, on the core of the load.
    pub(crate) fn take_load(self) -> io::Result<()> {
        let mut set = CpuSet::new();
        set.set(self.load);
        Ok(sched_setaffinity(None, &set)?)
    }
}

/// Lets this process and what it starts open as many files as the machine allows; how many that are.
pub(crate) fn raise_open_files() -> u64 {
    let now = getrlimit(Resource::Nofile);
    for most in [Some(65_536), now.maximum] {
        let maximum = most.max(now.maximum);
        if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
            break;
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The first line of a command's output; nothing where it cannot be run.
fn line(program: &str, words: &[&str]) -> String {
    let out = Command::new(program).args(words).output();
    let text = out.map(|out| String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or_default().trim().to_owned()
}

/// The commit that was built, marked where files differ from it.
fn commit() -> String {
    let text = line("git", &["describe", "--always", "--dirty", "--abbrev=12"]);
    if text.starts_with("fatal") { "unknown".into() } else { text }
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    value.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

/// Load average of the last minute: what else the machine does spoils wall times.
pub(crate) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

/// Whether other work on the machine can keep this one waiting.
fn scheduling() -> &'static str {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The policy is the 41st field; the second one, the name, may hold anything.
    let policy = text.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(38)).unwrap_or("0");
    if matches!(policy, "1" | "2") { "real-time" } else { "normal" }
}

/// All that a reader must know to place the figures.
pub(crate) fn facts(cores: Cores, seed: u64) -> Value {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    json!({
        "commit": commit(),
        "kernel": line("uname", &["-srm"]),
        "cpu": field("/proc/cpuinfo", "model name"),
        "cores": count,
        "memory": field("/proc/meminfo", "MemTotal"),
        "server core": cores.server,
        "load core": cores.load,
        "load average at the start": load_average(),
        "seed": seed,
        "scheduling": scheduling(),
        "nginx": line("nginx", &["-v"]),
        "wrk": line("wrk", &["-v"]),
        "h2load": line("h2load", &["--version"]),
        "varnish": line("varnishd", &["-V"]),
        "squid": line("squid", &["-v"]),
    })
}
