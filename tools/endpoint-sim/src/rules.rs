//! Applicability rules: what can be decided by the machine's facts is; of an expression that asks for anything else, such as a registry
//! value, the whole is unknown, since the simulated machine has no registry to look into.

use crate::machine::Machine;
use crate::xml::Element;

/// An expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    True,
    False,
    And(Vec<Rule>),
    Or(Vec<Rule>),
    Not(Box<Rule>),
    /// Comparison and what to compare the machine's version with, each part where it is named.
    Windows {
        order: Order,
        version: [Option<u32>; 3],
        product_type: Option<u32>,
    },
    /// `Architecture` by its number; all machines are 9 (AMD64).
    Processor(u32),
    /// Something that this machine cannot look up.
    Unknown,
}

/// How two values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn read(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("EqualTo") => Some(Self::Equal),
            Some("LessThan") => Some(Self::Less),
            Some("LessThanOrEqualTo") => Some(Self::LessOrEqual),
            Some("GreaterThan") => Some(Self::Greater),
            Some("GreaterThanOrEqualTo") => Some(Self::GreaterOrEqual),
            Some(_) => None,
        }
    }

    fn holds(self, by: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => by.is_eq(),
            Self::Less => by.is_lt(),
            Self::LessOrEqual => by.is_le(),
            Self::Greater => by.is_gt(),
            Self::GreaterOrEqual => by.is_ge(),
        }
    }
}

impl Rule {
    /// The rule within `IsInstalled` or `IsInstallable`, of a fragment (`b.WindowsVersion`) or a document (`bar:WindowsVersion`). Several
    /// beside each other must all hold.
    pub(crate) fn read(within: &Element) -> Self {
        match within.children.as_slice() {
            [] => Self::True,
            [one] => Self::one(one),
            several => Self::joined(several, Self::And),
        }
    }

    fn joined(all: &[Element], form: fn(Vec<Self>) -> Self) -> Self {
        let read: Vec<Self> = all.iter().map(Self::one).collect();
        if read.contains(&Self::Unknown) { Self::Unknown } else { form(read) }
    }

    fn one(element: &Element) -> Self {
        let number = |name: &str| element.attribute(name).and_then(|text| text.parse().ok());
        let name = element.name.rsplit('.').next().unwrap_or_default();
        match (name, element.children.as_slice()) {
            ("True", _) => Self::True,
            ("False", _) => Self::False,
            ("And", all) => Self::joined(all, Self::And),
            ("Or", all) => Self::joined(all, Self::Or),
            ("Not", [one]) => match Self::one(one) {
                Self::Unknown => Self::Unknown,
                rule => Self::Not(Box::new(rule)),
            },
            ("WindowsVersion", _) => {
                // Suites, service packs and the like are not facts of a simulated machine.
                const KNOWN: [&str; 5] = ["Comparison", "MajorVersion", "MinorVersion", "BuildNumber", "ProductType"];
                let plain = element
                    .attributes
                    .iter()
                    .all(|(key, _)| KNOWN.contains(&key.as_str()) || key.starts_with("xmlns") || key == "bar");
                match Order::read(element.attribute("Comparison")) {
                    Some(order) if plain => Self::Windows {
                        order,
                        version: [number("MajorVersion"), number("MinorVersion"), number("BuildNumber")],
                        product_type: number("ProductType"),
                    },
                    _ => Self::Unknown,
                }
            }
            ("Processor", _) => match (number("Architecture"), element.attribute("Level").is_none()) {
                (Some(architecture), true) => Self::Processor(architecture),
                _ => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }

    /// Whether it holds on a machine; none where that cannot be told.
    pub(crate) fn holds(&self, machine: &Machine) -> Option<bool> {
        Some(match self {
            Self::True => true,
            Self::False => false,
            Self::And(all) => {
                all.iter().map(|rule| rule.holds(machine)).collect::<Option<Vec<_>>>()?.into_iter().all(|holds| holds)
            }
            Self::Or(all) => {
                all.iter().map(|rule| rule.holds(machine)).collect::<Option<Vec<_>>>()?.into_iter().any(|holds| holds)
            }
            Self::Not(rule) => !rule.holds(machine)?,
            Self::Windows { order, version, product_type } => {
                let named = version.iter().zip(machine.windows).filter_map(|(wanted, own)| Some(((*wanted)?, own)));
                let by = named.map(|(wanted, own)| own.cmp(&wanted)).find(|by| by.is_ne());
                order.holds(by.unwrap_or(std::cmp::Ordering::Equal))
                    && product_type.is_none_or(|wanted| wanted == machine.product_type)
            }
            Self::Processor(architecture) => *architecture == 9,
            Self::Unknown => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(rule: &str) -> Option<bool> {
        let machine = Machine { windows: [10, 0, 22_631], product_type: 1, ..Machine::new(1) };
        Rule::read(&crate::xml::read(rule).expect("XML")).holds(&machine)
    }

    #[test]
    fn facts_of_the_machine_decide() {
        for (rule, expected) in [
            ("<True />", true),
            ("<And><True /><False /></And>", false),
            ("<lar:Or xmlns:lar=\"x\"><lar:False /><lar:True /></lar:Or>", true),
            ("<Not><False /></Not>", true),
            ("<True /><False />", false),
            (
                r#"<b.WindowsVersion Comparison="GreaterThanOrEqualTo" MajorVersion="6" MinorVersion="3" ProductType="1" />"#,
                true,
            ),
            (
                r#"<b.WindowsVersion Comparison="GreaterThanOrEqualTo" MajorVersion="6" MinorVersion="3" ProductType="3" />"#,
                false,
            ),
            (r#"<b.WindowsVersion Comparison="EqualTo" MajorVersion="10" />"#, true),
            (
                r#"<bar:WindowsVersion Comparison="LessThan" MajorVersion="10" MinorVersion="0" BuildNumber="22631" xmlns:bar="x" />"#,
                false,
            ),
            (
                r#"<b.WindowsVersion Comparison="LessThanOrEqualTo" MajorVersion="10" MinorVersion="0" BuildNumber="22631" />"#,
                true,
            ),
            (
                r#"<b.WindowsVersion Comparison="GreaterThan" MajorVersion="10" MinorVersion="0" BuildNumber="22000" />"#,
                true,
            ),
            (r#"<b.Processor Architecture="9" />"#, true),
            (r#"<b.Processor Architecture="0" />"#, false),
        ] {
            assert_eq!(holds(rule), Some(expected), "{rule}");
        }
    }

    #[test]
    fn what_the_machine_cannot_look_up_leaves_the_whole_open() {
        for rule in [
            r#"<b.RegDword Key="HKEY_LOCAL_MACHINE" />"#,
            "<Or><True /><b.RegSz /></Or>",
            "<And><False /><Not><b.FileExists /></Not></And>",
            r#"<b.WindowsVersion Comparison="Near" MajorVersion="6" />"#,
            r#"<b.WindowsVersion MajorVersion="6" SuiteMask="2" />"#,
        ] {
            assert_eq!(holds(rule), None, "{rule}");
        }
    }
}
