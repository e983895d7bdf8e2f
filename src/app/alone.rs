//! The data directory without a node: the control plane's handlers over a store that was opened here, so that the command
//! line says and does the same with a node and without one. What asks origins is left out, and says so.
//!
//! Everything here is called before the process has a second thread, since it may switch to the directory's owner.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use tower::ServiceExt;

use crate::admin::bandwidth::Bandwidth;
use crate::admin::compliance::Reported;
use crate::admin::door::Door;
use crate::admin::view::{self, Setting};
use crate::admin::{Access, Caller, Handles, NodeFacts, Turns, router};
use crate::app::config::rooms;
use crate::app::{AppError, Loaded, build, offline};
use crate::base::disk::RealDisk;
use crate::base::time::{Clock, SystemClock};
use crate::fleet::compliance::Compliance;
use crate::fleet::registry::Registry as Enrolment;
use crate::fleet::roster::Roster;
use crate::jobs::Jobs;
use crate::store::{self, Rebuilt, Restored, Store};

/// A data directory at work without a node.
#[derive(Debug)]
pub struct Alone {
    store: Store,
    jobs: Jobs,
    router: Router,
}

impl Alone {
    /// Opens the store under its lock, as its owner.
    pub fn open(loaded: &Loaded) -> Result<Self, AppError> {
        let store = crate::app::open_offline(loaded)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let id = build::store_id(loaded.data_dir());
        let typed = loaded.typed()?;
        let jobs = Jobs::offline(rooms::jobs(&typed, &id), store.clone(), Arc::clone(&clock));
        let endpoints = Enrolment::new(store.fleet(), rooms::admission(&typed));
        let node = NodeFacts {
            version: env!("CARGO_PKG_VERSION"),
            id,
            // Only an opening node bumps or tells it; without one there is nothing to compare it with.
            epoch: 0,
            data: loaded.data_dir().to_owned(),
            started_at: clock.now(),
            listening: Vec::<view::Listening>::new(),
            draining: AtomicBool::new(false),
        };
        let policy = rooms::compliance(&loaded.typed()?);
        let compliance = Compliance::new(&store);
        jobs.judge_by(compliance.clone());
        let rows = settings(loaded);
        let door = Door::new(rooms::door(&typed), &store, Arc::clone(&clock));
        let handles = Handles {
            store: store.clone(),
            jobs: jobs.clone(),
            settings: Arc::new(move || rows.clone()),
            registry: Arc::new(Registry::default()),
            node: Arc::new(node),
            clock,
            turns: Turns::default(),
            tls: None,
            bandwidth: Bandwidth::default(),
            reported: Reported::new(compliance, Arc::new(move || policy)),
            filters: None,
            above: None,
            chain: None,
            door,
            endpoints: Roster::new(endpoints, typed.scan.site_networks.0.clone()),
        };
        let who = Caller(format!("the command line, uid {}", rustix::process::getuid().as_raw()));
        let router = router::router(handles, Access::Full).layer(axum::Extension(who));
        Ok(Self { store, jobs, router })
    }

    /// Answers as a running node would. Must be called inside a runtime.
    pub async fn ask(&self, request: Request<Bytes>) -> Result<(u16, Bytes), String> {
        let response = match self.router.clone().oneshot(request.map(axum::body::Body::from)).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
        Ok((status, body.to_bytes()))
    }

    /// Ends the jobs and closes the store. Must be called inside a runtime.
    pub async fn close(&self) -> Result<(), AppError> {
        self.jobs.close().await;
        Ok(self.store.close().await?)
    }
}

/// What differs from the defaults of this machine, and where each value comes from.
pub fn changed(loaded: &Loaded) -> Vec<Setting> {
    let differs = |row: &Setting| {
        let setting = loaded.settings().get(&row.key);
        setting.is_some_and(|setting| setting.value() != setting.default_value())
    };
    settings(loaded).into_iter().filter(differs).collect()
}

/// What is in force without a node, and where each value comes from.
pub fn settings(loaded: &Loaded) -> Vec<Setting> {
    crate::app::settings::rows(loaded.settings())
}

/// The data directory must be there: a misspelt path must not make one.
fn own(loaded: &Loaded) -> Result<(), AppError> {
    let data = loaded.data_dir();
    if !data.is_dir() {
        return Err(AppError::NoStore { path: data.to_owned() });
    }
    offline::become_owner(data)
}

/// Puts a backup in place of the index.
pub fn restore(loaded: &Loaded, from: &std::path::Path) -> Result<Restored, AppError> {
    own(loaded)?;
    match store::restore(&rooms::store(&loaded.typed()?), &RealDisk, from) {
        // The file's fault, and not that of the store.
        Err(store::Error::Invalid { what }) => Err(AppError::Backup { what }),
        restored => Ok(restored?),
    }
}

/// Whether the store's index opens, so that a new one would only lose what stands in it. Changes nothing.
pub fn index_opens(loaded: &Loaded) -> Result<bool, AppError> {
    own(loaded)?;
    Ok(store::index_opens(&rooms::store(&loaded.typed()?), &RealDisk))
}

/// Makes a new index out of the proofs; `each` is told how many payloads were found so far.
pub fn rebuild(loaded: &Loaded, each: &mut dyn FnMut(u64)) -> Result<Rebuilt, AppError> {
    own(loaded)?;
    let config = rooms::store(&loaded.typed()?);
    Ok(store::rebuild(&config, Arc::new(RealDisk), Arc::new(SystemClock), each)?)
}
