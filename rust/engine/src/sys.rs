//! Thin safe faces of the kernel calls that std does not have: epoll, eventfd, thread CPU time, CPU affinity.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use tokio::io::unix::AsyncFd;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes over an open descriptor that its owner has given away; fails when it is none.
pub fn take_descriptor(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only asks about the number.
    check(unsafe { libc::fcntl(fd, libc::F_GETFD) })?;
    // SAFETY: it is open, as was just seen, and whoever gave it away does not use it any more: so says the command.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A counter that one side adds to and the other side waits for (non-blocking on both sides).
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// Makes one; fails when the process is out of file descriptors.
    pub fn new() -> io::Result<EventFd> {
        // SAFETY: plain system call; the result is checked before it becomes an owned descriptor.
        unsafe {
            let fd = check(libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC))?;
            Ok(EventFd(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// Makes it readable. A full counter is readable anyway, so an error means nothing.
    pub fn wake(&self) {
        let one: u64 = 1;
        // SAFETY: writes 8 bytes from a live u64.
        unsafe {
            libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8);
        }
    }

    /// Something to wait for it by on the runtime of the calling thread.
    pub fn watch(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let fd = self.0.try_clone()?;
        // SAFETY: an OwnedFd is open, and always the same descriptor, for as long as it lives.
        unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
    }

    /// Makes it unreadable until the next wake.
    pub fn reset(&self) {
        let mut count: u64 = 0;
        // SAFETY: reads at most 8 bytes into a live u64.
        unsafe {
            libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8);
        }
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A level-triggered epoll set of descriptors that wait to be read.
#[derive(Debug)]
pub struct Poller {
    fd: OwnedFd,
    ready: Vec<libc::epoll_event>,
    count: usize,
}

impl Poller {
    /// Most descriptors reported by one wait.
    const BATCH: usize = 256;

    /// Makes an empty set.
    pub fn new() -> io::Result<Poller> {
        // SAFETY: plain system call; the result is checked before it becomes an owned descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        Ok(Poller { fd, ready: vec![libc::epoll_event { events: 0, u64: 0 }; Poller::BATCH], count: 0 })
    }

    /// Reports `token` while `fd` is readable. Closing the descriptor takes it out again.
    pub fn add(&self, fd: RawFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        // SAFETY: `event` lives through the call.
        unsafe { check(libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event)) }.map(|_| ())
    }

    /// Waits until something is readable or `timeout` has passed; `None` waits for ever.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.count = 0;
        let spec = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
        });
        let spec_pointer = spec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // epoll_pwait2 (Linux 5.11) takes nanoseconds, so a timer never waits for the next whole millisecond.
        // SAFETY: `ready` has BATCH initialised entries; `spec` lives through the call; no signal mask is given.
        let result = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                self.ready.as_mut_ptr(),
                Poller::BATCH as libc::c_int,
                spec_pointer,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        if result >= 0 {
            self.count = usize::try_from(result).unwrap_or(0).min(Poller::BATCH);
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => Ok(()),
            Some(libc::ENOSYS) => self.wait_milliseconds(timeout),
            _ => Err(error),
        }
    }

    fn wait_milliseconds(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout_ms =
            timeout.map_or(-1, |timeout| i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX));
        // SAFETY: `ready` has BATCH initialised entries.
        let result = unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), self.ready.as_mut_ptr(), Poller::BATCH as libc::c_int, timeout_ms)
        };
        match check(result) {
            Ok(count) => {
                self.count = usize::try_from(count).unwrap_or(0).min(Poller::BATCH);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Number of tokens that the last wait reported.
    pub fn ready(&self) -> usize {
        self.count
    }

    /// The `index`th token that the last wait reported.
    pub fn token(&self, index: usize) -> u64 {
        self.ready[..self.count].get(index).map_or(u64::MAX, |event| event.u64)
    }
}

/// Lets the calling thread sleep; what becomes readable meanwhile does not wake it. A signal ends it early, which does no harm
/// to whoever only wants to pass time.
pub fn sleep(duration: Duration) {
    let spec = libc::timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(duration.subsec_nanos() as i32),
    };
    // SAFETY: reads a live timespec; what is left of the time is not asked for.
    unsafe {
        libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &raw const spec, std::ptr::null_mut());
    }
}

/// Timers of the calling thread may be late by so much, where the kernel finds it handy (50 µs unless told).
pub fn set_timer_slack(slack: Duration) {
    let nanoseconds = libc::c_ulong::try_from(slack.as_nanos()).unwrap_or(libc::c_ulong::MAX);
    // SAFETY: plain system call. Whatever comes of it, timers work.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, nanoseconds);
    }
}

/// CPU time that the calling thread has used, in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    let mut spec = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes into a live timespec.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut spec) };
    if result != 0 {
        return 0;
    }
    u64::try_from(spec.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(spec.tv_nsec).unwrap_or(0)
}

/// Lets the calling thread run before all that is not real-time (SCHED_RR at the lowest priority), or as all others do.
/// Threads that it makes are not.
pub fn set_real_time(on: bool) -> io::Result<()> {
    let policy = if on { libc::SCHED_RR } else { libc::SCHED_OTHER } | libc::SCHED_RESET_ON_FORK;
    // SAFETY: an all-zero sched_param is a valid one, on every C library.
    let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
    param.sched_priority = i32::from(on);
    // SAFETY: reads a live sched_param; 0 is the calling thread.
    check(unsafe { libc::sched_setscheduler(0, policy, &raw const param) }).map(|_| ())
}

/// Binds the calling thread to one CPU.
pub fn pin_to_cpu(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: an all-zero cpu_set_t is an empty set; CPU_SET stays inside it because `cpu` is below CPU_SETSIZE.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        check(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)).map(|_| ())
    }
}
