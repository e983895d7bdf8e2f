//! The sign-in service of `[admin] oidc_issuer`, as the control plane's door asks it.

use serde_json::{Map, Value};

use crate::admin::door::foreign::{Answer, Foreign, Way};
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::upstream::oidc::{self, Provider};

/// A provider behind the door.
#[derive(Clone, Debug)]
pub struct Elsewhere(pub Provider);

impl Foreign for Elsewhere {
    fn host(&self) -> &str {
        self.0.host()
    }

    fn address(&self, way: Way) -> Answer<'_, String> {
        Box::pin(async move {
            let asked = oidc::Way {
                redirect: &way.redirect,
                state: &way.state,
                nonce: &way.nonce,
                challenge: &way.challenge,
                anew: way.anew,
            };
            self.0.address(&asked).await.map_err(|error| error.to_string())
        })
    }

    fn claims(
        &self,
        code: String,
        verifier: Secret,
        redirect: String,
        now: Timestamp,
    ) -> Answer<'_, Map<String, Value>> {
        Box::pin(async move {
            let claims = self.0.claims(&code, verifier.expose(), &redirect, now).await;
            claims.map_err(|error| error.to_string())
        })
    }
}
