//! Bytes → the record batches of an Arrow file → rows. Guards: rows do not depend on how many are read at a time, nor a column
//! on which others are read; what is refused is named with its file, and nothing that is in it is told.

use counterflow::source::fuzzing_ipc::rows;

pub fn fuzz_ipc(file: &[u8]) -> bool {
    let (whole, wrong) = rows(file, None, 1_000);
    let (parts, other) = rows(file, None, 3);
    let both = whole.len().min(parts.len());
    assert_eq!(whole[..both], parts[..both], "rows depend on how many are read at a time");
    assert_eq!(wrong.is_some(), other.is_some(), "{wrong:?} {other:?}");
    if let Some(wrong) = &wrong {
        assert!(wrong.starts_with("table `t`: file `"), "{wrong}");
        return false;
    }
    let (first, wrong) = rows(file, Some(0), 1_000);
    assert_eq!(wrong, None, "a column is damaged that is not in all of them");
    assert_eq!(first.len(), whole.len(), "a column has other rows than all of them");
    true
}
