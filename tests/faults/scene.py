"""A copy of a run, and a file in it that is to be damaged."""

import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from interp.store.tensors import own_header, write_tensors


@dataclass
class Scene:
    """A run to damage: a copy whose files are links to the real ones, so that each is replaced and none is changed."""

    run: Path
    target: str
    """The file that is damaged, relative to the run."""
    other: Path
    """The same file of another run."""
    neighbours: list[str]
    """Files of the same kind in the same run."""
    chance: random.Random
    marker: Path
    """A file that only hostile code makes."""

    @property
    def path(self) -> Path:
        return self.run / self.target

    @property
    def content(self) -> bytes:
        return self.path.read_bytes()

    def put(self, content: bytes) -> None:
        """Another content."""
        self.path.unlink()
        self.path.write_bytes(content)

    def table(self) -> tuple[dict, bytes]:
        """The table of a safetensors file, and its tensors' bytes."""
        content = self.content
        end = 8 + struct.unpack("<Q", content[:8])[0]
        return json.loads(content[8:end]), content[end:]

    def put_table(self, table: dict | bytes, data: bytes, claimed: int | None = None) -> None:
        """A safetensors file of these parts, or one that claims another length of its table."""
        text = table if isinstance(table, bytes) else json.dumps(table).encode()
        text += b" " * (-len(text) % 8)
        self.put(struct.pack("<Q", len(text) if claimed is None else claimed) + text + data)

    def some(self, table: dict) -> str:
        """One of the tensors."""
        return self.chance.choice([name for name in table if name != "__metadata__"])

    def tensors(self) -> tuple[dict[str, torch.Tensor], dict]:
        """All tensors, and what the file says of itself without its digest."""
        from safetensors import safe_open

        with safe_open(self.path, framework="pt") as file:
            header = own_header(self.path, file, "")
            header.pop("sha256")
            return {name: file.get_tensor(name).clone() for name in file.keys()}, header  # noqa: SIM118

    def sign(self, tensors: dict[str, torch.Tensor], header: dict) -> None:
        """Write tensors with a digest that is right."""
        self.path.unlink()
        write_tensors(self.path, tensors, header)


Mutation = Callable[[Scene], Any]
