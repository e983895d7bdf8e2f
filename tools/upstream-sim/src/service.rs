//! The methods (MS-WSUSSS 3.1.4): what is asked is checked as the real servers check it, then answered from templates.

use std::collections::HashSet;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::answers::{self, Blob};
use crate::cabinet;
use crate::clock::{anchor, anchor_time, iso};
use crate::document::Document;
use crate::faults::{Order, hex};
use crate::guid::{Guid, Identity};
use crate::options::Blobs;
use crate::random::join;
use crate::reports;
use crate::request::{self, Element, Request};
use crate::shared::{COUNTER, Pass, Shared, lock, real_time};
use crate::sick;
use crate::world::{Filter, World};

/// Updates in one GetUpdateData, and digests in one DownloadFiles.
const MOST: usize = 100;

/// An answer ends where it passes this; at least one update is in it.
const ANSWER_MAX: usize = 2_000_000;

/// Above this many bytes of UTF-16 a document is compressed.
const PLAIN_MAX: usize = 5_120;

/// A document of this size is written alone.
const LARGE: usize = 4 << 20;

/// In place of an error code: there is no answer.
const CRASH: &str = "crash";

/// An error code and the message with it.
type Fault = (&'static str, String);

fn fault<T>(code: &'static str, message: &str) -> Result<T, Fault> {
    Err((code, message.to_owned()))
}

/// What is sent.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) soap12: bool,
    pub(crate) body: String,
    pub(crate) faults: Vec<Order>,
    /// Updates that were asked for.
    pub(crate) asked: usize,
    /// The connection ends here.
    pub(crate) crash: bool,
}

/// What is to be noted of a call.
#[derive(Default)]
struct Note {
    details: Value,
    asked: Vec<Identity>,
    answered: Vec<Identity>,
}

/// Which service was called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Sync,
    Auth,
    Reports,
}

impl Shared {
    /// Answers a call; `host` is what the client called this server.
    pub(crate) fn answer(&self, service: Service, host: &str, body: &[u8]) -> Reply {
        let request = match request::read(body) {
            Ok(request) => request,
            Err(error) => {
                let text = error.replace('&', "&amp;").replace('<', "&lt;");
                let body = answers::envelope(
                    false,
                    &format!(
                        "<soap:Fault><faultcode>soap:Client</faultcode><faultstring>{text}</faultstring></soap:Fault>"
                    ),
                );
                lock(&self.log).call("?", json!({ "error": error }), &[], &[], Some("soap:Client"), body.len());
                return Reply { status: 500, soap12: false, body, faults: Vec::new(), asked: 0, crash: false };
            }
        };
        let method = request.call.name.clone();
        let faults = lock(&self.faults).of_call(&method);
        let mut note = Note::default();
        let outcome =
            ordered(self, &faults).map_or_else(|| self.method(service, host, &request, &faults, &mut note), Err);
        let path = match service {
            Service::Sync => "ServerSyncWebService/ServerSyncWebService.asmx",
            Service::Auth => "DssAuthWebService/DssAuthWebService.asmx",
            Service::Reports => "ReportingWebService/ReportingWebService.asmx",
        };
        let (status, body, code) = match outcome {
            Ok(inside) => (200, answers::envelope(request.soap12, &inside), None),
            Err((code, message)) => {
                let id = Guid::made(join(&[self.options.seed, 0xfa17, self.tick() as u64]));
                let actor = format!("http://{}/{path}", self.address);
                let body = answers::fault(request.soap12, &actor, &method, code, &message, id);
                note.answered.clear();
                (500, body, Some(code))
            }
        };
        lock(&self.log).call(&method, note.details, &note.asked, &note.answered, code, body.len());
        let crash = code == Some(CRASH);
        Reply { status, soap12: request.soap12, body, faults, asked: note.asked.len(), crash }
    }

    fn method(
        &self,
        service: Service,
        host: &str,
        request: &Request,
        faults: &[Order],
        note: &mut Note,
    ) -> Result<String, Fault> {
        let call = &request.call;
        match (service, call.name.as_str()) {
            (Service::Sync, "GetAuthConfig") => return Ok(answers::auth_config(&iso(crate::clock::BASE))),
            (Service::Auth, "GetAuthorizationCookie") => return self.authorization_cookie(call, note),
            (Service::Sync, "GetCookie") => return self.get_cookie(call, faults, note),
            (Service::Reports, method) => return self.report(method, call, note),
            _ => {}
        }
        let data = call.child("cookie").and_then(|cookie| cookie.text_of("EncryptedData"));
        if !data.is_some_and(|data| self.accepts(Pass::Sync, data)) {
            let code =
                if data.is_some_and(|data| self.is_of_another(data)) { "ServerChanged" } else { "InvalidCookie" };
            return fault(code, "");
        }
        match (service, call.name.as_str()) {
            (Service::Sync, "GetConfigData") => self.config_data(call, note),
            (Service::Sync, "GetRevisionIdList") => self.revision_id_list(call, faults, note),
            (Service::Sync, "GetUpdateData") => self.update_data(call, host, faults, note),
            (Service::Sync, "DownloadFiles") => self.download_files(call, note),
            (
                Service::Sync,
                name @ ("GetDeployments" | "GetDriverIdList" | "GetDriverSetData" | "GetUpdateDecryptionData"),
            ) => Ok(answers::empty(name, &anchor(COUNTER, self.tick()))),
            _ => fault("InvalidParameters", "method"),
        }
    }

    fn report(&self, method: &str, call: &Element, note: &mut Note) -> Result<String, Fault> {
        if !reports::has_cookie(call) {
            return fault("InvalidParameters", "cookie");
        }
        match method {
            "GetRollupConfiguration" => Ok(reports::configuration(Guid::made(join(&[self.options.seed, 0x5e_17])))),
            "RollupDownstreamServers" => match reports::servers(call, &mut lock(&self.below)) {
                Some(told) => {
                    note.details = told;
                    Ok(reports::taken())
                }
                None => fault("InvalidParameters", "downstreamServers"),
            },
            _ => fault("InternalServerError", ""),
        }
    }

    fn authorization_cookie(&self, call: &Element, note: &mut Note) -> Result<String, Fault> {
        let account = call.text_of("accountName").unwrap_or_default();
        note.details = json!({ "account": account });
        if account.is_empty() {
            return fault("InvalidParameters", "accountName");
        }
        if call.text_of("accountGuid").and_then(Guid::read).is_none() {
            return fault("InvalidParameters", "accountGuid");
        }
        let end = real_time() + self.lifetime().as_millis() as i64;
        Ok(answers::authorization_cookie(&self.cookie(Pass::Authorization, end)))
    }

    fn get_cookie(&self, call: &Element, faults: &[Order], note: &mut Note) -> Result<String, Fault> {
        let version = call.text_of("protocolVersion").unwrap_or_default();
        note.details = json!({ "protocol": version });
        if version.split('.').next() != Some("1") || version.parse::<f64>().is_err() {
            return fault("IncompatibleProtocolVersion", "");
        }
        let cookies = call.child("authCookies").map_or(&[][..], |cookies| &cookies.children);
        let good = cookies
            .iter()
            .any(|cookie| cookie.text_of("CookieData").is_some_and(|data| self.accepts(Pass::Authorization, data)));
        if !good {
            return fault("InvalidAuthorizationCookie", "");
        }
        let end = real_time() + self.lifetime().as_millis() as i64;
        let skew: i64 =
            faults.iter().filter(|order| order.kind == "skewed-clock").map(|order| order.seconds * 1000).sum();
        Ok(answers::cookie(&iso(end + skew), &self.cookie(Pass::Sync, end)))
    }

    fn config_data(&self, call: &Element, note: &mut Note) -> Result<String, Fault> {
        let given = call.text_of("configAnchor").filter(|text| !text.is_empty());
        note.details = json!({ "anchor": given });
        if given.is_some_and(|text| anchor_time(text).is_none()) {
            return fault("InvalidParameters", "configAnchor");
        }
        Ok(answers::config_data(self.microsoft(), COUNTER, self.tick(), given.is_none()))
    }

    fn revision_id_list(&self, call: &Element, faults: &[Order], note: &mut Note) -> Result<String, Fault> {
        let Some(element) = call.child("filter") else { return fault("InvalidParameters", "filter") };
        let filter = self.filter(element)?;
        note.details = json!({
            "config": filter.config,
            "anchor": element.text_of("Anchor"),
            "categories": filter.products.as_ref().map(Vec::len),
            "classifications": filter.classifications.as_ref().map(Vec::len),
            "languages": filter.languages.as_ref().map(Vec::len),
        });
        // The time is taken before the list: what is published in between is told again rather than never.
        let now = self.tick();
        let mut found = self.world().list(&filter);
        {
            let faults = lock(&self.faults);
            found.retain(|(id, _)| !faults.is_withheld(*id));
        }
        if faults.iter().any(|order| order.kind == "duplicate-identities") {
            found = found.iter().flat_map(|identity| [*identity, *identity]).collect();
        }
        note.details["listed"] = json!(found.len());
        let list = answers::revision_id_list(COUNTER, now, &found);
        match found.first().filter(|_| faults.iter().any(|order| order.kind == "spoilt-identity")) {
            Some((id, _)) => Ok(list.replacen(&id.to_string(), "spoilt on its way", 1)),
            None => Ok(list),
        }
    }

    fn filter(&self, element: &Element) -> Result<Filter, Fault> {
        const ORDER: &[&str] = &[
            "DssProtocolVersion",
            "Anchor",
            "GetConfig",
            "Get63LanguageOnly",
            "Categories",
            "Classifications",
            "Languages",
        ];
        let bad = || ("InvalidParameters", "filter".to_owned());
        let mut places = element.children.iter().map(|child| ORDER.iter().position(|name| *name == child.name));
        let ordered = places.clone().flatten().is_sorted();
        if !ordered || places.any(|place| place.is_none()) {
            return Err(bad());
        }
        // Microsoft's service was seen to want it from every client of protocol 1.2 and later.
        if self.microsoft() && element.child("Get63LanguageOnly").is_none() {
            return Err(bad());
        }
        let flag = |text: Option<&str>| match text {
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            _ => Err(bad()),
        };
        let since = match element.text_of("Anchor").filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => Some(anchor_time(text).ok_or_else(bad)?),
        };
        let ids = |name: &str| -> Result<Option<Vec<(Guid, bool)>>, Fault> {
            let Some(list) = element.child(name) else { return Ok(None) };
            let read = list
                .children
                .iter()
                .map(|one| Ok((one.text_of("Id").and_then(Guid::read).ok_or_else(bad)?, flag(one.text_of("Delta"))?)));
            let all: Vec<_> = read.collect::<Result<_, Fault>>()?;
            Ok(Some(all))
        };
        let languages = match element.child("Languages") {
            None => None,
            Some(list) => {
                let read = list.children.iter().map(|one| {
                    let id = one.text_of("Id").and_then(|text| text.parse().ok()).ok_or_else(bad)?;
                    Ok((id, flag(one.text_of("Delta"))?))
                });
                Some(read.collect::<Result<Vec<(u32, bool)>, Fault>>()?).filter(|all| !all.is_empty())
            }
        };
        // An empty list beside one that is not finds nothing; two empty ones are as none.
        let (mut products, mut classifications) = (ids("Categories")?, ids("Classifications")?);
        let empty = |list: &Option<Vec<_>>| list.as_ref().is_none_or(Vec::is_empty);
        if empty(&products) && empty(&classifications) {
            (products, classifications) = (None, None);
        }
        let config = flag(element.text_of("GetConfig"))?;
        Ok(Filter { config, products, classifications, languages, since, strict: self.options.strict_delta })
    }

    fn update_data(&self, call: &Element, host: &str, faults: &[Order], note: &mut Note) -> Result<String, Fault> {
        let list = call.child("updateIds").map_or(&[][..], |list| &list.children);
        for one in list {
            let id = one.text_of("UpdateID").and_then(Guid::read);
            let revision = one.text_of("RevisionNumber").and_then(|text| text.parse().ok());
            let (Some(id), Some(revision)) = (id, revision) else { return fault("InvalidParameters", "updateIds") };
            note.asked.push((id, revision));
        }
        if list.len() > MOST {
            return fault("InvalidParameters", "updateIds");
        }
        let world = self.world();
        if !note.asked.iter().all(|identity| world.has(identity)) {
            return fault("InternalServerError", "");
        }
        {
            let mut faults = lock(&self.faults);
            if note.asked.iter().fold(false, |bad, (id, _)| faults.is_deadly(*id) | bad) {
                return fault(CRASH, "");
            }
            if note.asked.iter().any(|identity| faults.is_outdated(identity.0) && !world.is_newest(identity)) {
                return fault("InternalServerError", "");
            }
            // All are looked at, so that each of them that was named is chosen.
            if note.asked.iter().fold(false, |bad, (id, _)| faults.is_poison(*id) | bad) {
                return fault("InternalServerError", "");
            }
        }
        let ordered = |kind: &str| faults.iter().any(|order| order.kind == kind);
        let most = if ordered("short-answer") { list.len().div_ceil(2) } else { list.len() };
        let stray = ordered("stray-items")
            .then(|| world.member_id(0, 0))
            .and_then(|id| world.group(0).map(|group| (id, group.revision(0))));
        let (mut updates, mut urls) = (String::new(), String::new());
        let mut named = HashSet::new();
        for identity in note.asked.iter().take(most).copied().chain(stray) {
            let (item, document) = self.item(&world, &identity)?;
            if !updates.is_empty() && updates.len() + urls.len() + item.len() > ANSWER_MAX {
                break;
            }
            updates.push_str(&item);
            if ordered("duplicate-items") {
                updates.push_str(&item);
            }
            note.answered.push(identity);
            for spec in &document.files {
                let digests = self.files.digests(world.seed, spec);
                if named.insert(digests.sha1) {
                    let url = self.mu_url(host, document.folder, spec, &digests.sha1);
                    urls.push_str(&answers::file_url(&BASE64.encode(digests.sha1), &url));
                }
            }
        }
        Ok(answers::update_data_list(&updates, &urls))
    }

    /// One update as it travels, with what is wrong with it on command.
    fn item(&self, world: &World, identity: &Identity) -> Result<(String, Document), Fault> {
        let large = matches!(world.slot(&identity.0), Some(crate::world::Slot::Member(group, member))
            if world.huge.get(&(group, member)).is_some_and(|size| *size > LARGE));
        let _alone = large.then(|| lock(&self.large));
        let Some(document) = world.document(&self.files, self.options.file_scale, identity) else {
            return fault("InternalServerError", "");
        };
        let kinds = lock(&self.faults).of_document(identity.0, |kind| sick::fits(kind, &document.text));
        let mut text = std::borrow::Cow::Borrowed(document.text.as_str());
        for kind in &kinds {
            if let Some(worse) = sick::text(kind, &text, world, identity) {
                text = worse.into();
            }
        }
        let digests: Vec<String> =
            document.files.iter().map(|spec| BASE64.encode(self.files.digests(world.seed, spec).sha1)).collect();
        let compress = kinds.iter().any(|kind| sick::wants_cabinet(kind))
            || (self.options.blobs != Blobs::Plain && cabinet::length(&text) > PLAIN_MAX);
        let blob = if compress {
            let failed = |_| ("InternalServerError", String::new());
            // By turns, so that whoever reads meets all: MSZIP, LZX, LZX that is only stored.
            let turn = identity.0.0[0] % 16;
            let (lzx, stored) = match self.options.blobs {
                Blobs::Mixed => (turn > 2 || large, turn == 15 && !large),
                Blobs::Lzx => (true, false),
                Blobs::Mszip | Blobs::Plain => (false, false),
            };
            let mut bytes = if kinds.contains(&"cabinet-bomb") {
                cabinet::bomb(512 << 20).map_err(failed)?
            } else if lzx {
                cabinet::lzx(&text, stored)
            } else {
                cabinet::mszip(&text).map_err(failed)?
            };
            if kinds.contains(&"bad-cabinet") {
                let middle = 65 + (bytes.len() - 65) / 2;
                if let Some(byte) = bytes.get_mut(middle) {
                    *byte ^= 0x40;
                }
            }
            let mut encoded = BASE64.encode(&bytes);
            if kinds.contains(&"bad-base64") {
                let middle = encoded.len() / 2;
                encoded.replace_range(middle..=middle, "!");
            }
            Blob::Compressed(encoded)
        } else {
            Blob::Text(text.into_owned())
        };
        Ok((answers::update_data(identity, &digests, &blob), document))
    }

    fn mu_url(&self, host: &str, folder: &str, spec: &crate::files::Spec, sha1: &[u8; 20]) -> String {
        let base = self.options.mu_url.clone().unwrap_or_else(|| {
            if self.microsoft() { format!("http://{host}") } else { "http://download.windowsupdate.com".to_owned() }
        });
        let stem = spec.name.rsplit_once('.').map_or(spec.name.as_str(), |(stem, _)| stem).to_lowercase();
        let side = if sha1[19].is_multiple_of(2) { "c" } else { "d" };
        let month = crate::clock::form(spec.modified, "%Y/%m");
        format!("{base}/{side}/msdownload/update/software/{folder}/{month}/{stem}_{}.{}", hex(sha1), spec.extension())
    }

    fn download_files(&self, call: &Element, note: &mut Note) -> Result<String, Fault> {
        let list = call.child("fileDigestList").map_or(&[][..], |list| &list.children);
        if list.is_empty() || list.len() > MOST {
            return fault("InvalidParameters", "fileDigestList");
        }
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for one in list {
            let sha1: Option<[u8; 20]> = BASE64.decode(one.text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
            let Some(sha1) = sha1 else { return fault("InvalidParameters", "fileDigestList") };
            match self.files.find(&self.world(), self.options.file_scale, &sha1) {
                Some(_) => found.push(sha1),
                None => missing.push(one.text.trim()),
            }
        }
        note.details = json!({ "digests": found.iter().map(|sha1| hex(sha1)).collect::<Vec<_>>(), "missing": missing });
        if !missing.is_empty() {
            return fault("FileDigestsMissing", &missing.join("|"));
        }
        let ready = Instant::now() + self.options.lazy;
        let mut named = lock(&self.named);
        for sha1 in found {
            named.entry(sha1).or_insert(ready);
        }
        Ok(answers::empty("DownloadFiles", ""))
    }
}

/// The fault that was ordered for a call instead of its answer, if one was.
fn ordered(shared: &Shared, faults: &[Order]) -> Option<Fault> {
    if faults.iter().any(|order| order.kind == "expired-cookie") {
        shared.expire_cookies();
    }
    if faults.iter().any(|order| order.kind == "another-server") {
        shared.change_server();
    }
    let code = |kind: &str| {
        Some(match kind {
            "invalid-cookie" => "InvalidCookie",
            "invalid-authorization-cookie" => "InvalidAuthorizationCookie",
            "server-changed" => "ServerChanged",
            "server-busy" => "ServerBusy",
            "internal-server-error" => "InternalServerError",
            "invalid-parameters" => "InvalidParameters",
            "incompatible-protocol" => "IncompatibleProtocolVersion",
            _ => return None,
        })
    };
    faults.iter().find_map(|order| code(order.kind)).map(|code| (code, String::new()))
}
