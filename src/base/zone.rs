//! Time zones, read in one way wherever somebody names one.

use jiff::tz::TimeZone;

/// Reads an IANA name, a POSIX time zone, or nothing for the machine's own (UTC where it has none). Gives the zone and what to call
/// it, or why it is none. Reads the machine's database.
pub fn parse(text: &str) -> Result<(TimeZone, String), String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(machine());
    }
    // Every POSIX zone has a number for its offset, and no name that may be meant has one beside a comma or at its end.
    let zone = match TimeZone::get(text) {
        Ok(zone) => zone,
        Err(error) if text.contains(|letter: char| letter.is_ascii_digit()) => {
            TimeZone::posix(text).map_err(|_| error.to_string())?
        }
        Err(error) => return Err(error.to_string()),
    };
    let name = zone.iana_name().unwrap_or(text).to_owned();
    Ok((zone, name))
}

/// The machine's own and what to call it; UTC where it has none.
pub fn machine() -> (TimeZone, String) {
    match TimeZone::try_system() {
        Ok(zone) => {
            let name = zone.iana_name().unwrap_or("the machine's own").to_owned();
            (zone, name)
        }
        Err(_) => (TimeZone::UTC, "UTC".to_owned()),
    }
}
