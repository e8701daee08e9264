"""Damaged JPEG frames in every decoder that is installed: does it end the process, or run on?

    python benchmarks/reliability/jpeg_decoders.py --inputs 4000 --seed 1
    pip install python-gdcm pylibjpeg-libjpeg pyjpegls   # to compare; the package needs none of them

Frames are drawn here: lossless of 8, 12 and 16 bits, of three samples, baseline, 12-bit extended, JPEG-LS. Each is
damaged by one to four changes as in fuzz.py. An input has a forked process of its own (Linux, macOS), two seconds of
processor time and 6 GB of address space. Counted are processes ended by a signal ('crashed') and by their time
('hung'). Ours is imagecodecs behind the check of the frame's size; CharLS is what JPEG-LS runs in beside the process.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import resource
import signal
from collections import Counter
from collections.abc import Callable

import imagecodecs
import numpy as np
from fuzz import damaged
from pydicom import uid

from napari_tinymig.formats.dicom_slices.jpeg import frame_size

Frame = tuple[str, int, int, bytes]
SYNTAXES = {"lossless": uid.JPEGLosslessSV1, "baseline": uid.JPEGBaseline8Bit, "extended": uid.JPEGExtended12Bit}
SYNTAXES["JPEG-LS"] = uid.JPEGLSLossless


def frames() -> list[Frame]:
    """(kind, bits, samples, stream) of whole frames of 40 x 48 pixels."""
    y, x = np.mgrid[:40, :48]
    rng = np.random.default_rng(0)

    def drawn(bits: int, samples: int) -> np.ndarray:
        values = (np.sin(y / 7) + np.cos(x / 9) + 2) / 4 * (2**bits - 1) + rng.normal(0, 2 ** (bits - 6), y.shape)
        grey = np.clip(values, 0, 2**bits - 1).astype(np.uint8 if bits <= 8 else np.uint16)
        return np.ascontiguousarray(np.stack([grey, grey[::-1], grey[:, ::-1]], -1)) if samples == 3 else grey

    found: list[Frame] = []
    for bits, samples in ((8, 1), (8, 3), (12, 1), (16, 1)):
        colour = {"colorspace": "rgb", "outcolorspace": "rgb"} if samples == 3 else {}
        picture = drawn(bits, samples)
        whole = imagecodecs.jpeg8_encode(picture, lossless=True, bitspersample=bits, predictor=1, **colour)
        found.append(("lossless", bits, samples, whole))
        found.append(("JPEG-LS", bits, samples, imagecodecs.jpegls_encode(picture)))
    found.append(("extended", 12, 1, imagecodecs.jpeg8_encode(drawn(12, 1), level=90, bitspersample=12)))
    found.append(("baseline", 8, 3, imagecodecs.jpeg8_encode(drawn(8, 3), level=90)))
    return found


def by_imagecodecs(stream: bytes, kind: str, bits: int, samples: int) -> object:
    """As the package does it."""
    if frame_size(stream)[1:] != (40, 48, samples):
        raise ValueError("another size")
    return imagecodecs.jpeg8_decode(stream)


def by_charls(stream: bytes, kind: str, bits: int, samples: int) -> object:
    """JPEG-LS, as the process beside the package's does it."""
    if frame_size(stream)[1:] != (40, 48, samples):
        raise ValueError("another size")
    return imagecodecs.jpegls_decode(stream)


def by_libjpeg(stream: bytes, kind: str, bits: int, samples: int) -> object:
    """pylibjpeg-libjpeg."""
    import libjpeg

    return libjpeg.decode(stream, colour_transform=0)


def by_gdcm(stream: bytes, kind: str, bits: int, samples: int) -> object:
    """python-gdcm, as pydicom's plugin calls it."""
    import gdcm

    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(stream)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((48, 40, 1))
    image.SetDataElement(element)
    space = gdcm.PhotometricInterpretation.GetPIType("RGB" if samples == 3 else "MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(space))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(SYNTAXES[kind]))))
    image.SetPixelFormat(gdcm.PixelFormat(samples, 8 if bits <= 8 else 16, bits, bits - 1, 0))
    return image.GetBuffer()


DECODERS: dict[str, tuple[str, Callable[..., object], tuple[str, ...]]] = {
    "imagecodecs": ("imagecodecs", by_imagecodecs, ("lossless", "extended", "baseline")),
    "CharLS": ("imagecodecs", by_charls, ("JPEG-LS",)),
    "libjpeg": ("libjpeg", by_libjpeg, tuple(SYNTAXES)),
    "gdcm": ("gdcm", by_gdcm, tuple(SYNTAXES)),
}


def ended(decode: Callable[..., object], frame: Frame, stream: bytes) -> int:
    """Exit code of a process that decodes a stream: 0, 1 = refused, negative = a signal."""
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (2, 2))
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        code = 0
        try:
            decode(stream, *frame[:3])
        except Exception:  # noqa: BLE001  # refused, whatever it says
            code = 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Damage and decode; print a line a decoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=4000, help="of each decoder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cut", action="store_true", help="frames are cut short, and nothing else")
    parser.add_argument("--only", nargs="+", default=list(DECODERS), choices=list(DECODERS))
    args = parser.parse_args()
    for name in args.only:
        module, decode, kinds = DECODERS[name]
        if importlib.util.find_spec(module) is None:
            print(f"{name}: not installed")
            continue
        importlib.import_module(module)  # before the forks
        mine = [frame for frame in frames() if frame[0] in kinds]
        codes: Counter[int] = Counter()
        for i in range(args.inputs):
            frame = mine[i % len(mine)]
            rng = random.Random(f"{args.seed} {i}")
            stream = frame[3][: rng.randrange(len(frame[3]))] if args.cut else damaged(frame[3], rng)
            codes[ended(decode, frame, stream)] += 1
        late = codes[-signal.SIGKILL] + codes[-signal.SIGXCPU]
        crashed = sum(n for code, n in codes.items() if code < 0) - late
        print(f"{name}: {args.inputs} frames, {codes[0]} decoded, {codes[1]} refused, {crashed} crashed, {late} hung")


if __name__ == "__main__":
    main()
