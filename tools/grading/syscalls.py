"""What a learner's code may not ask of the kernel: a seccomp filter, compiled by libseccomp.

Whatever is refused here no exercise needs. A call that is refused fails as one that the user has no right to.
"""

import errno
import functools
import tempfile

NEW_NAMESPACES = (0x00000080, 0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
REFUSED = (
    # keys outlive the process that leaves them
    *("add_key", "request_key", "keyctl"),
    # ways to ask the kernel for things that go around a filter, or that have been ways out of one
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "bpf", "perf_event_open", "vmsplice"),
    # into other processes
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp"),
    # spaces of one's own, in which one is root
    *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "mount_setattr", "move_mount", "open_tree"),
    *("fsopen", "fsconfig", "fsmount", "fspick"),
    # files by handles, and memory that no limit counts
    *("inotify_init", "inotify_init1", "inotify_add_watch"),  # of files that others use, too
    *("open_by_handle_at", "name_to_handle_at", "memfd_secret", "memfd_create", "fanotify_init", "lookup_dcookie"),
    # the machine itself
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff"),
    *("acct", "quotactl", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "syslog", "personality"),
    *("iopl", "ioperm", "sethostname", "setdomainname", "vhangup", "nfsservctl", "move_pages", "mbind"),
    # marks on files that are those of the machine: their times and locks would be seen by the next, or by a neighbour
    *("utime", "utimes", "futimesat", "utimensat", "flock"),
    # queues and segments of memory that stay when the process is gone
    *("mq_open", "msgget", "semget", "shmget"),
)
FAMILIES = (1, 2, 10)  # of sockets: within the machine, IPv4 and IPv6; there is no network behind these
PROTOCOL = 17  # the last that is usual, UDP
# What `fcntl` may not be asked: locks, leases, notices and hints, which are kept with the file (linux/fcntl.h).
KEPT_WITH_FILES = (5, 6, 7, 36, 37, 38, 1024, 1025, 1026, 1035, 1036, 1037, 1038)
SHARED_MEMORY = 0x21  # MAP_SHARED and MAP_ANONYMOUS


@functools.cache
def refusals() -> bytes:
    """The filter, as the kernel takes it.

    Raises:
        OSError: where libseccomp is not installed.
    """
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise OSError(f"libseccomp is not installed ({error})") from None
    chosen = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    refuse = pyseccomp.ERRNO(errno.EPERM)
    for name in REFUSED:
        if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) >= 0:  # not all exist on every processor
            chosen.add_rule(refuse, name)
    for flag in NEW_NAMESPACES:
        chosen.add_rule(refuse, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, flag, flag))
    for asked in KEPT_WITH_FILES:
        chosen.add_rule(refuse, "fcntl", pyseccomp.Arg(1, pyseccomp.EQ, asked))
    # its flags lie in memory, where no filter can read them; told that it does not exist, everyone falls back to clone
    chosen.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    for name, families in (("socket", FAMILIES), ("socketpair", FAMILIES[:1])):
        for family in range(families[-1]):
            if family not in families:
                chosen.add_rule(refuse, name, pyseccomp.Arg(0, pyseccomp.EQ, family))
        chosen.add_rule(refuse, name, pyseccomp.Arg(0, pyseccomp.GT, families[-1]))
    chosen.add_rule(refuse, "socket", pyseccomp.Arg(2, pyseccomp.GT, PROTOCOL))
    # memory that belongs to nobody's share once its mapping has shrunk
    chosen.add_rule(refuse, "mmap", pyseccomp.Arg(3, pyseccomp.MASKED_EQ, SHARED_MEMORY, SHARED_MEMORY))
    with tempfile.TemporaryFile() as file:
        chosen.export_bpf(file)
        file.seek(0)
        return file.read()
