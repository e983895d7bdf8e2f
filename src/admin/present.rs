//! From the rooms' own values to the words of the API. Pure.

use crate::admin::Access;
use crate::admin::view::{self, Time};
use crate::jobs::ask::Explained;
use crate::jobs::board;
use crate::jobs::clock::Scrub;
use crate::model::name::Name;
use crate::model::payload::Class;
use crate::store::{Listed, Quarantined, Space, Tally};

/// A payload, as `access` may see its names.
pub fn content(listed: Listed, access: Access) -> view::Content {
    let payload = listed.payload;
    let names = listed.names.iter().filter_map(|name| match name {
        Name::Origin(_) => Some(access.name(name)),
        // The three digests have fields of their own.
        Name::Digest(_) => None,
    });
    view::Content {
        blake3: payload.digests.blake3.to_string(),
        sha256: payload.digests.sha256.to_string(),
        sha1: payload.digests.sha1.to_string(),
        size: payload.size,
        allocated: payload.allocated,
        class: class(payload.class).to_owned(),
        names: names.collect(),
        file: None,
        published_at: Time(payload.published_at),
        used_at: Time(listed.used_at),
        used: listed.used_at > payload.published_at,
        expires_at: payload.expires_at.map(Time),
        outdated: listed.outdated,
        pinned: listed.pinned.map(|pin| view::Pinned { by: pin.by, at: Time(pin.at) }),
        still_bound: Vec::new(),
    }
}

/// The word for a class.
pub const fn class(class: Class) -> &'static str {
    match class {
        Class::Proven => "proven",
        Class::Unproven => "unproven",
    }
}

/// Something in quarantine, as `access` may see its name.
pub fn quarantined(one: Quarantined, access: Access) -> view::Quarantined {
    view::Quarantined {
        id: format!("{:016x}", one.id),
        at: Time(one.at),
        allocated: one.allocated,
        name: one.name.map(|name| access.name(&name)),
        address: one.address.map(|address| access.name(&Name::Origin(address))),
        why: one.why,
    }
}

/// What is used.
pub fn space(space: &Space) -> view::Use {
    view::Use {
        payloads: space.payloads,
        payloads_count: space.payloads_count,
        drafts: space.drafts,
        drafts_count: space.drafts_count,
        quarantine: space.quarantine,
        allocated: space.used(),
        max_size: space.max_size,
        disk_free: space.disk_free,
        min_free: space.min_free,
    }
}

/// What was answered.
pub fn traffic(tally: Tally) -> view::Traffic {
    let judged = tally.requests.saturating_sub(tally.refused);
    view::Traffic {
        requests: tally.requests,
        answered: judged,
        hits: tally.hits,
        refused: tally.refused,
        sent: tally.sent,
        fetched: tally.fetched,
        saved: tally.sent.saturating_sub(tally.fetched),
        hit_ratio: (judged > 0).then(|| (tally.hits as f64 / judged as f64).min(1.0)),
    }
}

/// Two lines of the account together.
pub fn sum(a: Tally, b: Tally) -> Tally {
    Tally {
        requests: a.requests.saturating_add(b.requests),
        hits: a.hits.saturating_add(b.hits),
        sent: a.sent.saturating_add(b.sent),
        fetched: a.fetched.saturating_add(b.fetched),
        refused: a.refused.saturating_add(b.refused),
    }
}

/// A job.
pub fn job(job: board::View) -> view::Job {
    let left_s = job.progress.left().map(|left| left.as_secs());
    view::Job {
        id: job.id,
        kind: job.kind.word().to_owned(),
        title: job.title,
        by: job.by,
        state: job.state.word().to_owned(),
        started_at: Time(job.started_at),
        ended_at: job.ended_at.map(Time),
        took_ms: job.ended_at.map(|ended| u64::try_from(ended.since(job.started_at).as_millis()).unwrap_or(u64::MAX)),
        progress: view::Progress {
            done: job.progress.done,
            total: job.progress.total,
            unit: match job.progress.unit {
                board::Unit::Items => "items".to_owned(),
                board::Unit::Bytes => "bytes".to_owned(),
            },
            bytes: job.progress.bytes,
            bytes_per_s: job.progress.bytes_per_s,
            left_s,
            current: job.progress.current,
            waits: job.progress.waits,
        },
        result: job.result,
        lines: job.lines.into_iter().map(line).collect(),
        lines_left_out: job.lines_left_out,
    }
}

fn line(line: board::Line) -> view::Line {
    let state = line.step.word().to_owned();
    view::Line {
        item: line.item,
        state,
        done: line.done,
        total: line.total,
        text: line.text,
        class: line.kept.map(|kept| class(kept.class).to_owned()),
        sha256: line.kept.map(|kept| kept.sha256.to_string()),
        blake3: line.kept.map(|kept| kept.blake3.to_string()),
        outcome: line.kept.map(|kept| kept.outcome.to_owned()),
    }
}

/// How the scheduled scrub stands.
pub fn scrub(scrub: Scrub) -> view::Scrub {
    let now = scrub.progress;
    match scrub.state {
        Some(state) if state.ended_at.is_none() => view::Scrub {
            running: true,
            begun_at: Some(Time(state.begun_at)),
            ended_at: None,
            payloads: now.payloads_done.max(state.payloads),
            bytes: now.bytes.max(state.bytes),
            bad: now.bad.max(state.bad),
        },
        // A store that is new counts as just scrubbed, though no payload was read for it.
        Some(state) if state.ended_at != Some(state.begun_at) => view::Scrub {
            running: false,
            begun_at: Some(Time(state.begun_at)),
            ended_at: state.ended_at.map(Time),
            payloads: state.payloads,
            bytes: state.bytes,
            bad: state.bad,
        },
        _ => view::Scrub { running: false, begun_at: None, ended_at: None, payloads: 0, bytes: 0, bad: 0 },
    }
}

/// What `explain` found, as `access` may see it.
pub fn explained(address: &str, told: Explained, content: Option<view::Content>, access: Access) -> view::Explained {
    let next = match told.state.as_str() {
        "refused" if told.rule.contains("host \"\" is not on the allow-list") => {
            Some("give the whole address, or the path with ?cacheHostOrigin=HOST behind it, as it stands in the log")
        }
        "refused" if told.rule.contains("not on the allow-list") => Some(
            "add the host to [origins] allow in the configuration if it may be asked; until then clients get a 404",
        ),
        _ => None,
    };
    view::Explained {
        address: address.to_owned(),
        rule: told.rule,
        name: told.name.map(|name| access.name(&name)),
        state: told.state,
        content,
        facts: told.lines.into_iter().map(|(key, value)| view::Fact { key, value }).collect(),
        next: next.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_is_what_the_limit_counts() {
        let full = Space {
            payloads: 600,
            payloads_count: 2,
            drafts: 300,
            drafts_count: 1,
            quarantine: 100,
            max_size: 1000,
            disk_free: 1 << 30,
            min_free: 0,
        };
        assert_eq!(space(&full).allocated, full.max_size);
    }

    #[test]
    fn refused_requests_do_not_spoil_the_ratio_and_nothing_is_saved_below_zero() {
        let shown = traffic(Tally { requests: 10, hits: 6, sent: 5, fetched: 9, refused: 2 });
        assert_eq!((shown.answered, shown.hit_ratio, shown.saved), (8, Some(0.75), 0));
        assert_eq!(traffic(Tally::default()).hit_ratio, None);
    }
}
