"""A Llama (Touvron et al. 2023) small enough to train and run on a CPU, in the layout of transformers on disk.

The forward pass is our own, because the stock one spends most of its time outside the matrix products at this size:
query, key and value are one product, gate and up another, and logits are made only where they are asked for.
Legend: B batch, T tokens, D width, H heads, V vocabulary.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visavis.errors import FileFormatError

__all__ = ["Llama", "LlamaConfig", "rotary"]

EPSILON: Final = 1e-5
THETA: Final = 10_000.0


@dataclass(frozen=True)
class LlamaConfig:
    """Sizes of a Llama with tied embeddings and as many key as query heads; `context` in tokens."""

    vocabulary: int
    layers: int = 6
    width: int = 256
    heads: int = 4
    hidden: int = 672
    context: int = 640

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.width // self.heads

    def hugging_face(self, bos: int, eos: int, pad: int) -> dict[str, Any]:
        """The config.json that transformers and vLLM read."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocabulary,
            "hidden_size": self.width,
            "intermediate_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.heads,
            "head_dim": self.head_width,
            "max_position_embeddings": self.context,
            "rms_norm_eps": EPSILON,
            "rope_theta": THETA,
            "rope_parameters": {"rope_type": "default", "rope_theta": THETA},
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
            "dtype": "bfloat16",
            "bos_token_id": bos,
            "eos_token_id": eos,
            "pad_token_id": pad,
        }

    @classmethod
    def read(cls, folder: Path) -> LlamaConfig:
        """The sizes in a folder's config.json; refuses what this forward pass does not compute."""
        path = folder / "config.json"
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            config = cls(
                raw["vocab_size"],
                raw["num_hidden_layers"],
                raw["hidden_size"],
                raw["num_attention_heads"],
                raw["intermediate_size"],
                raw["max_position_embeddings"],
            )
            theta = raw.get("rope_theta", raw.get("rope_parameters", {}).get("rope_theta", THETA))
            ours = (
                raw["model_type"] == "llama"
                and raw.get("tie_word_embeddings")
                and raw.get("num_key_value_heads", config.heads) == config.heads
                and abs(raw.get("rms_norm_eps", EPSILON) - EPSILON) < 1e-9
                and abs(theta - THETA) < 1e-6
            )
        except (OSError, ValueError, KeyError) as error:
            raise FileFormatError(f"expected a model's config.json in {folder}, got {error!r}") from error
        if not ours:
            raise FileFormatError(
                f"expected a Llama with tied embeddings and without grouped heads in {path}: "
                "use another engine (--engine transformers) for other models"
            )
        return config


def _attend(q: Tensor, k: Tensor, v: Tensor, future: Tensor | None) -> Tensor:
    """Causal attention, (B, H, T, D/H) each; `future` (T, T) is -inf above the diagonal, or None for the fused way."""
    if future is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    batch, heads, time, width = q.shape
    flat = (batch * heads, time, width)
    scores = torch.baddbmm(future, q.reshape(flat), k.reshape(flat).transpose(1, 2), alpha=width**-0.5)
    return torch.bmm(torch.softmax(scores, dim=-1), v.reshape(flat)).view(batch, heads, time, width)


class _Layer(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.hidden
        self.heads = config.heads
        self.norm_attention = nn.Parameter(torch.ones(width))
        self.qkv = nn.Parameter(torch.empty(3 * width, width))
        self.out = nn.Parameter(torch.empty(width, width))
        self.norm_mlp = nn.Parameter(torch.ones(width))
        self.gate_up = nn.Parameter(torch.empty(2 * hidden, width))
        self.down = nn.Parameter(torch.empty(width, hidden))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, future: Tensor | None, dtype: torch.dtype) -> Tensor:
        batch, time, width = x.shape
        y = F.rms_norm(x, (width,), self.norm_attention, EPSILON).to(dtype)
        qkv = F.linear(y, self.qkv.to(dtype)).view(batch, time, 3, self.heads, -1)
        qk = qkv[:, :, :2]  # (B, T, 2, H, D/H)
        left, right = qk.chunk(2, dim=-1)
        qk = torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)
        q, k = qk.transpose(1, 3).unbind(2)  # (B, H, T, D/H) each
        mixed = _attend(q, k, qkv[:, :, 2].transpose(1, 2), future)
        x = x + F.linear(mixed.transpose(1, 2).reshape(batch, time, width), self.out.to(dtype))
        y = F.rms_norm(x, (width,), self.norm_mlp, EPSILON).to(dtype)
        gate, up = F.linear(y, self.gate_up.to(dtype)).chunk(2, dim=-1)
        return x + F.linear(F.silu(gate) * up, self.down.to(dtype))


class Llama(nn.Module):
    """The model. Parameters are float32 while training; products run in `dtype`."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Parameter(torch.empty(config.vocabulary, config.width))
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.norm = nn.Parameter(torch.ones(config.width))
        self.initialise(torch.Generator().manual_seed(0))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Normal weights of 0.02, smaller where a layer adds to the residual (Radford et al. 2019)."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                small = name.endswith((".out", ".down"))
                scale = 0.02 / (2 * self.config.layers) ** 0.5 if small else 0.02
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)

    def hidden(self, ids: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """(B, T) ids, padded on the right if at all → (B, T, D) states, normalised, in `dtype`."""
        cos, sin = rotary(ids.shape[1], self.config.head_width, ids.device)
        cos, sin = cos[:, None, None].to(dtype), sin[:, None, None].to(dtype)  # (T, 1, 1, D/H/2)
        time = ids.shape[1]
        # On a CPU, plain products train a fifth faster at these lengths than the fused attention's backward pass.
        plain = ids.device.type == "cpu" and torch.is_grad_enabled()
        future = torch.full((time, time), float("-inf"), dtype=dtype).triu(1) if plain else None
        x = F.embedding(ids, self.embedding)
        for layer in self.layers:
            x = layer(x, cos, sin, future, dtype)
        return F.rms_norm(x, (self.config.width,), self.norm, EPSILON).to(dtype)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., D) states → (..., V) logits in the states' dtype."""
        return F.linear(hidden, self.embedding.to(hidden.dtype))

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) ids → (B, T, V) float32 logits."""
        return self.logits(self.hidden(ids))

    def save(self, folder: Path, bos: int, eos: int, pad: int) -> None:
        """Write config.json and bf16 model.safetensors, with the names of transformers."""
        from safetensors.torch import save_file

        tensors: dict[str, Tensor] = {"model.embed_tokens.weight": self.embedding, "model.norm.weight": self.norm}
        for number, layer in enumerate(cast("list[_Layer]", list(self.layers))):
            at = f"model.layers.{number}."
            for name, tensor in zip("qkv", layer.qkv.chunk(3), strict=True):
                tensors[f"{at}self_attn.{name}_proj.weight"] = tensor
            for name, tensor in zip(("gate", "up"), layer.gate_up.chunk(2), strict=True):
                tensors[f"{at}mlp.{name}_proj.weight"] = tensor
            tensors |= {
                f"{at}self_attn.o_proj.weight": layer.out,
                f"{at}mlp.down_proj.weight": layer.down,
                f"{at}input_layernorm.weight": layer.norm_attention,
                f"{at}post_attention_layernorm.weight": layer.norm_mlp,
            }
        folder.mkdir(parents=True, exist_ok=True)
        small = {name: tensor.detach().to("cpu", torch.bfloat16).contiguous() for name, tensor in tensors.items()}
        save_file(small, folder / "model.safetensors", metadata={"format": "pt"})
        config = self.config.hugging_face(bos, eos, pad)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Llama:
        """Read what `save`, or transformers, wrote; float32."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        model = cls(LlamaConfig.read(folder))
        try:
            raw = load_file(folder / "model.safetensors")
            state = {"embedding": raw["model.embed_tokens.weight"], "norm": raw["model.norm.weight"]}
            for number in range(model.config.layers):
                at, to = f"model.layers.{number}.", f"layers.{number}."
                state[to + "qkv"] = torch.cat([raw[f"{at}self_attn.{name}_proj.weight"] for name in "qkv"])
                state[to + "out"] = raw[at + "self_attn.o_proj.weight"]
                state[to + "gate_up"] = torch.cat([raw[f"{at}mlp.{name}_proj.weight"] for name in ("gate", "up")])
                state[to + "down"] = raw[at + "mlp.down_proj.weight"]
                state[to + "norm_attention"] = raw[at + "input_layernorm.weight"]
                state[to + "norm_mlp"] = raw[at + "post_attention_layernorm.weight"]
            model.load_state_dict(state)
        except (OSError, KeyError, RuntimeError, SafetensorError) as error:
            raise FileFormatError(
                f"expected the weights of {asdict(model.config)} in {folder}/model.safetensors, got {error!r}"
            ) from error
        return model


def rotary(time: int, head_width: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Rotary position factors (Su et al. 2021): cos and sin, each (T, head_width / 2), float32."""
    frequencies = THETA ** (-torch.arange(0, head_width, 2, device=device, dtype=torch.float32) / head_width)
    angles = torch.outer(torch.arange(time, device=device, dtype=torch.float32), frequencies)
    return angles.cos(), angles.sin()
