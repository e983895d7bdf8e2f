//! Patch servers: this node in its chain, the nodes below it, and tokens for more of them.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Deserialize;

use crate::admin::door::Identity;
use crate::admin::error::Problem;
use crate::admin::extract::{Given, Named};
use crate::admin::pages::draw;
use crate::admin::pages::fields::Fields;
use crate::admin::pages::{Frame, html, see_other, shown};
use crate::admin::view::nodes::{InviteRequest, Invited, Node, Nodes};
use crate::admin::{Caller, Handles, nodes};
use crate::model::access::{Area, Role};

/// Where this page is.
const HERE: &str = "/nodes";

#[derive(Template)]
#[template(path = "nodes.html", config = "src/admin/askama.toml")]
struct Page {
    frame: Frame,
    nodes: Nodes,
    sort: String,
    invited: Option<Invited>,
    may: bool,
    csrf: String,
}

impl Page {
    fn heard(node: &Node) -> String {
        draw::time(node.heard.as_ref())
    }

    /// How far a node stands below this one.
    fn depth(node: &Node) -> usize {
        node.path.len().max(1)
    }

    fn tag(node: &Node) -> &'static str {
        match (node.standing.as_str(), node.status.as_str()) {
            ("waiting", _) => "moderate",
            ("revoked" | "superseded", _) | (_, "invalid") => "critical",
            (_, "online") => "good",
            _ => "unspecified",
        }
    }

    /// As an address has it.
    fn name(node: &Node) -> String {
        url::form_urlencoded::byte_serialize(node.name.as_bytes()).collect::<String>().replace('+', "%20")
    }
}

async fn made(
    state: State<Arc<Handles>>,
    identity: Identity,
    uri: &Uri,
    invited: Option<Invited>,
) -> Result<Page, Problem> {
    let axum::Json(mut nodes) = nodes::list(state).await?;
    let sort = Fields::of(uri).get("sort").to_owned();
    match sort.as_str() {
        "name" => nodes.rows.sort_by_key(|node| node.name.to_lowercase()),
        "status" => nodes.rows.sort_by(|a, b| (&a.standing, &a.status).cmp(&(&b.standing, &b.status))),
        "heard" => nodes.rows.sort_by_key(|node| node.heard),
        // As it is: each below what it stands below.
        _ => {}
    }
    Ok(Page {
        frame: Frame::new("Patch servers", HERE, &identity),
        nodes,
        sort,
        invited,
        may: identity.may(Role::Administrator, Area::Nodes, true),
        csrf: identity.csrf.clone().unwrap_or_default(),
    })
}

fn page_of(made: Result<Page, Problem>) -> Response {
    match made {
        Ok(page) => html(StatusCode::OK, &page),
        Err(problem) => shown(true, problem),
    }
}

/// `GET /nodes`.
pub async fn page(state: State<Arc<Handles>>, identity: Identity, uri: Uri) -> Response {
    page_of(made(state, identity, &uri, None).await)
}

/// The form of an invitation.
#[derive(Deserialize)]
pub struct Invite {
    name: String,
    #[serde(default)]
    hours: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    approve: String,
}

/// `POST /nodes/invite`: the page with the token, which is shown this once.
pub async fn invite(
    state: State<Arc<Handles>>,
    caller: Caller,
    identity: Identity,
    uri: Uri,
    Form(form): Form<Invite>,
) -> Response {
    let hours = form.hours.trim();
    let ttl_s = match (hours.is_empty(), hours.parse::<u64>()) {
        (true, _) => None,
        (_, Ok(hours)) => Some(hours.saturating_mul(3600)),
        (_, Err(_)) => return shown(true, Problem::malformed(format!("{hours:?} is no number of hours"))),
    };
    let from = Some(form.from.trim().to_owned()).filter(|from| !from.is_empty());
    let asked = InviteRequest { name: form.name, ttl_s, from, approve: form.approve == "on" };
    match nodes::invite(state.clone(), caller, Given(asked)).await {
        Ok(axum::Json(invited)) => page_of(made(state, identity, &uri, Some(invited)).await),
        Err(problem) => shown(true, problem),
    }
}

/// `POST /nodes/{name}/approve`.
pub async fn approve(state: State<Arc<Handles>>, name: Named<String>, caller: Caller) -> Response {
    match nodes::approve(state, name, caller).await {
        Ok(_) => see_other(HERE),
        Err(problem) => shown(true, problem),
    }
}

/// `POST /nodes/{name}/revoke`.
pub async fn revoke(state: State<Arc<Handles>>, name: Named<String>, caller: Caller) -> Response {
    match nodes::revoke(state, name, caller).await {
        Ok(_) => see_other(HERE),
        Err(problem) => shown(true, problem),
    }
}
