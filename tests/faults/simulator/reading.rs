//! The read of a run: rows examined by two readers, chunks taken in while requests are under way, and what was put aside
//! decided on at its end.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::ArrayRef;
use counterflow::delta::examiner::Scope;
use counterflow::delta::parts::Parts;
use counterflow::delta::table::Table;
use counterflow::domain::column::Column;
use counterflow::domain::entry::Operation;
use counterflow::engine::line::End;
use counterflow::engine::loading::{load_part, parts};
use counterflow::engine::prepare::Error;
use counterflow::engine::reading::{Chunk, render};

use super::fixture;
use super::plan::Trouble;
use super::session::{Halt, Session};
use super::source::{Row, arrays};

/// Chunks that may wait between the readers and the run.
const CHUNKS: usize = 4;

/// What may happen next while rows are read.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A reader examines its next rows.
    Examine(usize),
    /// The run takes a chunk in.
    Take,
    Deliver,
}

impl Session<'_> {
    /// As `Line::decide`.
    pub fn decide(&mut self, end: End) -> Result<End, Halt> {
        while self.course.has_unsure() && self.make_room()? {
            let before = self.course.intake.counts;
            let decided = self.course.decide(&mut self.dispatch, self.snapshot.journal());
            decided.expect("what was put aside can be read");
            if self.course.intake.counts.unsent < before.unsent {
                self.world.count("rows decided on after the read");
            }
            if self.course.intake.counts.invalid > before.invalid {
                self.world.count("rows found invalid after the read");
            }
        }
        if !self.course.has_unsure() {
            return Ok(end);
        }
        self.facts.is_read_complete = false;
        Ok(End::Stopped)
    }

    /// As `Line::read`: two readers examine at their own pace, and the run takes chunks in while it delivers.
    pub fn read(&mut self) -> Result<End, Halt> {
        let (rows, scope) = match &self.run.chosen {
            Some(chosen) => (chosen.rows(&self.facts.reading), chosen.scope()),
            None => (self.facts.reading.rows.clone(), Scope::All),
        };
        let mut streams = self.streams(&rows);
        let fails_at = self.run.troubles.iter().find_map(|trouble| match trouble {
            Trouble::ReadFails { chunk } => Some(*chunk),
            _ => None,
        });
        let memory: usize = 1 << 20;
        let columns = fixture::columns(self.facts.mapping, self.world.setting.has_primary);
        let parts = parts(Some(self.snapshot.view()), self.world.setting.room.table);
        let (mut part, mut parked) = (0, Vec::new());
        let table = Arc::new(self.load(&parts, part)?);
        let epoch = self.facts.epoch;
        let mut examiner = columns.examiner(scope, &table, epoch, self.started, memory);
        let mut chunks: VecDeque<Chunk> = VecDeque::new();
        let mut examined = 0;
        loop {
            self.pass()?;
            if self.is_ending() {
                return Ok(End::Stopped);
            }
            let mut events = Vec::new();
            let has_room = self.dispatch.has_room();
            if chunks.len() < CHUNKS {
                let open = (0..2).filter(|stream| !streams[*stream].is_empty());
                events.extend(open.map(Event::Examine));
            }
            if has_room && !chunks.is_empty() {
                events.extend([Event::Take; 2]);
            }
            if !self.dispatch.is_idle() {
                events.push(Event::Deliver);
            }
            if chunks.is_empty() && streams.iter().all(VecDeque::is_empty) && has_room {
                self.collect_removals(&examiner.table);
                part += 1;
                if part == parts.len() {
                    return Ok(self.prove());
                }
                self.world.count("parts after the first");
                let table = Arc::new(self.load(&parts, part)?);
                examiner = Arc::new(examiner.of_part(table));
                let its = |(of, _): &mut (usize, Row)| *of == part;
                let rows: Vec<Row> = parked.extract_if(.., its).map(|(_, row)| row).collect();
                streams = self.streams(&rows);
                continue;
            }
            match self.chance.pick(&events) {
                Event::Examine(_) if fails_at == Some(examined) => {
                    self.world.count("reads that fail");
                    let error = std::io::Error::other("the read failed");
                    return Ok(End::Failed(Error::Threads(error)));
                }
                Event::Examine(stream) => {
                    examined += 1;
                    let mut rows = streams[stream].pop_front().expect("it is not empty");
                    if part == 0 {
                        if let (Some(rises), Some(noted)) = (self.world.setting.cursor, &self.noted)
                        {
                            rises.meet(&rows, noted);
                        }
                        let arrays = arrays(&rows);
                        let of = examiner.parts(&typed(&arrays), rows.len(), &parts);
                        let taken = of.into_iter().zip(rows);
                        let taken = taken.filter_map(|(of, row)| of.map(|of| (of, row)));
                        let (here, away) = taken.partition::<Vec<_>, _>(|(of, _)| *of == 0);
                        rows = here.into_iter().map(|(_, row)| row).collect();
                        parked.extend(away);
                    }
                    let arrays = arrays(&rows);
                    let typed = typed(&arrays);
                    let read = examiner.examine(&typed, rows.len()).expect("a few keys fit");
                    let destination = fixture::destination(self.facts.mapping);
                    let upsert = destination.encoder(Operation::Upsert).expect("it is declared");
                    chunks.push_back(render(read, &typed, upsert, None));
                }
                Event::Take => {
                    let chunk = chunks.pop_front().expect("it is not empty");
                    let journal = self.snapshot.journal();
                    let taken = self.course.take(&chunk, &mut self.dispatch, journal);
                    if let Err(error) = taken {
                        self.world.count("reads without room to put keys aside");
                        return Ok(End::Failed(error.into()));
                    }
                }
                Event::Deliver => self.deliver()?,
            }
        }
    }

    /// As `Line::collect_removals`.
    fn collect_removals(&mut self, table: &Table) {
        if self.facts.is_restricted {
            return;
        }
        let (mode, header) = (self.sync.mode, self.snapshot.header());
        let collected = self.course.collect_removals(table, mode, header, self.started, || false);
        assert!(collected.expect("a few of them stay in memory"));
    }

    /// What two readers read.
    fn streams(&self, rows: &[Row]) -> [VecDeque<Vec<Row>>; 2] {
        let (first, second) = rows.split_at(rows.len() / 2);
        [first, second]
            .map(|half| half.chunks(self.world.setting.chunk).map(<[Row]>::to_vec).collect())
    }

    fn load(&self, parts: &Parts, part: usize) -> Result<Table, Halt> {
        let shards = parts.shards(part).expect("there is such a part");
        let view = Some(self.snapshot.view());
        let table = load_part(view, self.facts.epoch, parts.cut(), shards, &|| false)?;
        Ok(table.expect("nothing stops it"))
    }
}

fn typed(arrays: &[ArrayRef]) -> Vec<Column<'_>> {
    arrays.iter().map(|array| Column::new(array).expect("a scalar type")).collect()
}
