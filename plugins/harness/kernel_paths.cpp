// The ways that a plan can take: sizes alone do not reach all of them on one device.
#include <thread>

#include "kernel_ops.h"
#include "run.h"

namespace harness {
namespace {

// A block may have so much in any launch; more only where the kernel was given leave.
constexpr int64_t kPlainShared = 48 * 1024;

ScanFlags scan_flags(int turn) {
  return {turn % 2 == 0, turn % 3 != 0, turn % 5 % 2 == 0, turn % 7 % 2 == 0};
}

// Every kernel of the scan: classes of n, segments of time, types.
void check_states(Checks &checks, const mimamba::Device &device) {
  checks.group("scan, every class of n, with and without segments of time");
  int turn = static_cast<int>(checks.random()() % 105);
  for (const int64_t n : {1, 2, 3, 6, 16, 31, 64, 100, 256})
    for (const int64_t segments : {1, 8, 16})
      if (segments == 1 || n <= mimamba::kScanSegmentedStates) {
        KernelOps ops(device, {segments});
        for (const Type type : kTypes)
          check_scan_case(checks, ops, {2, 75, 36, 2, n, 1 + ++turn % 2}, scan_flags(turn), type);
      }
}

// Devices that are not at hand: how the work is cut depends on their size, what comes out does not.
void check_devices(Checks &checks, const mimamba::Device &real) {
  checks.group("both ops as planned for devices of other sizes");
  int turn = static_cast<int>(checks.random()() % 105);
  for (const int32_t multiprocessors : {1, 8, 46, 160})
    for (const int64_t max_blocks : {1, 5, 1 << 30}) {
      mimamba::Device device = real;
      device.multiprocessors = multiprocessors;
      device.max_blocks = max_blocks;
      KernelOps ops(device);
      const Type type = kTypes[++turn % 3];
      check_scan_case(checks, ops, {2, 150, 40, 1, 16, 2}, scan_flags(turn), type);
      check_scan_case(checks, ops, {1, 1100, 8, 1, 16, 1}, scan_flags(turn + 1), type);
      check_mstb_case(checks, ops, {2, 65, 4, 20, 3}, {2, 1, 0, 0, 1.0f}, type);
    }
}

// Folded images in little, in much and in no shared memory; hidden channels in one group and in many.
void check_images(Checks &checks, const mimamba::Device &real) {
  checks.group("mstb, shared memory under and over 48 KB, images in the workspace, groups");
  const bool full = checks.extent() == Extent::kFull;
  std::vector<int64_t> ls{90, 520};
  if (full)
    ls = {90, 520, 1536, 2100, 4096};
  for (const int64_t l : ls)
    for (const int64_t k : {3, 11, 15}) {
      const MstbSizes sizes{1, l, 4, k == 3 ? 32 : 12, k};
      if (!full && l * k > 2000)
        continue;
      std::vector<std::unique_ptr<Ops>> ways;
      for (const int64_t groups : {0, 1, 2, 3})
        for (const bool in_workspace : {false, true})
          ways.push_back(std::make_unique<KernelOps>(real, Forced{0, groups, in_workspace}));
      for (const int64_t bytes : {int64_t{32 * 1024}, kPlainShared, int64_t{64 * 1024}}) {
        mimamba::Device device = real;
        device.shared_bytes = std::min(bytes, real.shared_bytes);
        ways.push_back(std::make_unique<KernelOps>(device));
      }
      const MstbFlags flags{2, 1, 0, 0, 1.0f};
      check_mstb_ways(checks, ways, sizes, flags, kTypes[static_cast<size_t>(l + k) % 3]);
    }
}

// One op on memory of its own, and what it answered when nothing else ran.
struct Alone {
  std::unique_ptr<Bench> bench;
  std::unique_ptr<Op> op;
  std::vector<uint8_t> answer;
};

Alone alone(Checks &checks, std::unique_ptr<Op> op, const std::vector<Array> &in,
            const std::vector<Desc> &out) {
  Alone made{std::make_unique<Bench>(in, out), std::move(op), {}};
  made.bench->give_workspace(made.op->workspace(made.bench->call()));
  checks.expect(made.bench->run(*made.op), "refused" + made.op->reason());
  made.answer = made.bench->bytes(0);
  made.bench->poison();
  return made;
}

Alone alone_mstb(Checks &checks, KernelOps &ops, int64_t l) {
  const MstbFlags flags{3, 1, 0, 0, 1.0f};
  const MstbCase c = make_mstb(checks.random(), {1, l, 4, 12, 11}, flags, Type::kFloat16);
  return alone(checks, ops.mstb(flags, {}), c.in, {{{c.b, c.l, c.c}, c.type}});
}

Alone alone_scan(Checks &checks, KernelOps &ops, int64_t l) {
  const ScanFlags flags{true, true, false, false};
  const ScanCase c = make_scan(checks.random(), {2, l, 36, 1, 16, 1}, flags, Type::kFloat16);
  return alone(checks, ops.scan(flags, 1, {}), c.in, {{{c.b, c.l, c.d}, c.type}});
}

// Limits of a kernel are the device's, not a launch's: one thread must not take them from another.
void check_threads(Checks &checks, const mimamba::Device &device) {
  checks.group("two threads launch different sizes at once");
  KernelOps ops(device, {0, 1, false});
  const int rounds = checks.extent() == Extent::kSmall ? 3 : 50;
  std::vector<Alone> all[2];
  for (const int i : {0, 1}) {
    all[i].push_back(alone_mstb(checks, ops, i ? 520 : 410));
    all[i].push_back(alone_scan(checks, ops, i ? 150 : 31));
  }
  int64_t refused[2] = {0, 0};
  const auto work = [&](size_t i) {
    for (int round = 0; round < rounds; ++round)
      for (const Alone &one : all[i])
        refused[i] += one.op->run(one.bench->call()) ? 0 : 1;
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  for (const int i : {0, 1}) {
    checks.expect(refused[i] == 0, "a launch was refused " + std::to_string(refused[i]) + " times");
    for (const Alone &one : all[i]) {
      one.bench->stream().wait();
      checks.expect(one.bench->bytes(0) == one.answer, "another answer than alone");
    }
  }
}

// More shared memory than the device has: refused by the runtime, and no concern of the next launch.
void check_failed_launch(Checks &checks, const mimamba::Device &real) {
  checks.group("a good launch after one that the device refused");
  mimamba::Device boastful = real;
  boastful.shared_bytes = int64_t{1} << 30;
  KernelOps wrong(boastful, {0, 1, false}), good(real);
  const MstbFlags flags{2, 1, 2, 0, 1.0f};
  const MstbCase c = make_mstb(checks.random(), {1, 8000, 4, 4, 3}, flags, Type::kFloat32);
  Bench bench(c.in, {{{c.b, c.l, c.c}, c.type}});
  const std::unique_ptr<Op> op = wrong.mstb(flags, bench.call());
  bench.give_workspace(op->workspace(bench.call()));
  for (int i = 0; i < 2; ++i) {
    checks.expect(!bench.run(*op), "a block with more shared memory than there is was started");
    check_scan_case(checks, good, {2, 37, 33, 1, 16, 2}, scan_flags(i), Type::kFloat32);
    check_mstb_case(checks, good, {2, 64, 4, 8, 3}, flags, Type::kFloat32);
  }
}

} // namespace

void check_paths(Checks &checks, const mimamba::Device &device) {
  check_states(checks, device);
  check_devices(checks, device);
  check_images(checks, device);
  check_threads(checks, device);
  check_failed_launch(checks, device);
}

} // namespace harness
