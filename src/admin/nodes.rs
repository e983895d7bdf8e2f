//! `/api/v1/nodes`: this node in its chain, and the nodes below it.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use zeroize::Zeroizing;

use crate::admin::error::Problem;
use crate::admin::extract::{Given, Named};
use crate::admin::view::{Time, nodes as view};
use crate::admin::{Caller, Handles, subtree};
use crate::base::hex;
use crate::base::secret::Key;
use crate::chain::alarm;
use crate::chain::error::{Error, Fault};
use crate::chain::node::Chain;
use crate::chain::roll::{Member, Standing};

/// How long a token is good unless told otherwise, and at most: it is a secret that lies about.
const TTL: Duration = Duration::from_hours(24);
const TTL_MAX: Duration = Duration::from_hours(30 * 24);

/// Bytes of a file with a root key that are read: it has 65.
const ROOT_MAX: u64 = 1024;

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let title = error.to_string();
        match error {
            Error::Store(error) => error.into(),
            Error::Refused(_) => {
                Self::new(StatusCode::CONFLICT, title, "`waystation nodes list` shows how things stand")
            }
            error if error.fault() == Fault::Peer => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, title, "correct what was given, then try again")
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, title, "look into the log and at <data>/chain"),
        }
    }
}

pub(super) fn chain(handles: &Handles) -> Result<&Chain, Problem> {
    handles.chain.as_ref().ok_or_else(|| {
        let title = "only a running node is part of a chain";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, "start it with `waystation serve`, then try again")
    })
}

/// The word for people and scripts.
pub(super) const fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Waiting => "waiting",
        Standing::Member => "member",
        Standing::Revoked => "revoked",
        Standing::Superseded => "superseded",
    }
}

fn row(member: Member) -> view::Node {
    let standing = standing_word(member.standing);
    view::Node {
        node: member.node,
        name: member.name,
        standing: standing.to_owned(),
        fingerprint: member.fingerprint,
        version: member.version,
        since: Time(member.since),
        ..view::Node::default()
    }
}

async fn told(chain: &Chain) -> Result<view::Nodes, Problem> {
    let seen = chain.seen();
    let (state, as_of) = match seen.state {
        None => (None, None),
        Some(alarm::State::Empty) => (Some("empty"), None),
        Some(alarm::State::Current { as_of }) => (Some("current"), Some(as_of)),
        Some(alarm::State::Frozen { since }) => (Some("frozen"), Some(since)),
    };
    let alarm = |(node, alarm, since): (_, alarm::Alarm, _)| view::Alarm {
        node: format!("{node}"),
        alarm: alarm.word().to_owned(),
        text: alarm.to_string(),
        since: Time(since),
    };
    let alarms: Vec<(crate::model::chain::ids::NodeId, alarm::Alarm, crate::base::time::Timestamp)> = seen.alarms;
    Ok(view::Nodes {
        node: chain.me().to_string(),
        role: chain.role().word().to_owned(),
        chain: chain.chain().await?.map(|chain| hex::encode(chain.bytes())),
        position: seen.position.map(|position| position.to_string()),
        state: state.map(str::to_owned),
        as_of: as_of.map(Time),
        path: seen.path.iter().map(ToString::to_string).collect(),
        alarms: alarms.into_iter().map(alarm).collect(),
        trouble: seen.trouble,
        fingerprint: match seen.fingerprint {
            None => chain.fingerprint().await?,
            waiting => waiting,
        },
        rows: subtree::rows(chain.nodes().await?.into_iter().filter(|one| !one.path.is_empty()).collect()),
    })
}

/// `GET /api/v1/nodes`.
pub async fn list(State(handles): State<Arc<Handles>>) -> Result<Json<view::Nodes>, Problem> {
    Ok(Json(told(chain(&handles)?).await?))
}

/// `POST /api/v1/nodes/invite`.
pub async fn invite(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(request): Given<view::InviteRequest>,
) -> Result<Json<view::Invited>, Problem> {
    let life = request.ttl_s.map_or(TTL, Duration::from_secs);
    if life.is_zero() || life > TTL_MAX {
        return Err(Problem::malformed(format!(
            "ttl_s: a token is good for a second to {} days",
            TTL_MAX.as_secs() / 86_400
        )));
    }
    let from = request.from.as_deref().map(|from| {
        from.parse().map_err(|_| Problem::malformed(format!("from: {from:?} is no network such as 10.1.0.0/16")))
    });
    let (from, chain) = (from.transpose()?, chain(&handles)?);
    let invited = chain.invite(&request.name, life, from, request.approve).await?;
    tracing::info!(name = request.name, by, until = %invited.until, "a node was invited");
    let mut notes = vec!["the token is a secret: hand it over by a way that you trust; it works once".to_owned()];
    if !request.approve {
        let name = &request.name;
        notes.push(format!("when it has joined: compare its fingerprint, then `waystation nodes approve {name:?}`"));
    }
    if invited.root_is_here {
        let note = "the root key still lies on this node: `waystation nodes rootkey export FILE`, and keep that file offline; without \
                    it a restored authority cannot go on";
        notes.push(note.to_owned());
    }
    let (until, addresses) = (Time(invited.until), invited.addresses);
    Ok(Json(view::Invited { token: invited.token, until, addresses, notes }))
}

/// `POST /api/v1/nodes/join`.
pub async fn join(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(request): Given<view::JoinRequest>,
) -> Result<Json<view::Nodes>, Problem> {
    let chain = chain(&handles)?;
    let fingerprint = chain.join(&request.token).await?;
    tracing::info!(fingerprint, by, "this node joins a parent");
    Ok(Json(told(chain).await?))
}

/// `POST /api/v1/nodes/rootkey`.
pub async fn rootkey(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(request): Given<view::RootkeyRequest>,
) -> Result<Json<view::RootkeyRequest>, Problem> {
    let to = PathBuf::from(&request.to);
    if !to.is_absolute() {
        return Err(Problem::malformed("to: an absolute path is needed"));
    }
    let path = to.clone();
    let keep = move |root: &[u8]| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(format!("{}\n", hex::encode(root)).as_bytes())?;
        file.sync_all()
    };
    chain(&handles)?.export_root(keep).await?;
    tracing::warn!(to = %to.display(), by, "the root key was exported, and is not on this node any more");
    Ok(Json(request))
}

/// The root key in the file at `path`, as [`rootkey`] wrote it.
async fn root_of(path: &str) -> Result<Key, Problem> {
    let path = PathBuf::from(path);
    if !path.is_absolute() {
        return Err(Problem::malformed("rootkey: an absolute path is needed"));
    }
    let read = tokio::task::spawn_blocking(move || {
        let mut text = Zeroizing::new(String::new());
        let of_file = |error: std::io::Error| format!("{}: {error}", path.display());
        File::open(&path).map_err(of_file)?.take(ROOT_MAX).read_to_string(&mut text).map_err(of_file)?;
        hex::decode(text.trim())
            .map(Key::new)
            .ok_or_else(|| format!("{} holds no root key: 64 hex digits", path.display()))
    });
    let read = read.await.unwrap_or_else(|error| Err(format!("reading the root key broke off: {error}")));
    read.map_err(|why| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            why,
            "name the file that `waystation nodes rootkey export` wrote",
        )
    })
}

/// `POST /api/v1/nodes/epoch`.
pub async fn epoch(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(request): Given<view::VouchRequest>,
) -> Result<Json<view::Nodes>, Problem> {
    let chain = chain(&handles)?;
    chain.begin_epoch(root_of(&request.rootkey).await?).await?;
    tracing::warn!(by, "a new epoch of the feed for nodes below was begun");
    Ok(Json(told(chain).await?))
}

/// `POST /api/v1/nodes/feedkey`.
pub async fn feedkey(
    State(handles): State<Arc<Handles>>,
    Caller(by): Caller,
    Given(request): Given<view::VouchRequest>,
) -> Result<Json<view::Nodes>, Problem> {
    let chain = chain(&handles)?;
    chain.rotate(root_of(&request.rootkey).await?).await?;
    tracing::warn!(by, "the feed key was replaced");
    Ok(Json(told(chain).await?))
}

/// `POST /api/v1/nodes/{name}/approve`.
pub async fn approve(
    State(handles): State<Arc<Handles>>,
    Named(name): Named<String>,
    Caller(by): Caller,
) -> Result<Json<view::Node>, Problem> {
    let member = chain(&handles)?.approve(&name).await?;
    tracing::info!(name = member.name, fingerprint = member.fingerprint, by, "a node was let in");
    Ok(Json(row(member)))
}

/// `POST /api/v1/nodes/{name}/revoke`.
pub async fn revoke(
    State(handles): State<Arc<Handles>>,
    Named(name): Named<String>,
    Caller(by): Caller,
) -> Result<Json<view::Node>, Problem> {
    let member = chain(&handles)?.revoke(&name).await?;
    tracing::warn!(name = member.name, node = member.node, by, "a node was turned away");
    Ok(Json(row(member)))
}
