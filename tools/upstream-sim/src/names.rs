//! What real catalogs have by name: classifications, families, products, languages. The ids are Microsoft's public ones;
//! what is not public is the simulator's own and follows from the seed.

/// Microsoft, the company.
pub(crate) const COMPANY: &str = "56309036-4c77-4dd9-951a-99ee9c246a94";

/// Id, name, description.
pub(crate) const CLASSIFICATIONS: &[(&str, &str)] = &[
    ("0fa1201d-4330-4fa8-8ae9-b877473b6441", "Security Updates"),
    ("e6cf1350-c01b-414d-a61f-263d14d133b4", "Critical Updates"),
    ("cd5ffd1e-e932-4e3a-bf74-18bf0b1bbd83", "Updates"),
    ("28bc880e-0592-4cbf-8f95-c79b17911d5f", "Update Rollups"),
    ("e0789628-ce08-4437-be74-2495b842f43b", "Definition Updates"),
    ("ebfc1fc5-71a4-4f7b-9aca-3b9a503104a0", "Drivers"),
    ("3689bdc8-b205-4af4-8d4a-a63924c5e9d5", "Upgrades"),
    ("68c5b0a3-d1a6-4553-ae49-01d3a7827828", "Service Packs"),
    ("b54e7d24-7add-428f-8b75-90a396fa584f", "Feature Packs"),
    ("b4832bd8-e735-4761-8daf-37f882276dab", "Tools"),
    ("5c9376ab-8ce6-464a-b136-22113dd69801", "Applications"),
    ("434de588-ed14-48f5-8eed-a15e09a991f6", "Connectors"),
    ("e140075d-8433-45c3-ad87-e72345b36078", "Developer Kits"),
    ("9511d615-35b2-47bb-927f-f73d8e9260bb", "Guidance"),
    ("77835c8d-62a7-41f5-82ad-f28d1af1e3b1", "Driver Sets"),
    ("5eaef3e6-abb0-4192-9b26-0fd955381fa9", "Hotfix"),
    ("871a0782-be12-a5c4-c57f-1bd6d9f7144e", "Third Party"),
    // Two of the simulator's own: a real catalog has 19.
    ("0c8b6f21-52c7-4d1a-9a57-3f0f0e7f1a01", "Simulated Previews"),
    ("0c8b6f21-52c7-4d1a-9a57-3f0f0e7f1a02", "Simulated Inventory"),
];

/// Places in [`CLASSIFICATIONS`].
pub(crate) mod class {
    pub(crate) const SECURITY: u8 = 0;
    pub(crate) const CRITICAL: u8 = 1;
    pub(crate) const UPDATES: u8 = 2;
    pub(crate) const ROLLUPS: u8 = 3;
    pub(crate) const DEFINITIONS: u8 = 4;
    pub(crate) const DRIVERS: u8 = 5;
    pub(crate) const UPGRADES: u8 = 6;
    pub(crate) const SERVICE_PACKS: u8 = 7;
}

/// Id (empty: made of the seed) and name.
pub(crate) const FAMILIES: &[(&str, &str)] = &[
    ("6964aab4-c5b5-43bd-a17d-ffb4346a8e1d", "Windows"),
    ("", "Office"),
    ("", "Forefront"),
    ("", "Developer Tools, Runtimes, and Redistributables"),
    ("", "SQL Server"),
    ("", "Exchange"),
    ("", "System Center"),
    ("", "Silverlight"),
];

/// What is published for a product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trade {
    /// Cumulative updates, single ones, upgrades.
    System,
    /// Definitions.
    Definitions,
    /// Single ones and bundles, in languages.
    Applications,
    /// Drivers.
    Drivers,
}

/// Id (empty: made of the seed), name, place of its family, trade, how often it is chosen. One is called otherwise than the node
/// expects: names are the vendor's and change.
pub(crate) const PRODUCTS: &[(&str, &str, usize, Trade, u64)] = &[
    ("72e7624a-5b00-45d2-b92f-e561c0a6a160", "Windows 11", 0, Trade::System, 14),
    ("a3c2375d-0c8a-42f9-bce0-28333e198407", "Windows 10", 0, Trade::System, 6),
    ("b3c75dc1-155f-4be4-b015-3f1a91758e52", "Windows 10, version 1903 and later", 0, Trade::System, 14),
    ("d2085b71-5f1f-43a9-880d-ed159016d5c6", "Windows 10 LTSB and LTSC", 0, Trade::System, 4),
    ("569e8e8f-c6cd-42c8-92a3-efbb20a0f6f5", "Windows Server 2016", 0, Trade::System, 6),
    ("f702a48c-919b-45d6-9aef-ca4248d50397", "Windows Server 2019", 0, Trade::System, 7),
    ("71718f13-7324-4b0f-8f9e-2ca9dc978e53", "Microsoft Server operating system-21H2", 0, Trade::System, 7),
    ("2c7888b6-f9e9-4ee9-87af-a77705193893", "Microsoft Server Operating System-22H2", 0, Trade::System, 3),
    ("b256987d-4693-4c87-955d-dbb9341205eb", "Microsoft Server Operating System-24H2", 0, Trade::System, 6),
    ("8c3fcc84-7410-4a95-8b89-a166a0190486", "Microsoft Defender Antivirus", 2, Trade::Definitions, 1),
    ("84f5f325-30d7-41c4-81d1-87a0e6535b66", "Office 2010", 1, Trade::Applications, 3),
    ("704a0a4a-518f-4d69-9e03-10ba44198bd5", "Office 2013", 1, Trade::Applications, 3),
    ("25aed893-7c2d-4a31-ae22-28ff8ac150ed", "Office 2016", 1, Trade::Applications, 5),
    ("05eebf61-148b-43cf-80da-1c99ab0b8699", "Windows 10 and later drivers", 0, Trade::Drivers, 1),
    ("bfeb1830-4b34-40d0-a2d7-8d6f994ddb58", "Windows 11 Client and later drivers", 0, Trade::Drivers, 1),
    ("", ".NET 8.0", 3, Trade::Applications, 3),
    ("", "Visual Studio 2022", 3, Trade::Applications, 2),
    ("", "Microsoft SQL Server 2019", 4, Trade::Applications, 2),
    ("", "Microsoft SQL Server 2022", 4, Trade::Applications, 2),
    ("", "Exchange Server 2019", 5, Trade::Applications, 2),
    ("", "System Center 2022 - Operations Manager", 6, Trade::Applications, 1),
    ("", "Silverlight", 7, Trade::Applications, 1),
];

/// Locale id, short and long name (MS-LCID; the list and its order are a real server's).
pub(crate) const LANGUAGES: &[(u32, &str, &str)] = &[
    (1025, "ar", "Arabic"),
    (1026, "bg", "Bulgarian"),
    (1028, "zh-tw", "Chinese (Traditional)"),
    (1029, "cs", "Czech"),
    (1030, "da", "Danish"),
    (1031, "de", "German"),
    (1032, "el", "Greek"),
    (1033, "en", "English"),
    (1034, "es", "Spanish"),
    (1035, "fi", "Finnish"),
    (1036, "fr", "French"),
    (1037, "he", "Hebrew"),
    (1038, "hu", "Hungarian"),
    (1040, "it", "Italian"),
    (1041, "ja", "Japanese"),
    (1042, "ko", "Korean"),
    (1043, "nl", "Dutch"),
    (1044, "no", "Norwegian"),
    (1045, "pl", "Polish"),
    (1046, "pt-br", "Portuguese (Brazil)"),
    (1048, "ro", "Romanian"),
    (1049, "ru", "Russian"),
    (1050, "hr", "Croatian"),
    (1051, "sk", "Slovak"),
    (1053, "sv", "Swedish"),
    (1054, "th", "Thai"),
    (1055, "tr", "Turkish"),
    (1058, "uk", "Ukrainian"),
    (1060, "sl", "Slovenian"),
    (1061, "et", "Estonian"),
    (1062, "lv", "Latvian"),
    (1063, "lt", "Lithuanian"),
    (1081, "hi", "Hindi"),
    (2052, "zh-cn", "Chinese (Simplified)"),
    (2070, "pt", "Portuguese (Portugal)"),
    (2074, "sr", "Serbian (Latin)"),
    (3076, "zh-hk", "Chinese (Hong Kong SAR)"),
    (66577, "ja-nec", "Japanese NEC"),
];

/// How an update is announced in a language: before and behind the product's name, and what is said of it.
pub(crate) const PHRASES: &[(&str, &str, &str, &str)] = &[
    (
        "en",
        "Cumulative Update for ",
        "",
        "Mends faults that were found in this product. A restart may be needed afterwards.",
    ),
    (
        "de",
        "Kumulatives Update für ",
        "",
        "Behebt Fehler, die in diesem Produkt gefunden wurden. Ein Neustart kann danach nötig sein.",
    ),
    (
        "fr",
        "Mise à jour cumulative pour ",
        "",
        "Corrige des défauts relevés dans ce produit. Un redémarrage peut être nécessaire ensuite.",
    ),
    (
        "es",
        "Actualización acumulativa de ",
        "",
        "Corrige errores hallados en este producto. Después puede hacer falta reiniciar el equipo.",
    ),
    (
        "it",
        "Aggiornamento cumulativo per ",
        "",
        "Corregge difetti trovati in questo prodotto. In seguito può essere necessario un riavvio.",
    ),
    (
        "pl",
        "Zbiorcza aktualizacja dla ",
        "",
        "Usuwa błędy wykryte w tym produkcie. Później może być konieczne ponowne uruchomienie.",
    ),
    (
        "ru",
        "Накопительное обновление для ",
        "",
        "Устраняет ошибки, найденные в этом продукте. Затем может потребоваться перезагрузка.",
    ),
    (
        "ja",
        "",
        " 用の累積的な更新プログラム",
        "この製品で見つかった問題を修正します。その後、再起動が必要になることがあります。",
    ),
    ("zh-cn", "适用于 ", " 的累积更新", "修复在此产品中发现的问题。之后可能需要重新启动。"),
    ("ko", "", "에 대한 누적 업데이트", "이 제품에서 발견된 문제를 해결합니다. 이후 다시 시작해야 할 수 있습니다."),
    (
        "el",
        "Αθροιστική ενημέρωση για ",
        "",
        "Διορθώνει σφάλματα που βρέθηκαν σε αυτό το προϊόν. Ίσως χρειαστεί επανεκκίνηση.",
    ),
    ("ar", "تحديث تراكمي لـ ", "", "يصلح أخطاء وُجدت في هذا المنتج. قد تلزم إعادة التشغيل بعد ذلك."),
];
