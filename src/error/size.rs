//! Bytes as people read them.
//!
//! Belongs here: how many of something large. Does not belong here: exact numbers, which have no unit.
//! Invariant: without logarithms. Nothing else here needs the mathematics library, and each worker would load it at its start.

use std::fmt;

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A number of bytes, rounded to a tenth of its unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size(pub(crate) usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as u128;
        let units = UNITS.iter().zip(1..).map(|(name, power)| {
            let unit = 1024_u128.pow(power);
            ((bytes * 10 + unit / 2) / unit, name)
        });
        // Rounded there may be 1024.0 of the one before.
        let mut fitting = units.filter(|(tenths, _)| *tenths < 10_240);
        match fitting.next() {
            Some((tenths, name)) if bytes >= 1024 => {
                write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
            }
            _ => write!(f, "{bytes} B"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_largest_unit_of_which_there_is_one() {
        const MIB: usize = 1024 * 1024;
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1024 + 51, "1.0 KiB"),
            (1024 + 52, "1.1 KiB"),
            (MIB - 1, "1.0 MiB"),
            (100 * MIB, "100.0 MiB"),
            (MIB * 1024 - 1, "1.0 GiB"),
            (usize::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
