"""Folders of small models of transformers with random weights that answer prompts, saved by transformers itself."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
from torch import nn
from transformers import (
    BertConfig,
    BertTokenizer,
    CLIPTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    OwlViTConfig,
    OwlViTForObjectDetection,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
    Sam2Config,
    Sam2Model,
    Sam3Config,
    Sam3Model,
    Sam3TrackerConfig,
    Sam3TrackerModel,
    SamConfig,
    SamModel,
    SwinConfig,
)

SAM3_SIDE = 112
PROMPTS = {"hidden_size": 32, "mask_input_channels": 4}
DECODER = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}


def sam() -> tuple[nn.Module, dict]:
    """The original: images are padded."""
    side = 256
    vision = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": side, "patch_size": 32,
        "mlp_dim": 32, "output_channels": 32, "window_size": 4, "global_attn_indexes": [1], "num_pos_feats": 16,
    }  # fmt: skip
    config = SamConfig(
        vision_config=vision,
        prompt_encoder_config={**PROMPTS, "image_size": side, "patch_size": 32},
        mask_decoder_config=DECODER,
    )
    said = {"size": {"longest_edge": side}, "pad_size": {"height": side, "width": side}}
    return SamModel(config), said


def sam2() -> tuple[nn.Module, dict]:
    """The second: images are stretched."""
    side = 128
    backbone = {
        "model_type": "sam2_hiera_det_model", "hidden_size": 8, "num_attention_heads": 1, "image_size": [side, side],
        "blocks_per_stage": [1, 2, 1, 1], "embed_dim_per_stage": [8, 16, 32, 64], "global_attention_blocks": [2],
        "num_attention_heads_per_stage": [1, 1, 2, 2], "window_size_per_stage": [8, 4, 4, 4],
        "window_positional_embedding_background_size": [4, 4],
    }  # fmt: skip
    vision = {
        "backbone_config": backbone, "backbone_channel_list": [64, 32, 16, 8], "fpn_hidden_size": 32,
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
    }  # fmt: skip
    config = Sam2Config(
        vision_config=vision,
        prompt_encoder_config={**PROMPTS, "image_size": side, "patch_size": 16},
        mask_decoder_config=DECODER,
    )
    return Sam2Model(config), {"size": {"height": side, "width": side}}


def sam3() -> tuple[nn.Module, dict]:
    """The part of the third that takes points and rectangles."""
    config = Sam3TrackerConfig(
        vision_config=_sam3_vision(),
        prompt_encoder_config={**PROMPTS, "image_size": SAM3_SIDE, "patch_size": 14},
        mask_decoder_config=DECODER,
    )
    return Sam3TrackerModel(config), {"size": {"height": SAM3_SIDE, "width": SAM3_SIDE}}


def _sam3_vision() -> dict:
    side = SAM3_SIDE
    backbone = {
        "model_type": "sam3_vit_model", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": side, "pretrain_image_size": side, "window_size": 4,
        "global_attn_indexes": [1],
    }  # fmt: skip
    return {
        "model_type": "sam3_vision_model", "fpn_hidden_size": 32, "backbone_config": backbone,
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
    }  # fmt: skip


PROMPTABLE = {"sam": sam, "sam2": sam2, "sam3": sam3}


def save_promptable(name: str, folder: Path) -> nn.Module:
    """Saves one of PROMPTABLE, with the masks of an object spread over several cells, and gives it."""
    torch.manual_seed(1)
    return _saved(*PROMPTABLE[name](), folder)


def _saved(model: nn.Module, said: dict, folder: Path) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:  # transformers' own are so small that every mask and score is one value
                nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return model.eval()


LETTERS = string.ascii_lowercase


def save_clip_tokenizer(folder: Path) -> list[str]:
    """A tokenizer that spells words by letters, and its words."""
    words = ["!", *LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), pad_token="!").save_pretrained(folder)
    return words


def _owl(folder: Path, config_type: type, model_type: type) -> nn.Module:
    """One of the OWL models."""
    words = save_clip_tokenizer(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        "vocab_size": len(words), "max_position_embeddings": 40, "pad_token_id": 0,
        "bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1,
    }  # fmt: skip
    config = config_type(
        text_config={**sizes, **text}, vision_config={**sizes, "image_size": 96, "patch_size": 16}, projection_dim=32
    )
    return _saved(model_type(config), {"size": {"height": 96, "width": 96}}, folder)


def _sam3_words(folder: Path) -> nn.Module:
    """The part of SAM 3 that takes words."""
    words = save_clip_tokenizer(folder)
    part = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}
    text = {
        **part, "vocab_size": len(words), "num_hidden_layers": 1, "max_position_embeddings": 40, "projection_dim": 32,
        "pad_token_id": 0, "bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1,
    }  # fmt: skip
    config = Sam3Config(
        vision_config=_sam3_vision(),
        text_config=text,
        geometry_encoder_config={**part, "num_layers": 1},
        detr_encoder_config={**part, "num_layers": 1},
        detr_decoder_config={**part, "num_layers": 2, "num_queries": 20},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2},
    )
    return _saved(Sam3Model(config), {"size": {"height": SAM3_SIDE, "width": SAM3_SIDE}}, folder)


def _grounding_dino(folder: Path, config_type: type, model_type: type) -> nn.Module:
    """One of the two that take all words as one text."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    swin = SwinConfig(
        image_size=64, embed_dim=12, depths=[1] * 4, num_heads=[1] * 4, window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    text = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64,
    )  # fmt: skip
    config = config_type(
        backbone_config=swin, text_config=text, d_model=32, encoder_layers=1, encoder_ffn_dim=32,
        encoder_attention_heads=2, decoder_layers=2, decoder_ffn_dim=32, decoder_attention_heads=2, num_queries=20,
        max_text_len=64,
    )  # fmt: skip
    said = {"size": {"shortest_edge": 96, "longest_edge": 160}}
    return _saved(model_type(config), said, folder)


def _rt_detr(folder: Path, config_type: type, model_type: type) -> nn.Module:
    """One of the two versions."""
    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 32], depths=[1] * 4, layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = config_type(
        backbone_config=backbone, encoder_hidden_dim=32, encoder_in_channels=[16, 16, 32], feat_strides=[8, 16, 32],
        encoder_layers=1, encoder_ffn_dim=16, encoder_attention_heads=2, d_model=32, num_queries=20,
        decoder_in_channels=[32, 32, 32], decoder_ffn_dim=16, decoder_layers=2, decoder_attention_heads=2,
        id2label={0: "cup", 1: "red mug", 2: "Mug"},
    )  # fmt: skip
    said = {"size": {"height": 96, "width": 96}, "do_normalize": False}
    return _saved(model_type(config), said, folder)


DETECTORS = {
    "owlvit": lambda folder: _owl(folder, OwlViTConfig, OwlViTForObjectDetection),
    "owlv2": lambda folder: _owl(folder, Owlv2Config, Owlv2ForObjectDetection),
    "sam3_words": _sam3_words,
    "grounding-dino": lambda folder: _grounding_dino(folder, GroundingDinoConfig, GroundingDinoForObjectDetection),
    "mm-grounding-dino": lambda folder: _grounding_dino(
        folder, MMGroundingDinoConfig, MMGroundingDinoForObjectDetection
    ),
    "rt_detr": lambda folder: _rt_detr(folder, RTDetrConfig, RTDetrForObjectDetection),
    "rt_detr_v2": lambda folder: _rt_detr(folder, RTDetrV2Config, RTDetrV2ForObjectDetection),
}


def save_detector(name: str, folder: Path) -> nn.Module:
    """Saves one of DETECTORS, with a tokenizer where it has one, and gives it."""
    torch.manual_seed(1)
    return DETECTORS[name](folder)


def save(name: str, folder: Path) -> nn.Module:
    """Saves one of PROMPTABLE or DETECTORS and gives it."""
    return (save_promptable if name in PROMPTABLE else save_detector)(name, folder)
