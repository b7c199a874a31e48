//! The real data of nycflights13, read whole.

use super::*;

fn shared(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/nycflights13").join(name)
}

#[tokio::test]
async fn the_flights_of_2013_are_read_whole() {
    let na = Csv { nulls: vec![String::new(), "NA".to_owned()], ..csv() };
    let reader = reader(vec![
        table("flights", shared("flights.parquet"), Format::Parquet),
        table("planes", shared("planes.csv"), Format::Csv(na.clone())),
        table("weather", shared("weather.csv"), Format::Csv(na)),
    ]);
    let flights = model("select * from flights", &["time_hour", "carrier", "flight"]);
    let mut reading = reader.open(&flights, &Selection::default(), &Pins::default()).await.unwrap();
    assert_eq!(reading.key.len(), 3);
    assert_eq!(reading.fields.len(), 19);
    let flights = batches(&mut reading).await.unwrap();
    assert_eq!(flights.iter().map(RecordBatch::num_rows).sum::<usize>(), 336_776);
    reading.proof.verify(&[]).await.unwrap();

    let sql = "select count(*) as id, count(speed) as speeds, max(year) as year from planes";
    let mut planes =
        reader.open(&model(sql, &["id"]), &Selection::default(), &Pins::default()).await.unwrap();
    assert_eq!(planes.pins.get("planes", "speed"), Some("BIGINT"));
    assert_eq!(rows(&mut planes).await.unwrap(), ["3322|23|2013"]);

    let sql = "select origin, time_hour, temp, year from weather";
    let weather = model(sql, &["origin", "time_hour"]);
    let mut reading = reader.open(&weather, &Selection::default(), &Pins::default()).await.unwrap();
    assert_eq!(reading.pins.get("weather", "time_hour"), Some("TIMESTAMP WITH TIME ZONE"));
    assert_eq!(reading.pins.get("weather", "temp"), Some("DOUBLE"));
    let weather = batches(&mut reading).await.unwrap();
    assert_eq!(weather.iter().map(RecordBatch::num_rows).sum::<usize>(), 26_115);
    assert_eq!(weather[0].column(3).as_primitive::<Int64Type>().value(0), 2013);
}
