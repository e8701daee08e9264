"""What the configuration of an exported MONAI bundle runs: reads, segments and writes as the product does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.transforms import MapTransform
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_tinymig.base.errors import TinyMIGError, UnreadableInput
from napari_tinymig.base.records import Scan
from napari_tinymig.formats import find_scans, mask_paths, open_input, write_mask
from napari_tinymig.models.file import read_model_file
from napari_tinymig.network.run import NetworkOutput, OnnxNetwork
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.predict.task_guess import scan_for_task

MODEL, SCRIPT = "model.safetensors", "model.ts"
LOCATOR, CUP_HEAD = "locator.safetensors", "cup_head.safetensors"
SAFE_DTYPES = {"uint16": np.int32, "uint32": np.int64, "uint64": np.float64}
"""Dtypes that torch computes nothing in -> one that holds the same numbers."""

log = logging.getLogger(__name__)


def images_in(folder: str, output_folder: str) -> list[dict[str, Any]]:
    """One record per image of a folder: 'image', what to read, and 'mask', where its mask goes."""
    items = find_scans([folder])
    return [{"image": i, "mask": m} for i, m in zip(items, mask_paths(Path(output_folder), items), strict=True)]


class StudentNetwork(nn.Module):
    """The student of a bundle: images (B, 3, s, s) to logits (B, R, s, s).

    models: the bundle's folder of models. device: 'cpu' runs the ONNX graph, to the product's bits; any other runs
    the TorchScript there.
    """

    def __init__(self, models: str, device: str = "cpu"):
        super().__init__()
        self.device = str(device)
        self._onnx = OnnxNetwork(read_model_file(Path(models) / MODEL))
        on_cpu = self.device == "cpu"
        self.script = None if on_cpu else torch.jit.load(str(Path(models) / SCRIPT), map_location=device)

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.run(x.detach().cpu().numpy()).logits).to(x.device)

    @torch.no_grad()
    def run(self, batch: NDArray[np.float32]) -> NetworkOutput:
        """Logits and stage moments, as a Predictor asks for them."""
        if self.script is None:
            return self._onnx.run(batch)
        outputs = [t.float().cpu().numpy() for t in self.script(torch.from_numpy(batch).to(self.device))]
        stages = (len(outputs) - 1) // 2
        return NetworkOutput(outputs[0], tuple(outputs[1 : 1 + stages]), tuple(outputs[1 + stages :]))


class ReadScan(MapTransform):
    """A file, DICOM folder or found input under each key to a MetaTensor, pixels as the student sees them.

    A photograph becomes (3, H, W) RGB in 0..255, upright; a volume (1, D, H, W) in patient order. meta: 'spacing_mm',
    'name'. The opened file stays in the record as 'scan_file', for writing the mask in its grid. kind: what the task
    reads, 'photograph' or 'volume'.
    """

    def __init__(self, keys: Any, kind: str):
        super().__init__(keys)
        self.kind = kind

    def __call__(self, data: Any) -> dict[str, Any]:
        out = dict(data)
        for key in self.keys:
            opened = open_input(out[key])
            scan = scan_for_task(opened.scan, self.kind)
            pixels = scan.pixels.astype(SAFE_DTYPES.get(scan.pixels.dtype.name, scan.pixels.dtype))
            first = np.moveaxis(pixels, -1, 0) if scan.kind == "photograph" else pixels[None]
            meta = {"spacing_mm": scan.spacing_mm, "name": scan.name}
            out |= {key: MetaTensor(np.ascontiguousarray(first), meta=meta), "scan_file": opened}
        return out


class StudentInferer(Inferer):
    """One image through the product's own path: region of interest, looks, decision on the image's own pixels.

    models: the bundle's folder of models. Called with (1, 3, H, W) or (1, 1, D, H, W), as `ReadScan` gives them, and
    the bundle's network; returns labels (1, 1, H, W) or (1, 1, D, H, W), uint8.
    """

    def __init__(self, models: str):
        self.model = read_model_file(Path(models) / MODEL)
        self.locator, self.cup_head = (
            Predictor(str(file), "cpu") if (file := Path(models) / name).is_file() else None
            for name in (LOCATOR, CUP_HEAD)
        )

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        if len(inputs) != 1:
            raise ValueError(f"{len(inputs)} images at once; expected one, because images differ in shape.")
        if not isinstance(network, StudentNetwork):
            raise ValueError(f"the network is a {type(network).__name__}; expected the bundle's own network_def.")
        meta = inputs.meta if isinstance(inputs, MetaTensor) else {}
        pixels = np.asarray(torch.as_tensor(inputs).cpu().numpy()[0])
        flat = pixels.ndim == 3
        scan = Scan(
            np.ascontiguousarray(np.moveaxis(pixels, 0, -1)) if flat else pixels[0],
            meta.get("spacing_mm"),
            str(meta.get("name", "")),
        )
        asked = Predictor(self.model, "cpu", network=network, locator=self.locator, cup_head=self.cup_head)
        labels = asked.predict(scan).labels
        return torch.from_numpy(labels)[None, None]


class WriteMask(MapTransform):
    """Labels (1, 1, ...) under each key to the record's 'mask' file, in the grid of its 'scan_file'.

    models: the bundle's folder of models, for the colours of an indexed PNG.
    """

    def __init__(self, keys: Any, models: str):
        super().__init__(keys)
        self.task = read_model_file(Path(models) / MODEL).header.task

    def __call__(self, data: Any) -> dict[str, Any]:
        for key in self.keys:
            labels = np.asarray(data[key])[0, 0]
            write_mask(labels, data["scan_file"], Path(data["mask"]), task=self.task, overwrite=True)
        return dict(data)


class SegmentImages:
    """Every image of a dataset read, segmented and written, one after the other.

    dataset: records as `images_in` gives them. A damaged image is logged and the others go on; `run` raises
    UnreadableInput at the end, naming how many failed, so that the process ends with a failure.
    """

    def __init__(
        self,
        dataset: Sequence[dict[str, Any]],
        network: StudentNetwork,
        inferer: Inferer,
        preprocessing: Callable[[Any], Any],
        postprocessing: Callable[[Any], Any],
    ):
        self.dataset, self.network, self.inferer = dataset, network, inferer
        self.preprocessing, self.postprocessing = preprocessing, postprocessing

    def run(self) -> None:
        """Write all masks."""
        failed = [str(e) for e in map(self._failure, self.records()) if e is not None]
        if failed:
            raise UnreadableInput(f"{len(failed)} of {len(self.dataset)} images failed: {'; '.join(failed)}")

    def records(self) -> Iterable[dict[str, Any]]:
        """The records, unread."""
        return (self.dataset[i] for i in range(len(self.dataset)))

    def _failure(self, record: dict[str, Any]) -> BaseException | None:
        try:
            opened = self.preprocessing(record)
            pred = self.inferer(opened["image"][None], self.network)
            self.postprocessing(opened | {"pred": pred})
        except (TinyMIGError, ValueError, OSError, RuntimeError) as e:
            reason = e.__cause__ if isinstance(e.__cause__, TinyMIGError | ValueError | OSError) else e
            log.error("%s", reason)  # MONAI wraps what a transform raised
            return reason
        log.info("%s -> %s", record["image"].name, record["mask"])
        return None
