//! One stream of bytes, asked grain by grain whether the next ones may go.

use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::task::{Context, Poll, ready};

use crate::pace::Governor;
use crate::pace::class::Class;
use crate::pace::lane::Lane;
use crate::pace::ticket::Who;

/// See the head of this file. Dropped while it stands in line, it leaves the line, and nothing is lost.
pub struct Flow {
    governor: Governor,
    who: Who,
    ticket: Option<u64>,
}

impl Flow {
    pub(super) fn on(governor: Governor, lane: Lane) -> Self {
        Self { governor, who: Who::Fetch(lane), ticket: None }
    }

    pub(super) fn to_client(governor: Governor, client: IpAddr) -> Self {
        Self { governor, who: Who::Client(client.to_canonical()), ticket: None }
    }

    pub(super) fn to_node(governor: Governor) -> Self {
        Self { governor, who: Who::Node, ticket: None }
    }

    /// Its class now.
    pub fn class(&self) -> Class {
        self.who.class()
    }

    /// Whether it has to ask at all. One relaxed load where there is no rule.
    pub fn is_free(&self) -> bool {
        self.ticket.is_none() && self.governor.is_free(&self.who)
    }

    /// Asks for `want` bytes (at least 1): how many of them may go now, never none. They are counted from then on; who does
    /// not send them has wasted them. To be asked again until it is ready, or dropped; `want` counts when it is asked first.
    pub fn poll_take(&mut self, cx: &mut Context<'_>, want: u64) -> Poll<u64> {
        let want = want.max(1);
        if self.is_free() {
            self.count(want);
            return Poll::Ready(want);
        }
        let got = match self.ticket {
            None => match self.governor.enter(&self.who, want, cx) {
                Ok(got) => got,
                Err(ticket) => {
                    self.ticket = Some(ticket);
                    return Poll::Pending;
                }
            },
            Some(ticket) => {
                let got = ready!(self.governor.poll_ticket(ticket, cx));
                self.ticket = None;
                got
            }
        };
        // What was asked for first may be more than is wanted by now.
        let got = got.clamp(1, want);
        self.count(got);
        Poll::Ready(got)
    }

    /// As [`Flow::poll_take`]. Cancel-safe.
    pub async fn take(&mut self, want: u64) -> u64 {
        poll_fn(|cx| self.poll_take(cx, want)).await
    }

    fn count(&self, bytes: u64) {
        let class = self.who.class();
        // An answer that nothing holds back costs nothing here: what went to clients in all is counted by the sockets.
        if class.is_fetched() || !self.governor.is_free(&self.who) {
            self.governor.counters().add(class, bytes);
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.governor.leave(ticket);
        }
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("who", &self.who).field("ticket", &self.ticket).finish_non_exhaustive()
    }
}
