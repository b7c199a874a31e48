//! Lists of what the config names, a page at a time.

use axum::Json;
use axum::http::header;
use axum::response::AppendHeaders;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::extract::limit;
use super::problem::Problem;
use super::runs::Next;

/// How many are in one answer, where the question does not say.
const USUAL: u32 = 100;
const MOST: u32 = 500;

/// Which page is asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u32>,
    /// Behind the one of this name, for the next page.
    after: Option<String>,
}

/// What is on a page, and the header with the way to the next.
#[derive(Debug)]
pub struct Part<T> {
    pub items: Vec<T>,
    next: Next,
}

impl Asked {
    /// The page of `all`, a list at `path` of what has these names; `unknown`: the answer where none has the name given.
    ///
    /// # Errors
    /// The page cannot be that long, or begins behind what is not there.
    pub fn of<T>(
        self,
        path: &str,
        all: impl IntoIterator<Item = T>,
        name: fn(&T) -> &str,
        unknown: fn(&str) -> Problem,
    ) -> Result<Part<T>, Problem> {
        let most = limit(self.limit, USUAL, MOST)?;
        let mut all = all.into_iter();
        if let Some(after) = &self.after
            && !all.any(|one| name(&one) == after)
        {
            return Err(unknown(after));
        }
        let most_items = usize::try_from(most).unwrap_or(usize::MAX);
        let items: Vec<T> = all.by_ref().take(most_items).collect();
        let is_more = all.next().is_some();
        let next = items.last().filter(|_| is_more).map(|last| {
            let after = utf8_percent_encode(name(last), NON_ALPHANUMERIC);
            (header::LINK, format!("<{path}?limit={most}&after={after}>; rel=\"next\""))
        });
        Ok(Part { items, next })
    }
}

impl<T> Part<T> {
    /// The answer with these documents of what is on the page.
    pub fn answer<D>(self, documents: D) -> (AppendHeaders<Next>, Json<D>) {
        (AppendHeaders(self.next), Json(documents))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse;

    use super::*;

    fn page(
        all: &[&'static str],
        limit: u32,
        after: Option<&str>,
    ) -> Result<(String, String), u16> {
        let asked = Asked { limit: Some(limit), after: after.map(str::to_owned) };
        let unknown = |name: &str| Problem::new(StatusCode::NOT_FOUND, name);
        let page = asked.of("/all", all.iter().copied(), |name| name, unknown);
        let page = page.map_err(|problem| problem.into_response().status().as_u16())?;
        Ok((page.items.concat(), page.next.map(|(_, link)| link).unwrap_or_default()))
    }

    #[test]
    fn the_pages_of_a_list_hold_each_of_it_once_in_its_order() {
        let all = ["c", "a b", "d"];
        let next = |after: &str| format!("</all?limit=1&after={after}>; rel=\"next\"");
        assert_eq!(page(&all, 1, None), Ok(("c".to_owned(), next("c"))));
        assert_eq!(page(&all, 1, Some("c")), Ok(("a b".to_owned(), next("a%20b"))));
        assert_eq!(page(&all, 1, Some("a b")), Ok(("d".to_owned(), String::new())));
        assert_eq!(page(&all, 3, None), Ok(("ca bd".to_owned(), String::new())));
        assert_eq!(page(&all, 3, Some("d")), Ok((String::new(), String::new())));
        assert_eq!(page(&all, 3, Some("e")), Err(404));
        assert_eq!(page(&all, 0, None), Err(400));
        assert_eq!(page(&all, 501, None), Err(400));
    }
}
