use std::sync::Arc;

use super::super::store::Pinned;
use crate::domain::file::FileFact;

/// Where a text is: a file of this machine, or an object that was listed.
#[derive(Debug, Clone)]
pub(in super::super) struct Place {
    /// For people; of a file, where it is opened.
    pub path: String,
    pub(super) object: Option<(Arc<Pinned>, usize)>,
}

impl Place {
    pub fn of_file(path: &str) -> Place {
        Place { path: path.to_owned(), object: None }
    }

    /// Those of a table. What has the bytes of objects has them in the order of the facts.
    pub fn all(files: &[FileFact], objects: Option<&Arc<Pinned>>) -> Vec<Place> {
        let place = |(place, file): (usize, &FileFact)| Place {
            path: file.path.clone(),
            object: objects.map(|objects| (Arc::clone(objects), place)),
        };
        files.iter().enumerate().map(place).collect()
    }
}
