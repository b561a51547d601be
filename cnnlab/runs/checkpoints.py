"""Write checkpoint files atomically, and read them without executing code."""

import os
import pickle
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from struct import error as StructError
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO

SUFFIX = ".part"  # of an unfinished file


class WholeFiles(TorchCheckpointIO):
    """Write a checkpoint to a temporary file beside the target, flush it to the disk, and rename it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save a checkpoint; the target is unchanged until the new file is complete.

        Raises:
            OSError: the disk is full, or cannot be written; names the file.
        """
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}{SUFFIX}")
        try:
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError if its writer fails
            part.unlink(missing_ok=True)
            cause = error.__context__ if isinstance(error, RuntimeError) and error.__context__ else error
            raise OSError(f"{target} cannot be written: {cause}") from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint as `read` does."""
        return read(Path(path))


def save_classifier(path: Path, state_dict: Mapping[str, torch.Tensor], hyper_parameters: Mapping[str, Any]) -> None:
    """Write a checkpoint of a classifier without a Trainer: enough to load it, not to resume.

    Raises:
        OSError: the disk is full, or cannot be written; names the file.
    """
    progress = {"epoch": 0, "global_step": 0, "pytorch-lightning_version": lightning.__version__}
    content = {"state_dict": dict(state_dict), "hyper_parameters": dict(hyper_parameters)}
    WholeFiles().save_checkpoint(progress | content, path)


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint of tensors and plain containers, on the CPU, without executing code from the file.

    Raises:
        ValueError: the file is missing, truncated or altered, or holds other objects.
    """
    if not path.is_file():
        raise ValueError(f"there is no checkpoint {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            if altered := archive.testzip():  # torch does not verify the checksums
                raise zipfile.BadZipFile(f"the checksum of {altered} does not hold")
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict) or not {"state_dict", "hyper_parameters"} <= content.keys():
            raise ValueError("it holds no state_dict and hyper_parameters")
    except READ_ERRORS as error:
        cause = str(error).strip().partition("\n")[0]
        raise ValueError(f"{path} is no checkpoint of cnnlab, or a damaged one: {cause}") from error
    return content


# errors of zipfile and torch for damaged and unexpected files
READ_ERRORS = (pickle.UnpicklingError, zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, KeyError, ValueError,
               RuntimeError, TypeError, AttributeError, NotImplementedError, zlib.error)  # fmt: skip


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read a torch state dict from a file, on the CPU, in its order, without executing code from the file.

    The state dict may be the content itself, or lie under "state_dict" or "model".

    Raises:
        ValueError: the file is damaged, holds other objects than tensors, or would take more memory than its size.
    """
    size = path.stat().st_size
    try:
        if zipfile.is_zipfile(path):  # files of older versions of torch are not
            with zipfile.ZipFile(path) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > size:
                    raise zipfile.BadZipFile("unpacked it would be larger than the file")
                if altered := archive.testzip():
                    raise zipfile.BadZipFile(f"the checksum of {altered} does not hold")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about tensors that are refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(content, dict) and "hyper_parameters" in content:
            raise ValueError("it is a checkpoint; init_from=RUN_DIR names the run directory that it lies in")
        for wrapper in ("state_dict", "model"):
            if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
                content = content[wrapper]
        if not isinstance(content, dict) or not content:
            raise ValueError("it holds no state dict")
        for key, value in content.items():
            if not isinstance(key, str) or not isinstance(value, torch.Tensor):
                raise ValueError(f"its entry {str(key)[:80]!r} is no tensor")  # a whole pickled network, perhaps
            if value.layout is not torch.strided or value.device.type != "cpu" or value.is_quantized:
                raise ValueError(f"its entry {key[:80]!r} is no ordinary tensor")
            if value.numel() * value.element_size() > size:
                raise ValueError(f"its entry {key[:80]!r} is larger than the file")
    except pickle.UnpicklingError as error:  # torch's own message tells how to execute it anyway
        raise ValueError(f"{path} is damaged, or holds more than tensors, and is not executed") from error
    except (*READ_ERRORS, OSError, LookupError, ArithmeticError, MemoryError, AssertionError, StructError) as error:
        cause = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path} is no file with a state dict of torch, or a damaged one: {cause}") from error
    return dict(content)


def refuse_other_run(content: Mapping[str, Any], config_hash: str, path: Path) -> None:
    """Refuse the checkpoint of a run with another hash; older checkpoints without a hash are accepted.

    Raises:
        ValueError: names the file and both hashes.
    """
    theirs = content["hyper_parameters"].get("config_hash") or config_hash
    if theirs != config_hash:
        raise ValueError(
            f"{path} is of another run: its config has the hash {theirs}, this run's {config_hash}; "
            "init_from=RUN_DIR takes weights from another run"
        )


def refuse_other_network(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> None:
    """Refuse a state dict whose names and shapes differ from the network's.

    Raises:
        ValueError: names the first difference.
    """
    for key in [*ours, *theirs]:
        here, found = (tuple(s[key].shape) if key in s else None for s in (ours, theirs))
        if here != found:
            raise ValueError(
                f"the checkpoint is of another network: {key} is {found or 'not in it'}, here {here or 'not'}"
            )


def clear_parts(folder: Path) -> None:
    """Remove the unfinished files of killed processes."""
    for part in folder.glob(f".*{SUFFIX}"):
        part.unlink(missing_ok=True)


def refuse_foreign_checkpoint(directory: Path, config_hash: str) -> None:
    """Refuse a directory whose last checkpoint cannot resume this run, before anything is changed.

    Raises:
        ValueError: it is damaged, or of another run.
    """
    last = directory / "checkpoints/last.ckpt"
    if last.is_file():
        refuse_other_run(read(last), config_hash, last)
