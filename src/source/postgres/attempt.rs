//! What a session asks that its transaction can go on without.

use tokio_postgres::{Client, Error as Failure};

use super::error::planning;
use super::session::Session;
use crate::source::error::Error;

impl Session {
    /// As [`Session::ask`]; where the server refuses it, the transaction is as if nobody had asked.
    ///
    /// # Errors
    /// The server is gone.
    pub async fn attempt<T>(
        &mut self,
        place: &str,
        ask: impl AsyncFnOnce(&Client) -> Result<T, Failure>,
    ) -> Result<Result<T, Failure>, Error> {
        const BEGIN: &str = "SAVEPOINT counterflow";
        self.ask(place, async |client| client.simple_query(BEGIN).await, planning).await?;
        let attempt = async |client: &Client| match ask(client).await {
            Err(refused) if refused.as_db_error().is_some() => Ok(Err(refused)),
            done => done.map(Ok),
        };
        let answer = self.ask(place, attempt, planning).await?;
        // Within a savepoint no state can be shared.
        let then = match answer.is_ok() {
            true => "RELEASE SAVEPOINT counterflow",
            false => "ROLLBACK TO SAVEPOINT counterflow; RELEASE SAVEPOINT counterflow",
        };
        self.ask(place, async |client| client.simple_query(then).await, planning).await?;
        Ok(answer)
    }
}
