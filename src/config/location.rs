//! Locations of objects: which store they are in, and which of its objects.
//!
//! Not responsible for how the store is reached (`store`).

use url::Url;

use crate::source::store::definition::{Location, Scheme};

/// Beginnings of locations.
const SCHEMES: [(&str, Scheme); 5] = [
    ("s3", Scheme::S3),
    ("gs", Scheme::Gs),
    ("az", Scheme::Az),
    ("https", Scheme::Http),
    ("http", Scheme::Http),
];
/// What others call them.
const OTHERS: [(&str, &str); 7] = [
    ("s3a", "s3"),
    ("s3n", "s3"),
    ("gcs", "gs"),
    ("abfs", "az"),
    ("abfss", "az"),
    ("azure", "az"),
    ("wasbs", "az"),
];
const KNOWN: &str =
    "name local files, or begin with `s3://`, `gs://`, `az://`, `https://` or `http://`";

type Wrong = (String, &'static str);

/// Whether the location is that of objects.
pub fn is_of_objects(text: &str) -> bool {
    text.contains("://")
}

/// Where the objects of a location are.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn of(text: &str) -> Result<Location, Wrong> {
    let wrong = |what: String, remedy: &'static str| Err((what, remedy));
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let lower = scheme.to_ascii_lowercase();
    let Some((_, known)) = SCHEMES.iter().find(|(name, _)| *name == lower) else {
        return match OTHERS.iter().find(|(name, _)| *name == lower) {
            Some((other, ours)) => {
                Err((format!("`{other}://` is written `{ours}://` here"), KNOWN))
            }
            None => wrong("not a store that is known here".to_owned(), KNOWN),
        };
    };
    if *known == Scheme::Http {
        return address(text);
    }
    let (holder, pattern) = rest.split_once('/').unwrap_or((rest, ""));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if holder.is_empty() {
        return wrong(
            "no bucket".to_owned(),
            "write it behind `://`, such as `s3://BUCKET/data/*.parquet`",
        );
    }
    if !holder.bytes().all(is_name) {
        let remedy =
            "write the bucket's own name; wildcards and all else stand behind the next `/`";
        return wrong("not the name of a bucket".to_owned(), remedy);
    }
    if pattern.is_empty() || pattern.ends_with('/') {
        return wrong("no object is named".to_owned(), "name the objects, such as `*.parquet`");
    }
    if pattern.split('/').any(|part| matches!(part, "" | "." | "..")) {
        let what = "a part of the key is empty, `.` or `..`".to_owned();
        return wrong(what, "write the key as the store has it");
    }
    Ok(Location { scheme: *known, holder: holder.to_owned(), pattern: pattern.to_owned() })
}

/// One object on the web.
fn address(text: &str) -> Result<Location, Wrong> {
    let wrong = |what: &str, remedy: &'static str| Err((what.to_owned(), remedy));
    let Ok(url) = Url::parse(text) else {
        return wrong("not a URL", "write `https://`, a host and the path of a file");
    };
    if !url.username().is_empty() || url.password().is_some() {
        let remedy = "send them as a header, under `store: {http: {headers: ..}}`";
        return wrong("credentials stand in the URL", remedy);
    }
    if url.query().is_some() || url.fragment().is_some() {
        let remedy = "remove what follows `?` or `#`: signed addresses run out; use the store they are of, such as `s3://`";
        return wrong("the address has more than a path", remedy);
    }
    let path = percent_encoding::percent_decode_str(url.path().trim_start_matches('/'));
    let Ok(path) = path.decode_utf8() else {
        return wrong("the address has what is not UTF-8", "encode it as `%..` in UTF-8");
    };
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return wrong("no file is named", "name one, such as `https://HOST/data/people.csv`");
    }
    if path.contains(['*', '[']) {
        return wrong("nobody lists what is on the web", "name one file, without `*` and `[`");
    }
    let mut again = url.clone();
    if let Ok(mut segments) = again.path_segments_mut() {
        segments.clear().extend(path.split('/'));
    }
    if again.path() != url.path() {
        let what = format!("its path would be asked for as `{}`", again.path());
        return wrong(&what, "write it so, or name a file whose address needs no other encoding");
    }
    let origin = url.origin().ascii_serialization();
    Ok(Location { scheme: Scheme::Http, holder: origin, pattern: path.into_owned() })
}
