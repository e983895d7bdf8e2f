//! `config template|reference|show` and `check-config`.

use serde::Serialize;

use crate::admin::view::Setting;
use crate::admin::view::compliance::{Newcomer, Summary};
use crate::admin::view::filters::{Available, Filters};
use crate::app::{self, Flags, Loaded};
use crate::cli::compliance;
use crate::cli::fail::Fail;
use crate::cli::node::Node;
use crate::cli::print::{Grid, Out, add};
use crate::cli::verbs::ConfigVerb;
use crate::cli::{question, size};
use crate::model::filter::{Category, Tree};
use crate::model::report::{Finding, Verdict};
use crate::model::settings::Layer;
use crate::model::update::{CategoryKind, UpdateId};

pub(in crate::cli) fn run(verb: ConfigVerb, flags: &Flags, out: Out) -> Result<(), Fail> {
    match verb {
        ConfigVerb::Template => out.raw(app::template()),
        ConfigVerb::Reference => out.raw(app::reference()),
        ConfigVerb::Show { filter, changed } => show(flags, filter.as_deref(), changed, out),
    }
}

fn show(flags: &Flags, filter: Option<&str>, changed: bool, out: Out) -> Result<(), Fail> {
    let loaded = super::load(flags)?;
    // A running node also knows what was set at run time, and may have been started with other flags.
    let mut rows: Vec<Setting> = if let Ok(node) = Node::running(&loaded) {
        super::with(node, async |node| node.get("/api/v1/settings").await)?
    } else {
        if !out.is_json() {
            out.aside("no node is running: shown is what one would be started with");
        }
        app::alone::settings(&loaded)
    };
    rows.retain(|row| {
        filter.is_none_or(|text| row.key.contains(text)) && !(changed && row.layer == "default" && row.next.is_none())
    });
    out.both(&rows, |rows| table(rows))
}

/// Settings with their values, where these come from, and whether something outside the node fixes them.
fn table(rows: &[Setting]) -> String {
    let mut grid = Grid::new(&["setting", "value", "from", ""]);
    for row in rows {
        let from = if row.place.is_empty() { row.layer.clone() } else { row.place.clone() };
        let locked = if row.locked { "locked" } else { "" };
        let mut value = row.value.to_string();
        if let Some(next) = &row.next {
            let place = if next.place.is_empty() { "the default".to_owned() } else { next.place.clone() };
            add(&mut value, format_args!("\n-> {} after a {} ({place})", next.value, next.when));
        }
        grid.row([row.key.clone(), value, from, locked.to_owned()]);
    }
    grid.text()
}

/// What `check-config` says: what would run, and how well that would go.
#[derive(Debug, Serialize)]
struct Checked {
    /// The data directory.
    data: String,
    /// The file that was read, if there was one.
    file: Option<String>,
    /// What differs from the defaults.
    settings: Vec<Setting>,
    /// What was set at run time, as the running node tells it; nothing where none runs.
    run_time: Vec<Setting>,
    /// What works, what will hurt, what would not work.
    findings: Vec<Finding>,
}

impl Checked {
    fn of(loaded: &Loaded) -> Self {
        let node = Node::running(loaded).ok();
        let runs = node.is_some();
        let (catalog, run_time, later) = node.map_or((None, Vec::new(), Vec::new()), asked);
        let mut findings = app::check(loaded, runs, catalog.as_ref());
        findings.extend(later);
        Self {
            data: loaded.data_dir().display().to_string(),
            file: loaded.file().map(|file| file.display().to_string()),
            settings: app::alone::changed(loaded),
            run_time,
            findings,
        }
    }

    fn people(&self) -> String {
        let file = self.file.as_deref().unwrap_or("none");
        let settings = if self.settings.is_empty() {
            "Every setting has its default.\n".to_owned()
        } else {
            format!("What differs from the defaults:\n{}", table(&self.settings))
        };
        let run_time = if self.run_time.is_empty() {
            String::new()
        } else {
            format!(
                "\nWhat was set at run time, and counts where nothing above says otherwise:\n{}",
                table(&self.run_time)
            )
        };
        let findings = question::findings(&self.findings);
        format!("data directory: {}\nconfiguration file: {file}\n\n{settings}{run_time}\n{findings}", self.data)
    }
}

/// What was changed since a running node was started, and counts from its next start on.
fn later(settings: &[Setting]) -> Vec<Finding> {
    let waits = |row: &Setting| {
        let next = row.next.as_ref().filter(|next| next.when == "restart")?;
        Some(Finding {
            subject: row.key.clone(),
            check: "restart".to_owned(),
            verdict: Verdict::Note,
            seen: format!("the node that runs goes by {}, and takes {} with its next start", row.value, next.value),
            advice: "restart the node".to_owned(),
        })
    };
    settings.iter().filter_map(waits).collect()
}

/// What a first scan of a new machine comes to, where that is near what an agent does at all.
fn scanned(newcomer: Option<&Newcomer>) -> Option<Finding> {
    let newcomer = newcomer.filter(|newcomer| newcomer.near_limit)?;
    Some(Finding {
        subject: "scan.detect_days".to_owned(),
        check: "detection".to_owned(),
        verdict: Verdict::Warning,
        seen: format!("a new machine {}", compliance::evaluates(newcomer)),
        advice: compliance::NEAR_LIMIT.to_owned(),
    })
}

/// What a running node knows beside the configuration: the categories of its catalog, what was set at run time, what waits for its
/// next start, and whether first scans are near the limit. Where it does not say, less is checked.
fn asked(node: Node) -> (Option<Tree>, Vec<Setting>, Vec<Finding>) {
    let asked = super::with(node, async |node| {
        let settings: Vec<Setting> = node.get("/api/v1/settings").await?;
        let filters: Option<Filters> = node.get("/api/v1/filters").await.ok();
        let known = filters.is_some_and(|filters| filters.catalog_categories > 0);
        let summary: Option<Summary> = if known { node.get("/api/v1/compliance").await.ok() } else { None };
        let rows: Option<Vec<Available>> = if known { node.get("/api/v1/filters/available").await.ok() } else { None };
        Ok((rows, settings, summary))
    });
    let Ok((rows, mut settings, summary)) = asked else { return (None, Vec::new(), Vec::new()) };
    let newcomer = summary.and_then(|summary| summary.newcomer);
    let later = later(&settings).into_iter().chain(scanned(newcomer.as_ref())).collect();
    let run_time = Layer::Local.word();
    settings
        .retain(|row| row.layer == "local" || row.next.as_ref().is_some_and(|next| next.place.starts_with(run_time)));
    (rows.and_then(known), settings, later)
}

/// The tree of these categories.
fn known(rows: Vec<Available>) -> Option<Tree> {
    // Each row stands behind what it stands below.
    let mut above: Vec<UpdateId> = Vec::new();
    let mut categories = Vec::with_capacity(rows.len());
    for row in rows.into_iter().filter(|row| row.kind != "language") {
        let id: UpdateId = row.id.parse().ok()?;
        let kind = match row.kind.as_str() {
            "company" => CategoryKind::Company,
            "family" => CategoryKind::Family,
            "product" => CategoryKind::Product,
            "classification" => CategoryKind::Classification,
            _ => CategoryKind::Other,
        };
        above.truncate(usize::try_from(row.depth).ok()?);
        categories.push(Category { id, kind, name: row.name, parent: above.last().copied() });
        above.push(id);
    }
    Some(Tree::new(categories))
}

pub(in crate::cli) fn check(flags: &Flags, out: Out) -> Result<(), Fail> {
    let checked = Checked::of(&super::load(flags)?);
    out.both(&checked, Checked::people)?;
    let count = |verdict| checked.findings.iter().filter(|finding| finding.verdict == verdict).count();
    match (count(Verdict::Bad), count(Verdict::Warning)) {
        (0, warnings) if out.is_json() || warnings > 0 => {
            out.aside(&format!("a node would run; {}", size::counted(warnings as u64, "warning")));
            Ok(())
        }
        (0, _) => out.line("a node would run"),
        (bad, _) => {
            let things =
                if bad == 1 { "1 thing does not work".to_owned() } else { format!("{bad} things do not work") };
            let what = format!("a node would not run as it should: {things}");
            Err(Fail::config(what, "do what stands beside each of them, then check again"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_scan_is_told_where_it_is_near_the_limit() {
        let mut newcomer =
            Newcomer { updates: 90_000, bytes: 1 << 30, rounds: 101, rounds_max: 200, near_limit: false };
        assert!(scanned(None).is_none() && scanned(Some(&newcomer)).is_none());
        newcomer.near_limit = true;
        let found = scanned(Some(&newcomer)).unwrap();
        assert!(found.seen.contains("90,000 updates (1.00 GiB), in 101 rounds of the 200 that"), "{}", found.seen);
        assert!(found.verdict == Verdict::Warning && found.advice.contains("scan.detect_days"), "{}", found.advice);
    }
}
