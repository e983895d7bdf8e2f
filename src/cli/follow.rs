//! Following a job until it has ended: bars for who looks on, lines for logs, the job's record for scripts.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::ProgressBar;

use crate::admin::view::{Job, Line, Started};
use crate::cli::fail::Fail;
use crate::cli::node::Node;
use crate::cli::print::{Bars, Out, printable};
use crate::cli::size;

/// How often is asked while somebody looks on; a job of thousands of lines is asked less often.
const LOOK: Duration = Duration::from_millis(300);
const LOOK_LARGE: Duration = Duration::from_secs(2);

/// What to do where a host may not be asked.
const LIST_IT: &str = "add the host to [origins] allow in the configuration, or correct the address";

/// What a run says whose upstream is no sync service, or not there at all.
const NO_NAME: &str = "there is no such name";
const MISDIRECTED: [&str; 3] = ["this is no WSUS", "does not speak TLS at this port", "what it answers is no HTTP"];
const CORRECT: &str = "see with `waystation upstream show` that the right service is asked; where it is, somebody on the way answers in its \
                       place: `waystation upstream test` tests the way. What was committed stays";
const NAMELESS: &str = "see with `waystation upstream show` that the name is written right; where it is, this machine's name server does not \
                        know it: `waystation upstream test` tests the way. What was committed stays";

/// How often is asked again soon, where nobody looks on.
const FIRST_LOOKS: u32 = 3;

/// Lines from which on a job counts as large.
const LARGE: usize = 500;

/// Bars of items that are shown at once; the rest is in the sum.
const BARS_MAX: usize = 8;

/// Follows the job that was started, or only tells its number.
pub(in crate::cli) async fn started(node: &Node, started: Started, detach: bool, out: Out) -> Result<(), Fail> {
    if detach && node.is_running() {
        return out.both(&started, |started| {
            format!("job {0} runs; look at it with `waystation jobs show {0}`", started.job)
        });
    }
    let job = to_the_end(node, started.job, out, true).await?;
    if out.is_json() {
        out.json(&job)?;
    } else if let (Some(result), "done") = (&job.result, job.state.as_str()) {
        out.line(result)?;
    }
    outcome(&job)
}

/// What a job that did not end well makes of the verb.
pub(in crate::cli) fn outcome(job: &Job) -> Result<(), Fail> {
    let only =
        only(job).filter(|line| line.state == "failed").map(|line| printable(&format!("{}: {}", line.item, line.text)));
    let alone = only.is_some();
    let result = only.or_else(|| job.result.clone()).unwrap_or_default();
    match job.state.as_str() {
        "done" | "running" => Ok(()),
        "stopped" => Err(Fail::new(result, "start it again: what is done is not done twice")),
        _ if job.kind == "prefetch" => {
            let next = if result.contains("have no room") {
                "`waystation plan` shows what is wanted and how much room there is".to_owned()
            } else {
                format!("`waystation jobs show {}` shows what did not come, and why", job.id)
            };
            Err(Fail::new(result, next))
        }
        _ => {
            let mut failed = job.lines.iter().filter(|line| line.state == "failed").peekable();
            let next = match (failed.peek().is_some(), job.kind.as_str()) {
                (false, _) if result.contains("not on the allow-list") => LIST_IT,
                (false, "import") if result.contains("os error") => {
                    "name files or directories that are there and that the node's user may read"
                }
                (false, "backup") if ["is there already", "no directory"].iter().any(|why| result.contains(why)) => {
                    "name a new file, in a directory that is there and that the node's user may write to"
                }
                (_, "crosscheck") if result.contains("another rendering") => {
                    "what agrees stays authenticated; `waystation sync retry --compared` takes back what was refused, where that was \
                     wrong too"
                }
                (_, "sync") if result.contains("there is no catalog of this upstream yet") => {
                    "`waystation sync start`, without --definitions, brings the catalog"
                }
                (_, "sync") if result.contains(NO_NAME) => NAMELESS,
                (_, "sync") if MISDIRECTED.iter().any(|sign| result.contains(sign)) => CORRECT,
                (_, "crosscheck") => {
                    "what was found stays, and the next comparison goes on with what is left; `waystation doctor` tests the way out"
                }
                (_, "sync") => {
                    "what was committed stays, and the next run goes on from there; `waystation sync status` shows how the catalog stands"
                }
                (false, "import" | "backup") => "correct what is named, then try again",
                (false, _) => "the node's log says more",
                (true, "fetch") if alone && result.contains("not on the allow-list") => LIST_IT,
                (true, "fetch") if failed.all(|line| line.text.contains("not on the allow-list")) => {
                    "add the hosts to [origins] allow in the configuration, or correct the addresses"
                }
                (true, "fetch") if alone && result.contains("the bytes were wrong") => {
                    "compare the digest with the publisher's; the bytes are in `waystation content quarantine list`"
                }
                (true, "fetch")
                    if alone && ["answered 404", "answered 410"].iter().any(|gone| result.contains(gone)) =>
                {
                    "the origin has nothing there: correct the address"
                }
                (true, "fetch") if alone && ["answered 401", "answered 403"].iter().any(|no| result.contains(no)) => {
                    "the origin refuses this node: see its log, who may ask it, whether it can read the file, and whether \
                     the address is signed and has run out"
                }
                (true, "fetch") if alone && result.contains("another file's digest") => {
                    "compare the digest with the publisher's"
                }
                (true, "fetch") if alone => "`waystation doctor URL` tests the way to the origin",
                (true, "fetch") => {
                    "the lines above say why; `waystation doctor` tests the way to the origins, and what came with wrong \
                     bytes is in `waystation content quarantine list`"
                }
                (true, "import") if alone => "mend what is named, then import it again",
                (true, "prefetch") if alone => "`waystation prefetch status` shows how it stands",
                (true, "verify" | "scrub") if alone && result.contains("in quarantine") => {
                    "`waystation content quarantine list` shows what was put away"
                }
                (true, "verify" | "scrub") if alone && result.contains("mended yet") => {
                    "`waystation doctor` tests the way to the origins"
                }
                (true, "verify" | "scrub") if alone => "the node's log says more",
                (true, "verify" | "scrub") => {
                    "what was put away is in `waystation content quarantine list`; `waystation store verify --repair` mends \
                     what is bad instead, where it can be fetched again"
                }
                (true, _) => "the lines above say why",
            };
            Err(Fail::new(result, next))
        }
    }
}

/// The one line of a job that has no more than one thing to do.
fn only(job: &Job) -> Option<&Line> {
    match job.lines.as_slice() {
        [line] if job.progress.unit == "items" && job.progress.total == Some(1) => Some(line),
        _ => None,
    }
}

/// Follows a job; Ctrl-C stops it if it is `ours`, and otherwise only ends the looking on.
pub(in crate::cli) async fn to_the_end(node: &Node, id: u64, out: Out, ours: bool) -> Result<Job, Fail> {
    let mut screen = Screen::new(out);
    let mut interrupted = false;
    let mut looks = 0_u32;
    loop {
        // What is said soon, such as that it waits, is not said ten seconds late.
        let wait = match (screen.bars.are_seen(), looks) {
            (true, _) => 0,
            (false, 0..FIRST_LOOKS) => 1,
            (false, _) => 10,
        };
        looks = looks.saturating_add(1);
        let path = format!("/api/v1/jobs/{id}?wait={wait}");
        let job: Job = tokio::select! {
            job = node.get(&path) => job?,
            signal = tokio::signal::ctrl_c(), if !interrupted => {
                interrupted = true;
                if signal.is_err() || !ours {
                    return node.get(&format!("/api/v1/jobs/{id}")).await;
                }
                node.post(&format!("/api/v1/jobs/{id}/stop"), &()).await?
            }
        };
        screen.show(&job);
        if !job.is_running() {
            screen.end();
            return Ok(job);
        }
        if wait == 0 {
            let nap = if job.lines.len() > LARGE { LOOK_LARGE } else { LOOK };
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                _ = tokio::signal::ctrl_c(), if !interrupted => {
                    interrupted = true;
                    if !ours {
                        return Ok(job);
                    }
                    let _: Job = node.post(&format!("/api/v1/jobs/{id}/stop"), &()).await?;
                }
            }
        }
    }
}

struct Screen {
    out: Out,
    bars: Bars,
    whole: Option<ProgressBar>,
    items: HashMap<usize, Item>,
    /// Which lines have been told already, each when it had ended.
    told: Vec<bool>,
    /// What it was told to wait for last.
    waits: Option<String>,
}

struct Item {
    bar: ProgressBar,
    total: Option<u64>,
}

impl Screen {
    fn new(out: Out) -> Self {
        Self { out, bars: out.progress(), whole: None, items: HashMap::new(), told: Vec::new(), waits: None }
    }

    fn show(&mut self, job: &Job) {
        self.told.resize(job.lines.len().max(self.told.len()), false);
        for (at, line) in job.lines.iter().enumerate() {
            let ended = matches!(line.state.as_str(), "done" | "failed");
            if ended && !std::mem::replace(&mut self.told[at], true) {
                if let Some(item) = self.items.remove(&at) {
                    item.bar.finish_and_clear();
                }
                // What became of the only one is told by how the verb ends.
                let told_at_the_end = line.state == "failed" && only(job).is_some();
                if !self.out.is_json() && !told_at_the_end {
                    self.bars.line(&told(line));
                }
            } else if line.state == "running" && self.bars.are_seen() {
                self.item(at, line);
            }
        }
        if job.is_running() && self.waits != job.progress.waits {
            self.waits.clone_from(&job.progress.waits);
            if !self.out.is_json() {
                self.bars.line(&printable(self.waits.as_deref().unwrap_or("goes on")));
            }
        }
        if self.bars.are_seen() && job.is_running() {
            self.sum(job);
        }
    }

    fn item(&mut self, at: usize, line: &Line) {
        if self.items.get(&at).is_some_and(|item| item.total != line.total)
            && let Some(item) = self.items.remove(&at)
        {
            item.bar.finish_and_clear();
        }
        if !self.items.contains_key(&at) {
            if self.items.len() >= BARS_MAX {
                return;
            }
            let bar = self.bars.bytes(line.total);
            bar.set_message(short(&line.item, self.bars.name_width()));
            self.items.insert(at, Item { bar, total: line.total });
        }
        if let Some(item) = self.items.get(&at) {
            item.bar.set_position(line.done);
        }
    }

    fn sum(&mut self, job: &Job) {
        let progress = &job.progress;
        let bytes = progress.unit == "bytes";
        let whole = self.whole.get_or_insert_with(|| {
            let total = progress.total.unwrap_or_default();
            let bar = if bytes { self.bars.bytes(progress.total) } else { self.bars.items(total) };
            bar.set_prefix(job.kind.clone());
            bar
        });
        // Of nothing as yet a bar would be full.
        match progress.total.filter(|total| *total > 0) {
            Some(total) => whole.set_length(total),
            None => whole.unset_length(),
        }
        let current = match &progress.waits {
            Some(_) => "waits, see above".to_owned(),
            None => progress.current.as_deref().map(|text| short(text, 40)).unwrap_or_default(),
        };
        let rate = match &progress.waits {
            Some(_) => format!("{}, -", size::bytes(progress.bytes)),
            None => format!("{}, {}/s", size::bytes(progress.bytes), size::bytes(progress.bytes_per_s)),
        };
        whole.set_message(if bytes { short(&current, self.bars.name_width()) } else { format!("{rate}  {current}") });
        whole.set_position(progress.done);
    }

    fn end(&mut self) {
        for (_, item) in self.items.drain() {
            item.bar.finish_and_clear();
        }
        if let Some(whole) = self.whole.take() {
            whole.finish_and_clear();
        }
    }
}

fn told(line: &Line) -> String {
    let word = if line.state == "done" { "done  " } else { "FAILED" };
    let size = match (line.state.as_str(), line.total) {
        ("done", Some(total)) => format!(" ({})", size::bytes(total)),
        _ => String::new(),
    };
    printable(&format!("{word} {}{size}: {}", line.item, line.text))
}

/// At most `width` characters; the end of a long address tells more than its beginning.
fn short(text: &str, width: usize) -> String {
    let text = printable(text);
    let length = text.chars().count();
    if length <= width {
        return text;
    }
    let tail: String = text.chars().skip(length - width.saturating_sub(1)).collect();
    format!("…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_address_keeps_its_end() {
        assert_eq!(short("http://h/a", 10), "http://h/a");
        let long = format!("http://h/{}/x.msu", "é".repeat(100));
        assert_eq!(short(&long, 30).chars().count(), 30);
        assert!(short(&long, 30).ends_with("/x.msu"));
    }
}
