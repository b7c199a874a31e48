//! What CSV text becomes, at the first run and later.

use super::*;

async fn people_read(text: &str) -> Result<(Vec<String>, Pins), Error> {
    let folder = people(text);
    let model = model("select * from people", &["id"]);
    read(&csv_reader(folder.path(), csv()), &model, &Pins::default()).await
}

#[tokio::test]
async fn a_column_without_a_value_is_pinned_by_the_first_read_that_sees_one() {
    let folder = people("id,n\n");
    let reader = csv_reader(folder.path(), csv());
    let model = model("select * from people", &["id"]);
    let (rows, pins) = read(&reader, &model, &Pins::default()).await.unwrap();
    assert!(rows.is_empty() && pins.is_empty());
    let rewrite = |text: &str| std::fs::write(folder.path().join("people.csv"), text).unwrap();
    rewrite("id,n\n1,\n2,\n");
    let (rows, pins) = read(&reader, &model, &pins).await.unwrap();
    assert_eq!(rows, ["1|~", "2|~"]);
    assert_eq!((pins.get("people", "id"), pins.get("people", "n")), (Some("BIGINT"), None));
    rewrite("id,n\n1,\n2,5\n");
    let mut reading = reader.open(&model, &Selection::default(), &pins).await.unwrap();
    assert_eq!(reading.pins.get("people", "n"), Some("BIGINT"));
    assert_eq!(reading.fields[1].data_type, DataType::Int64);
    assert_eq!(rows_of(&mut reading).await, ["1|~", "2|5"]);
}

async fn rows_of(reading: &mut Reading) -> Vec<String> {
    rows(reading).await.unwrap()
}

#[tokio::test]
async fn numbers_go_out_as_they_were_written_or_stay_text() {
    let (rows, pins) =
        people_read("id,price,version,zero\n1,1.10,1.1,-0\n2,22.25,1.10,0\n").await.unwrap();
    assert_eq!(rows, ["1|1.10|1.1|-0", "2|22.25|1.10|0"]);
    assert_eq!(pins.get("people", "price"), Some("DECIMAL(38,2)"));
    assert_eq!(pins.get("people", "version"), Some("VARCHAR"));
    assert_eq!(pins.get("people", "zero"), Some("VARCHAR"));
}

#[tokio::test]
async fn a_later_number_that_its_pin_would_change_is_a_misfit() {
    let folder = people("id,price,score\n1,1.10,1.5\n");
    let reader = csv_reader(folder.path(), csv());
    let model = model("select * from people", &["id"]);
    let (_, pins) = read(&reader, &model, &Pins::default()).await.unwrap();
    for (row, column) in [
        ("1,1.1,1.5", "price"),
        ("1,1.100,1.5", "price"),
        ("1,1.10,1.50", "score"),
        ("1,1.10,-0", "score"),
    ] {
        let text = format!("id,price,score\n{row}\n");
        std::fs::write(folder.path().join("people.csv"), text).unwrap();
        let error = read(&reader, &model, &pins).await.unwrap_err();
        assert!(matches!(&error, Error::Misfit(message) if message.contains(column)), "{error}");
    }
}

#[tokio::test]
async fn a_malformed_quote_is_damage_with_its_line() {
    let error = people_read("id,a\n1,\"abc\"def\n").await.unwrap_err();
    let Error::Damaged(message) = &error else { panic!("{error:?}") };
    assert!(message.contains("line 2") && message.contains("people.csv"), "{message}");
    assert!(!message.contains("abc") && !message.contains("def"), "{message}");
}

#[tokio::test]
async fn a_field_in_quotes_is_never_null() {
    let folder = people("id,a,n\n1,\"\",NA\n2,,5\n3,\"NA\",7\n4,NA,\n");
    let nulls = vec![String::new(), "NA".to_owned()];
    let reader = csv_reader(folder.path(), Csv { nulls, ..csv() });
    let model = model("select * from people", &["id"]);
    let (rows, pins) = read(&reader, &model, &Pins::default()).await.unwrap();
    assert_eq!(rows, ["1||~", "2|~|5", "3|NA|7", "4|~|~"]);
    assert_eq!(pins.get("people", "n"), Some("BIGINT"));
}

#[tokio::test]
async fn a_whole_number_beyond_its_type_fails_the_read_and_does_not_wrap() {
    let folder = people("id,n\n1,9223372036854775807\n2,-9223372036854775808\n");
    let reader = csv_reader(folder.path(), csv());
    for sql in [
        "select 9223372036854775807 + id as id from people",
        "select id, n * 2 as n from people",
        "select id, n - 1 as n from people where n < 0",
        "select id, 9223372036854775807 + 1 as n from people",
        "select id, sum(n + id) as n from people group by id",
    ] {
        let model = model(sql, &["id"]);
        let error = read(&reader, &model, &Pins::default()).await.unwrap_err();
        assert!(error.to_string().contains("overflows its type"), "{sql}: {error}");
    }
    let whole = model("select id, n from people", &["id"]);
    let selection = mapping(&[("id", "id"), ("n", "n + n")], &["id"]);
    let mut reading = reader.open(&whole, &selection, &Pins::default()).await.unwrap();
    assert!(rows(&mut reading).await.unwrap_err().to_string().contains("overflows its type"));
}

#[tokio::test]
async fn checked_arithmetic_answers_and_names_as_before() {
    let folder = people("id,n,f,t\n1,5,1.5,2013-01-01T00:00:00Z\n2,,2.5,2013-01-02T00:00:00Z\n");
    let reader = csv_reader(folder.path(), csv());
    let sql = "select id, n + 1 - 2 * id as a, f + id as b, arrow_cast(id, 'Int32') + n as c, -n as d, \
               t + interval '1 day' as e, arrow_cast(id, 'UInt64') * n as g, id + 1 from people where id + 0 < 2";
    let model = model(sql, &["id"]);
    let mut reading = reader.open(&model, &Selection::default(), &Pins::default()).await.unwrap();
    assert_eq!(reading.fields[7].name, "people.id + Int64(1)");
    assert_eq!(rows_of(&mut reading).await, ["1|4|2.5|6|-5|2013-01-02T00:00:00Z|5|2"]);
}

#[tokio::test]
async fn a_number_that_does_not_fit_its_pin_is_not_advised_to_become_text() {
    let model = model("select * from people", &["id"]);
    for (first, next, advice) in [
        ("4", "2.50", "`v: DOUBLE` or `v: DECIMAL(38,2)`"),
        ("4", "9223372036854775808", "`v: DECIMAL(38,0)`"),
        ("1.10", "2.555", "`v: DOUBLE` or `v: DECIMAL(38,3)`"),
        ("2.5", "1e3", "`v: DOUBLE`"),
        ("4", "007", "`v: VARCHAR`"),
        ("4", "many", "`v: VARCHAR`"),
        ("true", "2.5", "`v: VARCHAR`"),
    ] {
        let folder = people(&format!("id,v\n1,{first}\n"));
        let reader = csv_reader(folder.path(), csv());
        let (_, pins) = read(&reader, &model, &Pins::default()).await.unwrap();
        std::fs::write(folder.path().join("people.csv"), format!("id,v\n1,{next}\n")).unwrap();
        let read = read(&reader, &model, &pins).await;
        let Err(Error::Misfit(message)) = read else { panic!("`{next}` fits") };
        assert!(message.contains(&format!("declare {advice} under")), "{message}");
    }
}
