//! Every table of the catalog, its keys and its rows; those of approvals are opened with them. Keys are raw bytes, numbers in them big endian, so that what goes
//! together lies together; values are as in the rest of the index (see `store::tables`).

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};
use serde::{Deserialize, Serialize};

use crate::model::name::OriginKey;
use crate::model::update::{Identity, UpdateId};
use crate::store::approvals::tables::{self as approvals, ApprovalKey};
use crate::store::error::Error;
use crate::store::rules::tables::{self as rules, ProgressKey};

/// The id of an update.
pub(crate) type Guid = [u8; 16];
/// Id, revision; or id, revision number.
pub(crate) type IdKey = [u8; 20];
/// Id, revision, revision number; or SHA-1, revision number.
pub(crate) type LongKey = [u8; 24];
/// SHA-256, SHA-1.
pub(crate) type Sha256Key = [u8; 52];
/// Update, group.
pub(crate) type DecisionKey = [u8; 32];
/// Update, group, [`HERE`] or [`GONE`].
pub(crate) type DecisionLine = [u8; 33];
/// Half of the BLAKE3 of an address's key, SHA-1.
pub(crate) type AddressKey = [u8; 36];
/// Logical clock, revision number; or blob, chunk.
pub(crate) type ClockKey = [u8; 12];

/// Revision number -> [`RevisionRow`].
pub(crate) const REVISIONS: TableDefinition<'static, u32, &[u8]> = TableDefinition::new("catalog-revisions.1");
/// Revision number -> its small texts together, compressed (see `catalog::pack`).
pub(crate) const PACKS: TableDefinition<'static, u32, &[u8]> = TableDefinition::new("catalog-packs.1");
/// Id -> [`UpdateRow`].
pub(crate) const UPDATES: TableDefinition<'static, &Guid, &[u8]> = TableDefinition::new("catalog-updates.1");
/// Id, revision -> revision number; never taken away, so that a number never means anything else.
pub(crate) const IDENTITIES: TableDefinition<'static, &IdKey, u32> = TableDefinition::new("catalog-identities.1");
/// Id, number of the current revision that names it as a prerequisite -> 1 where it is a category of that one, else 0.
pub(crate) const DEPENDENTS: TableDefinition<'static, &IdKey, u8> = TableDefinition::new("catalog-dependents.1");
/// Id and revision of a member, number of the revision that bundles it.
pub(crate) const PARENTS: TableDefinition<'static, &LongKey, ()> = TableDefinition::new("catalog-parents.1");
/// Id, number of the current and offered revision that supersedes it.
pub(crate) const SUPERSEDED: TableDefinition<'static, &IdKey, ()> = TableDefinition::new("catalog-superseded.1");
/// Digits of a KB, a zero byte, number of the current revision.
pub(crate) const KBS: TableDefinition<'static, &[u8], ()> = TableDefinition::new("catalog-kbs.1");
/// SHA-1 -> [`FileRow`].
pub(crate) const FILES: TableDefinition<'static, &[u8; 20], &[u8]> = TableDefinition::new("catalog-files.1");
/// SHA-1, number of a revision that has the file.
pub(crate) const USERS: TableDefinition<'static, &LongKey, ()> = TableDefinition::new("catalog-users.1");
/// SHA-256, SHA-1 of a file.
pub(crate) const SHA256S: TableDefinition<'static, &Sha256Key, ()> = TableDefinition::new("catalog-sha256.1");
/// Address of a file whose name does not say which file it is, SHA-1 of the file.
pub(crate) const ADDRESSES: TableDefinition<'static, &AddressKey, ()> = TableDefinition::new("catalog-addresses.1");
/// Logical clock, revision number -> [`HERE`] or [`GONE`].
pub(crate) const LOG: TableDefinition<'static, &ClockKey, u8> = TableDefinition::new("catalog-log.1");
/// Blob, chunk -> a zstd frame of at most [`super::blobs::CHUNK`] bytes.
pub(crate) const CHUNKS: TableDefinition<'static, &ClockKey, &[u8]> = TableDefinition::new("catalog-chunks.1");
/// Blob -> [`BlobRow`].
pub(crate) const BLOBS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("catalog-blobs.1");
/// Version -> a zstd dictionary, as it is.
pub(crate) const DICTIONARIES: TableDefinition<'static, u32, &[u8]> = TableDefinition::new("catalog-dictionaries.1");
/// Name -> counter; the names are below.
pub(crate) const NUMBERS: TableDefinition<'static, &str, u64> = TableDefinition::new("catalog-numbers.1");
/// Name -> a row; the names are below.
pub(crate) const STATE: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("catalog-state.1");
/// Filter set -> [`SetRow`].
pub(crate) const SETS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("catalog-sets.1");
/// Filter set, a zero byte, id, revision: still to be fetched.
pub(crate) const WANTED: TableDefinition<'static, &[u8], ()> = TableDefinition::new("catalog-wanted.1");
/// Its name, for messages too.
pub(crate) const REFUSED_NAME: &str = "catalog-refused.2";
/// Id, revision -> [`RefusedRow`].
pub(crate) const REFUSED: TableDefinition<'static, &IdKey, &[u8]> = TableDefinition::new(REFUSED_NAME);
/// Run -> [`RunRow`].
pub(crate) const RUNS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("catalog-runs.1");
/// Run -> [`super::RunNote`] as JSON, so that it can grow; runs of former versions have none.
pub(crate) const RUN_NOTES: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("catalog-run-notes.1");

/// Run -> [`RunFilesRow`].
pub(crate) const RUN_FILES: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("catalog-run-files.1");
/// Update, group -> [`DecisionRow`].
pub(crate) const DECISIONS: TableDefinition<'static, &DecisionKey, &[u8]> = TableDefinition::new("catalog-decisions.1");
/// Update -> the revision in which a rule let go of it (see `catalog::let_go`).
pub(crate) const LET_GO: TableDefinition<'static, &Guid, u32> = TableDefinition::new("catalog-let-go.1");
/// Logical clock, place among the decisions of its transaction -> [`DecisionLine`]: the change log of decisions. No transaction
/// writes this log and [`LOG`], so that a place in one is none in the other.
pub(crate) const DECISION_LOG: TableDefinition<'static, &ClockKey, &DecisionLine> =
    TableDefinition::new("catalog-decision-log.1");
/// Update, group -> its line in [`DECISION_LOG`].
pub(crate) const DECISION_LINES: TableDefinition<'static, &DecisionKey, &ClockKey> =
    TableDefinition::new("catalog-decision-lines.1");
/// What the name of a file is like that an endpoint asked for -> when it was asked for last.
pub(crate) const ASKED: TableDefinition<'static, &str, u64> = TableDefinition::new("catalog-asked.1");

/// Names in [`NUMBERS`]: what counts up and never down (`LAST_*` is the last one given), and what is counted.
pub(crate) const LAST_NUMBER: &str = "last-number";
pub(crate) const LAST_BLOB: &str = "last-blob";
pub(crate) const LAST_RUN: &str = "last-run";
/// The logical clock: the time of the last change, milliseconds.
pub(crate) const CLOCK: &str = "clock";
/// Changes up to here may be missing in the log (what went is forgotten some day).
pub(crate) const LOG_FLOOR: &str = "log-floor";
pub(crate) const GONE_COUNT: &str = "gone-count";
/// Updates with a current revision, revisions held.
pub(crate) const UPDATE_COUNT: &str = "update-count";
pub(crate) const REVISION_COUNT: &str = "revision-count";
/// Revisions packed since the store was made, and how many of them when the last dictionary was trained.
pub(crate) const PACKED: &str = "packed";
pub(crate) const TRAINED_AT: &str = "trained-at";
/// The generation of what is imported now; raised with every change of the upstream.
pub(crate) const GENERATION: &str = "generation";

/// The rule under which updates were let go of: one more than it keeps of each product; 0 where there is none.
pub(crate) const LET_GO_KEEP: &str = "let-go-keep";

/// 1 where every decision has its line in [`DECISION_LOG`]: stores of former versions had no log.
pub(crate) const DECISIONS_LOGGED: &str = "decisions-logged";

/// Names in [`STATE`].
pub(crate) const UPSTREAM: &str = "upstream";
pub(crate) const ARRIVING: &str = "arriving";

pub(crate) const HERE: u8 = 1;
pub(crate) const GONE: u8 = 2;

/// Parts of a revision's text, as numbers in [`PartRow`].
pub(crate) const PART_FACTS: u8 = 0;
pub(crate) const PART_DOCUMENT: u8 = 1;
pub(crate) const PART_CORE: u8 = 2;
pub(crate) const PART_EXTENDED: u8 = 3;
pub(crate) const PART_LOCALIZED: u8 = 4;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartRow {
    pub(crate) part: u8,
    /// Language of a localized part, as published; empty for the others.
    pub(crate) language: String,
    /// The blob; `None`: in the pack, at `at`.
    pub(crate) blob: Option<u64>,
    pub(crate) at: u64,
    pub(crate) len: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and they combine")]
pub(crate) struct RevisionRow {
    pub(crate) id: Guid,
    pub(crate) revision: u32,
    /// 0 software, 1 driver, 2 detectoid, 10 company, 11 family, 12 product, 13 classification, 14 other category.
    pub(crate) kind: u8,
    /// 0 published, 1 expired.
    pub(crate) publication: u8,
    /// 0 unspecified, 1 low, 2 moderate, 3 important, 4 critical.
    pub(crate) severity: u8,
    pub(crate) created: Option<u64>,
    pub(crate) title: String,
    pub(crate) kbs: Vec<String>,
    pub(crate) categories: Vec<Guid>,
    pub(crate) supersedes: Vec<Guid>,
    pub(crate) deployable: bool,
    /// Distinct files of its own and their bytes.
    pub(crate) files: u32,
    pub(crate) bytes: u64,
    /// Whether it is the one that counts of its update.
    pub(crate) current: bool,
    /// Logical clock of the last change.
    pub(crate) changed: u64,
    /// It came over a connection that proves nothing.
    pub(crate) unauthenticated: bool,
    /// It is held but must not be offered.
    pub(crate) refused: bool,
    /// It came as a cabinet.
    pub(crate) cabinet: bool,
    /// BLAKE3 of the document.
    pub(crate) digest: [u8; 32],
    pub(crate) parts: Vec<PartRow>,
}

impl RevisionRow {
    pub(crate) fn identity(&self) -> Identity {
        Identity { id: UpdateId::new(self.id), revision: self.revision }
    }

    /// Whether it can be approved by itself and was not withdrawn.
    pub(crate) fn is_listed(&self) -> bool {
        self.deployable && self.publication == 0
    }
}

/// The beginning of a [`RevisionRow`] as it lies in the index, without a copy of its texts: fields in the same order.
#[derive(Debug, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and they combine")]
#[allow(dead_code, reason = "a field is read by its place, so that those before the last one wanted must all be here")]
pub(crate) struct ShownRow<'a> {
    pub(crate) id: Guid,
    pub(crate) revision: u32,
    pub(crate) kind: u8,
    pub(crate) publication: u8,
    pub(crate) severity: u8,
    pub(crate) created: Option<u64>,
    pub(crate) title: &'a str,
    #[serde(borrow)]
    pub(crate) kbs: Vec<&'a str>,
    pub(crate) categories: Vec<Guid>,
    pub(crate) supersedes: Vec<Guid>,
    pub(crate) deployable: bool,
    pub(crate) files: u32,
    pub(crate) bytes: u64,
    pub(crate) current: bool,
    pub(crate) changed: u64,
    pub(crate) unauthenticated: bool,
    pub(crate) refused: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct UpdateRow {
    pub(crate) current: u32,
    /// The generation in which an upstream last named that revision, or sent it. Where only a bundle or a prerequisite names the
    /// update it stays what it was.
    pub(crate) generation: u64,
    /// The current revision came over a connection that proves nothing, as its own row says too: a list is compared with
    /// what is held without reading those.
    pub(crate) unauthenticated: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRow {
    pub(crate) sha256: Option<[u8; 32]>,
    pub(crate) size: u64,
    pub(crate) name: String,
    pub(crate) modified: Option<u64>,
    pub(crate) encrypted: bool,
    pub(crate) urls: Vec<String>,
    /// Nobody proven has published it.
    pub(crate) unauthenticated: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct BlobRow {
    pub(crate) len: u64,
    pub(crate) chunks: u32,
    /// The revision that it belongs to; `None`: nobody's (yet, or any more).
    pub(crate) owner: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SetRow {
    pub(crate) anchor: Option<String>,
    pub(crate) pending: Option<String>,
    /// The list of what the pending anchor stands for is all in.
    pub(crate) listed: bool,
    /// Rows in [`WANTED`].
    pub(crate) wanted: u64,
    /// When the anchor was set.
    pub(crate) at: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RefusedRow {
    pub(crate) at: u64,
    pub(crate) reason: String,
    /// It stays refused although it is sent again.
    pub(crate) stays: bool,
    /// The generation in which an upstream last named it.
    pub(crate) generation: u64,
    /// Who sent it proves nothing.
    pub(crate) unauthenticated: bool,
    /// How often it was refused in that generation.
    pub(crate) tries: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UpstreamRow {
    /// 1 Microsoft, 2 WSUS, 3 parent.
    pub(crate) kind: u8,
    pub(crate) address: String,
    pub(crate) unauthenticated: bool,
}

impl UpstreamRow {
    /// Whether it is Microsoft.
    pub(crate) fn is_publisher(&self) -> bool {
        self.kind == 1
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RunRow {
    pub(crate) started: u64,
    pub(crate) ended: Option<u64>,
    pub(crate) upstream: String,
    /// 0 running, 1 successful, 2 failed, 3 stopped, 4 cut off.
    pub(crate) outcome: u8,
    pub(crate) reason: String,
    /// new, changed, expired, superseded, files wanted, bytes, upstream errors, refused, pruned.
    pub(crate) counts: [u64; 9],
}

/// What was wanted when a run had ended.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RunFilesRow {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// What a person said of an update, for a group of endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DecisionRow {
    /// 1 approved, 2 declined.
    pub(crate) word: u8,
    /// Files that endpoints read in parts too.
    pub(crate) all_files: bool,
    /// Something superseded it already.
    pub(crate) though_superseded: bool,
    pub(crate) by: String,
    pub(crate) at: u64,
    pub(crate) why: String,
}

pub(crate) fn decision_key(id: &Guid, group: &Guid) -> DecisionKey {
    let mut key = [0; 32];
    key[..16].copy_from_slice(id);
    key[16..].copy_from_slice(group);
    key
}

pub(crate) fn id_key(id: &Guid, number: u32) -> IdKey {
    let mut key = [0; 20];
    key[..16].copy_from_slice(id);
    key[16..].copy_from_slice(&number.to_be_bytes());
    key
}

pub(crate) fn identity_key(identity: Identity) -> IdKey {
    id_key(identity.id.bytes(), identity.revision)
}

/// What [`id_key`] put together.
pub(crate) fn of_id_key(key: &IdKey) -> (Guid, u32) {
    let (mut id, mut number) = ([0; 16], [0; 4]);
    id.copy_from_slice(&key[..16]);
    number.copy_from_slice(&key[16..]);
    (id, u32::from_be_bytes(number))
}

pub(crate) fn identity_of(key: &IdKey) -> Identity {
    let (id, revision) = of_id_key(key);
    Identity { id: UpdateId::new(id), revision }
}

/// 20 bytes and a number.
pub(crate) fn long_key(first: &[u8; 20], number: u32) -> LongKey {
    let mut key = [0; 24];
    key[..20].copy_from_slice(first);
    key[20..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The number at the end of a [`long_key`].
pub(crate) fn of_long_key(key: &LongKey) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&key[20..]);
    u32::from_be_bytes(number)
}

pub(crate) fn sha256_key(sha256: &[u8; 32], sha1: &[u8; 20]) -> Sha256Key {
    let mut key = [0; 52];
    key[..32].copy_from_slice(sha256);
    key[32..].copy_from_slice(sha1);
    key
}

/// The key of an address that a file may lie at.
pub(crate) fn address_key(at: &OriginKey, sha1: &[u8; 20]) -> AddressKey {
    let mut key = [0; 36];
    let digest = blake3::hash(at.as_str().as_bytes());
    key[..16].copy_from_slice(&digest.as_bytes()[..16]);
    key[16..].copy_from_slice(sha1);
    key
}

pub(crate) fn clock_key(clock: u64, number: u32) -> ClockKey {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&clock.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// What [`clock_key`] put together.
pub(crate) fn of_clock_key(key: &ClockKey) -> (u64, u32) {
    let (mut clock, mut number) = ([0; 8], [0; 4]);
    clock.copy_from_slice(&key[..8]);
    number.copy_from_slice(&key[8..]);
    (u64::from_be_bytes(clock), u32::from_be_bytes(number))
}

pub(crate) fn kb_key(kb: &str, number: u32) -> Vec<u8> {
    [kb.as_bytes(), &[0], &number.to_be_bytes()].concat()
}

pub(crate) fn wanted_key(set: &str, identity: Identity) -> Vec<u8> {
    [set.as_bytes(), &[0], &identity_key(identity)].concat()
}

/// The identity at the end of a [`wanted_key`] or the like.
pub(crate) fn of_wanted_key(key: &[u8]) -> Option<Identity> {
    let tail: &IdKey = key.last_chunk()?;
    Some(identity_of(tail))
}

/// The number at the end of a [`kb_key`].
pub(crate) fn of_kb_key(key: &[u8]) -> Option<u32> {
    key.last_chunk::<4>().map(|tail| u32::from_be_bytes(*tail))
}

/// A table of a snapshot; `None` in an index that was made before there was a catalog.
pub(crate) fn read<K: redb::Key + 'static, V: redb::Value + 'static>(
    tx: &ReadTransaction,
    table: TableDefinition<'static, K, V>,
) -> Result<Option<redb::ReadOnlyTable<K, V>>, Error> {
    match tx.open_table(table) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        other => Ok(Some(other?)),
    }
}

/// A counter; what was never counted is zero.
pub(crate) fn number(table: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64, Error> {
    Ok(table.get(name)?.map_or(0, |value| value.value()))
}

/// All tables, so that an index that is made or opened for writing has them.
pub(crate) fn create(tx: &WriteTransaction) -> Result<(), Error> {
    Tables::open(tx).map(drop)
}

/// All tables of one write transaction, each opened once.
pub(crate) struct Tables<'tx> {
    pub(crate) revisions: Table<'tx, u32, &'static [u8]>,
    pub(crate) packs: Table<'tx, u32, &'static [u8]>,
    pub(crate) updates: Table<'tx, &'static Guid, &'static [u8]>,
    pub(crate) identities: Table<'tx, &'static IdKey, u32>,
    pub(crate) dependents: Table<'tx, &'static IdKey, u8>,
    pub(crate) parents: Table<'tx, &'static LongKey, ()>,
    pub(crate) superseded: Table<'tx, &'static IdKey, ()>,
    pub(crate) kbs: Table<'tx, &'static [u8], ()>,
    pub(crate) files: Table<'tx, &'static [u8; 20], &'static [u8]>,
    pub(crate) users: Table<'tx, &'static LongKey, ()>,
    pub(crate) sha256s: Table<'tx, &'static Sha256Key, ()>,
    pub(crate) addresses: Table<'tx, &'static AddressKey, ()>,
    pub(crate) log: Table<'tx, &'static ClockKey, u8>,
    pub(crate) chunks: Table<'tx, &'static ClockKey, &'static [u8]>,
    pub(crate) blobs: Table<'tx, u64, &'static [u8]>,
    pub(crate) dictionaries: Table<'tx, u32, &'static [u8]>,
    pub(crate) numbers: Table<'tx, &'static str, u64>,
    pub(crate) state: Table<'tx, &'static str, &'static [u8]>,
    pub(crate) sets: Table<'tx, &'static str, &'static [u8]>,
    pub(crate) wanted: Table<'tx, &'static [u8], ()>,
    pub(crate) refused: Table<'tx, &'static IdKey, &'static [u8]>,
    pub(crate) runs: Table<'tx, u64, &'static [u8]>,
    pub(crate) run_files: Table<'tx, u64, &'static [u8]>,
    pub(crate) decisions: Table<'tx, &'static DecisionKey, &'static [u8]>,
    pub(crate) decision_log: Table<'tx, &'static ClockKey, &'static DecisionLine>,
    pub(crate) decision_lines: Table<'tx, &'static DecisionKey, &'static ClockKey>,
    pub(crate) asked: Table<'tx, &'static str, u64>,
    pub(crate) let_go: Table<'tx, &'static Guid, u32>,
    pub(crate) run_notes: Table<'tx, u64, &'static [u8]>,
    pub(crate) approvals: Table<'tx, &'static ApprovalKey, &'static [u8]>,
    pub(crate) reviews: Table<'tx, &'static Guid, &'static [u8]>,
    pub(crate) licences: Table<'tx, &'static Guid, &'static [u8]>,
    pub(crate) groups: Table<'tx, &'static Guid, &'static [u8]>,
    pub(crate) members: Table<'tx, &'static Guid, &'static [u8]>,
    pub(crate) rules: Table<'tx, u32, &'static [u8]>,
    pub(crate) rule_progress: Table<'tx, &'static ProgressKey, &'static [u8]>,
    pub(crate) rule_history: Table<'tx, u64, &'static [u8]>,
    pub(crate) policies: Table<'tx, &'static Guid, &'static [u8]>,
}

impl<'tx> Tables<'tx> {
    pub(crate) fn open(tx: &'tx WriteTransaction) -> Result<Self, Error> {
        Ok(Self {
            revisions: tx.open_table(REVISIONS)?,
            packs: tx.open_table(PACKS)?,
            updates: tx.open_table(UPDATES)?,
            identities: tx.open_table(IDENTITIES)?,
            dependents: tx.open_table(DEPENDENTS)?,
            parents: tx.open_table(PARENTS)?,
            superseded: tx.open_table(SUPERSEDED)?,
            kbs: tx.open_table(KBS)?,
            files: tx.open_table(FILES)?,
            users: tx.open_table(USERS)?,
            sha256s: tx.open_table(SHA256S)?,
            addresses: tx.open_table(ADDRESSES)?,
            log: tx.open_table(LOG)?,
            chunks: tx.open_table(CHUNKS)?,
            blobs: tx.open_table(BLOBS)?,
            dictionaries: tx.open_table(DICTIONARIES)?,
            numbers: tx.open_table(NUMBERS)?,
            state: tx.open_table(STATE)?,
            sets: tx.open_table(SETS)?,
            wanted: tx.open_table(WANTED)?,
            refused: tx.open_table(REFUSED)?,
            runs: tx.open_table(RUNS)?,
            run_files: tx.open_table(RUN_FILES)?,
            decisions: tx.open_table(DECISIONS)?,
            decision_log: tx.open_table(DECISION_LOG)?,
            decision_lines: tx.open_table(DECISION_LINES)?,
            asked: tx.open_table(ASKED)?,
            let_go: tx.open_table(LET_GO)?,
            run_notes: tx.open_table(RUN_NOTES)?,
            approvals: tx.open_table(approvals::APPROVALS)?,
            reviews: tx.open_table(approvals::REVIEWS)?,
            licences: tx.open_table(approvals::LICENCES)?,
            groups: tx.open_table(approvals::GROUPS)?,
            members: tx.open_table(approvals::MEMBERS)?,
            rules: tx.open_table(rules::RULES)?,
            rule_progress: tx.open_table(rules::PROGRESS)?,
            rule_history: tx.open_table(rules::HISTORY)?,
            policies: tx.open_table(approvals::POLICIES)?,
        })
    }

    pub(crate) fn number(&self, name: &str) -> Result<u64, Error> {
        number(&self.numbers, name)
    }

    pub(crate) fn set_number(&mut self, name: &str, value: u64) -> Result<(), Error> {
        self.numbers.insert(name, value)?;
        Ok(())
    }

    /// Counts up or down.
    pub(crate) fn count(&mut self, name: &str, by: i64) -> Result<(), Error> {
        let now = self.number(name)?.saturating_add_signed(by);
        self.set_number(name, now)
    }

    /// The next number of a counter that gives numbers.
    pub(crate) fn next(&mut self, name: &str) -> Result<u64, Error> {
        let next = self.number(name)?.saturating_add(1);
        self.set_number(name, next)?;
        Ok(next)
    }

    /// A time that is later than that of every change before, and not before `now`.
    pub(crate) fn tick(&mut self, now: u64) -> Result<u64, Error> {
        let clock = now.max(self.number(CLOCK)?.saturating_add(1));
        self.set_number(CLOCK, clock)?;
        Ok(clock)
    }
}
