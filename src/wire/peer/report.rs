//! What a node tells its parent of itself and of all below it (`POST /peer/v1/report`), as bytes.
//!
//! A head says behind which number the rows come; frames of rows follow, each with the paths that its rows are about.

use bytes::Bytes;

use crate::model::chain::below::{
    About, HELD_BYTES_MAX, NAME_BYTES_MAX, NODE_BYTES_MAX, Report, Row, STANDS_MAX, Stand, Told,
};
use crate::model::chain::ids::NodeId;
use crate::model::compliance::State;
use crate::model::deployment::Endpoint;
use crate::model::update::UpdateId;
use crate::wire::error::{Error, Result};
use crate::wire::peer::frame::HOPS_MAX;
use crate::wire::peer::raw::{END, OPTIONAL, Reader, Writer};
use crate::wire::peer::read::Read;

/// What a report begins with.
pub const REPORT: &[u8; 8] = b"wayrprt1";

/// Bytes of a report as it is sent.
pub const REPORT_BYTES_MAX: usize = 16 << 20;

/// Plain bytes of a report: what its reader holds in memory.
pub const REPORT_PLAIN_MAX: usize = 32 << 20;

/// Rows of a report: the shortest have three bytes.
pub const ROWS_MAX: usize = 65_536;

/// Plain bytes from which on a frame of rows is closed. The largest row is smaller, so that a frame stays below its limit.
const FILLED: usize = 1 << 20;

const WHAT: &str = "a report of a node";
const HEAD: u8 = 32;
const ROWS: u8 = 33;

const LAST: u8 = 1;
const COMPLIANT: u8 = 1;
const RESTART: u8 = 2;

const ENDPOINT_GONE: u8 = 0;
const ENDPOINT: u8 = 1;
const NODE: u8 = 2;
const HELD: u8 = 3;
const NODE_GONE: u8 = 4;

/// Bytes of one update on an endpoint.
const STAND_BYTES: usize = 25;

fn short(text: &str) -> &str {
    let mut end = text.len().min(NAME_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = short(text);
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

/// About how many bytes a row takes.
pub fn weight(about: &About) -> usize {
    match about {
        About::Node(json) | About::Held(json) => 8 + json.len(),
        About::Endpoint(_, told) => 40 + told.name.len() + told.system.len() + told.stands.len() * STAND_BYTES,
        About::EndpointGone(_) | About::NodeGone => 20,
    }
}

fn put(out: &mut Vec<u8>, about: &About) {
    let json = |out: &mut Vec<u8>, kind: u8, json: &Bytes| {
        out.push(kind);
        out.extend_from_slice(&(json.len() as u32).to_le_bytes());
        out.extend_from_slice(json);
    };
    match about {
        About::Node(said) => json(out, NODE, said),
        About::Held(said) => json(out, HELD, said),
        About::NodeGone => out.push(NODE_GONE),
        About::EndpointGone(endpoint) => {
            out.push(ENDPOINT_GONE);
            out.extend_from_slice(endpoint.0.bytes());
        }
        About::Endpoint(endpoint, told) => {
            out.push(ENDPOINT);
            out.extend_from_slice(endpoint.0.bytes());
            out.push(if told.compliant { COMPLIANT } else { 0 } | if told.restart { RESTART } else { 0 });
            for number in [told.contact, told.scanned, told.missing] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            put_text(out, &told.name);
            put_text(out, &told.system);
            let stands = told.stands.get(..STANDS_MAX).unwrap_or(&told.stands);
            out.extend_from_slice(&(stands.len() as u16).to_le_bytes());
            for stand in stands {
                out.extend_from_slice(stand.update.bytes());
                out.push(stand.state.number());
                out.extend_from_slice(&stand.changed.to_le_bytes());
                out.extend_from_slice(&stand.code.to_le_bytes());
            }
        }
    }
}

fn text(from: &mut Read) -> Result<String> {
    let len = usize::from(from.u8()?);
    let bytes = from.bytes(len)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| from.fail("a name that is no UTF-8"))
}

fn json(from: &mut Read, max: usize) -> Result<Bytes> {
    let len = from.u32()? as usize;
    if len > max {
        return Err(Error::Limit { what: WHAT, max: max as u64, unit: "bytes of a node's own words" });
    }
    from.bytes(len)
}

fn endpoint(from: &mut Read) -> Result<Endpoint> {
    Ok(Endpoint(UpdateId::new(from.array()?)))
}

fn told(from: &mut Read) -> Result<Told> {
    let flags = from.u8()?;
    let [contact, scanned, missing] = [from.u32()?, from.u32()?, from.u32()?];
    let (name, system) = (text(from)?, text(from)?);
    let count = usize::from(from.u16()?);
    if count > STANDS_MAX {
        return Err(Error::Limit { what: WHAT, max: STANDS_MAX as u64, unit: "updates of an endpoint" });
    }
    let mut stands: Vec<Stand> = Vec::with_capacity(count.min(from.left() / STAND_BYTES));
    for _ in 0..count {
        let update = UpdateId::new(from.array()?);
        let state = State::of_number(from.u8()?).filter(|state| state.is_told());
        let state = state.ok_or_else(|| from.fail("a state that no endpoint tells"))?;
        let (changed, code) = (from.u32()?, i32::from_le_bytes(from.array()?));
        if stands.last().is_some_and(|last| last.update >= update) {
            return Err(from.fail("updates that are out of order"));
        }
        stands.push(Stand { update, state, changed, code });
    }
    let (compliant, restart) = (flags & COMPLIANT != 0, flags & RESTART != 0);
    Ok(Told { name, system, contact, scanned, compliant, restart, missing, stands })
}

fn about(from: &mut Read) -> Result<About> {
    Ok(match from.u8()? {
        ENDPOINT_GONE => About::EndpointGone(endpoint(from)?),
        ENDPOINT => About::Endpoint(endpoint(from)?, told(from)?),
        NODE => About::Node(json(from, NODE_BYTES_MAX)?),
        HELD => About::Held(json(from, HELD_BYTES_MAX)?),
        NODE_GONE => About::NodeGone,
        other => return Err(from.fail(format!("a row of kind {other}"))),
    })
}

/// The body of a report. `Limit` where it has more rows, or longer words of a node, than its reader takes.
pub fn write(report: &Report) -> Result<Bytes> {
    if report.rows.len() > ROWS_MAX {
        return Err(Error::Limit { what: WHAT, max: ROWS_MAX as u64, unit: "rows" });
    }
    let mut writer = Writer::new(REPORT);
    let mut head = Vec::with_capacity(25);
    for number in [report.epoch, report.from, report.to] {
        head.extend_from_slice(&number.to_le_bytes());
    }
    head.push(if report.last { LAST } else { 0 });
    writer.put(HEAD, &head)?;
    let mut rest = report.rows.as_slice();
    while !rest.is_empty() {
        let mut filled = 0;
        let fits = rest.iter().take_while(|row| {
            let room = filled < FILLED;
            filled += weight(&row.about) + 2 + row.path.len() * 16;
            room
        });
        let (now, later) = rest.split_at(fits.count().max(1));
        writer.put(ROWS, &frame(now)?)?;
        rest = later;
    }
    writer.put(END, &[0])?;
    Ok(writer.take())
}

fn frame(rows: &[Row]) -> Result<Vec<u8>> {
    let mut places: Vec<&[NodeId]> = rows.iter().map(|row| row.path.as_slice()).collect();
    places.sort_unstable();
    places.dedup();
    let mut out = (places.len() as u16).to_le_bytes().to_vec();
    for place in &places {
        if !(1..HOPS_MAX).contains(&place.len()) {
            return Err(Error::Limit { what: WHAT, max: HOPS_MAX as u64 - 1, unit: "nodes in a path" });
        }
        out.push(place.len() as u8);
        place.iter().for_each(|node| out.extend_from_slice(node.bytes()));
    }
    out.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    for row in rows {
        let place = places.binary_search(&row.path.as_slice()).unwrap_or(0);
        out.extend_from_slice(&(place as u16).to_le_bytes());
        put(&mut out, &row.about);
    }
    Ok(out)
}

fn rows(from: &mut Read, into: &mut Vec<Row>) -> Result<()> {
    let count = usize::from(from.u16()?);
    let mut places = Vec::with_capacity(count.min(from.left() / 17));
    for _ in 0..count {
        let nodes = usize::from(from.u8()?);
        if !(1..HOPS_MAX).contains(&nodes) {
            return Err(from.fail(format!("a path of {nodes} nodes, and 1 to {} are taken", HOPS_MAX - 1)));
        }
        let path = (0..nodes).map(|_| Ok(NodeId::new(from.array()?))).collect::<Result<Vec<_>>>()?;
        places.push(path);
    }
    let count = from.u32()? as usize;
    if into.len().saturating_add(count) > ROWS_MAX {
        return Err(Error::Limit { what: WHAT, max: ROWS_MAX as u64, unit: "rows" });
    }
    into.reserve(count.min(from.left() / 3));
    for _ in 0..count {
        let place = usize::from(from.u16()?);
        let path = places.get(place).cloned().ok_or_else(|| from.fail("a row about no path"))?;
        into.push(Row { path, about: about(from)? });
    }
    Ok(())
}

/// What a body says that came whole.
pub fn read(body: &Bytes) -> Result<Report> {
    let mut reader = Reader::new(REPORT);
    reader.push(body);
    let (mut report, mut has_head, mut plain) = (Report::default(), false, 0_usize);
    while let Some(raw) = reader.frame()? {
        plain = plain.saturating_add(raw.payload.len());
        if plain > REPORT_PLAIN_MAX {
            return Err(Error::Limit { what: WHAT, max: REPORT_PLAIN_MAX as u64, unit: "bytes unpacked" });
        }
        let mut from = Read::new(WHAT, raw.payload);
        match raw.kind {
            HEAD if !has_head => {
                (report.epoch, report.from, report.to) = (from.u64()?, from.u64()?, from.u64()?);
                report.last = from.u8()? & LAST != 0;
                if report.to < report.from {
                    return Err(from.fail("it ends before it begins"));
                }
                has_head = true;
            }
            ROWS if has_head => rows(&mut from, &mut report.rows)?,
            END if has_head => drop(from.u8()?),
            OPTIONAL.. => continue,
            other => return Err(from.fail(format!("a frame of kind {other} where it has no place"))),
        }
        from.end()?;
    }
    reader.finish()?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn report() -> Report {
        let node = |byte| NodeId::new([byte; 16]);
        let stand =
            |byte| Stand { update: UpdateId::new([byte; 16]), state: State::Failed, changed: 7, code: -2_145_124_329 };
        let told = Told {
            name: "pc7.example.org".into(),
            system: "Windows 11".into(),
            contact: 3600,
            scanned: 9,
            compliant: true,
            restart: false,
            missing: 2,
            stands: (1..200).map(stand).collect(),
        };
        let endpoint = Endpoint(UpdateId::new([9; 16]));
        let rows = vec![
            Row { path: vec![node(1)], about: About::Node(Bytes::from_static(b"{}")) },
            Row { path: vec![node(1)], about: About::Endpoint(endpoint, told) },
            Row { path: vec![node(1), node(2)], about: About::Held(Bytes::from_static(b"{\"a\":1}")) },
            Row { path: vec![node(1), node(2)], about: About::EndpointGone(endpoint) },
            Row { path: vec![node(1), node(3)], about: About::NodeGone },
        ];
        Report { epoch: 3, from: 0, to: 17, last: true, rows }
    }

    #[test]
    fn what_is_written_is_read() {
        let report = report();
        assert_eq!(read(&write(&report).unwrap()).unwrap(), report);
        let many = Report { rows: report.rows.iter().cycle().take(5_000).cloned().collect(), ..report };
        let bytes = write(&many).unwrap();
        assert_eq!(read(&bytes).unwrap(), many);
        assert!(bytes.len() < 1 << 20, "{}", bytes.len());
    }

    #[test]
    fn what_is_too_much_or_out_of_order_is_refused() {
        let mut wrong = report();
        wrong.rows[0].path = vec![NodeId::new([1; 16]); HOPS_MAX];
        assert!(write(&wrong).is_err());
        let mut wrong = report();
        let About::Endpoint(_, told) = &mut wrong.rows[1].about else { panic!() };
        told.stands.reverse();
        assert!(read(&write(&wrong).unwrap()).is_err());
        let mut wrong = report();
        (wrong.from, wrong.to) = (5, 4);
        assert!(read(&write(&wrong).unwrap()).is_err());
        let bytes = write(&report()).unwrap();
        for len in 0..bytes.len() {
            assert!(read(&bytes.slice(..len)).is_err(), "{len}");
        }
        // A frame that stands for many bytes: no more are unpacked than a report may have.
        let mut writer = Writer::new(REPORT);
        writer.put(HEAD, &[0; 25]).unwrap();
        for _ in 0..9 {
            writer.put(200, &vec![0; 4 << 20]).unwrap();
        }
        assert!(matches!(read(&writer.take()), Err(Error::Limit { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_bytes_make_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 32_u8..35) {
            let mut writer = Writer::new(REPORT);
            writer.put(HEAD, &[0; 25]).unwrap();
            writer.put(kind, &bytes).unwrap();
            writer.put(END, &[0]).unwrap();
            let _ = (read(&writer.take()), read(&bytes.into()));
        }
    }
}
