//! What is heard of one answer beside what object_store makes of it: it goes with the request as an extension, and is asked for
//! behind the answer.
//!
//! Not responsible for what follows from it (`listing`, `pinned`). Invariants: an answer with bytes of an object that breaks off
//! ends where it broke, so that nobody but `pinned` takes it up; a page of a listing is of a bounded size.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use http_body_util::{BodyExt as _, Limited, StreamBody};
use object_store::client::{HttpError, HttpErrorKind, HttpResponseBody};
use reqwest::header::DATE;

use super::client::{Lost, told};

/// Bytes of a page, which has up to 1,000 objects.
const LONGEST_PAGE: usize = 64 << 20;
/// By what the root of a page says whether there are more, and what it says of the last one.
const CUT: &[u8] = b"IsTruncated>";
const LAST: &str = "false";

/// Shared by whoever asks and the client.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    purpose: Purpose,
    notes: Arc<Mutex<Notes>>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// What the server says of an object.
    Look,
    /// A page of a listing.
    Page,
    /// Bytes of an object.
    Bytes,
}

#[derive(Debug, Default)]
struct Notes {
    /// By the server's clock, when it answered.
    date: Option<DateTime<Utc>>,
    broke: Option<String>,
    is_cut: bool,
}

impl Heard {
    pub fn of(purpose: Purpose) -> Heard {
        Heard { purpose, notes: Arc::default() }
    }

    /// To go with the request.
    pub fn extensions(&self) -> http::Extensions {
        let mut extensions = http::Extensions::new();
        extensions.insert(self.clone());
        extensions
    }

    /// When the server answered, by its own clock.
    pub fn date(&self) -> Option<DateTime<Utc>> {
        self.note(|notes| notes.date)
    }

    /// Why the answer broke off, if it did.
    pub fn broke(&self) -> Option<String> {
        self.note(|notes| notes.broke.clone())
    }

    /// Whether the page is not the last, by its own word.
    pub fn is_cut(&self) -> bool {
        self.note(|notes| notes.is_cut)
    }

    /// As a page says it.
    #[cfg(test)]
    pub fn cut(&self) {
        self.note(|notes| notes.is_cut = true);
    }

    /// As an answer does.
    #[cfg(test)]
    pub fn break_off(&self, why: &str) {
        self.note(|notes| notes.broke = Some(why.to_owned()));
    }

    fn note<T>(&self, note: impl FnOnce(&mut Notes) -> T) -> T {
        note(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Listens to an answer that is a success; the same body, for the library.
    ///
    /// # Errors
    /// A page cannot be read.
    pub async fn listen(
        self,
        head: &http::response::Parts,
        body: reqwest::Body,
    ) -> Result<HttpResponseBody, HttpError> {
        let date = head.headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        self.note(|notes| notes.date = date.map(DateTime::from));
        match self.purpose {
            Purpose::Look => Ok(HttpResponseBody::new(body.map_err(|error| told(&error)))),
            Purpose::Page => {
                let body = Limited::new(body, LONGEST_PAGE).collect().await;
                let page = body.map_err(|error| match error.downcast_ref::<reqwest::Error>() {
                    Some(error) => told(error),
                    None => {
                        let lost = Lost("a page of the listing has no end".to_owned());
                        HttpError::new(HttpErrorKind::Unknown, lost)
                    }
                })?;
                let page = page.to_bytes();
                let is_cut = is_cut(&page);
                self.note(|notes| notes.is_cut = is_cut);
                Ok(page.into())
            }
            Purpose::Bytes => {
                let pieces = futures::stream::unfold((body, self), |(mut body, heard)| async {
                    match body.frame().await? {
                        Ok(frame) => Some((Ok::<_, HttpError>(frame), (body, heard))),
                        Err(error) => {
                            let why = told(&error).to_string();
                            heard.note(|notes| notes.broke = Some(why));
                            None
                        }
                    }
                });
                Ok(HttpResponseBody::new(StreamBody::new(pieces)))
            }
        }
    }
}

/// Whether the page says of itself anything but that it is the last; what says nothing is.
fn is_cut(page: &[u8]) -> bool {
    let Some(at) = page.windows(CUT.len()).position(|part| part == CUT) else { return false };
    let said = &page[at + CUT.len()..];
    let end = said.iter().position(|byte| *byte == b'<').unwrap_or(said.len());
    !said[..end].trim_ascii().eq_ignore_ascii_case(LAST.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_the_last_where_it_says_so_or_nothing() {
        let page = |said: &str| format!("<ListBucketResult>{said}<Contents/></ListBucketResult>");
        for last in
            ["", "<IsTruncated>false</IsTruncated>", "<a:IsTruncated> False </a:IsTruncated>"]
        {
            assert!(!is_cut(page(last).as_bytes()), "{last}");
        }
        for more in ["<IsTruncated>true</IsTruncated>", "<a:IsTruncated>\n True\n</a:IsTruncated>"]
        {
            assert!(is_cut(page(more).as_bytes()), "{more}");
        }
        assert!(is_cut(b"<IsTruncated>tr"));
    }
}
