//! `upstream show|set|reset|test`: what stands above the node.

use crate::admin::view::upstream::{Above, Choice, TestRequest, Way};
use crate::admin::view::{Findings, SyncUpstream, settings_place};
use crate::app::Loaded;
use crate::cli::fail::Fail;
use crate::cli::print::{Grid, Out, add, printable};
use crate::cli::question;
use crate::cli::sync::doubt;
use crate::cli::verbs::upstream::UpstreamVerb;

pub(in crate::cli) fn run(loaded: &Loaded, verb: UpstreamVerb, out: Out) -> Result<(), Fail> {
    let node = super::running(loaded)?;
    match verb {
        UpstreamVerb::Test { kind, url, proxy } => {
            let asked = TestRequest { choice: kind.map(|kind| Choice { kind, url, proxy }) };
            let bars = out.progress();
            let wait = bars.spinner("asking the upstream");
            let told: Findings = super::with(node, async |node| node.post("/api/v1/upstream/test", &asked).await)?;
            wait.finish_and_clear();
            question::judged(&told, true, out)
        }
        verb => super::with(node, async |node| {
            let above: Above = match verb {
                UpstreamVerb::Set(asked) => {
                    let choice = Choice { kind: asked.kind, url: asked.url, proxy: asked.proxy };
                    node.post("/api/v1/upstream", &choice).await?
                }
                UpstreamVerb::Reset => node.delete("/api/v1/upstream").await?,
                UpstreamVerb::Show | UpstreamVerb::Test { .. } => node.get("/api/v1/upstream").await?,
            };
            out.both(&above, people)
        }),
    }
}

fn people(above: &Above) -> String {
    let mut grid = Grid::new(&["", ""]);
    let mut row = |key: &str, value: String| grid.row([key.to_owned(), printable(&value)]);
    row("upstream", way(&above.now));
    if let Some(later) = &above.after_restart {
        row("after a restart", way(later));
    }
    for setting in &above.settings {
        let is_set = setting.layer != "default" || setting.next.is_some();
        if !is_set {
            continue;
        }
        let locked = if setting.locked { ", locked" } else { "" };
        let mut text = format!("{} ({}{locked})", setting.value, settings_place(setting));
        if let Some(next) = &setting.next {
            let place = if next.place.is_empty() { "the default" } else { &next.place };
            add(&mut text, format_args!(" -> {} ({place})", next.value));
        }
        row(&setting.key, text);
    }
    row("catalog", catalog(above));
    let mut text = grid.text();
    if above.after_restart.is_some() {
        text.push_str(
            "next: `waystation upstream test` tests the way to it; restart the node, then `waystation sync start` brings its catalog. \
             Content stays, and the catalog that is held stays until that run has ended well\n",
        );
    }
    text
}

fn way(way: &Way) -> String {
    let address = if way.address.is_empty() { "no address" } else { &way.address };
    let proven = doubt(way.unauthenticated);
    let through = match way.proxy.as_str() {
        "global" => String::new(),
        "none" => ", without a proxy".to_owned(),
        url => format!(", through {url}"),
    };
    format!("{} at {address}{proven}{through}", way.kind)
}

/// From whom what is held came, where that is another one.
fn catalog(above: &Above) -> String {
    match &above.held_from {
        None => "none yet: `waystation sync start` brings it".to_owned(),
        Some(SyncUpstream { kind, address, unauthenticated })
            if *kind == above.now.kind && *address == above.now.address =>
        {
            format!("of this upstream{}", doubt(*unauthenticated))
        }
        Some(SyncUpstream { kind, address, unauthenticated }) => {
            let proven = doubt(*unauthenticated);
            format!("of {kind} at {address}{proven}, until the first run from the new upstream has ended well")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_that_nothing_proves_is_marked_whosever_it_is() {
        let of = |kind: &str, address: &str, unauthenticated| {
            let held = SyncUpstream { kind: kind.to_owned(), address: address.to_owned(), unauthenticated };
            let now = Way { kind: "wsus".to_owned(), address: "http://w".to_owned(), ..Way::default() };
            catalog(&Above { now, held_from: Some(held), ..Above::default() })
        };
        let doubtful = " (plain HTTP: not authenticated)";
        assert_eq!(of("wsus", "http://w", true), format!("of this upstream{doubtful}"));
        assert!(of("wsus", "http://v", true).starts_with(&format!("of wsus at http://v{doubtful}, until")));
        assert!(of("microsoft", "https://m", false).starts_with("of microsoft at https://m, until"));
    }
}
