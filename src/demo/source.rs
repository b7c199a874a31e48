//! What the source holds, read anew and by other means than the engine's: the demo compares with this.
//!
//! The four models of `config.example.yaml`, written down by hand: CSV fields in, the destination's records out. No part
//! of the engine is used (no DataFusion, no rendering), so that an error of the engine cannot hide itself. Airlines are
//! read from the CSV that has the same rows as the Parquet file of the config.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use csv_core::ReadRecordResult;
use serde_json::{Value, json};

use super::object::{Object, Record};

/// The demo's own files, by the names that its config uses.
pub const CUSTOMERS: &str = "shop/customers.csv";
pub const ORDERS: &str = "shop/orders.csv";
pub const AIRLINES: &str = "fixtures/airlines.csv";
pub const FLIGHTS: &str = "fixtures/flights.csv";

/// A CSV line by column name.
type Line = BTreeMap<String, String>;

/// The records that the destination should hold of this object, by key.
///
/// # Errors
/// A file cannot be read, or is not what the demo wrote.
pub fn records(folder: &Path, object: Object) -> io::Result<BTreeMap<String, Record>> {
    let records: Option<Vec<Record>> = match object {
        Object::Customers => lines(folder, CUSTOMERS)?
            .iter()
            .filter(|line| line.get("is_active").is_some_and(|word| word == "true"))
            .map(customer)
            .collect(),
        Object::Orders => return orders(&std::fs::read(folder.join(ORDERS))?),
        Object::Airlines => lines(folder, AIRLINES)?.iter().map(airline).collect(),
        Object::Flights => {
            let airlines = lines(folder, AIRLINES)?;
            let names: BTreeMap<&str, &str> = airlines
                .iter()
                .filter_map(|line| Some((word(line, "carrier")?, word(line, "name")?)))
                .collect();
            lines(folder, FLIGHTS)?.iter().map(|line| flight(line, &names)).collect()
        }
    };
    keyed(object, records)
}

/// The orders of a CSV file, as `records` has them.
///
/// # Errors
/// It is no file of orders.
pub fn orders(csv: &[u8]) -> io::Result<BTreeMap<String, Record>> {
    keyed(Object::Orders, named(csv)?.iter().map(order).collect())
}

fn keyed(object: Object, records: Option<Vec<Record>>) -> io::Result<BTreeMap<String, Record>> {
    let keyed = records.and_then(|records| {
        records.into_iter().map(|record| Some((object.key(&record)?, record))).collect()
    });
    keyed.ok_or_else(|| io::Error::other(format!("the files of `{}` lack a column", object.name())))
}

fn customer(line: &Line) -> Option<Record> {
    let text = |column| Some(word(line, column).filter(|word| !is_null(word)));
    fields(json!({
        "id": text("customer_id")?,
        "name": text("name")?,
        "email": text("email")?.map(str::to_lowercase),
        "company": text("company")?,
        "country": text("country")?,
        "plan": text("plan")?,
        "mrr": decimal(line, "mrr")?,
        "signed_up": text("signed_up")?,
    }))
}

fn order(line: &Line) -> Option<Record> {
    fields(json!({
        "order_id": word(line, "order_id")?,
        "line": integer(line, "line")?,
        "customer_id": word(line, "customer_id")?,
        "sku": word(line, "sku")?,
        "quantity": integer(line, "quantity")?,
        "unit_price": decimal(line, "unit_price")?,
        "discount": decimal(line, "discount")?,
        "status": word(line, "status")?,
        "ordered_at": word(line, "ordered_at")?,
    }))
}

fn airline(line: &Line) -> Option<Record> {
    fields(json!({ "carrier": word(line, "carrier")?, "name": word(line, "name")? }))
}

fn flight(line: &Line, airlines: &BTreeMap<&str, &str>) -> Option<Record> {
    let carrier = word(line, "carrier")?;
    fields(json!({
        "time_hour": word(line, "time_hour")?,
        "carrier": carrier,
        "flight": integer(line, "flight")?,
        "airline": airlines.get(carrier),
        "origin": word(line, "origin")?,
        "dest": word(line, "dest")?,
        "dep_time": integer(line, "dep_time")?,
        "dep_delay": integer(line, "dep_delay")?,
        "air_time": integer(line, "air_time")?,
    }))
}

fn fields(json: Value) -> Option<Record> {
    match json {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

fn word<'l>(line: &'l Line, column: &str) -> Option<&'l str> {
    line.get(column).map(String::as_str)
}

fn is_null(word: &str) -> bool {
    word.is_empty() || word == "NA"
}

/// NULL, or a number without a fraction; `None` for anything else.
fn integer(line: &Line, column: &str) -> Option<Value> {
    let word = word(line, column)?;
    if is_null(word) { Some(Value::Null) } else { word.parse::<i64>().ok().map(Value::from) }
}

/// NULL, or a number; with so few digits the nearest float tells all of them apart.
fn decimal(line: &Line, column: &str) -> Option<Value> {
    let word = word(line, column)?;
    if is_null(word) { Some(Value::Null) } else { word.parse::<f64>().ok().map(Value::from) }
}

fn lines(folder: &Path, name: &str) -> io::Result<Vec<Line>> {
    named(&std::fs::read(folder.join(name))?)
}

fn named(csv: &[u8]) -> io::Result<Vec<Line>> {
    let mut rows = parse(csv)?.into_iter();
    let names = rows.next().unwrap_or_default();
    Ok(rows.map(|row| names.iter().cloned().zip(row).collect()).collect())
}

/// CSV as rows of fields.
fn parse(text: &[u8]) -> io::Result<Vec<Vec<String>>> {
    let mut text = text.to_vec();
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    let mut reader = csv_core::Reader::new();
    // A field never has more bytes than the text, nor a row more fields.
    let (mut bytes, mut ends) = (vec![0; text.len() + 1], vec![0; text.len() + 1]);
    let (mut rows, mut rest) = (Vec::new(), text.as_slice());
    loop {
        let (result, read, written, fields) = reader.read_record(rest, &mut bytes, &mut ends);
        rest = &rest[read..];
        match result {
            ReadRecordResult::Record => {
                let mut row = Vec::with_capacity(fields);
                let mut begin = 0;
                for end in &ends[..fields] {
                    let field =
                        std::str::from_utf8(&bytes[begin..*end]).map_err(io::Error::other)?;
                    row.push(field.to_owned());
                    begin = *end;
                }
                rows.push(row);
            }
            ReadRecordResult::End => return Ok(rows),
            ReadRecordResult::InputEmpty if written == 0 && fields == 0 => {}
            _ => return Err(io::Error::other("a line of the demo's files is cut")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(csv: &str) -> Line {
        let rows = parse(csv.as_bytes()).unwrap();
        rows[0].iter().cloned().zip(rows[1].iter().cloned()).collect()
    }

    #[test]
    fn quotes_and_a_missing_last_line_break_are_read() {
        assert_eq!(
            parse(b"a,b\n\"x, \"\"y\"\"\",\n1,2").unwrap(),
            [["a", "b"], ["x, \"y\"", ""], ["1", "2"]]
        );
        assert!(parse(b"").unwrap().is_empty());
    }

    #[test]
    fn a_customer_is_as_the_config_maps_it() {
        let line = line(
            "customer_id,name,email,company,country,plan,mrr,is_active,signed_up\n\
             00007,Åsa,Asa@Example.com,,PL,pro,589.10,true,2021-03-02\n",
        );
        let expected = json!({
            "id": "00007", "name": "Åsa", "email": "asa@example.com", "company": null, "country": "PL",
            "plan": "pro", "mrr": 589.1, "signed_up": "2021-03-02",
        });
        assert_eq!(Value::Object(customer(&line).unwrap()), expected);
    }

    #[test]
    fn a_line_without_a_column_or_with_a_word_for_a_number_is_no_record() {
        assert_eq!(airline(&line("carrier\n9E\n")), None);
        assert_eq!(integer(&line("flight\nten\n"), "flight"), None);
        assert_eq!(integer(&line("flight\nNA\n"), "flight"), Some(Value::Null));
    }
}
