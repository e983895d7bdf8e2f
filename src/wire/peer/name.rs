//! The name in a node's certificate: `<node id>.<16 digits of the CA's pin>.waystation.internal`.

use sha2::{Digest as _, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::base::hex;
use crate::model::chain::ids::NodeId;
use crate::wire::error::{Error, Result};

const ZONE: &str = "waystation.internal";
const WHAT: &str = "the certificate of a node";

/// SHA-256 of the public key (SPKI) of a parent's certificate authority for nodes.
pub type Pin = [u8; 32];

/// Below what a CA may sign names.
pub fn zone(pin: &Pin) -> String {
    format!("{}.{ZONE}", hex::encode(pin.get(..8).unwrap_or_default()))
}

/// The name of a node in the zone of its parent's CA.
pub fn write(node: NodeId, pin: &Pin) -> String {
    format!("{node}.{}", zone(pin))
}

/// The node of a name in this zone.
pub fn read(name: &str, pin: &Pin) -> Option<NodeId> {
    let (node, rest) = name.split_once('.')?;
    if rest == zone(pin) { node.parse().ok() } else { None }
}

/// Who a certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The node.
    pub node: NodeId,
    /// The certificate's serial number, in hex.
    pub serial: String,
    /// Its end, in seconds since 1970.
    pub until: i64,
}

fn fail(why: &str) -> Error {
    Error::Malformed { what: WHAT, at: 0, why: why.to_owned() }
}

/// The node that a certificate of the CA with this pin names. Whether that CA signed it is not looked at here.
pub fn of_certificate(der: &[u8], pin: &Pin) -> Result<Named> {
    let (_, parsed) = X509Certificate::from_der(der).map_err(|_| fail("it cannot be read"))?;
    let names = parsed.subject_alternative_name().map_err(|_| fail("its names cannot be read"))?;
    let names = names.into_iter().flat_map(|names| &names.value.general_names);
    let node = names.into_iter().find_map(|name| match name {
        GeneralName::DNSName(name) => read(name, pin),
        _ => None,
    });
    let node = node.ok_or_else(|| fail("it names no node of this authority"))?;
    Ok(Named { node, serial: hex::encode(parsed.raw_serial()), until: parsed.validity().not_after.timestamp() })
}

/// The pin of a certificate.
pub fn pin_of(der: &[u8]) -> Result<Pin> {
    let (_, parsed) = X509Certificate::from_der(der).map_err(|_| fail("it cannot be read"))?;
    Ok(Sha256::digest(parsed.public_key().raw).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_its_zone_alone() {
        let (node, pin) = (NodeId::new([0xab; 16]), [0x12; 32]);
        let name = write(node, &pin);
        assert_eq!(name, format!("{}.1212121212121212.waystation.internal", "ab".repeat(16)));
        assert_eq!(read(&name, &pin), Some(node));
        assert_eq!(read(&name, &[0x13; 32]), None);
        assert_eq!(read(&format!("a.{name}"), &pin), None);
        assert!(of_certificate(b"no certificate", &pin).is_err() && pin_of(&[]).is_err());
    }
}
