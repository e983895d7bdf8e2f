//! `nodes list|invite|approve|revoke|rootkey` and `join`; what is about one node is in [`subtree`].

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::admin::view::nodes::{
    InviteRequest, Invited, JoinRequest, Node as Row, Nodes, RootkeyRequest, VouchRequest,
};
use crate::app::Loaded;
use crate::cli::fail::Fail;
use crate::cli::node::segment;
use crate::cli::print::{Grid, Out, add, printable};
use crate::cli::subtree;
use crate::cli::verbs::nodes::{FeedkeyVerb, NodesVerb, RootkeyVerb};

const NODES: &str = "/api/v1/nodes";
/// A token has at most 4 KiB; a device is not read without end.
const TOKEN_FILE_MAX: u64 = 64 << 10;

pub(in crate::cli) fn run(loaded: &Loaded, verb: NodesVerb, out: Out) -> Result<(), Fail> {
    super::with(super::running(loaded)?, async |node| match verb {
        NodesVerb::List => {
            let nodes: Nodes = node.get(NODES).await?;
            out.both(&nodes, told)
        }
        NodesVerb::Invite { name, ttl_hours, from, approve } => {
            let asked = InviteRequest { name, ttl_s: Some(ttl_hours * 3600), from, approve };
            let invited: Invited = node.post(&format!("{NODES}/invite"), &asked).await?;
            if out.is_json() {
                return out.json(&invited);
            }
            out.line(&invited.token)?;
            out.aside(&format!(
                "good until {}, for a node that reaches {}",
                invited.until,
                invited.addresses.join(" or ")
            ));
            out.aside("on the node: waystation join --token-file FILE");
            invited.notes.iter().for_each(|note| out.aside(note));
            Ok(())
        }
        NodesVerb::Approve { name } => {
            let row: Row = node.post(&format!("{NODES}/{}/approve", segment(&name)), &()).await?;
            out.both(&row, |row| {
                format!("{} is let in; its fingerprint is {}\n", printable(&row.name), row.fingerprint)
            })
        }
        NodesVerb::Revoke { name } => {
            let row: Row = node.post(&format!("{NODES}/{}/revoke", segment(&name)), &()).await?;
            out.both(&row, |row| format!("{} is turned away from now on\n", printable(&row.name)))
        }
        NodesVerb::Show { name } => subtree::show(node, &name, out).await,
        NodesVerb::Remove { name } => {
            let row: Row = node.delete(&format!("{NODES}/{}", segment(&name))).await?;
            out.both(&row, |row| format!("{} is forgotten, with all that it told\n", printable(&row.name)))
        }
        NodesVerb::Config { name, settings, unset, fingerprint } => {
            subtree::config(node, &name, (settings, unset, fingerprint), out).await
        }
        NodesVerb::Sync { name, what } => subtree::order(node, &name, &format!("sync-{what}"), None, out).await,
        NodesVerb::Content { name, what } => subtree::order(node, &name, &what, None, out).await,
        NodesVerb::Reparent { name, token_file } => {
            let token = token_of(&token_file)?;
            subtree::order(node, &name, "reparent", Some(token), out).await
        }
        NodesVerb::Epoch { rootkey } => {
            let rootkey = absolute(&rootkey)?.display().to_string();
            let nodes: Nodes = node.post(&format!("{NODES}/epoch"), &VouchRequest { rootkey }).await?;
            out.both(&nodes, |nodes| {
                format!("a new epoch begins; nodes below take it with their next answer\n{}", told(nodes))
            })
        }
        NodesVerb::Feedkey(FeedkeyVerb::Rotate { rootkey }) => {
            let rootkey = absolute(&rootkey)?.display().to_string();
            let nodes: Nodes = node.post(&format!("{NODES}/feedkey"), &VouchRequest { rootkey }).await?;
            out.both(&nodes, |_| {
                "the feed is signed with a new key; nodes below take it with their next answer\n".to_owned()
            })
        }
        NodesVerb::Rootkey(RootkeyVerb::Export { file }) => {
            let to = absolute(&file)?.display().to_string();
            let done: RootkeyRequest = node.post(&format!("{NODES}/rootkey"), &RootkeyRequest { to }).await?;
            out.both(&done, |done| {
                format!("{} has the root key, and this node has it no more: keep it offline\n", done.to)
            })
        }
    })
}

fn absolute(file: &Path) -> Result<PathBuf, Fail> {
    std::path::absolute(file).map_err(|error| Fail::new(format!("{}: {error}", file.display()), "name a file"))
}

fn token_of(file: &Path) -> Result<String, Fail> {
    let fail =
        |error: std::io::Error| Fail::new(format!("{}: {error}", file.display()), "name the file with the token");
    let mut token = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(TOKEN_FILE_MAX).read_to_string(&mut token).map_err(fail)?;
    } else {
        let opened = std::fs::File::open(file).map_err(fail)?;
        opened.take(TOKEN_FILE_MAX).read_to_string(&mut token).map_err(fail)?;
    }
    Ok(token.trim().to_owned())
}

/// `join --token-file`.
pub(in crate::cli) fn join(loaded: &Loaded, file: &Path, out: Out) -> Result<(), Fail> {
    let token = token_of(file)?;
    super::with(super::running(loaded)?, async |node| {
        let nodes: Nodes = node.post(&format!("{NODES}/join"), &JoinRequest { token }).await?;
        out.both(&nodes, |nodes| {
            let fingerprint = nodes.fingerprint.as_deref().unwrap_or("-");
            format!(
                "this node asks to be let in; its fingerprint is {fingerprint}\n`waystation nodes list` tells how that goes on; on the \
                 parent: `waystation nodes approve`, unless it said that nobody has to\n"
            )
        })
    })
}

fn told(nodes: &Nodes) -> String {
    let mut text = format!("node   {}\nrole   {}\n", nodes.node, nodes.role);
    let mut line = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            add(&mut text, format_args!("{name:<6} {}\n", printable(value)));
        }
    };
    line("chain", &nodes.chain);
    line("at", &nodes.position);
    let as_of = nodes.as_of.map(|at| at.to_string()).unwrap_or_default();
    line("state", &nodes.state.as_ref().map(|state| format!("{state} {as_of}")));
    line("waits", &nodes.trouble);
    line("print", &nodes.fingerprint);
    for alarm in &nodes.alarms {
        let told = printable(&alarm.text);
        add(&mut text, format_args!("alarm  {} since {}, from {}: {told}\n", alarm.alarm, alarm.since, alarm.node));
    }
    if nodes.rows.is_empty() {
        text.push_str("no node is below this one; `waystation nodes invite NAME` makes a token for one\n");
        return text;
    }
    let mut grid =
        Grid::new(&["name", "status", "standing", "version", "heard", "endpoints", "missing", "fingerprint"]);
    for row in &nodes.rows {
        let (name, version) = (subtree::indented(row), printable(&row.version));
        let heard = row.heard.map_or_else(|| "-".to_owned(), |at| at.to_string());
        let (endpoints, missing) = (row.endpoints.endpoints.to_string(), row.endpoints.missing.to_string());
        let (status, standing) = (row.status.clone(), row.standing.clone());
        grid.row([name, status, standing, version, heard, endpoints, missing, row.fingerprint.clone()]);
    }
    text.push('\n');
    text.push_str(&grid.text());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_is_told_and_what_does_not_is_left_out() {
        let mut nodes = Nodes { node: "ab".into(), role: "none".into(), ..Nodes::default() };
        assert!(told(&nodes).contains("nodes invite") && !told(&nodes).contains("chain"));
        nodes.trouble = Some("waits\u{1b}".into());
        nodes.rows.push(Row { name: "Berlin".into(), standing: "waiting".into(), ..Row::default() });
        let text = told(&nodes);
        assert!(text.contains("Berlin") && text.contains("waiting") && !text.contains('\u{1b}'), "{text}");
    }
}
