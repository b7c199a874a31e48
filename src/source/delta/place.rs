//! Where a Delta table is: a folder of this machine, or one of a bucket.
//!
//! Whoever reads it sees its folder as the root of a store of its own, so that no name outside of it can be asked for. Invariant:
//! no message has an address with a signature, or an answer of a store, in it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectMeta, ObjectStore};
use tokio::time::timeout;

use super::super::definition::Table;
use super::super::error::Error;
use super::super::spent::{Counting, Spent};
use super::super::store::definition::Store;
use super::super::store::{Asked, Bucket, Listing};
use super::listed::Listed;
use crate::shutdown::blocking;

/// The folder of the log.
pub(in crate::source) const LOG: &str = "_delta_log";

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub table: String,
    /// For people.
    pub root: String,
    /// Has the files of the table, by their names below its folder.
    pub store: Arc<dyn ObjectStore>,
    pub bucket: Option<Bucket>,
    /// What its log was when it was listed.
    pub listed: Listed,
    pub spent: Arc<Spent>,
    /// What the log, and what it names, may have at most.
    pub most: usize,
}

impl Place {
    /// Blocks on the file system; asks no store.
    ///
    /// # Errors
    /// There is no such folder, or the credentials are of no use.
    pub fn open(table: &Table, store: &Store, spent: &Arc<Spent>) -> Result<Place, Error> {
        let (name, most) = (table.name.clone(), store.max_listed);
        let (listed, spent) = (Listed::default(), Arc::clone(spent));
        let Some(location) = &table.objects else {
            let folder = std::path::absolute(table.path()).unwrap_or_else(|_| table.path());
            let root = folder.display().to_string();
            return match blocking(|| local(&folder)) {
                Ok(store) => {
                    Ok(Place { table: name, root, store, bucket: None, listed, spent, most })
                }
                Err(why) => Err(Error::Missing(format!(
                    "table `{name}`: there is no Delta table at `{root}`: {why}; correct the location"
                ))),
            };
        };
        let bucket = blocking(|| Bucket::open(&name, location, store, &spent))?;
        let prefix = Path::parse(&location.pattern).map_err(|_| {
            Error::Missing(format!(
                "table `{name}`: `{location}` is no folder that can be read, as a part of it is empty, `.` or `..`; correct \
                 the location"
            ))
        })?;
        let store = Arc::new(PrefixStore::new(Arc::clone(&bucket.objects), prefix));
        let root = location.to_string();
        Ok(Place { table: name, root, store, bucket: Some(bucket), listed, spent, most })
    }

    /// The place of what has this name below the folder, for people.
    pub fn of(&self, path: &Path) -> String {
        format!("{}/{path}", self.root)
    }

    /// What an error of the store means, for whoever reads what the log names or the log itself.
    pub fn told(&self, path: &Path, error: &object_store::Error) -> Error {
        match &self.bucket {
            Some(bucket) => {
                let key = format!("{}/{path}", bucket.location.pattern);
                bucket.told(&self.table, Asked::Read(&key), error)
            }
            None => {
                let (table, file) = (&self.table, self.of(path));
                match kind(error) {
                    Some(kind) => Error::Missing(format!(
                        "table `{table}`: file `{file}` cannot be read: {kind}; make it readable, then run again"
                    )),
                    None => Error::Damaged(format!(
                        "table `{table}`: file `{file}` is not of the size that the log of the Delta table says; restore it"
                    )),
                }
            }
        }
    }

    /// What is in the log whose name comes behind `after`, in whatever order.
    ///
    /// # Errors
    /// There is no log, or it cannot be listed, in time and within the bound.
    pub async fn log_behind(
        &self,
        after: &str,
        patience: Duration,
    ) -> Result<Vec<ObjectMeta>, Error> {
        let log = Path::from(LOG);
        if let Some(bucket) = &self.bucket {
            let folder = format!("{}/{LOG}", bucket.location.pattern);
            let after = format!("{folder}/{after}");
            let limits = Listing { most: self.most, patience };
            return bucket.behind(&self.table, &folder, &after, limits).await;
        }
        let listed = self.store.list_with_offset(Some(&log), &log.clone().join(after));
        let listed = listed.take(self.most.saturating_add(1)).try_collect::<Vec<_>>();
        let listed = timeout(patience, listed).await.map_err(|_| {
            let Place { table, root, .. } = self;
            Error::Missing(format!(
                "table `{table}`: the log of the Delta table `{root}` was not listed within {patience:?}; have it cleaned up, or \
                 see why the disk is slow"
            ))
        })?;
        let found = listed.map_err(|error| self.told(&log, &error))?;
        match found.len() > self.most {
            true => Err(self.too_many("files in its log")),
            false => Ok(found),
        }
    }

    /// That what came of the file is not all of it.
    pub fn cut(&self, path: &Path) -> Error {
        Error::Missing(format!(
            "table `{}`: the answer with `{}` broke off; run again, and see whether something between here and the store cuts \
             answers",
            self.table,
            self.of(path)
        ))
    }

    /// That the log has, or names, more of them than it may.
    pub fn too_many(&self, what: &str) -> Error {
        let Place { table, most, .. } = self;
        Error::Missing(format!(
            "table `{table}`: there are more {what} than may be listed ({most}); have the table optimized and its log cleaned \
             up, or raise `max_listed` in `store`"
        ))
    }

    /// To be kept while it is found out what there is.
    pub fn counting(&self) -> Counting<'_> {
        self.spent.counting(self.bucket.as_ref().map(|bucket| &*bucket.meter))
    }
}

/// A store whose root is this folder.
fn local(folder: &PathBuf) -> Result<Arc<dyn ObjectStore>, String> {
    let kind = |error: std::io::Error| error.kind().to_string();
    if !std::fs::metadata(folder.join(LOG)).map_err(kind)?.is_dir() {
        return Err(format!("its `{LOG}` is no folder"));
    }
    let store = LocalFileSystem::new_with_prefix(folder);
    let store = store.map_err(|_| "its path cannot be used".to_owned())?;
    Ok(Arc::new(store))
}

/// What the file system says.
fn kind(error: &object_store::Error) -> Option<std::io::ErrorKind> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<std::io::Error>() {
            return Some(error.kind());
        }
        cause = inner.source();
    }
    None
}
