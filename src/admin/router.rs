//! All routes of the control plane, at one glance.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use http::{HeaderMap, Method, StatusCode, Uri, header};

use crate::admin::error::Problem;
use crate::admin::{
    Access, BODY_BYTES_MAX, Handles, accounts, approvals, ask, audit, bandwidth, bind, compliance, content, downstream,
    drawn, endpoints, filters, groups, guard, health, metrics, nodes, pages, plan, quarantine, rules, status, subtree,
    sync, tls, updates, upstream, work,
};

/// Every address: method, path, and what it answers; for the reference.
pub const ADDRESSES: &[(&str, &str, &str)] = &[
    ("GET", "/", "this list; browsers are led to the console"),
    ("GET", "/healthz", "200 while the process answers at all"),
    ("GET", "/readyz", "200 while the node does its work, else 503"),
    ("GET", "/metrics", "metrics in the OpenMetrics text format"),
    ("GET", "/api/v1/status", "health, listeners, store, traffic, flights, origins, jobs"),
    ("GET", "/api/v1/flights", "what is being filled"),
    (
        "GET",
        "/api/v1/content",
        "payloads, by page: `after`, `limit`, `filter` (names, the catalog's names of files, digests), `class`, `pinned`",
    ),
    ("GET", "/api/v1/content/{name}", "one payload, by digest or percent-encoded address"),
    ("DELETE", "/api/v1/content/{name}", "removes a payload with all its names"),
    ("POST", "/api/v1/content/{name}/pin", "pins it"),
    ("POST", "/api/v1/content/{name}/unpin", "takes the pin away"),
    ("POST", "/api/v1/content/{name}/unbind", "takes back the digest that was bound to an address"),
    (
        "POST",
        "/api/v1/content/import",
        "starts a job: `{\"paths\": [..], \"move\": false, \"sha256\": \"..\", \"url\": \"..\"}`",
    ),
    ("GET", "/api/v1/quarantine", "what failed verification, with the reason"),
    ("DELETE", "/api/v1/quarantine", "throws all of it out"),
    (
        "POST",
        "/api/v1/fetch",
        "starts a job: `{\"items\": [{\"url\": \"..\", \"sha256\": \"..\"}], \"pin\": false, \"refresh\": false}`",
    ),
    ("POST", "/api/v1/store/verify", "starts a job: `{\"only\": \"..\", \"repair\": false, \"rate\": 1048576}`"),
    ("POST", "/api/v1/store/backup", "starts a job: `{\"to\": \"/absolute/path\"}`"),
    ("GET", "/api/v1/jobs", "the jobs that run, and the last hundred that ran"),
    ("GET", "/api/v1/jobs/{id}", "one job; with `wait=30` once it has ended, or after so many seconds"),
    ("POST", "/api/v1/jobs/{id}/stop", "stops a job"),
    ("GET", "/api/v1/sync", "how the catalog is synchronised: the run under way, the last one, the next one"),
    ("GET", "/api/v1/sync/history", "the runs, newest first, by page: `before`, `limit`"),
    ("POST", "/api/v1/sync/start", "starts a run as a job; with `lane=definitions` one of definition updates alone"),
    ("POST", "/api/v1/sync/stop", "stops the run, or the comparison, that is under way"),
    (
        "POST",
        "/api/v1/sync/crosscheck",
        "compares a catalog that came over plain HTTP with Microsoft's, as a job: what differs is refused",
    ),
    (
        "POST",
        "/api/v1/sync/retry",
        "has the next run ask for refused updates again: `{\"ids\": [..]}`, none for all that were not taken",
    ),
    ("POST", "/api/v1/sync/webhook/test", "tells the webhook that this is a test, and what it answered"),
    ("POST", "/api/v1/tls/reload", "looks at the certificate's files now, and answers what is served then"),
    ("GET", "/api/v1/explain", "what the node makes of the address in `url`"),
    ("GET", "/api/v1/doctor", "tests the way to the origins, or to those in `url`"),
    (
        "GET",
        "/api/v1/updates",
        "updates of the catalog, the newest first, by page: `after`, `limit` (at most 500), `text`, `kb`, `severity`, \
         `classification`, `product`, `state`, `decision`, `kind`, `from`, `until`, `hidden`",
    ),
    (
        "GET",
        "/api/v1/updates/refused",
        "refused updates, held or not, with the reason, by page: `after`, `limit` (at most 500)",
    ),
    (
        "GET",
        "/api/v1/updates/{name}",
        "one update with all that hangs on it, by id, `id/revision` (percent-encoded), KB or the digits of a KB",
    ),
    (
        "POST",
        "/api/v1/updates/approve",
        "approves updates for all endpoints: `{\"updates\": [\"KB5031234\"], \"why\": \"..\", \"all_files\": false}`",
    ),
    ("POST", "/api/v1/updates/decline", "declines them: `{\"updates\": [..], \"why\": \"..\"}`"),
    ("POST", "/api/v1/updates/reset", "takes such decisions back: `{\"updates\": [..]}`"),
    ("GET", "/api/v1/groups", "the groups of endpoints as a tree, with how many endpoints are in each"),
    (
        "POST",
        "/api/v1/groups",
        "a new group: `{\"name\": \"Pilot\", \"below\": \"Contoso/Berlin\", \"level\": \"group\", \"test\": false, \"review\": false, \"rules\": [\"subnet 10.1.0.0/16\", \"name kiosk-*\"]}`",
    ),
    (
        "POST",
        "/api/v1/groups/{name}",
        "changes a group, by name, path (percent-encoded) or id: what is given of the same",
    ),
    ("DELETE", "/api/v1/groups/{name}", "removes a group that has none below it, with what was approved for it"),
    (
        "POST",
        "/api/v1/groups/place",
        "puts endpoints into groups by hand: `{\"endpoints\": [\"pc7\"], \"groups\": [\"Pilot\"]}`; without groups back to where they are by themselves",
    ),
    (
        "GET",
        "/api/v1/approvals",
        "what was approved or declined for whom, by page: `after`, `limit` (at most 5,000), `update`, `group`, `endpoint`",
    ),
    (
        "POST",
        "/api/v1/approvals",
        "approves for groups or endpoints: `{\"updates\": [\"KB5031234\"], \"groups\": [\"Pilot\"], \"endpoints\": [], \"action\": \"install\", \"deadline\": \"2026-01-31T18:00:00Z\", \"why\": \"..\"}`; actions are `install`, `optional-install`, `uninstall`, `detect-only`, `not-approved`",
    ),
    (
        "POST",
        "/api/v1/approvals/withdraw",
        "withdraws that, so that what is above counts again: `{\"updates\": [..], \"groups\": [..], \"endpoints\": [..]}`, or `\"everywhere\": true`",
    ),
    (
        "POST",
        "/api/v1/approvals/review",
        "a step of the review of updates: `{\"updates\": [..], \"state\": \"released\"}` (or `held`, `in-test`)",
    ),
    ("GET", "/api/v1/licences", "licences that approved updates wait for, and those that were accepted"),
    (
        "POST",
        "/api/v1/licences/accept",
        "accepts licences, by update or by id: `{\"updates\": [..], \"licences\": [..]}`",
    ),
    ("GET", "/api/v1/rules", "the rules that approve by themselves, with how many updates each is at"),
    (
        "POST",
        "/api/v1/rules",
        "a new rule: `{\"name\": \"Servers\", \"rings\": [{\"group\": \"Pilot\"}, {\"group\": \"Contoso\", \"after_days\": 7}], \"like\": {\"classifications\": [\"Security Updates\"], \"products\": [], \"severity\": \"important\", \"newest_days\": 60, \"stop_percent\": 10, \"stop_sample\": 10, \"deadline_days\": 3, \"enabled\": true}}`; or `\"ready_made\": \"patch-tuesday\"` with rings",
    ),
    (
        "GET",
        "/api/v1/rules/{name}",
        "one rule with the updates that it is at, and what happened to it: `limit` (at most 10,000)",
    ),
    ("POST", "/api/v1/rules/{name}", "changes a rule: `name`, `rings`, and what is given of the same `like`"),
    ("DELETE", "/api/v1/rules/{name}", "removes a rule; what it approved stays"),
    (
        "POST",
        "/api/v1/rules/{name}/resume",
        "has a rule go on with what it stopped at, or was held by: `{\"updates\": [\"KB5031234\"]}`, none for all",
    ),
    (
        "POST",
        "/api/v1/rule-runs",
        "has the rules approve what is due, as a job: `{\"rule\": \"Servers\"}`, none for all",
    ),
    (
        "GET",
        "/api/v1/rule-preview",
        "what the rules would approve, for whom and when: `rule`, `limit` (at most 10,000)",
    ),
    ("GET", "/api/v1/rule-history", "what happened to rules, those that are gone too: `limit` (at most 10,000)"),
    ("GET", "/api/v1/rule-ready-made", "rules that need not be written"),
    (
        "GET",
        "/api/v1/endpoints",
        "the machines that scan here, by name, by page: `after`, `limit` (at most 500), `text`, `held`, `contested`, `clones`, \
         `roaming`, `unseen_days`",
    ),
    (
        "GET",
        "/api/v1/endpoints/{name}",
        "one of them with its history, by name, without its domain too, by id or a beginning of it",
    ),
    ("POST", "/api/v1/endpoints/admit", "lets in those that are held: `{\"endpoints\": [\"pc1.site.example\"]}`"),
    (
        "POST",
        "/api/v1/endpoints/bind",
        "binds an id to a machine that contests it: `{\"endpoint\": \"pc1\", \"name\": \"pc2.site.example\"}`",
    ),
    ("POST", "/api/v1/endpoints/forget", "forgets endpoints with all that is kept of them: `{\"endpoints\": [..]}`"),
    ("GET", "/api/v1/nodes", "this node in its chain, and the nodes below it"),
    (
        "POST",
        "/api/v1/nodes/invite",
        "a token for a node: `{\"name\": \"Berlin\", \"ttl_s\": 86400, \"from\": \"10.1.0.0/16\", \"approve\": false}`; with `approve` nobody has to compare the fingerprint",
    ),
    ("POST", "/api/v1/nodes/join", "joins the parent of a token: `{\"token\": \"wst1...\"}`"),
    (
        "POST",
        "/api/v1/nodes/rootkey",
        "writes the root key to a new file, and forgets it: `{\"to\": \"/absolute/path\"}`",
    ),
    (
        "POST",
        "/api/v1/nodes/epoch",
        "begins a new epoch with a new feed key, after a restore or where the feed key was stolen: `{\"rootkey\": \"/absolute/path\"}`",
    ),
    ("POST", "/api/v1/nodes/feedkey", "replaces the feed key: `{\"rootkey\": \"/absolute/path\"}`"),
    ("POST", "/api/v1/nodes/leave", "gives up a join that waits, or leaves the parent and says so"),
    ("GET", "/api/v1/nodes/{name}", "one node below: what it says of itself, its settings, what is wished of it"),
    ("DELETE", "/api/v1/nodes/{name}", "forgets a node with all that it told; refused while something names it"),
    (
        "POST",
        "/api/v1/nodes/{name}/config",
        "wishes settings of a node: `{\"settings\": {\"sync.enabled\": true, \"proxy.url\": null}, \"fingerprint\": \"..\"}`; null takes a wish back",
    ),
    (
        "POST",
        "/api/v1/nodes/{name}/orders",
        "orders something: `{\"verb\": \"sync-start\"}` (or `sync-stop`, `prefetch`, `verify`; `reparent` with `token`)",
    ),
    ("GET", "/api/v1/nodes/{name}/endpoints", "endpoints of a node below, by page: `after`, `limit` (at most 1,000)"),
    ("GET", "/api/v1/compliance/nodes", "what the endpoints of each node below come to, and of all together"),
    ("POST", "/api/v1/nodes/{name}/approve", "lets a node in whose fingerprint somebody compared"),
    ("POST", "/api/v1/nodes/{name}/revoke", "turns a node away, at once"),
    (
        "GET",
        "/api/v1/plan",
        "which files the content policy wants: count, bytes, room and time; with `policy`, `severity` what others would want",
    ),
    (
        "POST",
        "/api/v1/plan/confirm",
        "agrees to what the policy `all` brings, as it was shown: `{\"files\": 12, \"bytes\": 3400, \"terms\": \"..\"}` as in `by_all` and `terms` of the plan; 409 with the new plan where it is another by far",
    ),
    ("GET", "/api/v1/prefetch", "how much of what the content policy wants is held, and the job that brings the rest"),
    ("POST", "/api/v1/prefetch/start", "starts that job"),
    ("GET", "/api/v1/prefetch/detected", "what of an update, or of all, comes since endpoints miss it, and what waits"),
    ("POST", "/api/v1/prefetch/confirm", "agrees to the size of an update that waits for it"),
    ("POST", "/api/v1/prefetch/stop", "stops it: what has arrived stays, and none begins by itself"),
    (
        "GET",
        "/api/v1/compliance",
        "how updates stand on endpoints, by what these reported: endpoints that miss some, are up to date, keep to the policy; `group` for those of one and of those below it",
    ),
    (
        "GET",
        "/api/v1/compliance/endpoints",
        "the endpoints with what they come to, by page: `after`, `limit` (at most 500), `verdict`, `compliant`, `restart`, \
         `update`, `state`, `group`",
    ),
    ("GET", "/api/v1/compliance/endpoints/{name}", "one endpoint with all its updates, by client id or name"),
    (
        "GET",
        "/api/v1/compliance/updates",
        "the updates that endpoints reported, with how many have each in which state, by page: `after`, `limit` (at most 500), \
         `endpoint`, `group`, `severity`, `classification`, `product`, `restart`, `eula`, `age`",
    ),
    (
        "GET",
        "/api/v1/compliance/missing",
        "the same of those that are missing somewhere, and neither superseded nor declined",
    ),
    (
        "GET",
        "/api/v1/compliance/policies",
        "what endpoints must keep to: all of them, and those of groups with a word of their own",
    ),
    ("GET", "/api/v1/compliance/policies/{group}", "the same of one group, with which group says what of it"),
    (
        "POST",
        "/api/v1/compliance/policies/{group}",
        "says something for a group and those below it: `{\"severity\": \"critical\", \"missing_days\": 7, \"scan_days\": 3, \"restart_days\": 2, \"clear\": []}`; what is not named stays, what stands in `clear` comes from above",
    ),
    ("DELETE", "/api/v1/compliance/policies/{group}", "lets all of it come from above"),
    ("GET", "/api/v1/filters", "what of Microsoft's catalog is wanted, by name, and who set it"),
    ("GET", "/api/v1/filters/available", "the categories that the catalog has, as a tree"),
    (
        "POST",
        "/api/v1/filters/{key}",
        "sets products, classifications or languages: `{\"values\": [\"Windows 11\"], \"how\": \"replace\"}` (or `add`, `remove`; with `add` also `\"remove\": [..]`)",
    ),
    ("DELETE", "/api/v1/filters/{key}", "takes back what was set at run time"),
    ("DELETE", "/api/v1/filters", "takes all of that back"),
    ("GET", "/api/v1/upstream", "what stands above the node: now, and after a restart; from whom the catalog came"),
    (
        "POST",
        "/api/v1/upstream",
        "chooses another one for the next start: `{\"kind\": \"wsus\", \"url\": \"http://wsus:8530\", \"proxy\": \"none\"}`",
    ),
    ("DELETE", "/api/v1/upstream", "takes back what was chosen at run time"),
    (
        "POST",
        "/api/v1/upstream/test",
        "tests the way to the upstream alone: `{}`; with `{\"choice\": {\"kind\": \"wsus\", \"url\": \"..\"}}` to one that is none yet",
    ),
    ("GET", "/api/v1/downstream", "WSUS servers below, as they told of themselves"),
    ("DELETE", "/api/v1/downstream/{server}", "forgets one, by name or id"),
    ("GET", "/api/v1/bandwidth", "which bandwidth rules hold, until when, and what waits"),
    ("POST", "/api/v1/bandwidth/{key}", "sets a key of [bandwidth] at run time: `{\"rules\": [\"20 Mbit/s\"]}`"),
    ("DELETE", "/api/v1/bandwidth/{key}", "takes back what was set at run time"),
    (
        "POST",
        "/api/v1/setup",
        "the first account, for who has the code: `{\"code\": \"..\", \"name\": \"anna\", \"password\": \"..\"}`",
    ),
    (
        "POST",
        "/api/v1/setup-code",
        "a new code in `<data>/setup-code`, good for 15 minutes, where there is no account yet",
    ),
    ("POST", "/api/v1/session", "signs in: `{\"name\": \"anna\", \"password\": \"..\"}`; the answer sets a cookie"),
    (
        "GET",
        "/api/v1/session",
        "who asks, as what; with `csrf`, which changes of a session carry in the field `X-CSRF-Token`",
    ),
    ("DELETE", "/api/v1/session", "signs out"),
    (
        "POST",
        "/api/v1/session/confirm",
        "gives the password once more, for what needs that within the next ten minutes: `{\"password\": \"..\"}`",
    ),
    (
        "POST",
        "/api/v1/session/password",
        "another password for whoever is signed in: `{\"old\": \"..\", \"new\": \"..\"}`; all their sessions end",
    ),
    ("GET", "/api/v1/accounts", "the accounts"),
    ("GET", "/api/v1/accounts/{name}", "one of them"),
    (
        "POST",
        "/api/v1/accounts",
        "a new account: `{\"name\": \"olga\", \"role\": \"operator\", \"groups\": [\"Contoso\"], \"password\": \"..\"}`; roles are `administrator`, `operator`, `auditor`",
    ),
    ("POST", "/api/v1/accounts/{name}", "changes what is given of the same; a new password ends its sessions"),
    ("DELETE", "/api/v1/accounts/{name}", "removes it with its sessions and tokens"),
    ("GET", "/api/v1/tokens", "the tokens of whoever asks; of everybody for an administrator"),
    (
        "POST",
        "/api/v1/tokens",
        "a new token, told this once: `{\"name\": \"reports\", \"scopes\": [\"*:read\"], \"days\": 90, \"role\": \"auditor\", \"groups\": []}`; over the socket also `account`",
    ),
    ("DELETE", "/api/v1/tokens/{id}", "revokes a token"),
    ("GET", "/api/v1/audit", "what was changed, by whom, the newest first, by page: `before`, `limit` (at most 500)"),
    ("GET", "/api/v1/audit/check", "whether the audit log is what was written, with the hash of its last entry"),
    (
        "GET",
        "/api/v1/settings",
        "every setting, its value, where that comes from, and the value that a reload or restart would take",
    ),
];

/// The control plane with what `access` allows.
pub fn router(handles: Handles, access: Access) -> Router {
    let handles = Arc::new(handles);
    let api = Router::new()
        .route("/status", get(status::status))
        .route("/flights", get(status::flights))
        .route("/content", get(content::list))
        .route("/content/import", post(work::import))
        .route("/content/{name}", get(content::show).merge(delete(content::remove)))
        .route("/content/{name}/pin", post(content::pin))
        .route("/content/{name}/unpin", post(content::unpin))
        .route("/content/{name}/unbind", post(bind::unbind))
        .route("/quarantine", get(quarantine::list).merge(delete(quarantine::empty)))
        .route("/jobs", get(work::list))
        .route("/jobs/{id}", get(work::show))
        .route("/jobs/{id}/stop", post(work::stop))
        .route("/fetch", post(work::fetch))
        .route("/store/verify", post(work::verify))
        .route("/store/backup", post(work::backup))
        .route("/sync", get(sync::state))
        .route("/sync/history", get(sync::history))
        .route("/sync/start", post(sync::start))
        .route("/sync/stop", post(sync::stop))
        .route("/sync/crosscheck", post(sync::crosscheck))
        .route("/sync/retry", post(sync::retry))
        .route("/sync/webhook/test", post(sync::test_webhook))
        .route("/tls/reload", post(tls::reload))
        .route("/bandwidth", get(bandwidth::show))
        .route("/bandwidth/{key}", post(bandwidth::set).merge(delete(bandwidth::clear)))
        .route("/updates", get(updates::list))
        .route("/updates/approve", post(updates::decide::approve))
        .route("/updates/decline", post(updates::decide::decline))
        .route("/updates/reset", post(updates::decide::reset))
        .route("/updates/refused", get(updates::refused::list))
        .route("/updates/{name}", get(updates::show))
        .route("/endpoints", get(endpoints::list))
        .route("/endpoints/admit", post(endpoints::admit))
        .route("/endpoints/bind", post(endpoints::bind))
        .route("/endpoints/forget", post(endpoints::forget))
        .route("/endpoints/{name}", get(endpoints::show))
        .route("/nodes", get(nodes::list))
        .route("/nodes/invite", post(nodes::invite))
        .route("/nodes/join", post(nodes::join))
        .route("/nodes/rootkey", post(nodes::rootkey))
        .route("/nodes/epoch", post(nodes::epoch))
        .route("/nodes/feedkey", post(nodes::feedkey))
        .route("/nodes/leave", post(subtree::leave))
        .route("/nodes/{name}", get(subtree::show).merge(delete(subtree::remove)))
        .route("/nodes/{name}/config", post(subtree::config))
        .route("/nodes/{name}/orders", post(subtree::order))
        .route("/nodes/{name}/endpoints", get(subtree::endpoints))
        .route("/compliance/nodes", get(subtree::compliance))
        .route("/nodes/{name}/approve", post(nodes::approve))
        .route("/nodes/{name}/revoke", post(nodes::revoke))
        .route("/groups", get(groups::list).merge(post(groups::add)))
        .route("/groups/place", post(groups::place))
        .route("/groups/{name}", post(groups::change).merge(delete(groups::remove)))
        .route("/approvals", get(approvals::list).merge(post(approvals::set)))
        .route("/approvals/withdraw", post(approvals::withdraw))
        .route("/approvals/review", post(approvals::review))
        .route("/licences", get(approvals::licences::list))
        .route("/licences/accept", post(approvals::licences::accept))
        .route("/rules", get(rules::list).merge(post(rules::add)))
        .route("/rules/{name}", get(rules::show).merge(post(rules::set)).merge(delete(rules::remove)))
        .route("/rules/{name}/resume", post(rules::resume))
        .route("/rule-runs", post(rules::run))
        .route("/rule-preview", get(rules::preview))
        .route("/rule-history", get(rules::history))
        .route("/rule-ready-made", get(rules::ready_made))
        .route("/plan", get(plan::show))
        .route("/plan/confirm", post(plan::confirm))
        .route("/prefetch", get(plan::prefetch))
        .route("/prefetch/start", post(plan::start))
        .route("/prefetch/detected", get(drawn::show))
        .route("/prefetch/confirm", post(drawn::confirm))
        .route("/prefetch/stop", post(plan::stop))
        .route("/compliance", get(compliance::summary))
        .route("/compliance/endpoints", get(compliance::endpoints))
        .route("/compliance/endpoints/{name}", get(compliance::endpoint))
        .route("/compliance/updates", get(compliance::updates))
        .route("/compliance/missing", get(compliance::missing))
        .route("/compliance/policies", get(compliance::policies::list))
        .route(
            "/compliance/policies/{group}",
            get(compliance::policies::show)
                .merge(post(compliance::policies::set))
                .merge(delete(compliance::policies::unset)),
        )
        .route("/filters", get(filters::show).merge(delete(filters::reset_all)))
        .route("/filters/available", get(filters::available))
        .route("/filters/{key}", post(filters::set).merge(delete(filters::reset)))
        .route("/upstream", get(upstream::show).merge(post(upstream::set)).merge(delete(upstream::reset)))
        .route("/upstream/test", post(upstream::test))
        .route("/downstream", get(downstream::list))
        .route("/downstream/{server}", delete(downstream::forget))
        .route("/explain", get(ask::explain))
        .route("/doctor", get(ask::doctor))
        .route("/settings", get(ask::settings))
        .route("/setup", post(accounts::set_up))
        .route("/setup-code", post(accounts::setup_code))
        .route("/session", get(accounts::show_session).merge(post(accounts::sign_in)).merge(delete(accounts::sign_out)))
        .route("/session/confirm", post(accounts::confirm))
        .route("/session/password", post(accounts::change_own))
        .route("/accounts", get(accounts::list).merge(post(accounts::add)))
        .route("/accounts/{name}", get(accounts::show).merge(post(accounts::change)).merge(delete(accounts::remove)))
        .route("/tokens", get(accounts::tokens).merge(post(accounts::make_token)))
        .route("/tokens/{id}", delete(accounts::revoke))
        .route("/audit", get(audit::list))
        .route("/audit/check", get(audit::check))
        .layer(from_fn_with_state(Arc::clone(&handles), guard::known));
    let (door, chain) = (handles.door.clone(), handles.chain.clone());
    let inner = Router::new()
        .route("/", get(beginning))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::scrape))
        .merge(pages::router())
        .nest("/api/v1", api)
        .fallback(absent)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(handles);
    let keeper = Arc::new(guard::Keeper { access, door, inner: inner.clone(), chain });
    inner.layer(from_fn_with_state(keeper, guard::guard))
}

/// What is asked for by who has the address alone: where to begin.
async fn beginning(headers: HeaderMap) -> Response {
    if pages::wants(&headers) {
        return pages::see_other(pages::HOME);
    }
    let text = ADDRESSES.iter().fold(String::from("Waystation\n\n"), |text, (method, path, what)| {
        format!("{text}{method:<6} {path}: {what}\n")
    });
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

async fn absent(uri: Uri, headers: HeaderMap) -> Response {
    pages::shown(pages::wants(&headers) && !uri.path().starts_with("/api/"), nothing_at(&uri))
}

/// That there is nothing.
pub(in crate::admin) fn nothing_at(uri: &Uri) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("there is nothing at {}", uri.path().chars().take(200).collect::<String>()),
        "begin at /api/v1/status; health is at /healthz and /readyz, metrics are at /metrics",
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    wrong(&method, &uri)
}

/// That there is something, and not for this method.
pub(in crate::admin) fn wrong(method: &Method, uri: &Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} means nothing at {}", uri.path().chars().take(200).collect::<String>()),
        "GET reads, POST starts or changes, DELETE removes",
    )
}
