//! `/api/v1/tls/reload`: the verbs write certificates beside the running node, and tell it here that it may look.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use crate::admin::error::Problem;
use crate::admin::{Handles, view};
use crate::net;

/// `POST /api/v1/tls/reload`: answers when the look is over. What cannot be used changes nothing.
pub async fn reload(State(handles): State<Arc<Handles>>) -> Result<Json<view::Reloaded>, Problem> {
    let Some(tls) = handles.tls.clone() else {
        let next = "set listen.https, such as \"0.0.0.0:6201\", and start it again";
        return Err(Problem::new(StatusCode::CONFLICT, "the node listens nowhere for HTTPS", next));
    };
    let looked = tokio::task::spawn_blocking(move || -> Result<view::Reloaded, net::Error> {
        let changed = tls.reload_anyway()?;
        Ok(view::Reloaded { changed, served: tls.show()?.into_iter().map(|shown| shown.fingerprint).collect() })
    });
    match looked.await {
        Ok(Ok(reloaded)) => {
            if reloaded.changed {
                tracing::info!("certificate loaded");
            }
            Ok(Json(reloaded))
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "the new certificate is not used, the old one stays");
            let title = format!("the old certificate is still served: {error}");
            Err(Problem::new(StatusCode::CONFLICT, title, "`waystation tls show` and the log say more"))
        }
        Err(error) => {
            let title = format!("the look at the certificate broke off: {error}");
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, title, "report it with the log of this node"))
        }
    }
}
