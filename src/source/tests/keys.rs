use super::*;

#[tokio::test]
async fn the_keys_alone_are_what_they_are_among_all_columns() {
    let folder = people("Id,zip,a.b,name\n1,00123,x,Ann\n2,,y,Bob\n");
    let reader = csv_reader(folder.path(), csv());
    let fields = [("plan", "zip"), ("mail", "lower(name)"), ("id", "\"Id\"")];
    let cases = [
        (&fields[..], &["mail"][..], &["Id"][..], ["mail", "id"].as_slice(), ["ann|1", "bob|2"]),
        (&fields[..2], &["mail"], &["Id"], &["mail"], ["ann|1", "bob|2"]),
        (&fields, &[], &["Id"], &["id"], ["1", "2"]),
        (&[], &[], &["a.b", "Id"], &["Id", "a.b"], ["1|x", "2|y"]),
        (&[], &["zip"], &["Id"], &["Id", "zip"], ["1|00123", "2|~"]),
    ];
    for (fields, key, primary_key, names, expected) in cases {
        let model = model("select * from people order by \"Id\"", primary_key);
        let selection = mapping(fields, key);
        let whole = reader.open(&model, &selection, &Pins::default()).await.unwrap();
        let selection = Selection { is_keys_only: true, ..selection };
        let mut keys = reader.open(&model, &selection, &Pins::default()).await.unwrap();
        let found: Vec<String> = keys.fields.iter().map(|field| field.name.clone()).collect();
        assert_eq!(found, names);
        assert_eq!(rows(&mut keys).await.unwrap(), expected);
        let named = |reading: &Reading, indexes: &[usize]| {
            let name = |index: &usize| reading.fields.get(*index).cloned();
            indexes.iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(named(&keys, &keys.key), named(&whole, &whole.key));
        assert_eq!(named(&keys, &keys.primary_key), named(&whole, &whole.primary_key));
        assert_eq!(keys.pins, whole.pins);
    }
}
