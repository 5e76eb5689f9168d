//! Sizes, written and read by people: `64M` there, `1.5 MiB` back.

use std::str::FromStr;

/// Bytes: `4096`, `512K`, `64M`, `1G`; also `64MiB`.
#[derive(Clone, Copy)]
pub struct Size(pub usize);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let bytes = bytes(text)?;
        // Less does not even hold one call into the host; more is a slip of the keyboard.
        match (bytes, usize::try_from(bytes)) {
            (65_536..=0x10_0000_0000, Ok(bytes)) => Ok(Size(bytes)),
            (65_536..=0x10_0000_0000, Err(_)) => Err("this host cannot address so much".to_owned()),
            _ => Err("a stack has from 64K to 64G".to_owned()),
        }
    }
}

/// A number of bytes, or one with a unit: `10G`, `10GB` and `10GiB` are the same.
pub fn bytes(text: &str) -> Result<u64, String> {
    let bad = || "write a number of bytes, or one with K, M, G or T, such as 64M".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let shift = match unit.to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(bad()),
    };
    number.checked_mul(1 << shift).ok_or_else(bad)
}

/// In the largest unit that leaves at least one.
pub fn text(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return match unit {
                "B" => format!("{bytes} B"),
                _ => format!("{value:.1} {unit}"),
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// The same in at most 8 characters, as long as it is less than 10 PiB.
pub fn short(bytes: u64) -> String {
    let text = text(bytes);
    match text.split_once('.') {
        Some((whole, rest)) if whole.len() > 2 => {
            format!("{whole}{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (read, bytes) in
            [("65536", 65536), ("512K", 512 << 10), ("64MiB", 64 << 20), ("1g", 1 << 30)]
        {
            assert_eq!(read.parse::<Size>().unwrap().0, bytes);
        }
        for bad in ["", "M", "-1", "1.5M", "64Q", "0", "999999G", "99999999999999999999"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        assert_eq!(["10GB", "1T", "0"].map(bytes), [Ok(10 << 30), Ok(1 << 40), Ok(0)]);
        assert_eq!(
            [text(0), text(1023), text(1536), text(3 << 30)],
            ["0 B", "1023 B", "1.5 KiB", "3.0 GiB"]
        );
        assert_eq!(
            [short(1536), short(1023 << 10), short(99 << 20)],
            ["1.5 KiB", "1023 KiB", "99.0 MiB"]
        );
    }
}
