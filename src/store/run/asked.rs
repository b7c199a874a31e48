use super::{SET_CHOICE, create};
use crate::domain::id::{Instant, RunId};
use crate::domain::kind::Choice;
use crate::domain::run::Trigger;
use crate::store::audit::statement;
use crate::store::{Audited, Error, Store, json, query, stored};

impl Store {
    /// As [`Store::create_run`], with the audit of the command that asks for it; `audited.run` is set to the new run.
    pub async fn ask_run(
        &self,
        sync: &str,
        choice: Option<Choice>,
        trigger: Trigger,
        now: Instant,
        audited: &Audited,
    ) -> Result<RunId, Error> {
        let mut transaction = self.write().await?;
        let created = create(sync, choice, trigger, now)
            .execute(&mut *transaction)
            .await
            .map_err(|error| self.failure(error))?;
        let run = RunId(self.natural("id", created.last_insert_rowid())?);
        let audited = Audited { run: Some(run), ..audited.clone() };
        let audit = statement(&audited).execute(&mut *transaction).await;
        audit.map_err(|error| self.failure(error))?;
        self.commit(transaction).await?;
        Ok(run)
    }

    /// A trigger that a run which waits will answer, with the audit of the command that asks for it; a stronger `choice`
    /// takes the place of that run's own.
    ///
    /// # Errors
    /// [`Error::NoRun`] if there is none such, or it is finished.
    pub async fn ask_waiting(
        &self,
        run: RunId,
        choice: Option<Choice>,
        audited: &Audited,
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
        self.commit(transaction).await
    }
}
