//! nalgebra: LU, QR, Cholesky, SVD, symmetric eigenvalues of generated matrices; prints residuals and a few digits.

use nalgebra::{DMatrix, DVector};

fn main() {
    let n: usize = std::env::args().nth(1).map_or(40, |n| n.parse().expect("a number"));
    let mut x = 1u64;
    let mut random = || {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (x >> 40) as f64 / f64::from(1 << 24) - 0.5
    };
    let a = DMatrix::from_fn(n, n, |_, _| random());
    let b = DVector::from_fn(n, |_, _| random());
    let s = &a * a.transpose() + DMatrix::identity(n, n);

    let lu = a.clone().lu();
    let solution = lu.solve(&b).expect("regular");
    println!("lu det {:.6e} residual {}", lu.determinant(), small((&a * &solution - &b).norm()));
    let qr = a.clone().qr();
    println!(
        "qr r00 {:.9} residual {}",
        qr.r()[(0, 0)].abs(),
        small((qr.q() * qr.r() - &a).norm())
    );
    let l = s.clone().cholesky().expect("positive definite").l();
    println!(
        "cholesky {:.9} residual {}",
        l[(n - 1, n - 1)],
        small((&l * l.transpose() - &s).norm())
    );
    let svd = a.clone().svd(true, true);
    let largest = svd.singular_values[0];
    println!(
        "svd {:.9} residual {}",
        largest,
        small((svd.recompose().expect("has u and v") - &a).norm())
    );
    let eigen = s.clone().symmetric_eigen();
    let mut values: Vec<f64> = eigen.eigenvalues.iter().copied().collect();
    values.sort_by(f64::total_cmp);
    println!(
        "eigen {:.9} {:.9} trace {}",
        values[0],
        values[n - 1],
        small(values.iter().sum::<f64>() - s.trace())
    );
    println!("expm {:.9}", (s / 50.0).exp().trace());
}

fn small(x: f64) -> &'static str {
    if x.abs() < 1e-9 { "small" } else { "LARGE" }
}
