//! Who answers a verb: the running node over `control.sock` (or, where it has none, over its control
//! listener, which only answers questions), a node elsewhere over TLS with a token ([`crate::cli::remote`]), or, where none runs, the same handlers over the data directory itself. All take the same requests and give the same answers.
//!
//! Who it is is decided before there is a runtime: the data directory is worked on as its owner, and the switch to that
//! user needs a process of one thread.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::admin::view;
use crate::app::Loaded;
use crate::app::alone::Alone;
use crate::cli::fail::Fail;
use crate::cli::listener;
use crate::cli::print::add;
use crate::cli::remote::Elsewhere;

/// The longest path that fits a socket's address, with its terminating zero.
const ADDRESS_BYTES_MAX: usize = 107;

/// Where a node that root runs keeps its data.
const SYSTEM: &str = "/var/lib/waystation";

/// The largest answer that is read: a job with ten thousand lines is a few megabytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Who answers.
#[derive(Debug)]
pub enum Node {
    /// The node that runs on the data directory.
    Running {
        /// Its socket.
        socket: PathBuf,
    },
    /// The same, where it has no socket: it answers questions and takes no orders.
    Answering {
        /// Its control listener.
        control: SocketAddr,
    },
    /// A node elsewhere.
    Elsewhere(Box<Elsewhere>),
    /// Nobody: the data directory is worked on here.
    Directory(Box<Alone>),
}

impl Node {
    /// The running node, and nothing else. One that could make no socket answers questions all the same, over TCP.
    pub fn running(loaded: &Loaded) -> Result<Self, Fail> {
        if let Some(remote) = loaded.remote() {
            return Ok(Self::Elsewhere(Box::new(Elsewhere::new(remote)?)));
        }
        let socket = loaded.control_socket();
        match probe(&socket) {
            Ok(()) => Ok(Self::Running { socket }),
            Err(error) => match loaded.control_address().filter(|_| is_nobody(&error)) {
                Some(control) if listener::is_of(control, loaded.data_dir()) => Ok(Self::Answering { control }),
                _ => Err(unreachable(loaded, &socket, &error)),
            },
        }
    }

    /// The running node, else the data directory. Where `create` is not set there must be a store in it.
    pub fn any(loaded: &Loaded, create: bool) -> Result<Self, Fail> {
        if loaded.remote().is_some() {
            return Self::running(loaded);
        }
        let socket = loaded.control_socket();
        match probe(&socket) {
            Ok(()) => return Ok(Self::Running { socket }),
            Err(error) if is_nobody(&error) => {}
            Err(error) => return Err(unreachable(loaded, &socket, &error)),
        }
        let data = loaded.data_dir();
        if !create && !data.join("node.redb").exists() {
            return Err(Fail::no_store(
                format!("no node is running, and there is no store in {}", data.display()),
                "name the right data directory with --data, or start a node there with `waystation serve`",
            ));
        }
        Ok(Self::Directory(Box::new(Alone::open(loaded)?)))
    }

    /// That no node runs, for what would pull the index from under it.
    pub fn none(loaded: &Loaded) -> Result<(), Fail> {
        match probe(&loaded.control_socket()) {
            Err(error) if is_nobody(&error) => Ok(()),
            _ => Err(Fail::new(
                format!("a node is running on {}", loaded.data_dir().display()),
                "stop it first (`systemctl stop waystation`, or SIGTERM), then try again",
            )),
        }
    }

    /// Whether a node runs.
    pub fn is_running(&self) -> bool {
        !matches!(self, Self::Directory(_))
    }

    /// Asks and reads the answer.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fail> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// Tells it to do something.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Fail> {
        let body = serde_json::to_vec(body).map_err(|error| Fail::new(error.to_string(), ""))?;
        self.call(Method::POST, path, body.into()).await
    }

    /// Takes something away.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fail> {
        self.call(Method::DELETE, path, Bytes::new()).await
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, Fail> {
        let (status, answer) = self.ask(method, path, body).await?;
        if !(200..300).contains(&status) {
            return Err(match serde_json::from_slice::<view::Problem>(&answer) {
                Ok(problem) => problem.into(),
                Err(_) => Fail::new(format!("the node answered {status}"), "look into its log"),
            });
        }
        serde_json::from_slice(&answer).map_err(|error| {
            let what = format!("the node's answer to {path} cannot be understood: {error}");
            Fail::new(what, "`waystation version` shows whether node and command are of different versions")
        })
    }

    /// The status and body of the answer, whatever they are.
    pub async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<(u16, Bytes), Fail> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| Fail::new(error.to_string(), ""))?;
        match self {
            Self::Running { socket } => over_socket(socket, request).await.map_err(|why| {
                let what = format!("the node at {} broke off: {why}", socket.display());
                Fail::new(what, "look into its log; it may just have been stopped")
            }),
            Self::Answering { .. } if request.method() != Method::GET => Err(Fail::new(
                "the node has no control socket, and takes orders over nothing else",
                "its log says why it has none: the file system of its data directory may be read-only",
            )),
            Self::Answering { control } => over_control(*control, request)
                .await
                .map_err(|why| Fail::new(format!("the node at {control} broke off: {why}"), "look into its log")),
            Self::Elsewhere(node) => node.ask(request).await.map_err(|why| {
                Fail::no_node(
                    format!("the node at {} is not reached: {why}", node.place()),
                    "see whether it runs, and whether its control listener is open to this machine",
                )
            }),
            Self::Directory(alone) => alone.ask(request).await.map_err(|why| Fail::new(why, "")),
        }
    }

    /// Ends the work on a data directory properly.
    pub async fn close(self) -> Result<(), Fail> {
        match self {
            Self::Running { .. } | Self::Answering { .. } | Self::Elsewhere(_) => Ok(()),
            Self::Directory(alone) => Ok(alone.close().await?),
        }
    }
}

/// No socket, or one that nobody listens on any more.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory)
}

fn unreachable(loaded: &Loaded, socket: &Path, error: &io::Error) -> Fail {
    if is_nobody(error) && loaded.is_in_use() {
        let next = match loaded.control_address() {
            Some(control) => format!("its log says why; see whether it is well at http://{control}/readyz"),
            None => "its log says why: the file system of its data directory may be read-only".to_owned(),
        };
        let data = loaded.data_dir().display();
        return Fail::no_node(format!("a waystation process works on {data}, and has no control socket"), next);
    }
    if is_nobody(error) {
        let system = Path::new(SYSTEM);
        let next = if loaded.data_dir() != system && system.exists() {
            format!(
                "start one with `waystation serve`, or name its data directory with --data; this machine's own is \
                 {SYSTEM}, which root looks at (sudo)"
            )
        } else {
            "start one with `waystation serve`, or name its data directory with --data".to_owned()
        };
        return Fail::no_node(format!("no node is running on {}", loaded.data_dir().display()), next);
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        let next = "run the command as root or as the user that the node runs as";
        return Fail::config(format!("{} may not be opened by this user", socket.display()), next);
    }
    Fail::no_node(format!("{}: {error}", socket.display()), "see whether the node is running and well")
}

/// Whether somebody listens. Blocks, for the moment that a connection takes.
fn probe(socket: &Path) -> io::Result<()> {
    let (path, _directory) = address(socket)?;
    std::os::unix::net::UnixStream::connect(path).map(drop)
}

/// A path to the socket that fits a socket's address, and what must stay open while it is used.
fn address(socket: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if socket.as_os_str().as_bytes().len() <= ADDRESS_BYTES_MAX {
        return Ok((socket.to_owned(), None));
    }
    // Too long: reached through a handle of its directory.
    let (Some(parent), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = File::open(parent)?;
    let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok((path, Some(directory)))
}

async fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (path, _directory) = address(socket)?;
    UnixStream::connect(path).await
}

async fn over_socket(socket: &Path, request: Request<Bytes>) -> Result<(u16, Bytes), String> {
    exchange(connect(socket).await.map_err(|error| error.to_string())?, request).await
}

async fn over_control(control: SocketAddr, request: Request<Bytes>) -> Result<(u16, Bytes), String> {
    exchange(TcpStream::connect(control).await.map_err(|error| error.to_string())?, request).await
}

/// One request over a connection that is there.
pub(super) async fn exchange<S>(stream: S, request: Request<Bytes>) -> Result<(u16, Bytes), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let exchange = async move {
        let response = sender.send_request(request.map(Full::new)).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    };
    let mut exchange = std::pin::pin!(exchange);
    // The connection is driven here, not by a task: it ends with the exchange.
    tokio::select! {
        answer = exchange.as_mut() => answer,
        _ended = connection => exchange.await,
    }
}

/// One segment of a path, with everything but letters, digits and `-._~` as percent signs and hex.
pub fn segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            add(&mut escaped, format_args!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_fits_into_one_segment() {
        assert_eq!(segment("http://h/a?b=%20"), "http%3A%2F%2Fh%2Fa%3Fb%3D%2520");
    }
}
