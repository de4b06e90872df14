"""What lies in an archive that came from outside: names, times and bytes, within limits. None of it goes to disk."""

import contextlib
import io
import os
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

LARGEST = 50 * 2**20  # bytes of one file
MANY = 1000  # files in a learner's own archive
DEEPEST = 2  # a learner's archive in a learner's archive
JUNK = ("__MACOSX", ".ipynb_checkpoints", ".DS_Store", "Thumbs.db", "desktop.ini")
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # for the others Python has no limit while it unpacks


class Unreadable(ValueError):
    """A file whose bytes are not to be had; the message says why, for a report."""


@dataclass(frozen=True)
class Member:
    """One file of an archive, or of a folder.

    Attributes:
        name: its path, with ``/`` between the parts, as it is written there. Never a path to write to.
        time: when it was last changed, as the archive has it, in UTC; None if it has none.
        size: bytes, as the archive has it.
        trouble: why nobody should follow its name, such as a path that leads out; empty if it is well.
        content: reads it.
    Raises:
        Unreadable: by ``content``, for what is too large, damaged, encrypted, or no file.
    """

    name: str
    time: datetime | None
    size: int
    trouble: str = ""
    content: Callable[[], bytes] = field(default=bytes, compare=False, repr=False)

    @property
    def parts(self) -> list[str]:
        return [part for part in self.name.split("/") if part]

    @property
    def junk(self) -> bool:
        """Written by a system beside what a person meant."""
        return any(part in JUNK or part.startswith("._") for part in self.parts)


def in_utc(time: datetime, zone: tzinfo | None) -> datetime:
    """A time without a zone, in UTC; without ``zone`` it is taken for this machine's."""
    try:
        return time.replace(tzinfo=zone).astimezone(UTC)
    except (OverflowError, OSError):  # the first hours of the year 1, or the last of 9999
        return time.replace(tzinfo=UTC)


@contextlib.contextmanager
def members(source: Path, zone: ZoneInfo | None = None) -> Iterator[list[Member]]:
    """Every file in a zip archive, or in a folder that somebody made of one; they can be read until the block ends.

    Args:
        source: the archive or the folder.
        zone: of the times in it, which carry none.
    Raises:
        FileNotFoundError: if there is nothing there.
        ValueError: for a file that is no zip archive.
    """
    if source.is_dir():
        yield list(_in_folder(source))
        return
    if not source.exists():
        raise FileNotFoundError(f"there is no file {source}")
    try:
        packed = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError) as error:
        raise ValueError(f"{source} is no zip archive, or did not arrive whole ({error})") from None
    with packed:
        yield [_in_archive(packed, info, zone) for info in packed.infolist() if not info.filename.endswith("/")]


def opened(content: bytes, depth: int = 1) -> list[Member]:
    """The files in an archive that a learner packed, those in archives within it too.

    Raises:
        Unreadable: if it is none, or holds more than a learner may send.
    """
    try:
        packed = zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError):
        raise Unreadable("called an archive and is none") from None
    found: list[Member] = []
    for info in packed.infolist():
        member = _in_archive(packed, info)
        if info.filename.endswith("/") or member.junk:
            continue
        if member.name.lower().endswith(".zip") and depth < DEEPEST:
            found += opened(member.content(), depth + 1)
        else:
            found.append(member)
        if len(found) > MANY:
            raise Unreadable(f"an archive of more than {MANY} files")
    return found


# --- one file --------------------------------------------------------------------------------------------------------


def _in_archive(packed: zipfile.ZipFile, info: zipfile.ZipInfo, zone: ZoneInfo | None = None) -> Member:
    name = info.orig_filename
    if not info.flag_bits & 0x800:  # the name is not said to be UTF-8; it often is, all the same
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    name = name.replace("\\", "/")
    kind, trouble = stat.S_IFMT(info.external_attr >> 16), ""
    if kind not in (0, stat.S_IFREG):
        trouble = "a link, or something else that is no file"
    elif name.startswith("/") or name[1:3] == ":/" or ".." in name.split("/") or "\0" in name:
        trouble = "its name leads out of the archive"

    def content() -> bytes:
        if info.file_size > LARGEST:
            raise Unreadable(f"larger than {LARGEST // 2**20} MB")
        if kind not in (0, stat.S_IFREG):
            raise Unreadable("no file")
        if info.flag_bits & 0x1:
            raise Unreadable("encrypted")
        if info.compress_type not in PACKED:
            raise Unreadable("packed in a way that no platform uses")
        try:
            with packed.open(info) as file:
                raw = file.read(LARGEST + 1)
        except Exception as error:  # whatever damage in somebody's archive may raise
            raise Unreadable(f"damaged ({type(error).__name__})") from None
        if len(raw) > LARGEST:
            raise Unreadable(f"larger than {LARGEST // 2**20} MB")
        return raw

    return Member(name, _changed(info, zone), info.file_size, trouble, content)


def _changed(info: zipfile.ZipInfo, zone: ZoneInfo | None) -> datetime | None:
    """The time of a member: Unix's, where the archive has it, else what MS-DOS wrote, in the zone; None for neither."""
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        if kind == 0x5455 and size >= 5 and len(extra) >= 9 and extra[4] & 1:
            return datetime.fromtimestamp(struct.unpack("<i", extra[5:9])[0], UTC)
        extra = extra[4 + size :]
    try:
        time = datetime(*info.date_time)
    except ValueError:
        return None
    return in_utc(time, zone) if time.year > 1980 else None  # 1980 is how MS-DOS says "unknown"


def _in_folder(folder: Path) -> Iterator[Member]:
    for where, folders, names in os.walk(folder):
        linked = [name for name in folders if Path(where, name).is_symlink()]
        for name in sorted([*names, *linked]):
            path = Path(where, name)
            status = path.lstat()
            plain = stat.S_ISREG(status.st_mode)

            def content(path: Path = path, plain: bool = plain, size: int = status.st_size) -> bytes:
                if not plain:
                    raise Unreadable("no file")
                if size > LARGEST:
                    raise Unreadable(f"larger than {LARGEST // 2**20} MB")
                return path.read_bytes()

            yield Member(
                path.relative_to(folder).as_posix(),
                datetime.fromtimestamp(status.st_mtime, UTC),
                status.st_size,
                "" if plain else "a link, or something else that is no file",
                content,
            )
