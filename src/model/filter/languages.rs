//! The languages that the protocol knows, as a recorded server lists them (MS-WSUSSS 2.2.2.4.4, LanguageUpdateList).

use crate::model::filter::tree::{Error, Near, near};

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
        Error::Unknown { what: "language", text: said, near: near(text, names).into() }
    })
}
