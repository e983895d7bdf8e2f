//! What is told of single files: whether endpoints read parts of them, whether they are for languages that are wanted, and which are like
//! others. Pure.

use std::collections::BTreeSet;

use crate::model::update::File;

/// Bytes of a file's name that its likeness is made of.
pub(super) const NAME_MAX: usize = 256;

/// Whether endpoints read parts of a file rather than the whole of it: express and PSF files, from which they take what differs, and
/// those of UUP upgrades, of which they take what they lack. `handler` is that of the update whose file it is.
pub fn is_read_in_parts(file: &File, handler: &str) -> bool {
    let extension = file.name.rsplit_once('.').map_or("", |(_, extension)| extension);
    file.patching.to_ascii_lowercase().contains("express")
        || ["psf", "esd"].iter().any(|known| extension.eq_ignore_ascii_case(known))
        || handler.eq_ignore_ascii_case("OSInstaller")
}

/// Whether a file of an update for these languages (as published; none where nothing is said, and `all` of UUP upgrades says no more) is
/// wanted where these are (short names; none for all).
pub fn is_in_languages(of: &[String], wanted: &BTreeSet<String>) -> bool {
    of.is_empty()
        || wanted.is_empty()
        || of.iter().any(|one| one.eq_ignore_ascii_case("all") || wanted.contains(&one.to_ascii_lowercase()))
}

/// What a file's name is like: its words, with what differs from one month to the next taken out of it (numbers, versions, articles,
/// digests), so that `windows11.0-kb5031234-x64_0a1b...cab` is like the `windows11.0-kb5035678-x64_9f8e...cab` of the month after and not
/// like the one for ARM. Empty where nothing but such things stands in it: then it is like none.
pub fn likeness(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let name = name.get(..name.floor_char_boundary(NAME_MAX)).unwrap_or_default();
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let (mut like, mut says_anything) = (String::with_capacity(name.len()), false);
    for part in stem.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric()) {
        let word = part.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let rest = part.get(word.len()..).unwrap_or_default();
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_digest = word.len() >= 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        if word.is_empty() {
        } else if digits(word) || is_digest {
            like.push('#');
        } else if let Some(article) = word.strip_prefix("kb").filter(|article| digits(article)) {
            like.push_str(if article.is_empty() { "kb" } else { "kb#" });
        } else {
            says_anything = true;
            like.push_str(word);
        }
        like.push_str(rest);
    }
    if !says_anything {
        return String::new();
    }
    like.push('.');
    like.push_str(extension);
    like
}
