//! A node as a process of its own, with this test in the place of systemd: it is told of readiness over a notify socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than any step takes on a machine that is building beside it.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running node. Killed when it is dropped.
pub(crate) struct NodeProcess {
    child: Child,
    pub(crate) data: PathBuf,
    told: UnixDatagram,
    log: Receiver<String>,
    _notify: tempfile::TempDir,
}

/// The program with an environment of its own.
pub(crate) fn program(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waystation"));
    command.args(args).arg("--data").arg(data).env_clear().env("PATH", "/usr/bin:/bin");
    command
}

/// Runs one verb to its end.
pub(crate) fn verb(data: &Path, args: &[&str]) -> Output {
    program(data, args).output().unwrap()
}

impl NodeProcess {
    /// Starts on free ports of the loopback and waits until it says that it is ready.
    pub(crate) fn start(data: &Path, args: &[&str]) -> Self {
        let mut node = Self::spawn(data, args);
        node.told(|text| text.contains("READY=1"));
        node
    }

    /// Starts, and waits for nothing.
    pub(crate) fn spawn(data: &Path, args: &[&str]) -> Self {
        let notify = tempfile::tempdir().unwrap();
        let path = notify.path().join("notify");
        let told = UnixDatagram::bind(&path).unwrap();
        told.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let free = [
            "serve",
            "--set",
            "listen.http=127.0.0.1:0",
            "--set",
            "listen.https=127.0.0.1:0",
            "--set",
            "listen.control=127.0.0.1:0",
            "--log-format",
            "json",
        ];
        let mut child = program(data, &[&free, args].concat())
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "6000000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, data: data.to_owned(), told, log, _notify: notify }
    }

    /// Waits for a message to systemd that fits, and returns it.
    pub(crate) fn told(&mut self, fits: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        while Instant::now() < end {
            if let Ok(read) = self.told.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                if fits(&text) {
                    return text;
                }
            } else if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the node ended with {status}: {:?}", self.log.iter().collect::<Vec<_>>());
            }
        }
        panic!("systemd was not told: {:?}", self.log.try_iter().collect::<Vec<_>>());
    }

    /// Waits for a line of the log with this in it.
    pub(crate) fn logged(&self, part: &str) -> String {
        let end = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while let Ok(line) = self.log.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if line.contains(part) {
                return line;
            }
            seen.push(line);
        }
        panic!("{part:?} was not logged: {seen:?}");
    }

    /// All lines of the log that were not looked at yet, up to its end.
    #[allow(dead_code, reason = "not every test that includes this reads that far")]
    pub(crate) fn rest(&self) -> Vec<String> {
        self.log.iter().collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            // There is no way to await a child with a limit in the standard library.
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the node did not end: {:?}", self.log.try_iter().collect::<Vec<_>>());
    }

    /// What a verb prints as JSON; it is asked over the control socket.
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let output = verb(&self.data, &[args, &["--json"]].concat());
        let shown = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {shown}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Where a face listens.
    pub(crate) fn address(&self, face: &str) -> SocketAddr {
        let status = self.json(&["status"]);
        let listening = find(&status, "listening").unwrap_or_else(|| panic!("no listening in {status}"));
        let found = listening.as_array().unwrap().iter().find(|row| row["face"] == face);
        found.unwrap_or_else(|| panic!("no {face} in {status}"))["address"].as_str().unwrap().parse().unwrap()
    }
}

/// The first value under this name, wherever it is.
fn find<'a>(value: &'a serde_json::Value, name: &str) -> Option<&'a serde_json::Value> {
    let fields = value.as_object()?;
    fields.get(name).or_else(|| fields.values().find_map(|value| find(value, name)))
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As [`get_bytes`], as text.
pub(crate) fn get(address: SocketAddr, target: &str) -> String {
    String::from_utf8_lossy(&get_bytes(address, target)).into_owned()
}

/// One request; everything that comes back until the other side closes.
pub(crate) fn get_bytes(address: SocketAddr, target: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // At once: who speaks TLS alone closes after the first piece.
    let head = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("{error}"),
        Ok(_) | Err(_) => answer,
    }
}
