#!/usr/bin/env bash
# Sets up `.venv` for `make`: Debian packages that FFCV is built against, a virtual environment, the versions of
# constraints.txt and fastrad itself (editable). Does nothing where all that is already there.
#
#   PYTHON=python3.12   the interpreter (else the newest of CPython 3.11 to 3.13 on the PATH)
#   TORCH_INDEX=URL     take torch and torchvision from this package index (for an older driver, say); later calls
#                       stay with it
#   WHEELS=DIR          take every package from this folder and use no network (`make wheels` fills one)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
venv=$root/.venv
ready=$venv/fastrad-ready           # says what the finished environment was made from
unfinished=$venv/fastrad-unfinished # there while packages are being installed

say() { echo "set-up: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

python_version() { # of interpreter $1, "3.12" say; nothing where it does not run or is not CPython
    "$1" -c 'import platform, sys
if platform.python_implementation() == "CPython": print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

supported() { [[ $1 == 3.11 || $1 == 3.12 || $1 == 3.13 ]]; }

find_python() { # sets `python`, or leaves it empty; `unsupported` collects what was seen
    python='' unsupported=''
    local name version
    for name in python3.13 python3.12 python3.11 python3 python; do
        version=$(python_version "$name")
        if supported "$version"; then
            python=$(command -v "$name")
            return
        fi
        [[ -z $version ]] || unsupported+="${unsupported:+, }$name is $version"
    done
}

install_packages() { # Debian packages, or one line that says how
    command -v apt-get >/dev/null || fail "missing here: $*; install what these Debian packages hold, then call make again"
    local command="apt-get install -y --no-install-recommends $*"
    [[ $(id -u) == 0 ]] || fail "Debian packages are missing; run: sudo $command   (then call make again)"
    say "installing Debian packages: $*"
    apt-get update -q || say "apt-get update failed; going on with the package lists at hand"
    DEBIAN_FRONTEND=noninteractive $command </dev/null || fail "the Debian packages could not be installed: $command"
}

choose_python() { # sets `python`; leaves it empty where Debian's own is still to be installed
    local version
    if [[ -n ${PYTHON:-} ]]; then
        version=$(python_version "$PYTHON")
        [[ -n $version ]] || fail "PYTHON=$PYTHON is not a CPython that runs"
        supported "$version" || fail "PYTHON=$PYTHON is CPython $version; fastrad needs 3.11, 3.12 or 3.13"
        python=$(command -v "$PYTHON")
        return
    fi
    find_python
    [[ -n $python || -z $unsupported ]] || fail "no CPython 3.11, 3.12 or 3.13 on the PATH ($unsupported); \
install one and name it: PYTHON=/path/to/python3.12 make ..."
}

lacking() { # the Debian packages that interpreter `python` lacks for a virtual environment and for building FFCV
    local version tool
    version=$(python_version "$python")
    for tool in $("$python" -c 'import os, sysconfig
try: import ensurepip, venv
except ImportError: print("venv")
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")): print("dev")'); do
        [[ $(readlink -f "$python") == /usr/bin/* ]] ||
            fail "$python lacks ${tool/dev/its C headers (Python.h)}; install it whole, or choose another: PYTHON=... make ..."
        echo "python$version-$tool"
    done
}

check_system() { # what the virtual environment and the build of FFCV need from the system
    local missing
    if [[ -n $python ]]; then missing=$(lacking); else missing='python3 python3-venv python3-dev'; fi
    command -v g++ >/dev/null || missing+=' g++'
    command -v pkg-config >/dev/null || missing+=' pkg-config'
    pkg-config --exists opencv4 2>/dev/null || missing+=' libopencv-dev'
    pkg-config --exists libturbojpeg 2>/dev/null || missing+=' libturbojpeg0-dev'
    [[ -z $missing ]] || install_packages $missing
    [[ -n $python ]] || choose_python
    [[ -n $python ]] || fail "Debian's python3 was installed but does not run"
}

make_venv() {
    say "making .venv with CPython $(python_version "$python") ($python)"
    rm -rf "$venv"
    mkdir "$venv"
    touch "$unfinished"
    "$python" -m venv "$venv" || fail "the virtual environment could not be made with $python -m venv"
}

pip_install() { "$venv/bin/python" -m pip install --no-input "${source[@]}" "$@"; }

pinned() { sed -n "s/^$1==\([^ ]*\).*/\1/p" constraints.txt; }

install_torch_from_index() { # both from the one index; what they need may come from the ordinary one as well
    # Another build of torch brings CUDA libraries of its own choice, so these pins are dropped.
    local family='(torch|torchvision|triton|cuda-[a-z]+|nvidia-(cu|nccl|nvjitlink|nvshmem|nvtx)[a-z0-9-]*)'
    grep -v -E "^$family==" constraints.txt >"$constraints"
    say "taking torch and torchvision from $TORCH_INDEX"
    pip_install --no-deps --index-url "$TORCH_INDEX" "torch==$(pinned torch)" "torchvision==$(pinned torchvision)" || {
        say "the pinned torch $(pinned torch) with torchvision $(pinned torchvision) is not there; taking the newest that is"
        pip_install --no-deps --index-url "$TORCH_INDEX" torch torchvision ||
            fail "torch and torchvision could not be installed from $TORCH_INDEX"
    }
    "$venv/bin/python" -m pip freeze | grep -E '^torch(vision)?==' >>"$constraints"
    source+=(--extra-index-url "$TORCH_INDEX")
}

install() {
    local source=() constraints=.venv/constraints.txt # relative: pip takes a blank in this path for a second file
    cp constraints.txt "$constraints"
    if [[ -n ${WHEELS:-} ]]; then
        [[ -d $WHEELS ]] || fail "WHEELS=$WHEELS is not a folder; fill one with \`make wheels\` where there is a network"
        source=(--no-index --find-links "$(readlink -f "$WHEELS")")
        [[ ! -e $WHEELS/constraints.txt ]] || cp "$WHEELS/constraints.txt" "$constraints"
    fi
    # By environment, because pip's own build environments (FFCV's) must see them too.
    export PIP_CONSTRAINT=$constraints PIP_BUILD_CONSTRAINT=$constraints
    say "installing packages into .venv (about 8 GB and some minutes the first time)"
    pip_install "pip==$(pinned pip)" "setuptools==$(pinned setuptools)" || fail "pip could not be brought to its pinned version"
    [[ -z ${TORCH_INDEX:-} ]] || install_torch_from_index
    pip_install --editable '.[all]' || fail "the packages could not be installed; pip says above which one and why"
    # FFCV asks for opencv-python, which fills the same cv2 folder but needs a display's libraries: ours goes last.
    pip_install --no-deps --force-reinstall "opencv-python-headless==$(pinned opencv-python-headless)" ||
        fail "opencv-python-headless could not be installed"
    "$venv/bin/python" -c 'import torchvision, cv2, ffcv, nvidia.dali, fastrad' ||
        fail "the packages are installed but cannot be imported together; see above"
}

exec 9<"$root/tools/setup.sh"
flock 9 # two makes at once: the second finds the work done

[[ -n ${TORCH_INDEX:-} ]] || TORCH_INDEX=$(sed -n 's/^torch index //p' "$ready" 2>/dev/null || true)

made_from() {
    echo "folder $root"
    echo "torch index ${TORCH_INDEX:-}"
    cat setup.py constraints.txt tools/setup.sh | sha256sum
}

reusable() { # `.venv` is whole, of the Python asked for, and its torch from the right index: bring it up to date in place
    local version
    [[ -x $venv/bin/python && ! -e $unfinished ]] || return 1
    version=$(python_version "$venv/bin/python")
    supported "$version" || return 1
    [[ -z ${PYTHON:-} || $(python_version "$PYTHON") == "$version" ]] || return 1
    [[ ! -e $ready || $(head -n 2 "$ready") == "$(made_from | head -n 2)" ]]
}

if reusable; then
    [[ ! -e $ready || $(cat "$ready") != "$(made_from)" ]] || exit 0
    python=$venv/bin/python
    check_system
    rm -f "$ready"
    touch "$unfinished"
else
    choose_python
    check_system
    make_venv
fi
install
made_from >"$ready"
rm "$unfinished"
say "done"
