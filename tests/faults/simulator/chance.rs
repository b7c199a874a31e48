/// Numbers that follow from a seed, the same on every machine and in every version: SplitMix64.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..count`; `count` is at least 1.
    pub fn below(&mut self, count: usize) -> usize {
        let count = u64::try_from(count).expect("a usize fits");
        usize::try_from(self.next() % count).expect("it is below a usize")
    }

    pub fn number(&mut self, range: std::ops::Range<u32>) -> u32 {
        let width = usize::try_from(range.end - range.start).expect("a u32 fits");
        range.start + u32::try_from(self.below(width)).expect("it is below a u32")
    }

    /// True in `of` of a hundred cases.
    pub fn percent(&mut self, of: u32) -> bool {
        self.number(0..100) < of
    }

    pub fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    /// In `0.0..1.0`.
    pub fn fraction(&mut self) -> f64 {
        f64::from(self.number(0..1_000_000)) / 1_000_000.0
    }
}
