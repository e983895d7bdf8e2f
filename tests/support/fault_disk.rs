//! A disk that loses power. Everything is done on a real directory, so that it can be mapped, and noted beside: what
//! was synced, and what was not. [`FaultDisk::crash`] makes another directory out of that, with every unsynced write,
//! rename and directory entry kept, dropped or torn as a seed says.

#[path = "gate.rs"]
mod gate;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use gate::Gate;
use redb::StorageBackend;
use waystation::base::disk::{Disk, DiskFile, Facts, RealDisk};
use waystation::store::{Access, Medium};

/// What a real disk writes whole or not at all.
const SECTOR: u64 = 512;

/// A small generator of numbers (splitmix64): the same seed gives the same crash.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Len(u64),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, data) => {
                let end = *at as usize + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at as usize..end].copy_from_slice(data);
            }
            Self::Len(len) => bytes.resize(*len as usize, 0),
        }
    }
}

#[derive(Debug, Default)]
struct Node {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// A change of names that happens whole or not at all.
#[derive(Clone, Debug)]
enum Naming {
    Folder(PathBuf),
    Names(Vec<(PathBuf, Option<usize>)>),
}

impl Naming {
    fn touches(&self, folder: &Path) -> bool {
        match self {
            Self::Folder(path) => path.parent() == Some(folder),
            Self::Names(names) => names.iter().any(|(path, _)| path.parent() == Some(folder)),
        }
    }
}

/// What goes wrong beside the power.
#[allow(clippy::struct_excessive_bools, reason = "each is a fault of its own, and they combine")]
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Writes and new files below this path fail as on a full disk.
    pub(crate) full_below: Option<PathBuf>,
    /// What the disk says is free.
    pub(crate) free: Option<u64>,
    /// Nothing can be written.
    pub(crate) read_only: bool,
    /// Every write and sync of the index fails.
    pub(crate) index_broken: bool,
    /// Every write of the index fails as on a full disk.
    pub(crate) index_full: bool,
    /// Every read of the index fails.
    pub(crate) index_unreadable: bool,
    /// The next sync of a file below this path fails.
    pub(crate) sync_fails_below: Option<PathBuf>,
    /// The next sync of this directory fails.
    pub(crate) folder_sync_fails: Option<PathBuf>,
    /// Syncs of this directory, and of files below it, pass the gate for syncs first.
    pub(crate) sync_waits: Option<PathBuf>,
    /// Reads of files below this path pass the gate for reads first.
    pub(crate) read_waits: Option<PathBuf>,
    /// No file below `drafts/` can be given a length.
    pub(crate) resize_fails: bool,
    /// Somebody tries to open for writing what is moved here from elsewhere.
    pub(crate) moved_is_wanted: bool,
}

#[derive(Debug, Default)]
struct World {
    nodes: Vec<Node>,
    live: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    folders: BTreeSet<PathBuf>,
    namings: Vec<Naming>,
    syncs: u64,
    off_at: Option<u64>,
    off: bool,
    faults: Faults,
}

/// The disk.
#[derive(Clone)]
pub(crate) struct FaultDisk {
    root: PathBuf,
    world: Arc<Mutex<World>>,
    /// Where deletes and copies pass.
    pub(crate) gate: Gate,
    /// Where the syncs pass that [`Faults::sync_waits`] names.
    pub(crate) sync_gate: Gate,
    /// Where the reads pass that [`Faults::read_waits`] names.
    pub(crate) read_gate: Gate,
}

impl fmt::Debug for FaultDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultDisk({})", self.root.display())
    }
}

fn power() -> io::Error {
    io::Error::other("the power is off")
}

impl World {
    fn alive(&self) -> io::Result<()> {
        if self.off { Err(power()) } else { Ok(()) }
    }

    fn may_write(&self, path: &Path) -> io::Result<()> {
        self.alive()?;
        if self.faults.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        if self.faults.full_below.as_ref().is_some_and(|below| path.starts_with(below)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn count_sync(&mut self) -> io::Result<()> {
        self.alive()?;
        if self.off_at == Some(self.syncs) {
            self.off = true;
            return Err(power());
        }
        self.syncs += 1;
        Ok(())
    }

    fn name(&mut self, naming: Naming) {
        if let Naming::Names(names) = &naming {
            for (path, node) in names {
                match node {
                    Some(node) => self.live.insert(path.clone(), *node),
                    None => self.live.remove(path),
                };
            }
        }
        self.namings.push(naming);
    }

    fn make_durable(folders: &mut BTreeSet<PathBuf>, names: &mut BTreeMap<PathBuf, usize>, naming: &Naming) {
        match naming {
            Naming::Folder(path) => {
                folders.insert(path.clone());
            }
            Naming::Names(changed) => {
                for (path, node) in changed {
                    match node {
                        Some(node) => names.insert(path.clone(), *node),
                        None => names.remove(path),
                    };
                }
            }
        }
    }
}

impl FaultDisk {
    /// A disk over an existing directory, all of which is taken for durable.
    pub(crate) fn new(root: &Path) -> Self {
        let mut world = World::default();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            world.folders.insert(folder.clone());
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let node = world.nodes.len();
                    world.nodes.push(Node { durable: std::fs::read(&path).unwrap(), pending: Vec::new() });
                    world.live.insert(path.clone(), node);
                    world.durable.insert(path, node);
                }
            }
        }
        Self {
            root: root.to_owned(),
            world: Arc::new(Mutex::new(world)),
            gate: Gate::default(),
            sync_gate: Gate::default(),
            read_gate: Gate::default(),
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Syncs done so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.world().syncs
    }

    /// The power goes off instead of sync number `sync` (counted from 0).
    pub(crate) fn off_at(&self, sync: u64) {
        self.world().off_at = Some(sync);
    }

    /// The power goes off now.
    pub(crate) fn off(&self) {
        self.world().off = true;
    }

    /// The power is on again and nothing was lost: it was the process alone that ended.
    pub(crate) fn on(&self) {
        let mut world = self.world();
        (world.off, world.off_at) = (false, None);
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.world().faults = faults;
    }

    /// The storage of the index on this disk.
    pub(crate) fn medium(&self) -> Medium {
        let disk = self.clone();
        Arc::new(move |access| {
            let path = disk.root.join("node.redb");
            let file = match access {
                Access::Create if disk.facts(&path)?.is_none() => disk.create(&path)?,
                Access::Create | Access::Write => disk.open_write(&path)?,
                Access::Read => disk.open(&path)?,
            };
            Ok(Box::new(FaultBackend { disk: disk.clone(), file }) as Box<dyn StorageBackend>)
        })
    }

    /// What a machine finds when the power is back, as a new directory. Seed 0 drops everything unsynced, seed 1 keeps
    /// it.
    pub(crate) fn crash(&self, seed: u64, into: &Path) {
        let world = self.world();
        let mut dice = Dice::new(seed);
        let mut keeps = move || match seed {
            0 => false,
            1 => true,
            _ => dice.roll(2) == 0,
        };
        let (mut folders, mut names) = (world.folders.clone(), world.durable.clone());
        for naming in &world.namings {
            if keeps() {
                World::make_durable(&mut folders, &mut names, naming);
            }
        }
        for folder in &folders {
            if folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.root)).all(|f| folders.contains(f))
            {
                std::fs::create_dir_all(into.join(folder.strip_prefix(&self.root).unwrap())).unwrap();
            }
        }
        let mut dice = Dice::new(seed ^ 0x5eed);
        for (path, node) in &names {
            let place = into.join(path.strip_prefix(&self.root).unwrap());
            if !place.parent().unwrap().is_dir() {
                continue;
            }
            let node = &world.nodes[*node];
            let mut bytes = node.durable.clone();
            for change in &node.pending {
                match (seed, dice.roll(3), change) {
                    (0, ..) => {}
                    (1, ..) | (_, 0, _) => change.apply(&mut bytes),
                    (_, 1, Change::Write(at, data)) => {
                        // Whole sectors up to some point.
                        let cut = (at + dice.roll(data.len() as u64 + 1)) / SECTOR * SECTOR;
                        let len = cut.saturating_sub(*at) as usize;
                        Change::Write(*at, data[..len].to_vec()).apply(&mut bytes);
                    }
                    _ => {}
                }
            }
            std::fs::write(place, bytes).unwrap();
        }
    }
}

#[derive(Debug)]
struct FaultFile {
    disk: FaultDisk,
    path: PathBuf,
    node: usize,
    real: Arc<dyn DiskFile>,
}

impl DiskFile for FaultFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let waits = {
            let world = self.disk.world();
            world.alive()?;
            world.faults.read_waits.clone()
        };
        if waits.is_some_and(|below| self.path.starts_with(below)) {
            self.disk.read_gate.pass()?;
        }
        self.real.read_at(buf, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        world.may_write(&self.path)?;
        self.real.write_at(bytes, offset)?;
        world.nodes[self.node].pending.push(Change::Write(offset, bytes.to_vec()));
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        world.may_write(&self.path)?;
        if world.faults.resize_fails && self.path.starts_with(self.disk.root.join("drafts")) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.real.set_len(len)?;
        world.nodes[self.node].pending.push(Change::Len(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let waits = self.disk.world().faults.sync_waits.clone();
        if waits.is_some_and(|below| self.path.starts_with(below)) {
            self.disk.sync_gate.pass()?;
        }
        let mut world = self.disk.world();
        if world.faults.sync_fails_below.as_ref().is_some_and(|below| self.path.starts_with(below)) {
            world.faults.sync_fails_below = None;
            return Err(io::Error::other("a bad cable"));
        }
        world.count_sync()?;
        let node = &mut world.nodes[self.node];
        for change in std::mem::take(&mut node.pending) {
            change.apply(&mut node.durable);
        }
        Ok(())
    }

    fn facts(&self) -> io::Result<Facts> {
        self.disk.world().alive()?;
        self.real.facts()
    }

    fn as_file(&self) -> &File {
        self.real.as_file()
    }
}

impl Disk for FaultDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        if path.is_dir() {
            return world.alive();
        }
        world.may_write(path)?;
        RealDisk.create_dir(path)?;
        world.name(Naming::Folder(path.to_owned()));
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world();
        world.may_write(path)?;
        let real = RealDisk.create(path)?;
        let node = world.nodes.len();
        world.nodes.push(Node::default());
        world.name(Naming::Names(vec![(path.to_owned(), Some(node))]));
        Ok(Arc::new(FaultFile { disk: self.clone(), path: path.to_owned(), node, real }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let world = self.world();
        world.alive()?;
        let real = RealDisk.open(path)?;
        let node = *world.live.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(FaultFile { disk: self.clone(), path: path.to_owned(), node, real }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let world = self.world();
        world.may_write(path)?;
        let real = RealDisk.open_write(path)?;
        let node = *world.live.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(FaultFile { disk: self.clone(), path: path.to_owned(), node, real }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.may_write(to)?;
        RealDisk.rename(from, to)?;
        let mut node = world.live.get(from).copied();
        if node.is_none() && !from.starts_with(&self.root) {
            if world.faults.moved_is_wanted {
                let flags = libc::O_NONBLOCK;
                let writer = std::fs::OpenOptions::new().write(true).custom_flags(flags).open(to);
                assert!(writer.is_err(), "nobody kept the file from being opened for writing");
            }
            // It comes from somewhere else, where it was durable.
            node = Some(world.nodes.len());
            world.nodes.push(Node { durable: std::fs::read(to)?, pending: Vec::new() });
        }
        world.name(Naming::Names(vec![(from.to_owned(), None), (to.to_owned(), node)]));
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.gate.pass()?;
        let mut world = self.world();
        world.alive()?;
        if world.faults.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        RealDisk.unlink(path)?;
        world.name(Naming::Names(vec![(path.to_owned(), None)]));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let waits = self.world().faults.sync_waits.clone();
        if waits.as_deref() == Some(path) {
            self.sync_gate.pass()?;
        }
        let mut world = self.world();
        world.count_sync()?;
        let world = &mut *world;
        if world.faults.folder_sync_fails.as_deref() == Some(path) {
            world.faults.folder_sync_fails = None;
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        world.namings.retain(|naming| {
            let durable = naming.touches(path);
            if durable {
                World::make_durable(&mut world.folders, &mut world.durable, naming);
            }
            !durable
        });
        Ok(())
    }

    fn seal(&self, path: &Path) -> io::Result<()> {
        self.world().alive()?;
        RealDisk.seal(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(PathBuf, Facts)>> {
        self.world().alive()?;
        RealDisk.list(path)
    }

    fn facts(&self, path: &Path) -> io::Result<Option<Facts>> {
        self.world().alive()?;
        RealDisk.facts(path)
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.gate.pass()?;
        let bytes = std::fs::read(from)?;
        let file = self.create(to)?;
        file.write_at(&bytes, 0)
    }

    fn reflink(&self, _from: &Path, _to: &Path) -> io::Result<bool> {
        self.gate.pass()?;
        Ok(false)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let world = self.world();
        world.alive()?;
        world.faults.free.map_or_else(|| RealDisk.free_bytes(path), Ok)
    }
}

/// The index on this disk.
#[derive(Debug)]
struct FaultBackend {
    disk: FaultDisk,
    file: Arc<dyn DiskFile>,
}

impl FaultBackend {
    fn may_write(&self) -> io::Result<()> {
        let world = self.disk.world();
        if world.faults.index_broken {
            return Err(io::Error::other("a bad sector"));
        }
        if world.faults.index_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl StorageBackend for FaultBackend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.facts()?.len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.disk.world().faults.index_unreadable {
            return Err(io::Error::other("a bad sector"));
        }
        self.file.read_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.may_write()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.may_write()?;
        self.file.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.may_write()?;
        self.file.write_at(data, offset)
    }
}
