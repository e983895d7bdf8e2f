//! Programs of others: wrk and h2load, told what to ask and read for what came of it, and a digest.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::bytes;
use crate::load::Range;

/// Bytes of bodies, questions answered, seconds.
pub(crate) struct Figures {
    pub(crate) bytes: f64,
    pub(crate) seconds: f64,
}

/// Whether `program` can be started.
pub(crate) fn has(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
        || Path::new("/usr/sbin").join(program).is_file()
}

fn output(command: &mut Command) -> io::Result<String> {
    let out = command.output()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() {
        return Ok(text);
    }
    Err(io::Error::other(format!("{command:?}: {}{text}", String::from_utf8_lossy(&out.stderr))))
}

/// The SHA-1 of a file in hex, by coreutils.
pub(crate) fn sha1(file: &Path) -> io::Result<String> {
    let text = output(Command::new("sha1sum").arg("--").arg(file))?;
    text.split_whitespace().next().map(str::to_owned).ok_or_else(|| io::Error::other("sha1sum said nothing"))
}

/// wrk with one thread, ranges in a shuffled order; the order is in the script, so that a question costs wrk little.
pub(crate) fn wrk(
    folder: &Path,
    url: &str,
    ranges: &[Range],
    connections: usize,
    seconds: u64,
    seed: u64,
) -> io::Result<Figures> {
    let mut order = ranges.to_vec();
    bytes::shuffle(&mut order, seed);
    let mut script = String::from("local list = {\n");
    for (from, len) in order.iter().take(20_000) {
        // Writing to a string does not fail.
        let _ = writeln!(script, "\"bytes={from}-{}\",", from + len - 1);
    }
    script.push_str(
        "}\nlocal made, at = {}, 0\n\
         function init()\n  for i, range in ipairs(list) do made[i] = wrk.format(nil, nil, { [\"Range\"] = range }) end\nend\n\
         function request()\n  at = at + 1\n  if at > #made then at = 1 end\n  return made[at]\nend\n\
         function done(summary)\n  local e = summary.errors\n  \
         io.write(string.format(\"RESULT %d %d %d\\n\", summary.duration, summary.requests, e.connect + e.read + e.write + e.status + e.timeout))\nend\n",
    );
    let file = folder.join("ranges.lua");
    fs::write(&file, script)?;
    let text = output(
        Command::new("wrk")
            .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "-s"])
            .arg(&file)
            .arg(url),
    )?;
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT "));
    let numbers: Vec<f64> =
        line.into_iter().flat_map(|line| line.split(' ')).filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        // Heads do not count: they are not alike.
        [micros, requests, 0.0] if requests > 0.0 => {
            Ok(Figures { bytes: requests * ranges.first().map_or(0, |(_, len)| *len) as f64, seconds: micros / 1e6 })
        }
        _ => Err(io::Error::other(format!("wrk: {text}"))),
    }
}

/// h2load with one thread, four connections and four streams on each, over TLS: the same range of many objects in a shuffled order.
pub(crate) fn h2load(
    folder: &Path,
    to: SocketAddr,
    targets: &[String],
    range: Range,
    seconds: u64,
    seed: u64,
) -> io::Result<Figures> {
    let mut order = targets.to_vec();
    bytes::shuffle(&mut order, seed);
    let mut list = String::new();
    for target in &order {
        // Writing to a string does not fail.
        let _ = writeln!(list, "https://{to}{target}");
    }
    let file = folder.join("targets.txt");
    fs::write(&file, list)?;
    let text = output(
        Command::new("h2load")
            .args(["-t1", "-c4", "-m4", &format!("-D{seconds}")])
            .args(["-w", "24", "-W", "26"])
            .args(["-H", &format!("Range: bytes={}-{}", range.0, range.0 + range.1 - 1), "-i"])
            .arg(&file),
    )?;
    let requests = text.lines().find(|line| line.starts_with("requests:")).unwrap_or_default();
    let number = |what: &str| -> f64 {
        let mut words = requests.split([' ', ',']).filter(|word| !word.is_empty()).collect::<Vec<_>>();
        words.reverse();
        words.iter().skip_while(|word| **word != what).nth(1).and_then(|word| word.parse().ok()).unwrap_or(0.0)
    };
    if number("failed") > 0.0 || number("errored") > 0.0 || number("succeeded") == 0.0 {
        return Err(io::Error::other(format!("h2load: {text}")));
    }
    Ok(Figures { bytes: number("succeeded") * range.1 as f64, seconds: seconds as f64 })
}
