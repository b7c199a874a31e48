//! A run out of its row.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{RunRow, Stop, StopRequest};
use crate::domain::id::{Instant, RunId};
use crate::store::{Error, Store};

impl Store {
    pub(super) fn stop_request(&self, word: &str) -> Result<StopRequest, Error> {
        match word {
            "drain" => Ok(StopRequest::Drain),
            "now" => Ok(StopRequest::Now),
            _ => Err(self.damaged("column `stop` holds no stop request")),
        }
    }

    pub(in crate::store) fn run_row(&self, row: &SqliteRow) -> Result<RunRow, Error> {
        let text = |column| row.try_get::<String, _>(column).map_err(|error| self.failure(error));
        let maybe =
            |column| row.try_get::<Option<String>, _>(column).map_err(|error| self.failure(error));
        let id: i64 = row.try_get("id").map_err(|error| self.failure(error))?;
        let started_at = row.try_get("started_at").map_err(|error| self.failure(error))?;
        let finished_at: Option<i64> =
            row.try_get("finished_at").map_err(|error| self.failure(error))?;
        let stop = match maybe("stop")? {
            None => None,
            Some(word) => Some(Stop {
                request: self.stop_request(&word)?,
                who: maybe("stop_who")?.unwrap_or_default(),
                message: maybe("stop_message")?,
            }),
        };
        Ok(RunRow {
            id: RunId(self.natural("id", id)?),
            sync: text("sync")?,
            trigger: self.restore("trigger", &text("trigger")?)?,
            choice: maybe("choice")?.map(|json| self.restore("choice", &json)).transpose()?,
            phase: self.restore("phase", &text("phase")?)?,
            started_at: Instant(started_at),
            finished_at: finished_at.map(Instant),
            tally: self.restore("tally", &text("tally")?)?,
            error: maybe("error")?,
            stop,
            revision: if self.version < 6 { None } else { maybe("revision")? },
        })
    }
}
