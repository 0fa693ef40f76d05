"""The engines of the loader: each is given one step after another and hands back its images."""
