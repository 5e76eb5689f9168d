//! What a few noisy measurements say about a median.

/// The middle value, and an interval round it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Median {
    pub middle: f64,
    pub low: f64,
    pub high: f64,
}

/// The interval lies between the two measurements, equally far from the ends, that leave the true median outside with a
/// probability of at most 5 %; with fewer than six measurements, between the least and the most.
///
/// Nothing is supposed of how they are distributed: each is above the true median or below it, as a coin falls.
pub fn median(values: &[f64]) -> Median {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let cut = cut(sorted.len());
    Median {
        middle: crate::median(sorted.clone()),
        low: sorted.get(cut).copied().unwrap_or(f64::NAN),
        high: sorted.iter().rev().nth(cut).copied().unwrap_or(f64::NAN),
    }
}

/// How sure one can be of the interval for so many measurements.
pub fn confidence(n: usize) -> f64 {
    1.0 - 2.0 * tail(n, cut(n))
}

/// How many are left out at each end.
fn cut(n: usize) -> usize {
    (1..n / 2).take_while(|&k| 2.0 * tail(n, k) <= 0.05).last().unwrap_or(0)
}

/// The probability that at most `k` of `n` coins show heads.
fn tail(n: usize, k: usize) -> f64 {
    let mut term = 0.5f64.powi(n as i32);
    let mut sum = term;
    for i in 0..k {
        term *= (n - i) as f64 / (i + 1) as f64;
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_sign_test() {
        // From the tables of every textbook: n = 5 reaches 93.75 %, 6 96.9 %, 10 97.9 % without one at each end, 20 95.9 %
        // without five.
        assert_eq!((cut(5), cut(6), cut(9), cut(10), cut(20)), (0, 0, 1, 1, 5));
        let close = |a: f64, b: f64| (a - b).abs() < 5e-4;
        assert!(close(confidence(5), 0.9375), "{}", confidence(5));
        assert!(close(confidence(6), 0.9688));
        assert!(close(confidence(10), 0.9785));
        assert!(close(confidence(20), 0.9586));
        let of = |v: &[f64]| median(v);
        assert_eq!(of(&[3.0, 1.0, 2.0]), Median { middle: 2.0, low: 1.0, high: 3.0 });
        let ten: Vec<f64> = (1..=10).rev().map(f64::from).collect();
        assert_eq!(of(&ten), Median { middle: 5.5, low: 2.0, high: 9.0 });
    }
}
