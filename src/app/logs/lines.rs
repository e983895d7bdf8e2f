//! How the access record becomes a line. There is one for every request, so that what it costs is paid by every request:
//! its fields go straight into the line. All other events are formatted by `tracing_subscriber`, and the lines look alike.

use std::fmt::{self, Debug, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::base::time::Timestamp;

/// The target of the access record.
const ACCESS: &str = "access";

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// One flat object a line.
    Json,
    /// For people, the time first.
    Timed,
    /// For people, where something else puts the time first.
    Untimed,
}

/// Formats the access record itself, and anything else by `other`.
pub(super) struct Lines<F> {
    look: Look,
    other: F,
}

impl<F> Lines<F> {
    pub(super) fn new(look: Look, other: F) -> Self {
        Self { look, other }
    }
}

impl<S, N, F> FormatEvent<S, N> for Lines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if event.metadata().target() == ACCESS {
            record(self.look, &mut writer, event)
        } else {
            self.other.format_event(context, writer, event)
        }
    }
}

/// Room for a usual line.
const LINE_BYTES: usize = 768;

fn record(look: Look, out: &mut Writer<'_>, event: &Event<'_>) -> fmt::Result {
    // Gathered in a text of its own: the writer takes each piece by a call that nothing can see through.
    let mut line = String::with_capacity(LINE_BYTES);
    let level = event.metadata().level();
    match look {
        Look::Json => {
            line.push_str("{\"timestamp\":\"");
            write_now(&mut line)?;
            line.push_str("\",\"level\":\"");
            line.push_str(level.as_str());
            line.push('"');
        }
        Look::Timed => {
            write_now(&mut line)?;
            write!(line, " {level:>5} {ACCESS}:")?;
        }
        Look::Untimed => write!(line, "{level:>5} {ACCESS}:")?,
    }
    let mut fields = Fields { line: &mut line, json: look == Look::Json, result: Ok(()) };
    event.record(&mut fields);
    fields.result?;
    if look == Look::Json {
        line.push_str(",\"target\":\"");
        line.push_str(ACCESS);
        line.push_str("\"}");
    }
    line.push('\n');
    out.write_str(&line)
}

/// RFC 3339 in UTC to the microsecond, as `tracing_subscriber` writes it.
fn write_now(line: &mut String) -> fmt::Result {
    let now = SystemTime::now();
    let micros = now.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_micros();
    write!(line, "{}", Timestamp::from(now))?;
    // The second ends in `Z`, which comes last.
    line.pop();
    write!(line, ".{micros:06}Z")
}

/// Writes fields as they come; after an error nothing more.
struct Fields<'a> {
    line: &'a mut String,
    json: bool,
    result: fmt::Result,
}

impl Fields<'_> {
    fn add(&mut self, field: &Field, json: impl FnOnce(&mut String) -> fmt::Result, text: &dyn Debug) {
        if self.result.is_err() {
            return;
        }
        let name = field.name();
        self.result = if self.json {
            // Names of fields are words of the program.
            self.line.push_str(",\"");
            self.line.push_str(name);
            self.line.push_str("\":");
            json(self.line)
        } else {
            write!(self.line, " {name}={text:?}")
        };
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, |line| quoted(line, |text| text.write_str(value)), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, |line| write!(line, "{value}"), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, |line| write!(line, "{value}"), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        let json = |line: &mut String| {
            line.push_str(if value { "true" } else { "false" });
            Ok(())
        };
        self.add(field, json, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let json = |line: &mut String| if value.is_finite() { write!(line, "{value}") } else { line.write_str("null") };
        self.add(field, json, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, |line| quoted(line, |text| write!(text, "{value:?}")), &value);
    }
}

/// What `write` writes, as a string of JSON (RFC 8259, section 7).
fn quoted(line: &mut String, write: impl FnOnce(&mut Escaped<'_>) -> fmt::Result) -> fmt::Result {
    line.push('"');
    write(&mut Escaped(line))?;
    line.push('"');
    Ok(())
}

struct Escaped<'a>(&'a mut String);

const fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Without an early end the look is made of wide steps, and nearly no text needs more.
        if !text.bytes().fold(false, |found, byte| found | is_special(byte)) {
            self.0.push_str(text);
            return Ok(());
        }
        let mut rest = text;
        while let Some(at) = rest.bytes().position(is_special) {
            // All of these are single bytes, so that the text is cut between characters.
            let (plain, from) = rest.split_at(at);
            self.0.push_str(plain);
            let (special, after) = from.split_at(1);
            match special {
                "\"" => self.0.push_str("\\\""),
                "\\" => self.0.push_str("\\\\"),
                other => other.bytes().try_for_each(|byte| write!(self.0, "\\u{byte:04x}"))?,
            }
            rest = after;
        }
        self.0.push_str(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Seen {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What `say` logs, by the lines of this room and by `tracing_subscriber` alone.
    fn both(look: Look, say: impl Fn()) -> (String, String) {
        let written = |ours: bool| {
            let seen = Seen::default();
            let theirs = seen.clone();
            let plain = tracing_subscriber::fmt::layer().with_writer(move || theirs.clone()).with_ansi(false);
            let layer: Box<dyn Layer<_> + Send + Sync> = match (look, ours) {
                (Look::Json, ours) => {
                    let json = plain.json().flatten_event(true).with_current_span(false).with_span_list(false);
                    if ours { Box::new(json.map_event_format(|other| Lines::new(look, other))) } else { Box::new(json) }
                }
                (Look::Timed, true) => Box::new(plain.map_event_format(|other| Lines::new(look, other))),
                (Look::Timed, false) => Box::new(plain),
                (Look::Untimed, true) => {
                    Box::new(plain.without_time().map_event_format(|other| Lines::new(look, other)))
                }
                (Look::Untimed, false) => Box::new(plain.without_time()),
            };
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), &say);
            String::from_utf8(seen.0.lock().unwrap().clone()).unwrap()
        };
        (written(true), written(false))
    }

    fn odd() {
        let nobody: Option<u64> = None;
        tracing::info!(
            target: ACCESS,
            client = %"10.0.0.1:80 \"\\ \u{1}\n\u{e9}",
            host = "a\"b\\c\td\u{7f}\u{2028}",
            why = "",
            status = 206_u16,
            sent = u64::MAX,
            less = -3,
            secure = true,
            duration_ms = 0.25,
            first_byte_ms = nobody,
            spans = ?[1, 2],
        );
    }

    #[test]
    fn a_record_in_json_says_what_the_general_way_says() {
        let (ours, theirs) = both(Look::Json, odd);
        let object = |line: &str| {
            let mut value: serde_json::Value = serde_json::from_str(line.strip_suffix('\n').unwrap()).unwrap();
            let timestamp = value.as_object_mut().unwrap().remove("timestamp").unwrap();
            assert_eq!(timestamp.as_str().unwrap().len(), "2026-01-01T00:00:00.000000Z".len());
            value
        };
        assert_eq!(object(&ours), object(&theirs));
        assert_eq!(ours.lines().count(), 1, "no value can make a line");
    }

    #[test]
    fn a_record_for_people_looks_like_any_other_line() {
        let (ours, theirs) = both(Look::Untimed, odd);
        assert_eq!(ours, theirs);
        let (ours, theirs) = both(Look::Timed, odd);
        let rest = |line: &str| line.split_once("Z ").unwrap().1.to_owned();
        assert_eq!(rest(&ours), rest(&theirs));
    }

    #[test]
    fn other_events_go_the_general_way() {
        let (ours, theirs) = both(Look::Untimed, || tracing::warn!(target: "waystation", size = 3, "said {}", 1));
        assert_eq!(ours, theirs);
        assert!(ours.contains("said 1") && ours.contains("size=3"), "{ours}");
    }
}
