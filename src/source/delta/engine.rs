//! The kernel's own way of reading files, for those that are the table's.
//!
//! A log may name files anywhere: deletion vectors and parts of checkpoints by whole addresses, which would be asked for past
//! the table's store, its bounds and its stop. Invariants: nothing outside of the table's folder is asked for; nothing is
//! written.

use std::sync::Arc;

use bytes::Bytes;
use delta_kernel::schema::SchemaRef;
use delta_kernel::{
    Engine, EngineData, EvaluationHandler, FileDataReadResultIterator, FileMeta, FileSize,
    FileSlice, JsonHandler, KernelError, KernelResult, KernelResultIteratorStatic, ParquetFooter,
    ParquetHandler, PredicateRef, StorageHandler,
};
use url::Url;

use super::kernel::ROOT;

/// An engine that reads nothing outside of the table's folder.
pub(super) struct Within<T>(pub T);

impl<T: Engine> Engine for Within<T> {
    fn evaluation_handler(&self) -> Arc<dyn EvaluationHandler> {
        self.0.evaluation_handler()
    }

    fn storage_handler(&self) -> Arc<dyn StorageHandler> {
        Arc::new(Within(self.0.storage_handler()))
    }

    fn json_handler(&self) -> Arc<dyn JsonHandler> {
        self.0.json_handler()
    }

    fn parquet_handler(&self) -> Arc<dyn ParquetHandler> {
        Arc::new(Within(self.0.parquet_handler()))
    }
}

fn check<'u>(urls: impl IntoIterator<Item = &'u Url>) -> KernelResult<()> {
    match urls.into_iter().all(|url| url.as_str().starts_with(ROOT)) {
        true => Ok(()),
        false => Err(KernelError::unsupported("its log names files outside of its folder")),
    }
}

fn refused<T>() -> KernelResult<T> {
    Err(KernelError::unsupported("tables of a source are only read"))
}

impl StorageHandler for Within<Arc<dyn StorageHandler>> {
    fn list_from(&self, path: &Url) -> KernelResult<KernelResultIteratorStatic<FileMeta>> {
        check([path])?;
        self.0.list_from(path)
    }

    fn read_files(&self, files: Vec<FileSlice>) -> KernelResult<KernelResultIteratorStatic<Bytes>> {
        check(files.iter().map(|(url, _)| url))?;
        self.0.read_files(files)
    }

    fn copy_atomic(&self, _: &Url, _: &Url) -> KernelResult<()> {
        refused()
    }

    fn put(&self, _: &Url, _: Bytes, _: bool) -> KernelResult<()> {
        refused()
    }

    fn head(&self, path: &Url) -> KernelResult<FileMeta> {
        check([path])?;
        self.0.head(path)
    }

    fn delete(&self, _: &Url) -> KernelResult<()> {
        refused()
    }
}

impl ParquetHandler for Within<Arc<dyn ParquetHandler>> {
    fn read_parquet_files(
        &self,
        files: &[FileMeta],
        physical_schema: SchemaRef,
        predicate: Option<PredicateRef>,
    ) -> KernelResult<FileDataReadResultIterator> {
        check(files.iter().map(|file| &file.location))?;
        self.0.read_parquet_files(files, physical_schema, predicate)
    }

    fn write_parquet_file(
        &self,
        _: Url,
        _: KernelResultIteratorStatic<Box<dyn EngineData>>,
    ) -> KernelResult<FileSize> {
        refused()
    }

    fn read_parquet_footer(&self, file: &FileMeta) -> KernelResult<ParquetFooter> {
        check([&file.location])?;
        self.0.read_parquet_footer(file)
    }
}
