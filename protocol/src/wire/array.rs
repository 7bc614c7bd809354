//! Arrays of a message, left where they lie in the frame.

use std::{fmt, slice, vec};

use super::{
    Decode, Encode, Malformed, Nullable, Reader, Version, Writer,
    types::{length_len, nullable_length, plain_i32},
};

/// The elements of an array: those of a frame, or those that are about to be written.
///
/// Reading a message checks every element and keeps none: an array of a frame is a place in it,
/// and its elements are read again, one at a time, whenever they are walked. So decoding never
/// allocates, whatever the counts of a frame claim, and takes time in proportion to its length.
/// An array to be written owns its elements; make it with `into` or `collect`.
pub struct Array<'a, T> {
    elements: Elements<'a, T>,
}

#[derive(Clone)]
enum Elements<'a, T> {
    /// Each has been read once and is well-formed.
    InFrame(InFrame<'a>),
    Owned(Vec<T>),
}

#[derive(Clone)]
struct InFrame<'a> {
    /// Starts at the first element, and goes on after the last.
    reader: Reader<'a>,
    len: usize,
    version: Version,
}

impl<'a> InFrame<'a> {
    fn next<T: Decode<'a>>(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        T::read(&mut self.reader, self.version).ok()
    }
}

impl<'a, T> Array<'a, T> {
    /// How many elements there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match &self.elements {
            Elements::InFrame(array) => array.len,
            Elements::Owned(elements) => elements.len(),
        }
    }

    /// Whether there are no elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a, T: Decode<'a> + Clone> Array<'a, T> {
    /// The elements, one at a time.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, 'a, T> {
        Iter(match &self.elements {
            Elements::InFrame(array) => Source::InFrame(array.clone()),
            Elements::Owned(elements) => Source::Owned(elements.iter()),
        })
    }

    /// The elements as a list that can be changed; those of a frame are copied out of it first.
    pub fn to_mut(&mut self) -> &mut Vec<T> {
        if let Elements::InFrame(array) = &mut self.elements {
            let elements = std::iter::from_fn(|| array.next()).collect();
            self.elements = Elements::Owned(elements);
        }
        match &mut self.elements {
            Elements::Owned(elements) => elements,
            Elements::InFrame(_) => unreachable!("the elements have just been copied"),
        }
    }

    /// The first element.
    #[must_use]
    pub fn first(&self) -> Option<T> {
        self.iter().next()
    }
}

enum Source<'a, O> {
    InFrame(InFrame<'a>),
    Owned(O),
}

impl<O: ExactSizeIterator> Source<'_, O> {
    fn len(&self) -> usize {
        match self {
            Self::InFrame(array) => array.len,
            Self::Owned(elements) => elements.len(),
        }
    }
}

/// What [`Array::iter`] returns.
pub struct Iter<'s, 'a, T>(Source<'a, slice::Iter<'s, T>>);

impl<'a, T: Decode<'a> + Clone> Iterator for Iter<'_, 'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Source::InFrame(array) => array.next(),
            Source::Owned(elements) => elements.next().cloned(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl<'a, T: Decode<'a> + Clone> ExactSizeIterator for Iter<'_, 'a, T> {}

/// The elements of an [`Array`] that is used up.
pub struct IntoIter<'a, T>(Source<'a, vec::IntoIter<T>>);

impl<'a, T: Decode<'a>> Iterator for IntoIter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Source::InFrame(array) => array.next(),
            Source::Owned(elements) => elements.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl<'a, T: Decode<'a>> ExactSizeIterator for IntoIter<'a, T> {}

impl<'a, T: Decode<'a>> IntoIterator for Array<'a, T> {
    type Item = T;
    type IntoIter = IntoIter<'a, T>;

    fn into_iter(self) -> IntoIter<'a, T> {
        IntoIter(match self.elements {
            Elements::InFrame(array) => Source::InFrame(array),
            Elements::Owned(elements) => Source::Owned(elements.into_iter()),
        })
    }
}

impl<'s, 'a, T: Decode<'a> + Clone> IntoIterator for &'s Array<'a, T> {
    type Item = T;
    type IntoIter = Iter<'s, 'a, T>;

    fn into_iter(self) -> Iter<'s, 'a, T> {
        self.iter()
    }
}

impl<T> From<Vec<T>> for Array<'_, T> {
    fn from(elements: Vec<T>) -> Self {
        Self {
            elements: Elements::Owned(elements),
        }
    }
}

impl<T, const N: usize> From<[T; N]> for Array<'_, T> {
    fn from(elements: [T; N]) -> Self {
        Vec::from(elements).into()
    }
}

impl<T> FromIterator<T> for Array<'_, T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Vec::from_iter(elements).into()
    }
}

impl<T> Default for Array<'_, T> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<T: Clone> Clone for Array<'_, T> {
    fn clone(&self) -> Self {
        Self {
            elements: self.elements.clone(),
        }
    }
}

impl<'a, T: Decode<'a> + Clone + PartialEq> PartialEq for Array<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a, T: Decode<'a> + Clone + PartialEq, const N: usize> PartialEq<[T; N]> for Array<'a, T> {
    fn eq(&self, other: &[T; N]) -> bool {
        self.iter().eq(other.iter().cloned())
    }
}

impl<'a, T: Decode<'a> + Clone + PartialEq> PartialEq<Vec<T>> for Array<'a, T> {
    fn eq(&self, other: &Vec<T>) -> bool {
        self.iter().eq(other.iter().cloned())
    }
}

impl<'a, T: Decode<'a> + Clone + fmt::Debug> fmt::Debug for Array<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Decode<'a>> Nullable<'a> for Array<'a, T> {
    fn min_len(version: Version) -> usize {
        length_len(version, size_of::<i32>())
    }

    fn read_nullable(reader: &mut Reader<'a>, version: Version) -> Result<Option<Self>, Malformed> {
        let Some(len) = nullable_length(reader, version, plain_i32, T::min_len(version))? else {
            return Ok(None);
        };
        let array = InFrame {
            reader: reader.clone(),
            len,
            version,
        };
        for _ in 0..len {
            T::read(reader, version)?;
        }
        Ok(Some(Self {
            elements: Elements::InFrame(array),
        }))
    }
}

impl<'a, T: Decode<'a> + Encode> Encode for Array<'a, T> {
    fn write(&self, writer: &mut Writer, version: Version) {
        writer.array_length(Some(self.len()), version);
        match &self.elements {
            Elements::InFrame(array) => {
                let mut array = array.clone();
                while let Some(element) = array.next::<T>() {
                    element.write(writer, version);
                }
            }
            Elements::Owned(elements) => {
                for element in elements {
                    element.write(writer, version);
                }
            }
        }
    }
}

#[cfg(feature = "generate")]
impl<T: crate::generate::Generate> crate::generate::Generate for Array<'_, T> {
    fn generate(source: &mut crate::generate::Source, version: Version) -> Self {
        Vec::generate(source, version).into()
    }
}
