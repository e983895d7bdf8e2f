//! The chain's parent, as runs of the catalog ask it.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::chain::error::Error;
use crate::chain::node::Chain;
use crate::model::report::{Finding, Verdict};
use crate::store::catalog::Applied;
use crate::sync::{Above, Awaited, Trouble};

/// The parent of a chain.
#[derive(Clone, Debug)]
pub(crate) struct Parent(pub(crate) Chain);

fn trouble(error: Error) -> Trouble {
    match error {
        Error::Stopped => Trouble::Stopped,
        Error::Store(error) => Trouble::Store(error),
        other => Trouble::Parent(other.to_string()),
    }
}

impl Above for Parent {
    fn due(&self) -> watch::Receiver<u64> {
        self.0.due()
    }

    fn ask(&self) -> Awaited<'_, Result<(), Trouble>> {
        Box::pin(async { self.0.ask_now().await.map_err(trouble) })
    }

    fn take_in<'a>(
        &'a self,
        run: u64,
        cancel: &'a CancellationToken,
        each: &'a mut (dyn FnMut(Applied) + Send),
    ) -> Awaited<'a, Result<(), Trouble>> {
        Box::pin(async move { self.0.tell_in(run, cancel, each).await.map_err(trouble) })
    }

    fn doctor(&self) -> Awaited<'_, Vec<Finding>> {
        Box::pin(async {
            let subject = self.0.above().await.unwrap_or_else(|| "the parent".to_owned());
            let seen = self.0.seen();
            let alarm = seen.alarms.first().map(|(node, alarm, _)| format!("{node}: {alarm}"));
            let (verdict, told, advice) = match (seen.trouble.or(alarm), seen.position) {
                (Some(why), _) => (Verdict::Bad, why, "`waystation nodes show` has how it stands"),
                (None, Some(at)) => (Verdict::Good, format!("its feed is verified up to {at}"), ""),
                (None, None) => {
                    (Verdict::Bad, "nothing of its feed was verified yet".to_owned(), "wait for its first answer")
                }
            };
            vec![Finding { subject, check: "parent".into(), verdict, seen: told, advice: advice.into() }]
        })
    }
}
