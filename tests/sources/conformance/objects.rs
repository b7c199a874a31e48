//! Objects of a store that speaks as S3 does; and, of whatever is asked by HTTP, the front by which answers break and hang.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::delta::Delta;
use super::files::{File, Shelf};
use super::formats::FORMATS;
use super::page;
use super::place::{Changed, Hang, Part, Place};
use super::{Cell, Cells, Kind};
use crate::servers::seaweed::Seaweed;
use crate::servers::web::{Becomes, Web};
use crate::stores;

/// What has objects, whatever it speaks.
pub trait Held {
    fn port(&self) -> u16;

    fn put_later(&self, name: &str, bytes: Vec<u8>) -> Box<dyn FnOnce() + Send>;

    /// Where an object, or what begins like a folder, is, as a config says it that asks this port.
    fn location(&self, port: u16, name: &str) -> String;

    /// The source of a config that has this table and asks this port.
    fn source(&self, port: u16, table: &str) -> String;

    /// What the source refers to.
    fn environment(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// All that is there.
    fn listed(&self) -> String;
}

/// All kinds that are in stores or on the web.
pub fn kinds() -> Vec<Kind<Seaweed>> {
    fn in_a_bucket(server: &Seaweed) -> Box<dyn Shelf + '_> {
        Box::new(Objects::new(Bucket { server, name: server.bucket() }))
    }
    let formats = FORMATS.iter().map(|format| Kind {
        name: format!("s3: {}", format.name),
        new: Box::new(move |server: &Seaweed| -> Box<dyn Place + '_> {
            Box::new(File::new(in_a_bucket(server), format))
        }),
        cells: Cells { huge: huge(format.name), ..Cells::PLAYED },
    });
    let delta = Kind {
        name: "s3: delta".to_owned(),
        new: Box::new(|server: &Seaweed| -> Box<dyn Place + '_> {
            Box::new(Delta::new(in_a_bucket(server)))
        }),
        cells: Cells::PLAYED,
    };
    formats.chain([delta]).chain(page::kinds()).collect()
}

/// A debug build takes long to unpack so much.
pub fn huge(format: &str) -> Cell {
    match format {
        "csv.gz" => Cell::Never(
            "its bytes come as those of csv do and are unpacked as those of a file, both of which are played",
        ),
        _ => Cell::Played,
    }
}

struct Bucket<'s> {
    server: &'s Seaweed,
    name: String,
}

impl Held for Bucket<'_> {
    fn port(&self) -> u16 {
        self.server.port
    }

    fn put_later(&self, name: &str, bytes: Vec<u8>) -> Box<dyn FnOnce() + Send> {
        let (files, bucket, key) = (self.server.files, self.name.clone(), format!("in/{name}"));
        Box::new(move || files.put(&bucket, &key, &bytes))
    }

    /// A file by a wildcard, so that objects are listed.
    fn location(&self, _port: u16, name: &str) -> String {
        format!("s3://{}/in/{}", self.name, name.replacen('.', "*.", 1))
    }

    fn source(&self, port: u16, table: &str) -> String {
        let plain = stores::source(port, &self.name, "HERE", "");
        plain.replace(&format!("\"s3://{}/HERE\"", self.name), table)
    }

    fn listed(&self) -> String {
        let folders = ["in/", "in/people/", "in/people/_delta_log/"];
        folders.map(|folder| self.server.files.list(&self.name, folder)).concat()
    }
}

/// What answers do, and what they did.
#[derive(Default)]
struct Does {
    what: What,
    /// How many answers were not as ever.
    played: usize,
    reads: usize,
    /// What happens before the read of this number.
    before: Option<(usize, Box<dyn FnOnce() + Send>)>,
    /// Methods that do not only read.
    others: BTreeSet<String>,
}

#[derive(Default, Clone, Copy)]
enum What {
    #[default]
    Pass,
    /// The first read gets so many bytes, and all others none.
    Break(usize),
    Shorten(usize),
    /// What is no read gets no answer.
    HoldLooks,
    /// A read gets so many bytes and no more.
    HoldReads(usize),
}

pub struct Objects<H> {
    held: H,
    front: Web,
    does: Arc<Mutex<Does>>,
}

impl<H: Held> Objects<H> {
    pub fn new(held: H) -> Objects<H> {
        let does = Arc::<Mutex<Does>>::default();
        let judged = Arc::clone(&does);
        let front = Web::start(held.port(), move |asked| {
            let mut does = lock(&judged);
            if !matches!(asked.method.as_str(), "GET" | "HEAD") {
                does.others.insert(asked.method.clone());
            }
            let is_read = asked.is_read();
            does.reads += usize::from(is_read);
            let reads = does.reads;
            if is_read && does.before.as_ref().is_some_and(|(last, _)| *last == reads) {
                let (_, happens) = does.before.take().expect("it was just there");
                happens();
                does.played += 1;
            }
            let becomes = match does.what {
                What::Break(_) if is_read && does.played > 0 => Becomes::Cut(0),
                What::Break(most) if is_read => Becomes::Cut(most),
                What::Shorten(most) if is_read => Becomes::Shortened(most),
                What::HoldReads(most) if is_read => Becomes::Stalled(most),
                What::HoldLooks if !is_read => Becomes::Held,
                _ => return Becomes::Passed,
            };
            does.played += 1;
            becomes
        });
        Objects { held, front, does }
    }

    fn do_now(&self, what: What) {
        let mut does = lock(&self.does);
        (does.what, does.played) = (what, 0);
    }
}

fn lock(does: &Mutex<Does>) -> MutexGuard<'_, Does> {
    does.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<H: Held> Shelf for Objects<H> {
    fn put(&self, name: &str, bytes: &[u8]) {
        self.held.put_later(name, bytes.to_vec())();
    }

    fn put_later(&self, name: &str, bytes: Vec<u8>) -> Box<dyn FnOnce() + Send> {
        self.held.put_later(name, bytes)
    }

    fn location(&self, name: &str) -> String {
        self.held.location(self.front.port, name)
    }

    fn source(&self, table: &str) -> String {
        self.held.source(self.front.port, table)
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        self.held.environment()
    }

    fn state(&self) -> String {
        format!("{:?} {}", lock(&self.does).others, self.held.listed())
    }

    fn hang(&self, way: usize) -> Option<Hang<'_>> {
        let (how, what) = match way {
            0 => ("a look that gets no answer", What::HoldLooks),
            1 => ("a read whose answer comes to a halt", What::HoldReads(100)),
            _ => return None,
        };
        self.do_now(what);
        Some(Hang {
            how,
            sql: None,
            environment: Vec::new(),
            is_reached: Box::new(|| self.front.held() > 0),
            is_over: Box::new(|| self.front.held() == 0),
        })
    }

    fn breaks(&self, part: Part, most: usize) -> bool {
        self.do_now(match part {
            Part::Middle => What::Break(most.min(1_000)),
            Part::End => What::Shorten(most),
        });
        true
    }

    fn mend(&self) -> bool {
        let mut does = lock(&self.does);
        does.what = What::Pass;
        std::mem::take(&mut does.played) > 0
    }

    /// What was read before is of the object that was listed.
    fn changed(&self) -> Changed {
        Changed::Either
    }

    fn before_the_last_read(&self, happens: Box<dyn FnOnce() + Send>) -> bool {
        let mut does = lock(&self.does);
        assert!(does.reads > 0, "it was read");
        does.before = Some((does.reads, happens));
        (does.reads, does.played) = (0, 0);
        true
    }

    fn count_reads_anew(&self) {
        lock(&self.does).reads = 0;
    }
}
