//! Models whose rows are others at each run though nothing changed.

use super::{fill, joins, workspace};
use crate::servers::Server;
use crate::support::oracle::Oracle;

const PLAIN: &str = "SELECT id, name, note FROM people";

/// Each run sends all of it again, and says why; so does whoever only looks.
pub fn named(server: &dyn Server) {
    let database =
        server.database("CREATE TABLE people (id int PRIMARY KEY, name text, note text)");
    fill(server, &*database, 1, 3);
    for (expression, function) in server.words().flapping {
        let oracle = Oracle::start(&["id"]);
        let sql = format!("SELECT id, {expression} AS name, 'sleep(uuid())' AS note FROM people");
        let workspace = workspace(&oracle, &database.source(), &sql);
        let named =
            format!("model `people` uses `{function}`, which can give another answer at each run");
        for _ in 0..2 {
            let report = workspace.sync(&[]);
            let report = report.expect(0, "succeeded", &[("upserts", 3), ("deletes", 0)]);
            report.finished.expect_printed(&[&named]);
        }
        for looks in [&["validate", "--sources"][..], &["plan", "people"], &["doctor", "lake"]] {
            let seen = workspace.run(looks).expect_code(0).expect_printed(&[&named]);
            let told = seen.printed().matches("can give another answer").count();
            assert_eq!(told, 1, "{looks:?}: {}", seen.printed());
        }
        let seen = workspace.json(&["validate", "--sources"]);
        assert!(seen["models"][0]["warnings"][0].to_string().contains(&named), "{seen:#}");
        // Mended, it comes to rest.
        let config = workspace.config_now().replace(&sql, PLAIN);
        workspace.write("counterflow.yaml", &config);
        let report = workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 3)]);
        assert!(!report.finished.printed().contains("can give another answer"), "{report:#?}");
        let report = workspace.sync(&[]).expect(0, "succeeded", &[("requests", 0)]);
        assert!(!report.finished.printed().contains("can give another answer"), "{report:#?}");
        let seen = workspace.json(&["validate", "--sources"]);
        assert_eq!(seen["models"][0]["warnings"], serde_json::json!([]), "{seen:#}");
    }
    // What a joined table's own query calls counts as well.
    let (expression, function) = server.words().flapping[0];
    let oracle = Oracle::start(&["id"]);
    let tables =
        format!("{{ people: {{ sql: \"SELECT id, {expression} AS name FROM people\" }} }}");
    let sql = "SELECT p.id, p.name, b.city FROM lake.people p JOIN disk.places b ON p.id = b.id";
    let workspace = joins::workspace(&oracle, &*database, &tables, sql);
    joins::places(&workspace, 1, 3);
    let named = format!("model `people` uses `{function}`");
    workspace.run(&["validate", "--sources"]).expect_code(0).expect_printed(&[&named]);
    let of_table = format!("table `people` uses `{function}`");
    workspace.run(&["doctor", "lake"]).expect_code(0).expect_printed(&[&of_table]);
    for _ in 0..2 {
        let report = workspace.sync(&[]).expect(0, "succeeded", &[("upserts", 3)]);
        report.finished.expect_printed(&[&named]);
    }
}
