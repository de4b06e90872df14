"""Pack the built site into one file, with its checksum and the size of everything in it: `make tarball`.

python tools/tarball.py [--site FOLDER] [--into FOLDER]
"""

import argparse
import csv
import gzip
import hashlib
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("site.tar.gz", "site.tar.gz.sha256", "site.tsv")


def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without what differs from machine to machine: who built it, when, and under which rights."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() else 0o644
    return member


def pack(site: Path, into: Path) -> list[Path]:
    """Write the tarball of ``site``, its checksum and its manifest into the folder ``into``; returns the three paths.

    The same pages give the same tarball, byte for byte. Unpacked, it is one folder named ``site``. The manifest is a
    table with tabs: bytes, bytes gzipped, and name of each file.

    Raises:
        FileNotFoundError: if there is no ``index.html`` in ``site``.
    """
    if not (site / "index.html").exists():
        raise FileNotFoundError(f"there is no index.html in {site}; `make book` builds the site")
    into.mkdir(parents=True, exist_ok=True)
    paths = [into / name for name in NAMES]
    tarball, checksum, manifest = parts = [path.with_name(path.name + ".part") for path in paths]
    files = sorted((path for path in site.rglob("*") if path.is_file()), key=lambda path: path.relative_to(site).parts)
    with (
        tarball.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        manifest.open("w", newline="", encoding="utf-8") as table,
    ):
        rows = csv.writer(table, delimiter="\t", lineterminator="\n")
        rows.writerow(["bytes", "gzipped", "file"])
        for file in files:
            name = file.relative_to(site).as_posix()
            archive.add(file, f"site/{name}", filter=plain)
            data = file.read_bytes()
            rows.writerow([len(data), len(gzip.compress(data, mtime=0)), name])
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    checksum.write_text(f"{digest}  {NAMES[0]}\n")  # as `sha256sum -c` reads it
    for part, path in zip(parts, paths, strict=True):
        part.replace(path)
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site", type=Path, default=ROOT / "_build" / "html", help="the built site")
    parser.add_argument("--into", type=Path, default=ROOT / "_build", help="where the three files go")
    arguments = parser.parse_args()
    try:
        made = pack(arguments.site, arguments.into)
    except FileNotFoundError as error:
        sys.exit(str(error))
    print(f"The site is packed: {made[0]}, {made[0].stat().st_size / 1e6:.1f} MB. Checksum and sizes lie beside it.")
