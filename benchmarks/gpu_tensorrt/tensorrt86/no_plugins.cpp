// Stands in for NVIDIA's plugin library, of which the parser of 8.6 asks for this one symbol. Local test
// set-up only.
extern "C" __attribute__((visibility("default"))) bool initLibNvInferPlugins(void *, char const *) {
  return true;
}
