"""A record as real TensorBoard event files."""

import math
import shutil
import uuid
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gradclinic.record import HISTOGRAM_EDGES, Record

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_PER_LAYER = ("gradient_norm", "weight_norm", "update_ratio", "output_rms", "output_gradient_norm", "time_ratio")
_PER_ACTIVATION = ("saturation", "dead")


def write(record: Record, logdir: str | PathLike[str]) -> Path:
    """Write a record as one run for TensorBoard: ``tensorboard --logdir`` the folder, or the folder above it.

    Scalars are called ``gradient_norm/<layer>``, and so on for ``weight_norm``, ``update_ratio``, ``output_rms``,
    ``output_gradient_norm``, ``time_ratio``, ``saturation/<activation>`` and ``dead/<activation>``; ``loss`` and
    ``chance_loss`` have no layer. Steps are the record's own. What was not measured is left out. What overflowed is
    written as the inf or NaN that it is: TensorBoard marks such steps. If histograms were recorded, each layer has two:
    ``gradient/<layer>`` of the gradient entries, in half decades, and ``gradient_log10/<layer>`` of the logarithm of
    their sizes, without those that are 0, which is the one to compare layers with. What is not finite is in neither.
    Scalars are stored in single precision.

    The run appears under its name only when it is complete: it is written into a hidden folder beside, then renamed.

    Args:
        record: of at least one step.
        logdir: the folder of this run. It is made, with those above it; a folder that holds anything is refused.
    Returns:
        The folder.
    Raises:
        TypeError: for something else than a ``Record``, or a folder that is no path.
        ValueError: for an empty record.
        FileExistsError: if ``logdir`` is a file or holds anything, so that no run is ever overwritten or mixed.
        OSError: if the folder cannot be written.
        ModuleNotFoundError: if TensorBoard is not installed.
    """
    if not isinstance(record, Record):
        raise TypeError(f"a Record is needed, as Recorder and probe make it, got {record!r}")
    if len(record.step) == 0:
        raise ValueError("this record is empty: it has 0 steps; record at least one before writing it")
    target = empty_folder(logdir)
    writer_class = event_writer()
    beside = target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}")
    try:
        beside.mkdir(parents=True)
        with writer_class(beside) as writer:
            _write(record, writer)
        if target.is_dir():
            target.rmdir()  # empty, as checked above; should it have been filled meanwhile, this refuses
        beside.rename(target)
    except OSError as error:
        raise OSError(f"cannot write into {logdir}: {error}; choose a folder that can be made and written") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def event_writer() -> "type[SummaryWriter]":
    """The class that writes TensorBoard's files: it is optional, and slow to import.

    Raises:
        ModuleNotFoundError: if TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; it comes with: pip install tensorboard", name=error.name) from error
    return SummaryWriter


def empty_folder(logdir: str | PathLike[str]) -> Path:
    """The folder of a run, if nothing is in it; it need not be there yet.

    Raises:
        TypeError: for something that is no path.
        FileExistsError: if it is a file or holds anything.
    """
    if not isinstance(logdir, str | PathLike):
        raise TypeError(f"logdir must be a path, got {logdir!r}")
    target = Path(logdir).expanduser().absolute()
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise FileExistsError(f"there is something in {logdir} already; give each run a folder of its own")
    return target


def _columns(record: Record) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Tag and values of each column, and in which steps a NaN is an overflow and not merely unknown."""
    faulty = record.faulty
    for name in _PER_LAYER + _PER_ACTIVATION:
        owners = record.layers if name in _PER_LAYER else record.activations
        for n, owner in enumerate(owners):
            values = getattr(record, name)[:, n]
            # a frozen layer has no gradient, and a layer called once no ratio over time, in a faulty step either
            lost = record.nonfinite[:, n] if name == "gradient_norm" else faulty & ~np.isnan(values).all()
            yield f"{name}/{owner}", values, lost
    yield "loss", record.loss, faulty
    ends = np.isin(record.step, record.step[[0, -1]])  # two points make the line of guessing
    yield "chance_loss", np.where(ends, record.chance_loss, math.nan), np.zeros_like(faulty)


def _write(record: Record, writer: "SummaryWriter") -> None:
    for tag, values, lost in _columns(record):
        for row in np.flatnonzero(lost | ~np.isnan(values)).tolist():
            # not in the new style, which would keep all digits: TensorBoard finds no scalars in it
            writer.add_scalar(tag, values[row], int(record.step[row]))
    if not record.histogram.shape[2]:
        return
    exponents = np.log10(HISTOGRAM_EDGES[len(HISTOGRAM_EDGES) // 2 :])
    by_size = record.size_histogram[..., 1:]  # without what is 0, which has no logarithm
    for n, layer in enumerate(record.layers):
        for row, step in enumerate(record.step.tolist()):
            _histogram(writer, f"gradient/{layer}", HISTOGRAM_EDGES, record.histogram[row, n], step)
            _histogram(writer, f"gradient_log10/{layer}", exponents, by_size[row, n], step)


def _histogram(writer: "SummaryWriter", tag: str, edges: np.ndarray, counts: np.ndarray, step: int) -> None:
    used = np.flatnonzero(counts)
    if not len(used):
        return
    kept = slice(used[0], used[-1] + 1)
    low, high, counts = edges[:-1][kept], edges[1:][kept], counts[kept]
    middle = (low + high) / 2
    writer.add_histogram_raw(
        tag,
        min=low[0],
        max=high[-1],
        num=counts.sum(),
        sum=(counts * middle).sum(),
        sum_squares=(counts * middle**2).sum(),
        bucket_limits=high.tolist(),
        bucket_counts=counts.tolist(),
        global_step=step,
    )
