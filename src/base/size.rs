//! Sizes as people read them. Pure.

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `1536` as `1.50 KiB`: powers of 1024, three digits that matter.
pub fn bytes(value: u64) -> String {
    let mut unit = 0;
    let mut scaled = value as f64;
    while scaled >= 999.5 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    match (unit, scaled) {
        (0, _) => format!("{value} B"),
        (_, scaled) if scaled < 9.995 => format!("{scaled:.2} {}", UNITS[unit]),
        (_, scaled) if scaled < 99.95 => format!("{scaled:.1} {}", UNITS[unit]),
        (_, scaled) => format!("{scaled:.0} {}", UNITS[unit]),
    }
}
