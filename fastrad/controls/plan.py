"""What is compared with what, and how much of it: fixed after a pilot on other seeds, and tuned for no network."""

from __future__ import annotations

from dataclasses import dataclass, field

NETWORKS = {
    "random": "random weights",
    "random again": "other random weights",
    "natural": "pretrained on natural pictures",
    "radiology": "pretrained on radiology",
    "same task": "pretrained on the task itself, other patients",
}
# upper minus lower; the last three are the question, corrected together
CONTRASTS = (
    ("same task", "random"),
    ("random again", "random"),
    ("natural", "random"),
    ("radiology", "random"),
    ("radiology", "natural"),
)
QUESTION = slice(2, 5)


@dataclass(frozen=True)
class ControlsPlan:
    """How much the controls do; fixed after a pilot, see above.

    Attributes
    ----------
    size : int
        Side of the stored and trained images, pixels.
    margin : float
        Around the outlined nodule, as a part of its longer side.
    pretraining_images : int
        Of each of the three pretraining archives.
    pretraining_epochs, pretraining_batch_size : int
    pretraining_lr : float
        The peak learning rate.
    target_images : int
        About one and a half a patient.
    test_fraction : float
        Share of the target's patients that are scored.
    sets, set_patients : int
        Disjoint sets of training patients, and the patients of each.
    ridge : float
        Inverse strength of the penalty of the logistic regression on standardised features.
    least_advantage : float
        The positive control's lower limit must lie above it, the negative control's limits within it on both sides.
    seed : int
        Of images and networks.
    device : str or None
        cpu, cuda or cuda:N; by default a GPU where there is one.
    tuned : bool
        Tune the networks as well: the grid of recipes within each set of training patients.
    tuned_sets : int
        How many of the sets, the first ones: each takes 33 trainings of every network.
    tuned_epochs, tuned_batch_size : int
    tuned_recipes : tuple of str
        Names in `--search`'s grid; empty for all.
    """

    size: int = 48
    margin: float = 0.25
    pretraining_images: int = 6000
    pretraining_epochs: int = 6
    pretraining_batch_size: int = 64
    pretraining_lr: float = 0.02
    target_images: int = 3000
    test_fraction: float = 0.6
    sets: int = 10
    set_patients: int = 40
    ridge: float = 1e-3
    least_advantage: float = 0.05
    seed: int = field(default=0, metadata={"min": 0, "max": 2**31 - 1})
    device: str | None = None
    tuned: bool = False
    tuned_sets: int = 5
    tuned_epochs: int = 8
    tuned_batch_size: int = 16
    tuned_recipes: tuple[str, ...] = ()
