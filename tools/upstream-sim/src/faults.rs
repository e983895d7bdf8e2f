//! Faults on command: of calls, of single documents, of content.
//!
//! An order names a kind and how often. Faults of documents and files fall on the next ones asked for that they fit (or on
//! those named by id) and stay with them, so that asking again does not help; `times` says after how many deliveries one is
//! well again.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::guid::Guid;

/// What a fault falls on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Call,
    Document,
    Content,
}

/// All kinds: name, place, method that it falls on unless another is named (empty: any), what it does.
pub(crate) const KINDS: &[(&str, Place, &str, &str)] = &[
    ("expired-cookie", Place::Call, "", "every cookie given so far is refused with InvalidCookie from now on"),
    ("another-server", Place::Call, "", "every cookie given so far is refused with ServerChanged from now on"),
    ("invalid-cookie", Place::Call, "", "InvalidCookie, though the cookie is good"),
    ("invalid-authorization-cookie", Place::Call, "GetCookie", "InvalidAuthorizationCookie"),
    ("server-changed", Place::Call, "", "ServerChanged: anchors are to be forgotten"),
    ("server-busy", Place::Call, "", "ServerBusy"),
    ("internal-server-error", Place::Call, "", "InternalServerError"),
    ("invalid-parameters", Place::Call, "", "InvalidParameters"),
    ("incompatible-protocol", Place::Call, "GetCookie", "IncompatibleProtocolVersion"),
    ("plain-fault", Place::Call, "", "a SOAP fault without a detail block"),
    ("http-503", Place::Call, "", "HTTP 503 with Retry-After; `status` takes another status"),
    (
        "too-many-at-once",
        Place::Call,
        "GetUpdateData",
        "a gateway's page with `status` (0: the connection is closed) where more than `most` updates are asked for",
    ),
    ("drop", Place::Call, "", "the connection is closed before a byte of the body"),
    ("truncated-body", Place::Call, "", "the connection is closed in the middle of the body"),
    ("not-xml", Place::Call, "", "HTML where SOAP should be"),
    ("half-answer", Place::Call, "", "half of the answer, with a length that fits"),
    ("slow", Place::Call, "", "`delay_ms` before the answer, then `bytes_per_second`"),
    ("short-answer", Place::Call, "GetUpdateData", "half of the updates asked for"),
    ("duplicate-items", Place::Call, "GetUpdateData", "every update twice"),
    ("duplicate-identities", Place::Call, "GetRevisionIdList", "every identity twice"),
    ("spoilt-identity", Place::Call, "GetRevisionIdList", "one identity that is none in the place of the first"),
    ("stray-items", Place::Call, "GetUpdateData", "an update more that nobody asked for"),
    ("skewed-clock", Place::Call, "GetCookie", "the cookie's end is `seconds` (may be negative) beside the right one"),
    ("unknown-id", Place::Document, "", "whatever call names it fails as a whole with InternalServerError"),
    ("crashes-server", Place::Document, "", "whatever call names it has its connection closed before an answer begins"),
    ("bad-cabinet", Place::Document, "", "a flipped byte in the cabinet"),
    ("cabinet-bomb", Place::Document, "", "a cabinet that inflates to 512 MiB"),
    ("bad-base64", Place::Document, "", "a cabinet that is not base64"),
    ("half-document", Place::Document, "", "half of the document"),
    ("wrong-identity", Place::Document, "", "a document that says to be another update"),
    ("cyclic-bundle", Place::Document, "", "a bundle that contains itself, or a member that bundles its bundle"),
    ("cyclic-prerequisite", Place::Document, "", "an update that is its own prerequisite"),
    ("bad-digest", Place::Document, "", "a file digest that is not base64"),
    ("lying-size", Place::Document, "", "a file size that is 1,000 too large"),
    ("altered-title", Place::Document, "", "another title: a document that is well and not the published one"),
    ("altered-rules", Place::Document, "", "another rule: a document that is well and asks something else"),
    ("rewritten", Place::Document, "", "the same in another rendering, as by a mirror that writes documents anew"),
    ("altered-digest", Place::Document, "", "another SHA-1 of a file, well formed: bytes of somebody else"),
    (
        "withheld",
        Place::Document,
        "",
        "it is in no list, and calls that name it fail; wants `ids`, and holds until faults are cleared",
    ),
    (
        "outdated",
        Place::Document,
        "",
        "only its newest revision is given out, calls that name another one fail; wants `ids`, and holds until faults are cleared",
    ),
    ("deep-xml", Place::Document, "", "50,000 elements one in the other"),
    ("many-attributes", Place::Document, "", "an element with 50,000 attributes"),
    ("entity-bomb", Place::Document, "", "a document type with entities of entities"),
    ("wrong-digest", Place::Content, "", "bytes that do not match the digests"),
    ("content-404", Place::Content, "", "404"),
    ("content-503", Place::Content, "", "503"),
    ("content-truncated", Place::Content, "", "the connection is closed in the middle of the body"),
    ("content-slow", Place::Content, "", "`delay_ms` before the answer, then `bytes_per_second`"),
];

#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) kind: &'static str,
    place: Place,
    method: String,
    left: u64,
    after: u64,
    ids: Vec<Guid>,
    times: Option<u64>,
    pub(crate) delay_ms: u64,
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) status: u16,
    pub(crate) seconds: i64,
    pub(crate) most: usize,
}

impl Order {
    /// Reads an order; the error says what is wrong with it.
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        const KEYS: &[&str] = &[
            "fault",
            "count",
            "after",
            "method",
            "ids",
            "times",
            "delay_ms",
            "bytes_per_second",
            "status",
            "seconds",
            "most",
        ];
        let all =
            value.as_object().ok_or("a fault is a JSON object such as {\"fault\": \"server-busy\", \"count\": 2}")?;
        if let Some(unknown) = all.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!("{unknown} is not known; there are {}", KEYS.join(", ")));
        }
        let name = value.get("fault").and_then(Value::as_str).unwrap_or_default();
        let Some((kind, place, method, _)) = KINDS.iter().find(|(known, ..)| *known == name) else {
            let known: Vec<&str> = KINDS.iter().map(|(name, ..)| *name).collect();
            return Err(format!("there is no fault {name:?}; there are {}", known.join(", ")));
        };
        // From a query string all are texts.
        let number = |key: &str| -> Result<Option<i64>, String> {
            match value.get(key) {
                None => Ok(None),
                Some(Value::String(text)) => {
                    text.parse().map(Some).map_err(|_| format!("{key} wants a number and not {text:?}"))
                }
                Some(other) => other.as_i64().map(Some).ok_or(format!("{key} wants a number and not {other}")),
            }
        };
        let natural = |key: &str| -> Result<Option<u64>, String> {
            let found = number(key)?;
            found.map(|n| u64::try_from(n).map_err(|_| format!("{key} wants no negative number"))).transpose()
        };
        let mut ids = Vec::new();
        let named: Vec<&str> = match value.get("ids") {
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(text)) => text.split(',').collect(),
            _ => Vec::new(),
        };
        for text in named {
            ids.push(Guid::read(text).ok_or(format!("{text:?} is not a GUID"))?);
        }
        let rate = natural("bytes_per_second")?;
        if rate == Some(0) {
            return Err("bytes_per_second wants at least 1".to_owned());
        }
        Ok(Self {
            kind,
            place: *place,
            method: value.get("method").and_then(Value::as_str).unwrap_or(method).to_owned(),
            left: natural("count")?.unwrap_or(if ids.is_empty() { 1 } else { ids.len() as u64 }),
            after: natural("after")?.unwrap_or(0),
            ids,
            times: natural("times")?,
            delay_ms: natural("delay_ms")?.unwrap_or(0),
            bytes_per_second: rate,
            status: natural("status")?.and_then(|status| u16::try_from(status).ok()).unwrap_or(503),
            seconds: number("seconds")?.unwrap_or(-3_600),
            most: natural("most")?.and_then(|most| usize::try_from(most).ok()).unwrap_or(10),
        })
    }
}

struct Sick {
    kind: &'static str,
    left: Option<u64>,
    order: Order,
}

/// All that is wrong at present.
#[derive(Default)]
pub(crate) struct Faults {
    orders: Vec<Order>,
    documents: HashMap<Guid, Vec<Sick>>,
    contents: HashMap<[u8; 20], Vec<Sick>>,
    done: HashMap<&'static str, u64>,
}

impl Faults {
    pub(crate) fn add(&mut self, order: Order) {
        self.orders.push(order);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { done: std::mem::take(&mut self.done), ..Self::default() };
    }

    /// The faults that fall on a call of `method`.
    pub(crate) fn of_call(&mut self, method: &str) -> Vec<Order> {
        let mut found = Vec::new();
        for order in self.orders.iter_mut().filter(|order| order.place == Place::Call) {
            if order.left == 0 || !(order.method.is_empty() || order.method == method) {
                continue;
            }
            if order.after > 0 {
                order.after -= 1;
                continue;
            }
            order.left -= 1;
            *self.done.entry(order.kind).or_default() += 1;
            found.push(order.clone());
        }
        self.orders.retain(|order| order.left > 0);
        found
    }

    /// Whether an update is kept back from everybody.
    pub(crate) fn is_withheld(&self, id: Guid) -> bool {
        self.orders.iter().any(|order| order.kind == "withheld" && order.ids.contains(&id))
    }

    /// Whether only the newest revision of an update is given out.
    pub(crate) fn is_outdated(&self, id: Guid) -> bool {
        self.orders.iter().any(|order| order.kind == "outdated" && order.ids.contains(&id))
    }

    /// Whether an update is one that makes calls fail; `unknown-id` chooses here.
    pub(crate) fn is_poison(&mut self, id: Guid) -> bool {
        if self.is_withheld(id) {
            return true;
        }
        self.of_document(id, |kind| kind == "unknown-id").contains(&"unknown-id")
    }

    /// Whether an update is one that brings the server down; `crashes-server` chooses here.
    pub(crate) fn is_deadly(&mut self, id: Guid) -> bool {
        self.of_document(id, |kind| kind == "crashes-server").contains(&"crashes-server")
    }

    /// The faults that the document of `id` has; `fits` says which kinds it can have.
    pub(crate) fn of_document(&mut self, id: Guid, fits: impl Fn(&str) -> bool) -> Vec<&'static str> {
        let sick = self.documents.entry(id).or_default();
        choose(&mut self.orders, Place::Document, sick, Some(id), &fits);
        let found = deliver(sick, &mut self.done, &fits).into_iter().map(|(kind, _)| kind).collect();
        if sick.is_empty() {
            self.documents.remove(&id);
        }
        found
    }

    /// The faults that a file has.
    pub(crate) fn of_content(&mut self, sha1: [u8; 20]) -> Vec<Order> {
        let sick = self.contents.entry(sha1).or_default();
        choose(&mut self.orders, Place::Content, sick, None, &|_| true);
        let found = deliver(sick, &mut self.done, &|_| true).into_iter().map(|(_, order)| order).collect();
        if sick.is_empty() {
            self.contents.remove(&sha1);
        }
        found
    }

    /// What is ordered, who is sick, and how often each kind was dealt.
    pub(crate) fn report(&self) -> Value {
        let waiting: Vec<Value> = self
            .orders
            .iter()
            .map(|order| json!({"fault": order.kind, "left": order.left, "after": order.after, "method": order.method}))
            .collect();
        let documents: Vec<Value> = self
            .documents
            .iter()
            .flat_map(|(id, all)| all.iter().map(move |sick| json!({"id": id.to_string(), "fault": sick.kind})))
            .collect();
        let contents: Vec<Value> = self
            .contents
            .iter()
            .flat_map(|(sha1, all)| all.iter().map(move |sick| json!({"sha1": hex(sha1), "fault": sick.kind})))
            .collect();
        let done: serde_json::Map<String, Value> =
            self.done.iter().map(|(kind, count)| ((*kind).to_owned(), json!(count))).collect();
        json!({ "waiting": waiting, "documents": documents, "contents": contents, "dealt": done })
    }
}

/// Lets waiting orders fall on this one, each once.
fn choose(orders: &mut Vec<Order>, place: Place, sick: &mut Vec<Sick>, id: Option<Guid>, fits: &impl Fn(&str) -> bool) {
    for order in orders.iter_mut().filter(|order| order.place == place && order.left > 0) {
        let named = order.ids.is_empty() || id.is_some_and(|id| order.ids.contains(&id));
        if !named || !fits(order.kind) || sick.iter().any(|sick| sick.kind == order.kind) {
            continue;
        }
        if order.after > 0 {
            order.after -= 1;
            continue;
        }
        order.left -= 1;
        sick.push(Sick { kind: order.kind, left: order.times, order: order.clone() });
    }
    orders.retain(|order| order.left > 0);
}

/// Deals what fits, and lets go of those who are well again.
fn deliver(
    sick: &mut Vec<Sick>,
    done: &mut HashMap<&'static str, u64>,
    fits: &impl Fn(&str) -> bool,
) -> Vec<(&'static str, Order)> {
    let mut found = Vec::new();
    for one in sick.iter_mut().filter(|one| fits(one.kind)) {
        if one.left != Some(0) {
            one.left = one.left.map(|left| left - 1);
            *done.entry(one.kind).or_default() += 1;
            found.push((one.kind, one.order.clone()));
        }
    }
    sick.retain(|one| one.left != Some(0));
    found
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> Result<Order, String> {
        Order::read(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_fault_of_calls_falls_as_often_as_ordered() {
        let mut faults = Faults::default();
        faults.add(order(r#"{"fault": "server-busy", "count": 2, "after": 1, "method": "GetUpdateData"}"#).unwrap());
        let mut fell = |method| faults.of_call(method).len();
        assert_eq!([fell("GetCookie"), fell("GetUpdateData"), fell("GetUpdateData")], [0, 0, 1]);
        assert_eq!([fell("GetUpdateData"), fell("GetUpdateData")], [1, 0]);
    }

    #[test]
    fn a_sick_document_stays_so_until_its_times_are_up() {
        let mut faults = Faults::default();
        let (one, two) = (Guid::made(1), Guid::made(2));
        faults.add(order(r#"{"fault": "bad-cabinet", "times": 2}"#).unwrap());
        assert!(faults.of_document(one, |kind| kind == "half-document").is_empty());
        assert_eq!(faults.of_document(one, |_| true), ["bad-cabinet"]);
        assert!(faults.of_document(two, |_| true).is_empty());
        assert_eq!(faults.of_document(one, |_| true), ["bad-cabinet"]);
        assert!(faults.of_document(one, |_| true).is_empty());
        faults.add(order(&format!(r#"{{"fault": "unknown-id", "ids": ["{two}"]}}"#)).unwrap());
        assert!(!faults.is_poison(one) && faults.is_poison(two) && faults.is_poison(two));
    }

    #[test]
    fn a_bad_order_is_refused_by_name() {
        for (bad, word) in [
            ("{}", "there is no fault"),
            (r#"{"fault": "nothing"}"#, "server-busy"),
            (r#"{"fault": "slow", "cuont": 3}"#, "cuont"),
            (r#"{"fault": "slow", "count": "x"}"#, "count"),
            (r#"{"fault": "slow", "count": -1}"#, "negative"),
            (r#"{"fault": "unknown-id", "ids": ["x"]}"#, "GUID"),
            ("[]", "object"),
        ] {
            let error = order(bad).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
