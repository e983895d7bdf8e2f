//! More about updates, and where their files are (MS-WUSP 3.1.5.8 to 3.1.5.11), and which request is answered by what.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::digest::Sha1;
use crate::model::deployment::Endpoint;
use crate::serve::client::error::Error;
use crate::serve::client::handshake::{EXTENDED_MAX, Need};
use crate::serve::client::route::{Asked, Said};
use crate::serve::client::{Scans, place};
use crate::store::catalog::{Part, Summary};
use crate::wire::soap::Version;
use crate::wire::wusp::given::{self, FileLocation};
use crate::wire::wusp::info::{FragmentKind, GetExtendedUpdateInfo, GetExtendedUpdateInfo2, GetFileLocations, Wish};
use crate::wire::wusp::{self, Fragment, Request};

/// Files that one answer names: of an update with more nobody has heard.
const FILES_MAX: usize = 10_000;

/// The language of a revision's texts for someone who wants these: the first that there is, or is there without its region; English;
/// any.
fn language<'a>(there: &'a [String], wanted: &[String]) -> Option<&'a String> {
    let find = |name: &str| there.iter().find(|language| language.eq_ignore_ascii_case(name));
    let best = wanted
        .iter()
        .find_map(|name| find(name).or_else(|| name.split_once('-').and_then(|(neutral, _)| find(neutral))));
    best.or_else(|| find("en")).or_else(|| there.first())
}

impl Scans {
    /// The answer to a request.
    pub(super) async fn answer(self: &Arc<Self>, request: wusp::Asked, asked: &mut Asked) -> Result<Said, Error> {
        let wusp::Asked { version, method, request } = request;
        match request {
            Request::Config(_) => Ok(self.config(version, method)),
            Request::Authorize(request) => self.authorize(version, &request, asked),
            Request::Cookie(request) => self.give_cookie(version, &request, asked),
            Request::Register(request) => self.register(version, &request, asked).await,
            Request::CategoryScan(request) => self.categories(version, request).await,
            Request::Sync(request) => self.sync(version, *request, asked).await,
            Request::Printers(request) => self.printers(version, &request, asked),
            Request::Refresh(request) => self.refresh(version, request, asked).await,
            Request::Extended(request) => self.extended(version, request, asked).await,
            Request::Extended2(request) => self.extended2(version, request, asked).await,
            Request::Locations(request) => self.locations(version, &request, asked).await,
            Request::Events(request) => self.events(version, method, request, asked).await,
            Request::InventoryType(request) => self.inventory_type(version, &request, asked),
            Request::Inventory(request) => self.inventory(version, method, &request, asked),
            Request::Rollup(_) => Ok(self.rollup(version)),
        }
    }

    /// To `GetExtendedUpdateInfo`.
    async fn extended(
        self: &Arc<Self>,
        version: Version,
        request: GetExtendedUpdateInfo,
        asked: &mut Asked,
    ) -> Result<Said, Error> {
        let ticket = self.admit(request.cookie.as_ref(), Need::Registered, asked)?;
        if request.revisions.len() > EXTENDED_MAX {
            let many = request.revisions.len();
            return Err(Error::parameter("revisionIDs", format!("{many} revisions are more than {EXTENDED_MAX}")));
        }
        let (catalogs, now) = (Arc::clone(&self.catalogs), self.now());
        let (known, whose) = catalogs.current_of(&self.texts, Endpoint(ticket.client())).await?;
        let revisions = request.revisions;
        let (offered, out_of_scope) = self
            .work(move || {
                let scope = catalogs.scope(&known, &whose, &[], now)?;
                let (mut offered, mut out_of_scope) = (Vec::new(), Vec::new());
                let is_sent = |number: &u32| scope.view.entry(*number).is_some() || known.graph.is_common(*number);
                for number in revisions {
                    match u32::try_from(number).ok().filter(is_sent) {
                        Some(known) if !offered.contains(&known) => offered.push(known),
                        Some(_) => {}
                        None => out_of_scope.push(number),
                    }
                }
                Ok::<_, Error>((offered, out_of_scope))
            })
            .await??;
        let (fragments, locations) = self.give(&offered, &request.wish, asked).await?;
        Ok(Said::Parts(given::extended(version, fragments, &locations, &out_of_scope)))
    }

    /// To `GetExtendedUpdateInfo2`. Files are not encrypted here, so that there are no keys.
    async fn extended2(
        self: &Arc<Self>,
        version: Version,
        request: GetExtendedUpdateInfo2,
        asked: &mut Asked,
    ) -> Result<Said, Error> {
        let ticket = self.admit(request.cookie.as_ref(), Need::Registered, asked)?;
        if request.updates.len() > EXTENDED_MAX {
            let many = request.updates.len();
            return Err(Error::parameter("updateIDs", format!("{many} updates are more than {EXTENDED_MAX}")));
        }
        let (catalogs, now) = (Arc::clone(&self.catalogs), self.now());
        let (known, whose) = catalogs.current_of(&self.texts, Endpoint(ticket.client())).await?;
        let updates = request.updates;
        let offered = self
            .work(move || {
                let scope = catalogs.scope(&known, &whose, &[], now)?;
                let mut offered = Vec::new();
                for identity in updates {
                    let number = known.graph.current(identity.id);
                    let entry = number.and_then(|number| scope.view.entry(number));
                    if let Some(entry) = entry.filter(|entry| entry.identity == identity)
                        && !offered.contains(&entry.number)
                    {
                        offered.push(entry.number);
                    }
                }
                Ok::<_, Error>(offered)
            })
            .await??;
        let (fragments, locations) = self.give(&offered, &request.wish, asked).await?;
        Ok(Said::Parts(given::extended2(version, fragments, &locations, &[])))
    }

    /// Fragments of these revisions, and where their files are.
    async fn give(
        &self,
        numbers: &[u32],
        wish: &Wish,
        asked: &mut Asked,
    ) -> Result<(Vec<(i32, Fragment)>, Vec<FileLocation>), Error> {
        let kinds = wish.kinds.as_ref().ok_or_else(|| Error::parameter("infoTypes", "nothing is asked for"))?;
        let mut fragments = Vec::new();
        let mut add = |numbers: &[u32], texts: Vec<Option<Fragment>>| {
            let known = numbers.iter().zip(texts);
            fragments.extend(known.filter_map(|(number, text)| Some((i32::try_from(*number).ok()?, text?))));
        };
        let has = |kind| kinds.contains(&kind);
        if has(FragmentKind::Core) {
            let texts: Vec<Option<Fragment>> = self.texts.read(numbers, &Part::Core, &mut asked.room).await?;
            add(numbers, texts);
        }
        if has(FragmentKind::Extended) {
            let texts = self.texts.read(numbers, &Part::Extended, &mut asked.room).await?;
            add(numbers, texts);
        }
        if has(FragmentKind::LocalizedProperties) {
            let summaries = self.catalog.summaries(numbers.to_vec()).await?;
            let mut by_language: Vec<(String, Vec<u32>)> = Vec::new();
            for Summary { number, languages, .. } in &summaries {
                let Some(language) = language(languages, &wish.locales) else { continue };
                match by_language.iter_mut().find(|(known, _)| known == language) {
                    Some((_, of)) => of.push(*number),
                    None => by_language.push((language.clone(), vec![*number])),
                }
            }
            for (language, of) in by_language {
                let texts = self.texts.read(&of, &Part::Localized(language), &mut asked.room).await?;
                add(&of, texts);
            }
        }
        let mut locations = Vec::new();
        if has(FragmentKind::Extended) || has(FragmentKind::FileUrl) {
            let (base, mut seen) = (asked.base(self), BTreeSet::new());
            for number in numbers {
                let Some(revision) = self.catalog.revision(*number).await? else { continue };
                for file in revision.update.files {
                    if locations.len() < FILES_MAX && seen.insert(file.sha1) {
                        let url = place::url(&base, &file.sha1, &file.name);
                        locations.push(FileLocation { digest: file.sha1, url });
                    }
                }
            }
        }
        Ok((fragments, locations))
    }

    /// To `GetFileLocations`: of files that the catalog does not know nothing is said.
    async fn locations(&self, version: Version, request: &GetFileLocations, asked: &mut Asked) -> Result<Said, Error> {
        let ticket = self.admit(request.cookie.as_ref(), Need::Registered, asked)?;
        let digests: Vec<Sha1> =
            request.digests.iter().copied().collect::<BTreeSet<_>>().into_iter().take(FILES_MAX).collect();
        let names = self.catalog.file_names(digests.clone()).await?;
        let base = asked.base(self);
        let known = digests.iter().zip(names).filter_map(|(digest, name)| {
            Some(FileLocation { digest: *digest, url: place::url(&base, digest, &name?) })
        });
        let known: Vec<FileLocation> = known.collect();
        Ok(Said::Whole(given::locations(version, &known, &self.cookie(&ticket)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_found_near_the_one_that_is_wanted() {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let there = texts(&["de", "en", "pt-BR", "zh-CN"]);
        let of = |wanted: &[&str]| language(&there, &texts(wanted)).map(String::as_str);
        assert_eq!(of(&["en-US", "en"]), Some("en"));
        assert_eq!(of(&["pt-br"]), Some("pt-BR"));
        assert_eq!(of(&["fr-FR", "de-AT"]), Some("de"));
        assert_eq!(of(&["fr"]), Some("en"), "English where there is none");
        assert_eq!(language(&texts(&["ja"]), &texts(&["fr"])).map(String::as_str), Some("ja"));
        assert_eq!(language(&[], &texts(&["fr"])), None);
    }
}
