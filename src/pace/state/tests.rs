//! Any sequence of comings, leavings and rules: each line knows who stands in it.

use proptest::prelude::*;

use super::*;
use crate::pace::network::NetworkRule;
use crate::pace::{Governor, Lane};

#[derive(Clone, Debug)]
enum Op {
    Enter(u8, u64),
    Leave(usize),
    Poll(usize),
    Advance(u64),
    Rules(u8),
    Lane(u8, u8),
    GiveWay(bool),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0_u8..8, 1_u64..2_000_000).prop_map(|(who, want)| Op::Enter(who, want)),
        2 => (0_usize..64).prop_map(Op::Leave),
        2 => (0_usize..64).prop_map(Op::Poll),
        3 => (0_u64..3_000).prop_map(Op::Advance),
        1 => (0_u8..5).prop_map(Op::Rules),
        1 => (0_u8..3, 0_u8..3).prop_map(|(lane, class)| Op::Lane(lane, class)),
        1 => any::<bool>().prop_map(Op::GiveWay),
    ]
}

fn rules(number: u8) -> Arc<Config> {
    let with = |rules: &[(Class, &str)], networks: &[&str]| {
        let mut config = Config::default();
        for (class, rule) in rules {
            config = config.with(*class, &[rule]).unwrap();
        }
        config.networks = NetworkRule::parse_all(networks).unwrap();
        Arc::new(config)
    };
    match number {
        0 => with(&[], &[]),
        1 => with(&[(Class::Clients, "64 kbit/s"), (Class::Prefetch, "paused")], &["10.0.0.0/8 each /32: 32 kbit/s"]),
        2 => with(&[(Class::Upstream, "1 Mbit/s"), (Class::Demand, "2 Mbit/s")], &["10.0.0.0/8: 1 Mbit/s"]),
        3 => with(&[(Class::Nodes, "8 Mbit/s"), (Class::Sync, "paused")], &["10.0.0.0/8 each /32: 64 kbit/s"]),
        _ => with(&[(Class::Upstream, "80 Mbit/s"), (Class::Prefetch, "100 kbit/s")], &[]),
    }
}

impl State {
    /// Each line knows exactly those who stand in it.
    fn check(&mut self) {
        let mut standing: BTreeMap<Stage, usize> = BTreeMap::new();
        for ticket in self.tickets.values().filter(|ticket| !ticket.through) {
            *standing.entry(ticket.path[ticket.at].expect("it stands somewhere")).or_default() += 1;
        }
        let classes = Class::ALL.map(|class| if class == Class::Upstream { Stage::Link } else { Stage::Class(class) });
        let parts: Vec<Stage> = self.gates.parts.keys().map(|part| Stage::Part(*part)).collect();
        for stage in classes.into_iter().chain([Stage::GiveWay]).chain(parts) {
            let waiting = self.gates.of(stage).unwrap().waiting();
            assert_eq!(waiting, standing.remove(&stage).unwrap_or(0), "before {stage:?}");
            if let Stage::Part(part) = stage {
                assert!(waiting == 0 || self.parts_busy.contains(&part));
            }
        }
        assert!(standing.is_empty(), "before gates that are no more: {standing:?}");
    }
}

proptest! {
    /// Whatever comes, leaves, changes its class or gets other rules: nobody is lost in a line, and nobody is left over.
    #[test]
    fn every_line_knows_who_stands_in_it(ops in proptest::collection::vec(op(), 1..120)) {
        let governor = Governor::default();
        let lanes = [Class::Sync, Class::Prefetch, Class::Demand].map(|class| Lane::new(governor.clone(), class));
        let who = |number: u8| match number {
            0..=2 => Who::Fetch(lanes[usize::from(number)].clone()),
            3 => Who::Node,
            _ => Who::Client([10, 0, 0, number].into()),
        };
        let cx = Context::from_waker(Waker::noop());
        let (mut state, mut now, mut woken) = (State::new(), Duration::ZERO, Vec::new());
        let mut tickets: Vec<u64> = Vec::new();
        for op in ops {
            match op {
                Op::Enter(number, want) => match state.enter(&who(number), want, now, &cx) {
                    Ok(got) => prop_assert!(got > 0 && got <= want),
                    Err(ticket) => tickets.push(ticket),
                },
                Op::Leave(at) if at < tickets.len() => state.leave(tickets.swap_remove(at)),
                Op::Poll(at) if at < tickets.len() => {
                    if let Poll::Ready(got) = state.poll(tickets[at], &cx) {
                        prop_assert!(got > 0);
                        tickets.swap_remove(at);
                    }
                }
                Op::Leave(_) | Op::Poll(_) => {}
                Op::Advance(ms) => {
                    now += Duration::from_millis(ms);
                    state.sweep(now);
                }
                Op::Rules(number) => {
                    state.set_config(rules(number));
                    state.put_in_force(InForce::of(&Arc::clone(state.config()), Timestamp::default()), now, &mut woken);
                }
                Op::Lane(lane, class) => {
                    lanes[usize::from(lane)].set([Class::Sync, Class::Prefetch, Class::Demand][usize::from(class)]);
                    state.change_lanes(now, &mut woken);
                }
                Op::GiveWay(on) => state.set_give_way(on.then_some(64_000), now),
            }
            let due = state.serve(now, &mut woken);
            prop_assert!(due.is_none_or(|due| due > now));
            state.check();
        }
        state.open_all(now, &mut woken);
        state.check();
        for ticket in tickets {
            prop_assert!(state.poll(ticket, &cx).is_ready());
        }
        prop_assert_eq!(state.tickets(), 0);
    }
}

#[test]
fn what_was_found_for_rules_that_are_no_more_is_not_put_in_force() {
    let (mut state, mut woken) = (State::new(), Vec::new());
    state.set_config(rules(1));
    let stale = InForce::of(&Arc::clone(state.config()), Timestamp::default());
    state.set_config(Arc::default());
    state.put_in_force(InForce::of(&Arc::clone(state.config()), Timestamp::default()), Duration::ZERO, &mut woken);
    state.put_in_force(stale, Duration::ZERO, &mut woken);
    assert_eq!(state.governed(), 0);
}
