//! Growing lists that never move what they hold: a tree of a million files is not copied when it grows, and has no
//! spare half.

/// Elements in one chunk of a list.
const CHUNK: usize = 1024;

/// A list in chunks of the same length.
pub struct Chunked<T> {
    chunks: Vec<Vec<T>>,
    length: usize,
}

impl<T> Chunked<T> {
    /// An empty list.
    pub fn new() -> Self {
        Chunked { chunks: Vec::new(), length: 0 }
    }

    /// Elements in it.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Adds one at the end.
    pub fn push(&mut self, element: T) {
        if self.length.is_multiple_of(CHUNK) {
            // The first chunk grows as it must: most trees in tests have ten files.
            self.chunks.push(Vec::with_capacity(if self.length == 0 { 0 } else { CHUNK }));
        }
        self.chunks[self.length / CHUNK].push(element);
        self.length += 1;
    }

    /// All elements in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    /// All elements in order, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks.iter_mut().flatten()
    }
}

impl<T> std::ops::Index<u32> for Chunked<T> {
    type Output = T;
    fn index(&self, i: u32) -> &T {
        &self.chunks[i as usize / CHUNK][i as usize % CHUNK]
    }
}

impl<T> std::ops::IndexMut<u32> for Chunked<T> {
    fn index_mut(&mut self, i: u32) -> &mut T {
        &mut self.chunks[i as usize / CHUNK][i as usize % CHUNK]
    }
}

/// Bytes in one chunk of text. A text never spans two, so it is at most this long.
const TEXT_CHUNK: usize = 1 << 16;

/// Short texts, one behind the other, addressed by 32 bits.
#[derive(Default)]
pub struct Texts {
    chunks: Vec<Vec<u8>>,
}

impl Texts {
    /// Adds a text of at most 65,536 bytes; nothing if 4 GiB are full.
    pub fn add(&mut self, text: &[u8]) -> Option<u32> {
        if self.chunks.last().is_none_or(|last| last.len() + text.len() > TEXT_CHUNK) {
            if self.chunks.len() == 1 << 16 {
                return None;
            }
            self.chunks.push(Vec::with_capacity(if self.chunks.is_empty() { 0 } else { TEXT_CHUNK }));
        }
        let chunk = self.chunks.len() - 1;
        let at = self.chunks[chunk].len();
        self.chunks[chunk].extend_from_slice(text);
        Some((chunk << 16 | at) as u32)
    }

    /// The text of this length that was added at this place.
    pub fn get(&self, at: u32, length: usize) -> &[u8] {
        &self.chunks[at as usize >> 16][at as usize & 0xffff..][..length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_texts_across_their_chunks() {
        let (mut list, mut texts) = (Chunked::new(), Texts::default());
        let text = |i: u32| vec![i as u8; (i % 255 + 1) as usize];
        for i in 0..5000u32 {
            list.push(texts.add(&text(i)).unwrap());
        }
        assert_eq!((list.len(), list.iter().count()), (5000, 5000));
        for i in 0..5000u32 {
            assert_eq!(texts.get(list[i], (i % 255 + 1) as usize), text(i), "{i}");
        }
        list[4999] = 7;
        assert_eq!(list.iter_mut().last().copied(), Some(7));
    }

    #[test]
    fn a_full_chunk_is_filled_to_its_last_byte() {
        let mut texts = Texts::default();
        let first = texts.add(&[1; TEXT_CHUNK]).unwrap();
        let second = texts.add(&[2; 1]).unwrap();
        assert_eq!((first, second), (0, 1 << 16));
        assert_eq!(texts.get(first, TEXT_CHUNK), [1; TEXT_CHUNK]);
        assert_eq!(texts.get(second, 1), [2]);
    }
}
