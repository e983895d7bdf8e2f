//! The table of rights: that every route is in it, and that it holds for every role, bound and way in.

use std::collections::BTreeSet;

use super::door::{Client, WORD, set_up};
use super::*;
use waystation::admin::rights::{self, Bound, Need, Prove, RIGHTS, Right};
use waystation::model::access::Role;

/// Routes as they stand in a source: method and path.
fn routes(source: &str, prefix: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for part in source.split(".route(").skip(1) {
        let mut quoted = part.split('"');
        let path = format!("{prefix}{}", quoted.nth(1).unwrap());
        let handlers = part.split_once("\",").unwrap().1;
        let end = handlers.find("\n        .").unwrap_or(handlers.len());
        for (method, word) in
            [("GET", "get("), ("POST", "post("), ("DELETE", "delete("), ("PUT", "put("), ("PATCH", "patch(")]
        {
            let is_there = handlers[..end]
                .match_indices(word)
                .any(|(at, _)| !handlers[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
            if is_there {
                found.insert((method.to_owned(), path.clone()));
            }
        }
    }
    found
}

#[test]
fn every_route_is_in_the_table_and_nothing_else() {
    let source = include_str!("../../src/admin/router.rs");
    let (api, roots) = source.split_once("let inner = Router::new()").unwrap();
    let mut there = routes(api, "/api/v1");
    there.extend(routes(roots, ""));
    there.extend(routes(include_str!("../../src/admin/pages/mod.rs"), ""));
    assert!(there.len() > 100, "the routes are found: {there:?}");
    let table: BTreeSet<_> = RIGHTS.iter().map(|right| (right.method.to_owned(), right.path.to_owned())).collect();
    assert_eq!(table.len(), RIGHTS.len(), "a route stands in the table twice");
    let missing: Vec<_> = there.difference(&table).collect();
    let gone: Vec<_> = table.difference(&there).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not in the table: {missing:?}; not routed: {gone:?}");
    for (method, path, _) in router::ADDRESSES {
        assert!(rights::of(method, path).is_some(), "{method} {path}");
    }
    for (method, path) in &there {
        let is_page = !path.starts_with("/api/");
        assert!(
            is_page || router::ADDRESSES.iter().any(|(m, p, _)| m == method && p == path),
            "not told of: {method} {path}"
        );
    }
}

/// Whoever asks, and what the table then says.
struct Asker {
    client: Client,
    role: Option<Role>,
    everywhere: bool,
    proved: bool,
    local: bool,
}

fn expected(asker: &Asker, right: &Right) -> Option<u16> {
    let role = match right.need {
        Need::Anybody => return None,
        Need::Local if asker.local => return None,
        Need::Local => Role::Auditor,
        Need::Role(role) => role,
    };
    match asker.role {
        None => Some(401),
        Some(own) if own < role => Some(403),
        Some(_) if right.bound == Bound::Everywhere && !asker.everywhere => Some(403),
        Some(_) if matches!(right.prove, Prove::Always) && !asker.proved => Some(403),
        Some(_) => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_table_holds_by_role_bound_and_route() {
    let plane = Plane::new();
    let anna = set_up(&plane).await;
    anna.post(&plane, "/api/v1/groups", json!({ "name": "Contoso" })).await;
    let mut askers = vec![
        Asker { client: Client::default(), role: None, everywhere: true, proved: false, local: true },
        Asker { client: Client::from("192.0.2.1"), role: None, everywhere: true, proved: false, local: false },
    ];
    for role in Role::ALL {
        for groups in [json!([]), json!(["Contoso"])] {
            let everywhere = groups == json!([]);
            let name = format!("{role}{}", if everywhere { "" } else { "-bound" });
            let asked = json!({ "name": name, "role": role.word(), "groups": groups, "password": WORD });
            let made = anna.post(&plane, "/api/v1/accounts", asked).await;
            assert_eq!(made.status, 200, "{}", made.body);
            for scopes in [json!(["*:write"]), json!(["*:write", "confirmed"])] {
                let proved = scopes == json!(["*:write", "confirmed"]);
                // Over the socket, for each account.
                let token = json!({ "name": "matrix", "account": name, "scopes": scopes });
                let (status, made) = plane.json(Method::POST, "/api/v1/tokens", token).await;
                assert_eq!(status, 200, "{made}");
                let client = Client::token(made["secret"].as_str().unwrap());
                askers.push(Asker { client, role: Some(role), everywhere, proved, local: false });
            }
        }
    }
    let mut looked = 0;
    for right in RIGHTS {
        let path = ["{name}", "{id}", "{key}", "{group}"]
            .iter()
            .fold(right.path.to_owned(), |path, segment| path.replace(segment, "nothing"));
        for asker in &askers {
            // What is not allowed is refused before anything else is looked at; what is allowed may fail in any other way, and must
            // not do much: nothing is named that is there.
            let expected = expected(asker, right);
            let answer = asker.client.ask(&plane, right.method.parse().unwrap(), &path, "{\"nothing\":1}").await;
            let who = (asker.role, asker.everywhere, asker.proved, asker.local);
            if let Some(status) = expected {
                assert_eq!(answer.status, status, "{} {path} {who:?}: {}", right.method, answer.body);
            } else {
                let is_refused = [401, 403].contains(&answer.status)
                    && (answer.body.contains("needs the role")
                        || answer.body.contains("bound to groups")
                        || answer.body.contains("password once more")
                        || answer.body.contains("has no scope")
                        || answer.body.contains("nobody is signed in"));
                assert!(!is_refused, "{} {path} {who:?}: {} {}", right.method, answer.status, answer.body);
            }
            looked += 1;
        }
    }
    assert_eq!(looked, RIGHTS.len() * askers.len());
    // A method that a route does not have, and a route that is not there, run nothing.
    for (method, path, status) in
        [("PUT", "/api/v1/status", 405), ("DELETE", "/metrics", 405), ("GET", "/api/v1/nothing", 404)]
    {
        assert_eq!(anna.ask(&plane, method.parse().unwrap(), path, "").await.status, status, "{method} {path}");
    }
    plane.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_never_more_than_its_account() {
    let plane = Plane::new();
    let anna = set_up(&plane).await;
    anna.post(&plane, "/api/v1/groups", json!({ "name": "Contoso" })).await;
    anna.post(&plane, "/api/v1/groups", json!({ "name": "Fabrikam" })).await;
    let asked = json!({ "name": "olga", "role": "operator", "groups": ["Contoso"], "password": WORD });
    assert_eq!(anna.post(&plane, "/api/v1/accounts", asked).await.status, 200);
    let olga = Client::sign_in(&plane, "olga", WORD).await;
    let make = async |asked: Value| olga.post(&plane, "/api/v1/tokens", asked).await;
    assert_eq!(make(json!({ "name": "x", "scopes": ["*:read"], "role": "administrator" })).await.status, 403);
    assert_eq!(make(json!({ "name": "x", "scopes": ["*:read"], "groups": ["Fabrikam"] })).await.status, 403);
    assert_eq!(make(json!({ "name": "x", "scopes": ["*:read"], "account": "anna" })).await.status, 403);
    let made = make(json!({ "name": "x", "scopes": ["*:write"] })).await.json();
    assert_eq!(made["token"]["groups"], json!(["Contoso"]), "bound as its account is");
    let token = Client::token(made["secret"].as_str().unwrap());
    assert_ne!(token.post(&plane, "/api/v1/prefetch/stop", json!({})).await.status, 403 + 1000);
    // Tokens of others are neither seen nor revoked.
    let of_anna = anna.post(&plane, "/api/v1/tokens", json!({ "name": "a", "scopes": ["*:read"] })).await.json();
    assert_eq!(olga.get(&plane, "/api/v1/tokens").await.json()["rows"].as_array().unwrap().len(), 1);
    let path = format!("/api/v1/tokens/{}", of_anna["token"]["id"].as_str().unwrap());
    assert_eq!(olga.ask(&plane, Method::DELETE, &path, "").await.status, 404);
    // What the account loses its token loses.
    assert_eq!(anna.post(&plane, "/api/v1/accounts/olga", json!({ "role": "auditor" })).await.status, 200);
    assert_eq!(token.post(&plane, "/api/v1/sync/stop", json!({})).await.status, 403);
    assert_eq!(anna.post(&plane, "/api/v1/accounts/olga", json!({ "groups": ["Fabrikam"] })).await.status, 200);
    assert_eq!(token.get(&plane, "/api/v1/content").await.status, 401, "a token that reaches elsewhere was revoked");
    assert_eq!(anna.ask(&plane, Method::DELETE, "/api/v1/accounts/olga", "").await.status, 200);
    assert_eq!(olga.get(&plane, "/api/v1/session").await.status, 401);
    plane.close().await;
}
