"""Models of others: how each is made from its own package or checkout. Nothing of theirs is here."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from mimamba_edge.errors import DependencyError
from mimamba_edge.export.capture import stubs

__all__ = ["FAMILIES", "Compared"]


@dataclass(frozen=True)
class Compared:
    """One model of the table.

    Attributes:
        title: For people.
        source: Package or repository.
        input: Its shape, as ``--input``.
        make: Returns it with random weights.
    """

    title: str
    source: str
    input: str
    make: Callable[[], nn.Module]


def _checkout(name: str, *inner: str) -> None:
    """Put a checkout first on the path."""
    folder = Path(os.environ.get("MIMAMBA_CHECKOUTS", "")) / name
    if "MIMAMBA_CHECKOUTS" not in os.environ or not folder.is_dir():
        raise DependencyError(f"no checkout of {name}", do="name its folder in MIMAMBA_CHECKOUTS")
    for part in inner or (".",):
        sys.path.insert(0, str(folder / part))


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise DependencyError(f"{error.name} is not installed", do=f"pip install {error.name}") from error


def _mamba_ssm(name: str, *inner: str) -> None:
    """Let an old mamba_ssm import: it wants two names that transformers has no more, and images' packages."""
    _checkout(name, *inner)
    stubs.COMPILED += ("torchvision", "fvcore")
    generation = _module("transformers.generation")
    for gone in ("GreedySearchDecoderOnlyOutput", "SampleDecoderOnlyOutput"):
        if not hasattr(generation, gone):
            setattr(generation, gone, object)


class _Calls(nn.Module):
    """Calls a model with what a function makes of one tensor."""

    def __init__(self, model: nn.Module, split: Callable[[Tensor], tuple[Any, ...]]) -> None:
        super().__init__()
        self.model, self.split = model, split

    def forward(self, x: Tensor) -> Any:
        return self.model(*self.split(x))


def mamba_lm() -> nn.Module:
    _checkout("mamba")
    config = _module("mamba_ssm.models.config_mamba").MambaConfig(d_model=256, n_layer=4, vocab_size=1000)
    model: nn.Module = _module("mamba_ssm.models.mixer_seq_simple").MambaLMHeadModel(config)
    return model


def vim() -> nn.Module:
    _mamba_ssm("Vim", "mamba-1p1p1", "vim")
    given: dict[str, Any] = {
        "rms_norm": True,
        "residual_in_fp32": True,
        "fused_add_norm": True,
        "bimamba_type": "v2",
    }
    given |= {
        "if_abs_pos_embed": True,
        "if_cls_token": True,
        "if_divide_out": True,
        "use_middle_cls_token": True,
    }
    given |= {"final_pool_type": "mean", "if_rope": False, "if_rope_residual": False}
    model: nn.Module = _module("models_mamba").VisionMamba(img_size=64, depth=4, embed_dim=192, **given)
    return model


def vmamba() -> nn.Module:
    _mamba_ssm("VMamba", "classification/models")
    model: nn.Module = _module("vmamba").VSSM(
        depths=[2, 2, 2, 2],
        dims=48,
        ssm_d_state=1,
        ssm_ratio=2.0,
        ssm_conv=3,
        ssm_conv_bias=False,
        forward_type="v05_noz",
        norm_layer="ln2d",
        downsample_version="v3",
        patchembed_version="v2",
        imgsize=64,
    )
    return model


def hf_mamba() -> nn.Module:
    given: dict[str, Any] = {"vocab_size": 1000, "hidden_size": 256, "state_size": 16, "num_hidden_layers": 4}
    t = _module("transformers")
    model: nn.Module = t.MambaModel(t.MambaConfig(**given, use_cache=False))
    return model


def hf_falcon_mamba() -> nn.Module:
    given: dict[str, Any] = {"vocab_size": 1000, "hidden_size": 256, "state_size": 16, "num_hidden_layers": 4}
    t = _module("transformers")
    model: nn.Module = t.FalconMambaModel(t.FalconMambaConfig(**given, use_cache=False))
    return model


def hf_jamba() -> nn.Module:
    given: dict[str, Any] = {
        "vocab_size": 1000,
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
    }
    given |= {
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "attn_layer_period": 4,
        "attn_layer_offset": 1,
    }
    t = _module("transformers")
    config = t.JambaConfig(**given, num_experts=1, num_experts_per_tok=1, use_cache=False)
    config._attn_implementation = "eager"
    model: nn.Module = t.JambaModel(config)
    return model


def mambapy() -> nn.Module:
    m = _module("mambapy.mamba")
    model: nn.Module = m.Mamba(m.MambaConfig(d_model=256, n_layers=4))
    return model


def s_d_mamba() -> nn.Module:
    _checkout("mamba")
    _checkout("S-D-Mamba")
    stubs.COMPILED += ("reformer_pytorch",)
    given: dict[str, Any] = {
        "seq_len": 96,
        "pred_len": 96,
        "output_attention": False,
        "use_norm": True,
        "d_model": 128,
    }
    given |= {"embed": "timeF", "freq": "h", "dropout": 0.1, "class_strategy": "projection", "d_state": 16}
    given |= {"d_ff": 128, "e_layers": 2, "activation": "gelu"}
    model = _module("model.S_Mamba").Model(SimpleNamespace(**given))
    return _Calls(model, lambda x: (x, None, None, None))


def ts_mamba_simple() -> nn.Module:
    _checkout("Time-Series-Library")
    given: dict[str, Any] = {
        "task_name": "long_term_forecast",
        "pred_len": 48,
        "d_model": 128,
        "expand": 2,
        "enc_in": 7,
    }
    given |= {
        "c_out": 7,
        "embed": "timeF",
        "freq": "h",
        "dropout": 0.1,
        "e_layers": 2,
        "d_conv": 4,
        "d_ff": 16,
    }
    model = _module("models.MambaSimple").Model(SimpleNamespace(**given))
    return _Calls(model, lambda x: (x, None, None, None))


def semamba() -> nn.Module:
    _mamba_ssm("SEMamba", ".", "mamba-1_2_0_post1")
    given: dict[str, Any] = {
        "hid_feature": 64,
        "num_tfmamba": 4,
        "d_state": 16,
        "d_conv": 4,
        "expand": 4,
        "norm_epsilon": 1e-5,
    }
    given |= {"beta": 2.0, "input_channel": 2, "output_channel": 1}
    model = _module("models.generator").SEMamba({"model_cfg": given, "stft_cfg": {"n_fft": 400}})
    return _Calls(model, lambda x: (x[:, 0], x[:, 1]))


FAMILIES = {
    "mamba_lm": Compared("Mamba LM, 4 layers", "state-spaces/mamba 2.3", "1x64:int64", mamba_lm),
    "vim": Compared("Vim, 4 blocks, both directions", "hustvl/Vim", "1x3x64x64", vim),
    "vmamba": Compared("VMamba, cross scan", "MzeroMiko/VMamba", "1x3x64x64", vmamba),
    "hf_mamba": Compared("MambaModel, 4 layers", "transformers", "1x64:int64", hf_mamba),
    "hf_falcon_mamba": Compared("FalconMambaModel, 4 layers", "transformers", "1x64:int64", hf_falcon_mamba),
    "hf_jamba": Compared("JambaModel, 3 Mamba layers, 1 attention", "transformers", "1x64:int64", hf_jamba),
    "mambapy": Compared("Mamba, 4 layers", "mambapy", "1x64x256", mambapy),
    "s_d_mamba": Compared("S-Mamba, 7 variates", "wzhwzhwzh0921/S-D-Mamba", "1x96x7", s_d_mamba),
    "ts_mamba_simple": Compared("MambaSimple", "thuml/Time-Series-Library", "1x96x7", ts_mamba_simple),
    "semamba": Compared("SEMamba, 16 Mamba blocks", "RoyChao19477/SEMamba", "1x2x201x20", semamba),
}
"""By the name of the row, which is that of its function."""
