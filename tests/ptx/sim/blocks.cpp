// A launch: its blocks, a few at a time, their warps in random order; and the barriers of a block.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

#include "findings.h"
#include "settings.h"

namespace ptx {
namespace {

std::minstd_rand &engine() {
  static std::minstd_rand one;
  return one;
}

uint32_t instances = 0, launches = 0;

uint32_t special(int which, const Block &b, uint32_t thread) {
  const std::array<uint32_t, 3> &size = b.launch->block;
  const uint32_t id[3] = {thread % size[0], thread / size[0] % size[1], thread / size[0] / size[1]};
  if (which < kNtid)
    return id[which];
  if (which < kCtaid)
    return size[static_cast<size_t>(which - kNtid)];
  if (which < kNctaid)
    return b.id[static_cast<size_t>(which - kCtaid)];
  if (which < kLaneId)
    return b.launch->grid[static_cast<size_t>(which - kNctaid)];
  return which == kLaneId ? thread % kLanes : thread / kLanes;
}

void start_warp(Block &b, Kernel &k, int index, uint8_t *registers) {
  Warp &w = b.warps[static_cast<size_t>(index)];
  w.base[0] = registers + static_cast<size_t>(index) * k.register_bytes;
  w.base[1] = k.constants.data();
  w.block = &b;
  w.kernel = &k;
  w.index = index;
  w.written = &b.written[static_cast<size_t>(index) * (k.registers + 1)];
  w.clock = {};
  w.copies.clear();
  const uint32_t lanes = std::min<uint32_t>(kLanes, b.threads - static_cast<uint32_t>(index) * kLanes);
  w.started = w.alive = lanes == kLanes ? kAllLanes : (1u << lanes) - 1;
  w.groups.assign(1, {0, w.alive});
  for (const Special &s : k.specials) {
    w.written[s.at.reg] = kAllLanes;
    for (int lane = 0; lane < kLanes; ++lane)
      w.at<uint32_t>(s.at)[lane] = special(s.which, b, w.thread(lane));
  }
}

void start_block(Block &b, const Launch &launch, uint32_t number) {
  Kernel &k = *launch.kernel;
  b.launch = &launch;
  b.number = number;
  b.id = {number % launch.grid[0], number / launch.grid[0] % launch.grid[1],
          number / launch.grid[0] / launch.grid[1]};
  b.instance = ++instances;
  b.epoch = 1;
  b.threads = launch.block[0] * launch.block[1] * launch.block[2];
  const size_t warps = (b.threads + kLanes - 1) / kLanes;
  b.warps.resize(warps);
  b.registers.resize(warps * k.register_bytes + 64);
  b.written.assign(warps * (k.registers + 1), 0);
  b.shared.assign(b.shared_bytes() + 16, 0xff);
  b.local.assign(warps * kLanes * k.local_bytes, 0xee);
  b.local_written.assign(b.local.size(), 0);
  if (b.shadow.size() < b.shared_bytes() / k.least_shared + 1)
    b.shadow.resize(b.shared_bytes() / k.least_shared + 1);
  auto *registers =
      reinterpret_cast<uint8_t *>((reinterpret_cast<uintptr_t>(b.registers.data()) + 63) / 64 * 64);
  for (size_t i = 0; i < warps; ++i)
    start_warp(b, k, static_cast<int>(i), registers);
}

// What bar.red gives all threads.
void reduce(Block &b, const Instruction &i) {
  uint32_t yes = 0, all = 0;
  for (Warp &w : b.warps)
    for (const Group &g : w.groups) {
      yes += static_cast<uint32_t>(__builtin_popcount(*w.at<Mask>(i.in[0]) & g.lanes));
      all += static_cast<uint32_t>(__builtin_popcount(g.lanes));
    }
  const bool result = i.reduce == Reduce::kOr ? yes > 0 : yes == all;
  for (Warp &w : b.warps)
    for (const Group &g : w.groups) {
      if (i.reduce == Reduce::kPopulation) {
        for (int lane = 0; lane < kLanes; ++lane)
          if (g.lanes >> lane & 1)
            w.at<uint32_t>(i.out[0])[lane] = yes;
        continue;
      }
      Mask &out = *w.at<Mask>(i.out[0]);
      out = result ? out | g.lanes : out & ~g.lanes;
    }
}

// All threads that are left stand at a barrier: checks that it is one barrier for all, and lets them go.
void pass_barrier(Block &b) {
  const Warp *first = nullptr;
  uint32_t waiting = 0;
  bool parts = false, places = false;
  for (const Warp &w : b.warps)
    for (const Group &g : w.groups) {
      if (!first)
        first = &w;
      waiting += static_cast<uint32_t>(__builtin_popcount(g.lanes));
      places |= g.pc != first->groups[0].pc;
      parts |= g.lanes != w.alive;
    }
  const uint32_t pc = first->groups[0].pc;
  const int lane = __builtin_ctz(first->groups[0].lanes);
  if (waiting != b.threads)
    tell(*first, pc, lane, Fault::kBarrier,
         std::to_string(waiting) + " threads wait at a barrier, " + std::to_string(b.threads - waiting) +
             " have left the kernel");
  if (places)
    tell(*first, pc, lane, Fault::kBarrier, "threads of the block wait at different barriers");
  else if (parts)
    tell(*first, pc, lane, Fault::kBarrier, "a warp comes to the barrier in parts");
  const Instruction &i = first->kernel->code[pc];
  if (i.reduce != Reduce::kNone && !places)
    reduce(b, i);
  ++b.epoch;
  for (Warp &w : b.warps) {
    for (Group &g : w.groups) {
      g.wait = Wait::kNone;
      ++g.pc;
    }
    merge(w);
  }
}

// Whether the block has more to do.
bool advance(Block &b, int64_t &budget) {
  const bool in_turn = settings().seed == 0;
  const size_t warps = b.warps.size(), first = in_turn ? 0 : random_number(static_cast<uint32_t>(warps));
  bool moved = false, left = false;
  for (size_t n = 0; n < warps; ++n) {
    Warp &w = b.warps[(first + n) % warps];
    const auto most = static_cast<uint32_t>(settings().quantum);
    int64_t quantum = in_turn ? 1 << 20 : 1 + random_number(most);
    const int64_t given = quantum;
    moved |= run_warp(w, quantum);
    left |= !w.groups.empty();
    budget -= given - quantum;
  }
  if (left && !moved)
    pass_barrier(b);
  return left;
}

} // namespace

uint32_t random_number(uint32_t below) { return static_cast<uint32_t>((uint64_t{engine()()} * below) >> 31); }

void run(Launch &launch) {
  Kernel &k = *launch.kernel;
  ++k.launches;
  launch.first_instance = instances + 1;
  engine().seed(static_cast<uint32_t>(settings().seed * 1000003 + ++launches));
  std::vector<uint32_t> order(launch.grid[0] * launch.grid[1] * launch.grid[2]);
  std::iota(order.begin(), order.end(), 0u);
  if (settings().seed)
    std::shuffle(order.begin(), order.end(), engine());
  static std::vector<std::unique_ptr<Block>> &blocks = *new std::vector<std::unique_ptr<Block>>;
  int64_t budget = settings().budget;
  size_t next = 0, running = 0;
  while (next < order.size() || running > 0) {
    while (next < order.size() && running < static_cast<size_t>(settings().resident)) {
      if (blocks.size() == running)
        blocks.push_back(std::make_unique<Block>());
      start_block(*blocks[running++], launch, order[next++]);
    }
    const size_t which = settings().seed ? random_number(static_cast<uint32_t>(running)) : 0;
    if (!advance(*blocks[which], budget))
      std::swap(blocks[which], blocks[--running]);
    if (budget < 0) {
      tell(blocks[0]->warps[0], 0, 0, Fault::kHang,
           "the launch takes more instructions than the budget: it hangs");
      return;
    }
  }
}

} // namespace ptx
