//! The table of sections and keys: name, kind, default, effect and explanation of each, standing once. The template, the
//! reference, the checks and the typed form all come from here. Names are part of the product's face: none is renamed.

use crate::app::config::kinds::endpoint::AdmitByNetwork;
use crate::app::config::kinds::filter::{self, Chosen, Languages, Narrowed};
use crate::app::config::kinds::network::{
    Accounts, Address, Addresses, HostNames, Networks, OriginEntries, ProxyChoice, ProxyUrl, SyncProxy, UrlText, Urls,
};
use crate::app::config::kinds::pace::{BackgroundRules, NetworkRules, SiteZone, SteadyRules};
use crate::app::config::kinds::policy::{Above, Least, Rules};
use crate::app::config::kinds::quantity::{Count, Size, SizeWithin, Switch, Time};
use crate::app::config::kinds::word::{Days, Directory, FilePath, FilePaths, LogLevel, Text, Texts, UpstreamKind};
use crate::app::config::kinds::{Kind, shown};
use crate::app::error::{ConfigError, Problem};
use crate::app::logs::LogFormat;
use crate::fill::{Complete, Verify};
use crate::fleet::registry::Admit;
use crate::model::policy::Mode;
use crate::model::settings::{Effect, Raw, Settings};
use crate::model::update::Severity;

/// The least budget of a store: below it not even the piece map of one update fits.
pub(crate) const MAX_SIZE_MIN: u64 = 16 << 20;

/// The least extent: smaller questions cost an origin more than they carry.
const EXTENT_MIN: u64 = 64 << 10;

/// A section of the file.
pub(crate) struct Section {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its explanation, by line.
    pub(crate) doc: &'static [&'static str],
    /// Its keys.
    pub(crate) keys: &'static [Key],
}

/// A key of the file.
pub(crate) struct Key {
    /// `section.key`.
    pub(crate) path: &'static str,
    /// The name within its section.
    pub(crate) name: &'static str,
    /// Its explanation, by line.
    pub(crate) doc: &'static [&'static str],
    /// What it is when nobody says anything.
    pub(crate) default: fn() -> Raw,
    /// When a change takes effect.
    pub(crate) effect: Effect,
    /// Whether the environment and flags split at commas.
    pub(crate) list: bool,
    /// What is expected, with an example.
    pub(crate) expected: fn() -> String,
    /// Whether a value can be read.
    check: fn(&Raw) -> Result<(), String>,
}

impl Key {
    /// Refuses what cannot be read, with what is expected and an example.
    pub(crate) fn check(&self, raw: &Raw) -> Result<(), String> {
        (self.check)(raw).map_err(|why| complaint(self.path, raw, &(self.expected)(), &why))
    }
}

fn complaint(path: &str, raw: &Raw, expected: &str, why: &str) -> String {
    let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
    let mut value = shown(raw);
    if value.chars().count() > 120 {
        value = value.chars().take(120).chain("...".chars()).collect();
    }
    format!("{path} is {value}{why}; expected {expected}")
}

/// Reads one field in its kind.
fn field<K: Kind>(settings: &Settings, path: &str, problems: &mut Vec<Problem>) -> Option<K> {
    let setting = settings.get(path)?;
    match K::read(setting.value()) {
        Ok(value) => Some(value),
        Err(why) => {
            let what = complaint(path, setting.value(), &K::expected(), &why);
            problems.push(Problem { place: setting.origin().to_string(), what });
            None
        }
    }
}

fn text(text: &str) -> Raw {
    Raw::Text(text.to_owned())
}

fn list(items: &[&str]) -> Raw {
    Raw::List(items.iter().map(|item| (*item).to_owned()).collect())
}

macro_rules! table {
    ($($(#[doc = $section_doc:literal])+ $section:ident: $Section:ident {
        $($(#[doc = $doc:literal])+ $key:ident: $kind:ty = $default:expr, $effect:ident;)+
    })+) => {
        /// All sections, in the order of the template.
        pub(crate) static SECTIONS: &[Section] = &[$(Section {
            name: stringify!($section),
            doc: &[$($section_doc),+],
            keys: &[$(Key {
                path: concat!(stringify!($section), ".", stringify!($key)),
                name: stringify!($key),
                doc: &[$($doc),+],
                default: || $default,
                effect: Effect::$effect,
                list: <$kind as Kind>::LIST,
                expected: <$kind as Kind>::expected,
                check: |raw| <$kind as Kind>::read(raw).map(drop),
            }),+],
        }),+];

        $(
            $(#[doc = $section_doc])+
            #[allow(
                clippy::struct_field_names,
                reason = "`no_proxy` in `proxy` is how everybody writes it; the names are the product's face"
            )]
            #[derive(Clone, Debug)]
            pub(crate) struct $Section {
                $($(#[doc = $doc])+ pub(crate) $key: $kind,)+
            }
        )+

        /// All settings in their kinds.
        #[derive(Clone, Debug)]
        pub(crate) struct Typed {
            $(pub(crate) $section: $Section,)+
        }

        impl Typed {
            /// Reads every field, and tells of all that cannot be read.
            pub(crate) fn read(settings: &Settings) -> Result<Self, ConfigError> {
                let mut problems = Vec::new();
                let read = Self::read_all(settings, &mut problems);
                match read {
                    Some(typed) if problems.is_empty() => Ok(typed),
                    _ => Err(ConfigError { problems }),
                }
            }

            fn read_all(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Self> {
                $(
                    // In a block of its own: a key may have the name of another section.
                    let $section = {
                        $(let $key = field::<$kind>(
                            settings, concat!(stringify!($section), ".", stringify!($key)), problems);)+
                        (|| Some($Section { $($key: $key?),+ }))()
                    };
                )+
                Some(Self { $($section: $section?),+ })
            }
        }
    };
}

const SECOND: u64 = 1000;
const DAY: u64 = 86_400_000;

table! {
    /// Where the node listens.
    listen: Listen {
        /// Addresses for plain HTTP. Delivery Optimization asks its cache host on port 80 only: add "0.0.0.0:80" for it.
        http: Addresses = list(&["0.0.0.0:3698"]), Restart;
        /// Addresses for HTTPS. A WSUS client derives the content port as this port minus one: it wants 8530 in `http`
        /// beside 8531 here. Delivery Optimization asks on 443 only.
        https: Addresses = list(&["0.0.0.0:6201"]), Restart;
        /// The address of the control listener (console, API, metrics, health). Off the loopback it speaks TLS with the node's
        /// certificate. Whoever asks signs in or has a token; until there is an account, this machine may read. "" turns it off,
        /// and the control socket in the data directory stays.
        control: Address = text("127.0.0.1:6202"), Restart;
        /// Addresses for other nodes, those below this one. They are opened by the first invitation (`waystation nodes invite`),
        /// never before.
        peer: Addresses = list(&["0.0.0.0:6203"]), Restart;
    }
    /// How clients call the node.
    advertise: Advertise {
        /// Names and addresses by which clients call the node: they go into its TLS certificate. Without any, the
        /// machine's own name.
        names: HostNames = list(&[]), Restart;
        /// Further names that reach the node from outside the site.
        external: HostNames = list(&[]), Restart;
        /// The base of file URLs handed to endpoints that scan; it may name another node. "" takes the host that was asked, and
        /// the HTTP port one below the HTTPS port asked where that is listened on, else the first HTTP port.
        content_url: UrlText = text(""), Restart;
    }
    /// The console and the API: who is let in over `listen.control`.
    admin: Admin {
        /// Names by which the control listener is called, beside those of `advertise.names`, its addresses and localhost: those of a
        /// proxy before it. Any other Host is refused, so that no web page can have a browser ask here under a name of its own.
        hosts: HostNames = list(&[]), Restart;
        /// A session in which nothing was asked for so long ends.
        session_idle: Time<{ 60 * SECOND }, { DAY }> = text("30 min"), Restart;
        /// A session ends after so long, whatever happens in it.
        session_max: Time<{ 600 * SECOND }, { 30 * DAY }> = text("12 h"), Restart;
        /// An OpenID Connect provider that says who somebody is, as it names itself, such as
        /// "https://login.example.org/realms/site"; "" has people sign in with passwords alone. It is told to send browsers back to
        /// https://NODE:PORT/sign-in/oidc/back. Who it vouches for comes in as the account of that name, which must be there.
        oidc_issuer: UrlText = text(""), Restart;
        /// As what the provider knows this node.
        oidc_client: Text = text(""), Restart;
        /// A file with the secret of that client and nothing else; not readable for others.
        oidc_secret_file: FilePath = text(""), Restart;
        /// Which of the provider's claims is the account's name: one that only the provider can set, and that is never given to
        /// somebody else. "email" counts only where the provider says that it has verified the address.
        oidc_claim: Text = text("preferred_username"), Restart;
    }
    /// The node's certificate. Without files the node makes one, signed by its own site CA. Files are watched and
    /// reloaded without dropping a connection.
    tls: Tls {
        /// The certificate chain, PEM, the leaf first; an ECDSA P-256 key serves every Windows from Server 2012 R2 on.
        cert: FilePath = text(""), Restart;
        /// Its private key, PEM; not readable for others.
        key: FilePath = text(""), Restart;
        /// An RSA certificate chain beside it, for clients that cannot do ECDSA.
        rsa_cert: FilePath = text(""), Restart;
        /// Its private key.
        rsa_key: FilePath = text(""), Restart;
    }
    /// The store.
    store: Store {
        /// The data directory, `--data` on the command line. Without it: /var/lib/waystation for root, else
        /// $XDG_DATA_HOME/waystation (or ~/.local/share/waystation). Relative paths elsewhere in this file begin here.
        path: Directory = text("/var/lib/waystation"), Startup;
        /// The most that payloads, drafts and quarantine may take, in blocks really allocated. Without it: 500 GiB, but at
        /// most nine tenths of the file system.
        max_size: SizeWithin<MAX_SIZE_MIN, { u64::MAX }> = text("500 GiB"), Startup;
        /// What stays free on the file system. Without it: 10 GiB, but at most a twentieth of the file system.
        min_free: Size = text("10 GiB"), Startup;
        /// How many days a payload is kept for which nobody published a digest.
        unproven_days: Count<1, 3650> = Raw::Number(30), Startup;
        /// How often every payload is read again and held against its proof; "0" never does.
        scrub: Time<0, { 3650 * DAY }> = text("91 days"), Restart;
        /// The memory that the index may use as its cache.
        index_cache: SizeWithin<{ 1 << 20 }, { 64 << 30 }> = text("64 MiB"), Startup;
        /// Most payloads kept open at once. Each takes a file descriptor and two memory maps.
        open_payloads: Count<16, 1_000_000> = Raw::Number(4096), Startup;
        /// Threads that read, write and hash; 0 is two for each core, from 4 to 32.
        io_threads: Count<0, 256> = Raw::Number(0), Startup;
        /// Takes a data directory on NFS, SMB or FUSE. Locks, renames and memory maps are not safe there, so that a
        /// payload can be lost; nothing wrong is served.
        allow_network: Switch = Raw::Switch(false), Startup;
    }
    /// Who may be asked for content, beside the shipped list of Microsoft's delivery hosts.
    origins: Origins {
        /// Entries are a host with an optional scheme and port (http and 80 unless given), "*.host" for all below it,
        /// "!host" to take one away. Private and loopback addresses only when listed literally.
        /// For example `allow = ["https://dl.example.org", "*.example.net", "127.0.0.1:8000", "!download.nvidia.com"]`.
        allow: OriginEntries = list(&[]), Live;
    }
    /// What stands above the node. `waystation upstream set` chooses it while the node runs, for the next start; `waystation upstream
    /// test` tests the way to it.
    upstream: Upstream {
        /// "microsoft": payloads come from where they are published. "wsus" and "parent": what is asked for by digest
        /// comes from `url`.
        kind: UpstreamKind = text("microsoft"), Restart;
        /// The base URL of the WSUS server or the parent. Below a parent it may be left out: payloads then come from where they
        /// are published.
        url: Urls = list(&[]), Restart;
        /// Below a parent: what the authority decided for all endpoints holds here, too. Without it this node decides for itself.
        replica: Switch = Raw::Switch(true), Restart;
        /// Below a WSUS server: after each synchronisation it is told how this node and its endpoints stand, in counts, so that its
        /// administrator sees this node as a downstream server.
        rollup: Switch = Raw::Switch(true), Restart;
        /// Below a parent that this node joined: what the parent cannot give (it is away, or sends wrong bytes) comes from where it is
        /// published, and what comes from there by the three settings below comes from the parent when nobody answers there.
        failover: Switch = Raw::Switch(true), Restart;
        /// Below a parent that this node joined: files of updates with one of these classifications, by name or id, come from where they
        /// are published. `["Definition Updates"]` spares the line to the parent what changes several times a day.
        direct_classifications: Texts = list(&[]), Restart;
        /// The same for companies, families and products, by name, path or id, as in `[filters]`.
        direct_products: Texts = list(&[]), Restart;
        /// The same for what is published at these hosts; "*.example.net" is all below it.
        direct_hosts: Accounts = list(&[]), Restart;
        /// "global" asks through [proxy], "none" directly, a URL through that proxy, which is told the user and password of [proxy]
        /// only where it is the one that `proxy.url` names.
        proxy: ProxyChoice = text("global"), Restart;
        /// The user at that proxy, where it is another one than `proxy.username`. A proxy that is named by its URL above is
        /// told this one or none.
        proxy_username: Text = text(""), Restart;
        /// A file with the password of that user and nothing else; not readable for others.
        proxy_password_file: FilePath = text(""), Restart;
        /// Files (PEM) with further certificate authorities that are trusted, beside the system's: what a proxy that
        /// opens TLS needs.
        extra_ca: FilePaths = list(&[]), Restart;
        /// How long a connection may take to come up.
        connect_timeout: Time<{ SECOND }, { 60 * SECOND }> = text("5 s"), Restart;
        /// An answer that sends nothing for this long is taken for stalled and asked for again.
        stall_timeout: Time<{ SECOND }, { 300 * SECOND }> = text("10 s"), Restart;
        /// How long one question is tried again before the failure is reported; of the catalog's service it is the time that is
        /// waited between attempts. What does not pass by itself (no such name, nobody listens, no sync service) is reported
        /// within seconds where a person has started the run.
        patience: Time<{ SECOND }, { 3600 * SECOND }> = text("60 s"), Restart;
    }
    /// The way out of the site.
    proxy: Proxy {
        /// The proxy, such as "http://proxy:3128" (also https, socks4, socks5, socks5h); "" asks directly. Behind a proxy
        /// only names and ports of origins can be checked, not the addresses they resolve to.
        url: ProxyUrl = text(""), Restart;
        /// The user at the proxy.
        username: Text = text(""), Restart;
        /// A file with the password of that user and nothing else; not readable for others.
        password_file: FilePath = text(""), Restart;
        /// Hosts, domains (".example.org") and networks that are asked directly.
        no_proxy: Texts = list(&[]), Restart;
    }
    /// Getting payloads.
    fill: Fill {
        /// "demand": pieces that clients ask for, and the whole once half of it was asked for or little is missing.
        /// "always": the whole on the first question. "never": only what is asked for.
        complete: Complete = text("demand"), Restart;
        /// "stream": pieces leave as they come, the last bytes wait for the proof. "strict": nothing leaves before it.
        verify: Verify = text("stream"), Restart;
        /// The most that is asked of an origin in one request; on slow links it shrinks by itself.
        extent: SizeWithin<EXTENT_MIN, { 1 << 30 }> = text("8 MiB"), Restart;
        /// Connections to one host at the same time.
        connections_per_host: Count<1, 64> = Raw::Number(8), Restart;
        /// How long a client waits for the first byte before it is told to come again. Windows takes 20 s for a dead
        /// node, which it then avoids for 15 minutes.
        silence: Time<{ SECOND }, { 19 * SECOND }> = text("15 s"), Restart;
    }
    /// How fast bytes may flow. A rule is a rate ("20 Mbit/s", "2.5 MB/s", "512 KiB/s", "unlimited"), with a window of the
    /// week before it or not: "08:00-18:00 Mon-Fri: 20 Mbit/s". The first rule that covers the time holds; where none does,
    /// nothing is limited. A window may run over midnight; then its days are those on which it begins. Zero is refused:
    /// what nobody waits for can be "paused". Body bytes are counted. `waystation bandwidth` shows what holds and changes it.
    bandwidth: Bandwidth {
        /// Whose clock the windows mean: an IANA name such as "Europe/Vienna", or a POSIX time zone. "" is the machine's own.
        /// An hour that the clock skips in spring is in no window; one that it shows twice in autumn is in it twice.
        timezone: SiteZone = text(""), Live;
        /// All that is fetched from above, for whatever end: the site's own link. What endpoints wait for goes first.
        upstream: SteadyRules = list(&[]), Live;
        /// Fetching the catalog. May be "paused": a run then waits, and keeps what it has.
        sync: BackgroundRules = list(&[]), Live;
        /// What is fetched while no endpoint waits for it: files that [content] wants, `waystation fetch`, and the rest of a payload.
        /// May be "paused".
        /// An origin that knows no ranges sends the whole in its first answer: that is counted and held as `demand`.
        prefetch: BackgroundRules = list(&[]), Live;
        /// Definition updates: lists and documents of their lane ([definitions]), and, with that lane or without, their files that
        /// [content] wants and no endpoint waits for. May be "paused".
        definitions: BackgroundRules = list(&[]), Live;
        /// What is fetched because an endpoint waits for it.
        demand: SteadyRules = list(&[]), Live;
        /// Answers to endpoints. Windows avoids a node for 15 minutes that gives a connection less than 4 kB/s for 20 s.
        clients: SteadyRules = list(&[]), Live;
        /// Payloads for nodes below. What the feed tells them is not counted.
        nodes: SteadyRules = list(&[]), Live;
        /// Rules by the client's network, the longest prefix counts: "10.1.0.0/16: 50 Mbit/s" for the network as a whole,
        /// "10.0.0.0/8 each /24: 08:00-18:00 Mon-Fri: 5 Mbit/s" for each of its parts. The limit of `clients` counts besides.
        networks: NetworkRules = list(&[]), Live;
        /// Whether sync, prefetch and definitions slow down when origins take longer to answer than they did: then a line is full.
        give_way: Switch = Raw::Switch(true), Live;
    }
    /// The catalog: which updates there are, fetched from Microsoft or from a WSUS server ([upstream] kind).
    /// `waystation sync` starts and stops a run, and shows how the runs went.
    sync: Synchronisation {
        /// Whether the schedule starts runs. A person can start one at any time.
        enabled: Switch = Raw::Switch(false), Restart;
        /// When: "daily 02:00"; "hourly 00:30", or "every 4 hours from 00:30" (at that time of each day, and so many hours apart
        /// for 24 hours); "weekly Tue, Fri 22:15"; "monthly 15 03:00", or "monthly last 03:00" ("monthly 31" is
        /// the same: in a shorter month, such as February, it is the last day); "monthly second Tuesday 20:00", first to fourth or
        /// last, or so many days behind it: "monthly second Tuesday + 3 days 03:00". By the clock of `bandwidth.timezone`.
        schedule: Days = text("daily 02:00"), Restart;
        /// Each run begins up to this many minutes later, each time another number, so that many nodes do not ask at once.
        jitter_minutes: Count<0, 720> = Raw::Number(60), Restart;
        /// Whether a run that was missed, since the node was off, is made up for when it is on again. So is one that was cut off, two
        /// minutes after the node is back, and one that failed for a reason that may pass (no answer, an internal error of the service,
        /// a 403), after 15 minutes, 1 and 4 hours, unless the next one is due before. Without it a run begins at most an hour late or not at all.
        run_if_missed: Switch = Raw::Switch(true), Restart;
        /// Whether updates that [filters] do not find any more leave the catalog at the end of a run. `false`: they stay as they
        /// were, as a WSUS server keeps them, and `waystation updates list --beyond` shows them. What a person approved stays in any
        /// case, and so does what another update bundles or requires.
        prune_beyond_filters: Switch = Raw::Switch(false), Restart;
        /// Questions for documents that are under way at the same time.
        parallel: Count<1, 16> = Raw::Number(4), Restart;
        /// The address of Microsoft's sync service: where the catalog comes from where `upstream.kind` is "microsoft", and what
        /// `waystation sync crosscheck` compares a WSUS' catalog with. Another one is of use behind a mirror and for tests; an empty
        /// one stands for Microsoft's own.
        microsoft: UrlText = text("https://sws.update.microsoft.com"), Restart;
        /// The way to the service that is synchronised with, Microsoft's or the WSUS server's, apart from that to content:
        /// "upstream" asks as `upstream.proxy` says, "none" directly, "global" through [proxy], a URL through that proxy.
        /// `proxy.no_proxy` does not count for a URL here.
        proxy: SyncProxy = text("upstream"), Restart;
        /// The user at that proxy, where it is another one than `proxy.username`. A proxy that is named by its URL above is
        /// told this one or none.
        proxy_username: Text = text(""), Restart;
        /// A file with the password of that user and nothing else; not readable for others.
        proxy_password_file: FilePath = text(""), Restart;
        /// An address that is told of runs: a POST of JSON when one starts, succeeds, fails or is stopped. "" tells nobody. Over
        /// plain HTTP who can read the wire reads it. It wants a secret, in `sync.webhook_secret_file`.
        webhook: UrlText = text(""), Restart;
        /// A file with the secret that these are signed with (HMAC-SHA-256) and nothing else; not readable for others.
        webhook_secret_file: FilePath = text(""), Restart;
    }
    /// A lane of its own for definition updates, which come several times a day. Of Microsoft only they are listed then, and the
    /// other lists are left alone; a WSUS gives everything as one list, so that a run of the lane fetches all that is new.
    definitions: DefinitionUpdates {
        /// Whether the lane is on. The products are those of [filters].
        enabled: Switch = Raw::Switch(false), Restart;
        /// When, as of `sync.schedule`.
        schedule: Days = text("every 4 hours from 00:30"), Restart;
        /// Each run begins up to this many minutes later, each time another number.
        jitter_minutes: Count<0, 720> = Raw::Number(20), Restart;
        /// So many of the newest of each product are kept of those that nobody approved; older ones leave the catalog, what is
        /// expired or superseded first.
        keep: Count<1, 1000> = Raw::Number(12), Restart;
    }
    /// What of Microsoft's catalog is wanted: an update is, when it has one of the products and one of the classifications.
    /// `waystation filters` shows what the catalog has, and changes these. Below a WSUS or a parent they have no effect:
    /// all that those offer is taken.
    filters: Filters {
        /// Companies, families and products, by name ("Windows 11"), path where a name is not unique ("Microsoft > Windows"),
        /// or id. In the environment give ids: names have commas in them.
        /// The default is what is called Windows 11, Windows 10 (version 1903 and later, and LTSB), Windows Server 2016 and 2019,
        /// Microsoft Server operating system 21H2 and 24H2, and Microsoft Defender Antivirus; by id, since names change.
        products: Chosen<true> = filter::products(), Live;
        /// Classifications, by name or id. The default is critical and security updates, definitions, rollups, updates and service
        /// packs; drivers and upgrades are many and large, and not in it.
        classifications: Chosen<false> = filter::classifications(), Live;
        /// Languages ("en", "zh-tw"); [] for all. Most current updates have all of them in one file.
        languages: Languages = list(&[]), Live;
    }
    /// Which files of the catalog's updates are fetched before an endpoint asks for them. `waystation plan` counts what these
    /// settings want, or what others would; `waystation updates approve` and `decline` say it of single updates, and a person's
    /// word counts more. What is fetched keeps to `bandwidth.prefetch`, files of definition updates to `bandwidth.definitions`.
    content: Content {
        /// "metadata": no files. "approved": those of updates that somebody approved. "asked": these, and files that endpoints
        /// have asked for, or ones like them. "severity": these, and those of updates at least as severe as `severity` says.
        /// "all": everything in the filters, once `waystation plan --confirm` has agreed to the size.
        policy: Mode = text("approved"), Live;
        /// The least severity for the policy "severity": "low", "moderate", "important" or "critical".
        severity: Severity = text("critical"), Live;
        /// What holds for single classifications instead: "Definition Updates: all", "Drivers: metadata",
        /// "Security Updates: severity important". A rule with "all" waits for `waystation plan --confirm`, as the policy "all" does. One
        /// that names no classification of the catalog is left out and told; where it would keep something out, nothing is fetched
        /// ahead by itself until it is corrected.
        rules: Rules = list(&[]), Live;
        /// Whether expired updates, which their publisher withdrew, are declined automatically.
        decline_expired: Switch = Raw::Switch(true), Live;
        /// Whether updates that something newer does the work of are declined automatically, unless they were approved after
        /// that was known.
        decline_superseded: Switch = Raw::Switch(true), Live;
        /// Whether updates come too that endpoints report as missing and nobody approved: "off", or the least severity of them ("low",
        /// "moderate", "important", "critical"). Only endpoints count that were first seen 7 days ago or more, and only what
        /// [filters] find. `waystation prefetch status` tells what came so, and what waits.
        detected: Above = text("off"), Live;
        /// The most that comes so on a day (by UTC); what has no room in it waits for the next one.
        detected_daily: Size = text("2 GiB"), Live;
        /// An update of which more than this is missing comes so only after `waystation prefetch confirm`. So does one
        /// that is larger than `detected_daily`.
        detected_ask_above: Size = text("500 MiB"), Live;
    }
    /// The scan face for Windows Update Agents.
    scan: Scan {
        /// Networks whose clients may scan over plain HTTP. Update metadata is unsigned: who can change it on the wire
        /// runs code on the clients. Loopback may always, and over HTTPS everybody.
        plaintext: Networks = list(&[]), Restart;
        /// What becomes of an endpoint that scans for the first time. "accept": it is served. "hold": it is known, and served once
        /// `waystation endpoints admit` lets it in. "refuse": it is neither. Who is known already is served as before.
        unknown: Admit = text("accept"), Restart;
        /// What holds for networks instead, the narrowest counts, such as `["10.0.0.0/8: accept", "10.9.0.0/16: hold"]`.
        unknown_networks: AdmitByNetwork = list(&[]), Restart;
        /// The networks of the site. An endpoint that was last heard of from elsewhere is shown as roaming; with none named, all
        /// are on site. Nothing is refused by it.
        site_networks: Networks = list(&[]), Restart;
        /// Products, families or companies of which updates are detected that nobody decided: sent to be looked for and reported, and
        /// not to be installed, so that what is missing is known before anything is approved. None named: all. Superseded and expired
        /// ones never are, nor drivers.
        detect_products: Narrowed<true> = list(&[]), Restart;
        /// Classifications of which updates are detected so. None named: all.
        detect_classifications: Narrowed<false> = list(&[]), Restart;
        /// Days since such an update was made, at most; 0 for any age. What a new machine has to evaluate `waystation compliance summary` shows.
        detect_days: Count<0, 3650> = Raw::Number(0), Restart;
    }
    /// WSUS servers that synchronise with this node, as with an upstream WSUS server. Off unless networks are named.
    downstream: Downstream {
        /// Networks whose WSUS servers may ask. The protocol has no secret: whoever is in one of them is given the catalog, and the
        /// approvals. Over plain HTTP nothing proves to the server below that the metadata is what was sent: prefer HTTPS.
        networks: Networks = list(&[]), Restart;
        /// The names of these servers, as they name themselves (`wsus.site.example`); one that begins with `*.` stands for all names
        /// that end so. None named: all of those networks.
        accounts: Accounts = list(&[]), Restart;
        /// The most that is fetched ahead on a day (by UTC) since such servers want it. What is more comes when they fetch it.
        fetch_daily: Size = text("20 GiB"), Restart;
    }
    /// What endpoints must keep to, by what they report. `waystation compliance` shows which do not, and why.
    compliance: Compliance {
        /// The least severity of updates that may not be missing for long: "any", "low", "moderate", "important" or "critical".
        /// Not every update that mends something says how bad that is; "any" counts those too.
        severity: Least = text("important"), Live;
        /// Days that such an update may be missing on an endpoint, from when that first told of it, or of one whose place it takes.
        missing_days: Count<0, 3650> = Raw::Number(30), Live;
        /// Days that may pass between scans.
        scan_days: Count<1, 3650> = Raw::Number(14), Live;
        /// Days that a restart may be pending.
        restart_days: Count<0, 3650> = Raw::Number(7), Live;
    }
    /// Limits against clients that take too much. A reload changes them for connections that begin after it; none is cut
    /// by it.
    limits: Limits {
        /// Most client connections at once.
        connections: Count<16, 1_000_000> = Raw::Number(4096), Live;
        /// Most connections of one client address at once.
        connections_per_client: Count<1, 1_000_000> = Raw::Number(256), Live;
        /// Networks that the limit per client does not count for: gateways, proxies, the bridge of a container.
        exempt: Networks = list(&[]), Live;
        /// How long an idle connection is kept.
        idle: Time<{ SECOND }, { 3600 * SECOND }> = text("75 s"), Live;
        /// How long the requests under way may go on when the node is told to stop.
        drain: Time<0, { 3600 * SECOND }> = text("30 s"), Live;
    }
    /// What the node writes about itself, to standard error.
    log: Log {
        /// A level (error, warn, info, debug, trace), or levels by room such as "info,waystation::store=debug".
        level: LogLevel = text("info"), Live;
        /// "human", "json" (one object a line), or "auto": human on a terminal and under systemd, JSON otherwise.
        format: LogFormat = text("auto"), Restart;
    }
}

/// The section of that name.
pub(crate) fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

/// The key at `section.key`.
pub(crate) fn key(path: &str) -> Option<&'static Key> {
    all().find(|key| key.path == path)
}

/// All keys.
pub(crate) fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::Setting;

    pub(crate) fn defaults() -> Settings {
        let mut settings = Settings::default();
        for key in all() {
            settings.define(key.path, Setting::new((key.default)(), key.effect));
        }
        settings
    }

    #[test]
    fn every_default_can_be_read_and_every_key_is_explained() {
        for key in all() {
            assert_eq!(key.check(&(key.default)()), Ok(()), "{}", key.path);
            assert!(key.doc.iter().all(|line| line.len() > 3), "{}", key.path);
        }
        let typed = Typed::read(&defaults()).unwrap();
        assert_eq!(typed.listen.http.0[0].port(), 3698);
        assert_eq!(typed.store.max_size.0, 500 << 30);
    }

    #[test]
    fn a_wrong_type_is_answered_with_an_example() {
        let error = key("store.max_size").unwrap().check(&Raw::Switch(true)).unwrap_err();
        assert!(error.starts_with("store.max_size is true; expected a size such as \"500 GiB\""), "{error}");
    }
}
