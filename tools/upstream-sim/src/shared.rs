//! What all requests share, and cookies.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::clock::{BASE, MONTH};
use crate::faults::Faults;
use crate::files::Files;
use crate::log::Log;
use crate::options::{Character, Options};
use crate::random::join;
use crate::world::World;

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) address: SocketAddr,
    pub(crate) world: RwLock<World>,
    pub(crate) files: Files,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) log: Mutex<Log>,
    /// What DownloadFiles named, and when it is there.
    pub(crate) named: Mutex<HashMap<[u8; 20], Instant>>,
    /// The servers below that told of themselves.
    pub(crate) below: Mutex<HashSet<String>>,
    /// Documents of many MB are written one at a time.
    pub(crate) large: Mutex<()>,
    /// The last time that was given away, in ms.
    last: AtomicI64,
    /// Cookies of another generation are refused.
    generation: AtomicU64,
    /// Those of a generation before this one are of another server.
    own: AtomicU64,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a cookie is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    Authorization,
    Sync,
}

impl Shared {
    pub(crate) fn new(options: Options, address: SocketAddr) -> io::Result<Self> {
        let world = World::new(&options);
        Ok(Self {
            log: Mutex::new(Log::new(options.log.as_deref())?),
            address,
            last: AtomicI64::new(BASE + i64::from(world.month) * MONTH),
            world: RwLock::new(world),
            files: Files::default(),
            faults: Mutex::default(),
            named: Mutex::default(),
            below: Mutex::default(),
            large: Mutex::default(),
            generation: AtomicU64::new(1),
            own: AtomicU64::new(1),
            options,
        })
    }

    pub(crate) fn world(&self) -> RwLockReadGuard<'_, World> {
        self.world.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn microsoft(&self) -> bool {
        self.options.character == Character::Microsoft
    }

    /// Publishes months; the month that it is then.
    pub(crate) fn advance(&self, months: u32) -> i32 {
        let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..months {
            world.advance();
        }
        self.last.fetch_max(BASE + i64::from(world.month) * MONTH, Ordering::SeqCst);
        world.month
    }

    /// The simulated time: later than any that was given away before.
    pub(crate) fn tick(&self) -> i64 {
        self.last.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn expire_cookies(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Becomes another server, to which the cookies given so far do not belong.
    pub(crate) fn change_server(&self) {
        self.own.store(self.generation.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    }

    /// Whether a cookie is one that this server gave out when it was another.
    pub(crate) fn is_of_another(&self, data: &str) -> bool {
        let text = BASE64.decode(data.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let generation = text.split(';').nth(1).and_then(|generation| generation.parse::<u64>().ok());
        generation.is_some_and(|generation| generation < self.own.load(Ordering::SeqCst))
    }

    /// How long cookies last.
    pub(crate) fn lifetime(&self) -> Duration {
        self.options.cookie.unwrap_or(Duration::from_secs(if self.microsoft() { 3_600 } else { 14_400 }))
    }

    fn seal(&self, text: &str) -> u64 {
        join(&text.bytes().map(u64::from).chain([self.options.seed]).collect::<Vec<_>>())
    }

    /// A cookie that ends at `end` (ms, real time).
    pub(crate) fn cookie(&self, pass: Pass, end: i64) -> String {
        let kind = if pass == Pass::Sync { "sync" } else { "auth" };
        let text = format!("{kind};{};{end}", self.generation.load(Ordering::SeqCst));
        // Real ones are a few hundred bytes.
        BASE64.encode(format!("{text};{:016x};{}", self.seal(&text), "-".repeat(200)))
    }

    /// Whether a cookie is good now.
    pub(crate) fn accepts(&self, pass: Pass, data: &str) -> bool {
        let check = || {
            let text = String::from_utf8(BASE64.decode(data.trim()).ok()?).ok()?;
            let mut parts = text.split(';');
            let (kind, generation, end, seal) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
            let wanted = if pass == Pass::Sync { "sync" } else { "auth" };
            let good = kind == wanted
                && generation.parse() == Ok(self.generation.load(Ordering::SeqCst))
                && seal == format!("{:016x}", self.seal(&format!("{kind};{generation};{end}")));
            (good && end.parse::<i64>().ok()? > real_time()).then_some(())
        };
        check().is_some()
    }
}

/// The number of all anchors; nobody reads it.
pub(crate) const COUNTER: u64 = 9_438;

/// The real time in ms: cookies end by the clock of whoever holds them.
pub(crate) fn real_time() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
