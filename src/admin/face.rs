//! The way in over TCP: the control plane as a handler of the network's connections.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tower::ServiceExt;

use crate::admin::{Access, Caller, Handles, router};
use crate::net::{Body, Handler, Peer};

/// The control plane behind a listener.
#[derive(Debug)]
pub struct Face {
    router: Router,
}

impl Face {
    /// Behind the TCP listener: for who signs in.
    pub fn new(handles: Handles) -> Self {
        Self { router: router::router(handles, Access::ReadOnly) }
    }
}

impl Handler for Face {
    fn handle(
        self: Arc<Self>,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(async move {
            let mut request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(Caller(peer.remote.to_string()));
            let response = match self.router.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let (parts, body) = response.into_parts();
            // Every answer of this plane is bounded (pages, a hundred jobs) and made in memory already, so that this
            // copies nothing but joins what is there; it can only fail where a handler broke off.
            let body = match body.collect().await {
                Ok(whole) => Body::full(whole.to_bytes()),
                Err(error) => {
                    tracing::error!(%error, "a control answer broke off");
                    Body::empty()
                }
            };
            Response::from_parts(parts, body)
        })
    }
}
