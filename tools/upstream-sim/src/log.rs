//! What was asked: a line of JSON for each request, and counts of what was asked more than once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use serde_json::{Value, json};

use crate::faults::hex;
use crate::guid::Identity;

/// Lines kept in memory.
const LINES: usize = 2_000;

/// Identities named in a report of what was asked more than once.
const NAMED: usize = 1_000;

/// How often an update was asked for, and how often answered.
#[derive(Default, Clone, Copy)]
struct Asked {
    asked: u32,
    answered: u32,
}

#[derive(Default)]
struct Fetched {
    requests: u64,
    bytes: u64,
    size: u64,
}

#[derive(Default)]
pub(crate) struct Log {
    file: Option<BufWriter<File>>,
    lines: VecDeque<String>,
    number: u64,
    methods: BTreeMap<String, u64>,
    faults: BTreeMap<String, u64>,
    identities: HashMap<Identity, Asked>,
    contents: HashMap<[u8; 20], Fetched>,
    sent: u64,
}

impl Log {
    pub(crate) fn new(path: Option<&Path>) -> io::Result<Self> {
        let file = path.map(File::create).transpose()?.map(BufWriter::new);
        Ok(Self { file, ..Self::default() })
    }

    /// Forgets the counts; the file goes on.
    pub(crate) fn reset(&mut self) {
        *self = Self { file: self.file.take(), number: self.number, ..Self::default() };
    }

    fn line(&mut self, mut value: Value) {
        self.number += 1;
        value["n"] = json!(self.number);
        let text = value.to_string();
        if let Some(file) = &mut self.file {
            // A log that cannot be written is no reason to answer nothing: the counts are in memory.
            let _ = writeln!(file, "{text}").and_then(|()| file.flush());
        }
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(text);
    }

    /// A call was answered: `fault` is its error code, if it was one.
    pub(crate) fn call(
        &mut self,
        method: &str,
        details: Value,
        asked: &[Identity],
        answered: &[Identity],
        fault: Option<&str>,
        bytes: usize,
    ) {
        *self.methods.entry(method.to_owned()).or_default() += 1;
        if let Some(fault) = fault {
            *self.faults.entry(fault.to_owned()).or_default() += 1;
        }
        for identity in asked {
            self.identities.entry(*identity).or_default().asked += 1;
        }
        for identity in answered {
            self.identities.entry(*identity).or_default().answered += 1;
        }
        self.sent += bytes as u64;
        let mut line = json!({ "method": method, "bytes": bytes });
        if let Value::Object(details) = details {
            for (key, value) in details {
                line[key] = value;
            }
        }
        if !asked.is_empty() {
            line["ids"] = asked.iter().map(|(id, revision)| json!(format!("{id}/{revision}"))).collect();
            line["answered"] = json!(answered.len());
        }
        if let Some(fault) = fault {
            line["fault"] = json!(fault);
        }
        self.line(line);
    }

    /// Content was asked for, and `bytes` of it left.
    pub(crate) fn content(
        &mut self,
        method: &str,
        path: &str,
        status: u16,
        file: Option<([u8; 20], u64)>,
        range: Option<(u64, u64)>,
        bytes: u64,
    ) {
        *self.methods.entry(format!("content-{method}")).or_default() += 1;
        let mut line = json!({ "method": format!("content-{method}"), "path": path, "status": status, "bytes": bytes });
        if let Some((sha1, size)) = file {
            let found = self.contents.entry(sha1).or_default();
            found.requests += 1;
            found.bytes += bytes;
            found.size = size;
            line["sha1"] = json!(hex(&sha1));
        }
        if let Some((from, to)) = range {
            line["range"] = json!([from, to]);
        }
        self.sent += bytes;
        self.line(line);
    }

    /// The counts, and the last `lines` lines.
    pub(crate) fn report(&self, lines: usize) -> Value {
        let mut more: Vec<(&Identity, &Asked)> = self.identities.iter().filter(|(_, count)| count.asked > 1).collect();
        more.sort_by_key(|(identity, count)| (std::cmp::Reverse(count.asked), **identity));
        let again = self.identities.values().filter(|count| count.answered > 1).count();
        let named: Vec<Value> = more
            .iter()
            .take(NAMED)
            .map(|((id, revision), count)| {
                json!({ "id": id.to_string(), "revision": revision, "asked": count.asked, "answered": count.answered })
            })
            .collect();
        let beyond = self.contents.values().filter(|found| found.bytes > found.size).count();
        let last: Vec<Value> = self
            .lines
            .iter()
            .skip(self.lines.len().saturating_sub(lines))
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        json!({
            "requests": self.number,
            "bytes": self.sent,
            "methods": self.methods,
            "faults": self.faults,
            "updates": {
                "asked": self.identities.values().map(|count| u64::from(count.asked)).sum::<u64>(),
                "answered": self.identities.values().map(|count| u64::from(count.answered)).sum::<u64>(),
                "distinct_asked": self.identities.values().filter(|count| count.asked > 0).count(),
                "distinct_answered": self.identities.values().filter(|count| count.answered > 0).count(),
                "asked_more_than_once": more.len(),
                "answered_more_than_once": again,
                "more_than_once": named,
            },
            "content": {
                "requests": self.contents.values().map(|found| found.requests).sum::<u64>(),
                "files": self.contents.len(),
                "bytes": self.contents.values().map(|found| found.bytes).sum::<u64>(),
                "files_sent_more_than_once": beyond,
            },
            "lines": last,
        })
    }
}
