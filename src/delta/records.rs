//! The records of a shard: bytes that are only appended, and read at random.
//!
//! Where they are many they lie in large pages, if the system has any: a search in memory of many small pages waits longer
//! for the page's address than for the bytes. Not here: what a record holds (`shard`).

use std::ops::Deref;

use memmap2::MmapMut;

/// Bytes from which on large pages are worth what is wasted in the last of them, which has 2 MiB on most machines.
const LARGE: usize = 16 << 20;

/// Bytes that are only appended. What is reserved and not written takes no memory but addresses.
#[derive(Debug)]
pub enum Records {
    Small(Vec<u8>),
    /// The first `len` bytes of the mapping are written.
    Large {
        mapping: MmapMut,
        len: usize,
    },
}

impl Default for Records {
    fn default() -> Records {
        Records::Small(Vec::new())
    }
}

impl Deref for Records {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Records::Small(bytes) => bytes,
            Records::Large { mapping, len } => &mapping[..*len],
        }
    }
}

impl Records {
    /// Makes room for so many more bytes, roughly: those that come beyond it are taken all the same.
    pub fn reserve(&mut self, more: usize) {
        let wanted = self.len().saturating_add(more);
        // What is foretold by the first records may be too little, and addresses cost nothing.
        let with_spare = wanted.saturating_add(wanted / 8);
        let mapping = (wanted >= LARGE).then(|| mapped(with_spare)).flatten();
        match (mapping, self) {
            (Some(mut mapping), records) => {
                let len = records.len();
                mapping[..len].copy_from_slice(records);
                *records = Records::Large { mapping, len };
            }
            (None, Records::Small(bytes)) => bytes.reserve_exact(more),
            (None, records) => {
                let mut bytes = Vec::with_capacity(wanted);
                bytes.extend_from_slice(records);
                *records = Records::Small(bytes);
            }
        }
    }

    #[inline]
    pub fn extend_from_slice(&mut self, more: &[u8]) {
        match self {
            Records::Small(bytes) => bytes.extend_from_slice(more),
            Records::Large { .. } => self.extend(more.len()).copy_from_slice(more),
        }
    }

    /// So many more bytes, which are to be written.
    #[inline]
    pub fn extend(&mut self, more: usize) -> &mut [u8] {
        if matches!(self, Records::Large { mapping, len } if mapping.len() - *len < more) {
            self.reserve(self.len().max(more));
        }
        let start = self.len();
        match self {
            Records::Small(bytes) => {
                bytes.resize(start + more, 0);
                &mut bytes[start..]
            }
            Records::Large { mapping, len } => {
                *len = start + more;
                &mut mapping[start..start + more]
            }
        }
    }
}

/// Memory of the system's own, in large pages if it has some; `None` where it gives none in this way.
fn mapped(bytes: usize) -> Option<MmapMut> {
    let mapping = MmapMut::map_anon(bytes).ok()?;
    #[cfg(target_os = "linux")]
    if let Err(error) = mapping.advise(memmap2::Advice::HugePage) {
        tracing::debug!(%error, "the table of the snapshot lies in small pages");
    }
    Some(mapping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_there_however_little_was_foretold() {
        for foretold in [0, 1_000, LARGE, 2 * LARGE] {
            let mut records = Records::default();
            let mut expected = Vec::new();
            let mut append = |records: &mut Records, count: u32| {
                for number in 0..count {
                    records.extend_from_slice(&number.to_le_bytes());
                    expected.extend_from_slice(&number.to_le_bytes());
                }
            };
            append(&mut records, 1_000);
            records.reserve(foretold);
            assert_eq!(matches!(records, Records::Large { .. }), foretold >= LARGE);
            append(&mut records, 6 << 20);
            assert!(records[..] == expected[..], "{foretold}");
        }
    }
}
