//! Where pieces of bytes end that lie one after the other, such as the keys of a table.
//!
//! Pieces of one length need no word of that; others four bytes each. Not here: the bytes.

use std::ops::Range;

use prefetch_index::prefetch_index;

/// Places whose ends are counted from one base.
const GROUP: usize = 256;

/// Where pieces of bytes that lie one after the other end. Pieces of one length need no word of that.
#[derive(Debug)]
pub struct Ends {
    len: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// All have this length.
    Even(usize),
    /// Counted from the base of their group.
    Uneven { ends: Vec<u32>, bases: Vec<usize> },
}

impl Default for Ends {
    fn default() -> Ends {
        Ends { len: 0, kind: Kind::Even(0) }
    }
}

impl Ends {
    /// How many pieces.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The length of every piece, if they have one.
    #[inline]
    pub fn even(&self) -> Option<usize> {
        match self.kind {
            Kind::Even(length) => Some(length),
            Kind::Uneven { .. } => None,
        }
    }

    /// Has the memory fetched that says where a piece lies.
    #[inline]
    pub fn fetch(&self, place: usize) {
        if let Kind::Uneven { ends, .. } = &self.kind {
            prefetch_index(ends, place);
        }
    }

    /// Where a piece lies.
    #[inline]
    pub fn range(&self, place: usize) -> Range<usize> {
        match &self.kind {
            Kind::Even(length) => place * length..(place + 1) * length,
            Kind::Uneven { ends, bases } => {
                let base = bases[place / GROUP];
                let start = if place.is_multiple_of(GROUP) { 0 } else { ends[place - 1] as usize };
                base + start..base + ends[place] as usize
            }
        }
    }

    /// Notes the end of the next piece, which begins where the last one ended.
    #[inline]
    pub fn push(&mut self, end: usize) {
        match &mut self.kind {
            Kind::Even(length) if end == *length * (self.len + 1) => self.len += 1,
            Kind::Even(length) if self.len == 0 => (*length, self.len) = (end, 1),
            _ => self.push_uneven(end),
        }
    }

    /// Notes the ends of so many more pieces of one length.
    #[inline]
    pub fn push_even(&mut self, many: usize, length: usize) {
        match &mut self.kind {
            Kind::Even(even) if *even == length => self.len += many,
            _ => {
                let start = if self.is_empty() { 0 } else { self.range(self.len - 1).end };
                (1..=many).for_each(|number| self.push(start + number * length));
            }
        }
    }

    fn push_uneven(&mut self, end: usize) {
        if let Kind::Even(length) = self.kind {
            self.kind = Kind::Uneven { ends: Vec::new(), bases: Vec::new() };
            for place in 0..std::mem::take(&mut self.len) {
                self.push_uneven((place + 1) * length);
            }
        }
        let start = if self.len == 0 { 0 } else { self.range(self.len - 1).end };
        if let Kind::Uneven { ends, bases } = &mut self.kind {
            if self.len.is_multiple_of(GROUP) {
                bases.push(start);
            }
            let end = end - bases[self.len / GROUP];
            ends.push(u32::try_from(end).expect("256 keys take less than 4 GiB"));
            self.len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_pieces_at_once_lie_where_each_alone_would() {
        for (before, length) in [(0, 9), (5, 9), (5, 7), (300, 9)] {
            let (mut at_once, mut alone) = (Ends::default(), Ends::default());
            for ends in [&mut at_once, &mut alone] {
                (1..=before).for_each(|number| ends.push(9 * number));
            }
            at_once.push_even(600, length);
            (1..=600).for_each(|number| alone.push(9 * before + length * number));
            assert_eq!((at_once.len(), at_once.even()), (alone.len(), alone.even()));
            assert!((0..at_once.len()).all(|place| at_once.range(place) == alone.range(place)));
        }
    }

    #[test]
    fn pieces_of_one_length_and_of_many_lie_where_they_were_put() {
        for uneven_from in [0, 1, 255, 256, 600, 2_000] {
            let lengths = (0..1_000).map(|n| if n < uneven_from { 9 } else { n % 7 });
            let (mut ends, mut end, mut expected) = (Ends::default(), 0, Vec::new());
            for length in lengths {
                expected.push(end..end + length);
                end += length;
                ends.push(end);
            }
            assert_eq!(ends.len(), 1_000);
            assert_eq!(ends.even().is_some(), uneven_from == 2_000);
            assert!((0..1_000).all(|place| ends.range(place) == expected[place]), "{uneven_from}");
        }
    }
}
