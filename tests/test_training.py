"""The loop: it learns, resumes to the bit, and says what is wrong."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import pytest
import torch
from made import SmallNet, stripes
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, log_loss, roc_auc_score
from torch import nn

from helpers import training
from helpers.augmentation import ColourJitter, Compose, RandomAffine

TRAIN, VALIDATION = stripes(90), stripes(40, seed=1)
AUGMENT = Compose((RandomAffine(area=(0.8, 1.0)), ColourJitter()))


def fresh(seed: int = 0) -> SmallNet:
    torch.manual_seed(seed)
    return SmallNet()


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([v.flatten().double() for v in model.state_dict().values()])


def test_it_learns():
    model = fresh()
    history = training.fit(model, TRAIN, VALIDATION, epochs=8, rate=1e-2, batch=32)
    assert history.stopped == "finished" and len(history["train_loss"]) == 8
    assert history["train_loss"][-1] < history["train_loss"][0]
    assert training.evaluate(model, VALIDATION).accuracy > 0.95


@pytest.mark.fault(
    "The same numbers", "the same seed twice (CPU)", outcome="the same bits in every weight; another seed, others"
)
@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["onecycle", "constant"])
def test_the_same_seed_gives_the_same_bits(optimiser, schedule):
    options = {"epochs": 2, "rate": 1e-2, "augment": AUGMENT, "optimiser": optimiser, "schedule": schedule}
    one, two, three = fresh(), fresh(), fresh()
    training.fit(one, TRAIN, **options, seed=3)
    training.fit(two, TRAIN, **options, seed=3)
    training.fit(three, TRAIN, **options, seed=4)
    assert torch.equal(weights(one), weights(two)) and not torch.equal(weights(one), weights(three))


def test_first_epoch_equals_a_plain_loop():
    """SGD without augmentation against the textbook loop, step for step."""
    model, plain = fresh(), fresh()
    model.layers[3].p = plain.layers[3].p = 0.0  # dropout draws by memory layout
    training.fit(model, TRAIN, epochs=1, rate=0.05, batch=30, optimiser="sgd", schedule="constant", weight_decay=0.0)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.SGD(plain.parameters(), 0.05, momentum=0.9, nesterov=True)
    plain.train()
    for chosen in order.split(30):
        optimiser.zero_grad()
        nn.functional.cross_entropy(plain(TRAIN.images[chosen]), TRAIN.labels[chosen]).backward()
        optimiser.step()
    assert torch.allclose(weights(model), weights(plain), atol=1e-5)


def plain_net() -> nn.Module:
    """No dropout and no BatchNorm: cutting a batch changes nothing but the order of sums."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 2))


@pytest.mark.fault(
    "Training", "a batch that doesn't fit into the GPU's memory", outcome="computed in pieces, said aloud; same weights"
)
def test_a_batch_that_does_not_fit_is_computed_in_pieces(capsys):
    class Small(nn.Sequential):
        def forward(self, images):
            if len(images) > 10 and self.training:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().forward(images)

    options = {"epochs": 2, "batch": 32, "rate": 1e-5, "optimiser": "sgd", "augment": AUGMENT}
    whole, cut = plain_net(), Small(*plain_net())
    expected = training.fit(whole, TRAIN, **options)
    history = training.fit(cut, TRAIN, **options)
    assert capsys.readouterr().out.count("it is computed in 4 pieces") == 1
    assert torch.allclose(weights(whole), weights(cut), atol=1e-6)
    assert history["train_loss"] == pytest.approx(expected["train_loss"]) and history.stopped == "finished"


def test_a_small_last_batch_is_not_cut_into_single_images():
    seen = []

    class Small(nn.Sequential):
        def forward(self, images):
            if self.training:
                if len(images) > 8:
                    raise torch.OutOfMemoryError("CUDA out of memory.")
                seen.append(len(images))
            return super().forward(images)

    flat = Small(nn.Flatten(), nn.Linear(1024, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))  # a single image stops it
    history = training.fit(flat, stripes(67), epochs=1, batch=32)
    assert history.stopped == "finished" and sum(seen) == 67 and seen[-1] == 3


def test_images_too_many_for_the_device_come_batch_by_batch(monkeypatch, capsys):
    options = {"epochs": 2, "batch": 32, "rate": 1e-2, "augment": AUGMENT}
    resident, streamed = fresh(), fresh()
    training.fit(resident, TRAIN, **options)
    monkeypatch.setattr(training, "_free", lambda device: 1000.0)
    training.fit(streamed, TRAIN, **options)
    assert "too many for the GPU" in capsys.readouterr().out
    assert torch.equal(weights(resident), weights(streamed))


@pytest.mark.fault("Training", "Ctrl-C", outcome="the history so far; resumed, the same bits as uninterrupted")
def test_interrupted_and_resumed_is_the_same_to_the_bit(tmp_path):
    options = {"epochs": 5, "rate": 1e-2, "batch": 32, "augment": AUGMENT, "seed": 1}
    whole, part = fresh(), fresh()
    expected = training.fit(whole, TRAIN, VALIDATION, **options)

    def stop(model, history):
        if len(history.epochs) == 2:
            raise KeyboardInterrupt

    file = tmp_path / "run.pt"
    first = training.fit(part, TRAIN, VALIDATION, **options, checkpoint=file, on_epoch=stop)
    assert first.stopped == "interrupted" and len(first.epochs) == 2
    other = fresh(seed=9)  # a new process would have other weights
    history = training.fit(other, TRAIN, VALIDATION, **options, checkpoint=file)
    assert torch.equal(weights(whole), weights(other))
    assert history["train_loss"] == expected["train_loss"] and history.best == expected.best


@pytest.mark.fault(
    "Training", "a checkpoint that is no checkpoint, or of other settings", outcome="one line; training starts anew"
)
def test_a_damaged_or_foreign_checkpoint_is_not_used(tmp_path, capsys):
    file = tmp_path / "run.pt"
    file.write_bytes(b"half a file")
    training.fit(fresh(), TRAIN, epochs=1, checkpoint=file)
    assert "not used" in capsys.readouterr().out
    history = training.fit(fresh(), TRAIN, epochs=2, checkpoint=file)
    assert "other settings" in capsys.readouterr().out and len(history.epochs) == 2


def test_a_checkpoint_that_fits_only_in_part_leaves_the_weights(tmp_path, capsys):
    file, model = tmp_path / "run.pt", fresh()
    training.fit(fresh(), TRAIN, epochs=1, checkpoint=file)
    for parameters in list(model.parameters())[:2]:
        parameters.requires_grad_(False)  # the optimiser has fewer
    before = next(model.parameters()).clone()
    training.fit(model, TRAIN, epochs=1, checkpoint=file)
    assert "training starts anew" in capsys.readouterr().out
    assert torch.equal(next(model.parameters()), before)


def test_the_model_is_tried_at_the_size_that_it_is_trained_at():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 40, stride=20), nn.Flatten(), nn.Linear(2 * 3 * 3, 2)
    )  # 80 pixels and no others
    assert len(training.fit(model, TRAIN, epochs=1, size=80, progress=False).epochs) == 1


def test_the_best_epoch_is_kept():
    model, seen = fresh(), []
    history = training.fit(
        model, TRAIN, VALIDATION, epochs=6, rate=3e-2, on_epoch=lambda m, h: seen.append(weights(m).clone())
    )
    best = max(range(6), key=lambda i: (history["validation_accuracy"][i], -history["validation_loss"][i]))
    assert history.best == best
    assert torch.equal(weights(model), seen[best])


@pytest.mark.fault(
    "Training",
    "the loss explodes",
    outcome="training stops; the line names the learning rate it reached, and a tenth of it",
)
def test_a_loss_that_explodes_stops_with_the_likely_cause(capsys):
    history = training.fit(fresh(), TRAIN, epochs=5, rate=1e30, optimiser="sgd", schedule="constant")
    assert history.stopped == "diverged" and len(history.epochs) < 5
    assert "learning rate that is too high" in capsys.readouterr().out


def test_two_classes_of_nan_are_measured_without_an_error():
    metrics = training.metrics(torch.full((4, 2), torch.nan), torch.tensor([0, 1, 0, 1]))
    assert metrics.auc is None and not metrics.loss > 0


def test_a_validation_loss_of_nan_stops_training(capsys):
    """One step an epoch: the loss of the only batch is that of before the step."""
    options = {"epochs": 3, "rate": 1e30, "batch": 90, "optimiser": "sgd", "schedule": "constant"}
    history = training.fit(fresh(), TRAIN, VALIDATION, **options)
    assert history.stopped == "diverged" and not history.epochs
    assert "The loss is nan in epoch 1" in capsys.readouterr().out


def test_a_single_step_moves_the_weights():
    """OneCycleLR of one step would take its last, lowest rate."""
    model = fresh()
    before = weights(model)
    training.fit(model, TRAIN, epochs=1, batch=len(TRAIN), rate=1e-2)
    assert (weights(model) - before).abs().max() > 1e-3


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_group_without_a_weight_decay_gets_the_one_asked_for(optimiser):
    found = []
    for decay in (0.0, 0.5):
        model = fresh()
        groups = [{"params": list(model.parameters()), "lr": 1e-2}]
        training.fit(model, TRAIN, epochs=2, groups=groups, weight_decay=decay, optimiser=optimiser)
        found.append(weights(model))
    assert not torch.allclose(*found)


def test_ctrl_c_returns_the_history_so_far():
    def stop(model, history):
        raise KeyboardInterrupt

    history = training.fit(fresh(), TRAIN, VALIDATION, epochs=5, on_epoch=stop)
    assert history.stopped == "interrupted" and len(history.epochs) == 1


def test_the_same_groups_serve_twice():
    model = fresh()
    groups = [{"params": list(model.parameters()), "lr": 1e-2}]
    for _ in range(2):
        before = weights(model)
        training.fit(model, TRAIN, epochs=2, groups=groups)
        assert (weights(model) - before).abs().max() > 1e-2  # the schedule ends near zero: it must begin anew
    assert groups == [{"params": list(model.parameters()), "lr": 1e-2}]


@pytest.mark.parametrize("after", [1, 4, 8])
def test_the_last_finished_epoch_is_kept_where_nothing_chooses(after, capsys):
    """Three batches an epoch; Ctrl-C, or NaN, in the middle of one: the weights are those that the history names."""

    def stops(images, generator):
        calls.append(len(images))
        if len(calls) == after:
            raise KeyboardInterrupt
        return images

    def spoils(images, generator):
        calls.append(len(images))
        return images * (float("nan") if len(calls) == after else 1.0)

    for change, said in ((stops, "interrupted"), (spoils, "diverged")):
        calls, seen = [], []
        model = plain_net()
        options = {"epochs": 5, "batch": 30, "rate": 1e-2, "schedule": "constant", "augment": change}
        history = training.fit(model, TRAIN, **options, on_epoch=lambda m, h: seen.append(weights(m)))  # noqa: B023
        assert history.stopped == said and history.best == len(history.epochs) - 1 == (after - 1) // 3 - 1
        if seen:
            assert torch.equal(weights(model), seen[-1])


def test_what_on_epoch_changes_stays_also_when_resumed(tmp_path):
    def halves(model, history):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.5)

    def stops(images, generator):
        calls.append(len(images))
        if len(calls) == 8:  # in the third epoch
            raise KeyboardInterrupt
        return AUGMENT(images, generator)

    options = {"epochs": 4, "batch": 30, "rate": 1e-2}
    whole, part, calls, file = plain_net(), plain_net(), [], tmp_path / "run.pt"
    training.fit(whole, TRAIN, **options, augment=AUGMENT, on_epoch=halves)
    last = weights(whole)

    class Augment:
        """The same text whether it stops or not."""

        def __init__(self, change):
            self.change = change

        def __repr__(self):
            return "AUGMENT"

        def __call__(self, *what):
            return self.change(*what)

    training.fit(part, TRAIN, **options, augment=Augment(stops), on_epoch=halves, checkpoint=file)
    history = training.fit(plain_net(), TRAIN, **options, augment=Augment(AUGMENT), on_epoch=halves, checkpoint=file)
    resumed = plain_net()
    training.fit(resumed, TRAIN, **options, augment=Augment(AUGMENT), on_epoch=halves, checkpoint=file)
    assert len(history.epochs) == 4 and torch.equal(weights(resumed), last)


def test_a_checkpoint_of_another_function_is_not_used(tmp_path, capsys):
    file, options = tmp_path / "run.pt", {"epochs": 1, "batch": 30}
    for change in (lambda x, g: x, lambda x, g: x):
        training.fit(plain_net(), TRAIN, **options, augment=change, checkpoint=file)
        assert "other settings" not in capsys.readouterr().out
    training.fit(plain_net(), TRAIN, **options, augment=lambda x, g: x + 1, checkpoint=file)
    assert "other settings" in capsys.readouterr().out


def test_resumed_after_a_cut_batch_it_is_cut_from_the_start(tmp_path, capsys):
    class Small(nn.Sequential):
        def forward(self, images):
            if len(images) > 20 and self.training:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().forward(images)

    def stop(model, history):
        if len(history.epochs) == 2:
            raise KeyboardInterrupt

    options = {"epochs": 3, "batch": 30, "checkpoint": tmp_path / "run.pt"}
    training.fit(Small(*plain_net()), TRAIN, **options, on_epoch=stop)
    assert "in 2 pieces" in capsys.readouterr().out
    training.fit(Small(*plain_net()), TRAIN, **options)
    assert "pieces" not in capsys.readouterr().out  # nothing is tried that has failed already


def test_label_smoothing_leaves_the_network_less_sure():
    sure = []
    for smoothing in (0.0, 0.4):
        model = plain_net()
        training.fit(model, TRAIN, epochs=20, rate=1e-2, batch=30, label_smoothing=smoothing)
        sure.append(float(training.evaluate(model, TRAIN).probabilities.max(1).values.mean()))
    assert sure[0] > 0.95 and abs(sure[1] - 0.8) < 0.1  # 1 - 0.4 + 0.4 / 2


def test_the_rate_goes_up_and_comes_down_again():
    rates = training.fit(fresh(), TRAIN, epochs=10, rate=1e-2)["rate"]
    assert rates[0] < max(rates) and rates[-1] < 0.01 * max(rates) and max(rates) == pytest.approx(1e-2, rel=0.1)
    assert len(set(training.fit(fresh(), TRAIN, epochs=3, rate=1e-2, schedule="constant")["rate"])) == 1


def test_without_keep_best_the_last_epoch_is_kept():
    model, seen = fresh(), []
    wrong = dataclasses.replace(VALIDATION, labels=1 - VALIDATION.labels)  # the more is learned, the worse it fits
    options = {"epochs": 6, "rate": 1e-2, "on_epoch": lambda m, h: seen.append(weights(m))}
    history = training.fit(model, TRAIN, wrong, **options, keep_best=False)
    assert history["validation_accuracy"][0] > history["validation_accuracy"][5]
    assert history.best == 5 and torch.equal(weights(model), seen[5])


def test_the_training_loss_counts_each_image_once():
    """Of a network that doesn't learn, it is the mean over all images, though the last batch is a small one."""
    model = plain_net()
    expected = training.evaluate(model, TRAIN.subset(range(70)))
    history = training.fit(model, TRAIN.subset(range(70)), epochs=1, batch=32, rate=0.0, weight_decay=0.0)
    assert history["train_loss"][0] == pytest.approx(expected.loss, rel=1e-5)
    assert history["train_accuracy"][0] == pytest.approx(expected.accuracy)


def test_a_trained_model_is_ready_to_predict():
    model = fresh()
    training.fit(model, TRAIN, epochs=1)
    assert not any(module.training for module in model.modules())


def test_a_mean_over_the_mirror_image():
    model = fresh().eval()
    with torch.inference_mode():
        images = VALIDATION.images.float()
        both = (model(images).softmax(1) + model(images.flip(-1)).softmax(1)) / 2
    assert torch.allclose(training.evaluate(model, VALIDATION, flip=True).probabilities, both, atol=1e-6)
    assert not torch.allclose(training.evaluate(model, VALIDATION).probabilities, both, atol=1e-3)


def test_fp16_scales_its_loss_and_takes_the_scale_along(tmp_path):
    """Gradients of fp16 are too small without a factor; one that was found is part of the checkpoint."""
    scales = []

    class Watched(torch.amp.GradScaler):
        def scale(self, outputs):
            scales.append(self.get_scale())
            return super().scale(outputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.amp, "GradScaler", lambda *a, **o: Watched(*a, **o, init_scale=128.0, growth_interval=2))
        options = {"batch": 30, "precision": "fp16", "rate": 1e-3, "epochs": 4, "checkpoint": tmp_path / "run.pt"}

        def stop(model, history):
            if len(history.epochs) == 3:
                raise KeyboardInterrupt

        training.fit(plain_net(), TRAIN, **options, on_epoch=stop)
        grown, scales[:] = scales[-1], []
        training.fit(plain_net(), TRAIN, **options)
    assert grown > 128 and scales[0] > 128


def test_half_precision_measures_its_loss_in_float32():
    """Scores of a few thousand: bf16 knows them to 16 only."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1024, 2))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor([1.0, 1.00390625]))
    history = training.fit(model, TRAIN, epochs=1, batch=90, rate=0.0, weight_decay=0.0, precision="bf16")
    scores = torch.tensor([1.0, 1.0]).repeat(90, 1)  # as bf16 rounds them
    assert history["train_loss"][0] == pytest.approx(float(nn.functional.cross_entropy(scores, TRAIN.labels)), abs=1e-6)


def test_validation_has_the_precision_of_the_training(monkeypatch):
    asked, real = [], training._autocast
    monkeypatch.setattr(
        training, "_autocast", lambda precision, device: asked.append(precision) or real(precision, device)
    )
    training.fit(fresh(), TRAIN, VALIDATION, epochs=1, precision="bf16")
    assert set(asked) == {"bf16"}


def test_soft_labels_are_learned():
    soft = stripes(90, soft=True)
    model = fresh()
    training.fit(model, soft, epochs=10, rate=1e-2, batch=30, soft=True)
    probabilities = training.evaluate(model, soft).probabilities
    assert abs(probabilities.max(1).values.mean() - 0.9) < 0.07  # 0.9 is what the labels say, not 1


@pytest.mark.fault("Training", "a last batch of one image, with BatchNorm", outcome="left out")
def test_a_last_batch_of_one_is_left_out():
    flat = nn.Sequential(
        nn.Flatten(), nn.Linear(1024, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)
    )  # a single image stops it
    history = training.fit(flat, TRAIN.subset(range(33)), epochs=1, batch=32)
    assert history.stopped == "finished" and int(flat[2].num_batches_tracked) == 1


def test_training_at_another_size():
    seen = []
    model = fresh()
    model.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[2:]))
    training.fit(model, TRAIN, VALIDATION, epochs=1, size=16)
    assert set(seen) == {(16, 16)}


def test_metrics_are_scikit_learns():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(50, 2, generator=generator).softmax(1)
    labels = torch.randint(0, 2, (50,), generator=generator)
    soft = torch.where(torch.rand(50, 1, generator=generator) < 0.5, 2 / 3, 1.0)
    soft = torch.cat([soft, 1 - soft], 1)
    found = training.metrics(probabilities, labels, soft)
    predicted = probabilities.argmax(1)
    assert found.accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert found.weighted_accuracy == pytest.approx(
        accuracy_score(labels, predicted, sample_weight=soft.max(1).values.numpy()), abs=1e-6
    )
    assert found.auc == pytest.approx(roc_auc_score(labels, probabilities[:, 1]))
    assert found.loss == pytest.approx(
        log_loss(labels, probabilities.double() / probabilities.double().sum(1, keepdim=True)), rel=1e-5
    )
    assert (found.confusion.numpy() == confusion_matrix(labels, predicted)).all()


@pytest.mark.fault("Training", "a class without test images", outcome="balanced over the classes that have some")
def test_a_class_that_is_missing_from_the_test_part_doesnt_break_the_metrics():
    found = training.metrics(torch.eye(3)[[0, 1, 1]] * 0.9 + 0.05, torch.tensor([0, 1, 0]))
    assert found.accuracy == pytest.approx(2 / 3) and found.balanced_accuracy == pytest.approx(0.75)


@pytest.mark.fault(
    "Training", "batches of one image, with BatchNorm", outcome="refused in one line", case="BatchNorm needs"
)
@pytest.mark.parametrize(
    "change, message",
    [
        ({"epochs": 0}, "at least 1"),
        ({"optimiser": "adam"}, "optimiser is 'adam'"),
        ({"schedule": "step"}, "schedule is 'step'"),
        ({"precision": "half"}, "precision is 'half'"),
        ({"soft": True}, "no soft labels"),
        ({"batch": 1}, "BatchNorm needs"),
    ],
)
def test_wrong_settings_are_explained(change, message):
    with pytest.raises(ValueError, match=message):
        training.fit(fresh(), TRAIN, **({"epochs": 1} | change))


@pytest.mark.fault("Training", "a head that doesn't fit the classes", outcome="refused, with the call that replaces it")
def test_a_head_that_doesnt_fit_is_explained():
    with pytest.raises(ValueError, match=r"gives 5 scores.*2 classes.*replace_head"):
        training.fit(SmallNet(classes=5), TRAIN, epochs=1)


@pytest.mark.fault("Training", "a validation set with other classes", outcome="refused in one line")
def test_other_classes_in_validation_are_explained():
    other = dataclasses.replace(VALIDATION, classes=("a", "b"))
    with pytest.raises(ValueError, match="validation set's classes"):
        training.fit(fresh(), TRAIN, other, epochs=1)


@pytest.mark.fault("Training", "every weight is frozen", outcome="refused: nothing to learn")
def test_a_frozen_model_is_explained():
    model = fresh()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to learn"):
        training.fit(model, TRAIN, epochs=1)


def test_augmentation_keeps_shape_and_range_and_draws_for_each_image():
    images = TRAIN.images[:1].float().expand(16, -1, -1, -1)
    out = AUGMENT(images, torch.Generator().manual_seed(0))
    assert out.shape == images.shape and out.min() >= 0 and out.max() <= 255
    assert len({tuple(image.flatten().tolist()) for image in out}) == 16
    again = AUGMENT(images, torch.Generator().manual_seed(0))
    assert torch.equal(out, again)


def test_a_whole_image_and_a_flip_are_exact():
    images = torch.rand(4, 3, 8, 8) * 255
    same = RandomAffine(flip=0.0, area=(1.0, 1.0), stretch=1.0)(images, torch.Generator())
    mirrored = RandomAffine(flip=1.0, area=(1.0, 1.0), stretch=1.0)(images, torch.Generator())
    assert torch.allclose(same, images, atol=1e-2) and torch.allclose(mirrored, images.flip(-1), atol=1e-2)


def test_nothing_of_a_finished_fit_stays_in_memory(monkeypatch):
    """Adam's moments are twice the weights, and lessons train many networks one after the other."""
    made = []

    class Watched(torch.optim.AdamW):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            made.append(weakref.ref(self))

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    gc.collect()
    gc.disable()
    try:
        training.fit(fresh(), TRAIN, epochs=1, batch=32)
        assert len(made) == 1 and made[0]() is None
    finally:
        gc.enable()


def test_a_model_without_weights_is_refused_in_words():
    with pytest.raises(ValueError, match="The model gives"):
        training.fit(nn.Flatten(), stripes(16), epochs=1)
