//! GPT-2's printable spelling of bytes: every byte is one char, printable ones are themselves.

use std::sync::LazyLock;

/// The chars of the 256 bytes, and the way back for chars below 0x144.
struct Table {
    char_of: [char; 256],
    byte_of: [Option<u8>; 0x144],
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table {
        char_of: ['\0'; 256],
        byte_of: [None; 0x144],
    };
    let mut unprintable = 0x100u32;
    for byte in 0..=255u8 {
        let code = match byte {
            0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => u32::from(byte),
            _ => {
                unprintable += 1;
                unprintable - 1
            }
        };
        table.char_of[usize::from(byte)] = char::from_u32(code).unwrap_or('\0');
        table.byte_of[code as usize] = Some(byte);
    }
    table
});

/// The char that spells a byte.
pub(super) fn char_of(byte: u8) -> char {
    TABLE.char_of[usize::from(byte)]
}

/// Appends the spelling of bytes.
pub(super) fn encode(bytes: &[u8], out: &mut String) {
    out.extend(bytes.iter().map(|&byte| char_of(byte)));
}

/// Appends the bytes that a token's text spells; a text with a char that spells no byte stands for itself.
pub(super) fn decode(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    for c in text.chars() {
        match TABLE.byte_of.get(c as usize).copied().flatten() {
            Some(byte) => out.push(byte),
            None => {
                out.truncate(start);
                out.extend_from_slice(text.as_bytes());
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_returns() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut text = String::new();
        encode(&bytes, &mut text);
        assert_eq!(text.chars().count(), 256);
        assert_eq!(char_of(b' '), 'Ġ');
        assert_eq!(char_of(b'\n'), 'Ċ');
        let mut back = Vec::new();
        decode(&text, &mut back);
        assert_eq!(back, bytes);
    }
}
