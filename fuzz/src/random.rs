//! Pseudo-random numbers: SplitMix64 (Steele, Lea, Flood 2014), small and good from any seed.

/// The same seed gives the same numbers, on every machine.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.bits() >> 11) % n as u64) as usize
    }

    /// True once in `n` times.
    pub fn chance(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these, of which there is at least one.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// The seed that a target's input carries in its first bytes, and the rest of the input.
    pub fn from_input(data: &[u8]) -> (Random, &[u8]) {
        let (first, rest) = data.split_at(data.len().min(8));
        let mut seed = [0; 8];
        seed[..first.len()].copy_from_slice(first);
        (Random(u64::from_le_bytes(seed)), rest)
    }

    /// What all of an input is the seed of.
    pub fn of(data: &[u8]) -> Random {
        let (mut random, rest) = Random::from_input(data);
        for chunk in rest.chunks(8) {
            random.0 = random.0.rotate_left(9) ^ Random::from_input(chunk).0.bits();
        }
        random
    }

    /// The input that is a seed and nothing more.
    pub fn input(seed: u64) -> Vec<u8> {
        seed.to_le_bytes().to_vec()
    }
}
