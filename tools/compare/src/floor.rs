//! The floor: what a thread can do that does nothing but give a file's bytes to sockets, behind a head made beforehand:
//! written from a map, or by sendfile(2).
//! `waystation-compare --floor PORT FILE write|sendfile`: a process of its own, so that it is pinned and counted as the
//! others are.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::path::Path;

use memmap2::Mmap;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustix::fs::sendfile;
use rustix::net::{SendFlags, send};

const LISTENER: Token = Token(0);

struct Connection {
    stream: TcpStream,
    asked: Vec<u8>,
    head: Vec<u8>,
    /// The length that the head names.
    head_for: usize,
    /// What is still to be written: of the head, and of the map.
    head_left: usize,
    body: (usize, usize),
}

/// Where the bytes come from.
enum Body {
    Map(Mmap),
    File(File),
}

impl Body {
    #[allow(unsafe_code, reason = "a memory map has no safe form; the file is the run's own and nobody changes it")]
    fn of(file: File, by_sendfile: bool) -> io::Result<Self> {
        // SAFETY: the file belongs to this run and is not written again.
        if by_sendfile { Ok(Self::File(file)) } else { Ok(Self::Map(unsafe { Mmap::map(&file)? })) }
    }
}

/// Serves until it is killed.
pub(crate) fn serve(port: u16, file: &Path, by_sendfile: bool) -> io::Result<()> {
    let file = File::open(file)?;
    let size = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let body = Body::of(file, by_sendfile)?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(256);
    let mut listener = TcpListener::bind(([127, 0, 0, 1], port).into())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: HashMap<Token, Connection> = HashMap::new();
    let mut next = 1;
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, Token(next), Interest::READABLE | Interest::WRITABLE)?;
                    let fresh = Connection {
                        stream,
                        asked: Vec::new(),
                        head: Vec::new(),
                        head_for: 0,
                        head_left: 0,
                        body: (0, 0),
                    };
                    connections.insert(Token(next), fresh);
                    next += 1;
                }
            } else if let Some(connection) = connections.get_mut(&event.token())
                && !matches!(connection.turn(&body, size), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            {
                connections.remove(&event.token());
            }
        }
    }
}

impl Connection {
    /// Writes and reads until the socket has no more room or no more questions; any end but `WouldBlock` is the end.
    fn turn(&mut self, from: &Body, size: usize) -> io::Result<()> {
        loop {
            while self.head_left > 0 || self.body.0 < self.body.1 {
                let head = &self.head[self.head.len() - self.head_left..];
                let mut wrote = match from {
                    Body::Map(map) => {
                        let body = &map[self.body.0..self.body.1];
                        if head.is_empty() {
                            self.stream.write(body)?
                        } else {
                            self.stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)])?
                        }
                    }
                    // More follows at once, so that head and body leave together.
                    Body::File(_) if !head.is_empty() => {
                        send(&self.stream, head, SendFlags::MORE | SendFlags::NOSIGNAL)?
                    }
                    Body::File(file) => {
                        let mut at = self.body.0 as u64;
                        sendfile(&self.stream, file, Some(&mut at), self.body.1 - self.body.0)?
                    }
                };
                if wrote == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                let of_head = wrote.min(self.head_left);
                self.head_left -= of_head;
                wrote -= of_head;
                self.body.0 += wrote;
            }
            let mut buf = [0; 2048];
            let got = self.stream.read(&mut buf)?;
            if got == 0 {
                return Ok(());
            }
            self.asked.extend_from_slice(&buf[..got]);
            if self.asked.ends_with(b"\r\n\r\n") {
                self.answer(size)?;
            }
        }
    }

    fn answer(&mut self, size: usize) -> io::Result<()> {
        let name = b"Range: bytes=";
        let at = self.asked.windows(name.len()).position(|part| part == name).map(|at| at + name.len());
        let rest = &self.asked[at.ok_or_else(|| io::Error::other("no range"))?..];
        let mut numbers =
            rest.split(|byte| !byte.is_ascii_digit()).map(|digits| std::str::from_utf8(digits).unwrap_or("").parse());
        let (Some(Ok(from)), Some(Ok::<usize, _>(last))) = (numbers.next(), numbers.next()) else {
            return Err(io::Error::other("not a range"));
        };
        self.asked.clear();
        let len = last + 1 - from;
        if self.head_for != len {
            self.head.clear();
            write!(self.head, "HTTP/1.1 206 Partial Content\r\nContent-Length: {len}\r\n\r\n")?;
            self.head_for = len;
        }
        self.head_left = self.head.len();
        self.body = (from, size.min(from + len));
        Ok(())
    }
}
