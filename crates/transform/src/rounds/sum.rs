//! What is known of a value: a sum of what locals were at the loop's header, or how two such sums compare.

/// A sum modulo 2^32 (or 2^64): what some locals were at the loop's header, each times a factor, and a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    /// Local and factor, by local; those not needed are 0 times local 0.
    pub(super) terms: [(u32, i64); 3],
    pub(super) plus: i64,
}

impl Sum {
    pub(super) fn constant(plus: i64) -> Sum {
        Sum { terms: [(0, 0); 3], plus }
    }

    pub(super) fn local(l: u32) -> Sum {
        Sum { terms: [(l, 1), (0, 0), (0, 0)], plus: 0 }
    }

    pub(super) fn terms(&self) -> impl Iterator<Item = (u32, i64)> + '_ {
        self.terms.iter().copied().filter(|t| t.1 != 0)
    }

    pub(super) fn as_constant(&self) -> Option<i64> {
        self.terms().next().is_none().then_some(self.plus)
    }

    pub(super) fn times(self, n: i64) -> Sum {
        let terms = self.terms.map(|(l, f)| (l, f.wrapping_mul(n)));
        // In the normal form what is 0 times something is 0 times local 0.
        Sum::of(terms.into_iter(), self.plus.wrapping_mul(n)).unwrap_or(Sum::constant(0))
    }

    pub(super) fn add(self, other: Sum) -> Option<Sum> {
        Sum::of(self.terms().chain(other.terms()), self.plus.wrapping_add(other.plus))
    }

    pub(super) fn of(terms: impl Iterator<Item = (u32, i64)>, plus: i64) -> Option<Sum> {
        let mut sum: Vec<(u32, i64)> = vec![];
        for (l, f) in terms {
            match sum.iter_mut().find(|t| t.0 == l) {
                Some(t) => t.1 = t.1.wrapping_add(f),
                None => sum.push((l, f)),
            }
        }
        sum.retain(|t| t.1 != 0);
        sum.sort_unstable();
        let mut terms = [(0, 0); 3];
        if sum.len() > terms.len() {
            return None;
        }
        terms[..sum.len()].copy_from_slice(&sum);
        Some(Sum { terms, plus })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Is {
    pub(super) fn negated(self) -> Is {
        match self {
            Is::Equal => Is::NotEqual,
            Is::NotEqual => Is::Equal,
            Is::Less => Is::GreaterOrEqual,
            Is::LessOrEqual => Is::Greater,
            Is::Greater => Is::LessOrEqual,
            Is::GreaterOrEqual => Is::Less,
        }
    }

    pub(super) fn mirrored(self) -> Is {
        match self {
            Is::Less => Is::Greater,
            Is::LessOrEqual => Is::GreaterOrEqual,
            Is::Greater => Is::Less,
            Is::GreaterOrEqual => Is::LessOrEqual,
            same => same,
        }
    }
}

/// How two sums were compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) is: Is,
    pub(super) sums: [Sum; 2],
    pub(super) signed: bool,
    pub(super) bits: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Unknown,
    Sum(Sum),
    Comparison(Comparison),
}
