//! nginx, the peer: for held content, and as a cache in front of an origin.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::node::free_port;
use crate::process::{Process, wait_for};

pub(crate) struct Nginx {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) process: Process,
}

/// A certificate for both sides, ECDSA P-256 as the node's own is: the handshakes then cost alike.
pub(crate) fn certificate(folder: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let status = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"])
        .args(["-subj", "/CN=compare", "-addext", "subjectAltName=IP:127.0.0.1"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .stderr(Stdio::null())
        .status()?;
    if status.success() { Ok((cert, key)) } else { Err(io::Error::other("openssl cannot make a certificate")) }
}

impl Nginx {
    /// Serves the files of `root`: one worker, no access log, sendfile. `tcp_nopush` stays off: with it ranges of 64 KiB
    /// stall for 40 ms each. With `threads` reads go through a thread pool, which is what nginx has for cold files.
    pub(crate) fn files(
        folder: &Path,
        root: &Path,
        core: usize,
        threads: bool,
        tls: (&Path, &Path),
        before: &[String],
    ) -> io::Result<Self> {
        let (http, https) = (free_port()?, free_port()?);
        let aio = if threads { "aio threads;" } else { "" };
        let root = root.display();
        let (cert, key) = (tls.0.display(), tls.1.display());
        Self::start(
            folder,
            core,
            before,
            http,
            https,
            &format!(
                "  open_file_cache max=1000 inactive=300s;\n  open_file_cache_valid 300s;\n  {aio}\n  \
                 server {{ listen {http} backlog=4096; listen {https} ssl http2; root {root};\n    \
                 ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.3; }}\n"
            ),
        )
    }

    /// A cache in front of `origin`: slices of 1 MiB, one fetch of each at a time, connections kept.
    pub(crate) fn cache(folder: &Path, origin: SocketAddr, core: usize) -> io::Result<Self> {
        let http = free_port()?;
        let dir = folder.display();
        Self::start(
            folder,
            core,
            &[],
            http,
            http,
            &format!(
                "  proxy_cache_path {dir}/cache levels=1:2 keys_zone=c:64m max_size=20g inactive=1d use_temp_path=off;\n  \
                 upstream o {{ server {origin} max_fails=0; keepalive 64; keepalive_requests 100000; }}\n  \
                 server {{ listen {http} backlog=4096;\n    location / {{ slice 1m; proxy_pass http://o; proxy_cache c;\n      \
                 proxy_cache_key $uri$slice_range; proxy_set_header Range $slice_range; proxy_http_version 1.1;\n      \
                 proxy_set_header Connection \"\"; proxy_set_header Host {origin}; proxy_cache_valid 200 206 1h;\n      \
                 proxy_cache_lock on; proxy_cache_lock_timeout 1h; proxy_cache_lock_age 1h; proxy_read_timeout 120s; }} }}\n"
            ),
        )
    }

    fn start(
        folder: &Path,
        core: usize,
        before: &[String],
        http: SocketAddr,
        https: SocketAddr,
        text: &str,
    ) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let dir = folder.display();
        // Started by root, nginx gives its workers to another user, who may not enter a private folder such as mktemp's.
        let user = if fs::metadata("/proc/self")?.uid() == 0 { "user root;" } else { "" };
        let config = folder.join("nginx.conf");
        fs::write(
            &config,
            format!(
                "{user}\nworker_processes 1;\nworker_rlimit_nofile 20000;\ndaemon off;\npid {dir}/pid;\nerror_log {dir}/error.log error;\n\
                 events {{ worker_connections 16000; multi_accept on; }}\nhttp {{\n  access_log off;\n  client_body_temp_path {dir}/t1;\n  \
                 proxy_temp_path {dir}/t2;\n  fastcgi_temp_path {dir}/t3;\n  uwsgi_temp_path {dir}/t4;\n  scgi_temp_path {dir}/t5;\n  \
                 sendfile on;\n  tcp_nopush off;\n  tcp_nodelay on;\n  keepalive_timeout 600;\n  keepalive_requests 100000000;\n  \
                 types {{ }}\n  default_type application/octet-stream;\n{text}}}\n"
            ),
        )?;
        let words = ["nginx", "-p", &dir.to_string(), "-c", &config.display().to_string()].map(str::to_owned);
        let words = [before, &words].concat();
        let mut process = Process::start(core, &words, &folder.join("nginx.log"))?;
        let mut ended = false;
        wait_for("nginx to listen", || {
            ended = process.has_ended();
            ended || TcpStream::connect(http).is_ok()
        })?;
        if ended {
            let said = fs::read_to_string(folder.join("nginx.log")).unwrap_or_default();
            return Err(io::Error::other(format!("nginx did not start: {said}")));
        }
        Ok(Self { http, https, process })
    }
}
