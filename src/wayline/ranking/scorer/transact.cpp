// TransAct (concat fusion) for many candidates of one request: all layers of one candidate in the cache.
//
// The readable twin is transact_torch.py; transact_weights.py derives what is passed in, transact_native.py passes it.
//
// One candidate at a time, a block of at most VECTORS * W tokens (lanes) at a time:
//   layer 0:  scores = shared[key][query] + bias[key], the first the same for all candidates
//   later:    query = Wq x, key = x or Wk x, value = Wv x, scores = key' query
//   all:      x <- norm1(x + sum of softmax(scores) * value + constant); x <- norm2(x + W2 relu(W1 x + b1) + b2)
// then the first rows, a linear map of the largest value of each feature, and a LayerNorm over both.
#include <utility>

#include "lanes.hpp"

using namespace lanes;

extern "C" {

// "Left": words [step][row padded to STEP] of the kernel's number type, "left float": of floats.
// "Right": floats [step][lane padded to W]. Biases are padded like the rows or lanes they belong to.
struct WaylineLayer {
  const uint32_t *q, *k, *v, *o, *w1, *w2;  // left; o and k are null where one head lets v and q include them
  const float *q_bias, *o_bias, *b1, *b2, *gain1, *shift1, *gain2, *shift2;
  float epsilon1, epsilon2;
};

struct WaylineModel {
  int32_t width;   // d
  int32_t vector;  // D: of a candidate
  int32_t heads;   // H
  int32_t hidden;  // of the feed-forward part
  int32_t layers;
  int32_t first;      // rows of the output
  int32_t out_width;  // first * d, + d where there is a pooled row
  float epsilon;
  const WaylineLayer* layer;
  const uint32_t* product;     // [H] left float: layer 0's key' query, times log2(e)
  const float* product_bias;   // [H, rows]
  const uint32_t* value;       // left float: layer 0's values
  const float* candidate_key;  // [H] right [D][d]: what a candidate adds to queries, through product
  const float* candidate_add;  // right [D][d]: what it adds to attention and residual
  const float* add_bias;       // [d]
  const float *pooled, *pooled_bias;  // right [d][d]; null without a pooled row
  const float *gain, *shift;          // [out_width]; null without a norm
};

struct WaylineRequest {
  const WaylineModel* model;
  int32_t tokens;      // S >= 1
  int32_t padded;      // S rounded up to W
  int32_t candidates;  // C
  int32_t group;       // candidates a thread takes at once, 1..GROUP
  const float* token;      // [d, padded], 0 where the candidate goes and beyond S
  const float* candidate;  // [C, D]
  float* shared;           // room: [H, S padded to STEP, padded]
  uint32_t* value;         // room, 0 at first: [d + STEP, padded / PAIR]
  float* query;            // room: [d padded to STEP, padded]
  float* out;              // [C, out_width]
  int64_t* next;           // shared by all threads: the next candidate to take
};
}

namespace {

constexpr int GROUP = ROWS;  // candidates whose own vectors are multiplied at once
constexpr int STEP = 12;  // left sides are padded to it: a multiple of every tile's height

// Height of a tile: bf16 products are as quick in lower ones, which waste less past the last row.
template <class Number>
constexpr int tile() {
  return Number::PAIR == 2 && ROWS == 6 ? 4 : ROWS;
}

// What one candidate needs, in one allocation that is zero at first.
template <class Number>
struct Scratch {
  const WaylineRequest& request;
  const WaylineModel& model;
  int s, sp, d, dp, head, ldv;
  char* memory = nullptr;
  uint32_t *x_in, *x_out, *key, *value, *query, *weight, *mixed, *hidden;
  float *x, *score;                                   // of a candidate
  float *candidate, *added, *bias, *constant, *largest;  // of a group

  explicit Scratch(const WaylineRequest& r)
      : request(r), model(*r.model), s(r.tokens), sp(r.padded), d(model.width),
        dp(round_up(d, W)), head(d / model.heads), ldv(sp / Number::PAIR) {
    constexpr int LANE = VECTORS * W;
    const size_t words = round_up(d, 2) / Number::PAIR + ROWS, keys = round_up(s, 2 * ROWS) + ROWS;
    const size_t rows = d + 2 * ROWS, hidden_rows = model.hidden + 2 * ROWS;
    float* none = nullptr;
    const std::pair<size_t, void*> parts[] = {
        {words * sp, &x_in}, {words * sp, &x_out}, {words * sp, &key}, {rows * ldv, &value},
        {rows * LANE, &query}, {keys * LANE, &weight}, {rows * LANE, &mixed},
        {hidden_rows * LANE, &hidden}, {size_t(d + ROWS) * sp, &x}, {keys * LANE, &score},
        {size_t(GROUP) * model.vector, &candidate}, {size_t(GROUP) * dp, &added},
        {size_t(GROUP) * sp * model.heads, &bias}, {size_t(GROUP) * dp, &constant},
        {size_t(GROUP) * dp, &largest}, {W, &none},
    };
    size_t total = 0;
    for (const auto& part : parts) total += (part.first + 31) / 16 * 16;
    if (posix_memalign(reinterpret_cast<void**>(&memory), 64, total * 4)) memory = nullptr;
    if (!memory) return;
    std::memset(memory, 0, total * 4);
    char* at = memory;
    for (const auto& part : parts) {
      std::memcpy(part.second, &at, sizeof at);
      at += (part.first + 31) / 16 * 64;
    }
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
template <class Number, class Block>
void project(const WaylineLayer& layer, Scratch<Number>& t, int lane, Block) {
  constexpr int P = Number::PAIR, V = Block::V, ROWS = tile<Number>();
  const int d = t.d, rows = round_up(d, STEP), steps = (d + P - 1) / P;
  const uint32_t* x = t.x_in + lane;
  multiply<Number, V, Block::HALF, ROWS>(
      d, steps, Columns{layer.v, rows}, x, t.sp, [&](int r0, auto& sums) {
        EACH_ROW(1) EACH_VECTOR
        Number::store_lanes(t.value + (r0 + r) * t.ldv, lane + v * W, sums[r][v]);
      });
  if (!layer.k) return;
  multiply<Number, V, Block::HALF, ROWS>(
      d, steps, Columns{layer.k, rows}, x, t.sp, [&](int r0, auto& sums) {
        EACH_ROW(2) EACH_VECTOR
        Number::store_rows(t.key + (r0 + r) / P * t.sp + lane + v * W, t.sp, sums[r][v],
                           sums[r + 1][v]);
      });
}

// One layer of a candidate's tokens in the lanes of a block; `member` is its place in the group.
template <class Number, class Block>
void encode(int depth, int member, Scratch<Number>& t, int lane, Block) {
  constexpr int P = Number::PAIR, V = Block::V, LD = V * W, ROWS = tile<Number>();
  constexpr bool HALF = Block::HALF;
  const WaylineRequest& request = t.request;
  const WaylineModel& model = t.model;
  const WaylineLayer& layer = model.layer[depth];
  const int d = t.d, s = t.s, rows = round_up(d, STEP), steps = (d + P - 1) / P;
  const bool folded = !layer.o;
  float* x = t.x + lane;
  const ptrdiff_t ld = t.sp;
  const float* before = depth ? x : request.token + lane;  // what attention is added to
  const float* constant = depth ? layer.o_bias : t.constant + ptrdiff_t(member) * t.dp;
  vf sum[V], square[V], inverse[V];
  for (int v = 0; v < V; ++v) sum[v] = square[v] = vf{};

  // adds a product's rows to the residual and keeps count for the LayerNorm
  const auto add_rows = [&](int r0, auto& sums, const float* residual, const float* add,
                            auto scale) {
    vf total[V], squares[V];  // of their own: what is stored below might be sum[v] for all the compiler knows
    EACH_VECTOR total[v] = sum[v], squares[v] = square[v];
    EACH_ROW(1) {
      if (r0 + r >= d) break;
      EACH_VECTOR {
        const ptrdiff_t at = (r0 + r) * ld + v * W;
        const vf y = scale(sums[r][v], v) + (load(residual + at) + add[r0 + r]);
        store(x + at, y);
        total[v] += y;
        squares[v] += y * y;
      }
    }
    EACH_VECTOR sum[v] = total[v], square[v] = squares[v];
  };
  const auto as_is = [](vf y, int) { return y; };
  const auto weighed = [&](vf y, int v) { return y * inverse[v]; };

  if (depth)
    multiply<Number, V, HALF, ROWS>(
        d, steps, Columns{layer.q, rows}, t.x_in + lane, t.sp, [&](int r0, auto& sums) {
          EACH_ROW(2) EACH_VECTOR
          Number::store_rows(t.query + (r0 + r) / P * LD + v * W, LD,
                             sums[r][v] + layer.q_bias[r0 + r],
                             sums[r + 1][v] + layer.q_bias[r0 + r + 1]);
        });
  const uint32_t* keys = layer.k ? t.key : t.x_in;
  const uint32_t* values = depth ? t.value : request.value;
  for (int h = 0; h < model.heads; ++h) {
    const int first = h * t.head;
    if (depth) {
      multiply<Number, V, HALF, ROWS>(
          s, (t.head + P - 1) / P, Columns{keys + first / P * t.sp, t.sp},
          t.query + first / P * LD, LD, [&](int r0, auto& sums) {
            EACH_ROW(1) EACH_VECTOR store(t.score + (r0 + r) * LD + v * W, sums[r][v]);
          });
      softmax<Number, V>(t.score, LD, nullptr, s, t.weight, inverse);
    } else {
      softmax<Number, V>(request.shared + ptrdiff_t(h) * round_up(s, STEP) * t.sp + lane, t.sp,
                         t.bias + (ptrdiff_t(h) * GROUP + member) * t.sp, s, t.weight, inverse);
    }
    multiply<Number, V, HALF, ROWS>(
        t.head, (s + P - 1) / P, Rows{values + ptrdiff_t(first) * t.ldv, t.ldv}, t.weight, LD,
        [&](int r0, auto& sums) {
          if (folded) return add_rows(r0, sums, before, constant, weighed);
          EACH_ROW(2) EACH_VECTOR  // rows past the head are the next head's: it comes after
          Number::store_rows(t.mixed + (first + r0 + r) / P * LD + v * W, LD,
                             sums[r][v] * inverse[v], sums[r + 1][v] * inverse[v]);
        });
  }
  if (!folded)
    multiply<Number, V, HALF, ROWS>(
        d, steps, Columns{layer.o, rows}, t.mixed, LD,
        [&](int r0, auto& sums) { add_rows(r0, sums, before, constant, as_is); });

  normalise<V>(x, ld, d, sum, square, layer.epsilon1, layer.gain1, layer.shift1,
               [&](int f, int v, vf even, vf odd) {
                 store(x + f * ld + v * W, even);
                 if (f + 1 < d) store(x + (f + 1) * ld + v * W, odd);
                 Number::store_rows(t.query + f / P * LD + v * W, LD, even, odd);
               });
  const int hidden = model.hidden;
  multiply<Number, V, HALF, ROWS>(
      hidden, steps, Columns{layer.w1, round_up(hidden, STEP)}, t.query, LD,
      [&](int r0, auto& sums) {
        EACH_ROW(2) EACH_VECTOR
        Number::store_rows(t.hidden + (r0 + r) / P * LD + v * W, LD,
                           larger(sums[r][v] + layer.b1[r0 + r], vf{}),
                           larger(sums[r + 1][v] + layer.b1[r0 + r + 1], vf{}));
      });
  for (int v = 0; v < V; ++v) sum[v] = square[v] = vf{};
  multiply<Number, V, HALF, ROWS>(
      d, (hidden + P - 1) / P, Columns{layer.w2, rows}, t.hidden, LD,
      [&](int r0, auto& sums) { add_rows(r0, sums, x, layer.b2, as_is); });

  if (depth + 1 < model.layers) {
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
  float* best = t.largest + ptrdiff_t(member) * t.dp;
  const auto keep = [&](int f, vf top) {
    const float found = largest(top);
    best[f] = !lane || found > best[f] ? found : best[f];
  };
  vf top_even, top_odd;
  normalise<V>(x, ld, d, sum, square, layer.epsilon2, layer.gain2, layer.shift2,
               [&](int f, int v, vf even, vf odd) {
                 if (lane + v * W < model.first) {
                   store(x + f * ld + v * W, even);
                   if (f + 1 < d) store(x + (f + 1) * ld + v * W, odd);
                 }
                 const vi beyond = number >= left - v * W;
                 even = beyond ? spread(-3e38f) : even;
                 odd = beyond ? spread(-3e38f) : odd;
                 top_even = v ? larger(top_even, even) : even;
                 top_odd = v ? larger(top_odd, odd) : odd;
                 if (v + 1 < V) return;
                 keep(f, top_even);
                 if (f + 1 < d) keep(f + 1, top_odd);
               });
}

// floats: GROUP rows of left * right + add, to out [GROUP][lanes_of_it]
void multiply_group(const float* left, int left_ld, int steps, const float* right, int lanes_of_it,
                    const float* add, float* out) {
  const auto words = [](const float* p) { return reinterpret_cast<const uint32_t*>(p); };
  each_block<false>(lanes_of_it, [&](int lane, auto block) {
    constexpr int V = decltype(block)::V;
    multiply<Float32, V>(GROUP, steps, Rows{words(left), left_ld}, words(right) + lane, lanes_of_it,
                         [&](int, auto& sums) {
                           EACH_ROW(1) EACH_VECTOR {
                             const int at = lane + v * W;
                             store(out + ptrdiff_t(r) * lanes_of_it + at,
                                   add ? sums[r][v] + load(add + at) : sums[r][v]);
                           }
                         });
  });
}

// What a group of candidates adds to layer 0.
template <class Number>
void begin_group(Scratch<Number>& t, int64_t first, int members) {
  const WaylineModel& model = t.model;
  const int n = model.vector;
  std::memset(t.candidate, 0, size_t(GROUP) * n * 4);
  std::memcpy(t.candidate, t.request.candidate + first * n, size_t(members) * n * 4);
  multiply_group(t.candidate, n, n, model.candidate_add, t.dp, model.add_bias, t.constant);
  for (int h = 0; h < model.heads; ++h) {
    multiply_group(t.candidate, n, n, model.candidate_key + ptrdiff_t(h) * n * t.dp, t.dp, nullptr,
                   t.added);
    multiply_group(t.added, t.dp, t.d, t.request.token, t.sp, nullptr,
                   t.bias + ptrdiff_t(h) * GROUP * t.sp);
  }
}

void layer_norm(float* x, int n, float epsilon, const float* gain, const float* shift) {
  const int whole = n / W * W;
  const auto total = [&](auto of) {
    vf sums = {};
    for (int i = 0; i < whole; i += W) sums += of(load(x + i));
    float sum = 0;
    for (int i = 0; i < W; ++i) sum += sums[i];
    for (int i = whole; i < n; ++i) sum += of(spread(x[i]))[0];
    return sum / n;
  };
  const float mean = total([](vf y) { return y; });
  const float variance = total([&](vf y) { return (y - mean) * (y - mean); });
  const float scale = 1.0f / __builtin_sqrtf(variance + epsilon);
  for (int i = 0; i < whole; i += W)
    store(x + i, (load(x + i) - mean) * scale * load(gain + i) + load(shift + i));
  for (int i = whole; i < n; ++i) x[i] = (x[i] - mean) * scale * gain[i] + shift[i];
}

template <class Number>
int score(const WaylineRequest& request) {
  const WaylineModel& model = *request.model;
  Scratch<Number> t(request);
  if (!t.memory) return 1;
  const int first_rows = model.first < t.s ? model.first : t.s;
  for (;;) {
    const int64_t begin = __atomic_fetch_add(request.next, int64_t(request.group), __ATOMIC_RELAXED);
    if (begin >= request.candidates) return 0;
    const int members =
        int(request.candidates - begin < request.group ? request.candidates - begin : request.group);
    begin_group(t, begin, members);
    for (int member = 0; member < members; ++member) {
      for (int depth = 0; depth < model.layers; ++depth) {
        if (depth) {
          std::swap(t.x_in, t.x_out);
          each_block(t.s, [&](int lane, auto block) {
            project<Number>(model.layer[depth], t, lane, block);
          });
        }
        each_block(t.s, [&](int lane, auto block) { encode<Number>(depth, member, t, lane, block); });
      }
      float* out = request.out + (begin + member) * model.out_width;
      for (int row = 0; row < first_rows; ++row)
        for (int f = 0; f < t.d; ++f) out[row * t.d + f] = t.x[f * t.sp + row];
      std::memset(out + first_rows * t.d, 0, size_t(model.first - first_rows) * t.d * 4);
    }
    if (model.pooled)
      multiply_group(t.largest, t.dp, t.d, model.pooled, t.dp, model.pooled_bias, t.added);
    for (int member = 0; member < members; ++member) {
      float* out = request.out + (begin + member) * model.out_width;
      if (model.pooled)
        std::memcpy(out + model.first * t.d, t.added + ptrdiff_t(member) * t.dp, size_t(t.d) * 4);
      if (model.gain) layer_norm(out, model.out_width, model.epsilon, model.gain, model.shift);
    }
  }
}

// What all candidates share of layer 0: scores of every query and key, and values.
template <class Number>
void prepare(const WaylineRequest& request) {
  const WaylineModel& model = *request.model;
  const int d = model.width, rows = round_up(d, STEP), sp = request.padded;
  const int keys = round_up(request.tokens, STEP);
  const uint32_t* token = reinterpret_cast<const uint32_t*>(request.token);
  each_block<false>(sp, [&](int lane, auto block) {
    constexpr int V = decltype(block)::V;
    multiply<Float32, V>(d, d, Columns{model.value, rows}, token + lane, sp,
                         [&](int r0, auto& sums) {
                           EACH_ROW(1) EACH_VECTOR
                           Number::store_lanes(request.value + (r0 + r) * (sp / Number::PAIR),
                                               lane + v * W, sums[r][v]);
                         });
    for (int h = 0; h < model.heads; ++h) {
      const float* bias = model.product_bias + h * rows;
      multiply<Float32, V>(
          d, d, Columns{model.product + ptrdiff_t(h) * d * rows, rows}, token + lane, sp,
          [&](int r0, auto& sums) {
            EACH_ROW(1) EACH_VECTOR
            store(request.query + (r0 + r) * sp + lane + v * W, sums[r][v] + bias[r0 + r]);
          });
      float* shared = request.shared + ptrdiff_t(h) * keys * sp;
      multiply<Float32, V>(request.tokens, d, Columns{token, sp},
                           reinterpret_cast<const uint32_t*>(request.query) + lane, sp,
                           [&](int r0, auto& sums) {
                             EACH_ROW(1) EACH_VECTOR
                             store(shared + (r0 + r) * sp + lane + v * W, sums[r][v]);
                           });
    }
  });
}

}  // namespace

extern "C" {
int wayline_lanes() { return W; }
int wayline_rows() { return STEP; }
int wayline_group() { return GROUP; }
int wayline_has_bfloat16() {
#if defined(LANES_BFLOAT16)
  return 1;
#else
  return 0;
#endif
}
// `prepare` once a request, then `score` on any number of threads at once. 0: done; 1: no memory.
void wayline_transact_prepare_float32(const WaylineRequest* request) { prepare<Float32>(*request); }
int wayline_transact_score_float32(const WaylineRequest* request) { return score<Float32>(*request); }
#if defined(LANES_BFLOAT16)
void wayline_transact_prepare_bfloat16(const WaylineRequest* request) { prepare<Bfloat16>(*request); }
int wayline_transact_score_bfloat16(const WaylineRequest* request) { return score<Bfloat16>(*request); }
#endif
}
