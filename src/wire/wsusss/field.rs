//! How elements are read and written: one trait for the types of elements, and records of them.

use std::io::{self, BufRead, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::base::digest::Sha1;
use crate::model::update::{Identity, UpdateId};
use crate::wire::error::{Error, Result};
use crate::wire::soap::{Reader, Writer};

/// The type of an element.
pub trait Field: Sized {
    /// Whether it stands for no element at all.
    const NOTHING: bool = false;

    /// Reads the element that was entered last, and leaves it.
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self>;

    /// What it is where the element is absent; `None` where it must be there.
    fn absent() -> Option<Self> {
        None
    }

    /// Writes it as an element of this name.
    fn write<W: Write>(&self, out: &mut Writer<W>, name: &str) -> io::Result<()>;
}

/// A type whose element has other elements in it.
pub trait Record: Field {
    /// How many kinds there are of them.
    const FIELDS: usize;

    /// Writes what is in the element.
    fn write_fields<W: Write>(&self, out: &mut Writer<W>) -> io::Result<()>;
}

/// The type of an element of an array.
pub trait Item: Field {
    /// The name of the elements in the array.
    const NAME: &'static str;
}

/// Defines a record: its elements in the order in which they are written, each with its name on the wire.
macro_rules! record {
    (
        $(#[$doc:meta])*
        $name:ident {
            $( $(#[$field_doc:meta])* $element:literal $field:ident: $kind:ty, )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: $kind, )*
        }

        impl $crate::wire::wsusss::field::Field for $name {
            fn read<R: std::io::BufRead>(
                reader: &mut $crate::wire::soap::Reader<R>,
            ) -> $crate::wire::error::Result<Self> {
                $( let mut $field: Option<$kind> = None; )*
                while reader.child()? {
                    match reader.name() {
                        $( $element => $field = Some($crate::wire::wsusss::field::Field::read(reader)?), )*
                        _ => reader.skip()?,
                    }
                }
                Ok(Self {
                    $( $field: $crate::wire::wsusss::field::present($field, stringify!($name), $element)?, )*
                })
            }

            fn write<W: std::io::Write>(
                &self,
                out: &mut $crate::wire::soap::Writer<W>,
                name: &str,
            ) -> std::io::Result<()> {
                out.open(name)?;
                $crate::wire::wsusss::field::Record::write_fields(self, out)?;
                out.close(name)
            }
        }

        impl $crate::wire::wsusss::field::Record for $name {
            const FIELDS: usize = [$( $element ),*].len();

            fn write_fields<W: std::io::Write>(
                &self,
                out: &mut $crate::wire::soap::Writer<W>,
            ) -> std::io::Result<()> {
                $( $crate::wire::wsusss::field::Field::write(&self.$field, out, $element)?; )*
                Ok(())
            }
        }
    };
}
pub(super) use record;

/// A field that came, or what it is where it did not come.
pub(super) fn present<T: Field>(field: Option<T>, inside: &'static str, name: &'static str) -> Result<T> {
    field.or_else(T::absent).ok_or(Error::Missing { inside, field: name })
}

impl<T: Field> Field for Option<T> {
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        T::read(reader).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn write<W: Write>(&self, out: &mut Writer<W>, name: &str) -> io::Result<()> {
        self.as_ref().map_or(Ok(()), |value| value.write(out, name))
    }
}

/// An array: a plain list of elements. Others among them are skipped; a missing one is an empty one, unless the field is
/// optional.
impl<T: Item> Field for Vec<T> {
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        let mut items = Self::new();
        while reader.child()? {
            if reader.name() == T::NAME {
                items.push(T::read(reader)?);
            } else {
                reader.skip()?;
            }
        }
        Ok(items)
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }

    fn write<W: Write>(&self, out: &mut Writer<W>, name: &str) -> io::Result<()> {
        if self.is_empty() {
            return out.empty(name);
        }
        out.open(name)?;
        for item in self {
            item.write(out, T::NAME)?;
        }
        out.close(name)
    }
}

impl Field for String {
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        reader.text()
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }

    fn write<W: Write>(&self, out: &mut Writer<W>, name: &str) -> io::Result<()> {
        out.leaf(name, self)
    }
}

impl Field for bool {
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        let text = reader.text()?;
        match text.trim() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            other => Err(Error::value(reader.name(), other, "true or false")),
        }
    }

    /// Old servers leave out what later versions brought: it is off then.
    fn absent() -> Option<Self> {
        Some(false)
    }

    fn write<W: Write>(&self, out: &mut Writer<W>, name: &str) -> io::Result<()> {
        out.leaf(name, if *self { "true" } else { "false" })
    }
}

macro_rules! number {
    ($($kind:ty),*) => {
        $(impl Field for $kind {
            fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
                let text = reader.text()?;
                text.trim()
                    .parse()
                    .map_err(|_| Error::value(reader.name(), &text, concat!("a number of the type ", stringify!($kind))))
            }

            fn write<W: Write>(&self, out: &mut Writer<W>, name: &str) -> io::Result<()> {
                out.leaf(name, &self.to_string())
            }
        })*
    };
}

number!(u8, u32, i32);

impl Item for i32 {
    const NAME: &'static str = "int";
}

impl Field for UpdateId {
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        let text = reader.text()?;
        text.trim().parse().map_err(|_| Error::value(reader.name(), &text, "a GUID"))
    }

    fn write<W: Write>(&self, out: &mut Writer<W>, name: &str) -> io::Result<()> {
        out.leaf(name, &self.to_string())
    }
}

impl Item for UpdateId {
    const NAME: &'static str = "guid";
}

impl Field for Identity {
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        let (mut id, mut revision) = (None, None);
        while reader.child()? {
            match reader.name() {
                "UpdateID" => id = Some(UpdateId::read(reader)?),
                "RevisionNumber" => revision = Some(u32::read(reader)?),
                _ => reader.skip()?,
            }
        }
        Ok(Self {
            id: present(id, "UpdateIdentity", "UpdateID")?,
            revision: present(revision, "UpdateIdentity", "RevisionNumber")?,
        })
    }

    fn write<W: Write>(&self, out: &mut Writer<W>, name: &str) -> io::Result<()> {
        out.open(name)?;
        self.id.write(out, "UpdateID")?;
        self.revision.write(out, "RevisionNumber")?;
        out.close(name)
    }
}

impl Item for Identity {
    const NAME: &'static str = "UpdateIdentity";
}

impl Field for Sha1 {
    fn read<R: BufRead>(reader: &mut Reader<R>) -> Result<Self> {
        let text = reader.text()?;
        let bytes: Option<[u8; 20]> = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self::new).ok_or_else(|| Error::value(reader.name(), text.trim(), "the base64 of a SHA-1"))
    }

    fn write<W: Write>(&self, out: &mut Writer<W>, name: &str) -> io::Result<()> {
        out.leaf(name, &STANDARD.encode(self.as_bytes()))
    }
}

impl Item for Sha1 {
    const NAME: &'static str = "base64Binary";
}
