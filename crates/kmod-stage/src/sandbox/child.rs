//! What happens between fork and exec.
//!
//! The caller may have threads, so the child may hold locks that nobody will ever release: from
//! here on only system calls on memory prepared before (`Prepared`), no allocation, no formatting.
//! Errors are bare numbers of the kernel for the same reason.
//!
//! A new pid namespace begins with the *next* child, so this rung forks once more. The process in
//! between (the supervisor) closes everything it has, waits for the program, and ends the way the
//! program ended. It dies with the caller, the program dies with it, and with the program, which is
//! process 1 of its namespace, everything in that namespace.

#![expect(unsafe_code, reason = "fork, exit, signals and Landlock have no safe form in a child")]

use std::ffi::CStr;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{self, MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{self, Pid, Signal};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};

use super::prepare::Prepared;
use super::{Rung, Step};

/// Makes `command` confine itself as `prepared` says before it becomes the program.
pub(super) fn confine(command: &mut Command, prepared: Prepared) {
    // SAFETY: `enter` makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(move || enter(&prepared).map_err(io::Error::from)) };
}

/// Makes `command` end with the thread that starts it, also when that is killed.
pub(crate) fn end_with_parent(command: &mut Command) {
    let parent = process::getpid();
    let tie = move || {
        die_with_parent()?;
        // The caller may have died before it could be watched.
        if process::getppid() == Some(parent) { Ok(()) } else { Err(io::Error::from(Errno::SRCH)) }
    };
    // SAFETY: makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(tie) };
}

/// The version of the Landlock interface; none where the kernel has none.
pub(super) fn landlock_version() -> Option<u32> {
    /// `LANDLOCK_CREATE_RULESET_VERSION` of linux/landlock.h.
    const VERSION: u32 = 1;
    // SAFETY: with this flag the kernel reads no attributes.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION) };
    u32::try_from(answer).ok().filter(|version| *version > 0)
}

/// Confines the calling process.
fn enter(p: &Prepared) -> Result<(), Errno> {
    step(p, Step::Fork)?;
    die_with_parent()?;
    if process::getppid() != Some(p.parent) {
        // The caller died before it could be watched.
        return Err(Errno::SRCH);
    }
    match p.rung {
        Rung::Namespaces => {
            new_namespaces(p)?;
            step(p, Step::Mount)?;
            mount_root(p)?;
            step(p, Step::ChangeRoot)?;
            pivot(&p.root)?;
            step(p, Step::Init)?;
            second_fork(p)?;
        }
        Rung::Landlock => process::chdir(c"/")?,
        Rung::Chroot => {
            step(p, Step::ChangeRoot)?;
            process::chroot(p.root.as_c_str())?;
            process::chdir(c"/")?;
        }
    }
    step(p, Step::Limits)?;
    for (resource, limit) in &p.rlimits {
        process::setrlimit(*resource, *limit)?;
    }
    step(p, Step::Privileges)?;
    give_up_privileges()?;
    close_on_exec();
    step(p, Step::Landlock)?;
    restrict(p)?;
    step(p, Step::Seccomp)?;
    seccompiler::apply_filter(&p.filter).map_err(|error| filter_errno(&error))?;
    step(p, Step::Exec)
}

/// Tells the caller which step begins.
fn step(p: &Prepared, step: Step) -> Result<(), Errno> {
    rustix::io::write(&p.trail, &[step as u8]).map(drop)
}

/// The kernel's answer to the filter.
fn filter_errno(error: &seccompiler::Error) -> Errno {
    match error {
        seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => {
            Errno::from_io_error(error).unwrap_or(Errno::PERM)
        }
        _ => Errno::PERM,
    }
}

/// Asks to be killed when the parent ends. Forgotten whenever credentials change.
fn die_with_parent() -> Result<(), Errno> {
    process::set_parent_process_death_signal(Some(Signal::KILL))
}

fn new_namespaces(p: &Prepared) -> Result<(), Errno> {
    step(p, Step::Unshare)?;
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS;
    // SAFETY: takes numbers only.
    check(unsafe { libc::unshare(flags) })?;
    die_with_parent()?;
    step(p, Step::IdMap)?;
    // Without this an unprivileged process may not map its group.
    write_file(c"/proc/self/setgroups", b"deny")?;
    write_file(c"/proc/self/uid_map", p.uid_map.as_bytes())?;
    write_file(c"/proc/self/gid_map", p.gid_map.as_bytes())?;
    let name = b"sandbox";
    // SAFETY: the pointer and the length are of one array.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) })
}

fn write_file(path: &CStr, bytes: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    // The kernel takes these in one write or not at all.
    rustix::io::write(&file, bytes).map(drop)
}

/// Mounts the root on itself, read-only but for the writable directories.
fn mount_root(p: &Prepared) -> Result<(), Errno> {
    let harmless = MountFlags::NOSUID | MountFlags::NODEV;
    // Nothing of this reaches the mounts of the host.
    mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    bind(&p.root, harmless | MountFlags::RDONLY | p.inherited, || {
        p.writable.iter().try_for_each(|path| mount::mount_bind(path, path))
    })?;
    p.writable.iter().try_for_each(|path| remount(path, harmless | MountFlags::NOEXEC))
}

/// Mounts `path` on itself, lets `inner` mount below while that is still allowed, sets the flags.
fn bind(path: &CStr, flags: MountFlags, inner: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    mount::mount_bind(path, path)?;
    inner()?;
    remount(path, flags)
}

fn remount(path: &CStr, flags: MountFlags) -> Result<(), Errno> {
    mount::mount_remount(path, MountFlags::BIND | flags, c"")
}

/// Makes `root` the root and lets go of the old one, which is for a moment mounted over it.
fn pivot(root: &CStr) -> Result<(), Errno> {
    process::chdir(root)?;
    process::pivot_root(c".", c".")?;
    mount::unmount(c".", UnmountFlags::DETACH)?;
    process::chdir(c"/")
}

/// Starts process 1 of the pid namespace and returns in it; the caller becomes its supervisor.
fn second_fork(p: &Prepared) -> Result<(), Errno> {
    // SAFETY: an all-zero signal set is a valid value, initialised by the next call.
    let (mut watched, mut before): (libc::sigset_t, libc::sigset_t) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // Blocked before the fork, so that the end of the program cannot be missed.
    // SAFETY: both sets live on this stack.
    unsafe {
        // A caller that ignores it would have the program reaped before its status is read.
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::sigemptyset(&raw mut watched);
        libc::sigaddset(&raw mut watched, libc::SIGCHLD);
        libc::sigaddset(&raw mut watched, libc::SIGTERM);
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const watched, &raw mut before))?;
    }
    // SAFETY: this process has one thread, and libc took its own locks around the first fork.
    match unsafe { libc::fork() } {
        -1 => Err(last_error()),
        0 => {
            die_with_parent()?;
            // SAFETY: the set was filled by the kernel above.
            check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) })
        }
        program => supervise(program, &watched, p.cpu_seconds),
    }
}

/// Waits for the program, kills it on `SIGTERM`, and ends as it ended.
fn supervise(program: libc::pid_t, watched: &libc::sigset_t, cpu_seconds: u64) -> ! {
    let _core = process::setrlimit(process::Resource::Core, process::Rlimit { current: Some(0), maximum: Some(0) });
    // With them closed the caller sees the exec, and the end of stderr.
    close_everything();
    let Some(pid) = Pid::from_raw(program) else { exit(LOST) };
    loop {
        match process::waitpid(Some(pid), process::WaitOptions::NOHANG) {
            Ok(None) | Err(Errno::INTR) => {}
            Ok(Some((_, status))) => {
                if let Some(code) = status.exit_status() {
                    exit(code);
                }
                end_by(status.terminating_signal().unwrap_or(libc::SIGKILL), cpu_seconds);
            }
            Err(_) => exit(LOST),
        }
        // SAFETY: the set is initialised, and no information is asked for.
        let signal = unsafe { libc::sigwaitinfo(watched, std::ptr::null_mut()) };
        if signal == libc::SIGTERM {
            let _gone = process::kill_process(pid, Signal::KILL);
        }
    }
}

/// The exit code of a supervisor that lost its program, which the kernel does not let happen.
const LOST: i32 = 125;

/// Ends this process by `signal`.
fn end_by(signal: i32, cpu_seconds: u64) -> ! {
    // Process 1 of a namespace never gets SIGXCPU, only the SIGKILL that follows: say which it was.
    let spent = signal == libc::SIGKILL && children_cpu_seconds() >= cpu_seconds;
    let signal = if spent { libc::SIGXCPU } else { signal };
    // SAFETY: takes numbers, and a set on this stack that sigemptyset initialises.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        libc::kill(libc::getpid(), signal);
    }
    exit(LOST)
}

/// Processor seconds of the processes waited for.
fn children_cpu_seconds() -> u64 {
    // SAFETY: the kernel fills the structure, for which all zeros is a valid value.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let micros = usage.ru_utime.tv_usec.saturating_add(usage.ru_stime.tv_usec);
    let seconds = usage.ru_utime.tv_sec.saturating_add(usage.ru_stime.tv_sec);
    u64::try_from(seconds.saturating_add(micros / 1_000_000)).unwrap_or(0)
}

/// Drops every capability for good: also uid 0 of a namespace gets none back by exec.
fn give_up_privileges() -> Result<(), Errno> {
    let secure = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
    match rustix::thread::set_capabilities_secure_bits(secure) {
        // An unprivileged process has nothing to lock.
        Ok(()) | Err(Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets)?;
    rustix::thread::set_no_new_privs(true)?;
    die_with_parent()
}

fn restrict(p: &Prepared) -> Result<(), Errno> {
    let Some(ruleset) = &p.landlock else {
        return Ok(());
    };
    // SAFETY: takes a descriptor that is open and a number.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) };
    if answer == 0 { Ok(()) } else { Err(last_error()) }
}

/// Marks every descriptor but the standard ones to be closed by exec: the caller may have leaked
/// some of its own.
fn close_on_exec() {
    // SAFETY: takes numbers only.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if answer == 0 {
        return;
    }
    // Kernels before 5.11.
    for fd in 3..descriptors() {
        // SAFETY: takes numbers; a closed descriptor answers EBADF.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

fn close_everything() {
    // SAFETY: takes numbers; nothing uses a descriptor after this.
    if unsafe { libc::syscall(libc::SYS_close_range, 0_u32, u32::MAX, 0_u32) } == 0 {
        return;
    }
    for fd in 0..descriptors() {
        // SAFETY: as above.
        unsafe { libc::close(fd) };
    }
}

/// One above the highest descriptor to expect.
fn descriptors() -> i32 {
    // SAFETY: takes a number.
    let limit = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
    i32::try_from(limit).unwrap_or(i32::MAX)
}

fn exit(code: i32) -> ! {
    // SAFETY: ends the process without running anything of the caller's.
    unsafe { libc::_exit(code) }
}

fn check(answer: i32) -> Result<(), Errno> {
    if answer == 0 { Ok(()) } else { Err(last_error()) }
}

/// The last error, without allocation.
fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
