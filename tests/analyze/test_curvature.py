"""Curvature against dense Hessians, closed forms, and what scale invariance demands."""

import numpy as np
import pytest
import torch
from helpers import tiny_config

from interp import analyze
from interp.base import DoesNotApply, UserError
from interp.maths.losses import cross_entropy
from interp.models import MlpSpec, ToySpec, TransformerSpec
from interp.models.network import initial_weights, load
from interp.recipe import TrainConfig
from interp.store import RunWriter, open_run
from interp.tasks import ModularTask, RepeatedTask, SparseFeaturesTask, TeacherTask
from interp.views.landscape import Landscape

EXACT = {"precision": "float64", "tolerance": 1e-10, "at_most": 2000, "density_steps": 2}
SMALL = TransformerSpec(n_heads=2, d_model=6, d_head=3, d_mlp=7)


@pytest.fixture
def make(tmp_path):
    """A run of these specifications whose checkpoints are initial weights of several seeds, with noise on every number."""

    def make(task=None, steps=1, change=lambda weights: None, **parts):
        config = tiny_config(task=task or ModularTask(p=5, train_fraction=0.7), **({"model": SMALL} | parts))
        generator = torch.Generator().manual_seed(0)
        with RunWriter(tmp_path / "run", config) as writer:
            for step in range(steps):
                weights = initial_weights(config.model, config.task.shape, seed=step)
                for tensor in weights.values():
                    tensor += 0.2 * torch.randn(tensor.shape, generator=generator)
                change(weights)
                writer.checkpoint(step, weights)
        return open_run(tmp_path / "run")

    return make


def dense(run, loss):
    """Hessian of a loss(weights by name) at the last checkpoint, by the weights that learn in float64."""
    seen = Landscape.of(run)
    weights = {name: tensor.double() for name, tensor in run.final.weights.items()}
    flat = seen.flat(weights, "float64")
    return torch.func.hessian(lambda flat: loss(seen.weights(flat, weights)))(flat)


def of_hooked(run, dtype=torch.float64):
    """Logged mean training loss as HookedTransformer computes it."""
    model, train = load(run.config.model, run.task.shape, run.final.weights).to(dtype), run.split.train
    inputs, targets = torch.from_numpy(train.inputs), torch.from_numpy(train.targets)

    def loss(weights):
        return cross_entropy(torch.func.functional_call(model, weights, (inputs,))[:, -1], targets)

    return loss


@pytest.mark.parametrize(
    "model", [{}, {"n_layers": 2, "normalization": "LN", "act_fn": "gelu"}, {"biases": "frozen"}], ids=str
)
def test_eigenvalues_and_trace_are_those_of_the_dense_hessian_of_hookedtransformer(make, model):
    run = make(model=SMALL.but(**model))
    H = dense(run, of_hooked(run))
    values = torch.linalg.eigvalsh(H)
    found = analyze.measure(run, "curvature", **EXACT).isel(step=0, matrix=0)
    np.testing.assert_allclose(found["eigenvalue"], values.flip(0)[:4], rtol=1e-6)
    assert found["smallest"].item() == pytest.approx(values[0].item(), rel=1e-6)
    assert found["residual"].max().item() < 1e-8 * values[-1].item()
    assert abs(found["trace"].item() - H.trace().item()) <= 6 * found["trace_error"].item() + 1e-6 * H.trace().item()


def test_the_residual_is_that_of_the_vector_and_float32_is_near(make):
    run = make()
    exact = analyze.measure(run, "curvature", **EXACT).isel(step=0, matrix=0)
    rough = analyze.measure(run, "curvature").isel(step=0, matrix=0)
    np.testing.assert_allclose(rough["eigenvalue"], exact["eigenvalue"], rtol=1e-4)
    assert 0 < rough["residual"].max() < 1e-3 * exact["eigenvalue"].max()
    assert exact["residual"].max() < rough["residual"].max()


def test_gauss_newton_is_the_jacobian_around_the_losss_own_curvature(make):
    """Jᵀ·(diag p − p·pᵀ)·J / n of a softmax, with J written out."""
    run = make()
    seen, train = Landscape.of(run), run.split.train
    weights = {name: tensor.double() for name, tensor in run.final.weights.items()}
    model = load(run.config.model, run.task.shape, run.final.weights).double()

    def outputs(flat):
        return torch.func.functional_call(model, seen.weights(flat, weights), (torch.from_numpy(train.inputs),))[:, -1]

    flat = seen.flat(weights, "float64")
    J, p = torch.func.jacrev(outputs)(flat), outputs(flat).softmax(dim=1)
    curved = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    G = torch.einsum("nai, nab, nbj -> ij", J, curved, J) / len(train)
    found = analyze.measure(run, "curvature", matrices=("gauss_newton",), **EXACT).isel(step=0, matrix=0)
    np.testing.assert_allclose(found["eigenvalue"], torch.linalg.eigvalsh(G).flip(0)[:4], rtol=1e-6)
    assert found["smallest"].item() == pytest.approx(0, abs=1e-9)


def test_by_the_readout_alone_it_is_softmax_regression(make):
    """Logits are linear in W_U: Σ_n (diag p − p·pᵀ) ⊗ x·xᵀ / n with x the residual stream, Gauss–Newton or not."""
    run = make()
    seen, weights = Landscape.of(run), run.final.weights
    hook = "blocks.0.hook_resid_post"
    _, cache = run.final.model.double().run_with_cache(torch.from_numpy(run.split.train.inputs), names_filter=hook)
    x = cache[hook][:, -1].detach()
    logits = x @ weights["unembed.W_U"].double() + weights["unembed.b_U"].double()
    p = logits.softmax(dim=1)
    expected = torch.einsum("ni, nj, nab -> iajb", x, x, torch.diag_embed(p) - p[:, :, None] * p[:, None]) / len(x)
    flat = seen.flat(weights, "float64")[None]
    surface, place = seen.over(seen.examples("train"), precision="float64"), seen.slices["unembed.W_U"]
    for product in (surface.hessian(flat, weights), surface.gauss_newton(flat, weights)):
        columns = []
        for index in range(place.start, place.stop):
            vector = torch.zeros_like(flat)
            vector[0, index] = 1
            columns.append(product(vector)[0, place])
        torch.testing.assert_close(torch.stack(columns), expected.flatten(2, 3).flatten(0, 1), rtol=0, atol=1e-8)


OTHERS = {
    "sequence": (RepeatedTask(vocabulary=5, length=9, subsequence=3, examples=6, test_examples=4), SMALL),
    "teacher": (
        TeacherTask(n_inputs=3, n_outputs=2, examples=9, test_examples=4),
        MlpSpec(inputs="vectors", width=4, n_hidden=2, act_fn="tanh", biases=True, init="linear"),
    ),
    "toy": (SparseFeaturesTask(n_features=5, sparsity=0.5, examples=20, test_examples=20), ToySpec(d_hidden=2)),
    "quadratic": (ModularTask(p=5, train_fraction=0.7), MlpSpec(width=6)),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_every_kind_of_task_and_family_has_a_hessian(make, kind):
    """Forward over reverse through the same objective, column by column."""
    task, model = OTHERS[kind]
    run = make(task=task, model=model)
    seen = Landscape.of(run)
    surface, others = seen.over(seen.examples("train"), precision="float64"), run.final.weights
    H = dense(run, lambda weights: surface.losses(seen.flat(weights, "float64")[None], others).sum())
    found = analyze.measure(run, "curvature", **EXACT).isel(step=0, matrix=0)
    np.testing.assert_allclose(found["eigenvalue"], torch.linalg.eigvalsh(H).flip(0)[:4], rtol=1e-6)
    assert found["eigenvalue"].attrs["units"] == run.config.loss_units


def free(width=8):
    """A network that is the same function whatever the scale of each matrix but the readout."""
    return MlpSpec(
        inputs="summed", d_model=6, width=width, n_hidden=2, act_fn="relu", normalization="LNPre", frozen_readout=10
    )


def test_what_is_free_in_scale_curves_inversely_to_its_square(make, tmp_path):
    """H(Cθ) = H(θ)/C²: the scaled eigenvalues stay, of all together and of each matrix."""
    task = ModularTask(p=5, operands="separate", train_fraction=0.7)

    def louder(weights):
        for name in ("embed.W_E", "layers.0.W", "layers.1.W"):
            weights[name] *= 3

    found = analyze.measure(make(task=task, model=free()), "curvature", **EXACT).isel(step=0, matrix=0)
    (tmp_path / "run").rename(tmp_path / "quiet")
    scaled = analyze.measure(make(task=task, model=free(), change=louder), "curvature", **EXACT).isel(step=0, matrix=0)
    assert list(found["invariant"].values) == ["together", "embed.W_E", "layers.0.W", "layers.1.W"]
    np.testing.assert_allclose(9 * scaled["invariant_largest"], found["invariant_largest"], rtol=1e-6)
    np.testing.assert_allclose(scaled["invariant_scaled"], found["invariant_scaled"], rtol=1e-6)
    np.testing.assert_allclose(scaled["scaled_largest"], found["scaled_largest"], rtol=1e-6)
    assert found["invariant_largest"].max() == pytest.approx(found["eigenvalue"].max().item(), rel=1e-6)


def test_overlaps_are_cosines_with_the_gradient_and_the_way_that_was_gone(make):
    run = make(steps=3)
    found = analyze.measure(run, "curvature", **EXACT).isel(matrix=0)
    H = dense(run, of_hooked(run))
    vector = torch.linalg.eigh(H).eigenvectors[:, -1]
    seen = Landscape.of(run)
    here, before = (seen.flat(run.at(step).weights, "float64") for step in (2, 1))
    weights = {n: w.double().requires_grad_(n in seen.learned) for n, w in run.final.weights.items()}
    gradient = torch.autograd.grad(of_hooked(run)(weights), [weights[n] for n in seen.learned])
    flat = torch.cat([each.flatten() for each in gradient])
    for name, other in (("overlap_gradient", flat), ("overlap_movement", here - before)):
        expected = abs(torch.cosine_similarity(vector, other, dim=0).item())
        assert found[name].sel(step=2).item() == pytest.approx(expected, abs=1e-5)
    assert np.isnan(found["overlap_movement"].sel(step=0)) and np.isnan(found["overlap_before"].sel(step=0))


def test_equal_runs_give_equal_bytes_and_the_seed_is_in_the_options(make):
    run = make(steps=2)
    one, other = (analyze.measure(run, "curvature") for _ in range(2))
    assert one.identical(other)
    assert '"seed":0' in one.attrs["options"]
    assert not analyze.measure(run, "curvature", seed=1)["trace"].equals(one["trace"])


def test_the_loss_over_the_test_set_is_another(make):
    run = make()
    train, test, both = (
        analyze.measure(run, "curvature", over=part)["trace"].item() for part in ("train", "test", "all")
    )
    n, m = len(run.split.train), len(run.split.test)
    assert both == pytest.approx((n * train + m * test) / (n + m), rel=0.3)
    assert train != pytest.approx(test, rel=1e-3)


def test_more_eigenvalues_than_weights_are_refused(make):
    run = make(
        task=SparseFeaturesTask(n_features=2, sparsity=0.5, examples=9, test_examples=9), model=ToySpec(d_hidden=1)
    )
    with pytest.raises(UserError, match=r"eigenvalues is 9, and .* has 4 weights that learn; ask for fewer"):
        analyze.measure(run, "curvature", eigenvalues=9)


def test_a_loss_that_is_not_known_has_no_curvature(make, monkeypatch):
    run = make(train=TrainConfig(steps=2))

    def needs(run, field, what, remedy):
        if field == "train.loss":
            raise DoesNotApply(f"{run.path} was converted from files that do not tell {what}; convert it with {remedy}")

    monkeypatch.setattr(type(run), "needs", needs)
    with pytest.raises(DoesNotApply, match=r"do not tell the loss that was minimised; convert it with --train\.loss"):
        analyze.measure(run, "curvature")


def test_threads_that_come_and_go_leave_torchs_choice_of_attention_as_it_was():
    """It is one for the process: a thread that enters later must not take the narrowed choice for the usual one."""
    from interp.views.landscape import PLAIN_ATTENTION

    flags = torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.math_sdp_enabled
    before = [flag() for flag in flags]
    first, second = PLAIN_ATTENTION, PLAIN_ATTENTION
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert [flag() for flag in flags] == [False, True]  # the second is still inside
    second.__exit__(None, None, None)
    assert [flag() for flag in flags] == before
