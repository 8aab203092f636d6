"""What is asked of the kernel about TCP that Python's `socket` does not offer."""

from __future__ import annotations

import array
import ctypes
import fcntl
import socket
import struct
import sys
import termios
from asyncio.trsock import TransportSocket

# Linux only: https://man7.org/linux/man-pages/man7/socket.7.html
SO_ATTACH_FILTER = 26

# A classic BPF program over a segment's TCP header, which any user may attach to a socket of their own:
# https://www.kernel.org/doc/html/latest/networking/filter.html. Instructions: (code, jump if true, if false, k).
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte with the flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 1, 0, 0x02),  # SYN alone, which begins a handshake?
    (0x06, 0, 0, 0xFFFFFFFF),  # no: let it in
    (0x06, 0, 0, 0),  # yes: drop it
)


def refuse_handshakes(listening: socket.socket) -> bool:
    """Begin no more TCP handshakes on `listening`; those that have begun continue, and end in its queue.

    The kernel drops the segment that would begin a handshake, so that the client's kernel sends it again (after a
    second) and reaches another process that listens then. Returns False where the system does not support this.
    """
    if sys.platform != "linux":
        return False
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN))
    described = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(program))
    try:
        listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)
    except OSError:
        return False
    return True


def unread_bytes(connection: socket.socket | TransportSocket) -> int:
    """How many bytes have arrived on `connection` and were not read yet; 0 when it is closed."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(connection.fileno(), termios.FIONREAD, count)
    except (OSError, ValueError):
        return 0
    return count[0]
