//! The commented template and the reference document, both out of the table of keys.

use std::fmt::Write;

use crate::admin::router::ADDRESSES;
use crate::app::config::keys::{SECTIONS, Section};
use crate::model::settings::Effect;

/// Every section and key, each key commented out with its default and explanation.
pub(crate) fn template() -> String {
    let mut out = String::from(
        "# Waystation's configuration. Every key stands here with its default, commented out: the node runs without any.\n\
         # `waystation check-config` says what would run. Sizes: \"500 GiB\". Times: \"75 s\", \"30 days\".\n\
         # A single value may stand where a list can.\n",
    );
    for section in SECTIONS {
        out.push('\n');
        lines(&mut out, section.doc);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "[{}]", section.name);
        for key in section.keys {
            out.push('\n');
            lines(&mut out, key.doc);
            let _ = writeln!(out, "#{} = {}", key.name, (key.default)());
        }
    }
    out
}

fn lines(out: &mut String, doc: &[&str]) {
    for line in doc {
        let _ = writeln!(out, "# {}", line.trim());
    }
}

/// `docs/CONFIGURATION.md`.
pub(crate) fn reference() -> String {
    let mut out = String::from(HEAD);
    for section in SECTIONS {
        part(&mut out, section);
    }
    out.push_str(CONTROL);
    for (method, path, what) in ADDRESSES {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| `{method}` | `{path}` | {what} |");
    }
    out
}

/// Stands above the addresses of the control plane.
const CONTROL: &str = "
# The control plane

`control.sock` in the data directory answers all of these to root and the node's own user; the listener of `listen.control`
those for which somebody's role and scopes suffice, with a session or a token ([the console](CONSOLE.md)). Answers are JSON; an error is a problem document (RFC 9457) that says
what is wrong and what to do. A job's start is answered with 202 and its number. The verbs of the command line are made of
these, for example:

    curl --unix-socket /var/lib/waystation/control.sock http://localhost/api/v1/status

| Method | Address | What it does |
|---|---|---|
";

/// Stands above the sections.
const HEAD: &str = "\
# Configuration

<!-- Written by `waystation config reference`; a test holds this file against it. Change the table of keys instead. -->

`waystation serve` works without any configuration. What is set comes in layers; a later one wins:

1. the defaults below;
2. what was set while the node ran, kept in its store with who and when: the keys of [bandwidth], by
   `waystation bandwidth set`, those of [filters], by `waystation filters set`, and kind, url and proxy of [upstream], by
   `waystation upstream set`, which the next start takes;
3. the file: `--config FILE`, else `waystation.toml` in the data directory, if it is there;
4. the environment: `WAYSTATION__SECTION__KEY`, such as `WAYSTATION__STORE__MAX_SIZE=\"1 TiB\"`; lists by commas;
5. flags: `--data`, `--log`, `--log-format`, and `--set section.key=value` for all the rest, once for each item of a list.

What the file, the environment or a flag says is *locked*: it cannot be changed at run time, and `config show` says where it
is fixed. Unknown sections, keys and variables are refused by name and line, also a variable that is nearly one
(`WAYSTATION_STORE_MAX_SIZE`). `waystation check-config` prints what would run, where each value comes from, and what will
not work; `waystation config template` prints a commented file to begin with.

A single value may stand where a list can. Sizes are written `\"500 GiB\"` (B, KiB, MiB, GiB, TiB, KB, MB, GB, TB), times
`\"75 s\"` (ms, s, min, h, days). No secret stands in the file: passwords are read from files of their own.

*Live* keys take effect on `systemctl reload` (SIGHUP); all others at the next start, and the log names them on a reload. A
file that has errors is refused as a whole on a reload, and what ran before goes on. *Startup* keys must be known before the
store is open, so that they cannot be set at run time.
";

fn part(out: &mut String, section: &Section) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\n## [{}]\n\n{}\n", section.name, joined(section.doc));
    for key in section.keys {
        let effect = match key.effect {
            Effect::Live => "live",
            Effect::Restart => "restart",
            Effect::Startup => "startup",
        };
        let _ = write!(
            out,
            "\n### `{}`\n\nDefault `{}` · {effect} · `{}`\n\n{}\n\nExpected: {}.\n",
            key.path,
            (key.default)(),
            variable(key.path),
            joined(key.doc),
            (key.expected)()
        );
    }
}

/// The variable of the environment that sets a key.
pub(crate) fn variable(path: &str) -> String {
    format!("WAYSTATION__{}", path.to_ascii_uppercase().replace('.', "__"))
}

fn joined(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n")
}
