//! Models over several sources.

use super::problems::each_is_one_problem;
use super::*;

#[test]
fn a_model_names_the_sources_that_it_joins() {
    let text = GOOD
        .replacen("sources:\n", "sources:\n  my-app:\n    files: {plans: plans.parquet}\n", 1)
        .replacen("source: lake", "sources: [lake, my-app]", 1)
        .replacen(
            "FROM customers",
            "FROM lake.customers JOIN \"my-app\".plans ON plans.id = customers.plan",
            1,
        );
    let config = load_text(&text).unwrap_or_else(|problems| panic!("{problems}"));
    let sync = &config.syncs[0];
    let names: Vec<&str> = config.sources_of(sync).map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["lake", "my-app"]);
    for name in names {
        assert_eq!(config.readers_of(name).count(), 1);
    }
    assert_eq!(config.readers_of("sea").count(), 0);
    let moved = load_text(&text.replacen("plans.parquet", "p.parquet", 1)).unwrap();
    let changes = crate::config::compare::compare(&config, &moved);
    assert!(changes.syncs.contains_key("people"), "{changes:?}");
}

#[test]
fn what_is_wrong_with_the_sources_of_a_model_is_named() {
    let query = "source: lake\n    sql: SELECT id, email FROM customers";
    each_is_one_problem(&[
        (
            "source: lake",
            "sources: [lake, sea]",
            "models.active.sources[1]",
            "there is no source `sea`",
            "define it under `sources:`",
        ),
        (
            "source: lake",
            "sources: [lake, lake]",
            "models.active.sources[1]",
            "`lake` stands here twice",
            "keep one",
        ),
        (
            "source: lake",
            "sources: []",
            "models.active.sources",
            "the list is too short",
            "give at least 1",
        ),
        (
            "source: lake",
            "source: lake\n    sources: [lake]",
            "models.active.sources",
            "both `source` and `sources`",
            "keep one of the two",
        ),
        (
            "source: lake",
            "sources: [lake]",
            "models.active.sql",
            "reads `customers` without its source",
            "write `lake.customers`",
        ),
        (
            query,
            "sources: [lake]\n    sql: SELECT id, email FROM sea.customers",
            "models.active.sql",
            "`sea` is none of its sources",
            "add it to `sources` of the model",
        ),
        (
            query,
            "sources: [lake]\n    sql: SELECT id, email FROM lake.custmers",
            "models.active.sql",
            "unknown table `lake.custmers`",
            "did you mean `lake.customers`",
        ),
    ]);
}
