//! What the process asks of its allocator.

/// Has memory that one thread gives back serve the others too, and large buffers go back to the system at once. By itself glibc keeps an arena a
/// thread and, once it has freed a large buffer, every one up to that size: with rows of several megabytes that is a quarter of the peak.
pub fn give_back_early() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::ffi::c_int;

        unsafe extern "C" {
            /// mallopt(3)
            fn mallopt(parameter: c_int, value: c_int) -> c_int;
        }
        const M_MMAP_THRESHOLD: c_int = -3;
        const M_ARENA_MAX: c_int = -8;
        for (parameter, value) in [(M_MMAP_THRESHOLD, 1 << 20), (M_ARENA_MAX, 1)] {
            // SAFETY: both parameters take a number, whenever they are set. That one is not taken changes nothing but the peak.
            unsafe { mallopt(parameter, value) };
        }
    }
}
