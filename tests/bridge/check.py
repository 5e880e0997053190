"""Whether TransformerLens 4 computes what HookedTransformer did: `python check.py OUT`, with what make.py left in OUT.

Runs where TransformerLens 4 is, without interp. A line for each model; exit code 1 when any disagrees.
"""

import inspect
import json
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformer_lens import TransformerBridgeConfig
from transformer_lens.config.transformer_lens_config import TransformerLensConfig
from transformer_lens.conversion_utils import convert_tl_checkpoint  # pyright: ignore  of TransformerLens 4
from transformer_lens.model_bridge import TransformerBridge

TOLERANCE = 1e-5
"""Of a tensor's largest entry. A product summed in another order differs in the last of float32's 24 bits, 6e-8."""

OTHERWISE = ("attn.hook_attn_scores", "mlp.hook_mid")
"""Hooks that TransformerBridge fills with something else (the pattern), or does not have."""

KINDS = (TransformerBridgeConfig, TransformerLensConfig)
KNOWN = {name for kind in KINDS for name in inspect.signature(kind).parameters}


def boot(export: Path, weights: Path) -> TransformerBridge:
    """One checkpoint of an export, every tensor of the model set from the file."""
    config = json.loads((export / "config.json").read_text())
    if unknown := sorted(config.keys() - KNOWN):  # which boot_native would pass over without a word
        raise SystemExit(f"{export}: TransformerBridgeConfig has no {', '.join(unknown)}")
    bridge = TransformerBridge.boot_native(config)
    bridge.load_state_dict(convert_tl_checkpoint(load_file(weights), bridge.cfg), strict=True)
    return bridge.eval()


def differences(model: Path, weights: Path) -> dict[str, float]:
    """Of logits and every hook, at all prompts and positions: largest difference as a share of the largest entry."""
    expected = load_file(model / "expected" / weights.name)
    bridge = boot(model / "export", weights)
    with torch.inference_mode():
        logits, hooks = bridge.run_with_cache(expected.pop("tokens"))
    expected = {name: tensor for name, tensor in expected.items() if not name.endswith(OTHERWISE)}
    return {name: share(logits if name == "logits" else hooks[name], tensor) for name, tensor in expected.items()}


def share(found: Tensor, expected: Tensor) -> float:
    """Largest |found − expected| over largest |expected|; infinite where shapes differ or a number is none."""
    if found.shape != expected.shape or not found.isfinite().all():
        return float("inf")
    return ((found - expected).abs().max() / expected.abs().max().clamp(min=1e-30)).item()


def main(out: Path) -> None:
    models = sorted(folder.parent for folder in out.glob("*/expected"))
    wrong = hooks = 0
    for model in models:
        checkpoints = sorted((model / "export" / "steps").iterdir())
        assert [file.name for file in checkpoints] == sorted(file.name for file in (model / "expected").iterdir())
        found = [differences(model, file) for file in checkpoints]
        logits = max(shares["logits"] for shares in found)
        worst, where = max((value, name) for shares in found for name, value in shares.items())
        wrong, hooks = wrong + (worst > TOLERANCE), hooks + len(found[0]) - 1
        print(
            f"{model.name:<32} logits {logits:7.1e}  hooks {worst:7.1e}"
            + f"  in {where}: DISAGREES" * (worst > TOLERANCE)
        )
    print(
        f"transformer-lens {version('transformer-lens')}: {len(models)} models, {hooks} hooks, {wrong} models disagree"
    )
    raise SystemExit(bool(wrong) or not models)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
