//! Delta tables of the data of design.md §8, written here: of one data file or of many, behind a checkpoint or not.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use delta_kernel::Snapshot;
use delta_kernel_default_engine::DefaultEngineBuilder;
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use object_store::local::LocalFileSystem;
use serde_json::{Value, json};

use crate::data::{self, Version};

/// A table whose data files all others replace at once.
pub struct DeltaTable {
    pub folder: PathBuf,
    rows: u64,
    files: u64,
}

impl DeltaTable {
    /// Writes version 0.
    pub fn create(folder: PathBuf, rows: u64, files: u64) -> io::Result<DeltaTable> {
        fs::create_dir_all(folder.join("_delta_log"))?;
        let table = DeltaTable { folder, rows, files };
        let columns = [
            ("customer_id", "long"),
            ("email", "string"),
            ("name", "string"),
            ("company", "string"),
            ("country", "string"),
            ("plan", "string"),
            ("is_active", "boolean"),
            ("signed_up", "date"),
            ("seats", "integer"),
            ("mrr", "decimal(12,2)"),
            ("score", "double"),
            ("updated_at", "timestamp"),
        ];
        let fields = columns.map(
            |(name, kind)| json!({"name": name, "type": kind, "nullable": true, "metadata": {}}),
        );
        let schema = json!({"type": "struct", "fields": fields}).to_string();
        let metadata = json!({
            "id": "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d",
            "format": {"provider": "parquet", "options": {}},
            "schemaString": schema,
            "partitionColumns": [],
            "configuration": {},
        });
        let mut actions = vec![
            json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}),
            json!({"metaData": metadata}),
        ];
        actions.extend(table.adds(Version::Before)?);
        table.commit(0, &actions)?;
        Ok(table)
    }

    /// Writes version 1: other files, which have the rows as they became.
    pub fn follow(&self) -> io::Result<()> {
        let mut actions = self.adds(Version::After)?;
        let first = fs::read_to_string(self.commit_file(0))?;
        for line in first.lines() {
            let action: Value = serde_json::from_str(line).map_err(io::Error::other)?;
            if let Some(path) = action["add"]["path"].as_str() {
                actions.push(
                    json!({"remove": {"path": path, "deletionTimestamp": 0, "dataChange": true}}),
                );
            }
        }
        self.commit(1, &actions)
    }

    /// Commits that change no row.
    pub fn go_on(&self, mut versions: Range<u64>) -> io::Result<()> {
        let note = json!({"commitInfo": {"operation": "SET TBLPROPERTIES"}});
        versions.try_for_each(|version| self.commit(version, std::slice::from_ref(&note)))
    }

    /// Has the newest version written as a checkpoint.
    pub fn checkpoint(&self) -> io::Result<()> {
        let executor = TokioMultiThreadExecutor::new_owned_runtime(Some(1), None);
        let executor = Arc::new(executor.map_err(io::Error::other)?);
        let store = Arc::new(LocalFileSystem::new());
        let engine = DefaultEngineBuilder::new(store).with_task_executor(executor).build();
        let url = url::Url::from_directory_path(&self.folder);
        let url = url.map_err(|()| io::Error::other("the folder has no address"))?;
        let snapshot = Snapshot::builder_for(url).build(&engine).map_err(io::Error::other)?;
        snapshot.checkpoint(&engine, None).map_err(io::Error::other)?;
        Ok(())
    }

    /// Writes the data files of a version, and says how a commit adds them.
    fn adds(&self, version: Version) -> io::Result<Vec<Value>> {
        let names = data::parts(&self.folder, self.rows, version, self.files)?;
        let add = |name: String| -> io::Result<Value> {
            let size = fs::metadata(self.folder.join(&name))?.len();
            Ok(json!({"add": {
                "path": name, "partitionValues": {}, "size": size, "modificationTime": 0, "dataChange": true
            }}))
        };
        names.into_iter().map(add).collect()
    }

    fn commit(&self, version: u64, actions: &[Value]) -> io::Result<()> {
        let mut text = String::new();
        for action in actions {
            writeln!(text, "{action}").map_err(io::Error::other)?;
        }
        fs::write(self.commit_file(version), text)
    }

    fn commit_file(&self, version: u64) -> PathBuf {
        self.folder.join(format!("_delta_log/{version:020}.json"))
    }

    /// All its files, by their names in the table.
    pub fn objects(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        for (folder, prefix) in
            [(self.folder.clone(), ""), (self.folder.join("_delta_log"), "_delta_log/")]
        {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if let (true, Some(name)) = (path.is_file(), path.file_name()) {
                    found.push((format!("{prefix}{}", name.to_string_lossy()), path.clone()));
                }
            }
        }
        Ok(found)
    }
}
