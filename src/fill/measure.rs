//! How long an origin says that an object is, asked without fetching it.

use tokio::time::timeout;

use crate::fill::error::Error;
use crate::fill::inner::Inner;
use crate::fill::learn::{self, First, Learnt};
use crate::fill::locate::Target;

impl Inner {
    /// The length that the first place that answers tells; `None` where it answers without one. Keeps nothing.
    pub(super) async fn measure(&self, target: &Target) -> Result<Option<u64>, Error> {
        let mut last = Error::unavailable("no place is known that could be asked");
        for location in &target.locations {
            let asked = learn::ask(&*self.source, &self.gates, location, First::Head, None);
            match timeout(self.config.silence, asked).await {
                Ok(Learnt::Object(lesson)) => return Ok(Some(lesson.size)),
                Ok(Learnt::NoLength(_)) => return Ok(None),
                Ok(Learnt::Failed(error)) => last = Error::of_origin(&error),
                Err(_) => {
                    let silence = self.config.silence.as_secs();
                    last = Error::unavailable(format!("no answer within {silence} s"));
                }
            }
        }
        Err(last)
    }
}
