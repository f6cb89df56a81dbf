//! A vector that never moves what it holds.
//!
//! A vector that doubles copies everything at each doubling, and the kernel clears fresh pages for
//! the copy: for a million entries of some 300 bytes that costs more than placing them in a tree.
//! Here elements lie in pieces. The first is an ordinary vector of the room that was asked for: a
//! batch that came as a vector is kept as it came. Once it is full, more go into pieces of fixed
//! sizes, each twice as large as the one before until they are large.

use std::ops::{Index, IndexMut};

/// The elements of the first piece after the vector: a power of two.
const LEAST: usize = 16;

/// Pieces after so many are all as large as the last of them.
const DOUBLINGS: usize = 8;

/// The elements of a large piece.
const MOST: usize = LEAST << DOUBLINGS;

/// See the file's head.
#[derive(Clone, Debug)]
pub(crate) struct Chunks<T> {
    first: Vec<T>,
    /// All but the last are full.
    more: Vec<Vec<T>>,
    len: usize,
}

impl<T> Chunks<T> {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self::from(Vec::with_capacity(capacity))
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn push(&mut self, element: T) {
        let pieces = self.more.len();
        let piece = match self.more.last_mut() {
            Some(last) if last.len() < size(pieces - 1) => last,
            None if self.first.len() < self.first.capacity() => &mut self.first,
            _ => self.add_piece(),
        };
        piece.push(element);
        self.len += 1;
    }

    #[cold]
    fn add_piece(&mut self) -> &mut Vec<T> {
        let pieces = self.more.len();
        self.more.push(Vec::with_capacity(size(pieces)));
        &mut self.more[pieces]
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        while self.more.last().is_some_and(Vec::is_empty) {
            self.more.pop();
        }
        let element = self.more.last_mut().unwrap_or(&mut self.first).pop();
        self.len -= usize::from(element.is_some());
        element
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        match at.checked_sub(self.first.len()) {
            None => self.first.get(at),
            Some(at) => {
                let piece = piece(at);
                self.more.get(piece)?.get(at - start(piece))
            }
        }
    }

    #[inline]
    fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        match at.checked_sub(self.first.len()) {
            None => self.first.get_mut(at),
            Some(at) => {
                let piece = piece(at);
                self.more.get_mut(piece)?.get_mut(at - start(piece))
            }
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
            len: first.len(),
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

/// How many elements a piece holds.
#[inline]
fn size(piece: usize) -> usize {
    LEAST << piece.min(DOUBLINGS)
}

/// How many elements the pieces before it hold.
#[inline]
fn start(piece: usize) -> usize {
    match piece.checked_sub(DOUBLINGS) {
        None => (LEAST << piece) - LEAST,
        Some(large) => (MOST - LEAST) + large * MOST,
    }
}

/// The piece of an element.
#[inline]
fn piece(at: usize) -> usize {
    match at.checked_sub(MOST - LEAST) {
        None => (at / LEAST + 1).ilog2() as usize,
        Some(at) => DOUBLINGS + at / MOST,
    }
}
