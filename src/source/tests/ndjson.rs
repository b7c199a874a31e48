//! What NDJSON becomes, at the first run and later.

use super::super::definition::{NdJson, Partitions};
use super::*;

/// A folder with one NDJSON file, `people.ndjson`.
fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, text);
    folder
}

fn write(folder: &tempfile::TempDir, text: &str) {
    std::fs::write(folder.path().join("people.ndjson"), text).unwrap();
}

fn declared(columns: &[(&str, &str)]) -> NdJson {
    let column = |(name, kind): &(&str, &str)| ((*name).to_owned(), (*kind).to_owned());
    NdJson { columns: columns.iter().map(column).collect() }
}

fn reader_of(folder: &tempfile::TempDir, ndjson: NdJson) -> Reader {
    reader(vec![table("people", folder.path().join("*.ndjson"), Format::NdJson(ndjson))])
}

async fn first(text: &str) -> Result<(Vec<String>, Pins), Error> {
    let model = model("select * from people", &["id"]);
    read(&reader_of(&folder(text), NdJson::default()), &model, &Pins::default()).await
}

async fn refused(text: &str) -> String {
    let error = first(text).await.unwrap_err();
    let Error::Damaged(message) = error else { panic!("{error:?}") };
    assert!(message.contains("people.ndjson") && message.contains("`people`"), "{message}");
    message
}

#[tokio::test]
async fn members_become_columns_as_they_are_written_and_missing_ones_null() {
    let lines = "{\"id\":1,\"n\":1.50,\"big\":18446744073709551615,\"t\":\"1\",\"b\":true}\n\
                 {\"id\":2,\"tags\":[ 1, \"x\" ],\"mix\":\"a\",\"t\":null}\n\n\
                 {\"mix\":7.0,\"id\":3,\"n\":-2,\"late\":{\"k\":null},\"e\":2.5e-7}";
    let (rows, pins) = first(lines).await.unwrap();
    let expected = [
        "1|1.50|18446744073709551615|1|true|~|~|~|~",
        "2|~|~|~|~|[1,\"x\"]|\"a\"|~|~",
        "3|-2.00|~|~|~|~|7.0|{\"k\":null}|2.5e-7",
    ];
    assert_eq!(rows, expected);
    let pinned = [
        ("id", "BIGINT"),
        ("n", "DECIMAL(38,2)"),
        ("big", "DECIMAL(38,0)"),
        ("t", "VARCHAR"),
        ("b", "BOOLEAN"),
        ("tags", "JSON"),
        ("mix", "JSON"),
        ("late", "JSON"),
        ("e", "DOUBLE"),
    ];
    assert_eq!(
        pins,
        pinned.iter().fold(Pins::default(), |mut pins, (column, kind)| {
            pins.add("people", column, (*kind).to_owned());
            pins
        })
    );
}

#[tokio::test]
async fn a_member_that_comes_later_is_pinned_then_and_one_that_goes_is_null() {
    let folder = folder("{\"id\":1,\"a\":5,\"n\":null}\n");
    let reader = reader_of(&folder, NdJson::default());
    let model = model("select * from people", &["id"]);
    let (rows, pins) = read(&reader, &model, &Pins::default()).await.unwrap();
    assert_eq!((rows, pins.get("people", "n")), (vec!["1|5|~".to_owned()], None));
    write(&folder, "{\"id\":1,\"n\":2.5,\"new\":true}\n");
    let (rows, pins) = read(&reader, &model, &pins).await.unwrap();
    assert_eq!(rows, ["1|~|2.5|true"]);
    assert_eq!(pins.get("people", "n"), Some("DECIMAL(38,1)"));
    assert_eq!(pins.get("people", "new"), Some("BOOLEAN"));
    write(&folder, "");
    assert!(read(&reader, &model, &pins).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn columns_are_those_of_all_files_together() {
    let folder = folder("{\"id\":1,\"a\":1}\n");
    std::fs::write(folder.path().join("more.ndjson"), "{\"id\":2,\"b\":\"x\"}\n").unwrap();
    let reader = reader_of(&folder, NdJson::default());
    let model = model("select id, a, b from people order by id", &["id"]);
    let (rows, _) = read(&reader, &model, &Pins::default()).await.unwrap();
    assert_eq!(rows, ["1|1|~", "2|~|x"]);
}

#[tokio::test]
async fn what_is_no_row_is_named_with_its_line_and_without_its_content() {
    for (line, word) in [
        ("[\"secret\"]", "no JSON object"),
        ("{\"a\":\"secret\"", "no JSON from its byte 14 on"),
        ("{\"a\":\"secret\"}{}", "no JSON from its byte 15 on"),
        ("{\"a\":\"secret\\ud800\"}", "half a surrogate pair"),
        ("{\"a\":1,\"b\":\"secret\",\"\\u0061\":1}", "the member `a` twice"),
        ("{\"a\":{\"secret\":1,\"secret\":2}}", "one member twice"),
        ("{\"a\":nan,\"b\":\"secret\"}", "no JSON from its byte 6 on"),
    ] {
        let message = refused(&format!("{{\"id\":1}}\n\n{line}\n")).await;
        assert!(message.contains("line 3 of") && message.contains(word), "{line}: {message}");
        assert!(!message.contains("secret"), "{message}");
    }
    let folder = folder("");
    std::fs::write(folder.path().join("people.ndjson"), b"{\"id\":\"\xe9\"}\n").unwrap();
    let model = model("select * from people", &["id"]);
    let read = read(&reader_of(&folder, NdJson::default()), &model, &Pins::default()).await;
    assert!(read.unwrap_err().to_string().contains("line 1 of"));
}

#[tokio::test]
async fn a_later_value_of_another_type_is_a_misfit_with_what_would_hold_it() {
    let model = model("select * from people", &["id"]);
    for (first, next, advice) in [
        ("4", "2.50", "`v: DOUBLE` or `v: DECIMAL(38,2)`"),
        ("4", "\"4\"", "`v: JSON` or `v: VARCHAR`"),
        ("\"4\"", "4", "`v: JSON` or `v: VARCHAR`"),
        ("1.5", "1.25", "`v: DOUBLE` or `v: DECIMAL(38,2)`"),
        ("1e3", "0.1000000000000000055", "`v: DOUBLE` or `v: DECIMAL(38,19)`"),
        ("true", "\"true\"", "`v: JSON` or `v: VARCHAR`"),
        ("true", "[]", "`v: JSON` or `v: VARCHAR`"),
        ("\"x\"", "{}", "`v: JSON` or `v: VARCHAR`"),
    ] {
        let folder = folder(&format!("{{\"id\":1,\"v\":{first}}}\n"));
        let reader = reader_of(&folder, NdJson::default());
        let (_, pins) = read(&reader, &model, &Pins::default()).await.unwrap();
        write(&folder, &format!("{{\"id\":0}}\n{{\"id\":1,\"v\":{next}}}\n"));
        let read = read(&reader, &model, &pins).await;
        let Err(Error::Misfit(message)) = read else { panic!("`{next}` fits") };
        assert!(message.contains(&format!("declare {advice} under")), "{next}: {message}");
        assert!(message.contains("column `v` at line 2 of file"), "{message}");
    }
}

#[tokio::test]
async fn a_later_value_that_its_type_holds_fits() {
    let model = model("select * from people", &["id"]);
    for (first, next, shown) in [
        ("1.25", "1", "1.00"),
        ("1e3", "1.10", "1.1"),
        ("[]", "1.10", "1.10"),
        ("9223372036854775808", "-0", "0"),
        ("\"x\"", "null", "~"),
    ] {
        let folder = folder(&format!("{{\"id\":1,\"v\":{first}}}\n"));
        let reader = reader_of(&folder, NdJson::default());
        let (_, pins) = read(&reader, &model, &Pins::default()).await.unwrap();
        write(&folder, &format!("{{\"id\":1,\"v\":{next}}}\n"));
        assert_eq!(read(&reader, &model, &pins).await.unwrap().0, [format!("1|{shown}")]);
    }
}

#[tokio::test]
async fn declared_types_read_texts_as_csv_does_and_json_keeps_what_is_written() {
    let folder = folder(
        "{\"id\":\"7\",\"day\":\"2013-01-02\",\"price\":\"1.5\",\"any\":\"x\",\"word\":1.10,\"flag\":\"TRUE\"}\n",
    );
    let columns = [
        ("id", "BIGINT"),
        ("day", "DATE"),
        ("price", "DECIMAL(10,2)"),
        ("any", "JSON"),
        ("word", "VARCHAR"),
        ("flag", "BOOLEAN"),
        ("absent", "VARCHAR"),
    ];
    let reader = reader_of(&folder, declared(&columns));
    let model = model("select * from people", &["id"]);
    let (rows, pins) = read(&reader, &model, &Pins::default()).await.unwrap();
    assert_eq!(rows, ["7|2013-01-02|1.50|\"x\"|1.10|true|~"]);
    assert!(pins.is_empty());
}

#[tokio::test]
async fn names_without_end_are_no_columns() {
    let line = |id: usize| format!("{{\"id\":{id},\"n{id}\":1}}\n");
    let message = refused(&(0..10_001).map(line).collect::<String>()).await;
    assert!(message.contains("line 10000 of") && message.contains("10000 members"), "{message}");
}

#[tokio::test]
async fn a_file_that_changes_between_both_passes_drops_no_member() {
    let folder = folder("{\"id\":1}\n");
    let reader = reader_of(&folder, NdJson::default());
    let model = model("select * from people", &["id"]);
    let mut reading = reader.open(&model, &Selection::default(), &Pins::default()).await.unwrap();
    write(&folder, "{\"id\":1,\"new\":2}\n");
    let error = rows(&mut reading).await.unwrap_err();
    assert!(error.to_string().contains("changed during the read"), "{error}");
    assert!(reading.proof.verify(&[]).await.is_err());
}

#[tokio::test]
async fn a_table_without_a_member_is_no_fault_of_the_config_and_none_at_all_where_no_column_of_it_is_asked_for()
 {
    let folder = folder("");
    let day = folder.path().join("day=1");
    std::fs::create_dir(&day).unwrap();
    std::fs::write(day.join("people.ndjson"), "\n").unwrap();
    let plain = || table("people", folder.path().join("*.ndjson"), Format::NdJson(declared(&[])));
    let below = Table {
        location: folder.path().join("*/*.ndjson"),
        partitions: Some(Partitions::Auto),
        ..plain()
    };
    let pins = Pins::default();
    for empty in [plain(), below] {
        for sql in ["select * from people", "select id from people", "select 1 as x from people"] {
            let read = read(&reader(vec![empty.clone()]), &model(sql, &["id"]), &pins).await;
            let Err(Error::Missing(said)) = read else { panic!("{sql}: {read:?}") };
            let words = ["model `people` gave no rows", "table `people` has a member", "`id`"];
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
        let sql = "select 1 as id where not exists (select 1 from people)";
        let (rows, _) = read(&reader(vec![empty]), &model(sql, &["id"]), &pins).await.unwrap();
        assert_eq!(rows, ["1"]);
    }
    write(&folder, "{}\n{}\n");
    let read_of =
        read(&reader(vec![plain()]), &model("select * from people", &["id"]), &pins).await;
    assert!(matches!(read_of, Err(Error::Missing(_))), "{read_of:?}");
    write(&folder, "");
    // With columns it is a table as any other.
    let declared = reader_of(&folder, declared(&[("id", "BIGINT")]));
    let (rows, _) = read(&declared, &model("select * from people", &["id"]), &pins).await.unwrap();
    assert_eq!(rows, [""; 0]);
    let fault = read(&declared, &model("select * from people", &["no"]), &pins).await.unwrap_err();
    assert!(fault.is_config_fault(), "{fault}");
}

#[tokio::test]
async fn beside_a_table_without_a_member_what_is_wrong_is_told_as_it_is() {
    let folder = folder("");
    std::fs::write(folder.path().join("orders.csv"), "id,total\n1,5\n").unwrap();
    let reader = reader(vec![
        table("people", folder.path().join("*.ndjson"), Format::NdJson(declared(&[]))),
        table("orders", folder.path().join("orders.csv"), Format::Csv(csv())),
    ]);
    let hint = "no line of table `people` has a member";
    for (sql, word) in [
        ("select id, totals from orders where exists (select 1 from people)", "totals"),
        (
            "select o.id, p.name from orders o left join people p on o.id = p.id",
            "unknown column `id`",
        ),
    ] {
        let read = read(&reader, &model(sql, &["id"]), &Pins::default()).await;
        let Err(Error::Definition(said)) = read else { panic!("{sql}: {read:?}") };
        assert!([word, hint].iter().all(|word| said.contains(word)), "{said}");
        assert!(!said.contains("gave no rows"), "{said}");
    }
    let model = model("select id from orders where not exists (select 1 from people)", &["id"]);
    let wrong = reader.open(&model, &mapping(&[("id", "idd")], &["id"]), &Pins::default()).await;
    let Err(error) = wrong else { panic!("the mapping has a typo") };
    assert!(error.is_config_fault() && error.to_string().contains("idd"), "{error}");
}
