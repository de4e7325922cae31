//! Processes that a worker starts end with it, however that ends.

use std::io;

use nix::unistd::Pid;

/// To be called between fork and exec: has the kernel kill this process when its parent ends. It makes two system calls, and
/// neither allocates nor locks. The signal comes when the *thread* that started the process ends (`PR_SET_PDEATHSIG(2const)`).
///
/// # Errors
/// Where the parent, whose id must be given, has ended before.
#[cfg(target_os = "linux")]
pub(crate) fn die_with(parent: Pid) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    if nix::unistd::getppid() != parent {
        return Err(nix::errno::Errno::ESRCH.into()); // it ended before the signal was set
    }
    Ok(())
}

/// No death signals here: what a killed worker leaves behind goes on to its own end.
#[cfg(not(target_os = "linux"))]
pub(crate) fn die_with(_: Pid) -> io::Result<()> {
    Ok(())
}
