//! Blocks of memory that frames are read into, and that return when the last slice is dropped.
//!
//! Fresh memory costs page faults (about 40 % of the time to receive 1 MB frames), so blocks are
//! kept by size class, up to a bound. A block is never filled with zeros: bytes are only ever
//! appended to it.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{
    limits::{BLOCK_LEN_MAX, BLOCK_LEN_MIN, RETAINED_BYTES_DEFAULT},
    lock,
};

/// A pool of blocks; a clone is the same pool.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Shelves>);

#[derive(Debug)]
struct Shelves {
    retained_bytes_max: usize,
    stock: Mutex<Stock>,
}

#[derive(Debug, Default)]
struct Stock {
    /// Free blocks by class: the first holds [`BLOCK_LEN_MIN`] bytes, each next one twice that.
    classes: Vec<Vec<Vec<u8>>>,
    retained_bytes: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(RETAINED_BYTES_DEFAULT)
    }
}

impl Pool {
    /// A pool that keeps at most `retained_bytes_max` bytes of idle blocks.
    #[must_use]
    pub fn new(retained_bytes_max: usize) -> Self {
        Self(Arc::new(Shelves {
            retained_bytes_max,
            stock: Mutex::default(),
        }))
    }

    /// How many bytes of idle blocks are kept now.
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        self.stock().retained_bytes
    }

    /// An empty block with room for at least `len` bytes.
    pub(super) fn take(&self, len: usize) -> Block {
        let kept = self.stock().take(class_len(len));
        Block {
            bytes: kept.unwrap_or_else(|| Vec::with_capacity(class_len(len))),
            pool: self.clone(),
        }
    }

    fn put_back(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        let unkept = self.stock().put_back(bytes, self.0.retained_bytes_max);
        drop(unkept); // Unmapping a large block takes a while: not under the lock.
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        lock(&self.0.stock)
    }
}

impl Stock {
    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let block = self.classes.get_mut(class_index(len)?)?.pop()?;
        self.retained_bytes = self.retained_bytes.saturating_sub(block.capacity());
        Some(block)
    }

    /// Keeps the block, or returns it when it is of no class or the bound is reached.
    fn put_back(&mut self, block: Vec<u8>, retained_bytes_max: usize) -> Option<Vec<u8>> {
        let retained_bytes = self.retained_bytes.saturating_add(block.capacity());
        let Some(index) = class_index(block.capacity()) else {
            return Some(block);
        };
        if retained_bytes > retained_bytes_max {
            return Some(block);
        }
        if self.classes.len() <= index {
            self.classes.resize_with(index.saturating_add(1), Vec::new);
        }
        self.classes.get_mut(index)?.push(block);
        self.retained_bytes = retained_bytes;
        None
    }
}

/// The length of the class that holds `len` bytes; `len` itself above the largest class.
fn class_len(len: usize) -> usize {
    if len > BLOCK_LEN_MAX {
        return len;
    }
    len.max(BLOCK_LEN_MIN).next_power_of_two()
}

/// Where blocks of exactly `len` bytes are kept; `None` when that is no class.
fn class_index(len: usize) -> Option<usize> {
    if !len.is_power_of_two() || !(BLOCK_LEN_MIN..=BLOCK_LEN_MAX).contains(&len) {
        return None;
    }
    usize::try_from(len.ilog2().checked_sub(BLOCK_LEN_MIN.ilog2())?).ok()
}

/// A block in use; it returns to its pool when dropped.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    pool: Pool,
}

impl Block {
    /// How many bytes the block holds.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends what has been read already; the block must have room for it.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.bytes.capacity().saturating_sub(self.len()));
        self.bytes.extend_from_slice(bytes);
    }

    /// Reads until the block holds `len` bytes, or the stream ends or has nothing more at once.
    ///
    /// The block grows when it is full, at most twofold each time: memory follows the bytes that
    /// have arrived. Returns how many bytes came; 0 is the end of the stream.
    pub(super) async fn read_up_to(
        &mut self,
        len: usize,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> std::io::Result<usize> {
        if self.len() == self.bytes.capacity() {
            let capacity = class_len(len.min(self.len().saturating_mul(2)));
            self.bytes
                .reserve_exact(capacity.saturating_sub(self.len()));
        }
        let room = len.min(self.bytes.capacity()).saturating_sub(self.len());
        let mut tail = bytes::BufMut::limit(&mut self.bytes, room);
        stream.read_buf(&mut tail).await
    }

    /// The block as shared bytes; it returns to its pool when the last slice is dropped.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.pool.put_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    #[test]
    fn a_block_returns_only_when_the_last_slice_is_dropped_and_is_used_again() {
        let pool = Pool::default();
        let mut block = pool.take(70 * KIB);
        block.extend(&[7; 100]);
        let address = block.as_ref().as_ptr();
        let whole = block.freeze();
        let slice = whole.slice_ref(&whole[10..20]);
        drop(whole);
        assert_eq!(pool.retained_bytes(), 0);
        drop(slice);
        assert_eq!(pool.retained_bytes(), 128 * KIB);

        let again = pool.take(128 * KIB);
        assert_eq!((again.len(), pool.retained_bytes()), (0, 0));
        assert_eq!(again.as_ref().as_ptr(), address);
    }

    #[test]
    fn idle_blocks_stay_within_the_bound() {
        let pool = Pool::new(192 * KIB);
        let blocks: Vec<_> = (0..5).map(|_| pool.take(1)).collect();
        drop(blocks);
        assert_eq!(pool.retained_bytes(), 192 * KIB);
        drop(pool.take(BLOCK_LEN_MAX + 1));
        assert_eq!(pool.retained_bytes(), 192 * KIB);
    }

    #[tokio::test]
    async fn memory_follows_the_bytes_that_arrive() {
        let pool = Pool::default();
        let mut block = pool.take(64 * KIB);
        let claimed = 32 * 1024 * KIB;
        let arrived = vec![1_u8; 200 * KIB];
        let mut stream = arrived.as_slice();
        while block.read_up_to(claimed, &mut stream).await.unwrap() > 0 {}
        assert_eq!(block.as_ref(), arrived);
        assert_eq!(block.bytes.capacity(), 256 * KIB);
    }
}
