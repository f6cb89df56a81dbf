//! A vector that never moves what it holds.
//!
//! A vector that doubles copies everything at each doubling, and the kernel clears fresh pages for
//! the copy: for a million entries of some 300 bytes that costs more than placing them in a tree.
//! Here elements lie in pieces. The first is an ordinary vector, so a small tree costs what it
//! needs, and a batch that came as a vector is kept as it came; once it is full and large, more
//! go into pieces of one fixed size.

use std::ops::{Index, IndexMut};

/// The elements of every piece but the first: a power of two.
const PIECE: usize = 1 << 12;

/// See the file's head.
#[derive(Clone, Debug)]
pub(crate) struct Chunks<T> {
    first: Vec<T>,
    /// All but the last are full.
    more: Vec<Vec<T>>,
}

impl<T> Chunks<T> {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self::from(Vec::with_capacity(capacity))
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self.more.last() {
            None => self.first.len(),
            Some(last) => self.first.len() + (self.more.len() - 1) * PIECE + last.len(),
        }
    }

    /// How many there is room for already.
    pub(crate) fn capacity(&self) -> usize {
        self.first.capacity() + self.more.len() * PIECE
    }

    #[inline]
    pub(crate) fn push(&mut self, element: T) {
        let piece = match self.more.last_mut() {
            Some(last) if last.len() < PIECE => last,
            None if self.first.len() < self.first.capacity().max(PIECE) => &mut self.first,
            _ => {
                self.more.push(Vec::with_capacity(PIECE));
                self.more.last_mut().expect("just made")
            }
        };
        piece.push(element);
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let Some(last) = self.more.last_mut() else {
            return self.first.pop();
        };
        let element = last.pop();
        if last.is_empty() {
            self.more.pop();
        }
        element
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        match at.checked_sub(self.first.len()) {
            None => self.first.get(at),
            Some(at) => self.more.get(at / PIECE)?.get(at % PIECE),
        }
    }

    #[inline]
    fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        match at.checked_sub(self.first.len()) {
            None => self.first.get_mut(at),
            Some(at) => self.more.get_mut(at / PIECE)?.get_mut(at % PIECE),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.more.iter().flatten())
    }

    pub(crate) fn into_iter(self) -> impl Iterator<Item = T> {
        self.first
            .into_iter()
            .chain(self.more.into_iter().flatten())
    }
}

impl<T> From<Vec<T>> for Chunks<T> {
    fn from(first: Vec<T>) -> Self {
        Self {
            first,
            more: Vec::new(),
        }
    }
}

impl<T> Index<usize> for Chunks<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        self.get(at).expect("an index within")
    }
}

impl<T> IndexMut<usize> for Chunks<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        self.get_mut(at).expect("an index within")
    }
}
