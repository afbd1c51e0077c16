"""Reads, and drops, what programs still write whose attempts have ended: a process of its own, started by its path.

What a command leaves behind keeps the pipe that was its output. Were nobody to read it, it would die by SIGPIPE at its
next write, or stand still when the pipe is full. This process outlives the executor, so a restart of the executor harms
nothing that it left behind either. It ends when nobody can write any more, or give it another pipe.

Imports the standard library only, and little of it: it is started without site-packages, and stays for as long as what
was left behind runs.
"""

import os
import select
import socket
import sys

_READ_BYTES = 64 * 1024
_MESSAGE_PIPES = 1


def drain(control_fd: int) -> None:
    """Read the pipes that arrive over a socket until all of them, and the socket, have come to their end."""
    control = socket.socket(fileno=control_fd)
    poll = select.epoll()
    poll.register(control_fd, select.EPOLLIN)
    waited_for = {control_fd}
    while waited_for:
        for fd, _ in poll.poll():
            if fd != control_fd:
                ended = not _read(fd)
            else:
                said, fds, _, _ = socket.recv_fds(control, 1, _MESSAGE_PIPES)
                ended = not said
                for each in fds:
                    poll.register(each, select.EPOLLIN)
                    waited_for.add(each)
            if ended:
                os.close(fd)
                waited_for.remove(fd)


def _read(fd: int) -> bool:
    """Drop one read; False at the end."""
    try:
        return bool(os.read(fd, _READ_BYTES))
    except BlockingIOError:
        return True


if __name__ == "__main__":
    # The executor waits for this process; its child is nobody's, so nobody has to collect it.
    if os.fork() == 0:
        drain(int(sys.argv[1]))
