"""Which layer's width makes the peak where the noise is in the training images and every label is right?

    python analyses/last_layer/in_the_images.py            # two hidden layers on noisy digits, each layer and both
    python analyses/last_layer/in_the_images.py --small    # on 200 digits, five widths

Pixels of the training images have Gaussian noise, drawn once; images to test on have none. Beside it the null, where labels
are by chance as well.
"""

import sys
from collections.abc import Mapping

from study import NULL, Sweep, configs_of, every, report_of

from interp.config import RunConfig
from interp.store import Run
from interp.study import script

PIXEL_NOISE = 3.0
"""Standard deviation of the noise; that of all pixels is 1."""
NETWORK = "two layers, digits"
WIDTHS = (1, 4, 8, 12, 16, 24, 32, 64, 128, 512)
FEWER = (4, 12, 24, 64, 512)


def sweeps(small: bool) -> list[Sweep]:
    """The question's sweeps, and those of the null."""
    found = (
        every(NETWORK, 0.0, (64, 4), (1, 4, 12, 64, 256), 2)
        if small
        else [*every(NETWORK, 0.0, (64, 12), WIDTHS, 5), *every(NETWORK, NULL, (64,), FEWER, 3)]
    )
    return [sweep._replace(pixel_noise=PIXEL_NOISE) for sweep in found]


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for every combination of widths that a sweep comes to, share of wrong labels and seed."""
    return configs_of(sweeps(small), small)


def report(runs: Mapping[str, Run]) -> script.Report:
    """What `study.py` reports, of these sweeps."""
    found = report_of(sweeps, runs)
    return script.Report(
        {f"in_the_images_{name}": table for name, table in found.tables.items()},
        {"in_the_images": found.figures["last_layer"]},
    )


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
