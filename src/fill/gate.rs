//! Connections to one host, shared by all flights: first come, first served; demand before what is fetched ahead, and that
//! before the rest of what was asked for in part, which leaves most of the link to others.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// Responses of one host that are passed through at once: whoever reads slowly costs a socket and little memory.
const PASSED_PER_HOST: usize = 64;

/// The same for one client: more than the seven connections that Windows opens.
const PASSED_PER_CLIENT: usize = 8;

/// A line of so many is looked through for those who have left: while nobody gives a place back (an origin that hangs),
/// nothing else takes them out.
const LINE_SWEPT: usize = 64;

/// Why a connection is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A response waits for it.
    Demand,
    /// Nobody waits, but all of it is wanted: a prefetch, or what lies before and behind of what is waited for.
    Ahead,
    /// Nobody waits, and nobody said that it is wanted: the rest of a payload of which much was asked for.
    Rest,
}

/// One n-th of a host's connections may carry rests: who asks for something new finds most of the link free.
const REST_SHARE: usize = 4;

/// The gates of all hosts.
#[derive(Debug)]
pub(super) struct Gates {
    limit: usize,
    hosts: Mutex<HashMap<String, Arc<Gate>>>,
}

#[derive(Debug)]
struct Gate {
    host: String,
    /// How many may be inside.
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Connections that carry rests.
    resting: usize,
    /// With when each one came.
    demand: VecDeque<(Instant, oneshot::Sender<Permit>)>,
    ahead: VecDeque<oneshot::Sender<Permit>>,
    rest: VecDeque<oneshot::Sender<Permit>>,
}

/// The right to use one connection. Dropping it lets the next one through.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Option<Arc<Gate>>,
    class: Class,
}

/// The right to pass one response through.
#[derive(Debug)]
pub(super) struct Passage {
    _client: Permit,
    _host: Permit,
}

impl Gates {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), hosts: Mutex::default() }
    }

    /// Waits for a response to be passed through to one client. There are gates of their own for that beside the host's: a
    /// client that reads slowly holds its connection for as long as it likes, and must keep neither flights nor other
    /// clients from theirs. `None` only where a gate is gone, which none is.
    pub(super) async fn enter_through(&self, host: &str, client: IpAddr) -> Option<Passage> {
        let client = client.to_canonical();
        let own = self.line(&format!("{host} through to {client}"), PASSED_PER_CLIENT, Class::Demand).await.ok()?;
        let host = self.line(&format!("{host} through"), PASSED_PER_HOST, Class::Demand).await.ok()?;
        Some(Passage { _client: own, _host: host })
    }

    /// Waits in line at the host's gate. Dropping the receiver leaves the line.
    pub(super) fn enter(&self, host: &str, class: Class) -> oneshot::Receiver<Permit> {
        self.line(host, self.limit, class)
    }

    /// The one gate of a host for as long as anybody has it: whoever stands in line or is inside.
    fn gate(&self, host: &str, limit: usize) -> Arc<Gate> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        // Gates at rest cost memory only: they go when there are many. One that somebody has just been given is not at rest,
        // though nobody is inside yet: a second one beside it would let twice as many in.
        if hosts.len() >= super::config::MEMORY_MAX {
            hosts.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        let fresh = || {
            let state = Mutex::new(State {
                free: limit,
                resting: 0,
                demand: VecDeque::new(),
                ahead: VecDeque::new(),
                rest: VecDeque::new(),
            });
            Arc::new(Gate { host: host.to_owned(), limit, state })
        };
        Arc::clone(hosts.entry(host.to_owned()).or_insert_with(fresh))
    }

    fn line(&self, host: &str, limit: usize, class: Class) -> oneshot::Receiver<Permit> {
        let gate = self.gate(host, limit);
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = gate.lock();
            match class {
                Class::Demand => {
                    if is_to_be_swept(state.demand.len()) {
                        state.demand.retain(|(_, sender)| !sender.is_closed());
                    }
                    state.demand.push_back((Instant::now(), sender));
                }
                Class::Ahead | Class::Rest => {
                    let line = if class == Class::Ahead { &mut state.ahead } else { &mut state.rest };
                    if is_to_be_swept(line.len()) {
                        line.retain(|sender| !sender.is_closed());
                    }
                    line.push_back(sender);
                }
            }
        }
        gate.serve();
        receiver
    }

    /// For how long the first of those who wait for a response has been in line at the host's gate.
    pub(super) fn waited(&self, host: &str) -> Option<Duration> {
        let gate = self.hosts.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned()?;
        let state = gate.lock();
        state.demand.iter().find(|(_, sender)| !sender.is_closed()).map(|(since, _)| since.elapsed())
    }
}

/// Each time that a line has doubled: it is never longer than twice those who are really in it, and a place in a long one
/// costs no more than in a short one.
fn is_to_be_swept(length: usize) -> bool {
    length >= LINE_SWEPT && length.is_power_of_two()
}

impl Permit {
    /// Whether it is for this host.
    pub(super) fn is_for(&self, host: &str) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.host == host)
    }

    /// Does `work` over the connection that this stands for. All that `work` has, the connection with it, is let go of before
    /// the next one is let in: else that one could open another connection beside it.
    pub(super) async fn during<T>(self, work: impl Future<Output = T>) -> T {
        let done = work.await;
        drop(self);
        done
    }
}

impl Gate {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets in who may enter now.
    fn serve(self: &Arc<Self>) {
        loop {
            let (next, class) = {
                let mut state = self.lock();
                let Some((next, class)) = state.next(self.limit.div_ceil(REST_SHARE)) else {
                    return;
                };
                state.free -= 1;
                state.resting += usize::from(class == Class::Rest);
                (next, class)
            };
            // That one has left the line: its permit must not run this loop again from inside.
            if let Err(mut back) = next.send(Permit { gate: Some(Arc::clone(self)), class }) {
                back.gate = None;
                self.lock().give_back(class);
            }
        }
    }
}

impl State {
    /// The first in line, if there is a connection for it.
    fn next(&mut self, rests: usize) -> Option<(oneshot::Sender<Permit>, Class)> {
        if self.free == 0 {
            return None;
        }
        if let Some((_, next)) = self.demand.pop_front() {
            return Some((next, Class::Demand));
        }
        if let Some(next) = self.ahead.pop_front() {
            return Some((next, Class::Ahead));
        }
        if self.resting >= rests {
            return None;
        }
        self.rest.pop_front().map(|next| (next, Class::Rest))
    }

    fn give_back(&mut self, class: Class) {
        self.free += 1;
        self.resting -= usize::from(class == Class::Rest);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.lock().give_back(self.class);
            gate.serve();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tells_for_how_long_a_response_has_been_in_line() {
        let gates = Gates::new(1);
        let _held = gates.enter("a", Class::Ahead).await.unwrap();
        let _ahead = gates.enter("a", Class::Ahead);
        let gone = gates.enter("a", Class::Demand);
        tokio::time::advance(Duration::from_secs(2)).await;
        let _demand = gates.enter("a", Class::Demand);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(gates.waited("a"), Some(Duration::from_secs(5)));
        drop(gone);
        assert_eq!((gates.waited("a"), gates.waited("b")), (Some(Duration::from_secs(3)), None));
    }

    #[tokio::test]
    async fn who_has_left_does_not_lengthen_the_line() {
        let gates = Gates::new(1);
        let held = gates.enter("a", Class::Demand).await.unwrap();
        let (mut demand, mut ahead) = (Vec::new(), Vec::new());
        for at in 0..10_000 {
            let (first, second) = (gates.enter("a", Class::Demand), gates.enter("a", Class::Ahead));
            if at % 200 == 0 {
                demand.push(first);
                ahead.push(second);
            }
        }
        {
            let hosts = gates.hosts.lock().unwrap();
            let state = hosts["a"].lock();
            for (length, staying) in [(state.demand.len(), demand.len()), (state.ahead.len(), ahead.len())] {
                assert!((staying..=2 * staying + LINE_SWEPT).contains(&length), "{length} for {staying}");
            }
        }
        drop(held);
        assert!(demand[0].try_recv().is_ok(), "who stayed is still the first");
    }

    /// What a connection is to the test: it looks, when it is let go of, whether somebody was let in already.
    struct Connection(oneshot::Receiver<Permit>, Arc<Mutex<Option<bool>>>);

    impl Drop for Connection {
        fn drop(&mut self) {
            *self.1.lock().unwrap() = Some(self.0.try_recv().is_ok());
        }
    }

    #[tokio::test]
    async fn a_connection_is_let_go_of_before_the_next_one_is_let_in() {
        let gates = Gates::new(1);
        for cut_short in [false, true] {
            let permit = gates.enter("a", Class::Demand).await.unwrap();
            let looked = Arc::default();
            let connection = Connection(gates.enter("a", Class::Demand), Arc::clone(&looked));
            let mut work = Box::pin(permit.during(async move {
                let _connection = connection;
                tokio::task::yield_now().await;
            }));
            if cut_short {
                assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(work.as_mut().poll(cx).is_pending())).await);
                drop(work);
            } else {
                work.await;
            }
            assert_eq!(*looked.lock().unwrap(), Some(false));
        }
    }

    #[test]
    fn a_gate_is_not_forgotten_between_look_up_and_line() {
        let gates = Gates::new(1);
        let found = gates.gate("a", 1);
        let inside = gates.enter("b", Class::Demand).try_recv().unwrap();
        let inner = Arc::clone(&gates.hosts.lock().unwrap()["b"]);
        for at in 0..=super::super::config::MEMORY_MAX {
            drop(gates.enter(&format!("host {at}"), Class::Demand));
        }
        assert!(gates.hosts.lock().unwrap().len() < super::super::config::MEMORY_MAX, "who is at rest has gone");
        assert!(Arc::ptr_eq(&found, &gates.gate("a", 1)) && Arc::ptr_eq(&inner, &gates.gate("b", 1)));
        drop(inside);
    }

    #[tokio::test]
    async fn demand_goes_first_and_no_place_is_lost() {
        let gates = Gates::new(2);
        let first = gates.enter("a", Class::Ahead).await.unwrap();
        let second = gates.enter("a", Class::Ahead).await.unwrap();
        let mut ahead = gates.enter("a", Class::Ahead);
        let left = gates.enter("a", Class::Demand);
        let mut demand = gates.enter("a", Class::Demand);
        assert!(gates.enter("b", Class::Ahead).await.is_ok(), "another host has its own gate");
        drop(left);
        drop(first);
        let third = demand.try_recv().unwrap();
        assert!(ahead.try_recv().is_err());
        drop(second);
        // A permit that lies in the channel of one who leaves is not lost.
        drop(ahead);
        let fourth = gates.enter("a", Class::Ahead).await.unwrap();
        drop((third, fourth));
        let (mut one, mut two) = (gates.enter("a", Class::Ahead), gates.enter("a", Class::Ahead));
        assert!(one.try_recv().is_ok() && two.try_recv().is_ok());
    }

    #[tokio::test]
    async fn rests_leave_most_connections_to_others() {
        let gates = Gates::new(8);
        let mut rests: Vec<_> = (0..8).map(|_| gates.enter("a", Class::Rest)).collect();
        let entered: Vec<Permit> = rests.iter_mut().filter_map(|rest| rest.try_recv().ok()).collect();
        assert_eq!(entered.len(), 2);
        let mut demands: Vec<_> = (0..7).map(|_| gates.enter("a", Class::Demand)).collect();
        let waited_for: Vec<Permit> = demands.iter_mut().filter_map(|demand| demand.try_recv().ok()).collect();
        assert_eq!(waited_for.len(), 6);
        drop(entered);
        let last = demands[6].try_recv().unwrap();
        let more: Vec<Permit> = rests.iter_mut().filter_map(|rest| rest.try_recv().ok()).collect();
        assert_eq!(more.len(), 1, "one connection was left, and it is theirs");
        drop((waited_for, last));
    }
}
