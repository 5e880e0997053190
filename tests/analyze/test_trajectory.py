"""`trajectory` on planted ways of somebody's own module, in whatever memory."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import interp
from interp import analyze
from interp.base import DoesNotApply, UserError
from interp.views import way


class Tower(nn.Module):
    """Three tensors and a buffer, moved by hand."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(40, 30), nn.BatchNorm1d(30)

    def moved_to(self, vector):
        with torch.no_grad():
            nn.utils.vector_to_parameters(vector.float(), self.parameters())
            self.norm.get_buffer("running_mean").normal_()  # no weight: it counts for nothing


SIZE = sum(each.numel() for each in Tower().parameters())


def recorded(path, places):
    net = Tower()
    with interp.record(path, net, schedule=interp.schedule(every=1)) as run:
        for step, place in enumerate(places):
            net.moved_to(place)
            run.step(step, train_loss=1 / (1 + step))
    return interp.open_run(path)


def drawn(n, seed=0):
    return torch.randn(n, SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_straight_way_has_one_component_and_the_ratio_1(tmp_path):
    begin, end = drawn(2)
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    found = recorded(tmp_path / "x", begin + t[:, None] * (end - begin)).measure("trajectory")
    assert found["component_share"][0] == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(found["length_ratio"][1:], 1, rtol=1e-6)
    assert np.isnan(found["length_ratio"][0])
    np.testing.assert_allclose(found["displacement"], t * (end - begin).norm(), rtol=1e-5, atol=1e-9)
    cosine = nn.functional.cosine_similarity(begin, end, dim=0)
    assert found["cosine_start"][-1] == pytest.approx(float(cosine), abs=1e-6)
    assert found["cosine_end"][0] == pytest.approx(float(cosine), abs=1e-6)


def test_a_circle_has_two_components_and_ends_where_it_began(tmp_path):
    plane, _ = torch.linalg.qr(drawn(2).T)
    angle = 2 * math.pi * torch.arange(41, dtype=torch.float64) / 40
    found = recorded(tmp_path / "x", torch.stack([angle.cos(), angle.sin()], 1) @ plane.T).measure("trajectory")
    np.testing.assert_allclose(found["component_share"], [0.5, 0.5, 0], atol=0.02)  # its first place counts twice
    assert found["path_length"][-1] == pytest.approx(80 * math.sin(math.pi / 40), rel=1e-5)
    assert found["displacement"][20] == pytest.approx(2, rel=1e-5)
    assert found["displacement"][-1] == pytest.approx(0, abs=1e-6)
    assert found["cosine_start"][20] == pytest.approx(-1, abs=1e-6)


def test_a_random_walk_is_told_by_the_walk_beside_it(tmp_path):
    places = torch.cat([drawn(1), drawn(40, seed=1)]).cumsum(0)
    found = recorded(tmp_path / "x", places).measure("trajectory")
    np.testing.assert_allclose(found["component_share"], found["walk_share"], atol=0.06)  # 1,290 dimensions
    assert found["component_share"][0] > 0.55
    assert found["length_ratio"][-1] == pytest.approx(math.sqrt(40), rel=0.1)


def test_any_memory_gives_the_components_of_all_weights_side_by_side(tmp_path, monkeypatch):
    places = drawn(7).cumsum(0)
    run = recorded(tmp_path / "x", places)
    whole = run.measure("trajectory", components=6)
    monkeypatch.setattr(way, "BLOCK", 8 * 7 * 100)  # a hundred entries at a time: parts of tensors
    apart = run.measure("trajectory", components=6)
    for name in whole.data_vars:
        np.testing.assert_allclose(apart[name], whole[name], rtol=1e-9, atol=1e-9, err_msg=str(name))
    centred = places.float().double() - places.float().double().mean(dim=0)
    np.testing.assert_allclose(np.linalg.norm(whole["position"], axis=0), torch.linalg.svdvals(centred)[:6], rtol=1e-9)
    with pytest.raises(UserError, match="takes at least"):
        analyze.measure(run.within(100_000), "trajectory")


def test_pieces_cover_every_entry_once():
    sizes = {"a": 5, "b": 1, "c": 12, "none": 0, "d": 4}
    groups = way.in_pieces(sizes, 6)
    assert [sum(part.stop - part.start for _, part in group) for group in groups] == [6, 6, 6, 4]
    entries = [(name, i) for group in groups for name, part in group for i in range(part.start, part.stop)]
    assert entries == [(name, i) for name, size in sizes.items() for i in range(size)]


def test_the_runs_beside_tell_their_shares(tmp_path):
    ways = [recorded(tmp_path / str(seed), drawn(6, seed).cumsum(0)) for seed in range(3)]
    found, *others = (each.measure("trajectory") for each in ways)
    beside = analyze.against(found, others)
    expected = np.median([each["component_share"] for each in others], axis=0)
    np.testing.assert_array_equal(beside["beside_share"], expected)
    assert "runs beside" in str(analyze.draw(beside).to_json())
    assert ways[0].plot("trajectory", beside=ways[1:]).layout.title.text.endswith("</sup>")


def test_of_one_checkpoint_there_is_no_way_and_of_two_a_line(tmp_path):
    run = recorded(tmp_path / "x", drawn(3))
    with pytest.raises(DoesNotApply, match='has one checkpoint in view; analysis "trajectory" needs two at least'):
        analyze.measure(run.select(last=1), "trajectory")
    found = analyze.measure(run.select(last=2), "trajectory")
    assert found["component_share"].values.tolist() == [1]
    assert analyze.draw(found).to_json()
    assert len(analyze.summarise(found)) == 2


def test_weights_that_stay_have_no_components(tmp_path):
    found = recorded(tmp_path / "x", drawn(1).expand(3, -1)).measure("trajectory")
    assert found["component_share"].isnull().all()
    assert (found["displacement"] == 0).all()
    assert analyze.draw(found).to_json()
