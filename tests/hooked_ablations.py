"""Ablations by HookedTransformer's hooks, a prompt a row: what those over the whole square must be."""

import math

import torch

from interp.models.network import load
from interp.views.ablatable import Ablatable

KEY, CLUSTERS = (1, 3), {1: [0, 2, 5, 11, 20], 3: [1, 3, 7]}


def perturb(weights):
    """No bias is 0 and no scale 1."""
    generator = torch.Generator().manual_seed(0)
    for tensor in weights.values():
        tensor += 0.2 * torch.randn(tensor.shape, generator=generator)


def projection(n, ks):
    """Onto the waves of these frequencies, on n residues."""
    x = torch.arange(n).double()
    P = torch.zeros(n, n, dtype=torch.float64)
    for k in ks:
        for phase in (0, math.pi / 2):
            wave = torch.cos(2 * math.pi * k * x / n - phase)
            if wave.norm() > 1e-6:
                P += torch.outer(wave, wave) / wave.square().sum()
    return P


class Slow:
    """A checkpoint with hooks that take something out, at the last position of the last layer, one prompt a row."""

    def __init__(self, run):
        self.run, self.grid, self.model = run, Ablatable.of(run), run.final.model.requires_grad_(False)
        self.block = f"blocks.{run.config.model.n_layers - 1}."
        self.tokens = self.grid.prompts.inputs
        with torch.no_grad():
            _, cache = self.model.run_with_cache(self.tokens)
        self.at = lambda name: cache[self.block + name][:, -1]
        n = self.grid.n
        same = self.grid.answers[:, None] == torch.arange(n)
        self.by_answer = same.double() / math.sqrt(n)
        """Orthonormal columns."""

    def logits(self, *hooks):
        with torch.no_grad():
            hooks = [(self.block + name, change) for name, change in hooks]
            return self.model.run_with_hooks(self.tokens, fwd_hooks=hooks)[:, -1, self.grid.values]

    def instead(self, name, value):
        """The network with other activations at the last position."""

        def change(activation, hook):
            activation[:, -1] = value.to(activation.dtype)
            return activation

        return self.logits((name, change))

    def waves(self, values, ks):
        """The part of a function of the pairs along waves of a + b."""
        return self.by_answer @ projection(self.grid.n, ks) @ self.by_answer.T @ values.double()

    def embedding(self, ks, keep):
        weights, task = dict(self.run.final.weights), self.run.task
        W_E = weights["embed.W_E"].clone()
        for rows in [self.grid.values, *([self.grid.values + task.p] if task.operands == "separate" else [])]:
            table = W_E[rows].double()
            part = projection(self.grid.n, ks) @ table
            W_E[rows] = (table.mean(dim=0) + part if keep else table - part).float()
        model = load(self.run.known_model, task.shape, {**weights, "embed.W_E": W_E})
        with torch.no_grad():
            return model(self.tokens)[:, -1, self.grid.values]

    def with_numbers(self, table):
        """With other embeddings of the numbers."""
        weights = dict(self.run.final.weights)
        W_E = weights["embed.W_E"].clone()
        W_E[self.grid.values] = table.float()
        model = load(self.run.known_model, self.run.task.shape, {**weights, "embed.W_E": W_E})
        with torch.no_grad():
            return model(self.tokens)[:, -1, self.grid.values]

    def neurons(self, ks, keep):
        post = self.at("mlp.hook_post").double()
        part = self.waves(post, ks)
        return self.instead("mlp.hook_post", post.mean(dim=0) + part if keep else post - part)

    def of_logits(self, ks, keep):
        logits = self.logits().double()
        part = self.waves(logits, ks)
        return (logits.mean(dim=0) + part if keep else logits - part).float()

    def some_neurons(self, neurons, keep):
        mask = torch.zeros(self.at("mlp.hook_post").shape[1])
        mask[list(neurons)] = 1
        return self.instead("mlp.hook_post", self.at("mlp.hook_post") * (mask if keep else 1 - mask))

    def blocks(self, ks):
        n, post = self.grid.n, self.at("mlp.hook_post").double()
        for neurons, k in zip(CLUSTERS.values(), ks, strict=True):
            P = projection(n, [k]) + 1 / n
            post[:, neurons] = torch.kron(P, P) @ post[:, neurons]
        return self.instead("mlp.hook_post", post)

    def directions(self, ks, keep):
        W_out = self.model.W_out[-1].double()
        if (
            self.model.cfg.normalization_type is not None
        ):  # what every neuron adds to all dimensions alike is centred away
            W_out = W_out - W_out.mean(dim=-1, keepdim=True)
        if self.model.cfg.normalization_type == "LN":
            W_out = W_out * self.model.ln_final.w.double()
        W_L = W_out @ self.model.W_U[:, self.grid.values].double()
        U = W_L @ projection(self.grid.n, ks)
        P = U @ torch.linalg.pinv(U, rtol=1e-8)
        post = self.at("mlp.hook_post").double()
        return self.instead("mlp.hook_post", post @ P if keep else post - post @ P)

    def head(self, number):
        def change(z, hook):
            z[:, -1, number] = 0
            return z

        return self.logits(("attn.hook_z", change))

    def removed(self, name):
        """What a head, or a skip path, adds."""
        if name.startswith("head"):
            head = int(name.split()[1])
            return self.at("attn.hook_z")[:, head] @ self.model.W_O[-1, head]
        if name == "all heads":
            return self.at("hook_attn_out") - self.model.b_O[-1]
        return self.at("hook_resid_mid" if name == "MLP skip" else "hook_resid_pre")

    def less(self, name, removed):
        """Without a vector in the residual stream, where that name's route joins it."""
        at = "hook_resid_post" if name == "MLP skip" else "hook_resid_mid"
        return self.instead(at, self.at(at) - removed)


def ways(slow, ks, neurons, along=None):
    """Slow logits of every ablation: of the key frequencies and clusters, or of what was drawn."""
    n_heads = slow.run.config.model.n_heads
    routes = [*(f"head {head}" for head in range(n_heads)), "all heads", "MLP skip", "attention skip"]

    def route(name):
        removed = slow.removed(name).detach()
        if along is not None:
            removed = removed.norm(dim=1, keepdim=True) * along
        return slow.less(name, removed)

    return {
        "embedding: keys kept": lambda: slow.embedding(ks, keep=True),
        "embedding: keys removed": lambda: slow.embedding(ks, keep=False),
        "neurons: keys kept": lambda: slow.neurons(ks, keep=True),
        "neurons: keys removed": lambda: slow.neurons(ks, keep=False),
        "logits: keys kept": lambda: slow.of_logits(ks, keep=True),
        "logits: keys removed": lambda: slow.of_logits(ks, keep=False),
        "clusters kept": lambda: slow.some_neurons(neurons, keep=True),
        "clusters removed": lambda: slow.some_neurons(neurons, keep=False),
        "clusters as 3×3 blocks": lambda: slow.blocks(ks),
        "W_L directions kept": lambda: slow.directions(ks, keep=True),
        "W_L directions removed": lambda: slow.directions(ks, keep=False),
        **{name: lambda name=name: route(name) for name in routes},
    }
