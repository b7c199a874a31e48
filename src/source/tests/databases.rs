//! Databases of which models join tables, as far as none is asked.

use super::super::queried::Queried;
use super::super::remote::{Remote, example};
use super::super::{mysql, postgres};
use super::*;

fn table(name: &str) -> Queried {
    Queried { name: name.into(), sql: format!("SELECT {name}") }
}

/// What is read of its tables is described, and of a model with its own SQL nothing but the database.
#[test]
fn a_database_is_described_with_the_queries_of_the_tables_that_are_read() {
    let remote = Remote { tables: vec![table("b"), table("a")], ..example() };
    let database = mysql::definition::Definition {
        remote,
        server_key: None,
        is_zero_date_null: false,
        is_tinyint1_boolean: false,
    };
    let source = Definition { name: "app".into(), access: Access::MySql(Box::new(database)) };
    let said = |tables: &[&str]| source.described(tables).to_string();
    let plain = r#"["app",{"mysql":["db.internal",5432,"shop","reader"]}"#;
    assert_eq!(said(&[]), format!("{plain}]"));
    assert_eq!(said(&["a"]), format!(r#"{plain},[["a","SELECT a"]]]"#));
    assert_eq!(said(&["b", "a"]), format!(r#"{plain},[["a","SELECT a"],["b","SELECT b"]]]"#));
}

#[tokio::test]
async fn a_model_that_joins_a_database_can_never_be_known_to_be_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p.csv"), "id\n1\n").unwrap();
    let remote = Remote { tables: vec![table("a"), table("b")], ..example() };
    let database = postgres::definition::Definition {
        remote,
        applies_row_security: false,
        role: None,
        is_infinity_null: false,
    };
    let app = Definition { name: "app".into(), access: Access::Postgres(Box::new(database)) };
    let files = vec![super::table("p", folder.path().join("p.csv"), Format::Csv(csv()))];
    let access = Access::Files(Files { tables: files, ..Files::default() });
    let disk = Definition { name: "disk".into(), access };
    let reader = Reader::new(vec![Arc::new(app), Arc::new(disk)], settings());
    let joined = |sql: &str| Model {
        reads: Reads::Joined(vec!["app".into(), "disk".into()]),
        ..model(sql, &["id"])
    };
    let with = joined("SELECT p.id FROM disk.p JOIN app.b ON p.id = b.id");
    assert_eq!(reader.check(&with).unwrap(), ["app.b", "disk.p"]);
    // No server is there to be asked.
    let listed = reader.list(&with, &[]).await.unwrap();
    assert!(!listed.facts.can_prove_unchanged && listed.facts.files.is_empty());
    assert!(listed.source.contains(r#"[["b","SELECT b"]]"#), "{}", listed.source);
    // It counts only where it is read.
    let without = reader.list(&joined("SELECT id FROM disk.p"), &[]).await.unwrap();
    assert!(without.facts.can_prove_unchanged && !without.source.contains("app"));
}
