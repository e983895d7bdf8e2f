//! What an upstream sends of its catalog.

use waystation::wire::fragments::derive;
use waystation::wire::metadata::read;

/// A metadata document. Refused or read; cutting fragments from it tells the same, and what was cut can be read as the document
/// could: put back into a root it is well-formed, and cutting it again changes nothing.
pub fn metadata(data: &[u8]) {
    let (mut core, mut extended) = (Vec::new(), Vec::new());
    let read = read(data);
    let cut = derive(data, &mut core, &mut extended);
    match (read, cut) {
        (Ok(update), Ok(derived)) => {
            assert_eq!(update, derived.update);
            again(&core);
            again(&extended);
            for piece in &derived.localized {
                again(piece.text.as_bytes());
            }
        }
        (Err(error), Err(_)) => assert!(!error.to_string().is_empty()),
        // Fragments have a limit of their own, which no document of this size reaches.
        (read, cut) => panic!("{read:?} but {cut:?}"),
    }
}

/// A fragment inside of what is copied as it is.
fn again(fragment: &[u8]) {
    const HEAD: &str = "<u:Update xmlns:u='http://schemas.microsoft.com/msus/2002/12/Update'>\
        <u:UpdateIdentity UpdateID='7b6d13c6-6401-4a10-a61f-1dab8d93356e' RevisionNumber='1'/><u:ApplicabilityRules>";
    let mut document = HEAD.as_bytes().to_vec();
    document.extend_from_slice(fragment);
    document.extend_from_slice(b"</u:ApplicabilityRules></u:Update>");
    let mut core = Vec::new();
    let derived = derive(document.as_slice(), &mut core, Vec::new());
    // Two levels more than the document had may be too deep.
    match derived {
        Ok(_) => {
            let text = String::from_utf8(core).expect("fragments are text");
            let inner = text
                .split_once("<ApplicabilityRules>")
                .and_then(|(_, rest)| rest.strip_suffix("</ApplicabilityRules>"));
            assert_eq!(inner.map(str::as_bytes), Some(fragment));
        }
        Err(waystation::wire::metadata::Error::Limit { .. }) => {}
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(fragment)),
    }
}
