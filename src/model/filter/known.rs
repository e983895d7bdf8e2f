//! Categories that are known before any catalog was synchronised: their ids never change, so that filters can be set on a new node.
//! Sources: ids that several public projects agree upon and that recorded documents carry; a real catalog has more, and its own names
//! win.

use crate::model::update::CategoryKind::{Classification, Company, Family, Product};
use crate::model::update::{CategoryKind, UpdateId};

/// A category with a fixed id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its id.
    pub id: UpdateId,
    /// What the vendor calls it in English.
    pub name: &'static str,
    /// What it is.
    pub kind: CategoryKind,
    /// Whether it is in the filters that a new node has.
    pub default: bool,
}

const fn known(kind: CategoryKind, id: u128, name: &'static str, default: bool) -> Known {
    Known { id: UpdateId::new(id.to_be_bytes()), name, kind, default }
}

/// The classification of definition updates, which have a schedule of their own.
pub const DEFINITION_UPDATES: UpdateId = CLASSIFICATIONS[2].id;

/// The classification of critical updates.
pub const CRITICAL_UPDATES: UpdateId = CLASSIFICATIONS[0].id;
/// The classification of security updates.
pub const SECURITY_UPDATES: UpdateId = CLASSIFICATIONS[1].id;
/// The classification of update rollups.
pub const UPDATE_ROLLUPS: UpdateId = CLASSIFICATIONS[3].id;
/// The classification of upgrades to another version of Windows.
pub const UPGRADES: UpdateId = CLASSIFICATIONS[8].id;
/// The classification of drivers.
pub const DRIVERS: UpdateId = CLASSIFICATIONS[9].id;

/// Classifications.
pub const CLASSIFICATIONS: [Known; 11] = [
    known(Classification, 0xe6cf_1350_c01b_414d_a61f_263d_14d1_33b4, "Critical Updates", true),
    known(Classification, 0x0fa1_201d_4330_4fa8_8ae9_b877_473b_6441, "Security Updates", true),
    known(Classification, 0xe078_9628_ce08_4437_be74_2495_b842_f43b, "Definition Updates", true),
    known(Classification, 0x28bc_880e_0592_4cbf_8f95_c79b_1791_1d5f, "Update Rollups", true),
    known(Classification, 0xcd5f_fd1e_e932_4e3a_bf74_18bf_0b1b_bd83, "Updates", true),
    known(Classification, 0x68c5_b0a3_d1a6_4553_ae49_01d3_a782_7828, "Service Packs", true),
    known(Classification, 0xb54e_7d24_7add_428f_8b75_90a3_96fa_584f, "Feature Packs", false),
    known(Classification, 0xb483_2bd8_e735_4761_8daf_37f8_8227_6dab, "Tools", false),
    known(Classification, 0x3689_bdc8_b205_4af4_8d4a_a639_24c5_e9d5, "Upgrades", false),
    known(Classification, 0xebfc_1fc5_71a4_4f7b_9aca_3b9a_5031_04a0, "Drivers", false),
    known(Classification, 0x5c93_76ab_8ce6_464a_b136_2211_3dd6_9801, "Applications", false),
];

/// Products, families and the one company.
pub const PRODUCTS: [Known; 17] = [
    known(Product, 0x72e7_624a_5b00_45d2_b92f_e561_c0a6_a160, "Windows 11", true),
    known(Product, 0xb3c7_5dc1_155f_4be4_b015_3f1a_9175_8e52, "Windows 10, version 1903 and later", true),
    known(Product, 0xd208_5b71_5f1f_43a9_880d_ed15_9016_d5c6, "Windows 10 LTSB", true),
    known(Product, 0x569e_8e8f_c6cd_42c8_92a3_efbb_20a0_f6f5, "Windows Server 2016", true),
    known(Product, 0xf702_a48c_919b_45d6_9aef_ca42_48d5_0397, "Windows Server 2019", true),
    known(Product, 0x7171_8f13_7324_4b0f_8f9e_2ca9_dc97_8e53, "Microsoft Server operating system-21H2", true),
    known(Product, 0xb256_987d_4693_4c87_955d_dbb9_3412_05eb, "Microsoft Server Operating System-24H2", true),
    known(Product, 0x8c3f_cc84_7410_4a95_8b89_a166_a019_0486, "Microsoft Defender Antivirus", true),
    known(Product, 0x2c78_88b6_f9e9_4ee9_87af_a777_0519_3893, "Microsoft Server Operating System-22H2", false),
    known(Product, 0xa3c2_375d_0c8a_42f9_bce0_2833_3e19_8407, "Windows 10", false),
    known(Product, 0x84f5_f325_30d7_41c4_81d1_87a0_e653_5b66, "Office 2010", false),
    known(Product, 0x704a_0a4a_518f_4d69_9e03_10ba_4419_8bd5, "Office 2013", false),
    known(Product, 0x25ae_d893_7c2d_4a31_ae22_28ff_8ac1_50ed, "Office 2016", false),
    known(Product, 0x05ee_bf61_148b_43cf_80da_1c99_ab0b_8699, "Windows 10 and later drivers", false),
    known(
        Product,
        0xbfeb_1830_4b34_40d0_a2d7_8d6f_994d_db58,
        "Windows 11 Client, version 21H2 and later, Servicing Drivers",
        false,
    ),
    known(Family, 0x6964_aab4_c5b5_43bd_a17d_ffb4_346a_8e1d, "Windows", false),
    known(Company, 0x5630_9036_4c77_4dd9_951a_99ee_9c24_6a94, "Microsoft", false),
];
