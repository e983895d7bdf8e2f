//! From the first thread to the last: start, wait for signals, reload, drain.
//!
//! The drain goes in this order, so that nobody who still works loses what it stands on:
//! 1. not ready (`/readyz`, systemd), so that balancers and clients look elsewhere;
//! 2. no new connections; answers under way have the grace period;
//! 3. jobs stop; flights write their checkpoints and end; a little before the grace period is over, so that requests that
//!    still wait for a first byte are answered with 503 and not cut;
//! 4. the control plane answers no more;
//! 5. the store writes what it has in memory, and closes.
//!
//! A second signal ends it at once: the store stands that, as it stands a lost plug.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::app::build::{self, Node, Planes};
use crate::app::config::kinds::word::UpstreamKind;
use crate::app::config::rooms;
use crate::app::logs::Logs;
use crate::app::notify::{self, News, Pulse, WORKER_STUCK, Workers};
use crate::app::{AppError, Loaded, banner, machine, reload};
use crate::store::{Health, Store};

/// How long checkpoints of flights and the end of jobs may take, even where the grace period is over or zero: they only
/// write what is already here.
const CHECKPOINT_MAX: Duration = Duration::from_secs(10);

/// How long before the end of the grace period those who wait for a first byte are told that none will come: time enough for
/// an answer without a body, and no more than a quarter of the period is taken for it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How much of that jobs may take for their end: they want flights, too, and are to end before them.
const JOBS_FIRST: Duration = Duration::from_millis(500);

/// How long answers of the control plane may take at the end.
const CONTROL_GRACE: Duration = Duration::from_secs(2);

/// How long the store's last commit and sync may take: a disk that needs longer is broken, and the store mends that on
/// the next start.
const CLOSE_MAX: Duration = Duration::from_mins(1);

/// How long threads that still block (a disk that does not answer) are waited for at the very end.
const THREADS_MAX: Duration = Duration::from_secs(5);

/// How often the store's health is looked at: it is a value in memory, and a balancer asks about as often.
const HEALTH_EVERY: Duration = Duration::from_secs(5);

/// How often the data plane's workers are looked at: a few numbers in memory.
const WORKERS_EVERY: Duration = Duration::from_secs(2);

/// The signals that the node listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Stop(&'static str),
    Reload,
}

impl Signals {
    /// From here on signals do not end the process by themselves. Must be called inside a runtime.
    fn listen() -> Result<Self, AppError> {
        let on = |kind| signal(kind).map_err(|source| AppError::System { what: "signals", source });
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hang_up: on(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }

    /// The next signal that asks for the end.
    async fn stop(&mut self) -> &'static str {
        loop {
            if let Asked::Stop(name) = self.next().await {
                return name;
            }
        }
    }
}

/// Runs the node on this thread and those that it starts; returns when it has drained.
pub(crate) fn serve(mut loaded: Loaded) -> Result<(), AppError> {
    let typed = loaded.typed()?;
    let logs = Logs::start(&typed.log.level.0, typed.log.format)
        .map_err(|source| AppError::System { what: "the log", source })?;
    if let Some(descriptors) = machine::raise_descriptors() {
        tracing::debug!(descriptors, "limit of open files");
    }
    build::data_directory(loaded.data_dir(), typed.store.allow_network.0)?;
    let Planes { data, control } = Planes::start()?;
    let mut signals = {
        let _control = control.enter();
        Signals::listen()?
    };
    let mut building = async || {
        let (store, opened) = build::store(&mut loaded).await?;
        match build::node(&loaded, store.clone(), &opened, control.handle()).await {
            Ok(node) => Ok(node),
            Err(error) => {
                // The error of the start is the one to tell.
                if let Err(closing) = store.close().await {
                    tracing::warn!(error = %closing, "the store did not close well");
                }
                Err(error)
            }
        }
    };
    // Opening a large store after a crash takes its time, and whoever has enough of it is heard. The store stands that its
    // opening is broken off.
    let built = data.block_on(async {
        tokio::select! {
            biased;
            name = signals.stop() => {
                tracing::info!(signal = name, "stopped while starting");
                None
            }
            built = building() => Some(built),
        }
    });
    let Some(built) = built else {
        notify::stopping(Duration::ZERO);
        data.shutdown_background();
        control.shutdown_background();
        return Ok(());
    };
    let outcome = match built {
        Ok(node) => {
            // The pulse is of the data plane: it beats there, and is watched from the other one.
            let pulse = Arc::new(Pulse::new());
            let beating = Arc::clone(&pulse);
            let beat = data.spawn(async move { beating.beat().await });
            let outcome = control.block_on(live(node, &mut loaded, &logs, &mut signals, &pulse, data.handle()));
            beat.abort();
            outcome
        }
        Err(error) => Err(error),
    };
    if matches!(outcome, Err(AppError::Interrupted)) {
        data.shutdown_background();
        control.shutdown_background();
    } else {
        data.shutdown_timeout(THREADS_MAX);
        control.shutdown_timeout(THREADS_MAX);
    }
    match outcome {
        Ok(()) => {
            tracing::info!("drained");
            Ok(())
        }
        // The command line tells people; a log of JSON wants it in its own form, and no line beside it in another.
        Err(error) if typed.log.format.is_json() => {
            tracing::error!(%error, "ended");
            Err(AppError::Told(Box::new(error)))
        }
        Err(error) => Err(error),
    }
}

/// From ready to drained. Runs in the control runtime.
async fn live(
    node: Node,
    loaded: &mut Loaded,
    logs: &Logs,
    signals: &mut Signals,
    pulse: &Pulse,
    data: &Handle,
) -> Result<(), AppError> {
    let status = announce(&node, loaded, logs)?;
    notify::ready(&status);
    let started = loaded.settings().clone();
    let stop = async {
        loop {
            match signals.next().await {
                Asked::Stop(name) => return name,
                Asked::Reload => {
                    notify::reloading();
                    reload::configuration(&node, loaded, &started, logs);
                    reload::certificate(&node).await;
                    notify::ready(&status_line(&node.store.health(), &status));
                }
            }
        }
    };
    let name = tokio::select! {
        name = stop => name,
        never = watch(pulse) => match never {},
        never = watch_store(&node.store, &status) => match never {},
        never = node.scans.keep_keys() => match never {},
        never = watch_workers(data) => match never {},
    };
    let grace = loaded.typed()?.limits.drain.0;
    tracing::info!(signal = name, grace_s = grace.as_secs(), "draining");
    notify::stopping(grace + CHECKPOINT_MAX + CLOSE_MAX);
    // systemd's watchdog is fed while draining, too.
    tokio::select! {
        drained = drain(node, grace) => drained,
        second = signals.stop() => {
            tracing::warn!(signal = second, "stopping at once");
            Err(AppError::Interrupted)
        }
        never = watch(pulse) => match never {},
    }
}

/// Feeds systemd's watchdog for as long as it is asked to.
async fn watch(pulse: &Pulse) -> Infallible {
    notify::watchdog(pulse).await;
    std::future::pending().await
}

/// Looks at the data plane's workers: one that blocks takes from all that the node does, and nobody else would tell.
async fn watch_workers(data: &Handle) -> Infallible {
    let metrics = data.metrics();
    let mut workers = Workers::new(&metrics);
    let mut tick = tokio::time::interval(WORKERS_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for news in workers.look(&metrics, WORKER_STUCK) {
            match news {
                News::Stuck(worker) => tracing::error!(
                    worker,
                    of = metrics.num_workers(),
                    "a thread of the data plane does not come back from its task; the others go on"
                ),
                News::Back(worker) => tracing::warn!(worker, "a thread of the data plane that was stuck has come back"),
            }
        }
    }
}

/// Looks at the store's health: an index that fails later must be heard of, not found out.
async fn watch_store(store: &Store, status: &str) -> Infallible {
    let mut told = store.health();
    let mut tick = tokio::time::interval(HEALTH_EVERY);
    loop {
        tick.tick().await;
        let health = store.health();
        if health == told {
            continue;
        }
        match &health {
            Health::ReadOnly { why } => {
                tracing::error!(
                    why,
                    "the store takes nothing new: held payloads are served, and the node is not ready"
                );
            }
            Health::Ready => tracing::info!("the store takes new payloads again"),
        }
        notify::status(&status_line(&health, status));
        told = health;
    }
}

/// What `systemctl status` shows: `status` while all is well.
fn status_line(health: &Health, status: &str) -> String {
    match health {
        Health::Ready => status.to_owned(),
        Health::ReadOnly { why } => format!("serving only what is held: {why}"),
    }
}

/// Says that the node is up; returns the line for systemd.
fn announce(node: &Node, loaded: &Loaded, logs: &Logs) -> Result<String, AppError> {
    let typed = loaded.typed()?;
    let socket = node.socket.as_ref().map(|_| loaded.control_socket());
    let read_only = node.read_only();
    let name = rooms::node_name(&typed);
    let facts = banner::Facts {
        http: &node.http,
        https: &node.https,
        control: node.control_address(),
        socket: socket.as_deref(),
        data: loaded.data_dir(),
        max_size: typed.store.max_size.0,
        file: loaded.file(),
        name: &name,
        below_wsus: typed.upstream.kind == UpstreamKind::Wsus,
        read_only: read_only.as_deref(),
        setup_code: node.setup_code.as_deref(),
    };
    let status = banner::status(&facts);
    if typed.log.format.is_json() {
        let control = facts.control.map(|address| address.to_string());
        tracing::info!(
            http = ?facts.http, https = ?facts.https, control, data = %facts.data.display(),
            version = env!("CARGO_PKG_VERSION"), "{status}"
        );
    } else {
        logs.say(&banner::text(&facts));
    }
    if let Some(why) = read_only {
        tracing::error!(why, "the store takes nothing new: held payloads are served, and the node is not ready");
    }
    Ok(status)
}

/// Ends everything in the order of the head of this file.
async fn drain(node: Node, grace: Duration) -> Result<(), AppError> {
    let Node { store, fill, jobs, facts, content, control, socket, certificate, pace, nodes, .. } = node;
    let deadline = Instant::now() + grace;
    facts.drain();
    let drained = {
        let last_words = async {
            tokio::time::sleep(grace.saturating_sub(LAST_WORDS.min(grace / 4))).await;
            // Who does not end in this time is waited for below, and said.
            let _ = tokio::time::timeout(JOBS_FIRST.min(grace / 16), jobs.close()).await;
            fill.close().await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            drained = content.drain(grace) => drained,
            never = last_words => match never {},
        }
    };
    if drained.cut > 0 {
        tracing::warn!(connections = drained.cut, "answers that were not done within the grace period were cut");
    }
    if let Some(certificate) = certificate {
        certificate.stop.cancel();
        finish("the certificate's watch", CONTROL_GRACE, async { drop(certificate.watching.await) }).await;
    }
    if let Some(nodes) = nodes {
        finish("the chain of nodes", CONTROL_GRACE, nodes.close()).await;
    }
    let left = deadline.saturating_duration_since(Instant::now()).max(CHECKPOINT_MAX);
    finish("jobs", left, jobs.close()).await;
    finish("flights", left, fill.close()).await;
    pace.stop.cancel();
    finish("the bandwidth governor", CONTROL_GRACE, async { drop(pace.governing.await) }).await;
    if let Some((serving, stop)) = socket {
        stop.cancel();
        finish("the control socket", CONTROL_GRACE, async { drop(serving.await) }).await;
    }
    if let Some(control) = control {
        control.drain(CONTROL_GRACE).await;
    }
    match tokio::time::timeout(CLOSE_MAX, store.close()).await {
        Ok(closed) => Ok(closed?),
        Err(_) => Err(AppError::System {
            what: "closing the store",
            source: std::io::Error::new(std::io::ErrorKind::TimedOut, "the disk does not answer"),
        }),
    }
}

/// Waits for an end, but not for ever.
async fn finish(what: &str, at_most: Duration, end: impl Future<Output = ()>) {
    if tokio::time::timeout(at_most, end).await.is_err() {
        tracing::warn!(what, at_most_s = at_most.as_secs(), "did not end in time and is left behind");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_line_follows_the_store() {
        let up = "serving on 127.0.0.1:80";
        assert_eq!(status_line(&Health::Ready, up), up);
        let broken = Health::ReadOnly { why: "the index cannot be written".into() };
        assert_eq!(status_line(&broken, up), "serving only what is held: the index cannot be written");
    }
}
