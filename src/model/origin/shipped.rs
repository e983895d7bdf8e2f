//! The origins that a node may ask without any configuration, each with its reason.
//!
//! The hosts are those that Microsoft names for Delivery Optimization and Connected Cache. All are asked by HTTP at port
//! 80: that is how their clients ask, and the digests come by other ways. Only the hosts that the Microsoft Update Catalog (the
//! web site) gives links to are asked over HTTPS, as those links say.

/// One entry of the shipped list.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// Host or wildcard, in canonical form. A wildcard spans labels and does not match its own base.
    pub pattern: &'static str,
    /// Whether digests in file names are trusted from it: hosts that Microsoft delivers updates from.
    pub microsoft: bool,
    /// It is asked over HTTPS at port 443, however a client asks for it here.
    pub https: bool,
    /// What is asked there.
    pub why: &'static str,
}

const fn update(pattern: &'static str, why: &'static str) -> Shipped {
    Shipped { pattern, microsoft: true, https: false, why }
}

const fn catalog(pattern: &'static str, why: &'static str) -> Shipped {
    Shipped { pattern, microsoft: true, https: true, why }
}

const fn other(pattern: &'static str, why: &'static str) -> Shipped {
    Shipped { pattern, microsoft: false, https: false, why }
}

/// The list, by product.
pub const SHIPPED: &[Shipped] = &[
    // Windows Update: a wildcard spans labels, so that au., b1. and au.b1. are in it.
    update("download.windowsupdate.com", "Windows updates, drivers and Defender"),
    update(
        "*.download.windowsupdate.com",
        "Windows updates, drivers and Defender: the regional and Delivery Optimization names",
    ),
    catalog("catalog.s.download.windowsupdate.com", "the Microsoft Update Catalog's links"),
    update("windowsupdate.com", "older Windows Update agents"),
    update("*.windowsupdate.com", "Windows Update's other delivery names (ds., emdl., dl.)"),
    // Trust lists come from here. They are passed through and never kept; the host must be reachable all the same.
    update("ctldl.windowsupdate.com", "certificate trust lists (passed through, never kept)"),
    update("*.ctldl.windowsupdate.com", "certificate trust lists (passed through, never kept)"),
    update("dl.delivery.mp.microsoft.com", "Windows updates, Store apps, Edge"),
    update("*.dl.delivery.mp.microsoft.com", "Windows updates, Store apps, Edge: the tlu., b.tlu. and regional names"),
    catalog("catalog.sf.dl.delivery.mp.microsoft.com", "the Microsoft Update Catalog's links"),
    update("*.delivery.mp.microsoft.com", "Edge and Store delivery"),
    update("emdl.ws.microsoft.com", "Delivery Optimization's piece hash files"),
    update("*.emdl.ws.microsoft.com", "Delivery Optimization's piece hash files"),
    update("download.microsoft.com", "Download Center packages that update metadata points to"),
    // Defender's own definition packages.
    update("definitionupdates.microsoft.com", "Defender definition packages"),
    update("*.definitionupdates.microsoft.com", "Defender definition packages"),
    // Office click-to-run.
    other("officecdn.microsoft.com", "Office click-to-run"),
    other("*.officecdn.microsoft.com", "Office click-to-run"),
    other("officecdn.microsoft.com.edgesuite.net", "Office click-to-run, by its content network's name"),
    other("*.officecdn.microsoft.com.edgesuite.net", "Office click-to-run, by its content network's name"),
    other("*.cdn.office.net", "Office; Teams (statics.teams.) and Outlook (res.) are in it"),
    // Intune: Win32 apps and sidecar payloads; swda01 to swdd02 and their -mscdn twins are in the wildcard.
    other("*.manage.microsoft.com", "Intune apps"),
    // Xbox and PC game content.
    other("assets1.xboxlive.com", "Xbox and PC games"),
    other("assets2.xboxlive.com", "Xbox and PC games"),
    other("dlassets.xboxlive.com", "Xbox and PC games"),
    other("dlassets2.xboxlive.com", "Xbox and PC games"),
    other("d1.xboxlive.com", "Xbox and PC games"),
    other("d2.xboxlive.com", "Xbox and PC games"),
    other("xvcf1.xboxlive.com", "Xbox and PC games"),
    other("xvcf2.xboxlive.com", "Xbox and PC games"),
    other("*.assets1.xboxlive.com", "Xbox and PC games"),
    other("*.assets2.xboxlive.com", "Xbox and PC games"),
    other("*.dlassets.xboxlive.com", "Xbox and PC games"),
    other("*.dlassets2.xboxlive.com", "Xbox and PC games"),
    other("*.d1.xboxlive.com", "Xbox and PC games"),
    other("*.d2.xboxlive.com", "Xbox and PC games"),
    // Device Update for IoT.
    other("dl.adu.microsoft.com", "Device Update for IoT"),
    other("*.dl.adu.microsoft.com", "Device Update for IoT"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::origin::Host;

    #[test]
    fn every_row_is_canonical_once_and_has_a_reason() {
        let mut seen = std::collections::HashSet::new();
        for row in SHIPPED {
            let host = row.pattern.strip_prefix("*.").unwrap_or(row.pattern);
            assert_eq!(Host::parse(host).unwrap().as_str(), host);
            assert!(host.contains('.') && seen.insert(row.pattern) && !row.why.is_empty(), "{}", row.pattern);
        }
    }
}
