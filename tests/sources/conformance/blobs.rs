//! Objects of stores that speak another protocol than that of S3.

use super::delta::Delta;
use super::files::{File, Shelf};
use super::formats::FORMATS;
use super::objects::{Held, Objects};
use super::place::Place;
use super::{Cells, Kind};
use crate::blobs::Blobs;

/// What is read of them as a whole, in parts, and by a log.
const NAMES: [&str; 2] = ["csv", "parquet"];

/// All kinds that are in a store of this protocol.
pub fn kinds<S: Blobs + 'static>() -> Vec<Kind<S>> {
    let formats = FORMATS.iter().filter(|format| NAMES.contains(&format.name));
    let formats = formats.map(|format| Kind {
        name: format.name.to_owned(),
        new: Box::new(move |server: &S| -> Box<dyn Place + '_> {
            Box::new(File::new(in_a_bucket(server), format))
        }),
        cells: Cells::OF_THE_PLACE,
    });
    let delta = Kind {
        name: "delta".to_owned(),
        new: Box::new(|server: &S| -> Box<dyn Place + '_> {
            Box::new(Delta::new(in_a_bucket(server)))
        }),
        cells: Cells::OF_THE_PLACE,
    };
    formats.chain([delta]).collect()
}

fn in_a_bucket(server: &dyn Blobs) -> Box<dyn Shelf + '_> {
    Box::new(Objects::new(Bucket { server, name: server.bucket() }))
}

struct Bucket<'s> {
    server: &'s dyn Blobs,
    name: String,
}

impl Held for Bucket<'_> {
    fn port(&self) -> u16 {
        self.server.port()
    }

    fn put_later(&self, name: &str, bytes: Vec<u8>) -> Box<dyn FnOnce() + Send> {
        let (files, bucket, key) = (self.server.files(), self.name.clone(), format!("in/{name}"));
        Box::new(move || files.put(&bucket, &key, &bytes))
    }

    /// A file by a wildcard, so that objects are listed.
    fn location(&self, _port: u16, name: &str) -> String {
        self.server.url(&self.name, &format!("in/{}", name.replacen('.', "*.", 1)))
    }

    fn source(&self, port: u16, table: &str) -> String {
        self.server.source_of(port, table)
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        self.server.environment()
    }

    fn listed(&self) -> String {
        self.server.files().list(&self.name)
    }
}
