//! Who may do what: every route with the role that it needs, the area that a token must name, how it minds the groups that somebody is bound to, whether the
//! password is asked for again, and where it is looked up what the change changed. All of it is in this one table; the guard lets nothing through that is not in it,
//! and a test walks it with every role.

use serde_json::Value;

use crate::model::access::{Area, Role};

/// Who may come in at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Anybody: says nothing of the site, or is the way in.
    Anybody,
    /// Somebody on this machine, or whoever signed in.
    Local,
    /// At least this role.
    Role(Role),
}

/// How a route minds the groups that somebody is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// What it shows or changes is of no group.
    None,
    /// It shows and changes what is within them alone.
    Within,
    /// It is for those who reach everything.
    Everywhere,
}

/// Whether the password is asked for again.
#[derive(Clone, Copy, Debug)]
pub enum Prove {
    /// No.
    Never,
    /// Yes.
    Always,
    /// Where this says so of what is asked for.
    Where(fn(&Value) -> bool),
}

/// Where it is looked up what a change changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nowhere: what was asked for says it.
    Nowhere,
    /// At this address, with the segments of the path that was asked for.
    At(&'static str),
    /// At this address, with each of the texts in this field of what was asked for behind it.
    Each(&'static str, &'static str),
}

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Right {
    /// The method; GET stands for HEAD too.
    pub method: &'static str,
    /// The route, as the router has it.
    pub path: &'static str,
    /// See [`Need`].
    pub need: Need,
    /// What a token must name.
    pub area: Area,
    /// See [`Bound`].
    pub bound: Bound,
    /// See [`Prove`].
    pub prove: Prove,
    /// See [`Look`].
    pub look: Look,
}

impl Right {
    const fn new(method: &'static str, path: &'static str, need: Need, area: Area) -> Self {
        Self { method, path, need, area, bound: Bound::Everywhere, prove: Prove::Never, look: Look::Nowhere }
    }

    const fn bound(self, bound: Bound) -> Self {
        Self { bound, ..self }
    }

    const fn prove(self, prove: Prove) -> Self {
        Self { prove, ..self }
    }

    const fn look(self, look: Look) -> Self {
        Self { look, ..self }
    }

    /// Whether it changes anything.
    pub fn writes(&self) -> bool {
        self.method != "GET"
    }

    /// Whether it decides what is done on endpoints, or in which groups they are: in a replica the authority does.
    pub fn decides(&self) -> bool {
        let is_of_groups =
            ["/api/v1/groups", "/api/v1/compliance/policies"].iter().any(|path| self.path.starts_with(path));
        self.writes() && (self.area == Area::Approvals || is_of_groups)
    }
}

/// Anybody may ask.
const fn open(method: &'static str, path: &'static str) -> Right {
    Right::new(method, path, Need::Anybody, Area::Status).bound(Bound::None)
}

/// Whoever may look may ask.
const fn read(path: &'static str, area: Area) -> Right {
    Right::new("GET", path, Need::Role(Role::Auditor), area)
}

/// Of no group.
const fn read_all(path: &'static str, area: Area) -> Right {
    read(path, area).bound(Bound::None)
}

/// Of what is within the groups of whoever asks.
const fn read_within(path: &'static str, area: Area) -> Right {
    read(path, area).bound(Bound::Within)
}

/// Daily work.
const fn work(path: &'static str, area: Area) -> Right {
    Right::new("POST", path, Need::Role(Role::Operator), area)
}

/// What an administrator alone may do.
const fn rule(method: &'static str, path: &'static str, area: Area) -> Right {
    Right::new(method, path, Need::Role(Role::Administrator), area)
}

const fn unwork(path: &'static str, area: Area) -> Right {
    Right::new("DELETE", path, Need::Role(Role::Operator), area)
}

/// Updates beyond which an approval is taken for one of everything.
const MANY: usize = 50;

fn many(asked: &Value) -> bool {
    asked.get("updates").and_then(Value::as_array).is_some_and(|updates| updates.len() > MANY)
}

fn many_or_uninstall(asked: &Value) -> bool {
    let is =
        |name: &str, wanted: &str| asked.get(name).and_then(Value::as_str).is_some_and(|text| text.trim() == wanted);
    many(asked) || is("action", "uninstall")
}

const EACH: Look = Look::Each("/api/v1/approvals?limit=50&update=", "updates");
const FILTERS: Look = Look::At("/api/v1/filters");
const UPSTREAM: Look = Look::At("/api/v1/upstream");
const BANDWIDTH: Look = Look::At("/api/v1/bandwidth");
const RULE: Look = Look::At("/api/v1/rules/{name}");
const POLICY: Look = Look::At("/api/v1/compliance/policies/{group}");
const CONTENT: Look = Look::At("/api/v1/content/{name}");
const ENDPOINTS: Look = Look::Each("/api/v1/endpoints/", "endpoints");
const GROUPS: Look = Look::At("/api/v1/groups");
const NODES: Look = Look::At("/api/v1/nodes");
const ACCOUNT: Look = Look::At("/api/v1/accounts/{name}");

/// The table.
pub const RIGHTS: &[Right] = &[
    open("GET", "/healthz"),
    open("GET", "/readyz"),
    Right::new("GET", "/metrics", Need::Local, Area::Status).bound(Bound::None),
    Right::new("GET", "/api/v1/status", Need::Local, Area::Status).bound(Bound::None),
    // The way in, and out.
    open("GET", "/"),
    open("POST", "/api/v1/setup"),
    open("POST", "/api/v1/session"),
    read_all("/api/v1/session", Area::Status),
    Right::new("DELETE", "/api/v1/session", Need::Role(Role::Auditor), Area::Accounts).bound(Bound::None),
    Right::new("POST", "/api/v1/session/confirm", Need::Role(Role::Auditor), Area::Accounts).bound(Bound::None),
    Right::new("POST", "/api/v1/session/password", Need::Role(Role::Auditor), Area::Accounts).bound(Bound::None),
    open("GET", "/assets/{name}"),
    open("GET", "/sign-in"),
    open("POST", "/sign-in"),
    open("GET", "/sign-in/oidc"),
    open("GET", "/sign-in/oidc/back"),
    open("GET", "/set-up"),
    open("POST", "/set-up"),
    read_all("/confirm", Area::Status),
    Right::new("POST", "/confirm", Need::Role(Role::Auditor), Area::Accounts).bound(Bound::None),
    Right::new("POST", "/sign-out", Need::Role(Role::Auditor), Area::Accounts).bound(Bound::None),
    read_within("/dashboard", Area::Endpoints),
    read_within("/missing", Area::Endpoints),
    read_within("/updates/{name}", Area::Endpoints),
    work("/updates/{name}/approve", Area::Approvals)
        .bound(Bound::Within)
        .prove(Prove::Where(many_or_uninstall))
        .look(Look::At("/api/v1/approvals?limit=50&update={name}")),
    read_within("/endpoints", Area::Endpoints),
    read_within("/endpoints/{name}", Area::Endpoints),
    read_all("/sync", Area::Catalog),
    work("/sync/start", Area::Catalog),
    work("/sync/stop", Area::Catalog),
    rule("POST", "/sync/test", Area::Settings),
    rule("POST", "/sync/upstream", Area::Settings).prove(Prove::Always).look(UPSTREAM),
    rule("POST", "/sync/filters", Area::Catalog).look(FILTERS),
    rule("POST", "/sync/filters/reset", Area::Catalog).look(FILTERS),
    read("/nodes", Area::Nodes),
    rule("POST", "/nodes/invite", Area::Nodes).look(NODES),
    rule("POST", "/nodes/{name}/approve", Area::Nodes).look(NODES),
    rule("POST", "/nodes/{name}/revoke", Area::Nodes).look(NODES),
    // Accounts, tokens, the log.
    rule("GET", "/api/v1/accounts", Area::Accounts),
    rule("GET", "/api/v1/accounts/{name}", Area::Accounts),
    rule("POST", "/api/v1/accounts", Area::Accounts).prove(Prove::Always),
    rule("POST", "/api/v1/accounts/{name}", Area::Accounts).prove(Prove::Always).look(ACCOUNT),
    rule("DELETE", "/api/v1/accounts/{name}", Area::Accounts).prove(Prove::Always).look(ACCOUNT),
    rule("POST", "/api/v1/setup-code", Area::Accounts),
    read_all("/api/v1/tokens", Area::Accounts),
    Right::new("POST", "/api/v1/tokens", Need::Role(Role::Auditor), Area::Accounts)
        .bound(Bound::None)
        .prove(Prove::Always),
    Right::new("DELETE", "/api/v1/tokens/{id}", Need::Role(Role::Auditor), Area::Accounts)
        .bound(Bound::None)
        .look(Look::At("/api/v1/tokens")),
    read("/api/v1/audit", Area::Audit),
    read("/api/v1/audit/check", Area::Audit),
    // Content and jobs.
    read_all("/api/v1/flights", Area::Content),
    read_all("/api/v1/content", Area::Content),
    read_all("/api/v1/content/{name}", Area::Content),
    unwork("/api/v1/content/{name}", Area::Content).look(CONTENT),
    work("/api/v1/content/{name}/pin", Area::Content).look(CONTENT),
    work("/api/v1/content/{name}/unpin", Area::Content).look(CONTENT),
    work("/api/v1/content/{name}/unbind", Area::Content).look(CONTENT),
    // It reads any file that the node's user can read.
    rule("POST", "/api/v1/content/import", Area::Content),
    read_all("/api/v1/quarantine", Area::Content),
    unwork("/api/v1/quarantine", Area::Content).look(Look::At("/api/v1/quarantine")),
    work("/api/v1/fetch", Area::Content),
    work("/api/v1/store/verify", Area::Content),
    // It writes a file with everything in it, wherever the node's user can.
    rule("POST", "/api/v1/store/backup", Area::Settings),
    read_all("/api/v1/jobs", Area::Status),
    read_all("/api/v1/jobs/{id}", Area::Status),
    work("/api/v1/jobs/{id}/stop", Area::Status),
    read_all("/api/v1/explain", Area::Status),
    read_all("/api/v1/doctor", Area::Status),
    // The catalog.
    read_all("/api/v1/sync", Area::Catalog),
    read_all("/api/v1/sync/history", Area::Catalog),
    work("/api/v1/sync/start", Area::Catalog),
    work("/api/v1/sync/stop", Area::Catalog),
    work("/api/v1/sync/crosscheck", Area::Catalog),
    work("/api/v1/sync/retry", Area::Catalog),
    work("/api/v1/sync/webhook/test", Area::Catalog),
    read_all("/api/v1/updates", Area::Catalog),
    read_all("/api/v1/updates/refused", Area::Catalog),
    read_all("/api/v1/updates/{name}", Area::Catalog),
    read_all("/api/v1/filters", Area::Catalog),
    read_all("/api/v1/filters/available", Area::Catalog),
    rule("POST", "/api/v1/filters/{key}", Area::Catalog).look(FILTERS),
    rule("DELETE", "/api/v1/filters/{key}", Area::Catalog).look(FILTERS),
    rule("DELETE", "/api/v1/filters", Area::Catalog).look(FILTERS),
    read_all("/api/v1/plan", Area::Content),
    work("/api/v1/plan/confirm", Area::Content).prove(Prove::Always),
    read_all("/api/v1/prefetch", Area::Content),
    work("/api/v1/prefetch/start", Area::Content),
    read_all("/api/v1/prefetch/detected", Area::Content),
    work("/api/v1/prefetch/confirm", Area::Content),
    work("/api/v1/prefetch/stop", Area::Content),
    // What is approved for whom.
    work("/api/v1/updates/approve", Area::Approvals).prove(Prove::Where(many)).look(EACH),
    work("/api/v1/updates/decline", Area::Approvals).prove(Prove::Where(many)).look(EACH),
    work("/api/v1/updates/reset", Area::Approvals).prove(Prove::Where(many)).look(EACH),
    read("/api/v1/approvals", Area::Approvals),
    work("/api/v1/approvals", Area::Approvals).bound(Bound::Within).prove(Prove::Where(many_or_uninstall)).look(EACH),
    work("/api/v1/approvals/withdraw", Area::Approvals).bound(Bound::Within).look(EACH),
    work("/api/v1/approvals/review", Area::Approvals).look(EACH),
    read("/api/v1/licences", Area::Approvals),
    work("/api/v1/licences/accept", Area::Approvals),
    read("/api/v1/rules", Area::Approvals),
    work("/api/v1/rules", Area::Approvals).prove(Prove::Always),
    read("/api/v1/rules/{name}", Area::Approvals),
    work("/api/v1/rules/{name}", Area::Approvals).prove(Prove::Always).look(RULE),
    unwork("/api/v1/rules/{name}", Area::Approvals).look(RULE),
    work("/api/v1/rules/{name}/resume", Area::Approvals).look(RULE),
    work("/api/v1/rule-runs", Area::Approvals),
    read("/api/v1/rule-preview", Area::Approvals),
    read("/api/v1/rule-history", Area::Approvals),
    read_all("/api/v1/rule-ready-made", Area::Approvals),
    // Endpoints and their groups.
    read_within("/api/v1/endpoints", Area::Endpoints),
    read_within("/api/v1/endpoints/{name}", Area::Endpoints),
    work("/api/v1/endpoints/admit", Area::Endpoints).look(ENDPOINTS),
    work("/api/v1/endpoints/bind", Area::Endpoints),
    work("/api/v1/endpoints/forget", Area::Endpoints).look(ENDPOINTS),
    read_within("/api/v1/groups", Area::Endpoints),
    work("/api/v1/groups", Area::Endpoints).bound(Bound::Within),
    work("/api/v1/groups/place", Area::Endpoints).bound(Bound::Within).look(ENDPOINTS),
    work("/api/v1/groups/{name}", Area::Endpoints).look(GROUPS),
    unwork("/api/v1/groups/{name}", Area::Endpoints).look(GROUPS),
    read_within("/api/v1/compliance", Area::Endpoints),
    read_within("/api/v1/compliance/endpoints", Area::Endpoints),
    read_within("/api/v1/compliance/endpoints/{name}", Area::Endpoints),
    read_within("/api/v1/compliance/updates", Area::Endpoints),
    read_within("/api/v1/compliance/missing", Area::Endpoints),
    read("/api/v1/compliance/policies", Area::Endpoints),
    read("/api/v1/compliance/policies/{group}", Area::Endpoints),
    work("/api/v1/compliance/policies/{group}", Area::Endpoints).look(POLICY),
    unwork("/api/v1/compliance/policies/{group}", Area::Endpoints).look(POLICY),
    // Nodes, and the node itself.
    read("/api/v1/nodes", Area::Nodes),
    rule("POST", "/api/v1/nodes/invite", Area::Nodes).look(NODES),
    rule("POST", "/api/v1/nodes/join", Area::Nodes).prove(Prove::Always).look(NODES),
    rule("POST", "/api/v1/nodes/rootkey", Area::Nodes).prove(Prove::Always),
    rule("POST", "/api/v1/nodes/epoch", Area::Nodes).prove(Prove::Always).look(NODES),
    rule("POST", "/api/v1/nodes/feedkey", Area::Nodes).prove(Prove::Always).look(NODES),
    rule("POST", "/api/v1/nodes/leave", Area::Nodes).prove(Prove::Always).look(NODES),
    read("/api/v1/nodes/{name}", Area::Nodes),
    rule("DELETE", "/api/v1/nodes/{name}", Area::Nodes).look(NODES),
    rule("POST", "/api/v1/nodes/{name}/config", Area::Nodes)
        .prove(Prove::Always)
        .look(Look::At("/api/v1/nodes/{name}")),
    rule("POST", "/api/v1/nodes/{name}/orders", Area::Nodes)
        .prove(Prove::Always)
        .look(Look::At("/api/v1/nodes/{name}")),
    read("/api/v1/nodes/{name}/endpoints", Area::Nodes),
    read("/api/v1/compliance/nodes", Area::Nodes),
    rule("POST", "/api/v1/nodes/{name}/approve", Area::Nodes).look(NODES),
    rule("POST", "/api/v1/nodes/{name}/revoke", Area::Nodes).look(NODES),
    rule("POST", "/api/v1/tls/reload", Area::Settings),
    read_all("/api/v1/downstream", Area::Nodes),
    rule("DELETE", "/api/v1/downstream/{server}", Area::Nodes).look(Look::At("/api/v1/downstream")),
    read_all("/api/v1/upstream", Area::Settings),
    rule("POST", "/api/v1/upstream", Area::Settings).prove(Prove::Always).look(UPSTREAM),
    rule("DELETE", "/api/v1/upstream", Area::Settings).prove(Prove::Always).look(UPSTREAM),
    rule("POST", "/api/v1/upstream/test", Area::Settings),
    read_all("/api/v1/bandwidth", Area::Settings),
    rule("POST", "/api/v1/bandwidth/{key}", Area::Settings).look(BANDWIDTH),
    rule("DELETE", "/api/v1/bandwidth/{key}", Area::Settings).look(BANDWIDTH),
    read("/api/v1/settings", Area::Settings),
];

/// What is needed for a route; `None` where it is not in the table.
pub fn of(method: &str, path: &str) -> Option<&'static Right> {
    let method = if method == "HEAD" { "GET" } else { method };
    RIGHTS.iter().find(|right| right.path == path && right.method == method)
}

/// Whether the route is there with any method.
pub fn is_known(path: &str) -> bool {
    RIGHTS.iter().any(|right| right.path == path)
}
