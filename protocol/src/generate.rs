//! Random messages, for tests and fuzzers; there only with the feature `generate`.
//!
//! Every message table generates its own values, so that a test over all tables covers a new one
//! at once. A value holds only what its version can say: fields of other versions have their
//! defaults.

use std::sync::LazyLock;

use crate::{
    ErrorCode,
    wire::{Records, Secret, Uuid, Version},
};

/// Randomness that depends on nothing but its seed (SplitMix64), after a script if there is one.
#[derive(Clone, Debug)]
pub struct Source {
    state: u64,
    /// What comes first: one byte for each number that is asked for.
    script: std::vec::IntoIter<u8>,
}

impl Source {
    /// The sequence that belongs to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed,
            script: Vec::new().into_iter(),
        }
    }

    /// Choices as `script` makes them, so that a fuzzer can change one at a time, then the
    /// sequence of seed 0.
    #[must_use]
    pub fn scripted(script: &[u8]) -> Self {
        Self {
            state: 0,
            script: Vec::from(script).into_iter(),
        }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        if let Some(byte) = self.script.next() {
            return u64::from(byte);
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.bits() % bound).unwrap_or_default()
    }

    /// True half of the time.
    pub fn coin(&mut self) -> bool {
        self.bits() & 1 == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let index = self.below(of.len());
        of.get(index).copied()
    }
}

/// A type of which random values can be made.
pub trait Generate {
    /// A random value as `version` can carry it.
    fn generate(source: &mut Source, version: Version) -> Self;
}

/// Integers: the edges as often as anything between.
macro_rules! integers {
    ($($ty:ty),+) => {$(
        impl Generate for $ty {
            fn generate(source: &mut Source, _: Version) -> Self {
                let mut bytes = [0; size_of::<Self>()];
                bytes.fill_with(|| source.bits().to_le_bytes()[0]);
                let any = Self::from_le_bytes(bytes);
                let edges = [0, !0, Self::MAX, Self::MIN, any, any, any, any];
                source.pick(&edges).unwrap_or_default()
            }
        }
    )+};
}

integers!(i8, i16, i32, i64, u16, u32);

impl Generate for f64 {
    fn generate(source: &mut Source, version: Version) -> Self {
        Self::from(i32::generate(source, version))
    }
}

impl Generate for bool {
    fn generate(source: &mut Source, _: Version) -> Self {
        source.coin()
    }
}

impl Generate for ErrorCode {
    fn generate(source: &mut Source, version: Version) -> Self {
        Self(i16::generate(source, version))
    }
}

impl Generate for Uuid {
    fn generate(source: &mut Source, _: Version) -> Self {
        let mut bytes = [0; 16];
        bytes.fill_with(|| source.bits().to_le_bytes()[0]);
        Self(bytes)
    }
}

/// A length of bytes: mostly short, at times where its varint grows by a byte.
fn byte_count(source: &mut Source) -> usize {
    match source.below(256) {
        0 => 16_384,
        1..=8 => 126 + source.below(3),
        few => few % 12,
    }
}

static TEXT: LazyLock<String> = LazyLock::new(|| "topic-".repeat(2_731));

impl Generate for &str {
    fn generate(source: &mut Source, _: Version) -> Self {
        if source.below(8) == 0 {
            return "Zürich 京都 🦀";
        }
        TEXT.get(..byte_count(source)).unwrap_or_default()
    }
}

impl Generate for &[u8] {
    fn generate(source: &mut Source, _: Version) -> Self {
        TEXT.as_bytes()
            .get(..byte_count(source))
            .unwrap_or_default()
    }
}

impl Generate for Secret<'_> {
    fn generate(source: &mut Source, version: Version) -> Self {
        Self(Generate::generate(source, version))
    }
}

impl Generate for Records<'_> {
    fn generate(source: &mut Source, version: Version) -> Self {
        Self::Slice(Generate::generate(source, version))
    }
}

impl<T: Generate> Generate for Option<T> {
    fn generate(source: &mut Source, version: Version) -> Self {
        (source.below(3) != 0).then(|| T::generate(source, version))
    }
}

impl<T: Generate> Generate for Vec<T> {
    fn generate(source: &mut Source, version: Version) -> Self {
        let len = match source.below(64) {
            0 => 128,
            few => few % 4,
        };
        (0..len).map(|_| T::generate(source, version)).collect()
    }
}
