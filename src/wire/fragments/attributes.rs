//! Which attributes an element keeps, and how it is called.

use quick_xml::events::attributes::Attribute;
use quick_xml::name::PrefixDeclaration;

use crate::wire::metadata::pull::{Open, Space};

/// What stands before the name of an element of this namespace (MS-WUSP 3.1.1.1).
pub(super) const fn prefix(space: Space) -> &'static str {
    match space {
        Space::Base => "b.",
        Space::Msi => "m.",
        Space::Driver => "d.",
        Space::Update | Space::Category | Space::Other => "",
    }
}

/// The attributes of `Properties` that Core has, in its order, each with the value that is the same as having none.
const CORE: [(&str, Option<&str>); 5] = [
    ("UpdateType", None),
    ("ExplicitlyDeployable", Some("false")),
    ("AutoSelectOnWebSites", Some("false")),
    ("OSUpgrade", Some("false")),
    ("EulaID", None),
];

/// Further ones that Extended does not have; where a value stands beside, only with that value.
const NEITHER: [(&str, Option<&str>); 5] = [
    ("PublicationState", None),
    ("CreationDate", None),
    ("PublisherID", None),
    ("PerUser", Some("false")),
    ("IsPublic", Some("true")),
];

/// Writes ` name="value"` of those attributes of `Properties` that Core has.
pub(super) fn core_properties(open: &Open<'_>, out: &mut String) {
    for (name, default) in CORE {
        for attribute in open.attributes().filter(|attribute| attribute.key.as_ref() == name) {
            if default != Some(&*attribute.value) {
                write(name, &attribute.value, out);
            }
        }
    }
}

/// Writes those attributes of `Properties` that Extended has.
pub(super) fn extended_properties(open: &Open<'_>, out: &mut String) {
    kept(open, out, |attribute| {
        let name = attribute.key.as_ref();
        let core = CORE.iter().any(|(known, _)| *known == name);
        let dropped =
            NEITHER.iter().any(|(known, value)| *known == name && value.is_none_or(|value| value == &*attribute.value));
        !core && !dropped
    });
}

/// Writes all attributes.
pub(super) fn all(open: &Open<'_>, out: &mut String) {
    kept(open, out, |_| true);
}

fn kept(open: &Open<'_>, out: &mut String, keep: impl Fn(&Attribute<'_>) -> bool) {
    for (at, attribute) in open.attributes().enumerate() {
        let Some(name) = name(&attribute) else { continue };
        if !keep(&attribute) {
            continue;
        }
        // Without their prefixes two may have one name, and the element would be none.
        if name.len() < attribute.key.as_ref().len()
            && open.attributes().enumerate().any(|(other, attribute)| {
                attribute.key.as_ref() == name || (other < at && self::name(&attribute) == Some(name))
            })
        {
            continue;
        }
        write(name, &attribute.value, out);
    }
}

/// What an attribute is called in a fragment; nothing for the declaration of a prefix, and for that of a default namespace which
/// the names of its elements show ([`prefix`]). `xml:` needs none and stays.
fn name<'a>(attribute: &Attribute<'a>) -> Option<&'a str> {
    match attribute.key.as_namespace_binding() {
        Some(PrefixDeclaration::Named(_)) => None,
        Some(PrefixDeclaration::Default) if Space::of(&attribute.value) != Space::Other => None,
        Some(PrefixDeclaration::Default) => Some(attribute.key.0),
        None if attribute.key.0.starts_with("xml:") => Some(attribute.key.0),
        None => Some(attribute.key.local_name().into_inner()),
    }
}

/// The value is text as it stood between quotes of either kind.
fn write(name: &str, value: &str, out: &mut String) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('"') {
        out.push_str(before);
        out.push_str("&quot;");
        rest = after;
    }
    out.push_str(rest);
    out.push('"');
}
