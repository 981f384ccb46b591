"""Found by child processes of tests through PYTHONPATH: see tests/fakes/tensorrt.py, ``install``."""

import os

if "FAKE_TENSORRT" in os.environ:
    from tests.fakes.tensorrt import install_from_environment

    install_from_environment()
