//! image: draws a picture, writes it as PNG, JPEG and GIF into /work, reads each back, scales, blurs and rotates it.

use image::{ImageFormat, Rgb, RgbImage, imageops};

fn main() {
    let size: u32 = std::env::args().nth(1).map_or(96, |n| n.parse().expect("a number"));
    let picture = RgbImage::from_fn(size, size, |x, y| {
        let (mut re, mut im, mut n) = (0.0f64, 0.0f64, 0u8);
        let (cr, ci) = (
            f64::from(x) / f64::from(size) * 3.0 - 2.0,
            f64::from(y) / f64::from(size) * 2.4 - 1.2,
        );
        while re * re + im * im < 4.0 && n < 200 {
            (re, im) = (re * re - im * im + cr, 2.0 * re * im + ci);
            n += 1;
        }
        Rgb([n, n.wrapping_mul(7), 255 - n])
    });
    for (name, format) in
        [("m.png", ImageFormat::Png), ("m.jpg", ImageFormat::Jpeg), ("m.gif", ImageFormat::Gif)]
    {
        let path = format!("/work/{name}");
        picture.save_with_format(&path, format).expect("writes");
        let back = image::open(&path).expect("reads").to_rgb8();
        let off: u64 = back
            .as_raw()
            .iter()
            .zip(picture.as_raw())
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum();
        let bytes = std::fs::metadata(&path).expect("is there").len();
        println!("{name} {bytes} bytes, differs by {off}");
    }
    let small = imageops::resize(&picture, size / 3, size / 2, imageops::FilterType::Lanczos3);
    let blurred = imageops::blur(&small, 1.5);
    let turned = imageops::rotate90(&blurred);
    let sum =
        turned.as_raw().iter().fold(0u32, |h, b| h.wrapping_mul(31).wrapping_add(u32::from(*b)));
    println!("{}x{} {sum:08x}", turned.width(), turned.height());
    turned.save("/work/turned.png").expect("writes");
}
