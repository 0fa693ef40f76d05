from __future__ import annotations

import json

import pytest

from fastrad.errors import InputError
from fastrad.loading import Augmentation
from fastrad.train.config import SIZE_STEP, Recipe, changed_settings, load_recipe, recipe_names, settings_of


def test_every_recipe_loads_and_survives_being_shown(tmp_path):
    names = recipe_names()
    assert {"rn18-16", "rn18-32", "rn18-88"} <= set(names)
    for name in names:
        recipe = load_recipe(name)
        (tmp_path / "shown.toml").write_text(recipe.to_toml())
        assert load_recipe(str(tmp_path / "shown.toml")) == recipe


def test_a_table_says_what_may_happen_to_a_training_image_and_survives_being_shown(tmp_path):
    table = "scale = false\nratio = [1, 1.5]\nflip_vertical = true\nmax_rotation = 15\nspeckle = 0.1\nerase = 0.25\n"
    (tmp_path / "mine.toml").write_text(f"epochs = 3\n[augment]\n{table}")
    recipe = load_recipe(str(tmp_path / "mine.toml"))
    augment = Augmentation(scale=None, ratio=(1.0, 1.5), flip_vertical=True, max_rotation=15.0, speckle=0.1, erase=0.25)
    assert recipe == Recipe(epochs=3, augment=augment)
    (tmp_path / "shown.toml").write_text(recipe.to_toml())
    assert load_recipe(str(tmp_path / "shown.toml")) == recipe


def test_without_a_table_the_record_is_that_of_earlier_versions_and_with_one_it_names_it():
    plain = settings_of(Recipe(), 1, "float32", "aa", "bb")
    assert list(plain) == [
        *("epochs", "batch_size", "size", "first_size", "last_size", "lr", "warmup", "momentum", "weight_decay"),
        *("label_smoothing", "clip_norm", "ema", "sampling", "flip_average", "seed", "precision", "train", "val"),
    ]
    rotated = settings_of(Recipe(augment=Augmentation(max_rotation=10.0)), 1, "float32", "aa", "bb")
    assert changed_settings(plain, rotated) == ["another augmentation"]
    assert json.loads(json.dumps(rotated)) == rotated  # so that a folder's record equals what is asked again


def test_a_recipe_file_of_ones_own_is_read(tmp_path):
    (tmp_path / "mine.toml").write_text('epochs = 3\nlr = 1\nsampling = "balanced"\n')
    recipe = load_recipe(str(tmp_path / "mine.toml"))
    assert (recipe.epochs, recipe.lr, recipe.sampling) == (3, 1.0, "balanced")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epoch = 3", "'epoch' is no value.*epochs"),
        ("epochs = 3.5", "epochs is 3.5; int"),
        ("epochs = true", "epochs is True; int"),
        ("epochs = 0", "epochs is 0"),
        ('sampling = "random"', "natural, balanced"),
        ("epochs = ", "not TOML"),
        ("augment = 3", r"augment is 3; a table \[augment\]"),
        ("[augment]\nrotation = 3", r"\[augment\]: 'rotation' is no value.*max_rotation"),
        ("[augment]\nscale = 0.5", "scale is 0.5; a list of 2 numbers"),
        ("[augment]\nratio = [1, 2, 3]", "ratio is .*; a list of 2 numbers"),
        ("[augment]\nscale = [0.5, true]", "scale is True; float"),
        ("[augment]\nerase = 2.0", "erase is 2.0"),
    ],
)
def test_what_is_no_recipe_is_one_clear_line(tmp_path, text, says):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(InputError, match=says):
        load_recipe(str(tmp_path / "bad.toml"))


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(InputError, match="rn18-16"):
        load_recipe("resnet50")


def test_training_sizes_grow_to_the_last_in_few_steps_and_stay_there():
    recipe = Recipe(epochs=16, size=224, first_size=128, last_size=192)
    sizes = [recipe.training_size(epoch) for epoch in range(16)]
    assert sizes[0] == 128
    assert sizes[-4:] == [192] * 4
    assert sizes == sorted(sizes)
    assert all(size % 16 == 0 for size in sizes)
    assert {Recipe(epochs=5, size=50).training_size(epoch) for epoch in range(5)} == {50}


def test_the_peak_rate_follows_the_batch():
    assert Recipe(lr=0.5, batch_size=1024).peak_lr == 2.0


def test_no_training_size_is_zero():
    recipe = Recipe(size=32, first_size=8, last_size=32, epochs=4)
    assert min(recipe.training_size(epoch) for epoch in range(4)) == SIZE_STEP
