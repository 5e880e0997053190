"""Images: which they are, how they are read, split, averaged and moved; files from elsewhere are checked."""

import gzip
import shutil
import struct

import numpy as np
import pytest

import interp
from interp.base import DoesNotApply, UserError
from interp.config import RunConfig
from interp.models import MlpSpec
from interp.recipe import TrainConfig
from interp.tasks import Corruption, ImagesTask, idx
from interp.tasks.images import SETS, darkest, pool
from interp.train.learner import Learner

SIDE, N, M = 4, 60, 20


def written(path, array):
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    with (gzip.open if path.suffix == ".gz" else open)(path, "wb") as file:
        file.write(head + array.tobytes())


@pytest.fixture
def directory(tmp_path):
    """Four idx files, one of them compressed and one by its other name."""
    numbers, made = np.random.default_rng(0), tmp_path / "images"
    made.mkdir()
    for name, n in (("train-images-idx3-ubyte", N), ("t10k-images.idx3-ubyte.gz", M)):
        written(made / name, numbers.integers(0, 256, (n, SIDE, SIDE), dtype=np.uint8))
    for name, n in (("train-labels-idx1-ubyte", N), ("t10k-labels-idx1-ubyte", M)):
        written(made / name, numbers.integers(0, 10, n, dtype=np.uint8))
    yield made
    forget()


def forget():
    """Read the files anew."""
    for kept in (idx.read, pool, darkest):
        kept.cache_clear()


@pytest.mark.parametrize("name", SETS)
def test_sets_have_the_size_that_they_tell_and_all_ten_classes(name):
    task = ImagesTask(images=name, examples=500)
    table, split = task.table(), task.split(0)
    assert table.inputs.shape == (SETS[name].n, SETS[name].side ** 2) and table.inputs.dtype == np.float32
    assert (table.inputs.min(), table.inputs.max()) == (0, 1)
    assert len(split.train) == 500 and len(split.test) == SETS[name].n - 500
    # mnist_5k is in the order of its labels: the first 500 are zeros. Drawn ones are of all classes.
    assert (np.bincount(split.train.targets, minlength=10) > 20).all()


def test_so_many_are_tested_on():
    task = ImagesTask(examples=500, test_examples=30)
    split, whole = task.split(3), task.but(test_examples=0).split(3)
    assert len(split.test) == 30 and np.array_equal(split.train_index, whole.train_index)
    assert {*map(bytes, split.test.inputs)} <= {*map(bytes, whole.test.inputs)}


def test_pixels_are_averaged_over_squares():
    fine, coarse = ImagesTask(), ImagesTask(pooled=2)
    assert coarse.shape.vectors.width == 16 and coarse.width == 4
    image, small = fine.table().inputs[7].reshape(8, 8), coarse.table().inputs[7].reshape(4, 4)
    for row in range(4):
        for column in range(4):
            square = image[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            assert small[row, column] == pytest.approx(square.mean())


def test_standard_pixels_have_mean_0_and_variance_1(directory):
    for task in (ImagesTask(scaling="standard"), ImagesTask(images="mnist_5k", scaling="standard")):
        pixels, plain = task.table().inputs, task.but(scaling="unit").table().inputs
        assert pixels.mean(dtype=float) == pytest.approx(0, abs=1e-6) and pixels.std(dtype=float) == pytest.approx(1)
        assert pixels.dtype == np.float32 and np.corrcoef(pixels[5], plain[5])[0, 1] == pytest.approx(1)
    assert plain.mean() == pytest.approx(0.1307, abs=0.001) and plain.std() == pytest.approx(
        0.3081, abs=0.001
    )  # of all MNIST
    of_files = ImagesTask(images=str(directory), examples=50, scaling="standard").table().inputs
    assert of_files[:N].std(dtype=float) == pytest.approx(1) != of_files[N:].std(dtype=float)


def test_idx_files_are_read_whatever_their_names(directory):
    task = ImagesTask(images=str(directory), examples=50)
    there = idx.read(str(directory))
    assert (task.pixels, task.shape.vectors.width) == (SIDE, SIDE**2)
    np.testing.assert_allclose(task.table().inputs[:N], there.train.reshape(N, -1) / np.float32(255))
    split = task.split(0)
    assert (len(split.train), len(split.test)) == (50, M) and split.train_index.max() < N
    np.testing.assert_array_equal(split.test.targets, there.test_labels)
    assert len(task.but(test_examples=5).split(0).test) == 5


def test_a_configuration_knows_its_images_by_their_content(directory, tmp_path):
    task = ImagesTask(images=str(directory), examples=50)
    config = RunConfig(task=task, model=MlpSpec(inputs="vectors", act_fn="relu"))
    moved = tmp_path / "elsewhere"
    shutil.copytree(directory, moved)
    assert ImagesTask(images=str(moved), examples=50).sha256 == task.sha256
    shutil.rmtree(directory)
    forget()
    again = RunConfig.model_validate_json(config.model_dump_json())  # which needs no files
    assert again == config and again.model.tensors(again.task.shape)
    with pytest.raises(DoesNotApply, match=r"not there any more: .* has no train-images-idx3-ubyte"):
        again.split()
    shutil.copytree(moved, directory)
    assert len(again.split().train) == 50
    written(directory / "train-labels-idx1-ubyte", np.zeros(N, dtype=np.uint8))
    forget()
    with pytest.raises(DoesNotApply, match="holds other images than those of this configuration"):
        again.split()


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def lengthened(path):
    path.write_bytes(path.read_bytes() + b"0")


def no_idx(path):
    path.write_bytes(b"label,pixel\n")


def huge(path):
    path.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 4))


def of_other_numbers(path):
    path.write_bytes(struct.pack(">HBB3I", 0, 13, 3, 1, 2, 2) + bytes(16))


def empty(path):
    path.write_bytes(b"")


def oblong(path):
    written(path, np.zeros((N, SIDE, SIDE + 1), dtype=np.uint8))


def fewer(path):
    written(path, np.zeros((N - 1, SIDE, SIDE), dtype=np.uint8))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (cut, f"tells {N * SIDE**2:,} bytes and has {N * SIDE**2 - 1:,}; fetch it again"),
        (lengthened, f"tells {N * SIDE**2:,} bytes and has {N * SIDE**2 + 1:,}…; fetch it again"),
        (no_idx, "is no idx file of bytes with 3 axes"),
        (of_other_numbers, "is no idx file of bytes with 3 axes"),
        (huge, "at most 1,073,741,824 are read"),
        (empty, "is no idx file that can be read"),
        (oblong, "no squares of one size"),
        (fewer, f"has {N - 1} images and {N} labels in its train files"),
    ],
)
def test_damaged_files_are_refused_in_a_sentence(directory, harm, words):
    harm(directory / "train-images-idx3-ubyte")
    with pytest.raises(UserError, match=words):
        ImagesTask(images=str(directory))


def test_damaged_compression_and_labels_beyond_ten_classes_are_refused(directory):
    path = directory / "t10k-images.idx3-ubyte.gz"
    good = path.read_bytes()
    path.write_bytes(good[:-12])
    with pytest.raises(UserError, match="is no idx file that can be read"):
        ImagesTask(images=str(directory))
    path.write_bytes(good)
    written(directory / "train-labels-idx1-ubyte", np.full(N, 46, dtype=np.uint8))
    with pytest.raises(UserError, match="labels up to 46"):
        ImagesTask(images=str(directory), examples=50).split(0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"images": "mnist"}, "task.images is 'mnist'; take digits, mnist_5k or a directory with four idx files"),
        ({"examples": 1_797}, "digits has 1,797 images; take at most 1,796 to train on"),
        ({"images": "mnist_5k", "examples": 4_500, "test_examples": 1_000}, "take at most 4,000 to train on"),
        ({"pooled": 3}, "images of 8 × 8 pixels have no such squares; take one of 1, 2, 4, 8"),
        ({"pooled": 2, "crop": 4}, "images have a side of 4; take fewer pixels"),
        ({"sha256": "0" * 64}, "not of task.images 'digits'"),
    ],
)
def test_what_there_is_not_is_refused(given, words):
    with pytest.raises(UserError, match=words):
        RunConfig(task={"kind": "images", **given}, model=MlpSpec(inputs="vectors"))  # pyright: ignore[reportArgumentType]


def test_more_than_a_directory_has_is_refused(directory):
    with pytest.raises(UserError, match=f"has {N} images to train on and {M} to test on"):
        ImagesTask(images=str(directory), examples=N + 1).split(0)


# Augmentation


def test_a_flip_leaves_or_mirrors_every_image():
    task = ImagesTask(flip=True)
    examples = task.split(0).train
    squares, plain = task.augmented(examples, 5, 0).inputs.reshape(-1, 8, 8), examples.inputs.reshape(-1, 8, 8)
    same, mirrored = ((squares == of).all(axis=(1, 2)) for of in (plain, plain[:, :, ::-1]))
    assert (same | mirrored).all()
    assert 420 < (mirrored & ~same).sum() < 580  # of 1,000, five standard deviations


@pytest.mark.parametrize("scaling", ["unit", "standard"])
def test_a_crop_moves_every_image_and_brings_in_background(scaling):
    task, most = ImagesTask(crop=2, scaling=scaling), 2
    examples = task.split(0).train[:400]
    squares, plain = task.augmented(examples, 5, 0).inputs.reshape(-1, 8, 8), examples.inputs.reshape(-1, 8, 8)
    padded = np.pad(plain, ((0, 0), (most, most), (most, most)), constant_values=task.table().inputs.min())
    found = np.zeros((5, 5), dtype=int)
    for image, around in zip(squares, padded, strict=True):
        places = [(i, j) for i in range(5) for j in range(5) if (around[i : i + 8, j : j + 8] == image).all()]
        assert len(places) >= 1
        found[places[0]] += 1
    assert (found > 0).all()  # each of 25 places is taken by 16 of 400 on average


def test_augmentation_is_drawn_from_seed_and_step_alone():
    task = ImagesTask(crop=1, flip=True)
    examples = task.split(0).train[:50]
    first = task.augmented(examples, 3, 1).inputs
    np.testing.assert_array_equal(first, task.augmented(examples, 3, 1).inputs)
    for step, seed in ((4, 1), (3, 2)):
        assert (task.augmented(examples, step, seed).inputs != first).any()


@pytest.mark.parametrize("batch_size", ["full", 20])
def test_training_sees_images_moved_and_evaluation_does_not(batch_size):
    task = ImagesTask(examples=40, test_examples=10)
    config = RunConfig(task=task, model=MlpSpec(inputs="vectors", width=5), train=TrainConfig(batch_size=batch_size))
    plain, moved = (Learner.make([config.but(task=each)], "cpu") for each in (task, task.but(crop=2)))
    assert plain.rows(0) == moved.rows(0)
    for learner in (plain, moved):
        learner.update(0)  # at rate 0
        learner.update(1)
    assert plain.rows(2) != moved.rows(2)
    assert moved.batch(3).n == moved.batch(4).n == (40 if batch_size == "full" else 20)


def test_labels_of_either_kind_of_noise():
    task, model = ImagesTask(), MlpSpec(inputs="vectors")
    for noise, right in ((Corruption(share=0.8), 0), (Corruption(share=0.8, drawn="redraw"), 0.1)):
        split = RunConfig(task=task, model=model, corruption=noise).split()
        wrong = split.corrupted.sum()
        # of 800 that are drawn, a tenth comes out right with redraw; five standard deviations are 42
        assert wrong == 800 if not right else 720 - 42 < wrong < 720 + 42


def test_noise_on_pixels_is_of_the_training_images_alone_and_drawn_once():
    plain, noisy = ImagesTask(scaling="standard"), ImagesTask(scaling="standard", pixel_noise=2)
    clean, split, again, other = plain.split(0), noisy.split(0), noisy.split(0), noisy.split(1)
    np.testing.assert_array_equal(split.train_index, clean.train_index)
    np.testing.assert_array_equal(split.test.inputs, clean.test.inputs)
    np.testing.assert_array_equal(split.train.inputs, again.train.inputs)
    noise = split.train.inputs - clean.train.inputs
    # of 64,000 normal numbers the standard deviation is known to 2 / sqrt(128,000) = .006, the mean to .008
    assert noise.std() == pytest.approx(2, abs=0.03) and noise.mean() == pytest.approx(0, abs=0.04)
    assert abs(np.corrcoef(noise.ravel(), (other.train.inputs - plain.split(1).train.inputs).ravel())[0, 1]) < 0.02
    assert not split.corrupted.any() and "pixel noise 2" in noisy.about


def test_the_table_of_a_run_has_its_training_images_as_they_are_trained_on(tmp_path):
    config = RunConfig(
        task=ImagesTask(examples=20, pixel_noise=0.5),
        model=MlpSpec(inputs="vectors", width=2),
        train=TrainConfig(steps=1),
    )
    run = interp.train_run(config, tmp_path / "run")
    np.testing.assert_array_equal(run.table.inputs[run.split.train_index], run.split.train.inputs)
    others = np.setdiff1d(np.arange(len(run.table)), run.split.train_index)
    np.testing.assert_array_equal(run.table.inputs[others], run.task.table().inputs[others])
