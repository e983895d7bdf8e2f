//! Cookies: how one is got, how long it is good, and who has it (MS-WSUSSS 3.1.4.1 to 3.1.4.3, 3.2.4).
//!
//! A cookie is used by one conversation at a time and lies in a pool in between, so that parallel workers neither wait for
//! each other nor authorize for every question.
//!
//! A server tells by the cookie whom it speaks with, and whether it is itself still the one that gave it out (2.2.4.8). One that
//! says that it is another, or that refuses new cookies too, makes all void that were given out before, those too that others
//! have in hand: a cookie of a former time never comes back into the pool.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use url::Url;

use crate::base::time::Timestamp;
use crate::upstream::wsus::Core;
use crate::upstream::wsus::ask::whole;
use crate::upstream::wsus::error::Error;
use crate::upstream::wsus::patience::{Step, Tries};
use crate::wire::soap::Fault;
use crate::wire::wsusss::authorize::{Cookie, GetAuthConfig, GetAuthorizationCookie, GetCookie};
use crate::wire::wsusss::{Answer, Call, Method};

/// The version of the protocol that this node speaks: that of WSUS 10, which is told of every update (MS-WSUSSS 3.1.4.3).
const PROTOCOL_VERSION: &str = "1.20";

/// A cookie is renewed so long before its end, or a tenth of its life before where that is less: a question under way must
/// not meet the end.
const MARGIN_MAX: Duration = Duration::from_mins(2);

/// How long a cookie is used whose end has passed already when it comes: the clocks differ, and the server refuses it in time.
const SKEWED: Duration = Duration::from_mins(5);

/// The longest that a cookie is used, whatever it says: a day is six times what real servers give.
const LIFE_MAX: Duration = Duration::from_hours(24);

/// Cookies that are kept: as many as workers may be.
const POOL_MAX: usize = 16;

/// A cookie, and until when it is good by this machine's steady clock.
#[derive(Clone, Debug)]
pub(super) struct Held {
    cookie: Cookie,
    good_until: Instant,
    /// Which time of the pool it is of.
    time: u64,
}

impl Held {
    fn new(cookie: Cookie, asked_at: Instant, now: Timestamp, time: u64) -> Self {
        let good_for = good_for(cookie.expiration.at(), now);
        Self { cookie, good_until: asked_at + good_for, time }
    }
}

/// How long a cookie with this end is used.
fn good_for(end: Option<Timestamp>, now: Timestamp) -> Duration {
    let left = end.map(|end| end.since(now)).unwrap_or_default().min(LIFE_MAX);
    if left.is_zero() { SKEWED } else { left.saturating_sub(MARGIN_MAX.min(left / 10)) }
}

/// Cookies that nobody uses just now.
#[derive(Debug, Default)]
pub(super) struct Pool {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<Held>,
    /// Counts how often all cookies became void.
    time: u64,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole between any two calls, so that a panic elsewhere has not broken it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Held> {
        let now = Instant::now();
        let mut state = self.lock();
        state.free.retain(|held| held.good_until > now);
        state.free.pop()
    }

    fn put(&self, held: Held) {
        let mut state = self.lock();
        if state.free.len() < POOL_MAX && held.time == state.time {
            state.free.push(held);
        }
    }

    fn time(&self) -> u64 {
        self.lock().time
    }

    /// All that were given out so far are void, wherever they are.
    fn clear(&self) {
        let mut state = self.lock();
        state.time = state.time.wrapping_add(1);
        state.free.clear();
    }
}

/// One who asks: has a cookie of its own, and gives it back when it is done.
#[derive(Debug)]
pub(super) struct Visitor<'a> {
    core: &'a Core,
    held: Option<Held>,
    /// One was refused: those that lie in the pool may be as old, and each would cost a question.
    wants_new: bool,
}

impl<'a> Visitor<'a> {
    pub(super) fn new(core: &'a Core) -> Self {
        Self { core, held: None, wants_new: false }
    }

    /// A cookie that is good now; authorizes where there is none.
    pub(super) async fn cookie(&mut self) -> Result<Cookie, Error> {
        let now = Instant::now();
        let time = self.core.cookies.time();
        let mut held = self.held.take().filter(|held| held.good_until > now && held.time == time);
        if held.is_none() && !self.wants_new {
            held = self.core.cookies.take();
        }
        let held = match held {
            Some(held) => held,
            None => authorize(self.core, time).await?,
        };
        self.wants_new = false;
        let cookie = held.cookie.clone();
        self.held = Some(held);
        Ok(cookie)
    }

    /// The server refused it.
    pub(super) fn forget(&mut self) {
        self.held = None;
        self.wants_new = true;
    }

    /// What to do about a refusal of what was asked with the cookie; waits where it is to be waited for. A refusal that ends the
    /// question ends the use of the cookie too.
    pub(super) async fn refusal(&mut self, tries: &mut Tries<'_>, fault: &Fault) -> Result<Step, Error> {
        let step = tries.refusal(fault).await;
        match &step {
            // A server that is busy has nothing against the cookie.
            Ok(Step::Again | Step::Bisect) | Err(Error::Unavailable { .. }) => {}
            Err(Error::ServerChanged { .. } | Error::Unauthorized { .. }) => {
                self.core.cookies.clear();
                self.forget();
            }
            Ok(Step::Reauthorize) | Err(_) => self.forget(),
        }
        step
    }

    /// Asks what needs a cookie and is answered in one piece.
    pub(super) async fn ask<C: Call + 'static>(
        &mut self,
        tries: &mut Tries<'_>,
        make: impl Fn(Cookie) -> C,
    ) -> Result<C::Answer, Error>
    where
        C::Answer: Send + 'static,
    {
        loop {
            let call = make(self.cookie().await?);
            match whole(self.core, &self.core.sync_url, &call).await {
                Ok(Answer::Done(answer)) => return Ok(answer),
                Ok(Answer::Fault(fault)) => match self.refusal(tries, &fault).await? {
                    Step::Again | Step::Reauthorize => {}
                    Step::Bisect => return Err(tries.refused(fault.to_string())),
                },
                Err(trouble) => tries.failed(trouble).await?,
            }
        }
    }
}

impl Drop for Visitor<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.core.cookies.put(held);
        }
    }
}

/// From nothing to a cookie. A refusal on the way begins it again, a bounded number of times.
async fn authorize(core: &Core, time: u64) -> Result<Held, Error> {
    let mut tries = Tries::new(core, Method::GetAuthConfig);
    loop {
        let Some(config) = step(core, &core.sync_url, &GetAuthConfig, &mut tries).await? else { continue };
        let Some(plug_in) = config.plug_ins.into_iter().next() else {
            return Err(tries.unusable("it names no service that gives out authorization cookies".to_owned()));
        };
        let url = core.service(&plug_in.service_url).map_err(|why| tries.unusable(why))?;
        let request = GetAuthorizationCookie {
            account_name: core.config.account_name.clone(),
            account_guid: core.config.account_id,
            program_keys: None,
        };
        let Some(authorization) = step(core, &url, &request, &mut tries).await? else { continue };
        let asked_at = Instant::now();
        let request =
            GetCookie { authorization: vec![authorization], old: None, protocol_version: PROTOCOL_VERSION.to_owned() };
        let Some(cookie) = step(core, &core.sync_url, &request, &mut tries).await? else { continue };
        tracing::debug!(host = core.label, until = cookie.expiration.as_str(), "authorized");
        return Ok(Held::new(cookie, asked_at, SystemTime::now().into(), time));
    }
}

/// One question of the authorization; `None` where it is to begin anew.
async fn step<C: Call + 'static>(
    core: &Core,
    url: &Url,
    call: &C,
    tries: &mut Tries<'_>,
) -> Result<Option<C::Answer>, Error>
where
    C::Answer: Send + 'static,
{
    tries.now(C::METHOD);
    loop {
        match whole(core, url, call).await {
            Ok(Answer::Done(answer)) => return Ok(Some(answer)),
            Ok(Answer::Fault(fault)) => match tries.refusal(&fault).await? {
                Step::Again => {}
                Step::Reauthorize => return Ok(None),
                Step::Bisect => return Err(tries.refused(fault.to_string())),
            },
            Err(trouble) => tries.failed(trouble).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_renewed_before_its_end_whatever_the_clocks_say() {
        let now = Timestamp::from_ms(1_800_000_000_000);
        let ends_in = |time: Duration| good_for(Some(now.after(time)), now);
        assert_eq!(ends_in(Duration::from_hours(1)), Duration::from_mins(58));
        assert_eq!(ends_in(Duration::from_secs(10)), Duration::from_secs(9));
        assert_eq!(ends_in(Duration::from_hours(1000)), LIFE_MAX.saturating_sub(MARGIN_MAX));
        assert_eq!(good_for(Some(Timestamp::from_ms(0)), now), SKEWED);
        assert_eq!(good_for(None, now), SKEWED);
    }
}
