//! Small documents of other rooms: settings layers, counters. The store keeps bytes under a key and asks nothing.

use redb::{ReadTransaction, WriteTransaction};

use crate::store::error::Error;
use crate::store::tables::DOCUMENTS;

/// A document is read and written whole: what is larger belongs into a table of its own.
const BYTES_MAX: usize = 4 << 20;
/// Keys are words and paths.
const KEY_MAX: usize = 1024;
/// Documents that one call returns, and their bytes: it is answered out of memory, and a prefix that somebody filled must
/// not take all of it. A part of them would be a wrong answer: there is none then.
const MANY_MAX: usize = 10_000;
const ANSWER_MAX: usize = 64 << 20;

pub(crate) fn check(key: &str, value: Option<&[u8]>) -> Result<(), Error> {
    let len = value.map_or(0, <[u8]>::len);
    if key.len() > KEY_MAX || len > BYTES_MAX {
        let what = format!("a document of {len} bytes under a key of {}: at most {BYTES_MAX} and {KEY_MAX}", key.len());
        return Err(Error::Invalid { what });
    }
    Ok(())
}

pub(crate) fn put(tx: &WriteTransaction, key: &str, value: Option<&[u8]>) -> Result<(), Error> {
    let mut table = tx.open_table(DOCUMENTS)?;
    match value {
        Some(value) => table.insert(key, value)?,
        None => table.remove(key)?,
    };
    Ok(())
}

pub(crate) fn get(tx: &ReadTransaction, key: &str) -> Result<Option<Vec<u8>>, Error> {
    Ok(tx.open_table(DOCUMENTS)?.get(key)?.map(|value| value.value().to_vec()))
}

pub(crate) fn starting_with(tx: &ReadTransaction, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let table = tx.open_table(DOCUMENTS)?;
    let mut found = Vec::new();
    let mut bytes: usize = 0;
    for row in table.range(prefix..)? {
        let (key, value) = row?;
        if !key.value().starts_with(prefix) {
            break;
        }
        bytes = bytes.saturating_add(key.value().len()).saturating_add(value.value().len());
        if found.len() == MANY_MAX || bytes > ANSWER_MAX {
            let what = format!(
                "the documents that begin with {prefix:?} are more than {MANY_MAX}, or more than {ANSWER_MAX} bytes: ask \
                 with a longer beginning"
            );
            return Err(Error::Invalid { what });
        }
        found.push((key.value().to_owned(), value.value().to_vec()));
    }
    Ok(found)
}
