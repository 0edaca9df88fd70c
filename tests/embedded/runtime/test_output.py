"""What a container wrote before somebody attached: told once, by the log or by the attachment."""

import asyncio

import pytest

from k8slab.embedded.runtime.containers import Output
from k8slab.embedded.runtime.logs import LogFile, LogOptions, read_log


@pytest.fixture
def told(tmp_path):
    """Return a function: what an attachment is told after the log was read, or was not."""

    def play(*, reading):
        async def main():
            log = LogFile(tmp_path / "0.log")
            output = Output(log, keep=True)
            output._take("stdout", b"one\n/ # ")
            if reading:
                text = read_log(log.path, LogOptions(), lambda: log, seen=output.forget_lines)
                pieces = [piece async for piece in text]
                assert b"".join(pieces) == b"one\n"
            output._take("stdout", b"two\n")
            heard = []
            output.listen(lambda _, data: heard.append(data))
            log.close()
            return b"".join(heard)

        return asyncio.run(main())

    return play


def test_who_attaches_first_is_told_what_was_written_before(told):
    assert told(reading=False) == b"one\n/ # two\n"


def test_lines_that_were_read_in_the_log_are_not_told_again_but_a_prompt_is(told):
    assert told(reading=True) == b"/ # two\n"
