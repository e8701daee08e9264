"""Every reader fed with damaged files: each must give a valid Scan or one of the product's own errors, in bounded time.

    python benchmarks/reliability/fuzz.py --inputs 100000 --seed 1
    python benchmarks/reliability/fuzz.py --seconds 20

Seeds are drawn here: PNG, JPEG, TIFF, BMP, WebP, NIfTI (packed, a pair, big-endian), NRRD (beside and inside), MHA,
MHD, DICOM (plain, RLE, JPEG 2000, colour, a series), masks. An input is a seed with bits flipped, bytes cut out,
doubled or set to extremes, cut short, or with numbers in its header text replaced. What breaks the rule is kept
(`--keep`), made as small as possible by undoing changes; tests/corpus/ holds what was found so, and the tests read it
again.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import random
import re
import resource
import signal
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import pydicom
import SimpleITK as sitk
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless, generate_uid

from napari_tinymig.base.errors import TinyMIGError
from napari_tinymig.base.records import Scan
from napari_tinymig.formats import find_inputs, open_input, open_mask

SLOWEST_S = 20
Files = dict[str, bytes]


def seeds() -> dict[str, Files]:
    """Small whole files of every format that is read, by name."""
    rng = np.random.default_rng(0)
    out: dict[str, Files] = {}
    rgb = rng.integers(0, 255, (24, 28, 3)).astype(np.uint8)
    mask = (np.indices((24, 28)).sum(0) > 25).astype(np.uint8)
    for ending, options in (("png", {}), ("jpg", {}), ("tif", {"compression": "tiff_lzw"}), ("bmp", {}), ("webp", {})):
        stream = io.BytesIO()
        Image.fromarray(rgb).save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending.upper()), **options)
        out[ending] = {f"a.{ending}": stream.getvalue()}
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    out["png mask"] = {"a_mask.png": stream.getvalue()}
    values = rng.integers(0, 900, (12, 14, 6)).astype(np.int16)
    out |= _volumes(values)
    for name, change in (("plain", None), ("rle", RLELossless), ("j2k", JPEG2000Lossless), ("colour", "RGB")):
        out[f"dicom {name}"] = {"a.dcm": _dicom(np.tile(values[..., 0].T, (6, 6)), 0, change)}
    out["dicom series"] = {f"{k}.dcm": _dicom(values[..., k].T, k, None) for k in range(6)}
    return out


def _volumes(values: np.ndarray) -> dict[str, Files]:
    out: dict[str, Files] = {}
    image = nib.Nifti1Image(values, np.diag([0.5, 0.6, 3.0, 1.0]))
    out["nifti"] = {"a.nii": image.to_bytes()}
    out["nifti gz"] = {"a.nii.gz": gzip.compress(image.to_bytes(), mtime=0)}
    big = nib.Nifti1Image(values, image.affine, nib.Nifti1Header(endianness=">"))
    out["nifti big-endian"] = {"a.nii": big.to_bytes()}
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        nib.save(nib.Nifti1Pair(values, image.affine), at / "a.hdr")
        picture = sitk.GetImageFromArray(values.transpose(2, 1, 0))
        for name in ("b.mha", "c.mhd", "d.nrrd", "e.nhdr"):
            sitk.WriteImage(picture, at / name, useCompression=name[0] in "bd")
        header = {"Segment0_ID": "s", "Segment0_Name": "n", "Segment0_LabelValue": "1", "Segment0_Layer": "0"}
        nrrd.write(
            str(at / "f.seg.nrrd"), (values > 400).astype(np.uint8)[None], header | {"kinds": ["list"] + ["domain"] * 3}
        )
        for stem in "abcdef":
            out[f"volume {stem}"] = {p.name: p.read_bytes() for p in sorted(at.glob(f"{stem}.*"))}
    return out


def _dicom(values: np.ndarray, k: int, change: Any) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        "1.2.840.10008.5.1.4.1.1.4",
        generate_uid(entropy_srcs=[str(k)]),
    )
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.SeriesInstanceUID, ds.Modality, ds.InstanceNumber = "1.2.3.4", "MR", k + 1
    ds.Rows, ds.Columns = values.shape
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 3.0 * k]
    ds.PixelSpacing, ds.SliceThickness = [0.6, 0.5], 3.0
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 1
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelData = np.ascontiguousarray(values).tobytes()
    if change == "RGB":
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "YBR_FULL", 0
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
        ds.PixelData = np.repeat(values[..., None].astype(np.uint8), 3, 2).tobytes()
    elif change is not None:
        ds.compress(change)
    out = io.BytesIO()
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


NUMBERS = (b"0", b"-1", b"nan", b"inf", b"1e308", b"99999999999", b"65536", b"-0.0", b"", b"x")


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """`raw` with one to four changes."""
    out = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        if not out:
            break
        at = min(int(rng.expovariate(1 / (len(out) / 4 + 1))), len(out) - 1)  # headers more often than voxels
        kind = rng.randrange(7)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + rng.choice((1, 2, 4, 8))] = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * rng.choice(
                (1, 2, 4, 8)
            )
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            del out[at : at + rng.randint(1, 40)]
        elif kind == 4:
            out[at:at] = out[at : at + rng.randint(1, 40)]
        elif kind == 5:
            out[at : at + 4] = rng.randbytes(4)
        else:
            found = list(re.finditer(rb"-?\d+\.?\d*", bytes(out[:600])))
            if found:
                where = rng.choice(found)
                out[where.start() : where.end()] = rng.choice(NUMBERS)
    return bytes(out)


def valid(scan: Scan) -> bool:
    """Whether a Scan is one that the engine can take."""
    pixels = scan.pixels
    spaced = scan.spacing_mm is None or all(np.isfinite(s) and s > 0 for s in scan.spacing_mm)
    return pixels.ndim == 3 and pixels.size > 0 and bool(np.isfinite(pixels).all()) and spaced


def outcome(folder: Path) -> str:
    """What reading a folder's files as images and as masks came to; raises what no reader may raise."""
    told = "error"
    for item in find_inputs([folder]):
        try:
            scan = open_input(item).scan
        except TinyMIGError as e:
            if not str(e) or "\n" in str(e):
                raise RuntimeError("an error that is no sentence") from e
            continue
        if not valid(scan):
            raise RuntimeError("an invalid Scan")
        told = "scan"
    for path in sorted(folder.iterdir()):
        try:
            open_mask(path)
            told = "mask" if told == "error" else told
        except TinyMIGError:
            continue
    return told


class Scratch:
    """A folder in memory, where the system has one, whose files are replaced only where they differ."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")
        self._folder = tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)
        self.path = Path(self._folder.name)
        self._held: Files = {}

    def put(self, files: Files) -> None:
        """Make the folder hold these files and no other."""
        for name in self._held.keys() - files.keys():
            (self.path / name).unlink()
        for name, raw in files.items():
            if self._held.get(name) is not raw:
                (self.path / name).write_bytes(raw)
        self._held = dict(files)


SCRATCH = Scratch()


def slow(*_: Any) -> None:
    """What the alarm does."""
    raise TimeoutError(f"longer than {SLOWEST_S} s")


def try_files(files: Files) -> str:
    """The outcome of these files in a folder of their own, or 'BROKEN' with what was raised."""
    SCRATCH.put(files)
    signal.signal(signal.SIGALRM, slow)
    signal.alarm(SLOWEST_S)
    try:
        return outcome(SCRATCH.path)
    except BaseException as e:  # that is what is looked for
        if isinstance(e, KeyboardInterrupt):
            raise
        return f"BROKEN {type(e).__name__}: {str(e)[:200]}"
    finally:
        signal.alarm(0)


def smallest(seed: bytes, bad: bytes, name: str, files: Files) -> bytes:
    """The damaged file with as few bytes different from its seed as still break the rule."""
    best = bad
    if len(seed) == len(bad):
        for at in [i for i in range(len(bad)) if seed[i] != bad[i]]:
            candidate = best[:at] + seed[at : at + 1] + best[at + 1 :]
            if try_files(files | {name: candidate}).startswith("BROKEN"):
                best = candidate
    return best


def main() -> None:
    """Fuzz; print counts; keep what broke the rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10**9)
    parser.add_argument("--seconds", type=float, default=10**9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for inputs that break the rule")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    rng, whole = random.Random(args.seed), seeds()
    kinds = list(whole)
    often = [1.0 if len(whole[kind]) < 3 else 0.1 for kind in kinds]  # a series costs as much as ten files
    counts: Counter[str] = Counter()
    broken: dict[str, Files] = {}
    start = time.monotonic()
    while sum(counts.values()) < args.inputs and time.monotonic() - start < args.seconds:
        [kind] = rng.choices(kinds, often)
        files = dict(whole[kind])
        name = rng.choice(list(files))
        files[name] = damaged(files[name], rng)
        told = try_files(files)
        counts[told.split()[0]] += 1
        if told.startswith("BROKEN") and told not in broken:
            files[name] = smallest(whole[kind][name], files[name], name, files)
            broken[told] = files
            print(f"{kind}: {told}", flush=True)
            if args.keep is not None:
                folder = args.keep / f"{kind.replace(' ', '_')}_{args.seed}_{len(broken)}"
                folder.mkdir(parents=True, exist_ok=True)
                for file, raw in files.items():
                    (folder / file).write_bytes(raw)
    seconds, total = time.monotonic() - start, sum(counts.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{time.process_time():.0f} s of processor time, at most {peak:.0f} MB of memory")
    print(
        f"{total} damaged inputs of {len(whole)} seeds in {seconds:.0f} s: {counts['scan']} valid scans, "
        f"{counts['mask']} masks alone, {counts['error']} refused in a sentence, {counts['BROKEN']} broke the rule"
    )
    raise SystemExit(bool(broken))


if __name__ == "__main__":
    main()
