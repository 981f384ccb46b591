"""Settings of the package; the build system of jetson-containers runs this with ``package`` defined."""

# CUDA's calls for Python and TensorRT come with the packages that this one depends on.
package["build_args"] = {"EXTRAS": "cpu,live"}  # noqa: F821
