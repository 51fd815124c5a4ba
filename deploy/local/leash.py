"""Become the program given, so that it dies when its keeper dies.

    leash.py DEATH_SIGNAL KEEPER_PID USER PROGRAM [ARGUMENT...]      (USER may be "-": stay who we are)

Run by path with `python -I -S`, so it imports nothing but the standard library. The order matters: changing the user
clears the death signal, and a keeper that died before the signal was set would never be noticed.
"""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1


def main(death_signal: str, keeper_pid: str, user: str, *argv: str) -> None:
    if user != "-":
        _become(pwd.getpwnam(user))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != int(keeper_pid):
        sys.exit("the process that started this one is gone")
    os.execv(argv[0], argv)  # noqa: S606 - our own program, without a shell


def _become(account: pwd.struct_passwd) -> None:
    try:
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    except OSError as error:
        sys.exit(
            f"cannot become {account.pw_name}: {error.strerror}; start Runstone as an ordinary user instead of root"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
