//! What the node makes of an address: the rule, the key, what is held, who is asked and what was answered last. No secret
//! leaves: places are told without their queries.

use crate::base::digest::{Blake3, Digest};
use crate::base::span::{Span, SpanSet};
use crate::fill::error::Error;
use crate::fill::inner::Inner;
use crate::fill::locate::{self, Ask, Keeping};
use crate::fill::pump::host_of;
use crate::model::name::Name;
use crate::model::payload::{Class, Location, Published};
use crate::store::catalog::Mention;

/// Cells in the map of a partial object.
const CELLS: u64 = 64;

/// The answer to `explain`.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The rule that matched, or why none did.
    pub rule: String,
    /// The key in the store.
    pub name: Option<Name>,
    /// The payload that is there, whatever it is called.
    pub payload: Option<Blake3>,
    /// `held`, `partial`, `absent`, `never kept`, `refused`.
    pub state: String,
    /// Further findings: what, and what it is.
    pub lines: Vec<(String, String)>,
}

impl Inner {
    pub(super) async fn explain(&self, ask: &Ask<'_>) -> Result<Explained, Error> {
        let target = match locate::locate(ask, &self.allow, self.config.above()) {
            Ok(target) => target,
            Err(refusal) => {
                let rule = refusal.to_string();
                let state = "refused".to_owned();
                return Ok(Explained { rule, name: None, payload: None, state, lines: Vec::new() });
            }
        };
        let mut lines = Vec::new();
        let mut line = |what: &str, is: String| lines.push((what.to_owned(), is));
        let keeping = match target.keeping {
            Keeping::Immutable => "immutable: kept as it is",
            Keeping::Rfc9111 => "kept as long as RFC 9111 calls it fresh, then revalidated",
            Keeping::Never => "never kept: passed through",
        };
        line("keeping", keeping.to_owned());
        let gathered = self.gather(&target).await?;
        if gathered.key != target.name {
            line("flight", gathered.key.to_string());
        }
        line("expected", gathered.expected.map_or("no digest is published".to_owned(), describe));
        for mention in &gathered.mentions {
            line("catalog", mentioned(mention));
        }
        for location in &gathered.locations {
            line("location", without_query(location));
        }
        // Who asks what there is has not asked for it: nothing here counts as a use.
        let mut found = self.store.peek(&target.name).await?;
        let mut draft = self.store.peek_draft(&gathered.key).await?;
        if gathered.key != target.name {
            if found.is_none() {
                found = self.store.peek(&gathered.key).await?;
            }
            if draft.is_none() {
                draft = self.store.peek_draft(&target.name).await?;
            }
        }
        // By its own digest: the name asked for is written down with the first answer under it.
        let listed = match &found {
            Some((payload, _)) => self.store.show(&Name::Digest(Digest::Blake3(payload.digests.blake3))).await?,
            None => match self.store.show(&target.name).await? {
                None => self.store.show(&gathered.key).await?,
                listed => listed,
            },
        };
        let payload = listed.as_ref().map(|listed| listed.payload.digests.blake3);
        let mut state = if target.keeping == Keeping::Never { "never kept" } else { "absent" };
        if let Some((payload, alias)) = found {
            state = "held";
            line(
                "class",
                match payload.class {
                    Class::Proven => "proven",
                    Class::Unproven => "unproven",
                }
                .to_owned(),
            );
            line("size", payload.size.to_string());
            line("blake3", payload.digests.blake3.to_string());
            line("sha256", payload.digests.sha256.to_string());
            line("sha1", payload.digests.sha1.to_string());
            line("tag", alias.tag);
            line("published", payload.published_at.to_string());
            if let Some(until) = payload.expires_at {
                line("kept until", until.to_string());
            }
            if let Some(freshness) = &alias.freshness {
                line("fresh until", freshness.until.to_string());
            }
            let outdated = listed.as_ref().is_some_and(|listed| listed.outdated);
            let pinned = listed.and_then(|listed| listed.pinned);
            if pinned.is_some() {
                line("room", "pinned: it never goes to make room".to_owned());
            } else if outdated {
                line("room", "goes first: only superseded or expired updates have it, or none any more".to_owned());
            } else {
                line("room", "goes when it is the one least recently used of its class".to_owned());
            }
            line("pinned", pinned.map_or("no".to_owned(), |pin| format!("by {} at {}", pin.by, pin.at)));
        } else if let Some((spec, covered)) = draft {
            state = "partial";
            line("size", spec.size.to_string());
            line("covered", covered.total().to_string());
            line("map", map(&covered, spec.size));
            line("tag", spec.tag);
        }
        // Only where it is not found: of one that is found this cannot be.
        if state != "held"
            && let Some(blake3) = payload.filter(|blake3| self.store.withheld().contains(blake3))
        {
            line("withheld", format!("{blake3}: some of its bytes are bad, and it waits to be mended"));
        }
        if gathered.generation > 1 {
            line("generation", format!("{}: bytes of earlier flights were wrong", gathered.generation));
        }
        // A digest's own flight, and what `fetch --sha256` asked of this address for a digest that it does not have.
        let own = target.locations.iter().filter_map(|location| self.memory.last_answer_of(&location.url));
        let named = [&target.name, &gathered.key].into_iter().filter_map(|name| self.memory.last_answer(name));
        let last = named.chain(own).max_by_key(|last| last.at);
        line(
            "last answer",
            last.map_or("none since the start".to_owned(), |last| format!("{}: {}", last.at, last.text)),
        );
        for health in self.source.health() {
            let asked = gathered.locations.iter().any(|location| label_of(&location.url) == health.host);
            if let (true, Some(error)) = (asked, health.last_error) {
                line("trouble", format!("{}: {error}", health.host));
            }
        }
        Ok(Explained { rule: target.rule.to_owned(), name: Some(target.name), payload, state: state.to_owned(), lines })
    }
}

/// The host as health names it.
fn label_of(url: &str) -> &str {
    let host = host_of(url);
    host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")).unwrap_or(host)
}

fn describe(published: Published) -> String {
    let digests: Vec<String> = published.digests().map(|digest| digest.to_string()).collect();
    let by = match published.authority {
        crate::model::payload::Authority::Unauthenticated => "an unauthenticated catalog",
        crate::model::payload::Authority::FileName => "the file name",
        crate::model::payload::Authority::Address => "the address",
        crate::model::payload::Authority::Operator => "the operator",
        crate::model::payload::Authority::Catalog => "the catalog",
    };
    format!("{} by {by}", digests.join(", "))
}

/// What the catalog says of it.
fn mentioned(mention: &Mention) -> String {
    let file = &mention.file;
    let how = if mention.by_digest { "by its digest" } else { "by its address" };
    let encrypted = if file.encrypted {
        "; encrypted: its digests are of the plain bytes, and no place is asked for it"
    } else {
        ""
    };
    let proves = if mention.unauthenticated {
        "; it came over plain HTTP: whether the update has this file is not proven, whatever the bytes are"
    } else {
        ""
    };
    format!("names it {how}: {:?}, {} bytes{encrypted}{proves}", file.name, file.size)
}

fn without_query(location: &Location) -> String {
    match location.url.split_once('?') {
        Some((url, _)) => format!("{url}?..."),
        None => location.url.clone(),
    }
}

/// `#` full, `+` in part, `.` nothing: 64 cells of equal length, or one a byte where there are fewer.
fn map(covered: &SpanSet, size: u64) -> String {
    let cells = size.min(CELLS);
    (0..cells)
        .map(|cell| {
            let at = |cell: u64| u64::try_from(u128::from(size) * u128::from(cell) / u128::from(cells)).unwrap_or(size);
            let span = Span::new(at(cell), at(cell + 1));
            if covered.covers(&span) {
                '#'
            } else if covered.within(span).next().is_some() {
                '+'
            } else {
                '.'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_shows_what_is_in() {
        let covered: SpanSet = [Span::new(0, 128), Span::new(200, 201)].into_iter().collect();
        let shown = map(&covered, 256);
        assert_eq!(shown.len(), 64);
        assert!(shown.starts_with(&"#".repeat(32)) && shown[32..].starts_with('.'));
        assert_eq!(shown.find('+'), Some(50));
        assert_eq!((map(&covered, 3).as_str(), map(&covered, 0).as_str()), ("###", ""));
        assert_eq!(map(&SpanSet::new(), u64::MAX).len(), 64);
    }
}
