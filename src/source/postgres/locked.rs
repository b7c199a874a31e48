//! Which tables a session has locked: all that its query reads, whoever named them.
//!
//! What the query itself names is held before the state is taken that its answer is of. What functions read that it calls is not:
//! whoever emptied such a table, or wrote it anew, between that moment and the function's first look left no trace in the answer.
//! Not seen is what a worker reads by a function that is declared `PARALLEL SAFE`, as its locks are its own; nor, where a server
//! does not count (`track_counts`), what a function read before it caught an error.

use std::collections::BTreeMap;

use tokio_postgres::SimpleQueryMessage;

use super::error;
use super::session::Session;
use crate::points::is_planted;
use crate::source::error::Error;

/// Tables of people that are locked, and those that were looked into: a function that has caught an error has given its locks
/// back. What was made after the state was taken is in no catalog of it, so that an index is told by its definition. Tables of
/// extensions, such as the projections of PostGIS, are not what people empty.
const ASKED: &str = "SELECT t.number, t.number::pg_catalog.regclass::text FROM ( \
         SELECT l.relation AS number FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation \
         LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' \
         AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
         AND coalesce(n.nspname, '') NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
         AND coalesce(c.relkind::text, CASE WHEN pg_catalog.pg_get_indexdef(l.relation) IS NULL THEN 'r' ELSE 'i' END) \
         IN ('r', 'p', 'm', 'f') \
         UNION SELECT s.relid FROM pg_catalog.pg_stat_xact_user_tables s WHERE s.seq_scan + coalesce(s.idx_scan, 0) > 0 \
     ) AS t WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = t.number AND d.deptype = 'e' \
         AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass)";

/// Tables by their numbers.
#[derive(Debug, Default)]
pub struct Locked(BTreeMap<String, String>);

impl Locked {
    /// By the transaction of the session until now.
    ///
    /// # Errors
    /// The server is gone, or the transaction has failed.
    pub async fn by(session: &mut Session, place: &str) -> Result<Locked, Error> {
        let ask = async |client: &tokio_postgres::Client| client.simple_query(ASKED).await;
        let answer = session.ask(place, ask, error::reading).await?;
        let table = |message: SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                let word = |at: usize| row.try_get(at).ok().flatten();
                let number = word(0)?;
                // A name that is no text is told by its number, and counts as any other.
                Some((number.to_owned(), word(1).unwrap_or(number).to_owned()))
            }
            _ => None,
        };
        Ok(Locked(answer.into_iter().filter_map(table).collect()))
    }

    /// Why nobody can vouch for the answer to what `place` asked, where more is locked `then` than was before it.
    pub fn doubt(&self, then: &Locked, place: &str) -> Option<String> {
        let mut more = then.0.iter().filter(|(number, _)| !self.0.contains_key(*number));
        let (_, table) = more.next().filter(|_| !is_planted("function_reads_believed"))?;
        let others = match more.count() {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        Some(format!(
            "functions that {place} calls read `{table}`{others}, which somebody may have emptied just before: have the SQL name \
             what they read, as `WITH held AS (SELECT FROM {table})` does, so that it is held, or release them"
        ))
    }
}
