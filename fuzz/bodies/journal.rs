//! The bytes of a journal → records, a torn tail or damage. Guards: never a panic; what was recovered once is there when the
//! snapshot is opened again; a journal is folded once.

use std::sync::OnceLock;

use counterflow::snapshot::memory_disk::MemoryDisk;

use super::Input;
use super::files::{self, FRAME_HEADER, HEADER, put_frame};

const NAME: &str = "journal-2";

/// The input is a byte that chooses between a file as it is and payloads that are put into frames; for the latter a byte says
/// how much of the file's end is cut off, and each payload has its length before it.
pub fn fuzz_journal(data: &[u8]) -> bool {
    static BASE: OnceLock<(MemoryDisk, Vec<u8>)> = OnceLock::new();
    let (base, journal) = BASE.get_or_init(|| {
        let disk = files::small();
        let journal = files::read(&disk, NAME);
        (disk, journal)
    });
    let mut input = Input { rest: data };
    let file = match input.byte() % 2 {
        0 => {
            // The lineage is another one each time; with it, seeds would be foreign.
            let mut file = journal[..HEADER].to_vec();
            file.extend_from_slice(input.rest);
            file
        }
        _ => {
            let cut = usize::from(input.byte());
            let start = files::payloads(journal)[0].len();
            let mut file = journal[..HEADER + FRAME_HEADER + start].to_vec();
            while !input.rest.is_empty() {
                put_frame(&mut file, input.part());
            }
            file.truncate(file.len().saturating_sub(cut));
            file
        }
    };
    let disk = base.copy();
    disk.put(NAME, file);
    files::read_all(&disk)
}
