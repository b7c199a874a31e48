//! Which objects a table is made of, and the facts that tell whether one was replaced.
//!
//! What is listed is below the fixed beginning of the location; what fits it is found by the rules of local globs.
//! Invariant: a listing ends: after so many objects, pages or seconds it is an error, never a shorter list.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::{GetOptions, ListResult, ObjectMeta, ObjectStoreExt as _};

use super::bucket::{Bucket, Pages};
use super::definition::{Location, Scheme};
use super::error::{Asked, place};
use super::heard::{Heard, Purpose};
use crate::domain::file::FileFact;
use crate::points::{is_planted, wall_clock};
use crate::source::Error;

/// Pages of one listing, which have up to 1,000 objects each, and may have none.
const MOST_PAGES: usize = 10_000;
const OPTIONS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// What may be spent on a listing.
#[derive(Debug, Clone, Copy)]
pub(in crate::source) struct Listing {
    /// Objects that it may have, whether or not they fit.
    pub most: usize,
    pub patience: Duration,
}

/// What of a bucket is listed.
#[derive(Debug, Clone, Copy)]
struct Prefix<'p> {
    prefix: &'p str,
    /// Keys come behind this one, where the store heeds that.
    after: Option<&'p str>,
    /// Nothing that lies deeper.
    is_flat: bool,
}

/// An object of a table.
#[derive(Debug, Clone)]
pub(in crate::source) struct Object {
    pub meta: ObjectMeta,
    pub fact: FileFact,
    /// It was changed so shortly before that its tag may be that of another state too: servers on the web make tags of the
    /// second of a change and the size.
    pub is_fresh: bool,
}

/// An object that was changed within this time before it was looked at may have been changed again within the same second.
const AT_REST: TimeDelta = TimeDelta::seconds(2);

impl Bucket {
    /// The objects that fit the location, sorted by key.
    ///
    /// # Errors
    /// There is none, the store cannot be asked, or there is more below the location than may be listed.
    pub async fn list(&self, table: &str, limits: Listing) -> Result<Vec<Object>, Error> {
        let found = tokio::time::timeout(limits.patience, self.matches(table, limits.most)).await;
        let mut found = found.unwrap_or_else(|_| Err(self.not_in_time(table, limits.patience)))?;
        found.sort_by(|a, b| a.meta.location.as_ref().cmp(b.meta.location.as_ref()));
        // A page that begins behind a key may begin with it.
        found.dedup_by(|a, b| a.meta.location == b.meta.location);
        if found.is_empty() {
            return Err(self.nothing_matches(table));
        }
        Ok(found)
    }

    /// That a table would have no object.
    pub fn nothing_matches(&self, table: &str) -> Error {
        Error::Missing(format!(
            "table `{table}`: no object matches `{}`; correct the location or put the objects there",
            self.location
        ))
    }

    /// Whether there is an object with this key.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn has(&self, table: &str, key: &str) -> Result<bool, Error> {
        match self.objects.head(&self.key(table, key)?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.told(table, Asked::Look(key), &error)),
        }
    }

    /// The objects right in this folder whose keys come behind `after`, in whatever order.
    ///
    /// # Errors
    /// The store cannot be asked, or there are more than may be listed.
    pub async fn behind(
        &self,
        table: &str,
        folder: &str,
        after: &str,
        limits: Listing,
    ) -> Result<Vec<ObjectMeta>, Error> {
        let Some(pages) = &self.pages else { return Err(self.nothing_matches(table)) };
        let (prefix, mut found) = (format!("{folder}/"), Vec::new());
        let of = Prefix { prefix: &prefix, after: Some(after), is_flat: true };
        let listed = self.listed(table, pages, of, limits.most, |meta| found.push(meta));
        let listed = tokio::time::timeout(limits.patience, listed).await;
        listed.unwrap_or_else(|_| Err(self.not_in_time(table, limits.patience)))?;
        found.retain(|meta| meta.location.as_ref() > after);
        Ok(found)
    }

    fn not_in_time(&self, table: &str, patience: Duration) -> Error {
        Error::Missing(format!(
            "table `{table}`: the objects of `{}` were not listed within {patience:?}; name a narrower prefix, or see whether \
             the store is slow",
            self.location
        ))
    }

    async fn matches(&self, table: &str, most: usize) -> Result<Vec<Object>, Error> {
        let Location { pattern, scheme, .. } = &self.location;
        let prefix = fixed(pattern);
        let Some(pages) = self.pages.as_ref().filter(|_| prefix.len() < pattern.len()) else {
            return Ok(vec![self.look(table, pattern).await?]);
        };
        let fits = glob::Pattern::new(pattern).map_err(|error| {
            Error::Missing(format!(
                "table `{table}`: `{}` is not a valid glob: {}",
                self.location, error.msg
            ))
        })?;
        let mut found = Vec::new();
        // Where no folder has a wildcard, what lies deeper is not listed.
        let is_flat = !pattern[prefix.len()..].contains('/') && !pattern.contains("**");
        let of = Prefix { prefix, after: None, is_flat };
        let below = self.listed(table, pages, of, most, |meta| {
            let key = meta.location.as_ref();
            if key == pattern || fits.matches_with(key, OPTIONS) {
                found.push(Object { fact: self.fact(table, &meta), meta, is_fresh: false });
            }
        });
        below.await?;
        // The library leaves out the one whose whole name every other begins with.
        let is_left_out = *scheme == Scheme::Az && fits.matches_with(prefix, OPTIONS);
        if is_left_out && self.has(table, prefix).await? {
            found.push(self.look(table, prefix).await?);
        }
        // A location that is the key of an object is that object, even if it reads like a glob.
        match found.iter().position(|object| object.meta.location.as_ref() == pattern) {
            Some(place) => Ok(vec![found.swap_remove(place)]),
            None => Ok(found),
        }
    }

    /// The one object with this key.
    async fn look(&self, table: &str, key: &str) -> Result<Object, Error> {
        let path = self.key(table, key)?;
        let heard = Heard::of(Purpose::Look);
        let ask = async |head| {
            let asked =
                GetOptions { head, extensions: heard.extensions(), ..GetOptions::default() };
            let answer = self.objects.get_opts(&path, asked).await;
            answer.map_err(|error| self.told(table, Asked::Look(key), &error))
        };
        let mut meta = ask(true).await?.meta;
        let is_web = self.location.scheme == Scheme::Http;
        if is_web && meta.size == 0 {
            // Many a server says so to whoever asks for the head alone.
            meta = ask(false).await?.meta;
        }
        self.meter.saw(1);
        let now = heard.date().unwrap_or_else(|| wall_clock().into());
        let is_fresh = is_web && meta.last_modified > now - AT_REST;
        Ok(Object { fact: self.fact(table, &meta), meta, is_fresh })
    }

    async fn listed(
        &self,
        table: &str,
        Pages(pages): &Pages,
        Prefix { prefix, after, is_flat }: Prefix<'_>,
        most: usize,
        mut see: impl FnMut(ObjectMeta),
    ) -> Result<(), Error> {
        let (mut token, mut seen, mut turned) = (None, 0_usize, 0_usize);
        let (mut greatest, mut behind, mut is_in_order) = (String::new(), None, true);
        loop {
            let heard = Heard::of(Purpose::Page);
            let options = PaginatedListOptions {
                delimiter: is_flat.then_some("/".into()),
                page_token: token.take(),
                offset: behind.take().or_else(|| after.map(str::to_owned)),
                extensions: heard.extensions(),
                ..PaginatedListOptions::default()
            };
            let of = (!prefix.is_empty()).then_some(prefix);
            let page = pages.list_paginated(of, options).await;
            let page = page.map_err(|error| self.told(table, Asked::List(prefix), &error))?;
            turned += 1;
            let on_page = page.result.objects.len() + page.result.common_prefixes.len();
            seen += on_page;
            self.meter.saw(on_page);
            if seen > most || turned > MOST_PAGES {
                return Err(Error::Missing(format!(
                    "table `{table}`: below `{}` there are more objects than may be listed ({most}); name a narrower prefix, \
                     or raise `max_listed` in `store`",
                    self.location.place(prefix)
                )));
            }
            let last = last_of(&page.result);
            is_in_order &= goes_on_behind(&page.result, &greatest);
            page.result.objects.into_iter().for_each(&mut see);
            token = page.page_token.filter(|token| !token.is_empty());
            let is_cut = heard.is_cut() && !is_planted("cut_listing_believed");
            match last.filter(|last| *last > greatest) {
                _ if token.is_none() && !is_cut => return Ok(()),
                // Behind the greatest key there would not be all that is left.
                Some(_) if token.is_none() && !is_in_order => {
                    return Err(Error::Missing(format!(
                        "table `{table}`: the store does not list what is below `{}` in the order of its keys, and says of a \
                         page that is not the last no more than that; name a narrower prefix",
                        self.location.place(prefix)
                    )));
                }
                Some(last) => greatest = last,
                None if token.is_some() => {}
                None => {
                    return Err(Error::Missing(format!(
                        "table `{table}`: the store says that there is more below `{}` than it lists, and not how to go on; name \
                         a narrower prefix, or see whether something between here and the store changes its answers",
                        self.location.place(prefix)
                    )));
                }
            }
            behind = token.is_none().then(|| greatest.clone());
        }
    }

    fn key(&self, table: &str, key: &str) -> Result<Path, Error> {
        Path::parse(key).map_err(|_| {
            Error::Missing(format!(
                "table `{table}`: `{key}` is no key that can be read from {}, as a part of it is empty, `.` or `..`; \
                 correct the location",
                place(&self.location)
            ))
        })
    }

    fn fact(&self, table: &str, meta: &ObjectMeta) -> FileFact {
        FileFact {
            table: table.to_owned(),
            path: self.location.place(meta.location.as_ref()),
            size: meta.size,
            inode: 0,
            changed: nanoseconds(meta.last_modified),
            ends_within_line: None,
            etag: strong(meta).map(str::to_owned),
        }
    }
}

/// The tag of the very bytes; a weak one is that of others that mean the same.
pub(in crate::source) fn strong(meta: &ObjectMeta) -> Option<&str> {
    let is_strong = |etag: &&str| !etag.trim_matches('"').is_empty() && !etag.starts_with("W/");
    meta.e_tag.as_deref().filter(is_strong)
}

/// The last key that a page tells of: what lies in a folder is behind all that the folder has.
fn last_of(page: &ListResult) -> Option<String> {
    let objects = page.objects.iter().map(|object| object.location.to_string());
    let folders = page.common_prefixes.iter().map(|folder| format!("{folder}/\u{10ffff}"));
    objects.chain(folders).max()
}

/// Whether all that a page tells of comes in the order of its keys, and none of it before this one.
fn goes_on_behind(page: &ListResult, key: &str) -> bool {
    let objects: Vec<&str> = page.objects.iter().map(|it| it.location.as_ref()).collect();
    let folders: Vec<String> =
        page.common_prefixes.iter().map(|folder| format!("{folder}/\u{10ffff}")).collect();
    let is_behind = objects.first().is_none_or(|first| *first >= key)
        && folders.first().is_none_or(|first| first.as_str() >= key);
    is_behind && objects.is_sorted() && folders.is_sorted()
}

pub(in crate::source) fn nanoseconds(time: DateTime<Utc>) -> i128 {
    i128::from(time.timestamp()) * 1_000_000_000 + i128::from(time.timestamp_subsec_nanos())
}

/// What of a pattern stands before its first wildcard.
pub(super) fn fixed(pattern: &str) -> &str {
    &pattern[..pattern.find(['*', '?', '[']).unwrap_or(pattern.len())]
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use object_store::list::{PaginatedListResult, PaginatedListStore};
    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt as _, PutPayload, Result};

    use super::super::definition::{Az, S3, Store};
    use super::*;

    /// Pages of keys, which are given one after the other.
    #[derive(Default)]
    struct Book {
        pages: Vec<Vec<&'static str>>,
        is_endless: bool,
        /// A page says that it is not the last, and not which is the next.
        has_no_tokens: bool,
        /// Begins anew whatever it is asked to begin behind.
        is_deaf: bool,
        asked: Mutex<Vec<(Option<String>, bool)>>,
    }

    #[async_trait]
    impl PaginatedListStore for Book {
        async fn list_paginated(
            &self,
            prefix: Option<&str>,
            options: PaginatedListOptions,
        ) -> Result<PaginatedListResult> {
            let asked = (prefix.map(str::to_owned), options.delimiter.is_some());
            self.asked.lock().unwrap().push(asked);
            let behind = options.offset.filter(|_| !self.is_deaf).unwrap_or_default();
            let is_behind = |page: &Vec<&str>| page.iter().any(|key| **key > *behind);
            let first = self.pages.iter().position(is_behind).unwrap_or(0);
            let page: usize = options.page_token.map_or(first, |token| token.parse().unwrap());
            let meta = |key: &&str| ObjectMeta {
                location: Path::parse(key).unwrap(),
                last_modified: DateTime::from_timestamp(5, 6).unwrap(),
                size: 7,
                e_tag: Some(format!("\"{key}\"")),
                version: None,
            };
            let objects = self.pages[page.min(self.pages.len() - 1)].iter().map(meta).collect();
            let is_last = page + 1 >= self.pages.len() && !self.is_endless;
            if self.has_no_tokens && !is_last {
                options.extensions.get::<Heard>().expect("it goes with each request").cut();
            }
            Ok(PaginatedListResult {
                result: ListResult { common_prefixes: vec![], objects },
                page_token: (!is_last && !self.has_no_tokens).then(|| (page + 1).to_string()),
            })
        }
    }

    fn listed(pattern: &str, book: Book, most: usize) -> (Result<Vec<Object>, Error>, usize) {
        let location =
            Location { scheme: Scheme::S3, holder: "lake".into(), pattern: pattern.into() };
        let book = std::sync::Arc::new(book);
        let s3 = S3 { endpoint: Some("http://127.0.0.1:1".into()), ..S3::default() };
        let store = Store { s3, ..Store::default() };
        let mut bucket = Bucket::open("t", &location, &store, &Default::default()).unwrap();
        bucket.pages = Some(Pages(std::sync::Arc::clone(&book) as _));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let limits = Listing { most, patience: Duration::from_secs(20) };
        let found = runtime.block_on(bucket.list("t", limits));
        let asked = book.asked.lock().unwrap();
        let expected = (Some(fixed(pattern).to_owned()), !pattern.contains("*/"));
        assert!(asked.iter().all(|asked| *asked == expected), "{asked:?}");
        (found, asked.len())
    }

    fn book(pages: &[&[&'static str]]) -> Book {
        let pages = pages.iter().map(|page| page.to_vec()).collect();
        Book { pages, ..Book::default() }
    }

    #[test]
    fn keys_are_matched_by_the_rules_of_paths_over_all_pages() {
        let pages: &[&[_]] = &[&["d/b.csv", "d/.h.csv", "d/x/c.csv"], &[], &["d/a.csv", "d/a.txt"]];
        let (found, requests) = listed("d/*.csv", book(pages), 100);
        let found = found.unwrap();
        let paths: Vec<_> = found.iter().map(|object| object.fact.path.as_str()).collect();
        assert_eq!(paths, ["s3://lake/d/a.csv", "s3://lake/d/b.csv"]);
        assert_eq!(requests, 3);
        let fact = &found[0].fact;
        assert_eq!((fact.size, fact.inode, fact.changed), (7, 0, 5_000_000_006));
        assert_eq!(fact.etag.as_deref(), Some("\"d/a.csv\""));
        let (found, _) = listed("d/*/*.csv", book(pages), 100);
        assert_eq!(found.unwrap()[0].fact.path, "s3://lake/d/x/c.csv");
    }

    #[test]
    fn a_key_that_reads_like_a_glob_is_that_object_and_one_in_the_prefix_is_meant_as_it_is() {
        let (found, _) = listed("d[1]*.csv", book(&[&["d1x.csv", "d[1]*.csv"]]), 100);
        let found = found.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].fact.path, "s3://lake/d[1]*.csv");
        assert_eq!(fixed("a b+%{x}/*"), "a b+%{x}/");
    }

    #[test]
    fn a_listing_has_an_end() {
        let (found, requests) = listed("d/*", book(&[&["d/1", "d/2"], &["d/3"]]), 2);
        let said = found.unwrap_err().to_string();
        for words in ["table `t`", "`s3://lake/d/`", "(2)", "narrower prefix", "`max_listed`"] {
            assert!(said.contains(words), "no `{words}` in {said}");
        }
        assert_eq!(requests, 2);
        let endless = Book { is_endless: true, ..book(&[&[]]) };
        let (found, requests) = listed("d/*", endless, 2);
        assert!(found.unwrap_err().to_string().contains("narrower prefix"));
        assert_eq!(requests, MOST_PAGES + 1);
    }

    #[test]
    fn a_page_without_a_token_that_is_not_the_last_by_its_own_word_is_gone_on_with() {
        let pages: &[&[_]] = &[&["d/a.csv", "d/b.txt"], &["d/c.csv"], &["d/d.csv"]];
        let (found, requests) = listed("d/*.csv", Book { has_no_tokens: true, ..book(pages) }, 100);
        let found = found.unwrap();
        let paths: Vec<_> = found.iter().map(|object| object.fact.path.as_str()).collect();
        assert_eq!(paths, ["s3://lake/d/a.csv", "s3://lake/d/c.csv", "s3://lake/d/d.csv"]);
        assert_eq!(requests, 3);
        let deaf = Book { has_no_tokens: true, is_deaf: true, ..book(pages) };
        let (found, requests) = listed("d/*.csv", deaf, 100);
        let said = found.unwrap_err().to_string();
        assert!(said.contains("more below `s3://lake/d/` than it lists"), "{said}");
        assert_eq!(requests, 2);
        let unordered: [&[&[_]]; 2] = [
            &[&["d/c.csv", "d/a.csv"], &["d/b.csv", "d/d.csv"]],
            &[&["d/b.csv"], &["d/a.csv", "d/c.csv"], &["d/d.csv"]],
        ];
        for pages in unordered {
            let mixed = Book { has_no_tokens: true, ..book(pages) };
            let said = listed("d/*.csv", mixed, 100).0.unwrap_err().to_string();
            assert!(
                said.contains("does not list what is below `s3://lake/d/` in the order"),
                "{said}"
            );
            let told = listed("d/*.csv", book(pages), 100).0.unwrap();
            assert_eq!(told.len(), 4, "where the store says how to go on any order is well");
        }
        let page = ListResult { common_prefixes: vec![Path::from("d/x")], objects: vec![] };
        assert_eq!(last_of(&page).as_deref(), Some("d/x/\u{10ffff}"), "behind all that it has");
    }

    #[test]
    fn a_blob_of_azure_with_the_name_that_all_others_begin_with_is_found() {
        let location = Location { scheme: Scheme::Az, holder: "lake".into(), pattern: "d*".into() };
        let az = Az { account: "a".into(), ..Az::default() };
        let store = Store { az, ..Store::default() };
        let mut bucket = Bucket::open("t", &location, &store, &Default::default()).unwrap();
        bucket.pages = Some(Pages(std::sync::Arc::new(book(&[&["d1"]]))));
        let store = std::sync::Arc::new(InMemory::new());
        bucket.objects = std::sync::Arc::clone(&store) as _;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let limits = Listing { most: 9, patience: Duration::from_secs(20) };
        let paths = || {
            let found = runtime.block_on(bucket.list("t", limits)).unwrap();
            found.into_iter().map(|object| object.fact.path).collect::<Vec<_>>()
        };
        assert_eq!(paths(), ["az://lake/d1"]);
        runtime.block_on(store.put(&Path::from("d"), PutPayload::from_static(b"1"))).unwrap();
        assert_eq!(paths(), ["az://lake/d", "az://lake/d1"]);
    }

    #[test]
    fn nothing_that_matches_is_an_error() {
        let said = listed("d/*.csv", book(&[&["d/a.txt"]]), 9).0.unwrap_err().to_string();
        assert!(said.contains("no object matches `s3://lake/d/*.csv`"), "{said}");
    }

    #[test]
    fn a_weak_tag_is_none() {
        let meta = |etag: Option<&str>| ObjectMeta {
            location: Path::default(),
            last_modified: DateTime::UNIX_EPOCH,
            size: 0,
            e_tag: etag.map(str::to_owned),
            version: None,
        };
        assert_eq!(strong(&meta(Some("W/\"1\""))), None);
        assert_eq!(strong(&meta(None)), None);
        assert_eq!(strong(&meta(Some("\"\""))), None);
        assert_eq!(strong(&meta(Some("\"1\""))), Some("\"1\""));
    }
}
