"""The folders that file tools reach: the workspace, and read-only the whole results under `@output/` and the folders of
knowledge. Paths are confined by the sandbox's `Root`, never by looking at their text."""

from __future__ import annotations

import codecs
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from agentrunner.sandbox.paths import PathError, Root
from agentrunner.sandbox.quarantine import Quarantine
from agentrunner.tools.output import PREFIX
from agentrunner.tools.typed import ToolError
from agentrunner.types import Artifact

CHUNK_BYTES = 1 << 20
MAX_ARTIFACT_BYTES = 1 << 30  # hashed in about two seconds; a sparse file may claim to hold a thousand times as much
_FAR = "../../../"
MAX_ARTIFACTS = 50  # of one call: more is a data set, and list_files shows it


class Workspace:
    """`root` may be changed; `outputs` is a folder of saved results, made when the first one is saved. With `remark`
    programs run in it, and it is told of what they left there for other programs to execute. `knowledge` are folders
    that are only read; `shelves` has them by the name that a model uses."""

    def __init__(
        self,
        workspace: Path,
        outputs: Path,
        remark: Callable[[str], None] | None = None,
        knowledge: Sequence[Path] = (),
    ) -> None:
        self.root = Root(workspace)
        self.shelves = {shelf_name(folder, self.root.path): Root(folder) for folder in knowledge}
        self._remark = remark
        self._quarantine = Quarantine(workspace) if remark is not None else None
        self._outputs = outputs
        self._output_root: Root | None = None

    def readable(self, path: str) -> tuple[Root, str]:
        """The root and the path in it."""
        if not _is_output(path):
            return self._shelved(path) or (self.root, path)
        if self._output_root is None and self._outputs.is_dir():
            self._output_root = Root(self._outputs)
        if self._output_root is None:
            raise ToolError("No result has been saved under @output/ yet.")
        return self._output_root, path[len(PREFIX) :] or "."

    def writable(self, path: str) -> str:
        if _is_output(path):
            raise ToolError("@output/ holds saved results and can only be read. Give a path in the workspace.")
        if self._shelved(path):
            raise ToolError(f"{path!r} lies in a folder that can only be read. Give a path in the workspace.")
        return path

    def shown(self, root: Root, path: str) -> str:
        """A path in one of the roots, as a model has to write it."""
        if root is self.root:
            return path
        name = next((name for name, shelf in self.shelves.items() if shelf is root), PREFIX.rstrip("/"))
        return f"{name}/{path}"

    def _shelved(self, path: str) -> tuple[Root, str] | None:
        for name, root in self.shelves.items():
            for beginning in (name, str(root.path)):
                if path.rstrip("/") == beginning or path.startswith(f"{beginning}/"):
                    return root, path[len(beginning) :].strip("/") or "."
        return None

    def artifact(self, path: str) -> Artifact:
        """Size and hash of a file of the workspace."""
        digest, size = hashlib.sha256(), 0
        if self.root.size(path) > MAX_ARTIFACT_BYTES:
            raise _too_large(path)
        for chunk in chunks(self.root, path):
            digest.update(chunk)
            size += len(chunk)
            if size > MAX_ARTIFACT_BYTES:  # it grew meanwhile
                raise _too_large(path)
        return Artifact(path.removeprefix("./"), size, digest.hexdigest())

    def snapshot(self) -> dict[str, tuple[int, float]]:
        """Size and time of each file at the top of the workspace: enough to see what a program left there."""
        return {
            entry.path: (entry.bytes, entry.mtime)
            for entry in self.root.entries(".", max_depth=1)
            if entry.kind == "file"
        }

    def changed_since(self, before: dict[str, tuple[int, float]], also: tuple[str, ...] = ()) -> tuple[Artifact, ...]:
        """The files that are new or other than `before`, and those named."""
        now = self.snapshot()
        changed = [path for path, state in now.items() if before.get(path) != state]
        found: list[Artifact] = []
        for path in list(dict.fromkeys([*also, *sorted(changed)]))[:MAX_ARTIFACTS]:
            # Gone again, kept from models, or of a name that is no text: nothing that could be handed over.
            with suppress(PathError, UnicodeEncodeError):
                path.encode("utf-8")
                found.append(self.artifact(path))
        return tuple(found)

    def sweep(self) -> str:
        """Moves aside what other programs would execute by its name; the answer tells a model of it and of what was
        changed, and is empty when there was nothing."""
        swept = self._quarantine.sweep() if self._quarantine is not None else None
        if not swept or self._remark is None:
            return ""
        said = "; ".join(swept.lines())
        self._remark(f"{said}; the agent wrote there")
        return f"{said}. Those programs run outside of the sandbox. Put back nothing that was moved; tell the user."


def _too_large(path: str) -> PathError:
    return PathError(f"{path!r} is larger than {MAX_ARTIFACT_BYTES >> 30} GiB; hand over a smaller file")


def shelf_name(folder: Path, workspace: Path) -> str:
    """How a folder outside of the workspace is written: as seen from it, which no path inside looks like, or whole when
    that is far away."""
    seen = os.path.relpath(folder.resolve(), workspace)
    return str(folder.resolve()) if seen.startswith(_FAR) or not seen.startswith("..") else seen


def _is_output(path: str) -> bool:
    return path.startswith(PREFIX) or path == PREFIX.rstrip("/")


def chunks(root: Root, path: str) -> Iterator[bytes]:
    """The bytes of a file, piece by piece."""
    offset = 0
    while chunk := root.read(path, offset=offset, max_bytes=CHUNK_BYTES):
        yield chunk
        offset += len(chunk)


def text_parts(root: Root, path: str, encoding: str) -> Iterator[str]:
    """The text of a file, piece by piece, with line feeds as line ends. Bytes that are no text become U+FFFD."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    held = ""
    for chunk in chunks(root, path):
        text = held + decoder.decode(chunk)
        held = "\r" if text.endswith("\r") else ""  # its line feed may be in the next piece
        yield text.removesuffix(held).replace("\r\n", "\n")
    yield held + decoder.decode(b"", final=True)
