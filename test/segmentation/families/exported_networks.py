"""Networks with random weights, exported as their projects export them: transformers' own, and small ones of others.

Where a family's package does not install beside PyTorch's CPU build, or its licence keeps it out, the network is
written here from the published layout of its outputs; what counts is that the graph is a real one, of an exporter.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

IMAGE_HW = (96, 128)
CLASSES, PROTOTYPES, QUERIES = 5, 8, 12


def export(
    network: nn.Module, path: Path, output_names: Sequence[str], image_shape: Sequence[int] = (1, 3, *IMAGE_HW)
) -> None:
    """Writes the graph of a network that takes one image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, and of this exporter's age
        torch.onnx.export(
            network.eval(),
            (torch.rand(image_shape),),
            path,
            input_names=["image"],
            output_names=list(output_names),
            opset_version=17,
            dynamo=False,
        )
    # PyTorch's older exporter computes Mask2Former's grids in double precision, which ONNX Runtime does not take.
    model = onnx.load(path)
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.DOUBLE:
                attribute.i = TensorProto.FLOAT
            elif attribute.t.data_type == TensorProto.DOUBLE:
                attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype("float32")))
    onnx.save(model, path)


class Wrapped(nn.Module):
    """A model of transformers with its outputs as a tuple."""

    def __init__(self, model: nn.Module, fields: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self._fields = fields

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The named fields of what the model gives."""
        outputs = self.model(pixel_values=image)
        return tuple(getattr(outputs, field) for field in self._fields)


def sharpened(model: nn.Module, *layers: nn.Linear) -> nn.Module:
    """The model with classes that it is sure of: random weights of these layers, but larger."""
    for layer in layers:
        nn.init.normal_(layer.weight, std=1.0)
    return model


def _swin() -> Any:
    from transformers import SwinConfig

    stages = ["stage1", "stage2", "stage3", "stage4"]
    return SwinConfig(
        image_size=64, embed_dim=12, depths=[1] * 4, num_heads=[1] * 4, window_size=4, out_features=stages
    )


def mask2former() -> Wrapped:
    """Of transformers."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

    config = Mask2FormerConfig(
        backbone_config=_swin(), feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_layers=1,
        decoder_layers=2, num_attention_heads=2, encoder_feedforward_dim=16, dim_feedforward=16,
        num_queries=QUERIES, num_labels=CLASSES,
    )  # fmt: skip
    model = Mask2FormerForUniversalSegmentation(config)
    return Wrapped(sharpened(model, model.class_predictor), ("class_queries_logits", "masks_queries_logits"))


def maskformer() -> Wrapped:
    """Of transformers."""
    from transformers import DetrConfig, MaskFormerConfig, MaskFormerForInstanceSegmentation

    decoder = DetrConfig(
        d_model=16, decoder_layers=1, encoder_layers=1, decoder_attention_heads=2, encoder_attention_heads=2,
        decoder_ffn_dim=16, encoder_ffn_dim=16, num_queries=QUERIES,
    )  # fmt: skip
    config = MaskFormerConfig(
        backbone_config=_swin(), decoder_config=decoder, fpn_feature_size=32, mask_feature_size=32, num_labels=CLASSES
    )
    model = MaskFormerForInstanceSegmentation(config)
    return Wrapped(sharpened(model, model.class_predictor), ("class_queries_logits", "masks_queries_logits"))


def oneformer() -> Wrapped:
    """Of transformers; told its task in words, so that it is no graph of an image alone."""
    from transformers import OneFormerConfig, OneFormerForUniversalSegmentation

    config = OneFormerConfig(
        backbone_config=_swin(), num_queries=QUERIES, conv_dim=32, mask_dim=32, hidden_dim=32, encoder_layers=1,
        decoder_layers=3, encoder_feedforward_dim=16, dim_feedforward=16, num_attention_heads=2, query_dec_layers=1,
        text_encoder_width=32, text_encoder_vocab_size=60, text_encoder_num_layers=1, num_labels=CLASSES,
        use_auxiliary_loss=False, output_auxiliary_logits=False,
    )  # fmt: skip
    model = OneFormerForUniversalSegmentation(config)
    sharp = sharpened(model, model.model.transformer_module.decoder.class_embed)
    return Wrapped(sharp, ("class_queries_logits", "masks_queries_logits"))


def eomt(upscale_blocks: int = 2) -> Wrapped:
    """Of transformers, of a square of 128 pixels, whose masks have 8 cells a side, doubled by each block."""
    from transformers import EomtConfig, EomtForUniversalSegmentation

    config = EomtConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=128, num_blocks=1, num_queries=QUERIES,
        num_register_tokens=1, num_labels=CLASSES, num_upscale_blocks=upscale_blocks,
    )  # fmt: skip
    model = EomtForUniversalSegmentation(config)
    with torch.no_grad():  # masks of some cells in a row, not of single ones here and there
        for module in model.modules():
            if isinstance(module, nn.ConvTranspose2d) or (isinstance(module, nn.Conv2d) and module.groups > 1):
                module.weight[:] = module.weight.mean(dim=(2, 3), keepdim=True)
    return Wrapped(sharpened(model, model.class_predictor), ("class_queries_logits", "masks_queries_logits"))


def detr() -> Wrapped:
    """Of transformers."""
    from transformers import DetrConfig, DetrForSegmentation, ResNetConfig

    stages = ["stage1", "stage2", "stage3", "stage4"]
    backbone = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 32], depths=[1] * 4, layer_type="basic", out_features=stages
    )
    config = DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone, d_model=32,
        decoder_layers=1, encoder_layers=1, decoder_attention_heads=8, encoder_attention_heads=8, decoder_ffn_dim=16,
        encoder_ffn_dim=16, num_queries=QUERIES, num_labels=CLASSES,
    )  # fmt: skip
    model = DetrForSegmentation(config)
    return Wrapped(sharpened(model, model.detr.class_labels_classifier), ("logits", "pred_boxes", "pred_masks"))


def rf_detr() -> Wrapped:
    """Of transformers; its encoder resizes its positions even where they fit, which this exporter does not take."""
    from transformers.models.rf_detr.configuration_rf_detr import RfDetrConfig, RfDetrDinov2Config
    from transformers.models.rf_detr.modeling_rf_detr import RfDetrForInstanceSegmentation

    backbone = RfDetrDinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=112, patch_size=14,
        num_windows=2, out_indices=[1, 2],
    )  # fmt: skip
    config = RfDetrConfig(
        backbone_config=backbone, d_model=32, decoder_layers=1, decoder_self_attention_heads=2,
        decoder_cross_attention_heads=2, decoder_ffn_dim=16, num_queries=QUERIES, group_detr=1, num_labels=CLASSES,
    )  # fmt: skip
    model = RfDetrForInstanceSegmentation(config)
    for module in model.modules():
        if hasattr(module, "interpolate_pos_encoding"):
            positions = module.position_embeddings
            module.interpolate_pos_encoding = lambda embeddings, height, width, kept=positions: kept
    nn.init.zeros_(model.model.class_embed.bias)
    return Wrapped(sharpened(model, model.model.class_embed), ("pred_boxes", "logits", "pred_masks"))


class _Pyramid(nn.Module):
    """Features at the strides 8, 16 and 32, and at 4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._stages = nn.ModuleList(
            nn.Conv2d(before, channels, 3, stride=2, padding=1) for before in (3, *[channels] * 4)
        )
        self._pool = nn.MaxPool2d(5, stride=1, padding=2)

    def forward(self, image: Tensor) -> list[Tensor]:
        """From the finest, of stride 4, to the coarsest."""
        features, levels = image, []
        for stage in self._stages:
            features = F.silu(stage(features))
            levels.append(features)
        levels[-1] = levels[-1] + self._pool(levels[-1])
        return levels[1:]


def _cells(level: Tensor, stride: int) -> Tensor:
    """Centres (h * w, 2) of a level's cells, x and y in pixels."""
    height, width = level.shape[2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return ((torch.stack([x, y], dim=-1) + 0.5) * stride).reshape(-1, 2)


class Yolo(nn.Module):
    """Anchor-free boxes from distributions of distances, class probabilities, coefficients; prototypes of stride 4.

    Args:
        end_to_end: gives the best 20 rows instead of all anchors.
    """

    def __init__(self, end_to_end: bool) -> None:
        super().__init__()
        self._end_to_end = end_to_end
        self._pyramid = _Pyramid(16)
        self._heads = nn.ModuleList(nn.Conv2d(16, 4 * 8 + CLASSES + PROTOTYPES, 1) for _ in range(3))
        for head in self._heads:
            nn.init.normal_(head.weight, std=2.0)
        self._prototypes = nn.ConvTranspose2d(16, PROTOTYPES, 2, stride=2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 4 + classes + prototypes, anchors) or (1, 20, 6 + prototypes), and the prototypes."""
        levels = self._pyramid(image)
        parts = []
        for head, level, stride in zip(self._heads, levels[1:], (8, 16, 32), strict=True):
            raw = head(level).flatten(2)
            distances = (raw[:, :32].unflatten(1, (4, 8)).softmax(dim=2) * torch.arange(8.0)[:, None]).sum(dim=2)
            centers = _cells(level, stride).T
            first, last = centers - distances[:, :2] * stride, centers + distances[:, 2:] * stride
            box = [first, last] if self._end_to_end else [(first + last) / 2, last - first]
            parts.append(torch.cat([*box, raw[:, 32 : 32 + CLASSES].sigmoid(), raw[:, 32 + CLASSES :]], dim=1))
        anchors = torch.cat(parts, dim=2)
        prototypes = self._prototypes(levels[1])
        if not self._end_to_end:
            return anchors, prototypes
        rows = anchors.transpose(1, 2)
        scores, pairs = rows[..., 4 : 4 + CLASSES].flatten(1).topk(20)
        chosen = rows.gather(1, (pairs // CLASSES)[..., None].expand(-1, -1, rows.shape[2]))
        class_ids = (pairs % CLASSES).to(scores.dtype)
        return torch.cat(
            [chosen[..., :4], scores[..., None], class_ids[..., None], chosen[..., 4 + CLASSES :]], dim=2
        ), prototypes


class Yolact(nn.Module):
    """Three anchors a cell on five levels, class probabilities after softmax, coefficients after tanh, prototypes."""

    def __init__(self) -> None:
        super().__init__()
        self._pyramid = _Pyramid(16)
        self._head = nn.Conv2d(16, 3 * (4 + 1 + CLASSES + PROTOTYPES), 1)
        nn.init.normal_(self._head.weight, std=2.0)
        self._prototypes = nn.Conv2d(16, PROTOTYPES, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """loc, conf, mask and proto."""
        levels = self._pyramid(image)
        levels += [F.max_pool2d(levels[-1], 2, ceil_mode=True)]
        levels += [F.max_pool2d(levels[-1], 2, ceil_mode=True)]
        raw = torch.cat(
            [self._head(level).permute(0, 2, 3, 1).reshape(1, -1, 9 + PROTOTYPES + 1) for level in levels[1:]], 1
        )
        classes = raw[..., 4 : 5 + CLASSES].softmax(dim=2)
        proto = F.relu(self._prototypes(levels[0])).permute(0, 2, 3, 1)
        return raw[..., :4], classes, raw[..., 5 + CLASSES :].tanh(), proto


class _Suppression(torch.autograd.Function):
    """ONNX's NonMaxSuppression; while tracing, it keeps the first boxes."""

    @staticmethod
    def forward(ctx: Any, boxes: Tensor, scores: Tensor) -> Tensor:
        kept = torch.arange(min(4, boxes.shape[1]))
        return torch.stack([torch.zeros_like(kept), torch.zeros_like(kept), kept], dim=1)

    @staticmethod
    def symbolic(graph: Any, boxes: Any, scores: Any) -> Any:
        constants = [graph.op("Constant", value_t=torch.tensor(value)) for value in ([20], [0.6], [0.55])]
        return graph.op("NonMaxSuppression", boxes, scores, *constants)


class RtmdetIns(nn.Module):
    """Distances and class probabilities, suppression in the graph, dynamic filters, masks of the image's size.

    From suppression on in the steps of MMDeploy, a row of zeros at the end and the order by score included.

    Args:
        reads_scores: off, the scores of the rows come from where the suppression's own scores come from.
    """

    def __init__(self, reads_scores: bool = True) -> None:
        super().__init__()
        self._reads_scores = reads_scores
        self._pyramid = _Pyramid(16)
        self._head = nn.Conv2d(16, 4 + CLASSES + PROTOTYPES, 1)
        nn.init.normal_(self._head.weight, std=2.0)
        self._features = nn.Conv2d(16, PROTOTYPES, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """dets, labels and masks."""
        level = self._pyramid(image)[1]
        raw = self._head(level).flatten(2).transpose(1, 2)
        distances = F.softplus(raw[..., :4]) * 8
        centers = _cells(level, 8)
        boxes = torch.cat([centers - distances[..., :2], centers + distances[..., 2:]], dim=2)
        probabilities = raw[..., 4 : 4 + CLASSES].sigmoid()
        scores = probabilities.transpose(1, 2)
        _, class_ids, kept = _Suppression.apply(boxes, scores).unbind(dim=1)
        chosen = scores[:, class_ids, kept] if self._reads_scores else raw[:, kept, 4 + class_ids].sigmoid()
        detections = torch.cat([boxes[:, kept], chosen[..., None]], dim=2)
        detections = torch.cat([detections, torch.zeros(1, 1, 5)], dim=1)
        labels = torch.cat([class_ids, torch.zeros(1, dtype=torch.int64)])
        order = detections[0, :, 4].sort(descending=True).indices
        kept = torch.cat([kept, torch.full((1,), -1)])[order]
        filters = raw[0, kept, 4 + CLASSES :]
        logits = torch.einsum("nc,bchw->bnhw", filters, self._features(level))
        masks = F.interpolate(logits, scale_factor=8.0, mode="bilinear").sigmoid()
        return detections[:, order], labels[None, order], masks


class Solov2(nn.Module):
    """Dynamic kernels on a grid, the best of which Matrix NMS would keep; masks of the image's size, no boxes."""

    def __init__(self) -> None:
        super().__init__()
        self._pyramid = _Pyramid(16)
        self._head = nn.Conv2d(16, CLASSES + PROTOTYPES, 1)
        nn.init.normal_(self._head.weight, std=2.0)
        self._features = nn.Conv2d(16, PROTOTYPES, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """dets, labels and masks."""
        levels = self._pyramid(image)
        raw = self._head(F.adaptive_avg_pool2d(levels[1], (4, 4))).flatten(2).transpose(1, 2)
        probabilities, labels = raw[..., :CLASSES].sigmoid().max(dim=2)
        masks = torch.einsum("bnc,bchw->bnhw", raw[..., CLASSES:], self._features(levels[0])).sigmoid()
        hit = (masks > 0.5).to(masks.dtype)
        scores = probabilities * (masks * hit).sum(dim=(2, 3)) / (hit.sum(dim=(2, 3)) + 1e-6)
        best, order = scores.topk(10)
        masks = F.interpolate(masks[:, order[0]], scale_factor=4.0, mode="bilinear")
        detections = torch.cat([torch.zeros(1, 10, 4), best[..., None]], dim=2)
        return detections, labels[:, order[0]], masks
