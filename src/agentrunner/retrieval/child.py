"""The process in which complex formats are parsed: it reads files' bytes from standard input and writes their text to
standard output, within limits that the kernel holds. It opens no file and no connection. It is started by path, with
the limits as its only argument, so it also runs behind a wall that lets it see little more than this package."""

import importlib
import json
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from agentrunner.retrieval.documents import Document, Limits

_MODULES = {"csv": "separated", "docx": "docx", "html": "html", "pdf": "pdf", "pptx": "pptx", "xlsx": "xlsx"}


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # -I leaves it out
    importlib.import_module("agentrunner")  # this one, should another be installed
    sys.path.append(sys.path.pop(0))  # last, so that nothing beside it shadows the standard library
    documents = importlib.import_module("agentrunner.retrieval.documents")
    limits: Limits = documents.Limits(**json.loads(sys.argv[1]))
    _limit(resource.RLIMIT_AS, limits.memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        data = sys.stdin.buffer.read(request["bytes"])
        if len(data) < request["bytes"]:  # whoever asked is gone
            return
        _limit_processor_time(request["timeout_s"])
        try:
            parser = importlib.import_module(f"agentrunner.retrieval.formats.{_MODULES[request['kind']]}")
            _answer(answers, parser.parse(data, limits))
        except documents.Unreadable as unreadable:
            _refuse(answers, unreadable.sentence)
        except ModuleNotFoundError as error:
            _refuse(answers, f"needs {error.name} to be read; install it with: pip install 'agentrunner[files]'")
        except (MemoryError, RecursionError):
            _refuse(answers, too_big(limits.memory_bytes), last=True)
            return  # what is left of the heap is not worth going on with
        except Exception as error:  # the edge of the process: libraries raise anything on a damaged file
            _refuse(answers, f"is damaged or not what it says it is ({_words(error)}); open it and save it again")


def too_big(memory_bytes: int) -> str:
    return f"needs more than {memory_bytes >> 20:,} MB of memory to be read; split it into smaller files"


def _limit_processor_time(seconds: float) -> None:
    """So that this process ends although the one that waits for it was killed."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + seconds) + 1)


def _limit(kind: int, value: int) -> None:
    """Of two limits the narrower: there may be one already, which only root could raise."""
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _answer(answers: BinaryIO, document: "Document") -> None:
    text = document.text.encode("utf-8")
    parts = [list(part) for part in document.parts]
    _write(answers, {"bytes": len(text), "kind": document.kind, "parts": parts, "notes": document.notes})
    answers.write(text)
    answers.flush()


def _refuse(answers: BinaryIO, sentence: str, *, last: bool = False) -> None:
    _write(answers, {"bytes": 0, "problem": sentence, "last": last})
    answers.flush()


def _write(answers: BinaryIO, header: dict[str, Any]) -> None:
    answers.write(json.dumps(header).encode("ascii") + b"\n")


def _words(error: Exception) -> str:
    """The error in a few words: it may hold a piece of the file."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:120].rstrip(": ")


if __name__ == "__main__":
    main()
