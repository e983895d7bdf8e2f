//! Passwords: Argon2id, on threads that may block, few at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::admin::door::{Refused, random};
use crate::base::secret::Secret;
use crate::store::accounts::Hashed;

/// 19 MiB, two passes, one lane: what OWASP recommends; some tens of milliseconds.
pub const COST: (u32, u32, u32) = (19 * 1024, 2, 1);
/// The most that a kept cost may ask for: a row of a damaged index must not take all memory.
const MEMORY_MAX: u32 = 256 << 10;
const PASSES_MAX: u32 = 16;
/// Hashes at once: each is some tens of milliseconds of a core, and the data plane has the others.
const AT_ONCE: usize = 2;
/// Those that wait beside them; of more each is refused at once.
const WAITING_MAX: usize = 16;
/// Characters of a new password: twelve that somebody chose are out of reach of [`super::attempts`].
pub const CHARS_MIN: usize = 12;
/// Bytes of a password: it is hashed whole.
pub const BYTES_MAX: usize = 512;

/// What checks and makes hashes.
#[derive(Debug)]
pub struct Passwords {
    cost: (u32, u32, u32),
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Whether somebody may choose this.
pub fn check(password: &Secret, name: &str) -> Result<(), Refused> {
    let text = password.expose();
    let wrong = |why: String| Err(Refused::Invalid(why));
    if text.chars().count() < CHARS_MIN {
        return wrong(format!("a password has {CHARS_MIN} characters at least; several words make a good one"));
    }
    if text.len() > BYTES_MAX {
        return wrong(format!("a password has {BYTES_MAX} bytes at most"));
    }
    let is_one = text.chars().all(|c| text.starts_with(c));
    if is_one || text.eq_ignore_ascii_case(name) {
        return wrong("this password is the first that somebody tries".into());
    }
    Ok(())
}

fn hash(text: &[u8], salt: &[u8; 16], cost: (u32, u32, u32)) -> Result<[u8; 32], Refused> {
    let broken = |error: argon2::Error| Refused::System(format!("a password cannot be hashed: {error}"));
    if cost.0 > MEMORY_MAX || cost.1 > PASSES_MAX || cost.2 > 16 {
        return Err(Refused::System("what is kept of this password is damaged: set another one".into()));
    }
    let params = Params::new(cost.0, cost.1, cost.2, Some(32)).map_err(broken)?;
    let mut out = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(text, salt, &mut out)
        .map_err(broken)?;
    Ok(out)
}

impl Passwords {
    /// With this cost for new ones.
    pub fn new(cost: (u32, u32, u32)) -> Self {
        Self { cost, turns: Arc::new(Semaphore::new(AT_ONCE)), waiting: AtomicUsize::new(0) }
    }

    async fn run(&self, text: &Secret, salt: [u8; 16], cost: (u32, u32, u32)) -> Result<[u8; 32], Refused> {
        /// Counts who waits, however that ends.
        struct Waits<'a>(&'a AtomicUsize);
        impl Drop for Waits<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        if before >= WAITING_MAX + AT_ONCE {
            return Err(Refused::Busy);
        }
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let text = Zeroizing::new(text.expose().as_bytes().to_vec());
        let job = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            hash(&text, &salt, cost)
        });
        job.await.map_err(|error| Refused::System(format!("the check of a password broke off: {error}")))?
    }

    /// Makes what is kept of a password.
    pub async fn make(&self, password: &Secret) -> Result<Hashed, Refused> {
        let salt = random()?;
        let hash = self.run(password, salt, self.cost).await?;
        Ok(Hashed { salt, hash, cost: self.cost })
    }

    /// Whether it is the password that is kept. Without one that is kept it takes as long, and is none.
    pub async fn is(&self, password: &Secret, kept: Option<&Hashed>) -> Result<bool, Refused> {
        if password.expose().len() > BYTES_MAX {
            return Ok(false);
        }
        let (salt, cost) = kept.map_or(([0; 16], self.cost), |kept| (kept.salt, kept.cost));
        let made = self.run(password, salt, cost).await?;
        // `blake3::Hash` compares in constant time.
        Ok(kept.is_some_and(|kept| blake3::Hash::from_bytes(kept.hash) == blake3::Hash::from_bytes(made)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn the_right_one_fits_and_no_other() {
        let passwords = Passwords::new((8, 1, 1));
        let kept = passwords.make(&secret("correct horse battery")).await.unwrap();
        let other = passwords.make(&secret("correct horse battery")).await.unwrap();
        assert_ne!((kept.salt, kept.hash), (other.salt, other.hash), "salted");
        assert!(passwords.is(&secret("correct horse battery"), Some(&kept)).await.unwrap());
        assert!(!passwords.is(&secret("correct horse batterY"), Some(&kept)).await.unwrap());
        assert!(!passwords.is(&secret("correct horse battery"), None).await.unwrap());
        assert!(!passwords.is(&secret(&"x".repeat(BYTES_MAX + 1)), Some(&kept)).await.unwrap());
        let damaged = Hashed { cost: (u32::MAX, 1, 1), ..kept };
        assert!(passwords.is(&secret("correct horse battery"), Some(&damaged)).await.is_err());
    }

    #[test]
    fn what_is_guessed_first_is_refused() {
        for wrong in ["", "short", "aaaaaaaaaaaaaaaa", "Administrator", &"ab".repeat(400)] {
            assert!(check(&secret(wrong), "administrator").is_err(), "{wrong}");
        }
        assert!(check(&secret("four random words here"), "anna").is_ok());
        assert!(check(&secret("zwölf Zeichen"), "anna").is_ok());
    }
}
