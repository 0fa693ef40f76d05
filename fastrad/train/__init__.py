"""Trains networks; knows nothing of what the images show.

In: a dataset file, a recipe. Out: a run folder with weights; and the parts that a study's tuning uses as well.

    config.py        what a run is told: `Recipe` and `PretrainConfig`; recipe_file.py reads recipes from TOML
    run.py           what a run is: data, recipe, folder, ranks, signals
    pretrain.py      the loop, from top to bottom
    step.py          one step of the optimiser, for pretraining and for tuning; ema.py averages the weights over steps
    schedule.py      the optimisers and the learning rate of each step
    repeatable.py    the same bits each time on a GPU
    precision.py     bfloat16, float16 or float32: one rule
    ranks.py         one process a device
    outputs.py       what a network says of images; metrics.py what that is worth, intervals.py how sure that is
    evaluate.py      a pretrained network, read by pretrained.py, on a dataset that it has not seen
    checkpoint.py    what changes in a run, and its way into a file and back
    run_folder.py    what lies in a run's folder; products.py writes it, with pictures.py
    bench.py         how fast training is, and what it is made of
"""

from fastrad.train.config import PretrainConfig, Recipe

__all__ = ["PretrainConfig", "Recipe"]
