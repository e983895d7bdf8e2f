//! What the chain asks of this node, and what it may be told to do from above.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::admin::{self, Handles};
use crate::app::bandwidth::Changer;
use crate::app::config::keys::{self, Typed};
use crate::app::config::rooms;
use crate::app::run_time::RunTime;
use crate::base::disk::{Disk, RealDisk};
use crate::chain::below::host::{Doing, Host, Verb};
use crate::fleet::compliance::policies::Policies;
use crate::jobs::work::{Verify, Work};
use crate::model::chain::below::{Actual, Heartbeat, Told};
use crate::model::deployment::Endpoint;
use crate::model::settings::Raw;

/// How long what endpoints are held against counts: one gathering, page by page.
const POLICIES_FOR: Duration = Duration::from_secs(30);

/// Settings that name a file with a secret: the secret itself may be wished, and is kept in a file of this node's own.
const SECRETS: &[(&str, &str)] = &[
    ("proxy.password", "proxy.password_file"),
    ("upstream.proxy_password", "upstream.proxy_password_file"),
    ("sync.proxy_password", "sync.proxy_password_file"),
    ("sync.webhook_secret", "sync.webhook_secret_file"),
];

/// This node.
pub(crate) struct Own {
    pub(crate) handles: Handles,
    pub(crate) settings: Arc<RunTime>,
    pub(crate) bandwidth: Changer,
    pub(crate) name: String,
    policies: Mutex<Option<(Instant, Arc<Policies>)>>,
}

fn secret(key: &str) -> Option<&'static str> {
    SECRETS.iter().find(|(secret, _)| *secret == key).map(|(_, file)| *file)
}

impl Own {
    pub(crate) fn new(handles: Handles, settings: Arc<RunTime>, bandwidth: Changer, name: String) -> Self {
        Self { handles, settings, bandwidth, name, policies: Mutex::default() }
    }

    async fn policies(&self) -> Result<Arc<Policies>, String> {
        let mut kept = self.policies.lock().await;
        if let Some((at, policies)) = kept.as_ref().filter(|(at, _)| at.elapsed() < POLICIES_FOR) {
            let _ = at;
            return Ok(Arc::clone(policies));
        }
        let made = admin::below::policies(&self.handles).await?;
        *kept = Some((Instant::now(), Arc::clone(&made)));
        Ok(made)
    }

    async fn put(&self, key: &str, value: Option<Raw>, by: &str) -> Result<String, String> {
        let by = format!("the parent ({by})");
        if let Some(file) = secret(key) {
            let at = self.handles.node.data.join("chain").join(format!("wished.{key}"));
            let value = match value {
                Some(value) => {
                    let text = match &value {
                        Raw::Text(text) => text.clone(),
                        other => other.to_string(),
                    };
                    let path = at.clone();
                    let written = tokio::task::spawn_blocking(move || keep_secret(&path, text.as_bytes())).await;
                    written
                        .map_err(|error| error.to_string())?
                        .map_err(|error| format!("{}: {error}", at.display()))?;
                    Some(Raw::Text(at.display().to_string()))
                }
                None => None,
            };
            return self.change(file, value, &by).await;
        }
        self.change(key, value, &by).await
    }

    async fn change(&self, key: &str, value: Option<Raw>, by: &str) -> Result<String, String> {
        let known = keys::key(key).ok_or_else(|| format!("this version has no setting {key}"))?;
        if let Some(name) = key.strip_prefix("bandwidth.") {
            self.bandwidth.change(name, value, by).await.map_err(|error| error.to_string())?;
            return Ok("in force".to_owned());
        }
        let judge = |typed: Typed| async move { rooms::consistent(&typed).map_err(|error| error.to_string()) };
        self.settings.change_all(vec![(known.path, value)], by, judge).await.map_err(|error| error.to_string())?;
        if key.starts_with("content.") || key.starts_with("filters.") {
            self.handles.jobs.content_changed();
        }
        let live = known.effect == crate::model::settings::Effect::Live;
        Ok(if live { "in force" } else { "taken by the next start" }.to_owned())
    }
}

fn keep_secret(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    let disk = RealDisk;
    if let Some(folder) = path.parent() {
        disk.create_dir(folder)?;
    }
    let beside = path.with_extension("new");
    match disk.unlink(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&beside)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.rename(&beside, path)
}

impl Host for Own {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn heartbeat(&self) -> Doing<'_, Heartbeat> {
        Box::pin(admin::below::heartbeat(&self.handles))
    }

    fn endpoints(&self, after: Option<Endpoint>) -> Doing<'_, Result<Vec<(Endpoint, Told)>, String>> {
        Box::pin(async move { admin::below::endpoints(&self.handles, self.policies().await?, after).await })
    }

    fn settings(&self) -> Doing<'_, Vec<Actual>> {
        Box::pin(admin::below::settings(&self.handles))
    }

    fn keys(&self) -> Vec<String> {
        let secrets = SECRETS.iter().map(|(secret, _)| (*secret).to_owned());
        keys::all().map(|key| key.path.to_owned()).chain(secrets).collect()
    }

    fn is_secret(&self, key: &str) -> bool {
        secret(key).is_some()
    }

    fn read(&self, key: &str, value: Raw) -> Result<Raw, String> {
        if secret(key).is_some() {
            return Ok(value);
        }
        let known = keys::key(key).ok_or_else(|| "there is no such setting".to_owned())?;
        let value = match value {
            Raw::Text(text) if known.list => {
                Raw::List(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
            }
            other => other,
        };
        known.check(&value)?;
        Ok(value)
    }

    fn set(&self, key: String, value: Option<Raw>, by: String) -> Doing<'_, Result<String, String>> {
        Box::pin(async move { self.put(&key, value, &by).await })
    }

    fn order(&self, verb: Verb, by: String) -> Doing<'_, Result<String, String>> {
        Box::pin(async move {
            let (jobs, by) = (&self.handles.jobs, format!("the parent ({by})"));
            let started = |work: Work| {
                jobs.start(work, &by).map(|job| format!("job {job} began")).map_err(|error| error.to_string())
            };
            match verb {
                Verb::SyncStart => started(Work::Sync),
                Verb::SyncStop => match jobs.stop_sync(&by).map_err(|error| error.to_string())? {
                    Some(job) => Ok(format!("job {job} stops")),
                    None => Err("no run is under way".to_owned()),
                },
                Verb::Prefetch => started(Work::Prefetch),
                Verb::Verify => {
                    started(Work::Verify(Verify { only: None, repair: false, rate: None, scheduled: false }))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_none_of_the_settings_and_names_one_that_is_a_file() {
        for (secret, file) in SECRETS {
            assert!(keys::key(secret).is_none() && keys::key(file).is_some(), "{secret}, {file}");
        }
    }

    #[test]
    fn a_secret_lies_in_a_file_that_nobody_else_reads() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chain").join("wished.proxy.password");
        for text in ["one", "another"] {
            keep_secret(&path, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
