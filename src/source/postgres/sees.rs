//! Which state of the database a session sees.

use crate::points::is_planted;

/// What a transaction sees.
#[derive(Debug, Clone, Copy)]
pub enum Sees<'a> {
    /// Each statement what is there as it begins: of a session that holds, and waits for those who hold the same.
    Newest,
    /// One state, of the moment in which it begins, of which `now()` is too; what it will read is held.
    Still,
    /// One state, which another session exported and holds.
    Shared(&'a str),
}

impl Sees<'_> {
    pub fn level(self) -> &'static str {
        match self {
            Sees::Newest if is_planted("state_before_locks") => "repeatable read",
            Sees::Newest => "read committed",
            Sees::Still | Sees::Shared(_) => "repeatable read",
        }
    }

    /// How long others are waited for who hold what is to be read. Whoever waits to hold it alone waits for the session that
    /// holds it for us: two would wait for each other, and no server sees that.
    pub fn patience(self) -> &'static str {
        match self {
            Sees::Newest => "30s",
            Sees::Still | Sees::Shared(_) => "1s",
        }
    }
}
