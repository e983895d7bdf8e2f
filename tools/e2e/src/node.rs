//! The node under test: a real process, started, watched, stopped, killed.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use crate::http;

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

/// Asks again every 20 ms until `ready` says yes; 30 s at most.
pub(crate) fn wait_for(what: &str, mut ready: impl FnMut() -> bool) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs(30);
    while !ready() {
        if Instant::now() > end {
            return Err(io::Error::other(format!("waited 30 s for {what}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

pub(crate) struct Node {
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub control: SocketAddr,
    program: PathBuf,
    folder: PathBuf,
    config: PathBuf,
    child: Option<Child>,
}

impl Node {
    /// A node with its data in `folder/data`, allowed to ask `origins`; `more` is further configuration.
    pub(crate) fn start(program: &Path, folder: &Path, origins: &[SocketAddr], more: &str) -> io::Result<Self> {
        let allow: Vec<String> = origins.iter().map(|origin| format!("\"{origin}\"")).collect();
        Self::with(program, folder, "", &format!("[origins]\nallow = [{}]\n{more}", allow.join(", ")))
    }

    /// The same with a listener for nodes below.
    pub(crate) fn start_listening(
        program: &Path,
        folder: &Path,
        origins: &[SocketAddr],
        more: &str,
    ) -> io::Result<Self> {
        let allow: Vec<String> = origins.iter().map(|origin| format!("\"{origin}\"")).collect();
        let (peer, allow) = (format!("peer = [\"{}\"]\n", free_port()?), allow.join(", "));
        let more = format!(
            "[advertise]\nnames = [\"127.0.0.1\"]\nexternal = [\"127.0.0.1\"]\n[origins]\nallow = [{allow}]\n{more}"
        );
        Self::with(program, folder, &peer, &more)
    }

    /// `listen` is more of that section, `more` are further ones.
    fn with(program: &Path, folder: &Path, listen: &str, more: &str) -> io::Result<Self> {
        let (http, https, control) = (free_port()?, free_port()?, free_port()?);
        fs::create_dir_all(folder)?;
        let config = folder.join("waystation.toml");
        fs::write(
            &config,
            format!("[listen]\nhttp = [\"{http}\"]\nhttps = [\"{https}\"]\ncontrol = \"{control}\"\n{listen}{more}\n"),
        )?;
        let mut node =
            Self { http, https, control, program: program.into(), folder: folder.into(), config, child: None };
        node.run()?;
        Ok(node)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts the process and waits until it says that it is ready.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        self.run_until("/readyz")
    }

    /// Starts the process and waits until it lives, ready or not.
    pub(crate) fn run_unready(&mut self) -> io::Result<()> {
        self.run_until("/healthz")
    }

    fn run_until(&mut self, page: &str) -> io::Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("node.log"))?;
        let child = Command::new(&self.program)
            .arg("serve")
            .arg("--data")
            .arg(self.data())
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        let control = self.control;
        let ready = wait_for("the node to be ready", || {
            matches!(http::peek(control, page), Ok((200, _)))
                || self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))))
        });
        if ready.is_err() || self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_)))) {
            let log = fs::read_to_string(self.folder.join("node.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            return Err(io::Error::other(format!(
                "the node did not start:\n{}",
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            )));
        }
        Ok(())
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM; the node must end by itself with success.
    pub(crate) fn stop(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
            let end = Instant::now() + Duration::from_secs(40);
            loop {
                match child.try_wait()? {
                    Some(status) if status.success() => return Ok(()),
                    Some(status) => return Err(io::Error::other(format!("the node ended with {status}"))),
                    None if Instant::now() > end => {
                        child.kill()?;
                        return Err(io::Error::other("the node did not drain in 40 s"));
                    }
                    None => std::thread::sleep(Duration::from_millis(20)),
                }
            }
        }
        Ok(())
    }

    /// Where an origin's object is asked for at the node.
    pub(crate) fn target(origin: SocketAddr, path: &str) -> String {
        format!("{path}?cacheHostOrigin={origin}")
    }

    /// A verb of the command line against this node; its output.
    pub(crate) fn verb(&self, words: &[&str]) -> io::Result<String> {
        let out = self.line().run(words)?;
        if !out.status.success() {
            return Err(io::Error::other(format!(
                "waystation {} ended with {}: {}",
                words.join(" "),
                out.status,
                String::from_utf8_lossy(&out.stderr)
            )));
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// The command line for this node, for threads of their own.
    pub(crate) fn line(&self) -> Line {
        Line { program: self.program.clone(), data: self.data(), config: self.config.clone() }
    }

    /// The process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether the process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// Where the process writes.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    /// Puts `text` at the end of the configuration and lets the node read it again; the next one takes the place of this.
    pub(crate) fn reload_with(&mut self, text: &str) -> io::Result<()> {
        let whole = fs::read_to_string(&self.config)?;
        let kept = whole.split("# reloaded\n").next().unwrap_or_default();
        fs::write(&self.config, format!("{kept}# reloaded\n{text}\n"))?;
        if let Some(pid) = self.pid() {
            Command::new("kill").args(["-HUP", &pid.to_string()]).status()?;
        }
        Ok(())
    }
}

/// How verbs are run for one node.
#[derive(Clone)]
pub(crate) struct Line {
    program: PathBuf,
    data: PathBuf,
    config: PathBuf,
}

impl Line {
    /// Runs a verb; one that does not end in 150 s is killed.
    pub(crate) fn run(&self, words: &[&str]) -> io::Result<Output> {
        Command::new("timeout")
            .args(["-s", "KILL", "150"])
            .arg(&self.program)
            .args(words)
            .arg("--data")
            .arg(&self.data)
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null())
            .output()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
