//! What is written down and must stay as it is for ever: how values become bytes, keys hashes and rows fingerprints, and the
//! files of a snapshot. The golden files lie in `tests/golden`; its README says how they were made.
//!
//! A test that fails here has found that a state on somebody's disk would be misread: every row would be sent again, or
//! worse. The golden files of a version are never written anew.

mod nested;
mod snapshot;
mod story;
mod vectors;

use std::path::PathBuf;

/// What to do when a file is not as it was.
const ADVICE: &str = "\n\nThis is a contract with every snapshot on every disk: do NOT change the golden file.\n\
    1. If the change was not meant, undo it.\n\
    2. If canonical bytes or key hashes must change: raise `ENCODING_VERSION` in src/domain/value.rs, keep the old encoding \
       for old snapshots or refuse them by name, and add files of the new version beside these.\n\
    3. If fingerprints must change: raise `VERSION` in src/delta/fingerprint.rs, keep making those of the versions before, \
       which snapshots go on with until their next epoch, and add a file of the new version.\n\
    4. If only the files of a snapshot must change: raise `VERSION` in src/snapshot/frame.rs, keep reading version 1, and add \
       files of the new version beside these (tests/golden/v2).\n";

fn folder() -> PathBuf {
    folder_of(1)
}

fn folder_of(version: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{version}"))
}
