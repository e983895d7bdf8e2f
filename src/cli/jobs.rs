//! `jobs list|show|stop`.

use std::collections::HashMap;
use std::time::Duration;

use crate::admin::view::{Job, Progress};
use crate::app::Loaded;
use crate::cli::fail::Fail;
use crate::cli::print::{Grid, Out, add, printable};
use crate::cli::verbs::JobsVerb;
use crate::cli::{follow, size};

/// Lines that failed for the same reason, of which so many are shown to people; the JSON has all.
const SAME_MAX: u64 = 5;

pub(in crate::cli) fn run(loaded: &Loaded, verb: &JobsVerb, out: Out) -> Result<(), Fail> {
    super::with(super::running(loaded)?, async |node| match *verb {
        JobsVerb::List => {
            let jobs: Vec<Job> = node.get("/api/v1/jobs").await?;
            out.both(&jobs, |jobs| list(jobs))
        }
        JobsVerb::Show { id, follow: true } => {
            let job = follow::to_the_end(node, id, out, false).await?;
            out.both(&job, one)?;
            follow::outcome(&job)
        }
        JobsVerb::Show { id, follow: false } => {
            let job: Job = node.get(&format!("/api/v1/jobs/{id}")).await?;
            out.both(&job, one)
        }
        JobsVerb::Stop { id } => {
            let job: Job = node.post(&format!("/api/v1/jobs/{id}/stop"), &()).await?;
            out.both(&job, |job| match job.state.as_str() {
                "running" => format!("job {id} is told to stop"),
                state => format!("job {id} has ended already: {state}"),
            })
        }
    })
}

/// Jobs for people.
pub(in crate::cli) fn list(jobs: &[Job]) -> String {
    let mut grid = Grid::new(&[">job", "kind", "state", "progress", "started", ">took", "by", "what"]);
    for job in jobs {
        grid.row([
            job.id.to_string(),
            job.kind.clone(),
            job.state.clone(),
            progress(&job.progress),
            job.started_at.to_string(),
            took(job),
            job.by.clone(),
            job.title.clone(),
        ]);
    }
    if grid.is_empty() {
        return "no jobs\n".to_owned();
    }
    let mut text = grid.text();
    for job in jobs {
        if let Some(why) = &job.progress.waits {
            add(&mut text, format_args!("job {} {why}\n", job.id));
        }
    }
    text
}

fn one(job: &Job) -> String {
    let mut text = list(std::slice::from_ref(job));
    if let Some(result) = &job.result {
        add(&mut text, format_args!("\n{result}\n"));
    }
    if !job.lines.is_empty() {
        let mut grid = Grid::new(&["state", ">size", "what", ""]);
        let mut told: HashMap<(&str, &str), u64> = HashMap::new();
        for line in &job.lines {
            // Where one host is dead, hundreds of files have one reason.
            if !line.text.is_empty() && line.state == "failed" {
                let same = told.entry((line.state.as_str(), line.text.as_str())).or_default();
                *same += 1;
                if *same > SAME_MAX {
                    continue;
                }
            }
            let bytes = match (line.total, line.done) {
                (Some(total), done) if done < total => format!("{} of {}", size::bytes(done), size::bytes(total)),
                (Some(total), _) => size::bytes(total),
                (None, 0) => String::new(),
                (None, done) => size::bytes(done),
            };
            grid.row([line.state.clone(), bytes, line.item.clone(), line.text.clone()]);
        }
        text.push('\n');
        text.push_str(&grid.text());
        let mut more: Vec<(&str, u64)> = told
            .into_iter()
            .filter(|(_, many)| *many > SAME_MAX)
            .map(|((_, why), many)| (why, many - SAME_MAX))
            .collect();
        more.sort_unstable();
        for (why, many) in more {
            add(&mut text, format_args!("and {} more that failed: {}\n", size::count(many), printable(why)));
        }
    }
    if job.lines_left_out > 0 {
        add(&mut text, format_args!("and {} more\n", size::count(job.lines_left_out)));
    }
    text
}

fn progress(progress: &Progress) -> String {
    let number = |value| if progress.unit == "bytes" { size::bytes(value) } else { size::count(value) };
    let done = match progress.total {
        // None of it is known yet, or there was nothing to do.
        Some(0) if progress.done == 0 => "-".to_owned(),
        Some(total) => format!("{} of {}", number(progress.done), number(total)),
        None => number(progress.done),
    };
    match progress.bytes_per_s {
        _ if progress.waits.is_some() => format!("{done}, waits"),
        0 => done,
        rate => {
            let left = progress.left_s.map(|left| format!(", {} left", size::time(Duration::from_secs(left))));
            format!("{done}, {}/s{}", size::bytes(rate), left.unwrap_or_default())
        }
    }
}

fn took(job: &Job) -> String {
    job.took_ms
        .map(|took| if took < 1000 { format!("{took} ms") } else { size::time(Duration::from_millis(took)) })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::Line;

    #[test]
    fn one_reason_of_many_lines_is_told_once_with_their_number() {
        let line = |at: usize, state: &str, text: &str| Line {
            item: format!("file-{at:03}.cab"),
            state: state.to_owned(),
            done: 0,
            total: None,
            text: text.to_owned(),
            class: None,
            sha256: None,
            blake3: None,
            outcome: None,
        };
        let dead = (0..168).map(|at| line(at, "failed", "dl.example.org: there is no such name"));
        let others = [line(200, "failed", "answered 404"), line(201, "done", "fetched"), line(202, "done", "fetched")];
        let progress = Progress {
            left_s: None,
            done: 0,
            total: Some(171),
            unit: "items".to_owned(),
            bytes: 0,
            bytes_per_s: 0,
            current: None,
            waits: None,
        };
        let job = Job {
            id: 2,
            kind: "prefetch".to_owned(),
            title: "bringing files".to_owned(),
            by: "the node".to_owned(),
            state: "failed".to_owned(),
            started_at: crate::admin::view::Time::default(),
            ended_at: None,
            took_ms: None,
            progress,
            result: None,
            lines: dead.chain(others).collect(),
            lines_left_out: 0,
        };
        let told = one(&job);
        assert_eq!((told.matches("file-0").count(), told.matches("file-2").count()), (5, 3), "{told}");
        assert!(told.contains("and 163 more that failed: dl.example.org: there is no such name\n"), "{told}");
    }
}
