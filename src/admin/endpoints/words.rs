//! What is known of an endpoint in the words of the API. Pure.

use crate::admin::view::Time;
use crate::admin::view::endpoints as view;
use crate::fleet::roster::{self, Roster};
use crate::model::windows::Role;
use crate::store::fleet::{Admitted, Contact, Contest, Event, EventKind, Row};

/// As lists show it.
pub(super) fn short(roster: &Roster, row: &Row) -> view::Endpoint {
    let (told, contacts) = (&row.record.registration, &row.contacts);
    let last = |contact| contacts.last(contact).map(Time);
    view::Endpoint {
        id: told.endpoint.0.to_string(),
        name: told.name.clone(),
        os: roster::windows(&told.os).to_string(),
        version: roster::version(&told.os),
        server: Role::of(told.os.product).map(Role::is_server),
        maker: told.maker.clone(),
        model: told.model.clone(),
        architecture: told.architecture.clone(),
        agent: told.client_version.clone(),
        targets: told.targets.clone(),
        address: roster::last_address(&row.record, contacts).to_string(),
        roaming: roster.is_roaming(row),
        state: match row.record.admitted {
            Admitted::Accepted => "admitted".to_owned(),
            Admitted::Held => "held".to_owned(),
        },
        contests: row.record.contests.len() as u64,
        clones: roster::is_cloned(&row.record),
        first: Time(row.record.first),
        last: Time(roster::last_heard(&row.record, contacts)),
        last_scan: last(Contact::Scan),
        last_report: last(Contact::Report),
    }
}

/// With all that is known.
pub(super) fn whole(roster: &Roster, row: &Row, history: Vec<Event>) -> view::Whole {
    let told = &row.record.registration;
    view::Whole {
        short: short(roster, row),
        firmware: [told.bios.name.clone(), told.bios.version.clone(), told.bios.date.clone()],
        registered: Time(row.contacts.last(Contact::Registration).unwrap_or_default().max(told.at)),
        last_files: row.contacts.last(Contact::Content).map(Time),
        contested_by: row.record.contests.iter().map(contest).collect(),
        history: history.into_iter().map(event).collect(),
        says_it_has: None,
    }
}

fn contest(contest: &Contest) -> view::Contest {
    view::Contest {
        name: contest.name.clone(),
        maker: contest.maker.clone(),
        model: contest.model.clone(),
        address: contest.address.to_string(),
        first: Time(contest.first),
        last: Time(contest.last),
        times: contest.times,
        clone: contest.is_clone,
    }
}

fn event(event: Event) -> view::Event {
    let kind = match event.kind {
        EventKind::First => "first-seen",
        EventKind::Address => "address",
        EventKind::Changed => "changed",
        EventKind::Contested => "contested",
        EventKind::Admitted => "admitted",
        EventKind::Bound => "bound",
    };
    view::Event { at: Time(event.at), kind: kind.to_owned(), text: event.text }
}
