"""The MLP's network over some examples, and what of it is what."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import layer_norm, one_hot

from interp.models.activations import activate
from interp.models.mlp.spec import MlpSpec
from interp.models.network import Forward, Hook, Layer, Matrix, Roles, Weights
from interp.models.products import product, select, shared_product
from interp.recipe import Precision
from interp.shape import Shape


@dataclass(frozen=True)
class MlpForward(Forward):
    """What comes out for these examples, as a function of the weights, each [*runs, …].

    A one-hot input picks a row of the first W: rows are added, and no matrix of zeros is multiplied.
    """

    spec: MlpSpec
    inputs: Int[Tensor, "*runs n n_ctx"] | Float[Tensor, "*sets n number"]
    """Prompts of tokens, or vectors, each set of which serves as many neighbouring runs."""
    precision: Precision = "float32"

    def __call__(self, weights: Weights, factors: Tensor | None = None) -> Float[Tensor, "*runs n answer"]:
        """The outputs, one for each answer."""
        return self.cache(weights, "unembed.hook_out".__eq__)["unembed.hook_out"]

    def cache(self, weights: Weights, names: Callable[[str], bool] = lambda name: True) -> dict[str, Tensor]:
        """Activations of every prompt by the names of HookedMlp's hooks; outputs are computed only where they are asked for."""
        single = self.inputs.ndim == 2
        inputs, found = self.inputs[None] if single else self.inputs, {}
        weights = {name: tensor[None] for name, tensor in weights.items()} if single else weights
        if names("embed.hook_embed"):
            found["embed.hook_embed"] = self.embedded(weights, inputs)
        post = None
        for layer in range(len(self.spec.layers)):
            pre = self.first(weights, inputs) if post is None else self.times(post, weights[f"layers.{layer}.W"])
            pre = normalise(self.plus(pre, weights, f"layers.{layer}.b"), self.spec)
            post = activate(self.spec.act_fn, pre)
            found |= {f"layers.{layer}.hook_pre": pre, f"layers.{layer}.hook_post": post}
        if names("unembed.hook_out") and post is not None:
            outputs = self.times(normalise(post, self.spec), weights["unembed.W_U"])
            found["unembed.hook_out"] = self.plus(outputs, weights, "unembed.b_U")
        return {name: value[0] if single else value for name, value in found.items() if names(name)}

    def embedded(self, weights: Weights, inputs: Tensor) -> Float[Tensor, "runs n ..."]:
        """What the first layer reads: vectors, or one-hot vectors or embeddings [runs, n, n_ctx, d] of tokens."""
        if self.spec.inputs == "vectors":
            return inputs.repeat_interleave(len(weights["layers.0.W"]) // len(inputs), dim=0)
        if self.spec.inputs == "one_hot":
            W = weights["layers.0.W"]
            return one_hot(inputs, W.shape[2]).to(W)
        W_E = weights["embed.W_E"]
        of_run = torch.arange(len(inputs), device=inputs.device)[:, None, None]
        return select(W_E, (inputs + of_run * W_E.shape[1]).flatten(1)).unflatten(1, inputs.shape[1:])

    def posts(self, weights: Weights, size: int) -> Iterator[Float[Tensor, "*runs part neuron"]]:
        """The last hidden layer's activations in parts of so many prompts, in order."""
        last = f"layers.{len(self.spec.layers) - 1}.hook_post"
        for part in self.inputs.split(size, dim=-2):
            yield MlpForward(self.spec, part, self.precision).cache(weights, last.__eq__)[last]

    def first(self, weights: Weights, inputs: Tensor) -> Float[Tensor, "runs n neuron"]:
        """What the first hidden layer receives of vectors or tokens [runs, n, …], its bias apart."""
        W = weights["layers.0.W"]
        if self.spec.inputs == "vectors":
            return shared_product(inputs, W, self.precision)
        return self.of_tokens(weights, W, inputs)

    def of_tokens(
        self, weights: Weights, W: Float[Tensor, "runs ..."], tokens: Int[Tensor, "runs n n_ctx"]
    ) -> Float[Tensor, "runs n neuron"]:
        """What the first hidden layer receives of tokens, its bias apart."""
        runs, _, n_ctx = tokens.shape
        of_run = torch.arange(runs, device=tokens.device)[:, None]
        if self.spec.inputs == "one_hot":
            size = W.shape[2]
            return added([select(W[:, place], tokens[..., place] + of_run * size) for place in range(n_ctx)])
        W_E = weights["embed.W_E"]
        if self.spec.inputs == "summed":
            size = W_E.shape[1]
            x = added([select(W_E, tokens[..., place] + of_run * size) for place in range(n_ctx)])
            return self.times(normalise(x, self.spec), W)
        embedded = select(W_E, (tokens + of_run[..., None] * W_E.shape[1]).flatten(1))
        x = embedded.view(runs, -1, n_ctx * W_E.shape[2])
        return self.times(normalise(x, self.spec), W.flatten(1, 2))

    def times(self, x: Float[Tensor, "runs n k"], W: Float[Tensor, "runs k m"]) -> Float[Tensor, "runs n m"]:
        """x @ W for each run."""
        return product(x, W, self.precision)

    def plus(self, x: Tensor, weights: Weights, bias: str) -> Tensor:
        """x with the bias of that name, where there is one."""
        return x + weights[bias][:, None] if self.spec.biases else x


def added(rows: list[Float[Tensor, "runs n d"]]) -> Float[Tensor, "runs n d"]:
    """Sum of rows that each position of a prompt picks."""
    return torch.stack(rows).sum(dim=0) if len(rows) > 2 else sum(rows[1:], rows[0])


def normalise(x: Float[Tensor, "*n d"], spec: MlpSpec) -> Float[Tensor, "*n d"]:
    """x centred and scaled over its width, if the specification says so."""
    return x if spec.normalization == "none" else layer_norm(x, x.shape[-1:], eps=spec.norm_eps)


def over(
    spec: MlpSpec,
    shape: Shape,
    inputs: Int[Tensor, "*runs n n_ctx"] | Float[Tensor, "*runs n number"],
    precision: Precision = "float32",
    apart: bool = False,
) -> MlpForward:
    """The network over these examples; there is no dropout, so they never need states of their own."""
    return MlpForward(spec, inputs, precision)


def roles(spec: MlpSpec) -> Roles:
    """The embedding, the last hidden layer's neurons, and W_U, which is both what points at the answers and what neurons write.

    A one-hot input is embedded by its row of the first W, which differs by position. Vectors have no embedding.
    """
    embedded = Matrix(("embed.W_E",), lambda weights: weights["embed.W_E"], spec.d_model, put_W_E)
    W_U = Matrix(("unembed.W_U",), lambda weights: weights["unembed.W_U"], spec.layers[-1])
    one_hot, vectors = spec.inputs == "one_hot", spec.inputs == "vectors"
    return Roles(
        embedding=None if vectors else rows_at(spec, 0) if one_hot else embedded,
        embedding_at=partial(rows_at, spec) if one_hot else None,
        unembedding=W_U,
        neurons=Hook(f"layers.{len(spec.layers) - 1}.hook_post", spec.layers[-1]),
        readout=W_U,
        layer=last_layer(spec),
        linear=spec.normalization == "none",
    )


def last_layer(spec: MlpSpec) -> Layer:
    """The last hidden layer: it reads the layer before, or what goes in."""
    last = len(spec.layers) - 1

    def pre(weights: Weights, x: Float[Tensor, "rows width"]) -> Float[Tensor, "rows neuron"]:
        """What its neurons receive."""
        W = weights[f"layers.{last}.W"].flatten(0, -2)
        if not last and spec.inputs == "summed":
            x = x.unflatten(1, (-1, len(W))).sum(dim=1)
        x = normalise(x, spec) if not last and spec.inputs in ("embedded", "summed") else x
        received = x @ W
        return normalise(received + weights[f"layers.{last}.b"] if spec.biases else received, spec)

    if last:
        return Layer(f"layers.{last - 1}.hook_post", pre)
    return Layer("embed.hook_embed", pre, axes=1 if spec.inputs == "vectors" else 2)


def put_W_E(weights: Weights, W_E: Tensor) -> Weights:
    """The weights with another table of embeddings."""
    return {**weights, "embed.W_E": W_E}


def rows_at(spec: MlpSpec, position: int) -> Matrix:
    """The rows of the first W that the tokens at a position pick."""

    def put(weights: Weights, rows: Tensor) -> Weights:
        """The weights with other rows there."""
        W = weights["layers.0.W"].clone()
        W[..., position, :, :] = rows
        return {**weights, "layers.0.W": W}

    return Matrix(
        ("layers.0.W",),
        lambda weights: weights["layers.0.W"][..., position, :, :],
        spec.layers[0],
        put,
        of_neurons=True,
    )
