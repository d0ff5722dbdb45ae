//! Counts what this thread allocates while it is told to: every call of Rust's allocator and, with glibc, every
//! `malloc` of the C code in the cryptographic library, too.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

thread_local! {
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static PLACES: RefCell<BTreeMap<String, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Allocations whose places are found out; a backtrace takes milliseconds.
const MOST_TRACED: u64 = 300;
/// Frames of the project that tell a place.
const FRAMES: usize = 5;

struct Counted;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Counts one allocation, and remembers where it was.
fn note() {
    if !COUNTING.replace(false) {
        return;
    }
    COUNT.set(COUNT.get() + 1);
    if COUNT.get() <= MOST_TRACED {
        let trace = Backtrace::force_capture().to_string();
        let ours = trace.lines().map(str::trim).filter_map(|line| line.strip_prefix("at ./src/"));
        let place = ours.take(FRAMES).collect::<Vec<_>>().join(" < ");
        PLACES.with_borrow_mut(|places| *places.entry(place).or_default() += 1);
    }
    COUNTING.set(true);
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: promised by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: promised by the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// glibc lets a program put its own functions in the place of these, and keeps its own under other names.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod c {
    use std::ffi::c_void;

    unsafe extern "C" {
        fn __libc_malloc(size: usize) -> *mut c_void;
        fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
        fn __libc_realloc(pointer: *mut c_void, size: usize) -> *mut c_void;
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
        super::note();
        // SAFETY: what C promised of `malloc` holds for this.
        unsafe { __libc_malloc(size) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
        super::note();
        // SAFETY: as above.
        unsafe { __libc_calloc(count, size) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn realloc(pointer: *mut c_void, size: usize) -> *mut c_void {
        super::note();
        // SAFETY: as above.
        unsafe { __libc_realloc(pointer, size) }
    }
}

/// Runs `act` and counts what it allocates.
pub(crate) fn counted<R>(act: impl FnOnce() -> R) -> R {
    COUNTING.set(true);
    let result = act();
    COUNTING.set(false);
    result
}

/// Forgets what was counted on this thread.
pub(crate) fn forget() {
    COUNT.set(0);
    PLACES.take();
}

/// How much was counted on this thread, and the first places in the project's source with how often.
pub(crate) fn found() -> (u64, BTreeMap<String, u64>) {
    (COUNT.get(), PLACES.with_borrow(Clone::clone))
}
