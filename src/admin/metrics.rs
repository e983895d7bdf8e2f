//! `/metrics`: the registry of all rooms, and beside it what is only known by asking: the store's use, the account, jobs,
//! flights and upstream hosts. OpenMetrics text, which Prometheus reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::admin::error::Problem;
use crate::admin::{Handles, health};

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<i64, AtomicI64>>;
type Counters = Family<Labels, Counter<u64, AtomicU64>>;

/// `GET /metrics`.
pub async fn scrape(State(handles): State<Arc<Handles>>) -> Result<Response, Problem> {
    let asked = asked(&handles).await;
    let mut text = String::with_capacity(16 << 10);
    let written = encode_registry(&mut text, &handles.registry)
        .and_then(|()| encode_registry(&mut text, &asked))
        .and_then(|()| encode_eof(&mut text));
    if written.is_err() {
        let title = "a metric cannot be written as text";
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, title, "report it with the log of this node"));
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

async fn asked(handles: &Handles) -> Registry {
    let mut registry = Registry::with_prefix("waystation");
    let ready = Gauge::<i64, AtomicI64>::default();
    ready.set(i64::from(health::health(handles).state == "ready"));
    registry.register("ready", "Whether the node does its whole work (1) or not (0)", ready);
    let uptime = Gauge::<i64, AtomicI64>::default();
    uptime.set(signed(handles.clock.now().since(handles.node.started_at).as_secs()));
    registry.register("uptime_seconds", "Seconds since the process began", uptime);

    // A store whose index has failed still leaves the other metrics to be read: that is when they are wanted.
    if let Ok(space) = handles.store.space().await {
        let bytes = Gauges::default();
        for (what, value) in [
            ("payloads", space.payloads),
            ("drafts", space.drafts),
            ("quarantine", space.quarantine),
            ("max_size", space.max_size),
            ("disk_free", space.disk_free),
            ("min_free", space.min_free),
        ] {
            bytes.get_or_create_owned(&label("what", what)).set(signed(value));
        }
        registry.register("store_bytes", "Bytes allocated by the store, and its limits", bytes);
        let counts = Gauges::default();
        counts.get_or_create_owned(&label("what", "payloads")).set(signed(space.payloads_count));
        counts.get_or_create_owned(&label("what", "drafts")).set(signed(space.drafts_count));
        registry.register("store_objects", "Objects in the store", counts);
    }

    let total = handles.store.ledger().total();
    let account = Counters::default();
    for (what, value) in [("all", total.requests), ("hit", total.hits), ("refused", total.refused)] {
        account.get_or_create_owned(&label("what", what)).inc_by(value);
    }
    registry.register("account_requests", "Requests since the store was made, restarts included", account);
    let account = Counters::default();
    for (what, value) in [("sent", total.sent), ("fetched", total.fetched)] {
        account.get_or_create_owned(&label("what", what)).inc_by(value);
    }
    registry.register("account_bytes", "Body bytes since the store was made, restarts included", account);

    let evicted = Counter::<u64, AtomicU64>::default();
    evicted.inc_by(handles.jobs.evicted().bytes.load(Ordering::Relaxed));
    registry.register("evicted_bytes", "Bytes that eviction freed since the start", evicted);
    let stuck = Gauge::<i64, AtomicI64>::default();
    stuck.set(signed(handles.jobs.evicted().stuck.load(Ordering::Relaxed)));
    registry.register("eviction_stuck_bytes", "Bytes over the limits though nothing more can go", stuck);
    if let Ok(Some(scrub)) = handles.jobs.scrub().await {
        let scrub = crate::admin::present::scrub(scrub);
        let gauges = Gauges::default();
        gauges.get_or_create_owned(&label("what", "read")).set(signed(scrub.payloads));
        gauges.get_or_create_owned(&label("what", "bad")).set(signed(scrub.bad));
        registry.register("scrub_payloads", "Payloads of the scheduled scrub's last pass", gauges);
    }

    let jobs = Gauges::default();
    for job in handles.jobs.list() {
        let labels = vec![("kind", job.kind.word().to_owned()), ("state", job.state.word().to_owned())];
        jobs.get_or_create_owned(&labels).inc();
    }
    registry.register("jobs", "Jobs that are remembered, by kind and state", jobs);
    let flights = Gauge::<i64, AtomicI64>::default();
    flights.set(signed(handles.jobs.flights().len() as u64));
    registry.register("flights_now", "Payloads that are being filled", flights);

    let (asks, bytes) = (Counters::default(), Counters::default());
    for host in handles.jobs.upstream() {
        for (outcome, value) in [("answered", host.answered), ("failed", host.failed), ("retried", host.retried)] {
            let labels = vec![("host", host.host.clone()), ("outcome", outcome.to_owned())];
            asks.get_or_create_owned(&labels).inc_by(value);
        }
        bytes.get_or_create_owned(&label("host", &host.host)).inc_by(host.bytes);
    }
    registry.register("upstream_host_asks", "Asks of each host, by outcome", asks);
    registry.register("upstream_host_bytes", "Body bytes received from each host", bytes);
    registry
}

fn label(key: &'static str, value: &str) -> Labels {
    vec![(key, value.to_owned())]
}

/// OpenMetrics gauges are signed here; what does not fit is shown as the largest that does.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
