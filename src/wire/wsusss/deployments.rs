//! `GetDeployments`: what a replica takes over besides metadata (MS-WSUSSS 3.1.4.10).

use crate::model::update::UpdateId;
use crate::wire::wsusss::authorize::Cookie;
use crate::wire::wsusss::call::call;
use crate::wire::wsusss::field::{Item, record};
use crate::wire::wsusss::method::Method;
use crate::wire::wsusss::values::Time;

record! {
    /// Asks for approvals.
    GetDeployments {
        /// Who asks.
        "cookie" cookie: Option<Cookie>,
        /// What the last answer gave; absent the first time.
        "deploymentAnchor" anchor: Option<String>,
        /// What the last list of revisions gave; mandatory.
        "syncAnchor" sync_anchor: Option<String>,
    }
}

record! {
    /// Approvals, and what goes with them.
    Deployments {
        /// What the next request gives.
        "Anchor" anchor: Option<String>,
        /// All groups: those that are not here are gone.
        "Groups" groups: Vec<Group>,
        /// Deployments made since the anchor.
        "Deployments" deployments: Vec<Deployment>,
        /// Deployments taken back since the anchor.
        "DeadDeployments" dead: Vec<UpdateId>,
        /// All updates that are declined.
        "HiddenUpdates" hidden: Vec<UpdateId>,
        /// All licences that are accepted.
        "AcceptedEulas" accepted_eulas: Vec<UpdateId>,
    }
}

record! {
    /// A group of computers.
    Group {
        /// Its id.
        "TargetGroupID" id: UpdateId,
        /// The one above it; none or zero at the top.
        "ParentGroupId" parent: Option<UpdateId>,
        /// Its name.
        "Name" name: String,
        /// Whether the server made it.
        "IsBuiltin" built_in: bool,
    }
}

impl Item for Group {
    const NAME: &'static str = "ServerSyncTargetGroup";
}

record! {
    /// What is to be done with a revision in a group.
    Deployment {
        /// Which update.
        "UpdateId" update: UpdateId,
        /// Which revision of it.
        "RevisionNumber" revision: u32,
        /// 0 install, 1 uninstall, 2 scan, 3 block.
        "Action" action: i32,
        /// Who said so.
        "AdminName" admin: String,
        /// Until when; [`Time::NEVER`] where nothing is said.
        "Deadline" deadline: Time,
        /// Not used: true.
        "IsAssigned" assigned: bool,
        /// From when on.
        "GoLiveTime" go_live: Time,
        /// Its id.
        "DeploymentGuid" id: UpdateId,
        /// For which group.
        "TargetGroupId" group: UpdateId,
        /// 1 to 3, 3 is the most urgent.
        "DownloadPriority" priority: u8,
    }
}

impl Item for Deployment {
    const NAME: &'static str = "ServerSyncDeployment";
}

call!(GetDeployments, Method::GetDeployments, Deployments);
