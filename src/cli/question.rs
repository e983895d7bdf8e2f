//! `explain` and `doctor`: questions to the running node about addresses and the way to them.

use std::collections::HashSet;

use crate::admin::view::{Explained, Findings};
use crate::app::Loaded;
use crate::cli::fail::Fail;
use crate::cli::node::segment;
use crate::cli::print::{Grid, Out};
use crate::cli::size;
use crate::model::report::{Finding, Verdict};

pub(in crate::cli) fn explain(loaded: &Loaded, url: &str, out: Out) -> Result<(), Fail> {
    let path = format!("/api/v1/explain?url={}", segment(url));
    let told: Explained = super::with(super::running(loaded)?, async |node| node.get(&path).await)?;
    out.both(&told, |told| {
        let mut grid = Grid::new(&["", ""]);
        let mut row = |key: &str, value: &str| grid.row([key.to_owned(), value.to_owned()]);
        row("address", &told.address);
        row("rule", &rule(told));
        if let Some(name) = &told.name {
            row("kept as", name);
        }
        row("state", &told.state);
        for fact in &told.facts {
            match fact.value.parse::<u64>() {
                Ok(bytes) if matches!(fact.key.as_str(), "size" | "covered") => {
                    row(&fact.key, &format!("{} ({} bytes)", size::bytes(bytes), size::count(bytes)));
                }
                _ => row(&fact.key, &fact.value),
            }
        }
        if let Some(next) = &told.next {
            row("next", next);
        }
        grid.text()
    })
}

/// The rule that matched, and what it means.
fn rule(told: &Explained) -> String {
    let means = match told.rule.as_str() {
        _ if told.state == "refused" => return format!("none matches: {}", told.rule),
        "content" => "the address of a SHA-1 in the content directory of a WSUS",
        "sha256" | "blake3" => "the address is a digest",
        "cacheHostOrigin" => "the origin that the query names is on the allow-list",
        "Host" => "the host that is asked is on the allow-list",
        "msdownload" => "a path of Microsoft's download host, asked under another name",
        other => return other.to_owned(),
    };
    format!("{}: {means}", told.rule)
}

pub(in crate::cli) fn doctor(loaded: &Loaded, urls: &[String], out: Out) -> Result<(), Fail> {
    let query = urls.iter().map(|url| format!("url={}", segment(url))).collect::<Vec<_>>().join("&");
    let path = format!("/api/v1/doctor?{query}");
    let node = super::running(loaded)?;
    let bars = out.progress();
    let wait = bars.spinner("asking the origins");
    let told: Findings = super::with(node, async |node| node.get(&path).await)?;
    wait.finish_and_clear();
    judged(&told, !urls.is_empty(), out)
}

/// Shows what was found, and makes the verb's end of it. Where something was `named` and nothing could be tested, that is none.
pub(in crate::cli) fn judged(told: &Findings, named: bool, out: Out) -> Result<(), Fail> {
    out.both(told, |told| findings(&told.findings))?;
    let count = |verdict| told.findings.iter().filter(|finding| finding.verdict == verdict).count();
    match (count(Verdict::Bad), count(Verdict::Skipped)) {
        (0, skipped) if named && skipped == told.findings.len() => Err(super::found_wrong("nothing could be tested")),
        (0, _) => Ok(()),
        (1, _) => Err(super::found_wrong("1 thing does not work")),
        (bad, _) => Err(super::found_wrong(&format!("{bad} things do not work"))),
    }
}

/// Findings for people: what was looked at, what was seen, and what to do about it. What to do is said once where several
/// findings of one check want the same.
pub(in crate::cli) fn findings(findings: &[Finding]) -> String {
    let mut grid = Grid::new(&["", "what", "check", "seen"]);
    let mut said = HashSet::new();
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Good => "good",
            Verdict::Note => "note",
            Verdict::Warning => "WARN",
            Verdict::Bad => "BAD",
            Verdict::Skipped => "skip",
        };
        let mut seen = finding.seen.clone();
        if !finding.advice.is_empty() && said.insert((finding.check.as_str(), finding.advice.as_str())) {
            seen.push_str("\n-> ");
            seen.push_str(&finding.advice);
        }
        grid.row([verdict.to_owned(), finding.subject.clone(), finding.check.clone(), seen]);
    }
    if grid.is_empty() { "nothing to say\n".to_owned() } else { grid.text() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_advice_is_given_once() {
        let finding = |subject: &str, check: &str, advice: &str| Finding {
            subject: subject.to_owned(),
            check: check.to_owned(),
            verdict: Verdict::Bad,
            seen: format!("{subject} does not resolve"),
            advice: advice.to_owned(),
        };
        let told = findings(&[
            finding("a.example", "dns", "check the name server"),
            finding("b.example", "dns", "check the name server"),
            finding("c.example", "dns", "another thing"),
        ]);
        assert_eq!(
            (told.matches("check the name server").count(), told.matches("another thing").count()),
            (1, 1),
            "{told}"
        );
        assert!(told.contains("b.example does not resolve"), "{told}");
    }
}
