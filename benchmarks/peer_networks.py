"""The networks people use, as they are usually built, with random weights: `PEERS` for benchmarks/peers.py."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import nn


def nnunet(side: int) -> nn.Module:
    """nnU-Net's 2-D plain network as planned for this side: halved down to 4 pixels, 32 to 512 channels."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    stages = int(np.log2(side)) - 1
    return PlainConvUNet(
        input_channels=3, n_stages=stages, features_per_stage=[min(32 * 2**i, 512) for i in range(stages)],
        conv_op=nn.Conv2d, kernel_sizes=3, strides=[1] + [2] * (stages - 1), n_conv_per_stage=2, num_classes=3,
        n_conv_per_stage_decoder=2, conv_bias=True, norm_op=nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True},
    )  # fmt: skip


def unet_smp(encoder: str) -> nn.Module:
    """segmentation-models-pytorch's U-Net with a named encoder."""
    import segmentation_models_pytorch as smp

    return smp.Unet(encoder, encoder_weights=None, classes=3)


class LogitsOf(nn.Module):
    """torchvision's segmentation networks return a dictionary; this returns its logits."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.network(x)["out"]
        return out


def lraspp() -> nn.Module:
    """torchvision's LRASPP on MobileNetV3-Large."""
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    return LogitsOf(lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3))


def monai_unet() -> nn.Module:
    """MONAI's UNet as its tutorials build it."""
    from monai.networks.nets import UNet

    return UNet(2, 3, 3, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2, norm="BATCH")


def basic_unet() -> nn.Module:
    """MONAI's BasicUNet with its own widths."""
    from monai.networks.nets import BasicUNet

    return BasicUNet(2, 3, 3)


PEERS: dict[str, Callable[[int], nn.Module]] = {
    "nnU-Net 2-D plain": nnunet,
    "smp U-Net ResNet-34": lambda _: unet_smp("resnet34"),
    "smp U-Net MobileNetV2": lambda _: unet_smp("mobilenet_v2"),
    "torchvision LRASPP MobileNetV3-L": lambda _: lraspp(),
    "MONAI UNet 16-256": lambda _: monai_unet(),
    "MONAI BasicUNet": lambda _: basic_unet(),
}


def exported(network: nn.Module, side: int) -> bytes:
    """The network in evaluation mode as ONNX with a free batch axis, BatchNorm folded by the exporter."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(), (torch.randn(2, 3, side, side),), buffer, input_names=["image"], output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}}, opset_version=17, dynamo=False,
        )  # fmt: skip
    return buffer.getvalue()


def gmac_of(network: nn.Module, side: int) -> float:
    """10^9 multiply-accumulates of one image (1, 3, side, side): convolutions, transposed ones, linear layers."""
    counts = []

    def add(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(layer, nn.Linear):
            counts.append(layer.weight.numel())
        else:  # every weight meets every pixel of the output, or of the input where the map grows
            grid = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
            counts.append(layer.weight.numel() * grid.shape[-1] * grid.shape[-2])

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    hooks = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return sum(counts) / 1e9
