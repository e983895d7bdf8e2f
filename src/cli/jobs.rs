//! `jobs list|show|stop`.

use std::time::Duration;

use crate::admin::view::{Job, Progress};
use crate::app::Loaded;
use crate::cli::fail::Fail;
use crate::cli::print::{Grid, Out, add};
use crate::cli::verbs::JobsVerb;
use crate::cli::{follow, size};

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
        for line in &job.lines {
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
        rate => format!("{done}, {}/s", size::bytes(rate)),
    }
}

fn took(job: &Job) -> String {
    job.took_ms
        .map(|took| if took < 1000 { format!("{took} ms") } else { size::time(Duration::from_millis(took)) })
        .unwrap_or_default()
}
