"""The kernel's packet rules, through libnftables: text in, error text out.

libnftables is what the ``nft`` program itself is made of, so the text is exactly what
nft(8) reads; one call is one transaction, all or nothing. A context is made in the
network namespace for which it speaks, and each run enters that namespace again, since
the library may open another socket.

The library waits for answers with select(2), which knows no descriptor above 1,023 and ends
the whole process for one: so a context is refused rather than made with such a socket.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import threading
from functools import cache

from k8slab.embedded.linux import in_netns
from k8slab.errors import EnvironmentLacksError, KernelError

_FD_SETSIZE = 1024

_ONE_AT_A_TIME = threading.Lock()
"""The library promises nothing to threads, not even with a context each; nodes that heal while
several are told (`queue.KernelQueue.each`) take turns."""

_STATELESS = 1 << 2
"""NFT_CTX_OUTPUT_STATELESS of libnftables.h: a listing names a counter without its count."""

_WITH_HANDLES = 1 << 3 | 1 << 2  # NFT_CTX_OUTPUT_HANDLE, and no counts (STATELESS)
_RULE = re.compile(r"^\t\t(?!type )(.+) # handle (\d+)$", re.MULTILINE)

_SHOWN = 400
"""How much of a refused transaction an error shows."""


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError as error:
        raise EnvironmentLacksError(
            f"libnftables cannot be loaded: {error}",
            hint="Install nftables (Debian, Ubuntu: apt-get install nftables).",
        ) from error
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    for name in ("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
        getattr(library, name).restype = ctypes.c_char_p
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library


def _check_descriptors(some: int) -> None:
    number = os.dup(some)  # the lowest that is free: what the library will get
    os.close(number)
    if number >= _FD_SETSIZE:
        raise KernelError(
            f"libnftables cannot work in a process with more than {_FD_SETSIZE} open files",
            errno=errno.EMFILE,
        )


class Nft:
    """nft(8) in one network namespace; not for several threads at once."""

    def __init__(self, netns: int) -> None:
        self._netns = netns
        self._library = _library()
        with in_netns(netns):
            _check_descriptors(netns)
            self._context = self._library.nft_ctx_new(0)
        if not self._context:
            raise KernelError("libnftables gave no context")
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def run(self, text: str) -> str:
        """Apply `text` as one transaction and return what it printed; `KernelError` if refused."""
        with _ONE_AT_A_TIME, in_netns(self._netns):
            failed = self._library.nft_run_cmd_from_buffer(self._context, text.encode())
        output = self._library.nft_ctx_get_output_buffer(self._context) or b""
        errors = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if failed:
            shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "\n..."
            raise KernelError(f"nft refused: {errors.decode().strip()}\n{shown}")
        return str(output.decode())

    def show(self, table: str) -> str:
        """Return what nft(8) lists of a table, without counts; nothing when it is not there."""
        self._library.nft_ctx_output_set_flags(self._context, _STATELESS)
        try:
            return self.run(f"list table {table}")
        except KernelError:
            return ""
        finally:
            self._library.nft_ctx_output_set_flags(self._context, 0)

    def handles(self, family: str, table: str, chain: str) -> dict[int, str]:
        """Return the text of each rule of a chain by its handle; `KernelError` without one."""
        self._library.nft_ctx_output_set_flags(self._context, _WITH_HANDLES)
        try:
            listed = self.run(f"list chain {family} {table} {chain}")
        finally:
            self._library.nft_ctx_output_set_flags(self._context, 0)
        return {int(found[2]): found[1] for found in _RULE.finditer(listed)}

    def close(self) -> None:
        """Free the context; the kernel keeps the rules."""
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None
