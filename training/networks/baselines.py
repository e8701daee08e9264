"""Networks to compare with, under the same loop: U-Net ResNet-34, the nnU-Net 2-D network, MONAI's UNet."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from napari_tinymig.base.errors import MissingExtra
from napari_tinymig.recipes.student import StudentSpec

from .student import Student, StudentOutput


class Baseline(nn.Module):
    """A network that returns logits at input size, dressed as a student without tapped stages.

    stages: the input itself four times pooled, so that the contract of four maps holds (they carry no meaning).
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> StudentOutput:
        logits = self.network(x)
        logits = logits[0] if isinstance(logits, list | tuple) else logits
        stages = tuple(nn.functional.avg_pool2d(x, s) for s in (4, 8, 16, 32))
        return StudentOutput(logits, stages)  # type: ignore[arg-type]


def resunet34(_spec: StudentSpec, outputs: int) -> nn.Module:
    """U-Net with a ResNet-34 encoder from random weights (24 M): the baseline of the OD/OC benchmark."""
    try:
        import segmentation_models_pytorch as smp
    except ImportError as e:
        raise MissingExtra("the baseline resunet34 (segmentation-models-pytorch)", "dev") from e
    return Baseline(smp.Unet("resnet34", encoder_weights=None, in_channels=3, classes=outputs))


def nnunet2d(_spec: StudentSpec, outputs: int) -> nn.Module:
    """The plain 2-D U-Net that nnU-Net plans for 512 x 512 (46 M), without deep supervision."""
    try:
        from dynamic_network_architectures.architectures.unet import PlainConvUNet
    except ImportError as e:
        raise MissingExtra("the baseline nnunet2d (dynamic-network-architectures)", "dev") from e
    depth = 8
    return Baseline(
        PlainConvUNet(
            input_channels=3,
            n_stages=depth,
            features_per_stage=[min(32 * 2**i, 512) for i in range(depth)],
            conv_op=nn.Conv2d,
            kernel_sizes=3,
            strides=[1] + [2] * (depth - 1),
            n_conv_per_stage=2,
            num_classes=outputs,
            n_conv_per_stage_decoder=2,
            conv_bias=True,
            norm_op=nn.InstanceNorm2d,
            norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
        )
    )


def monai_unet(_spec: StudentSpec, outputs: int) -> nn.Module:
    """MONAI's UNet with 16-256 channels and two residual units (1.6 M)."""
    from monai.networks.nets import UNet

    return Baseline(UNet(2, 3, outputs, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2))


NETWORKS: dict[str, Callable[[StudentSpec, int], nn.Module]] = {
    "student": Student,
    "resunet34": resunet34,
    "nnunet2d": nnunet2d,
    "monai_unet": monai_unet,
}


def build_network(name: str, spec: StudentSpec, outputs: int) -> nn.Module:
    """A network by name. Raises ValueError that lists the names."""
    if name not in NETWORKS:
        raise ValueError(f"unknown network '{name}'; expected one of {', '.join(NETWORKS)}")
    return NETWORKS[name](spec, outputs)
