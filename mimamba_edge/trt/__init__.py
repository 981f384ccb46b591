"""TensorRT on the device: plugin library, engine, runner. Imports tensorrt and cuda only inside functions."""
