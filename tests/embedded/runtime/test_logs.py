"""Log files: format, rotation, reading."""

import asyncio
from types import SimpleNamespace

from k8slab.embedded.runtime import logs
from k8slab.embedded.runtime.logs import LogFile, LogOptions, Throttle, read_log


def reading(path, live=None, **options):
    async def read():
        return [piece async for piece in read_log(path, LogOptions(**options), lambda: live)]

    return b"".join(asyncio.run(read()))


def written(path, *pieces):
    async def write():
        log = LogFile(path)
        for stream, data in pieces:
            log.write(stream, data)
        log.close()

    asyncio.run(write())
    return [line.split(b" ", 1)[1] for line in path.read_bytes().split(b"\n")[:-1]]


def test_lines_of_two_streams_are_kept_apart(tmp_path):
    pieces = [("stdout", b"one\ntw"), ("stderr", b"err\n"), ("stdout", b"o\n")]
    assert written(tmp_path / "log", *pieces) == [b"stdout F one", b"stderr F err", b"stdout F two"]


def test_an_unfinished_line_is_written_at_the_end(tmp_path):
    assert written(tmp_path / "log", ("stdout", b"a\nb")) == [b"stdout F a", b"stdout P b"]
    assert reading(tmp_path / "log") == b"a\nb"


def test_a_long_line_comes_back_in_one_piece(tmp_path):
    line = b"x" * (2 * logs.LONGEST_LINE + 5)
    records = written(tmp_path / "log", ("stdout", line + b"\nend\n"))
    assert [record[7:8] for record in records] == [b"P", b"P", b"F", b"F"]
    assert reading(tmp_path / "log") == line + b"\nend\n"
    assert reading(tmp_path / "log", tail=2) == line + b"\nend\n"
    assert reading(tmp_path / "log", tail=1) == b"end\n"


def test_a_carriage_return_is_no_line_end(tmp_path):
    written(tmp_path / "log", ("stdout", b"10%\r20%\r\n"))
    assert reading(tmp_path / "log") == b"10%\r20%\r\n"


def test_nothing_lies_at_a_path_that_was_never_written(tmp_path):
    assert reading(tmp_path / "log") == b""
    assert reading(tmp_path / "log", tail=0) == b""


def test_a_full_log_is_rotated_and_both_parts_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "LIMIT", 400)
    lines = [f"line {number:03}\n".encode() for number in range(20)]
    written(tmp_path / "log", *(("stdout", line) for line in lines))
    assert (tmp_path / "log").stat().st_size <= 400
    assert (tmp_path / "log.1").stat().st_size <= 400
    text = reading(tmp_path / "log")
    assert b"".join(lines).endswith(text)
    assert reading(tmp_path / "log", tail=9) == b"".join(lines[-9:])


def test_following_goes_on_across_a_rotation(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "LIMIT", 400)

    async def follow():
        log = LogFile(tmp_path / "log")
        log.write("stdout", b"first\n")
        pieces = read_log(tmp_path / "log", LogOptions(follow=True), lambda: log)
        text = await anext(pieces)
        for number in range(12):
            log.write("stdout", f"line {number}\n".encode())
            if number == 3:
                text += await anext(pieces)
        log.close()
        return text + b"".join([piece async for piece in pieces])

    text = asyncio.run(follow())
    assert text == b"first\n" + b"".join(f"line {number}\n".encode() for number in range(12))


def test_a_writer_that_is_too_fast_has_to_wait(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(logs, "time", SimpleNamespace(monotonic=lambda: now[0]))
    throttle = Throttle()
    assert throttle.take(logs.SPEED // 2) == 0
    assert throttle.take(logs.SPEED) == 0.5
    now[0] += 0.25
    assert throttle.take(0) == 0.25


def test_what_is_written_during_the_last_look_is_still_followed(tmp_path, monkeypatch):
    read_from = logs._read_from

    async def follow():
        log = LogFile(tmp_path / "log")
        log.write("stdout", b"first\n")

        def slow_read(path, position):
            data = read_from(path, position)
            if not data and not log.closed:  # while a reader looks, the container ends
                log.write("stdout", b"last")
                log.close()
            return data

        monkeypatch.setattr(logs, "_read_from", slow_read)
        pieces = read_log(log.path, LogOptions(follow=True), lambda: log)
        return b"".join([piece async for piece in pieces])

    assert asyncio.run(asyncio.wait_for(follow(), 30)) == b"first\nlast"
