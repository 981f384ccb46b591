// A warp's instructions. Lanes that diverge are groups with a place each; they become one again where they
// meet.
#include "execute.h"
#include "findings.h"
#include "settings.h"

namespace ptx {
namespace {

[[gnu::cold, gnu::noinline]] void tell_unwritten(Warp &w, uint32_t pc, Mask lanes) {
  tell(w, pc, __builtin_ctz(lanes), Fault::kRegister, "reads a register that it never wrote");
}

inline void check_registers(Warp &w, const Instruction &i, uint32_t pc, Mask lanes, Mask active) {
  if (i.guarded)
    if (const Mask bad = lanes & ~w.written[i.guard.reg])
      tell_unwritten(w, pc, bad);
  for (int n = 0; n < i.ins; ++n)
    if (i.in[n].reg != Operand::kNone)
      if (const Mask bad = active & ~w.written[i.in[n].reg])
        tell_unwritten(w, pc, bad);
  for (int n = 0; n < i.outs; ++n)
    w.written[i.out[n].reg] |= active;
}

// The group behind goes first, so that the others wait where they meet; at times another one does.
int choose(const Warp &w) {
  int behind = -1;
  uint32_t free = 0;
  for (int g = 0; g < static_cast<int>(w.groups.size()); ++g)
    if (w.groups[g].wait == Wait::kNone) {
      ++free;
      if (behind < 0 || w.groups[g].pc < w.groups[behind].pc)
        behind = g;
    }
  if (free < 2 || !settings().divergence || random_number(4))
    return behind;
  uint32_t nth = random_number(free);
  for (int g = 0; g < static_cast<int>(w.groups.size()); ++g)
    if (w.groups[g].wait == Wait::kNone && nth-- == 0)
      return g;
  return behind;
}

// Lanes that wait for others of their warp which will not come.
bool let_go(Warp &w) {
  bool any = false;
  for (Group &g : w.groups)
    if (g.wait == Wait::kWarp) {
      tell(w, g.pc, __builtin_ctz(g.lanes), Fault::kWarp,
           "its mask names lanes that do not come here: they wait elsewhere or take another way");
      g.wait = Wait::kNone;
      g.forced = any = true;
    }
  return any;
}

class Runner {
public:
  Runner(Warp &w, size_t pick) : w_(w), code_(w.kernel->code.data()), pick_(pick) {
    const Group &g = w.groups[pick];
    pc_ = g.pc;
    lanes_ = g.lanes;
    for (const Group &other : w.groups)
      if (other.pc > pc_ && other.wait != Wait::kBlock)
        meets_ = std::min(meets_, other.pc);
  }

  void run(int64_t &quantum) {
    const bool checked = settings().check;
    uint64_t *executed = w_.kernel->executed.data();
    while (!stopped_ && quantum-- > 0) {
      const Instruction &i = code_[pc_];
      Mask m = lanes_;
      if (i.guarded) {
        const Mask p = *w_.at<Mask>(i.guard);
        m &= i.negated ? ~p : p;
      }
      ++executed[pc_];
      if (checked)
        check_registers(w_, i, pc_, lanes_, m);
      if (i.kind == Kind::kPlain) {
        if (m)
          i.execute(w_, i, m);
        ++pc_;
      } else {
        other(i, m);
      }
      stopped_ |= pc_ == meets_;
    }
    Group &g = w_.groups[pick_];
    g.pc = pc_;
    g.lanes = lanes_;
    if (!lanes_)
      w_.groups.erase(w_.groups.begin() + static_cast<long>(pick_));
  }

private:
  void other(const Instruction &i, Mask m) {
    switch (i.kind) {
    case Kind::kBranch:
      branch(i.target, m);
      break;
    case Kind::kTable:
      table(i, m);
      break;
    case Kind::kBarrier:
      part(pc_ + 1, lanes_ & ~m);
      if (lanes_)
        w_.groups[pick_].wait = Wait::kBlock;
      stopped_ = true;
      break;
    case Kind::kWarp:
      together(i, m);
      break;
    default: // kExit
      w_.alive &= ~m;
      lanes_ &= ~m;
      ++pc_;
      stopped_ = true;
      if (m)
        for (Group &g : w_.groups) // they may have waited for these lanes
          if (g.wait == Wait::kWarp)
            g.wait = Wait::kNone;
    }
  }

  // Some lanes go on elsewhere as a group of their own.
  void part(uint32_t pc, Mask lanes) {
    if (!lanes)
      return;
    lanes_ &= ~lanes;
    w_.groups.push_back({pc, lanes});
    stopped_ = true;
  }

  void branch(uint32_t target, Mask m) {
    if (m == lanes_) {
      pc_ = target;
      stopped_ = w_.groups.size() > 1;
      return;
    }
    part(target, m);
    ++pc_;
  }

  void table(const Instruction &i, Mask m) {
    const std::vector<uint32_t> &targets = w_.kernel->tables[i.target];
    const auto *index = w_.at<uint32_t>(i.in[0]);
    for (int lane = 0; lane < kLanes; ++lane) {
      if (!(m >> lane & 1))
        continue;
      if (index[lane] >= targets.size())
        tell(w_, pc_, lane, Fault::kBounds, "an indirect branch past its table");
      else
        part(targets[index[lane]], 1u << lane);
    }
    ++pc_;
    stopped_ = true;
  }

  // Lanes with the same mask go on when all that it names, and that have not left the kernel, are here.
  void together(const Instruction &i, Mask m) {
    part(pc_ + 1, lanes_ & ~m);
    const auto *members = w_.at<uint32_t>(i.in[0]);
    Mask done = 0;
    for (Mask rest = m; rest;) {
      const Mask named = members[__builtin_ctz(rest)];
      Mask same = 0;
      for (Mask r = rest; r; r &= r - 1)
        same |= members[__builtin_ctz(r)] == named ? r & -r : 0;
      rest &= ~same;
      if ((named & w_.alive & ~same) && !w_.groups[pick_].forced)
        continue;
      if (const Mask gone = named & w_.started & ~w_.alive)
        tell(w_, pc_, __builtin_ctz(same), Fault::kWarp,
             "its mask names lane " + std::to_string(__builtin_ctz(gone)) + ", which has left the kernel");
      if (same & ~named)
        tell(w_, pc_, __builtin_ctz(same & ~named), Fault::kWarp, "its mask does not name the lane itself");
      i.execute(w_, i, same);
      if (i.orders)
        w_.clock.synchronise(same);
      done |= same;
    }
    w_.groups[pick_].forced = false;
    if (done == lanes_) {
      ++pc_;
      return;
    }
    part(pc_ + 1, done);
    if (lanes_)
      w_.groups[pick_].wait = Wait::kWarp;
    stopped_ = true;
  }

  Warp &w_;
  const Instruction *code_;
  size_t pick_;
  uint32_t pc_, meets_ = ~0u;
  Mask lanes_;
  bool stopped_ = false;
};

} // namespace

void merge(Warp &w) {
  for (size_t a = 0; a < w.groups.size(); ++a)
    for (size_t b = a + 1; b < w.groups.size();) {
      Group &one = w.groups[a], &other = w.groups[b];
      if (one.pc != other.pc || (one.wait == Wait::kBlock) != (other.wait == Wait::kBlock)) {
        ++b;
        continue;
      }
      one.lanes |= other.lanes;
      if (one.wait == Wait::kWarp) // one more lane may be what it waited for
        one.wait = Wait::kNone;
      other = w.groups.back();
      w.groups.pop_back();
    }
}

bool run_warp(Warp &w, int64_t &quantum) {
  while (quantum > 0) {
    const int pick = choose(w);
    if (pick < 0) {
      if (!let_go(w))
        return false;
      continue;
    }
    Runner(w, static_cast<size_t>(pick)).run(quantum);
    merge(w);
  }
  return true;
}

} // namespace ptx
