// TransAct (concat fusion) for many candidates of one request: all layers of one candidate in the cache.
//
// The readable twin is the torch path of transact.py, which also prepares what is passed in: the first
// layer's share that is the same for all candidates, and weights in the order the products read them.
//
// One candidate at a time, a block of at most VECTORS * W tokens (lanes) at a time:
//   layer 0:  scores = shared[key][query] + bias[key]
//   later:    query = Wq x, key = x or Wk x, value = Wv x, scores = key' query
//   all:      x <- norm1(x + sum of softmax(scores) * value + constant); x <- norm2(x + W2 relu(W1 x + b1) + b2)
// The last layer leaves the first rows and the largest value of each feature.
#include <utility>

#include "lanes.hpp"

using namespace lanes;

extern "C" {

struct WaylineLayer {
  // left sides [step][row padded to ROWS], words; bias floats, padded the same. o and k are null where
  // one head lets them be multiplied into v and q.
  const uint32_t *q, *k, *v, *o, *w1, *w2;
  const float *q_bias, *o_bias, *b1, *b2, *gain1, *shift1, *gain2, *shift2;
  float epsilon1, epsilon2;
};

struct WaylineRequest {
  int32_t tokens;      // S >= 1
  int32_t width;       // d
  int32_t heads;       // H; head width is d where H = 1, else d / H
  int32_t hidden;      // of the feed-forward part
  int32_t layers;
  int32_t candidates;  // C
  int32_t first;       // rows of the output
  int32_t padded;      // S rounded up to W: the row length of what follows
  const float* shared;      // [H, S, padded]: layer 0 scores, key by query, times log2(e)
  const uint32_t* value;    // [H * head width padded to ROWS, padded / PAIR] words: layer 0 values
  const float* residual;    // [d, padded]: tokens without the candidate
  const float* bias;        // [C, H, S]: layer 0 scores of the candidate, times log2(e)
  const float* constant;    // [C, d]: what the candidate adds to every row's attention and residual
  const WaylineLayer* layer;
  float* rows;              // [C, rows_stride]: first * d floats are written
  float* largest;           // [C, d]
  int64_t rows_stride;
  int64_t* next;            // shared by all threads: the next candidate to take
};
}

namespace {

// Everything one candidate needs, in one allocation that is zero at first.
template <class Number>
struct Scratch {
  const WaylineRequest& request;
  int s, sp, d, head, ldv;
  char* memory = nullptr;
  uint32_t *x_in, *x_out, *key, *value, *query, *weight, *mixed, *hidden;
  float *x, *score;

  explicit Scratch(const WaylineRequest& r)
      : request(r), s(r.tokens), sp(r.padded), d(r.width), head(r.width / r.heads) {
    constexpr int LANE = VECTORS * W;
    ldv = sp / Number::PAIR;
    const int words = round_up(d, 2) / Number::PAIR + ROWS;
    const int keys = round_up(s, 2 * ROWS) + ROWS;
    size_t size[] = {
        size_t(words) * sp, size_t(words) * sp, size_t(words) * sp,            // x_in, x_out, key
        size_t(d + 2 * ROWS) * ldv, size_t(d + 2 * ROWS) * LANE,               // value, query
        size_t(keys) * LANE, size_t(d + 2 * ROWS) * LANE,                      // weight, mixed
        size_t(r.hidden + 2 * ROWS) * LANE, size_t(d + ROWS) * sp, size_t(keys) * LANE,
    };
    uint32_t** place[] = {&x_in, &x_out, &key, &value, &query, &weight, &mixed, &hidden,
                          reinterpret_cast<uint32_t**>(&x), reinterpret_cast<uint32_t**>(&score)};
    size_t total = 0;
    for (size_t& n : size) total += n = (n + 31) / 16 * 16;
    if (posix_memalign(reinterpret_cast<void**>(&memory), 64, total * 4)) memory = nullptr;
    if (!memory) return;
    std::memset(memory, 0, total * 4);
    uint32_t* at = reinterpret_cast<uint32_t*>(memory);
    for (int i = 0; i < 10; at += size[i], ++i) *place[i] = at;
  }
  ~Scratch() { std::free(memory); }
};

// Softmax over keys of score [keys][V * W] into weight; gives 1 / sum of each query.
template <class Number, int V>
LANES_INLINE void softmax(const float* score, ptrdiff_t ld, const float* bias, int keys,
                          uint32_t* weight, vf (&inverse)[V]) {
  constexpr int LD = V * W;
  vf top[V], sum[V];
  for (int v = 0; v < V; ++v) top[v] = spread(-3e38f), sum[v] = vf{};
  for (int j = 0; j < keys; ++j)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v)
      top[v] = larger(top[v], load(score + j * ld + v * W) + (bias ? bias[j] : 0.0f));
  for (int j = 0; j < keys; j += 2) {
    const bool last = j + 1 == keys;
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      const float* at = score + j * ld + v * W;
      const vf even =
          power_of_two<Number::ROUGH>(load(at) + (bias ? bias[j] : 0.0f) - top[v]);
      const vf odd = last ? vf{}
                          : power_of_two<Number::ROUGH>(load(at + ld) +
                                                        (bias ? bias[j + 1] : 0.0f) - top[v]);
      sum[v] += even + odd;
      Number::store_rows(weight + j / Number::PAIR * LD + v * W, LD, even, odd);
    }
  }
  for (int v = 0; v < V; ++v) inverse[v] = 1.0f / sum[v];
}

// LayerNorm of x [d][.. V * W lanes] from its sums, two rows at a time to `use(f, v, even, odd)`.
template <int V, class Use>
LANES_INLINE void normalise(const float* x, ptrdiff_t ld, int d, vf (&sum)[V], vf (&square)[V],
                            float epsilon, const float* gain, const float* shift, Use use) {
  vf mean[V], scale[V];
  for (int v = 0; v < V; ++v) {
    mean[v] = sum[v] * (1.0f / d);
    const vf variance = larger(square[v] * (1.0f / d) - mean[v] * mean[v], vf{});
    scale[v] = inverse_root(variance + epsilon);
  }
  for (int f = 0; f < d; f += 2)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      const bool last = f + 1 == d;
      const vf even = (load(x + f * ld + v * W) - mean[v]) * scale[v];
      const vf odd = last ? vf{} : (load(x + (f + 1) * ld + v * W) - mean[v]) * scale[v];
      use(f, v, even * gain[f] + shift[f], last ? vf{} : odd * gain[f + 1] + shift[f + 1]);
    }
}

// Keys and values of every token: needed whole before any query is answered.
template <class Number, int V>
void project(const WaylineLayer& layer, Scratch<Number>& t, int lane) {
  constexpr int P = Number::PAIR;
  const int d = t.d, rows = round_up(d, ROWS), steps = (d + P - 1) / P;
  const uint32_t* x = t.x_in + lane;
  multiply<Number, V>(d, steps, Columns{layer.v, rows}, x, t.sp, [&](int r0, auto& sums) {
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v)
        Number::store_lanes(t.value + (r0 + r) * t.ldv, lane + v * W, sums[r][v]);
  });
  if (!layer.k) return;
  multiply<Number, V>(d, steps, Columns{layer.k, rows}, x, t.sp, [&](int r0, auto& sums) {
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r += 2)
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v)
        Number::store_rows(t.key + (r0 + r) / P * t.sp + lane + v * W, t.sp, sums[r][v],
                           sums[r + 1][v]);
  });
}

// One layer of the tokens in lanes [lane, lane + V * W).
template <class Number, int V>
void encode(int depth, int c, Scratch<Number>& t, int lane) {
  constexpr int P = Number::PAIR, LD = V * W;
  const WaylineRequest& request = t.request;
  const WaylineLayer& layer = request.layer[depth];
  const int d = t.d, s = t.s, rows = round_up(d, ROWS), steps = (d + P - 1) / P;
  const bool folded = !layer.o;
  float* x = t.x + lane;
  const ptrdiff_t ld = t.sp;
  const float* before = depth ? x : request.residual + lane;  // what attention is added to
  const float* constant = depth ? layer.o_bias : request.constant + ptrdiff_t(c) * d;
  vf sum[V], square[V], inverse[V];
  for (int v = 0; v < V; ++v) sum[v] = square[v] = vf{};

  // adds a product's rows to the residual and keeps count for the LayerNorm
  const auto add_rows = [&](int r0, auto& sums, const float* residual, const float* add,
                            auto scale) {
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r)
      if (r0 + r < d)
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
          const ptrdiff_t at = (r0 + r) * ld + v * W;
          const vf y = scale(sums[r][v], v) + (load(residual + at) + add[r0 + r]);
          store(x + at, y);
          sum[v] += y;
          square[v] += y * y;
        }
  };
  const auto as_is = [](vf y, int) { return y; };
  const auto weighed = [&](vf y, int v) { return y * inverse[v]; };

  if (depth)
    multiply<Number, V>(d, steps, Columns{layer.q, rows}, t.x_in + lane, t.sp,
                        [&](int r0, auto& sums) {
#pragma GCC unroll 8
                          for (int r = 0; r < ROWS; r += 2)
#pragma GCC unroll 8
                            for (int v = 0; v < V; ++v)
                              Number::store_rows(t.query + (r0 + r) / P * LD + v * W, LD,
                                                 sums[r][v] + layer.q_bias[r0 + r],
                                                 sums[r + 1][v] + layer.q_bias[r0 + r + 1]);
                        });
  const uint32_t* keys = layer.k ? t.key : t.x_in;
  const uint32_t* values = depth ? t.value : request.value;
  for (int h = 0; h < request.heads; ++h) {
    const int head = t.head, first = h * head;
    if (depth) {
      multiply<Number, V>(s, (head + P - 1) / P, Columns{keys + first / P * t.sp, t.sp},
                          t.query + first / P * LD, LD, [&](int r0, auto& sums) {
#pragma GCC unroll 8
                            for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
                              for (int v = 0; v < V; ++v)
                                store(t.score + (r0 + r) * LD + v * W, sums[r][v]);
                          });
      softmax<Number, V>(t.score, LD, nullptr, s, t.weight, inverse);
    } else {
      softmax<Number, V>(request.shared + ptrdiff_t(h) * s * t.sp + lane, t.sp,
                         request.bias + (ptrdiff_t(c) * request.heads + h) * s, s, t.weight,
                         inverse);
    }
    multiply<Number, V>(
        head, (s + P - 1) / P, Rows{values + ptrdiff_t(first) * t.ldv, t.ldv}, t.weight, LD,
        [&](int r0, auto& sums) {
          if (folded) return add_rows(r0, sums, before, constant, weighed);
#pragma GCC unroll 8
          for (int r = 0; r < ROWS; r += 2)  // rows past the head are the next head's: it comes after
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v)
              Number::store_rows(t.mixed + (first + r0 + r) / P * LD + v * W, LD,
                                 sums[r][v] * inverse[v], sums[r + 1][v] * inverse[v]);
        });
  }
  if (!folded)
    multiply<Number, V>(d, steps, Columns{layer.o, rows}, t.mixed, LD, [&](int r0, auto& sums) {
      add_rows(r0, sums, before, constant, as_is);
    });

  normalise<V>(x, ld, d, sum, square, layer.epsilon1, layer.gain1, layer.shift1,
               [&](int f, int v, vf even, vf odd) {
                 store(x + f * ld + v * W, even);
                 if (f + 1 < d) store(x + (f + 1) * ld + v * W, odd);
                 Number::store_rows(t.query + f / P * LD + v * W, LD, even, odd);
               });
  const int hidden = request.hidden, hidden_rows = round_up(hidden, ROWS);
  multiply<Number, V>(hidden, steps, Columns{layer.w1, hidden_rows}, t.query, LD,
                      [&](int r0, auto& sums) {
#pragma GCC unroll 8
                        for (int r = 0; r < ROWS; r += 2)
#pragma GCC unroll 8
                          for (int v = 0; v < V; ++v)
                            Number::store_rows(t.hidden + (r0 + r) / P * LD + v * W, LD,
                                               larger(sums[r][v] + layer.b1[r0 + r], vf{}),
                                               larger(sums[r + 1][v] + layer.b1[r0 + r + 1], vf{}));
                      });
  for (int v = 0; v < V; ++v) sum[v] = square[v] = vf{};
  multiply<Number, V>(d, (hidden + P - 1) / P, Columns{layer.w2, rows}, t.hidden, LD,
                      [&](int r0, auto& sums) { add_rows(r0, sums, x, layer.b2, as_is); });
  if (depth + 1 < request.layers) {
    normalise<V>(x, ld, d, sum, square, layer.epsilon2, layer.gain2, layer.shift2,
                 [&](int f, int v, vf even, vf odd) {
                   store(x + f * ld + v * W, even);
                   if (f + 1 < d) store(x + (f + 1) * ld + v * W, odd);
                   Number::store_rows(t.x_out + f / P * t.sp + lane + v * W, t.sp, even, odd);
                 });
    return;
  }
  const int left = s - lane;  // lanes from here on are no tokens
  vi number;
  for (int i = 0; i < W; ++i) number[i] = i;
  float* largest_of = request.largest + ptrdiff_t(c) * d;
  vf top_even, top_odd;
  normalise<V>(x, ld, d, sum, square, layer.epsilon2, layer.gain2, layer.shift2,
               [&](int f, int v, vf even, vf odd) {
                 if (lane + v * W < request.first) {
                   store(x + f * ld + v * W, even);
                   if (f + 1 < d) store(x + (f + 1) * ld + v * W, odd);
                 }
                 const vi beyond = number >= left - v * W;
                 even = beyond ? spread(-3e38f) : even;
                 odd = beyond ? spread(-3e38f) : odd;
                 top_even = v ? larger(top_even, even) : even;
                 top_odd = v ? larger(top_odd, odd) : odd;
                 if (v + 1 < V) return;
                 const float a = largest(top_even), b = largest(top_odd);
                 largest_of[f] = !lane || a > largest_of[f] ? a : largest_of[f];
                 if (f + 1 < d) largest_of[f + 1] = !lane || b > largest_of[f + 1] ? b : largest_of[f + 1];
               });
}

template <class Number, template <class, int> class Step, class... Given>
void each_block(Scratch<Number>& t, Given... given) {
  int lane = 0;
  for (; t.sp - lane >= VECTORS * W; lane += VECTORS * W) Step<Number, VECTORS>::run(t, lane, given...);
  switch ((t.sp - lane) / W) {
    case 3: if constexpr (VECTORS > 3) Step<Number, 3>::run(t, lane, given...); break;
    case 2: if constexpr (VECTORS > 2) Step<Number, 2>::run(t, lane, given...); break;
    case 1: Step<Number, 1>::run(t, lane, given...); break;
  }
}

template <class Number, int V>
struct Project {
  static void run(Scratch<Number>& t, int lane, const WaylineLayer* layer) {
    project<Number, V>(*layer, t, lane);
  }
};

template <class Number, int V>
struct Encode {
  static void run(Scratch<Number>& t, int lane, int depth, int c) {
    encode<Number, V>(depth, c, t, lane);
  }
};

template <class Number>
int score(const WaylineRequest& request) {
  Scratch<Number> t(request);
  if (!t.memory) return 1;
  for (;;) {
    const int64_t c = __atomic_fetch_add(request.next, int64_t(1), __ATOMIC_RELAXED);
    if (c >= request.candidates) return 0;
    for (int depth = 0; depth < request.layers; ++depth) {
      if (depth) {
        std::swap(t.x_in, t.x_out);
        each_block<Number, Project>(t, request.layer + depth);
      }
      each_block<Number, Encode>(t, depth, int(c));
    }
    float* out = request.rows + c * request.rows_stride;
    const int first = request.first < t.s ? request.first : t.s;
    for (int row = 0; row < first; ++row)
      for (int f = 0; f < t.d; ++f) out[row * t.d + f] = t.x[f * t.sp + row];
  }
}

}  // namespace

extern "C" {
int wayline_lanes() { return W; }
int wayline_rows() { return ROWS; }
int wayline_has_bfloat16() {
#if defined(LANES_BFLOAT16)
  return 1;
#else
  return 0;
#endif
}
// 0: done; 1: no memory. Threads may call it at once with one request.
int wayline_transact_float32(const WaylineRequest* request) { return score<Float32>(*request); }
int wayline_transact_bfloat16(const WaylineRequest* request) {
#if defined(LANES_BFLOAT16)
  return score<Bfloat16>(*request);
#else
  return 2;
#endif
}
}
