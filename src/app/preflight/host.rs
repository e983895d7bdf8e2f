//! The data directory, its file system, and what the machine gives.

use crate::app::config::keys::{MAX_SIZE_MIN, Typed};
use crate::app::config::kinds::quantity::size_text;
use crate::app::machine::{FileSystem, Machine};
use crate::app::preflight::{Found, is_shipped};
use crate::base::time::Timestamp;
use crate::model::report::Verdict;
use crate::model::settings::Settings;

/// The day before which no release of this program ran: a clock that says less is wrong. 2026-01-01.
const CLOCK_MIN: Timestamp = Timestamp::from_ms(1_767_225_600_000);

/// No release is run for longer than this without an update: a clock that says more is wrong. 2056-01-01.
const CLOCK_MAX: Timestamp = Timestamp::from_ms(2_713_910_400_000);

/// What a connection takes of memory at its worst: what it takes idle, 192 KiB of an answer that nobody reads
/// ([`STREAM_BYTES`]), and what TLS keeps beside that.
const CONNECTION_BYTES: u64 = 288 << 10;

/// What it takes while nothing is asked on it: 10,000 of them took 223 MiB, the program itself included
/// (`tools/compare/run crowd`).
const IDLE_CONNECTION_BYTES: u64 = 27 << 10;

/// What an answer takes that nobody reads: less than 64 KiB in small frames, and one buffer of 128 KiB (`net::outflow`).
const STREAM_BYTES: u64 = 192 << 10;

/// Answers at once on an HTTP/2 connection. One such connection is reckoned with: what opens all streams and reads none is
/// no client of patches, and is cut within a minute.
const STREAMS: u64 = 128;

/// What the program itself takes.
const PROGRAM_BYTES: u64 = 96 << 20;

/// What is kept free of a large disk where nobody says otherwise.
const MIN_FREE_USUAL: u64 = 10 << 30;

/// Descriptors beside connections and payloads: upstream, index, log, drafts.
const DESCRIPTORS_BESIDE: u64 = 1024;

/// Maps beside payloads: code, stacks, allocator.
const MAPS_BESIDE: u64 = 4096;

/// Maps that one open payload takes; a second one while it is mended or read against its proof.
const MAPS_PER_PAYLOAD: u64 = 2;

pub(super) fn directory(typed: &Typed, machine: &Machine, found: &mut Found) {
    let path = typed.store.path.0.display().to_string();
    match &machine.unwritable {
        Some(why) => found.bad(
            "writable",
            &path,
            format!("{} cannot be written: {why}", machine.base.display()),
            "give it to the node's user, mount it writable, or name another directory with --data",
        ),
        None if typed.store.path.0.exists() => found.good("writable", &path, "can be written"),
        None => found.good("writable", &path, "will be made"),
    }
    if let Some(owner) = machine.owner.filter(|owner| *owner != machine.user) {
        found.warn(
            "owner",
            &path,
            format!("it belongs to user {owner}, and this was checked as user {}", machine.user),
            format!("a node must be started as user {owner}; it refuses to mix owners in its directory"),
        );
    }
    match machine.file_system {
        Some(FileSystem::Remote(kind)) if typed.store.allow_network.0 => found.warn(
            "file-system",
            &path,
            format!("it lies on {kind}, where a payload can be lost"),
            "a local disk is what the store is made for",
        ),
        Some(FileSystem::Remote(kind)) => found.bad("file-system", &path, remote(kind), REMOTE_ADVICE),
        Some(FileSystem::Memory) => {
            found.warn("file-system", &path, "it lies in memory, and is gone with the next start", "name a disk");
        }
        Some(FileSystem::Layer) => found.warn(
            "file-system",
            &path,
            "it lies in a container's own layer, and is gone with the container",
            "mount a volume there",
        ),
        Some(FileSystem::Local) => found.good("file-system", &path, "a local one"),
        None => found.add(Verdict::Skipped, "file-system", &path, "its kind cannot be told", ""),
    }
}

/// What is said of a network file system.
pub(crate) fn remote(kind: &str) -> String {
    format!("it lies on {kind}, where locks, renames and memory maps are not safe")
}

/// And what to do then.
pub(crate) const REMOTE_ADVICE: &str =
    "name a local disk, or set store.allow_network = true if losing payloads is acceptable";

pub(super) fn space(typed: &Typed, settings: &Settings, machine: &Machine, found: &mut Found) {
    let store = &typed.store;
    let Some((total, free)) = machine.disk else {
        found.add(Verdict::Skipped, "space", "store.max_size", "the file system does not say how large it is", "");
        return;
    };
    let (max, min_free) = (store.max_size.0, store.min_free.0);
    // What is left for the store is less than it can be told to take: no other size mends that.
    if total.saturating_sub(min_free) < MAX_SIZE_MIN {
        found.warn(
            "space",
            "store.min_free",
            format!(
                "{} are to stay free, and the file system has {}: nothing could be kept",
                size_text(min_free),
                size_text(total)
            ),
            format!("lower store.min_free, for instance to {}", size_text((total / 20).min(MIN_FREE_USUAL))),
        );
        return;
    }
    if max.saturating_add(min_free) > total {
        // Who copies the shipped value means the disk that is there.
        let shipped = is_shipped(settings, "store.max_size");
        found.add(
            if shipped { Verdict::Note } else { Verdict::Warning },
            "space",
            "store.max_size",
            format!(
                "{} and {} to stay free are more than the {} of the file system: min_free will be what stops it",
                size_text(max),
                size_text(min_free),
                size_text(total)
            ),
            format!("set store.max_size to at most {}", size_text(total.saturating_sub(min_free))),
        );
    }
    if free < min_free {
        found.warn(
            "space",
            "store.min_free",
            format!(
                "only {} are free and {} are to stay free: what is held must go before anything comes",
                size_text(free),
                size_text(min_free)
            ),
            "free some of the disk, or lower store.min_free",
        );
    } else if max > free - min_free && !store.path.0.join("node.redb").exists() {
        // Where a store is, what is held is part of what is not free.
        found.add(
            Verdict::Note,
            "space",
            "store.max_size",
            format!(
                "{} of {} are free: no more than {} can be kept, and not the {} of store.max_size",
                size_text(free),
                size_text(total),
                size_text(free - min_free),
                size_text(max)
            ),
            "make room on the disk if more is to be kept",
        );
    } else {
        found.good("space", "store.max_size", format!("{} of {} are free", size_text(free), size_text(total)));
    }
    if max < 2 << 30 {
        found.warn(
            "space",
            "store.max_size",
            format!("{} hold hardly one cumulative update: larger objects are passed on and not kept", size_text(max)),
            "set store.max_size to 100 GiB or more",
        );
    }
}

pub(super) fn limits(typed: &Typed, machine: &Machine, found: &mut Found) {
    let payloads = typed.store.open_payloads.0;
    let connections = typed.limits.connections.0;
    let wanted = connections + payloads + DESCRIPTORS_BESIDE;
    match machine.descriptors.1 {
        Some(hard) if hard < wanted => found.warn(
            "descriptors",
            "limits.connections",
            format!("{connections} connections and {payloads} open payloads want {wanted} file descriptors; {hard} are allowed"),
            format!("set LimitNOFILE={wanted} in the unit (or ulimit -n), or lower limits.connections"),
        ),
        _ => found.good("descriptors", "limits.connections", format!("{wanted} are wanted and allowed")),
    }
    let maps = payloads * MAPS_PER_PAYLOAD + MAPS_BESIDE;
    match machine.maps {
        Some(limit) if limit < maps => found.warn(
            "maps",
            "store.open_payloads",
            format!("{payloads} open payloads want {maps} memory maps; vm.max_map_count allows {limit}"),
            format!("sysctl vm.max_map_count={maps}, or lower store.open_payloads"),
        ),
        Some(_) => found.good("maps", "store.open_payloads", format!("{maps} are wanted and allowed")),
        None => found.add(Verdict::Skipped, "maps", "store.open_payloads", "vm.max_map_count cannot be read", ""),
    }
    let fixed = PROGRAM_BYTES.saturating_add(typed.store.index_cache.0);
    let wanted =
        fixed.saturating_add(connections.saturating_mul(CONNECTION_BYTES)).saturating_add(STREAMS * STREAM_BYTES);
    let idle = fixed.saturating_add(connections.saturating_mul(IDLE_CONNECTION_BYTES));
    match machine.memory_limit() {
        Some(memory) if wanted > memory / 4 * 3 => {
            let whose =
                if machine.memory_group.is_some_and(|group| group <= memory) { "control group" } else { "machine" };
            found.warn(
                "memory",
                "store.index_cache",
                format!(
                    "cache and connections can take {} of the {} that the {whose} has ({} while all are idle)",
                    size_text(wanted),
                    size_text(memory),
                    size_text(idle)
                ),
                "lower store.index_cache or limits.connections, or give more memory: what is left caches payloads",
            );
        }
        Some(memory) => {
            found.good(
                "memory",
                "store.index_cache",
                format!(
                    "{} of {} at most, {} while all connections are idle",
                    size_text(wanted),
                    size_text(memory),
                    size_text(idle)
                ),
            );
        }
        None => found.add(Verdict::Skipped, "memory", "store.index_cache", "the machine does not say what it has", ""),
    }
}

pub(super) fn clock(machine: &Machine, found: &mut Found) {
    if (CLOCK_MIN..=CLOCK_MAX).contains(&machine.now) {
        found.good("clock", "clock", machine.now.to_string());
    } else {
        found.bad(
            "clock",
            "clock",
            format!("it says {}, which cannot be: certificates fail and lifetimes go wrong", machine.now),
            "set it, and let it be kept by NTP (timedatectl set-ntp true)",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizing_table_reckons_with_the_same_figures() {
        let sizing = include_str!("../../../docs/SIZING.md");
        let figures = format!("{} KiB idle, {} KiB at most", IDLE_CONNECTION_BYTES >> 10, CONNECTION_BYTES >> 10);
        let row = sizing.lines().find(|line| line.starts_with("| a client connection |")).unwrap_or_default();
        assert!(row.contains(&figures), "{figures:?} is not in {row:?}");
        let row = sizing.lines().find(|line| line.starts_with("| an HTTP/2 connection |")).unwrap_or_default();
        let figures = format!("{} KiB", STREAM_BYTES >> 10);
        let all = format!("{} MiB for all {STREAMS}", (STREAMS * STREAM_BYTES) >> 20);
        assert!(row.contains(&figures) && row.contains(&all), "{figures:?} or {all:?} is not in {row:?}");
        assert_eq!(STREAMS, u64::from(crate::net::Config::default().streams_max));
        let defaults = (PROGRAM_BYTES + (64 << 20) + 4096 * CONNECTION_BYTES + STREAMS * STREAM_BYTES) >> 20;
        assert!(sizing.contains(&format!("{defaults} MiB at most for the defaults")), "{defaults}");
    }
}
