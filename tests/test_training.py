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


def test_soft_labels_are_learned():
    soft = stripes(90, soft=True)
    model = fresh()
    training.fit(model, soft, epochs=10, rate=1e-2, batch=30, soft=True)
    probabilities = training.evaluate(model, soft).probabilities
    assert abs(probabilities.max(1).values.mean() - 0.9) < 0.07  # 0.9 is what the labels say, not 1


@pytest.mark.fault("Training", "a last batch of one image, with BatchNorm", outcome="left out")
def test_a_last_batch_of_one_is_left_out():
    history = training.fit(fresh(), TRAIN.subset(range(33)), epochs=1, batch=32)
    assert history["train_loss"][0] > 0


def test_training_at_another_size():
    training.fit(fresh(), TRAIN, VALIDATION, epochs=1, size=16)


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
