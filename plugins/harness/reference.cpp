#include "reference.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <numeric>

namespace harness {
namespace {

const double kPi = std::acos(-1.0);

double sigmoid(double x) { return x >= 0.0 ? 1.0 / (1.0 + std::exp(-x)) : std::exp(x) / (1.0 + std::exp(x)); }
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }
double gelu(double x) { return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0))); }

// out (outs, rows, columns): the zero-padded correlation of image (ins, rows, columns) with a kernel
// (outs, ins, k, k), plus bias.
std::vector<double> convolve(const std::vector<double> &image, int64_t ins, int64_t rows, int64_t columns,
                             const std::vector<double> &kernel, const std::vector<double> &bias, int64_t k) {
  const int64_t outs = static_cast<int64_t>(bias.size()), half = k / 2;
  std::vector<double> out(static_cast<size_t>(outs * rows * columns));
  for (int64_t o = 0; o < outs; ++o) {
    double *const plane = &out[static_cast<size_t>(o * rows * columns)];
    std::fill_n(plane, rows * columns, bias[static_cast<size_t>(o)]);
    for (int64_t c = 0; c < ins; ++c)
      for (int64_t i = 0; i < k; ++i)
        for (int64_t j = 0; j < k; ++j) {
          // One tap over the places where it meets the image.
          const double tap = kernel[static_cast<size_t>(((o * ins + c) * k + i) * k + j)];
          const int64_t down = i - half, right = j - half;
          const int64_t first = std::max<int64_t>(0, -right), last = std::min(columns, columns - right);
          for (int64_t r = std::max<int64_t>(0, -down); r < std::min(rows, rows - down); ++r) {
            const double *const from = &image[static_cast<size_t>((c * rows + r + down) * columns)];
            for (int64_t q = first; q < last; ++q)
              plane[r * columns + q] += tap * from[q + right];
          }
        }
  }
  return out;
}

// Where sample t of a channel lies in a window.
struct Place {
  int64_t t, channel;
  int64_t operator()(int64_t at_t, int64_t at_channel) const { return at_t * t + at_channel * channel; }
};

// |rfft| of a window, the mean over channels, bins 0 to l / 2; the first sample comes off each channel, which
// bins above 0 do not see.
std::vector<double> amplitudes(const double *x, int64_t l, int64_t c, const Place &place) {
  std::vector<double> a(static_cast<size_t>(l / 2 + 1));
  std::vector<std::complex<double>> turns(static_cast<size_t>(l));
  for (int64_t t = 0; t < l; ++t)
    turns[static_cast<size_t>(t)] =
        std::polar(1.0, -2.0 * kPi * static_cast<double>(t) / static_cast<double>(l));
  for (int64_t bin = 1; bin <= l / 2; ++bin)
    for (int64_t channel = 0; channel < c; ++channel) {
      double real = 0.0, imaginary = 0.0;
      for (int64_t t = 0; t < l; ++t) {
        const std::complex<double> &turn = turns[static_cast<size_t>(bin * t % l)];
        const double value = x[place(t, channel)] - x[place(0, channel)];
        real += value * turn.real();
        imaginary += value * turn.imag();
      }
      a[static_cast<size_t>(bin)] += std::hypot(real, imaginary) / static_cast<double>(c);
    }
  return a;
}

} // namespace

ScanCase make_scan(std::mt19937_64 &random, const ScanSizes &s, const ScanFlags &flags, Type type) {
  std::normal_distribution<double> normal;
  const auto plain = [&] { return normal(random); };
  // Without a softplus the step sizes themselves must not be negative, or states grow without bound.
  const auto step = [&] {
    return flags.delta_softplus ? normal(random) - 1.0 : 0.3 * std::fabs(normal(random));
  };
  // Numbers of a row that are no part of the tensor are large: whoever reads one is seen.
  const auto part = [&](int64_t width, int64_t offset, auto value) {
    const int64_t row = offset + width + (offset ? 3 : 0);
    int64_t place = 0;
    return make({s.b, s.l, row}, type, [&] {
      const int64_t at = place++ % row - offset;
      return at >= 0 && at < width ? value() : 3e4;
    });
  };
  ScanCase c{flags, type, s.b, s.l, s.d, s.g, s.n, {}};
  c.in.push_back(make({s.b, s.l, s.d}, type, plain));
  c.in.push_back(make({s.b, s.l, s.d}, type, step));
  c.in.push_back(make({s.d, s.n}, Type::kFloat32, [&] { return -std::exp(normal(random)); }));
  c.in.push_back(part(s.g * s.n, flags.B_offset, plain));
  c.in.push_back(part(s.g * s.n, flags.C_offset, plain));
  c.in.push_back(make({s.d}, Type::kFloat32, plain));
  c.in.push_back(make({s.d}, Type::kFloat32, step));
  c.in.push_back(make({s.state_batch, s.d, s.n}, Type::kFloat32, plain));
  if (flags.has_z)
    c.in.push_back(part(s.d, flags.z_offset, [&] { return 3.0 * normal(random); }));
  return c;
}

ScanResult scan(const ScanCase &c) {
  const auto at = [](const Array &a, int64_t i) { return a.v[static_cast<size_t>(i)]; };
  const Array &u = c.in[0], &delta = c.in[1], &A = c.in[2], &B = c.in[3], &C = c.in[4], &D = c.in[5],
              &bias = c.in[6], &initial = c.in[7];
  ScanResult result;
  result.y.resize(u.v.size());
  result.last_state.resize(static_cast<size_t>(c.b * c.d * c.n));
  std::vector<double> h(static_cast<size_t>(c.n));
  for (int64_t b = 0; b < c.b; ++b)
    for (int64_t d = 0; d < c.d; ++d) {
      const int64_t group = d / (c.d / c.g), first = initial.desc.dims[0] == 1 ? 0 : b;
      for (int64_t n = 0; n < c.n; ++n)
        h[static_cast<size_t>(n)] = at(initial, (first * c.d + d) * c.n + n);
      for (int64_t step = 0; step < c.l; ++step) {
        const int64_t t = c.flags.reverse ? c.l - 1 - step : step, row = b * c.l + t, here = row * c.d + d;
        double dt = at(delta, here) + at(bias, d), y = at(D, d) * at(u, here), term = std::fabs(y);
        if (c.flags.delta_softplus)
          dt = softplus(dt);
        for (int64_t n = 0; n < c.n; ++n) {
          const int64_t map = group * c.n + n;
          double &state = h[static_cast<size_t>(n)];
          const double input = dt * at(B, row * B.desc.dims[2] + c.flags.B_offset + map) * at(u, here);
          state = std::exp(dt * at(A, d * c.n + n)) * state + input;
          const double seen = at(C, row * C.desc.dims[2] + c.flags.C_offset + map) * state;
          y += seen;
          term = std::max(term, std::fabs(seen));
          result.state_term = std::max(result.state_term, std::fabs(input));
        }
        if (c.flags.has_z) {
          const double z = at(c.in[8], row * c.in[8].desc.dims[2] + c.flags.z_offset + d);
          y *= z * sigmoid(z);
          term *= std::fabs(z * sigmoid(z));
        }
        result.y[static_cast<size_t>(here)] = y;
        result.y_term = std::max(result.y_term, term);
      }
      std::copy(h.begin(), h.end(), result.last_state.begin() + (b * c.d + d) * c.n);
    }
  return result;
}

MstbCase make_mstb(std::mt19937_64 &random, const MstbSizes &s, const MstbFlags &flags, Type type) {
  std::normal_distribution<double> normal;
  const auto scaled = [&](int64_t fan) {
    return [&random, &normal, fan] { return normal(random) / std::sqrt(static_cast<double>(fan)); };
  };
  MstbCase c{flags, type, s.b, s.l, s.c, s.f, s.k, {}};
  const Dims window = flags.channel_first ? Dims{s.b, s.c, s.l} : Dims{s.b, s.l, s.c};
  c.in.push_back(make(window, Type::kFloat32, [&] { return normal(random) + 5.0; }));
  c.in.push_back(make({s.f, s.c, s.k, s.k}, type, scaled(s.c * s.k * s.k)));
  c.in.push_back(make({s.f}, Type::kFloat32, scaled(1)));
  c.in.push_back(make({s.c, s.f, s.k, s.k}, type, scaled(s.f * s.k * s.k)));
  c.in.push_back(make({s.c}, Type::kFloat32, scaled(1)));
  return c;
}

MstbResult mstb(const MstbCase &c) {
  const std::vector<double> &x = c.in[0].v;
  MstbResult result{x, std::numeric_limits<double>::infinity()};
  for (double value : x)
    result.y_term = std::max(result.y_term, std::fabs(value));
  const int64_t last = c.flags.max_bin ? c.flags.max_bin : c.l / 2;
  const Place place = c.flags.channel_first ? Place{1, c.l} : Place{c.c, 1};
  for (int64_t b = 0; b < c.b; ++b) {
    const double *window = &x[static_cast<size_t>(b * c.l * c.c)];
    const std::vector<double> a = amplitudes(window, c.l, c.c, place);
    std::vector<int64_t> bins(static_cast<size_t>(last - c.flags.min_bin + 1));
    std::iota(bins.begin(), bins.end(), c.flags.min_bin);
    const auto amplitude = [&](size_t i) { return a[static_cast<size_t>(bins[i])]; };
    std::stable_sort(bins.begin(), bins.end(), [&](int64_t p, int64_t q) {
      return a[static_cast<size_t>(p)] > a[static_cast<size_t>(q)];
    });
    const size_t top_k = static_cast<size_t>(c.flags.top_k);
    const double largest = *std::max_element(a.begin(), a.end());
    if (bins.size() > top_k && largest > 0.0)
      result.gap = std::min(result.gap, (amplitude(top_k - 1) - amplitude(top_k)) / largest);

    std::vector<double> weights(top_k);
    double total = 0.0, most = -std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < top_k; ++i)
      most = std::max(most, static_cast<double>(c.flags.amplitude_scale) * amplitude(i));
    for (size_t i = 0; i < top_k; ++i) {
      weights[i] = c.flags.weighting == 1
                       ? std::exp(static_cast<double>(c.flags.amplitude_scale) * amplitude(i) - most)
                       : amplitude(i);
      total += weights[i];
    }
    for (size_t i = 0; i < top_k; ++i) {
      const double weight = total > 0.0 ? weights[i] / total : 1.0 / static_cast<double>(top_k);
      const int64_t period = (c.l + (c.flags.round_down ? 0 : bins[i] - 1)) / bins[i];
      const int64_t rows = (c.l + period - 1) / period;
      std::vector<double> fold(static_cast<size_t>(c.c * rows * period));
      for (int64_t t = 0; t < c.l; ++t)
        for (int64_t channel = 0; channel < c.c; ++channel)
          fold[static_cast<size_t>(channel * rows * period + t)] = window[place(t, channel)];
      std::vector<double> hidden = convolve(fold, c.c, rows, period, c.in[1].v, c.in[2].v, c.k);
      for (double &h : hidden)
        h = gelu(h);
      const std::vector<double> seen = convolve(hidden, c.f, rows, period, c.in[3].v, c.in[4].v, c.k);
      for (int64_t t = 0; t < c.l; ++t)
        for (int64_t channel = 0; channel < c.c; ++channel)
          result.y[static_cast<size_t>(b * c.l * c.c + place(t, channel))] +=
              weight * seen[static_cast<size_t>(channel * rows * period + t)];
    }
  }
  return result;
}

} // namespace harness
