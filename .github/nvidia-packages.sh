#!/bin/sh
# CUDA's compiler, its Arm libraries and TensorRT's headers, from NVIDIA's apt source, on the x86-64 Ubuntu of a release.
#
#   nvidia-packages.sh 12.6 aarch64 10.3.0.26-1+cuda12.5     JetPack 6.2, Ubuntu 22.04
#   nvidia-packages.sh 13.2 sbsa 10.16.1.11-1+cuda13.2       JetPack 7.2, Ubuntu 24.04
#
# JetPack 7.2 has 10.16.2, whose packages are for Arm alone: the plugins need the headers only, and those of one TensorRT
# serve every other from 10.0.1 on.
set -eu
cuda=$(echo "$1" | tr . -) cross=$2 tensorrt=$3
# shellcheck source=/dev/null
. /etc/os-release
source=https://developer.download.nvidia.com/compute/cuda/repos/ubuntu$(echo "$VERSION_ID" | tr -d .)
key="cuda-keyring_1.1-1_all.deb"
cd "$(mktemp -d)"
curl --fail --silent --show-error --location --remote-name "$source/x86_64/$key"
dpkg -i "$key"
echo "deb [signed-by=/usr/share/keyrings/cuda-archive-keyring.gpg] $source/cross-linux-$cross/ /" \
    > /etc/apt/sources.list.d/cuda-cross.list
apt-get -q update
apt-get -q -y --no-install-recommends install cmake g++ g++-aarch64-linux-gnu \
    "cuda-nvcc-$cuda" "cuda-cudart-dev-$cuda" "cuda-cross-$cross-$cuda" "libnvinfer-headers-dev=$tensorrt"
