//! The way of lines to standard error: a buffer that a thread of its own empties.
//!
//! Whoever has a line copies it into the buffer and goes on. The thread waits a moment before it takes what is there, so
//! that a busy node writes hundreds of lines in one call instead of waking it for each. Where the buffer is full lines are
//! lost, and the next line that fits says how many.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Bytes that may wait: a second or so of a node under full load whose reader stands still. Who sends long requests does
/// not fill the memory with them.
const QUEUE_BYTES_MAX: usize = 8 << 20;

/// What the buffers keep when they are empty.
const QUIET_BYTES: usize = 256 << 10;

/// How long lines are gathered: too short for anybody who reads along.
const GATHER: Duration = Duration::from_millis(20);

/// How long the end of the process waits for the last lines to go out.
const FLUSH: Duration = Duration::from_secs(2);

/// The buffer. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// For the writing thread: there is a line, or somebody waits for the last.
    there: Condvar,
    /// For who waits for the last.
    gone: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    lost: u64,
    /// Bytes that were ever put in, and that were ever written.
    put: u64,
    written: u64,
    /// The thread sleeps until there is a line.
    sleeping: bool,
    /// Somebody waits: nothing is gathered.
    hurry: bool,
}

impl Queue {
    /// The buffer of standard error. Its thread ends with the process.
    pub(super) fn start() -> io::Result<Self> {
        let queue = Self::default();
        let theirs = queue.clone();
        std::thread::Builder::new().name("log".into()).spawn(move || {
            loop {
                theirs.write_some(&mut io::stderr());
            }
        })?;
        Ok(queue)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one or more whole lines. Never waits for a writer.
    pub(super) fn put(&self, line: &[u8]) {
        let mut state = self.state();
        if state.lines.len().saturating_add(line.len()) > QUEUE_BYTES_MAX {
            state.lost += 1;
            return;
        }
        let before = state.lines.len();
        if state.lost > 0 {
            let lost = std::mem::take(&mut state.lost);
            // To a buffer of bytes nothing can fail.
            let _ = writeln!(state.lines, "{{\"level\":\"WARN\",\"message\":\"log lines lost\",\"lines\":{lost}}}");
        }
        state.lines.extend_from_slice(line);
        state.put += (state.lines.len() - before) as u64;
        if std::mem::take(&mut state.sleeping) {
            self.0.there.notify_one();
        }
    }

    /// Waits until everything that was put in is written. A reader that stands still costs the last lines, never the end
    /// of the process.
    pub(super) fn flush(&self) {
        let mut state = self.state();
        state.hurry = true;
        self.0.there.notify_one();
        let until = state.put;
        drop(self.0.gone.wait_timeout_while(state, FLUSH, |state| state.written < until));
    }

    /// Waits for lines, gathers a moment, and writes them.
    fn write_some(&self, out: &mut impl Write) {
        let mut state = self.state();
        while state.lines.is_empty() {
            state.sleeping = true;
            state = self.0.there.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let gathering = self.0.there.wait_timeout_while(state, GATHER, |state| !state.hurry);
        let (mut state, _) = gathering.unwrap_or_else(PoisonError::into_inner);
        let mut lines = std::mem::take(&mut state.lines);
        state.hurry = false;
        drop(state);
        // Nobody is left to be told that the log cannot be written.
        drop(out.write_all(&lines).and_then(|()| out.flush()));
        let mut state = self.state();
        state.written += lines.len() as u64;
        if state.lines.is_empty() {
            lines.clear();
            lines.shrink_to(QUIET_BYTES);
            state.lines = lines;
        }
        self.0.gone.notify_all();
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self, rest: Vec::new() }
    }
}

/// One event's line, which tracing writes in one go; what does not end a line waits for its rest.
pub(super) struct Line<'a> {
    queue: &'a Queue,
    rest: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.rest.is_empty() && bytes.ends_with(b"\n") {
            self.queue.put(bytes);
        } else {
            self.rest.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.rest.is_empty() {
            self.queue.put(&self.rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(queue: &Queue) -> String {
        let mut out = Vec::new();
        queue.write_some(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_go_out_together_and_in_order() {
        let queue = Queue::default();
        for line in ["a\n", "b\n"] {
            queue.make_writer().write_all(line.as_bytes()).unwrap();
        }
        let mut halves = queue.make_writer();
        halves.write_all(b"c").unwrap();
        halves.write_all(b"d\n").unwrap();
        drop(halves);
        assert_eq!(written(&queue), "a\nb\ncd\n");
        queue.put(b"e\n");
        assert_eq!(written(&queue), "e\n");
    }

    #[test]
    fn a_full_buffer_loses_lines_and_says_so() {
        let queue = Queue::default();
        let mut long = vec![b'x'; 64 << 10];
        long[(64 << 10) - 1] = b'\n';
        for _ in 0..(QUEUE_BYTES_MAX / long.len()) + 3 {
            queue.put(&long);
        }
        assert_eq!(queue.state().lines.len(), QUEUE_BYTES_MAX);
        assert_eq!(written(&queue).len(), QUEUE_BYTES_MAX);
        assert!(queue.state().lines.capacity() <= 2 * QUIET_BYTES, "what was needed once is not kept");
        queue.put(b"short\n");
        assert_eq!(written(&queue), "{\"level\":\"WARN\",\"message\":\"log lines lost\",\"lines\":3}\nshort\n");
    }

    #[test]
    fn who_flushes_waits_for_what_was_put_in_and_for_nothing_else() {
        let queue = Queue::default();
        queue.flush();
        queue.put(b"a\n");
        let theirs = queue.clone();
        let writing = std::thread::spawn(move || written(&theirs));
        queue.flush();
        assert_eq!((queue.state().written, writing.join().unwrap().as_str()), (2, "a\n"));
    }
}
