"""SPDY/3.1 without input or output: bytes in, events out, and the other way round.

kubectl before 1.31 speaks it for exec, attach and port-forward, and current kubectl
still does inside a WebSocket for port-forward. Source: the SPDY protocol, draft 3.1
(httpwg), section 2.

What is left out: server push, priorities, settings, and per-stream flow control. The
library that every Kubernetes client and server uses never sends WINDOW_UPDATE, so a
sender that waited for one would hang after 64 KiB; TCP alone slows a sender down.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

FIN = 0x01
_VERSION = 3
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS = 1, 2, 3, 4
_PING, _GOAWAY, _HEADERS, _WINDOW_UPDATE = 6, 7, 8, 9

PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, CANCEL = 1, 2, 3, 5

MAX_CONTROL_FRAME = 1 << 16
"""No header block of ours comes near it; it bounds what an odd peer can make us keep."""
_MAX_HEADERS = 1 << 18
_MAX_DATA = 1 << 20
"""Data frames that we send; the format allows 2**24 - 1."""

_WORDS = (
    "options,head,post,put,delete,trace,accept,accept-charset,accept-encoding,accept-language,"
    "accept-ranges,age,allow,authorization,cache-control,connection,content-base,"
    "content-encoding,content-language,content-length,content-location,content-md5,"
    "content-range,content-type,date,etag,expect,expires,from,host,if-match,if-modified-since,"
    "if-none-match,if-range,if-unmodified-since,last-modified,location,max-forwards,pragma,"
    "proxy-authenticate,proxy-authorization,range,referer,retry-after,server,te,trailer,"
    "transfer-encoding,upgrade,user-agent,vary,via,warning,www-authenticate,method,get,status,"
    "200 OK,version,HTTP/1.1,url,public,set-cookie,keep-alive,origin"
)
_TAIL = (
    b"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    b"203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    b"401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    b"503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
    b"Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    b"application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
    b"gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(struct.pack(">I", len(word)) + word.encode() for word in _WORDS.split(",")) + _TAIL
)
"""What both ends' zlib knows beforehand (section 2.6.10.1); Adler-32 0xe3c6a7c2."""


class SpdyError(Exception):
    """The peer broke the protocol; the connection is of no further use."""


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream; answer with `SpdyConnection.reply` or `reset`."""

    stream: int
    headers: dict[str, str]
    fin: bool


@dataclass(frozen=True, slots=True)
class StreamReplied:
    """The peer accepted a stream of ours."""

    stream: int


@dataclass(frozen=True, slots=True)
class DataReceived:
    """A piece of a stream; `fin` with the last one, whose data may be empty."""

    stream: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer gave a stream up."""

    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class GoneAway:
    """The peer opens no further stream."""


Event = StreamOpened | StreamReplied | DataReceived | StreamReset | GoneAway


class SpdyConnection:
    """One end of a SPDY connection.

    Feed `receive` with what came in; after every call send what `take` returns.
    Stream numbers of a client are odd, those of a server even.
    """

    def __init__(self, *, client: bool = False) -> None:
        self._next = 1 if client else 2
        self._last_peer = 0
        self._in = bytearray()
        self._out: list[bytes] = []
        self._data: tuple[int, int, bool] | None = None  # stream, bytes still to come, fin
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)

    def take(self) -> bytes:
        """Return what is to be sent, and forget it."""
        data, self._out = b"".join(self._out), []
        return data

    # what we send

    def open(self, headers: dict[str, str], *, fin: bool = False) -> int:
        """Open a stream and return its number."""
        stream, self._next = self._next, self._next + 2
        body = struct.pack(">IIBB", stream, 0, 0, 0) + self._compress(headers)
        self._control(_SYN_STREAM, FIN if fin else 0, body)
        return stream

    def reply(self, stream: int, headers: dict[str, str] | None = None) -> None:
        """Accept a stream of the peer's."""
        self._control(_SYN_REPLY, 0, struct.pack(">I", stream) + self._compress(headers or {}))

    def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Send data on a stream; `fin` half-closes it."""
        pieces = [data[at : at + _MAX_DATA] for at in range(0, len(data), _MAX_DATA)] or [b""]
        for number, piece in enumerate(pieces, 1):
            flags = FIN if fin and number == len(pieces) else 0
            self._out += [struct.pack(">II", stream, flags << 24 | len(piece)), piece]

    def reset(self, stream: int, status: int = CANCEL) -> None:
        """Give a stream up in both directions."""
        self._control(_RST_STREAM, 0, struct.pack(">II", stream, status))

    def go_away(self) -> None:
        """Say that no further stream will be accepted."""
        self._control(_GOAWAY, 0, struct.pack(">II", self._last_peer, 0))

    def _control(self, kind: int, flags: int, body: bytes) -> None:
        self._out += [struct.pack(">HHI", 0x8000 | _VERSION, kind, flags << 24 | len(body)), body]

    def _compress(self, headers: dict[str, str]) -> bytes:
        parts = [struct.pack(">I", len(headers))]
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                parts += [struct.pack(">I", len(text)), text]
        block = self._deflate.compress(b"".join(parts))
        return block + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    # what we receive

    def receive(self, data: bytes) -> list[Event]:
        """Take in bytes from the peer and return what they mean, in order.

        Data is handed on as it comes, not frame by frame: nothing is kept but an
        unfinished control frame. Raises `SpdyError`.
        """
        self._in += data
        events: list[Event] = []
        while self._step(events):
            pass
        return events

    def _step(self, events: list[Event]) -> bool:
        """Take one frame, or a piece of one; say whether there was any."""
        if self._data is not None:
            return self._data_piece(events)
        if len(self._in) < 8:
            return False
        first, second = struct.unpack_from(">II", self._in)
        flags, length = second >> 24, second & 0xFFFFFF
        if not first >> 31:
            del self._in[:8]
            self._data = (first, length, bool(flags & FIN))
            return True
        if first >> 16 & 0x7FFF != _VERSION:
            raise SpdyError(f"SPDY version {first >> 16 & 0x7FFF} instead of {_VERSION}")
        if length > MAX_CONTROL_FRAME:
            raise SpdyError(f"control frame of {length} bytes")
        if len(self._in) < 8 + length:
            return False
        body = bytes(self._in[8 : 8 + length])
        del self._in[: 8 + length]
        try:
            self._control_frame(first & 0xFFFF, flags, body, events)
        except struct.error as error:
            raise SpdyError(f"control frame {first & 0xFFFF} is too short") from error
        return True

    def _data_piece(self, events: list[Event]) -> bool:
        assert self._data is not None
        stream, missing, fin = self._data
        if missing and not self._in:
            return False
        piece = bytes(self._in[:missing])
        del self._in[:missing]
        missing -= len(piece)
        events.append(DataReceived(stream, piece, fin and not missing))
        self._data = (stream, missing, fin) if missing else None
        return True

    def _control_frame(self, kind: int, flags: int, body: bytes, events: list[Event]) -> None:
        if kind == _SYN_STREAM:
            (stream,) = struct.unpack_from(">I", body)
            headers = self._decompress(body[10:])
            if stream % 2 == self._next % 2 or stream <= self._last_peer:
                raise SpdyError(f"stream {stream} after stream {self._last_peer}")
            self._last_peer = stream
            events.append(StreamOpened(stream, headers, bool(flags & FIN)))
        elif kind in (_SYN_REPLY, _HEADERS):
            (stream,) = struct.unpack_from(">I", body)
            self._decompress(body[4:])
            if kind == _SYN_REPLY:
                events.append(StreamReplied(stream))
            if flags & FIN:
                events.append(DataReceived(stream, b"", fin=True))
        elif kind == _RST_STREAM:
            events.append(StreamReset(*struct.unpack_from(">II", body)))
        elif kind == _PING:
            (number,) = struct.unpack_from(">I", body)
            if number % 2 != self._next % 2:
                self._control(_PING, 0, body)
        elif kind == _GOAWAY:
            events.append(GoneAway())
        elif kind not in (_SETTINGS, _WINDOW_UPDATE):
            raise SpdyError(f"control frame of unknown type {kind}")

    def _decompress(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, _MAX_HEADERS)
        except zlib.error as error:
            raise SpdyError(f"header block: {error}") from error
        if self._inflate.unconsumed_tail:
            raise SpdyError(f"header block of more than {_MAX_HEADERS} bytes")
        (count,), at = struct.unpack_from(">I", plain), 4
        texts: list[str] = []
        for _ in range(2 * min(count, _MAX_HEADERS)):
            (length,) = struct.unpack_from(">I", plain, at)
            texts.append(plain[at + 4 : at + 4 + length].decode("latin-1"))
            at += 4 + length
        return dict(zip(texts[::2], texts[1::2], strict=True))
