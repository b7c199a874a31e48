//! What a packet is made of, read from its beginning. Whatever is sent, reading it is an error at worst.

use super::error::Failure;

/// The rest of a packet.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'p>(pub &'p [u8]);

impl<'p> Fields<'p> {
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'p [u8], Failure> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Failure::Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Failure::Malformed)?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub fn byte(&mut self) -> Result<u8, Failure> {
        self.fixed().map(|[byte]| byte)
    }

    pub fn two(&mut self) -> Result<u16, Failure> {
        self.fixed().map(u16::from_le_bytes)
    }

    pub fn four(&mut self) -> Result<u32, Failure> {
        self.fixed().map(u32::from_le_bytes)
    }

    /// A number that says itself how long it is.
    pub fn number(&mut self) -> Result<u64, Failure> {
        match self.byte()? {
            0xfc => self.two().map(u64::from),
            0xfd => {
                let [a, b, c] = self.fixed()?;
                Ok(u64::from(u32::from_le_bytes([a, b, c, 0])))
            }
            0xfe => self.fixed().map(u64::from_le_bytes),
            0xfb | 0xff => Err(Failure::Malformed),
            small => Ok(u64::from(small)),
        }
    }

    /// Bytes behind the number of them.
    pub fn sized(&mut self) -> Result<&'p [u8], Failure> {
        let count = usize::try_from(self.number()?).map_err(|_| Failure::Malformed)?;
        self.bytes(count)
    }

    /// Bytes before a NUL, or all where there is none.
    pub fn until_nul(&mut self) -> &'p [u8] {
        let end = self.0.iter().position(|byte| *byte == 0);
        let bytes = &self.0[..end.unwrap_or(self.0.len())];
        self.0 = &self.0[end.map_or(self.0.len(), |end| end + 1)..];
        bytes
    }
}

/// Appends bytes behind the number of them.
pub fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    match u16::try_from(bytes.len()) {
        Ok(count @ 0..=250) => out.push(count.to_le_bytes()[0]),
        Ok(count) => {
            out.push(0xfc);
            out.extend(count.to_le_bytes());
        }
        Err(_) => {
            out.push(0xfe);
            out.extend((bytes.len() as u64).to_le_bytes());
        }
    }
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_is_read(bytes in prop::collection::vec(any::<u8>(), 0..70_000)) {
            let mut out = Vec::new();
            put_sized(&mut out, &bytes);
            let mut fields = Fields(&out);
            prop_assert_eq!(fields.sized().unwrap(), &bytes[..]);
            prop_assert!(fields.is_empty());
        }

        #[test]
        fn whatever_is_sent_is_read_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut fields = Fields(&bytes);
            let _ = (fields.number(), fields.sized(), fields.until_nul(), fields.four());
        }
    }
}
