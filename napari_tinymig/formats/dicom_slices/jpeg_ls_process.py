"""Decodes JPEG-LS frames in a process of its own; run as a file, so that nothing else is loaded. See `beside.py`.

In and out: a length (8 bytes, little-endian) and that many bytes: frames, and for each a .npy file, or '!' and a
reason.
"""

import io
import sys


def main() -> None:
    """Decode until the input ends."""
    import imagecodecs
    import numpy

    while head := sys.stdin.buffer.read(8):
        frame = sys.stdin.buffer.read(int.from_bytes(head, "little"))
        try:
            out = io.BytesIO()
            numpy.save(out, imagecodecs.jpegls_decode(frame), allow_pickle=False)
            answer = out.getvalue()
        except Exception as e:  # noqa: BLE001  # whatever the decoder says, it is told to the other process
            answer = b"!" + str(e).encode()
        sys.stdout.buffer.write(len(answer).to_bytes(8, "little") + answer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
