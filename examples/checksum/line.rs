//! One line of `sha256sum`.

use std::ffi::OsStr;

pub(crate) type Digest = [u8; 32];

/// Writes the line as GNU coreutils do.
///
/// A name with a backslash, newline or carriage return is escaped, and its line then begins with a backslash; all other
/// bytes go out as they are.
pub(crate) fn write(line: &mut Vec<u8>, digest: &Digest, path: &OsStr) {
    let name = path.as_encoded_bytes();
    if name
        .iter()
        .any(|byte| matches!(byte, b'\\' | b'\n' | b'\r'))
    {
        line.push(b'\\');
    }
    for byte in digest {
        line.extend([byte >> 4, byte & 15].map(|digit| match digit {
            0..10 => b'0' + digit,
            _ => b'a' + digit - 10,
        }));
    }
    line.extend(b"  ");
    for &byte in name {
        match byte {
            b'\\' => line.extend(br"\\"),
            b'\n' => line.extend(br"\n"),
            b'\r' => line.extend(br"\r"),
            _ => line.push(byte),
        }
    }
    line.push(b'\n');
}
