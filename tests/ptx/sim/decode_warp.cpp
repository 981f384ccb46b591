// Barriers, and instructions that a warp's lanes execute together.
#include <map>

#include "decoder.h"
#include "execute.h"

namespace ptx {

// bar.sync 0; bar.red.or.pred p, 0, q. All threads of a block: named barriers and counts are refused.
void Decoder::barrier() {
  Instruction i = guarded_;
  if (op_ == "bar.warp.sync") {
    need(1);
    i.kind = Kind::kWarp;
    i.execute = execute_nothing;
    i.orders = true;
    i.in[i.ins++] = source(args_[0], 4, false);
    return b_.emit(i);
  }
  i.kind = Kind::kBarrier;
  i.aligned = parts_[0] == "bar" || op_.find(".aligned") != std::string::npos;
  const bool reduces = op_.find(".red.") != std::string::npos;
  if (!reduces && op_.find(".sync") == std::string::npos)
    refuse("a barrier that is not known here");
  need(reduces ? 3 : 1);
  if (args_[reduces ? 1 : 0] != "0")
    refuse("a barrier other than 0, of all threads,");
  if (reduces) {
    const bool population = op_.find(".popc.") != std::string::npos;
    i.reduce = population                              ? Reduce::kPopulation
               : op_.find(".or.") != std::string::npos ? Reduce::kOr
                                                       : Reduce::kAnd;
    i.in[i.ins++] = source(args_[2], kPredicate, false);
    i.out[i.outs++] = sink(args_[0], population ? 4 : kPredicate);
  }
  b_.emit(i);
}

bool Decoder::collective() {
  const std::string &name = parts_[0];
  if (starts_with(op_, "shfl.sync."))
    shuffle();
  else if (starts_with(op_, "vote.sync."))
    vote();
  else if (starts_with(op_, "match.") || starts_with(op_, "redux.sync."))
    match_or_reduce();
  else if (op_ == "activemask.b32") {
    need(1);
    Instruction i = guarded_;
    i.execute = execute_active;
    i.out[i.outs++] = sink(args_[0], 4);
    b_.emit(i);
  } else if (name == "shfl" || name == "vote") {
    refuse("an instruction without .sync");
  } else {
    return false;
  }
  return true;
}

// shfl.sync.bfly.b32 d|p, a, b, c, members.
void Decoder::shuffle() {
  static const std::map<std::string, Shuffle> modes = {{"up", Shuffle::kUp},
                                                       {"down", Shuffle::kDown},
                                                       {"bfly", Shuffle::kButterfly},
                                                       {"idx", Shuffle::kIndex}};
  need(5);
  const auto mode = modes.find(parts_.at(2));
  if (mode == modes.end())
    refuse("a shuffle");
  Instruction i = guarded_;
  i.kind = Kind::kWarp;
  i.execute = execute_shuffle;
  i.target = static_cast<uint32_t>(mode->second);
  const std::vector<std::string> outs = split(args_[0], '|');
  i.out[i.outs++] = sink(outs[0], 4);
  if (outs.size() > 1)
    i.out[i.outs++] = sink(outs[1], kPredicate);
  for (const int arg : {4, 1, 2, 3})
    i.in[i.ins++] = source(args_[static_cast<size_t>(arg)], 4, false);
  b_.emit(i);
}

// vote.sync.any.pred p, q, members; vote.sync.ballot.b32 d, q, members.
void Decoder::vote() {
  static const std::map<std::string, Vote> modes = {
      {"all", Vote::kAll}, {"any", Vote::kAny}, {"uni", Vote::kUniform}, {"ballot", Vote::kBallot}};
  need(3);
  const auto mode = modes.find(parts_.at(2));
  if (mode == modes.end())
    refuse("a vote");
  Instruction i = guarded_;
  i.kind = Kind::kWarp;
  i.execute = execute_vote;
  i.target = static_cast<uint32_t>(mode->second);
  i.out[i.outs++] = sink(args_[0], mode->second == Vote::kBallot ? 4 : kPredicate);
  i.in[i.ins++] = source(args_[2], 4, false);
  i.in[i.ins++] = source(args_[1], kPredicate, false);
  b_.emit(i);
}

// match.any.sync.b32 d, a, members; match.all.sync.b32 d|p, a, members; redux.sync.add.s32 d, a, members.
void Decoder::match_or_reduce() {
  static const std::map<std::string, Together> modes = {
      {"match.any.sync.b32", Together::kMatchAny},  {"match.all.sync.b32", Together::kMatchAll},
      {"redux.sync.add.s32", Together::kAdd},       {"redux.sync.add.u32", Together::kAdd},
      {"redux.sync.min.u32", Together::kMin},       {"redux.sync.max.u32", Together::kMax},
      {"redux.sync.min.s32", Together::kSignedMin}, {"redux.sync.max.s32", Together::kSignedMax},
      {"redux.sync.and.b32", Together::kAnd},       {"redux.sync.or.b32", Together::kOr},
      {"redux.sync.xor.b32", Together::kXor}};
  need(3);
  const auto mode = modes.find(op_);
  if (mode == modes.end())
    refuse("an instruction that is not known here");
  Instruction i = guarded_;
  i.kind = Kind::kWarp;
  i.execute = execute_together;
  i.target = static_cast<uint32_t>(mode->second);
  const std::vector<std::string> outs = split(args_[0], '|');
  i.out[i.outs++] = sink(outs[0], 4);
  if (outs.size() > 1)
    i.out[i.outs++] = sink(outs[1], kPredicate);
  i.in[i.ins++] = source(args_[2], 4, false);
  i.in[i.ins++] = source(args_[1], 4, false);
  b_.emit(i);
}

} // namespace ptx
