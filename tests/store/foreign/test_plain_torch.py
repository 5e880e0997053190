"""Networks written in plain torch, saved and read back: what comes out must be what the module computes."""

import pytest
import torch
from closed_forms import quadratic_network
from helpers import origin
from torch import nn

from interp.base import DoesNotApply, UserError
from interp.models import MlpSpec
from interp.store import CheckpointError
from interp.store.foreign.convert import convert

P = 7
PAIRS = torch.cartesian_prod(torch.arange(P), torch.arange(P))


def written(path, found):
    torch.save(found.state_dict() if isinstance(found, nn.Module) else found, path)
    return path


def one_hot(pairs):
    return nn.functional.one_hot(pairs, P).float().flatten(1)


def seeded(make):
    """A module with initial weights of seed 0, whatever the state of torch's generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


class Embedded(nn.Module):
    """An MLP over the embeddings of a pair, side by side or added, the same for a and b or not."""

    def __init__(self, added=False, separate=False):
        super().__init__()
        self.embed_a = nn.Embedding(P, 5)
        if separate:
            self.embed_b = nn.Embedding(P, 5)
        self.fc1, self.fc2, self.out = nn.Linear(5 if added else 10, 6), nn.Linear(6, 6), nn.Linear(6, P, bias=False)
        self.added, self.separate = added, separate

    def forward(self, pairs):
        a, b = self.embed_a(pairs[:, 0]), (self.embed_b if self.separate else self.embed_a)(pairs[:, 1])
        x = a + b if self.added else torch.cat([a, b], dim=1)
        return self.out(torch.relu(self.fc2(torch.relu(self.fc1(x)))))


MLPS = {
    "one-hot": (lambda: nn.Sequential(nn.Linear(2 * P, 9), nn.ReLU(), nn.Linear(9, P)), one_hot, PAIRS),
    "of two widths": (
        lambda: nn.Sequential(nn.Linear(2 * P, 9), nn.ReLU(), nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, P)), one_hot, PAIRS,
    ),
    "one-hot, without biases": (
        lambda: nn.Sequential(nn.Linear(2 * P, 9, bias=False), nn.ReLU(), nn.Linear(9, P, bias=False)), one_hot, PAIRS,
    ),
    "embedded": (Embedded, lambda pairs: pairs, PAIRS),
    "embedded, added": (lambda: Embedded(added=True), lambda pairs: pairs, PAIRS),
    "embedded, tokens of their own": (lambda: Embedded(separate=True), lambda pairs: pairs, PAIRS + torch.tensor([0, P])),
}  # fmt: skip


@pytest.mark.parametrize("name", MLPS)
def test_an_mlp_gives_what_its_module_gives(tmp_path, name):
    make, of_pairs, tokens = MLPS[name]
    module = seeded(make)
    (run,) = convert(written(tmp_path / "mlp.pt", module), tmp_path / "x", model={"act_fn": "relu"})
    with torch.no_grad():
        torch.testing.assert_close(run.final.model(tokens), module(of_pairs(PAIRS)))


def test_what_shapes_do_not_tell_is_said(tmp_path):
    (run,) = convert(written(tmp_path / "mlp.pt", seeded(lambda: Embedded(added=True))), tmp_path / "x")
    assert any("layers are taken in the order of the file: fc1, fc2, out" in note for note in origin(run).notes)
    assert any("out without a bias" in note for note in origin(run).notes)
    assert any("their embeddings added" in note for note in origin(run).notes)
    with pytest.raises(DoesNotApply, match=r"--model\.act-fn"):
        _ = run.final.model


def test_a_network_that_adds_is_found_to_add_and_its_activation_too(tmp_path):
    """Gromov's (2023) solution in two nn.Linear."""
    on_a, on_b, out = quadratic_network(11, 200, seed=0)
    state = {"0.weight": torch.cat([on_a, on_b], dim=1).float(), "2.weight": out.float()}
    (run,) = convert(written(tmp_path / "mlp.pt", state), tmp_path / "x")
    assert run.task.about.startswith("x + y mod 11")
    assert isinstance(run.known_model, MlpSpec) and run.known_model.act_fn == "quadratic"
    assert run.known_model.inputs == "one_hot"


@pytest.mark.parametrize("counter", [{"epoch": 30}, {"step": 30, "lr": 0.1}, {"train_losses": [3.0] * 30}])
def test_the_step_is_the_one_that_stands_beside_the_weights(tmp_path, counter):
    module = seeded(Embedded)
    (run,) = convert(written(tmp_path / "m.pt", {"model_state_dict": module.state_dict(), **counter}), tmp_path / "x")
    assert run.steps == (30,)
    assert len(run.history) == len(counter.get("train_losses", ()))
    assert ("m.pt also has lr, not taken in" in origin(run).notes) == ("lr" in counter)


class Transformer(nn.Module):
    """One layer of nn.MultiheadAttention and an MLP, with or without a LayerNorm before each part."""

    def __init__(self, normed=False, causal=False):
        super().__init__()
        self.token_embedding, self.pos_embedding = nn.Embedding(P + 1, 12), nn.Parameter(torch.randn(1, 3, 12))
        if normed:
            self.ln1 = nn.LayerNorm(12)
        self.attn = nn.MultiheadAttention(12, 3, batch_first=True)
        if normed:
            self.ln2 = nn.LayerNorm(12)
        self.mlp = nn.Sequential(nn.Linear(12, 20), nn.GELU(), nn.Linear(20, 12))
        if normed:
            self.ln_f = nn.LayerNorm(12)
        self.head = nn.Linear(12, P)
        self.normed, self.causal = normed, causal

    def forward(self, tokens):
        x = self.token_embedding(tokens) + self.pos_embedding
        y = self.ln1(x) if self.normed else x
        mask = torch.ones(3, 3).triu(1).bool() if self.causal else None
        x = x + self.attn(y, y, y, attn_mask=mask, need_weights=False)[0]
        x = x + self.mlp(self.ln2(x) if self.normed else x)
        return self.head(self.ln_f(x) if self.normed else x)[:, -1]


def with_other_numbers(module):
    """The module with numbers in its biases and LayerNorms, which begin at 0 and 1."""
    generator = torch.Generator().manual_seed(1)
    for tensor in module.parameters():
        tensor.data += 0.3 * torch.randn(tensor.shape, generator=generator)
    return module


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_a_transformer_gives_what_its_module_gives(tmp_path, normed, causal):
    module = with_other_numbers(seeded(lambda: Transformer(normed, causal)))
    source = written(tmp_path / "m.pt", module)
    (run,) = convert(
        source,
        tmp_path / "x",
        model={"act_fn": "gelu", "n_heads": 3, "attention": "causal" if causal else "bidirectional"},
    )
    tokens = torch.cat([PAIRS, torch.full((len(PAIRS), 1), P)], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(run.final.model(tokens)[:, -1], module(tokens), rtol=1e-5, atol=1e-5)


def test_the_number_of_heads_is_asked_for(tmp_path):
    source = written(tmp_path / "m.pt", seeded(Transformer))
    for given in ({}, {"n_heads": 5}):
        with pytest.raises(CheckpointError, match=r"give it by --model\.n-heads, one of 1, 2, 3, 4, 6, 12"):
            convert(source, tmp_path / "x", model=given)


def test_a_number_of_heads_that_shapes_contradict_is_refused(tmp_path, tiny):
    with pytest.raises(UserError, match=r"has 2 heads, and model\.n_heads 4 is given"):
        convert(written(tmp_path / "m.pt", tiny.final.weights), tmp_path / "x", model={"n_heads": 4})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: nn.Sequential(nn.Linear(13, 9), nn.ReLU(), nn.Linear(9, 7)),
            "13 inputs and 7 answers, and no embedding",
        ),
        (lambda: nn.Sequential(nn.Linear(14, 9), nn.ReLU(), nn.Linear(9, 1)), "14 inputs and 1 answers"),
        (lambda: nn.TransformerEncoderLayer(8, 2, 16), "not just one of: an embedding of tokens"),
    ],
)
def test_networks_that_interp_does_not_describe_are_named(tmp_path, make, says):
    with pytest.raises(UserError, match=says):
        convert(written(tmp_path / "m.pt", seeded(make)), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_layer_norms_after_each_part_are_refused(tmp_path):
    class Encoder(nn.Module):
        """PyTorch's own layer, which normalises after attention and after the MLP."""

        def __init__(self):
            super().__init__()
            self.embedding, self.positions = nn.Embedding(P + 1, 8), nn.Embedding(3, 8)
            self.layer, self.head = nn.TransformerEncoderLayer(8, 2, 16), nn.Linear(8, P)

    with pytest.raises(CheckpointError, match=r"2 LayerNorms \(layer\.norm1, layer\.norm2\)"):
        convert(written(tmp_path / "m.pt", seeded(Encoder)), tmp_path / "x", model={"n_heads": 2})
