//! varnish and squid as caches in front of an origin.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::node::free_port;
use crate::process::{Process, wait_for};

pub(crate) struct Peer {
    pub(crate) http: SocketAddr,
    pub(crate) process: Process,
}

impl Peer {
    fn start(folder: &Path, core: usize, http: SocketAddr, words: &[&str]) -> io::Result<Self> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let log = folder.join("peer.log");
        let mut process = Process::start(core, &words, &log)?;
        let mut ended = false;
        let ready = wait_for(&format!("{} to listen", words[0]), || {
            ended = process.has_ended();
            ended || TcpStream::connect(http).is_ok()
        });
        if ended || ready.is_err() {
            let said = fs::read_to_string(log).unwrap_or_default();
            return Err(io::Error::other(format!("{} did not start: {said}", words[0])));
        }
        Ok(Self { http, process })
    }

    /// varnish with its shipped behaviour: a miss fetches the whole object and streams it to all who wait.
    pub(crate) fn varnish(folder: &Path, origin: SocketAddr, core: usize) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let http = free_port()?;
        let work = folder.join("work");
        Self::start(
            folder,
            core,
            http,
            &[
                "varnishd",
                "-F",
                "-j",
                "none",
                "-n",
                &work.display().to_string(),
                "-a",
                &http.to_string(),
                "-b",
                &origin.to_string(),
                "-s",
                "malloc,2G",
                "-t",
                "3600",
                "-T",
                "none",
                "-p",
                "first_byte_timeout=120",
                "-p",
                "between_bytes_timeout=120",
            ],
        )
    }

    /// squid with what its makers tell for Windows Update: whole objects on any range, fetched to the end, kept long.
    pub(crate) fn squid(folder: &Path, origin: SocketAddr, core: usize) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let http = free_port()?;
        let dir = folder.display();
        let config = folder.join("squid.conf");
        fs::write(
            &config,
            format!(
                "http_port {http} accel defaultsite={origin}\n\
                 cache_peer 127.0.0.1 parent {} 0 no-query no-digest originserver name=o\n\
                 http_access allow all\ncache_peer_access o allow all\n\
                 range_offset_limit none\nquick_abort_min -1 KB\nmaximum_object_size 6 GB\ncollapsed_forwarding on\n\
                 cache_mem 256 MB\ncache_dir aufs {dir}/cache 8000 16 256\n\
                 refresh_pattern -i \\.(cab|exe|ms[i|u|f|p]|dat|zip|psf) 43200 80% 129600 reload-into-ims\n\
                 access_log none\ncache_log {dir}/cache.log\npid_filename {dir}/pid\ncoredump_dir {dir}\n\
                 netdb_filename none\nvisible_hostname compare\nshutdown_lifetime 1 seconds\nmax_filedescriptors 8192\n",
                origin.port()
            ),
        )?;
        let config = config.display().to_string();
        if fs::metadata("/proc/self")?.uid() == 0 {
            // squid does not work as root: it becomes this user.
            Command::new("chown").arg("-R").arg("proxy").arg(folder).status()?;
        }
        Command::new("squid").args(["-N", "-z", "-f", &config]).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        Self::start(folder, core, http, &["squid", "-N", "-f", &config])
    }
}
