//! The rejections of a run that are kept to be shown: the first ones since they were last taken.

use crate::destination::answer::Refusal;
use crate::domain::entry::Operation;

/// Of one run, until they are taken.
const MOST: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Rejections(Vec<(Vec<u8>, Operation, Refusal)>);

impl Rejections {
    pub fn note(&mut self, key: &[u8], operation: Operation, code: &str, message: &str) {
        if self.0.len() < MOST {
            let refusal = Refusal { code: code.to_owned(), message: message.to_owned() };
            self.0.push((key.to_vec(), operation, refusal));
        }
    }

    pub fn take(&mut self) -> Vec<(Vec<u8>, Operation, Refusal)> {
        std::mem::take(&mut self.0)
    }
}
