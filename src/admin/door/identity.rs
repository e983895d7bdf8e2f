//! Somebody who came in, and what they may do.

use crate::model::access::{Area, Grants, Reach, Role};
use crate::store::accounts::Handle;

/// How somebody came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Over the socket: a user of the machine who may do everything.
    Socket,
    /// From this machine over TCP while there is no account: looks at what it could look at before there was sign-in.
    Local,
    /// By password.
    Session,
    /// By token.
    Token,
    /// Not at all.
    Nobody,
}

/// Somebody who came in.
#[derive(Clone, Debug)]
pub struct Identity {
    /// How.
    pub via: Via,
    /// As the log and the records call them.
    pub name: String,
    /// The account, where there is one.
    pub account: Option<String>,
    /// How much they may do; of somebody who did not come in at all this counts for nothing.
    pub role: Role,
    /// For which endpoints.
    pub reach: Reach,
    /// In which areas, where it is a token.
    pub grants: Option<Grants>,
    /// The password was given a short while ago, or need not be.
    pub is_proved: bool,
    /// The session.
    pub session: Option<Handle>,
    /// What a form must carry, where a browser came in.
    pub csrf: Option<String>,
}

impl Identity {
    fn new(via: Via, name: String, role: Role) -> Self {
        Self {
            via,
            name,
            account: None,
            role,
            reach: Reach::Everywhere,
            grants: None,
            is_proved: via == Via::Socket,
            session: None,
            csrf: None,
        }
    }

    /// A user of the machine, over the socket.
    pub fn socket(name: String) -> Self {
        Self::new(Via::Socket, name, Role::Administrator)
    }

    /// Somebody of this machine, while there is no account.
    pub fn local(name: String) -> Self {
        Self::new(Via::Local, name, Role::Auditor)
    }

    /// Somebody who did not come in.
    pub fn nobody(name: String) -> Self {
        Self::new(Via::Nobody, name, Role::Auditor)
    }

    /// By an account, with a session or a token.
    pub(super) fn of(via: Via, name: String, account: String, role: Role, reach: Reach) -> Self {
        Self { account: Some(account), reach, ..Self::new(via, name, role) }
    }

    /// Whether they came in.
    pub fn is_in(&self) -> bool {
        self.via != Via::Nobody
    }

    /// Whether role and grants allow this.
    pub fn may(&self, role: Role, area: Area, write: bool) -> bool {
        self.is_in()
            && self.role >= role
            && (self.via != Via::Local || !write)
            && self.grants.as_ref().is_none_or(|grants| grants.allow(area, write))
    }
}
