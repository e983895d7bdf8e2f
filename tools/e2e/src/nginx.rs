//! A real nginx as the origin, and what its log says of the bytes that were read from it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::node::{free_port, wait_for};

pub(crate) struct Nginx {
    pub address: SocketAddr,
    folder: PathBuf,
    child: Option<Child>,
}

/// What was read of one file: spans `[from, to)` and how many bytes in all.
#[derive(Default, Debug)]
pub(crate) struct Read {
    pub spans: Vec<(u64, u64)>,
    pub bytes: u64,
}

impl Nginx {
    /// Serves `root` on a free loopback port.
    pub(crate) fn start(folder: &Path, root: &Path) -> io::Result<Self> {
        let address = free_port()?;
        let folder = folder.join("nginx");
        fs::create_dir_all(&folder)?;
        let dir = folder.display();
        let root = root.display();
        // Started by root, nginx gives its workers to another user, who may not enter a private folder such as mktemp's.
        let user = if fs::metadata("/proc/self")?.uid() == 0 { "user root;" } else { "" };
        let text = format!(
            r#"{user}
worker_processes 1;
daemon off;
pid {dir}/pid;
error_log {dir}/error.log warn;
events {{ worker_connections 512; }}
http {{
  log_format line '$status $body_bytes_sent $request_method "$sent_http_content_range" "$http_range" $uri';
  access_log {dir}/access.log line;
  client_body_temp_path {dir}/t1;
  proxy_temp_path {dir}/t2;
  fastcgi_temp_path {dir}/t3;
  uwsgi_temp_path {dir}/t4;
  scgi_temp_path {dir}/t5;
  sendfile on;
  keepalive_timeout 60;
  keepalive_requests 100000;
  types {{ }}
  default_type application/octet-stream;
  server {{ listen {address}; root {root}; }}
}}
"#
        );
        fs::write(folder.join("nginx.conf"), text)?;
        let mut nginx = Self { address, folder, child: None };
        nginx.run()?;
        Ok(nginx)
    }

    pub(crate) fn run(&mut self) -> io::Result<()> {
        let child = Command::new("nginx")
            .args(["-p", &self.folder.to_string_lossy(), "-c", &self.folder.join("nginx.conf").to_string_lossy()])
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        self.child = Some(child);
        let address = self.address;
        wait_for("nginx to listen", || std::net::TcpStream::connect(address).is_ok())
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            let _ = child.wait();
        }
    }

    /// What was read since the log was last emptied, by path.
    pub(crate) fn reads(&self) -> io::Result<BTreeMap<String, Read>> {
        let mut found: BTreeMap<String, Read> = BTreeMap::new();
        for line in fs::read_to_string(self.folder.join("access.log"))?.lines() {
            let mut words = line.splitn(4, ' ');
            let status: u16 = words.next().and_then(|w| w.parse().ok()).unwrap_or(0);
            let bytes: u64 = words.next().and_then(|w| w.parse().ok()).unwrap_or(0);
            let method = words.next().unwrap_or_default();
            let rest = words.next().unwrap_or_default();
            let mut quoted = rest.splitn(5, '"');
            let content_range = quoted.nth(1).unwrap_or_default().to_owned();
            let path = quoted.nth(2).unwrap_or_default().trim().to_owned();
            if method != "GET" || !(200..300).contains(&status) || bytes == 0 {
                continue;
            }
            let from = content_range
                .strip_prefix("bytes ")
                .and_then(|text| text.split('-').next())
                .and_then(|text| text.parse().ok())
                .unwrap_or(0);
            let read = found.entry(path).or_default();
            read.spans.push((from, from + bytes));
            read.bytes += bytes;
        }
        Ok(found)
    }

    /// Forgets what was read so far.
    pub(crate) fn empty_log(&self) -> io::Result<()> {
        fs::OpenOptions::new().write(true).truncate(true).open(self.folder.join("access.log")).map(drop)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Read {
    /// Bytes that were read more than once.
    pub(crate) fn repeated(&self) -> u64 {
        let mut spans = self.spans.clone();
        spans.sort_unstable();
        let (mut end, mut twice) = (0, 0);
        for (from, to) in spans {
            twice += end.min(to).saturating_sub(from);
            end = end.max(to);
        }
        twice
    }
}
