//! Whom a failure is blamed on.

use super::*;

const ROWS: &str = "id,n,word\n1,1,7\n2,0,x\n";

/// What reading this mapping of `sql` fails with.
async fn failure(reader: &Reader, sql: &str, fields: &[(&str, &str)]) -> String {
    let (model, selection) = (model(sql, &["id"]), mapping(fields, &["id"]));
    match reader.open(&model, &selection, &Pins::default()).await {
        Ok(mut reading) => batches(&mut reading).await.unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_mapping_that_fails_is_told_by_its_field_and_a_model_by_its_name() {
    let folder = people(ROWS);
    let parquet = folder.path().join("people.parquet");
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["7", "x"]));
    write_parquet(
        &parquet,
        vec![("id", integers(&[1, 2])), ("n", integers(&[1, 0])), ("word", texts)],
    );
    let readers =
        [csv_reader(folder.path(), csv()), reader(vec![table("people", parquet, Format::Parquet)])];
    let all = "select * from people";
    for reader in &readers {
        for (fields, named, cause) in [
            (&[("id", "id"), ("r", "10 / n")][..], "`r`, `10 / n`", "division by zero"),
            (
                &[("id", "id"), ("w", "cast(word as bigint)")],
                "`w`, `cast(word as bigint)`",
                "try_cast",
            ),
            // What two fields share.
            (
                &[("id", "id"), ("a", "10 / n + 1"), ("b", "10 / n + 2")],
                "`a`, `10 / n + 1`",
                "zero",
            ),
            (&[("id", "id"), ("c", "10 / 0")], "`c`, `10 / 0`", "division by zero"),
        ] {
            let said = failure(reader, all, fields).await;
            let place = format!(
                "the mapping of field {named}, over model `people` failed, or what the model computes for it: "
            );
            assert!(said.starts_with(&place) && said.contains(cause), "{said}");
        }
        let in_model =
            failure(reader, "select id, 10 / n as r from people", &[("id", "id"), ("r", "r")])
                .await;
        assert!(in_model.starts_with("the query of model `people` failed: division"), "{in_model}");
    }
    let long = format!("10 / n {}", "+ 1".repeat(40));
    let said = failure(&readers[0], all, &[("id", "id"), ("r", &long)]).await;
    assert!(said.contains("..`, over") && said.len() < 260, "{said}");
}
