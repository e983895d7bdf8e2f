//! A node does what the authority wishes of it, and keeps what came of it for its report.
//!
//! 1. Of each setting that it has it looks whether there is a record for it. One that it has not done yet, or that it refused before its last
//!    start, it tries; one that is gone it takes back.
//! 2. Orders go by their numbers, each once. What is past its time is not done.
//!
//! Only what was verified is ever read here: records that are live in the feed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::hex;
use crate::base::time::Timestamp;
use crate::chain::below::host::{Host, Verb};
use crate::chain::below::wish::{ORDERS, ORDERS_MAX};
use crate::chain::error::Error;
use crate::chain::node::{Chain, Role, blocking};
use crate::model::chain::below::Answer;
use crate::model::chain::record::{Kind, Record};
use crate::model::settings::Raw;
use crate::wire::peer::wish::{Order, Said, Setting, order_key, setting_key};

const DONE: &str = "chain.obeyed";
/// Answers to orders that are kept; those to settings as many as there are settings.
const ANSWERS_MAX: usize = 64;
/// Characters of an answer.
const TEXT_MAX: usize = 1_000;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Done {
    /// By setting: which record, and what came of it.
    settings: BTreeMap<String, (String, Answer)>,
    /// The last order.
    order: u64,
    /// What came of orders, the oldest first.
    orders: Vec<Answer>,
}

fn answer(to: String, came: Result<String, String>, at: Timestamp) -> Answer {
    let (outcome, text) = match came {
        Ok(text) => ("done", text),
        Err(text) => ("refused", text),
    };
    Answer { to, outcome: outcome.to_owned(), text: text.chars().take(TEXT_MAX).collect(), at }
}

fn stamp(record: &Record) -> String {
    let hash = crate::model::chain::record::Entry::set(record.clone()).record();
    hex::encode(hash.bytes())
}

impl Chain {
    async fn done(&self) -> Result<Done, Error> {
        let row = self.shared.store.document(DONE).await?;
        Ok(row.and_then(|row| serde_json::from_slice(&row).ok()).unwrap_or_default())
    }

    /// What came of wishes.
    pub(super) async fn answers(&self) -> Result<Vec<Answer>, Error> {
        let done = self.done().await?;
        let mut answers: Vec<Answer> =
            done.settings.into_values().map(|(_, answer)| answer).chain(done.orders).collect();
        answers.sort_by_key(|answer| answer.at);
        Ok(answers)
    }

    /// What a record says to this node alone.
    async fn open_said(&self, said: Said, key: Vec<u8>) -> Result<String, Error> {
        match said {
            Said::Open(text) => Ok(text),
            Said::Sealed(sealed) => {
                let chain = self.chain().await?.ok_or(Error::Sealed)?;
                let (keys, me) = (self.shared.keys.clone(), self.me());
                blocking(move || {
                    let sealing = crate::chain::join::sealing(&keys)?;
                    let opened = sealing.open(chain, me, &key, &sealed)?;
                    Ok(String::from_utf8_lossy(&opened).into_owned())
                })
                .await
            }
        }
    }

    /// Steps 1 and 2; says whether anything was done.
    pub(super) async fn obey(&self, host: &dyn Host) -> Result<bool, Error> {
        if self.role() != Role::Child {
            return Ok(false);
        }
        let _turn = self.shared.below.obeying.lock().await;
        let mut done = self.done().await?;
        let before = done.clone();
        self.obey_settings(host, &mut done).await?;
        self.obey_orders(host, &mut done).await?;
        Ok(done != before)
    }

    async fn keep_done(&self, done: &Done) -> Result<(), Error> {
        let row = serde_json::to_vec(done).map_err(|error| Error::Broken(error.to_string()))?;
        self.shared.store.set_document(DONE, Some(row)).await?;
        Ok(())
    }

    async fn obey_settings(&self, host: &dyn Host, done: &mut Done) -> Result<(), Error> {
        let feed = self.shared.store.feed();
        for key in host.keys() {
            let place = setting_key(self.me(), &key).to_vec();
            let record = feed.record(Kind::Setting.number(), place.clone()).await?;
            let now = self.shared.clock.now();
            let (stamp, came, by) = match record {
                Some(record) => {
                    let stamp = stamp(&record);
                    if done.settings.get(&key).is_some_and(|(known, _)| *known == stamp) {
                        continue;
                    }
                    // What cannot be read is answered: what comes behind it is read all the same.
                    let nothing = |error: crate::wire::error::Error| (Err(error.to_string()), String::new());
                    let read = Setting::read(record.body());
                    let (read, by) = read.map_or_else(nothing, |read| (Ok(read.value), read.by));
                    let value = match read {
                        Ok(value) => self.open_said(value, place).await.map_err(|error| error.to_string()),
                        Err(why) => Err(why),
                    };
                    let value =
                        value.and_then(|text| serde_json::from_str::<Raw>(&text).map_err(|error| error.to_string()));
                    let came = match value {
                        Ok(value) => host.set(key.clone(), Some(value), by.clone()).await,
                        Err(why) => Err(why),
                    };
                    (Some(stamp), came, by)
                }
                None if done.settings.contains_key(&key) => {
                    (None, host.set(key.clone(), None, "the authority".into()).await, String::new())
                }
                None => continue,
            };
            tracing::info!(key, by, came = ?came, "the authority wishes a setting of this node");
            match stamp {
                Some(stamp) => drop(done.settings.insert(key.clone(), (stamp, answer(key, came, now)))),
                None => drop(done.settings.remove(&key)),
            }
            self.keep_done(done).await?;
        }
        Ok(())
    }

    async fn obey_orders(&self, host: &dyn Host, done: &mut Done) -> Result<(), Error> {
        let feed = self.shared.store.feed();
        let last = feed.record(Kind::Setting.number(), setting_key(self.me(), ORDERS).to_vec()).await?;
        let last = last.map(|record| Setting::read(record.body())).transpose()?;
        let last: u64 = match last.map(|last| last.value) {
            Some(Said::Open(number)) => number.parse().unwrap_or(0),
            _ => 0,
        };
        // Records of the oldest orders are gone: a node that was off finds a gap of any length before the newest ones.
        let first = (done.order + 1).max((last + 1).saturating_sub(ORDERS_MAX));
        for number in first..=last {
            let place = order_key(self.me(), number).to_vec();
            let Some(record) = feed.record(Kind::Order.number(), place.clone()).await? else { continue };
            let now = self.shared.clock.now();
            let order = Order::read(record.body()).unwrap_or_else(|_| Order {
                verb: "read its order".to_owned(),
                with: Said::Open(String::new()),
                until: now,
                by: String::new(),
                at: now,
            });
            // Before it is done: what ends this node in the middle of it is not done twice.
            done.order = number;
            self.keep_done(done).await?;
            let came = if order.until < now {
                Err(format!("its time was over at {}", order.until))
            } else if order.verb == "reparent" {
                match self.open_said(order.with, place).await {
                    Ok(token) => self.join(&token).await.map(|_| "it joins the other parent".to_owned()),
                    Err(error) => Err(error),
                }
                .map_err(|error| error.to_string())
            } else {
                match Verb::of(&order.verb) {
                    Some(verb) => host.order(verb, order.by.clone()).await,
                    None => Err(format!("this version does not know how to {:?}", order.verb)),
                }
            };
            tracing::info!(verb = order.verb, by = order.by, came = ?came, "the authority orders something of this node");
            done.orders.push(answer(number.to_string(), came, now));
            let surplus = done.orders.len().saturating_sub(ANSWERS_MAX);
            done.orders.drain(..surplus);
            self.keep_done(done).await?;
        }
        Ok(())
    }
}
