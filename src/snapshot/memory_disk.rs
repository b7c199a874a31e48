//! A disk in memory that can lose what was not synced, and fail at any operation. For tests and simulation.
//!
//! Keeps two truths: what a process sees, and what a power cut would leave. Bytes move from the first to the second
//! when their file is synced, names when the directory is.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile, DiskView};

/// Clones share one disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    files: Vec<Contents>,
    operations: u64,
    failure: Option<Failure>,
    written: u64,
}

#[derive(Debug, Clone, Default)]
struct Contents {
    bytes: Vec<u8>,
    synced: usize,
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    at: u64,
    is_lasting: bool,
}

impl MemoryDisk {
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// A power cut: unsynced bytes and names are gone. Earlier failures are over.
    pub fn crash(&self) {
        self.crash_keeping(|_| false, 0);
    }

    /// A power cut by which up to `bytes` unsynced bytes of each file came through, and what was done to the names
    /// that `is_kept` holds for: directories are not written in the order in which they were changed.
    pub fn crash_keeping(&self, is_kept: impl Fn(&str) -> bool, bytes: usize) {
        self.lock().cut(is_kept, |file| {
            let kept = file.bytes.len().min(file.synced.saturating_add(bytes));
            file.bytes.truncate(kept);
        });
    }

    /// A power cut by which of the unsynced bytes of each file those in the pages came through that `is_written` holds
    /// for; the others are zero, or gone where no later page came through. Pages are of `page` bytes, numbered from 0 at
    /// the beginning of the file: a system writes them back in any order.
    pub fn crash_keeping_pages(
        &self,
        is_kept: impl Fn(&str) -> bool,
        page: usize,
        mut is_written: impl FnMut(usize) -> bool,
    ) {
        self.lock().cut(is_kept, |file| {
            let mut kept = file.synced;
            for number in file.synced / page..file.bytes.len().div_ceil(page) {
                let start = file.synced.max(number * page);
                let end = file.bytes.len().min((number + 1) * page);
                if is_written(number) {
                    kept = end;
                } else {
                    file.bytes[start..end].fill(0);
                }
            }
            file.bytes.truncate(kept);
        });
    }

    /// The `n`-th operation from now, counted from 0, fails, and all after it if `is_lasting`. A failing append
    /// writes half of its bytes.
    pub fn fail_at(&self, n: u64, is_lasting: bool) {
        let mut state = self.lock();
        state.failure = Some(Failure { at: state.operations.saturating_add(n), is_lasting });
    }

    /// No operation fails any more.
    pub fn heal(&self) {
        self.lock().failure = None;
    }

    /// How many operations there were, reads included.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// How many bytes were ever appended.
    pub fn written(&self) -> u64 {
        self.lock().written
    }

    /// Another disk with what this one holds, all of it synced.
    #[must_use]
    pub fn copy(&self) -> MemoryDisk {
        let copy = MemoryDisk::new();
        let state = self.lock();
        for (name, file) in &state.names {
            copy.put(name, state.files[*file].bytes.clone());
        }
        drop(state);
        copy
    }

    /// Another disk in the same state, what is unsynced included.
    #[must_use]
    pub fn fork(&self) -> MemoryDisk {
        MemoryDisk { state: Arc::new(Mutex::new(self.lock().clone())) }
    }

    /// Sets a file's bytes, synced.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.lock();
        let file = state.files.len();
        state.files.push(Contents { synced: bytes.len(), bytes });
        state.names.insert(name.to_owned(), file);
        state.durable_names.insert(name.to_owned(), file);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn operate(&self) -> (MutexGuard<'_, State>, io::Result<()>) {
        let mut state = self.lock();
        let now = state.operations;
        state.operations += 1;
        let fails = state
            .failure
            .is_some_and(|failure| now == failure.at || (failure.is_lasting && now > failure.at));
        let result = if fails { Err(io::Error::other("injected failure")) } else { Ok(()) };
        (state, result)
    }

    fn start(&self) -> io::Result<MutexGuard<'_, State>> {
        let (state, result) = self.operate();
        result.map(|()| state)
    }

    fn handle(&self, file: usize) -> Box<Handle> {
        Box::new(Handle { disk: self.clone(), file })
    }
}

impl State {
    /// `lose` takes from a file what was not synced; what it leaves is.
    fn cut(&mut self, is_kept: impl Fn(&str) -> bool, mut lose: impl FnMut(&mut Contents)) {
        self.durable_names.retain(|name, _| !is_kept(name));
        let kept = self.names.iter().filter(|(name, _)| is_kept(name));
        self.durable_names.extend(kept.map(|(name, file)| (name.clone(), *file)));
        self.names.clone_from(&self.durable_names);
        for file in &mut self.files {
            lose(file);
            file.synced = file.bytes.len();
        }
        self.failure = None;
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for MemoryDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskView>> {
        let file = self.start()?.find(name)?;
        Ok(self.handle(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.start()?;
        Ok(state.names.keys().filter(|name| !name.contains('/')).cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.start()?;
        let file = state.files.len();
        state.files.push(Contents::default());
        state.names.insert(name.to_owned(), file);
        drop(state);
        Ok(self.handle(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.start()?;
        let file = state.find(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.start()?;
        state.names.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.start()?;
        state.durable_names = state.names.clone();
        Ok(())
    }
}

#[derive(Debug)]
struct Handle {
    disk: MemoryDisk,
    file: usize,
}

impl DiskFile for Handle {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let (mut state, result) = self.disk.operate();
        let bytes = if result.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        state.written += bytes.len() as u64;
        state.files[self.file].bytes.extend_from_slice(bytes);
        result
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.start()?;
        let file = &mut state.files[self.file];
        file.synced = file.bytes.len();
        Ok(())
    }
}

impl DiskView for Handle {
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let state = self.disk.start()?;
        let bytes = &state.files[self.file].bytes;
        usize::try_from(offset)
            .ok()
            .and_then(|start| bytes.get(start..start.checked_add(length)?))
            .map(<[u8]>::to_vec)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.start()?.files[self.file].bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_drops_unsynced_bytes_and_names() {
        let disk = MemoryDisk::new();
        let file = disk.create("a").unwrap();
        file.append(b"safe").unwrap();
        file.sync().unwrap();
        disk.sync_directory().unwrap();
        file.append(b"lost").unwrap();
        disk.create("b").unwrap();
        disk.crash();
        assert_eq!(disk.read("a").unwrap(), b"safe");
        assert!(!disk.exists("b").unwrap());
    }

    #[test]
    fn pages_are_lost_one_by_one_and_never_what_was_synced() {
        for (written, left) in [
            ([true, true, true], &b"safe, then more"[..]),
            ([true, false, true], b"safe,\0\0\0\0\0 more"),
        ] {
            let disk = MemoryDisk::new();
            let file = disk.create("a").unwrap();
            file.append(b"safe").unwrap();
            file.sync().unwrap();
            file.append(b", then more").unwrap();
            disk.crash_keeping_pages(|_| true, 5, |page| written[page]);
            assert_eq!(disk.read("a").unwrap(), left);
        }
        let disk = MemoryDisk::new();
        let file = disk.create("a").unwrap();
        file.append(b"safe").unwrap();
        file.sync().unwrap();
        file.append(b", then more").unwrap();
        disk.crash_keeping_pages(|_| true, 5, |_| false);
        assert_eq!(disk.read("a").unwrap(), b"safe");
    }

    #[test]
    fn a_failure_comes_at_its_operation() {
        let disk = MemoryDisk::new();
        disk.fail_at(1, false);
        let file = disk.create("a").unwrap();
        assert!(file.append(b"half").is_err());
        file.append(b"!").unwrap();
        assert_eq!(disk.read("a").unwrap(), b"ha!");
        disk.fail_at(0, true);
        assert!(disk.list().is_err() && disk.list().is_err());
    }
}
