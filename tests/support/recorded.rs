//! The folder of recorded messages and documents, which lies beside the project and is no part of it.

use std::path::{Path, PathBuf};

/// A folder of it, if it is there; says what did not run where it is not.
pub(crate) fn recorded(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("WAYSTATION_RECORDED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/protocol/data"), PathBuf::from);
    let found = root.join(folder);
    if found.is_dir() {
        return Some(found);
    }
    #[allow(clippy::print_stderr, reason = "whoever reads the test's output must see that it did not run")]
    {
        eprintln!("skipped: no recorded data; set WAYSTATION_RECORDED to the folder that holds {folder}");
    }
    None
}
