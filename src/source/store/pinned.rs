//! The objects of one table as they were listed: whoever reads one gets the bytes of that very state of it, or an error.
//!
//! For DataFusion it is a store of its own, whose objects have names that tell their places in the listing; what it asks of
//! them but their bytes is answered from the listing. Invariants: every request is pinned to the tag that was listed, where
//! there is one, and the answer is held against it too; an answer that breaks off is taken up by a range that is held against
//! what was asked for, or is an error; nothing is written.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::bucket::Bucket;
use super::error::{Asked, changed};
use super::heard::{Heard, Purpose};
use super::listing::strong;
use crate::points::is_planted;
use crate::source::Error;

/// So often the rest of an answer is asked for, and anew once so many bytes have come: a long read may break off often.
const RESUMES: u32 = 4;
const PROGRESS: u64 = 256 << 10;
/// Before the rest is asked for; doubled with each break.
const WAIT: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(in crate::source) struct Pinned {
    table: String,
    bucket: Bucket,
    /// By place.
    objects: Vec<ObjectMeta>,
    /// One of them was changed so shortly before it was looked at that what it is now may have the same tag.
    is_fresh: bool,
    names: Vec<Path>,
}

/// Bytes of an object, one piece after the other.
pub(in crate::source) type Pieces = BoxStream<'static, Result<Bytes, Error>>;

impl Pinned {
    pub fn new(table: &str, bucket: Bucket, objects: Vec<ObjectMeta>, is_fresh: bool) -> Pinned {
        let name = |(place, meta): (usize, &ObjectMeta)| {
            let object = bucket.location.place(meta.location.as_ref());
            let tag = meta.e_tag.as_deref().unwrap_or_default();
            let print = xxhash_rust::xxh3::xxh3_128(format!("{object}\n{tag}").as_bytes());
            Path::from(format!("{place:08}-{print:032x}"))
        };
        let names = objects.iter().enumerate().map(name).collect();
        Pinned { table: table.to_owned(), bucket, objects, is_fresh, names }
    }

    /// The names that the objects have here, by place. They sort as places do, and no object of another table has one of them:
    /// a session keeps footers by names.
    pub fn names(&self) -> impl Iterator<Item = &Path> {
        self.names.iter()
    }

    /// The bytes of the object at this place, from the first to the last.
    ///
    /// # Errors
    /// The store does not give them, or the object is another one by now; the pieces can say so too.
    pub async fn whole(&self, place: usize) -> Result<Pieces, Error> {
        Ok(self.part(place, None).await?.1)
    }

    /// These bytes of the object at this place.
    ///
    /// # Errors
    /// As [`Pinned::whole`], or it gives others.
    pub async fn range(&self, place: usize, range: Range<u64>) -> Result<Pieces, Error> {
        if range.is_empty() {
            return Ok(futures::stream::empty().boxed());
        }
        let (given, pieces) = self.part(place, Some(GetRange::Bounded(range.clone()))).await?;
        match given == range {
            true => Ok(pieces),
            false => {
                let object = self.bucket.location.place(self.objects[place].location.as_ref());
                Err(changed(&self.table, &object))
            }
        }
    }

    async fn part(
        &self,
        place: usize,
        range: Option<GetRange>,
    ) -> Result<(Range<u64>, Pieces), Error> {
        let meta = &self.objects[place];
        if meta.size == 0 {
            return Ok((0..0, futures::stream::empty().boxed()));
        }
        let asked = Asking::of(self, meta);
        // Not every store knows ranges that are counted from the end.
        let range = range.map(|range| range.as_range(meta.size)).transpose();
        let range = range.map_err(|_| changed(&self.table, &asked.object))?;
        if range.as_ref().is_some_and(Range::is_empty) {
            return Ok((0..0, futures::stream::empty().boxed()));
        }
        let is_whole = range.is_none();
        let range = range.unwrap_or(0..meta.size);
        let answer = asked.ask((!is_whole).then(|| range.clone())).await?;
        let reading = Reading { asked, answer, left: range.clone(), breaks: 0, since: 0 };
        Ok((range, futures::stream::try_unfold(reading, Reading::next).boxed()))
    }

    fn place(&self, name: &Path) -> Result<usize> {
        let place = name.as_ref().split('-').next().and_then(|place| place.parse().ok());
        let place = place.filter(|place: &usize| self.names.get(*place) == Some(name));
        place.ok_or_else(|| object_store::Error::NotFound {
            path: name.to_string(),
            source: "it was not listed".into(),
        })
    }

    fn meta(&self, place: usize) -> ObjectMeta {
        ObjectMeta { location: self.names[place].clone(), ..self.objects[place].clone() }
    }
}

/// Lists give some tags without their quotes.
fn bare(tag: &str) -> &str {
    tag.trim_matches('"')
}

/// An object that is asked for, and what its answers are held against.
struct Asking {
    table: String,
    bucket: Bucket,
    meta: ObjectMeta,
    /// For people.
    object: String,
    tag: Option<String>,
    /// As [`Pinned::is_fresh`].
    is_fresh: bool,
}

/// An answer: its bytes, and what was heard of it.
struct Answer {
    pieces: BoxStream<'static, Result<Bytes>>,
    heard: Heard,
}

impl Asking {
    fn of(pinned: &Pinned, meta: &ObjectMeta) -> Asking {
        let tag = strong(meta).filter(|_| !is_planted("etag_ignored"));
        Asking {
            table: pinned.table.clone(),
            bucket: pinned.bucket.clone(),
            object: pinned.bucket.location.place(meta.location.as_ref()),
            tag: tag.map(|tag| bare(tag).to_owned()),
            is_fresh: pinned.is_fresh,
            meta: meta.clone(),
        }
    }

    /// Asks for these bytes, or for all.
    async fn ask(&self, range: Option<Range<u64>>) -> Result<Answer, Error> {
        let heard = Heard::of(Purpose::Bytes);
        let asked = GetOptions {
            if_match: self.tag.as_ref().map(|tag| format!("\"{tag}\"")),
            range: range.map(GetRange::Bounded),
            extensions: heard.extensions(),
            ..GetOptions::default()
        };
        let answer = self.bucket.objects.get_opts(&self.meta.location, asked).await;
        let answer = answer.map_err(|error| self.told(&error))?;
        let now = answer.meta.e_tag.as_deref();
        let is_other = self.tag.as_deref().zip(now).is_some_and(|(tag, now)| bare(now) != tag);
        let is_resized = answer.meta.size != self.meta.size && !is_planted("etag_ignored");
        if is_other || is_resized {
            return Err(changed(&self.table, &self.object));
        }
        Ok(Answer { pieces: answer.into_stream(), heard })
    }

    fn told(&self, error: &object_store::Error) -> Error {
        self.bucket.told(&self.table, Asked::Read(self.meta.location.as_ref()), error)
    }

    fn cut(&self, why: Option<&str>) -> Error {
        let (table, object) = (&self.table, &self.object);
        let why = why.map_or(String::new(), |why| format!(" ({why})"));
        Error::Missing(format!(
            "table `{table}`: the answer with object `{object}` broke off{why}; run again, and see whether something between \
             here and the store cuts answers"
        ))
    }
}

/// The bytes of an object as they come. Where an answer breaks off, the rest is asked for, which has to be of the same object.
struct Reading {
    asked: Asking,
    answer: Answer,
    /// What is still to come.
    left: Range<u64>,
    /// Answers that broke off, and the bytes since the last of them.
    breaks: u32,
    since: u64,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Reading)>, Error> {
        loop {
            let piece = self.answer.pieces.try_next().await;
            match piece.map_err(|error| self.asked.told(&error))? {
                Some(piece) => {
                    let bytes = piece.len() as u64;
                    if bytes > self.left.end - self.left.start {
                        return Err(self.asked.cut(Some("it has more than it said")));
                    }
                    self.left.start += bytes;
                    self.since += bytes;
                    return Ok(Some((piece, self)));
                }
                None if self.left.is_empty() => return Ok(None),
                None => self.resume().await?,
            }
        }
    }

    async fn resume(&mut self) -> Result<(), Error> {
        let why = self.answer.heard.broke();
        if self.since >= PROGRESS {
            self.breaks = 0;
        }
        // Without a tag nobody knows whether the rest is of the same object; one that ends without a break says that it is whole.
        let is_told_apart = self.asked.tag.is_some() && !self.asked.is_fresh;
        if !is_told_apart || why.is_none() || self.breaks == RESUMES {
            return Err(self.asked.cut(why.as_deref()));
        }
        tracing::debug!(object = self.asked.object, at = self.left.start, "an answer broke off");
        tokio::time::sleep(WAIT * 2_u32.saturating_pow(self.breaks)).await;
        (self.breaks, self.since) = (self.breaks + 1, 0);
        self.answer = match self.asked.ask(Some(self.left.clone())).await {
            // It is another range than was asked for.
            Err(Error::Parts(_)) => return Err(self.asked.cut(why.as_deref())),
            answer => answer?,
        };
        Ok(())
    }
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the objects of table `{}`", self.table)
    }
}

fn foreign(error: Error) -> object_store::Error {
    object_store::Error::Generic { store: "objects", source: Box::new(error) }
}

fn refused<T>() -> Result<T> {
    let source = "objects of a source are only read".into();
    Err(object_store::Error::NotSupported { source })
}

#[async_trait]
impl ObjectStore for Pinned {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let place = self.place(location)?;
        let (range, pieces) = match options.head {
            true => (0..0, futures::stream::empty().boxed()),
            false => self.part(place, options.range).await.map_err(foreign)?,
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(pieces.map_err(foreign).boxed()),
            meta: self.meta(place),
            range,
            attributes: object_store::Attributes::new(),
        })
    }

    fn list(&self, _prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let metas: Vec<_> = (0..self.objects.len()).map(|place| Ok(self.meta(place))).collect();
        futures::stream::iter(metas).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let objects = self.list(prefix).try_collect().await?;
        Ok(ListResult { common_prefixes: Vec::new(), objects })
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
    use futures::executor::block_on;
    use object_store::ObjectStoreExt as _;
    use object_store::memory::InMemory;

    use super::super::definition::{Location, S3, Scheme, Store};
    use super::*;

    const TEXT: &[u8] = b"id\n1\n";

    /// The one object of a bucket, as it was listed, and the store that has it now.
    fn pinned(holder: &str) -> (Pinned, std::sync::Arc<InMemory>) {
        let location =
            Location { scheme: Scheme::S3, holder: holder.into(), pattern: "a.csv".into() };
        let s3 = S3 { endpoint: Some("http://127.0.0.1:1".into()), ..S3::default() };
        let store = Store { s3, ..Store::default() };
        let mut bucket = Bucket::open("t", &location, &store, &Default::default()).unwrap();
        let store = std::sync::Arc::new(InMemory::new());
        bucket.objects = std::sync::Arc::clone(&store) as _;
        let key = Path::from("a.csv");
        block_on(store.put(&key, PutPayload::from_static(TEXT))).unwrap();
        // The tags of this store are not those of HTTP; tests/sources holds them against a real one.
        let meta = ObjectMeta { e_tag: None, ..block_on(store.head(&key)).unwrap() };
        (Pinned::new("t", bucket, vec![meta], false), store)
    }

    fn whole(pinned: &Pinned) -> Result<Vec<u8>, Error> {
        let pieces = block_on(pinned.whole(0))?;
        Ok(block_on(pieces.try_collect::<Vec<_>>())?.concat())
    }

    #[test]
    fn bytes_are_those_of_the_object_that_was_listed_or_there_are_none() {
        let (pinned, store) = pinned("lake");
        assert_eq!(whole(&pinned).unwrap(), TEXT);
        let part = |range| {
            let pieces = block_on(pinned.range(0, range))?;
            block_on(pieces.try_collect::<Vec<_>>()).map(|pieces| pieces.concat())
        };
        assert_eq!(part(1..4).unwrap(), &TEXT[1..4]);
        assert_eq!(part(2..2).unwrap(), b"");
        assert!(part(1..9).unwrap_err().to_string().contains("changed during the read"));
        block_on(store.put(&Path::from("a.csv"), PutPayload::from_static(b"id\n22\n"))).unwrap();
        let said = whole(&pinned).unwrap_err().to_string();
        assert!(said.contains("`s3://lake/a.csv` changed during the read"), "{said}");
        block_on(store.delete(&Path::from("a.csv"))).unwrap();
        let said = whole(&pinned).unwrap_err().to_string();
        assert!(said.contains("`s3://lake/a.csv` is gone"), "{said}");
    }

    #[test]
    fn an_answer_that_ends_early_or_has_more_is_an_error() {
        let (pinned, _) = pinned("lake");
        let ended = |expected| {
            let pieces = futures::stream::iter([Ok(Bytes::from_static(b"abc"))]).boxed();
            let reading = Reading {
                asked: Asking::of(&pinned, &pinned.objects[0]),
                answer: Answer { pieces, heard: Heard::of(Purpose::Bytes) },
                left: 0..expected,
                breaks: 0,
                since: 0,
            };
            let pieces = futures::stream::try_unfold(reading, Reading::next);
            block_on(pieces.try_collect::<Vec<_>>()).map(|pieces| pieces.concat())
        };
        assert_eq!(ended(3).unwrap(), b"abc");
        for expected in [2, 4] {
            let said = ended(expected).unwrap_err().to_string();
            assert!(said.contains("table `t`") && said.contains("broke off"), "{said}");
        }
    }

    #[test]
    fn an_answer_that_broke_off_is_taken_up_only_where_its_tag_tells_it_from_any_other() {
        let (mut pinned, _) = pinned("lake");
        pinned.objects[0].e_tag = Some("\"1\"".to_owned());
        let ended = |pinned: &Pinned| {
            let heard = Heard::of(Purpose::Bytes);
            heard.break_off("reset");
            let pieces = futures::stream::iter([Ok(Bytes::from_static(b"ab"))]).boxed();
            let reading = Reading {
                asked: Asking::of(pinned, &pinned.objects[0]),
                answer: Answer { pieces, heard },
                left: 0..5,
                breaks: 0,
                since: 0,
            };
            let pieces = futures::stream::try_unfold(reading, Reading::next);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let read = runtime.unwrap().block_on(pieces.try_collect::<Vec<_>>());
            read.unwrap_err().to_string()
        };
        let said = ended(&pinned);
        assert!(!said.contains("broke off (reset)"), "the rest is asked for: {said}");
        pinned.is_fresh = true;
        let said = ended(&pinned);
        assert!(said.contains("broke off (reset)"), "{said}");
    }

    #[test]
    fn parts_are_asked_for_by_their_places_as_not_every_store_counts_from_the_end() {
        let (pinned, _) = pinned("lake");
        let part = |range| {
            let (range, pieces) = block_on(pinned.part(0, Some(range)))?;
            Ok::<_, Error>((range, block_on(pieces.try_collect::<Vec<_>>())?.concat()))
        };
        assert_eq!(part(GetRange::Suffix(2)).unwrap(), (3..5, TEXT[3..].to_vec()));
        assert_eq!(part(GetRange::Offset(1)).unwrap(), (1..5, TEXT[1..].to_vec()));
        assert_eq!(part(GetRange::Bounded(1..9)).unwrap(), (1..5, TEXT[1..].to_vec()));
        assert!(part(GetRange::Offset(5)).unwrap_err().to_string().contains("changed"));
    }

    #[test]
    fn objects_are_looked_at_without_a_request_under_names_that_no_other_table_has() {
        let ((one, _), (other, _)) = (pinned("lake"), pinned("sea"));
        let name = one.names().next().unwrap().clone();
        assert!(other.names().all(|known| *known != name));
        let meta = block_on(one.head(&name)).unwrap();
        assert_eq!((meta.size, &meta.location), (TEXT.len() as u64, &name));
        assert!(block_on(other.head(&name)).is_err());
        assert!(block_on(one.put(&name, PutPayload::from_static(b"x"))).is_err());
    }
}
