"""What SQLite's file is written by: a process beside the worker, apart.py, as PostgreSQL's server is one.

SQLite within the worker would take the processor from requests, and its thread the interpreter from streams. The process is started when
it is first needed, and again when it has ended. It ends with its worker, however that ends.
"""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path

from .. import child

LONGEST = 60.0  # seconds for one thing to do: a process that does not answer for so long is killed
ENDING = 1.0  # seconds in which it ends by itself


class Writer:
    """Asks the process, one thing after the other. path: of a file that is there when something is asked."""

    def __init__(self, path: str) -> None:
        self._argv = child.argv("control.apart", f"{Path(path).absolute().as_uri()}?mode=rw")
        self._started: asyncio.Task[Process] | None = None  # whoever waits for it may be cancelled
        self._killed = False
        self._turn = asyncio.Lock()

    async def ask(self, line: bytes) -> str:
        """Its answer. Raises OSError, TimeoutError: whether it was done is unknown then."""
        async with self._turn:
            process = await self._running()
            try:
                async with asyncio.timeout(LONGEST):
                    return await _asked(process, line)
            except BaseException:
                self._kill(process)  # else its answer would be taken for that of the next thing
                raise

    async def close(self) -> None:
        """Let it end. Nothing is asked any more."""
        if self._started is None:
            return
        with suppress(OSError):
            process = await self._started
            assert process.stdin is not None
            process.stdin.close()
            for _ in range(2):
                with suppress(TimeoutError):
                    async with asyncio.timeout(ENDING):
                        await process.communicate()
                        return
                self._kill(process)

    async def _running(self) -> Process:
        if self._started is not None:
            with suppress(OSError):  # it could not be started
                process = await asyncio.shield(self._started)
                if not self._killed and process.returncode is None:
                    return process
                await process.communicate()  # its pipes are closed then
        start = asyncio.create_subprocess_exec(*self._argv, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        self._started, self._killed = asyncio.get_running_loop().create_task(start), False
        return await asyncio.shield(self._started)

    def _kill(self, process: Process) -> None:
        self._killed = True
        with suppress(ProcessLookupError):
            process.kill()


async def _asked(process: Process, line: bytes) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.writelines((line, b"\n"))
    await process.stdin.drain()
    answer = await process.stdout.readline()
    if not answer.endswith(b"\n"):
        raise OSError("the process that writes the file has ended")
    return answer[:-1].decode(errors="replace")
