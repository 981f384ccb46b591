"""Mamba-1 models of others: how each is made from its own package or checkout. Nothing of theirs is here."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from benchmarks.compat.entry import Compared, called_with, checkout, imported

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ENTRIES"]


def _mamba_ssm(name: str, *inner: str) -> None:
    """Let an old mamba_ssm import: it wants two names that transformers has no more, and images' packages."""
    from mimamba_edge.export.capture import stubs

    checkout(name, *inner)
    stubs.COMPILED += ("torchvision", "fvcore")
    generation = imported("transformers.generation")
    for gone in ("GreedySearchDecoderOnlyOutput", "SampleDecoderOnlyOutput"):
        if not hasattr(generation, gone):
            setattr(generation, gone, object)


def mamba_lm() -> nn.Module:
    checkout("mamba")
    config = imported("mamba_ssm.models.config_mamba").MambaConfig(d_model=256, n_layer=4, vocab_size=1000)
    model: nn.Module = imported("mamba_ssm.models.mixer_seq_simple").MambaLMHeadModel(config)
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
    model: nn.Module = imported("models_mamba").VisionMamba(img_size=64, depth=4, embed_dim=192, **given)
    return model


def vmamba() -> nn.Module:
    _mamba_ssm("VMamba", "classification/models")
    model: nn.Module = imported("vmamba").VSSM(
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
    given: dict[str, Any] = {"vocab_size": 1000, "hidden_size": 256, "state_size": 16, "num_hidden_layers": 2}
    t = imported("transformers")
    model: nn.Module = t.MambaModel(t.MambaConfig(**given, use_cache=False))
    return model


def hf_falcon_mamba() -> nn.Module:
    given: dict[str, Any] = {"vocab_size": 1000, "hidden_size": 256, "state_size": 16, "num_hidden_layers": 2}
    t = imported("transformers")
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
    t = imported("transformers")
    config = t.JambaConfig(**given, num_experts=1, num_experts_per_tok=1, use_cache=False)
    config._attn_implementation = "eager"
    model: nn.Module = t.JambaModel(config)
    return model


def mambapy() -> nn.Module:
    m = imported("mambapy.mamba")
    model: nn.Module = m.Mamba(m.MambaConfig(d_model=256, n_layers=4))
    return model


def s_d_mamba() -> nn.Module:
    from mimamba_edge.export.capture import stubs

    checkout("mamba")
    checkout("S-D-Mamba")
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
    model = imported("model.S_Mamba").Model(SimpleNamespace(**given))
    return called_with(model, lambda x: (x, None, None, None))


def ts_mamba_simple() -> nn.Module:
    checkout("Time-Series-Library")
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
    model = imported("models.MambaSimple").Model(SimpleNamespace(**given))
    return called_with(model, lambda x: (x, None, None, None))


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
    model = imported("models.generator").SEMamba({"model_cfg": given, "stft_cfg": {"n_fft": 400}})
    return called_with(model, lambda x: (x[:, 0], x[:, 1]))


def _hf(title: str, make: Callable[[], nn.Module], scans: int) -> Compared:
    packages = ("transformers",)
    return Compared(title, "transformers", "1x64:int64", make, scans, packages, keyword="input_ids")


ENTRIES = {
    "mamba_lm": Compared(
        *("Mamba LM, 4 layers", "state-spaces/mamba", "1x64:int64", mamba_lm, 4),
        checkouts=("mamba",),
    ),
    "vim": Compared("Vim, 4 blocks, both directions", "hustvl/Vim", "1x3x64x64", vim, 8, checkouts=("Vim",)),
    "vmamba": Compared(
        "VMamba, 8 blocks, cross scan", "MzeroMiko/VMamba", "1x3x64x64", vmamba, 8, checkouts=("VMamba",)
    ),
    "hf_mamba": _hf("MambaModel, 2 layers", hf_mamba, 2),
    "hf_falcon_mamba": _hf("FalconMambaModel, 2 layers", hf_falcon_mamba, 2),
    "hf_jamba": _hf("JambaModel, 3 Mamba layers, 1 attention", hf_jamba, 3),
    "mambapy": Compared("Mamba, 4 layers", "mambapy", "1x64x256", mambapy, 4, packages=("mambapy",)),
    "s_d_mamba": Compared(
        *("S-Mamba, 7 variates", "wzhwzhwzh0921/S-D-Mamba", "1x96x7", s_d_mamba, 4),
        checkouts=("S-D-Mamba", "mamba"),
    ),
    "ts_mamba_simple": Compared(
        *("MambaSimple, 2 layers", "thuml/Time-Series-Library", "1x96x7", ts_mamba_simple, 2),
        checkouts=("Time-Series-Library",),
    ),
    "semamba": Compared(
        *("SEMamba, 16 Mamba blocks", "RoyChao19477/SEMamba", "1x2x201x20", semamba, 16),
        checkouts=("SEMamba",),
    ),
}
"""By the name of the row, which is that of its function."""
