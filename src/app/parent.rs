//! The node above as a source of payloads: what the authority signed of files, and which of them break out at this site.

use std::sync::Arc;

use crate::app::config::keys::Typed;
use crate::base::digest::Sha1;
use crate::chain::files;
use crate::fill::{Parent, Signed};
use crate::model::filter::Selection;
use crate::store::Store;
use crate::store::catalog::FileDigest;

/// What `[upstream]` says of it.
pub(crate) fn parent(typed: &Typed, store: &Store) -> Parent {
    let upstream = &typed.upstream;
    let chosen = Selection {
        products: upstream.direct_products.0.clone(),
        classifications: upstream.direct_classifications.0.clone(),
        languages: Vec::new(),
    };
    let none = chosen.products.is_empty() && chosen.classifications.is_empty();
    let (chosen, at, among) = (Arc::new(chosen), store.clone(), store.clone());
    Parent {
        signed: Arc::new(move |sha1| {
            let store = at.clone();
            Box::pin(async move { signed(&store, sha1).await })
        }),
        breaks_out: Arc::new(move |sha1| {
            let (store, chosen) = (among.clone(), Arc::clone(&chosen));
            Box::pin(async move { !none && breaks_out(&store, sha1, &chosen).await })
        }),
        direct_hosts: upstream.direct_hosts.0.clone(),
        failover: upstream.failover.0,
    }
}

async fn signed(store: &Store, sha1: Sha1) -> Option<Signed> {
    match files::signed(store, sha1).await {
        Ok(file) => file.and_then(|file| Some(Signed { sha256: file.sha256, blake3: file.blake3?, size: file.size })),
        Err(error) => {
            tracing::debug!(%sha1, %error, "what the authority signed of a file cannot be looked up");
            None
        }
    }
}

/// Whether an update that has the file is of one of the chosen products or classifications.
async fn breaks_out(store: &Store, sha1: Sha1, chosen: &Selection) -> bool {
    let looked = async {
        let catalog = store.catalog();
        let known = catalog.files(FileDigest::Sha1(sha1)).await?;
        let users = known.into_iter().flat_map(|known| known.users).collect();
        let tree = catalog.tree().await?;
        let (filters, _) = chosen.in_force(&tree);
        let wanted = filters.wanted(&tree);
        let mut categories = catalog.summaries(users).await?.into_iter().flat_map(|short| short.categories);
        Ok::<_, crate::store::Error>(
            categories.any(|id| wanted.products.contains(&id) || wanted.classifications.contains(&id)),
        )
    };
    looked.await.unwrap_or_else(|error| {
        tracing::debug!(%sha1, %error, "which updates have a file cannot be looked up");
        false
    })
}
