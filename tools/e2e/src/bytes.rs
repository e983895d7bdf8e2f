//! Content that can be made at any offset without being kept: every 8-byte word is a mix of a seed and its index.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// A file of an origin: its content follows from its seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub path: String,
    pub size: u64,
    pub seed: u64,
}

fn word(seed: u64, index: u64) -> [u8; 8] {
    let mut x = seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)).to_le_bytes()
}

impl Object {
    pub(crate) fn new(path: impl Into<String>, size: u64, seed: u64) -> Self {
        Self { path: path.into(), size, seed }
    }

    /// Fills `buf` with the bytes from `offset` on.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) {
        let mut at = offset;
        let mut filled = 0;
        while filled < buf.len() {
            let bytes = word(self.seed, at / 8);
            let from = (at % 8) as usize;
            let take = (8 - from).min(buf.len() - filled);
            buf[filled..filled + take].copy_from_slice(&bytes[from..from + take]);
            filled += take;
            at += take as u64;
        }
    }

    /// Whether `bytes` are what stands at `offset`.
    pub(crate) fn matches(&self, offset: u64, bytes: &[u8]) -> bool {
        let mut expected = vec![0; bytes.len()];
        self.read(offset, &mut expected);
        expected == bytes
    }

    /// Writes the whole to `path`, and gives its SHA-256.
    pub(crate) fn write(&self, path: &std::path::Path) -> std::io::Result<String> {
        use std::io::Write;
        let mut file = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
        let mut hash = Sha256::new();
        let mut buf = vec![0; 1 << 20];
        let mut at = 0;
        while at < self.size {
            let take = buf.len().min((self.size - at) as usize);
            self.read(at, &mut buf[..take]);
            hash.update(&buf[..take]);
            file.write_all(&buf[..take])?;
            at += take as u64;
        }
        file.flush()?;
        Ok(hex(&hash.finalize()))
    }

    /// SHA-256 of the whole.
    pub(crate) fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        let mut buf = vec![0; 1 << 20];
        let mut at = 0;
        while at < self.size {
            let take = buf.len().min((self.size - at) as usize);
            self.read(at, &mut buf[..take]);
            hash.update(&buf[..take]);
            at += take as u64;
        }
        hex(&hash.finalize())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A small seeded generator: the same run every time.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        u64::from_le_bytes(word(0x5eed, self.0)) % n.max(1)
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}
