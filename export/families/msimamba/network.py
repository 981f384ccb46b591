"""MS-iMamba: multi-scale temporal block, inverted embedding, Mamba over channels, classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mimamba_edge.errors import ConfigError
from mimamba_edge.export.families.msimamba.config import ModelConfig, complete_sizes
from mimamba_edge.export.families.msimamba.mamba import Mamba
from mimamba_edge.export.families.msimamba.mstb import MultiScalePerception, MultiScaleTemporalBlock
from mimamba_edge.export.families.msimamba.oracle import PERIODS
from mimamba_edge.export.network import Network

__all__ = ["MSiMamba"]


class _Layer(nn.Module):
    """``h + dropout(Mamba(LayerNorm(h)))``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.d_model)
        self.mamba = Mamba(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = h + self.dropout(self.mamba(self.norm(h)))
        return out


class TemporalSpatialFusionBlock(nn.Module):
    """One token a channel (inverted embedding), then Mamba layers over the channels.

    Args:
        config: The network's configuration.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embedding = nn.Linear(config.n_times, config.d_model)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Map channels ``(b, n_chans, n_times)`` to tokens ``(b, n_chans, d_model)``."""
        h = self.embedding(x)
        for layer in self.layers:
            h = layer(h)
        out: Tensor = self.norm(h)
        return out


class MSiMamba(Network):
    """MS-iMamba (Zhou, Huang, Peng, Yin: "miMamba", arXiv 2409.07589, IEEE TAFFC 2025).

    The sizes have braindecode's names, and follow from each other as in its ``EEGModuleMixin``, so that the
    class stands where one of its networks does, its ``EEGClassifier`` included.

    Args:
        n_chans: Channels; by default as many as ``chs_info`` has.
        n_times: Samples of a window; by default ``input_window_seconds`` at ``sfreq``.
        n_outputs: Classes.
        sfreq: Rate of the windows in Hz; by default ``n_times`` in ``input_window_seconds``.
        chs_info: One entry a channel, as ``info["chs"]`` of MNE.
        input_window_seconds: Length of a window in seconds.
        **config: Other fields of :class:`ModelConfig`.

    Attributes:
        config: The whole configuration.
        chs_info: As given.

    Raises:
        ConfigError: A size is missing, two do not fit each other, or the configuration cannot work; the
            message lists every reason.
    """

    family = "msimamba"
    config: ModelConfig

    def __init__(
        self,
        n_chans: int | None = None,
        n_times: int | None = None,
        n_outputs: int | None = None,
        sfreq: float | None = None,
        *,
        chs_info: Sequence[Any] | None = None,
        input_window_seconds: float | None = None,
        **config: Any,
    ) -> None:
        super().__init__()
        sizes = complete_sizes(
            {"n_chans": n_chans, "n_times": n_times, "n_outputs": n_outputs, "sfreq": sfreq},
            None if chs_info is None else len(chs_info),
            input_window_seconds,
        )
        self.config = ModelConfig.from_dict({**sizes, **config})
        self.chs_info = chs_info
        n_chans, n_outputs = self.config.n_chans, self.config.n_outputs
        self.mstb = MultiScaleTemporalBlock(self.config)
        self.tsfb = TemporalSpatialFusionBlock(self.config)
        self.final_layer = nn.Linear(n_chans * self.config.d_model, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Classify scaled windows.

        Args:
            x: ``(b, n_chans, n_times)`` float32.

        Returns:
            Logits ``(b, n_outputs)``.

        Raises:
            ConfigError: The windows have another shape.
        """
        c = self.config
        if x.ndim != 3 or x.shape[1:] != (c.n_chans, c.n_times):
            raise ConfigError(
                "the windows do not fit the model",
                got=tuple(x.shape),
                expected=f"(b, {c.n_chans}, {c.n_times})",
            )
        x = self.mstb(x.transpose(1, 2)).transpose(1, 2)
        logits: Tensor = self.final_layer(self.tsfb(x).flatten(1))
        return logits

    def periods(self, x: Tensor) -> Tensor:
        """Return the periods ``(b, top_k)``, in samples, of windows ``(b, n_chans, n_times)``."""
        return self.mstb.choose(x.transpose(1, 2))[0]

    def auxiliary(self, x: Tensor) -> dict[str, Tensor]:
        """Return the periods by name."""
        return {PERIODS: self.periods(x)}

    def frozen(self) -> MSiMamba:
        """Return a copy for inference: evaluation mode, fused kernels and ``A`` computed once.

        This is what is exported and run: the derived weights are constants in it.
        """
        model = super().frozen()
        for module in model.modules():
            if isinstance(module, (Mamba, MultiScalePerception)):
                module.freeze()
        return model

    def plain(self) -> MSiMamba:
        """Return a copy for comparison: evaluation mode, plain torch operations, parallel convolutions."""
        model = super().plain()
        model.mstb.convolution = "parallel"
        for module in model.modules():
            if isinstance(module, Mamba):
                module.plain_scan = True
        return model
