//! Passwords out of files: read late, kept wiped, never printed, and not taken from where everybody can read them.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::base::secret::Secret;

/// The longest password that is taken: a slip (another file named) must not be sent to a proxy.
const SECRET_BYTES_MAX: u64 = 1024;

/// Reads the password in `path`, without the newline at its end. The error never repeats a byte of it.
pub(crate) fn read(path: &Path) -> Result<Secret, String> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| format!("{shown} cannot be opened: {error}"))?;
    let facts = file.metadata().map_err(|error| format!("{shown} cannot be looked at: {error}"))?;
    if !facts.is_file() {
        return Err(format!("{shown} is no file"));
    }
    // Asked of the open file, so that it cannot be changed for another one in between.
    if facts.mode() & 0o007 != 0 {
        return Err(format!(
            "{shown} can be read by everybody (mode {:04o}): chmod 0640 {shown}, and give it to the node's group",
            facts.mode() & 0o7777
        ));
    }
    let mut text = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX as usize + 1));
    file.take(SECRET_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("{shown} cannot be read: {error}"))?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        return Err(format!(
            "{shown} is longer than {SECRET_BYTES_MAX} bytes: it must hold the password and nothing else"
        ));
    }
    let secret = text.trim_end_matches(['\n', '\r']);
    if secret.is_empty() {
        return Err(format!("{shown} is empty"));
    }
    if secret.contains(['\n', '\r', '\0']) {
        return Err(format!("{shown} has more than one line: it must hold the password and nothing else"));
    }
    Ok(Secret::new(secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_a_private_file_of_one_line_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let write = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            read(&path)
        };
        assert_eq!(write("hunter2\r\n", 0o640).unwrap().expose(), "hunter2");
        assert!(write("hunter2", 0o644).unwrap_err().contains("chmod 0640"));
        for wrong in ["", "\n", "hunter2\nhunter3\n", &"hunter2".repeat(400)] {
            let error = write(wrong, 0o600).unwrap_err();
            assert!(!error.contains("hunter"), "{error}");
        }
        assert!(read(directory.path()).is_err());
        assert!(read(&directory.path().join("none")).unwrap_err().contains("none cannot be opened"));
        assert_eq!(format!("{:?}", write("hunter2", 0o400).unwrap()), "Secret(***)");
    }
}
