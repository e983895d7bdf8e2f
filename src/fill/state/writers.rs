//! Who gave which bytes: on a mismatch the one who gave wrong ones should be blamed, and not who came last.

use crate::base::span::{Span, SpanSet};
use crate::fill::config::SOURCES_MAX;

/// Hosts and what they wrote.
#[derive(Clone, Debug, Default)]
pub(in crate::fill) struct Writers {
    hosts: Vec<(String, SpanSet)>,
}

impl Writers {
    /// `host` wrote this.
    pub(in crate::fill) fn wrote(&mut self, host: &str, span: Span) {
        if let Some((_, spans)) = self.hosts.iter_mut().find(|(known, _)| known == host) {
            spans.insert(span);
        } else if self.hosts.len() < SOURCES_MAX {
            self.hosts.push((host.to_owned(), [span].into_iter().collect()));
        }
    }

    /// What was written there is gone.
    pub(in crate::fill) fn dropped(&mut self, span: Span) {
        for (_, spans) in &mut self.hosts {
            spans.remove(span);
        }
        self.hosts.retain(|(_, spans)| !spans.is_empty());
    }

    /// Who wrote some of the span.
    pub(in crate::fill) fn of(&self, span: Span) -> Vec<String> {
        let wrote = |spans: &SpanSet| spans.within(span).next().is_some();
        self.hosts.iter().filter(|(_, spans)| wrote(spans)).map(|(host, _)| host.clone()).collect()
    }

    pub(in crate::fill) fn has(&self, host: &str) -> bool {
        self.hosts.iter().any(|(known, _)| known == host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_who_wrote_what_is_there() {
        let mut writers = Writers::default();
        writers.wrote("a", Span::new(0, 10));
        writers.wrote("b", Span::new(10, 20));
        writers.wrote("a", Span::new(20, 30));
        assert_eq!(writers.of(Span::new(0, 30)), ["a", "b"]);
        assert_eq!(writers.of(Span::new(12, 15)), ["b"]);
        writers.dropped(Span::new(5, 20));
        assert_eq!(writers.of(Span::new(0, 30)), ["a"]);
        assert!(writers.has("a") && !writers.has("b"));
        for host in 0..2 * SOURCES_MAX {
            writers.wrote(&host.to_string(), Span::new(0, 1));
        }
        assert_eq!(writers.hosts.len(), SOURCES_MAX);
    }
}
