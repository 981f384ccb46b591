// An op for the CPU that calls the places of ONNX Runtime's table that only ops for CUDA use, and says what
// does not answer as it should.
#include "ops.h"

namespace {

using namespace mimamba;

void need(bool holds, const char *what) {
  if (!holds)
    throw Refusal(std::string("probe: ") + what);
}

class Probe {
public:
  Probe(const ort::Api &api, const ort::KernelInfo *info, int) : api_(api) {
    check(api_.allocator(info, &allocator_));
    check(api_.memory_info(allocator_, &memory_));
    need(memory_, "memory_info");
    int number = -1;
    check(api_.device_number(memory_, &number));
    need(number == 0, "device_number");
  }
  ~Probe() { api_.release(allocator_); }

  ort::Status *compute(ort::KernelContext *context) {
    return guarded(api_, [&] {
      void *stream = this;
      check(api_.stream(context, &stream));
      need(!stream, "stream: there is none on a CPU");
      void *memory = this; // without a stream only nothing may be asked for
      check(api_.scratch(context, memory_, 0, &memory));
      need(!memory, "scratch");
      check(api_.free(allocator_, memory));
      float *y = static_cast<float *>(output(api_, context, 0, {1}));
      *y = 42.0f;
    });
  }

private:
  const ort::Api api_;
  ort::Allocator *allocator_ = nullptr;
  const ort::MemoryInfo *memory_ = nullptr;
};

TypedOp probe_op() {
  TypedOp op;
  op.name = [](const ort::CustomOp *) { return "Probe"; };
  op.inputs = [](const ort::CustomOp *) -> size_t { return 1; };
  op.outputs = op.inputs;
  op.input_type = [](const ort::CustomOp *, size_t) -> int { return ort::kFloat; };
  op.output_type = op.input_type;
  op.input_presence = [](const ort::CustomOp *, size_t) -> int { return ort::kRequired; };
  op.output_presence = op.input_presence;
  op.first_opset = [](const ort::CustomOp *) { return 1; };
  op.last_opset = op.first_opset;
  return with_kernel<Probe>(op);
}

} // namespace

extern "C" __attribute__((visibility("default"))) mimamba::ort::Status *
RegisterCustomOps(mimamba::ort::SessionOptions *options, const mimamba::ort::ApiBase *base) {
  const ort::Api api(base->get_api(ort::kApiVersion));
  return guarded(api, [&] {
    static const TypedOp op = probe_op();
    ort::CustomOpDomain *domain = nullptr;
    check(api.create_domain("mimamba", &domain));
    check(api.add_op(domain, &op));
    check(api.add_domain(options, domain));
  });
}
