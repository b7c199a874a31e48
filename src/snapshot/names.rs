//! The names of a snapshot's files.

pub(super) const MANIFEST: &str = "manifest";
/// The manifest before it is renamed. Left behind by a crash, and removed at the next start.
pub(super) const TEMPORARY: &str = "manifest.tmp";

/// What a commit of more than fits into memory sets aside. Removed by that commit, or left behind by a crash as well.
pub(super) const SPILL: &str = "commit.tmp";

/// What a name says. Names that are none of ours are left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Manifest,
    Temporary,
    Segment(u64),
    Journal(u64),
}

pub(super) fn segment(number: u64) -> String {
    format!("segment-{number}")
}

pub(super) fn journal(generation: u64) -> String {
    format!("journal-{generation}")
}

pub(super) fn parse(name: &str) -> Option<Name> {
    let number = |text: &str| text.parse().ok().filter(|number: &u64| number.to_string() == text);
    if name == MANIFEST {
        Some(Name::Manifest)
    } else if name == TEMPORARY || name == SPILL {
        Some(Name::Temporary)
    } else if let Some(rest) = name.strip_prefix("segment-") {
        number(rest).map(Name::Segment)
    } else {
        name.strip_prefix("journal-").and_then(number).map(Name::Journal)
    }
}
