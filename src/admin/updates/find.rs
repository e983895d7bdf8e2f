//! One update by what a person has of it: its id, with or without a revision; the beginning of its id, as lists show it; a
//! knowledge base article that no other update names, with `KB` before its number or not.

use http::StatusCode;

use crate::admin::error::Problem;
use crate::admin::updates::EMPTY;
use crate::admin::updates::ask::kb_word;
use crate::model::relations::Target;
use crate::model::update::{Identity, Kind, UpdateId};
use crate::store::catalog::{Catalog, Summary};

/// Digits of an id that are enough to look for it.
const BEGINNING_MIN: usize = 8;

/// Updates that are named where several fit.
const NAMED_MAX: usize = 5;

/// Revisions that the catalog tells of one article; beyond them it is silent.
const ARTICLE_MAX: usize = 10_000;

/// The update that `name` means: one that the catalog has, or an id, which it may have had.
pub(in crate::admin) async fn id(catalog: &Catalog, name: &str) -> Result<UpdateId, Problem> {
    if let Ok(id) = name.trim().parse() {
        return Ok(id);
    }
    let number = number(catalog, name).await?;
    let short = catalog.summaries(vec![number]).await?.pop().ok_or_else(|| absent(name))?;
    Ok(short.identity.id)
}

/// The local number of the revision that `name` means.
pub(super) async fn number(catalog: &Catalog, name: &str) -> Result<u32, Problem> {
    let name = name.trim();
    let (id, revision) = match name.split_once('/') {
        Some((id, revision)) => (id, Some(revision.parse::<u32>().map_err(|_| malformed(name))?)),
        None => (name, None),
    };
    if revision.is_none()
        && let Some(digits) = article(catalog, name).await?
    {
        return of_article(catalog, name, digits).await;
    }
    let found = if let Ok(id) = id.parse::<UpdateId>() {
        vec![id]
    } else {
        let (first, last) = beginning(id).ok_or_else(|| malformed(name))?;
        catalog.ids(first, last, NAMED_MAX + 1).await?
    };
    let target = match (found.as_slice(), revision) {
        ([id], Some(revision)) => Target::Revision(Identity { id: *id, revision }),
        ([id], None) => Target::Newest(*id),
        ([], _) => return Err(unheld(catalog, name, None).await),
        (several, _) => {
            let several = several.iter().map(|id| Target::Newest(*id)).collect();
            let shorts: Vec<Summary> = catalog.shorts(several).await?.into_iter().flatten().collect();
            return Err(ambiguous(name, &shorts));
        }
    };
    match catalog.shorts(vec![target]).await?.pop().flatten() {
        Some(short) => Ok(short.number),
        None => Err(unheld(catalog, name, Some(target)).await),
    }
}

/// The updates that `name` means to whoever decides: an article stands for all that name it and can be approved by themselves. What
/// is hidden in a bundle is refused, and the bundle named.
pub(in crate::admin) async fn approvable(catalog: &Catalog, name: &str) -> Result<Vec<Summary>, Problem> {
    let name = name.trim();
    let shorts = match article(catalog, name).await? {
        Some(digits) => {
            let numbers = catalog.by_kb(digits.to_owned()).await?;
            if numbers.len() >= ARTICLE_MAX {
                let title = format!("KB{digits} stands for {ARTICLE_MAX} updates or more; none is decided");
                let next = "name them by their ids: `waystation updates list --kb` has them";
                return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, next));
            }
            catalog.summaries(numbers).await?
        }
        None => catalog.summaries(vec![number(catalog, name).await?]).await?,
    };
    let can_be = |short: &Summary| short.deployable && matches!(short.kind, Kind::Software | Kind::Driver);
    if shorts.iter().any(can_be) {
        return Ok(shorts.into_iter().filter(can_be).collect());
    }
    let Some(first) = shorts.first() else { return Err(unheld(catalog, name, None).await) };
    let parents = catalog.summaries(catalog.parents(first.identity).await?).await?;
    let next = match parents.iter().find(|parent| can_be(parent)) {
        Some(parent) => format!("it is a part of {} ({}): decide that", parent.identity.id, parent.title),
        None => "`waystation updates list` shows what can be approved".to_owned(),
    };
    let title = format!("{} ({}) cannot be approved or declined by itself", first.identity.id, first.title);
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, next))
}

/// The digits of the article that a name means. Digits alone can be an article or the beginning of an id, whichever there is;
/// where there are both, they are told.
async fn article<'a>(catalog: &Catalog, name: &'a str) -> Result<Option<&'a str>, Problem> {
    if let Some(digits) = kb_word(name) {
        return Ok(Some(digits));
    }
    if !(4..=10).contains(&name.len()) || !name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let Some((first, last)) = beginning(name) else { return Ok(Some(name)) };
    let mut numbers = catalog.by_kb(name.to_owned()).await?;
    let ids = catalog.ids(first, last, NAMED_MAX + 1).await?;
    if numbers.is_empty() || ids.is_empty() {
        return Ok((!numbers.is_empty()).then_some(name));
    }
    numbers.truncate(NAMED_MAX);
    let mut several = catalog.summaries(numbers).await?;
    let begun = catalog.shorts(ids.into_iter().map(Target::Newest).collect()).await?.into_iter().flatten();
    several.extend(begun);
    Err(ambiguous(name, &several))
}

/// The update that names an article; of several the one that can be approved by itself.
async fn of_article(catalog: &Catalog, name: &str, digits: &str) -> Result<u32, Problem> {
    let numbers = catalog.by_kb(digits.to_owned()).await?;
    let mut shorts = catalog.summaries(numbers).await?;
    if shorts.iter().any(|short| short.deployable) {
        shorts.retain(|short| short.deployable);
    }
    match shorts.as_slice() {
        [] => Err(unheld(catalog, name, None).await),
        [one] => Ok(one.number),
        several => Err(ambiguous(name, several)),
    }
}

/// The first and the last id that begin with these digits.
pub(super) fn beginning(text: &str) -> Option<(UpdateId, UpdateId)> {
    let digits: String = text.chars().filter(|letter| *letter != '-').collect();
    if !(BEGINNING_MIN..=32).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let filled = |with: char| {
        let text: String = digits.chars().chain(std::iter::repeat(with)).take(32).collect();
        u128::from_str_radix(&text, 16).ok().map(|id| UpdateId::new(id.to_be_bytes()))
    };
    Some((filled('0')?, filled('f')?))
}

fn malformed(name: &str) -> Problem {
    let shown: String = name.chars().take(80).collect();
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        format!("{shown:?} names no update"),
        format!(
            "give its id, {BEGINNING_MIN} of the id's first digits or more, its id with /REVISION behind it, or its \
             knowledge base article (KB5031234 or 5031234); `waystation updates search` finds it by words"
        ),
    )
}

fn ambiguous(name: &str, several: &[Summary]) -> Problem {
    let mut told: Vec<String> =
        several.iter().take(NAMED_MAX).map(|short| format!("{} ({})", short.identity.id, short.title)).collect();
    if several.len() > NAMED_MAX {
        told.push("and more".to_owned());
    }
    let shown: String = name.chars().take(80).collect();
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        format!("{shown:?} can be {} updates or more: {}", told.len().min(NAMED_MAX), told.join("; ")),
        "give the id of one of them; `waystation updates search` finds them all",
    )
}

/// Nothing like it was found.
pub(super) fn absent(name: &str) -> Problem {
    let shown: String = name.chars().take(80).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("the catalog has no update {shown}"),
        "`waystation updates search` finds updates by words of their titles",
    )
}

/// Nothing like it is held: because it was refused, because nothing is, or simply so.
async fn unheld(catalog: &Catalog, name: &str, target: Option<Target>) -> Problem {
    if let Some(Target::Revision(identity)) = target
        && let Ok(Some(refused)) = catalog.refusal(identity).await
    {
        return Problem::new(
            StatusCode::NOT_FOUND,
            format!("{identity} was refused at {}: {}", refused.at, refused.reason),
            "it is asked for again when its publisher sends another revision",
        );
    }
    match catalog.standing().await {
        Ok(standing) if standing.updates == 0 => Problem::new(StatusCode::NOT_FOUND, "the catalog is empty", EMPTY),
        Ok(_) => absent(name),
        Err(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_bounds_the_ids() {
        let (first, last) = beginning("0FA1201d-43").unwrap();
        assert_eq!(first.to_string(), "0fa1201d-4300-0000-0000-000000000000");
        assert_eq!(last.to_string(), "0fa1201d-43ff-ffff-ffff-ffffffffffff");
        for text in ["", "0fa1201", "0fa1201g", "+fa1201d", "0fa1201d43304fa88ae9b877473b64411"] {
            assert!(beginning(text).is_none(), "{text}");
        }
    }
}
