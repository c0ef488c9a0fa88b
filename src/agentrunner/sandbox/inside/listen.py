"""Opens the door for a proxy: a listening socket in the sandbox's own network, handed to the agent, who answers there.

Also a program, `python -I -S listen.py FD CMD ARGS...`, for a launcher that is not ours: hands the socket over FD, then
gives way to the command.
"""

from __future__ import annotations

import os
import struct
import sys

TYPE_CHECKING = False  # as in launcher.py
if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence
    from socket import AF_INET, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket
    from typing import NoReturn
else:
    import _signal as signal
    from _socket import AF_INET, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket

HOST, PORT = "127.0.0.1", 3128
_BACKLOG = 64


def hand_out(control_fd: int) -> None:
    """No end of it stays here: what runs in the sandbox can connect, but not answer in the proxy's place."""
    listener = socket(AF_INET, SOCK_STREAM)
    listener.bind((HOST, PORT))
    listener.listen(_BACKLOG)
    control = socket(fileno=control_fd)
    control.sendmsg([b"x"], [(SOL_SOCKET, SCM_RIGHTS, struct.pack("i", listener.fileno()))])
    control.close()
    listener.close()


def execute(argv: Sequence[str], environment: dict[str, str]) -> NoReturn:
    """Becomes the program that was asked for."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # this interpreter ignores them, and that would be inherited
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], list(argv), environment)  # noqa: S606 - that is what this is for
    except FileNotFoundError:
        os.write(2, f"{argv[0]}: command not found\n".encode())
        os._exit(127)
    except OSError as failure:
        os.write(2, f"{argv[0]}: {failure.strerror}\n".encode())
        os._exit(126)


if __name__ == "__main__":
    hand_out(int(sys.argv[1]))
    execute(sys.argv[2:], dict(os.environ))
