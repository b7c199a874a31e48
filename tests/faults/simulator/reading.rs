//! The read of a run: rows examined by two readers, chunks taken in while requests are under way, and what was put aside
//! decided on at its end.

use std::collections::VecDeque;

use counterflow::delta::examiner::Scope;
use counterflow::domain::column::Column;
use counterflow::domain::entry::Operation;
use counterflow::engine::line::End;
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
        let middle = rows.len() / 2;
        let mut streams: [VecDeque<Vec<Row>>; 2] = [&rows[..middle], &rows[middle..]]
            .map(|half| half.chunks(self.world.setting.chunk).map(<[Row]>::to_vec).collect());
        let fails_at = self.run.troubles.iter().find_map(|trouble| match trouble {
            Trouble::ReadFails { chunk } => Some(*chunk),
            _ => None,
        });
        let memory = 1 << 20;
        let columns = fixture::columns(self.facts.mapping, self.world.setting.has_primary);
        let (table, epoch) = (&self.table, self.facts.epoch);
        let examiner = columns.examiner_of(scope, table, epoch, self.started, memory);
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
                return Ok(self.prove());
            }
            match self.chance.pick(&events) {
                Event::Examine(_) if fails_at == Some(examined) => {
                    self.world.count("reads that fail");
                    let error = std::io::Error::other("the read failed");
                    return Ok(End::Failed(Error::Threads(error)));
                }
                Event::Examine(stream) => {
                    examined += 1;
                    let rows = streams[stream].pop_front().expect("it is not empty");
                    let arrays = arrays(&rows);
                    let typed = |array| Column::new(array).expect("a scalar type");
                    let typed: Vec<Column<'_>> = arrays.iter().map(typed).collect();
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
}
