//! WSUS servers below, as they told of themselves: small documents, one each.

use std::sync::Arc;

use redb::ReadableTable;

use crate::model::downstream::{SERVERS_MAX, Server};
use crate::model::update::UpdateId;
use crate::store::Store;
use crate::store::documents;
use crate::store::error::Error;
use crate::store::tables::DOCUMENTS;
use crate::store::writer::Room;

/// What their keys begin with.
const PREFIX: &str = "downstream.server.";

fn key(id: UpdateId) -> String {
    format!("{PREFIX}{id}")
}

fn read(bytes: &[u8]) -> Result<Server, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Row { what: format!("a server below: {error}") })
}

fn write(server: &Server) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(server).map_err(|error| Error::Invalid { what: format!("a server below: {error}") })
}

impl Store {
    /// All of them, in the order of their ids.
    pub async fn downstream_servers(&self) -> Result<Vec<Server>, Error> {
        self.documents(PREFIX).await?.iter().map(|(_, bytes)| read(bytes)).collect()
    }

    /// Takes in what they told, one after the other; durable when it returns. `Invalid` where there would be more than [`SERVERS_MAX`].
    pub async fn add_downstream_servers(&self, parts: Vec<Server>) -> Result<(), Error> {
        let add = move |tx: &redb::WriteTransaction| {
            for part in &parts {
                let key = key(part.id);
                let table = tx.open_table(DOCUMENTS)?;
                let known = table.get(key.as_str())?.map(|bytes| read(bytes.value())).transpose()?;
                if known.is_none() {
                    let rows = table.range(PREFIX..)?.take(SERVERS_MAX);
                    let mut count = 0;
                    for row in rows {
                        count += usize::from(row?.0.value().starts_with(PREFIX));
                    }
                    if count >= SERVERS_MAX {
                        return Err(Error::Invalid { what: format!("more than {SERVERS_MAX} servers below") });
                    }
                }
                drop(table);
                let server = match known {
                    Some(mut known) => {
                        known.add(part.clone());
                        known
                    }
                    None => part.clone(),
                };
                documents::put(tx, &key, Some(&write(&server)?))?;
            }
            Ok(())
        };
        Arc::clone(&self.core).writer.change(Room::Adds, add).await
    }

    /// Forgets one; says whether it was known. It comes back when it tells of itself again.
    pub async fn forget_downstream_server(&self, id: UpdateId) -> Result<bool, Error> {
        let key = key(id);
        if self.document(&key).await?.is_none() {
            return Ok(false);
        }
        self.set_document(&key, None).await?;
        Ok(true)
    }
}
