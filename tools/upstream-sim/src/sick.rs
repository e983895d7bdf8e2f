//! What faults do to the text of a document.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::guid::{Guid, Identity};
use crate::random::join;
use crate::world::{Slot, World};

/// How many elements or attributes are too many.
const MANY: usize = 50_000;

/// Whether a document can have a fault.
pub(crate) fn fits(kind: &str, text: &str) -> bool {
    match kind {
        // Calls fail as a whole; the documents are good.
        "unknown-id" | "crashes-server" | "withheld" | "outdated" => false,
        "altered-title" => text.contains("<upd:Title>"),
        "altered-rules" => text.contains("</upd:ApplicabilityRules>"),
        "bad-digest" | "lying-size" | "altered-digest" => text.contains("<upd:File Digest="),
        "cyclic-bundle" => {
            text.contains("</upd:Relationships>") && text.contains("LegacyName") || text.contains("Handler=")
        }
        "cyclic-prerequisite" => text.contains("<upd:Prerequisites>"),
        _ => true,
    }
}

/// Whether a fault is one of the cabinet.
pub(crate) fn wants_cabinet(kind: &str) -> bool {
    matches!(kind, "bad-cabinet" | "cabinet-bomb" | "bad-base64")
}

/// The text with the fault in it; none where the fault is not one of the text.
pub(crate) fn text(kind: &str, text: &str, world: &World, (id, revision): &Identity) -> Option<String> {
    let before_end = |what: &str| text.replacen("</upd:Update>", &format!("{what}</upd:Update>"), 1);
    Some(match kind {
        "half-document" => {
            let half = (text.len() / 2..text.len()).find(|at| text.is_char_boundary(*at))?;
            text.get(..half)?.to_owned()
        }
        "wrong-identity" => {
            let other = Guid::made(join(&[u64::from(id.0[0]), u64::from(id.0[1]), 0xbad]));
            let at = text.find("UpdateID=\"")? + "UpdateID=\"".len();
            format!("{}{other}{}", text.get(..at)?, text.get(at + 36..)?)
        }
        "cyclic-bundle" => {
            let Some(Slot::Member(group, _)) = world.slot(id) else { return None };
            let (bundle, newest) = (world.member_id(group, 0), world.group(group)?.revision(0));
            let revision = if bundle == *id { *revision } else { newest };
            let own = format!(r#"<upd:UpdateIdentity UpdateID="{bundle}" RevisionNumber="{revision}" />"#);
            if text.contains("<upd:BundledUpdates>") {
                text.replacen("<upd:BundledUpdates>", &format!("<upd:BundledUpdates>{own}"), 1)
            } else {
                let bundled = format!("<upd:BundledUpdates>{own}</upd:BundledUpdates></upd:Relationships>");
                text.replacen("</upd:Relationships>", &bundled, 1)
            }
        }
        "cyclic-prerequisite" => text.replacen(
            "<upd:Prerequisites>",
            &format!(r#"<upd:Prerequisites><upd:UpdateIdentity UpdateID="{id}" />"#),
            1,
        ),
        "bad-digest" => {
            let at = text.find("<upd:File Digest=\"")? + "<upd:File Digest=\"".len();
            let end = at + text.get(at..)?.find('"')?;
            format!("{}*** not base64 ***{}", text.get(..at)?, text.get(end..)?)
        }
        "altered-title" => text.replacen("<upd:Title>", "<upd:Title>Altered: ", 1),
        "altered-rules" => text.replacen(
            "</upd:ApplicabilityRules>",
            "<upd:IsSuperseded When=\"always\" /></upd:ApplicabilityRules>",
            1,
        ),
        "rewritten" => before_end("<!-- written anew -->").replace(" />", "/>").replace("><upd:", ">\n  <upd:"),
        "altered-digest" => {
            let at = text.find("<upd:File Digest=\"")? + "<upd:File Digest=\"".len();
            let end = at + text.get(at..)?.find('"')?;
            let other = Guid::made(join(&[u64::from(id.0[0]), u64::from(id.0[1]), 0xd16e]));
            let sha1: Vec<u8> = other.0.into_iter().chain([0xa1, 0x7e, 0x4e, 0xd0]).collect();
            format!("{}{}{}", text.get(..at)?, BASE64.encode(sha1), text.get(end..)?)
        }
        "lying-size" => {
            let file = text.find("<upd:File Digest=")?;
            let at = file + text.get(file..)?.find(" Size=\"")? + " Size=\"".len();
            let end = at + text.get(at..)?.find('"')?;
            let size: u64 = text.get(at..end)?.parse().ok()?;
            format!("{}{}{}", text.get(..at)?, size + 1_000, text.get(end..)?)
        }
        "deep-xml" => before_end(&format!("{}{}", "<upd:Deep>".repeat(MANY), "</upd:Deep>".repeat(MANY))),
        "many-attributes" => {
            let mut attributes = String::new();
            for at in 0..MANY {
                // Writing to a string does not fail.
                let _ = write!(attributes, " a{at}=\"\"");
            }
            before_end(&format!("<upd:Wide{attributes} />"))
        }
        "entity-bomb" => {
            let mut entities = String::from(r#"<!DOCTYPE upd:Update [<!ENTITY e0 "lol">"#);
            for at in 1..12 {
                // Writing to a string does not fail.
                let _ = write!(entities, r#"<!ENTITY e{at} "{}">"#, format!("&e{};", at - 1).repeat(10));
            }
            format!("{entities}]>{}", before_end("<upd:Description>&e11;</upd:Description>"))
        }
        _ => return None,
    })
}
