//! The one-time code of the first set-up: whoever can read a file of the data directory may make the first account.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use crate::admin::door::{Door, Refused, random};
use crate::base::time::Timestamp;

/// The file's name in the data directory.
pub const NAME: &str = "setup-code";
/// How long a code is good: it is read and typed at once, or renewed.
pub const GOOD: Duration = Duration::from_mins(15);
/// Wrong codes after which it is void: 100 bits are not guessed, but nobody needs more to type it.
const TRIES: u32 = 10;
/// Digits and letters that are not taken for each other (Crockford's base 32).
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Letters of a code, 5 bits each, and of a group of them.
const LENGTH: usize = 20;
const GROUP: usize = 5;

/// A code that is waited for.
#[derive(Debug)]
pub struct Code {
    hash: blake3::Hash,
    until: Timestamp,
    left: u32,
}

impl Code {
    /// Whether `given` is the code. Each wrong one counts.
    fn is(&mut self, given: &str, now: Timestamp) -> bool {
        if now >= self.until || self.left == 0 {
            return false;
        }
        let fits = blake3::hash(plain(given).as_bytes()) == self.hash;
        self.left -= u32::from(!fits);
        fits
    }
}

/// A code as it is compared: capitals and digits alone, letters that are read wrongly put right.
fn plain(text: &str) -> String {
    let letters = text.chars().filter(char::is_ascii_alphanumeric).take(2 * LENGTH);
    letters
        .map(|letter| match letter.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            letter => letter,
        })
        .collect()
}

fn fresh() -> Result<String, Refused> {
    let bytes: [u8; LENGTH] = random()?;
    let letters: Vec<u8> = bytes.iter().map(|byte| LETTERS[usize::from(byte & 31)]).collect();
    let groups: Vec<String> = letters.chunks(GROUP).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    Ok(groups.join("-"))
}

/// Writes it so that no other user can read it at any moment, in the place of an older one.
fn write(path: &Path, code: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(file, "{code}")?;
    drop(file);
    fs::rename(&new, path)
}

impl Door {
    fn code_path(&self) -> PathBuf {
        self.inner.config.data.join(NAME)
    }

    /// Makes a new code where nobody can sign in yet, and says where it lies and until when it is good; else takes an old file away.
    pub async fn renew_code(&self) -> Result<Option<(PathBuf, Timestamp)>, Refused> {
        let path = self.code_path();
        if !self.is_unset().await? {
            self.void_code().await;
            return Ok(None);
        }
        let code = fresh()?;
        let (hash, until) = (blake3::hash(plain(&code).as_bytes()), self.now().after(GOOD));
        let to = path.clone();
        let written = tokio::task::spawn_blocking(move || write(&to, &code)).await;
        written
            .map_err(|error| Refused::System(error.to_string()))?
            .map_err(|error| Refused::System(format!("{}: {error}", path.display())))?;
        *self.inner.code.lock().unwrap_or_else(PoisonError::into_inner) = Some(Code { hash, until, left: TRIES });
        Ok(Some((path, until)))
    }

    /// Whether this is the code. It stays good until an account is made.
    pub(super) fn is_code(&self, given: &str) -> bool {
        let now = self.now();
        let mut code = self.inner.code.lock().unwrap_or_else(PoisonError::into_inner);
        code.as_mut().is_some_and(|code| code.is(given, now))
    }

    /// Ends the code.
    pub(super) async fn void_code(&self) {
        *self.inner.code.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let path = self.code_path();
        let removed = tokio::task::spawn_blocking(move || match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
        if let Ok(Err(error)) = removed.await {
            tracing::warn!(%error, "the file of the used set-up code stays: it is good for nothing");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it_and_only_for_a_while() {
        let text = fresh().unwrap();
        assert_eq!((text.len(), text.matches('-').count()), (23, 3));
        let code = |left| Code { hash: blake3::hash(plain(&text).as_bytes()), until: Timestamp::from_ms(100), left };
        let at = Timestamp::from_ms(99);
        assert!(code(1).is(&text, at) && code(1).is(&text.to_lowercase().replace('-', " "), at));
        assert!(!code(1).is(&text, Timestamp::from_ms(100)), "too late");
        let mut tried = code(2);
        assert!(!tried.is("", at) && !tried.is("00000-00000-00000-00000", at));
        assert!(!tried.is(&text, at), "tried too often");
        assert_eq!(plain("o0-iL1"), "00111");
    }
}
