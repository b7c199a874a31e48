//! What a model is told of its own answers.

use super::*;

#[tokio::test]
async fn functions_that_may_answer_otherwise_are_named() {
    let folder = people("id\n1\n");
    let reader = csv_reader(folder.path(), csv());
    for (sql, expected) in [
        ("select id from people", &[][..]),
        ("select id, upper('a') as a from people", &[]),
        ("select id, random() as r, random() as s from people", &["random"]),
        ("select id, now() as n from people where random() > 2", &["now", "random"]),
        ("select id from people where id < (select random() * 100)", &["random"]),
        ("select id from people order by id limit 1", &[]),
        ("select id as a, id from people order by id + 1 limit 1 offset 1", &[]),
        ("select id from people limit 1", &["LIMIT without ORDER BY"]),
        ("select * from (select id from people offset 1)", &["LIMIT without ORDER BY"]),
        ("select distinct on (id) id from people", &["DISTINCT ON without ORDER BY"]),
        ("select distinct on (id) id from people order by id", &[]),
        ("select id, row_number() over () as n from people", &["row_number without ORDER BY"]),
        ("select id, row_number() over (order by id) as n from people", &[]),
        (
            "select id, first_value(id) as f from people group by id",
            &["first_value without ORDER BY"],
        ),
        ("select id, first_value(id order by id) as f from people group by id", &[]),
        ("select id, sum(id) over () as s, max(id) over () as m from people", &[]),
        ("select id from people, generate_series(1, abs(-3))", &[]),
        (
            "select id from people, range(date '2026-01-01', current_date(), interval '1 day')",
            &["current_date"],
        ),
        (
            "select id from people, lateral generate_series(date '2026-01-01', Now()::date, \
             interval '1 day')",
            &["now"],
        ),
    ] {
        let model = model(sql, &["id"]);
        let reading = reader.open(&model, &Selection::default(), &Pins::default()).await.unwrap();
        assert_eq!(reading.volatile, expected, "{sql}");
    }
    let model = model("select id from people", &["id"]);
    let selection = mapping(&[("id", "id"), ("r", "1 + random()")], &["id"]);
    let reading = reader.open(&model, &selection, &Pins::default()).await.unwrap();
    assert_eq!(reading.volatile, ["random"]);
}
