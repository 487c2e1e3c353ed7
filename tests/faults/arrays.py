"""Bad arrays and pictures in files."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.faults.harness import Fault, Maker

N = 60
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(N, 4)).astype(np.float32)
Y = np.arange(N) % 3


def npz(
    name: str, says: str | None = "", *more: str, short: bool = False, x: Any = X, y: Any = Y, **other: Any
) -> Fault:
    """``a.npz`` of these arrays."""

    def make(folder: Path) -> None:
        np.savez(folder / "a.npz", **{"x": x, "y": y, **other})

    return Fault(f"arrays: {name}", ("data=arrays", "data.path=a.npz", *more), make, says, short)


def file(name: str, make: Maker, says: str | None = "", *words: str, short: bool = False) -> Fault:
    return Fault(f"arrays: {name}", ("data=arrays", *words), make, says, short)


def _only(**arrays: Any) -> Maker:
    return lambda folder: np.savez(folder / "a.npz", **arrays)


def _bytes(name: str, content: bytes) -> Maker:
    def make(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return make


def _saved(x: Any, y: Any = Y) -> Maker:
    def make(folder: Path) -> None:
        np.save(folder / "x.npy", x)
        np.save(folder / "y.npy", y)

    return make


def _npz(cut: int | None = None) -> bytes:
    held = io.BytesIO()
    np.savez(held, x=X, y=Y)
    return held.getvalue()[:cut]


def _npy_of_shape(shape: str) -> bytes:
    """A header that declares more than the file holds."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(64)


def _torch(value: Any) -> Maker:
    return lambda folder: torch.save(value, folder / "a.pt")


class Foreign:
    """What a file of torch is not allowed to build."""


PAIR = ("data.inputs=x.npy", "data.target=y.npy")
AT = ("data.path=a.npz",)
ARRAYS = [
    npz("no dims", x=np.float32(1), short=True),
    npz("one dim", x=X[:, 0]),
    npz("five dims", x=np.zeros((N, 1, 2, 2, 2), np.float32), short=True),
    npz("no rows", x=X[:0], y=Y[:0], short=True),
    npz("one row", x=X[:1], y=Y[:1]),
    npz("two rows", x=X[:2], y=Y[:2]),
    npz("no features", x=X[:, :0], short=True),
    npz("images of no height", x=np.zeros((N, 1, 0, 8), np.uint8), short=True),
    npz("complex", x=X.astype(complex), short=True),
    npz("booleans", None, x=X > 0),
    npz("texts", x=np.full((N, 2), "a")),
    npz("bytes", x=np.full((N, 2), b"a")),
    npz("dates", x=np.full((N, 2), "2024-01-01", "datetime64[D]"), short=True),
    npz("structured", x=np.zeros(N, [("a", "f4"), ("b", "i4")]), short=True),
    npz("structured target", y=np.zeros(N, [("a", "f4")])),
    npz("objects", x=np.array([[1, None]] * N, dtype=object)),
    npz("half precision", None, x=X.astype(np.float16)),
    npz("long double", x=X.astype(np.longdouble), short=True),
    npz("unsigned 64 bits", x=np.full((N, 2), 2**64 - 1, np.uint64) - np.arange(N, dtype=np.uint64)[:, None]),
    npz("big endian", None, x=X.astype(">f4"), short=True),
    npz("columns first in memory", None, x=np.asfortranarray(X)),
    npz("nan", x=np.where(np.arange(N)[:, None] == 3, np.nan, X), short=True),
    npz("infinite", x=np.where(np.arange(N)[:, None] == 3, np.inf, X)),
    npz("all nan", x=np.full_like(X, np.nan)),
    npz("1e300", x=X.astype(float) * 1e300),
    npz("1e38", x=np.where(np.arange(N)[:, None] % 2, 1e38, -1e38).astype(np.float32) * np.ones(4, np.float32),
         short=True),
    npz("1e-44", x=(X * 1e-44).astype(np.float32), short=True),
    npz("constant", x=np.ones_like(X), short=True),
    npz("lengths differ", y=Y[:-1], short=True),
    npz("labels of no dims", y=np.int64(1)),
    npz("nan labels", y=np.where(np.arange(N) == 3, np.nan, Y), short=True),
    npz("all nan labels", y=np.full(N, np.nan), short=True),
    npz("infinite labels", y=np.where(np.arange(N) == 3, np.inf, Y)),
    npz("float labels", y=Y.astype(np.float32), short=True),
    npz("float labels as classes", "", "data.target_kind=class", y=Y + 0.5, short=True),
    npz("negative labels", y=Y - 1, short=True),
    npz("labels with gaps", y=Y * 10, short=True),
    npz("labels with a huge gap", y=np.where(Y == 1, 2**40, Y), short=True),
    npz("labels of 64 unsigned bits", y=Y.astype(np.uint64) + np.uint64(2**63)),
    npz("one class", y=Y * 0, short=True),
    npz("all different labels", y=np.arange(N), short=True),
    npz("all different texts", y=np.array([f"id{i}" for i in range(N)]), short=True),
    npz("texts as labels", None, y=np.array(["a", "b", "c"])[Y]),
    npz("an empty text as a label", y=np.array(["", "b", "c"])[Y]),
    npz("boolean labels", y=Y == 1, short=True),
    npz("complex labels", y=Y.astype(complex), short=True),
    npz("dates as labels", y=np.full(N, "2024-01-01", "datetime64[D]")),
    npz("labels in a column", y=Y[:, None]),
    npz("labels of three dims", y=np.zeros((N, 2, 2)), short=True),
    npz("labels of no columns", y=np.zeros((N, 0)), short=True),
    npz("one-hot labels", y=np.eye(3)[Y]),
    npz("constant number", y=np.ones(N, np.float32), short=True),
    npz("target 1e30", y=np.arange(N) * 1e30),
    npz("target 1e300", y=np.arange(N) * 1e300, short=True),
    npz("target 1e-300", y=np.arange(N) * 1e-300),
    npz("several targets, one nan", y=np.stack([np.arange(N), np.full(N, np.nan)], 1), short=True),
    npz("too few class names", "", "data.class_names=[a,b]", short=True),
    npz("class names twice", "", "data.class_names=[a,a,b]", short=True),
    npz("unknown layout", "", "data.layout=sideways"),
    npz("layout that cannot be", "", "data.layout=channels_last", short=True),
    npz("group that is no array", "", "data.group=patient"),
    npz("group of other length", "", "data.group=g", g=np.arange(5), short=True),
    npz("group of two dims", "", "data.group=g", g=X, short=True),
    npz("weights below 0", "", "data.weight=w", w=-np.ones(N)),
    npz("weights of 1e300", "", "data.weight=w", w=np.full(N, 1e300)),
    npz("time of texts", "", "data.time=t", t=np.full(N, "soon"), short=True),
    npz("kind that is none", "", "data.target_kind=multilabel", short=True),
    file("no target", _only(x=X), "", *AT, short=True),
    file("no inputs", _only(y=Y), "", *AT, short=True),
    file("nothing", _only(), "", *AT, short=True),
    file("other names", _only(foo=X, bar=Y), "", *AT),
    file("training part alone", _only(x_train=X, y_train=Y), "", *AT),
    file("parts of other shape", _only(x_train=X, y_train=Y, x_test=X[:, :2], y_test=Y), "", *AT, short=True),
    file("parts of other classes", _only(x_train=X, y_train=Y, x_test=X, y_test=Y + 9), "", *AT, short=True),
    file("empty test part", _only(x_train=X, y_train=Y, x_test=X[:0], y_test=Y[:0]), "", *AT, short=True),
    file("cut npz", _bytes("a.npz", _npz(300)), "", *AT, short=True),
    file("damaged npz", _bytes("a.npz", _npz().replace(X.tobytes()[:40], bytes(40))), "", *AT, short=True),
    file("empty npz", _bytes("a.npz", b""), "", *AT, short=True),
    file("npz of text", _bytes("a.npz", b"hello\n" * 99), "", *AT),
    file("folder named npz", lambda folder: (folder / "a.npz").mkdir(), "", *AT, short=True),
    file("cut npy", _bytes("x.npy", _npy_of_shape("(60, 4)")), "", *PAIR, short=True),
    file("npy of a huge shape", _bytes("x.npy", _npy_of_shape("(10000000000000, 4)")), "", *PAIR, short=True),
    file("npy of a negative shape", _bytes("x.npy", _npy_of_shape("(-1, 4)")), "", *PAIR, short=True),
    file("npy of an odd header", _bytes("x.npy", _npy_of_shape("__import__('os')")), "", *PAIR),
    file("npy of pickled objects", _saved(np.array([{"a": 1}] * N, dtype=object)), "", *PAIR),
    file("no path", lambda folder: None, "", short=True),
    file("inputs alone", _saved(X), "", "data.inputs=x.npy", short=True),
    file("empty pt", _bytes("a.pt", b""), "", "data.path=a.pt", short=True),
    file("pt of a tensor", _torch(torch.zeros(N, 4)), "", "data.path=a.pt"),
    file("pt of a list", _torch([1, 2]), "", "data.path=a.pt", short=True),
    file("pt of an object", _torch({"x": Foreign()}), "", "data.path=a.pt", short=True),
    file("pt of sparse", _torch({"x": torch.zeros(N, 4).to_sparse(), "y": torch.tensor(Y)}), "", "data.path=a.pt",
         short=True),
    file("pt of bfloat16", _torch({"x": torch.zeros(N, 4, dtype=torch.bfloat16), "y": torch.tensor(Y)}), "",
         "data.path=a.pt", short=True),
    file("pt of quantized", _torch({"x": X, "y": Y}), "", "data.path=a.pt"),
    file("damaged safetensors", _bytes("a.safetensors", b"\xff" * 64), "", "data.path=a.safetensors", short=True),
    file("empty safetensors", _bytes("a.safetensors", b""), "", "data.path=a.safetensors"),
]  # fmt: skip


def _png(width: int = 8, height: int = 8, mode: str = "RGB", seed: int = 0) -> bytes:
    held = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    Image.fromarray(pixels, "RGBA").convert(mode).save(held, "PNG" if mode != "CMYK" else "TIFF")
    return held.getvalue()


def _declared(width: int, height: int) -> bytes:
    """A PNG whose header declares a size that its data does not have."""
    data = _png()
    header = struct.pack(">II", width, height) + data[24:29]
    return data[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + data[33:]


def _pictures(change: Callable[[int], bytes | None] = lambda i: None, classes: int = 2, count: int = 24) -> Maker:
    """``pics/a``, ``pics/b``, … of small pictures, some of them changed."""

    def make(folder: Path) -> None:
        for i in range(count):
            place = folder / "pics" / "abc"[i % classes]
            place.mkdir(parents=True, exist_ok=True)
            content = change(i)
            (place / f"{i:03d}.png").write_bytes(_png(seed=i) if content is None else content)

    return make


def pics(name: str, make: Maker, says: str | None = "", *more: str, short: bool = False) -> Fault:
    return Fault(f"images: {name}", ("data=images", "data.path=pics", *more), make, says, short)


def _listed(text: str) -> Maker:
    def make(folder: Path) -> None:
        _pictures()(folder)
        (folder / "l.csv").write_text(text)

    return make


def _empty_classes(folder: Path) -> None:
    for name in "ab":
        (folder / "pics" / name).mkdir(parents=True)


def _loop(folder: Path) -> None:
    _pictures()(folder)
    (folder / "pics" / "a" / "loop").symlink_to(folder / "pics")


def _dead_link(folder: Path) -> None:
    _pictures()(folder)
    (folder / "pics" / "a" / "dead.png").symlink_to(folder / "gone.png")


def _folder_named_png(folder: Path) -> None:
    _pictures()(folder)
    (folder / "pics" / "a" / "x.png").mkdir()


LIST = "data.path=l.csv"
IMAGES = [
    pics("sound", _pictures(), None),
    pics("one of 0 bytes", _pictures(lambda i: b"" if i == 3 else None), "", short=True),
    pics("one of 0 bytes, skipped", _pictures(lambda i: b"" if i == 3 else None), None, "data.on_error=skip"),
    pics("all of 0 bytes", _pictures(lambda i: b"")),
    pics("all of 0 bytes, skipped", _pictures(lambda i: b""), "", "data.on_error=skip", short=True),
    pics("one class broken, skipped", _pictures(lambda i: b"" if i % 2 else None), "", "data.on_error=skip",
         short=True),
    pics("one cut", _pictures(lambda i: _png()[:60] if i == 3 else None), "", short=True),
    pics("one damaged", _pictures(lambda i: _png()[:50] + b"\0" * 40 if i == 3 else None)),
    pics("one text", _pictures(lambda i: b"hello" if i == 3 else None)),
    pics("one html", _pictures(lambda i: b"<html></html>" if i == 3 else None)),
    pics("huge declared", _pictures(lambda i: _declared(60_000, 60_000) if i == 3 else None), "", short=True),
    pics("huge declared, resized", _pictures(lambda i: _declared(2**31 - 1, 2**31 - 1) if i == 3 else None), "",
         "data.image_size=8"),
    pics("width of 0", _pictures(lambda i: _declared(0, 8) if i == 3 else None), ""),
    pics("tall declared", _pictures(lambda i: _declared(1, 100_000_000) if i == 3 else None), "", "data.image_size=8"),
    pics("one class", _pictures(classes=1), "", short=True),
    pics("one picture", _pictures(count=1)),
    pics("two pictures", _pictures(count=2), short=True),
    pics("one pixel", _pictures(lambda i: _png(1, 1, seed=i)), "", short=True),
    pics("one pixel, cnn", _pictures(lambda i: _png(1, 1, seed=i)), "", "model=cnn", short=True),
    pics("one pixel, resnet", _pictures(lambda i: _png(1, 1, seed=i)), "", "model=resnet18", "data.batch_size=4"),
    pics("several sizes", _pictures(lambda i: _png(8 + i, 8)), "", short=True),
    pics("several sizes, resized", _pictures(lambda i: _png(8 + i, 8)), None, "data.image_size=8"),
    pics("flat strips", _pictures(lambda i: _png(200, 1)), "", "data.image_size=8", "data.resize=pad"),
    pics("modes mixed", _pictures(lambda i: _png(mode=("RGB", "L", "RGBA", "1", "P", "LA", "CMYK")[i % 7])), "",
         short=True),
    pics("size of 0", _pictures(), "", "data.image_size=0", short=True),
    pics("size below 0", _pictures(), "", "data.image_size=[8,-8]", short=True),
    pics("size of three", _pictures(), "", "data.image_size=[8,8,8]", short=True),
    pics("huge size", _pictures(), "", "data.image_size=10000000", short=True),
    pics("two channels", _pictures(), "", "data.channels=2", short=True),
    pics("unknown resize", _pictures(), "", "data.resize=stretch"),
    pics("unknown cache", _pictures(), "", "data.cache=cloud"),
    pics("cache directory that is a file", _listed(""), "", "data.cache=disk", "data.cache_dir=l.csv", short=True),
    pics("no folder", lambda folder: None, "", short=True),
    pics("empty folder", lambda folder: (folder / "pics").mkdir(), "", short=True),
    pics("empty classes", _empty_classes, "", short=True),
    pics("endless links", _loop, "", short=True),
    pics("dead link", _dead_link, "", short=True),
    pics("folder named png", _folder_named_png, ""),
    pics("empty list", _listed(""), "", LIST),
    pics("list without names", _listed("a,b\n1,2\n"), "", LIST, "data.target=b"),
    pics("list of no pictures", _listed("file,y\nx.png,1\nz.png,2\n"), "", LIST, "data.target=y", short=True),
    pics("list of missing names", _listed("file,y\n,1\npics/a/000.png,2\n"), "", LIST, "data.target=y", short=True),
    pics("list without target", _listed("file,y\npics/a/000.png,1\n"), "", LIST, short=True),
    pics("list with paths upward", _listed("file,y\n../../../etc/passwd,1\npics/a/000.png,2\n"), "", LIST,
         "data.target=y"),
    pics("list of numbers as names", _listed("file,y\n1,1\n2,2\n"), "", LIST, "data.target=y", short=True),
    pics("list with a missing target", _listed("file,y\npics/a/000.png,1\npics/a/002.png,\n"), "", LIST,
         "data.target=y"),
]  # fmt: skip
