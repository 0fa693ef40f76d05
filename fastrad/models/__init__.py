"""ResNets with a one-channel stem; their weights in and out, model card and export."""
