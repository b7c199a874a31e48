use super::*;
use crate::domain::compare::Compare;
use crate::domain::form::{Form, Way};
use crate::domain::options::Options;

#[tokio::test]
async fn a_model_is_described_with_its_columns_and_how_they_will_look_in_json() {
    let folder = people("id,mrr,since\n1,10.50,2024-02-29T10:00:00Z\n2,,\n");
    let reader = csv_reader(folder.path(), csv());
    let model = model("SELECT id, mrr, since, [id] AS ids FROM people", &["id"]);
    let described = reader.describe(&model, &Selection::default(), &Pins::default()).await.unwrap();
    let columns: Vec<_> =
        described.columns.iter().map(|it| (it.name.as_str(), it.data_type.as_str())).collect();
    assert_eq!(columns[..2], [("id", "Int64"), ("mrr", "Decimal128(38, 2)")]);
    assert_eq!(described.columns[0].source_type, None);
    let said: Vec<_> =
        described.fields.iter().map(|it| (it.field.as_str(), it.json.clone().unwrap())).collect();
    let expected = [
        ("id", "whole number"),
        ("mrr", "number with 2 decimals"),
        ("since", "text, RFC 3339 in UTC"),
        ("ids", "list of whole numbers"),
    ];
    assert_eq!(said, expected.map(|(field, said)| (field, said.to_owned())));
    assert_eq!(described.refusals(), Vec::<&Error>::new());
}

#[tokio::test]
async fn each_field_that_is_refused_is_named_in_the_words_of_a_run_and_once() {
    let folder = people("id,name\n1,secret\n");
    let reader = csv_reader(folder.path(), csv());
    let model = model(
        "SELECT id, name, arrow_cast(name, 'Dictionary(Int8, Utf8)') AS d FROM people",
        &["id"],
    );
    let mut selection = mapping(&[("id", "id"), ("n", "name"), ("x", "nme"), ("d", "d")], &["id"]);
    let form = Form { omits_null: false, way: Way::Hex };
    selection.fields[1].options = Options { form, compare: Compare::Exact };
    let described = reader.describe(&model, &selection, &Pins::default()).await.unwrap();
    let said: Vec<_> = described.fields.iter().map(|it| it.json.clone()).collect();
    assert_eq!((&said[0], &said[3]), (&Ok("whole number".to_owned()), &Ok("text".to_owned())));
    let refused: Vec<String> = described.refusals().iter().map(ToString::to_string).collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].contains("`binary: hex` is for bytes"), "{refused:?}");
    assert!(refused[1].contains("did you mean `name`"), "{refused:?}");
    let Err(at_start) = reader.open(&model, &selection, &Pins::default()).await else {
        panic!("it is refused");
    };
    assert!(refused.contains(&at_start.to_string()), "{at_start}");
    assert!(!refused.concat().contains("secret"), "{refused:?}");
}

#[tokio::test]
async fn what_is_wrong_beside_fields_is_told_too() {
    let folder = people("id,name\n1,a\n");
    let reader = csv_reader(folder.path(), csv());
    let model = model("SELECT id, name FROM people", &["id"]);
    let selection = mapping(&[("name", "name")], &[]);
    let described = reader.describe(&model, &selection, &Pins::default()).await.unwrap();
    let refused: Vec<String> = described.refusals().iter().map(ToString::to_string).collect();
    assert!(refused.len() == 1 && refused[0].contains("is not mapped as it is"), "{refused:?}");
}
