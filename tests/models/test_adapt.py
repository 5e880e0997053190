"""Roles of somebody's own module: what is measured of it is what is measured of an equal network of interp's own."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import interp
from interp.base import DoesNotApply, UserError
from interp.models.module.words import size
from interp.models.network import over, roles
from interp.tasks import ModularTask

P, WIDTH = 13, 24
VOCAB = P + 1
TASK = ModularTask(p=P, train_fraction=0.6)
TABLES = [f"fc1.weight.T[{place * VOCAB}:{(place + 1) * VOCAB}]" for place in range(3)]
"""What embeds each of the three tokens of a prompt: rows of the first layer over one-hot vectors."""


class Net(nn.Module):
    """One hidden layer of squares over one-hot tokens, as torch writes it."""

    def __init__(self, normalised=False, start=None):
        super().__init__()
        self.fc1, self.out = nn.Linear(3 * VOCAB, WIDTH, bias=False), nn.Linear(WIDTH, P, bias=False)
        self.norm = nn.LayerNorm(WIDTH) if normalised else nn.Identity()
        if start is not None:
            nn.init.constant_(self.out.weight, start)

    def forward(self, tokens):
        one_hot = nn.functional.one_hot(tokens, VOCAB).flatten(1).to(self.fc1.weight)
        return self.out(self.norm(self.fc1(one_hot) ** 2))


def adapted(net=None, **others):
    """Such a module with its roles in words."""
    told = {"embedding": TABLES, "neurons": "input of norm", "readout": "out.weight.T", "loss": "squared_error"}
    return interp.adapt(Net() if net is None else net, **{**told, **others})


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A run of interp's own family."""
    config = interp.RunConfig(
        task=TASK,
        model=interp.MlpSpec(width=WIDTH),
        train=interp.TrainConfig(
            steps=60, lr=1e-2, weight_decay=1, loss="squared_error", checkpoint_every=20, log_every=20
        ),
    )
    return interp.train_run(config, tmp_path_factory.mktemp("own") / "own")


@pytest.fixture(scope="module")
def recorded(own, tmp_path_factory):
    """The directory of a run with the same weights, recorded from torch's module with its roles."""
    path, net = tmp_path_factory.mktemp("mine") / "mine", Net()
    with interp.record(
        path, adapted(net), task=TASK, split=own.split, schedule=interp.schedule(at=own.steps)
    ) as recorder:
        for checkpoint in own:
            put(net, checkpoint.weights)
            logged = {name: value for name, value in checkpoint.metrics.items() if name.endswith(("loss", "accuracy"))}
            recorder.step(checkpoint.step, **logged)
    return path


def put(net, weights):
    """Give torch's module the weights of interp's."""
    with torch.no_grad():
        net.fc1.weight.copy_(weights["layers.0.W"].flatten(0, 1).T)
        net.out.weight.copy_(weights["unembed.W_U"].T)


SAME = [
    "fourier", "superposition", "neurons", "logits", "progress", "groups", "breakdown", "examples", "variance",
    pytest.param("ablate", marks=pytest.mark.slow),
]  # fmt: skip
"""Analyses that draw nothing at random, or the same for equal networks."""


@pytest.mark.parametrize("name", SAME)
def test_an_analysis_finds_in_a_module_what_it_finds_in_the_same_network_of_our_own(own, recorded, name):
    mine = interp.open_run(recorded, model=adapted())
    theirs, ours = mine.measure(name), own.measure(name)
    assert set(ours.data_vars) == set(theirs.data_vars)
    for variable in ours.data_vars:
        if ours[variable].dtype.kind == "f":
            scale = np.nanmax(np.abs(ours[variable].values), initial=1e-3)
            # The same products in another order: rounding of float32.
            np.testing.assert_allclose(theirs[variable], ours[variable], rtol=0, atol=2e-5 * scale, err_msg=variable)
        else:
            assert (ours[variable].values == theirs[variable].values).all(), variable


def test_the_largest_eigenvalue_of_a_module_is_that_of_the_same_network(own, recorded):
    mine = interp.open_run(recorded, model=adapted()).select(last=1)
    theirs, ours = (interp.measure(run, "curvature") for run in (mine, own.select(last=1)))
    np.testing.assert_allclose(theirs.eigenvalue.isel(rank=0), ours.eigenvalue.isel(rank=0), rtol=1e-3)
    assert (ours.eigenvalue.isel(rank=0) > 0).all()


def test_roles_in_words_are_recorded_and_need_no_code(own, recorded):
    run = interp.open_run(recorded)
    np.testing.assert_allclose(run.measure.fourier().power, own.measure.fourier().power, atol=1e-6)
    assert run.config.loss_units == "squared error"
    with pytest.raises(DoesNotApply, match=r"the code is not; give the module beside: model=Net\(\)"):
        run.measure.progress()


def test_roles_of_a_model_that_a_trainer_makes_are_given_to_the_recorder(tmp_path):
    told = {"embedding": TABLES, "neurons": "input of norm", "readout": "out.weight.T"}
    with interp.record(tmp_path / "x", Net(), task=TASK, split=TASK.split(0), roles=told) as recorder:
        recorder.step(0, train_loss=1.0)
    run = interp.open_run(tmp_path / "x")
    assert run.config.model == interp.adapt(Net(), **told).spec and "fourier" in run.applies.fitting


def test_roles_that_are_given_with_the_module_replace_those_that_were_recorded(own, recorded):
    plain = interp.open_run(recorded, model=Net())
    assert plain.applies.fitting == interp.open_run(recorded, model=adapted()).applies.fitting
    other = interp.open_run(recorded, model=adapted(embedding="fc1.weight.T[14:28]"))
    turned = interp.open_run(recorded, model=adapted(embedding=lambda w: w["fc1.weight"].T[14:28]))
    assert not np.allclose(other.measure.fourier().power, plain.measure.fourier().power)
    np.testing.assert_allclose(turned.measure.fourier().power, other.measure.fourier().power, atol=1e-6)


def test_columns_of_an_embedding_are_neurons_where_each_moves_one(own, recorded):
    found = interp.open_run(recorded, model=adapted()).measure.fourier().ipr_neuron.sel(matrix="W_E")
    np.testing.assert_allclose(found, own.measure.fourier().ipr_neuron.sel(matrix="W_E"), rtol=1e-5)
    normal = nn.LayerNorm(WIDTH)

    class Normalised(Net):
        """A layer that mixes neurons before their activation."""

        def forward(self, tokens):
            one_hot = nn.functional.one_hot(tokens, VOCAB).flatten(1).to(self.fc1.weight)
            return self.out(self.norm(normal(self.fc1(one_hot)) ** 2))

    mixed = interp.open_run(recorded, model=adapted(Normalised()))
    assert np.isnan(mixed.measure.fourier().ipr_neuron.sel(matrix="W_E")).all()


def test_the_loss_that_was_recorded_stays_unless_another_is_told(recorded):
    assert interp.open_run(recorded, model=interp.adapt(Net(), neurons="norm")).config.loss_units == "squared error"
    assert interp.open_run(recorded, model=adapted(loss="cross_entropy")).config.loss_units == "nats"


def test_neurons_are_those_before_what_works_in_place(tmp_path):
    class InPlace(Net):
        def forward(self, tokens):
            one_hot = nn.functional.one_hot(tokens, VOCAB).flatten(1).to(self.fc1.weight)
            return self.out(self.norm(self.fc1(one_hot)).relu_())

    with interp.record(tmp_path / "x", InPlace(), task=TASK, split=TASK.split(0)) as recorder:
        recorder.step(0, train_loss=1.0)
    told = interp.adapt(InPlace(), neurons="norm", readout="out.weight.T")
    forward = over(interp.open_run(tmp_path / "x", model=told).known_model, TASK.shape, torch.tensor([[0, 1, P]]))
    assert float(forward.cache(dict(InPlace().state_dict()))["neurons"].min()) < 0


@pytest.mark.parametrize("start", [None, 0.0])
def test_answers_are_linear_in_neurons_where_a_change_of_these_says_so(tmp_path, start):
    """Also of a module whose readout begins with zeros, of which any would seem linear."""
    for normalised in (False, True):
        net = Net(normalised, start)
        with interp.record(tmp_path / f"{normalised}", adapted(net), task=TASK, split=TASK.split(0)) as recorder:
            recorder.step(0, train_loss=1.0)
        run = interp.open_run(tmp_path / f"{normalised}", model=adapted(net))
        assert roles(run.known_model).linear is not normalised


class Attention(nn.Module):
    """A layer of torch's attention and an MLP, with a residual stream, over positions."""

    def __init__(self):
        super().__init__()
        self.embed, self.pos = nn.Embedding(VOCAB, 8), nn.Parameter(torch.randn(3, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mlp, self.act, self.write = nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)
        self.unembed = nn.Linear(8, P, bias=False)
        self.register_buffer("scale", torch.ones(1), persistent=False)

    def forward(self, tokens, double=1):
        x = (self.embed(tokens) + self.pos) * self.scale
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return {"answer": self.unembed(x + self.write(self.act(self.mlp(x)))) * double}


def test_a_module_of_torchs_attention_is_taken_at_the_last_position(tmp_path):
    torch.manual_seed(0)
    net, split = Attention(), TASK.split(0)
    told = interp.adapt(
        net,
        embedding="embed.weight",
        neurons="act",
        readout="write.weight.T @ unembed.weight.T",
        inputs=lambda x: {"tokens": x},
        outputs=lambda found: found["answer"][:, -1],
    )
    with interp.record(tmp_path / "x", told, task=TASK, split=split, schedule=interp.schedule(every=1)) as recorder:
        for step in range(3):
            recorder.step(step, train_loss=1.0)
            with torch.no_grad():
                net.unembed.weight += 0.1
    run = interp.open_run(tmp_path / "x", model=told)
    table = run.task.table()
    found = run.measure.progress().loss.sel(split="all")
    with torch.no_grad():
        for step in run.steps:
            outputs = run.at(step).model(torch.from_numpy(table.inputs))["answer"][:, -1]
            expected = nn.functional.cross_entropy(outputs.double(), torch.from_numpy(table.targets))
            np.testing.assert_allclose(found.sel(step=step), expected, rtol=1e-5)
    for name in ("fourier", "neurons", "logits", "curvature", "lazy", "readout"):
        assert name in run.applies.fitting
    assert interp.measure(run.select(last=1), "curvature").eigenvalue.notnull().any()


class Convolution(nn.Module):
    """A convolution with BatchNorm over images of 8 × 8, whose updates are counted by a whole number."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(144, 10)
        self.drop, self.flat = nn.Dropout(0.5), nn.Flatten()

    def forward(self, images):
        return self.out(self.drop(self.flat(self.norm(self.conv(images)).relu())))


def test_a_module_is_computed_in_eval_mode_with_the_statistics_of_the_checkpoint(tmp_path):
    torch.manual_seed(0)
    task = interp.ImagesTask(examples=60)
    net, split = Convolution(), task.split(0)
    told = interp.adapt(net, neurons="flat", readout="out.weight.T", inputs=lambda x: x.view(-1, 1, 8, 8))
    with interp.record(tmp_path / "x", told, task=task, split=split) as recorder:
        net(torch.from_numpy(split.train.inputs).float().view(-1, 1, 8, 8))
        recorder.step(0, train_loss=1.0)
    run = interp.open_run(tmp_path / "x", model=told)
    found = run.measure("gap").accuracy.sel(split="test")
    with torch.no_grad():
        answers = net.eval()(torch.from_numpy(split.test.inputs).float().view(-1, 1, 8, 8)).argmax(-1)
    assert float(found[0]) == pytest.approx((answers == torch.from_numpy(split.test.targets)).double().mean().item())


SIZES = {"embed.weight": (14, 8), "out.weight": (13, 24), "write.weight": (8, 24), "head.weight": (13, 8), "b": (3,)}


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("embed.weight", (14, 8)),
        ("embed.weight[0:13]", (13, 8)),
        ("embed.weight [ 3 : ]", (11, 8)),
        ("embed.weight.T[:2]", (2, 14)),
        ("write.weight.T @ head.weight.T", (24, 13)),
        ("write.weight.T@head.weight.T@out.weight", (24, 24)),
    ],
)
def test_words_have_the_size_of_the_matrix_that_they_mean(said, found):
    assert size(said, SIZES) == found


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"readout": "out.weigth.T"}, "readout is 'out.weigth.T': it has 'out.weigth', and the module's tensors are"),
        ({"readout": "out.weight.T + fc1.weight"}, "it cannot be read; take a tensor's name"),
        ({"readout": "out.weight.T[0:99]"}, "it has rows 0 to 99 of out.weight, and there are 24"),
        ({"readout": "out.weight.T[5:5]"}, "it has rows 5 to 5 of out.weight, and there are 24"),
        ({"readout": "out.weight @ fc1.weight.T"}, "it multiplies 24 columns of out.weight by 42 rows of fc1.weight"),
        ({"readout": 3}, "readout is 3; it should be a valid string"),
        (
            {"neurons": "nrom"},
            "neurons is 'nrom'; take a submodule, or \"input of \" before it; known are fc1, out, norm",
        ),
        ({"neurons": lambda net: nn.ReLU()}, "neurons gave ReLU, which is no submodule"),
        ({"loss": "mse"}, "loss is 'mse'; known are"),
        ({"readout": nn.Linear(2, 2)}, "readout is a Linear; give words"),
        ({"neurons": lambda net: net.nothing}, "neurons raised AttributeError"),
    ],
)
def test_roles_that_cannot_be_are_refused_in_a_sentence(told, sentence):
    with pytest.raises(UserError) as refused:
        adapted(**told)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (
            {"readout": "out.weight"},
            "readout is 'out.weight' with 24 columns; it should have a row for each neuron and a column",
        ),
        (
            {"embedding": "fc1.weight.T[0:5]"},
            "embedding is 'fc1.weight.T[0:5]' with 5 rows; it should have a row for each token",
        ),
    ],
)
def test_matrices_of_another_task_are_refused(recorded, tmp_path, told, sentence):
    for act in (
        lambda: interp.open_run(recorded, model=adapted(**told)),
        lambda: interp.record(tmp_path / "x", adapted(**told), task=TASK),
    ):
        with pytest.raises(UserError) as refused:
            act()
        assert sentence in str(refused.value)


def test_a_readout_of_other_neurons_and_rows_that_are_no_examples_are_told(recorded):
    with pytest.raises(UserError, match="readout has 42 rows, and input of norm has 24 neurons"):
        interp.open_run(recorded, model=adapted(readout="fc1.weight.T @ fc1.weight @ fc1.weight.T @ out.weight.T"))
    with pytest.raises(UserError, match=r"roles has 'embeding'; did you mean \"embedding\"\?"):
        interp.record(recorded, Net(), roles={"embeding": "fc1.weight"})


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"inputs": lambda x: x.float()}, "Net raised RuntimeError over examples [4, 3] of torch.int64"),
        ({"outputs": lambda x: x[:, :5]}, "Net gives [4, 5] for 4 examples, and the task has 13 answers"),
        ({"outputs": lambda x: "no"}, "Net gives a str for 4 examples"),
    ],
)
def test_a_module_that_does_not_take_the_examples_is_told_before_any_work(recorded, told, sentence):
    run = interp.open_run(recorded, model=adapted(**told))
    assert "progress" not in run.applies.fitting and "fourier" in run.applies.fitting
    with pytest.raises(DoesNotApply) as refused:
        run.measure.progress()
    assert sentence in str(refused.value)


def test_the_module_that_was_given_stays_as_it_was(own, recorded):
    net = Net().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    interp.open_run(recorded, model=adapted(net)).measure.progress()
    assert net.training and all(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not net._forward_hooks and not net.norm._forward_pre_hooks


FILE = """
import interp
from tests.models.test_adapt import adapted

def mine():
    return adapted()

number = 3
def broken():
    raise ValueError("no")
"""


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("mine", ""),
        ("mien", 'has no mien; did you mean "mine"?'),
        ("number", "number of "),
        ("broken", "broken() of "),
        (None, "--model is 'mine'; take FILE.py:NAME"),
    ],
)
def test_a_command_takes_a_module_from_a_file(recorded, tmp_path, capsys, given, sentence):
    from interp.cli.analyze import main

    (tmp_path / "net.py").write_text(FILE)
    model = "mine" if given is None else f"{tmp_path / 'net.py'}:{given}"
    words = ["progress", str(recorded), "--model", model, "--out", str(tmp_path / "found")]
    if not sentence:
        assert main(words) == 0
        assert (tmp_path / "found" / "progress.csv").exists()
        with xr.open_dataset(tmp_path / "found" / "progress.nc") as found:
            assert found.attrs["command"].endswith(f"--model {model}")
        return
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2 and sentence in capsys.readouterr().err


def test_what_was_measured_of_a_module_is_not_kept_for_another(recorded):
    """Its code has no version: another module with the same tensors computes something else."""
    first = interp.open_run(recorded, model=adapted()).measure.progress().loss
    other = interp.open_run(recorded, model=adapted(outputs=lambda x: 2 * x)).measure.progress().loss
    assert not np.allclose(first, other)
