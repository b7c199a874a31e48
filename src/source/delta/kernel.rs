//! Delta's kernel at work: on a thread of the query's, over the table's store, until whoever waits for it is gone.
//!
//! The kernel blocks where it is called, and waits for the store there as well. All that it waits for ends once the wait for it
//! is dropped, as a stop does: the store then says so, and the kernel gives up. Invariants: nothing is written; what is not there
//! is told as such, since the kernel asks for what need not be there.

use std::fmt;
use std::num::NonZero;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use delta_kernel::{KernelError, KernelResult};
use delta_kernel_default_engine::executor::TaskExecutor;
use delta_kernel_default_engine::{DefaultEngine, DefaultEngineBuilder};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::runtime::{EnterGuard, Handle};
use tokio::sync::watch;

use super::super::error::Error;
use super::super::watched::PATIENCE;
use super::engine::Within;
use super::place::{LOG, Place};
use crate::shutdown::Tasks;

/// The table's folder for the kernel; it has no other name there.
pub(super) const ROOT: &str = "table://root/";
/// Commits that are fetched at once.
const AT_ONCE: NonZero<usize> = NonZero::new(8).expect("it is not zero");
/// Actions of a log in a batch.
const ACTIONS: NonZero<usize> = NonZero::new(4096).expect("it is not zero");

pub(super) type Engine = Within<DefaultEngine<Here>>;

/// What the kernel works with. Has a thread of the query do `work`; dropping the future ends that.
///
/// # Errors
/// As those of `work`.
pub(super) async fn on_thread<T: Send + 'static>(
    place: &Place,
    work: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    // Dropped with this future.
    let (_waits, stop) = watch::channel(());
    let store = Kept { place: place.clone(), stop };
    let executor = Arc::new(Here(Handle::current()));
    let mut tasks = Tasks::default();
    tasks.spawn_blocking(move || {
        let builder = DefaultEngineBuilder::new(Arc::new(store)).with_task_executor(executor);
        let builder = builder.with_buffer_size(AT_ONCE).with_batch_size(ACTIONS);
        work(&Within(builder.build()))
    });
    tasks.next().await.expect("the one task was just spawned")
}

/// Waits on the thread that asks, which is none that others need.
#[derive(Debug)]
pub(super) struct Here(Handle);

impl TaskExecutor for Here {
    type Guard<'a> = EnterGuard<'a>;

    fn block_on<T>(&self, task: T) -> T::Output
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        self.0.block_on(task)
    }

    /// Reads spawn nothing.
    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.block_on(task);
    }

    fn spawn_blocking<T, R>(&self, task: T) -> BoxFuture<'_, KernelResult<R>>
    where
        T: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let mut tasks = Tasks::default();
        tasks.spawn_blocking_on(task, &self.0);
        Box::pin(async move { tasks.next().await.ok_or(KernelError::Cancelled) })
    }

    fn enter(&self) -> EnterGuard<'_> {
        self.0.enter()
    }
}

/// The table's store, until the one who waits is gone.
#[derive(Debug, Clone)]
struct Kept {
    place: Place,
    stop: watch::Receiver<()>,
}

impl Kept {
    /// What the log has behind `offset`; in a bucket by the listing that notices what is cut off of it.
    async fn listed(&self, prefix: &Path, offset: &Path) -> Result<Vec<ObjectMeta>> {
        let Some(bucket) = &self.place.bucket else {
            let listed = self.place.store.list_with_offset(Some(prefix), offset);
            let (most, listed) = (self.place.most, self.kept(prefix.clone(), listed));
            let found: Vec<_> = listed.take(most + 1).try_collect().await?;
            return match found.len() > most {
                true => Err(foreign(too_many(&self.place.table, "files in its log", most))),
                false => Ok(found),
            };
        };
        if prefix.as_ref() != LOG {
            return refused();
        }
        let after = offset.filename().filter(|_| offset.as_ref().starts_with(LOG));
        let after = after.filter(|after| *after != LOG).unwrap_or_default();
        let mut stop = self.stop.clone();
        let found = tokio::select! {
            biased;
            _ = stop.changed() => return Err(stopped()),
            found = self.place.log_behind(after, PATIENCE) => found.map_err(foreign)?,
        };
        let folder = format!("{}/", bucket.location.pattern);
        let below = |meta: ObjectMeta| {
            let name = meta.location.as_ref().strip_prefix(&folder)?.to_owned();
            Some(ObjectMeta { location: Path::parse(name).ok()?, ..meta })
        };
        Ok(found.into_iter().filter_map(below).collect())
    }

    async fn race<T>(&self, path: &Path, asked: impl Future<Output = Result<T>>) -> Result<T> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            _ = stop.changed() => Err(stopped()),
            answer = asked => answer.map_err(|error| self.told(path, error)),
        }
    }

    fn told(&self, path: &Path, error: object_store::Error) -> object_store::Error {
        match error {
            object_store::Error::NotFound { .. } => {
                let source = "it is not there".into();
                object_store::Error::NotFound { path: path.to_string(), source }
            }
            error => foreign(self.place.told(path, &error)),
        }
    }

    fn kept<T: Send + 'static>(
        &self,
        path: Path,
        items: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        let state = (items, self.clone(), path);
        let items = futures::stream::unfold(state, |(mut items, kept, path)| async move {
            let next = kept.race(&path, async { items.next().await.transpose() }).await;
            next.transpose().map(|item| (item, (items, kept, path)))
        });
        // Readers of whole objects ask once more behind the end.
        items.fuse().boxed()
    }
}

fn stopped() -> object_store::Error {
    foreign(Error::Query("the read was ended".to_owned()))
}

fn foreign(error: Error) -> object_store::Error {
    object_store::Error::Generic { store: "table", source: Box::new(error) }
}

fn refused<T>() -> Result<T> {
    let source = "tables of a source are only read".into();
    Err(object_store::Error::NotSupported { source })
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the files of table `{}`", self.place.table)
    }
}

#[async_trait]
impl ObjectStore for Kept {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let asked = self.place.store.get_opts(location, options);
        let answer = self.race(location, asked).await?;
        let payload = match answer.payload {
            GetResultPayload::Stream(pieces) => {
                GetResultPayload::Stream(self.kept(location.clone(), pieces))
            }
            file @ GetResultPayload::File(..) => file,
        };
        Ok(GetResult { payload, ..answer })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.race(location, self.place.store.get_ranges(location, ranges)).await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_with_offset(prefix, &Path::default())
    }

    /// Sorted, whatever order the store has.
    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (kept, prefix) = (self.clone(), prefix.cloned().unwrap_or_default());
        let offset = offset.clone();
        let sorted = async move {
            let mut found = kept.listed(&prefix, &offset).await?;
            found.sort_by(|a, b| a.location.cmp(&b.location));
            Ok::<_, object_store::Error>(futures::stream::iter(found.into_iter().map(Ok)))
        };
        futures::stream::once(sorted).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        self.race(&path, self.place.store.list_with_delimiter(prefix)).await
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        refused()
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        refused()
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        futures::stream::once(async { refused() }).boxed()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        refused()
    }
}

pub(super) fn too_many(table: &str, what: &str, most: usize) -> Error {
    Error::Missing(format!(
        "table `{table}`: there are more {what} than may be listed ({most}); have the table optimized and its log cleaned \
         up, or raise `max_listed` in `store`"
    ))
}
