//! The ways in which a PostgreSQL server gives an answer in binary, read and dropped, in a process of its own: what any decoder
//! above one of them has to wait for.

use futures::TryStreamExt as _;
use tokio_postgres::{Client, Error, NoTls};

/// What is asked for at once of a cursor.
const ROWS: u64 = 10_000;

/// A way to read the answer to a query; its bytes are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    Copy,
    Portal,
    Cursor,
}

/// Returns the rows read.
pub async fn read(way: Way, port: u16, query: &str) -> Result<u64, Error> {
    let config = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await?;
    let driven = tokio::spawn(connection);
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let rows = match way {
        Way::Copy => {
            let copy = format!("COPY ({query}) TO STDOUT (FORMAT binary)");
            let messages = client.copy_out(&*copy).await?;
            // A message for each row, the first with the header; and the trailer.
            let count = messages.try_fold(0_u64, |count, _| async move { Ok(count + 1) });
            Ok(count.await?.saturating_sub(1))
        }
        Way::Portal => of_statement(&client, query).await,
        Way::Cursor => {
            client.batch_execute(&format!("DECLARE rows NO SCROLL CURSOR FOR {query}")).await?;
            let fetch = client.prepare(&format!("FETCH FORWARD {ROWS} FROM rows")).await?;
            let mut rows = 0;
            loop {
                match of_statement(&client, &fetch).await? {
                    0 => break Ok(rows),
                    more => rows += more,
                }
            }
        }
    };
    client.batch_execute("COMMIT").await?;
    drop(client);
    driven.await.expect("the connection does not panic")?;
    rows
}

async fn of_statement(
    client: &Client,
    statement: &(impl tokio_postgres::ToStatement + ?Sized + Sync),
) -> Result<u64, Error> {
    let rows = client.query_raw(statement, std::iter::empty::<i32>()).await?;
    rows.try_fold(0, |count, _| async move { Ok(count + 1) }).await
}
