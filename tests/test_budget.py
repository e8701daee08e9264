"""The minutes of a fine-tuning run are kept, on a clock that counts work: no figure here depends on the machine."""

from __future__ import annotations

import pytest
import tune_drawn as drawn

from napari_tinymig.recipes.finetune import FineTuneSpec


class CountedClock:
    """Seconds by what was done: a training step, a look at one image, a prediction, an export. slow: times as long."""

    def __init__(self):
        self.seconds, self.slow, self.steps = 0.0, 1.0, 0

    def __call__(self):
        return self.seconds

    def count(self, monkeypatch, owner, name, cost):
        real = getattr(owner, name)

        def counted(*args, **kwargs):
            self.seconds += self.slow * (cost(*args) if callable(cost) else cost)
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)


@pytest.fixture
def clock(monkeypatch):
    from napari_tinymig.training.finetune import pipeline, scores, steps
    from napari_tinymig.training.finetune.mixing import Views
    from napari_tinymig.training.run.loop import Run

    from napari_tinymig.predict.predictor import Predictor

    clock = CountedClock()

    def step(*_):
        clock.steps += 1
        return 0.1

    clock.count(monkeypatch, Run, "_step", step)
    clock.count(monkeypatch, Views, "probabilities", lambda view, *_: 0.04 * len(view.inputs))
    clock.count(monkeypatch, Predictor, "predict", 0.2)
    clock.count(monkeypatch, pipeline, "save_model", 3.5)
    clock.count(monkeypatch, scores, "soft_answers", lambda _, grids, __: 0.04 * len(grids))
    clock.count(monkeypatch, steps, "encode_views", lambda _, __, rows, ___: 0.04 * len(rows))
    return clock


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return drawn.tiny_model(tmp_path_factory.mktemp("model") / "optic.safetensors")


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    return drawn.write_domain(tmp_path_factory.mktemp("second"), range(100, 105))


def run(clock, parent, data, out, minutes, each=lambda message: None, **settings):
    from napari_tinymig.training.finetune.pipeline import Tuning

    out.mkdir()
    spec = FineTuneSpec(minutes=minutes, **settings)
    clock.seconds = 5.0
    messages = []
    for message in Tuning(parent.path, data, out, spec, False, lambda: False, 5.0, clock).messages():
        messages.append(message)
        each(message)
    return messages


@pytest.mark.parametrize("scope", ["whole", "decoder"])
def test_half_a_minute_is_half_a_minute_with_start_preparation_and_acceptance_check(
    scope, clock, parent, second, tmp_path
):
    messages = run(clock, parent, second, tmp_path / "run", 0.5, scope=scope)
    assert messages[-1].kind == "done"
    assert 20 < clock.seconds <= 30, "used, and not overdrawn"
    assert clock.steps >= 3 * 20, "three parts that can learn something"
    assert "asked were" not in messages[-1].text


def test_a_machine_that_becomes_slow_gets_fewer_steps_and_not_more_time(clock, parent, second, tmp_path):
    def slower(message):
        if message.kind == "step":
            clock.slow = 3.0

    messages = run(clock, parent, second, tmp_path / "run", 1.0, slower, scope="decoder")
    assert any("The time is over after" in m.text for m in messages)
    assert messages[-1].kind == "done"
    assert clock.seconds <= 60


def test_a_time_that_cannot_do_asks_for_one_that_can(clock, parent, second, tmp_path):
    told = []
    with pytest.raises(ValueError, match=r"^12 s are too short .* at least about 0\.\d min \(.*steps of 3 parts") as e:
        run(clock, parent, second, tmp_path / "short", 0.2, told.append, scope="decoder")
    assert clock.steps <= 3, "it is said before the training, and before the images are prepared"
    needed = next(m.values["needed_minutes"] for m in told if "needed_minutes" in m.values)
    assert f"Give it {needed:g} min" in str(e.value)
    assert not (tmp_path / "short" / "plan.json").exists(), "the folder can be used again"
    messages = run(clock, parent, second, tmp_path / "enough", needed, scope="decoder")
    assert messages[-1].kind == "done"
    assert clock.seconds <= needed * 60
