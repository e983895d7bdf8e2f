//! What the parts of a document mean that no other place reads: its rules, and how it is installed, as digests that do not depend on
//! how the document is written.
//!
//! Two documents that differ in prefixes, in white space between elements, in the order of attributes, in comments or in how characters
//! are escaped have the same digests; a rule that asks something else, or a command line that runs something else, has another.

use std::io::BufRead;

use crate::wire::metadata::Error;
use crate::wire::metadata::pull::{Open, Pull, Space, Token, value};

/// What is hashed of one part. Lengths stand before texts, so that none can be taken for two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sense {
    /// BLAKE3 over when it applies and whether it is installed.
    pub rules: [u8; 32],
    /// BLAKE3 over what its handler is told.
    pub handling: [u8; 32],
}

/// Where one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Rules,
    Handling,
}

/// Reads a document to its end.
///
/// # Errors
/// It cannot be read.
pub fn sense(document: impl BufRead) -> Result<Sense, Error> {
    let mut pull = Pull::new(document);
    let mut buffer = Vec::new();
    let (mut rules, mut handling) = (blake3::Hasher::new(), blake3::Hasher::new());
    let (mut depth, mut part, mut text) = (0_u64, None, String::new());
    loop {
        let token = pull.next(&mut buffer)?;
        if matches!(token, Token::End) {
            return Ok(Sense { rules: *rules.finalize().as_bytes(), handling: *handling.finalize().as_bytes() });
        }
        if let Token::Open(open) = &token
            && depth == 1
        {
            part = match (open.space, open.local()) {
                (Space::Update, "ApplicabilityRules") => Some(Part::Rules),
                (Space::Update, "HandlerSpecificData") => Some(Part::Handling),
                _ => None,
            };
        }
        if let Some(part) = part {
            let digest = if part == Part::Rules { &mut rules } else { &mut handling };
            match &token {
                Token::Text(more) | Token::CData(more) => text.push_str(more),
                Token::Reference(_, letter) => text.push(*letter),
                Token::Open(open) => {
                    said(digest, &mut text);
                    begin(digest, open);
                    if open.empty {
                        digest.update(b"/");
                    }
                }
                Token::Close(_) => {
                    said(digest, &mut text);
                    digest.update(b"/");
                }
                Token::Comment(_) | Token::Nothing | Token::End => {}
            }
        }
        match &token {
            Token::Open(open) if !open.empty => depth += 1,
            Token::Close(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth <= 1 {
            part = None;
            text.clear();
        }
    }
}

/// The text that has gathered, without what stands around it.
fn said(digest: &mut blake3::Hasher, text: &mut String) {
    let trimmed = text.trim();
    if !trimmed.is_empty() {
        part_of(digest, b't', trimmed);
    }
    text.clear();
}

fn begin(digest: &mut blake3::Hasher, open: &Open<'_>) {
    digest.update(&[b'<', open.space as u8]);
    part_of(digest, b'n', open.local());
    let mut attributes: Vec<(String, String)> = open
        .attributes()
        .filter(|attribute| attribute.key.as_namespace_binding().is_none())
        .map(|attribute| {
            let name = attribute.key.local_name().into_inner().to_owned();
            // What cannot be resolved was refused before.
            let mut value = value(&attribute).unwrap_or_default();
            if name == "type"
                && let Some((_, local)) = value.split_once(':')
            {
                // The prefix of a name of a type.
                value = local.to_owned();
            }
            (name, value)
        })
        .collect();
    attributes.sort_unstable();
    for (name, value) in &attributes {
        part_of(digest, b'a', name);
        part_of(digest, b'v', value);
    }
}

fn part_of(digest: &mut blake3::Hasher, kind: u8, text: &str) {
    digest.update(&[kind]);
    digest.update(&(text.len() as u64).to_be_bytes());
    digest.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"<upd:Update xmlns:upd="http://schemas.microsoft.com/msus/2002/12/Update" xmlns:b="http://schemas.microsoft.com/msus/2002/12/BaseApplicabilityRules" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
        <upd:Properties A="1" />
        <upd:ApplicabilityRules><upd:IsInstalled><b:RegDword Key="A" Value="1" /></upd:IsInstalled></upd:ApplicabilityRules>
        <upd:HandlerSpecificData xsi:type="cmd:CommandLineInstallation"><InstallCommand Arguments="/q" Program="a.exe"/></upd:HandlerSpecificData>
    </upd:Update>"#;

    fn of(document: &str) -> Sense {
        sense(document.as_bytes()).unwrap()
    }

    #[test]
    fn how_it_is_written_does_not_count() {
        let anew = r#"<Update xmlns="http://schemas.microsoft.com/msus/2002/12/Update"><Properties A="2"/><!-- anew --><ApplicabilityRules>
            <IsInstalled> <x:RegDword xmlns:x="http://schemas.microsoft.com/msus/2002/12/BaseApplicabilityRules" Value='&#49;' Key="A"></x:RegDword></IsInstalled>
            </ApplicabilityRules><HandlerSpecificData xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:type="c:CommandLineInstallation"><InstallCommand xmlns="" Program="a.exe" Arguments="/q"/></HandlerSpecificData></Update>"#;
        assert_eq!(of(PLAIN), of(anew));
    }

    #[test]
    fn what_is_meant_counts_in_its_part_alone() {
        let plain = of(PLAIN);
        let rules = of(&PLAIN.replace("Value=\"1\"", "Value=\"0\""));
        assert!(rules.rules != plain.rules && rules.handling == plain.handling);
        let handling = of(&PLAIN.replace("a.exe", "b.exe"));
        assert!(handling.rules == plain.rules && handling.handling != plain.handling);
        let moved =
            of(&PLAIN.replace("<b:RegDword Key=\"A\" Value=\"1\" />", "<b:Not /><b:RegDword Key=\"A\" Value=\"1\" />"));
        assert_ne!(moved.rules, plain.rules);
        assert_eq!(of(&PLAIN.replace("A=\"1\" />", "A=\"3\" />")), plain, "what stands elsewhere");
        assert!(sense("<a>".as_bytes()).is_err());
    }
}
