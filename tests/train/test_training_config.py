from __future__ import annotations

import tomllib

import pytest

from fastrad.errors import InputError
from fastrad.train.config import SIZE_STEP, Recipe, load_recipe, recipe_names


def test_every_recipe_loads_and_survives_being_shown():
    names = recipe_names()
    assert {"rn18-16", "rn18-32", "rn18-88"} <= set(names)
    for name in names:
        recipe = load_recipe(name)
        assert Recipe(**tomllib.loads(recipe.to_toml())) == recipe


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
