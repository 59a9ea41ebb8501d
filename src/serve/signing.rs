use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use rayon::iter::{ParallelBridge, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::base::NodeId;
use crate::cluster::{SignJob, Signed, TftpService, Waiter};
use crate::measure::ThreadKind;
use crate::net::threads::{StartError, has_threads};

/// Bits of a waiter's number below those of its node.
const NODE_SHIFT: u32 = 56;

/// Marks the waiters that wait for themselves instead of having a pump; nodes are below 64.
const ALONE: u64 = 1 << 63;

/// The threads that sign files, and the way back to the pumps whose requests wait.
#[derive(Clone, Debug)]
pub(super) struct Signing {
    pool: Arc<ThreadPool>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// One channel per node. No bound of its own: it holds at most one message per job, and jobs
    /// are bounded by `queue_max`.
    pumps: Vec<UnboundedSender<Signed>>,
    /// Those who wait for themselves, by their number. Sharded, because every HTTP request enters
    /// and leaves it.
    alone: DashMap<Waiter, oneshot::Sender<Arc<[u8]>>>,
    next_alone: AtomicU64,
    queued: AtomicUsize,
    queue_max: usize,
}

/// The number of the `count`-th waiter of a node, unique in the cluster.
pub(super) const fn waiter(node: NodeId, count: u64) -> Waiter {
    Waiter((node.node as u64) << NODE_SHIFT | (count & ((1 << NODE_SHIFT) - 1)))
}

/// Which waiter of its node it is.
pub(super) const fn count_of(waiter: Waiter) -> u64 {
    waiter.0 & ((1 << NODE_SHIFT) - 1)
}

impl Signing {
    /// Starts the threads; the receivers are those of the nodes, in order.
    pub(super) fn start(
        threads: usize,
        nodes: usize,
        queue_max: usize,
    ) -> Result<(Signing, Vec<UnboundedReceiver<Signed>>), StartError> {
        let name = ThreadKind::ServeSign.name();
        let failed = |cause| StartError { thread: name.to_owned(), cause };
        // The pool does not tell what the host said.
        has_threads(threads).map_err(failed)?;
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|_| name.to_owned())
            .build()
            .map_err(|error| failed(io::Error::other(error)))?;
        let (pumps, receivers) = (0..nodes).map(|_| unbounded_channel()).unzip();
        let shared = Arc::new(Shared {
            pumps,
            alone: DashMap::new(),
            next_alone: AtomicU64::new(0),
            queued: AtomicUsize::new(0),
            queue_max,
        });
        Ok((Signing { pool: Arc::new(pool), shared }, receivers))
    }

    /// Whether as many signatures wait as may.
    pub(super) fn is_full(&self) -> bool {
        self.shared.queued.load(Ordering::Relaxed) >= self.shared.queue_max
    }

    /// Enters a waiter of its own, before the request is made: the signature may come at once.
    pub(super) fn wait(&self) -> Waiting {
        let number = self.shared.next_alone.fetch_add(1, Ordering::Relaxed);
        let id = Waiter(ALONE | number);
        let (sender, signed) = oneshot::channel();
        self.shared.alone.insert(id, sender);
        Waiting { id, signed, shared: Arc::clone(&self.shared) }
    }

    /// Makes a signature and tells the pumps of those who wait for it.
    pub(super) fn spawn(&self, job: SignJob) {
        let shared = Arc::clone(&self.shared);
        shared.queued.fetch_add(1, Ordering::Relaxed);
        self.pool.spawn(move || {
            shared.deliver(job.run());
            shared.queued.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Makes all signatures that a service lacks; returns when they are made.
    pub(super) async fn prewarm(&self, service: &Arc<TftpService>) {
        let (done, made) = oneshot::channel();
        let (shared, service) = (Arc::clone(&self.shared), Arc::clone(service));
        self.pool.spawn(move || {
            let jobs = service.missing_signatures().par_bridge();
            jobs.for_each(|job| shared.deliver(job.run()));
            let _ = done.send(());
        });
        // An error means that the pool is gone: the servers are shutting down.
        let _ = made.await;
    }
}

/// Somebody who waits for one signature; leaves when dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: Waiter,
    signed: oneshot::Receiver<Arc<[u8]>>,
    shared: Arc<Shared>,
}

impl Waiting {
    /// The header, or `None` when the servers shut down.
    pub(super) async fn header(&mut self) -> Option<Arc<[u8]>> {
        (&mut self.signed).await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.alone.remove(&self.id);
    }
}

impl Shared {
    /// Tells every pump about its own waiters, and the others themselves. Prewarming, too, may serve requests that wait.
    fn deliver(&self, signed: Signed) {
        let mut by_node: Vec<Vec<Waiter>> = vec![Vec::new(); self.pumps.len()];
        for waiter in signed.waiters {
            if waiter.0 & ALONE != 0 {
                if let Some((_, sender)) = self.alone.remove(&waiter) {
                    // Who has given up waits for nothing.
                    let _ = sender.send(Arc::clone(&signed.header));
                }
                continue;
            }
            if let Some(waiters) = by_node.get_mut((waiter.0 >> NODE_SHIFT) as usize) {
                waiters.push(waiter);
            }
        }
        for (pump, waiters) in self.pumps.iter().zip(by_node) {
            if !waiters.is_empty() {
                // A pump that has ended waits for nothing.
                let _ = pump.send(Signed { header: Arc::clone(&signed.header), waiters });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ClusterId;

    #[test]
    fn waiters_come_back_to_their_own_node() {
        let (signing, mut receivers) = Signing::start(1, 2, 8).unwrap();
        let mine = [
            waiter(ClusterId::FIRST.node(0), 1),
            waiter(ClusterId::FIRST.node(1), 1),
            waiter(ClusterId::FIRST.node(1), 2),
        ];
        let header: Arc<[u8]> = Arc::from(&b"h"[..]);
        signing.shared.deliver(Signed { header, waiters: mine.to_vec() });
        assert_eq!(receivers[0].try_recv().unwrap().waiters, mine[..1]);
        assert_eq!(receivers[1].try_recv().unwrap().waiters, mine[1..]);
        assert_eq!(mine.map(count_of), [1, 1, 2]);
        assert!(receivers[0].try_recv().is_err());
    }

    #[tokio::test]
    async fn who_waits_alone_is_told_and_leaves_nothing_behind() {
        let (signing, _receivers) = Signing::start(1, 1, 8).unwrap();
        let (mut one, other) = (signing.wait(), signing.wait());
        let header: Arc<[u8]> = Arc::from(&b"h"[..]);
        signing.shared.deliver(Signed { header: Arc::clone(&header), waiters: vec![one.id] });
        assert_eq!(one.header().await, Some(header));
        assert_eq!(signing.shared.alone.len(), 1);
        drop((one, other));
        assert!(signing.shared.alone.is_empty());
    }
}
