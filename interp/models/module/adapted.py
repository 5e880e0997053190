"""Someone's own module with the roles of its parts: what embeds, where its neurons are, what these write on the answers."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from interp.base import UserError
from interp.models.module.seen import spec_of, unwrapped
from interp.models.module.spec import ModuleSpec

MatrixOf = Callable[[Mapping[str, Tensor]], Tensor]
"""Type of a function: a matrix from the module's tensors by name."""

INPUT = "input of "
"""Words before the name of a submodule whose input is meant, in place of its output."""


@dataclass(frozen=True)
class Adapted:
    """A module with roles; what `interp.adapt` returns. `interp.record` and `interp.open_run` take it in place of the module."""

    module: nn.Module
    spec: ModuleSpec
    """Its tensors, and the roles that were told in words."""
    functions: Mapping[str, MatrixOf] = field(default_factory=dict)
    """Roles that were told as functions of the weights. They are not recorded."""
    inputs: Callable[[Tensor], Any] | None = None
    outputs: Callable[[Any], Tensor] | None = None
    lock: Any = field(default_factory=threading.RLock, repr=False, compare=False)
    """Held while the module computes: its weights are put into it meanwhile."""


def adapt(
    module: nn.Module,
    *,
    embedding: str | Sequence[str] | MatrixOf | None = None,
    neurons: str | Callable[[nn.Module], nn.Module] | None = None,
    readout: str | MatrixOf | None = None,
    unembedding: str | MatrixOf | None = None,
    inputs: Callable[[Tensor], Any] | None = None,
    outputs: Callable[[Any], Tensor] | None = None,
    loss: Literal["cross_entropy", "squared_error"] | None = None,
) -> Adapted:
    """A module with the roles of its parts, for `interp.record` and `interp.open_run`.

    >>> net = interp.adapt(Net(), embedding="embed.weight", neurons="act", readout="out.weight.T @ unembed.weight.T")
    >>> run = interp.open_run("checkpoints/mine", model=net)
    >>> run.measure.fourier()

    Matrices are told in words, which are recorded, or as a function of the module's tensors by name, which is not. Words are the
    name of a tensor; `.T` turns it, `[0:113]` takes rows, `@` multiplies. A linear layer of torch keeps its weight as
    [output, input], so most readouts need `.T`.

    Args:
        module: any torch module; compiled or parallel ones are taken as what they wrap.
        embedding: [token, d]: what the network begins with for each token. If positions have tables of their own, as the first
            layer over one-hot vectors has, a list with one for each: `["fc1.weight.T[0:113]", "fc1.weight.T[113:226]"]`.
        neurons: name of the submodule whose output is the last hidden layer after its activation function, or `input of NAME`
            for what a submodule reads; or a function from the module to the submodule. Over several positions the last is taken.
        readout: [neuron, answer]: what these neurons write on the answers.
        unembedding: [d, answer]: the direction of each answer; without it the last factor of the readout.
        inputs: what the module takes, from the task's examples [n, …]; without it, the examples.
        outputs: outputs [n, answer] from what the module returns; without it, its result, its `logits`, or the first of several;
            over several positions, those at the last.
        loss: the loss that your loop logs, in which analyses measure too: in nats, or the squared distance to the right answer's
            one-hot vector, summed over answers. Without it the loss that was recorded, or else cross-entropy.

    Raises:
        UserError: no such tensor or submodule, matrices that do not go together, or something that is no module.
    """
    module = adapted(module).module
    embeddings = [embedding] if isinstance(embedding, str) else embedding
    told = {"embedding": embeddings, "readout": readout, "unembedding": unembedding}
    functions = {role: each for role, each in told.items() if callable(each)}
    if odd := next((role for role, each in told.items() if isinstance(each, nn.Module)), None):
        raise UserError(f"{odd} is a {type(told[odd]).__name__}; give words, such as the name of its weight")
    said = {role: each for role, each in told.items() if each is not None and role not in functions}
    if neurons is not None:
        said["neurons"] = submodule(module, neurons)
    return Adapted(module, spec_of(module).but(**said, loss=loss or ""), functions, inputs, outputs)


def adapted(model: Any) -> Adapted:
    """What was given as a model, a module or an adapted one, as an adapted one without further roles.

    Raises:
        UserError: it is neither.
    """
    if isinstance(model, Adapted):
        return model
    if not isinstance(model, nn.Module):
        what = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise UserError(f"model is {what}; give a torch module, such as model=Net()")
    module = unwrapped(model)
    return Adapted(module, spec_of(module))


def submodule(module: nn.Module, neurons: Any) -> str:
    """Name of the submodule at which neurons are seen, in words; UserError if there is none."""
    names = [name for name, _ in module.named_modules() if name]
    if callable(neurons):
        try:
            found = neurons if isinstance(neurons, nn.Module) else neurons(module)
        except Exception as error:  # whatever the function raises
            raise UserError(
                f"neurons raised {type(error).__name__} ({error!s:.200}); give a submodule's name"
            ) from error
        name = next((name for name, each in module.named_modules() if each is found and name), None)
        if name is None:
            raise UserError(
                f"neurons gave {type(found).__name__}, which is no submodule; known are {', '.join(names)[:300]}"
            )
        return name
    if not isinstance(neurons, str) or neurons.removeprefix(INPUT) not in names:
        raise UserError(
            f'neurons is {neurons!r:.100}; take a submodule, or "{INPUT}" before it; known are {", ".join(names)[:300]}'
        )
    return neurons
