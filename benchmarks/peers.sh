#!/bin/sh
# Make the environment in which the loaders are compared: fastrad with FFCV and DALI, and its peers, all pinned.
# usage: benchmarks/peers.sh [FOLDER]      (default: .peers beside this repository's Makefile; about 6 GB)
# A peer that cannot be installed is left out with a line that says so; the benchmark lists it with that reason.
set -eu
cd "$(dirname "$0")/.."
folder=${1:-.peers}
[ -x "$folder/bin/python" ] || "${PYTHON:-python3}" -m venv "$folder"
pip="$folder/bin/python -m pip install --quiet --disable-pip-version-check"
export PIP_CONSTRAINT="$PWD/constraints.txt" PIP_BUILD_CONSTRAINT="$PWD/constraints.txt"
index=${TORCH_INDEX:+--extra-index-url $TORCH_INDEX}
$pip pip setuptools wheel
# shellcheck disable=SC2086
$pip $index torch torchvision
# shellcheck disable=SC2086
$pip $index -e '.[ffcv,dali]'
# boto3, which two of the peers bring along, refuses the newest dateutil
grep -v '^python-dateutil==' constraints.txt >"$folder/constraints.txt"
export PIP_CONSTRAINT="$folder/constraints.txt"
grep -v '^#' benchmarks/peers.txt | while read -r peer; do
    # shellcheck disable=SC2086
    $pip $index "$peer" || echo "peers.sh: $peer could not be installed" >&2
done
"$folder/bin/python" -m pip list --format=freeze --exclude-editable >"$folder/versions.txt"
echo "peers: $folder/bin/python"
