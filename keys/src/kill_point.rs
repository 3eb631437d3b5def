//! Places where a test may end the process as a power failure would. Debug builds only: in a release
//! build the environment is not even read.

/// Kills this process with SIGKILL if it is a debug build and `TREFOIL_KILL_AT` is `name`. Names are
/// `area.what has just happened`, such as `bootstrap.claimed`.
pub fn kill_point(name: &str) {
    #[cfg(debug_assertions)]
    if std::env::var_os("TREFOIL_KILL_AT").is_some_and(|wanted| wanted == name) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal may reach another thread first.
        loop {
            std::thread::park();
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}
