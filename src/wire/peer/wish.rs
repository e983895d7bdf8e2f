//! Bodies of records for one node: settings and orders.

use bytes::Bytes;

use crate::base::time::Timestamp;
use crate::model::chain::ids::NodeId;
use crate::wire::error::Result;
use crate::wire::peer::body::{Fields, fields, only, text};
use crate::wire::peer::read::Read;

const SETTING: &str = "a record of a setting";
const ORDER: &str = "a record of an order";

/// What a setting is wished to be, or with what an order is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// JSON.
    Open(String),
    /// JSON that the node alone can open.
    Sealed(Bytes),
}

/// A setting that is wished of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its value.
    pub value: Said,
    /// By whom.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Something that a node is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What: `sync-start`, `sync-stop`, `prefetch`, `verify`, `reparent`.
    pub verb: String,
    /// With what.
    pub with: Said,
    /// Afterwards it is not done any more.
    pub until: Timestamp,
    /// By whom.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// The key of a setting's record.
pub fn setting_key(node: NodeId, name: &str) -> Bytes {
    [node.bytes().as_slice(), name.as_bytes()].concat().into()
}

/// The key of an order's record.
pub fn order_key(node: NodeId, number: u64) -> Bytes {
    [node.bytes().as_slice(), &number.to_be_bytes()].concat().into()
}

impl Setting {
    /// As it stands in a record.
    pub fn write(&self) -> Bytes {
        let mut out = Fields(Vec::new());
        put(&mut out, 1, &self.value);
        out.put(3, self.by.as_bytes());
        out.put(4, &self.at.ms().to_le_bytes());
        out.done()
    }

    /// What a record says.
    pub fn read(bytes: &Bytes) -> Result<Self> {
        let mut read = Self { value: Said::Open(String::new()), by: String::new(), at: Timestamp::default() };
        fields(SETTING, bytes, |tag, from| {
            match tag {
                1 | 2 => read.value = said(tag == 2, from)?,
                3 => read.by = text(from)?,
                4 => read.at = Timestamp::from_ms(only(from, Read::u64)?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(read)
    }
}

impl Order {
    /// As it stands in a record.
    pub fn write(&self) -> Bytes {
        let mut out = Fields(Vec::new());
        out.put(1, self.verb.as_bytes());
        put(&mut out, 2, &self.with);
        out.put(4, &self.until.ms().to_le_bytes());
        out.put(5, self.by.as_bytes());
        out.put(6, &self.at.ms().to_le_bytes());
        out.done()
    }

    /// What a record says.
    pub fn read(bytes: &Bytes) -> Result<Self> {
        let (verb, with) = (String::new(), Said::Open(String::new()));
        let mut read = Self { verb, with, until: Timestamp::default(), by: String::new(), at: Timestamp::default() };
        fields(ORDER, bytes, |tag, from| {
            match tag {
                1 => read.verb = text(from)?,
                2 | 3 => read.with = said(tag == 3, from)?,
                4 => read.until = Timestamp::from_ms(only(from, Read::u64)?),
                5 => read.by = text(from)?,
                6 => read.at = Timestamp::from_ms(only(from, Read::u64)?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(read)
    }
}

fn put(out: &mut Fields, tag: u8, said: &Said) {
    match said {
        Said::Open(json) => out.put(tag, json.as_bytes()),
        Said::Sealed(sealed) => out.put(tag + 1, sealed),
    }
}

fn said(is_sealed: bool, mut from: Read) -> Result<Said> {
    if is_sealed {
        return Ok(Said::Sealed(from.bytes(from.left())?));
    }
    Ok(Said::Open(text(from)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let (open, sealed) = (Said::Open("[\"a\"]".into()), Said::Sealed(Bytes::from_static(b"\x01\x02")));
        for value in [open, sealed] {
            let (by, at) = ("anna".to_owned(), Timestamp::from_ms(9));
            let setting = Setting { value: value.clone(), by: by.clone(), at };
            assert_eq!(Setting::read(&setting.write()).unwrap(), setting);
            let order = Order { verb: "verify".into(), with: value, until: Timestamp::from_ms(10), by, at };
            assert_eq!(Order::read(&order.write()).unwrap(), order);
            let cut = order.write().slice(..20);
            assert!(Order::read(&cut).is_err());
        }
        assert_ne!(setting_key(NodeId::new([1; 16]), "a"), order_key(NodeId::new([1; 16]), 97));
    }
}
