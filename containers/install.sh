#!/bin/sh
# The steps that every image is made of. They need root and a Debian or an Ubuntu, and no Docker.
#
#   install.sh environment SOURCES EXTRAS [OPTION...]   first stage: /opt/mimamba-edge from a wheel of SOURCES;
#                                                       OPTIONs are those of `python3 -m venv`
#   install.sh system [PACKAGE...]                      last stage: Python, packages, the user, its folders
#   install.sh jetson RELEASE TENSORRT                  last stage: TensorRT as JetPack has it, from NVIDIA's apt source
set -eu
export DEBIAN_FRONTEND=noninteractive
HOME_OF_ENVIRONMENT=/opt/mimamba-edge
PLUGINS=/usr/local/lib/mimamba-edge
ID=10001
# SHA-256 of https://repo.download.nvidia.com/jetson/jetson-ota-public.asc, fingerprint
# 3C6D 1FF3 100C 8C3A BB08 69C0 E654 3461 A999 6195.
NVIDIA_KEY=576f852981855e5c6cfb9b625ffb51b984ca451f1181b2e70435b005034fad55

packages() {
    apt-get -q update
    apt-get -q -y --no-install-recommends install "$@"
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*
}

environment() {
    sources=$1 extras=$2
    shift 2
    packages python3 python3-venv ca-certificates
    python3 -m venv "$@" "$HOME_OF_ENVIRONMENT"
    pip="$HOME_OF_ENVIRONMENT/bin/python -m pip --disable-pip-version-check --no-cache-dir"
    $pip wheel -q --no-deps -w /tmp/wheel "$sources"
    # No versions are fixed here but those of pyproject.toml: constraints.txt is of the tests, on one Python.
    $pip install -q "$(echo /tmp/wheel/*.whl)[$extras]"
    # What this machine's owner built: libraries of BrainFlow for aarch64, say. It replaces what came from the index.
    for wheel in "$sources"/containers/add/*.whl; do
        if [ -e "$wheel" ]; then $pip install -q --force-reinstall --no-deps "$wheel"; fi
    done
    mkdir -p "$PLUGINS"
    for archive in "$sources"/containers/add/mimamba-plugin_*.tar.gz; do
        if [ -e "$archive" ]; then "$HOME_OF_ENVIRONMENT/bin/mimamba-edge" plugin install "$archive"; fi
    done
    # Libraries for other systems, tests of others and pip itself: nothing of the product reads them. But numpy.testing
    # of NumPy 2.2 (Python 3.10), which SciPy imports, reads numpy/_core/tests/_natype.py.
    find "$HOME_OF_ENVIRONMENT" \( -name '*.dll' -o -name '*.dylib' \) -delete
    find "$HOME_OF_ENVIRONMENT"/lib/python3*/site-packages/numpy "$HOME_OF_ENVIRONMENT"/lib/python3*/site-packages/scipy \
        -type f -path '*/tests/*' ! -name '_*.py' -delete
    $pip uninstall -q -y setuptools pip
}

system() {
    # libdbus: BrainFlow talks to BlueZ by it.
    packages python3 libdbus-1-3 "$@"
    groupadd --gid "$ID" mimamba
    useradd --uid "$ID" --gid "$ID" --no-create-home --home-dir /var/lib/mimamba-edge --shell /usr/sbin/nologin mimamba
    install -d -o "$ID" -g "$ID" -m 0700 /var/lib/mimamba-edge /var/cache/mimamba-edge
}

jetson() {
    release=$1 tensorrt=$2
    packages ca-certificates python3
    key=/usr/share/keyrings/nvidia-jetson.asc
    python3 -c 'import sys, urllib.request as u; sys.stdout.buffer.write(u.urlopen(sys.argv[1]).read())' \
        https://repo.download.nvidia.com/jetson/jetson-ota-public.asc > "$key"
    echo "$NVIDIA_KEY  $key" | sha256sum -c -
    echo "deb [signed-by=$key] https://repo.download.nvidia.com/jetson/common $release main" \
        > /etc/apt/sources.list.d/nvidia-jetson.list
    # `import tensorrt` is not tried here: what it needs of the board's driver is there only when the container runs.
    packages "libnvinfer10=$tensorrt" "libnvinfer-plugin10=$tensorrt" "libnvonnxparsers10=$tensorrt" \
        "python3-libnvinfer=$tensorrt"
}

step=${1:-}
case $step in
environment | system | jetson)
    shift
    "$step" "$@"
    ;;
*)
    echo "install.sh: no such step: '$step'; environment, system or jetson" >&2
    exit 2
    ;;
esac
