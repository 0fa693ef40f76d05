# fastrad with FFCV compiled in and DALI, for NVIDIA GPUs (driver 580 or newer).
#
#   docker build -t fastrad .
#   mkdir -p ~/.config/fastrad
#   docker run --rm --gpus all --shm-size=8g --user "$(id -u):$(id -g)" \
#       -v /archives:/archives:ro -v "$PWD":/data -v ~/.config/fastrad:/config/fastrad \
#       fastrad convert radimagenet /archives/radiology_ai radimagenet
#
# The CUDA libraries come with torch's own wheels, so the image starts from the smallest CUDA base.
FROM nvidia/cuda:13.0.1-base-ubuntu24.04@sha256:f8ef28f579ea42a44b415d2c5d46f788e6a9b395c6c83f2929416e1fc192c143 AS build

ENV DEBIAN_FRONTEND=noninteractive
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        g++ libopencv-dev libturbojpeg0-dev pkg-config python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /source
COPY setup.py pyproject.toml constraints.txt README.md LICENSE ./
COPY fastrad fastrad
ENV PIP_CONSTRAINT=/source/constraints.txt \
    PIP_BUILD_CONSTRAINT=/source/constraints.txt \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
# FFCV pulls in opencv-python, which needs a display's libraries; the headless build fills the same folder.
# hadolint ignore=DL3013
RUN python3 -m venv /opt/fastrad \
    && /opt/fastrad/bin/python -m pip install --upgrade pip setuptools \
    && /opt/fastrad/bin/python -m pip install '.[ffcv,dali,audit,frozen]' \
    && /opt/fastrad/bin/python -m pip uninstall -y opencv-python \
    && /opt/fastrad/bin/python -m pip install --no-deps --force-reinstall opencv-python-headless


FROM nvidia/cuda:13.0.1-base-ubuntu24.04@sha256:f8ef28f579ea42a44b415d2c5d46f788e6a9b395c6c83f2929416e1fc192c143

ENV DEBIAN_FRONTEND=noninteractive
# What FFCV's compiled part links to; the patterns because Debian and Ubuntu name these packages differently.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        libgomp1 '^libopencv-imgproc406(t64)?$' '^libturbojpeg0?$' python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 fastrad \
    && install --directory --owner=fastrad --group=fastrad /data

COPY --from=build /opt/fastrad /opt/fastrad
# Caches go where any user id may write. The key of the pseudonyms must outlive the container: /config is mounted, and
# without it the conversion of an archive with patients stops instead of using up a key.
ENV PATH=/opt/fastrad/bin:$PATH \
    MPLCONFIGDIR=/tmp/fastrad-matplotlib \
    XDG_CACHE_HOME=/tmp/fastrad-cache \
    XDG_CONFIG_HOME=/config

USER 10001
WORKDIR /data
ENTRYPOINT ["fastrad"]
CMD ["--help"]
