//! Telling a WSUS server above how this node and what is below it stand (MS-WSUSSS 3.2.4.5, steps 1 to 3).

use crate::upstream::wsus::Core;
use crate::upstream::wsus::ask::whole;
use crate::upstream::wsus::error::Error;
use crate::upstream::wsus::patience::Tries;
use crate::wire::wsusss::rollup::{
    GetRollupConfiguration, RollupConfiguration, RollupDownstreamServers, Server, reserved,
};
use crate::wire::wsusss::values::Time;
use crate::wire::wsusss::{Answer, Call};

/// Attempts at each message: the next run tells it again.
const ATTEMPTS_MAX: u32 = 2;

/// Summaries of computers in a request, whatever the server allows: at some 700 bytes each they stay below a megabyte.
const BATCH_MAX: usize = 1000;

async fn ask<C: Call + 'static>(core: &Core, call: &C) -> Result<C::Answer, Error>
where
    C::Answer: Send + 'static,
{
    let mut tries = Tries::new(core, C::METHOD).answers_max(ATTEMPTS_MAX);
    loop {
        match whole(core, &core.reporting_url, call).await {
            Ok(Answer::Done(answer)) => return Ok(answer),
            Ok(Answer::Fault(fault)) => return Err(tries.refused(fault.to_string())),
            Err(trouble) => tries.failed(trouble).await?,
        }
    }
}

/// See [`crate::upstream::wsus::Wsus::roll_up`].
pub(super) async fn roll_up(core: &Core, now: Time, servers: Vec<Server>) -> Result<RollupConfiguration, Error> {
    let wanted = ask(core, &GetRollupConfiguration { cookie: Some(reserved()) }).await?;
    let most = usize::try_from(wanted.servers_max).unwrap_or(BATCH_MAX).clamp(1, BATCH_MAX);
    for batch in batches(servers, most) {
        let call = RollupDownstreamServers { cookie: Some(reserved()), time: now.clone(), servers: Some(batch) };
        ask(core, &call).await?;
    }
    Ok(wanted)
}

/// Servers in their order, in requests with at most so many summaries of computers; one with more comes in parts.
fn batches(servers: Vec<Server>, most: usize) -> Vec<Vec<Server>> {
    let mut batches = Vec::new();
    let (mut batch, mut room) = (Vec::new(), most);
    for mut server in servers {
        loop {
            let rest = server.computers.split_off(server.computers.len().min(room));
            room -= server.computers.len();
            let next = Server { computers: rest, ..server.clone() };
            batch.push(server);
            // A server without computers takes room too, since a request has an end.
            room =
                room.saturating_sub(usize::from(batch.last().is_some_and(|last: &Server| last.computers.is_empty())));
            if room == 0 {
                batches.push(std::mem::take(&mut batch));
                room = most;
            }
            if next.computers.is_empty() {
                break;
            }
            server = next;
        }
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Timestamp;
    use crate::model::update::UpdateId;
    use crate::wire::wsusss::rollup::Computers;

    fn server(at: u8, computers: i32) -> Server {
        let one = |count| Computers {
            os_major: 10,
            os_minor: 0,
            os_build: 26100,
            service_pack_major: 0,
            service_pack_minor: 0,
            locale: String::new(),
            suite: 0,
            old_product: 1,
            new_product: 0,
            metrics: 0,
            architecture: String::new(),
            count,
            activity: Vec::new(),
        };
        let time = Time::new(Timestamp::from_ms(1));
        Server {
            id: UpdateId::new([at; 16]),
            name: String::new(),
            last_sync: time.clone(),
            parent: UpdateId::new([0; 16]),
            version: String::new(),
            is_replica: false,
            last_rollup: time,
            summary: None,
            computers: (1..=computers).map(one).collect(),
        }
    }

    #[test]
    fn servers_keep_their_order_and_no_request_has_more_than_it_may() {
        for most in [1, 2, 3, 7, 100] {
            let batches = batches(vec![server(1, 5), server(2, 0), server(3, 0), server(4, 8)], most);
            let told: Vec<(u8, i32)> = batches
                .iter()
                .flatten()
                .flat_map(|server| server.computers.iter().map(|one| (server.id.bytes()[0], one.count)))
                .collect();
            let wanted: Vec<(u8, i32)> = (1..=5).map(|at| (1, at)).chain((1..=8).map(|at| (4, at))).collect();
            assert_eq!(told, wanted, "{most}");
            assert!(batches.iter().all(|batch| batch.iter().map(|one| one.computers.len()).sum::<usize>() <= most));
            let mut order: Vec<u8> = batches.iter().flatten().map(|server| server.id.bytes()[0]).collect();
            order.dedup();
            assert_eq!(order, [1, 2, 3, 4], "{most}");
        }
    }
}
