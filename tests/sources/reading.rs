//! A model read from a database in this process.

use std::sync::Arc;
use std::time::Duration;

use counterflow::domain::column::Column;
use counterflow::domain::render::render;
use counterflow::domain::sync::{Model, Reads};
use counterflow::source::definition::{Access, Definition};
use counterflow::source::remote::{Remote, Tls};
use counterflow::source::{Error, Examined, Pins, Reader, Reading, Selection, Settings, examine};
use futures::StreamExt as _;

/// A database of this machine.
pub fn remote(port: u16, database: &str, user: &str) -> Remote {
    Remote {
        host: "127.0.0.1".into(),
        port,
        database: database.into(),
        user: user.into(),
        password: None,
        tls: Tls::Off,
        connect_timeout: Duration::from_secs(10),
        statement_timeout: None,
        idle_timeout: Duration::from_secs(30),
        settings: Vec::new(),
        tables: Vec::new(),
        written: None,
    }
}

/// What a look at the database finds that may take so long.
pub fn looked_at(access: Access, patience: Duration) -> Result<Examined, Error> {
    let source = Definition { name: "app".into(), access };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(examine(&source, &[], patience))
}

/// The answer to the SQL, each value as JSON; and that its end is proven.
pub fn read_from(access: Access, sql: &str) -> Result<Vec<Vec<String>>, Error> {
    read_after(access, sql, || ())
}

/// The same, where something happens between the plan and the first row.
pub fn read_after(
    access: Access,
    sql: &str,
    between: impl FnOnce(),
) -> Result<Vec<Vec<String>>, Error> {
    let source = Definition { name: "app".into(), access };
    let reader = Reader::new(vec![Arc::new(source)], Settings::new(2, 64 << 20, 64 << 20));
    let model = Model {
        name: "m".into(),
        reads: Reads::One("app".into()),
        sql: sql.into(),
        primary_key: vec!["id".into()],
        cursor: None,
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let reading = reader.open(&model, &Selection::default(), &Pins::default()).await?;
        assert!(!reading.facts.can_prove_unchanged && reading.facts.files.is_empty());
        between();
        ended_rows(reading).await
    })
}

/// The rows of a read, each value as JSON; and that its end is proven.
pub async fn ended_rows(mut reading: Reading) -> Result<Vec<Vec<String>>, Error> {
    let mut rows = Vec::new();
    for stream in &mut reading.partitions {
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(|error| Error::of_stream(&error, "m"))?;
            let columns: Vec<_> =
                batch.columns().iter().map(|it| Column::new(it).expect("known")).collect();
            rows.extend((0..batch.num_rows()).map(|row| {
                let said = |column: &Column<'_>| {
                    let mut out = Vec::new();
                    let said = render(column.value(row), &mut out);
                    said.map_or_else(|why| why.to_string(), |()| text(out))
                };
                columns.iter().map(said).collect()
            }));
        }
    }
    reading.proof.verify(&[]).await.expect("the answer was read to its end");
    Ok(rows)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("JSON is UTF-8")
}
