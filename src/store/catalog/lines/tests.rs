//! Whatever is asked of the lines is found as a plain walk over the rows finds it.

use std::sync::Arc;

use super::*;
use crate::base::time::Timestamp;
use crate::model::filter::Wanted;
use crate::store::catalog::tables::RevisionRow;
use crate::store::tables::encode;

fn row(at: u32, salt: u32) -> RevisionRow {
    let category = |of: u32| [u8::try_from(of).unwrap(); 16];
    RevisionRow {
        id: blake3::hash(&at.to_le_bytes()).as_bytes()[..16].try_into().unwrap(),
        revision: salt,
        kind: if at % 9 == 4 { 13 } else { u8::from(at % 9 == 5) },
        publication: u8::from(at % 11 == 3),
        severity: u8::try_from(at % 5).unwrap(),
        created: (!at.is_multiple_of(7)).then_some(u64::from(at * 7919 % 500)),
        title: format!("Ünique {} Update {at} of {salt}", ["Security", "Preview", "Driver"][at as usize % 3]),
        kbs: (0..at % 3).map(|more| format!("50{}", at / 2 + more)).collect(),
        categories: vec![category(at % 4), category(100 + at % 9), category(at % 4)],
        supersedes: vec![[7; 16]; at as usize % 3],
        deployable: at % 6 != 1,
        files: 3,
        bytes: 1 << 40,
        current: at % 13 != 5,
        refused: at % 17 == 2,
        ..RevisionRow::default()
    }
}

/// Filters of these products and classifications.
fn beyond(products: &[u8], classifications: &[u8]) -> Wanted {
    let ids = |of: &[u8]| of.iter().map(|of| UpdateId::new([*of; 16])).collect();
    Wanted { products: ids(products), classifications: ids(classifications), ..Wanted::default() }
}

/// What `find` must say, without any of its ways.
fn plainly(rows: &BTreeMap<u32, RevisionRow>, query: &Query, limit: usize) -> (Vec<(Cursor, State)>, u64) {
    let has = |row: &RevisionRow, id: Option<UpdateId>| id.is_none_or(|id| row.categories.contains(id.bytes()));
    let mut all: Vec<_> = rows
        .iter()
        .filter(|(_, row)| {
            let words = query.text.to_lowercase();
            let created = Timestamp::from_ms(row.created.unwrap_or(0));
            row.current
                && (query.hidden || row.deployable)
                && row.severity >= query.severity.map_or(0, severity_code)
                && has(row, query.product)
                && has(row, query.classification)
                && (query.any_of.is_empty() || query.any_of.iter().any(|id| has(row, Some(*id))))
                && query.beyond.as_ref().is_none_or(|beyond| {
                    row.kind <= 1 && !beyond.takes(row.categories.iter().copied().map(UpdateId::new))
                })
                && query.kb.as_ref().is_none_or(|kb| row.kbs.contains(kb))
                && words.split_whitespace().all(|word| row.title.to_lowercase().contains(word))
                && query.from.is_none_or(|from| created >= from)
                && query.until.is_none_or(|until| created < until)
        })
        .map(|(number, row)| {
            let state = match () {
                () if row.refused => State::Refused,
                () if row.publication != 0 => State::Expired,
                () if row.id[0] < 60 => State::Superseded,
                () => State::Current,
            };
            (Cursor { created: row.created.unwrap_or(0), number: *number }, state)
        })
        .filter(|(_, state)| query.states.is_empty() || query.states.contains(state))
        .collect();
    all.sort_by_key(|(cursor, _)| Reverse(*cursor));
    let total = all.len() as u64;
    all.retain(|(cursor, _)| query.after.is_none_or(|after| *cursor < after));
    all.truncate(limit + 1);
    (all, total)
}

fn load(lines: &mut Lines, number: u32, row: &RevisionRow) {
    lines.load(number, &encode(row).unwrap(), |id| Ok(id[0] < 60)).unwrap();
}

#[test]
fn whatever_is_asked_is_found_as_a_plain_walk_finds_it() {
    let (mut lines, mut rows) = (Lines::with_room(10), BTreeMap::new());
    // So many rounds that the text is written anew more than once.
    for round in 0..60_u32 {
        let changed: Vec<u32> = (0..400).filter(|at| round == 0 || (at * 31 + round) % 3 == 0).collect();
        lines.forget(&changed);
        for at in &changed {
            rows.remove(at);
            if (at + round) % 10 != 9 {
                load(&mut lines, *at, &row(*at, round));
                rows.insert(*at, row(*at, round));
            }
        }
        lines.arrange().unwrap();
        let category = |of: u8| Some(UpdateId::new([of; 16]));
        let base = Query { hidden: true, ..Query::default() };
        let mut after = None;
        for query in [
            base.clone(),
            Query::default(),
            Query { text: "UPDATE sec 1".into(), ..base.clone() },
            Query { text: format!("ünique of {round}"), ..base.clone() },
            Query { text: "50".into(), product: category(2), classification: category(103), ..base.clone() },
            Query { product: category(250), ..base.clone() },
            Query { any_of: [1, 250, 104].map(|of| UpdateId::new([of; 16])).to_vec(), ..base.clone() },
            Query { any_of: vec![UpdateId::new([250; 16])], ..base.clone() },
            Query { beyond: Some(Arc::new(beyond(&[0, 2], &[100, 103, 250]))), ..base.clone() },
            Query { beyond: Some(Arc::new(beyond(&[251], &[100]))), text: "server".into(), ..base.clone() },
            Query { kb: Some("5033".into()), ..base.clone() },
            Query { severity: Some(crate::model::update::Severity::Important), ..Query::default() },
            Query { states: vec![State::Superseded, State::Refused], ..base.clone() },
            Query { from: Some(Timestamp::from_ms(100)), until: Some(Timestamp::from_ms(300)), ..base.clone() },
            Query { from: Some(Timestamp::from_ms(400)), until: Some(Timestamp::from_ms(300)), ..base.clone() },
        ] {
            for limit in [1, 30, 1000] {
                let query = Query { after, ..query.clone() };
                let found = lines.find(&query, &HashMap::new(), limit);
                assert_eq!(found, plainly(&rows, &query, limit), "round {round}, {query:?}");
                after = found.0.get(found.0.len() / 2).map(|(cursor, _)| *cursor);
            }
        }
        assert_eq!(lines.census().values().sum::<u64>(), lines.len() as u64);
    }
    let held: usize = lines.all.iter().map(Line::text_len).sum();
    assert_eq!(lines.texts.used - lines.texts.wasted, held);
    assert!(lines.texts.wasted <= (lines.texts.used / 2).max(CHUNK), "waste is thrown away");
}

#[test]
fn what_is_superseded_is_set_in_either_way() {
    let mut lines = Lines::default();
    for at in 0..50 {
        load(&mut lines, at, &RevisionRow { current: true, ..row(at, 1) });
    }
    lines.set_superseded(&{
        let mut all: Vec<_> = lines.all.iter().map(|line| (line.id, false)).collect();
        all.sort_unstable();
        all
    });
    assert!(lines.all.iter().all(|line| !line.superseded));
    lines.arrange_by_id();
    lines.supersede(&row(17, 1).id);
    lines.supersede(&[9; 16]);
    lines.arrange().unwrap();
    let superseded: Vec<_> = lines.all.iter().filter(|line| line.superseded).map(|line| line.number).collect();
    assert_eq!(superseded, [17]);
}

#[test]
fn an_attempt_that_is_cut_leaves_nothing_and_a_row_of_nonsense_is_bounded() {
    let mut lines = Lines::default();
    load(&mut lines, 1, &row(1, 1));
    let len = lines.len();
    load(&mut lines, 2, &row(2, 1));
    lines.cut(len);
    assert_eq!((lines.len(), lines.texts.used > lines.texts.wasted), (1, true));
    let long = RevisionRow {
        title: "ﬁİ".repeat(20_000),
        kbs: vec!["5".repeat(9000); 9],
        current: true,
        deployable: true,
        ..row(3, 1)
    };
    load(&mut lines, 3, &long);
    lines.arrange().unwrap();
    assert_eq!(lines.find(&Query { text: "ﬁ".into(), ..Query::default() }, &HashMap::new(), 10).1, 1);
    assert!(lines.texts.used <= 2 * (TITLE_MAX + KBS_MAX));
    for cut in 0..20 {
        assert!(lines.load(4, &encode(&row(4, 1)).unwrap()[..cut], |_| Ok(false)).is_err());
    }
}

#[test]
fn a_line_is_small() {
    assert_eq!(size_of::<Line>(), 48);
}
