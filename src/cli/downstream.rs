//! `downstream list|forget`: WSUS servers below.

use crate::admin::view::downstream::{Downstream, Server};
use crate::app::Loaded;
use crate::cli::fail::Fail;
use crate::cli::node::segment;
use crate::cli::print::{Grid, Out, printable};
use crate::cli::verbs::downstream::DownstreamVerb;

pub(in crate::cli) fn run(loaded: &Loaded, verb: DownstreamVerb, out: Out) -> Result<(), Fail> {
    super::with(super::running(loaded)?, async |node| match verb {
        DownstreamVerb::List => {
            let all: Downstream = node.get("/api/v1/downstream").await?;
            out.both(&all, people)
        }
        DownstreamVerb::Forget { server } => {
            let gone: Server = node.delete(&format!("/api/v1/downstream/{}", segment(&server))).await?;
            out.both(&gone, |gone| format!("{} is forgotten until it tells of itself again\n", printable(&gone.name)))
        }
    })
}

fn people(all: &Downstream) -> String {
    if all.servers.is_empty() {
        let why = if all.enabled {
            "no WSUS server below has told of itself; they do at the end of each synchronisation"
        } else {
            "no WSUS server may ask here: [downstream] networks says from where they may"
        };
        return format!("{why}\n");
    }
    let names = ["server", "version", "kind", "last sync", "told", "computers", "lacking", "failed", "up to date"];
    let mut grid = Grid::new(&names);
    for server in &all.servers {
        let kind = if server.replica { "replica" } else { "autonomous" };
        let last = server.last_sync.map_or_else(|| "never".to_owned(), |at| at.to_string());
        let of = |count: fn(&crate::admin::view::downstream::Standing) -> u32| {
            server.standing.as_ref().map_or_else(|| "-".to_owned(), |standing| count(standing).to_string())
        };
        grid.row([
            printable(&server.name),
            printable(&server.version),
            kind.to_owned(),
            last,
            server.told_at.to_string(),
            of(|standing| standing.computers),
            of(|standing| standing.lacking),
            of(|standing| standing.failed),
            of(|standing| standing.up_to_date),
        ]);
    }
    grid.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_sees_no_server_is_told_why() {
        let all = Downstream::default();
        assert!(people(&all).contains("[downstream] networks"));
        assert!(people(&Downstream { enabled: true, ..all.clone() }).contains("has told of itself"));
        let server = Server { name: "wsus\u{1b}.example".into(), ..Server::default() };
        let text = people(&Downstream { servers: vec![server], ..all });
        assert!(text.contains("autonomous") && text.contains("never") && !text.contains('\u{1b}'), "{text}");
    }
}
