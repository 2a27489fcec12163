//! The log's writer: one thread that turns what queued up into one write and one fsync.

use std::io;
use std::sync::Arc;

use pando_runtime::disk::DiskFile;

use super::format::{SEGMENT_HEADER_BYTES, SegmentHeader};
use super::replay::segment_path;
use super::{LogState, SharedLog, Waiter};

/// A frame on its way to the disk.
struct Batch {
    number: u64,
    segment: u64,
    bytes: Vec<u8>,
    waiters: Vec<Waiter>,
}

/// The segment that is written to.
struct Open {
    segment: u64,
    file: Box<dyn DiskFile>,
}

impl SharedLog {
    /// Writes frames until the log is closed or fails. Blocks: for a thread of its own.
    pub(crate) fn run_writer(self: Arc<Self>) {
        let mut open = None;
        while let Some(batch) = self.next_batch() {
            let worked = match batch {
                Some(batch) => self.write(&mut open, batch),
                None => Ok(()),
            };
            if let Err(error) = worked.and_then(|()| self.collect()) {
                self.fail(&error);
                break;
            }
        }
        // A later call finds the log failed or closed; whoever came before is answered here.
        let waiters = {
            let mut state = self.state.lock();
            state.closed = true;
            std::mem::take(&mut state.waiters)
        };
        let reason = self.failure.borrow().clone().unwrap_or_else(|| "log is closed".to_string());
        for waiter in waiters {
            waiter.complete(Err(io::Error::other(reason.clone())));
        }
        self.ended.send_replace(true);
    }

    /// Waits for work. `None`: the log is closed and everything is written; an inner `None`: nothing to write.
    fn next_batch(&self) -> Option<Option<Batch>> {
        let mut state = self.state.lock();
        while !state.wanted && !state.closed {
            self.wake.wait(&mut state);
        }
        state.wanted = false;
        if !state.frame.is_empty() {
            return Some(Some(self.take(&mut state)));
        }
        if state.closed { None } else { Some(None) }
    }

    fn take(&self, state: &mut LogState) -> Batch {
        let number = state.frame_number;
        let segment = state.segment;
        let bytes = std::mem::take(&mut state.frame).finish(number);
        state.frame_number += 1;
        state.offset += bytes.len() as u64;
        state.segments.entry(segment).or_default().bytes = state.offset;
        if state.offset >= self.config.segment_bytes {
            state.segment += 1;
            state.offset = SEGMENT_HEADER_BYTES as u64;
        }
        Batch { number, segment, bytes, waiters: std::mem::take(&mut state.waiters) }
    }

    fn write(&self, open: &mut Option<Open>, batch: Batch) -> io::Result<()> {
        let written = self.write_frame(open, batch.segment, &batch.bytes);
        if written.is_ok() {
            self.state.lock().flushed = batch.number;
        } else if let Err(error) = &written {
            // Nobody may be told "failed" while a new caller could still be told "done".
            self.fail(error);
        }
        for waiter in batch.waiters {
            let result = written.as_ref().map(|_| ()).map_err(|e| io::Error::other(e.to_string()));
            waiter.complete(result);
        }
        written
    }

    fn write_frame(&self, open: &mut Option<Open>, segment: u64, bytes: &[u8]) -> io::Result<()> {
        if let Some(open) = open.as_ref().filter(|open| open.segment == segment) {
            open.file.append(bytes)?;
            return open.file.sync();
        }
        // The segment before is complete and synced: frames become durable in their order.
        let header =
            SegmentHeader { number: segment, cluster: self.config.cluster, node: self.config.node };
        let file = self.disk.create(&segment_path(&self.config.dir, segment))?;
        file.append(&header.encode())?;
        file.append(bytes)?;
        file.sync()?;
        self.disk.sync_dir(&self.config.dir)?;
        *open = Some(Open { segment, file });
        Ok(())
    }

    fn fail(&self, error: &io::Error) {
        let first = self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(error.to_string());
            }
            first
        });
        if first {
            tracing::error!(%error, dir = %self.config.dir.display(), "raft log has failed");
        }
    }
}
