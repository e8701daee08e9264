"""LiteMedSAM: an image and a box in, the mask of what the box holds out. Frozen; a teacher and a prompt engine.

Image encoder (`encoder`), SAM's prompt encoder and mask decoder (Kirillov et al., ICCV 2023), written from
the published descriptions; the names of the parts are those of the published weights. It only knows boxes: one click
scores nothing.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .encoder import EMBEDDING, ImageEncoder

SIDE = 256
"""Pixels of the square input."""
GRID = 64
"""Side of the embedding."""
HEADS = 8


class LiteMedSAM(nn.Module):
    """Images (B, 3, 256, 256) in 0..1 and boxes -> mask logits. Always in evaluation mode, nothing learns."""

    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = ImageEncoder()
        self.prompt_encoder = PromptEncoder()
        self.mask_decoder = MaskDecoder()
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> LiteMedSAM:
        """Frozen means frozen: stays in evaluation mode."""
        return super().train(False)

    def encode(self, x: Tensor) -> Tensor:
        """(B, 256, 64, 64): what `masks` needs of an image; the slow part, once per image."""
        return self.image_encoder(x)

    def masks(self, embedding: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, 256, 256) and expected IoU (N,) of N boxes in one image.

        embedding: (1, 256, 64, 64) of `encode`. boxes: (N, 4) x0, y0, x1, y1 in pixels of the 256 x 256 input.
        """
        prompts, dense = self.prompt_encoder(boxes)
        return self.mask_decoder(embedding, self.prompt_encoder.grid(), prompts, dense)

    def forward(self, x: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """`masks` of `encode`, for one image (1, 3, 256, 256)."""
        return self.masks(self.encode(x), boxes)


class PositionCode(nn.Module):
    """Places in 0..1, (..., 2) as x, y -> (..., 256): sine and cosine of fixed random frequencies."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.zeros(2, EMBEDDING // 2))

    def forward(self, at: Tensor) -> Tensor:
        angle = 2 * math.pi * ((2 * at - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([angle.sin(), angle.cos()], -1)


class PromptEncoder(nn.Module):
    """Boxes -> two corner tokens each. Points and masks have weights in the file, which are kept and not used."""

    def __init__(self) -> None:
        from timm.layers import LayerNorm2d  # here, so that no other training waits for timm

        super().__init__()
        self.pe_layer = PositionCode()
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, EMBEDDING) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, EMBEDDING)
        self.no_mask_embed = nn.Embedding(1, EMBEDDING)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, 2, 2),
            LayerNorm2d(4, eps=1e-6),
            nn.GELU(),
            nn.Conv2d(4, 16, 2, 2),
            LayerNorm2d(16, eps=1e-6),
            nn.GELU(),
            nn.Conv2d(16, EMBEDDING, 1),
        )

    def forward(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Corner tokens (N, 2, 256) of boxes (N, 4), and the word for 'no mask given', (1, 256, 1, 1)."""
        corners = self.pe_layer((boxes.view(-1, 2, 2) + 0.5) / SIDE)  # (N, 2, 256)
        corner_words: list[Tensor] = [self.point_embeddings[i].weight for i in (2, 3)]  # type: ignore[misc]
        kinds = torch.cat(corner_words)
        return corners + kinds, self.no_mask_embed.weight.view(1, -1, 1, 1)

    def grid(self) -> Tensor:
        """(1, 256, 64, 64): the place code of every token of the embedding."""
        axis = (torch.arange(GRID, device=self.no_mask_embed.weight.device) + 0.5) / GRID
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        return self.pe_layer(torch.stack([x, y], -1)).permute(2, 0, 1)[None]


class Attention(nn.Module):
    """Multi-head attention with its own inner width."""

    def __init__(self, inner: int):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(EMBEDDING, inner) for _ in range(3))
        self.out_proj = nn.Linear(inner, EMBEDDING)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q (N, T, 256), k and v (N, S, 256) -> (N, T, 256)."""
        parts = zip((self.q_proj, self.k_proj, self.v_proj), (q, k, v))
        heads = [project(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for project, x in parts]
        return self.out_proj(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


class TokenMlp(nn.Module):
    """256 -> 2048 -> 256."""

    def __init__(self) -> None:
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(EMBEDDING, 2048), nn.Linear(2048, EMBEDDING)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(F.relu(self.lin1(x)))


class TwoWayBlock(nn.Module):
    """Tokens attend to tokens, then to the image; the image attends to the tokens."""

    def __init__(self, first: bool):
        super().__init__()
        self.first = first
        self.self_attn = Attention(EMBEDDING)
        self.cross_attn_token_to_image = Attention(EMBEDDING // 2)
        self.cross_attn_image_to_token = Attention(EMBEDDING // 2)
        self.mlp = TokenMlp()
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(EMBEDDING) for _ in range(4))

    def forward(self, tokens: Tensor, image: Tensor, prompts: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (N, T, 256) and image (N, S, 256) after one exchange; prompts and places are added to ask with."""
        if self.first:  # nothing was said yet: the tokens are the prompts themselves
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            asking = tokens + prompts
            tokens = tokens + self.self_attn(asking, asking, tokens)
        tokens = self.norm1(tokens)
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + prompts, image + places, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(image + places, tokens + prompts, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Two exchanges and a last look of the tokens at the image."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(first) for first in (True, False))
        self.final_attn_token_to_image = Attention(EMBEDDING // 2)
        self.norm_final_attn = nn.LayerNorm(EMBEDDING)

    def forward(self, image: Tensor, places: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        tokens = prompts
        for layer in self.layers:
            tokens, image = layer(tokens, image, prompts, places)
        last = self.final_attn_token_to_image(tokens + prompts, image + places, image)
        return self.norm_final_attn(tokens + last), image


class Perceptron(nn.Module):
    """Three linear layers with ReLU between."""

    def __init__(self, outputs: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(EMBEDDING, n) for n in (EMBEDDING, EMBEDDING, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[2](F.relu(self.layers[1](F.relu(self.layers[0](x)))))


class MaskDecoder(nn.Module):
    """Embedding and prompt tokens -> one mask a prompt (the first of SAM's four mask tokens)."""

    def __init__(self) -> None:
        from timm.layers import LayerNorm2d

        super().__init__()
        self.transformer = TwoWayTransformer()
        self.iou_token, self.mask_tokens = nn.Embedding(1, EMBEDDING), nn.Embedding(4, EMBEDDING)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(EMBEDDING, EMBEDDING // 4, 2, 2),
            LayerNorm2d(EMBEDDING // 4, eps=1e-6),
            nn.GELU(),
            nn.ConvTranspose2d(EMBEDDING // 4, EMBEDDING // 8, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Perceptron(EMBEDDING // 8) for _ in range(4))
        self.iou_prediction_head = Perceptron(4)

    def forward(self, embedding: Tensor, places: Tensor, prompts: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, 256, 256) and expected IoU (N,) of prompts (N, 2, 256) in one image."""
        n = len(prompts)
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(n, -1, -1)  # (N, 5, 256)
        image = (embedding + dense).flatten(2).transpose(1, 2).expand(n, -1, -1)  # (N, 64 * 64, 256)
        tokens, image = self.transformer(
            image, places.flatten(2).transpose(1, 2).expand(n, -1, -1), torch.cat([own, prompts], 1)
        )
        fine = self.output_upscaling(image.transpose(1, 2).unflatten(2, (GRID, GRID)))  # (N, 32, 256, 256)
        weights = self.output_hypernetworks_mlps[0](tokens[:, 1])  # (N, 32)
        return torch.einsum("nc,nchw->nhw", weights, fine), self.iou_prediction_head(tokens[:, 0])[:, 0]
