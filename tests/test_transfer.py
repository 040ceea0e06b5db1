"""The experiments: right protocol, cached, summed up; and the command."""

from __future__ import annotations

import dataclasses
import json
import statistics

import pytest
from made import stripes
from PIL import Image

from helpers import backbones, datasets, machine, training, transfer

FAST = {"size": 32, "epochs": 1, "epochs_last": 1, "epochs_scratch": 1, "batch": 16}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "cache_dir", lambda: tmp_path)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    return tmp_path


def test_extraction_tells_stripes_apart_and_is_cached(monkeypatch):
    image_set = stripes(80)
    first = transfer.run("extract", image_set, per_class=10, seed=0, progress=False, **FAST)
    assert first.accuracy > 0.9
    monkeypatch.setattr(backbones, "load", lambda *a, **k: pytest.fail("run again"))
    assert transfer.run("extract", image_set, per_class=10, seed=0, progress=False, **FAST) == first


@pytest.mark.parametrize("method", ["scratch", "fine_tune"])
def test_training_methods_run_and_never_see_the_test_part(method, monkeypatch):
    image_set = stripes(60)
    split = datasets.split(image_set, 0)
    test_files = {image_set.files[i] for i in split.test.tolist()}
    seen = set()
    real = training.fit
    monkeypatch.setattr(training, "fit", lambda m, train, *a, **k: seen.update(train.files) or real(m, train, *a, **k))
    result = transfer.run(method, image_set, seed=0, progress=False, cache=False, **FAST)
    assert 0 <= result.accuracy <= 1 and result.auc is not None
    assert seen and not seen & test_files


def test_seed_and_settings_change_the_result_file(cache):
    image_set = stripes(60)
    for options in ({"seed": 0}, {"seed": 1}, {"seed": 0, "head": "logistic"}, {"seed": 0, "per_class": 5}):
        transfer.run("extract", image_set, progress=False, **(FAST | options))
    assert len(list((cache / "results").glob("*.json"))) == 4


@pytest.mark.parametrize("change", [{"soft": None}, {"name": "others"}, {"classes": ("a", "b")}])
def test_other_labels_or_another_name_are_another_experiment(cache, change):
    image_set = stripes(60, soft=True)
    for images in (image_set, dataclasses.replace(image_set, **change)):
        result = transfer.run("extract", images, progress=False, **FAST)
        assert result.data == images.name
    assert len(list((cache / "results").glob("*.json"))) == 2


@pytest.mark.fault("Training", "Ctrl-C in an experiment", outcome="no result is kept; run again, it goes on (CPU)")
def test_an_interrupted_experiment_keeps_no_result_and_goes_on(cache, monkeypatch):
    options = {"budget": "full", "progress": False, **FAST, "epochs": 3}
    expected = transfer.run("fine_tune", stripes(60), seed=0, cache=False, **options)
    steps, calls = training._Stepper.step, []

    def step(self, *batch):
        calls.append(1)
        if len(calls) == 8:  # of three an epoch: in the second one after the head's
            raise KeyboardInterrupt
        return steps(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(training._Stepper, "step", step)
        patch.setattr(training, "evaluate", lambda *a, **k: pytest.fail("measured"))
        with pytest.raises(KeyboardInterrupt):
            transfer.run("fine_tune", stripes(60), seed=0, **options)
    assert not list((cache / "results").glob("*.json")) and len(list((cache / "results").iterdir())) == 2
    calls.clear()
    monkeypatch.setattr(training._Stepper, "step", lambda self, *batch: calls.append(1) or steps(self, *batch))
    result = transfer.run("fine_tune", stripes(60), seed=0, **options)
    assert len(calls) == 6  # of twelve
    assert dataclasses.replace(result, seconds=0) == dataclasses.replace(expected, seconds=0)
    assert [file.suffix for file in (cache / "results").iterdir()] == [".json"]


def test_an_experiment_that_diverged_has_no_result(cache):
    with pytest.raises(RuntimeError, match="diverged, so there is nothing to measure: choose smaller rates"):
        transfer.run("scratch", stripes(60), progress=False, **(FAST | {"rate_scratch": 1e30, "epochs_scratch": 3}))
    assert not (cache / "results").exists()


def test_head_first_gives_the_network_the_head_of_its_codes():
    image_set = stripes(60)
    network = backbones.load()
    transfer.fit_head(network, image_set, size=32, progress=False)
    assert network.head.out_features == 2
    assert training.evaluate(network, image_set, size=32).accuracy > 0.95


def test_the_summary_is_mean_and_standard_deviation():
    results = transfer.compare(
        stripes(60), methods=["extract"], seeds=range(3), per_class=(4, None), progress=False, **FAST
    )
    lines = transfer.summary(results)
    assert [(line.per_class, line.seeds) for line in lines] == [(4, 3), (None, 3)]
    values = [r.accuracy for r in results if r.per_class == 4]
    assert lines[0].mean == pytest.approx(statistics.mean(values))
    assert lines[0].spread == pytest.approx(statistics.stdev(values))


def test_an_unknown_method_is_explained():
    with pytest.raises(ValueError, match="method is 'finetune'"):
        transfer.run("finetune", stripes(20))


def test_the_command_writes_one_json_object_a_run(tmp_path, capsys):
    for i, (label, image) in enumerate(zip(stripes(40).labels.tolist(), stripes(40).images, strict=True)):
        folder = tmp_path / "pictures" / ("left" if label else "right")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(folder / f"{i}.png")
    out = tmp_path / "results.jsonl"
    arguments = ["--data", str(tmp_path / "pictures"), "--methods", "extract", "--seeds", "2", "--budget", "quick"]
    transfer.main([*arguments, "--json", str(out)])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["seed"] for row in rows] == [0, 1]
    assert {"accuracy", "balanced_accuracy", "auc", "seconds", "versions"} <= set(rows[0])
    assert "±" in capsys.readouterr().out


def test_the_command_says_what_is_wrong_in_one_line(tmp_path):
    with pytest.raises(SystemExit) as told:
        transfer.main(["--data", str(tmp_path / "nowhere")])
    assert "nowhere" in str(told.value)
