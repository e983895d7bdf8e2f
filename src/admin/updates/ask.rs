//! What is searched for, as a query string has it. Pure.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::admin::error::Problem;
use crate::base::time::Timestamp;
use crate::model::filter::{self, Tree};
use crate::model::policy::Word;
use crate::model::update::{CategoryKind, Kind, Severity, UpdateId};
use crate::store::catalog::{Cursor, PAGE_MAX, Query, State};

/// Rows of a page unless asked otherwise.
const ROWS: usize = 100;

/// What `list` can be asked; what is not given is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Words that all stand in the title, as parts of it, in any case; one like `KB5031234`, or a beginning of it, stands for `kb`.
    #[serde(default)]
    text: String,
    /// A knowledge base article, with `KB` before it or not.
    kb: Option<String>,
    /// The least severity.
    severity: Option<String>,
    /// Name or id.
    classification: Option<String>,
    /// Name, path or id of a product, family or company.
    product: Option<String>,
    /// `software`, `driver`, `detectoid`, `category`; several by commas.
    kind: Option<String>,
    /// `published`, `expired`, `superseded`, `refused`; several by commas.
    state: Option<String>,
    /// `approved`, `declined`, `none`: what people decided; several by commas.
    decision: Option<String>,
    /// Made at this time or later: `2026-01-31`, in UTC, or a time in RFC 3339.
    from: Option<String>,
    /// Made until the end of this day, or before this time.
    until: Option<String>,
    /// Also what cannot be approved by itself.
    hidden: Option<bool>,
    /// Only those that the filters do not find.
    beyond: Option<bool>,
    /// Those of which endpoints read parts of the files, so that the content policy leaves these to them; stands alone.
    left_to_endpoints: Option<bool>,
    /// The `next` of the page before.
    after: Option<String>,
    /// Rows wanted.
    limit: Option<usize>,
}

impl Ask {
    /// What the catalog is asked.
    pub(super) fn query(&self, tree: &Tree) -> Result<Query, Problem> {
        let mut kb = self.kb.as_deref().map(article).transpose()?;
        let (mut words, mut kb_begins) = (Vec::new(), false);
        for word in self.text.split_whitespace() {
            match (&kb, kb_word(word)) {
                // Who searches may know no more than how it begins.
                (None, Some(digits)) => (kb, kb_begins) = (Some(digits.to_owned()), true),
                _ => words.push(word),
            }
        }
        let from = self.from.as_deref().map(|text| moment("from", text, false)).transpose()?;
        let until = self.until.as_deref().map(|text| moment("until", text, true)).transpose()?;
        if let (Some(from), Some(until)) = (from, until)
            && from > until
        {
            let title = format!("from: {from} is after until: {until}, so that nothing can lie between them");
            return Err(Problem::new(http::StatusCode::BAD_REQUEST, title, "give the earlier day as from"));
        }
        let kinds = listed(self.kind.as_deref(), "kind", kinds_of)?.concat();
        let hidden = self.hidden.unwrap_or(false)
            // Nobody approves these, so that asking for them is asking for hidden ones.
            || kinds.iter().any(|kind| !matches!(kind, Kind::Software | Kind::Driver));
        let limit = match self.limit.unwrap_or(ROWS) {
            0 => return Err(Problem::malformed("limit: a page of 0 rows would never end")),
            limit if limit > PAGE_MAX => return Err(Problem::malformed(format!("limit: {limit} is over {PAGE_MAX}"))),
            limit => limit,
        };
        Ok(Query {
            text: words.join(" "),
            kb,
            kb_begins,
            severity: self.severity.as_deref().map(severity).transpose()?,
            classification: classification(tree, self.classification.as_deref())?,
            product: None,
            any_of: products(tree, self.product.as_deref())?,
            // Who asks knows them.
            beyond: None,
            kinds,
            from,
            until,
            states: listed(self.state.as_deref(), "state", state_of)?,
            decisions: listed(self.decision.as_deref(), "decision", decision_of)?,
            hidden,
            after: self.after.as_deref().map(place).transpose()?,
            limit,
        })
    }
}

impl Ask {
    /// Whether those are asked for whose files are left to endpoints. Refused beside what else could be asked.
    pub(super) fn is_left(&self) -> Result<bool, Problem> {
        let is_left = self.left_to_endpoints.unwrap_or(false);
        if is_left && (Self { left_to_endpoints: None, limit: None, ..self.clone() }) != Self::default() {
            return Err(Problem::malformed("left_to_endpoints: it stands alone, beside limit"));
        }
        Ok(is_left)
    }

    /// Rows that are wanted at most.
    pub(super) fn rows(&self) -> usize {
        self.limit.unwrap_or(ROWS)
    }

    /// Whether only those are asked for that the filters do not find.
    pub(super) fn is_beyond(&self) -> bool {
        self.beyond.unwrap_or(false)
    }
}

/// The category itself, and the products below it.
fn within(tree: &Tree, id: UpdateId) -> Vec<UpdateId> {
    let mut ids = tree.products_of(id);
    if !ids.contains(&id) {
        ids.push(id);
    }
    ids
}

/// A classification by name or id.
pub(in crate::admin) fn classification(tree: &Tree, text: Option<&str>) -> Result<Option<UpdateId>, Problem> {
    text.map(|text| tree.classification(text)).transpose().map_err(|error| unknown(&error))
}

/// The product, family or company of that name, path or id, with the products below it; none where nothing is named.
pub(in crate::admin) fn products(tree: &Tree, text: Option<&str>) -> Result<Vec<UpdateId>, Problem> {
    let id = text.map(|text| tree.product(text)).transpose().map_err(|error| unknown(&error))?;
    Ok(id.map(|id| within(tree, id)).unwrap_or_default())
}

/// A name that the catalog does not have.
fn unknown(error: &filter::Error) -> Problem {
    let next = "`waystation filters list --available` shows what the catalog has";
    Problem::new(http::StatusCode::UNPROCESSABLE_ENTITY, error.to_string(), next)
}

/// The digits of a KB.
fn article(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    let digits = kb_word(text).unwrap_or(text);
    if digits.is_empty() || digits.len() > 10 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let shown: String = text.chars().take(40).collect();
        return Err(Problem::malformed(format!("kb: {shown:?} is no knowledge base article, such as KB5031234")));
    }
    Ok(digits.to_owned())
}

/// The digits of a word that is a KB.
pub(super) fn kb_word(word: &str) -> Option<&str> {
    let digits = word.get(..2).filter(|head| head.eq_ignore_ascii_case("kb")).and_then(|_| word.get(2..))?;
    ((4..=10).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

/// The severity of a word.
pub(in crate::admin) fn severity(text: &str) -> Result<Severity, Problem> {
    match text.trim().to_ascii_lowercase().as_str() {
        "low" => Ok(Severity::Low),
        "moderate" => Ok(Severity::Moderate),
        "important" => Ok(Severity::Important),
        "critical" => Ok(Severity::Critical),
        _ => Err(not_one("severity", text, "low, moderate, important or critical")),
    }
}

fn state_of(text: &str) -> Result<State, &'static str> {
    match text {
        "published" => Ok(State::Current),
        "expired" => Ok(State::Expired),
        "superseded" => Ok(State::Superseded),
        "refused" => Ok(State::Refused),
        _ => Err("published, expired, superseded or refused"),
    }
}

fn decision_of(text: &str) -> Result<Option<Word>, &'static str> {
    match text {
        "approved" => Ok(Some(Word::Approved)),
        "declined" => Ok(Some(Word::Declined)),
        "none" => Ok(None),
        _ => Err("approved, declined or none"),
    }
}

fn kinds_of(text: &str) -> Result<Vec<Kind>, &'static str> {
    use CategoryKind::{Classification, Company, Family, Other, Product};
    match text {
        "software" => Ok(vec![Kind::Software]),
        "driver" => Ok(vec![Kind::Driver]),
        "detectoid" => Ok(vec![Kind::Detectoid]),
        "category" => Ok([Company, Family, Product, Classification, Other].map(Kind::Category).to_vec()),
        _ => Err("software, driver, detectoid or category"),
    }
}

/// Words with commas between them.
fn listed<T>(text: Option<&str>, key: &str, read: impl Fn(&str) -> Result<T, &'static str>) -> Result<Vec<T>, Problem> {
    let words = text.into_iter().flat_map(|text| text.split(',')).map(str::trim).filter(|word| !word.is_empty());
    // There are four words of each kind; a longer list only repeats some.
    let words = words.take(16);
    words.map(|word| read(&word.to_ascii_lowercase()).map_err(|known| not_one(key, word, known))).collect()
}

fn not_one(key: &str, text: &str, known: &str) -> Problem {
    let shown: String = text.chars().take(40).collect();
    Problem::malformed(format!("{key}: {shown:?} is none of {known}"))
}

/// A day in UTC (its beginning, or its end where `is_end`), or a time.
pub(in crate::admin) fn moment(key: &str, text: &str, is_end: bool) -> Result<Timestamp, Problem> {
    let bad = || {
        let shown: String = text.chars().take(40).collect();
        let title = format!("{key}: {shown:?} is neither a day nor a time");
        let next = "write a day as 2026-01-31, or a time as 2026-01-31T12:00:00Z";
        Problem::new(http::StatusCode::BAD_REQUEST, title, next)
    };
    // What is longer than a day is a time, and must say in which zone.
    let time = if text.len() <= 10 {
        let day: Date = text.parse().map_err(|_| bad())?;
        day.to_zoned(TimeZone::UTC).map_err(|_| bad())?.timestamp()
    } else {
        text.parse::<jiff::Timestamp>().map_err(|_| bad())?
    };
    let time = Timestamp::from_ms(u64::try_from(time.as_millisecond()).map_err(|_| bad())?);
    Ok(if is_end && text.len() <= 10 { time.after(Duration::from_hours(24)) } else { time })
}

/// A place in a list, as text.
pub(super) fn cursor(cursor: Cursor) -> String {
    format!("{}-{}", cursor.created, cursor.number)
}

fn place(text: &str) -> Result<Cursor, Problem> {
    let read = text
        .split_once('-')
        .and_then(|(created, number)| Some(Cursor { created: created.parse().ok()?, number: number.parse().ok()? }));
    read.ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        Problem::malformed(format!("after: {shown:?} is not the `next` of a page"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(ask: &Ask) -> String {
        ask.query(&Tree::new([])).unwrap_err().view().title
    }

    #[test]
    fn words_and_articles_are_told_apart() {
        let ask = Ask { text: " cumulative kb5031234  KB9 KB5031235".into(), ..Ask::default() };
        let query = ask.query(&Tree::new([])).unwrap();
        assert_eq!((query.kb.as_deref(), query.text.as_str()), (Some("5031234"), "cumulative KB9 KB5031235"));
        for (text, digits) in [("KB5031234", "5031234"), ("5031234", "5031234"), ("kb890830", "890830")] {
            let query = Ask { kb: Some(text.into()), ..Ask::default() }.query(&Tree::new([])).unwrap();
            assert_eq!(query.kb.as_deref(), Some(digits));
        }
        for text in ["", "KB", "KB12x4567", "12345678901", "\u{e4}\u{e4}1234"] {
            assert!(problem(&Ask { kb: Some(text.into()), ..Ask::default() }).contains("knowledge base"), "{text}");
        }
    }

    #[test]
    fn days_are_whole_and_times_are_exact() {
        let ask =
            |from: &str, until: &str| Ask { from: Some(from.into()), until: Some(until.into()), ..Ask::default() };
        let query = ask("2026-01-31", "2026-01-31").query(&Tree::new([])).unwrap();
        let (from, until) = (query.from.unwrap(), query.until.unwrap());
        assert_eq!((from.to_string(), until.since(from).as_secs()), ("2026-01-31T00:00:00Z".into(), 86_400));
        let query = ask("2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00").query(&Tree::new([])).unwrap();
        assert_eq!(query.from, query.until);
        for text in ["yesterday", "2026-02-30", "2026-01-31T12:00:00", "1969-12-31", ""] {
            assert!(problem(&ask("2026-01-31", text)).starts_with("until: "), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_is() {
        let tree = Tree::new([]);
        let ask = Ask { product: Some("Windows 12".into()), ..Ask::default() };
        let title = ask.query(&tree).unwrap_err().view().title;
        assert!(title.contains("no product is called \"Windows 12\"") && title.contains("Windows 11"), "{title}");
        let ask = Ask { classification: Some("Windows 11".into()), ..Ask::default() };
        assert!(problem(&ask).contains("is a product, not a classification"));
        assert!(problem(&Ask { severity: Some("bad".into()), ..Ask::default() }).contains("important or critical"));
        assert!(problem(&Ask { state: Some("expired,gone".into()), ..Ask::default() }).contains("\"gone\" is none of"));
        assert!(problem(&Ask { after: Some("x".into()), ..Ask::default() }).contains("`next`"));
        assert!(problem(&Ask { limit: Some(PAGE_MAX + 1), ..Ask::default() }).contains("over"));
    }

    #[test]
    fn a_cursor_reads_back_and_categories_are_hidden() {
        let at = Cursor { created: u64::MAX, number: u32::MAX };
        assert_eq!(place(&cursor(at)).unwrap(), at);
        let query = Ask { kind: Some("category,software".into()), ..Ask::default() }.query(&Tree::new([])).unwrap();
        assert!(query.hidden && query.kinds.len() == 6);
        assert!(!Ask { kind: Some("driver".into()), ..Ask::default() }.query(&Tree::new([])).unwrap().hidden);
    }

    #[test]
    fn a_family_stands_for_its_products_too() {
        use crate::model::filter::Category;
        let id = |at: u8| UpdateId::new([at; 16]);
        let category = |at: u8, kind, parent| Category { id: id(at), kind, name: format!("c{at}"), parent };
        let tree = Tree::new([
            category(1, CategoryKind::Family, None),
            category(2, CategoryKind::Product, Some(id(1))),
            category(3, CategoryKind::Product, Some(id(1))),
        ]);
        let query = Ask { product: Some("c1".into()), ..Ask::default() }.query(&tree).unwrap();
        let found: std::collections::BTreeSet<_> = query.any_of.into_iter().collect();
        assert_eq!(found, [id(1), id(2), id(3)].into());
    }
}
