//! The node under test: the released program with its shipped defaults, its limits, counters and log on.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::process::{Process, wait_for};

/// A loopback address with a port that was free a moment ago.
pub(crate) fn free_port() -> io::Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Not one that the system gives out: it would give it to a connection before the server listens there.
    let first = u16::try_from(std::process::id() % 200).unwrap_or(0) * 50;
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + (first + step) % 12_000;
        match TcpListener::bind(("127.0.0.1", port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && step < 12_000 => {}
            bound => return bound?.local_addr(),
        }
    }
}

/// Lines of a node's log that are printed after a turn that failed: enough for a reason, and still to be read.
const COMPLAINTS_MAX: usize = 200;

pub(crate) struct Node {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) process: Process,
    program: PathBuf,
    folder: PathBuf,
}

/// How a node is started.
pub(crate) struct Setup<'a> {
    pub(crate) program: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) core: usize,
    /// What it may ask.
    pub(crate) origins: &'a [SocketAddr],
    /// Further configuration; empty where the shipped defaults are measured.
    pub(crate) more: &'a str,
    /// Words before the program's own, such as those of another user.
    pub(crate) before: &'a [String],
}

/// What is known of a file that is taken in.
pub(crate) enum Named {
    /// Its SHA-256, in hex.
    Sha256(String),
    /// Where clients ask for it; a name there may hold a digest.
    Url(String),
}

impl Node {
    pub(crate) fn start(setup: &Setup<'_>) -> io::Result<Self> {
        let (http, https, control) = (free_port()?, free_port()?, free_port()?);
        fs::create_dir_all(setup.folder)?;
        let allow: Vec<String> = setup.origins.iter().map(|origin| format!("\"{origin}\"")).collect();
        let config = setup.folder.join("waystation.toml");
        fs::write(
            &config,
            format!(
                "[listen]\nhttp = [\"{http}\"]\nhttps = [\"{https}\"]\ncontrol = \"{control}\"\n[origins]\nallow = [{}]\n{}\n",
                allow.join(", "),
                setup.more
            ),
        )?;
        let data = setup.folder.join("data");
        let mut command = setup.before.to_vec();
        command.extend([
            setup.program.display().to_string(),
            "serve".into(),
            "--data".into(),
            data.display().to_string(),
            "--config".into(),
            config.display().to_string(),
        ]);
        let log = setup.folder.join("node.log");
        let mut process = Process::start(setup.core, &command, &log)?;
        let mut ended = false;
        let ready = wait_for("the node to be ready", || {
            ended = process.has_ended();
            ended || matches!(peek(control, "/readyz"), Ok((200, _)))
        });
        if ready.is_err() || ended {
            let text = fs::read_to_string(log).unwrap_or_default();
            let tail: Vec<&str> = text.lines().rev().take(10).collect();
            return Err(io::Error::other(format!("the node did not start: {}", tail.join("\n"))));
        }
        Ok(Self { http, https, process, program: setup.program.into(), folder: setup.folder.into() })
    }

    /// Prints what it has said beside its records of requests: the reason of what clients were told.
    pub(crate) fn complain(&self) {
        let text = fs::read_to_string(self.folder.join("node.log")).unwrap_or_default();
        for line in text.lines().filter(|line| !line.contains("\"status\"")).take(COMPLAINTS_MAX) {
            eprintln!("    node: {line}");
        }
    }

    /// Takes a file in; the node then answers it below `/sha256/`.
    pub(crate) fn import(&self, file: &Path, sha256: &str) -> io::Result<()> {
        self.take_in(file, &Named::Sha256(sha256.to_owned()))
    }

    /// Takes a file in of which this is known.
    pub(crate) fn take_in(&self, file: &Path, named: &Named) -> io::Result<()> {
        let (option, value) = match named {
            Named::Sha256(hex) => ("--sha256", hex),
            Named::Url(url) => ("--url", url),
        };
        let out = Command::new(&self.program)
            .args(["import", option, value])
            .arg(file)
            .arg("--data")
            .arg(self.folder.join("data"))
            .arg("--config")
            .arg(self.folder.join("waystation.toml"))
            .stdin(Stdio::null())
            .output()?;
        if out.status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("waystation import: {}", String::from_utf8_lossy(&out.stderr))))
    }

    /// Brings all that was taken in into the page cache, which an import leaves alone.
    pub(crate) fn warm(&self) -> io::Result<()> {
        for shelf in fs::read_dir(self.folder.join("data/content"))? {
            for file in fs::read_dir(shelf?.path())? {
                io::copy(&mut fs::File::open(file?.path())?, &mut io::sink())?;
            }
        }
        Ok(())
    }

    /// Where an origin's object is asked for at the node.
    pub(crate) fn target(origin: SocketAddr, path: &str) -> String {
        format!("{path}?cacheHostOrigin={origin}")
    }
}

/// A bare GET read to the end of the connection.
pub(crate) fn peek(to: SocketAddr, target: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {target} HTTP/1.0\r\nHost: {to}\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text.split(' ').nth(1).and_then(|text| text.parse().ok());
    Ok((status.ok_or_else(|| io::Error::other("no status"))?, text))
}
