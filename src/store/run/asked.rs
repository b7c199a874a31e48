use sqlx::Transaction;
use sqlx::sqlite::Sqlite;

use super::{NewRun, SET_CHOICE, create};
use crate::domain::id::RunId;
use crate::domain::kind::Choice;
use crate::store::audit::statement;
use crate::store::{Audited, Decision, Error, Store, json, query, stored};

impl Store {
    /// As [`Store::create_run`], with the audit of the command that asks for it, whose `run` is set to the new one and whose
    /// `at` is when it was asked, and with what the command decides of the sync's snapshot.
    pub async fn ask_run(
        &self,
        new: &NewRun,
        audited: &Audited,
        decision: Option<&Decision>,
    ) -> Result<RunId, Error> {
        let mut transaction = self.write().await?;
        let run = self.ask_within(&mut transaction, new, audited).await?;
        self.decide_within(&mut transaction, &new.sync, decision).await?;
        self.commit(transaction).await?;
        Ok(run)
    }

    /// As [`Store::ask_run`], as a part of a write.
    pub(in crate::store) async fn ask_within(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        new: &NewRun,
        audited: &Audited,
    ) -> Result<RunId, Error> {
        let created = create(&new.sync, new.choice, new.trigger, audited.at)
            .execute(&mut **transaction)
            .await
            .map_err(|error| self.failure(error))?;
        let run = RunId(self.natural("id", created.last_insert_rowid())?);
        let audited = Audited { run: Some(run), ..audited.clone() };
        let audit = statement(&audited).execute(&mut **transaction).await;
        audit.map_err(|error| self.failure(error))?;
        Ok(run)
    }

    /// A trigger that a run which waits will answer, with the audit of the command that asks for it and what that decides of
    /// the sync's snapshot; a stronger `choice` takes the place of that run's own.
    ///
    /// # Errors
    /// [`Error::NoRun`] if there is none such, or it is finished.
    pub async fn ask_waiting(
        &self,
        run: RunId,
        choice: Option<Choice>,
        audited: &Audited,
        decision: Option<&Decision>,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        if let Some(choice) = choice {
            let updated = query(SET_CHOICE)
                .bind(stored(run.0))
                .bind(json(&choice))
                .execute(&mut *transaction)
                .await
                .map_err(|error| self.failure(error))?;
            if updated.rows_affected() == 0 {
                return Err(Error::NoRun(run));
            }
        }
        let audited = Audited { run: Some(run), ..audited.clone() };
        let audit = statement(&audited).execute(&mut *transaction).await;
        audit.map_err(|error| self.failure(error))?;
        if let Some(sync) = &audited.sync {
            self.decide_within(&mut transaction, sync, decision).await?;
        }
        self.commit(transaction).await
    }
}
