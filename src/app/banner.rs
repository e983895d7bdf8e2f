//! What is said when the node is up: where it listens, where its data lies, how to point Windows at it, and where to look.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use crate::app::config::kinds::quantity::size_text;

/// What the banner tells of.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) http: &'a [SocketAddr],
    pub(crate) https: &'a [SocketAddr],
    pub(crate) control: Option<SocketAddr>,
    /// The control socket, unless it could not be made.
    pub(crate) socket: Option<&'a Path>,
    pub(crate) data: &'a Path,
    pub(crate) max_size: u64,
    pub(crate) file: Option<&'a Path>,
    /// How clients call the node.
    pub(crate) name: &'a str,
    /// Whether a WSUS server stands above.
    pub(crate) below_wsus: bool,
    /// Why nothing new is kept, if so.
    pub(crate) read_only: Option<&'a str>,
    /// The one-time code for the first account, where there is none.
    pub(crate) setup_code: Option<&'a Path>,
}

/// The policy key of Delivery Optimization.
const POLICY: &str = r"HKLM\SOFTWARE\Policies\Microsoft\Windows\DeliveryOptimization";

/// The policy key of Windows Update.
const UPDATE_POLICY: &str = r"HKLM\SOFTWARE\Policies\Microsoft\Windows\WindowsUpdate";

/// How clients of a WSUS are told to take content here.
fn alternate(out: &mut String, facts: &Facts<'_>) {
    let _ = writeln!(out, "Point the clients of your WSUS at it for content, in an administrator's prompt:");
    let port = facts.http.first().map_or(80, SocketAddr::port);
    let url = format!("http://{}:{port}", facts.name);
    let _ = writeln!(out, "  reg add {UPDATE_POLICY} /v UpdateServiceUrlAlternate /t REG_SZ /d {url} /f");
    let _ = writeln!(out, "  reg add {UPDATE_POLICY} /v FillEmptyContentUrls /t REG_DWORD /d 1 /f");
    let _ = writeln!(out, "  WUServer, WUStatusServer and UseWUServer stay; DOCacheHost must not be set beside it");
}

/// How clients of Microsoft's cloud are told to take content here.
fn cache_host(out: &mut String, facts: &Facts<'_>) {
    let _ = writeln!(out, "Point Windows at it, beside Microsoft's cloud, in an administrator's prompt:");
    let _ = writeln!(out, "  reg add {POLICY} /v DOCacheHost /t REG_SZ /d {} /f", facts.name);
    let _ = if facts.http.iter().any(|address| address.port() == 80) {
        writeln!(
            out,
            "  check there: (Get-DeliveryOptimizationStatus).BytesFromCacheServer grows with the next download"
        )
    } else {
        let more = facts.http.first().map(|address| format!(", \"{address}\"")).unwrap_or_default();
        writeln!(
            out,
            "  but first listen on port 80, the only one that it asks: [listen] http = [\"0.0.0.0:80\"{more}]"
        )
    };
}

/// The banner, for people.
pub(crate) fn text(facts: &Facts<'_>) -> String {
    let mut out = String::new();
    let urls = |scheme: &str, addresses: &[SocketAddr]| {
        addresses.iter().map(|address| format!("{scheme}://{address}")).collect::<Vec<_>>().join("  ")
    };
    let content = [urls("http", facts.http), urls("https", facts.https)].join("  ");
    let control = match (facts.control, facts.socket) {
        (Some(address), _) => {
            let scheme = if address.ip().is_loopback() { "http" } else { "https" };
            format!("{scheme}://{address} (console, API, /metrics)")
        }
        (None, Some(socket)) => socket.display().to_string(),
        (None, None) => "none".into(),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "waystation {} is up", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(out, "  content  {}", content.trim());
    let _ = writeln!(out, "  control  {control}");
    let _ = writeln!(out, "  data     {} (at most {})", facts.data.display(), size_text(facts.max_size));
    let _ = match facts.file {
        Some(file) => writeln!(out, "  settings {}", file.display()),
        None => {
            writeln!(out, "  settings no configuration file; `waystation config template` prints one to begin with")
        }
    };
    if let (Some(file), Some(_)) = (facts.setup_code, facts.control) {
        let _ = writeln!(out, "  set up   open the console, with the code in {} (good for 15 minutes)", file.display());
    }
    if let Some(why) = facts.read_only {
        let _ = writeln!(out, "  NOT READY: only what is held is served: {why}");
    }
    if facts.below_wsus {
        alternate(&mut out, facts);
    } else {
        cache_host(&mut out, facts);
    }
    let dir = facts.data.display();
    let _ = writeln!(out, "  look from here: `waystation status --data {dir}`, `waystation doctor --data {dir}`");
    out
}

/// One line for `systemctl status`.
pub(crate) fn status(facts: &Facts<'_>) -> String {
    let ports: Vec<_> = facts.http.iter().chain(facts.https).map(ToString::to_string).collect();
    match facts.read_only {
        Some(why) => format!("serving only what is held ({why}) on {}", ports.join(", ")),
        None => format!("serving on {}", ports.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_add_for_delivery_optimization() {
        let http = ["0.0.0.0:3698".parse().unwrap()];
        let facts = Facts {
            http: &http,
            https: &[],
            control: None,
            socket: Some(Path::new("/d/control.sock")),
            data: Path::new("/d"),
            max_size: 1 << 40,
            file: None,
            name: "cache.example",
            below_wsus: false,
            read_only: None,
            setup_code: Some(Path::new("/d/setup-code")),
        };
        let told = text(&facts);
        assert!(told.contains("[listen] http = [\"0.0.0.0:80\", \"0.0.0.0:3698\"]"), "{told}");
        assert!(told.contains("/d cache.example /f"), "{told}");
        assert!(told.contains("settings no configuration file"), "{told}");
        let told = text(&Facts { below_wsus: true, ..facts });
        assert!(told.contains("UpdateServiceUrlAlternate /t REG_SZ /d http://cache.example:3698 /f"), "{told}");
        assert!(!told.contains("v DOCacheHost") && told.contains("FillEmptyContentUrls"), "{told}");
        let low = ["0.0.0.0:80".parse().unwrap()];
        assert!(!text(&Facts { http: &low, ..facts }).contains("but first"));
        assert_eq!(
            status(&Facts { read_only: Some("disk"), ..facts }),
            "serving only what is held (disk) on 0.0.0.0:3698"
        );
    }
}
