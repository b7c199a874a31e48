//! What does not fit into memory, in a temporary file that nobody else can read.
//!
//! Not here: what is put aside, when, and how much (the rooms that read and compare). Guards: the file has no name, so that a
//! kill leaves nothing of it; its bytes are encrypted with a key that is nowhere but in this value, as rows may be personal
//! data; what comes back is what was appended, or an error.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use lz4_flex::block;

/// Bytes before the compressed ones: how many they were.
const LENGTH: usize = size_of::<u32>();

/// Why something cannot be put aside or fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "what does not fit into memory cannot be put into a temporary file in `{}`: {source}; make room there or raise \
         `memory_limit`, and start again",
        .folder.display()
    )]
    Write {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "a row, or a batch of them, takes {bytes} bytes, more than can be put into a temporary file at once; leave long values \
         out of the model, or raise `memory_limit` so that no row has to wait, and start again"
    )]
    TooLong { bytes: usize },
    #[error(
        "what was put into a temporary file in `{}` cannot be read: {source}; check the disk, or raise `memory_limit`, and \
         start again",
        .folder.display()
    )]
    Read {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A temporary file, once there is something in it.
#[derive(Debug)]
pub struct Spill {
    folder: PathBuf,
    file: OnceLock<File>,
    key: LessSafeKey,
    /// Where the next frame goes.
    end: AtomicU64,
}

/// Where one piece lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    offset: u64,
    length: u32,
}

impl Spill {
    /// Nothing is made before the first append. The file is made in `folder` if that exists, else in the system's folder for
    /// temporary files.
    pub fn new(folder: &Path) -> Spill {
        let exists = folder.is_dir();
        let folder = if exists { folder.to_path_buf() } else { std::env::temp_dir() };
        let key = UnboundKey::new(&AES_256_GCM, &rand::random::<[u8; 32]>())
            .expect("the key has the algorithm's length");
        let (file, end) = (OnceLock::new(), AtomicU64::new(0));
        Spill { folder, file, key: LessSafeKey::new(key), end }
    }

    /// Compresses, encrypts and appends what is under three gigabytes; from any thread, without a lock held over the write.
    /// Blocks.
    ///
    /// # Errors
    /// There is no room, no file can be made, or it is longer; other frames are as they were.
    pub fn append(&self, bytes: &[u8]) -> Result<Frame, Error> {
        let length = length(bytes.len())?;
        self.write(bytes, length)
            .map_err(|source| Error::Write { folder: self.folder.clone(), source })
    }

    /// Replaces the content of `bytes` by what was appended. Blocks.
    ///
    /// # Errors
    /// The file cannot be read, or the frame was changed on disk; then `bytes` holds nothing of it.
    pub fn read(&self, frame: &Frame, bytes: &mut Vec<u8>) -> Result<(), Error> {
        bytes.clear();
        self.fetch(frame, bytes)
            .map_err(|source| Error::Read { folder: self.folder.clone(), source })
    }

    /// Bytes written to disk so far.
    pub fn size(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    fn write(&self, bytes: &[u8], length: u32) -> io::Result<Frame> {
        let file = self.file()?;
        let most = most(bytes.len()) - MAX_TAG_LEN;
        let mut frame = Vec::with_capacity(most + MAX_TAG_LEN);
        frame.extend_from_slice(&length.to_le_bytes());
        frame.resize(most, 0);
        let compressed = block::compress_into(bytes, &mut frame[LENGTH..]);
        frame.truncate(LENGTH + compressed.map_err(io::Error::other)?);
        let sealed = frame.len() + MAX_TAG_LEN;
        let length = u32::try_from(sealed).expect("its length was looked at");
        let offset = self.end.fetch_add(u64::from(length), Ordering::Relaxed);
        self.key
            .seal_in_place_append_tag(nonce(offset), Aad::empty(), &mut frame)
            .map_err(|_| io::Error::other("it cannot be encrypted"))?;
        file.write_all_at(&frame, offset)?;
        Ok(Frame { offset, length })
    }

    fn fetch(&self, frame: &Frame, bytes: &mut Vec<u8>) -> io::Result<()> {
        let Frame { offset, length } = *frame;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let mut sealed = vec![0; length];
        self.file()?.read_exact_at(&mut sealed, offset)?;
        let opened = self.key.open_in_place(nonce(offset), Aad::empty(), &mut sealed);
        let opened = opened.map_err(|_| io::Error::other("it is not what was written"))?;
        // Nothing but what was encrypted here comes this far.
        let (length, compressed) = opened.split_first_chunk().expect("every frame has its length");
        bytes.resize(usize::try_from(u32::from_le_bytes(*length)).map_err(io::Error::other)?, 0);
        let whole = block::decompress_into(compressed, bytes).map_err(io::Error::other)?;
        debug_assert_eq!(whole, bytes.len());
        Ok(())
    }

    /// Of two threads that are the first, the file of one is dropped.
    fn file(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let made = tempfile::tempfile_in(&self.folder)?;
        Ok(self.file.get_or_init(|| made))
    }
}

/// The most bytes that a frame takes of so many.
fn most(bytes: usize) -> usize {
    LENGTH + block::get_maximum_output_size(bytes) + MAX_TAG_LEN
}

/// The length of what is to be one frame.
fn length(bytes: usize) -> Result<u32, Error> {
    let fits = u32::try_from(most(bytes)).is_ok();
    u32::try_from(bytes).ok().filter(|_| fits).ok_or(Error::TooLong { bytes })
}

/// No two frames begin at the same place, so none comes twice with a key; nor can one frame stand for another.
fn nonce(offset: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[..size_of::<u64>()].copy_from_slice(&offset.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spill() -> (tempfile::TempDir, Spill) {
        let folder = tempfile::tempdir().unwrap();
        let spill = Spill::new(folder.path());
        (folder, spill)
    }

    fn fetched(spill: &Spill, frame: &Frame) -> Vec<u8> {
        let mut bytes = b"what was there before".to_vec();
        spill.read(frame, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_many_threads_appended_comes_back() {
        let (_folder, spill) = spill();
        let piece = |thread: u8, number: u8| vec![thread; usize::from(number) * 1_000];
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let spill = &spill;
                scope.spawn(move || {
                    let append = |number| spill.append(&piece(thread, number)).unwrap();
                    let frames: Vec<Frame> = (0..50).map(append).collect();
                    for (number, frame) in (0..).zip(frames) {
                        assert_eq!(fetched(spill, &frame), piece(thread, number));
                    }
                });
            }
        });
        assert_eq!(spill.size(), spill.file.get().unwrap().metadata().unwrap().len());
    }

    #[test]
    fn the_file_has_no_name_and_shows_no_plain_text() {
        let (folder, spill) = spill();
        assert!(spill.file.get().is_none(), "nothing is made before there is something to write");
        let bytes: Vec<u8> = (0..=255).collect();
        spill.append(&bytes).unwrap();
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        let mut stored = vec![0; usize::try_from(spill.size()).unwrap()];
        spill.file().unwrap().read_exact_at(&mut stored, 0).unwrap();
        let has = |part: &[u8]| stored.windows(part.len()).any(|window| window == part);
        assert!(stored.len() >= bytes.len() && !bytes.chunks(8).any(has));
    }

    #[test]
    fn a_frame_that_was_changed_or_moved_on_disk_is_an_error() {
        let (_folder, spill) = spill();
        let [frame, other] = [b"one row", b"another"].map(|row| spill.append(row).unwrap());
        let file = spill.file().unwrap();
        let mut byte = [0];
        for offset in 0..u64::from(frame.length) {
            file.read_exact_at(&mut byte, offset).unwrap();
            file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
            let mut bytes = b"other rows".to_vec();
            let refused = spill.read(&frame, &mut bytes).unwrap_err();
            assert!(matches!(refused, Error::Read { .. }) && bytes.is_empty(), "{refused}");
            file.write_all_at(&byte, offset).unwrap();
        }
        assert_eq!(fetched(&spill, &frame), b"one row");
        let mut moved = vec![0; usize::try_from(other.length).unwrap()];
        file.read_exact_at(&mut moved, other.offset).unwrap();
        file.write_all_at(&moved, frame.offset).unwrap();
        assert!(spill.read(&frame, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_folder_that_is_not_there_is_the_systems() {
        let (folder, _) = spill();
        let spill = Spill::new(&folder.path().join("nowhere"));
        assert_eq!(spill.folder, std::env::temp_dir());
        let frame = spill.append(b"").unwrap();
        assert_eq!(fetched(&spill, &frame), b"");
    }

    #[test]
    fn what_is_too_long_for_a_frame_is_refused_and_no_room_would_help() {
        assert_eq!(length(3_000_000_000).unwrap(), 3_000_000_000);
        for bytes in [4_000_000_000, 1 << 32, 1 << 40] {
            let said = length(bytes).unwrap_err().to_string();
            assert!(said.contains(&bytes.to_string()) && !said.contains("make room"), "{said}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn without_room_the_error_names_the_folder_and_the_way_out() {
        let (folder, spill) = spill();
        spill.file.set(File::options().write(true).open("/dev/full").unwrap()).unwrap();
        let said = spill.append(b"a row").unwrap_err().to_string();
        for word in [folder.path().to_str().unwrap(), "No space left", "`memory_limit`"] {
            assert!(said.contains(word), "{said}");
        }
        assert!(!said.contains("a row"));
    }
}
