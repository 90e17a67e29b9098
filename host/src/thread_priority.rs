//! Thread priorities: when the cores are busy, threads that serve requests go first.

/// Lets this thread come after the others. Best effort: without it, what it does is only less polite.
#[allow(unsafe_code)]
pub fn step_back() {
    // SAFETY: nice(2) takes a number and touches no memory of ours. On Linux it is about the calling thread alone.
    unsafe { libc::nice(NICENESS) };
}

/// A tenth of the share of a data core, where they compete.
const NICENESS: libc::c_int = 10;

/// The niceness of this thread.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub fn niceness() -> libc::c_int {
    // proc(5): the name may hold spaces, and ends with the last parenthesis; the niceness is the 17th field behind it.
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_the_thread_that_asks_steps_back() {
        let before = niceness();
        let other = std::thread::spawn(|| {
            step_back();
            niceness()
        });
        assert_eq!((other.join().unwrap(), niceness()), ((before + NICENESS).min(19), before), "19 is the last");
    }
}
