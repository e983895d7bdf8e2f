//! Looking without touching: for those who want to know of an object and not to have it. Nothing counts as a use or a
//! demand, nothing is opened, nothing begins.

use std::sync::Arc;

use crate::base::span::SpanSet;
use crate::model::name::Name;
use crate::model::payload::{Alias, Payload};
use crate::store::Store;
use crate::store::core::Core;
use crate::store::drafts::DraftSpec;
use crate::store::entries;
use crate::store::error::Error;
use crate::store::filling::spec_of;
use crate::store::tables::name_key;

impl Store {
    /// What [`Store::find`] would find under `name`.
    pub async fn peek(&self, name: &Name) -> Result<Option<(Payload, Alias)>, Error> {
        let (core, name) = (Arc::clone(&self.core), name.clone());
        self.core.reads.run(move || core.peek(&name)).await?
    }

    /// The draft under `name`: what it is for, and which bytes of it are in.
    pub async fn peek_draft(&self, name: &Name) -> Result<Option<(DraftSpec, SpanSet)>, Error> {
        let (core, name) = (Arc::clone(&self.core), name.clone());
        self.core.reads.run(move || core.peek_draft(&name)).await?
    }
}

impl Core {
    /// Whether there is anything under `name`.
    pub(super) fn is_there(&self, name: &Name) -> Result<bool, Error> {
        Ok(self.peek(name)?.is_some())
    }

    fn peek(&self, name: &Name) -> Result<Option<(Payload, Alias)>, Error> {
        let key = name_key(name);
        let Some((blake3, row, alias)) =
            self.index.look_up(|names| entries::look_up_in(&names.aliases, &names.payloads, &key))?
        else {
            return Ok(None);
        };
        let now = self.clock.now();
        let over = row.expires_at.is_some_and(|end| end <= now.ms());
        let there = !over && !self.withheld.has(&blake3);
        Ok(there.then(|| (row.payload(blake3.as_bytes()), alias.alias())))
    }

    fn peek_draft(&self, name: &Name) -> Result<Option<(DraftSpec, SpanSet)>, Error> {
        let Some((id, open)) = self.book.find(name) else {
            return Ok(None);
        };
        if let Some(open) = open {
            return Ok(Some((open.spec(), open.file.covered())));
        }
        let rows = self.draft_rows(id)?;
        Ok(rows.map(|(row, pieces)| (spec_of(name.clone(), &row), pieces.spans())))
    }
}
