//! Delta's kernel at work: on a thread of the query's, over the table's store, until whoever waits for it is gone.
//!
//! The kernel blocks where it is called, and waits for the store there as well. All that it waits for ends once the wait for it
//! is dropped, as a stop does: the store then says so, and the kernel gives up. Invariants: nothing is written; what is not there
//! is told as such, since the kernel asks for what need not be there.

use std::fmt;
use std::num::NonZero;
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
    /// What the log has behind `offset`.
    async fn listed(&self, prefix: &Path, offset: &Path) -> Result<Vec<ObjectMeta>> {
        let found = self.found(prefix, offset).await?;
        self.place.listed.note(found.iter());
        Ok(found)
    }

    async fn found(&self, prefix: &Path, offset: &Path) -> Result<Vec<ObjectMeta>> {
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
        let Some(bucket) = &self.place.bucket else { return Ok(found) };
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

    /// The pieces, which end with an error where they are fewer bytes than was said, or more.
    fn whole(
        &self,
        path: Path,
        expected: u64,
        pieces: BoxStream<'static, Result<Bytes>>,
    ) -> BoxStream<'static, Result<Bytes>> {
        let state = (pieces, Some(expected), self.place.clone(), path);
        let pieces = futures::stream::unfold(state, |(mut pieces, left, place, path)| async move {
            let left = left?;
            let cut = || Err(foreign(place.cut(&path)));
            let (piece, left) = match pieces.next().await {
                Some(Ok(piece)) => match left.checked_sub(piece.len() as u64) {
                    Some(left) => (Ok(piece), Some(left)),
                    None => (cut(), None),
                },
                Some(Err(error)) => (Err(error), None),
                None if left == 0 => return None,
                None => (cut(), None),
            };
            Some((piece, (pieces, left, place, path)))
        });
        pieces.fuse().boxed()
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
        let is_head = options.head;
        let asked = self.place.store.get_opts(location, options);
        let answer = self.race(location, asked).await?;
        self.place.listed.check(&self.place, location, &answer.meta).map_err(foreign)?;
        let expected = answer.range.end - answer.range.start;
        let payload = match answer.payload {
            GetResultPayload::Stream(pieces) if !is_head => {
                let pieces = self.kept(location.clone(), pieces);
                GetResultPayload::Stream(self.whole(location.clone(), expected, pieces))
            }
            GetResultPayload::Stream(pieces) => GetResultPayload::Stream(pieces),
            file @ GetResultPayload::File(..) => file,
        };
        Ok(GetResult { payload, ..answer })
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;
    use object_store::ObjectStoreExt as _;
    use object_store::local::LocalFileSystem;
    use object_store::memory::InMemory;

    use super::super::listed::Listed;
    use super::*;

    fn kept(store: Arc<dyn ObjectStore>) -> (Kept, watch::Sender<()>) {
        let (waits, stop) = watch::channel(());
        let (table, root) = ("t".to_owned(), "lake/t".to_owned());
        let (listed, spent) = (Listed::default(), Arc::default());
        let place = Place { table, root, store, bucket: None, listed, spent, most: 9 };
        (Kept { place, stop }, waits)
    }

    #[tokio::test]
    async fn bytes_of_a_log_are_of_the_files_that_were_listed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(LOG)).unwrap();
        let path = |version: u32| Path::from(LOG).join(format!("{version:020}.json"));
        let write = |name: &str, text: &str| {
            // Another file, whenever it is written.
            std::fs::write(folder.path().join("new"), text).unwrap();
            std::fs::rename(folder.path().join("new"), folder.path().join(name)).unwrap();
        };
        for version in 0..3 {
            write(path(version).as_ref(), "old");
        }
        write("_delta_log/_last_checkpoint", "old");
        let (kept, _waits) =
            kept(Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap()));
        let list = || kept.list(Some(&Path::from(LOG))).try_collect::<Vec<_>>();
        assert_eq!(list().await.unwrap().len(), 4);
        write(path(1).as_ref(), "new");
        write("_delta_log/_last_checkpoint", "new");
        write(path(3).as_ref(), "new");
        list().await.unwrap();
        let read = async |path: &Path| kept.get(path).await?.bytes().await;
        assert_eq!(read(&path(0)).await.unwrap(), "old");
        assert_eq!(read(&path(3)).await.unwrap(), "new", "it came later");
        assert_eq!(read(&Path::from("_delta_log/_last_checkpoint")).await.unwrap(), "new");
        let said = super::super::super::store::own(&read(&path(1)).await.unwrap_err()).cloned();
        let said = said.unwrap().to_string();
        assert!(said.contains("01.json` of the log") && said.contains("changed"), "{said}");
        let ranges = kept.get_ranges(&path(1), &[0..1, 1..2]).await;
        assert!(ranges.is_err(), "nor in parts");
    }

    #[tokio::test]
    async fn an_answer_that_ends_early_or_has_more_is_an_error() {
        let (kept, _waits) = kept(Arc::new(InMemory::new()));
        let read = async |expected| {
            let pieces = futures::stream::iter([Ok(Bytes::from_static(b"abc"))]).boxed();
            let pieces = kept.whole(Path::from("a"), expected, pieces);
            pieces.try_collect::<Vec<_>>().await.map(|pieces| pieces.concat())
        };
        assert_eq!(read(3).await.unwrap(), b"abc");
        for expected in [2, 4] {
            let error = read(expected).await.unwrap_err();
            let said = super::super::super::store::own(&error).unwrap().to_string();
            assert!(said.contains("`lake/t/a` broke off"), "{said}");
        }
    }

    #[tokio::test]
    async fn a_log_that_is_too_long_or_is_not_listed_in_time_is_refused_by_name_on_any_disk() {
        const PATIENCE: Duration = Duration::from_millis(50);
        const SOON: Duration = Duration::from_secs(10);
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(LOG)).unwrap();
        for version in 0..10 {
            std::fs::write(folder.path().join(format!("{LOG}/{version:020}.json")), "{}").unwrap();
        }
        let (long, _waits) =
            kept(Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap()));
        let said = long.place.log_behind("", SOON).await.unwrap_err().to_string();
        for words in ["table `t`", "files in its log", "(9)", "`max_listed`"] {
            assert!(said.contains(words), "no `{words}` in {said}");
        }
        let behind = long.place.log_behind(&format!("{:020}.json", 0), SOON).await;
        assert_eq!(behind.unwrap().len(), 9);
        let (silent, _waits) = kept(Arc::new(Silent { store: InMemory::new(), lists: false }));
        let within = silent.place.log_behind("", PATIENCE);
        let listed = tokio::time::timeout(SOON, within).await;
        let said = listed.expect("it is given up").unwrap_err().to_string();
        for words in ["table `t`", "`lake/t` was not listed within 50ms", "have it cleaned up"] {
            assert!(said.contains(words), "no `{words}` in {said}");
        }
    }

    /// Says nothing to whoever asks for bytes, and to whoever asks for a list unless it `lists`.
    #[derive(Debug)]
    struct Silent {
        store: InMemory,
        lists: bool,
    }

    impl fmt::Display for Silent {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("silent")
        }
    }

    #[async_trait]
    impl ObjectStore for Silent {
        async fn get_opts(&self, _: &Path, _: GetOptions) -> Result<GetResult> {
            std::future::pending().await
        }

        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            match self.lists {
                true => self.store.list(prefix),
                false => futures::stream::pending().boxed(),
            }
        }

        async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
            std::future::pending().await
        }

        async fn put_opts(
            &self,
            path: &Path,
            bytes: PutPayload,
            _: PutOptions,
        ) -> Result<PutResult> {
            self.store.put(path, bytes).await
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
            paths: BoxStream<'static, Result<Path>>,
        ) -> BoxStream<'static, Result<Path>> {
            self.store.delete_stream(paths)
        }

        async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
            refused()
        }
    }

    #[test]
    fn a_kernel_that_waits_for_a_silent_log_gives_up_once_nobody_waits_for_it() {
        const PATIENCE: Duration = Duration::from_secs(10);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let is_ended = runtime.block_on(async {
            let silent = Silent { store: InMemory::new(), lists: true };
            let commit = Path::from(LOG).join(format!("{:020}.json", 0));
            silent.put(&commit, PutPayload::from_static(b"{}")).await.unwrap();
            let (kept, _) = kept(Arc::new(silent));
            let (begins, begun) = tokio::sync::oneshot::channel();
            let (ends, ended) = tokio::sync::oneshot::channel();
            let mut work = Box::pin(on_thread(&kept.place, move |engine| {
                begins.send(()).expect("it is waited for");
                let built = delta_kernel::Snapshot::builder_for(ROOT).build(engine);
                // Nobody waits for it any more where it comes too late.
                let _ = ends.send(built.is_err());
                Ok(())
            }));
            assert!(work.as_mut().now_or_never().is_none());
            begun.await.unwrap();
            assert!(work.as_mut().now_or_never().is_none(), "the log says nothing");
            drop(work);
            matches!(tokio::time::timeout(PATIENCE, ended).await, Ok(Ok(true)))
        });
        // A thread that still waits is left behind.
        runtime.shutdown_background();
        assert!(is_ended, "it still waits for the log");
    }
}
