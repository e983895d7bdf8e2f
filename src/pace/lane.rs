//! The class of a fetch, which changes while it goes on: what was begun ahead of time is waited for as soon as an endpoint
//! asks for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::pace::Governor;
use crate::pace::class::Class;
use crate::pace::flow::Flow;
use crate::pace::report::Pause;

// The class stands for itself; whoever must act on a change is told of it besides.
const ORDER: Ordering = Ordering::Relaxed;

/// A lane that one or several fetches keep to. Clones are the same lane.
#[derive(Clone)]
pub struct Lane {
    governor: Governor,
    class: Arc<AtomicU8>,
}

impl Lane {
    pub(super) fn new(governor: Governor, class: Class) -> Self {
        Self { governor, class: Arc::new(AtomicU8::new(number(class))) }
    }

    /// Its class now.
    pub fn class(&self) -> Class {
        Class::at(self.class.load(ORDER))
    }

    /// Another class, for those who stand in line already, too.
    pub fn set(&self, class: Class) {
        let new = number(class);
        if self.class.load(ORDER) != new && self.class.swap(new, ORDER) != new {
            self.governor.lane_changed();
        }
    }

    /// Whether nothing may flow on it for now.
    pub fn is_paused(&self) -> bool {
        self.governor.is_paused(self.class())
    }

    /// Whether nothing might flow on it for now if it were of this class.
    pub fn would_be_paused(&self, class: Class) -> bool {
        self.governor.is_paused(class)
    }

    /// Its pause, if nothing may flow on it for now.
    pub fn pause(&self) -> Option<Pause> {
        self.governor.pause(self.class())
    }

    /// Ends when nothing may flow on it any more, so that a connection is not held for a pause of hours.
    pub async fn paused(&self) {
        loop {
            let changed = self.governor.changed();
            tokio::pin!(changed);
            // Counted from here on: a change right after the look is not missed.
            changed.as_mut().enable();
            if self.is_paused() {
                return;
            }
            changed.await;
        }
    }

    /// A flow on this lane.
    pub fn flow(&self) -> Flow {
        Flow::on(self.governor.clone(), self.clone())
    }
}

fn number(class: Class) -> u8 {
    class as u8
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lane").field(&self.class()).finish()
    }
}
