//! Models over several sources.

use super::*;

/// Two sources of files, each with a table `people`.
fn sources(folder: &Path) -> Vec<Arc<Definition>> {
    let at = |name: &str| folder.join(name);
    let of = |name: &str, tables: Vec<Table>| {
        let access = Access::Files(Files { tables, ..Files::default() });
        Arc::new(Definition { name: name.into(), access })
    };
    let crm = vec![table("people", at("crm.csv"), Format::Csv(csv()))];
    let other = table("unread", at("gone.csv"), Format::Csv(csv()));
    let shop = vec![table("people", at("shop.csv"), Format::Csv(csv())), other];
    vec![of("crm", crm), of("shop", shop)]
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("crm.csv"), "id,name\n1,Ann\n2,Ben\n").unwrap();
    std::fs::write(folder.path().join("shop.csv"), "id,spent\n2,5\n3,7\n").unwrap();
    folder
}

fn joined(sql: &str, sources: &[&str]) -> Model {
    let sources = sources.iter().map(|name| (*name).to_owned()).collect();
    Model { reads: Reads::Joined(sources), ..model(sql, &["id"]) }
}

const SQL: &str = "select c.id, c.name, s.spent from crm.people c join shop.people s using (id)";

#[tokio::test]
async fn tables_of_one_name_in_several_sources_are_joined_and_told_apart() {
    let folder = folder();
    let reader = Reader::new(sources(folder.path()), settings());
    let model = joined(SQL, &["crm", "shop"]);
    let (rows, pins) = read(&reader, &model, &Pins::default()).await.unwrap();
    assert_eq!(rows, ["2|Ben|5"]);
    assert_eq!(pins.get("crm.people", "name"), Some("VARCHAR"));
    assert_eq!(pins.get("shop.people", "spent"), Some("BIGINT"));
    let sql = "select crm.people.id from crm.people where crm.people.id > 1";
    let (rows, _) = read(&reader, &joined(sql, &["crm"]), &Pins::default()).await.unwrap();
    assert_eq!(rows, ["2"]);
}

#[tokio::test]
async fn two_tables_that_go_by_one_name_in_a_select_need_aliases() {
    let folder = folder();
    let reader = Reader::new(sources(folder.path()), settings());
    let check = |sql: &str| reader.check(&joined(sql, &["crm", "shop"]));
    for from in [
        "crm.people join shop.people on crm.people.id = shop.people.id",
        "crm.people, shop.people",
        "crm.people as p join (shop.people join crm.people on true) on true",
        "crm.people join shop.people as \"people\" on true",
        "crm.people join (select id from shop.people) as people on true",
    ] {
        let error = check(&format!("select people.id from {from}")).unwrap_err().to_string();
        assert!(error.contains("both go by `people` in one SELECT"), "{from}: {error}");
        assert!(error.contains("give each an alias with AS"), "{from}: {error}");
    }
    for sql in [
        "select c.id from crm.people as c join shop.people as s on c.id = s.id",
        "select people.id from crm.people join shop.people as s on people.id = s.id",
        "with people as (select id from crm.people) select id from people",
        "select id from crm.people where id in (select people.id from shop.people)",
        "select id from crm.people union all select id from shop.people",
    ] {
        check(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[tokio::test]
async fn facts_and_description_name_the_source_of_each_table_whatever_the_order() {
    let folder = folder();
    let reader = Reader::new(sources(folder.path()), settings());
    let listed = reader.list(&joined(SQL, &["crm", "shop"]), &[]).await.unwrap();
    let tables: Vec<&str> = listed.facts.files.iter().map(|file| file.table.as_str()).collect();
    assert_eq!(tables, ["crm.people", "shop.people"]);
    assert!(listed.facts.can_prove_unchanged);
    let turned = reader.list(&joined(SQL, &["shop", "crm"]), &[]).await.unwrap();
    assert_eq!(listed.source, turned.source);
    let described: serde_json::Value = serde_json::from_str(&listed.source).unwrap();
    assert_eq!((&described[0][0], &described[1][0]), (&"crm".into(), &"shop".into()));
    assert_eq!(described[1][1].as_array().map(Vec::len), Some(1), "what is not read says nothing");
    let one =
        reader.list(&joined("select id from crm.people", &["crm", "shop"]), &[]).await.unwrap();
    assert!(!one.source.contains("shop"), "{}", one.source);
    // A model of one source is described as it always was.
    let alone =
        Model { reads: Reads::One("crm".into()), ..model("select id from people", &["id"]) };
    let alone = reader.list(&alone, &[]).await.unwrap();
    assert_eq!(alone.facts.files[0].table, "people");
    assert_eq!(one.source, format!("[{}]", alone.source));
}

#[tokio::test]
async fn a_file_of_either_source_that_is_replaced_leaves_the_read_unproven() {
    for name in ["crm.csv", "shop.csv"] {
        let folder = folder();
        let reader = Reader::new(sources(folder.path()), settings());
        let model = joined(SQL, &["crm", "shop"]);
        let opened = reader.open(&model, &Selection::default(), &Pins::default()).await;
        let mut reading = opened.unwrap();
        rows(&mut reading).await.unwrap();
        let whole = std::fs::read(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join("new"), whole).unwrap();
        std::fs::rename(folder.path().join("new"), folder.path().join(name)).unwrap();
        assert!(reading.proof.verify(&[]).await.unwrap_err().reason.contains(name));
    }
}

#[tokio::test]
async fn a_source_that_there_is_none_of_is_named_with_those_there_are() {
    let folder = folder();
    let reader = Reader::new(sources(folder.path()), settings());
    let error = reader.check(&joined(SQL, &["crm", "shopp"])).unwrap_err().to_string();
    assert!(error.contains("unknown source `shopp`") && error.contains("`shop`"), "{error}");
    let error = reader.check(&joined(SQL, &["crm"])).unwrap_err().to_string();
    assert!(error.contains("`shop` is none of its sources"), "{error}");
}
