use std::sync::Arc;

use super::super::store::Pinned;
use super::ends::Ends;
use crate::domain::file::FileFact;

/// Where a text is: a file of this machine, or an object that was listed.
#[derive(Debug, Clone)]
pub(in super::super) struct Place {
    /// For people; of a file, where it is opened.
    pub path: String,
    pub(super) object: Option<Object>,
}

/// An object, by its place among those of its table.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub objects: Arc<Pinned>,
    pub place: usize,
    /// Where it is noted how it ends.
    pub ends: Ends,
}

impl Place {
    pub fn of_file(path: &str) -> Place {
        Place { path: path.to_owned(), object: None }
    }

    /// Those of a table. What has the bytes of objects has them in the order of the facts, and so has what is noted of their
    /// ends.
    pub fn all(files: &[FileFact], objects: Option<&Arc<Pinned>>, ends: &Ends) -> Vec<Place> {
        let place = |(place, file): (usize, &FileFact)| Place {
            path: file.path.clone(),
            object: objects.map(|objects| Object {
                objects: Arc::clone(objects),
                place,
                ends: ends.clone(),
            }),
        };
        files.iter().enumerate().map(place).collect()
    }
}
