//! What is asked of a server, and what it answers: a question by itself, or a prepared one, row by row.
//!
//! Not responsible for what columns and rows mean (`column`, `decode`). Invariants: an answer ends only where the server says so,
//! and but for rows it is whole in time, however it trickles.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::error::Failure;
use super::fields::Fields;
use super::greeting::said;
use super::packets::Packets;

const QUIT: u8 = 0x01;
const QUERY: u8 = 0x03;
const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;
const CLOSE: u8 = 0x19;

/// Rows of an answer to a question by itself: those are our own, and warnings are the most of them.
const MOST_ROWS: usize = 70_000;

/// A connection that was let in.
pub struct Connection(Packets);

/// A column as the server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub name: String,
    /// The database and the table that it is a column of, both empty where it is none.
    pub origin: (String, String),
    pub kind: u8,
    pub collation: u16,
    pub length: u32,
    pub flags: u16,
    pub decimals: u8,
}

/// A statement that the server has planned.
pub struct Prepared {
    pub statement: u32,
    pub columns: Vec<Described>,
    pub has_placeholders: bool,
}

/// What a server says at the end of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct End {
    pub status: u16,
    pub warnings: u16,
}

impl End {
    /// A transaction is open, and it only reads.
    pub fn only_reads(self) -> bool {
        const BOTH: u16 = 0x0001 | 0x2000;
        self.status & BOTH == BOTH
    }

    /// Another answer follows.
    pub fn has_more(self) -> bool {
        self.status & 0x0008 != 0
    }
}

/// The next of an answer.
pub enum Next {
    Row(Bytes),
    End(End),
}

/// Of an answer to a question by itself.
pub type Text = Vec<Option<String>>;

impl Connection {
    pub fn new(packets: Packets) -> Connection {
        Connection(packets)
    }

    /// Takes leave, so that the server does not count a client that vanished. It does not answer.
    pub async fn leave(mut self) {
        let _ = self.say(QUIT, &[]).await;
    }

    /// Asks one question, and takes its whole answer.
    pub async fn ask(&mut self, sql: &str) -> Result<(Vec<Text>, End), Failure> {
        let longest = self.longest();
        within(longest, self.answer(sql)).await
    }

    async fn answer(&mut self, sql: &str) -> Result<(Vec<Text>, End), Failure> {
        self.say(QUERY, sql.as_bytes()).await?;
        let columns = match self.head().await? {
            Head::End(end) => return Ok((Vec::new(), end)),
            Head::Columns(columns) => columns.len(),
        };
        let mut rows = Vec::new();
        loop {
            let packet = match self.next().await? {
                Next::End(end) => return Ok((rows, end)),
                Next::Row(_) if rows.len() == MOST_ROWS => return Err(Failure::TooLong),
                Next::Row(packet) => packet,
            };
            let mut fields = Fields(&packet);
            let mut row = Vec::with_capacity(columns);
            for _ in 0..columns {
                if fields.0.first() == Some(&0xfb) {
                    fields.byte()?;
                    row.push(None);
                } else {
                    row.push(Some(String::from_utf8_lossy(fields.sized()?).into_owned()));
                }
            }
            rows.push(row);
        }
    }

    /// Has the server plan a statement.
    pub async fn prepare(&mut self, sql: &str) -> Result<Prepared, Failure> {
        let longest = self.longest();
        within(longest, self.plan(sql)).await
    }

    async fn plan(&mut self, sql: &str) -> Result<Prepared, Failure> {
        self.say(PREPARE, sql.as_bytes()).await?;
        let packet = self.0.read().await?;
        let mut fields = Fields(&packet);
        match fields.byte()? {
            0x00 => {}
            0xff => return Err(Failure::Said(said(fields))),
            _ => return Err(Failure::Malformed),
        }
        let statement = fields.four()?;
        let (columns, placeholders) = (fields.two()?, fields.two()?);
        self.columns(placeholders.into()).await?;
        let columns = self.columns(columns.into()).await?;
        Ok(Prepared { statement, columns, has_placeholders: placeholders > 0 })
    }

    /// Has the server forget a statement, which it does not answer.
    pub async fn forget(&mut self, statement: u32) -> Result<(), Failure> {
        self.say(CLOSE, &statement.to_le_bytes()).await
    }

    /// Has the server execute a statement without placeholders; [`Connection::next`] gives its rows. Returns their columns, of
    /// which there are none where it gives no rows.
    pub async fn execute(&mut self, statement: u32) -> Result<Vec<Described>, Failure> {
        let mut said = statement.to_le_bytes().to_vec();
        // Without a cursor, once.
        said.extend([0, 1, 0, 0, 0]);
        self.say(EXECUTE, &said).await?;
        let longest = self.longest();
        match within(longest, self.head()).await? {
            Head::End(_) => Ok(Vec::new()),
            Head::Columns(columns) => Ok(columns),
        }
    }

    /// The next row of the answer, or its end.
    pub async fn next(&mut self) -> Result<Next, Failure> {
        let packet = self.0.read().await?;
        match packet.first() {
            None => Err(Failure::Malformed),
            Some(0xff) => Err(Failure::Said(said(Fields(&packet[1..])))),
            // A field of a row can begin so too, but is longer.
            Some(0xfe) if packet.len() < 9 => Ok(Next::End(end(&packet)?)),
            Some(_) => Ok(Next::Row(packet)),
        }
    }

    /// How long an answer may take as a whole: more than the silence in it that is borne.
    fn longest(&self) -> Duration {
        self.0.idle_timeout() * 2
    }

    async fn say(&mut self, command: u8, body: &[u8]) -> Result<(), Failure> {
        self.0.begin();
        self.0.write(&[&[command], body].concat()).await
    }

    async fn head(&mut self) -> Result<Head, Failure> {
        let packet = self.0.read().await?;
        let mut fields = Fields(&packet);
        match fields.0.first() {
            Some(0x00) => {
                fields.byte()?;
                let (_affected, _id) = (fields.number()?, fields.number()?);
                let (status, warnings) = (fields.two()?, fields.two()?);
                Ok(Head::End(End { status, warnings }))
            }
            Some(0xff) => Err(Failure::Said(said(Fields(&packet[1..])))),
            // It would have a file of ours.
            Some(0xfb) => Err(Failure::Malformed),
            _ => {
                let count = usize::try_from(fields.number()?).map_err(|_| Failure::Malformed)?;
                Ok(Head::Columns(self.columns(count).await?))
            }
        }
    }

    async fn columns(&mut self, count: usize) -> Result<Vec<Described>, Failure> {
        // No server has more.
        if count > usize::from(u16::MAX) {
            return Err(Failure::Malformed);
        }
        let mut columns = Vec::with_capacity(count);
        for _ in 0..count {
            columns.push(described(&self.0.read().await?)?);
        }
        if count > 0 {
            end(&self.0.read().await?)?;
        }
        Ok(columns)
    }
}

async fn within<T>(
    longest: Duration,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(longest, answer).await.unwrap_or(Err(Failure::Slow(longest)))
}

/// How an answer begins.
enum Head {
    /// It is one without rows.
    End(End),
    Columns(Vec<Described>),
}

fn end(packet: &[u8]) -> Result<End, Failure> {
    let mut fields = Fields(packet);
    match fields.byte()? {
        0xfe if packet.len() < 9 => {
            let (warnings, status) = (fields.two()?, fields.two()?);
            Ok(End { status, warnings })
        }
        0xff => Err(Failure::Said(said(fields))),
        _ => Err(Failure::Malformed),
    }
}

/// What a packet says of a column.
pub fn described(packet: &[u8]) -> Result<Described, Failure> {
    let mut fields = Fields(packet);
    let _catalog = fields.sized()?;
    let database = String::from_utf8_lossy(fields.sized()?).into_owned();
    let _alias = fields.sized()?;
    let table = String::from_utf8_lossy(fields.sized()?).into_owned();
    let name = String::from_utf8(fields.sized()?.to_vec()).map_err(|_| Failure::Malformed)?;
    let _origin = fields.sized()?;
    let _length_of_the_rest = fields.number()?;
    let (collation, length) = (fields.two()?, fields.four()?);
    let (kind, flags, decimals) = (fields.byte()?, fields.two()?, fields.byte()?);
    Ok(Described { name, origin: (database, table), kind, collation, length, flags, decimals })
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// One packet within the time that a silence may last, and another, and another.
    #[test]
    fn an_answer_that_trickles_is_given_up_as_a_whole() {
        const SILENCE: Duration = Duration::from_secs(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (near, mut far) = tokio::io::duplex(1 << 16);
            let packets = Packets::new(Box::new(near), SILENCE).let_in();
            let trickle = async move {
                // A statement of 60,000 columns, of which one comes now and then.
                let mut packet = vec![12, 0, 0, 1, 0, 1, 0, 0, 0, 0x60, 0xea, 0, 0, 0, 0, 0];
                for sequence in 2_u8.. {
                    if far.write_all(&packet).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(SILENCE / 4).await;
                    let column = [3, b'd', b'e', b'f', 0, 0, 0, 1, b'a', 0, 12];
                    let rest = [45, 0, 4, 0, 0, 0, 3, 0, 0, 0, 0, 0];
                    packet = [&[23, 0, 0, sequence][..], &column, &rest].concat();
                }
            };
            let mut connection = Connection::new(packets);
            let asked = async {
                // The sequence begins with the question.
                let planned = connection.prepare("SELECT 1").await;
                drop(connection);
                planned.err().unwrap()
            };
            let (failure, ()) = futures::join!(asked, trickle);
            assert!(matches!(failure, Failure::Slow(time) if time == 2 * SILENCE), "{failure:?}");
        });
    }
}
