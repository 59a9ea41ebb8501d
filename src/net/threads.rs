//! Threads and runtimes, the only way to make them in live runs: what the host refuses is an
//! error here, and what was made can be dropped anywhere.

use std::fs::File;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};
use tokio::sync::oneshot;

use super::remedy;

/// Descriptors that a runtime takes at most: event queue, its waker, a pair for signals and a copy
/// of one of them, one to spare (tokio 1.54).
const RUNTIME_DESCRIPTORS: usize = 6;

/// A thread or a runtime that the host does not give.
#[derive(Debug, thiserror::Error)]
#[error("cannot start thread {thread}: {cause}; {}", remedy(cause))]
pub struct StartError {
    /// Its name.
    pub thread: String,
    /// What the host said.
    #[source]
    pub cause: io::Error,
}

/// A tokio runtime that ends in the background wherever it is dropped, inside of another one as
/// well, where tokio's own would panic.
#[derive(Debug)]
pub struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    /// A runtime with `threads` threads of this name.
    pub fn with_threads(name: &str, threads: usize) -> Result<OwnRuntime, StartError> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(threads).thread_name(name);
        OwnRuntime::build(name, threads, builder)
    }

    /// A runtime for the thread of this name that will block on it.
    pub fn of_one_thread(name: &str) -> Result<OwnRuntime, StartError> {
        OwnRuntime::build(name, 0, Builder::new_current_thread())
    }

    fn build(name: &str, threads: usize, mut builder: Builder) -> Result<OwnRuntime, StartError> {
        // tokio panics when a thread of its own is refused.
        has_descriptors(RUNTIME_DESCRIPTORS)
            .and_then(|()| has_threads(threads))
            .and_then(|()| builder.enable_all().build())
            .map(|runtime| OwnRuntime(Some(runtime)))
            .map_err(|cause| failed(name, cause))
    }

    fn inner(&self) -> &Runtime {
        self.0.as_ref().expect("it is taken only when dropped")
    }

    /// By which others spawn tasks on it.
    pub fn handle(&self) -> &Handle {
        self.inner().handle()
    }

    /// Enters it, so that sockets can be opened for it.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.inner().enter()
    }

    /// Runs `future` to its end on this thread.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.inner().block_on(future)
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Starts a thread of this name.
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, StartError> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|cause| failed(name, cause))
}

/// A thread that does the same again and again until this is dropped.
#[derive(Debug)]
pub struct Repeated {
    stopped: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Repeated {
    /// Starts the thread of this name, which pauses for so long after each time.
    pub fn start(
        name: &str,
        pause: Duration,
        work: impl Fn() + Send + 'static,
    ) -> Result<Repeated, StartError> {
        let stopped = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stopped);
        let thread = spawn(name, move || {
            while !is_stopped.load(Ordering::Relaxed) {
                work();
                thread::park_timeout(pause);
            }
        })?;
        Ok(Repeated { stopped, thread: Some(thread) })
    }
}

impl Drop for Repeated {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A run that is over has no use for the reason.
            let _ = thread.join();
        }
    }
}

/// Does something long on a thread of its own, so that nobody else waits.
pub async fn apart<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StartError> {
    let (done, result) = oneshot::channel();
    // Who asked may have gone away meanwhile.
    spawn(name, move || drop(done.send(work())))?;
    Ok(result.await.unwrap_or_else(|_| panic!("the thread {name} panicked")))
}

/// Starts the pool on which work is shared among all cores; once is enough.
pub fn start_pool() -> Result<(), StartError> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    has_threads(threads).map_err(|cause| failed("pool", cause))?;
    // An error means that it runs already.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    Ok(())
}

/// Whether the host gives so many more threads at this moment.
pub fn has_threads(count: usize) -> io::Result<()> {
    let mut waiting = Vec::new();
    for _ in 0..count {
        let (end, ended) = mpsc::channel::<()>();
        let thread = thread::Builder::new().name("probe".to_owned());
        // It waits until its sender is dropped.
        waiting.push((end, thread.spawn(move || _ = ended.recv())?));
    }
    for (end, thread) in waiting {
        drop(end);
        // It cannot panic.
        let _ = thread.join();
    }
    Ok(())
}

/// Whether the host gives so many more descriptors at this moment.
pub fn has_descriptors(count: usize) -> io::Result<()> {
    (0..count).map(|_| File::open("/dev/null")).collect::<io::Result<Vec<_>>>().map(drop)
}

fn failed(thread: &str, cause: io::Error) -> StartError {
    StartError { thread: thread.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_dropped_inside_of_another_one_without_a_panic() {
        let outer = OwnRuntime::of_one_thread("outer").unwrap();
        outer.block_on(async {
            drop(OwnRuntime::with_threads("inner", 1).unwrap());
            drop(OwnRuntime::of_one_thread("inner").unwrap());
        });
    }

    #[test]
    fn work_apart_comes_back_to_who_asked() {
        let runtime = OwnRuntime::of_one_thread("test").unwrap();
        let name = || thread::current().name().map(str::to_owned);
        let found = runtime.block_on(apart("elsewhere", name)).unwrap();
        assert_eq!(found.as_deref(), Some("elsewhere"));
    }

    #[test]
    fn an_error_names_the_thread_the_cause_and_the_remedy() {
        let cause = io::Error::from_raw_os_error(nix::libc::EMFILE);
        let text = failed("serve-tvs", cause).to_string();
        assert!(text.starts_with("cannot start thread serve-tvs: Too many open files"), "{text}");
        assert!(text.contains("; raise the limit of descriptors"), "{text}");
    }
}
