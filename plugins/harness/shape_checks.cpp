// Shapes, types and formats: what a plugin answers while a network is built, and what it refuses.
#include <functional>

#include "expr.h"
#include "plugin.h"
#include "run.h"

namespace harness {

using nvinfer1::DataType;
using nvinfer1::TensorFormat;

namespace {

const ScanFlags kAllScan[] = {{false, true, false, false},
                              {true, true, false, false},
                              {false, false, true, true},
                              {true, true, true, true}};
const ScanFlags kParts{true, true, false, true, 4, 14, 6}; // B, C and z as parts of wider rows
const MstbFlags kMstbFlags{3, 1, 0, 0, 1.0f}, kChannelFirst{3, 1, 0, 0, 1.0f, true};

struct Node {
  std::string op;
  Fields fields;
  std::vector<Desc> in, out;
};

Node scan_node(const ScanFlags &flags, const ScanSizes &s, Type type) {
  Node node{kScan, fields(flags, s.g), {}, {{{s.b, s.l, s.d}, type}}};
  const Type f32 = Type::kFloat32;
  node.in = {{{s.b, s.l, s.d}, type},
             {{s.b, s.l, s.d}, type},
             {{s.d, s.n}, f32},
             {{s.b, s.l, flags.B_offset + s.g * s.n}, type},
             {{s.b, s.l, flags.C_offset + s.g * s.n}, type},
             {{s.d}, f32},
             {{s.d}, f32},
             {{s.state_batch, s.d, s.n}, f32}};
  if (flags.has_z)
    node.in.push_back({{s.b, s.l, flags.z_offset + s.d}, type});
  if (flags.return_last_state)
    node.out.push_back({{s.b, s.d, s.n}, f32});
  return node;
}

Node mstb_node(const MstbFlags &flags, const MstbSizes &s, Type type) {
  const Type f32 = Type::kFloat32;
  const Dims window = flags.channel_first ? Dims{s.b, s.c, s.l} : Dims{s.b, s.l, s.c};
  return {
      kMstb,
      fields(flags),
      {{window, f32}, {{s.f, s.c, s.k, s.k}, type}, {{s.f}, f32}, {{s.c, s.f, s.k, s.k}, type}, {{s.c}, f32}},
      {{window, type}}};
}

// Every node the checks look at, with T as given.
std::vector<Node> nodes(Type type) {
  std::vector<Node> all;
  for (const ScanFlags &flags : kAllScan)
    for (int64_t state_batch : {1, 3})
      all.push_back(scan_node(flags, {3, 7, 6, 2, 5, state_batch}, type));
  all.push_back(scan_node(kParts, {3, 7, 6, 2, 5, 3}, type));
  for (const MstbFlags &flags : {kMstbFlags, kChannelFirst})
    all.push_back(mstb_node(flags, {3, 33, 4, 6, 11}, type));
  return all;
}

std::string describe_node(const Node &node) {
  return node.op + " with " + std::to_string(node.in.size()) + " inputs, " + std::to_string(node.out.size()) +
         " outputs, " + text(node.in.back().dims);
}

// What becomes of the size `axis` of input `input`: a constant, or a symbol of that value.
using IsSymbol = std::function<bool(size_t input, size_t axis)>;

void check_output_shapes(Checks &checks, const Library &library, const Node &node, const IsSymbol &is_symbol,
                         const std::string &what) {
  Plugin plugin = library.create(node.op, &node.fields);
  if (!checks.expect(static_cast<bool>(plugin), describe_node(node) + ": not created"))
    return;
  checks.expect(plugin.outputs() == static_cast<int32_t>(node.out.size()), describe_node(node) + ": outputs");
  ExprBuilder builder;
  std::vector<int64_t> symbols;
  std::vector<nvinfer1::DimsExprs> in(node.in.size()), out(node.out.size());
  for (size_t i = 0; i < in.size(); ++i) {
    in[i].nbDims = static_cast<int32_t>(node.in[i].dims.size());
    for (size_t axis = 0; axis < node.in[i].dims.size(); ++axis) {
      const int64_t size = node.in[i].dims[axis];
      if (is_symbol(i, axis)) {
        in[i].d[axis] = builder.symbol(static_cast<int64_t>(symbols.size()));
        symbols.push_back(size);
      } else {
        in[i].d[axis] = builder.constant_of(size);
      }
    }
  }
  if (!checks.expect(plugin.shapes(in, out, builder), describe_node(node) + ": shapes refused, " + what))
    return;
  for (size_t i = 0; i < out.size(); ++i) {
    const Dims &wanted = node.out[i].dims;
    if (!checks.expect(out[i].nbDims == static_cast<int32_t>(wanted.size()),
                       describe_node(node) + ": rank, " + what))
      continue;
    for (size_t axis = 0; axis < wanted.size(); ++axis) {
      const auto *size = static_cast<const Expr *>(out[i].d[axis]);
      const std::string where = describe_node(node) + ": output " + std::to_string(i) + " size " +
                                std::to_string(axis) + ", " + what;
      if (!checks.expect(size != nullptr, where + " is null"))
        continue;
      checks.expect(size->value(symbols) == wanted[axis], where);
      if (symbols.empty())
        checks.expect(size->isConstant(), where + " is not constant");
    }
  }
}

// A node whose the sizes do not match, and one of the same attributes that does.
struct Misfit {
  std::string what;
  Node node, good;
};

std::vector<Misfit> misfits() {
  std::vector<Misfit> all;
  const Type type = Type::kFloat32;
  const Node good_scan = scan_node(kAllScan[3], {3, 7, 6, 2, 5, 3}, type);
  const auto scan = [&](const std::string &what, size_t input, const Dims &dims) {
    Node node = good_scan;
    node.in[input].dims = dims;
    all.push_back({"scan: " + what, node, good_scan});
  };
  scan("u of rank 2", 0, {3, 42});
  scan("delta of another l", 1, {3, 8, 6});
  scan("delta of another b", 1, {2, 7, 6});
  scan("A of another d", 2, {7, 5});
  scan("B of another n", 3, {3, 7, 8});
  scan("B of one group", 3, {3, 7, 5});
  scan("B with an axis for groups", 3, {3, 7, 2, 5});
  scan("C of fewer groups", 4, {3, 7, 9});
  scan("D of another d", 5, {7});
  scan("delta_bias of another d", 6, {5});
  scan("a state for 2 of 3", 7, {2, 6, 5});
  scan("a state of another n", 7, {3, 6, 4});
  scan("z of another l", 8, {3, 6, 6});
  scan("z of a smaller d", 8, {3, 7, 5});
  const Node good_parts = scan_node(kParts, {3, 7, 6, 2, 5, 3}, type);
  const auto parts = [&](const std::string &what, size_t input, int64_t row) {
    Node node = good_parts;
    node.in[input].dims[2] = row;
    all.push_back({"scan: " + what, node, good_parts});
  };
  parts("B_offset and B past the end of a row", 3, 13);
  parts("C_offset and C past the end of a row", 4, 23);
  parts("z_offset and z past the end of a row", 8, 11);
  all.push_back({"scan: groups that do not divide d", scan_node(kAllScan[3], {3, 7, 6, 4, 5, 3}, type),
                 scan_node(kAllScan[3], {3, 7, 8, 4, 5, 3}, type)});
  all.push_back({"scan: 257 states", scan_node(kAllScan[3], {1, 2, 2, 1, 257, 1}, type), good_scan});

  const Node good_mstb = mstb_node(kMstbFlags, {3, 33, 4, 6, 3}, type);
  const auto mstb = [&](const std::string &what, size_t input, const Dims &dims) {
    Node node = good_mstb;
    node.in[input].dims = dims;
    all.push_back({"mstb: " + what, node, good_mstb});
  };
  mstb("x of rank 4", 0, {3, 33, 4, 1});
  mstb("w1 for other channels", 1, {6, 5, 3, 3});
  mstb("w1 that is not square", 1, {6, 4, 3, 5});
  mstb("b1 of another f", 2, {7});
  mstb("w2 of another f", 3, {4, 5, 3, 3});
  mstb("w2 of another k", 3, {4, 6, 5, 5});
  mstb("b2 of another c", 4, {5});
  for (int64_t k : {2, 4, 17})
    all.push_back(
        {"mstb: k of " + std::to_string(k), mstb_node(kMstbFlags, {1, 33, 2, 2, k}, type), good_mstb});
  for (int64_t l : {1, 2, 5})
    all.push_back({"mstb: 3 periods of l " + std::to_string(l), mstb_node(kMstbFlags, {1, l, 2, 2, 3}, type),
                   good_mstb});
  Node turned = mstb_node(kChannelFirst, {3, 33, 4, 6, 3}, type);
  turned.in[0].dims = {3, 33, 4};
  all.push_back({"mstb: x channel-last where channel_first is 1", turned,
                 mstb_node(kChannelFirst, {3, 33, 4, 6, 3}, type)});
  const MstbFlags band{2, 1, 17, 0, 1.0f};
  all.push_back({"mstb: a band past l / 2", mstb_node(band, {3, 33, 4, 6, 3}, type),
                 mstb_node(band, {3, 40, 4, 6, 3}, type)});
  return all;
}

// Refused when told of the shapes (IPluginV3) and by enqueue, with a message each; nothing is written.
void check_misfit(Checks &checks, const Library &library, const Misfit &misfit) {
  const auto &[what, node, good] = misfit;
  Plugin made = library.create(node.op, &node.fields);
  if (!checks.expect(static_cast<bool>(made), what + ": not created"))
    return;
  made.configure(node.in, node.out, false);
  Plugin restored = library.restore(node.op, made.serialised());
  Plugin plugin = restored ? restored.attach() : Plugin(nullptr);
  if (!checks.expect(static_cast<bool>(plugin), what + ": not attached"))
    return;
  checks.expect(plugin.shape_change(good.in, good.out), what + ": shapes that fit are refused");
  library.messages();
  checks.expect(!plugin.shape_change(node.in, node.out), what + ": onShapeChange takes it");
  checks.expect(!library.messages().empty(), what + ": onShapeChange says nothing");
  std::vector<Array> in;
  for (const Desc &desc : node.in)
    in.push_back({desc, std::vector<double>(static_cast<size_t>(volume(desc.dims)))});
  Bench bench(in, node.out);
  bench.give_workspace(1 << 20);
  bench.poison();
  checks.expect(!plugin.enqueue(bench.call()), what + ": enqueue takes it");
  bench.stream().wait();
  checks.expect(!library.messages().empty(), what + ": enqueue says nothing");
  checks.expect(bench.untouched(), what + ": something was written");
}

// A pointer that should be there and is not.
void check_null_pointers(Checks &checks, const Library &library, const Node &node) {
  Plugin made = library.create(node.op, &node.fields);
  if (!checks.expect(static_cast<bool>(made), describe_node(node) + ": not created"))
    return;
  Plugin plugin = made.attach();
  if (!checks.expect(static_cast<bool>(plugin), describe_node(node) + ": not attached"))
    return;
  checks.expect(plugin.shape_change(node.in, node.out), describe_node(node) + ": shapes refused");
  std::vector<Array> in;
  for (const Desc &desc : node.in)
    in.push_back({desc, std::vector<double>(static_cast<size_t>(volume(desc.dims)))});
  Bench bench(in, node.out);
  bench.give_workspace(1 << 20);
  bench.poison();
  for (size_t i = 0; i < node.in.size() + node.out.size(); ++i) {
    Call call = bench.call();
    if (i < node.in.size())
      call.inputs[i] = nullptr;
    else
      call.outputs[i - node.in.size()] = nullptr;
    library.messages();
    checks.expect(!plugin.enqueue(call), describe_node(node) + ": a null for tensor " + std::to_string(i));
    checks.expect(!library.messages().empty(), describe_node(node) + ": nothing said of a null");
  }
  bench.stream().wait();
  checks.expect(bench.untouched(), describe_node(node) + ": something was written");
}

bool is_float32(const Node &node, size_t position) {
  if (node.op == kMstb)
    return position == 0 || position == 2 || position == 4;
  return position == 2 || (position >= 5 && position <= 7) || position == node.in.size() + 1;
}

// Every type and every format at every position, the positions before it as they were accepted; what stands
// behind is not settled yet and may be anything.
void check_node_formats(Checks &checks, const Library &library, const Node &node, Type type) {
  Plugin plugin = library.create(node.op, &node.fields);
  if (!checks.expect(static_cast<bool>(plugin), describe_node(node) + ": not created"))
    return;
  const int32_t inputs = static_cast<int32_t>(node.in.size());
  std::vector<Desc> descs = node.in;
  descs.insert(descs.end(), node.out.begin(), node.out.end());
  bool settled = false; // whether a T tensor stands before
  for (size_t position = 0; position < descs.size(); ++position) {
    std::vector<nvinfer1::DynamicPluginTensorDesc> all;
    for (size_t i = 0; i < descs.size(); ++i) {
      all.push_back(describe_range(descs[i], true));
      if (i > position) {
        all[i].desc.type = DataType::kINT32;
        all[i].desc.format = TensorFormat::kHWC;
      }
    }
    const bool float32 = is_float32(node, position);
    for (int32_t t = 0; t < nvinfer1::EnumMax<DataType>(); ++t)
      for (int32_t f = 0; f < nvinfer1::EnumMax<TensorFormat>(); ++f) {
        all[position].desc.type = static_cast<DataType>(t);
        all[position].desc.format = static_cast<TensorFormat>(f);
        const DataType given = all[position].desc.type;
        bool wanted = given == (float32 ? DataType::kFLOAT : data_type(type));
        if (!float32 && !settled)
          for (const Type any : kTypes)
            wanted |= given == data_type(any);
        wanted &= f == static_cast<int32_t>(TensorFormat::kLINEAR);
        checks.expect(plugin.supports(static_cast<int32_t>(position), all, inputs) == wanted,
                      describe_node(node) + ": T " + name(type) + ", position " + std::to_string(position) +
                          ", type " + std::to_string(t) + ", format " + std::to_string(f) +
                          (wanted ? " is refused" : " is accepted"));
      }
    settled |= !float32;
  }
  std::vector<nvinfer1::DynamicPluginTensorDesc> all;
  for (const Desc &desc : descs)
    all.push_back(describe_range(desc, true));
  all.erase(all.begin() + inputs - 1);
  checks.expect(!plugin.supports(0, all, inputs - 1), describe_node(node) + ": an input less is accepted");
}

} // namespace

void check_shapes(Checks &checks, const Library &library) {
  checks.group("shapes of outputs, dynamic and static");
  for (const Node &node : nodes(Type::kFloat32)) {
    check_output_shapes(checks, library, node, [](size_t, size_t) { return false; }, "all static");
    check_output_shapes(checks, library, node, [](size_t, size_t) { return true; }, "all dynamic");
    // Weights and states of one batch are constants; b and l are not.
    const auto batch_and_length = [&](size_t i, size_t axis) {
      const Dims &first = node.in[0].dims, &dims = node.in[i].dims;
      return dims.size() >= 3 && dims[0] == first[0] && (axis == 0 || (axis == 1 && dims[1] == first[1]));
    };
    check_output_shapes(checks, library, node, batch_and_length, "b and l dynamic");
  }
  checks.group("shapes that do not fit");
  for (const Misfit &misfit : misfits())
    check_misfit(checks, library, misfit);
  for (const Node &node : nodes(Type::kFloat32))
    check_null_pointers(checks, library, node);
  for (Node node : nodes(Type::kFloat32)) {
    Plugin plugin = library.create(node.op, &node.fields);
    ExprBuilder builder;
    std::vector<nvinfer1::DimsExprs> in(node.in.size()), out(node.out.size());
    for (nvinfer1::DimsExprs &dims : in) {
      dims.nbDims = 2;
      dims.d[0] = dims.d[1] = builder.constant_of(4);
    }
    checks.expect(plugin && !plugin.shapes(in, out, builder),
                  describe_node(node) + ": shapes of rank 2 everywhere");
    in.pop_back();
    checks.expect(plugin && !plugin.shapes(in, out, builder),
                  describe_node(node) + ": shapes of an input less");
  }
  library.messages();
}

void check_types(Checks &checks, const Library &library) {
  checks.group("types of outputs");
  for (const Type type : kTypes) {
    for (const Node &node : nodes(type)) {
      Plugin plugin = library.create(node.op, &node.fields);
      std::vector<DataType> in, out(node.out.size(), DataType::kINT8);
      for (const Desc &desc : node.in)
        in.push_back(data_type(desc.type));
      if (!checks.expect(plugin && plugin.types(in, out), describe_node(node) + ": types refused"))
        continue;
      for (size_t i = 0; i < out.size(); ++i)
        checks.expect(out[i] == data_type(node.out[i].type),
                      describe_node(node) + ": type of output " + std::to_string(i));
    }
  }
}

void check_formats(Checks &checks, const Library &library) {
  checks.group("every type and format at every position");
  for (const Type type : kTypes)
    for (const Node &node : nodes(type))
      check_node_formats(checks, library, node, type);
  library.messages();
}

} // namespace harness
