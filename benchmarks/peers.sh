#!/bin/sh
# Make the environment in which the loaders are compared: fastrad with FFCV and DALI, and its peers, all pinned.
# usage: benchmarks/peers.sh [FOLDER]      (default: .peers beside this repository's Makefile; about 8 GB)
# A peer that cannot be installed is left out with a line that says so; the benchmark lists it with that reason.
set -eu
cd "$(dirname "$0")/.."
folder=${1:-.peers}
[ -x "$folder/bin/python" ] || "${PYTHON:-python3}" -m venv "$folder"
folder=$(cd "$folder" && pwd)
install="-m pip install --quiet --disable-pip-version-check"
pip="$folder/bin/python $install"
# boto3, which two of the peers bring along, refuses the newest dateutil
grep -v '^python-dateutil==' constraints.txt >"$folder/constraints.txt"
export PIP_CONSTRAINT="$folder/constraints.txt" PIP_BUILD_CONSTRAINT="$PWD/constraints.txt"
index=${TORCH_INDEX:+--extra-index-url $TORCH_INDEX}
$pip pip setuptools wheel
# shellcheck disable=SC2086
$pip $index torch torchvision
# shellcheck disable=SC2086
$pip $index -e '.[ffcv,dali]'
grep -v '^#' benchmarks/peers.txt | while read -r first rest; do
    if [ "$first" != over ]; then
        # shellcheck disable=SC2086
        $pip $index "$first" || echo "peers.sh: $first could not be installed" >&2
        continue
    fi
    name=${rest%%=*}
    [ -x "$folder/over/$name/bin/python" ] || "$folder/bin/python" -m venv "$folder/over/$name"
    for packages in "$folder/over/$name"/lib/python3*/site-packages; do
        "$folder/bin/python" -c 'import site; print(f"import site; site.addsitedir({site.getsitepackages()[0]!r})")' >"$packages/common.pth"
    done
    # shellcheck disable=SC2086
    PIP_CONSTRAINT='' "$folder/over/$name/bin/python" $install $rest ||
        echo "peers.sh: $name could not be installed" >&2
done
"$folder/bin/python" -m pip list --format=freeze --exclude-editable >"$folder/versions.txt"
echo "peers: $folder/bin/python"
