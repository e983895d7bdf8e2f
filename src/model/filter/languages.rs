//! The languages that the protocol knows, as a recorded server lists them (MS-WSUSSS 2.2.2.4.4, LanguageUpdateList).

use crate::model::filter::tree::{Error, NEAR_MAX, Near, near};

/// A language of updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Language {
    /// What the protocol calls it: a Windows language code.
    pub id: u32,
    /// What documents call it.
    pub short: &'static str,
    /// What people call it.
    pub long: &'static str,
}

const fn known(id: u32, short: &'static str, long: &'static str) -> Language {
    Language { id, short, long }
}

/// All of them.
pub const LANGUAGES: [Language; 38] = [
    known(1025, "ar", "Arabic"),
    known(1026, "bg", "Bulgarian"),
    known(1028, "zh-tw", "Chinese (Traditional)"),
    known(1029, "cs", "Czech"),
    known(1030, "da", "Danish"),
    known(1031, "de", "German"),
    known(1032, "el", "Greek"),
    known(1033, "en", "English"),
    known(1034, "es", "Spanish"),
    known(1035, "fi", "Finnish"),
    known(1036, "fr", "French"),
    known(1037, "he", "Hebrew"),
    known(1038, "hu", "Hungarian"),
    known(1040, "it", "Italian"),
    known(1041, "ja", "Japanese"),
    known(1042, "ko", "Korean"),
    known(1043, "nl", "Dutch"),
    known(1044, "no", "Norwegian"),
    known(1045, "pl", "Polish"),
    known(1046, "pt-br", "Portuguese (Brazil)"),
    known(1048, "ro", "Romanian"),
    known(1049, "ru", "Russian"),
    known(1050, "hr", "Croatian"),
    known(1051, "sk", "Slovak"),
    known(1053, "sv", "Swedish"),
    known(1054, "th", "Thai"),
    known(1055, "tr", "Turkish"),
    known(1058, "uk", "Ukrainian"),
    known(1060, "sl", "Slovenian"),
    known(1061, "et", "Estonian"),
    known(1062, "lv", "Latvian"),
    known(1063, "lt", "Lithuanian"),
    known(1081, "hi", "Hindi"),
    known(2052, "zh-cn", "Chinese (Simplified)"),
    known(2070, "pt", "Portuguese (Portugal)"),
    known(2074, "sr", "Serbian (Latin)"),
    known(3076, "zh-hk", "Chinese (Hong Kong SAR)"),
    known(66577, "ja-nec", "Japanese NEC"),
];

/// What languages call themselves, and other names that people write, by the short name of the language that is meant. Spellings without
/// marks are found by their likeness.
const OWN_NAMES: [(&str, &str); 47] = [
    ("العربية", "ar"),
    ("български", "bg"),
    ("中文", "zh-cn"),
    ("简体中文", "zh-cn"),
    ("繁體中文", "zh-tw"),
    ("mandarin", "zh-cn"),
    ("čeština", "cs"),
    ("dansk", "da"),
    ("deutsch", "de"),
    ("ελληνικά", "el"),
    ("español", "es"),
    ("castellano", "es"),
    ("suomi", "fi"),
    ("français", "fr"),
    ("עברית", "he"),
    ("magyar", "hu"),
    ("italiano", "it"),
    ("日本語", "ja"),
    ("nihongo", "ja"),
    ("한국어", "ko"),
    ("nederlands", "nl"),
    ("vlaams", "nl"),
    ("flemish", "nl"),
    ("norsk", "no"),
    ("bokmål", "no"),
    ("nb", "no"),
    ("nn", "no"),
    ("polski", "pl"),
    ("português", "pt"),
    ("brazilian", "pt-br"),
    ("brasileiro", "pt-br"),
    ("română", "ro"),
    ("русский", "ru"),
    ("hrvatski", "hr"),
    ("slovenčina", "sk"),
    ("svenska", "sv"),
    ("ไทย", "th"),
    ("türkçe", "tr"),
    ("українська", "uk"),
    ("slovenščina", "sl"),
    ("eesti", "et"),
    ("latviešu", "lv"),
    ("lietuvių", "lt"),
    ("हिन्दी", "hi"),
    ("srpski", "sr"),
    ("zh-hans", "zh-cn"),
    ("zh-hant", "zh-tw"),
];

/// The languages that a text means which names none: by its own name, or by a code or a name with a region or a script beside it
/// (`en-US`, `zh-Hans-CN`, `french-canada`).
fn meant(text: &str) -> Vec<&'static Language> {
    let text = text.to_lowercase().replace('_', "-");
    let by_short = |short: &str| LANGUAGES.iter().find(|language| language.short == short);
    let own = |text: &str| OWN_NAMES.iter().find(|(name, _)| *name == text).and_then(|(_, short)| by_short(short));
    let mut head = text.as_str();
    // From the whole on, one part less each time: what is nearest counts.
    loop {
        if let Some(language) = own(head) {
            return vec![language];
        }
        let named: Vec<&Language> = LANGUAGES
            .iter()
            .filter(|language| {
                let long = language.long.to_lowercase();
                // "chinese" stands for all that are called so.
                language.short == head || long.split([' ', '(']).next() == Some(head)
            })
            .collect();
        // A code without a region is the language itself, and "zh" is none.
        if !named.is_empty() {
            return named;
        }
        let family: Vec<&Language> =
            LANGUAGES.iter().filter(|language| language.short.split('-').next() == Some(head)).collect();
        if !family.is_empty() {
            return family;
        }
        match head.rsplit_once(['-', ' ', '(']) {
            Some((less, _)) => head = less.trim(),
            None => return Vec::new(),
        }
    }
}

/// The language of this short or long name, in any case.
pub fn language(text: &str) -> Result<&'static Language, Error> {
    language_or(text, true)
}

/// The same; what may have been meant only where `is_hinted`.
pub fn language_or(text: &str, is_hinted: bool) -> Result<&'static Language, Error> {
    let text = text.trim();
    let named =
        |language: &&Language| language.short.eq_ignore_ascii_case(text) || language.long.eq_ignore_ascii_case(text);
    LANGUAGES.iter().find(named).ok_or_else(|| {
        let said: String = text.chars().take(80).collect();
        if !is_hinted {
            return Error::Unknown { what: "language", text: said, near: Near::default() };
        }
        let shown: Vec<String> =
            LANGUAGES.iter().map(|language| format!("{} ({})", language.short, language.long)).collect();
        let names = LANGUAGES
            .iter()
            .zip(&shown)
            .flat_map(|(language, shown)| [(language.short, shown.as_str()), (language.long, shown.as_str())]);
        let told = |language: &Language| format!("{} ({})", language.short, language.long);
        let meant: Vec<String> = meant(text).into_iter().take(NEAR_MAX).map(told).collect();
        if !meant.is_empty() {
            return Error::Unknown { what: "language", text: said, near: meant.into() };
        }
        let own = OWN_NAMES.iter().filter_map(|(own, short)| {
            let at = LANGUAGES.iter().position(|language| language.short == *short)?;
            Some((*own, shown.get(at)?.as_str()))
        });
        Error::Unknown { what: "language", text: said, near: near(text, names.chain(own)).into() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(text: &str) -> Vec<String> {
        match language(text) {
            Err(Error::Unknown { near, .. }) => near.names().to_vec(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn own_names_and_regions_lead_to_the_language() {
        for (text, short) in [
            ("deutsch", "de (German)"),
            ("Deutsch", "de (German)"),
            ("deutsh", "de (German)"),
            ("en-US", "en (English)"),
            ("de_AT", "de (German)"),
            ("zh-hans", "zh-cn (Chinese (Simplified))"),
            ("zh-Hans-CN", "zh-cn (Chinese (Simplified))"),
            ("french-canada", "fr (French)"),
            ("English (US)", "en (English)"),
            ("norsk", "no (Norwegian)"),
            ("engish", "en (English)"),
        ] {
            assert_eq!(hint(text).first().map(String::as_str), Some(short), "{text}: {:?}", hint(text));
        }
        assert_eq!(hint("chinese").len(), 3, "all that are called so");
        assert_eq!(hint("zh").len(), 3);
        assert!(hint("klingon").is_empty(), "{:?}", hint("klingon"));
    }

    #[test]
    fn each_own_name_is_of_a_language_that_there_is() {
        for (own, short) in OWN_NAMES {
            assert!(LANGUAGES.iter().any(|language| language.short == short), "{own}: {short}");
            assert!(language(own).is_err(), "{own} is a name already");
        }
    }
}
