//! `content list|show|pin|unpin|remove|unbind|quarantine`: what is held, and what failed verification.

use crate::admin::view::{Content, Emptied, Page, Quarantined, Unbound};
use crate::app::Loaded;
use crate::cli::fail::Fail;
use crate::cli::node::{Node, segment};
use crate::cli::print::{Grid, Out, add};
use crate::cli::size;
use crate::cli::verbs::content::{ContentVerb, QuarantineVerb};

/// Rows that are asked for at a time.
const PAGE: usize = 1000;

pub(in crate::cli) fn run(loaded: &Loaded, verb: ContentVerb, out: Out) -> Result<(), Fail> {
    let node = Node::any(loaded, false)?;
    let path = |name: &str| format!("/api/v1/content/{}", segment(name));
    super::with(node, async |node| match verb {
        ContentVerb::List { filter, class, pinned, limit } => {
            let mut query = String::new();
            for (key, value) in [("filter", filter), ("class", class), ("pinned", pinned.then(|| "true".to_owned()))] {
                if let Some(value) = value {
                    add(&mut query, format_args!("&{key}={}", segment(&value)));
                }
            }
            list(node, &query, limit, out).await
        }
        ContentVerb::Show(which) => {
            let content: Content = node.get(&path(&which.name)).await?;
            out.both(&content, one)
        }
        ContentVerb::Pin(which) => {
            let content: Content = node.post(&format!("{}/pin", path(&which.name)), &()).await?;
            out.both(&content, |content| format!("pinned: {}", label(content)))
        }
        ContentVerb::Unpin(which) => {
            let before: Content = node.get(&path(&which.name)).await?;
            let content: Content = node.post(&format!("{}/unpin", path(&which.name)), &()).await?;
            let was = if before.pinned.is_some() { "no longer pinned" } else { "was not pinned" };
            out.both(&content, |content| format!("{was}: {}", label(content)))
        }
        ContentVerb::Remove(which) => {
            let content: Content = node.delete(&path(&which.name)).await?;
            out.both(&content, removed)
        }
        ContentVerb::Quarantine(QuarantineVerb::List) => {
            let all: Vec<Quarantined> = node.get("/api/v1/quarantine").await?;
            out.both(&all, |all| quarantined(all))
        }
        ContentVerb::Quarantine(QuarantineVerb::Empty) => {
            let gone: Emptied = node.delete("/api/v1/quarantine").await?;
            out.both(&gone, |gone| match gone.count {
                0 => "the quarantine was empty".to_owned(),
                1 => format!("thrown out: 1 file, {}", size::bytes(gone.bytes)),
                count => format!("thrown out: {count} files, {}", size::bytes(gone.bytes)),
            })
        }
        ContentVerb::Unbind { url } => {
            let unbound: Unbound = node.post(&format!("{}/unbind", path(&url)), &()).await?;
            out.both(&unbound, |unbound| {
                let digests = unbound.digests.join(", ");
                format!(
                    "no longer bound: {name} to {digests}\n{name} is fetched anew when it is asked for; where bytes of that \
                     digest are held they stay under it: `waystation content show {digests}`\n",
                    name = unbound.name
                )
            })
        }
    })
}

/// What went: one payload, which may have had more names than the one that was given.
fn removed(content: &Content) -> String {
    let size = size::bytes(content.size);
    let mut text = match content.names.as_slice() {
        [] | [_] => format!("removed: {}, {size}", label(content)),
        names => {
            let names = names.iter().map(|name| format!("  {name}")).collect::<Vec<_>>().join("\n");
            let count = content.names.len();
            format!("removed: {}, {size}, which had {count} names:\n{names}\n", content.blake3)
        }
    };
    if !content.still_bound.is_empty() {
        let names = content.still_bound.iter().map(|name| format!("  {name}")).collect::<Vec<_>>().join("\n");
        let told = "its digest is bound still, and anything else is refused, until `waystation content unbind`, to:";
        text = format!("{}\n{told}\n{names}\n", text.trim_end());
    }
    text
}

fn quarantined(all: &[Quarantined]) -> String {
    let mut grid = Grid::new(&["file", "since", ">size", "was", "address", "why"]);
    for one in all {
        let name = one.name.clone().unwrap_or_else(|| "-".to_owned());
        let address = one.address.clone().unwrap_or_else(|| "-".to_owned());
        grid.row([one.id.clone(), one.at.to_string(), size::bytes(one.allocated), name, address, one.why.clone()]);
    }
    if grid.is_empty() { "nothing is in quarantine".to_owned() } else { grid.text() }
}

/// The payload's first name, else what the catalog calls it, else its identity.
fn label(content: &Content) -> &str {
    content.names.first().or(content.file.as_ref()).unwrap_or(&content.blake3)
}

async fn list(node: &Node, query: &str, limit: usize, out: Out) -> Result<(), Fail> {
    let mut all = Page { rows: Vec::new(), next: None };
    loop {
        let wanted = if limit == 0 { PAGE } else { (limit - all.rows.len()).min(PAGE) };
        let after = all.next.take().map(|next| format!("&after={next}")).unwrap_or_default();
        let page: Page<Content> = node.get(&format!("/api/v1/content?limit={wanted}{query}{after}")).await?;
        all.rows.extend(page.rows);
        all.next = page.next;
        if all.next.is_none() || all.rows.len() == limit {
            break;
        }
    }
    out.both(&all, |all| {
        let mut grid = Grid::new(&["payload", ">size", "class", "used", "", "name"]);
        for row in &all.rows {
            let more = match row.names.len() {
                0 | 1 => String::new(),
                many => format!(" (+{} more)", many - 1),
            };
            let name = row.names.first().or(row.file.as_ref()).map_or("-", String::as_str);
            grid.row([
                row.blake3.chars().take(16).collect(),
                size::bytes(row.size),
                row.class.clone(),
                used(row),
                if row.pinned.is_some() { "pinned".to_owned() } else { String::new() },
                format!("{name}{more}"),
            ]);
        }
        match (grid.is_empty(), &all.next) {
            (true, _) if query.is_empty() => "nothing is held yet".to_owned(),
            (true, _) => "nothing is held that fits".to_owned(),
            (false, None) => grid.text(),
            (false, Some(_)) => format!("{}there is more: --limit 0 shows all\n", grid.text()),
        }
    })
}

/// When a client last asked for it; nothing where none has since it came.
fn used(content: &Content) -> String {
    if content.used { content.used_at.to_string() } else { "-".to_owned() }
}

/// One payload for people.
pub(in crate::cli) fn one(content: &Content) -> String {
    let mut grid = Grid::new(&["", ""]);
    let mut row = |key: &str, value: String| grid.row([key.to_owned(), value]);
    row("blake3", content.blake3.clone());
    row("sha256", content.sha256.clone());
    row("sha1", content.sha1.clone());
    let bytes = size::count(content.size);
    row(
        "size",
        format!("{} ({bytes} bytes), {} on the disk", size::bytes(content.size), size::bytes(content.allocated)),
    );
    let class = match content.expires_at {
        Some(at) => format!("{}: nobody published a digest; goes {at}", content.class),
        None => content.class.clone(),
    };
    row("class", class);
    row("published", content.published_at.to_string());
    row("last used", if used(content) == "-" { "by no client since it came".to_owned() } else { used(content) });
    if content.outdated {
        row(
            "outdated",
            "only superseded or expired updates have it, or none any more: the first to go when room is needed"
                .to_owned(),
        );
    }
    if let Some(pin) = &content.pinned {
        row("pinned", format!("by {} at {}", pin.by, pin.at));
    }
    if let Some(file) = &content.file {
        row("file", file.clone());
    }
    for (at, name) in content.names.iter().enumerate() {
        row(if at == 0 { "names" } else { "" }, name.clone());
    }
    grid.text()
}
