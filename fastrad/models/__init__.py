"""ResNets with a one-channel stem, and what is kept of them.

In: a number of classes, or a weights file. Out: a network in `channels_last`, a safetensors file, files for others.

    resnet.py     the networks, under torchvision's parameter names
    weights.py    weights in and out, checked; how a network starts from them
    card.py       the model card of weights
    export.py     weights for torchvision, timm and ONNX
"""

# the programs that weights can be exported for; here, so that the command line knows them without torch
TARGETS = ("torchvision", "timm", "onnx")
