//! Faults, with the detail block of these services: `ErrorCode`, `Message`, `ID` and `Method`, all without a namespace
//! (MS-WSUSSS 2.2.9, MS-WUSP 2.2.2.4).

use std::io::{BufRead, Write};

use crate::wire::error::{Result, line, shown};
use crate::wire::soap::Version;
use crate::wire::soap::reader::Reader;
use crate::wire::soap::writer::{Style, Writer};

/// Which side a fault blames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Whoever asked.
    Client,
    /// Whoever answered.
    Server,
}

/// What these services say beyond SOAP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// A word that decides what the other side does next; case counts.
    pub code: String,
    /// What the code is about: the name of a parameter, or digests; mostly empty.
    pub message: String,
    /// Finds the fault in the server's log.
    pub id: String,
    /// The SOAPAction of the operation, its quotation marks included.
    pub method: String,
}

/// The other side refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which SOAP the envelope was in.
    pub version: Version,
    /// Whom it blames.
    pub side: Side,
    /// What it says to people.
    pub text: String,
    /// Who says it: the address of the service. Empty where nothing is said.
    pub actor: String,
    /// The detail block; without one, or without a code in it, the other side must stop (MS-WSUSSS 2.2.9.3).
    pub detail: Option<Detail>,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Into logs and the history: the beginnings of its texts, in one line.
        let Some(Detail { code, message, id, .. }) = &self.detail else {
            return write!(f, "a fault without an error code: {:?}", shown(&self.text));
        };
        write!(f, "{}", line(code))?;
        if !message.is_empty() {
            write!(f, " {:?}", shown(message))?;
        }
        write!(f, " (fault {})", line(id))
    }
}

/// The fault whose element has been entered; leaves it.
pub(super) fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Fault> {
    let mut code = String::new();
    let mut fault = Fault {
        version: reader.version(),
        side: Side::Server,
        text: String::new(),
        actor: String::new(),
        detail: None,
    };
    while reader.child()? {
        match reader.any_name() {
            // SOAP 1.1, 4.4.
            "faultcode" => code = reader.text()?,
            "faultstring" => fault.text = reader.text()?,
            // SOAP 1.2 part 1, 5.4.
            "Code" => code = inner(reader, "Value")?.unwrap_or(code),
            "Reason" => fault.text = inner(reader, "Text")?.unwrap_or_default(),
            "faultactor" | "Role" | "Node" => fault.actor = reader.text()?,
            "detail" | "Detail" => fault.detail = detail(reader)?,
            _ => reader.skip()?,
        }
    }
    let local = code.trim().rsplit(':').next().unwrap_or_default();
    if matches!(local.split('.').next(), Some("Client" | "Sender")) {
        fault.side = Side::Client;
    }
    Ok(fault)
}

fn inner<R: BufRead>(reader: &mut Reader<R>, wanted: &str) -> Result<Option<String>> {
    let mut found = None;
    while reader.child()? {
        if found.is_none() && reader.any_name() == wanted {
            found = Some(reader.text()?);
        } else {
            reader.skip()?;
        }
    }
    Ok(found)
}

/// In 1.2 the block may stand in a `Detail` without a namespace of its own inside the envelope's (MS-WSUSSS 2.2.9).
fn detail<R: BufRead>(reader: &mut Reader<R>) -> Result<Option<Detail>> {
    let mut found = Detail::default();
    let mut deeper = None;
    while reader.child()? {
        match reader.any_name() {
            "ErrorCode" => reader.text()?.trim().clone_into(&mut found.code),
            "Message" => found.message = reader.text()?,
            "ID" => reader.text()?.trim().clone_into(&mut found.id),
            // People wrap it.
            "Method" => found.method = reader.text()?.split_ascii_whitespace().collect(),
            "detail" | "Detail" if deeper.is_none() => deeper = detail(reader)?,
            _ => reader.skip()?,
        }
    }
    Ok(if found.code.is_empty() { deeper } else { Some(found) })
}

impl Fault {
    /// The whole message, as an ASP.NET service writes it: HTTP status 500 belongs to it.
    pub fn encode(&self, style: Style) -> Vec<u8> {
        let mut out = Vec::new();
        // Writing into memory cannot fail.
        let _ = self.write(&mut out, style);
        out
    }

    fn write(&self, out: &mut dyn Write, style: Style) -> std::io::Result<()> {
        let mut writer = Writer::begin(out, self.version, style)?;
        let prefix = writer.prefix();
        let code = match (self.version, self.side) {
            (Version::V11, Side::Client) => "Client",
            (Version::V11, Side::Server) => "Server",
            (Version::V12, Side::Client) => "Sender",
            (Version::V12, Side::Server) => "Receiver",
        };
        let code = format!("{prefix}:{code}");
        let element = format!("{prefix}:Fault");
        writer.open(&element)?;
        match self.version {
            Version::V11 => {
                writer.leaf("faultcode", &code)?;
                writer.leaf("faultstring", &self.text)?;
                if !self.actor.is_empty() {
                    writer.leaf("faultactor", &self.actor)?;
                }
            }
            Version::V12 => {
                let [outer, value, reason, text] =
                    ["Code", "Value", "Reason", "Text"].map(|name| format!("{prefix}:{name}"));
                writer.open(&outer)?;
                writer.leaf(&value, &code)?;
                writer.close(&outer)?;
                writer.open(&reason)?;
                // The language is mandatory (SOAP 1.2 part 1, 5.4.2.1).
                writer.open_with(&text, "xml:lang=\"en\"")?;
                writer.text(&self.text)?;
                writer.close(&text)?;
                writer.close(&reason)?;
                if !self.actor.is_empty() {
                    writer.leaf(&format!("{prefix}:Role"), &self.actor)?;
                }
            }
        }
        if let Some(detail) = &self.detail {
            let outer = match self.version {
                Version::V11 => None,
                Version::V12 => Some(format!("{prefix}:Detail")),
            };
            let block = if outer.is_some() { "Detail" } else { "detail" };
            if let Some(outer) = &outer {
                writer.open(outer)?;
            }
            writer.open(block)?;
            for (name, value) in [
                ("ErrorCode", &detail.code),
                ("Message", &detail.message),
                ("ID", &detail.id),
                ("Method", &detail.method),
            ] {
                // Real servers write an empty message as two tags.
                writer.open(name)?;
                writer.text(value)?;
                writer.close(name)?;
            }
            writer.close(block)?;
            if let Some(outer) = &outer {
                writer.close(outer)?;
            }
        }
        writer.close(&element)?;
        writer.finish()?;
        Ok(())
    }
}
