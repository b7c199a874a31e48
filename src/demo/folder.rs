//! The demo's own folder: the fixtures, the queries and a config made from `config.example.yaml`.
//!
//! Everything in it came with the binary. Invariant: it is made by us, for us alone, and is gone when the value is,
//! unless it is kept on purpose. Files are replaced whole, as a warehouse's export would be.

use std::io;
use std::path::{Path, PathBuf};

use super::source::{AIRLINES, CUSTOMERS, FLIGHTS, ORDERS};

/// The config's name in the folder; the one that commands look for.
const CONFIG: &str = "counterflow.yaml";

const EXAMPLE: &str = include_str!("../../config.example.yaml");

/// What the demo's config says otherwise than the example: the destination's address, files that change under the same
/// name, and pauses between attempts that nobody needs to wait for.
const CHANGES: [(&str, &str); 3] = [
    ("fixtures/v1/", "shop/"),
    ("first_delay: 500ms", "first_delay: 50ms"),
    ("longest_delay: 1m", "longest_delay: 500ms"),
];
/// The address in the example.
const ADDRESS: &str = "http://127.0.0.1:8089";

/// A version of the shop's two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shop {
    pub customers: &'static [u8],
    pub orders: &'static [u8],
}

pub const FIRST: Shop = Shop {
    customers: include_bytes!("../../fixtures/v1/customers.csv"),
    orders: include_bytes!("../../fixtures/v1/orders.csv"),
};

pub const SECOND: Shop = Shop {
    customers: include_bytes!("../../fixtures/v2/customers.csv"),
    orders: include_bytes!("../../fixtures/v2/orders.csv"),
};

/// What never changes.
const FILES: [(&str, &[u8]); 6] = [
    ("shop/_SUCCESS", include_bytes!("../../fixtures/v1/_SUCCESS")),
    (FLIGHTS, include_bytes!("../../fixtures/flights.csv")),
    (AIRLINES, include_bytes!("../../fixtures/airlines.csv")),
    ("fixtures/airlines.parquet", include_bytes!("../../fixtures/airlines.parquet")),
    ("sql/models/active_customers.sql", include_bytes!("../../sql/models/active_customers.sql")),
    ("sql/models/flights.sql", include_bytes!("../../sql/models/flights.sql")),
];

/// The folder; removed when dropped, unless kept.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    /// Makes it under the system's folder for such things, with the shop's first version in it.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn make(base_url: &str, is_kept: bool) -> io::Result<Folder> {
        let name = format!("counterflow-demo-{:08x}", rand::random::<u32>());
        let path = std::env::temp_dir().join(name);
        make_private(&path)?;
        let folder = Folder { path, is_kept };
        for name in ["shop", "fixtures", "sql/models"] {
            std::fs::create_dir_all(folder.path.join(name))?;
        }
        for (name, content) in FILES {
            folder.write(name, content)?;
        }
        folder.open_shop(FIRST)?;
        folder.write(CONFIG, config(base_url).as_bytes())?;
        Ok(folder)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Puts this version in the place of the one before.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn open_shop(&self, shop: Shop) -> io::Result<()> {
        self.write(CUSTOMERS, shop.customers)?;
        self.write(ORDERS, shop.orders)
    }

    /// Replaces the customers by what `edit` makes of their lines; the head stays.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn edit_customers(&self, edit: impl Fn(&str) -> Option<String>) -> io::Result<()> {
        let text = std::fs::read_to_string(self.path.join(CUSTOMERS))?;
        let mut lines = text.lines();
        let mut edited: Vec<String> = lines.next().map(str::to_owned).into_iter().collect();
        edited.extend(lines.filter_map(edit));
        self.write(CUSTOMERS, (edited.join("\n") + "\n").as_bytes())
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let next = self.path.join(format!("{name}.next"));
        std::fs::write(&next, content)?;
        std::fs::rename(next, self.path.join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, folder = %self.path.display(), "the demo's folder is left behind");
        }
    }
}

/// Fails where there is such a folder already: then it is somebody else's.
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

fn config(base_url: &str) -> String {
    let ours = CHANGES.iter().fold(EXAMPLE.to_owned(), |text, (from, to)| text.replace(from, to));
    ours.replace(ADDRESS, base_url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::object::Object;
    use crate::demo::source;
    use crate::source::definition::Access;

    #[test]
    fn the_config_is_the_example_with_every_change_made_and_no_problem() {
        for (from, _) in CHANGES.iter().chain(&[(ADDRESS, "")]) {
            assert!(EXAMPLE.contains(from), "the example says `{from}` no more");
        }
        let folder = Folder::make("http://127.0.0.1:1", false).unwrap();
        let config = crate::config::load(&folder.path().join(CONFIG)).unwrap();
        let names: Vec<_> = config.syncs.iter().map(|sync| sync.sync.name.as_str()).collect();
        assert_eq!(names, Object::ALL.map(Object::sync));
        for (sync, object) in config.syncs.iter().zip(Object::ALL) {
            let is_mirror = sync.sync.mode == crate::domain::sync::Mode::Mirror;
            assert_eq!(is_mirror, object.is_mirrored(), "{object:?}");
            assert!(!sync.paused);
        }
        for source in config.sources.values() {
            let Access::Files(files) = &source.access else { panic!("it is made of files") };
            for table in &files.tables {
                assert!(table.path().is_file(), "{}", table.path().display());
            }
        }
    }

    #[test]
    fn every_row_of_the_fixtures_is_read_and_the_folder_is_gone_afterwards() {
        let folder = Folder::make("http://127.0.0.1:1", false).unwrap();
        let rows = |object| source::records(folder.path(), object).unwrap().len();
        assert_eq!(Object::ALL.map(rows), [276, 1_000, 16, 503]);
        folder.open_shop(SECOND).unwrap();
        assert_eq!(Object::ALL.map(rows), [273, 1_012, 16, 503]);
        folder.edit_customers(|line| line.contains("free").then(|| line.to_owned())).unwrap();
        assert!(rows(Object::Customers) < 100);
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
    }
}
