"""Augmentation that learns: probabilities and magnitudes found by gradient, after Faster AutoAugment (on Kornia)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F


class LearnableStep(nn.Module):
    """One operation with a probability and, if it has one, a magnitude that are learned by gradient.

    Whether an image is changed is a coin toss, which has no gradient. A relaxed Bernoulli variable has one (Hataya et
    al. 2020, Faster AutoAugment, section 3), and the straight-through trick keeps the hard toss in the forward pass.

    Args:
        change: images (N, C, H, W) -> changed; with a magnitude (images, amounts (N, 2)), amounts uniform in
            [-magnitude, magnitude].
        largest: the magnitude stays in (0, largest).
    """

    def __init__(
        self, change: Callable, probability: float = 0.5, magnitude: float | None = None, largest: float = 1.0
    ) -> None:
        super().__init__()
        self.change, self.largest = change, largest
        self._p = nn.Parameter(torch.tensor(probability).logit())
        self._m = None if magnitude is None else nn.Parameter(torch.tensor(magnitude / largest).logit())

    @property
    def probability(self) -> torch.Tensor:
        return self._p.sigmoid()

    @property
    def magnitude(self) -> torch.Tensor | None:
        return None if self._m is None else self._m.sigmoid() * self.largest

    def forward(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        n = len(images)
        noise = torch.rand(n, generator=generator, device=generator.device).logit(eps=1e-6)
        soft = ((self._p + noise) / 0.5).sigmoid()  # 0.5: the temperature
        gate = ((soft > 0.5).float() - soft.detach() + soft).view(n, 1, 1, 1)  # 0 or 1, with the gradient of soft
        if self._m is None:
            changed = self.change(images)
        else:
            amounts = torch.rand(n, 2, generator=generator, device=generator.device) * 2 - 1
            changed = self.change(images, amounts * self.magnitude)
        return gate * changed + (1 - gate) * images


class LearnableAugment(nn.Module):
    """Named steps, one after the other. It is an ``augment`` for ``training.fit``, too."""

    def __init__(self, **steps: LearnableStep) -> None:
        super().__init__()
        self.steps = nn.ModuleDict(steps)

    def forward(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        for step in self.steps.values():
            images = step(images, generator)
        return images

    def policy(self) -> dict[str, tuple[float, float | None]]:
        """Name -> (probability, magnitude) as they are now."""
        return {
            name: (step.probability.item(), None if step.magnitude is None else step.magnitude.item())
            for name, step in self.steps.items()
        }


def standard_steps(size: int) -> LearnableAugment:
    """Flip, rotation (degrees), shift (pixels) and negative, on Kornia's differentiable warps; all at one half."""
    from kornia import geometry  # here, as only this function needs it, and its import takes a second

    return LearnableAugment(
        flip=LearnableStep(geometry.hflip),
        rotate=LearnableStep(lambda images, amounts: geometry.rotate(images, amounts[:, 0]), 0.5, 30.0, 90.0),
        shift=LearnableStep(geometry.translate, 0.5, 0.15 * size, 0.4 * size),
        negative=LearnableStep(lambda images: 255 - images),
    )


def match_distribution(
    augment: LearnableAugment,
    critic: nn.Module,
    few: tuple[torch.Tensor, torch.Tensor],
    many: tuple[torch.Tensor, torch.Tensor],
    *,
    steps: int = 200,
    batch: int = 128,
    seed: int = 0,
) -> list[dict]:
    """Learn an augmentation whose images look like other real ones of their class; returns the policy after each step.

    A critic (images -> K scores; the score of an image's own class counts) learns to tell the augmented ``few`` from
    the ``many``, and the augmentation learns to be taken for them, as in Faster AutoAugment, section 3.3 (here with
    the logistic loss). Each of few and many is (images (N, C, H, W), labels (N,)).
    """
    generator = torch.Generator(few[0].device).manual_seed(seed)
    policy_optimiser = torch.optim.Adam(augment.parameters(), 0.03, betas=(0.9, 0.99))
    critic_optimiser = torch.optim.AdamW(critic.parameters(), 1e-3, weight_decay=1e-2)
    history = []

    def draw(images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.randint(len(labels), (batch,), generator=generator, device=labels.device)
        return images[rows].float(), labels[rows, None]

    for _ in range(steps):
        (images, labels), (real, real_labels) = draw(*few), draw(*many)
        made = augment(images, generator)
        policy_optimiser.zero_grad()
        F.softplus(-critic(made).gather(1, labels)).mean().backward(inputs=[*augment.parameters()])
        policy_optimiser.step()
        critic_optimiser.zero_grad()
        real_loss = F.softplus(-critic(real).gather(1, real_labels)).mean()
        (real_loss + F.softplus(critic(made.detach()).gather(1, labels)).mean()).backward()
        critic_optimiser.step()
        history.append(augment.policy())
    return history
