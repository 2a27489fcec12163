//! `Lanes`: pieces of work on several threads at once, whose results are put together in the order in which the pieces
//! began: what comes out does not depend on how many there are.

use std::collections::VecDeque;
use std::sync::Arc;

use pando_promql::QueryError;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::error::ExecuteError;

/// The pieces of one fragment. One is always allowed; each further one takes a turn of `turns`, which all fragments of
/// the process share, until its work ends, and waits for the oldest one where there is none, or no room.
pub(crate) struct Lanes<T> {
    turns: Arc<Semaphore>,
    room: Room,
    join: fn(&mut T, T) -> Result<(), ExecuteError>,
    under_way: VecDeque<Lane<T>>,
    /// What has come together so far.
    joined: Option<T>,
}

/// How much may be under way, or wait to be joined, at once, if it is more than one piece.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    pub(crate) pieces: usize,
    /// Of what the pieces say that they take.
    pub(crate) bytes: u64,
}

struct Lane<T> {
    work: JoinHandle<Result<T, ExecuteError>>,
    bytes: u64,
}

impl<T: Send + 'static> Lanes<T> {
    /// No work yet. `join` adds a later result to an earlier one.
    pub(crate) fn new(
        turns: Arc<Semaphore>,
        room: Room,
        join: fn(&mut T, T) -> Result<(), ExecuteError>,
    ) -> Self {
        Lanes { turns, room, join, under_way: VecDeque::new(), joined: None }
    }

    /// Begins `work`, which takes some `bytes`, on a thread of its own, as soon as it may.
    ///
    /// # Errors
    /// Of work that began before it.
    pub(crate) async fn begin(
        &mut self,
        bytes: u64,
        work: impl FnOnce() -> Result<T, ExecuteError> + Send + 'static,
    ) -> Result<(), ExecuteError> {
        while self.under_way.front().is_some_and(|lane| lane.work.is_finished()) {
            self.end_oldest().await?;
        }
        let mut turn = None;
        while !self.under_way.is_empty() && turn.is_none() {
            if self.has_room(bytes) {
                turn = self.turns.clone().try_acquire_owned().ok();
            }
            if turn.is_none() {
                self.end_oldest().await?;
            }
        }
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        self.under_way.push_back(Lane { work, bytes });
        Ok(())
    }

    /// Whether one more of `bytes` may be under way.
    fn has_room(&self, bytes: u64) -> bool {
        let all = self.under_way.iter().fold(bytes, |all, lane| all.saturating_add(lane.bytes));
        self.under_way.len() < self.room.pieces && all <= self.room.bytes
    }

    /// All results as one; `None` where no work began.
    ///
    /// # Errors
    /// Of any work.
    pub(crate) async fn finish(mut self) -> Result<Option<T>, ExecuteError> {
        while !self.under_way.is_empty() {
            self.end_oldest().await?;
        }
        Ok(self.joined)
    }

    async fn end_oldest(&mut self) -> Result<(), ExecuteError> {
        let Some(lane) = self.under_way.pop_front() else { return Ok(()) };
        let done = ended(lane.work).await?;
        let Some(mut joined) = self.joined.take() else {
            self.joined = Some(done);
            return Ok(());
        };
        let join = self.join;
        let joining = blocking(move || join(&mut joined, done).map(|()| joined));
        self.joined = Some(joining.await?);
        Ok(())
    }
}

/// Does `work` on a thread that does not serve sockets.
///
/// # Errors
/// Those of `work`, or that it panicked.
pub async fn blocking<T: Send + 'static, E: From<QueryError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    ended(tokio::task::spawn_blocking(work)).await
}

async fn ended<T, E: From<QueryError>>(work: JoinHandle<Result<T, E>>) -> Result<T, E> {
    let stopped = |_| QueryError::Internal("a thread stopped with a fault of its own".into());
    work.await.map_err(stopped)?
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    use pando_model::ErrorKind;

    use super::*;

    fn joined(all: &mut Vec<u32>, more: Vec<u32>) -> Result<(), ExecuteError> {
        all.extend(more);
        Ok(())
    }

    fn lanes(turns: usize) -> Lanes<Vec<u32>> {
        Lanes::new(Arc::new(Semaphore::new(turns)), ROOM, joined)
    }

    fn failed() -> ExecuteError {
        ExecuteError::Live { kind: ErrorKind::Internal, message: "no".to_string() }
    }

    const ROOM: Room = Room { pieces: 4, bytes: 100 };
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn as_many_run_at_once_as_there_are_turns_and_one_more() {
        let mut lanes = lanes(2);
        let (tell, told) = sync_channel(3);
        let mut gates = Vec::new();
        for at in 0..3 {
            let (open, gate) = sync_channel::<()>(1);
            gates.push(open);
            let tell = tell.clone();
            let work = move || {
                tell.send(at).map_err(|_| failed())?;
                gate.recv_timeout(PATIENCE).map_err(|_| failed())?;
                Ok(vec![at])
            };
            lanes.begin(10, work).await.expect("none has ended");
        }
        let mut running: Vec<u32> =
            (0..3).map(|_| told.recv_timeout(PATIENCE).expect("one more runs")).collect();
        running.sort_unstable();
        assert_eq!(running, [0, 1, 2]);
        // The last one ends first.
        gates.iter().rev().for_each(|open| open.send(()).expect("waited for"));
        assert_eq!(lanes.finish().await.expect("no error"), Some(vec![0, 1, 2]));
    }

    #[tokio::test]
    async fn without_turns_one_ends_before_the_next_begins() {
        let mut lanes = lanes(0);
        let (tell, told) = sync_channel::<u32>(8);
        for at in 0..4 {
            let tell = tell.clone();
            let work = move || {
                tell.send(at).map_err(|_| failed())?;
                Ok(vec![at])
            };
            lanes.begin(10, work).await.expect("no error");
            assert!(lanes.under_way.len() == 1);
        }
        assert_eq!(lanes.finish().await.expect("no error"), Some(vec![0, 1, 2, 3]));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[tokio::test]
    async fn what_has_no_room_waits_whatever_turns_there_are() {
        for (room, bytes) in [(Room { pieces: 2, ..ROOM }, 10), (ROOM, 50)] {
            let mut lanes = Lanes::new(Arc::new(Semaphore::new(9)), room, joined);
            let (open, gate) = sync_channel::<()>(1);
            let waits = move || gate.recv_timeout(PATIENCE).map(|()| vec![0]).map_err(|_| failed());
            lanes.begin(bytes, waits).await.expect("room");
            lanes.begin(bytes, || Ok(vec![1])).await.expect("room");
            {
                let mut third = std::pin::pin!(lanes.begin(bytes, || Ok(vec![2])));
                assert!(futures::poll!(&mut third).is_pending(), "no room");
                open.send(()).expect("waited for");
                third.await.expect("room again");
            }
            assert_eq!(lanes.finish().await.expect("no error"), Some(vec![0, 1, 2]));
        }
        // One alone has room, however large it is.
        let mut lanes = lanes(1);
        lanes.begin(u64::MAX, || Ok(vec![1])).await.expect("alone");
        assert_eq!(lanes.finish().await.expect("no error"), Some(vec![1]));
    }

    #[tokio::test]
    async fn what_fails_is_told_and_turns_are_given_back() {
        let turns = Arc::new(Semaphore::new(1));
        let mut lanes = Lanes::new(turns.clone(), ROOM, joined);
        lanes.begin(10, || Err(failed())).await.expect("not yet");
        lanes.begin(10, || Ok(vec![1])).await.expect("not yet");
        assert!(lanes.finish().await.is_err());
        let mut lanes = Lanes::new(turns.clone(), ROOM, joined);
        lanes.begin(10, || panic!("a fault")).await.expect("not yet");
        assert!(lanes.finish().await.is_err());
        assert_eq!(turns.available_permits(), 1);
    }
}
