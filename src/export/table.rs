//! Runs and receipts as Parquet tables.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray, UInt64Array};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::delivery::spool::Receipt;
use crate::domain::id::{Instant, RunId};
use crate::domain::tally::Tally;
use crate::store::RunRow;

/// Rows that are in memory at once.
const ROWS: usize = 8_192;

fn text<T: AsRef<str>>(values: impl Iterator<Item = Option<T>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn times(values: impl Iterator<Item = Option<Instant>>) -> ArrayRef {
    let array: TimestampMillisecondArray = values.map(|at| at.map(|at| at.0)).collect();
    Arc::new(array.with_timezone("UTC"))
}

fn numbers(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(values))
}

fn writer(path: &Path, batch: &RecordBatch) -> Result<ArrowWriter<File>, ParquetError> {
    let level = ZstdLevel::try_new(3)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_created_by(concat!("counterflow ", env!("CARGO_PKG_VERSION")).to_owned())
        .build();
    ArrowWriter::try_new(File::create(path)?, batch.schema(), Some(properties))
}

/// Writes these runs to a file, and syncs it.
///
/// # Errors
/// The file cannot be written.
pub fn runs(path: &Path, rows: &[RunRow]) -> Result<(), ParquetError> {
    let all = rows.iter();
    let count = |of: fn(&Tally) -> u64| numbers(rows.iter().map(|row| of(&row.tally)));
    let kind = |row: &RunRow| row.choice.map(|choice| choice.kind.to_string());
    let reason = |row: &RunRow| row.choice.map(|choice| choice.reason.to_string());
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("run", numbers(all.clone().map(|row| row.id.0)), false),
        ("sync", text(all.clone().map(|row| Some(&row.sync))), false),
        ("trigger", text(all.clone().map(|row| Some(row.trigger.to_string()))), false),
        ("kind", text(all.clone().map(kind)), true),
        ("reason", text(all.clone().map(reason)), true),
        ("outcome", text(all.clone().map(|row| Some(row.phase.to_string()))), false),
        ("started_at", times(all.clone().map(|row| Some(row.started_at))), false),
        ("finished_at", times(all.clone().map(|row| row.finished_at)), true),
        ("rows_read", count(|tally| tally.rows_read), false),
        ("unchanged", count(|tally| tally.unchanged), false),
        ("upserts", count(|tally| tally.upserts), false),
        ("deletes", count(|tally| tally.deletes), false),
        ("invalid", count(|tally| tally.invalid), false),
        ("waived", count(|tally| tally.waived), false),
        ("delivered", count(|tally| tally.delivered), false),
        ("deleted", count(|tally| tally.deleted), false),
        ("rejected", count(|tally| tally.rejected), false),
        ("unknown", count(|tally| tally.unknown), false),
        ("held", count(|tally| tally.held), false),
        ("deferred", count(|tally| tally.deferred), false),
        ("unsent", count(|tally| tally.unsent), false),
        ("requests", count(|tally| tally.requests), false),
        ("retries", count(|tally| tally.retries), false),
        ("error", text(all.clone().map(|row| row.error.as_ref())), true),
        ("stopped_by", text(all.clone().map(|row| row.stop.as_ref().map(|stop| &stop.who))), true),
        ("revision", text(all.clone().map(|row| row.revision.as_ref())), true),
    ])?;
    let mut writer = writer(path, &batch)?;
    writer.write(&batch)?;
    writer.into_inner()?.sync_all()?;
    Ok(())
}

/// Writes the receipts of these runs to a file, from their spools, and syncs it; how many there are. No file is left where
/// there are none. A line that a crash has torn is left out.
///
/// # Errors
/// The file cannot be written, or a spool not read.
pub fn receipts(path: &Path, spools: &[(&RunRow, File)]) -> Result<u64, ParquetError> {
    let mut table = batch(&[])?;
    let mut writer = writer(path, &table)?;
    let (mut count, mut some) = (0, Vec::with_capacity(ROWS));
    for (run, spool) in spools {
        for line in BufReader::new(spool).split(b'\n') {
            let Ok(receipt) = serde_json::from_slice::<Receipt>(&line?) else { continue };
            some.push((run.id, run.sync.as_str(), receipt));
            count += 1;
            if some.len() == ROWS {
                table = batch(&some)?;
                writer.write(&table)?;
                some.clear();
            }
        }
    }
    writer.write(&batch(&some)?)?;
    writer.into_inner()?.sync_all()?;
    if count == 0 {
        std::fs::remove_file(path)?;
    }
    Ok(count)
}

fn batch(rows: &[(RunId, &str, Receipt)]) -> Result<RecordBatch, ArrowError> {
    let all = rows.iter();
    RecordBatch::try_from_iter_with_nullable([
        ("run", numbers(all.clone().map(|(run, ..)| run.0)), false),
        ("sync", text(all.clone().map(|(_, sync, _)| Some(sync))), false),
        ("at", times(all.clone().map(|(.., receipt)| Some(receipt.at))), false),
        ("batch", numbers(all.clone().map(|(.., receipt)| receipt.batch.0)), false),
        ("operation", text(all.clone().map(|(.., receipt)| Some(receipt.operation.word()))), false),
        ("key", text(all.clone().map(|(.., receipt)| Some(&receipt.key))), false),
        ("verdict", text(all.clone().map(|(.., receipt)| Some(&receipt.verdict))), false),
        ("code", text(all.clone().map(|(.., receipt)| receipt.code.as_ref())), true),
        ("message", text(all.clone().map(|(.., receipt)| receipt.message.as_ref())), true),
    ])
}
