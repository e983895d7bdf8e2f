//! What a child makes of each kind of lie: the alarm that fits, and nothing applied.

use std::collections::BTreeSet;
use std::time::Duration;

use waystation::base::time::Timestamp;
use waystation::chain::alarm::{Alarm, State};
use waystation::chain::authority::STAMP_LIFE;
use waystation::chain::child::{Ask, Child};
use waystation::model::chain::ids::{Audience, NodeId};
use waystation::model::chain::live::LiveSet;
use waystation::model::chain::record::Entry;
use waystation::wire::peer::frame::{End, Frame};

use crate::evil::{Evil, spoil};
use crate::view::{Answer, View};
use crate::world::{Authority, Came, Chance, Node, START, feed_key, later, node, record, root_key};

const ALL: Audience = Audience::EVERYBODY;

fn entitled() -> BTreeSet<Audience> {
    BTreeSet::from([ALL, Audience::node(node(1))])
}

fn answer(child: &Node, view: &View) -> (Ask, Answer) {
    let ask = child.child.ask();
    let shows = child.child.served().map(|(_, checkpoint, _)| checkpoint.clone());
    let answer = view.answer(&ask, shows.as_ref(), &entitled());
    (ask, answer)
}

fn poll(child: &mut Node, view: &View, now: Timestamp) -> Came {
    let (ask, answer) = answer(child, view);
    child.take(*view.path.last().unwrap(), ask, &answer, now)
}

/// Polls until it has all.
fn follow(child: &mut Node, authority: &Authority, now: Timestamp) {
    for _ in 0..100 {
        let came = poll(child, &authority.view, now);
        assert!(came.alarms.is_empty() && came.error.is_none(), "{came:?}");
        if child.position() == Some(authority.head.position()) {
            return child.check(&authority.history);
        }
    }
    panic!("it does not come to the end");
}

/// An authority with some records, and a child that has them.
fn pair() -> (Authority, Node) {
    let mut authority = Authority::new(1);
    let entries: Vec<Entry> = (0..9).map(|key| record(key, ALL, &[key])).collect();
    authority.say(&entries, START);
    let mut child = Node::new(node(1), authority.chain());
    follow(&mut child, &authority, START);
    (authority, child)
}

fn only(came: &Came) -> &'static str {
    assert!(came.error.is_none() && came.alarms.len() == 1 && came.applied == 0, "{came:?}");
    came.alarms[0].word()
}

/// Frames under the head and vouch of the authority.
fn framed(authority: &Authority, frames: impl IntoIterator<Item = Frame>) -> Answer {
    let view = &authority.view;
    let begin = [Frame::Head { path: view.path.clone(), again: 0 }, Frame::Vouch(view.vouch.clone())];
    Answer { frames: begin.into_iter().chain(frames).collect(), is_conflict: false }
}

#[test]
fn what_was_changed_on_its_way_is_not_applied() {
    for (evil, word) in [
        (Evil::Body, "tampered"),
        (Evil::Audience, "tampered"),
        (Evil::Leave, "tampered"),
        (Evil::Put, "tampered"),
        (Evil::Uncovered, "tampered"),
        (Evil::SelfSign, "wrong-root"),
        (Evil::Resign, "bad-signature"),
    ] {
        for seed in 0..8 {
            let (mut authority, mut child) = pair();
            let before = child.position();
            authority.say(&[record(3, ALL, b"new"), record(20, Audience::node(node(1)), b"mine")], START);
            let (ask, mut answer) = answer(&child, &authority.view);
            spoil(evil, &mut answer, &mut Chance(seed));
            let came = child.take(node(0), ask, &answer, START);
            assert_eq!(only(&came), word, "{evil:?}");
            assert_eq!(child.child.alarms().get(&node(0)).map(|(alarm, _)| alarm.word()), Some(word));
            assert_eq!(child.position(), before);
            child.check(&authority.history);
            follow(&mut child, &authority, START);
            assert!(child.child.alarms().is_empty(), "what is in order ends it");
        }
    }
}

#[test]
fn the_other_order_of_the_same_records_is_not_applied() {
    let (mut authority, mut child) = pair();
    authority.say(&[record(3, ALL, b"first"), record(3, ALL, b"second")], START);
    let (ask, mut answer) = answer(&child, &authority.view);
    let swapped = answer.frames.iter_mut().find_map(|frame| match frame {
        Frame::Tail { entries, .. } => {
            entries.swap(0, 1);
            Some(())
        }
        _ => None,
    });
    assert!(swapped.is_some());
    assert_eq!(only(&child.take(node(0), ask, &answer, START)), "tampered");
    follow(&mut child, &authority, START);
}

#[test]
fn a_record_without_its_content_is_asked_for_and_else_withheld() {
    let (mut authority, mut child) = pair();
    let before = child.position();
    authority
        .say(&[record(20, Audience::node(node(1)), b"mine"), record(21, Audience::node(node(7)), b"theirs")], START);
    let (ask, mut stripped) = answer(&child, &authority.view);
    spoil(Evil::Strip, &mut stripped, &mut Chance(0));
    for frame in &mut stripped.frames {
        if let Frame::Tail { entries, .. } = frame {
            for entry in entries {
                *entry = entry.stripped();
            }
        }
    }
    let came = child.take(node(0), ask, &stripped, START);
    assert!(came.alarms.is_empty() && came.applied == 0);
    assert_eq!(child.position(), before);
    // Only what is for this node is asked for; a restart changes nothing of that.
    let asked = Ask::Contents(vec![record(20, Audience::node(node(1)), b"mine").key()]);
    assert_eq!(child.child.ask(), asked);
    child.restart();
    assert_eq!(child.child.ask(), asked);
    let nothing = framed(&authority, [Frame::Contents(Vec::new()), Frame::End(End::All)]);
    let came = child.take(node(0), asked, &nothing, START);
    assert_eq!(came.alarms, [Alarm::Stripped { count: 1 }]);
    assert_eq!(child.position(), before);
    follow(&mut child, &authority, START);
}

#[test]
fn what_is_below_the_cursor_is_not_taken() {
    let (mut authority, mut child) = pair();
    let old = authority.copy();
    authority.say(&[record(3, ALL, b"new")], START);
    follow(&mut child, &authority, START);
    // Replayed, or from a parent that is behind.
    let came = poll(&mut child, &old.view, START);
    assert_eq!(only(&came), "rolled-back");
    // The authority was restored and signs on: it says itself that this is all that there is.
    let mut restored = old.copy();
    restored.stamp(later(START, 60));
    let stamp = Frame::Stamp(restored.view.stamp.clone().unwrap());
    let came =
        child.take(node(0), child.child.ask(), &framed(&authority, [stamp, Frame::End(End::All)]), later(START, 61));
    assert_eq!(only(&came), "rolled-back");
    // A timestamp from before says nothing new, and nothing wrong.
    let stamp = Frame::Stamp(old.view.stamp.clone().unwrap());
    let came = child.take(node(0), child.child.ask(), &framed(&authority, [stamp, Frame::End(End::All)]), START);
    assert!(came.alarms.is_empty() && came.error.is_none());
    child.check(&authority.history);
}

#[test]
fn two_histories_at_one_place_are_a_fork() {
    let (mut authority, mut child) = pair();
    let mut clone = authority.copy();
    authority.say(&[record(3, ALL, b"here")], START);
    clone.say(&[record(3, ALL, b"there")], START);
    follow(&mut child, &authority, START);
    assert_eq!(only(&poll(&mut child, &clone.view, START)), "forked");
    // By a timestamp alone, too.
    let stamp = Frame::Stamp(clone.view.stamp.clone().unwrap());
    let came = child.take(node(0), child.child.ask(), &framed(&authority, [stamp, Frame::End(End::All)]), START);
    assert_eq!(only(&came), "forked");
    // Where the two are not at one place, it is the parent's word.
    clone.say(&[record(4, ALL, b"there")], START);
    assert!(matches!(poll(&mut child, &clone.view, START).alarms[..], [Alarm::SaidForked { .. }]));
    // A node that knows of a place by its timestamp does not take another history of it.
    let (mut authority, mut child) = pair();
    let mut clone = authority.copy();
    authority.say(&[record(3, ALL, b"here")], START);
    clone.say(&[record(3, ALL, b"there")], START);
    let stamp = Frame::Stamp(authority.view.stamp.clone().unwrap());
    child.take(node(0), child.child.ask(), &framed(&authority, [stamp, Frame::End(End::More)]), START);
    assert_eq!(only(&poll(&mut child, &clone.view, START)), "forked");
    child.check(&authority.history);
}

#[test]
fn a_key_that_was_replaced_signs_nothing_more() {
    let (mut authority, mut child) = pair();
    let mut thief = authority.copy();
    authority.rotate(START);
    follow(&mut child, &authority, START);
    let came = poll(&mut child, &authority.view, START);
    assert!(came.alarms.is_empty() && came.error.is_none());
    assert_eq!(child.view().unwrap().vouch.serial, 2);
    thief.say(&[record(3, ALL, b"theirs")], START);
    assert!(matches!(poll(&mut child, &thief.view, START).alarms[..], [Alarm::OldVouch { offered: 1, known: 2, .. }]));
    // Under the new vouch its signatures do not hold.
    let mixed = View { vouch: authority.view.vouch.clone(), ..thief.view.clone() };
    assert_eq!(only(&poll(&mut child, &mixed, START)), "bad-signature");
    // Two keys of one number: the root key is in use twice.
    let twin = feed_key(&root_key(1), 99, 1, 2);
    let twin = View { vouch: twin.vouch().clone(), ..authority.view.clone() };
    assert!(matches!(poll(&mut child, &twin, START).alarms[..], [Alarm::TwoKeys { epoch: 1, serial: 2 }]));
    follow(&mut child, &authority, START);
}

#[test]
fn a_vouch_that_ended_lets_nothing_in() {
    let (mut authority, mut child) = pair();
    let end = later(START, 60);
    let key = feed_key(&root_key(1), 2, 1, 1);
    let vouch = root_key(1).vouch(&key.vouch().feed, 1, 2, START, end).unwrap();
    authority.say(&[record(3, ALL, b"new")], START);
    let view = View { vouch, ..authority.view.clone() };
    let late = end.after(Duration::from_hours(25));
    assert_eq!(only(&poll(&mut child, &view, late)), "vouch-ended");
    child.check(&authority.history);
}

#[test]
fn a_new_epoch_is_taken_and_the_old_one_is_over() {
    let (mut authority, mut child) = pair();
    let backup = authority.copy();
    let said: Vec<Entry> = (0..9).map(|key| record(key, ALL, &[key, key])).collect();
    authority.say(&said, START);
    follow(&mut child, &authority, START);
    let old = authority.copy();
    authority.restore(&backup, START);
    authority.say(&[record(30, ALL, b"since")], START);
    let mut asked = 0;
    while child.position() != Some(authority.head.position()) {
        let (ask, answer) = answer(&child, &authority.view);
        if let Ask::Snapshot { bare, .. } = ask {
            assert!(bare, "what is held is not to be sent again");
        }
        if let Ask::Contents(keys) = &ask {
            asked += keys.len();
        }
        let came = child.take(node(0), ask, &answer, START);
        assert!(came.alarms.is_empty() && came.error.is_none(), "{came:?}");
    }
    assert_eq!(asked, 10);
    child.check(&authority.history);
    assert!(matches!(
        poll(&mut child, &old.view, START).alarms[..],
        [Alarm::OldVouch { epoch: 1, known_epoch: 2, .. }]
    ));

    // Where nothing was lost, an epoch costs one answer.
    let same = authority.copy();
    authority.restore(&same, START);
    poll(&mut child, &authority.view, START);
    let came = poll(&mut child, &authority.view, START);
    assert_eq!((came.applied, child.position()), (1, Some(authority.head.position())));
    child.check(&authority.history);
}

#[test]
fn a_snapshot_is_whole_though_things_change_while_it_comes() {
    let mut authority = Authority::new(1);
    let said: Vec<Entry> = (0..40).map(|key| record(key, ALL, &[key])).collect();
    authority.say(&said, START);
    let mut child = Node::new(node(1), authority.chain());
    let mut round = 0;
    while child.position() != Some(authority.head.position()) {
        let came = poll(&mut child, &authority.view, START);
        assert!(came.alarms.is_empty() && came.error.is_none(), "{came:?}");
        child.check(&authority.history);
        child.restart();
        if round < 9 {
            let gone = Entry::gone(round % 15 + 1, ALL, vec![round].into()).unwrap();
            authority.say(&[gone, record(round + 20, ALL, b"new"), record(round + 50, ALL, b"more")], START);
        }
        round += 1;
    }
    child.check(&authority.history);
}

#[test]
fn a_store_that_is_damaged_is_told_from_a_parent_that_lies() {
    let (mut authority, mut child) = pair();
    // A record is lost behind the machine's back.
    let lost = record(4, ALL, &[4]);
    child.live.remove(&lost.key());
    child.restart();
    authority.say(&[record(3, ALL, b"new")], START);
    assert_eq!(only(&poll(&mut child, &authority.view, START)), "diverged");
    assert!(matches!(child.child.ask(), Ask::Snapshot { base: None, bare: true, .. }));
    child.restart();
    while child.position() != Some(authority.head.position()) {
        assert!(poll(&mut child, &authority.view, START).alarms.is_empty());
    }
    child.check(&authority.history);
}

#[test]
fn what_no_checkpoint_covers_is_held_up_to_a_limit() {
    use waystation::chain::child::STAGED_MAX;
    use waystation::model::chain::hash::{KeyHash, RecordHash};
    let (authority, mut child) = pair();
    let made_up = |from: u64, count: u64| -> Vec<Entry> {
        let hash = |number: u64| {
            let mut bytes = [1; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            bytes
        };
        let entry = |number| Entry::bare(Audience::new([7; 16]), KeyHash::new(hash(number)), RecordHash::new([2; 32]));
        (from..from + count).map(entry).collect()
    };
    let first = authority.head.position().sequence + 1;
    let (part_len, over) = (STAGED_MAX as u64 / 6, STAGED_MAX as u64 + 1);
    let frames =
        (0..7).map(|part| Frame::Tail { first: first + part * part_len, entries: made_up(part * part_len, part_len) });
    assert!(7 * part_len > over);
    let came = child.take(node(0), child.child.ask(), &framed(&authority, frames), START);
    assert_eq!(came.alarms, [Alarm::Uncovered { max: STAGED_MAX }]);
    child.check(&authority.history);
    let mut fresh = Node::new(node(1), authority.chain());
    let begin = [Frame::Checkpoint(authority.view.checkpoint.clone())];
    let pages = (0..7).map(|part| Frame::Page(made_up(part * part_len, part_len)));
    let came = fresh.take(node(0), fresh.child.ask(), &framed(&authority, begin.into_iter().chain(pages)), START);
    assert_eq!(came.alarms, [Alarm::Uncovered { max: STAGED_MAX }]);
    follow(&mut fresh, &authority, START);
}

#[test]
fn a_path_that_goes_round_is_a_loop() {
    let (authority, mut child) = pair();
    let with = |path: Vec<NodeId>| View { path, ..authority.view.clone() };
    let came = poll(&mut child, &with(vec![node(0), node(1), node(2)]), START);
    assert_eq!(only(&came), "loop");
    assert_eq!(only(&poll(&mut child, &with(vec![node(0), node(2), node(2)]), START)), "loop");
    let deep: Vec<NodeId> = (20..36).map(node).collect();
    assert_eq!(only(&poll(&mut child, &with(deep.clone()), START)), "too-deep");
    let (ask, answer) = answer(&child, &with(vec![node(0), node(2)]));
    assert_eq!(only(&child.take(node(5), ask, &answer, START)), "path");
    let came = poll(&mut child, &with(deep[..15].to_vec()), START);
    assert!(came.alarms.is_empty());
    assert_eq!(child.child.path().len(), 16);
}

#[test]
fn two_nodes_that_are_put_below_each_other_at_once_both_find_it() {
    let (authority, mut one) = pair();
    let mut two = Node::new(node(2), authority.chain());
    follow(&mut two, &authority, START);
    let (above_one, above_two) = (two.view().unwrap(), one.view().unwrap());
    // Both first answers are in order, since both come from the authority still.
    assert!(poll(&mut one, &above_one, START).alarms.is_empty());
    assert!(poll(&mut two, &above_two, START).alarms.is_empty());
    let (above_one, above_two) = (two.view().unwrap(), one.view().unwrap());
    assert_eq!(only(&poll(&mut one, &above_one, START)), "loop");
    assert_eq!(only(&poll(&mut two, &above_two, START)), "loop");
    // Back at the authority they are in order again.
    follow(&mut one, &authority, START);
    follow(&mut two, &authority, START);
    assert_eq!(one.child.path(), [node(0), node(1)]);
}

#[test]
fn withholding_shows_by_age_and_newer_records_are_taken_all_the_same() {
    let (mut authority, mut child) = pair();
    let held_back = authority.copy();
    assert_eq!(child.child.state(START.after(STAMP_LIFE)), State::Current { as_of: child_as_of(&child) });
    let late = later(START, 25 * 60);
    assert_eq!(child.child.state(late), State::Frozen { since: child_as_of(&child) });
    // Timestamps come, records do not: the timestamp speaks of what is not here.
    authority.say(&[record(3, ALL, b"new")], late);
    let stamp = Frame::Stamp(authority.view.stamp.clone().unwrap());
    let came = child.take(node(0), child.child.ask(), &framed(&held_back, [stamp, Frame::End(End::All)]), late);
    assert!(came.alarms.is_empty());
    assert!(matches!(child.child.state(late), State::Frozen { .. }));
    // Records come, though what they prove is old.
    let later_still = later(late, 48 * 60);
    let (ask, mut answer) = answer(&child, &authority.view);
    answer.frames.retain(|frame| !matches!(frame, Frame::Stamp(_)));
    assert_eq!(child.take(node(0), ask, &answer, later_still).applied, 1);
    child.check(&authority.history);
    assert!(matches!(child.child.state(later_still), State::Frozen { since } if since >= late));
    authority.stamp(later_still);
    follow(&mut child, &authority, later_still);
    poll(&mut child, &authority.view, later_still);
    assert_eq!(child.child.state(later_still), State::Current { as_of: later_still });
}

fn child_as_of(child: &Node) -> Timestamp {
    child.child.known().current.unwrap().0
}

#[test]
fn a_timestamp_of_the_future_proves_nothing() {
    let (mut authority, mut child) = pair();
    let before = child.child.known().current;
    authority.stamp(START.after(Duration::from_hours(25)));
    assert_eq!(only(&poll(&mut child, &authority.view, START)), "clock");
    assert_eq!(child.child.known().current, before);
}

#[test]
fn frames_out_of_their_place_change_nothing() {
    let (mut authority, mut child) = pair();
    authority.say(&[record(3, ALL, b"new")], START);
    let entries = vec![authority.view.log.last_key_value().unwrap().1.0.clone()];
    let first = authority.head.position().sequence;
    let contents = Frame::Contents(Vec::new());
    let tail = |first| Frame::Tail { first, entries: entries.clone() };
    let known = child.child.known();
    let feed = child.child.ask();
    let snapshot = Ask::Snapshot { base: None, after: None, bare: false };
    for (ask, frames) in [
        (feed.clone(), vec![tail(first + 1)]),
        (feed.clone(), vec![tail(first - 1)]),
        (feed.clone(), vec![Frame::Page(entries.clone())]),
        (feed.clone(), vec![Frame::Vouch(authority.view.vouch.clone())]),
        (feed.clone(), vec![Frame::End(End::Last)]),
        (snapshot.clone(), vec![tail(first)]),
        (snapshot.clone(), vec![Frame::Page(entries.clone())]),
        (snapshot, vec![Frame::End(End::All)]),
        (Ask::Contents(Vec::new()), vec![contents, Frame::End(End::More)]),
    ] {
        let came = child.take(node(0), ask, &framed(&authority, frames.clone()), START);
        assert!(came.error.is_some() && came.alarms.is_empty(), "{frames:?}: {came:?}");
        assert_eq!(child.child.known(), known, "{frames:?}");
    }
    // Nothing is taken before it is known who answers, and under which key.
    let mut bare = Child::new(node(1), authority.chain());
    bare.begin(node(0), feed);
    assert!(bare.take(&tail(first), START).is_err());
    assert!(bare.take(&Frame::Vouch(authority.view.vouch.clone()), START).is_err());
    follow(&mut child, &authority, START);
}

#[test]
fn what_a_node_may_see_since_it_is_in_a_group_is_asked_for() {
    let mut authority = Authority::new(1);
    let group = Audience::new([0x60; 16]);
    authority.say(&[record(1, ALL, b"all"), record(2, group, b"group")], START);
    let mut child = Node::new(node(1), authority.chain());
    follow(&mut child, &authority, START);
    assert!(child.child.short().is_empty());
    child.child.set_groups([group]);
    let ask = Ask::Contents(child.child.short());
    assert_eq!(ask, Ask::Contents(vec![record(2, group, b"group").key()]));
    let entitled = BTreeSet::from([ALL, group]);
    let answer = authority.view.answer(&ask, None, &entitled);
    child.take(node(0), ask, &answer, START);
    assert!(child.child.short().is_empty());
    assert!(child.live.values().all(Entry::is_whole));
    assert_eq!(child.child.live().clone().root(), child.live.values().map(leaf).collect::<LiveSet>().root());
}

fn leaf(entry: &Entry) -> waystation::model::chain::live::Leaf {
    let (key, record, audience) = (entry.key(), entry.record(), entry.audience());
    waystation::model::chain::live::Leaf { key, record, audience, held: entry.is_whole() }
}
